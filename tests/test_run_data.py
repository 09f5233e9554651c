"""Which images a run uses: its own, unchanged, from any folder, however few."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from ram_commands import TINY_AGENT, fail, frame_count

from ram_agent import run_env
from ram_agent.agent import RAMAgent
from ram_agent.cli import main
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.measure import evaluate_all
from ram_agent.presets import Preset
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.run_images import describe_images, pick_episodes
from ram_agent.runs import describe_run, make_trainer
from ram_envs.datasets import DatasetUnavailableError, ImageDataset, own_images, picture_folder
from ram_envs.envs.classification import ClassificationEnv
from ram_envs.envs.search import SearchEnv
from ram_envs.glimpse_env import GlimpseVectorEnv
from ram_envs.making import resolve_env_id

SIZES = ["--num-glimpses", "2", "--glimpse-size", "4", "--num-scales", "2"]
BRIEF = [*SIZES, *TINY_AGENT, "--episodes", "64", "--batch-size", "16"]
COUNTS = {"train": 8, "validation": 3, "test": 2}  # of each class


def make_pictures(folder: Path, brightness: int = 40) -> None:
    """Write pictures of two classes, in three splits."""
    for split, count in COUNTS.items():
        for label, name in enumerate(("dark", "light")):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = np.full((10, 10), brightness + 100 * label + number, np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images photos/ and the finished run run/, trained by a relative path."""
    folder = tmp_path_factory.mktemp("own")
    make_pictures(folder / "photos")
    with pytest.MonkeyPatch.context() as patches:
        patches.chdir(folder)
        patches.setattr(run_env, "EVALUATION_ENVS", 4)
        main(["train", "RAMClassification-v0", "--dataset", "photos", *BRIEF, "--out", "run"])
    return folder


@pytest.fixture
def own(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `trained`, whose run names the copied images; the present folder is another."""
    folder = Path(shutil.copytree(trained, tmp_path / "own"))
    config = RunFolder(folder / "run").read_config()
    config["env_kwargs"]["dataset"] = config["dataset"] = str(folder / "photos")
    (folder / "run" / "config.json").write_text(json.dumps(config))
    agent = RAMAgent.load(folder / "run")
    agent.save(folder / "run" / "best", {**agent.info, **config})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def exchange_classes(own: Path) -> None:
    for split in COUNTS:
        dark, light = own / "photos" / split / "dark", own / "photos" / split / "light"
        dark.rename(own / "kept")
        light.rename(dark)
        (own / "kept").rename(light)


def commands(run: Path) -> list[list[Any]]:
    """Every command that looks at a run's images."""
    return [
        ["evaluate", run],
        ["watch", run, "--save", "a.png"],
        ["figures", run],
        ["train", "--resume", run],
    ]


def test_the_run_knows_its_images(trained: Path) -> None:
    config = RunFolder(trained / "run").read_config()
    assert config["env_kwargs"]["dataset"] == str(trained / "photos")
    assert config["images"]["class_names"] == ["dark", "light"]
    sizes = {name: config["images"][name]["num_images"] for name in COUNTS}
    assert sizes == {"train": 16, "validation": 6, "test": 4}
    assert len({config["images"][name]["fingerprint"] for name in COUNTS}) == 3


def test_another_data_set_replaces_one_that_is_gone(own: Path) -> None:
    """In an environment that a function makes, whose class is not known before it is made."""

    def make(**keywords: Any) -> ClassificationEnv:
        return ClassificationEnv(**keywords)

    gym.register("FromAFunction-v0", entry_point=make)
    agent = RAMAgent.load(own / "run")
    agent.info["env_id"] = "FromAFunction-v0"
    (own / "photos").rename(own / "moved")
    with pytest.raises(FileNotFoundError, match="photos"):
        agent.make_env()
    env: Any = agent.make_env(dataset="digits")
    assert env.unwrapped.batch.task.dataset.name == "digits"


def test_a_folder_is_listed_once_for_each_environment_of_a_run(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Any] = []

    def noting(path: Path) -> Any:
        listed.append(path)
        return picture_folder.scan(path)

    monkeypatch.setattr(own_images, "scan", noting)
    env = RunEnv("RAMClassification-v0", {"dataset": str(trained / "photos")})
    run = describe_run(env, "default", Preset(AgentConfig(), TrainConfig(), 2))
    assert len(listed) == 5  # its channels, whether it can be trained in, three fingerprints
    make_trainer(run, None)
    assert len(listed) == 5 + 3  # two shards and the validation


def test_a_run_is_measured_on_its_images_from_any_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", brightness=90)  # others, at the path that was typed
    monkeypatch.chdir(tmp_path)
    main(["evaluate", str(trained / "run"), "--save", "again.json"])
    saved = json.loads(Path("again.json").read_text())
    first = json.loads((trained / "run" / "evaluation.json").read_text())
    assert saved["results"] == first["results"]
    assert saved["results"]["learned gaze"]["episodes"] == 4


@pytest.mark.parametrize("number", range(4))
def test_images_that_have_changed_are_refused(
    own: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands(own / "run")[number]
    exchange_classes(own)
    line = fail(capsys, *command)
    assert str(own / "photos") in line
    assert "--dataset" in line
    main([str(word) for word in (*command, "--dataset", own / "photos")])


def test_an_agent_refuses_images_that_have_changed(own: Path) -> None:
    agent, photos = RAMAgent.load(own / "run"), str(own / "photos")
    assert agent.make_envs(2, "validation").unwrapped.num_images == 6  # type: ignore[attr-defined]
    exchange_classes(own)
    for make in (agent.make_env, agent.make_envs):
        with pytest.raises(ValueError, match=re.escape(photos)):
            make()
    assert agent.make_env(dataset=photos).unwrapped.num_images == 4  # type: ignore[attr-defined]
    shutil.rmtree(photos)
    for make in (agent.make_env, agent.make_envs):
        with pytest.raises(FileNotFoundError, match=re.escape(photos)):
            make()


@pytest.mark.parametrize("number", range(4))
def test_images_that_are_gone_are_named(
    own: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "photos").rename(own / "moved")
    line = fail(capsys, *commands(own / "run")[number])
    assert str(own / "photos") in line
    main([str(word) for word in (*commands(own / "run")[number], "--dataset", own / "moved")])


def test_a_picture_that_was_added_is_noticed(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.zeros((10, 10), np.uint8)
    Image.fromarray(pixels).save(own / "photos" / "test" / "dark" / "new.png")
    assert "test" in fail(capsys, "evaluate", own / "run")


def test_fewer_test_images_than_a_picture_has_room_for(trained: Path, tmp_path: Path) -> None:
    run = trained / "run"
    assert (run / "fixations.png").is_file()
    main(["watch", str(run), "--save", str(tmp_path / "all.gif")])
    assert frame_count(tmp_path / "all.gif") == 4 * 3  # reset and two steps of each image
    main(["figures", str(run), "--out", str(tmp_path / "figures")])
    assert (tmp_path / "figures" / "paths.png").is_file()


def test_shown_episodes_are_spread_over_the_classes(trained: Path) -> None:
    keywords = RunFolder(trained / "run").read_config()["env_kwargs"]
    env = RunEnv("RAMClassification-v0", keywords)
    picked = [pick_episodes(env, "train", count) for count in (1, 4, 99)]
    assert picked[:2] == [[0], [0, 8, 1, 9]]
    assert sorted(picked[2]) == list(range(16))
    assert pick_episodes(RunEnv("RAMCatch-v0"), "test", 3) == [0, 1, 2]


def test_environments_that_are_made_to_look_at_images_are_closed(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[GlimpseVectorEnv] = []
    make = GlimpseVectorEnv.__init__

    def note(envs: GlimpseVectorEnv, *args: Any, **keywords: Any) -> None:
        make(envs, *args, **keywords)
        made.append(envs)

    monkeypatch.setattr(GlimpseVectorEnv, "__init__", note)
    env = RunEnv("RAMClassification-v0", RunFolder(trained / "run").read_config()["env_kwargs"])
    env.with_found_dataset()
    describe_images(env)
    pick_episodes(env, "test", 3)
    evaluate_all(RAMAgent.load(trained / "run"), env, "test", 2, seed=0)
    assert made
    assert all(envs.closed for envs in made)


@pytest.mark.parametrize("given", ["RAMMNIST-v0", "RAMMNIST", "ram_envs:RAMMNIST-v0"])
def test_an_id_has_one_form(given: str) -> None:
    assert resolve_env_id(given) == "RAMMNIST-v0"


def test_an_id_in_its_other_form_is_tested_on_test_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = ["--dataset", "digits", "--num-glimpses", "2"]
    brief = [*dataset, *TINY_AGENT, "--batch-size", "32", "--episodes", "64"]
    main(["train", "ram_envs:RAMMNIST-v0", *brief, "--out", str(tmp_path / "run")])
    assert "RAMMNIST-v0, digits, num_glimpses=2, test split" in capsys.readouterr().out
    config = RunFolder(tmp_path / "run").read_config()
    assert config["env_id"] == "RAMMNIST-v0"
    assert config["agent"]["core"] == "rectifier" or config["agent"]["hidden_size"] == 16
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["split"] == "test"
    assert evaluation["results"]["learned gaze"]["episodes"] == 300


def test_looking_falls_back_to_the_digits_and_measuring_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: Any) -> None:
        raise DatasetUnavailableError("no network")

    monkeypatch.setattr("ram_envs.datasets.loading._LOADERS", {**_loaders(), "mnist": refuse})
    monkeypatch.delenv("RAM_ENVS_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    agent = "pretrained:mnist-2"
    main(["watch", agent, "--save", "a.gif", "--episodes", "1"])
    assert "digits" in capsys.readouterr().err
    assert frame_count(Path("a.gif")) == 3
    main(["figures", agent, "--num-images", "20"])
    assert "digits" in capsys.readouterr().err
    report = Path("figures", "mnist-2", "report.html").read_text(encoding="utf-8")
    assert "<td>Figures of</td><td>RAMMNIST-v0, digits, num_glimpses=2, test split</td>" in report
    assert "<td>Trained on</td><td>mnist</td>" in report
    assert "network" in fail(capsys, "evaluate", agent)


def _loaders() -> dict[str, Any]:
    from ram_envs.datasets import loading

    return dict(loading._LOADERS)


def test_one_split_is_not_called_a_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for label in range(2):
        for number in range(10):
            path = Path("digits", str(label), f"{number}.png")  # named as the embedded data set
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 100 * label + number, np.uint8)).save(path)
    train = ["train", "RAMClassification-v0", "--dataset", "./digits", *BRIEF]
    main([*train, "--splits", "all", "--out", "all"])
    said = capsys.readouterr().out
    assert ", test split" not in said
    assert " 20 images" in said
    config = RunFolder("all").read_config()
    assert config["env_kwargs"]["dataset"] == str(tmp_path / "digits")
    assert config["images"]["all"]["num_images"] == 20
    assert json.loads(Path("all", "evaluation.json").read_text())["split"] == "all"
    main(["evaluate", "all"])
    assert "all images" in capsys.readouterr().out

    main([*train, "--out", "divided"])
    assert ", test split" in capsys.readouterr().out
    images = RunFolder("divided").read_config()["images"]
    assert sum(images[split]["num_images"] for split in COUNTS) == 20


def test_check_images(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check-images", str(trained / "photos"), "--save", str(tmp_path / "sheet.png")])
    said = capsys.readouterr().out
    assert "26 images of 2 classes" in said
    assert "16 train" in said
    assert frame_count(tmp_path / "sheet.png") == 1

    photos = shutil.copytree(trained / "photos", tmp_path / "photos")
    (photos / "train" / "dark" / "0.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as exit_info:
        main(["check-images", str(photos)])
    assert exit_info.value.code == 1
    assert "0.png" in capsys.readouterr().out
    assert str(tmp_path / "nowhere") in fail(capsys, "check-images", tmp_path / "nowhere")


def test_an_empty_dataset_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert "''" in fail(capsys, "train", "RAMMNIST-v0", "--dataset", "", "--out", out)
    assert not out.exists()


def test_other_classes_are_named_and_not_gone_on_with(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in COUNTS:
        (own / "photos" / split / "dark").rename(own / "photos" / split / "shade")
    photos, run = str(own / "photos"), own / "run"
    main(["evaluate", str(run), "--dataset", photos])
    error = capsys.readouterr().err
    assert "('dark', 'light')" in error
    assert "('light', 'shade')" in error
    before = (run / "config.json").read_bytes()
    line = fail(capsys, "train", "--resume", run, "--dataset", photos)
    assert "['dark', 'light']" in line
    assert (run / "config.json").read_bytes() == before


def test_a_run_on_all_images_of_a_folder_is_measured_on_digits(trained: Path) -> None:
    keywords = {"dataset": str(trained / "photos"), "splits": "all", "background": 0}
    found = RunEnv("RAMMNIST-v0", keywords).with_dataset("digits")
    assert found == RunEnv("RAMMNIST-v0", {"dataset": "digits"})


def test_an_environment_is_made_once_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    events: list[str] = []

    class Counted(SearchEnv):
        def __init__(self, continuous: bool = False, **keywords: Any) -> None:
            super().__init__(**keywords)
            events.append("made")
            if continuous:
                self.action_space = gym.spaces.Tuple((gym.spaces.Box(-1, 1, (2,)),) * 2)

        def close(self) -> None:
            events.append("closed")

    gym.register("Counted-v0", Counted)
    env = RunEnv("Counted-v0")
    assert (env.splits, env.has_labels, env.num_channels) == ((), False, 1)
    assert env.find_split("test") is None
    assert events == ["made", "closed"]
    with pytest.raises(ValueError, match="Counted-v0"):
        RunEnv("Counted-v0", {"continuous": True}).check()
    assert events == ["made", "closed"] * 2


def test_images_in_memory_cannot_be_found_again() -> None:
    dataset = ImageDataset(np.zeros((2, 8, 8), np.uint8), np.arange(2))
    with pytest.raises(TypeError, match=r"type ImageDataset\b[^(]*\.npz"):
        RunEnv("RAMClassification-v0", {"dataset": dataset}).with_found_dataset()
