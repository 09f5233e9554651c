"""What numpy's arrays and torch's tensors do under different names, so that rules are written once.

What is made of a tensor is a tensor on its device, and nothing here waits for the device. torch is
not imported: who has a tensor has it already.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

_OF_NUMPY = (np.ndarray, np.generic, int)


def is_tensor(array: Any) -> bool:
    """Whether an array is torch's."""
    if isinstance(array, _OF_NUMPY):  # first, since it is the quicker question
        return False
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def cast(array: Any, dtype: str) -> Any:
    """The array's values as another dtype."""
    if is_tensor(array):
        return array.to(getattr(sys.modules["torch"], dtype))
    return array.astype(dtype)


def minimum(array: Any, other: Any) -> Any:
    """The smaller of two values each."""
    return (sys.modules["torch"] if is_tensor(array) else np).minimum(array, other)


def zeros(shape: tuple[int, ...], dtype: str, like: Any) -> Any:
    """Zeros where `like` is."""
    if is_tensor(like):
        return like.new_zeros(shape, dtype=getattr(sys.modules["torch"], dtype))
    return np.zeros(shape, dtype)


def empty(shape: tuple[int, ...], dtype: str, like: Any) -> Any:
    """Room where `like` is, for values to come."""
    if is_tensor(like):
        return like.new_empty(shape, dtype=getattr(sys.modules["torch"], dtype))
    return np.empty(shape, dtype)


def arange(stop: int, like: Any) -> Any:
    """The int64 numbers 0 … stop − 1, where `like` is."""
    if is_tensor(like):
        return sys.modules["torch"].arange(stop, device=like.device)
    return np.arange(stop, dtype=np.int64)


def beside(array: npt.NDArray[Any], like: Any) -> Any:
    """An array of the host, where `like` is."""
    if is_tensor(like):
        return sys.modules["torch"].from_numpy(array).to(like.device, non_blocking=True)
    return array
