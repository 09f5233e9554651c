"""The command `ram bench`: how fast this machine steps the environments and trains RAM.

Each measurement is repeated, in turn with all others, and the best one counts, because load from
other programs can only slow it. Measurements of one run can be compared; those of two, with care.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from tqdm import tqdm

from ram_agent.bench_probes import (
    MEMORY_ENVS,
    Training,
    device_env_probes,
    device_retina_probe,
    env_probes,
    matmul_probe,
    measure_memory,
    retina_probes,
)
from ram_agent.commands.parsing import UNSET, parse
from ram_agent.distributed import checked_device
from ram_agent.provenance import provenance
from ram_agent.stepping import Measurement, Probe
from ram_envs.atomic_files import check_writable, write_json
from ram_envs.checks import checked_integer, suggest
from ram_envs.kernels import describe_form
from ram_envs.registration import ENVS, SEARCH

MATMUL_SIZE = 1024  # side of the square matrices whose product measures the machine itself
DEVICE_MATMUL_SIZE = 4096  # on a GPU, which a smaller product does not fill
NAME_WIDTH = 80  # of the table's first column


@dataclass(frozen=True)
class Bench:
    """Measure how fast this machine steps the environments, takes glimpses and trains RAM.

    Examples:
      ram bench --save before.json
      ram bench --env-ids RAMCatch-v0 --num-envs 128 --train
      ram bench --compare before.json after.json
      ram bench --device cuda --train RAMClutteredMNIST-v0 --batch-size 8192
    """

    env_ids: tuple[str, ...] = tuple(env_id for env_id in ENVS if env_id != "RAMClassification-v0")
    """Environments to step."""

    num_envs: tuple[int, ...] = (1, 16, 128, 256, 1024)
    """Numbers of sub-environments in the native vector environment."""

    train: tuple[str, ...] = ("RAMMNIST-v0", "RAMClutteredMNIST-v0", "RAMCatch-v0")
    """Environments in which RAM is trained with the default preset; their episodes have equal
    length. `--train` without ids skips training."""

    batch_size: Annotated[int | None, UNSET] = None
    """Training episodes per update. Default: the preset's."""

    device: str = "cpu"
    """cpu or cuda. With cuda, environments, retina and training run on the GPU."""

    dataset: Literal["auto", "mnist", "digits"] = "auto"
    """Images of the environments."""

    seconds: float = 0.3
    """Duration of each measurement."""

    repeats: int = 5
    """Number of times each measurement is taken; the best one counts."""

    save: Annotated[Path | None, UNSET] = None
    """Write the measurements to this JSON file."""

    compare: Annotated[tuple[Path, Path] | None, UNSET] = None
    """Measure nothing; print the ratios of two files written by --save."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds={self.seconds!r} is out of range. Give a positive number.")
        checked_integer("repeats", self.repeats, 1)
        for number in self.num_envs:
            checked_integer("num_envs", number, 1)
        if self.batch_size is not None:
            if self.batch_size < 2 or self.batch_size % 2:
                raise ValueError(
                    f"batch_size={self.batch_size} is out of range. Give an even number, 2 or more."
                )
            if not self.train:
                raise ValueError("batch_size has no effect without training. Leave it out.")
        for env_id in (*self.env_ids, *self.train):
            if env_id not in ENVS:
                raise ValueError(f"env_id={env_id!r} does not exist. {suggest(env_id, ENVS)}")
        if unequal := SEARCH.keys() & {*self.train}:
            raise ValueError(
                f"train={min(unequal)!r}: its episodes differ in length, so its training is not "
                "measured. Leave it out."
            )


def main(args: list[str]) -> None:
    """Run `ram bench`."""
    bench(parse(Bench, "bench", args))


def bench(command: Bench) -> None:
    """Measure, print, and save what the command asks for."""
    if command.compare is not None:
        if command != Bench(compare=command.compare):
            raise ValueError("compare only reads files. Leave all other options out.")
        print_comparison(*command.compare)
        return
    if command.save is not None:
        check_writable(command.save)
    device = checked_device(command.device)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={command.device!r} is not measured. Choose cpu or cuda.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if device.type == "cpu":
            measurements = measure_all(command)
        else:
            measurements = measure_on_device(command, device)
    finally:
        torch.set_num_threads(threads)
    kernels = describe_form()
    print(f"{'kernels':<{NAME_WIDTH}} {kernels:>12}")
    for measurement in measurements:
        print(format_line(measurement))
    if command.save is not None:
        facts = provenance(device) | {"kernels": kernels}
        save_measurements(command.save, measurements, facts, command.dataset)


def measure_all(command: Bench) -> list[Measurement]:
    """Measure everything that the command asks for on the CPU."""
    prepare = functools.partial(Training, dataset=command.dataset, batch_size=command.batch_size)
    trainings = [prepare(env_id) for env_id in command.train]
    in_two_threads = [prepare(env_id, num_threads=2) for env_id in command.train]
    matmul = matmul_probe(torch.device("cpu"), MATMUL_SIZE, "float32", "one thread")
    probes = [
        *(
            probe
            for env_id in command.env_ids
            for probe in env_probes(env_id, command.dataset, command.num_envs)
        ),
        *retina_probes(),
        matmul,
        *(training.probe for training in (*trainings, *in_two_threads)),
    ]
    measurements = _measure(command, probes, trainings, {"machine's": matmul})
    if "RAMClutteredMNIST-v0" in command.env_ids:
        name = f"RAMClutteredMNIST-v0, native × {MEMORY_ENVS}: memory beside the data set"
        measurements.append(Measurement(name, measure_memory(command.dataset), "MB"))
    return measurements


def measure_on_device(command: Bench, device: torch.device) -> list[Measurement]:
    """Measure everything that the command asks for on a GPU."""
    trainings = [
        Training(env_id, command.dataset, command.batch_size, device=device)
        for env_id in command.train
    ]
    matmuls = {
        f"{device}'s {dtype}": matmul_probe(device, DEVICE_MATMUL_SIZE, dtype, str(device))
        for dtype in ("float32", "bfloat16")
    }
    probes = [
        *(
            probe
            for env_id in command.env_ids
            for probe in device_env_probes(env_id, command.dataset, command.num_envs, device)
        ),
        *(device_retina_probe(batch, device) for batch in command.num_envs),
        *matmuls.values(),
        *(training.probe for training in trainings),
    ]
    return _measure(command, probes, trainings, matmuls)


def _measure(
    command: Bench, probes: list[Probe], trainings: list[Training], matmuls: dict[str, Probe]
) -> list[Measurement]:
    """Measure the probes, and add the details of trainings."""
    best = take_best(probes, command.seconds, command.repeats)
    measurements = [Measurement(name, best[name], unit) for name, unit, _ in probes]
    matmul_rates = {whose: best[probe.name] for whose, probe in matmuls.items()}
    for training in trainings:
        measurements += training.details(best[training.name], matmul_rates)
    return measurements


def take_best(probes: list[Probe], seconds: float, repeats: int) -> dict[str, float]:
    """Measure all probes in turn, `repeats` times; return the best value of each name."""
    best = dict.fromkeys((probe.name for probe in probes), 0.0)
    with tqdm(total=repeats * len(probes), disable=None, leave=False) as bar:
        for _ in range(repeats):
            for probe in probes:
                best[probe.name] = max(best[probe.name], probe.measure(seconds))
                bar.update()
    return best


def format_line(measurement: Measurement) -> str:
    """Return the measurement's line of the table."""
    name, value, unit = measurement
    digits = 0 if value >= 1000 else 1
    return f"{name:<{NAME_WIDTH}} {value:>12,.{digits}f} {unit}"


def save_measurements(
    path: Path, measurements: list[Measurement], facts: dict[str, str], dataset: str
) -> None:
    """Write a file that `--compare` reads; `facts` is the provenance."""
    rows = [measurement._asdict() for measurement in measurements]
    write_json(path, {**facts, "dataset": dataset, "figures": rows})
    print(f"Written to {path}")


def print_comparison(before: Path, after: Path) -> None:
    """Print the measurements of two files and their ratios.

    Raises:
        FileNotFoundError: if one of the files does not exist.
        ValueError: if `--save` did not write it.
    """
    values, advice = [], "Give two files written by `ram bench --save`."
    for path in (before, after):
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["figures"]
            values.append({row["name"]: (float(row["value"]), row["unit"]) for row in rows})
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} does not exist. {advice}") from None
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path} has no measurements. {advice}") from None
    old, new = values
    print(f"{'':<{NAME_WIDTH}} {before.name:>14} {after.name:>14} {'ratio':>7}")
    for name, (value, unit) in new.items():
        if name in old:
            first = old[name][0]
            ratio = value / first if first else float("nan")
            print(f"{name:<{NAME_WIDTH}} {first:>14,.5g} {value:>14,.5g} {ratio:>6.2f}× {unit}")
    for name in sorted(old.keys() ^ new.keys()):
        print(f"{name:<{NAME_WIDTH}} only in {(before if name in old else after).name}")
