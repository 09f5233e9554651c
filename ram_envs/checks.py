"""What environments are told, checked: an error names the value, what was expected, the way out."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from ram_envs.retina import Retina
from ram_envs.task import Rows

Arguments = ParamSpec("Arguments")


def suggest_keywords(init: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Decorate an `__init__`: an unknown keyword raises TypeError with the closest known one."""
    known = [name for name in inspect.signature(init).parameters if name != "self"]

    @functools.wraps(init)
    def checked(*args: Arguments.args, **keywords: Arguments.kwargs) -> None:
        for keyword in keywords:
            if keyword not in known:
                close = difflib.get_close_matches(keyword, known, n=1)
                hint = f"Did you mean {close[0]!r}? " if close else ""
                raise TypeError(
                    f"{type(args[0]).__name__} has no keyword {keyword!r}. {hint}Its keywords are "
                    f"{', '.join(known)}."
                )
        init(*args, **keywords)

    return checked


def check_retina_suits(retina: Retina, image_shape: tuple[int, ...]) -> None:
    height, width = image_shape[:2]
    if retina.glimpse_size > min(height, width):
        raise ValueError(
            f"glimpse_size={retina.glimpse_size}: larger than the canvas of {height} × {width} "
            f"pixels. Expected at most {min(height, width)}; choose a smaller glimpse_size."
        )
    widest = retina.patch_widths[-1]
    if retina.num_scales > 1 and widest > 2 * max(height, width):
        raise ValueError(
            f"num_scales={retina.num_scales} makes the widest patch {widest} pixels, but a patch "
            f"of {2 * max(height, width)} already sees the whole {height} × {width} canvas from "
            "any location. Choose fewer scales or a smaller glimpse_size."
        )


def checked_initial_location(location: Sequence[float] | None) -> npt.NDArray[np.float32] | None:
    if location is None:
        return None
    try:
        checked = np.asarray(location, np.float64)
        suits = checked.shape == (2,) and bool((np.abs(checked) <= 1).all())
    except (TypeError, ValueError):
        suits = False
    if not suits:
        raise ValueError(f"initial_location={location!r}: expected (x, y), both from -1 to 1.")
    return checked.astype(np.float32)


def check_render_mode(render_mode: str | None, known: Sequence[str]) -> None:
    if render_mode is not None and render_mode not in known:
        raise ValueError(f"render_mode={render_mode!r}: expected None or one of {list(known)}.")


def checked_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = [known.value for known in AutoresetMode]
        raise ValueError(f"autoreset_mode={mode!r}: expected one of {known}.") from None


def checked_reset_mask(mask: Any, num_envs: int) -> npt.NDArray[np.bool_]:
    if mask is None:
        return np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        raise ValueError(
            f"options['reset_mask']={mask!r}: expected a numpy array of {num_envs} booleans."
        )
    if not mask.any():
        raise ValueError("options['reset_mask'] resets nothing: expected at least one True.")
    return mask


def all_true(flags: npt.NDArray[np.bool_]) -> bool:
    """flags.all(), of which a small batch asks often: to count takes a fifth of the time."""
    return int(np.count_nonzero(flags)) == flags.size


def check_running(running: npt.NDArray[np.bool_]) -> None:
    if not all_true(running):
        stopped = np.flatnonzero(~running).tolist()
        which = f" in sub-environments {stopped}" if len(running) > 1 else ""
        raise ResetNeeded(
            f"step() called{which} before reset() or after the end of the episode: call reset() "
            "first; a vector environment resets some with options={'reset_mask': mask}."
        )


def checked_seeds(seeds: Any, num_envs: int) -> Sequence[int | None]:
    if not isinstance(seeds, (list, tuple)):
        raise TypeError(
            f"seed={seeds!r}: expected a Python integer, a list with an entry for each "
            "sub-environment, or None."
        )
    if len(seeds) != num_envs:
        raise ValueError(
            f"seed has {len(seeds)} entries for {num_envs} sub-environments: expected one "
            "integer, or an entry for each."
        )
    for seed in seeds:
        if seed is not None and not (isinstance(seed, int) and seed >= 0):
            raise ValueError(f"seed contains {seed!r}: expected Python integers from 0, or None.")
    return seeds


def checked_pair(action: Any) -> tuple[Any, Any]:
    if not isinstance(action, (tuple, list)) or len(action) != 2:
        raise TypeError(
            f"action={action!r}: expected a pair (location, choice), where choice is a label or "
            "a move, as in env.action_space.sample(). For an agent that says it otherwise, wrap "
            "the environment in GridAction, FlatBoxAction or DictAction of ram_envs.wrappers (of "
            "ram_envs.wrappers.vector for a vector environment)."
        )
    return action[0], action[1]


def checked_locations(
    locations: Any, shape: tuple[int, ...], rows: Rows | slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Locations of `shape` as float32, clipped to the box; only `rows` must not be NaN."""
    try:  # float64, so that numbers too large for float32 are clipped like others
        checked = np.asarray(locations, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"location={locations!r}: expected numbers, (x, y) last.") from None
    if checked.shape != shape:
        raise ValueError(f"location has shape {checked.shape}: expected {shape}, (x, y) last.")
    if np.count_nonzero(np.isnan(checked[rows])):
        raise ValueError(
            f"location={locations!r} contains NaN: expected numbers from -1 to 1. An agent that "
            "gives NaN has usually diverged; look at its losses."
        )
    return np.minimum(np.maximum(checked, -1), 1).astype(np.float32)


def checked_choices(
    choices: Any, shape: tuple[int, ...], num_choices: int, rows: Rows | slice = slice(None)
) -> npt.NDArray[np.int64]:
    """Choices of `shape` as int64; only `rows` must be in range."""
    checked = np.asarray(choices)
    if checked.dtype.kind not in "iu" or checked.shape != shape:
        kind = "an integer" if shape == () else f"integers of shape {shape}"
        raise TypeError(
            f"label or move {choices!r} ({checked.dtype}, shape {checked.shape}): expected {kind} "
            f"from 0 to {num_choices - 1}."
        )
    converted = checked.astype(np.int64)
    chosen = converted[rows] if shape else converted
    if chosen.size and chosen.view(np.uint64).max() >= num_choices:  # what is negative is huge
        told = checked[rows] if shape else checked
        bad = told.min() if told.min() < 0 else told.max()
        raise ValueError(f"label or move {bad}: expected an integer from 0 to {num_choices - 1}.")
    return converted
