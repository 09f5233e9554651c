"""Set-up of a session: environment, opponents, recordings; and the files that are kept of it."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import ram_envs
from ram_envs.atomic_files import write_json
from ram_envs.envs.classification import DatasetFacts
from ram_envs.glimpse_env import GlimpseEnv
from ram_envs.making import (
    default_keywords,
    find_keywords,
    find_spec,
    has_dataset,
    resolve_env_id,
    shows_glimpses,
)
from ram_envs.making import make_env as make_glimpse_env
from ram_envs.play.arcade_game import ArcadeGame, ArcadeSeat
from ram_envs.play.catch_game import CatchGame
from ram_envs.play.game import PILOT_REST, SPEEDS, Game, Phase
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.recording import (
    FORMAT_VERSION,
    RecordedEpisode,
    Recording,
    RecordingError,
    load_recording,
    save_recording,
)
from ram_envs.play.search_game import SearchGame
from ram_envs.play.seat import AgentPilot, Deal, RecordedPilot, Seat
from ram_envs.tasks.catch import Catch
from ram_envs.tasks.classification import Classification
from ram_envs.tasks.search import Search

MATCH_EPISODES = 10  # of a quiz, and of a match against an agent
GIF_EPISODES = 3
ARCADE_SPEED = 10.0  # steps per second, where an environment names no frame rate
MAX_SETTING = 2**11  # of a recording, so that a damaged one does not fill the memory
MAX_CLASSES = 10  # each is typed as one digit
GAMES: dict[type, type[Game]] = {Catch: CatchGame, Search: SearchGame, Classification: QuizGame}


@dataclass(frozen=True)
class Options:
    """What is asked for.

    env_id     the environment; None for the menu
    keywords   its keywords, without those that were not given
    seed       seed of the first episode; None for a random one
    episodes   number of balls or canvases; None for the default
    speed      rows or glimpses per second; None for the default
    turns      whether the ball waits for the player's move
    levels     whether balls of Catch fall faster from level to level
    agent      a run whose agent plays alone
    versus     a run whose agent plays the same episodes
    replay     a recording to be played again
    record     file for a recording of this session
    gif        file for an animation, without a window
    save       file for the answers of a quiz
    """

    env_id: str | None
    keywords: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    episodes: int | None = None
    speed: float | None = None
    turns: bool = False
    levels: bool = False
    agent: str | None = None
    versus: str | None = None
    replay: Path | None = None
    record: Path | None = None
    gif: Path | None = None
    save: Path | None = None


@dataclass(frozen=True)
class Session:
    """What is played: environment, keywords, the seed that was given or drawn, and the game."""

    env_id: str
    keywords: dict[str, Any]
    seed: int
    game: Game

    def save(self, options: Options) -> None:
        """Write the files that the options ask for, as far as the game has come.

        Raises:
            OSError: if a file cannot be written.
        """
        if options.record is not None:
            score, played = self.game.player.score, self.game.played
            recording = Recording(self.env_id, self.keywords, self.seed, score, played)
            save_recording(recording, options.record)
        if options.save is not None:
            save_results(self, options.save)


def set_up(options: Options) -> Session:
    """Return the session that the options describe.

    Raises:
        ValueError: for options that exclude each other, or settings that cannot be played.
        RecordingError: for a recording that cannot be played again.
    """
    assert options.env_id is not None, "the menu chooses one"
    env_id = resolve_env_id(options.env_id)
    if env_id not in ram_envs.registration.ENVS and not shows_glimpses(env_id, options.keywords):
        check_alone(env_id, options)
        return set_up_arcade(env_id, options, make_glimpse_env(env_id, **options.keywords))
    keywords, recording = _with_test_split(env_id, options.keywords), None
    if options.replay is not None:
        recording = load_recording(options.replay, env_id)
        check_replay(recording, options.replay)
        keywords = recording.keywords
    _check_record(options, keywords)
    env = make_env(env_id, keywords)
    if not isinstance(env.batch.task, tuple(GAMES)):
        check_alone(env_id, options)
        return set_up_arcade(env_id, options, env)
    _check_game(env_id, options, env)
    is_named = isinstance({**default_keywords(env_id), **keywords}.get("dataset"), str)
    if is_named and isinstance(env, DatasetFacts):
        keywords["dataset"] = env.dataset_name  # the one that was found
    if recording is not None:
        seed, game = recording.seed, _replay_in(env, recording.episodes, "recording")
    else:
        seed = _seed_or_random(options.seed)
        deals = _deals(env, seed, _num_episodes(options, env))
        player, opponent = Seat("you", env), None
        if options.agent is not None:
            player = _seat_of_agent(options.agent, env, seed)
        if options.versus is not None:
            opponent = _seat_of_agent(options.versus, make_env(env_id, keywords), seed)
        game = make_game(player, deals, opponent)
    game.speed = options.speed or game.speed
    game.turns = options.turns or game.turns
    game.levels = options.levels
    return Session(env_id, keywords, seed, game)


def _check_record(options: Options, keywords: Mapping[str, Any]) -> None:
    """Raise ValueError for a recording of a game that could not be replayed."""
    if options.record is not None and (large := find_too_large(keywords)):
        raise ValueError(
            f"{large} is too large for a recording. Give at most {MAX_SETTING:,}, or leave "
            "--record out."
        )


def _check_game(env_id: str, options: Options, env: GlimpseEnv) -> None:
    """Raise ValueError for options of another game."""
    task = env.batch.task
    if options.save is not None and not isinstance(task, Classification):
        raise ValueError(
            f"--save {options.save} writes the answers of a quiz, and {env_id} is a game. Use "
            "--record to keep a game."
        )
    for name in ("turns", "levels"):
        if getattr(options, name) and not isinstance(task, Catch):
            raise ValueError(f"--{name} exists in Catch, but not in {env_id}. Leave it out.")


def _seat_of_agent(run: str, env: GlimpseEnv, seed: int) -> Seat:
    return Seat("agent", env, load_pilot(run, env, seed))


def check_alone(env_id: str, options: Options) -> None:
    """Raise ValueError for options of our own games, which other environments do not have."""
    for name in ("agent", "versus", "replay", "record", "gif", "save", "turns", "levels"):
        if getattr(options, name):
            raise ValueError(
                f"--{name} is not supported in {env_id}. Leave it out; to watch an agent, use "
                "`ram watch RUN --save FILE`."
            )


def set_up_arcade(env_id: str, options: Options, env: Any) -> Session:
    """Return a session in an environment of another package, or in a custom task.

    Args:
        env_id: its id.
        options: what is asked for.
        env: a `ThroughRetina`, or a `GlimpseEnv`.

    Raises:
        ValueError: if a person cannot choose its moves.
    """
    moves = env.action_space[1]
    if not isinstance(moves, gym.spaces.Discrete):
        raise ValueError(
            f"{env_id} has the action space {moves}, but keys need Discrete moves. Some "
            "environments also have these: --env-kwargs continuous=False."
        )
    seed = _seed_or_random(options.seed)
    speed = options.speed or float(env.metadata.get("render_fps", ARCADE_SPEED))
    # A GlimpseEnv comes without Gymnasium's time limit.
    limit = find_spec(env_id).max_episode_steps if isinstance(env, GlimpseEnv) else None
    game = ArcadeGame(
        ArcadeSeat("you", env, limit),
        _numbered_deals(seed, options.episodes),
        title=env_id.rpartition("/")[2].rpartition(":")[2].rpartition("-v")[0] or env_id,
        speed=min(max(speed, SPEEDS[0]), SPEEDS[1]),
    )
    return Session(env_id, options.keywords, seed, game)


def make_env(env_id: str, keywords: dict[str, Any]) -> GlimpseEnv:
    """Return the environment, without Gymnasium's wrappers.

    Raises:
        ValueError: if it cannot be played.
    """
    env = gym.make(env_id, disable_env_checker=True, **keywords).unwrapped
    if not isinstance(env, GlimpseEnv):
        raise ValueError(
            f"{env_id} cannot be played by hand. Choose from {', '.join(playable_ids())}, or make "
            "your own a GlimpseEnv of a task and a retina."
        )
    task = env.batch.task
    if isinstance(task, Classification) and task.dataset.num_classes > MAX_CLASSES:
        raise ValueError(
            f"{env_id} has {task.dataset.num_classes} classes, and a quiz has at most "
            f"{MAX_CLASSES}. Choose a data set with fewer classes."
        )
    return env


def load_pilot(run: str, env: GlimpseEnv, seed: int = 0) -> AgentPilot:
    """Return the agent of a run, ready to play in `env` as it was validated.

    Raises:
        ValueError: if it does not fit the environment, or its file is damaged.
        DependencyNotInstalled: without PyTorch.
    """
    try:
        import torch

        from ram_agent.agent import RAMAgent
        from ram_agent.play_mode import play_mode
    except ImportError as error:
        raise gym.error.DependencyNotInstalled(
            f'An agent needs PyTorch ({error}). Run: pip install "ram-gym[agent,play]"'
        ) from error
    torch.set_num_threads(1)
    torch.manual_seed(seed)  # of what the agent samples
    agent = RAMAgent.load(run)
    agent.check_fits(env)
    max_shift = agent.info.get("env_kwargs", {}).get("max_shift")
    answers = isinstance(env.batch.task, Classification)
    deterministic, gaze = play_mode(agent.info)
    return AgentPilot(
        agent,
        max_shift=max_shift,
        deterministic=deterministic,
        gaze=gaze,
        answers=answers,
        seed=seed,
    )


def save_results(session: Session, path: Path) -> None:
    """Write the answers of a quiz, for example to report a human baseline."""
    game = session.game
    assert isinstance(game, QuizGame)
    results = {
        "format": "ram-quiz",
        "version": FORMAT_VERSION,
        "ram_envs": ram_envs.__version__,
        "env_id": session.env_id,
        "env_kwargs": session.keywords,
        "dataset": game.task.dataset.name,
        "split": session.keywords.get("split"),
        "num_glimpses": game.task.num_glimpses,
        "seed": session.seed,
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


def find_too_large(keywords: Mapping[str, Any]) -> str | None:
    """Return a setting, NAME=VALUE, that is too large to be replayed; None if there is none."""
    for name, value in keywords.items():
        if isinstance(value, (int, float)) and value > MAX_SETTING:
            return f"{reprlib.repr(name)[1:-1]}={reprlib.repr(value)}"
    return None


def check_replay(recording: Recording, path: Path) -> None:
    """Raise RecordingError unless a recording, played again, comes to the score that it names."""
    if large := find_too_large(recording.keywords):
        raise RecordingError(
            f"{path} has {large}; a recording has at most {MAX_SETTING:,}. Record the game again."
        )
    if not recording.episodes:
        raise RecordingError(f"{path} holds no finished episode. Record a longer game.")
    try:
        score = replayed_score(recording)
    except Exception as error:  # settings of a file may be anything
        raise RecordingError(f"{path} cannot be played again: {str(error)[:500]}") from None
    if score != recording.score:
        raise RecordingError(
            f"{path} states a score of {recording.score}, but its replay scores {score}: it is "
            "damaged or from another version. Record the game again."
        )


def replayed_score(recording: Recording) -> int:
    """Return the score to which a recording comes when it is played again."""
    game = replay(recording.env_id, recording.keywords, recording.episodes, "recording")
    game.proceed()
    while game.phase is not Phase.FINISHED:
        game.tick(PILOT_REST)  # at least a row, a glimpse, or the rest after an episode
    return game.player.score


def replay(
    env_id: str, keywords: dict[str, Any], episodes: list[RecordedEpisode], name: str
) -> Game:
    """Return a game that plays recorded episodes again, by a player of that name."""
    return _replay_in(make_env(env_id, keywords), episodes, name)


def _replay_in(env: GlimpseEnv, episodes: list[RecordedEpisode], name: str) -> Game:
    player = Seat(name, env, RecordedPilot([episode.actions for episode in episodes]))
    deals = [episode.deal for episode in episodes]
    return make_game(player, deals)


def make_game(player: Seat, deals: Iterable[Deal], opponent: Seat | None = None) -> Game:
    """Return the game of the player's task."""
    task = player.env.batch.task
    game = next(game for kind, game in GAMES.items() if isinstance(task, kind))
    return game(player, deals, opponent)


def playable_ids() -> list[str]:
    """Return the ids of the package that people can play."""
    return [*ram_envs.registration.ENVS]


def _with_test_split(env_id: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """A quiz shows the test split unless a split is given, or the environment takes none."""
    known = find_keywords(env_id)
    takes_split = has_dataset(env_id) and (known is None or "split" in known)
    return {"split": "test", **keywords} if takes_split else dict(keywords)


def _num_episodes(options: Options, env: GlimpseEnv) -> int | None:
    if options.episodes is not None:
        return options.episodes
    if options.gif is not None:
        return GIF_EPISODES
    is_quiz = isinstance(env.batch.task, Classification)
    return MATCH_EPISODES if is_quiz or options.versus is not None else None


def _deals(env: GlimpseEnv, seed: int, num_episodes: int | None) -> Iterable[Deal]:
    """Episode n has the seed `seed` + n; a quiz shows distinct images, drawn by the seed."""
    task = env.batch.task
    if not isinstance(task, Classification):
        return _numbered_deals(seed, num_episodes)
    indices = np.random.default_rng(seed).permutation(len(task.dataset))[:num_episodes]
    return [Deal(seed + n, int(index)) for n, index in enumerate(indices)]


def _numbered_deals(seed: int, num_episodes: int | None) -> Iterable[Deal]:
    return map(Deal, count(seed) if num_episodes is None else range(seed, seed + num_episodes))


def _seed_or_random(seed: int | None) -> int:
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
