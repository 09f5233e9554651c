"""The command `ram`: a table of commands, each imported only when it is used.

So `ram --help` answers at once, and `ram list` and `ram play` need neither PyTorch nor tyro.
"""

from __future__ import annotations

import importlib
import io
import sys

PROGRAM = "ram"
COMMANDS = {  # name: (module, whose `main` takes the arguments; what it does)
    "train": ("ram_agent.commands.train", "Train an agent, validate it, and draw its fixations."),
    "evaluate": ("ram_agent.commands.evaluate", "Measure a trained agent beside control gazes."),
    "watch": ("ram_agent.commands.watch", "Watch a trained agent, in a window or as a picture."),
    "figures": ("ram_agent.commands.figures", "Draw figures of a trained agent's gaze for slides."),
    "play": ("ram_envs.play", "Play yourself, seeing only what the retina shows."),
    "list": ("ram_agent.commands.list", "List the environments."),
    "reproduce": ("ram_agent.paper.reproduce", "Train and measure the rows of the paper's tables."),
    "bench": ("ram_agent.bench", "Measure how fast this machine steps and trains."),
}
AGENT_PACKAGES = ("torch", "tyro", "tqdm", "safetensors", "PIL")  # of the extra `agent`
INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


def main(args: list[str] | None = None) -> None:
    """Run the command line; a failure is one line on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe of any encoding
            stream.reconfigure(errors="replace")
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        return print_help()
    if args[0] == "--version":
        from ram_agent import __version__

        return print(f"ram-gym {__version__}")
    if args[0] not in COMMANDS:
        fail(f"there is no command {args[0]!r}. {suggest(args[0])}")
    module, _ = COMMANDS[args[0]]
    try:
        importlib.import_module(module).main(args[1:])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in AGENT_PACKAGES:
            raise
        fail(
            f"`ram {args[0]}` needs {package}, which is not installed. Run: "
            'pip install "ram-gym[agent]"'
        )
    except KeyboardInterrupt as interrupt:
        fail(str(interrupt) or "interrupted.", INTERRUPTED)
    except Exception as error:
        if not is_expected(error):
            raise
        fail(str(error) or type(error).__name__)


def is_expected(error: Exception) -> bool:
    """Return whether an error's message tells a user what to do, without a traceback."""
    import gymnasium as gym

    kinds = (OSError, ValueError, FloatingPointError, MemoryError, gym.error.Error)
    return isinstance(error, kinds)


def print_help() -> None:
    """Print every command and what it does."""
    print(
        f"usage: {PROGRAM} COMMAND ...\n\nRecurrent models of visual attention: train and watch "
        "an agent that looks at\none small glimpse after another.\n\ncommands:"
    )
    for name, (_, summary) in COMMANDS.items():
        print(f"  {name:<14}{summary}")
    print("\n`ram COMMAND --help` shows a command's options, `ram --version` the version.")


def suggest(name: str) -> str:
    """Return the commands that a misspelled name may stand for."""
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean `ram {close[0]}`? " if close else ""
    return f"{hint}Choose from: {', '.join(COMMANDS)}."


def fail(message: str, code: int = 1) -> None:
    """Print a message on stderr and exit."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    sys.exit(code)
