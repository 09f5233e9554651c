"""Kill a training at random moments, resume it, and compare it with an undisturbed one.

    python tools/kill_runs.py --kills 100 --save results/kills.json

Runs a tiny training without interruption, and then repeatedly with up to three kills (SIGKILL), at
random moments between its first line of Python and its end, and resumes it until it is complete.
Weights, resume state and all metrics except the seconds must be equal, bit for bit. Needs a system
with SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import ram_agent
from ram_agent.agent import RAMAgent
from ram_agent.provenance import provenance
from ram_agent.run_folder import RunFolder
from ram_agent.weights import load_weights
from ram_envs.atomic_files import write_json

ROOT = Path(ram_agent.__file__).parent.parent
# An epoch of the digits, 41 updates, is followed by a validation, which writes all files.
TRAIN = "RAMMNIST-v0 --dataset digits --num-glimpses 2 --batch-size 32 --hidden-size 16"
TRAIN += " --feature-size 8 --validate-every 1"
WEIGHTS = ("best.safetensors", "last.safetensors")


def main(args: list[str] | None = None) -> None:
    """Kill, resume, compare, and write the result; exit with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--save", type=Path, help="write the results to this JSON file")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of each run")
    settings = parser.parse_args(args)
    command = [*TRAIN.split(), "--epochs", str(settings.epochs)]
    moments = random.Random(settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        started = time.perf_counter()
        assert train(command, whole) == 0, "the undisturbed run failed"
        seconds = time.perf_counter() - started
        kills: list[dict[str, Any]] = []
        differences: list[str] = []
        while len(kills) < settings.kills:
            run = Path(folder) / f"run-{len(kills)}"
            count = min(3, settings.kills - len(kills))
            killed = kill_and_resume(
                command, run, [moments.uniform(0, seconds) for _ in range(count)]
            )
            found = compare(run, whole)
            kills += killed
            differences += [f"{run.name}: {difference}" for difference in found]
            print(f"{len(kills):>4} kills, {run.name}: {', '.join(found) or 'equal'}", flush=True)
            if not killed:
                seconds *= 0.9  # the machine has become faster: kill earlier
    result = {
        **provenance(),
        "seed": settings.seed,
        "train": " ".join(command),
        "undisturbed_seconds": round(seconds, 1),
        "kills": len(kills),
        "before_the_first_checkpoint": sum(kill["update"] is None for kill in kills),
        "moments": kills,
        "differences": differences,
    }
    print(f"{len(kills)} kills, {len(differences)} differences")
    if settings.save is not None:
        write_json(settings.save, result)
        print(f"Written to {settings.save}")
    sys.exit(bool(differences))


def kill_and_resume(command: list[str], run: Path, moments: list[float]) -> list[dict[str, Any]]:
    """Train to the end, with a kill after each number of seconds; return where each kill fell."""
    killed = []
    for moment in moments:
        if train(command, run, moment) == 0:
            break  # it ended before the kill
        state = RunFolder(run).state_path
        update = RunFolder(run).load_state().counters["update"] if state.exists() else None
        left = sorted(path.name for path in run.glob(".*.tmp")) if run.exists() else []
        killed.append({"seconds": round(moment, 3), "update": update, "unfinished": left})
        check_usable(run)
    assert train(command, run) == 0, f"{run} cannot be resumed"
    return killed


def train(command: list[str], run: Path, kill_after: float | None = None) -> int:
    """Start or resume the run; return its exit status, which is negative if it was killed."""
    how = ["--resume", run] if (run / "config.json").exists() else [*command, "--out", run]
    with subprocess.Popen(
        [sys.executable, "-m", "ram_agent", "train", *map(str, how)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            return process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def check_usable(run: Path) -> None:
    """Raise an error unless the weights that a kill left can be loaded."""
    for name in ("best", "last"):
        if (run / f"{name}.safetensors").exists():
            RAMAgent.load(run / name)


def compare(run: Path, whole: Path) -> list[str]:
    """Return what differs between two complete runs."""
    differences = [name for name in WEIGHTS if read(run / name) != read(whole / name)]
    rows = [
        [{**row, "seconds": 0} for row in RunFolder(path).read_metrics()] for path in (run, whole)
    ]
    if rows[0] != rows[1]:
        differences.append("metrics.jsonl")
    states = [RunFolder(path).load_state() for path in (run, whole)]
    for state in states:
        state.counters["seconds"] = 0
    try:
        torch.testing.assert_close(*states, rtol=0, atol=0)
    except AssertionError:
        differences.append("resume.safetensors")
    left = sorted(path.name for path in run.glob(".*.tmp"))
    return differences + left


def read(path: Path) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return weights and what is stored with them, except what differs from run to run."""
    tensors, description = load_weights(path)
    for name in ("command", "date"):
        del description["info"][name]
    return {name: tensor.tolist() for name, tensor in tensors.items()}, description


if __name__ == "__main__":
    main()
