"""The command `ram`: a table of commands, each imported only when it is used.

So `ram --help` answers at once, and `ram list` and `ram play` need neither PyTorch nor tyro.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = "ram"
COMMANDS = {  # name: (module, whose `main` takes the arguments; what it does)
    "train": ("ram_agent.commands.train", "Train an agent, validate it, and draw its fixations."),
    "evaluate": (
        "ram_agent.commands.evaluate",
        "Measure a trained agent, with its own gaze and others.",
    ),
    "watch": ("ram_agent.commands.watch", "Watch a trained agent, in a window or as a picture."),
    "figures": ("ram_agent.commands.figures", "Draw figures of a trained agent's gaze for slides."),
    "play": ("ram_envs.play", "Play yourself, seeing only what the retina shows."),
    "list": ("ram_agent.commands.list", "List the environments."),
    "agents": ("ram_agent.commands.agents", "List the trained agents of the package."),
    "check-images": ("ram_agent.commands.check_images", "Check images of your own."),
    "reproduce": ("ram_agent.paper.reproduce", "Train and measure the rows of a table of results."),
    "bench": ("ram_agent.bench", "Measure how fast this machine steps and trains."),
}
AGENT_PACKAGES = ("torch", "tyro", "tqdm", "safetensors", "PIL")  # of the extra `agent`
INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


def main(args: list[str] | None = None) -> None:
    """Run the command line; a failure is one line on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe of any encoding
            stream.reconfigure(errors="replace")
    try:
        with short_warnings():
            run(sys.argv[1:] if args is None else args)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:  # a command may have said how to continue
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # another one must not spoil the exit
        fail(str(interrupt) or "interrupted.", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if is_out_of_memory(error):
            fail("out of memory. In training, lower batch_size or hidden_size.")
        place = find_own_code(error)
        if is_expected(error):
            message = str(error) or type(error).__name__
            fail(message if place is None else f"{message} ({place})")
        if place is None:
            raise
        fail(f"{type(error).__name__} at {place}: {error}")


def run(args: list[str]) -> None:
    """Run the command that the first argument names."""
    if not args or args[0] in ("-h", "--help"):
        return print_help()
    name, *others = args
    if name == "--version":
        from ram_agent import __version__

        return print(f"ram-gym {__version__}")
    if name not in COMMANDS:
        from ram_envs.checks import suggest

        fail(f"The command {name!r} does not exist. {suggest(name, COMMANDS)}")
    try:
        importlib.import_module(COMMANDS[name][0]).main(others)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in AGENT_PACKAGES:
            raise
        fail(f'`ram {name}` needs {package}. Run: pip install "ram-gym[agent]"')


@contextmanager
def short_warnings() -> Iterator[None]:
    """Print warnings of this project without the place in its source code."""
    before = warnings.formatwarning

    def format_warning(
        message: Warning | str, category: type[Warning], *place: Any, **line: Any
    ) -> str:
        is_ours = category is UserWarning and place[0].startswith(our_folders())
        if is_ours or category.__module__.partition(".")[0] in ("ram_envs", "ram_agent"):
            return f"{PROGRAM}: {message}\n"
        return before(message, category, *place, **line)

    warnings.formatwarning = format_warning
    try:
        yield
    finally:
        warnings.formatwarning = before


def is_expected(error: Exception) -> bool:
    """Return whether an error's message tells a user what to do, without a traceback."""
    import gymnasium as gym

    kinds = (OSError, ValueError, FloatingPointError, MemoryError, gym.error.Error)
    return isinstance(error, kinds)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether PyTorch could not allocate memory; on a CPU only the message says so."""
    is_of_gpu = type(error).__name__ == "OutOfMemoryError"  # torch may not be imported
    return is_of_gpu or "DefaultCPUAllocator" in str(error)


def our_folders() -> tuple[str, ...]:
    """Return how the paths of all files of this project's packages begin."""
    import ram_envs

    return tuple(f"{Path(module).parent}{os.sep}" for module in (__file__, ram_envs.__file__))


def find_own_code(error: Exception) -> str | None:
    """Return the line of the user's own module in which an error arose, if it did."""
    import sysconfig
    import traceback

    known = (*our_folders(), sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages"}  # the user's own, too
    others = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if is_source_file(frame.filename)
        and not frame.filename.startswith(known)
        and installed.isdisjoint(Path(frame.filename).parts)
    ]
    return f"{others[-1].filename}:{others[-1].lineno}" if others else None


def is_source_file(name: str) -> bool:
    """Return whether a frame's file exists here; compiled modules name files of their builder."""
    return os.path.isabs(name) and os.path.isfile(name)


def print_help() -> None:
    """Print every command and what it does."""
    print(
        f"usage: {PROGRAM} COMMAND ...\n\nRecurrent models of visual attention: train and watch "
        "an agent that looks at\none small glimpse after another.\n\ncommands:"
    )
    for name, (_, summary) in COMMANDS.items():
        print(f"  {name:<14}{summary}")
    print("\n`ram COMMAND --help` shows a command's options, `ram --version` the version.")


def fail(message: str, code: int = 1) -> None:
    """Print a message on stderr and exit."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    sys.exit(code)
