"""Callbacks of a training: TensorBoard, Weights & Biases, rows of metrics, and early stopping.

A callback is any function of the trainer and a dict of metrics. It is called after every update
with the metrics of its batch, such as "train_error", and after every validation, when the metrics
contain "validation_error" or, where there are no labels, "validation_return". It stops the training
with `trainer.stop()`. If it has a method `close`, that is called when the training ends, even if it
fails.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ram_agent.progress import print_metrics
from ram_agent.run_folder import RunFolder
from ram_agent.trainer import Trainer

Metrics = dict[str, float]
Callback = Callable[[Trainer, Metrics], object]

PACKAGES = {  # name: what it is called, and what to install
    "tensorboard": ("TensorBoard", '"ram-gym[tensorboard]"'),
    "wandb": ("Weights & Biases", "wandb"),
}
EVERY = 20  # updates between two rows of training metrics


def check_installed(package: str) -> None:
    """Raise ValueError unless a package with which metrics are logged is installed."""
    name, how = PACKAGES[package]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{name} is not installed. Run: pip install {how}")


def is_validation(metrics: Mapping[str, float]) -> bool:
    """Return whether metrics are those of a validation, not those of an update."""
    return "validation_error" in metrics or "validation_return" in metrics


def train_with(trainer: Trainer, callbacks: Sequence[Callback]) -> bool:
    """Train, and call each callback after every update and validation; see `Trainer.train`.

    At the end each callback that has a method `close` is closed, even if the training fails.
    """

    def call(metrics: Metrics) -> None:
        for callback in callbacks:
            callback(trainer, metrics)

    with ExitStack() as stack:
        for callback in callbacks:
            if hasattr(callback, "close"):
                stack.callback(callback.close)
        return trainer.train(report=call, on_update=call)


def print_validation(trainer: Trainer, metrics: Metrics) -> None:
    """Print a line for each validation."""
    if is_validation(metrics):
        print_metrics(metrics)


class LogMetrics:
    """Writes the metrics of every N-th update to a run's metrics.jsonl, beside its validations.

    Args:
        folder: the run's folder.
        every: N.
    """

    def __init__(self, folder: RunFolder, every: int = EVERY) -> None:
        self.folder = folder
        self.every = every

    def __call__(self, trainer: Trainer, metrics: Metrics) -> None:
        # A row is that of one batch, not a mean: so a run that is resumed has nothing to remember.
        if not is_validation(metrics) and trainer.update % self.every == 0:
            played = trainer.shards[0].count_played(trainer.update)
            reached = {"update": trainer.update, **played, "seconds": round(trainer.seconds, 2)}
            self.folder.append_metrics(reached | metrics)


class LogToTensorBoard:
    """Writes metrics for TensorBoard (pip install "ram-gym[tensorboard]").

    Args:
        folder: where TensorBoard's files are written.
        every: updates between two rows of training metrics; each validation is written.

    Raises:
        ValueError: if TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path, every: int = EVERY) -> None:
        check_installed("tensorboard")
        self.folder = Path(folder)
        self.every = every
        self._writer: Any = None

    def __call__(self, trainer: Trainer, metrics: Metrics) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=trainer.update)
        if is_validation(metrics) or trainer.update % self.every == 0:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, trainer.update)
        if is_validation(metrics):
            self._writer.flush()

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class LogToWandb:
    """Logs metrics to Weights & Biases (pip install wandb).

    Args:
        every: updates between two rows of training metrics; each validation is logged.
        settings: for `wandb.init`, such as project="glimpses".

    Raises:
        ValueError: if wandb is not installed.
    """

    def __init__(self, every: int = EVERY, **settings: Any) -> None:
        check_installed("wandb")
        self.every = every
        self.settings = settings
        self._run: Any = None

    def __call__(self, trainer: Trainer, metrics: Metrics) -> None:
        if self._run is None:
            import wandb

            self._run = wandb.init(**self.settings)
        if is_validation(metrics) or trainer.update % self.every == 0:
            self._run.log(metrics, step=trainer.update)

    def close(self) -> None:
        """Finish the run, so that the next training begins one of its own."""
        if self._run is not None:
            self._run.finish(exit_code=int(sys.exc_info()[0] is not None))
            self._run = None


class StopEarly:
    """Stops a training that is good enough, or that has taken long enough.

    Args:
        error: stop once the validation error, in percent, is at most this.
        mean_return: stop once the mean return of validation is at least this.
        seconds: stop after this many seconds of training.

    Raises:
        ValueError: if none of them is given; or at the first validation, if it measures a return
            and only an error is given, or the other way round.
    """

    def __init__(
        self,
        *,
        error: float | None = None,
        mean_return: float | None = None,
        seconds: float | None = None,
    ) -> None:
        if error is None and mean_return is None and seconds is None:
            raise ValueError("StopEarly() never stops. Give error, mean_return or seconds.")
        self.seconds = math.inf if seconds is None else seconds
        self.error, self.mean_return = error, mean_return

    def __call__(self, trainer: Trainer, metrics: Metrics) -> None:
        is_good = is_validation(metrics) and self._is_good_enough(metrics)
        if is_good or trainer.seconds >= self.seconds:
            trainer.stop()

    def _is_good_enough(self, validation: Metrics) -> bool:
        if self.error is None and self.mean_return is None:
            return False
        if "validation_error" in validation and self.error is not None:
            return validation["validation_error"] <= self.error
        if "validation_return" in validation and self.mean_return is not None:
            return validation["validation_return"] >= self.mean_return
        given = f"mean_return={self.mean_return}" if self.error is None else f"error={self.error}"
        measured = ", ".join(name for name in validation if name.startswith("validation_"))
        raise ValueError(
            f"StopEarly({given}) never stops this training, which measures {measured}. "
            "Give mean_return for a game, and error where there are labels."
        )
