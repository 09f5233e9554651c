"""Checks of what users pass to environments: an error names the value and how to correct it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from ram_envs.kernels import kernel

if TYPE_CHECKING:
    from ram_envs.task import Rows

Arguments = ParamSpec("Arguments")

_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_CHOICE_TYPES = (np.int64, int)

# Arguments of `gym.make_vec`, which are no settings of an environment.
VECTOR_KEYWORDS = ("num_envs", "autoreset_mode", "vectorization_mode", "vector_kwargs", "wrappers")


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


def suggest(given: object, known: Iterable[object]) -> str:
    """Return a sentence that lists the known names, and which of them was probably meant."""
    names = {str(name).lower(): str(name) for name in known}
    close = difflib.get_close_matches(str(given).lower(), names, n=1)
    hint = f"Did you mean {names[close[0]]!r}? " if close else ""
    return f"{hint}Choose from {', '.join(map(repr, names.values()))}."


def checked_integer(
    name: str, value: Any, low: int, high: int | None = None, meaning: str = ""
) -> int:
    """Return `value` as an int, or raise ValueError unless it is an integer from low to high.

    `meaning` ends the message: what the highest value stands for.
    """
    if not _is_integer(value) or value < low or (high is not None and value > high):
        limits = f"from {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value!r} is out of range. Give an integer {limits}{meaning}.")
    return int(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def checked_number(name: str, value: Any, low: float, high: float, meaning: str = "") -> float:
    """Return `value` as a float, or raise ValueError unless it is a number from low to high."""
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if not is_number or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(
            f"{name}={value!r} is out of range. Give a number from {low:g} to {high:g}{meaning}."
        )
    return float(value)


def checked_sides(name: str, size: Any, meaning: str = "") -> tuple[int, int]:
    """Return a side, or (height, width), as (height, width); raise ValueError for anything else.

    `meaning` ends the message: what else is allowed. The sides' range is not checked.
    """
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(map(_is_integer, sides)):
        raise ValueError(
            f"{name}={size!r} is not a size. Give a side in pixels or (height, width){meaning}."
        )
    return int(sides[0]), int(sides[1])


def checked_location(name: str, location: Any) -> npt.NDArray[np.float32]:
    """Return a location as float32 (2,), or raise ValueError unless it is (x, y) in [−1, 1]²."""
    try:
        checked = np.asarray(location, np.float64)
        is_location = checked.shape == (2,) and bool((np.abs(checked) <= 1).all())
    except (TypeError, ValueError):
        is_location = False
    if not is_location:
        raise ValueError(f"{name}={location!r} is not a location. Give (x, y), both from -1 to 1.")
    return checked.astype(np.float32)


def check_render_mode(render_mode: str | None, known: Sequence[str]) -> None:
    """Raise ValueError unless the render mode is known, or None."""
    if render_mode is not None and render_mode not in known:
        raise ValueError(
            f"render_mode={render_mode!r} does not exist. {suggest(render_mode, (None, *known))}"
        )


def checked_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return a mode, given itself or by its value; raise ValueError if it does not exist."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = [known.value for known in AutoresetMode]
        raise ValueError(
            f"autoreset_mode={mode!r} does not exist. {suggest(mode, known)}"
        ) from None


def check_options(options: Mapping[str, Any], names: Sequence[str] | None, *more: str) -> None:
    """Check that `reset` was given no unknown option; names=None means that any may be known."""
    known = (*(names or ()), *more)
    for name in options:
        if names is not None and name not in known:
            hint = suggest(name, known) if known else "Leave it out: this task has no options."
            raise ValueError(f"reset() has no option {name!r}. {hint}")


def checked_reset_mask(mask: Any, num_envs: int) -> npt.NDArray[np.bool_]:
    """Return which environments are reset, all for None; raise ValueError for a wrong mask."""
    if mask is None:
        return np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        raise ValueError(
            f"options['reset_mask']={mask!r} is not a mask. Give a numpy array of {num_envs} bools."
        )
    if not mask.any():
        raise ValueError(f"options['reset_mask']={mask} resets nothing. Set at least one True.")
    return mask


def all_true(flags: npt.NDArray[Any]) -> bool:
    """Return flags.all(), five times faster for the small arrays of every step."""
    return int(np.count_nonzero(flags)) == flags.size


def check_running(running: npt.NDArray[np.bool_]) -> None:
    """Raise ResetNeeded unless every episode, (B,), has begun and not ended."""
    if not all_true(running):
        stopped = np.flatnonzero(~running).tolist()
        where = f" in sub-environments {stopped}" if len(running) > 1 else ""
        raise ResetNeeded(
            f"step() was called{where} before reset() or after the end of the episode. Call "
            "reset() first; options={'reset_mask': mask} resets some of a vector environment."
        )


def checked_seeds(seeds: Any, num_envs: int) -> Sequence[int | None]:
    """Return the seeds, or raise unless they are a list of num_envs ints from 0 or None.

    Raises:
        TypeError: if they are not a list or tuple.
        ValueError: if their number or an entry is wrong.
    """
    if not isinstance(seeds, (list, tuple)):
        raise TypeError(
            f"seed={seeds!r} is not a seed. Give an int, a list with one entry for each "
            "sub-environment, or None."
        )
    if len(seeds) != num_envs:
        raise ValueError(
            f"seed has {len(seeds)} entries for {num_envs} sub-environments. Give one for each."
        )
    for seed in seeds:
        if seed is not None and not (isinstance(seed, int) and seed >= 0):
            raise ValueError(f"seed contains {seed!r}. Give ints from 0, or None.")
    return seeds


def as_array(value: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return numpy's array of a value, or array(None), which fits no space, if there is none."""
    try:
        return np.asarray(value, dtype)
    except (TypeError, ValueError):
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
    try:  # float64, so that numbers beyond float32's range are clipped, too
        checked = np.asarray(locations, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"location={locations!r} is not numeric. Give (x, y).") from None
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
