"""Every public keyword and every option refuses a wrong value, and names it.

The tables below have a row for each keyword; a keyword without a row fails
`test_every_keyword_has_a_row` or `test_every_option_has_a_row`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")


import ram_envs
from ram_agent import RAMAgent, Trainer, collect_rollout, evaluate, look, train
from ram_agent.cli import COMMANDS, main
from ram_agent.config import (
    AgentConfig,
    GazeConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ScheduleConfig,
    SegmentConfig,
    TrainConfig,
    replace_settings,
)
from ram_agent.paper.controls import ControlConfig
from ram_agent.pictures import play_frames, save_picture
from ram_agent.presets import preset
from ram_agent.settings import type_hints
from ram_envs import GlimpseEnv, GlimpseVectorEnv, ImageDataset, Retina, check_task, wrappers
from ram_envs.datasets import check_images, load_dataset
from ram_envs.device_env import DeviceVectorEnv
from ram_envs.envs.catch import CatchEnv, CatchVectorEnv
from ram_envs.envs.classification import ClassificationEnv, ClassificationVectorEnv
from ram_envs.envs.moving import MovingEnv, MovingVectorEnv
from ram_envs.envs.pairs import PairsEnv, PairsVectorEnv
from ram_envs.envs.search import SearchEnv, SearchVectorEnv
from ram_envs.registration import ENVS
from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.tasks.catch import Catch
from ram_envs.testing import TaskError
from ram_envs.wrappers import vector

NAN, INF = float("nan"), float("inf")
NOTHING = object()  # of no type that anything accepts
IMAGES, LABELS = np.zeros((6, 8, 8), np.uint8), np.array([0, 1, 2] * 2)
DISABLED: dict[str, Any] = {"autoreset_mode": "Disabled"}

# A wrong value and the type of its error.
Wrong = tuple[Any, type[Exception]]


def wrong(error: type[Exception], *values: Any) -> list[Wrong]:
    return [(value, error) for value in values]


INTEGER = wrong(ValueError, "x", 1.5, True, NAN, None)  # of integers
POSITIVE = [*INTEGER, *wrong(ValueError, 0, -1)]
NOT_NEGATIVE = [*INTEGER, *wrong(ValueError, -1)]
NUMBER = wrong(ValueError, "x", True, NAN, None, INF, -1)  # of numbers from 0
NOT_BOOL = wrong(ValueError, "yes", 1.5, None)
NOT_PATH = wrong(TypeError, 1.5, None, NOTHING)
LOCATION = wrong(ValueError, "x", 1.5, (0, 2), (0, NAN), (0, 0, 0))
ENV = wrong(TypeError, "RAMMNIST-v0", None)


# --- keywords ------------------------------------------------------------------------------------


def make_env(**keywords: Any) -> Any:
    return gym.make("RAMMNIST-v0", dataset="digits", **keywords)


def make_envs(**keywords: Any) -> Any:
    return gym.make_vec("RAMMNIST-v0", num_envs=2, dataset="digits", **keywords)


def show_canvas(module: Any, make: Callable[[], Any]) -> Any:
    """Return an environment whose observation is a picture."""
    return module.WholeCanvas(make())


def make_agent() -> RAMAgent:
    envs = make_envs()
    config = AgentConfig(hidden_size=4, feature_size=4)
    return RAMAgent(envs.single_observation_space, envs.single_action_space, config)


def make_catch() -> Catch:
    return Catch(size=4, paddle_width=1)


class Pairs:
    """A data set of another library: an image and its label for each index."""

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return IMAGES[index], int(LABELS[index])


ENVIRONMENT: dict[str, Any] = {  # rows of all environments' keywords
    "num_envs": POSITIVE,
    "dataset": wrong(ValueError, "mnits", "no/folder") + wrong(TypeError, 7, None),
    "split": wrong(ValueError, "val", "Train", None, 1),
    "splits": wrong(ValueError, "none", True, 1) + wrong(ValueError, "all"),  # digits have splits
    "num_glimpses": POSITIVE,
    "glimpse_size": [*POSITIVE, (100, ValueError)],
    "num_scales": [*POSITIVE, (20, ValueError)],
    "canvas_size": wrong(ValueError, "x", 1.5, True, NAN, 0, -1, 5, (30,), (30, 30, 30)),
    "num_clutter": NOT_NEGATIVE,
    "clutter_size": [*POSITIVE],
    "distortion": [*NUMBER, (5, ValueError)],
    "elastic": [*NUMBER, (5, ValueError)],
    "mirror": [*NOT_BOOL, (1, ValueError)],
    "answer": wrong(ValueError, "product", "Pair", None),
    "max_speed": [*NUMBER, (1000, ValueError)],
    "size": POSITIVE,
    "paddle_width": [*POSITIVE, (100, ValueError)],
    "num_balls": POSITIVE,
    "num_distractors": [*NOT_NEGATIVE, (1000, ValueError)],
    "look_cost": NUMBER,
    "mistake_cost": NUMBER,
    "time_limit": POSITIVE,
    "initial_location": LOCATION,
    "max_episode_steps": wrong(ValueError, "x", 1.5, True, 0, -2),
    "render_mode": wrong(ValueError, "x", 1.5, True),
    "autoreset_mode": wrong(ValueError, "x", None, 1.5),
    "task": wrong(TypeError, "catch", None),
    "retina": wrong(TypeError, 4, None),
}
ENVIRONMENTS: dict[Any, dict[str, Any]] = {  # and what each needs besides
    ClassificationEnv: {"dataset": "digits"},
    ClassificationVectorEnv: {"dataset": "digits"},
    PairsEnv: {"dataset": "digits"},
    PairsVectorEnv: {"dataset": "digits"},
    MovingEnv: {"dataset": "digits"},
    MovingVectorEnv: {"dataset": "digits"},
    CatchEnv: {},
    CatchVectorEnv: {},
    SearchEnv: {},
    SearchVectorEnv: {},
    GlimpseEnv: {"task": make_catch(), "retina": Retina(2)},
    GlimpseVectorEnv: {"task": make_catch(), "retina": Retina(2)},
}

# Each callable: how to call it with one keyword changed, and the rows of its keywords. A word in
# place of a row says why any value is accepted.
CALLS: dict[str, tuple[Any, Callable[..., Any], dict[str, list[Wrong] | str]]] = {
    "Retina": (
        Retina,
        lambda **changed: Retina(**{"glimpse_size": 4, **changed}),
        {"glimpse_size": POSITIVE, "num_scales": POSITIVE},
    ),
    "Retina.__call__": (
        Retina.__call__,
        lambda **changed: Retina(4)(
            **{"images": IMAGES, "locations": np.zeros((6, 2), np.float32), **changed}
        ),
        {
            "images": wrong(TypeError, None, IMAGES.tolist(), IMAGES / 255)
            + wrong(ValueError, IMAGES[0]),
            "locations": wrong(TypeError, None, [(0, 0)] * 6)
            + wrong(ValueError, np.zeros((5, 2), np.float32), np.full((6, 2), NAN, np.float32)),
        },
    ),
    "ImageDataset": (
        ImageDataset,
        lambda **changed: ImageDataset(**{"images": IMAGES, "labels": LABELS, **changed}),
        {
            "images": wrong(TypeError, None, IMAGES.tolist(), IMAGES / 255)
            + wrong(ValueError, IMAGES[0]),
            "labels": wrong(TypeError, "x", LABELS / 1) + wrong(ValueError, LABELS[:5], LABELS - 1),
            "name": wrong(TypeError, 1.5, None),
            "num_classes": wrong(ValueError, "x", 1.5, True, 0, 2),
            "class_names": wrong(TypeError, 3, "abc", [1, 2, 3])
            + wrong(ValueError, ["a", "b"], ["a", "a", "b"]),
        },
    ),
    "ImageDataset.from_dataset": (
        ImageDataset.from_dataset,
        lambda **changed: ImageDataset.from_dataset(**{"dataset": Pairs(), **changed}),
        {
            "dataset": wrong(TypeError, 1.5, None),
            "name": wrong(TypeError, 1.5, None),
            "background": wrong(ValueError, "white", 256, -1, (0, 0), 1.5),
            "num_classes": wrong(ValueError, "x", 1.5, True, 0),
            "class_names": wrong(TypeError, 3, "abc", [1, 2, 3]) + wrong(ValueError, ["a", "a"]),
        },
    ),
    "load_dataset": (
        load_dataset,
        lambda **changed: load_dataset(**{"dataset": "digits", "split": "train", **changed}),
        {
            "dataset": ENVIRONMENT["dataset"],
            "split": ENVIRONMENT["split"],
            "splits": ENVIRONMENT["splits"],
            "background": wrong(ValueError, "white", 256, -1, (0, 0), 1.5),
        },
    ),
    "check_images": (
        check_images,
        lambda **changed: check_images(**{"path": "no/folder", **changed}),
        {
            "path": [*NOT_PATH, ("no/folder", FileNotFoundError)],
            "save": wrong(TypeError, 1.5, NOTHING),
            "background": wrong(TypeError, "white") + wrong(ValueError, 256),
        },
    ),
    "check_task": (
        check_task,
        lambda **changed: check_task(**{"task": make_catch(), **changed}),
        {
            "task": wrong(TaskError, 7, None),
            "num_envs": POSITIVE,
            "seed": NOT_NEGATIVE,
            "max_steps": POSITIVE,
        },
    ),
    "SB3VecEnv": (SB3VecEnv, SB3VecEnv, {"envs": ENV}),
    "GlimpseFeatures": (
        GlimpseFeatures,
        lambda **changed: GlimpseFeatures(
            **{"observation_space": make_env().observation_space, **changed}
        ),
        {
            "observation_space": wrong(TypeError, None, gym.spaces.Discrete(3)),
            "size": POSITIVE,
            "pixel_scale": NUMBER,
            "scale_factor": NUMBER,
            "num_scales": POSITIVE,
            "num_channels": POSITIVE,
        },
    ),
    "DeviceVectorEnv": (
        DeviceVectorEnv,
        lambda **changed: DeviceVectorEnv(
            **{"envs": make_envs(**DISABLED), "device": "cpu", **changed}
        ),
        {"envs": ENV, "device": wrong(TypeError, 1.5, None)},
    ),
    "RAMAgent": (
        RAMAgent,
        lambda **changed: RAMAgent(
            **{
                "observation_space": make_env().observation_space,
                "action_space": make_env().action_space,
                **changed,
            }
        ),
        {
            "observation_space": wrong(TypeError, None, gym.spaces.Discrete(3)),
            "action_space": wrong(TypeError, None, gym.spaces.Discrete(3)),
            "config": wrong(TypeError, "lstm", 0, {"core": "lstm"}, TrainConfig()),
            "glimpse_network": [*wrong(TypeError, "conv", 0), (torch.nn.ReLU(), ValueError)],
        },
    ),
    "RAMAgent.load": (
        RAMAgent.load,
        lambda path="pretrained:catch", **changed: RAMAgent.load(path, **changed),
        {
            "path": [
                *NOT_PATH,
                ("no_file", FileNotFoundError),
                ("pretrained:x", FileNotFoundError),
            ],
            "glimpse_network": [*wrong(TypeError, "conv", 0), (torch.nn.ReLU(), ValueError)],
        },
    ),
    "RAMAgent.pretrained": (
        RAMAgent.pretrained,
        RAMAgent.pretrained,
        {"name": wrong(TypeError, 1.5, None) + wrong(FileNotFoundError, "mnist-77")},
    ),
    "RAMAgent.save": (
        RAMAgent.save,
        lambda **changed: make_agent().save(**{"path": "never_written/agent", **changed}),
        {
            "path": NOT_PATH,
            "info": wrong(TypeError, "x", 1.5),
            "packed": NOT_BOOL,
        },
    ),
    "RAMAgent.initial_state": (
        RAMAgent.initial_state,
        lambda **changed: make_agent().initial_state(**changed),
        {"batch_size": POSITIVE},
    ),
    "RAMAgent.predict": (
        RAMAgent.predict,
        lambda **changed: make_agent().predict(
            **{"observation": make_envs().reset(seed=0)[0], **changed}
        ),
        {
            "observation": wrong(TypeError, "x", None, np.zeros((2, 3))),
            "state": wrong(TypeError, "x", 1.5, [0.0]),
            "episode_start": wrong(TypeError, "x", 1.5, NOTHING),
            "deterministic": NOT_BOOL,
        },
    ),
    "Trainer": (
        Trainer,
        lambda **changed: Trainer(
            **{
                "agent": make_agent(),
                "train_envs": make_envs(**DISABLED),
                "validation_envs": make_envs(**DISABLED),
                "config": TrainConfig(batch_size=2, episodes=4),
                **changed,
            }
        ),
        {
            "agent": wrong(TypeError, "x", None),
            "train_envs": wrong(TypeError, "x", None, 1.5),
            "validation_envs": wrong(TypeError, "x", None),
            "config": wrong(TypeError, "x", None, {}),
            "folder": wrong(TypeError, "x", 1.5),
            "ranks": wrong(TypeError, "x", 2),
            "min_validations": NOT_NEGATIVE,
        },
    ),
    "evaluate": (
        evaluate,
        lambda **changed: evaluate(
            **{"agent": make_agent(), "envs": make_envs(**DISABLED), "num_episodes": 2, **changed}
        ),
        {
            "agent": wrong(TypeError, "x", None),
            "envs": ENV,
            "num_episodes": wrong(ValueError, "x", 1.5, True, 0, -1),
            "deterministic": wrong(ValueError, "yes", 1.5),
            "gaze": wrong(ValueError, "centre", "Learned", "", 1.5),
            "seed": NOT_NEGATIVE,
            "stop_when_sure": wrong(TypeError, 0.9, "x") + wrong(ValueError, [2.0], [NAN], [-1.0]),
            "ranks": wrong(TypeError, "x", 2),
        },
    ),
    "collect_rollout": (
        collect_rollout,
        lambda **changed: collect_rollout(
            **{"agent": make_agent(), "envs": make_envs(**DISABLED), **changed}
        ),
        {
            "agent": wrong(TypeError, "x", None),
            "envs": ENV,
            "seed": [*wrong(ValueError, "x", 1.5, True), (-1, gym.error.Error)],
            "options": wrong(TypeError, "x", 1.5, [1]),
            "deterministic": NOT_BOOL,
            "sample_choice": wrong(ValueError, "yes", 1.5),
            "gaze": wrong(ValueError, "centre", "Learned", None, 1.5),
            "generator": wrong(TypeError, 0, "x"),
            "on_step": wrong(TypeError, 0, "x"),
        },
    ),
    "play_frames": (
        play_frames,
        lambda **changed: list(
            play_frames(
                **{
                    "agent": make_agent(),
                    "envs": make_envs(render_mode="rgb_array", **DISABLED),
                    "episodes": [0],
                    **changed,
                }
            )
        ),
        {
            "agent": wrong(TypeError, "x", None),
            "envs": ENV,
            "episodes": wrong(TypeError, "x", 3),
            "deterministic": wrong(ValueError, "yes", 1.5),
            "gaze": wrong(ValueError, "centre", "Learned", "", 1.5),
            "last_only": NOT_BOOL,
        },
    ),
    "look": (
        look,
        lambda **changed: look(
            **{
                "agent": RAMAgent.pretrained("cluttered-mnist-8"),
                "image": np.zeros((60, 60), np.uint8),
                **changed,
            }
        ),
        {
            "agent": wrong(TypeError, "x", None),
            "image": [("no.png", FileNotFoundError), *wrong(ValueError, 3, None, np.zeros(3))],
            "num_glimpses": wrong(ValueError, "x", 1.5, True, 0, -1),
            "invert": NOT_BOOL,
            "seed": NOT_NEGATIVE,
        },
    ),
    "train": (
        train,
        lambda **changed: train(
            **{"env_id": "RAMMNIST-v0", "dataset": "digits", "episodes": 1, **changed}
        ),
        {
            "env_id": [*wrong(TypeError, None, 3), ("RAMMNST-v0", gym.error.NameNotFound)],
            "callback": wrong(TypeError, "x", 3),
            "preset": [*wrong(TypeError, None, 3), ("papr", ValueError)],
            "out": wrong(TypeError, 3),
            "start_from": [(3, TypeError), ("no/run", FileNotFoundError)],
            "device": [(3, TypeError), ("gpu", ValueError)],
            "threads": POSITIVE,
        },
    ),
    "save_picture": (
        save_picture,
        lambda **changed: save_picture(
            **{"episodes": [[np.zeros((4, 4, 3), np.uint8)]], "path": Path("x.jpg"), **changed}
        ),
        {
            "episodes": wrong(TypeError, None, 3),
            "path": [*wrong(TypeError, "x.png", None), (Path("x.jpg"), ValueError)],
            "fps": [*NUMBER, (0, ValueError)],
        },
    ),
    "preset": (
        preset,
        lambda **changed: preset(**{"name": "default", **changed}),
        {
            "name": wrong(ValueError, "defualt", "Paper") + wrong(TypeError, None, 1),
            "env_id": wrong(TypeError, 1.5, NOTHING),
            "supervised": NOT_BOOL,
        },
    ),
    "replace_settings": (
        replace_settings,
        lambda **changed: replace_settings(**{"config": AgentConfig(), **changed}),
        {"config": wrong(TypeError, None, {})},
    ),
}
for kind, needed in ENVIRONMENTS.items():
    CALLS[kind.__name__] = (
        kind,
        lambda kind=kind, needed=needed, **changed: kind(**{**needed, **changed}),
        {
            name: ENVIRONMENT[name]
            for name in inspect.signature(kind).parameters
            if name in ENVIRONMENT
        },
    )
for module, make in ((wrappers, make_env), (vector, make_envs)):
    location = wrong(TypeError, "x", 1.5) + wrong(ValueError, (0, 2), (0, NAN), (0, 0, 0))
    rows: dict[str, Any] = {
        "env": ENV,
        "columns": POSITIVE,
        "rows": POSITIVE,
        "choice": wrong(TypeError, 1.5, None) + wrong(ValueError, "location"),
        "location": location,
        "initial_location": location,
        "max_shift": [*NUMBER, (2.5, ValueError)],
        "num_glimpses": POSITIVE,
        "glimpse_size": ENVIRONMENT["glimpse_size"],
        "num_scales": ENVIRONMENT["num_scales"],
        "source": wrong(ValueError, "frame", None),
    }
    for name in module.__all__:
        kind = getattr(module, name)
        if name == "ThroughRetina":
            make = functools.partial(show_canvas, module, make)
        CALLS[f"{module.__name__}.{name}"] = (
            kind,
            lambda kind=kind, make=make, **changed: kind(**{"env": make(), **changed}),
            {name: rows[name] for name in inspect.signature(kind).parameters},
        )

GROUPS = ("objective", "segments", "optimizer", "gaze", "schedule")
ROWS_OF_SETTINGS: dict[tuple[str, ...], list[Wrong]] = {
    ("glimpse_network", "core", "location_mean", "initialization"): wrong(
        ValueError, "x", "Tanh", None
    ),
    ("supervision", "location_reward", "baseline_loss"): wrong(ValueError, "every-step", None),
    ("update_rule", "learning_rate_schedule", "network", "locations"): wrong(
        ValueError, "adamw", None
    ),
    GROUPS: wrong(ValueError, "adam", {}, None),
    ("baseline_shapes_state", "normalize_advantages", "validation_sampled"): [
        *NOT_BOOL,
        (1, ValueError),
    ],
    ("hidden_size", "feature_size", "conv_maps", "num_channels", "batch_size"): POSITIVE,
    ("episodes", "validate_every", "steps", "validation_games"): POSITIVE,
    ("segment_length", "passes", "minibatches"): POSITIVE,
    ("clip_range",): [*NUMBER, (0, ValueError)],
    ("discount", "return_lambda"): [*NUMBER, (1.1, ValueError)],
    ("seed", "warmup_updates"): NOT_NEGATIVE,
    ("patience",): wrong(ValueError, "x", 1.5, True, 0, -1),
    ("epochs", "max_grad_norm"): wrong(ValueError, "x", True, 0, -1, NAN, INF),
    ("scale_factor", "learning_rate"): [*NUMBER, (0, ValueError)],
    ("pixel_scale",): wrong(ValueError, "x", True, -1, 0, NAN, INF),
    ("location_std", "location_std_end"): [*NUMBER, (0, ValueError)],
    ("location_start", "gain_discount", "entropy_weight", "baseline_weight"): NUMBER,
    ("head_rate", "weight_decay", "location_weight"): NUMBER,
    ("location_warmup", "head_warmup"): NUMBER,
    ("gae_lambda",): [*NUMBER, (1.1, ValueError)],
    ("pixel_mean",): wrong(ValueError, "x", True, -1, 1.1, NAN, INF),
    ("average_decay",): [*NUMBER, (1, ValueError)],
}
SETTINGS = {name: rows for names, rows in ROWS_OF_SETTINGS.items() for name in names}
CONFIGS: list[Any] = [AgentConfig, TrainConfig, ObjectiveConfig, SegmentConfig, OptimizerConfig]
CONFIGS += [GazeConfig, ScheduleConfig, ControlConfig]
KINDS = {name: kind for config in CONFIGS for name, kind in type_hints(config).items()}
for kind in CONFIGS:
    names = [field.name for field in dataclasses.fields(kind)]
    base = {"network": "conv", "seed": 0, "episodes": 1} if kind is ControlConfig else {}
    CALLS[kind.__name__] = (
        kind,
        lambda kind=kind, base=base, **changed: kind(**{**base, **changed}),
        {name: SETTINGS[name] for name in names},
    )

ROWS = [
    pytest.param(call, name, value, error, id=f"{title}({name}={value!r:.20})")
    for title, (_, call, rows) in CALLS.items()
    for name, values in rows.items()
    if not isinstance(values, str)
    for value, error in values
]

# Keywords whose errors may name the file, the environment or the space instead.
NAMED_BY_VALUE = {
    *("path", "image", "start_from", "name", "env_id"),
    *("envs", "observation_space", "action_space"),
}


@pytest.mark.parametrize(("call", "name", "value", "error"), ROWS)
def test_a_wrong_value_is_refused(
    call: Callable[..., Any], name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        call(**{name: value})
    assert type(caught.value) is error or issubclass(error, OSError)
    message = str(caught.value)
    text = str(value).rpartition(":")[2]
    has_name = re.search(rf"\b{name}\b", message, re.IGNORECASE)
    assert has_name or (name in NAMED_BY_VALUE and text in message), message
    if isinstance(value, (str, Path)) and name != "labels":
        assert text in message


def test_every_keyword_has_a_row() -> None:
    for title, (function, _, rows) in CALLS.items():
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names = {
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if name != "self" and parameter.kind not in variable
        }
        assert names == rows.keys(), title


def test_every_public_callable_has_rows() -> None:
    import ram_agent

    results = {
        "AgentOutput",
        "Evaluation",
        "ImageReport",
        "Look",
        "Outcome",
        "Rollout",
        "Task",
    }
    public = {*ram_envs.__all__, *ram_agent.__all__, *ram_envs.datasets.__all__}
    for name in public - results - {*wrappers.__all__}:  # these are below
        value = getattr(ram_envs, name, None) or getattr(ram_agent, name, None)
        value = value or getattr(ram_envs.datasets, name)
        if inspect.isfunction(value) or (
            inspect.isclass(value) and not issubclass(value, (Exception, Warning))
        ):
            assert name in CALLS, name
    for module in (wrappers, vector):
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= CALLS.keys()
    entry_points = set()
    for env_id in ENVS:
        spec = gym.spec(env_id)
        entry_points |= {str(spec.entry_point), str(spec.vector_entry_point)}
    assert {point.partition(":")[2] for point in entry_points} <= CALLS.keys()


# --- options -------------------------------------------------------------------------------------

NO_FILE = ["no/file"]
WORDS = ["x"]  # in place of a number
BELOW = ["0"]
FLAG = "a flag takes no value"

# The arguments of each command that are right, and wrong values of each option.
OPTIONS: dict[str, tuple[list[str], dict[str, list[list[str]] | str]]] = {
    "train": (
        ["RAMMNIST-v0", "--dataset", "digits"],
        {
            "--dataset": [["mnits"], ["no/folder"], [""]],
            "--splits": [["none"], ["all"]],  # digits have splits
            "--num-glimpses": [WORDS, BELOW],
            "--glimpse-size": [WORDS, BELOW, ["99"]],
            "--num-scales": [WORDS, BELOW, ["20"]],
            "--canvas-size": [WORDS, BELOW, ["5"]],
            "--distortion": [WORDS, ["-1"], ["5"], ["nan"]],
            "--elastic": [WORDS, ["-1"], ["5"], ["nan"]],
            "--mirror": FLAG,
            "--max-shift": [WORDS, ["-1"], ["5"], ["nan"]],
            "--preset": [["defualt"]],
            "--out": [["a_file"]],
            "--resume": [["no/run"], ["a_file"]],
            "--start-from": [["no/run"], ["pretrained:mnits-2"]],
            "--device": [["warp"], ["cuda:99"]],
            "--threads": [WORDS, BELOW],
            "--shards": [WORDS, BELOW, ["7"]],
            "--tensorboard": FLAG,
            "--wandb": "any name of a project",
            "--source": [["screen"]],
            "--env-kwargs": [["speed"]],
            **{
                f"--{name.replace('_', '-')}": (
                    FLAG
                    if KINDS[name] is bool
                    else [[str(rows[0][0])]]  # the others are refused by the same dataclass
                )
                for name, rows in SETTINGS.items()
                if name not in ("network", *GROUPS)
            },
        },
    ),
    "evaluate": (
        ["pretrained:mnist-2", "--dataset", "digits"],
        {
            "--split": [["val"]],
            "--env-id": [["RAMMnist"], ["RAMCatch-v0"]],
            "--dataset": [["mnits"], ["no/folder"]],
            "--num-glimpses": [WORDS, BELOW],
            "--canvas-size": [WORDS, BELOW, ["5"]],
            "--num-clutter": [WORDS, ["-1"]],
            "--stop-when-sure": [WORDS, ["2"], ["nan"]],
            "--num-episodes": [WORDS, BELOW, ["99999"]],
            "--seed": [WORDS, ["-1"], [str(2**63)]],
            "--save": [["a_file/results.json"]],
        },
    ),
    "watch": (
        ["pretrained:mnist-2", "--dataset", "digits"],
        {
            "--env-id": [["RAMMnist"], ["RAMCatch-v0"]],
            "--dataset": [["mnits"], ["no/folder"]],
            "--save": [["picture.jpg"], ["a_file/a.gif"]],
            "--episodes": [WORDS, BELOW],
            "--start": [WORDS, ["-1"], ["99999"]],
            "--split": [["val"]],
            "--sampled": FLAG,
            "--image": [["no.png"]],
            "--invert": FLAG,
            "--fps": [WORDS, BELOW, ["nan"]],
            "--max-steps": [WORDS, BELOW],
        },
    ),
    "figures": (
        ["pretrained:mnist-2", "--dataset", "digits"],
        {
            "--out": [["a_file"]],
            "--split": [["val"]],
            "--num-images": [WORDS, BELOW],
            "--env-id": [["RAMMnist"], ["RAMCatch-v0"]],
            "--dataset": [["mnits"], ["no/folder"]],
            "--dpi": [WORDS, BELOW],
            "--format": [["bmp"]],
        },
    ),
    "play": (
        ["RAMCatch-v0"],
        {
            "--seed": [WORDS, ["-1"]],
            "--episodes": [WORDS, BELOW],
            "--speed": [WORDS, BELOW, ["nan"]],
            "--turns": FLAG,
            "--agent": [["no/run"], ["pretrained:x"]],
            "--versus": [["no/run"], ["pretrained:x"]],
            "--replay": [NO_FILE],
            "--record": [["a_file/game.json"]],
            "--gif": [["a_file/game.gif"], ["game.gif"]],  # needs a player without hands
            "--save": [["answers.json"]],  # not of a game
            "--size": [WORDS, BELOW],
            "--paddle-width": [WORDS, BELOW, ["99"]],
            "--max-speed": [WORDS, ["-1"], ["nan"]],
            "--num-balls": [WORDS, BELOW],
            "--glimpse-size": [WORDS, BELOW],
            "--num-scales": [WORDS, BELOW],
            # Keywords of Search, and of environments of other packages:
            "--num-distractors": [["4"]],
            "--look-cost": [["0.1"]],
            "--mistake-cost": [["0.1"]],
            "--time-limit": [["9"]],
            "--source": [["render"]],
            "--env-kwargs": [["speed"]],
            "--levels": FLAG,
            # Keywords of a quiz, which a game does not have:
            "--dataset": [["digits"]],
            "--split": [["test"]],
            "--num-glimpses": [["3"]],
            "--canvas-size": [["60"]],
            "--num-clutter": [["1"]],
            "--clutter-size": [["8"]],
        },
    ),
    "agents": ([], {}),
    "list": ([], {}),
    "check-images": (["images.npz"], {"--save": [["a_file/sheet.png"]]}),
    "reproduce": (
        ["mnist", "--quick"],
        {
            "--num-glimpses": [WORDS, ["9"]],
            "--controls": [["vgg"]],
            "--seeds": [WORDS, ["-1"], [str(2**63)]],
            "--dataset": [["mnits"]],
            "--episodes": [WORDS, BELOW],
            "--quick": FLAG,
            "--device": [["warp"]],
            "--runs": [["a_file"]],
            "--out": [["a_file"]],
        },
    ),
    "bench": (
        [],
        {
            "--env-ids": [["Pong-v5"]],
            "--num-envs": [WORDS, BELOW],
            "--train": [["Pong-v5"]],
            "--batch-size": [WORDS, ["7"], BELOW],
            "--device": [["warp"], ["meta"]],
            "--dataset": [["mnits"]],
            "--seconds": [WORDS, BELOW, ["nan"], ["inf"]],
            "--repeats": [WORDS, BELOW],
            "--save": [["a_file/bench.json"]],
            "--compare": [["no/file", "a_file"], ["a_file", "a_file"]],
        },
    ),
}

# Options whose errors may name the file, the environment, … instead.
OPTIONS_NAMED_BY_VALUE = {
    *("--resume", "--start-from", "--out", "--runs", "--save", "--record", "--replay", "--compare"),
    *("--agent", "--versus", "--env-id", "--env-ids", "--train", "--env-kwargs"),
    "--seeds",  # the seed
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a file, and fail if anything is trained, measured or played."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a wrong value was accepted")

    (tmp_path / "a_file").write_text("nonsense")
    np.savez(tmp_path / "images.npz", images=IMAGES, labels=LABELS)
    monkeypatch.chdir(tmp_path)
    for started in (
        "ram_agent.trainer.Trainer.train_one_update",
        "ram_agent.evaluation.finish_episodes",
        "ram_agent.evaluation.finish_games",
        "ram_agent.bench.measure_all",
        "ram_envs.play.window.run",
    ):
        monkeypatch.setattr(started, fail)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        pytest.param(command, option, values, id=f"{command} {option} {' '.join(values):.20}")
        for command, (_, options) in OPTIONS.items()
        for option, rows in options.items()
        if not isinstance(rows, str)
        for values in rows
    ],
)
def test_a_wrong_option_is_refused(
    command: str, option: str, values: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        main([command, *OPTIONS[command][0], option, *values])
    assert caught.value.code not in (0, None)
    error = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().err).split())
    assert "Traceback" not in error
    message = error.rpartition("error: ")[2]  # argparse's usage before it has every option
    name = option.removeprefix("--")
    given = [value.rpartition(":")[2] for value in values]
    assert re.search(rf"\b({name}|{name.replace('-', '_')})\b", message) or (
        option in OPTIONS_NAMED_BY_VALUE and any(value in message for value in given)
    ), message
    assert sorted(folder.rglob("*")) == before


def test_every_option_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert OPTIONS.keys() == COMMANDS.keys()
    elsewhere = {"--help", "--nproc-per-node", "--standalone"}  # of torchrun, in an example
    for command, (_, options) in OPTIONS.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = {*re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)} - elsewhere
        flags = {f"--no-{option.removeprefix('--')}" for option in options}
        assert options.keys() <= shown, command
        assert shown <= options.keys() | flags | {"--dataset"}, command
