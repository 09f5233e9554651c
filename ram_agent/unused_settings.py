"""Settings that have no effect: a table of them, and the checks that refuse them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ram_agent.config import AgentConfig, SegmentConfig, TrainConfig, flatten_settings

if TYPE_CHECKING:
    from ram_agent.presets import Preset

IMAGES = "where there are images, each of which a validation shows once"
SUPERVISED = "where labels are supervised"
UNSUPERVISED = "without labels, or with supervision='none'"
LEARNED_GAZE = (
    "location_std",
    "location_std_end",
    "location_weight",
    "location_warmup",
    "head_warmup",
)

UNUSED = {  # a condition, as errors name it: the settings that are not read then
    IMAGES: ("validation_games",),
    SUPERVISED: (
        *("gae_lambda", "entropy_weight", "baseline_loss", "steps"),
        *(field.name for field in dataclasses.fields(SegmentConfig)),
    ),
    UNSUPERVISED: ("gain_discount", "location_reward", "episodes"),
    "with location_reward='reward'": ("gain_discount",),
    "with glimpse_network='linear'": ("conv_maps",),
    "with locations='random'": LEARNED_GAZE,
    "with locations='center'": LEARNED_GAZE,
}
# Without labels, locations are rewarded as with this setting, which is the paper's.
UNSUPERVISED_VALUES = {"location_reward": "reward"}
INSTEAD = {"episodes": ", and give steps", "steps": ", and give episodes"}


def check_used_in_task(config: TrainConfig, supervised: bool, has_images: bool = False) -> None:
    """Raise ValueError if a setting was changed that a training never reads.

    Args:
        config: the settings.
        supervised: whether labels are supervised.
        has_images: whether validations show the images of a split, each once.
    """
    conditions = [SUPERVISED, condition_of("location_reward", config.objective.location_reward)]
    if not supervised:
        conditions = [UNSUPERVISED]
    if has_images:
        conditions.append(IMAGES)
    values, defaults = (
        flatten_settings(dataclasses.asdict(each)) for each in (config, TrainConfig())
    )
    refuse_changed(values, conditions, [defaults, UNSUPERVISED_VALUES])


def check_used_together(given: Preset, own: Preset) -> None:
    """Raise ValueError if a setting was given that another one makes useless.

    Args:
        given: the settings of a training.
        own: those of its preset, which are not the user's, and pass.
    """
    conditions = (condition_of(name, value) for name, value in given.values.items())
    defaults = dataclasses.asdict(AgentConfig()) | dataclasses.asdict(TrainConfig())
    refuse_changed(given.values, conditions, [own.values, flatten_settings(defaults)])


def condition_of(setting: str, value: Any) -> str:
    """Return the condition that a setting has a value, as in `UNUSED`."""
    return f"with {setting}={value!r}"


def refuse_changed(
    values: Mapping[str, Any], conditions: Iterable[str], accepted: Sequence[Mapping[str, Any]]
) -> None:
    """Raise ValueError if a setting that is not read has none of the accepted values."""
    for condition in conditions:
        for name in UNUSED.get(condition, ()):
            if values[name] not in [each[name] for each in accepted if name in each]:
                raise ValueError(
                    f"{name}={values[name]!r} has no effect {condition}. Leave it out"
                    f"{INSTEAD.get(name, '')}."
                )
