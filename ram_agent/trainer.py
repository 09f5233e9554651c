"""The training loop: hybrid REINFORCE and supervised updates (paper, section 3.1)."""

from __future__ import annotations

import functools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.evaluation import evaluate
from ram_agent.losses import (
    baseline_loss,
    choice_log_probs,
    generalized_advantages,
    label_gains,
    label_loss,
    mean,
    mean_entropy,
    policy_loss,
    returns_to_go,
    supervision_weights,
)
from ram_agent.rollout import Rollout, collect_rollout, noise_source
from ram_agent.run_folder import RunFolder
from ram_agent.training_state import TrainingState, collect_state, restore_state
from ram_agent.weights import CheckpointError

SCALE_DECAY = 0.99  # of the running mean square of advantages

# Where there are no images in splits, the split is one of seeds: `ram evaluate` plays from seed 0,
# training draws its seeds between these two.
FIRST_TRAINING_SEED = 2**32
VALIDATION_SEED = 2**40
VALIDATION_GAMES = 2_000


class Trainer:
    """Trains an agent, validates it, and keeps its folder up to date.

    All randomness of update u is a function of (seed, u): which images, the environments' draws,
    the noise on locations. So a run that was stopped and resumed is the run that was not, and one
    of several ranks is, but for rounding, that of one process with as many parts.

    Args:
        agent: who learns; its weights are changed in place.
        train_envs: vector environments with autoreset DISABLED, which share config.batch_size
            episodes evenly and are played side by side, each in a thread of its own. With several
            ranks, those of this rank.
        validation_envs: the same for the validation split, with any number of rows.
        config: how to train.
        folder: where to write checkpoints and metrics; None writes nothing.
        ranks: the processes that train this agent together, each with a trainer of its own, of
            which the first has the folder; None, this one alone.
    """

    def __init__(
        self,
        agent: RAMAgent,
        train_envs: Sequence[gym.vector.VectorEnv[Any, Any, Any]],
        validation_envs: gym.vector.VectorEnv[Any, Any, Any],
        config: TrainConfig,
        folder: RunFolder | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        num_envs = [envs.num_envs for envs in train_envs]
        if sum(num_envs) * self.ranks.size != config.batch_size or len(set(num_envs)) != 1:
            among = f", shared by {self.ranks.size} ranks" if self.ranks.size > 1 else ""
            raise ValueError(
                f"train_envs have {num_envs} sub-environments: expected equal parts of "
                f"batch_size={config.batch_size}{among}."
            )
        self.agent = agent
        self.train_envs = tuple(train_envs)
        self.validation_envs = validation_envs
        self.config = config
        self.folder = folder
        self.num_images: int | None = getattr(train_envs[0].unwrapped, "num_images", None)
        epoch = self.num_images or config.validate_every
        episodes = config.epochs * epoch if config.epochs is not None else config.episodes
        self.num_updates = max(1, math.ceil(episodes / config.batch_size))
        self.validation_interval = math.ceil(max(config.validate_every, epoch) / config.batch_size)

        self._parameters = list(agent.parameters())
        self._pool = ThreadPoolExecutor(
            len(train_envs), "ram-train", torch.set_num_threads, (torch.get_num_threads(),)
        )
        self.averaged = AveragedModel(agent, multi_avg_fn=self._average)
        self.optimizer = _make_optimizer(agent, config)
        self.update = 0
        self.seconds = 0.0
        self.best_error = math.inf
        self.validations_since_best = 0
        self.advantage_square = 0.0
        self._sums: dict[str, float] = {}  # of the metrics since the last validation
        self._stop_requested = False
        self._tensorboard: Any = None

    @property
    def averaged_agent(self) -> RAMAgent:
        """The agent with running-average weights: what is validated and kept."""
        agent = self.averaged.module
        assert isinstance(agent, RAMAgent)
        agent.location_std.copy_(self.agent.location_std)
        return agent

    @property
    def is_over(self) -> bool:
        patience = self.config.patience
        out_of_patience = patience is not None and self.validations_since_best >= patience
        return self.update >= self.num_updates or out_of_patience

    def train(self, report: Callable[[dict[str, float]], None] | None = None) -> bool:
        """Train to the end, or until SIGINT or SIGTERM; returns whether the end was reached.

        Either way the folder's checkpoint holds the last update done. On a terminal a progress
        bar is shown; `report` is called with the metrics of each validation. Several ranks begin
        with the first one's weights and counters, and a signal to any of them stops them all.

        Raises:
            FloatingPointError: if training diverges.
            ConnectionError: if another rank is lost.
        """
        self._stop_requested = False  # by an earlier call
        if self.ranks.size > 1:
            state = self.ranks.from_first(lambda: tuple(self.state_dict()))
            self.load_state_dict(TrainingState(*state))
        if self.folder is not None:
            self.folder.lock()
            if not self.folder.has_begun:  # so that there is always one to go on from
                self.folder.save_state(self.state_dict())
        bar = tqdm(
            total=self.num_updates,
            initial=self.update,
            unit="update",
            disable=None if self.ranks.is_first else True,
            leave=False,
        )
        with bar, self._stopping_between_updates():
            started = time.perf_counter() - self.seconds
            while not self.is_over and not self._is_stopped():
                self._add_to_sums(self.train_one_update())
                self.seconds = time.perf_counter() - started
                bar.update()
                if self.update % self.validation_interval == 0 or self.update == self.num_updates:
                    row = self._validate()
                    self._save()
                    if report is not None:
                        report(row)
            if self._stop_requested:
                self._save()
        return self.is_over

    def train_one_update(self) -> dict[str, float]:
        """Collect one batch of episodes and learn from it; returns the update's metrics."""
        self._set_schedules(self.update / self.num_updates)
        # Each part has a thread, so that two cores are used without two threads for every small
        # operation. Their gradients are added in order: which is first done makes no difference.
        parts = list(self._pool.map(self._learn_from_part, range(len(self.train_envs))))
        metrics = {
            name: sum(part.metrics[name] for part in parts) / len(parts)
            for name in parts[0].metrics
        }
        sums = parts[0].gradients
        for part in parts[1:]:
            sums = torch._foreach_add(sums, part.gradients)
        if len(parts) > 1:
            torch._foreach_div_(sums, len(parts))
        gradients = self.ranks.average_tensors(sums)
        metrics = self.ranks.average(metrics)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        # A finite loss can have a gradient that is not, so the weights are guarded by both.
        norm = torch.nn.utils.clip_grad_norm_(
            self._parameters, self.config.max_grad_norm or math.inf
        )
        if not math.isfinite(metrics["loss"]) or not math.isfinite(norm):
            raise FloatingPointError(
                f"the loss is {metrics['loss']} and its gradient's length {norm.item()} at update "
                f"{self.update}: training has diverged. Lower learning_rate (now "
                f"{self.config.learning_rate}) or set max_grad_norm; the last checkpoint is intact."
            )
        self.optimizer.step()
        self.update += 1
        self.averaged.update_parameters(self.agent)

        decay = SCALE_DECAY if self.advantage_square else 0.0
        new_square = metrics.pop("advantage_square")
        self.advantage_square = decay * self.advantage_square + (1 - decay) * new_square
        return metrics

    def _learn_from_part(self, number: int) -> _Part:
        """Play one part of the batch; its gradients are those of the mean over its episodes."""
        envs, config = self.train_envs[number], self.config
        env_seed, *noise_seeds = np.random.SeedSequence((config.seed, self.update)).generate_state(
            1 + self.ranks.size * len(self.train_envs)
        )
        number += self.ranks.rank * len(self.train_envs)  # among the parts of all ranks
        offset = number * envs.num_envs
        first_seed, options = FIRST_TRAINING_SEED, None
        if self.num_images is not None:
            first = self.update * config.batch_size + offset
            index = draw_index(config.seed, first, envs.num_envs, self.num_images)
            first_seed, options = 0, {"index": index}
        rollout = collect_rollout(
            self.agent,
            envs,
            seed=first_seed + int(env_seed) + offset,
            options=options,
            sample_choice=True if config.supervision == "none" else None,
            generator=noise_source(envs, int(noise_seeds[number])),
        )
        loss, metrics = self._loss(rollout)
        gradients = torch.autograd.grad(loss, self._parameters)
        # All metrics at once, and last: to know a number is to wait for a GPU.
        values = torch.stack([metric.detach().double() for metric in metrics.values()]).tolist()
        return _Part(gradients, dict(zip(metrics, values, strict=True)))

    def _loss(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a rollout, and its metrics."""
        if rollout.labels is None or self.config.supervision == "none":
            loss, metrics = self._reinforcement_loss(rollout)
        else:
            loss, metrics = self._hybrid_loss(rollout, rollout.labels)
        means = rollout.location_means[:-1].detach()
        return loss, {
            "loss": loss,
            "train_error": 100 * (1 - rollout.rewards.sum(0).mean().double()),
            **metrics,
            # A gaze that has collapsed shows here: no spread, or means pressed to the border.
            "location_spread": mean((means - means.mean(1, keepdim=True)).square()).sqrt(),
            "location_at_border": mean((means.abs() > 0.95).float()),
        }

    # A location moves the next glimpse; the last one moves only an observation that nobody acts on,
    # so it has no loss.

    def _hybrid_loss(self, rollout: Rollout, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Supervised: cross-entropy + location_weight · REINFORCE + baseline (section 3.1)."""
        config = self.config
        weights = supervision_weights(len(rollout.rewards), config.supervision == "every_step")
        labels_loss = label_loss(rollout.choice_logits, labels, weights.to(self.agent.device))
        pays = self._pays(rollout, labels)[:-1]
        advantages = pays - rollout.baselines[:-1].detach()
        location_loss = policy_loss(rollout.location_log_probs[:-1], self._scale(advantages))
        baselines_loss = baseline_loss(rollout.baselines[:-1], pays)
        loss = (
            labels_loss
            + self._risen(config.location_warmup) * config.location_weight * location_loss
            + config.baseline_weight * baselines_loss
        )
        return loss, {
            "label_loss": labels_loss,
            "location_loss": location_loss,
            "baseline_loss": baselines_loss,
            "pay": mean(pays),
            "advantage_square": mean(advantages.square()),
        }

    def _reinforcement_loss(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Unsupervised: REINFORCE for choices and locations, from rewards alone (section 3.1)."""
        config = self.config
        returns = returns_to_go(rollout.rewards)
        baselines = rollout.baselines
        if config.baseline_loss == "cross_entropy":
            if returns.min() < 0 or returns.max() > 1:
                raise ValueError(
                    f"baseline_loss='cross_entropy' takes returns from 0 to 1, and this "
                    f"environment paid {returns.min():g} to {returns.max():g} an episode. Use "
                    "squared_error."
                )
            baselines_loss = F.binary_cross_entropy_with_logits(baselines, returns)
            baselines = baselines.sigmoid()
        else:
            baselines_loss = baseline_loss(baselines, returns)
        advantages = generalized_advantages(rollout.rewards, baselines.detach(), config.gae_lambda)
        scaled = self._scale(advantages)
        choice_loss = policy_loss(choice_log_probs(rollout.choice_logits, rollout.choices), scaled)
        location_loss = policy_loss(rollout.location_log_probs[:-1], scaled[:-1])
        entropy = mean_entropy(rollout.choice_logits)
        entropy_weight = config.entropy_weight * (1 - self.update / self.num_updates)
        loss = (
            choice_loss
            + self._risen(config.location_warmup) * config.location_weight * location_loss
            + config.baseline_weight * baselines_loss
            - entropy_weight * entropy
        )
        return loss, {
            "choice_loss": choice_loss,
            "location_loss": location_loss,
            "baseline_loss": baselines_loss,
            "entropy": entropy,
            "advantage_square": mean(advantages.square()),
        }

    def _risen(self, warmup: float) -> float:
        """From 0 to 1 over the first part of training."""
        done = self.update / self.num_updates
        return min(1.0, done / warmup) if warmup > 0 else 1.0

    def _pays(self, rollout: Rollout, labels: Tensor) -> Tensor:
        """What each location is paid, (T, B)."""
        if self.config.pay == "reward":
            return returns_to_go(rollout.rewards)
        probs = rollout.choice_logits.detach().softmax(-1)
        index = labels.expand(len(probs), -1).unsqueeze(-1)
        label_probs = probs.gather(-1, index).squeeze(-1)
        return label_gains(label_probs, self.config.gain_discount)

    def _scale(self, advantages: Tensor) -> Tensor:
        """Advantages over their running root mean square, clipped at ±4, if so configured."""
        if not self.config.normalize_advantages:
            return advantages
        square = self.advantage_square or float(mean(advantages.square()))
        return (advantages / (math.sqrt(square) + 1e-8)).clamp(-4, 4)

    def _set_schedules(self, done: float) -> None:
        config = self.config
        if config.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * done))
        else:
            factor = 1 - done
        # A run too short for the warm-up still gets to its rate: at most a tenth of it is warm-up.
        warmup = min(config.warmup_updates, self.num_updates // 10)
        factor *= min(1.0, (self.update + 1) / (warmup + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * group["rate"] * factor
            if group["is_location_head"]:
                group["lr"] *= self._risen(config.head_warmup)
        std = config.location_std + done * (config.location_std_end - config.location_std)
        self.agent.location_std.fill_(std)

    def _average(
        self,
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        num_averaged: Tensor | int,
    ) -> None:
        n = float(num_averaged)
        # Early on the average is short, so that it does not remember the initial weights.
        decay = min(self.config.average_decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def _add_to_sums(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._sums["count"] = self._sums.get("count", 0.0) + 1

    def _validate(self) -> dict[str, float]:
        """Measure the averaged agent, note it in the metrics, and keep it if it is the best."""
        if self.num_images is None:
            result = evaluate(
                self.averaged_agent,
                self.validation_envs,
                num_episodes=VALIDATION_GAMES,
                seed=VALIDATION_SEED,
                ranks=self.ranks,
            )
        else:
            result = evaluate(self.averaged_agent, self.validation_envs, ranks=self.ranks)
        error = result.error
        count = self._sums.pop("count")
        row = {
            "update": self.update,
            "episodes": self.update * self.config.batch_size,
            "seconds": round(self.seconds, 2),
            "validation_error": error,
            **{name: value / count for name, value in self._sums.items()},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "location_std": self.agent.location_std.item(),
        }
        self._sums = {}
        is_best = error < self.best_error
        self.best_error = min(error, self.best_error)
        self.validations_since_best = 0 if is_best else self.validations_since_best + 1
        if self.folder is not None:
            self.folder.append_metrics(row)
            if self._tensorboard is not None:
                for name, value in row.items():
                    self._tensorboard.add_scalar(name, value, self.update)
                self._tensorboard.flush()
            if is_best:
                self.folder.save_agent("best", self.averaged_agent, self.update, error)
        return row

    def _save(self) -> None:
        if self.folder is None:
            return
        self.folder.save_agent("last", self.averaged_agent, self.update)
        self.folder.save_state(self.state_dict())

    def resume(self) -> None:
        """Go on from the folder's checkpoint; begin, if the run was stopped before its first.

        Raises:
            BlockingIOError: if another run writes there.
            FileNotFoundError: if the checkpoint was removed.
            CheckpointError: if it is damaged, or that of another run.
        """
        assert self.folder is not None
        self.folder.lock()
        if not self.folder.has_begun:
            return
        state = self.folder.load_state()
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise CheckpointError(
                f"{self.folder.state_path} does not fit the settings in "
                f"{self.folder.config_path.name}: {error} Restore both files from one copy."
            ) from None
        self.folder.forget_metrics_after(self.update)

    def log_to_tensorboard(self) -> None:
        """Write the metrics for TensorBoard too; it must be installed."""
        from torch.utils.tensorboard import SummaryWriter

        assert self.folder is not None
        self._tensorboard = SummaryWriter(str(self.folder.path), purge_step=self.update)

    def state_dict(self) -> TrainingState:
        """Return all that is needed to continue."""
        return collect_state(self._modules, self.optimizer, self._counters)

    def load_state_dict(self, state: TrainingState) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: if it is the state of a trainer with other settings.
        """
        restore_state(state, self._modules, self.optimizer, self._counters)
        for name, value in state.counters.items():
            setattr(self, name, value)

    @property
    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"agent": self.agent, "averaged": self.averaged}

    @property
    def _counters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _COUNTERS}

    def _is_stopped(self) -> bool:
        """Whether any rank was asked to stop: all do so after the same update."""
        stopped = self.ranks.any(self._stop_requested)
        if stopped:  # A signal that comes while the ranks are being asked counts the next time.
            self._stop_requested = True
        return stopped

    @contextmanager
    def _stopping_between_updates(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM ask for a stop, so that no update is left half done."""

        def request_stop(signum: int, frame: FrameType | None) -> None:
            self._stop_requested = True
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C is at once

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, request_stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class _Part:
    """What was learned from one part of a batch."""

    gradients: tuple[Tensor, ...]
    metrics: dict[str, float]


# Beside weights and optimizer, the state of a training.
_COUNTERS = (
    "update",
    "seconds",
    "best_error",
    "validations_since_best",
    "advantage_square",
    "_sums",
)


def draw_index(seed: int, start: int, count: int, num_images: int) -> npt.NDArray[np.int64]:
    """The images of episodes start, start + 1, …: every epoch is a fresh permutation of all."""
    epochs, places = np.divmod(np.arange(start, start + count), num_images)
    index = np.empty_like(places)
    for epoch in np.unique(epochs):
        permutation = _permutation(seed, int(epoch), num_images)
        index[epochs == epoch] = permutation[places[epochs == epoch]]
    return index


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)


def _make_optimizer(agent: RAMAgent, config: TrainConfig) -> torch.optim.Optimizer:
    location_head = list(agent.location_head.parameters())
    baseline_head = list(agent.baseline_head.parameters())
    heads = {id(parameter) for parameter in (*location_head, *baseline_head)}
    others = [parameter for parameter in agent.parameters() if id(parameter) not in heads]
    # "rate" is a group's own factor on the schedule's learning rate.
    groups = [
        {"params": others, "rate": 1.0, "is_location_head": False},
        {"params": location_head, "rate": config.head_rate, "is_location_head": True},
        {"params": baseline_head, "rate": config.head_rate, "is_location_head": False},
    ]
    if config.optimizer == "adam":
        return torch.optim.AdamW(
            groups, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.SGD(
        groups, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
    )
