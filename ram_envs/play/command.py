"""The command line: `ram play ENV_ID`, or `python -m ram_envs.play ENV_ID`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import gymnasium as gym

from ram_envs.atomic_files import check_writable
from ram_envs.checks import find_close
from ram_envs.making import parse_keywords
from ram_envs.picture_batch import IN_COMMANDS, NoPictureError
from ram_envs.play.game import SPEEDS, Phase
from ram_envs.play.session import (
    GIF_EPISODES,
    MATCH_EPISODES,
    Options,
    Session,
    playable_ids,
    replay,
    set_up,
)

KEYWORDS: dict[str, tuple[type, str]] = {
    "size": (int, "side of the screen of Catch, in pixels"),
    "paddle_width": (int, "width of the paddle, in pixels"),
    "max_speed": (
        float,
        "maximum speed of the balls, or of the moving digit, in pixels per step",
    ),
    "num_balls": (int, "balls in an episode of Catch"),
    "dataset": (str, "mnist, digits (embedded), cifar10, or the path of your images"),
    "split": (str, "train, validation or test"),
    "num_glimpses": (int, "looks per canvas of the quiz"),
    "canvas_size": (int, "side of the canvas, in pixels"),
    "num_clutter": (int, "pieces of clutter"),
    "clutter_size": (int, "side of a piece, in pixels"),
    "num_distractors": (int, "items of Search beside the target"),
    "look_cost": (float, "what a look costs in Search"),
    "mistake_cost": (float, "what a wrong item costs in Search"),
    "time_limit": (int, "maximum number of looks in a search"),
    "glimpse_size": (int, "side of the finest patch, in pixels"),
    "num_scales": (int, "number of patches, each twice as wide as the one before"),
    "source": (str, "observation or render: what other environments show to the retina"),
}

# What wrong settings and files raise, here and inside Gymnasium and numpy.
SETUP_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    MemoryError,
    ImportError,
    gym.error.Error,
)
GAME_ERRORS = (OSError, gym.error.Error)  # others are faults of the program


def main(args: list[str] | None = None) -> None:
    """Run the command line; exit with 1 and one line if it cannot continue."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # whatever the encoding, the game goes on
    parser = make_parser()
    known, unknown = parser.parse_known_args(args)
    if unknown:
        names = [name for action in parser._actions for name in action.option_strings]
        close = find_close(unknown[0], names)
        hint = "" if close is None else f" Did you mean {close}?"
        parser.error(f"{unknown[0]} is not an option of ram play.{hint}")
    given = vars(known)
    keywords = {key: given.pop(key) for key in KEYWORDS}
    keywords = {key: value for key, value in keywords.items() if value is not None}
    others = given.pop("env_kwargs")
    with _in_one_line(SETUP_ERRORS):
        options = Options(keywords=parse_keywords(others, keywords), **given)
        _check_pygame()
        check_options(options)
    following = options if options.env_id is not None else choose_from_menu()
    while following is not None:
        with _in_one_line(SETUP_ERRORS):
            session = set_up(following)
            _ = session.game.canvas_size  # fails if a canvas does not fit into the memory
        with _in_one_line(GAME_ERRORS):
            following = play(session, following)


@contextlib.contextmanager
def _in_one_line(kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Print an error of these kinds in one line, and exit with 1."""
    try:
        yield
    except kinds as error:
        hint = f" {IN_COMMANDS}" if isinstance(error, NoPictureError) else ""
        print(f"ram play: {error or type(error).__name__}{hint}", file=sys.stderr)
        sys.exit(1)


def choose_from_menu() -> Options | None:
    """Return the options of the game that is chosen from the menu; None if none is."""
    from ram_envs.play import window
    from ram_envs.play.menu import Menu

    menu = Menu()
    with _in_one_line(GAME_ERRORS), contextlib.suppress(KeyboardInterrupt):
        window.run(menu, "ram play")
    return menu.chosen


def play(session: Session, options: Options) -> Options | None:
    """Play a session, print its result, and return what the player wishes to play next."""
    game = session.game
    # After every episode: a crash loses no more than the one that is being played.
    game.on_episode_end = lambda: _try_to_save(session, options)
    wish = _show(session, options)
    print(game.summary())
    if game.phase is Phase.FINISHED and game.opponent is not None:
        print(game.verdict_words())
    if game.played:
        session.save(options)
        if options.record is not None:
            print(f"Recorded in {options.record}")
        if options.save is not None:
            print(f"Results in {options.save}")
    if wish is None:
        return None
    return replace(
        options,
        keywords=session.keywords,  # those of a recording, too
        seed=None,
        versus=find_challenger(session) if wish == "challenge" else options.versus,
        replay=None,
        record=None,  # the files keep the first game
        save=None,
    )


def _show(session: Session, options: Options) -> str | None:
    """Draw the game, in a file or a window; return the player's wish, see `window.Stage`."""
    from ram_envs.play import gif, window

    if options.gif is not None:
        gif.save_gif(session.game, options.gif)
        print(f"Written to {options.gif}")
        return None
    stage = window.Stage(session.game)
    stage.challenger = find_challenger(session)
    stage.save_gif = lambda: draw_played(session)
    with contextlib.suppress(KeyboardInterrupt):  # like closing the window
        window.run(stage, f"ram play {session.env_id}")
    return stage.wish


def find_challenger(session: Session) -> str | None:
    """Return an agent of the package that plays as a person just did; None if there is none."""
    game = session.game
    if game.opponent is not None or game.player.pilot is not None:
        return None
    if any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors")):
        return None
    from ram_agent.pretrained_agents import describe_agents

    wanted = getattr(game.player.env.batch.task, "num_glimpses", None)
    for agent in describe_agents():
        if agent.env_id == session.env_id and agent.num_glimpses == wanted:
            return f"pretrained:{agent.name}"
    return None


def draw_played(session: Session) -> str:
    """Write what was played as an animation into this folder; return a line about it."""
    from ram_envs.play import gif

    path = next(path for n in count(1) if not (path := Path(f"ram-play-{n}.gif")).exists())
    game = session.game
    gif.save_gif(replay(session.env_id, session.keywords, game.played, game.player.name), path)
    return f"Written to {path}"


def _try_to_save(session: Session, options: Options) -> None:
    """Save; a full disk does not end the game, since the next episode tries again."""
    try:
        session.save(options)
    except OSError as error:
        print(f"ram play: not saved yet: {error}", file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="ram play",
        description="Play Catch, Search, the glimpse quiz, a task of your own, or any environment "
        "with pictures, such as ALE/Pong-v5, and see only what the retina sees. Press H in the "
        "window for the keys.",
        epilog="examples: ram play RAMCatch-v0 --speed 3   |   ram play RAMCatch-v0 --versus "
        "runs/catch   |   ram play RAMClutteredMNIST-v0 --save me.json",
    )
    parser.add_argument(
        "env_id",
        metavar="ENV_ID",
        nargs="?",
        help=f"one of {', '.join(playable_ids())}, or another that shows pictures: ALE/Pong-v5; "
        "MODULE:ID for a task of your own; without ENV_ID a menu opens",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the episodes")
    parser.add_argument(
        "--episodes",
        type=int,
        metavar="N",
        help=f"number of balls, canvases or searches (default: {MATCH_EPISODES}, {GIF_EPISODES} "
        "with --gif, unlimited in Catch and Search without an opponent)",
    )
    parser.add_argument(
        "--speed",
        type=float,
        metavar="X",
        help="rows, glimpses or steps per second (default: 4 in Catch, 1 in Search and the quiz, "
        "elsewhere the environment's own); + and - change it",
    )
    parser.add_argument(
        "--levels", action="store_true", help="balls of Catch fall faster from level to level"
    )
    parser.add_argument("--turns", action="store_true", help="the ball waits for your move")
    player = parser.add_mutually_exclusive_group()
    player.add_argument(
        "--agent", metavar="RUN", help="watch an agent: a run's folder, or pretrained:NAME"
    )
    player.add_argument(
        "--versus", metavar="RUN", help="play against an agent, on the same episodes"
    )
    player.add_argument("--replay", type=Path, metavar="FILE", help="replay a recorded game")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write seed and actions (JSON)")
    parser.add_argument(
        "--gif", type=Path, metavar="FILE", help="write an animation instead of opening a window"
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write your answers, and the agent's (JSON)"
    )
    settings = parser.add_argument_group("settings of the environment")
    for keyword, (kind, meaning) in KEYWORDS.items():
        name = {int: "N", float: "X", str: "NAME"}[kind]
        settings.add_argument(
            f"--{keyword.replace('_', '-')}", type=kind, metavar=name, help=meaning
        )
    settings.add_argument(
        "--env-kwargs",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="other keywords of the environment: continuous=False",
    )
    return parser


def _check_pygame() -> None:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if importlib.util.find_spec("pygame") is None:
        raise gym.error.DependencyNotInstalled(
            'Playing needs pygame. Run: pip install "ram-gym[play]"'
        )


def check_options(options: Options) -> None:
    """Raise an error for options that exclude each other, and for files that cannot be written.

    Raises:
        ValueError: for a value out of its range, or options that exclude each other.
        OSError: for a file that exists, or cannot be written.
    """
    episodes, seed, speed = options.episodes, options.seed, options.speed
    slowest, fastest = SPEEDS
    if episodes is not None and episodes < 1:
        raise ValueError(f"--episodes {episodes} is out of range. Give at least 1.")
    if seed is not None and not 0 <= seed < 2**63:
        raise ValueError(f"--seed {seed} is out of range. Give a number from 0 to 2^63 - 1.")
    if speed is not None and not slowest <= speed <= fastest:
        raise ValueError(f"--speed {speed} is out of range. Give {slowest:g} to {fastest:g}.")
    if options.env_id is None:
        default = vars(Options(None, options.keywords))
        given = [name for name, value in vars(options).items() if value != default[name]]
        if names := _option_names([*options.keywords, *given]):
            raise ValueError(
                f"{names}: ENV_ID is missing. Give it, or no options: `ram play` opens a menu."
            )
    if options.gif is not None and options.gif.suffix != ".gif":
        raise ValueError(f"--gif {options.gif} does not end in .gif. Change the name.")
    if options.gif is not None and options.agent is None and options.replay is None:
        raise ValueError(
            f"--gif {options.gif} records an agent or a replay, not your own game. Add --agent RUN "
            "or --replay FILE."
        )
    if options.replay is not None:
        fixed = [name for name in ("seed", "episodes") if getattr(options, name) is not None]
        if names := _option_names([*options.keywords, *fixed]):
            raise ValueError(f"the recording of --replay determines {names}. Give --replay alone.")
    if options.turns and (options.agent is not None or options.replay is not None):
        raise ValueError(
            "--turns waits for your moves, but you are not playing here. Leave it out."
        )
    files = [path for path in (options.replay, options.record, options.save, options.gif) if path]
    if len({path.resolve() for path in files}) < len(files):
        raise ValueError(f"{' '.join(map(str, files))}: a file is named twice. Give another name.")
    for path in (options.record, options.save, options.gif):
        if path is not None:  # before the game, not after it
            check_writable(path)
    for path in (options.record, options.save):
        if path is not None and path.exists():
            raise FileExistsError(f"{path} exists and is not overwritten. Choose another name.")


def _option_names(names: Iterable[str]) -> str:
    known = KEYWORDS.keys() | vars(Options(None, {})).keys()
    options = (f"--{name.replace('_', '-')}" if name in known else "--env-kwargs" for name in names)
    return ", ".join(dict.fromkeys(options))
