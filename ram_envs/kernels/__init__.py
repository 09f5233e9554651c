"""Kernels: functions called in every step, each in numpy and, for speed, compiled by numba.

Both forms give the same results bit for bit. The numpy form is defined where it is used, decorated
with `@kernel(MODULE)`, and specifies the compiled form of the same name in `ram_envs/kernels/`.
`function.run(…)` calls the form in use, `function.numpy(…)` the numpy form, which in some kernels
also takes tensors; `function.on(array)` is the form for arrays or tensors, whichever `array` is.

`RAM_ENVS_KERNELS` selects the form: "numpy", "numba", or, if it is not set, numba where it is
installed (the extra `fast`). If numba cannot be used, numpy is, and a line on stderr gives the
reason.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, ParamSpec, TypeVar

import numpy as np

from ram_envs.arrays import is_tensor
from ram_envs.notices import print_notice

Form = Literal["numpy", "numba"]
VARIABLE = "RAM_ENVS_KERNELS"
OLDEST_NUMBA = (0, 61)  # the first for numpy 2.1 and Python 3.13

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

KERNELS: list[Kernel[..., Any]] = []  # of all modules imported so far
_form: Form | None = None  # None before the first use
_choosing = threading.Lock()


class Kernel(Generic[Arguments, Result]):
    """A function with a compiled form.

    Attributes:
        numpy: the function in numpy; for some, in torch, too.
        run: the form in use.
    """

    run: Callable[Arguments, Result]

    def __init__(self, module: str, function: Callable[Arguments, Result]) -> None:
        self.module = f"ram_envs.kernels.{module}"
        self.numpy = function
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self.reset()
        KERNELS.append(self)

    def on(self, array: Any) -> Callable[Arguments, Result]:
        """Return the form for arrays or tensors, whichever `array` is."""
        return self.numpy if type(array) is not np.ndarray and is_tensor(array) else self.run

    def reset(self) -> None:
        """Choose the form at the next call."""
        self.run = self._choose_and_run

    def _choose_and_run(self, *args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        self.run = self.compiled() if form_in_use() == "numba" else self.numpy
        return self.run(*args, **keywords)

    def compiled(self) -> Callable[Arguments, Result]:
        """Return the compiled form; numpy's, with a line on stderr, if it does not compile."""
        try:
            compiled = getattr(importlib.import_module(self.module), self.__name__)  # type: ignore[attr-defined]
        except Exception as error:  # whatever numba, LLVM or the platform raise
            _fall_back(f"numba cannot compile {self.module} ({type(error).__name__}: {error})")
            return self.numpy
        return compiled  # type: ignore[no-any-return]


def kernel(module: str) -> Callable[[Callable[Arguments, Result]], Kernel[Arguments, Result]]:
    """Decorate a function whose compiled form is in `ram_envs/kernels/MODULE.py`."""
    return functools.partial(Kernel, module)


def form_in_use() -> Form:
    """Return "numpy" or "numba".

    Raises:
        ValueError: if the variable RAM_ENVS_KERNELS has another value.
    """
    if _form is None:
        with _choosing:  # importing numba takes a second, in which other threads may ask
            return _form or _choose_form()
    return _form


def _choose_form() -> Form:
    global _form
    chosen = os.environ.get(VARIABLE) or None
    if chosen not in (None, "numpy", "numba"):
        raise ValueError(f"{VARIABLE}={chosen!r} does not exist. Choose 'numpy' or 'numba'.")
    reason = "" if chosen == "numpy" else _why_not_numba(is_wanted=chosen == "numba")
    if reason:
        _fall_back(reason)
    else:
        _form = "numba" if reason is None else "numpy"
    assert _form is not None
    return _form


def describe_form() -> str:
    """Return the form in use: "numpy", or "numba" with its version."""
    form = form_in_use()
    return f"numba {sys.modules['numba'].__version__}" if form == "numba" else form


def load_all() -> None:
    """Compile all kernels, or load them from numba's cache, if numba is in use."""
    if form_in_use() == "numba":
        for name in ("glimpses", "streams", "canvases", "games", "steps"):
            importlib.import_module(f"{__name__}.{name}")


@contextlib.contextmanager
def using(form: Form) -> Iterator[None]:
    """Use a form within the `with` block."""
    global _form
    before = _form
    _set_form(form)
    try:
        yield
    finally:
        _set_form(before)


def _set_form(form: Form | None) -> None:
    global _form
    _form = form
    for each in KERNELS:
        each.reset()


def _why_not_numba(is_wanted: bool) -> str | None:
    """Return why numba cannot be used, or None; empty if it is neither installed nor wanted."""
    if importlib.util.find_spec("numba") is None:
        hint = 'numba is not installed (pip install "ram-gym[fast]")'
        return hint if is_wanted else ""
    try:
        from numba import __version__, config, version_info
    except Exception as error:  # such as a numpy that it does not know, or a folder of this name
        return f"numba cannot be imported ({type(error).__name__}: {error})"
    if version_info[:2] < OLDEST_NUMBA:
        oldest = ".".join(map(str, OLDEST_NUMBA))
        return f"numba {__version__} is too old (pip install 'numba>={oldest}')"
    if config.DISABLE_JIT:
        return "numba does not compile where NUMBA_DISABLE_JIT is set"
    if sys.byteorder != "little":  # words of eight pixels are taken apart
        return f"the compiled kernels do not support {sys.byteorder}-endian processors"
    return None


def _fall_back(reason: str) -> None:
    """Use numpy from now on, and say why."""
    _set_form("numpy")
    print_notice(
        f"ram_envs: {reason}. The slower numpy kernels are used; {VARIABLE}=numpy silences this "
        "line."
    )
