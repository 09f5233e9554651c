"""`ram bench` and `benchmarks/peers.py`: names, counts and ratios, since no test can time."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

import peers
import torch

from ram_agent.bench import Bench, bench, measure_all, measure_on_device, print_comparison
from ram_agent.bench_probes import Training, measure_memory
from ram_agent.cli import main
from ram_agent.stepping import step_many, step_single

CPU = torch.device("cpu")
TINY = ["--dataset", "digits", "--env-ids", "RAMMNIST-v0", "--num-envs", "2"]
TINY += ["--seconds", "0.001", "--repeats", "1"]


def figures(path: Path) -> dict[str, tuple[float, str]]:
    rows = json.loads(path.read_text())["figures"]
    return {row["name"]: (row["value"], row["unit"]) for row in rows}


def test_every_measurement_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    main(["bench", *TINY, "--train", "RAMMNIST-v0", "--save", str(path)])
    measured = figures(path)
    training = "training RAMMNIST-v0, batch 256, one thread"
    assert {name: unit for name, (_, unit) in measured.items()} == {
        "RAMMNIST-v0, single": "env-steps/s",
        "RAMMNIST-v0, SyncVectorEnv × 16": "env-steps/s",
        "RAMMNIST-v0, native × 2": "env-steps/s",
        "retina 12 × 12 × 3, 60 × 60, batch 128, image looked at often": "glimpses/s",
        "retina 12 × 12 × 3, 60 × 60, batch 128, image looked at once": "glimpses/s",
        "matrix product, 1024 × 1024, float32, one thread": "GFLOP/s",
        training: "images/s",
        "training RAMMNIST-v0, batch 256, two threads": "images/s",
        f"{training}: time in the environment": "%",
        f"{training}: time in the forward": "%",
        f"{training}: time in the backward": "%",
        f"{training}: time in the optimizer": "%",
        f"{training}: products of the model": "GFLOP/s",
        f"{training}: share of the machine's": "%",
    }
    shares = [value for name, (value, _) in measured.items() if ": time in the" in name]
    assert sum(shares) == pytest.approx(100)
    # 3 × 6,430,848 operations an image, see below.
    rate = measured[training][0]
    products = measured[f"{training}: products of the model"][0]
    assert products == pytest.approx(rate * 19_292_544 / 1e9)
    machine = measured["matrix product, 1024 × 1024, float32, one thread"][0]
    share = measured[f"{training}: share of the machine's"][0]
    assert share == pytest.approx(100 * products / machine)
    printed = capsys.readouterr().out
    assert all(name in printed for name in measured)
    facts = json.loads(path.read_text())
    assert {"command", "commit", "machine", "date"} <= set(facts)
    assert facts["kernels"] == "numpy"
    assert printed.split()[:2] == ["kernels", "numpy"]


def test_the_memory_of_many_environments_is_measured_for_clutter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ram_agent.bench.measure_memory", lambda dataset: 12.5)
    sizes: dict[str, Any] = {"num_envs": (2,), "seconds": 0.001, "repeats": 1}
    command = Bench(("RAMClutteredMNIST-v0",), train=(), dataset="digits", **sizes)
    name = "RAMClutteredMNIST-v0, native × 1024: memory beside the data set"
    assert measure_all(command)[-1] == (name, 12.5, "MB")


def test_operations_of_a_forward_pass() -> None:
    # Two operations a weight: what 64 × 256, where 2 × 256, both 512 × 224, the LSTM's four gates
    # twice 224 × 224, heads 224 × (2 + 10 + 1); six glimpses.
    training = Training("RAMMNIST-v0", "digits")
    assert training.count_forward_flops() == (6_430_848, 6)


def test_every_measurement_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands in for a GPU."""
    monkeypatch.setattr("ram_agent.bench.DEVICE_MATMUL_SIZE", 64)
    env_ids = ("RAMMNIST-v0", "RAMCatch-v0")  # of which the game is played on the CPU
    sizes: dict[str, Any] = {"num_envs": (2,), "batch_size": 4, "seconds": 0.001, "repeats": 1}
    command = Bench(env_ids, train=env_ids, dataset="digits", **sizes)
    figures = {name: (value, unit) for name, value, unit in measure_on_device(command, CPU)}
    trainings = [f"training {env_id}, batch 4, cpu" for env_id in env_ids]
    assert {name: unit for name, (_, unit) in figures.items()} == {
        "RAMMNIST-v0, on cpu × 2": "env-steps/s",
        "retina 12 × 12 × 3, 60 × 60, batch 2, cpu": "glimpses/s",
        "matrix product, 64 × 64, float32, cpu": "GFLOP/s",
        "matrix product, 64 × 64, bfloat16, cpu": "GFLOP/s",
        **dict.fromkeys(trainings, "images/s"),
        **{f"{training}: steps": "env-steps/s" for training in trainings},
        **{f"{training}: products of the model": "GFLOP/s" for training in trainings},
        **{f"{training}: share of the cpu's float32": "%" for training in trainings},
        **{f"{training}: share of the cpu's bfloat16": "%" for training in trainings},
    }
    rate = figures[trainings[0]][0]
    assert figures[f"{trainings[0]}: steps"][0] == pytest.approx(6 * rate)
    products = figures[f"{trainings[0]}: products of the model"][0]
    assert products == pytest.approx(rate * 19_292_544 / 1e9)
    machine = figures["matrix product, 64 × 64, float32, cpu"][0]
    share = figures[f"{trainings[0]}: share of the cpu's float32"][0]
    assert share == pytest.approx(100 * products / machine)


class Counting(gym.Env[Any, Any]):
    """Episodes of three steps, which must not be stepped after their end."""

    observation_space = action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.episodes, self.left, self.steps = 0, 0, 0

    def reset(self, **keywords: Any) -> Any:
        self.episodes, self.left = self.episodes + 1, 3
        return 0, {}

    def step(self, action: Any) -> Any:
        assert self.left > 0
        self.left, self.steps = self.left - 1, self.steps + 1
        return 0, 0.0, self.left == 0, False, {}


def test_a_single_environment_is_reset_at_the_end_of_each_episode() -> None:
    env = Counting()
    assert step_single(env, 0.01) > 0
    assert env.episodes == 1 + env.steps // 3


def test_steps_of_all_sub_environments_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 3.0])  # the start, and before each step
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    envs = gym.make_vec("RAMMNIST-v0", num_envs=5, dataset="digits")
    assert step_many(envs, 3.0) == pytest.approx(2 * 5 / 3)  # two steps in three seconds


def test_memory_of_many_environments() -> None:
    # A canvas of 60 × 60, and a copy of it amid black, 108 × 108.
    least = 1024 * (60**2 + 108**2) / 1e6
    assert least < measure_memory("digits") <= 100


def test_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for name, values in (("a.json", {"x": 2.0, "y": 5.0}), ("b.json", {"x": 3.0, "z": 1.0})):
        paths.append(tmp_path / name)
        rows = [{"name": key, "value": value, "unit": "m/s"} for key, value in values.items()]
        paths[-1].write_text(json.dumps({"figures": rows}))
    main(["bench", "--compare", *map(str, paths)])
    head, x, y, z = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["a.json", "b.json", "ratio"]
    assert x == ["x", "2", "3", "1.50×", "m/s"]
    assert y == ["y", "only", "in", "a.json"]
    assert z == ["z", "only", "in", "b.json"]


@pytest.mark.parametrize("content", ["[]", "{}", "nonsense", '{"figures": [{"name": "x"}]}'])
def test_a_comparison_names_a_file_of_something_else(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        print_comparison(path, path)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"seconds": 0}, "seconds=0"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"repeats": 0}, "repeats=0"),
        ({"num_envs": (4, 0)}, "num_envs=0"),
        ({"batch_size": 7}, "batch_size=7"),
        ({"batch_size": -2}, "batch_size=-2"),
        ({"batch_size": 8, "train": ()}, "batch_size"),
        ({"seconds": float("inf")}, "seconds=inf"),
        ({"train": ("Pong-v5",)}, "Pong-v5"),
        ({"train": ("RAMSearch-v0",)}, "RAMSearch-v0"),  # its episodes differ in length
        ({"train": ("ramMNST-v0",)}, r"'RAMMNIST-v0'\?"),  # what was probably meant
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Bench(**settings)


def test_a_device_that_cannot_be_measured_is_named() -> None:
    with pytest.raises(ValueError, match="meta"):
        bench(Bench(device="meta"))


def test_an_unwritable_file_is_named_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "bench.json"):
        with pytest.raises(OSError, match=re.escape(str(path))):
            bench(Bench(save=path))


def test_a_comparison_refuses_options_without_effect(tmp_path: Path) -> None:
    paths = (tmp_path / "a.json", tmp_path / "b.json")
    with pytest.raises(ValueError, match="compare"):
        bench(Bench(compare=paths, save=tmp_path / "c.json"))
    with pytest.raises(FileNotFoundError, match=r"a\.json"):
        bench(Bench(compare=paths))


@pytest.mark.slow
def test_peers_are_measured_in_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["RAMCatch-v0, single, numpy", "RAMCatch-v0, single", peers.AP_GYM]
    path = tmp_path / "peers.json"
    settings: dict[str, Any] = {"dataset": "digits", "seconds": 0.001, "repeats": 2, "save": path}
    peers.main(peers.Settings(**settings, only=tuple(names)))
    is_missing = importlib.util.find_spec("ap_gym") is None
    expected = [name for name in names if not (is_missing and name.startswith("ap_gym"))]
    assert list(figures(path)) == expected
    assert all(value > 0 for value, _ in figures(path).values())
    (compared,) = json.loads(path.read_text())["compared"].values()
    assert compared["beside"] == names[0]
    assert len(compared["ratios"]) == 2
    assert ("Not measured: ap_gym" in capsys.readouterr().out) == is_missing
    main(["bench", "--compare", str(path), str(path)])
    assert capsys.readouterr().out.count(" 1.00× env-steps/s") == len(expected)


def test_a_single_environment_is_reset_after_a_time_limit() -> None:
    env = gym.make("RAMSearch-v0", time_limit=2)  # truncates
    assert step_single(env, seconds=0.01) > 0
