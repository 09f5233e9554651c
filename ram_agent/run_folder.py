"""The folder of a training run: its settings, metrics, weights and the state to continue from."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig
from ram_agent.training_state import TrainingState
from ram_agent.weights import CheckpointError, read_tensors, write_tensors
from ram_envs import atomic_files
from ram_envs.atomic_files import appending, unfinished, write_bytes, write_json

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock-holder"
MAX_ROW_BYTES = 2**16  # of metrics
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # errors of file systems without locks


class RunFolder:
    """The folder of one training run.

    config.json          the command, environment, agent and training settings
    metrics.jsonl        a row for every 20th update, and for each validation
    best.safetensors     the weights with the lowest validation error, and their description
    last.safetensors     the weights of the last validation
    resume.safetensors   all that is needed to continue
    .lock, .lock-holder  held by the process that writes here, and its name

    Each file is replaced atomically. resume.safetensors is written last: after a crash, all that
    is newer is computed again, bit for bit, by the run that continues from it.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock: filelock.BaseFileLock | None = None

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def state_path(self) -> Path:
        return self.path / "resume.safetensors"

    @property
    def resume_command(self) -> str:
        """The command that continues this run, quoted for a shell."""
        return f"ram train --resume {shlex.quote(str(self.path))}"

    @property
    def has_begun(self) -> bool:
        """Whether a training has written more than its config."""
        return self.state_path.exists() or self.metrics_path.exists()

    def lock(self) -> None:
        """Keep other processes from writing here, until `unlock` or the end of this process.

        Raises:
            BlockingIOError: if another process holds the lock.
            OSError: if the folder cannot be written.
        """
        if self._lock is None:
            self._lock = _lock(self.path)
            for leftover in unfinished(self.path):  # by a process that was killed
                leftover.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.release(force=True)
            self._lock = None

    # --- settings --------------------------------------------------------------------------------

    def create(self, config: dict[str, Any], or_beside: bool = False) -> None:
        """Make the folder for a new run, and lock it.

        Args:
            config: what `read_config` returns.
            or_beside: if there is a run already, use the path with the suffix -2, -3, … instead.

        Raises:
            FileExistsError: if the folder contains a run that was trained, or any other files.
            BlockingIOError: if another process writes there.
        """
        wanted = self.path
        for number in itertools.count(2):
            try:
                self._check_is_free()
                self._make()
                self.lock()
                self._check_is_free()  # another process may have made it meanwhile
                break
            except (FileExistsError, BlockingIOError):
                self.unlock()
                if not or_beside:
                    raise
                self.path = wanted.with_name(f"{wanted.name}-{number}")
        self.state_path.unlink(missing_ok=True)
        write_json(self.config_path, config)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise
        except OSError as error:  # no permission, a file in the way, a name that is too long
            raise OSError(
                f"{self.path} cannot be created: {error.strerror}. Choose another --out."
            ) from error

    @property
    def is_free(self) -> bool:
        """Whether there is nothing here, or only what a run writes before its first update."""
        if not self.path.is_dir():
            return not self.path.exists()
        allowed = {self.path / LOCK_NAME, self.path / HOLDER_NAME, *unfinished(self.path)}
        if self._is_untrained():
            allowed |= {self.config_path, self.state_path}
        return allowed.issuperset(self.path.iterdir())

    def _check_is_free(self) -> None:
        if not self.is_free:
            is_run = self.config_path.is_file()
            how = f", or continue that run: {self.resume_command}" if is_run else "."
            raise FileExistsError(f"{self.path} exists and is not empty. Choose another --out{how}")

    def _is_untrained(self) -> bool:
        """Return whether settings of a run are here, and no update of it was done."""
        try:
            is_run = "env_id" in self.read_config()
            return is_run and not (
                self.state_path.exists() and self.load_state().counters.get("update", 1)
            )
        except (FileNotFoundError, CheckpointError):
            return False

    def read_config(self) -> dict[str, Any]:
        """Return the config.json that `create` wrote.

        Raises:
            FileNotFoundError: if this is not a run folder.
            CheckpointError: if the file is damaged, or the run has an older format.
        """
        if not self.config_path.is_file():
            raise FileNotFoundError(
                f"{self.path} is not a run folder: it has no config.json. Give a folder that "
                "`ram train` wrote."
            )
        if (self.path / "resume.pt").exists():
            raise CheckpointError(
                f"{self.path} is a run of an older format (resume.pt), which this version of "
                "ram-gym does not read. Continue it with the version that wrote it, or train again "
                "in another folder."
            )
        return read_json_object(self.config_path)

    # --- metrics ---------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, float]) -> None:
        """Add a row to the metrics file."""
        with self._explaining_errors(), appending(self.metrics_path) as file:
            file.write((json.dumps(row) + "\n").encode())

    def read_metrics(self) -> list[dict[str, float]]:
        """Return all rows, without damaged ones: a crash may cut the last one short."""
        if not self.metrics_path.is_file():
            return []
        rows = []
        with self.metrics_path.open("rb") as file:
            while line := file.readline(MAX_ROW_BYTES):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict) and type(row.get("update")) is int:
                    rows.append(row)
        return rows

    def forget_metrics_after(self, update: int) -> None:
        """Drop the rows after an update: the run that continues from there writes them again."""
        rows = [row for row in self.read_metrics() if row["update"] <= update]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self.metrics_path, text.encode())

    # --- weights and state -----------------------------------------------------------------------

    def save_agent(self, name: str, agent: RAMAgent, update: int, **validation: float) -> None:
        """Write the weights `name`; the `info` in the file is the agent's and this run's facts."""
        info = {**agent.info, **self.read_config(), "update": update, **validation}
        with self._explaining_errors():
            agent.save(self.path / name, info)

    def begin(self, state: TrainingState) -> None:
        """Lock the folder for a training that is at `state`, so that it can be resumed from now on.

        Raises:
            FileNotFoundError: if this is not a run folder; see `create`.
            FileExistsError: if the training here is at another update.
            BlockingIOError: if another process writes here.
        """
        self.read_config()
        self.lock()
        if not self.has_begun:
            self.save_state(state)
            return
        here, update = self.load_state().counters.get("update"), state.counters["update"]
        if here != update:
            raise FileExistsError(
                f"{self.path} contains a training at update {here}, and this trainer is at "
                f"{update}. Call `Trainer.resume` first, or choose another folder."
            )

    def save_state(self, state: TrainingState) -> None:
        """Write all that is needed to continue."""
        with self._explaining_errors():
            write_tensors(self.state_path, state.tensors, "ram-run", state.counters)

    def load_state(self) -> TrainingState:
        """Return the state that `save_state` wrote.

        Raises:
            FileNotFoundError: if there is none.
            CheckpointError: if the file is damaged or has another version.
        """
        if not self.state_path.is_file():
            raise FileNotFoundError(
                f"{self.path} has no resume.safetensors, which --resume needs. Restore it, or "
                "train again in another folder."
            )
        return TrainingState(*read_tensors(self.state_path, "ram-run"))

    def check_fits(self, config: AgentConfig) -> None:
        """Raise CheckpointError if such an agent is larger than the state, before it is built."""
        least = 4 * config.hidden_size * 2 * (config.hidden_size + config.feature_size)
        if self.state_path.is_file() and least > self.state_path.stat().st_size:
            raise CheckpointError(
                f"{self.state_path} is too short for hidden_size={config.hidden_size} and "
                f"feature_size={config.feature_size}. Restore the sizes in {self.config_path.name}."
            )

    @contextlib.contextmanager
    def _explaining_errors(self) -> Iterator[None]:
        """Add to an error of writing what becomes of the run."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{error} The run stops here and its last checkpoint is usable. Continue it with: "
                f"{self.resume_command}"
            ) from error


def _lock(folder: Path) -> filelock.BaseFileLock:
    """Return the lock of a folder, held; the system releases it when this process ends."""
    lock, holder = filelock.FileLock(folder / LOCK_NAME, thread_local=False), folder / HOLDER_NAME
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        name = holder.read_text() if holder.is_file() else "another process"
        raise BlockingIOError(
            f"{folder} is being written by {name}. Wait for it, stop it, or choose another --out."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    with contextlib.suppress(OSError):  # a full disk
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    return lock


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it contains something else.
    """
    try:
        value = atomic_files.read_json(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}. Restore it from a copy.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it is not a JSON object.")
    return value


def resume_from(folder: RunFolder, load: Callable[[TrainingState], None]) -> None:
    """Call `load` with the state in a run's folder, and drop the metrics of later updates.

    Raises:
        FileNotFoundError: if the state was removed.
        CheckpointError: if it is damaged, or `load` raises ValueError: it is another run's.
    """
    state = folder.load_state()
    try:
        load(state)
    except ValueError as error:
        raise CheckpointError(
            f"{folder.state_path} does not fit this training: {error} Use the settings and "
            "networks of the run, restore all its files from one copy, or train in another folder."
        ) from None
    folder.forget_metrics_after(state.counters["update"])
