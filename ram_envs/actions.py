"""Actions as users pass them: checked, with locations clipped to [−1, 1]²."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.arrays import is_tensor
from ram_envs.kernels import kernel

if TYPE_CHECKING:
    from ram_envs.task import Rows

_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_CHOICE_TYPES = (np.int64, int)


def as_array(value: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return numpy's array of a value, or array(None), which fits no space, if there is none.

    Raises:
        TypeError: for a tensor on a GPU, or one that requires a gradient.
    """
    try:
        return np.asarray(value, dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        if is_tensor(value):  # torch's message says how to make it an array
            raise TypeError(f"action={value!r} is not an array: {error}") from None
        return np.array(None)


def checked_pair(action: Any) -> tuple[Any, Any]:
    """Return the two halves of an action, or raise TypeError unless it is a pair."""
    if not isinstance(action, (tuple, list)) or len(action) != 2:
        raise TypeError(
            f"action={action!r} is not a pair (location, choice) as in env.action_space.sample(). "
            "For agents without Tuple support, wrap the environment in GridAction, FlatBoxAction "
            "or DictAction of ram_envs.wrappers (ram_envs.wrappers.vector for a vector "
            "environment)."
        )
    return action[0], action[1]


def checked_action(
    action: Any, num_choices: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the location (1, 2), clipped, and the choice (1,) of one environment's action."""
    location, choice = checked_pair(action)
    # Most actions are like this, and need no more checks.
    if (
        type(location) is np.ndarray
        and location.dtype is _FLOAT32
        and location.shape == (2,)
        and type(choice) in _CHOICE_TYPES
        and 0 <= choice < num_choices
    ):
        x, y = location.tolist()
        if -1 <= x <= 1 and -1 <= y <= 1:
            return location.reshape(1, 2), np.array((choice,), _INT64)
    locations = checked_locations(location, (2,))[None]
    return locations, checked_choices(choice, (), num_choices)[None]


def checked_actions(
    actions: Any, num_envs: int, num_choices: int, rows: Rows | slice = slice(None)
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the locations (n, 2), clipped, and the choices (n,) of `rows`; ignore the others."""
    locations, choices = checked_pair(actions)
    # Most actions are like these, and need no more checks.
    if (
        type(locations) is np.ndarray
        and type(choices) is np.ndarray
        and locations.dtype is _FLOAT32
        and choices.dtype is _INT64
        and locations.shape == (num_envs, 2)
        and choices.shape == (num_envs,)
    ):
        chosen = choices[rows] if type(rows) is not slice else choices.copy()
        clipped = clip_locations.run(locations[rows], chosen, num_choices)
        if clipped is not None:
            return clipped, chosen
    clipped = checked_locations(locations, (num_envs, 2), rows)
    return clipped[rows], checked_choices(choices, (num_envs,), num_choices, rows)[rows]


@kernel("steps")
def clip_locations(
    locations: npt.NDArray[np.float32], choices: npt.NDArray[np.int64], num_choices: int
) -> npt.NDArray[np.float32] | None:
    """Return locations (B, 2), clipped; None if one is NaN or a choice (B,) does not exist."""
    if choices.view(np.uint64).max(initial=0) >= num_choices:  # negative ones view as huge
        return None
    clipped = np.minimum(np.maximum(locations, -1), 1)
    return None if np.count_nonzero(clipped != clipped) else clipped


def checked_locations(
    locations: Any, shape: tuple[int, ...], rows: Rows | slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Return locations of `shape` as float32, clipped; NaN is refused in `rows` only."""
    checked = checked_coordinates(locations, shape, rows)
    return np.minimum(np.maximum(checked, -1), 1).astype(np.float32)


def checked_coordinates(
    locations: Any, shape: tuple[int, ...], rows: Rows | slice | npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return (x, y) of `shape` as float64, not clipped; NaN is refused in `rows` only."""
    checked = as_array(locations, np.float64)  # numbers beyond float32's range are clipped, too
    if checked.dtype != np.float64:
        raise TypeError(f"location={locations!r} is not numeric. Give (x, y).")
    if checked.shape != shape:
        raise ValueError(f"location has shape {checked.shape}, not {shape}. Give (x, y) last.")
    if np.count_nonzero(np.isnan(checked[rows])):
        raise ValueError(
            f"location={locations!r} contains NaN. Give numbers from -1 to 1; an agent whose "
            "output is NaN has usually diverged."
        )
    return checked


def is_glimpse_action(space: Any) -> bool:
    """Return whether an action space is Tuple(Box (2,), Discrete(n))."""
    return (
        isinstance(space, spaces.Tuple)
        and len(space) == 2
        and space[0].shape == (2,)
        and isinstance(space[1], spaces.Discrete)
    )


def check_first_choice(choices: spaces.Discrete) -> None:
    """Raise ValueError unless the first of the choices is 0."""
    if (first := int(choices.start)) != 0:
        raise ValueError(
            f"{choices} is not supported: choices must begin at 0. Wrap the environment: "
            f"gymnasium.wrappers.TransformAction(env, lambda choice: choice + {first}, "
            f"gymnasium.spaces.Discrete({choices.n}))."
        )


def checked_choices(
    choices: Any,
    shape: tuple[int, ...],
    num_choices: int,
    rows: Rows | slice = slice(None),
    first: int = 0,
) -> npt.NDArray[np.int64]:
    """Return choices of `shape`, of which the smallest is `first`, as int64; only `rows` must be
    in range.
    """
    checked, last = as_array(choices), first + num_choices - 1
    if checked.dtype.kind not in "iu" or checked.shape != shape:
        wanted = "an integer" if shape == () else f"integers of shape {shape}"
        raise TypeError(
            f"choice={choices!r} has dtype {checked.dtype} and shape {checked.shape}. Give "
            f"{wanted} from {first} to {last}."
        )
    converted = checked.astype(np.int64)
    chosen = converted[rows] if shape else converted
    if first:
        chosen = chosen - first
    if chosen.size and chosen.view(np.uint64).max() >= num_choices:  # negative ones view as huge
        given = checked[rows] if shape else checked
        wrong = given.min() if given.min() < first else given.max()
        raise ValueError(f"choice={wrong} does not exist. Give an integer from {first} to {last}.")
    return converted
