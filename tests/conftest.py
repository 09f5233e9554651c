"""What holds for every test: no window opens, no data is fetched, no clock decides."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # before anything imports pygame
os.environ.setdefault("RAM_ENVS_KERNELS", "numpy")  # test_kernels.py and .ci/run test numba
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: test processes share the cores

# The same examples in every run; a loaded machine may take its time over one.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

LOCAL_HOSTS = {"127.0.0.1", "::1", "localhost", None}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that asks for another machine fails, where it might else wait, download or pass."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def look_up_local(host: Any, *args: Any, **keywords: Any) -> Any:
        assert host in LOCAL_HOSTS, f"a test asks for the network: {host}"
        return look_up(host, *args, **keywords)

    def connect_local(self: socket.socket, address: Any) -> None:
        is_internet = self.family in (socket.AF_INET, socket.AF_INET6)
        assert not is_internet or address[0] in LOCAL_HOSTS, f"a test connects to {address}"
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_local)
    monkeypatch.setattr(socket.socket, "connect", connect_local)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests whose sums in torch are the same, bit for bit, only on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def real_mnist() -> None:
    """For tests of MNIST itself: they are skipped where its files are not at hand."""
    folder = Path(os.environ.get("RAM_ENVS_DATA_DIR") or "?", "mnist")
    if not any(folder.glob("train-images*")):
        pytest.skip("RAM_ENVS_DATA_DIR does not hold MNIST")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 8 updates, with seed 4."""
    from ram_commands import BRIEF

    from ram_agent.cli import main

    path = tmp_path_factory.mktemp("runs") / "tiny"
    main(["train", *BRIEF, "--seed", "4", "--out", str(path)])
    return path


@pytest.fixture
def copied_run(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))
