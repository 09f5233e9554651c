"""Decorators that check the arguments of a function where users call it."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import reprlib
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from gymnasium.vector import VectorEnv

from ram_envs.checks import suggest

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Arguments of `gym.make_vec`, which are no settings of an environment.
VECTOR_KEYWORDS = ("num_envs", "autoreset_mode", "vectorization_mode", "vector_kwargs", "wrappers")


def check_arguments(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a function that is called rarely; wrong arguments are named in an error.

    For an argument that does not match its annotation, the decorated function raises ValueError if
    a number, a bool or a value of a Literal is expected, and else TypeError. Types inside of
    containers are not checked.
    """
    signature = inspect.signature(function)

    @functools.cache
    def find_kinds() -> dict[str, Any]:
        return typing.get_type_hints(function)

    @functools.wraps(function)
    def checked(*args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        for name, value in signature.bind(*args, **keywords).arguments.items():
            kind = find_kinds().get(name, Any)
            if not matches(value, kind):
                expected = signature.parameters[name].annotation
                if literals := _literals(kind):
                    expected = f"one of {', '.join(map(repr, literals))}"
                elif "VectorEnv" in str(expected):
                    expected = f"{expected}, made with gym.make_vec(ENV_ID, num_envs=…)"
                elif isinstance(value, VectorEnv):
                    expected = f"{expected}; for a vector environment use ram_envs.wrappers.vector"
                raise (ValueError if _is_setting(kind) else TypeError)(
                    f"{name}={reprlib.repr(value)} ({type(value).__name__}) is not allowed. "
                    f"Give {expected}."
                )
        return function(*args, **keywords)

    return checked


def _is_setting(kind: Any) -> bool:
    """Return whether an annotation is a number, a bool or a Literal, or one of these or None."""
    kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
    return all(
        one in (int, float, bool, types.NoneType) or typing.get_origin(one) is Literal
        for one in kinds
    )


def _literals(kind: Any) -> tuple[Any, ...]:
    """Return the values of a Literal, or of a Literal or None; none for other annotations."""
    kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
    literals = [one for one in kinds if typing.get_origin(one) is Literal]
    if len(literals) != 1 or {*kinds} - {literals[0], types.NoneType}:
        return ()
    return (*typing.get_args(literals[0]), *(None for _ in kinds[1:]))


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def matches(value: Any, kind: Any) -> bool:
    """Return whether a value matches an annotation; a bool is not a number."""
    origin = typing.get_origin(kind) or kind
    if origin is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in typing.get_args(kind))
    if _is_union(kind):
        return any(matches(value, one) for one in typing.get_args(kind))
    if origin is bool:
        return isinstance(value, (bool, np.bool_))
    if origin in (int, float):
        kinds = (int, np.integer) if origin is int else (int, float, np.integer, np.floating)
        return isinstance(value, kinds) and not isinstance(value, bool)
    if origin is collections.abc.Sequence:
        return isinstance(value, (origin, np.ndarray)) and not isinstance(value, str)
    is_checkable = isinstance(origin, type) and (
        not getattr(origin, "_is_protocol", False) or getattr(origin, "_is_runtime_protocol", False)
    )
    return not is_checkable or isinstance(value, origin)


def suggest_keywords(init: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Decorate an `__init__`: an unknown keyword raises TypeError with the closest known one."""
    known = [name for name in inspect.signature(init).parameters if name != "self"]

    @functools.wraps(init)
    def checked(*args: Arguments.args, **keywords: Arguments.kwargs) -> None:
        for keyword in keywords:
            if keyword not in known:
                name = type(args[0]).__name__
                hint = "Give it to gym.make_vec. " if keyword in VECTOR_KEYWORDS else ""
                raise TypeError(
                    f"{name} has no keyword {keyword!r}. {hint}{suggest(keyword, known)}"
                )
        init(*args, **keywords)

    return checked
