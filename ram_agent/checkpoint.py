"""Files: an agent's weights, and a run's folder with all that is needed to go on.

Everything is written beside its place and then renamed, so a file is whole or it is the old one.
Weights are safetensors, the rest is JSON; only the state for resuming is PyTorch's format, read
with `weights_only=True`. So nothing that is loaded can run code. Nor can it fill the memory: what
a file claims to hold is compared with its length before anything is made of it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import pickletools
import re
import socket
import sys
import weakref
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, config_from_json
from ram_envs import atomic_files as files
from ram_envs.atomic_files import appending, tame, unfinished, write_bytes, write_json

FORMAT_VERSION = 1
MOST_HEADER_BYTES = 2**20  # of a safetensors file; ours are below 2,000
VALUE_BYTES = {"F32": 4, "I8": 1}  # of each, for the kinds that are read
SCALE = ".scale"  # ends the name of what the rows of a matrix of 8 bits are multiplied by
MOST_VALUES = 2**20  # of a glimpse
MOST_ROW_BYTES = 2**16  # of metrics
# What the pickle of a state may name, and how it may not name anything.
PICKLED_NAMES = r"torch (\w+Storage|Size)|torch\._utils _rebuild_tensor_v2|collections OrderedDict"
CALLING_OPCODES = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
LOCK_NAME = ".lock"
MOMENT = "moment"  # under this name the header has the facts that change with each save
PRETRAINED = Path(__file__).parent / "pretrained"
WEIGHT_FILES = ("best", "last")  # in a run's folder, in the order in which they are preferred


# What the parts of a file that was made to be read by others, or by a later version, may raise.
_UNFIT = (
    AttributeError,
    LookupError,
    OverflowError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


class CheckpointError(ValueError):
    """A file does not hold what it should, or not for this environment."""

    def __str__(self) -> str:
        return tame(super().__str__())


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it holds something else.
    """
    try:
        value = files.read_json(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}. Expected JSON.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: expected a JSON object.")
    return value


def save_agent(
    agent: RAMAgent,
    path: str | Path,
    facts: dict[str, Any] | None = None,
    moment: dict[str, Any] | None = None,
    packed: bool = False,
) -> None:
    """Write `path`.safetensors, the weights, and beside it `path`.json, what they belong to.

    Args:
        agent: whose weights.
        path: with or without the ending .safetensors.
        facts: JSON values to keep with them: environment, data set, how they were trained.
        moment: those that change each time a training saves. They are kept in both files, so that
            they are right even where only one of the two was replaced.
        packed: keep 8 bits of each weight of a matrix, and a factor for each of its rows: little
            more than a quarter of the room, and enough to look and to answer.

    Raises:
        ValueError: if they are to be packed and a weight is NaN or infinite.
    """
    stem = _stem(path)
    description = {
        "format": "ram-agent",
        "version": FORMAT_VERSION,
        "agent": asdict(agent.config),
        "glimpse_shape": list(agent.glimpse_shape),
        "num_choices": agent.num_choices,
        "facts": {**(facts or {}), **(moment or {})},
    }
    state = agent.state_dict()
    tensors = {name: value.detach().to("cpu", torch.float32) for name, value in state.items()}
    if packed:
        tensors = _pack(tensors)
    write_json(_with_ending(stem, ".json"), description)
    content = save_tensors(tensors, {MOMENT: json.dumps(moment)} if moment else None)
    write_bytes(_with_ending(stem, ".safetensors"), content)


def load_agent(path: str | Path) -> tuple[RAMAgent, dict[str, Any]]:
    """The agent that `save_agent` wrote, and its facts.

    Args:
        path: what was given to `save_agent`, a run's folder (best weights, else last), or
            "pretrained:NAME" for weights that come with the package.

    Raises:
        FileNotFoundError: if there are no weights.
        CheckpointError: if a file is damaged, or of a newer version, or the two don't fit.
    """
    stem = _find_weights(path)
    description_path = _with_ending(stem, ".json")
    weights_path = _with_ending(stem, ".safetensors")
    description = read_json(description_path)
    if description.get("format") != "ram-agent":
        raise CheckpointError(f"{description_path} does not describe an agent of ram-gym.")
    if description.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{description_path} has version {description.get('version')!r}; this ram-gym reads "
            f"version {FORMAT_VERSION}. Upgrade ram-gym to use it."
        )
    try:
        config = config_from_json(AgentConfig, description["agent"])
        glimpse_shape, num_choices = description["glimpse_shape"], description["num_choices"]
        facts = dict(description["facts"])
        if len(glimpse_shape) != 3:
            raise ValueError("glimpse_shape is not (K · C, G, G).")
        for size in (*glimpse_shape, num_choices):
            _check_size(size)
        _check_size(math.prod(glimpse_shape))  # after its parts: 65,536 · "x" is a long text
        spaces = _spaces(glimpse_shape, num_choices)
        with torch.device("meta"):  # shapes without memory
            expected = RAMAgent(*spaces, config).state_dict()
    except _UNFIT as error:
        raise CheckpointError(f"{description_path} is damaged: {error}") from None
    try:
        moment = _check_header(weights_path, expected)
        tensors = _unpack(load_tensors(weights_path.read_bytes()))
        _check_finite(tensors)
        agent = RAMAgent(*spaces, config)
        agent.load_state_dict(tensors)
    except _UNFIT as error:
        raise CheckpointError(
            f"{weights_path} does not hold the weights that {description_path.name} describes: "
            f"{error}"
        ) from None
    return agent, {**facts, **moment}


def _pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices (R, C) as whole numbers in [-127, 127], and beside them a factor (R,) for each row.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    _check_finite(tensors)
    packed = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            scale = (tensor.abs().amax(1) / 127).clamp(min=torch.finfo(tensor.dtype).tiny)
            packed[name + SCALE] = scale
            tensor = (tensor / scale.unsqueeze(1)).round().to(torch.int8)
        packed[name] = tensor
    return packed


def _unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The matrices of `_pack`, as near as 8 bits come; what is not packed stays as it is."""
    tensors = {}
    for name, tensor in packed.items():
        if name + SCALE in packed:
            tensor = tensor * packed[name + SCALE].unsqueeze(1)
        if not name.endswith(SCALE):
            tensors[name] = tensor
    return tensors


def _check_finite(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} has values that are NaN or infinite.")


def _check_size(size: Any) -> None:
    if type(size) is not int or not 0 < size <= MOST_VALUES:
        raise ValueError(f"size {size!r}: expected a whole number to {MOST_VALUES:,}.")


def _check_header(path: Path, expected: dict[str, Tensor]) -> dict[str, Any]:
    """Raise ValueError unless a safetensors file is as long as the expected tensors, and has them.

    Returns:
        The moment that `save_agent` wrote into the header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER_BYTES:
            raise ValueError(f"its header would be {length:,} bytes long.")
        header = json.loads(file.read(length))
    moment: Any = json.loads(header.pop("__metadata__", {}).get(MOMENT, "{}"))
    if not isinstance(moment, dict):
        raise ValueError(f"its {MOMENT} is {type(moment).__name__}: expected an object.")
    wanted: dict[str, tuple[str, list[int]]] = {}  # kind and shape of each
    for name, tensor in expected.items():
        wanted[name] = "F32", list(tensor.shape)
        if tensor.ndim == 2 and name + SCALE in header:
            wanted[name] = "I8", list(tensor.shape)
            wanted[name + SCALE] = "F32", [len(tensor)]
    if header.keys() != wanted.keys():
        different = ", ".join(sorted(header.keys() ^ wanted.keys()))
        raise ValueError(f"it has other tensors than expected: {different[:200]}.")
    num_bytes = 8 + length
    for name, (kind, shape) in wanted.items():
        found = header[name]["dtype"], header[name]["shape"]
        if found != (kind, shape):
            raise ValueError(f"{name} is {found[0]} {found[1]}: expected {kind} {shape}.")
        num_bytes += VALUE_BYTES[kind] * math.prod(shape)
    if path.stat().st_size != num_bytes:
        raise ValueError(f"it is {path.stat().st_size:,} bytes long: expected {num_bytes:,}.")
    return moment


class RunFolder:
    """The folder of one training run.

    config.json      the command, environment, agent and training settings
    metrics.jsonl    a row for each validation
    best.*, last.*   weights (safetensors) and what they belong to (JSON)
    resume.pt        all that is needed to go on
    .lock            held by the process that writes here

    Each of these is replaced by its next version once that is complete, so there are never more.
    At any moment of a crash they belong together: resume.pt is written last, and what is newer
    is made again, bit for bit, by whoever goes on from it.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._unlock: weakref.finalize[..., RunFolder] | None = None

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def state_path(self) -> Path:
        return self.path / "resume.pt"

    def lock(self) -> None:
        """Keep other processes from writing here, until `unlock`, or until this process ends.

        Raises:
            BlockingIOError: if another run writes here.
        """
        if self._unlock is not None and self._unlock.alive:
            return
        descriptor = _lock(self.path)
        self._unlock = weakref.finalize(self, os.close, descriptor)
        for path in unfinished(self.path):  # by one who was killed, since nobody else writes here
            path.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Let other processes write here."""
        if self._unlock is not None:
            self._unlock()

    def create(self, config: dict[str, Any], or_beside: bool = False) -> None:
        """Make the folder for a new run, and lock it.

        Args:
            config: what `read_config` will return.
            or_beside: where there is a run already, take the path with -2, -3, … instead.

        Raises:
            FileExistsError: if it already holds a run, or any other files.
            BlockingIOError: if another run writes here.
        """
        wanted = self.path
        for number in itertools.count(2):
            try:
                self._check_is_new()
                self.path.mkdir(parents=True, exist_ok=True)
                self.lock()
                self._check_is_new()  # it may have been made meanwhile
                break
            except (FileExistsError, BlockingIOError):
                self.unlock()
                if not or_beside:
                    raise
                self.path = wanted.with_name(f"{wanted.name}-{number}")
        write_json(self.config_path, config)

    def _check_is_new(self) -> None:
        nothing = {self.path / LOCK_NAME, *unfinished(self.path)}  # of a start that was killed
        if self.path.exists() and not (
            self.path.is_dir() and nothing.issuperset(self.path.iterdir())
        ):
            raise FileExistsError(
                f"{self.path} is not empty. Choose another --out, or go on with that run: "
                f"ram train --resume {self.path}"
            )

    def read_config(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            FileNotFoundError: if this is not the folder of a run.
        """
        if not self.config_path.is_file():
            raise FileNotFoundError(
                f"{self.path} is not the folder of a run: it has no config.json. Expected a "
                "folder that `ram train` wrote."
            )
        _check_inside(self.config_path)
        return read_json(self.config_path)

    def save_agent(
        self, name: str, agent: RAMAgent, update: int, validation_error: float | None = None
    ) -> None:
        """Write weights `name` with the facts of the run that made them."""
        moment = {"update": update, "validation_error": validation_error}
        with self._stopping_the_run():
            save_agent(agent, self.path / name, self.read_config(), moment)

    def append_metrics(self, row: dict[str, float]) -> None:
        """Add a row to the metrics file."""
        _check_inside(self.metrics_path)
        with self._stopping_the_run(), appending(self.metrics_path) as file:
            file.write((json.dumps(row) + "\n").encode())

    def read_metrics(self) -> list[dict[str, float]]:
        """All rows, up to one that is damaged: a crash may cut the last one short."""
        if not self.metrics_path.is_file():
            return []
        _check_inside(self.metrics_path)
        rows = []
        with self.metrics_path.open("rb") as file:
            while line := file.readline(MOST_ROW_BYTES):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    break
                if not isinstance(row, dict) or type(row.get("update")) is not int:
                    break
                rows.append(row)
        return rows

    def forget_metrics_after(self, update: int) -> None:
        """Drop rows of updates that the checkpoint does not know of; they will be made again."""
        rows = [row for row in self.read_metrics() if row["update"] <= update]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self.metrics_path, text.encode())

    def save_state(self, state: dict[str, Any]) -> None:
        """Write all that is needed to go on."""
        content = io.BytesIO()  # torch hides a file's own error, such as a full disk
        torch.save({"version": FORMAT_VERSION, **state}, content)
        with self._stopping_the_run():
            write_bytes(self.state_path, content.getvalue())

    @contextlib.contextmanager
    def _stopping_the_run(self) -> Iterator[None]:
        """Say, where a file cannot be written, what becomes of the run."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{error} The run stops here, and its last checkpoint is usable; to go on from it: "
                f"ram train --resume {self.path}"
            ) from error

    @property
    def has_begun(self) -> bool:
        """Whether a training has written more than its config."""
        return any(path.exists() for path in (self.state_path, self.metrics_path))

    def check_fits(self, config: AgentConfig) -> None:
        """Raise CheckpointError if such an agent is larger than what is there to go on from."""
        least = 4 * config.hidden_size * 2 * (config.hidden_size + config.feature_size)
        if self.has_begun and self.state_path.is_file() and least > self.state_path.stat().st_size:
            raise CheckpointError(
                f"{self.state_path} is too short for hidden_size={config.hidden_size} and "
                f"feature_size={config.feature_size}, which {self.config_path.name} names."
            )

    def load_state(self) -> dict[str, Any]:
        """What `save_state` wrote.

        Raises:
            FileNotFoundError: if there is none.
            CheckpointError: if the file is damaged, or of a newer version.
        """
        if not self.state_path.is_file():
            raise FileNotFoundError(
                f"{self.path} has no resume.pt, which `ram train` writes and --resume needs. Put "
                "it back, or train anew in another folder."
            )
        _check_inside(self.state_path)
        try:
            archive = _checked_archive(self.state_path)
            state = torch.load(archive, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise CheckpointError(
                f"{self.state_path} is damaged and cannot be resumed from: {error}"
            ) from None
        if not isinstance(state, dict):
            raise CheckpointError(f"{self.state_path} is damaged: expected a dict.")
        version = state.pop("version", FORMAT_VERSION)  # the first runs have none
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{self.state_path} has version {version!r}; this ram-gym reads version "
                f"{FORMAT_VERSION}. Go on with the ram-gym that wrote it."
            )
        return state


def _checked_archive(path: Path) -> io.BytesIO:
    """A file of PyTorch's that holds what it claims to, and names nothing but tensors.

    It is packed anew, so that PyTorch, which reads an archive in its own way, sees what was checked
    and nothing else. The format before it, which is no zip, allocates whatever sizes its pickle
    names.

    Raises:
        ValueError: for one that does not.
    """
    checked = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(checked, "w") as packed:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("it is compressed, as torch.save never does.")
        if sum(part.file_size for part in parts) > path.stat().st_size:
            raise ValueError("its parts would be longer than itself.")
        if len({part.filename for part in parts}) < len(parts):
            raise ValueError("two of its parts have one name.")
        for part in parts:
            content = archive.read(part)
            if part.filename.endswith(".pkl"):
                _check_pickle(content)
            packed.writestr(zipfile.ZipInfo(part.filename), content)
    checked.seek(0)
    return checked


def _check_pickle(content: bytes) -> None:
    """Raise ValueError for a pickle that calls anything which a state does not need.

    `weights_only=True` allows more, such as bytearray(10**10): that runs nothing of a stranger's,
    but it fills the memory.
    """
    for opcode, argument, _ in pickletools.genops(content):
        is_named = opcode.name == "GLOBAL"
        if is_named and not re.fullmatch(PICKLED_NAMES, str(argument)):
            raise ValueError(f"it names {argument}, which no state needs.")
        if not is_named and opcode.name in CALLING_OPCODES:
            raise ValueError(f"it has {opcode.name}, which no state needs.")


def _check_inside(path: Path) -> None:
    """Raise CheckpointError if a file of a run's folder is a link to another place."""
    if not path.resolve().is_relative_to(path.parent.resolve()):
        raise CheckpointError(
            f"{path} is a link to {path.resolve()}, outside of the folder. Expected a file; if you "
            "trust it, put a copy in its place."
        )


def _lock(folder: Path) -> int:
    """An open file, locked: the system lets go of it when the process ends, however it ends."""
    path = folder / LOCK_NAME
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}.") from error
    try:
        if sys.platform == "win32":
            import msvcrt

            # One byte far behind the text: what is locked cannot be read.
            os.lseek(descriptor, 2**20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        os.close(descriptor)
        raise BlockingIOError(
            f"{folder} is being written by another run: {holder or 'a process'}. Wait for it, stop "
            "it, or choose another --out."
        ) from None
    except OSError:
        pass  # a file system without locks; better to train there than not to
    with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return descriptor


def pretrained_names() -> list[str]:
    """The weights that come with the package."""
    return sorted(path.stem for path in PRETRAINED.glob("*.safetensors"))


def _find_weights(path: str | Path) -> Path:
    if isinstance(path, str) and path.startswith("pretrained:"):
        name = path.removeprefix("pretrained:")
        if name not in pretrained_names():
            raise FileNotFoundError(
                f"there are no pretrained weights {name!r}: expected one of "
                f"{', '.join(pretrained_names())}."
            )
        return PRETRAINED / name
    path = Path(path)
    if path.is_dir():
        for name in WEIGHT_FILES:
            if (path / f"{name}.safetensors").is_file():
                for ending in (".safetensors", ".json"):
                    _check_inside(path / f"{name}{ending}")
                return path / name
        raise FileNotFoundError(
            f"{path} has no best.safetensors or last.safetensors: its run has not validated yet. "
            f"Go on with it: ram train --resume {path}"
        )
    stem = _stem(path)
    for ending in (".safetensors", ".json"):
        if not _with_ending(stem, ending).is_file():
            raise FileNotFoundError(
                f"{_with_ending(stem, ending)} does not exist. Expected the folder of a run, or "
                "the path of weights: NAME.safetensors with NAME.json beside it."
            )
    return stem


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _spaces(glimpse_shape: list[int], num_choices: int) -> tuple[gym.Space[Any], gym.Space[Any]]:
    spaces = gym.spaces
    location = spaces.Box(-1, 1, (2,), np.float32)
    glimpse = spaces.Box(0, 1, tuple(glimpse_shape), np.float32)
    return spaces.Dict(glimpse=glimpse, location=location), spaces.Tuple(
        (location, spaces.Discrete(num_choices))
    )
