"""numpy's arrays and torch's tensors under one set of names, so that rules are written once.

What is made from a tensor is a tensor on its device, and nothing here synchronizes. torch
is not imported: whoever has a tensor has imported it already.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

_NUMPY_TYPES = (np.ndarray, np.generic, int)


def is_tensor(array: Any) -> bool:
    """Return whether an array is a torch tensor."""
    if isinstance(array, _NUMPY_TYPES):  # first, because it is the cheaper test
        return False
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def cast(array: Any, dtype: str) -> Any:
    """Convert an array to a dtype."""
    if is_tensor(array):
        return array.to(getattr(sys.modules["torch"], dtype))
    return array.astype(dtype)


def minimum(array: Any, other: Any) -> Any:
    """Return the element-wise minimum."""
    return (sys.modules["torch"] if is_tensor(array) else np).minimum(array, other)


def zeros(shape: tuple[int, ...], dtype: str, like: Any) -> Any:
    """Return an array of zeros of the same kind, on the same device as `like`."""
    if is_tensor(like):
        return like.new_zeros(shape, dtype=getattr(sys.modules["torch"], dtype))
    return np.zeros(shape, dtype)


def empty(shape: tuple[int, ...], dtype: str, like: Any) -> Any:
    """Return an uninitialized array of the same kind, on the same device as `like`."""
    if is_tensor(like):
        return like.new_empty(shape, dtype=getattr(sys.modules["torch"], dtype))
    return np.empty(shape, dtype)


def arange(stop: int, like: Any) -> Any:
    """Return the int64 numbers 0 … stop − 1, on the same device as `like`."""
    if is_tensor(like):
        return sys.modules["torch"].arange(stop, device=like.device)
    return np.arange(stop, dtype=np.int64)


def to_like(array: npt.NDArray[Any], like: Any) -> Any:
    """Return a numpy array as the kind of array that `like` is, on its device."""
    if is_tensor(like):
        return sys.modules["torch"].from_numpy(array).to(like.device, non_blocking=True)
    return array
