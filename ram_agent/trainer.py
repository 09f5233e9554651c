"""The training loop: updates from labels (paper, section 3.1), or from rewards alone."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from ram_agent.action_logs import ActionLogs
from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.optimizer import (
    make_optimizer,
    set_learning_rates,
    take_step,
    trained_parameters,
    update_average,
)
from ram_agent.player import check_envs, count_images, find_relative_gaze
from ram_agent.progress import show_progress
from ram_agent.run_folder import RunFolder, resume_from
from ram_agent.shard import (
    VALIDATION_SEED,
    Shard,
    ShardGradient,
    average_shards,
)
from ram_agent.shards import make_shards, warn_of_training_images
from ram_agent.signals import calling_on_stop
from ram_agent.training_state import TrainingState, collect_state, restore_state
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.checks import checked_integer

SCALE_DECAY = 0.99  # of the running mean square of advantages
ENV_FACTS = ("env_id", "env_kwargs", "dataset", "images")  # of `agent.info`, about the environment


Report = Callable[[dict[str, float]], object] | None  # is called with metrics


class Trainer:
    """Trains an agent, validates it, and keeps its folder up to date.

    All randomness of update u is a function of (seed, u). So a run that was stopped and resumed
    equals one that was not, and a run of several ranks equals, up to rounding, one of a single
    process with as many shards.

    Args:
        agent: the agent; its weights are changed in place.
        train_envs: a vector environment with config.batch_size rows; or several that share them
            evenly, each played in a thread of its own. With several ranks, those of this rank.
            Environments of images have autoreset DISABLED; games learned without labels may reset
            themselves.
        validation_envs: one for the validation split, with any number of rows. Warns if it shows
            the training images and there are others.
        config: the settings.
        folder: where to write checkpoints and metrics; None writes nothing.
        ranks: the processes that train this agent together, each with a trainer of its own, of
            which the first has the folder; None for this process alone.
        min_validations: the minimum number of validations, if there are at least as many updates.

    Raises:
        TypeError, ValueError: if the agent cannot play the environments, they do not share the
            batch evenly, or a setting has no effect, such as epochs without a split of images.
    """

    @check_arguments
    def __init__(
        self,
        agent: RAMAgent,
        train_envs: VectorEnv | Sequence[VectorEnv],
        validation_envs: VectorEnv,
        config: TrainConfig,
        folder: RunFolder | None = None,
        ranks: Ranks | None = None,
        min_validations: int = 0,
    ) -> None:
        checked_integer("min_validations", min_validations, 0)
        self.ranks = ranks or Ranks()
        check_envs(agent, validation_envs, any_mode=True)
        self.shards = make_shards(agent, train_envs, config, self.ranks, min_validations)
        self._action_logs = ActionLogs(self.shards, self.ranks)
        warn_of_training_images(self.shards[0].envs, validation_envs)
        self.agent = agent
        self.validation_envs = validation_envs
        self.config = config
        self.folder = folder
        self.num_updates, self.validation_interval = self.shards[0].count_updates()

        agent.eval()
        self._parameters = trained_parameters(agent)
        self._pool = ThreadPoolExecutor(
            len(self.shards), "ram-train", torch.set_num_threads, (torch.get_num_threads(),)
        )
        average = functools.partial(update_average, average_decay=config.optimizer.average_decay)
        self.averaged = AveragedModel(agent, multi_avg_fn=average)
        # The agent with running-average weights, which is validated and saved.
        self.averaged_agent = cast(RAMAgent, self.averaged.module)
        # Other facts of an agent that was trained before, such as its error, are no longer true.
        of_env = {name: fact for name, fact in agent.info.items() if name in ENV_FACTS}
        self.averaged_agent.info = {**of_env, "training": dataclasses.asdict(config)}
        if (is_relative := find_relative_gaze(validation_envs)) is not None:
            self.averaged_agent.info["relative_gaze"] = is_relative
        self.optimizer = make_optimizer(agent, config.optimizer)
        self._modules: dict[str, torch.nn.Module] = {"agent": agent, "averaged": self.averaged}
        self.update = 0
        self.seconds = 0.0
        self.best_score = -math.inf  # see `Evaluation.score`
        self.validations_since_best = 0
        self.advantage_square = 0.0
        self._sums: dict[str, float] = {}  # of the metrics since the last validation
        self._stop_requested = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether the last update is done, or patience has run out."""
        patience = self.config.patience
        out_of_patience = patience is not None and self.validations_since_best >= patience
        return self.update >= self.num_updates or out_of_patience

    @check_arguments
    def train(self, report: Report = None, on_update: Report = None) -> bool:
        """Train to the end, or to `stop`, SIGINT, SIGTERM or SIGHUP; return whether it has ended.

        In each case the folder's checkpoint holds the last update. Progress is shown on stderr: a
        bar on a terminal, elsewhere a line every 30 seconds. `report` is called with the metrics of
        each validation, `on_update` with those of each update. Several ranks begin with the first
        one's weights and counters, and a signal to any of them stops them all.

        Raises:
            FileExistsError: if the folder contains another training; see `RunFolder.begin`.
            FloatingPointError: if training diverges.
            ConnectionError: if another rank is lost.
        """
        self._stop_requested.clear()  # by an earlier call
        if self.ranks.size > 1:
            state = self.ranks.from_first(lambda: tuple(self.state_dict()))
            self.load_state_dict(TrainingState(*state))
        if self.folder is not None:
            self.folder.begin(self.state_dict())
        batch = self.shards[0].count_played(1)
        progress = show_progress(self.num_updates, self.update, batch, self.ranks.is_first)
        with progress as advance, calling_on_stop(self._stop_requested.set):
            started = time.perf_counter() - self.seconds
            while not self.is_over and not self._is_stopped():
                add_metrics(self._sums, metrics := self.train_one_update())
                self.seconds = time.perf_counter() - started
                advance(metrics)
                if on_update is not None:
                    on_update({"update": self.update, **metrics})
                if self.update % self.validation_interval == 0 or self.update == self.num_updates:
                    row = self._validate()
                    self._save()
                    if report is not None:
                        report(row)
            if not self.is_over:  # so all ranks have stopped, and save together
                self._save()
        return self.is_over

    def stop(self) -> None:
        """Let `train` stop after the present update, as a signal does."""
        self._stop_requested.set()

    def train_one_update(self) -> dict[str, float]:
        """Play a batch of episodes or segments, learn from it, and return the mean metrics.

        Raises:
            FloatingPointError: if the loss or its gradient is not finite.
        """
        self._set_schedules(self.update / self.num_updates)
        num_steps = self.shards[0].count_optimizer_steps()
        self.agent.train()
        try:
            rows = [self._take_step(step) for step in range(num_steps)]
        finally:
            self.agent.eval()
        self.update += 1
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        metrics = self.shards[0].summarize(means)
        decay = SCALE_DECAY if self.advantage_square else 0.0
        new_square = metrics.pop("advantage_square")
        self.advantage_square = decay * self.advantage_square + (1 - decay) * new_square
        return metrics

    def _take_step(self, step: int) -> dict[str, float]:
        """Take the optimizer's step number `step` of this update, and return its metrics."""
        progress = self.update / self.num_updates

        def learn(shard: Shard) -> ShardGradient:
            return shard.learn(self.update, progress, self.advantage_square, step)

        # A thread for each shard uses several cores without threads for every small operation.
        mean = average_shards(list(self._pool.map(learn, self.shards)))
        gradients = self.ranks.average_tensors(mean.gradients)
        metrics = self.ranks.average(mean.metrics)
        loss, config = metrics["loss"], self.config.optimizer
        take_step(self.optimizer, self._parameters, gradients, loss, config)
        self.averaged.update_parameters(self.agent)
        return metrics

    def resume(self) -> None:
        """Continue from the folder's checkpoint; begin if the run was stopped before its first.

        Raises:
            BlockingIOError: if another run writes there.
            FileNotFoundError: if the checkpoint was removed.
            CheckpointError: if it is damaged, or that of another run.
        """
        assert self.folder is not None
        self.folder.lock()
        if not self.folder.has_begun:
            return
        resume_from(self.folder, self.load_state_dict)

    def state_dict(self) -> TrainingState:
        """Return all that is needed to continue."""
        tensors, counters = collect_state(self._modules, self.optimizer, self._counters)
        return TrainingState(tensors | self._action_logs.tensors(), counters)

    def load_state_dict(self, state: TrainingState) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: if it is the state of a trainer with other settings.
        """
        logs, tensors = self._action_logs.split(state.tensors)
        others = TrainingState(tensors, state.counters)
        restore_state(others, self._modules, self.optimizer, self._counters)
        for name, value in state.counters.items():
            setattr(self, name, value)
        self._action_logs.load(logs, self.update)

    @property
    def _counters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _COUNTERS}

    def _set_schedules(self, progress: float) -> None:
        set_learning_rates(self.optimizer, self.config, self.update, self.num_updates)
        gaze = self.config.gaze
        std = gaze.location_std + progress * (gaze.location_std_end - gaze.location_std)
        self.agent.location_std.fill_(std)

    def _validate(self) -> dict[str, float]:
        """Validate the averaged agent, write the metrics, and save it if it is the best."""
        is_whole = self.update % self.validation_interval == 0
        if is_whole and self._sums.get("finished_episodes") == 0:
            warn_of_cut_episodes(self.config, self.validation_interval)
        agent = self.averaged_agent
        result = evaluate_validation(agent, self.validation_envs, self.config, self.ranks)
        validation = {f"validation_{result.measure}": result.value}
        row = {
            "update": self.update,
            **self.shards[0].count_played(self.update),
            "seconds": round(self.seconds, 2),
            **validation,
            **mean_metrics(self._sums),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "location_std": self.agent.location_std.item(),
        }
        self._sums = {}
        is_best = result.score > self.best_score
        self.best_score = max(result.score, self.best_score)
        self.validations_since_best = 0 if is_best else self.validations_since_best + 1
        if self.folder is not None:
            self.folder.append_metrics(row)
            if is_best:
                self.folder.save_agent("best", agent, self.update, **validation)
        return row

    def _save(self) -> None:
        self._action_logs.gather()
        if self.folder is not None:
            self.folder.save_agent("last", self.averaged_agent, self.update)
            self.folder.save_state(self.state_dict())

    def _is_stopped(self) -> bool:
        """Return whether any rank was asked to stop: all do so after the same update."""
        stopped = self.ranks.any(self._stop_requested.is_set())
        if stopped:  # A signal that comes while the ranks are being asked counts the next time.
            self._stop_requested.set()
        return stopped


def evaluate_validation(
    agent: RAMAgent, envs: VectorEnv, config: TrainConfig, ranks: Ranks
) -> Evaluation:
    """Evaluate on each image of the split, or in games where there are no images."""
    has_images = count_images(envs) is not None
    num_episodes, seed = (None, 0) if has_images else (config.validation_games, VALIDATION_SEED)
    return evaluate(
        agent,
        envs,
        num_episodes=num_episodes,
        deterministic=not config.validation_sampled,
        gaze=config.gaze.locations,
        seed=seed,
        ranks=ranks,
    )


def warn_of_cut_episodes(config: TrainConfig, interval: int) -> None:
    """Warn that no episode has ended between two restarts, which are `interval` updates apart."""
    warnings.warn(
        f"No episode ended in the last {interval * config.segments.segment_length} steps of each "
        "environment, and every validation resets them: the agent never trains on later steps. "
        "Increase validate_every, and steps to at least ten times that, or reduce batch_size.",
        stacklevel=2,
    )


def add_metrics(sums: dict[str, float], metrics: dict[str, float]) -> None:
    """Add the metrics of an update to sums over updates, and 1 to their "count".

    The return of the episodes that ended in segments is to be a mean over episodes.
    """
    weights = {"train_return": metrics.get("finished_episodes", 1)}
    for name, value in metrics.items():
        sums[name] = sums.get(name, 0.0) + weights.get(name, 1) * value
    sums["count"] = sums.get("count", 0.0) + 1


def mean_metrics(sums: dict[str, float]) -> dict[str, float]:
    """Return the means of the metrics that `add_metrics` added."""
    count, finished = sums["count"], sums.get("finished_episodes", sums["count"])
    counts = {"train_return": finished, "finished_episodes": 1}
    return {
        name: value / counts.get(name, count) for name, value in sums.items() if name != "count"
    }


# Beside weights and optimizer, the state of a training.
_COUNTERS = (
    "update",
    "seconds",
    "best_score",
    "validations_since_best",
    "advantage_square",
    "_sums",
)
