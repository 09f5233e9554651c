"""Controls for RAM: networks that see the whole canvas at once, the paper's and a newer one."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ram_agent.measure import name_env
from ram_agent.provenance import provenance
from ram_agent.run_folder import RunFolder
from ram_agent.runs import only_in_training, print_progress
from ram_agent.splits import EVALUATION_ENVS, place_split, with_found_dataset
from ram_agent.trainer import draw_index
from ram_agent.training_state import TrainingState, collect_state, restore_state
from ram_envs.atomic_files import write_json


@dataclass(frozen=True)
class ControlConfig:
    """How a control is trained: Adam with a cosine schedule, the epoch chosen on validation."""

    network: str
    seed: int
    episodes: int  # canvases shown
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validate_every: int = 50_000  # canvases; at least one epoch
    patience: int = 40  # validations without a new best
    distortion: float = 0.0  # of training images, as RAM's
    elastic: float = 0.0  # the same

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network {self.network!r}: expected one of {', '.join(NETWORKS)}.")
        if self.episodes < 1:
            raise ValueError(f"episodes={self.episodes}: expected 1 or more.")


def fully_connected(width: int, height_and_width: tuple[int, int], num_labels: int) -> nn.Module:
    """Two hidden layers of rectifiers (paper, section 4.1)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(height_and_width), width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, num_labels),
    )


def papers_convolutional(height_and_width: tuple[int, int], num_labels: int) -> nn.Module:
    """8 filters of 10 × 10 with stride 5, then 256 rectifiers (paper, section 4.1)."""
    height, width = ((side - 10) // 5 + 1 for side in height_and_width)
    return nn.Sequential(
        nn.Conv2d(1, 8, 10, stride=5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * height * width, 256),
        nn.ReLU(),
        nn.Linear(256, num_labels),
    )


def small_cnn(height_and_width: tuple[int, int], num_labels: int) -> nn.Module:
    """Four convolutions with batch normalization, and a maximum over the canvas.

    The maximum asks whether a digit is anywhere, so that its place need not be learned. The first
    convolution has stride 2: at full size it would take most of the time.
    """
    layers = _normalized(nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False))
    for before, width in pairwise((16, 32, 64, 128)):
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        layers += _normalized(nn.Conv2d(before, width, 3, padding=1, bias=False))
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, num_labels))


def _normalized(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


NETWORKS: dict[str, Callable[[tuple[int, int], int], nn.Module]] = {
    "fc-256": lambda canvas, num_labels: fully_connected(256, canvas, num_labels),
    "fc-64": lambda canvas, num_labels: fully_connected(64, canvas, num_labels),
    "conv": papers_convolutional,
    "cnn": small_cnn,
}


class ControlTrainer:
    """Trains a control in the environments of RAM, whose canvases it sees whole.

    All randomness of update u is a function of (seed, u), so that a training which was stopped and
    resumed is the one that was not.

    Args:
        run: what `describe_control` returned.
        folder: where to write metrics and what is needed to go on.
        device: where the network is; on a GPU its canvases are drawn there too.
    """

    def __init__(
        self, run: dict[str, Any], folder: RunFolder, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.config = config = ControlConfig(**run["training"])
        self.folder = folder
        make = functools.partial(place_split, self.device, run["env_id"], **run["env_kwargs"])
        in_training = only_in_training(config.distortion, config.elastic)
        self.train_envs = make(num_envs=config.batch_size, split="train", **in_training)
        self.validation_envs = make(num_envs=EVALUATION_ENVS, split="validation")
        torch.manual_seed(config.seed)
        height, width = self.train_envs.unwrapped.canvases.shape[1:3]  # type: ignore[attr-defined]
        num_labels = int(self.train_envs.single_action_space[1].n)  # type: ignore[index]
        self.network = NETWORKS[config.network]((height, width), num_labels)
        # The order of values in which convolutions of many channels are fastest on a CPU.
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.num_images: int = self.train_envs.unwrapped.num_images  # type: ignore[attr-defined]
        self.num_updates = max(1, math.ceil(config.episodes / config.batch_size))
        interval = max(config.validate_every, self.num_images)
        self.validation_interval = math.ceil(interval / config.batch_size)
        self.update = 0
        self.seconds = 0.0
        self.best_error = math.inf
        self.best: dict[str, Tensor] = {}  # weights
        self.validations_since_best = 0

    @property
    def is_over(self) -> bool:
        out_of_patience = self.validations_since_best >= self.config.patience
        return self.update >= self.num_updates or out_of_patience

    def train(self) -> None:
        """Train to the end; what was done until the last validation is kept if it is stopped."""
        bar = tqdm(
            total=self.num_updates, initial=self.update, unit="update", disable=None, leave=False
        )
        started = time.perf_counter() - self.seconds
        wrong: list[float] = []
        with bar:
            while not self.is_over:
                wrong.append(self.train_one_update())
                self.seconds = time.perf_counter() - started
                bar.update()
                if self.update % self.validation_interval == 0 or self.update == self.num_updates:
                    self._validate(100 * float(np.mean(wrong)))
                    wrong = []

    def train_one_update(self) -> float:
        """Learn from one batch of canvases; returns the share of wrong labels."""
        config = self.config
        rate = config.learning_rate * 0.5 * (1 + math.cos(math.pi * self.update / self.num_updates))
        self.optimizer.param_groups[0]["lr"] = rate
        index = draw_index(
            config.seed, self.update * config.batch_size, config.batch_size, self.num_images
        )
        (seed,) = np.random.SeedSequence((config.seed, self.update)).generate_state(1)
        canvases, labels = see_canvases(self.train_envs, index, int(seed))
        self.network.train()
        logits = self.network(canvases)
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.update += 1
        return float((logits.argmax(1) != labels).float().mean())

    def _validate(self, train_error: float) -> None:
        """Measure, keep the weights if they are the best, and all that is needed to go on."""
        error = measure_error(self.network, self.validation_envs)
        self.validations_since_best += 1
        if error < self.best_error:
            self.best_error, self.validations_since_best = error, 0
            self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        row = {
            "update": self.update,
            "episodes": self.update * self.config.batch_size,
            "seconds": round(self.seconds, 2),
            "train_error": train_error,
            "validation_error": error,
        }
        self.folder.append_metrics(row)
        counters = {name: getattr(self, name) for name in _COUNTERS}
        state = collect_state({"network": self.network}, self.optimizer, counters)
        best = {f"best.{name}": value for name, value in self.best.items()}
        self.folder.save_state(TrainingState({**state.tensors, **best}, counters))
        print_progress(row)

    def resume(self) -> None:
        """Go on from the folder's checkpoint; begin, if the run was stopped before its first."""
        if not self.folder.state_path.is_file():
            self.folder.metrics_path.unlink(missing_ok=True)
            return
        tensors, counters = self.folder.load_state()
        names = [name for name in tensors if name.startswith("best.")]
        self.best = {name.removeprefix("best."): tensors.pop(name) for name in names}
        expected = {name: getattr(self, name) for name in _COUNTERS}
        state = TrainingState(tensors, counters)
        restore_state(state, {"network": self.network}, self.optimizer, expected)
        for name, value in counters.items():
            setattr(self, name, value)
        self.folder.forget_metrics_after(self.update)


# Beside weights and optimizer, the state of a training.
_COUNTERS = ("update", "seconds", "best_error", "validations_since_best")


def describe_control(
    env_id: str,
    keywords: dict[str, Any],
    training: ControlConfig,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """config.json of a new run; the data set in it is the one that was really found."""
    keywords = with_found_dataset(
        env_id, keywords, only_in_training(training.distortion, training.elastic)
    )
    return {
        "env_id": env_id,
        "env_kwargs": keywords,
        "dataset": keywords["dataset"],
        "training": dataclasses.asdict(training),
        **provenance(device),
    }


def measure_best(trainer: ControlTrainer, run: dict[str, Any]) -> None:
    """Measure the best weights of a finished training on the test split, and write it down."""
    trainer.network.load_state_dict(trainer.best)
    envs = place_split(trainer.device, run["env_id"], EVALUATION_ENVS, "test", **run["env_kwargs"])
    error = measure_error(trainer.network, envs)
    episodes: int = envs.unwrapped.num_images  # type: ignore[attr-defined]
    facts = {
        "validation_error": trainer.best_error,
        "train_seconds": round(trainer.seconds, 1),
        "split": "test",
        "results": {"error": round(error, 4), "episodes": episodes, "passes": 1},
    }
    write_json(trainer.folder.path / "evaluation.json", {**run, **facts})
    print(f"Trained for {trainer.seconds:.0f} s; best validation {trainer.best_error:.2f} %.")
    where = name_env(run["env_id"], run["env_kwargs"])
    print(f"\n{where}, test split: {error:.2f} percent wrong of {episodes} images, one pass\n")


@torch.no_grad()
def measure_error(network: nn.Module, envs: gym.vector.VectorEnv[Any, Any, Any]) -> float:
    """Percent of the split's images that the network names wrong, each seen once."""
    network.eval()
    num_images: int = envs.unwrapped.num_images  # type: ignore[attr-defined]
    wrong = 0
    for start in range(0, num_images, envs.num_envs):
        index = np.arange(start, start + envs.num_envs)
        # The last batch is filled up with images that are not counted.
        canvases, labels = see_canvases(envs, index % num_images, 0)
        counted = slice(0, num_images - start)
        wrong += int((network(canvases).argmax(1) != labels)[counted].sum())
    return 100 * wrong / num_images


def see_canvases(
    envs: gym.vector.VectorEnv[Any, Any, Any], index: npt.NDArray[np.int64], seed: int
) -> tuple[Tensor, Tensor]:
    """Whole canvases (B, 1, H, W) in [0, 1] of the images `index`, and their labels (B,)."""
    _, info = envs.reset(seed=seed, options={"index": index})
    canvases = torch.as_tensor(envs.unwrapped.canvases)  # type: ignore[attr-defined]
    return canvases.unsqueeze(1).float() / 255, torch.as_tensor(info["label"])
