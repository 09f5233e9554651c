"""Where a result comes from: its command, commit, machine and date."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

import ram_envs


def provenance(device: torch.device | str = "cpu") -> dict[str, str]:
    """Return the facts, as JSON values, with which someone else can repeat a result.

    Args:
        device: the device that computes; a GPU's name is added to the machine's.
    """
    return {
        "command": command_line(),
        "version": ram_envs.__version__,
        "commit": _commit(),
        "machine": ", ".join(_machine(torch.device(device))),
        "software": f"Python {platform.python_version()}, torch {torch.__version__}",
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def command_line() -> str:
    """Return the command of this process, which repeats it; under torchrun, that of all ranks."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        name = "python -m ram_agent"
    else:
        name = f"python {shlex.quote(sys.argv[0])}" if program.suffix == ".py" else program.name
    if "TORCHELASTIC_RUN_ID" in os.environ:
        machines, ranks = os.environ["GROUP_WORLD_SIZE"], os.environ["LOCAL_WORLD_SIZE"]
        name = (
            f"torchrun --nnodes {machines} --nproc-per-node {ranks} {name.removeprefix('python ')}"
        )
    return " ".join([name, *map(shlex.quote, sys.argv[1:])])


def _commit() -> str:
    """Return the commit of the checkout that holds the package; "" for an installed package."""
    here = Path(ram_envs.__file__).parent.parent
    if not (here / ".git").exists():
        return ""
    try:
        return subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _machine(device: torch.device) -> list[str]:
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    return [*gpu, f"{os.cpu_count()} × {_processor()}", platform.system()]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
