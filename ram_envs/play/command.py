"""The command line: `python -m ram_envs.play ENV_ID`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import ram_envs
from ram_envs.atomic_files import write_json
from ram_envs.glimpse_env import GlimpseEnv
from ram_envs.play.catch_game import CatchGame
from ram_envs.play.game import PILOT_REST, SPEEDS, Game, Phase
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.recording import (
    FORMAT_VERSION,
    Recording,
    RecordingError,
    load_recording,
    save_recording,
)
from ram_envs.play.seat import AgentPilot, Deal, Pilot, RecordedPilot, Seat
from ram_envs.tasks.catch import Catch
from ram_envs.tasks.classification import ImageClassification

MATCH_EPISODES = 10  # of a quiz, and of a match against an agent
GIF_EPISODES = 3

CATCH_KEYWORDS = {"size": int, "paddle_width": int, "max_speed": float, "num_balls": int}
QUIZ_KEYWORDS = {
    "dataset": str,
    "split": str,
    "num_glimpses": int,
    "canvas_size": int,
    "num_clutter": int,
    "clutter_size": int,
}
RETINA_KEYWORDS = {"glimpse_size": int, "num_scales": int}
MOST_PLAYED = 2**11  # of any setting in a recording: who played it had a screen, and an end
KEYWORDS = {**CATCH_KEYWORDS, **QUIZ_KEYWORDS, **RETINA_KEYWORDS}


# What bad settings, files and machines raise, here and inside Gymnasium and numpy.
_SAID_IN_A_LINE = (
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    MemoryError,
    ImportError,
    gym.error.Error,
)


@dataclass(frozen=True)
class Table:
    """What is played: environment, keywords, the seed that was given or drawn, and the game."""

    env_id: str
    keywords: dict[str, Any]
    seed: int
    game: Game


def main(args: list[str] | None = None) -> None:
    """Run the command line; exits with 1 and one clear line where it can't go on."""
    options = _parser().parse_args(args)
    try:
        _check_pygame()
        play(options)
    except _SAID_IN_A_LINE as error:
        print(f"ram play: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(1)


def play(options: argparse.Namespace) -> None:
    """Set up the game that the options describe, play it, and say how it went."""
    from ram_envs.play import gif, window

    if options.gif is not None and options.agent is None and options.replay is None:
        raise ValueError("--gif draws a game without hands: add --agent RUN or --replay FILE.")
    table = set_up(options)
    game = table.game
    # After every episode, so that not even a crash takes more than the one that is played.
    game.on_episode_end = lambda: _try_to_keep(table, options)
    if options.gif is not None:
        gif.save_gif(game, options.gif)
        print(f"Written to {options.gif}")
    else:
        with contextlib.suppress(KeyboardInterrupt):  # as if the window was closed
            window.run(window.Stage(game), f"ram play {table.env_id}")
    print(game.summary())
    if game.phase is Phase.FINISHED and game.opponent is not None:
        print(game.verdict_words())
    if not game.played:
        return
    _keep(table, options)
    if options.record is not None:
        print(f"Recorded in {options.record}")
    if options.save is not None:
        print(f"Results in {options.save}")


def _keep(table: Table, options: argparse.Namespace) -> None:
    """Write the files that the options ask for, as far as the game has come."""
    if options.record is not None:
        save_recording(_recording(table), options.record)
    if options.save is not None:
        save_results(table, options.save)


def _try_to_keep(table: Table, options: argparse.Namespace) -> None:
    """The same, but a full disk does not end the game: it is tried again after every episode."""
    try:
        _keep(table, options)
    except OSError as error:
        print(f"ram play: not written yet: {error}", file=sys.stderr)


def set_up(options: argparse.Namespace) -> Table:
    """The game that the options describe.

    Raises:
        ValueError: for options that don't go together, or settings that can't be played.
        RecordingError: for a file that can't be played again.
    """
    _check_options(options)
    env_id = _full_id(options.env_id)
    given = {key: getattr(options, key) for key in KEYWORDS if getattr(options, key) is not None}
    recording = None
    if options.replay is not None:
        recording = load_recording(options.replay, env_id)
        check_replay(recording, options.replay)
        given = recording.keywords
    keywords = _with_test_split(env_id, given)
    env = make_env(env_id, keywords)
    is_quiz = isinstance(env.batch.task, ImageClassification)
    if is_quiz:  # the one that was really found
        keywords["dataset"] = env.dataset_name  # type: ignore[attr-defined]
    if options.save is not None and not is_quiz:
        raise ValueError("--save keeps the answers of a quiz; to keep a game, use --record.")
    if options.turns and is_quiz:
        raise ValueError("--turns is for Catch: a quiz always waits for you. Leave it out.")
    seed = options.seed
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])

    pilot: Pilot | None = None
    name, deals = "you", _deals(env, seed, _num_episodes(options, is_quiz))
    if recording is not None:
        seed, deals = recording.seed, [episode.deal for episode in recording.episodes]
        pilot, name = (
            RecordedPilot([episode.actions for episode in recording.episodes]),
            "recording",
        )
    elif options.agent is not None:
        pilot, name = load_pilot(options.agent, env), "agent"
    opponent = None
    if options.versus is not None:
        opponent_env = make_env(env_id, keywords)
        opponent = Seat("agent", opponent_env, load_pilot(options.versus, opponent_env))
    player = Seat(name, env, pilot)
    game: Game
    if is_quiz:
        game = QuizGame(player, deals, opponent, speed=options.speed or 1.0)
    else:
        speed = options.speed or 4.0
        game = CatchGame(player, deals, opponent, speed=speed, turns=options.turns)
    return Table(env_id, keywords, seed, game)


def make_env(env_id: str, keywords: dict[str, Any]) -> GlimpseEnv:
    """The environment, without Gymnasium's wrappers.

    Raises:
        ValueError: if it is none that can be played, or its settings can't be.
    """
    env = gym.make(env_id, disable_env_checker=True, **keywords).unwrapped
    task = env.batch.task if isinstance(env, GlimpseEnv) else None
    if isinstance(task, ImageClassification) and len(task.choice_names) > 10:
        raise ValueError(f"{env_id} has {len(task.choice_names)} labels: a quiz needs 10 or fewer.")
    if not isinstance(env, GlimpseEnv) or not isinstance(task, (Catch, ImageClassification)):
        playable = ", ".join(_playable_ids())
        raise ValueError(f"{env_id} can't be played. Expected one of: {playable}.")
    return env


def load_pilot(run: str, env: GlimpseEnv) -> AgentPilot:
    """The agent in a run's folder, ready to play in `env`.

    Raises:
        ValueError: if it doesn't fit the environment, or its files are damaged.
        DependencyNotInstalled: without PyTorch.
    """
    try:
        import torch

        from ram_agent import RAMAgent
    except ImportError as error:
        raise gym.error.DependencyNotInstalled(
            f'An agent needs PyTorch ({error}): run `pip install "ram-gym[agent,play]"`.'
        ) from error
    torch.set_num_threads(1)
    agent = RAMAgent.load(run)
    agent.check_fits(env.observation_space, env.action_space)
    return AgentPilot(agent)


def save_results(table: Table, path: Path) -> None:
    """Write the answers of a quiz, so that a human baseline can be reported."""
    game = table.game
    assert isinstance(game, QuizGame)
    results = {
        "format": "ram-quiz",
        "version": FORMAT_VERSION,
        "ram_envs": ram_envs.__version__,
        "env_id": table.env_id,
        "env_kwargs": table.keywords,
        "dataset": table.keywords["dataset"],
        "split": table.keywords.get("split"),
        "num_glimpses": game.task.num_glimpses,
        "seed": table.seed,
        "player": game.player.name,
        "opponent": None if game.opponent is None else game.opponent.name,
        "num_answered": len(game.answers),
        "num_right": sum(answer.answer == answer.label for answer in game.answers),
        "answers": [asdict(answer) for answer in game.answers],
    }
    if game.opponent is not None:
        results["opponent_num_right"] = sum(
            answer.opponent_answer == answer.label for answer in game.answers
        )
    write_json(path, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ram play",
        description="Play Catch, or the glimpse quiz, seeing only what the retina sees. "
        "Press H in the window for the keys.",
        epilog="examples: ram play RAMCatch-v0 --speed 3   |   ram play RAMCatch-v0 --versus "
        "runs/catch   |   ram play RAMClutteredMNIST-v0 --save me.json",
    )
    parser.add_argument("env_id", metavar="ENV_ID", help="one of " + ", ".join(_playable_ids()))
    parser.add_argument("--seed", type=int, help="the same seed brings the same balls or canvases")
    parser.add_argument(
        "--episodes",
        type=int,
        metavar="N",
        help="how many balls or canvases; without end for Catch alone, "
        f"else {MATCH_EPISODES} if not given ({GIF_EPISODES} for --gif)",
    )
    parser.add_argument(
        "--speed", type=float, help="rows a second in Catch (4); + and - change it in the game"
    )
    parser.add_argument("--turns", action="store_true", help="the ball waits for your move")
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--agent", metavar="RUN", help="watch the agent of a run's folder, or pretrained:NAME"
    )
    who.add_argument(
        "--versus", metavar="RUN", help="play the same balls or canvases as this agent"
    )
    who.add_argument("--replay", type=Path, metavar="FILE", help="play a recorded game again")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write seed and actions (JSON)")
    parser.add_argument("--gif", type=Path, metavar="FILE", help="an animation, without a window")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="of a quiz: your answers, and the agent's (JSON)"
    )
    settings = parser.add_argument_group("settings of the environment")
    for keyword, kind in KEYWORDS.items():
        settings.add_argument(f"--{keyword.replace('_', '-')}", type=kind, metavar=kind.__name__)
    return parser


def _check_pygame() -> None:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if importlib.util.find_spec("pygame") is None:
        raise gym.error.DependencyNotInstalled(
            'Playing needs pygame, which is not installed: run `pip install "ram-gym[play]"`.'
        )


def _check_options(options: argparse.Namespace) -> None:
    if options.episodes is not None and options.episodes < 1:
        raise ValueError(f"--episodes {options.episodes}: expected 1 or more.")
    slowest, fastest = SPEEDS
    if options.speed is not None and not slowest <= options.speed <= fastest:
        raise ValueError(f"--speed {options.speed}: expected {slowest} to {fastest:g}.")
    if options.seed is not None and options.seed < 0:
        raise ValueError(f"--seed {options.seed}: expected 0 or more.")
    if options.replay is not None:
        fixed = [
            key for key in (*KEYWORDS, "seed", "episodes") if getattr(options, key) is not None
        ]
        if fixed:
            names = ", ".join(f"--{key.replace('_', '-')}" for key in fixed)
            raise ValueError(f"{names}: a recording brings its own. Leave it out.")
    named = [path for path in (options.replay, options.record, options.save, options.gif) if path]
    if len({path.resolve() for path in named}) < len(named):
        raise ValueError(f"{' '.join(map(str, named))}: one file cannot be two things.")
    for path in (options.record, options.save, options.gif):
        if path is not None:  # before the game, not after it
            _check_writable(path)
    for path in (options.record, options.save):
        if path is not None and path.exists():
            raise FileExistsError(f"{path} is there already, and is kept. Choose another name.")
    if options.turns and (options.agent is not None or options.replay is not None):
        raise ValueError("--turns waits for your moves, but you don't play here. Leave it out.")


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Expected the name of a file to write.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path} can't be written: its folder is read-only.")


def check_replay(recording: Recording, path: Path) -> None:
    """Raise RecordingError unless a recording is whole: it must come to the score it names."""
    strange = recording.keywords.keys() - KEYWORDS
    if strange:
        raise RecordingError(f"{path} is damaged: {sorted(strange)} are no settings of a game.")
    for key, value in recording.keywords.items():
        if isinstance(value, (int, float)) and value > MOST_PLAYED:
            raise RecordingError(
                f"{path} is damaged: {key}={value}, and at most {MOST_PLAYED:,} is expected."
            )
    if not recording.episodes:
        raise RecordingError(f"{path} holds no finished game, so there is nothing to play again.")
    try:
        score = replayed_score(recording)
    except _SAID_IN_A_LINE as error:
        raise RecordingError(f"{path} is damaged, or of another version: {error}") from None
    if score != recording.score:
        raise RecordingError(
            f"{path} is damaged, or of another version: it names a score of {recording.score} "
            f"and comes to {score}."
        )


def replayed_score(recording: Recording) -> int:
    """What a recording comes to when it is played again."""
    env = make_env(recording.env_id, recording.keywords)
    pilot = RecordedPilot([episode.actions for episode in recording.episodes])
    player = Seat("recording", env, pilot)
    deals = [episode.deal for episode in recording.episodes]
    is_quiz = isinstance(env.batch.task, ImageClassification)
    game = QuizGame(player, deals) if is_quiz else CatchGame(player, deals)
    game.proceed()
    while game.phase is not Phase.FINISHED:
        game.tick(PILOT_REST)  # at least a row, a glimpse, or the rest after an episode
    return player.score


def _recording(table: Table) -> Recording:
    game = table.game
    return Recording(table.env_id, table.keywords, table.seed, game.player.score, game.played)


def _with_test_split(env_id: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """The quiz is about the test split unless told otherwise."""
    own = gym.spec("RAMClassification-v0")
    if gym.spec(env_id).entry_point == own.entry_point:
        return {"split": "test", **keywords}
    return dict(keywords)


def _num_episodes(options: argparse.Namespace, is_quiz: bool) -> int | None:
    if options.episodes is not None:
        return int(options.episodes)
    if options.gif is not None:
        return GIF_EPISODES
    return MATCH_EPISODES if is_quiz or options.versus is not None else None


def _deals(env: GlimpseEnv, seed: int, num_episodes: int | None) -> Iterable[Deal]:
    """Episode n has the seed `seed` + n; a quiz shows distinct images, drawn by the seed."""
    task = env.batch.task
    if not isinstance(task, ImageClassification):
        return map(Deal, count(seed) if num_episodes is None else range(seed, seed + num_episodes))
    indices = np.random.default_rng(seed).permutation(len(task.dataset))[:num_episodes]
    return [Deal(seed + n, int(index)) for n, index in enumerate(indices)]


def _full_id(env_id: str) -> str:
    """An id as it is registered: "RAMCatch" and "ram_envs:RAMCatch-v0" are "RAMCatch-v0"."""
    short = env_id.removeprefix("ram_envs:")
    return f"{short}-v0" if f"{short}-v0" in ram_envs.registration.ENVS else short


def _playable_ids() -> list[str]:
    return [*ram_envs.registration.IMAGES, *ram_envs.registration.CATCH]
