"""What the readers of strangers' files may do with any bytes, as targets for a fuzzer.

`tools/fuzz.py` feeds them what a fuzzer finds, `tests/test_fuzz.py` the files in
`tests/fuzz_corpus`; this module needs no fuzzer. Where a reader takes several files, an input is a
zip of them.
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

import torch

from ram_agent.agent import RAMAgent
from ram_agent.cli import Train, make_run
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.paper.report import make_markdown, merge_row, read_rows
from ram_agent.paper.tables import TABLES
from ram_agent.run_folder import RunFolder
from ram_agent.runs import describe_run, make_trainer, own_env
from ram_agent.trainer import Trainer
from ram_agent.weights import CheckpointError
from ram_envs.datasets.idx import CorruptDatasetError, read_idx
from ram_envs.datasets.own_images import read_images
from ram_envs.play.command import check_replay
from ram_envs.play.recording import RecordingError, load_recording

MOST_MEGABYTES = 100  # that reading one input may take
MOST_SECONDS = 1.0  # of the processor
MOST_WORDS = 2_000  # characters of a refusal
MOST_FILES, MOST_FILE_BYTES = 16, 2**22  # of an input of several files

Read = TypeVar("Read")


class Refused(Exception):
    """A reader refused its input, as its docstring says, in words."""


class Fault(AssertionError):
    """A reader did what no input may make it do."""


# --- the targets -----------------------------------------------------------------------------


def read_idx_file(content: bytes, folder: Path) -> None:
    """An IDX file, packed or not: `ram_envs.datasets.idx.read_idx`."""
    path = folder / "images-idx3-ubyte"
    path.write_bytes(content)
    attempt(CorruptDatasetError, read_idx, path)


def read_npz(content: bytes, folder: Path) -> None:
    """Images of your own in an .npz: `ram_envs.datasets.own_images.read_images`."""
    path = folder / "a.npz"
    path.write_bytes(content)
    attempt((FileNotFoundError, ValueError), read_images, path)


def read_folder(content: bytes, folder: Path) -> None:
    """A folder of pictures, .npy or IDX files: `ram_envs.datasets.own_images.read_images`."""
    unpack(content, folder)
    attempt((FileNotFoundError, ValueError), read_images, folder)


def read_agent(content: bytes, folder: Path) -> None:
    """Weights: `RAMAgent.load`, then `own_env`, as `ram evaluate` does."""
    path = folder / "agent.safetensors"
    path.write_bytes(content)
    agent = attempt(CheckpointError, RAMAgent.load, path)
    attempt(ValueError, own_env, agent.info)


def read_state(content: bytes, folder: Path) -> None:
    """resume.safetensors: `RunFolder.load_state`, then `Trainer.resume`."""
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
    """config.json and metrics.jsonl of a run: what `ram train --resume` reads before it begins."""
    unpack(content, folder)
    run = RunFolder(folder)
    try:
        command = Train(resume=folder)
        attempt((FileNotFoundError, ValueError), make_run, command, run, 1, torch.device("cpu"))
    finally:
        run.unlock()
    for row in attempt(CheckpointError, run.read_metrics):
        if type(row["update"]) is not int:
            raise Fault(f"a row of metrics: {row!r}")


def read_table(content: bytes, folder: Path) -> None:
    """A file of `ram reproduce`: `read_rows`; what it takes is written again beside a new row."""
    path = folder / "catch.json"
    path.write_bytes(content)
    table = TABLES[path.stem]
    rows = attempt(ValueError, read_rows, path)
    make_markdown(table, merge_row(rows, NEW_ROW, table))


def read_recording(content: bytes, folder: Path) -> None:
    """A recorded game: `load_recording` and the replay that checks it, as `ram play --replay`."""
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
    "table": read_table,
    "recording": read_recording,
}

NEW_ROW: dict[str, Any] = {
    "kind": "ram",
    "name": TABLES["catch"].headline.name,
    "env": "RAMCatch-v0",
    "num_glimpses": None,
    "passes": 1,
    "error_mean": 0.5,
    "error_std": None,
    "errors": [0.5],
    "random_gaze_error": 84.0,
    "test_episodes": 10_000,
    "train_episodes": 870_000,
    "seconds_to_pass_nips": 400.0,
    "catch_rate_mean": 99.5,
    "catch_rate_std": None,
    "seeds": [0],
    "command": "ram reproduce catch",
    "quick": False,
    "commit": "0123456789ab",
    "machine": "2 × a processor",
    "software": "Python 3.11",
    "seconds": 1500.0,
    "dataset": None,
}


@functools.cache
def tiny_trainer() -> Trainer:
    """Made once; whatever it goes on from, it can go on from the next."""
    keywords = {"dataset": "digits", "num_glimpses": 1, "glimpse_size": 1, "num_scales": 1}
    agent = AgentConfig(hidden_size=1, feature_size=1)
    training = TrainConfig(episodes=2, batch_size=2, parts=1)
    run = describe_run("RAMMNIST-v0", keywords, "default", agent, training)
    return make_trainer(run, None)


# --- one input -------------------------------------------------------------------------------


def attempt(refusals: Any, read: Callable[..., Read], *args: Any) -> Read:
    """What `read` returns; Refused if it raises what its docstring says, in words."""
    try:
        return read(*args)
    except refusals as error:
        words = str(error)
        if len(words) > MOST_WORDS:
            raise Fault(f"a refusal of {len(words):,} characters: {words[:200]}") from error
        if not words.replace("\n", "").isprintable():
            raise Fault(f"a refusal with characters that a terminal obeys: {words!r}") from error
        raise Refused(words) from error


def check_input(name: str, content: bytes, most_seconds: float = MOST_SECONDS) -> bool:
    """Whether target `name` took an input; it may refuse it too.

    Raises:
        Fault: if it took too much memory or time, or refused it in no words.
        Exception: whatever else escapes it, which is a fault as well.
    """
    with new_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, memory = time.process_time(), forget_peak()
        try:
            TARGETS[name](content, folder)
            taken = True
        except Refused:
            taken = False
        seconds, memory = time.process_time() - seconds, peak_megabytes() - memory
    if memory > MOST_MEGABYTES:
        raise Fault(f"it took {memory:.0f} MB, and {MOST_MEGABYTES} are allowed")
    if seconds > most_seconds:
        raise Fault(f"it took {seconds:.1f} s, and {most_seconds:g} are allowed")
    return taken


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """In memory, where the system has such a place: a fuzzer makes thousands a second."""
    shared = "/dev/shm"
    folder = tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Windows keeps what is mapped


def forget_peak() -> float:
    """Megabytes that this process has now, from where `peak_megabytes` begins to count.

    Linux can forget the peak; elsewhere it is that of the process's whole life.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(b"5")
    return peak_megabytes()


def peak_megabytes() -> float:
    """The most that this process had since `forget_peak`; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        return 0.0
    return int(status.partition(b"VmHWM:")[2].split(None, 1)[0]) / 1024


# --- inputs of several files -----------------------------------------------------------------


def unpack(content: bytes, folder: Path) -> None:
    """Write the files of an input into a folder; Refused if it is no such input."""
    for name, part in parts_of(content).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part)


def parts_of(content: bytes) -> dict[str, bytes]:
    """The files of an input; Refused if it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            fit = len(members) <= MOST_FILES and all(map(_is_fit, members))
            if not fit or len({*names}) < len(names):
                raise Refused("no input")
            parts = {member.filename: archive.read(member) for member in members}
    except Refused:
        raise
    except Exception as error:
        raise Refused("no input") from error
    folders = {str(parent) for name in parts for parent in Path(name).parents}
    if folders & {*parts}:
        raise Refused("no input")
    return parts


def _is_fit(member: zipfile.ZipInfo) -> bool:
    is_path = re.fullmatch(r"(\w[\w.-]{0,40}/){0,2}\w[\w.-]{0,40}", member.filename, re.ASCII)
    is_stored = member.compress_type == zipfile.ZIP_STORED
    return bool(is_path) and is_stored and member.file_size <= MOST_FILE_BYTES


def pack(parts: dict[str, bytes]) -> bytes:
    """An input of several files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return content.getvalue()
