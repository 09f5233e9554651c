"""Checks of what users pass to environments: an error names the value and how to correct it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import logger
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode


def suggest(given: object, known: Iterable[object]) -> str:
    """Return a sentence that lists the known names, and which of them was probably meant."""
    names = [str(name) for name in known]
    close = find_close(str(given), names)
    hint = "" if close is None else f"Did you mean {close!r}? "
    return f"{hint}Choose from {', '.join(map(repr, names))}."


def find_close(given: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever its case; None if none is close."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), names, n=1)
    return names[close[0]] if close else None


def checked_integer(
    name: str, value: Any, low: int, high: int | None = None, meaning: str = ""
) -> int:
    """Return `value` as an int, or raise ValueError unless it is an integer from low to high.

    `meaning` ends the message: what the highest value stands for.
    """
    if not _is_integer(value) or value < low or (high is not None and value > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value!r} is out of range. Give an integer {limits}{meaning}.")
    return int(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def checked_number(name: str, value: Any, low: float, high: float, meaning: str = "") -> float:
    """Return `value` as a float, or raise ValueError unless it is a number from low to high."""
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    # As Python's number, since limits may be beyond the range of numpy's types.
    number = value.item() if isinstance(value, np.generic) else value
    if not is_number or isinstance(value, bool) or not low <= number <= high:
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


def warn_of_no_render_mode(known: Sequence[str]) -> None:
    """Warn that `render` draws nothing in an environment made without a render mode."""
    logger.warn(
        "render() draws nothing without a render_mode. Make the environment with render_mode="
        f"{' or '.join(map(repr, known))}."
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


def find_autoreset_mode(env: Any) -> AutoresetMode:
    """Return a vector environment's autoreset mode.

    Raises:
        ValueError: if none is stated.
    """
    # The attribute first: ale-py's environments share one metadata, whatever their modes.
    mode = getattr(env.unwrapped, "autoreset_mode", None) or env.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            f"the autoreset mode of {env} is unknown: metadata['autoreset_mode'] is {mode!r}. Set "
            "it to the member of gymnasium.vector.AutoresetMode that says what happens at the end "
            "of an episode."
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
    """Return the seeds, or raise unless they are a list of num_envs non-negative ints or None.

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
            raise ValueError(f"seed contains {seed!r}. Give ints of at least 0, or None.")
    return seeds
