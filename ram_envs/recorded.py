"""What environments and wrappers record of their arguments, as `spec.to_json()` can write it."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import RecordConstructorArgs

NUMBERS = ("canvas_size", "initial_location")  # keywords that take arrays of a few numbers


def as_plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's, a path as text, and others as they are."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return os.path.abspath(os.path.expanduser(value))  # an unknown user stays as it is
    return type(value)(map(as_plain, value)) if type(value) in (tuple, list) else value


class RecordedArguments(RecordConstructorArgs):
    """A wrapper that records its arguments as `as_plain` returns them."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{name: as_plain(value) for name, value in arguments.items()})


class RecordedSpec:
    """An environment whose `spec` has its numbers and paths as `as_plain` returns them.

    Other arrays, such as the images of a custom environment, stay as they are.
    """

    _spec: Any = None

    @property
    def spec(self) -> Any:
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        if spec is not None:
            spec = copy.copy(spec)
            spec.kwargs = {
                name: as_plain(value)
                if name in NUMBERS or isinstance(value, np.generic | Path)
                else value
                for name, value in spec.kwargs.items()
            }
        self._spec = spec
