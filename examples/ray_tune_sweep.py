"""A sweep on Ray Tune: ASHA stops bad settings early, by their validation error.

    pip install "ram-gym[sweep]"
    python examples/ray_tune_sweep.py                     # two trainings at a time
    python examples/ray_tune_sweep.py --samples 32 --workers 8
    python examples/ray_tune_sweep.py --resume            # after a crash or Ctrl-C

Each trial is a run folder: it continues from its own checkpoint when the sweep is resumed. Without
Ray, `examples/sweep.py` does the same for a grid of settings under any scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from ram_agent.presets import preset
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.runs import describe_run, make_trainer
from ram_agent.trainer import Trainer


@dataclass(frozen=True)
class Settings:
    """Search settings of the optimizer with Ray Tune."""

    env_id: str = "RAMTranslatedMNIST-v0"
    dataset: str = "digits"
    episodes: int = 200_000
    validations: int = 10
    """How often each trial is validated, and may be stopped."""

    samples: int = 8
    """Number of trials."""

    workers: int = 2
    """Trials at the same time, one CPU core each."""

    seed: int = 0
    out: Path = Path("runs/tune")
    resume: bool = False


def train(trial: dict[str, Any], settings: Settings, folder: Path) -> None:
    """Train with the settings of a trial, and report each validation."""
    from ray import tune

    torch.set_num_threads(1)
    run_folder = RunFolder(folder / tune.get_context().get_trial_id())
    trainer = continue_or_start(trial, settings, run_folder)
    # Report again what an interrupted trial had already reported.
    for row in run_folder.read_metrics():
        if "validation_error" in row:
            tune.report(row)
    trainer.train(report=tune.report)


def continue_or_start(trial: dict[str, Any], settings: Settings, folder: RunFolder) -> Trainer:
    if folder.state_path.exists():
        folder.lock()
        trainer = make_trainer(RunConfig.read(folder), folder)
        trainer.resume()
        return trainer
    chosen = preset("default", settings.env_id).change(
        seed=settings.seed,
        episodes=settings.episodes,
        validate_every=settings.episodes // settings.validations,
        shards=1,
        **trial,
    )
    run = describe_run(RunEnv(settings.env_id, {"dataset": settings.dataset}), "default", chosen)
    folder.create(run.to_json())
    return make_trainer(run, folder)


def main(settings: Settings) -> None:
    from ray import tune

    out = settings.out.absolute()
    trainable = tune.with_resources(
        tune.with_parameters(train, settings=settings, folder=out / "runs"), {"cpu": 1}
    )
    if settings.resume:
        tuner = tune.Tuner.restore(str(out / "sweep"), trainable, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={
                "learning_rate": tune.loguniform(5e-4, 1e-2),
                "weight_decay": tune.choice([0.0, 0.01, 0.1]),
            },
            tune_config=tune.TuneConfig(
                metric="validation_error",
                mode="min",
                num_samples=settings.samples,
                max_concurrent_trials=settings.workers,
                scheduler=tune.schedulers.ASHAScheduler(max_t=settings.validations),
            ),
            run_config=tune.RunConfig(name="sweep", storage_path=str(out)),
        )
    show_results([*tuner.fit()])


def show_results(results: Sequence[Any]) -> None:
    """Print the trials, the best first; those that failed before any validation are counted."""
    validated = [one for one in results if "validation_error" in (one.metrics or {})]
    for result in sorted(validated, key=lambda one: one.metrics["validation_error"]):
        print(
            f"{result.metrics['validation_error']:6.2f}%  after "
            f"{result.metrics['training_iteration']} validations: {result.config}"
        )
    if failed := len(results) - len(validated):
        print(f"{failed} failed before the first validation; --resume repeats them.")


if __name__ == "__main__":
    main(tyro.cli(Settings))
