"""Measure the time that `import ram_envs` adds to `import gymnasium`, in new processes.

python benchmarks/import_time.py --save results/import_time.json
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_json

CODE = """
import time, gymnasium
started = time.perf_counter()
import ram_envs
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Settings:
    """Measure the time that `import ram_envs` adds to `import gymnasium`."""

    repeats: int = 15
    """Number of processes."""

    save: Path | None = None
    """Write the measurements to this JSON file."""


def main(settings: Settings) -> None:
    command = [sys.executable, "-c", CODE]
    milliseconds = [
        1000 * float(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(settings.repeats)
    ]
    measurements = {
        "median_ms": round(statistics.median(milliseconds), 1),
        "least_ms": round(min(milliseconds), 1),
        "most_ms": round(max(milliseconds), 1),
    }
    print("import ram_envs beyond import gymnasium:", measurements)
    if settings.save is not None:
        write_json(settings.save, {**provenance(), **measurements})


if __name__ == "__main__":
    main(tyro.cli(Settings))
