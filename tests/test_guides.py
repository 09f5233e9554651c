"""README and the guides of docs/: their blocks are run, one after another; Python's as they stand.

Commands are run too, made small; those that take long are read by the command line, no more.
"""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers import write_idx

from ram_envs import ImageDataset
from ram_envs.testing import TaskError, check_task

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")
OWN_AGENT = (DOCS / "own_agent.md").read_text(encoding="utf-8")
PLAY = (DOCS / "play.md").read_text(encoding="utf-8")
OWN_TASK = (DOCS / "own_task.md").read_text(encoding="utf-8")
OWN_IMAGES = (DOCS / "own_images.md").read_text(encoding="utf-8")
LARGE_IMAGES = (DOCS / "large_images.md").read_text(encoding="utf-8")
ANY_ENVIRONMENT = (DOCS / "any_environment.md").read_text(encoding="utf-8")
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


def test_the_guide_to_a_task_of_ones_own(own_task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    defined = run_blocks(OWN_TASK, own_task)
    assert defined["errors"]["learned"] < 6  # as the guide says, with some room
    assert defined["errors"]["random"] > 6
    assert Path("brighter_square.safetensors").exists()
    again = defined["RAMAgent"].load("brighter_square")
    assert again.num_choices == 2

    lines = "\n".join(block[1] for block in list(BLOCK.finditer(OWN_TASK))[:4])
    Path("brighter_square.py").write_text(lines, encoding="utf-8")
    commands, _ = SHELL_BLOCK.findall(OWN_TASK)
    run_shell(
        commands,
        Path(),
        ("--episodes 100000", "--episodes 256 --hidden-size 16 --out runs/NAME"),
        ("watch runs/NAME", "watch runs/NAME --save watch.png --episodes 1"),
    )
    assert Path("watch.png").exists()

    pytest.importorskip("pygame", reason="the extra play is not installed")
    from ram_envs.play import main, window

    played: list[str] = []
    monkeypatch.setattr(window, "run", lambda stage, title: played.append(title))
    *_, play = split_commands(OWN_TASK)
    main(play[2:])
    assert played == [" ".join(play)]


def test_the_complaint_that_the_guide_shows(own_task: str) -> None:
    line = "        state.steps[rows] += 1\n"
    assert line in OWN_TASK
    careless = run_blocks(OWN_TASK.replace(line, line.replace("[rows]", "")), own_task, slice(1))
    with pytest.raises(TaskError) as caught:
        check_task(careless["BrighterSquare"]())
    assert f"> {caught.value}\n".replace("1.0. Write", "1.0.\n> Write") in OWN_TASK


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
    assert len(training.replace("\n\n", "\n").splitlines()) == 10

    torch.manual_seed(0)
    defined = run_blocks(OWN_IMAGES, "__main__")
    trainer = defined["trainer"]
    learned, random = (
        defined["evaluate"](trainer.averaged_agent, trainer.validation_envs, gaze=gaze).error
        for gaze in ("learned", "random")
    )
    assert learned < 7 < random  # as the guide says, with some room
    for read in (defined["images"], defined["test_images"]):
        assert np.array_equal(read.images, images)
        assert np.array_equal(read.labels, labels)
    assert [len(defined[name]) for name in ("train", "validation")] == [50, 10]

    large = run_blocks(LARGE_IMAGES, "__main__")  # which need the folder of the other guide
    assert large["env"].unwrapped.canvas.shape == (2000, 3000)
    assert large["info"]["label"].shape == (2,)  # from the workers

    (train,) = split_commands(OWN_IMAGES)
    train[train.index("30000")] = "256"
    run_ram(train, *TINY_AGENT, "--out", "runs/NAME")
    assert Path("runs/NAME/evaluation.json").exists()


def test_the_complaint_about_labels_that_the_guide_shows() -> None:
    images = ImageDataset(np.zeros((2, 4, 4), np.uint8), np.array([0, 1]))
    with pytest.raises(ValueError, match="label 0") as caught:
        ImageDataset(images.images, images.labels - 1)
    assert f"> {caught.value}\n" in OWN_IMAGES.replace("with\n> ", "with ")


def run_shell(block: str, folder: Path, *changes: tuple[str, str]) -> str:
    """Run a block of the shell in `folder`, made small by `changes`; returns what it said."""
    for old, new in changes:
        assert old in block
        block = block.replace(old, new)
    block = block.replace("torchrun ", "python -m torch.distributed.run ")
    block = block.replace("python ", f"{sys.executable} ")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # ram
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the guide is for Linux and macOS")
def test_the_guide_to_many_processes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train, resume, _, _, _, sweep, *_ = SHELL_BLOCK.findall(CLUSTER)
    tiny = "RAMMNIST-v0 --dataset digits --num-glimpses 2 --hidden-size 16 --episodes 512"
    said = run_shell(train, tmp_path, ("RAMClutteredMNIST-v0", tiny))
    assert "RAMMNIST-v0, digits, num_glimpses=2: 2 updates, in runs/two" in said
    said = run_shell(resume, tmp_path)
    assert "Trained for" in said
    script = f"{ROOT / 'examples' / 'sweep.py'} --env-id RAMMNIST-v0 --episodes 512"
    said = run_shell(sweep, tmp_path, ("examples/sweep.py", script), ("seq 0 3", "seq 0 1"))
    assert said.count("Trained for") == 2
    assert re.search(r"learning rate 0.002 +validation_error +\d+(\.\d+)?  of 2 seeds\n", said)
    assert re.search(r"learning rate 0.004 +validation_error +– +of 0 seeds\n", said)


@pytest.mark.skipif(sys.platform == "win32", reason="the guide is for Linux and macOS")
def test_scripts_for_slurm_are_shell() -> None:
    scripts = [block for block in SHELL_BLOCK.findall(CLUSTER) if "#SBATCH" in block]
    assert len(scripts) == 2
    for script in scripts:
        assert script.startswith("#!/bin/sh\n#SBATCH --")
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


# --- the README, the tutorial, an agent of one's own, play ------------------------------------


def split_commands(text: str) -> list[list[str]]:
    """The words of each command in the blocks of the shell, without comments and variables."""
    blocks = [block for block in SHELL_BLOCK.findall(text) if "#SBATCH" not in block]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    return [command[command[:1] == ["OMP_NUM_THREADS=1"] :] for command in commands if command]


def run_ram(command: list[str], *more: str) -> None:
    """Run a command of `ram`, with settings that make it small."""
    from ram_agent.cli import main

    words = command[1:] if command[0] == "ram" else command[3:]  # python -m ram_agent
    num_threads = torch_threads()
    try:
        main([*words, *more])
    finally:
        torch_threads(num_threads)


def torch_threads(set_to: int | None = None) -> int:
    torch = pytest.importorskip("torch", reason="the extra agent is not installed")
    if set_to is not None:
        torch.set_num_threads(set_to)
    return int(torch.get_num_threads())


TINY_AGENT = ("--hidden-size", "16", "--feature-size", "8")


def shortened(text: str) -> str:
    """Return a guide whose trainings are short."""
    return text.replace("episodes=40_000", "episodes=1_000")


def test_the_readme(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "readme", None)  # and forget it afterwards
    defined = run_blocks(shortened(README), "readme")
    said = capsys.readouterr().out
    assert f"it was {defined['info']['label']} and" in said
    assert "% wrong" in said
    assert Path("look.gif").exists()
    assert Path("first.safetensors").exists()

    commands = [command for command in split_commands(README) if command[0] == "ram"]
    train, evaluate, figures = [command for command in commands if "runs/cluttered" in command]
    tiny = [*TINY_AGENT, "--episodes", "256", "--batch-size", "64"]
    run_ram(train, "--dataset", "digits", "--num-glimpses", "2", *tiny)
    run_ram(evaluate, "--num-episodes", "10")
    run_ram(figures, "--num-images", "20")
    assert " 10 images" in capsys.readouterr().out
    assert Path("figures/cluttered/report.html").exists()


@pytest.mark.parametrize("page", ["index.md", "logging.md", "porting.md"])
def test_short_guides(
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "short_guide", None)
    text = (DOCS / page).read_text(encoding="utf-8")
    defined = run_blocks(shortened(text), "short_guide")
    said = capsys.readouterr().out
    if page == "porting.md":
        assert [f"# {line}" in text for line in said.splitlines()] == [True, True]
    else:
        assert 0 < defined["agent"].info["validation_error"] <= 100


def test_the_tutorial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tutorial", None)
    num_threads = torch.get_num_threads()
    try:
        defined = run_blocks(TUTORIAL, "tutorial")
    finally:
        torch.set_num_threads(num_threads)
    assert len(defined["rewards"]) == 6
    errors = {
        gaze: defined["evaluate"](defined["trained"], defined["test_envs"], gaze=gaze).error
        for gaze in ("learned", "random")
    }
    assert errors["learned"] < 25 < errors["random"]  # with some room
    assert Path("looks.png").exists()
    assert defined["RAMAgent"].load("first").num_choices == 10

    train, evaluate, watch = split_commands(TUTORIAL)
    train[train.index("40000")] = "256"
    run_ram(train, *TINY_AGENT)
    run_ram(evaluate, "--num-episodes", "10")
    run_ram(watch, "--episodes", "1")
    assert Path("looks.gif").exists()


def test_the_guide_to_an_agent_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
    monkeypatch.setitem(sys.modules, "own_agent", None)
    num_threads = torch_threads()
    try:
        defined = run_blocks(OWN_AGENT, "own_agent")
    finally:
        torch_threads(num_threads)
    said = capsys.readouterr().out
    for line in ("Tuple(Box(-1.0, 1.0, (2,), float32), Discrete(10))", "MultiDiscrete([ 6  6 10])"):
        assert f"# {line}" in OWN_AGENT
        assert f"{line}\n" in said
    assert said.count("(18, 12, 12)") == 2
    assert "True (18, 12, 12)" in said
    assert defined["model"].num_timesteps >= 2000
    assert isinstance(defined["agent"].glimpse_network, defined["Eyes"])


def test_the_guide_to_any_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("ale_py", "stable_baselines3", "torch", "pygame", "PIL"):
        pytest.importorskip(package, reason="an extra is not installed")
    monkeypatch.chdir(tmp_path)
    defined = run_blocks(ANY_ENVIRONMENT, "any_environment")
    for line in capsys.readouterr().out.splitlines():
        assert f"# {line}" in ANY_ENVIRONMENT
    assert defined["env"].render().shape == (560, 768, 3)
    assert Path("pong.gif").exists()


def test_commands_that_play(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    from ram_envs.play import main, window

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")  # of a task of one's own
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    monkeypatch.setitem(sys.modules, "own_game", None)  # and forget it afterwards
    del sys.modules["own_game"]
    shown = []
    monkeypatch.setattr(window, "run", lambda stage, title: shown.append(title))
    commands = [command for page in (README, PLAY) for command in split_commands(page)]
    played = [command[2:] for command in commands if command[:2] == ["ram", "play"] and command[2:]]
    for words in played:
        images = ["--dataset", "digits"] if "MNIST" in words[0] else []
        words = ["digits" if word == "photos/" else word for word in words]
        if "--versus" in words or "--agent" in words:
            torch_threads()
        main([*words, *images, "--episodes", "1"])
    assert len(played) == 11
    assert len(shown) == 10
    assert Path("catch.gif").exists()


ALL_COMMANDS = [
    pytest.param(command, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, command in enumerate(split_commands(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_is_one_that_there_is(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is read as its program reads it; most are run as well, above."""
    monkeypatch.chdir(ROOT)
    if command[0] == "make":
        if shutil.which("make") is None:
            pytest.skip("make is not installed")
        would_run = subprocess.check_output(["make", "-n", *command[1:]], text=True)
        assert "Nothing to be done" not in would_run  # as for a file of that name
    elif command[:2] == ["ram", "play"]:
        pytest.importorskip("pygame", reason="the extra play is not installed")
        from ram_envs.play.command import make_parser

        env_id = make_parser().parse_args(command[2:]).env_id
        own = ("own_game:Touch-v0", "brighter_square:BrighterSquare-v0")  # both are played above
        assert env_id in (None, "ALE/Pong-v5", *own, *gym.registry)  # Pong: of the extra atari
    elif command[0] in ("uvx", "pipx"):
        assert command[-2:] == ["ram", "play"]
        assert "ram-gym" in command[2] or "dist/ram_gym" in command[3]
    elif command[0] in ("pip", "jupyter"):
        assert command[1] in ("install", "notebook")
    elif command[0] == "seq":  # the sweep, which is run above
        assert command[-3:] == ["python", "examples/sweep.py", "--task"]
    elif command[:2] == ["python", "-m"] or command[0] in ("ram", "torchrun"):
        check_is_read(command[command.index("ram_agent") + 1 :] if "-m" in command else command[1:])
    else:
        assert command[0] == "python", command
        pytest.importorskip("tyro", reason="the extra agent is not installed")
        monkeypatch.setattr(sys, "argv", [command[1], "--help"])
        with pytest.raises(SystemExit):
            runpy.run_path(command[1], run_name="__main__")
        said = capsys.readouterr().out
        assert "usage" in said
        assert all(word in said for word in command[2:] if word.startswith("--"))


def check_is_read(words: list[str]) -> None:
    """Parse a command's arguments as the command does, and load the agent it names."""
    pytest.importorskip("torch", reason="the extra agent is not installed")
    from ram_agent import RAMAgent, cli
    from ram_agent.commands import parsing

    name, *args = words
    if "--help" in args:
        with pytest.raises(SystemExit) as exit_info:
            cli.main(words)
        assert exit_info.value.code == 0
    elif name in ("list", "agents"):
        assert not args
    else:
        module = importlib.import_module(cli.COMMANDS[name][0])
        settings = parsing.parse(getattr(module, name.capitalize()), name, args)
        run = getattr(settings, "run", None)
        if isinstance(run, str) and run.startswith("pretrained:"):
            RAMAgent.load(run)


def test_every_guide_is_run() -> None:
    with_blocks = {path.name for path in PAGES if BLOCK.search(path.read_text("utf-8"))}
    assert with_blocks == {
        "README.md",
        "any_environment.md",
        "tutorial.md",
        "own_agent.md",
        "own_task.md",
        "own_images.md",
        "large_images.md",
        "index.md",
        "logging.md",
        "porting.md",
    }
