"""The readers of untrusted files, as targets for a fuzzer, and the limits that they must keep.

`fuzz.py` feeds them what a fuzzer finds, `tests/test_fuzz.py` the files in `tests/fuzz_corpus`.
This module needs no fuzzer. If a reader takes several files, an input is a zip of them.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shutil
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ram_agent.agent import RAMAgent
from ram_agent.commands.train import read_run as read_config
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.presets import Preset
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.runs import describe_run, make_trainer
from ram_agent.trainer import Trainer
from ram_agent.weights import CheckpointError
from ram_envs.datasets.errors import CorruptDatasetError
from ram_envs.datasets.idx import read_idx
from ram_envs.datasets.own_images import find_source, read_source
from ram_envs.datasets.pixels import WHITE
from ram_envs.play.recording import RecordingError, load_recording
from ram_envs.play.session import check_replay

MAX_MEGABYTES = 100  # for reading one input
MAX_SECONDS = 1.0  # of the processor, for reading one input
MAX_MESSAGE = 2_000  # characters of an error
MAX_FILES, MAX_FILE_BYTES = 16, 2**22  # of an input of several files

Read = TypeVar("Read")


class Refused(Exception):
    """A reader refused its input with an exception that its docstring names."""


class Fault(AssertionError):
    """A reader broke a limit."""


# --- the targets -----------------------------------------------------------------------------


def read_idx_file(content: bytes, folder: Path) -> None:
    """Read an IDX file, compressed or not: `ram_envs.datasets.idx.read_idx`."""
    path = folder / "images-idx3-ubyte"
    path.write_bytes(content)
    attempt(CorruptDatasetError, read_idx, path)


def read_npz(content: bytes, folder: Path) -> None:
    """Read images in an .npz: `ram_envs.datasets.own_images.read_source`."""
    path = folder / "a.npz"
    path.write_bytes(content)
    attempt((FileNotFoundError, ValueError), read_few_images, path)


def read_folder(content: bytes, folder: Path) -> None:
    """Read a folder of pictures, .npy or IDX files: `ram_envs.datasets.own_images.read_source`."""
    write_input(content, folder)
    attempt((FileNotFoundError, ValueError), read_few_images, folder)


def read_few_images(path: Path) -> None:
    """Read images; too few to divide are read with splits="all"."""
    try:
        read_source(find_source(path), None, WHITE)
    except ValueError:
        read_source(find_source(path), "all", WHITE)


def read_agent(content: bytes, folder: Path) -> None:
    """Read weights: `RAMAgent.load`, then `RunEnv.named_in`, as `ram evaluate` does."""
    path = folder / "agent.safetensors"
    path.write_bytes(content)
    agent = attempt(CheckpointError, RAMAgent.load, path)
    attempt(ValueError, RunEnv.named_in, agent.info)


def read_state(content: bytes, folder: Path) -> None:
    """Read resume.safetensors: `RunFolder.load_state`, then `Trainer.resume`."""
    run = RunFolder(folder)
    run.state_path.write_bytes(content)
    attempt(CheckpointError, run.load_state)
    trainer = tiny_trainer()
    trainer.folder = run
    try:
        attempt(CheckpointError, trainer.resume)
    finally:
        run.unlock()


def read_run(content: bytes, folder: Path) -> None:
    """Read config.json and metrics.jsonl of a run, as `ram train --resume` does."""
    write_input(content, folder)
    run = RunFolder(folder)
    try:
        attempt((FileNotFoundError, ValueError), read_config, run)
    finally:
        run.unlock()
    for row in attempt(CheckpointError, run.read_metrics):
        if type(row["update"]) is not int:
            raise Fault(f"a row of metrics: {row!r}")


def read_recording(content: bytes, folder: Path) -> None:
    """Read a recorded game: `load_recording`, then the check by replay, as `ram play --replay`."""
    path = folder / "game.json"
    path.write_bytes(content)
    recording = attempt((FileNotFoundError, RecordingError), load_recording, path, "RAMCatch-v0")
    attempt(RecordingError, check_replay, recording, path)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "idx": read_idx_file,
    "npz": read_npz,
    "folder": read_folder,
    "agent": read_agent,
    "state": read_state,
    "run": read_run,
    "recording": read_recording,
}


@functools.cache
def tiny_trainer() -> Trainer:
    """Return a trainer, made once; it can resume from one state after another."""
    return make_trainer(tiny_run(), None)


def tiny_run() -> RunConfig:
    """Return a run with the smallest possible agent."""
    smallest = {"dataset": "digits", "num_glimpses": 1, "glimpse_size": 1, "num_scales": 1}
    agent = AgentConfig(hidden_size=1, feature_size=1)
    training = TrainConfig(episodes=2, batch_size=2)
    return describe_run(RunEnv("RAMMNIST-v0", smallest), "default", Preset(agent, training, 1))


# --- one input -------------------------------------------------------------------------------


def attempt(refusals: Any, read: Callable[..., Read], *args: Any) -> Read:
    """Return what `read` returns; raise Refused if it raises one of `refusals`."""
    try:
        return read(*args)
    except refusals as error:
        words = str(error)
        if len(words) > MAX_MESSAGE:
            raise Fault(f"an error of {len(words):,} characters: {words[:200]}") from error
        if not words.replace("\n", "").isprintable():
            raise Fault(f"an error with control characters: {words!r}") from error
        raise Refused(words) from error


def check_input(name: str, content: bytes, max_seconds: float = MAX_SECONDS) -> bool:
    """Return whether target `name` accepted an input or refused it.

    Raises:
        Fault: if it took too much memory or time, or its error is unreadable.
        Exception: any other exception of the reader, which is a fault too.
    """
    with new_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, memory = time.process_time(), reset_peak()
        try:
            TARGETS[name](content, folder)
            taken = True
        except Refused:
            taken = False
        seconds, memory = time.process_time() - seconds, peak_megabytes() - memory
    if memory > MAX_MEGABYTES:
        raise Fault(f"it took {memory:.0f} MB; the limit is {MAX_MEGABYTES} MB")
    if seconds > max_seconds:
        raise Fault(f"it took {seconds:.1f} s; the limit is {max_seconds:g} s")
    return taken


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """Make a folder, in memory if possible: a fuzzer makes thousands per second."""
    shared = "/dev/shm"
    folder = tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Windows keeps what is mapped


def reset_peak() -> float:
    """Reset the peak of this process's memory and return it in megabytes.

    Only Linux can reset it; elsewhere it is the peak of the process's whole life.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(b"5")
    return peak_megabytes()


def peak_megabytes() -> float:
    """Return the peak memory since `reset_peak`; 0 where the system does not report it."""
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        return 0.0
    return int(status.partition(b"VmHWM:")[2].split(None, 1)[0]) / 1024


# --- inputs of several files -----------------------------------------------------------------


def write_input(content: bytes, folder: Path) -> None:
    """Write the files of an input into a folder; raise Refused if it is not a zip of files."""
    for name, file in unpack_input(content).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)


def unpack_input(content: bytes) -> dict[str, bytes]:
    """Return the files of an input; raise Refused if it is not a zip of files."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            files = {member.filename: archive.read(member) for member in members if _is_fit(member)}
    except Exception as error:
        raise Refused("not a zip of files") from error
    folders = {str(parent) for name in files for parent in Path(name).parents}
    if len(files) < len(members) or len(members) > MAX_FILES or folders & {*files}:
        raise Refused("not a zip of files")
    return files


def _is_fit(member: zipfile.ZipInfo) -> bool:
    is_path = re.fullmatch(r"(\w[\w.-]{0,40}/){0,2}\w[\w.-]{0,40}", member.filename, re.ASCII)
    is_stored = member.compress_type == zipfile.ZIP_STORED
    return bool(is_path) and is_stored and member.file_size <= MAX_FILE_BYTES


def pack(files: dict[str, bytes]) -> bytes:
    """Return an input of several files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, file in files.items():
            archive.writestr(zipfile.ZipInfo(name), file)
    return content.getvalue()
