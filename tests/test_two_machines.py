"""Two machines, of which each is a network namespace here: what crosses the network really does.

A rank on the second is killed. torchrun starts both again, and the run goes on from its checkpoint
and ends as that of one process. A clock only guards against a hang.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

from test_distributed import DIGITS, ROOT, assert_same_run

from ram_agent.cli import main

pytestmark = pytest.mark.slow
ADDRESSES = ("10.213.77.1", "10.213.77.2")
NAMES = tuple(f"ram{os.getpid()}n{node}" for node in range(2))

# `ram`, but once, after update 50, the second rank is killed.
KILLED_ONCE = """
import os
import signal
from pathlib import Path

from ram_agent.cli import main
from ram_agent.trainer import Trainer

train_one_update = Trainer.train_one_update


def update_and_die(self):
    metrics = train_one_update(self)
    if (os.environ["RANK"], self.update) == ("1", 50) and not Path("{mark}").exists():
        Path("{mark}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return metrics


Trainer.train_one_update = update_and_die
main()
"""


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[None]:
    """Two namespaces, joined by a virtual cable."""
    if shutil.which("ip") is None:
        pytest.skip("the command ip is not installed")
    try:
        ip("netns", "add", NAMES[0])
    except subprocess.CalledProcessError as error:  # not root, or a container without the right
        if b"not permitted" not in error.stderr and b"denied" not in error.stderr:
            raise
        pytest.skip(f"network namespaces are not permitted: {error.stderr.decode().strip()}")
    try:
        ip("netns", "add", NAMES[1])
        ip("link", "add", NAMES[0], "netns", NAMES[0], "type", "veth", "peer", NAMES[1], "netns",
           NAMES[1])  # fmt: skip
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", name)
            for device in ("lo", name):
                ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def start_torchrun(node: int, *args: str, **rendezvous: str) -> subprocess.Popen[str]:
    """Start torchrun on a machine; --local-addr and is_host stand for its name, known to all."""
    settings = {"is_host": str(node == 0), **rendezvous}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    torchrun += ["--nproc-per-node", "1", "--rdzv-id", "1", "--rdzv-backend", "c10d"]
    torchrun += ["--rdzv-endpoint", f"{ADDRESSES[0]}:29500", "--local-addr", ADDRESSES[node]]
    torchrun += ["--rdzv-conf", ",".join(f"{name}={value}" for name, value in settings.items())]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        ["ip", "netns", "exec", NAMES[node], *torchrun, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment, "GLOO_SOCKET_IFNAME": NAMES[node]},
    )


def read_sent_bytes(name: str) -> int:
    counter = f"/sys/class/net/{name}/statistics/tx_bytes"
    command = ["ip", "netns", "exec", name, "cat", counter]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.usefixtures("machines")
def test_a_rank_that_is_killed_is_started_again(tmp_path: Path) -> None:
    main(["train", *DIGITS, "--out", str(tmp_path / "alone")])
    program, mark, out = tmp_path / "killed.py", tmp_path / "mark", tmp_path / "run"
    program.write_text(KILLED_ONCE.format(mark=mark))
    command = ["--max-restarts", "3", str(program), "train", *DIGITS, "--out", str(out)]
    nodes = [start_torchrun(node, *command) for node in range(2)]
    texts = [node.communicate(timeout=900)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(texts)
    assert mark.exists()
    assert_same_run(out, tmp_path / "alone")
    num_weights = 8_000  # of the small agent at least, sent as 4 bytes in each of 64 updates
    assert min(map(read_sent_bytes, NAMES)) > 64 * num_weights


@pytest.mark.usefixtures("machines")
def test_a_machine_that_never_comes_is_named_in_time(tmp_path: Path) -> None:
    limits = {"join_timeout": "5", "last_call_timeout": "1"}
    node = start_torchrun(0, "-m", "ram_agent", "train", *DIGITS, **limits)
    text = node.communicate(timeout=300)[0]
    assert node.returncode == 1
    assert "RendezvousTimeoutError" in text
