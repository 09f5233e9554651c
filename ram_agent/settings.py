"""Checks of settings: a value's type, by its annotation, and its range, by the table here."""

from __future__ import annotations

import difflib
import math
import numbers
import reprlib
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Checked:
    """A dataclass of settings whose types and ranges are checked when it is made.

    Numbers of NumPy become Python's, so that settings are JSON.

    Raises:
        TypeError: for a setting that does not exist, or lies in a group; names the group.
        ValueError: for a value of another type, or out of its range; names the setting.
    """

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        """Name the group of a setting that is given outside of it, and one that does not exist."""
        for name, kind in type_hints(cls).items():
            if is_group(kind) and (
                inside := min(setting_names(kind) & settings.keys(), default="")
            ):
                raise TypeError(
                    f"{inside} is a setting of the group {name}. Give {cls.__name__}({name}="
                    f"{kind.__name__}({inside}=…)), or replace_settings(config, {inside}=…)."
                )
        if unknown := min(settings.keys() - type_hints(cls).keys(), default=None):
            raise TypeError(describe_unknown(unknown, cls))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, kind in type_hints(type(self)).items():
            value = getattr(self, name)
            check_setting(name, value, kind)
            if type(value).__module__ == "numpy":
                object.__setattr__(self, name, value.item())


class Range(NamedTuple):
    """Which numbers a setting takes, in words and as a test."""

    words: str
    low: float
    includes_low: bool
    high: float = math.inf
    includes_high: bool = False

    def has(self, value: float) -> bool:
        """Return whether a number lies in the range."""
        above = value > self.low or (self.includes_low and value == self.low)
        return above and (value < self.high or (self.includes_high and value == self.high))


POSITIVE = Range("a positive number", 0, includes_low=False)
NOT_NEGATIVE = Range("a number of at least 0", 0, includes_low=True)
FRACTION = Range("a number from 0 to 1", 0, includes_low=True, high=1, includes_high=True)
BELOW_ONE = Range("a number of at least 0, below 1", 0, includes_low=True, high=1)

RANGES: dict[str, Range] = {
    "seed": Range("an integer of at least 0, below 2^63", 0, includes_low=True, high=2**63),
    **dict.fromkeys(("hidden_size", "feature_size", "conv_maps", "num_channels"), POSITIVE),
    **dict.fromkeys(("pixel_scale", "scale_factor"), POSITIVE),
    **dict.fromkeys(("episodes", "epochs", "batch_size", "validate_every", "patience"), POSITIVE),
    **dict.fromkeys(("learning_rate", "max_grad_norm"), POSITIVE),
    **dict.fromkeys(("location_std", "location_std_end"), POSITIVE),
    **dict.fromkeys(("location_start", "head_rate", "weight_decay", "gain_discount"), NOT_NEGATIVE),
    **dict.fromkeys(("entropy_weight", "baseline_weight", "location_weight"), NOT_NEGATIVE),
    "warmup_updates": NOT_NEGATIVE,
    **dict.fromkeys(("pixel_mean", "location_warmup", "head_warmup", "gae_lambda"), FRACTION),
    **dict.fromkeys(
        ("steps", "validation_games", "segment_length", "passes", "minibatches"), POSITIVE
    ),
    **dict.fromkeys(("discount", "return_lambda"), FRACTION),
    "clip_range": POSITIVE,
    "average_decay": BELOW_ONE,
}


OTHER_NAMES = {  # of settings, elsewhere: the name here
    "lr": "learning_rate",
    "bs": "batch_size",
    "gamma": "discount",
    "ent_coef": "entropy_weight",
    "vf_coef": "baseline_weight",
    "clip_coef": "clip_range",
    "n_steps": "segment_length",
    "num_steps": "segment_length",
    "total_timesteps": "steps",
}


def closest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the setting that was probably meant, by its other names or by its spelling."""
    if (other := OTHER_NAMES.get(name)) in (names := list(names)):
        return other
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=cutoff)), None)


def describe_unknown(name: object, config_type: type[Checked]) -> str:
    """Return the message for a setting that does not exist."""
    meant = closest(str(name), setting_names(config_type))
    hint = "" if meant is None else f" Did you mean {meant!r}?"
    return f"{config_type.__name__} has no setting {reprlib.repr(name)}.{hint}"


def check_setting(name: str, value: Any, kind: Any) -> None:
    """Raise ValueError unless a value has its setting's type and lies in its range.

    Every number has a range in `RANGES`, which contains neither NaN nor infinity.
    """
    if not is_a(value, kind):
        expected = kind.__name__ if isinstance(kind, type) else str(kind)
        raise ValueError(
            f"{name}={reprlib.repr(value)} is not a valid value. Give {_in_words(kind, expected)}."
        )
    if name in RANGES and value is not None and not RANGES[name].has(value):
        or_none = " or None" if type(None) in get_args(kind) else ""
        raise ValueError(f"{name}={value!r} is out of range. Give {RANGES[name].words}{or_none}.")


def _in_words(kind: Any, expected: str) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if is_group(kind):
        return f"{'an' if expected[0] in 'AEIOU' else 'a'} {expected}(…)"
    return f"a value of type {expected}"


def is_a(value: Any, kind: Any) -> bool:
    """Return whether a value matches an annotation; an int is a float, a bool is neither."""
    if get_origin(kind) is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(kind))
    if get_args(kind):  # float | None
        return any(is_a(value, one) for one in get_args(kind))
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real  # NumPy's, too
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, kind)


def is_group(kind: Any) -> bool:
    """Return whether an annotation is a group of settings."""
    return isinstance(kind, type) and issubclass(kind, Checked)


def type_hints(config_type: type[Checked]) -> dict[str, Any]:
    """Return the settings of a config and their types."""
    return get_type_hints(config_type)


def setting_names(config_type: type[Checked]) -> frozenset[str]:
    """Return the names of all settings of a config, those in its groups included."""
    names: set[str] = set()
    for name, kind in type_hints(config_type).items():
        names |= setting_names(kind) if is_group(kind) else {name}
    return frozenset(names)


def group_names(config_type: type[Checked]) -> frozenset[str]:
    """Return the names of the groups of settings in a config."""
    return frozenset(name for name, kind in type_hints(config_type).items() if is_group(kind))
