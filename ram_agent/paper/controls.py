"""Controls for RAM: networks on the whole canvas, the paper's and a modern one."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ram_agent.episode_shard import draw_index
from ram_agent.paper.tables import Network
from ram_agent.progress import print_metrics
from ram_agent.provenance import provenance
from ram_agent.run_env import EVALUATION_ENVS, RunEnv
from ram_agent.run_folder import RunFolder, resume_from
from ram_agent.run_images import check_run_images, describe_images
from ram_agent.settings import Checked
from ram_agent.shard import count_intervals
from ram_agent.training_state import TrainingState, collect_state, restore_state
from ram_envs.aliases import VectorEnv
from ram_envs.atomic_files import write_json


@dataclass(frozen=True)
class ControlConfig(Checked):
    """The training of a control: AdamW with a cosine schedule, weights selected on validation.

    Raises:
        ValueError: if a value is out of range.
    """

    network: Network
    seed: int
    episodes: int  # training canvases
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    validate_every: int = 50_000  # canvases; at least one epoch
    patience: int = 40  # validations without a new best


def fully_connected(width: int, canvas: tuple[int, ...], num_labels: int) -> nn.Module:
    """Return a network with two hidden layers of rectifiers (paper, section 4.1).

    Args:
        width: of the hidden layers.
        canvas: (H, W[, C]).
        num_labels: the width of the output.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(canvas), width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, num_labels),
    )


def papers_convolutional(canvas: tuple[int, ...], num_labels: int) -> nn.Module:
    """Return a network of 8 filters of 10 × 10, stride 5, and 256 rectifiers (section 4.1)."""
    height, width = ((side - 10) // 5 + 1 for side in canvas[:2])
    return nn.Sequential(
        nn.Conv2d(_channels(canvas), 8, 10, stride=5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * height * width, 256),
        nn.ReLU(),
        nn.Linear(256, num_labels),
    )


def small_cnn(canvas: tuple[int, ...], num_labels: int) -> nn.Module:
    """Return a network of four normalized convolutions and a maximum over the canvas.

    The maximum detects a digit anywhere, so its location need not be learned. The first convolution
    has stride 2, because it would take most of the time at full size.
    """
    first = nn.Conv2d(_channels(canvas), 16, 5, stride=2, padding=2, bias=False)
    layers = _normalized(first)
    for before, width in pairwise((16, 32, 64, 128)):
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        layers += _normalized(nn.Conv2d(before, width, 3, padding=1, bias=False))
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, num_labels))


def _normalized(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def _channels(canvas: tuple[int, ...]) -> int:
    return canvas[2] if len(canvas) == 3 else 1


NETWORKS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "fc-256": lambda canvas, num_labels: fully_connected(256, canvas, num_labels),
    "fc-64": lambda canvas, num_labels: fully_connected(64, canvas, num_labels),
    "conv": papers_convolutional,
    "cnn": small_cnn,
}


class ControlTrainer:
    """A training of a control on the whole canvases of RAM's environments.

    All randomness of update u is a function of (seed, u), so a resumed training equals one that was
    not interrupted.

    Args:
        run: the description returned by `describe_control`.
        folder: the run's folder, for metrics and the state to resume from.
        device: the device of the network; a GPU also draws the canvases.
    """

    def __init__(
        self, run: dict[str, Any], folder: RunFolder, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.config = config = ControlConfig(**run["training"])
        self.folder = folder
        env = RunEnv.named_in(run)
        self.train_envs = env.place_split(
            self.device, config.batch_size, "train", **run["training_env_kwargs"]
        )
        self.validation_envs = env.place_split(self.device, EVALUATION_ENVS, "validation")
        torch.manual_seed(config.seed)
        canvas = tuple(self.train_envs.unwrapped.canvases.shape[1:])  # type: ignore[attr-defined]
        num_labels = int(self.train_envs.single_action_space[1].n)  # type: ignore[index]
        self.network = NETWORKS[config.network](canvas, num_labels)
        # The memory format in which convolutions of many channels are fastest on a CPU.
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.num_images: int = self.train_envs.unwrapped.num_images  # type: ignore[attr-defined]
        self.num_updates, self.validation_interval = count_intervals(
            config.episodes, max(config.validate_every, self.num_images), config.batch_size
        )
        self.update = 0
        self.seconds = 0.0
        self.best_error = math.inf
        self.best = copy.deepcopy(self.network)  # the network with the lowest validation error
        self.validations_since_best = 0

    @property
    def is_over(self) -> bool:
        out_of_patience = self.validations_since_best >= self.config.patience
        return self.update >= self.num_updates or out_of_patience

    def train(self) -> None:
        """Train to the end; an interruption keeps all that the last validation saved."""
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
        """Update the network with one batch of canvases; return the share of wrong labels."""
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
        """Measure the validation error, and save the best weights and the state to resume from."""
        error = measure_error(self.network, self.validation_envs)
        self.validations_since_best += 1
        if error < self.best_error:
            self.best_error, self.validations_since_best = error, 0
            self.best.load_state_dict(self.network.state_dict())
        row = {
            "update": self.update,
            "episodes": self.update * self.config.batch_size,
            "seconds": round(self.seconds, 2),
            "train_error": train_error,
            "validation_error": error,
        }
        self.folder.append_metrics(row)
        self.folder.save_state(collect_state(self._modules, self.optimizer, self._counters))
        print_metrics(row)

    def resume(self) -> None:
        """Continue from the folder's state; start again if the run has not saved any.

        Raises:
            CheckpointError: if the state is damaged or does not fit the settings.
        """
        if not self.folder.state_path.is_file():
            self.folder.metrics_path.unlink(missing_ok=True)
            return
        resume_from(self.folder, self._load)

    def _load(self, state: TrainingState) -> None:
        restore_state(state, self._modules, self.optimizer, self._counters)
        for name, value in state.counters.items():
            setattr(self, name, value)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"network": self.network, "best": self.best}

    @property
    def _counters(self) -> dict[str, Any]:
        names = ("update", "seconds", "best_error", "validations_since_best")
        return {name: getattr(self, name) for name in names}


def describe_control(
    env: RunEnv,
    training: ControlConfig,
    training_keywords: dict[str, Any],
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Return config.json of a new run, in which the data set "auto" is resolved."""
    env = env.with_found_dataset(training_keywords)
    return {
        "env_id": env.env_id,
        "env_kwargs": env.keywords,
        "training_env_kwargs": training_keywords,
        "dataset": env.keywords["dataset"],
        "images": describe_images(env),
        "training": dataclasses.asdict(training),
        **provenance(device),
    }


def measure_best(trainer: ControlTrainer, run: dict[str, Any]) -> None:
    """Measure the best weights of a finished training on the test split; write evaluation.json."""
    env = RunEnv.named_in(run)
    check_run_images(run, env)  # they may have changed during training
    envs = env.place_split(trainer.device, EVALUATION_ENVS, "test")
    error = measure_error(trainer.best, envs)
    episodes: int = envs.unwrapped.num_images  # type: ignore[attr-defined]
    facts = {
        "validation_error": trainer.best_error,
        "train_seconds": round(trainer.seconds, 1),
        "split": "test",
        "results": {"error": round(error, 4), "episodes": episodes, "passes": 1},
    }
    write_json(trainer.folder.path / "evaluation.json", {**run, **facts})
    print(f"Trained for {trainer.seconds:.0f} s; best validation error {trainer.best_error:.2f}%.")
    print(f"\n{env.name}: test error {error:.2f}% on {episodes:,} images, one pass\n")


@torch.no_grad()
def measure_error(network: nn.Module, envs: VectorEnv) -> float:
    """Return the network's error (%) on the split's images, each seen once."""
    network.eval()
    num_images: int = envs.unwrapped.num_images  # type: ignore[attr-defined]
    wrong = 0
    for start in range(0, num_images, envs.num_envs):
        index = np.arange(start, start + envs.num_envs)
        # The last batch is filled up with images that do not count.
        canvases, labels = see_canvases(envs, index % num_images, 0)
        counted = slice(0, num_images - start)
        wrong += int((network(canvases).argmax(1) != labels)[counted].sum())
    return 100 * wrong / num_images


def see_canvases(envs: VectorEnv, index: npt.NDArray[np.int64], seed: int) -> tuple[Tensor, Tensor]:
    """Return whole canvases (B, C, H, W) in [0, 1] of the images `index`, and labels (B,)."""
    _, info = envs.reset(seed=seed, options={"index": index})
    canvases = torch.as_tensor(envs.unwrapped.canvases)  # type: ignore[attr-defined]
    canvases = canvases.unsqueeze(1) if canvases.ndim == 3 else canvases.movedim(-1, 1)
    return canvases.float() / 255, torch.as_tensor(info["label"])
