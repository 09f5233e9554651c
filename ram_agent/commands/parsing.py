"""From a dataclass with a sentence for each field to a command line (tyro)."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import textwrap
from itertools import pairwise
from typing import Any, TypeVar, get_type_hints

import tyro

Settings = TypeVar("Settings")
UNSET = tyro.conf.arg(help_behavior_hint="")  # of options whose help says what happens without


def parse(
    kind: type[Settings],
    command: str,
    args: list[str],
    default: Settings | None = None,
    allow_none: bool = False,
    more_help: str = "",
) -> Settings:
    """Return the settings that the arguments of `ram COMMAND` give.

    Args:
        kind: a dataclass with a docstring for each field.
        command: the command's name.
        args: the arguments after it.
        default: the settings that are not given; those of the class if None.
        allow_none: whether "None" is a value of settings that may be None.
        more_help: lines of help that follow the description; indented ones are kept as they are.

    Raises:
        SystemExit: after --help, or for arguments that are not understood.
    """
    describe_fields(kind)
    markers = () if allow_none else (tyro.conf.DisallowNone,)
    return tyro.cli(
        kind,
        prog=f"ram {command}",
        description="\n\n".join(filter(None, (describe(kind), more_help))),
        args=args,
        default=tyro.MISSING_NONPROP if default is None else default,
        config=(tyro.conf.OmitArgPrefixes, *markers),
    )


def describe(kind: type) -> str:
    """Return a class's docstring, wrapped for this terminal."""
    # tyro joins lines, and does not wrap them again, unless they are indented.
    wrapper = textwrap.TextWrapper(shutil.get_terminal_size().columns, subsequent_indent="  ")
    blocks = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    return "\n\n".join(
        text if text.startswith("Examples:") else wrapper.fill(" ".join(text.split()))
        for text in blocks
    )


def describe_fields(kind: type) -> None:
    """Give each field of a dataclass, and of those in it, its docstring as one line of help.

    tyro would keep the line breaks of the source code.
    """
    fields: dict[str, Any] = {field.name: field for field in dataclasses.fields(kind)}
    for base in filter(dataclasses.is_dataclass, kind.__mro__):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, text in pairwise(definition.body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                words = str(text.value.value).split()
                fields[statement.target.id].metadata = {"help": " ".join(words)}
    for kind_of_field in get_type_hints(kind).values():
        if dataclasses.is_dataclass(kind_of_field):
            describe_fields(kind_of_field)  # type: ignore[arg-type]
