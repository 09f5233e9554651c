"""`ram_agent.train`, and what is called while it trains."""

from __future__ import annotations

import math
import re
import sys
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("tyro", reason="the extra agent is not installed")

import ram_agent
from ram_agent.callbacks import Callback, LogToTensorBoard, LogToWandb, StopEarly
from ram_agent.run_folder import RunFolder

SETTINGS: dict[str, Any] = {
    "dataset": "digits",
    "num_glimpses": 2,
    "hidden_size": 16,
    "feature_size": 8,
    "batch_size": 64,
    "shards": 1,
}


def test_train_in_one_call(tmp_path: Path) -> None:
    updates: list[int] = []
    errors: list[float] = []

    def callback(trainer: ram_agent.Trainer, metrics: dict[str, float]) -> None:
        if "validation_error" in metrics:
            errors.append(metrics["validation_error"])
        else:
            updates.append(trainer.update)
            assert 0 <= metrics["train_error"] <= 100

    agent = ram_agent.train(
        "RAMMNIST",
        episodes=64 * 40,
        seed=3,
        distortion=0.5,
        out=tmp_path / "run",
        callback=callback,
        **SETTINGS,
    )
    assert updates == list(range(1, 41))
    assert len(errors) == 10
    assert agent.info["env_id"] == "RAMMNIST-v0"
    assert agent.info["env_kwargs"] == {"dataset": "digits", "num_glimpses": 2}
    assert agent.info["training"]["seed"] == 3
    assert agent.info["training_env_kwargs"] == {"distortion": 0.5}
    assert agent.info["validation_error"] == min(errors)
    rows = RunFolder(tmp_path / "run").read_metrics()
    assert [row["update"] for row in rows if "validation_error" not in row] == [20, 40]
    assert len(rows) == 12
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_train_keeps_no_files_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    agent = ram_agent.train("RAMCatch-v0", steps=1_472, batch_size=32, hidden_size=16)
    assert agent.num_choices == 3
    with pytest.raises(ValueError, match="episodes"):  # before the training begins
        ram_agent.train("RAMCatch-v0", episodes=9)
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert not list(tmp_path.glob("temporary/ram-train-*"))


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_a_training_that_does_not_finish_keeps_its_checkpoint(
    error: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(trainer: ram_agent.Trainer, metrics: dict[str, float]) -> None:
        if trainer.update == 30:
            raise error

    with pytest.raises(error):
        ram_agent.train("RAMMNIST-v0", episodes=64 * 40, callback=fail, **SETTINGS)
    (kept,) = tmp_path.glob("ram-train-*")
    assert f"ram train --resume {kept}" in capsys.readouterr().err
    assert ram_agent.RAMAgent.load(kept).info["update"] <= 28
    assert RunFolder(kept).load_state().counters["update"] == 28


def test_a_training_that_fails_at_once_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(trainer: ram_agent.Trainer, metrics: dict[str, float]) -> None:
        raise KeyError("a fault of the callback")

    with pytest.raises(KeyError):
        ram_agent.train("RAMMNIST-v0", episodes=64 * 40, callback=fail, **SETTINGS)
    assert not list(tmp_path.iterdir())
    assert "--resume" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hiden_size": 3}, "hiden_size"),
        ({"episodes": -1}, "episodes=-1"),
        ({"preset": "papr"}, "papr"),
        ({"shards": 3}, "shards=3"),
        ({"episode": 100}, "Did you mean 'episodes'?"),
        ({"lr": 1e-3}, "Did you mean 'learning_rate'?"),
        ({"num_glimpse": 3}, "Did you mean 'num_glimpses'?"),
    ],
)
def test_settings_that_train_refuses(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        ram_agent.train("RAMMNIST-v0", **{**SETTINGS, **settings})


def test_misspelled_settings_are_named_before_an_environment_is_made() -> None:
    with pytest.raises(ValueError, match="'epochs'"):
        ram_agent.train("RAMMNIST-v0", dataset="no/such/folder", epoch=3)
    with pytest.raises(ValueError, match="'seed'"):
        ram_agent.train("picture_envs:Numbers-v0", speed=3, shape="wrong")


def test_without_supervision_labels_are_trained_for_steps() -> None:
    """The preset's episodes are left out; those that a user gives are refused."""
    settings = {**SETTINGS, "supervision": "none", "minibatches": 1}
    episodes = settings.pop("episodes", 64)
    with pytest.raises(ValueError, match=rf"episodes={episodes} .*steps"):
        ram_agent.train("RAMMNIST-v0", episodes=episodes, **settings)
    agent = ram_agent.train("RAMMNIST-v0", steps=64, segment_length=2, **settings)
    assert "validation_error" in agent.info


def test_a_game_is_trained_for_steps() -> None:
    with pytest.raises(ValueError, match=r"episodes=9 .*steps"):
        ram_agent.train("RAMCatch-v0", episodes=9)


@pytest.mark.parametrize(
    ("limit", "updates"), [({"error": 100.0}, 10), ({"seconds": 1e-9}, 1), ({"error": 0.0}, 100)]
)
def test_stop_early(limit: dict[str, float], updates: int) -> None:
    trained = []
    ram_agent.train(
        "RAMMNIST-v0",
        episodes=6400,
        callback=[StopEarly(**limit), lambda trainer, metrics: trained.append(trainer.update)],
        **SETTINGS,
    )
    assert trained[-1] == updates


def test_stop_early_by_the_return_of_a_game() -> None:
    stopped: list[float] = []
    stop_early = StopEarly(mean_return=0.5)
    for value in (0.4, 0.5):
        trainer: Any = types.SimpleNamespace(
            seconds=9.0, stop=lambda value=value: stopped.append(value)
        )
        stop_early(trainer, {"validation_return": value})
        stop_early(trainer, {"train_return": 1.0})
    assert stopped == [0.5]


@pytest.mark.parametrize(
    ("limit", "measured"),
    [({"error": 5.0}, "validation_return"), ({"mean_return": 5.0}, "validation_error")],
)
def test_stop_early_by_what_is_not_measured(limit: dict[str, float], measured: str) -> None:
    trainer: Any = types.SimpleNamespace(seconds=9.0)
    StopEarly(error=0.0, mean_return=9.0)(trainer, {measured: 5.0})  # one of them is measured
    StopEarly(**limit)(trainer, {"train_return": 1.0})  # not a validation
    ((name, value),) = limit.items()
    with pytest.raises(ValueError, match=f"{name}={value}.*{measured}"):
        StopEarly(**limit)(trainer, {measured: 5.0})


def test_stop_early_needs_a_limit() -> None:
    with pytest.raises(ValueError, match="never"):
        StopEarly()


class Closable:
    """Counts how often it is called and closed; stops or fails at its second call."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.calls: list[str] = []

    def __call__(self, trainer: ram_agent.Trainer, metrics: dict[str, float]) -> None:
        self.calls.append("called")
        if len(self.calls) == 2:
            trainer.stop()
            if self.fails:
                raise KeyError("a fault of the callback")

    def close(self) -> None:
        self.calls.append("closed")


@pytest.mark.parametrize("fails", [False, True])
def test_callbacks_are_closed_however_the_training_ends(fails: bool) -> None:
    callback = Closable(fails)
    with pytest.raises(KeyError) if fails else nullcontext():
        ram_agent.train("RAMMNIST-v0", episodes=64 * 40, callback=callback, **SETTINGS)
    assert callback.calls == ["called", "called", "closed"]


@pytest.mark.parametrize(
    ("longest", "num_updates", "exit_code"), [(math.inf, 10, 0), (0.0, 1, 0), (math.nan, 1, 1)]
)
def test_what_is_logged_to_wandb(
    longest: float, num_updates: int, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[int, set[str]]] = []
    exit_codes: list[int] = []
    run = types.SimpleNamespace(
        log=lambda metrics, step: logged.append((step, set(metrics))),
        finish=lambda exit_code: exit_codes.append(exit_code),
    )
    stand_in = types.ModuleType("wandb")
    stand_in.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    stand_in.init = lambda **settings: run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    last: Callback = Closable(fails=True) if exit_code else StopEarly(seconds=longest)
    callbacks: list[Callback] = [LogToWandb(every=5, project="p"), last]
    with pytest.raises(KeyError) if exit_code else nullcontext():
        ram_agent.train("RAMMNIST-v0", episodes=64 * 10, callback=callbacks, **SETTINGS)
    steps = [step for step, names in logged if "validation_error" not in names]
    assert steps == [*range(5, num_updates + 1, 5)]
    assert exit_codes == [exit_code]
    assert sum("validation_error" in names for _, names in logged) == num_updates


@pytest.mark.parametrize("make", [LogToWandb, lambda: LogToTensorBoard("runs")])
def test_a_logger_that_is_not_installed(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        make()
