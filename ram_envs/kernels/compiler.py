"""How kernels are compiled: when their module is imported, for given types, and then cached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ram_envs.notices import print_notice

OPTIONS = {"nogil": True, "error_model": "numpy"}

# Types of arguments: numbers, and contiguous arrays of one dimension if no other number is given.
# Arrays that are only read may be read-only.
INTEGER, DOUBLE, FLAG, NOTHING = types.int64, types.float64, types.boolean, types.void


def reads(kind: Any, dimensions: int = 1) -> Any:
    """Return the type of an array that is read."""
    return types.Array(kind, dimensions, "C", readonly=True)


def writes(kind: Any, dimensions: int = 1) -> Any:
    """Return the type of an array that is written to."""
    return types.Array(kind, dimensions, "C")


BYTES, FLOATS, LOCATIONS = reads(types.uint8), reads(types.float32), reads(types.float32, 2)
INTEGERS, DOUBLES, KEYS = reads(types.int64), reads(types.float64), reads(types.uint64)
FLAGS = reads(types.boolean)
OUT_BYTES, OUT_LOCATIONS = writes(types.uint8), writes(types.float32, 2)
OUT_GLIMPSES = writes(types.float32, 4)
OUT_INTEGERS, OUT_DOUBLES, OUT_KEYS = (
    writes(types.int64),
    writes(types.float64),
    writes(types.uint64),
)
OUT_FLAGS = writes(types.boolean)

_said_uncached = False


def flat(array: Any) -> Any:
    """Return a contiguous array of one dimension; a copy only if the array has gaps."""
    return (array if array.flags.c_contiguous else np.ascontiguousarray(array)).reshape(-1)


def compiled(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile the decorated function for these types at once, or load it from numba's cache."""
    signature = result(*arguments)

    def compile_it(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            dispatcher: Callable[..., Any] = numba.njit(signature, cache=True, **OPTIONS)(function)
        except Exception as error:  # no folder can be written to, or the cache is damaged
            dispatcher = numba.njit(signature, **OPTIONS)(function)
            _say_uncached(error)
        return dispatcher

    return compile_it


def _say_uncached(error: Exception) -> None:
    global _said_uncached
    if not _said_uncached:
        print_notice(
            f"ram_envs: numba's cache cannot be used ({error}), so every process compiles the "
            "kernels. Set NUMBA_CACHE_DIR to another folder that can be written to."
        )
    _said_uncached = True


inlined = numba.njit(**OPTIONS)


@intrinsic
def read(_: Any, address: Any, kind: Any) -> Any:
    """Return the number of a kind, such as np.uint16, at an address, which need not be aligned."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(signature.return_type).as_pointer()
        load = builder.load(builder.inttoptr(arguments[0], number))
        load.align = 1
        return load

    return kind.dtype(types.int64, kind), generate


@intrinsic
def write(_: Any, address: Any, number: Any) -> Any:
    """Write a number to an address, which need not be aligned."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], arguments[1].type.as_pointer())
        builder.store(arguments[1], place).align = 1
        return context.get_dummy_value()

    return types.void(types.int64, number), generate


@intrinsic
def prefetch(_: Any, address: Any) -> Any:
    """Begin to bring what lies at an address into the cache; any address will do."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        to_read, to_keep, data = (ir.IntType(32)(number) for number in (0, 3, 1))
        place = builder.inttoptr(arguments[0], pointer)
        builder.call(function, [place, to_read, to_keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate
