"""Long use leaks nothing, and a killed worker is an error instead of an endless wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soak

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="only Linux has /proc"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a process, with a timeout in case it hangs."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.slow
def test_a_short_soak(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    done = run(
        str(ROOT / "tools" / "nightly" / "soak.py"),
        "--steps",
        "1",
        "--laps",
        "4",
        "--save",
        str(path),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert result["steps"] == 4 * (4 * 3 * 64 + 4 * 2 * 3 + 2)
    assert result["killed_workers"] == len(result["laps"]) == 4
    assert result["growth_percent"].keys() == {"memory", "files", "threads", "processes"}
    assert max(result["growth_percent"].values()) < 1
    assert result["laps"][-1]["processes"] == 0
    assert result["commit"] is not None
    assert "files: +0.00%" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "leak"),
    [
        # Too large for memory that an earlier test has freed.
        ("memory", lambda kept: kept.append(bytearray(os.urandom(2**20) * 48))),
        ("files", lambda kept: kept.append(open(os.devnull))),  # noqa: SIM115
        ("processes", lambda kept: kept.append(subprocess.Popen(["true"]))),
    ],
)
def test_leaks_are_found(
    name: str, leak: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []

    def leaking_lap(seed: int, steps: int) -> int:
        leak(kept)
        return steps

    monkeypatch.setattr(soak, "run_lap", leaking_lap)
    with pytest.raises(SystemExit) as exit_info:
        soak.main(["--laps", "8"])
    for one in kept:
        if isinstance(one, subprocess.Popen):
            one.wait()
        elif not isinstance(one, bytearray):
            one.close()
    assert exit_info.value.code == 1
    found = [line for line in capsys.readouterr().out.splitlines() if "too much" in line]
    assert [line.split(":")[0] for line in found] == [name]


def test_growth_is_measured_after_warm_up() -> None:
    held = [50, 90, 100, 100, 100, 100, 102, 104]
    assert soak.measure_growth([{"files": number} for number in held], "files") == 3.0  # 100 to 103
    assert soak.measure_growth([{"files": 0}] * 4 + [{"files": 1}] * 4, "files") == 100.0


LOSE_WORKER = """
import functools, os, signal, sys
import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv

make = functools.partial(gym.make, "ram_envs:RAMClutteredMNIST-v0", dataset="digits")
workers = AsyncVectorEnv([make, make])
workers.reset(seed=0)
actions = workers.action_space.sample()
victim = workers.processes[1]
os.kill(victim.pid, signal.SIGSTOP)  # so that it cannot answer before it is killed
if sys.argv[1] == "in a step":
    workers.step_async(actions)
os.kill(victim.pid, signal.SIGKILL)
victim.join()
try:
    if sys.argv[1] == "in a step":
        workers.step_wait()
    else:
        workers.step(actions)
except (EOFError, OSError) as error:
    print("an error")
for process in workers.processes:
    process.terminate()
sys.stdout.flush()
os._exit(0)  # Gymnasium's own tidying up is not the question
"""


@pytest.mark.parametrize("when", ["between steps", "in a step"])
def test_a_killed_worker_is_an_error(when: str) -> None:
    done = run("-c", LOSE_WORKER, when)
    assert (done.returncode, done.stdout) == (0, "an error\n"), done.stderr
