"""The guides of docs/: their blocks are run, one after another; Python's as they stand."""

from __future__ import annotations

import builtins
import gzip
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from ram_envs import ImageDataset
from ram_envs.testing import TaskError, check_task

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OWN_TASK = (DOCS / "own_task.md").read_text(encoding="utf-8")
OWN_IMAGES = (DOCS / "own_images.md").read_text(encoding="utf-8")
CLUSTER = (DOCS / "cluster.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_blocks(text: str, name: str, blocks: slice = slice(None)) -> dict[str, Any]:
    """Run the blocks of a guide in a module called `name`; returns what they defined."""
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses ask for it
    for block in list(BLOCK.finditer(text))[blocks]:
        lines_before = text[: block.start(1)].count("\n")  # so that an error names the guide's line
        exec(compile("\n" * lines_before + block[1], f"{name}'s guide", "exec"), vars(module))
    return vars(module)


@pytest.fixture
def own_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a module for the guide's blocks, which may register ids and write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    monkeypatch.setitem(sys.modules, "brighter_square", None)  # and forget it afterwards
    return "brighter_square"


def test_the_guide_to_a_task_of_ones_own(
    own_task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    typed = ["-0.5 0 0", "0.5 -0.5 0", "0.5 0.5 1", "0 0 1"]
    monkeypatch.setattr(builtins, "input", lambda prompt: typed.pop(0))
    defined = run_blocks(OWN_TASK, own_task)

    assert not typed
    said = capsys.readouterr().out.splitlines()
    assert said[-1] in ("right", "wrong")
    assert len(said[-2].split()) == 8  # the last line of what was seen
    assert defined["errors"]["learned"] < 6  # as the guide says, with some room
    assert defined["errors"]["random"] > 6
    assert Path("brighter_square.safetensors").exists()
    again = defined["RAMAgent"].load("brighter_square")
    assert again.num_choices == 2


def test_the_complaint_that_the_guide_shows(own_task: str) -> None:
    line = "        state.steps[rows] += 1\n"
    assert line in OWN_TASK
    careless = run_blocks(OWN_TASK.replace(line, line.replace("[rows]", "")), own_task, slice(1))
    with pytest.raises(TaskError) as caught:
        check_task(careless["BrighterSquare"]())
    assert f"> {caught.value}\n".replace("1.0. It", "1.0.\n> It") in OWN_TASK


def write_idx(path: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()))


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Stands in for Fashion-MNIST, all three that the guide reads: 60 images of 10 classes."""
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
    labels = np.arange(60, dtype=np.uint8) % 10
    (tmp_path / "fashion-mnist").mkdir()
    for part in ("train", "t10k"):
        write_idx(tmp_path / "fashion-mnist" / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / "fashion-mnist" / f"{part}-labels-idx1-ubyte.gz", labels)

    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pil_images = [Image.fromarray(image) for image in images]
    pairs = list(zip(pil_images, labels.tolist(), strict=True))
    torchvision = types.ModuleType("torchvision.datasets")
    torchvision.FashionMNIST = lambda root, train, download: pairs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", torchvision)

    rows = [{"image": image, "label": label} for image, label in pairs]
    splits = {"train": rows, "test": rows}
    hugging_face = types.ModuleType("datasets")
    hugging_face.load_dataset = lambda path: splits  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hugging_face)
    return images, labels


def test_the_guide_to_images_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fashion: tuple[np.ndarray, np.ndarray]
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", None)  # the guide's, and pytest's afterwards
    images, labels = fashion
    training = BLOCK.findall(OWN_IMAGES)[1]
    assert len(training.replace("\n\n", "\n").splitlines()) == 9

    torch.manual_seed(0)
    defined = run_blocks(OWN_IMAGES, "__main__")
    trainer = defined["trainer"]
    learned, random = (
        defined["evaluate"](trainer.averaged_agent, trainer.validation_envs, gaze=gaze).error
        for gaze in ("learned", "random")
    )
    assert learned < 7 < random  # as the guide says, with some room
    assert defined["info"]["label"].shape == (2,)  # from the workers
    for read in (defined["images"], defined["test_images"]):
        assert np.array_equal(read.images, images)
        assert np.array_equal(read.labels, labels)
    assert [len(defined[name]) for name in ("train", "validation")] == [50, 10]


def test_the_complaint_about_labels_that_the_guide_shows() -> None:
    images = ImageDataset(np.zeros((2, 4, 4), np.uint8), np.array([0, 1]))
    with pytest.raises(ValueError, match="label 0") as caught:
        ImageDataset(images.images, images.labels - 1)
    assert f"> {caught.value}\n" in OWN_IMAGES.replace("occur\n> ", "occur ")


def run_shell(block: str, folder: Path, *changes: tuple[str, str]) -> str:
    """Run a block of the shell in `folder`, made small by `changes`; returns what it said."""
    for old, new in changes:
        assert old in block
        block = block.replace(old, new)
    block = block.replace("torchrun ", "python -m torch.distributed.run ")
    block = block.replace("python ", f"{sys.executable} ")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["sh", "-ec", block],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,  # guards against a hang, no more
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the guide is for Linux and macOS")
def test_the_guide_to_many_processes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train, resume, _, _, sweep, *_ = SHELL_BLOCK.findall(CLUSTER)
    tiny = "RAMMNIST-v0 --dataset digits --num-glimpses 2 --hidden-size 16 --episodes 512"
    said = run_shell(train, tmp_path, ("RAMClutteredMNIST-v0", tiny))
    assert "RAMMNIST-v0, digits, num_glimpses=2: 2 updates, in runs/two" in said
    said = run_shell(resume, tmp_path)
    assert "Trained for" in said
    script = f"{ROOT / 'examples' / 'sweep.py'} --env-id RAMMNIST-v0 --episodes 512"
    said = run_shell(sweep, tmp_path, ("examples/sweep.py", script), ("seq 0 3", "seq 0 1"))
    assert said.count("Trained for") == 2
    assert re.search(r"learning rate 0.002 +test error +\d+\.\d\d %  of 2 seeds\n", said)
    assert re.search(r"learning rate 0.004 +test error +– +of 0 seeds\n", said)


@pytest.mark.skipif(sys.platform == "win32", reason="the guide is for Linux and macOS")
def test_scripts_for_slurm_are_shell() -> None:
    scripts = [block for block in SHELL_BLOCK.findall(CLUSTER) if "#SBATCH" in block]
    assert len(scripts) == 2
    for script in scripts:
        assert script.startswith("#!/bin/sh\n#SBATCH --")
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_every_guide_is_run() -> None:
    with_blocks = {path.name for path in DOCS.glob("*.md") if BLOCK.search(path.read_text("utf-8"))}
    assert with_blocks == {"own_task.md", "own_images.md"}
