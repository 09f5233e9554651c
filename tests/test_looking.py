"""`look`: one picture, shown to an agent."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("tyro", reason="the extra agent is not installed")

from ram_agent import RAMAgent, look  # noqa: E402
from ram_agent.figures import record_gaze  # noqa: E402
from ram_agent.gaze_map import record_gaze_map  # noqa: E402
from ram_agent.looking import place_on_canvas, read_picture  # noqa: E402
from ram_agent.run_env import RunEnv  # noqa: E402
from ram_agent.run_images import describe_images  # noqa: E402
from ram_envs.datasets import ImageDataset, Split, load_dataset  # noqa: E402
from ram_envs.datasets.pixels import PictureWarning  # noqa: E402
from ram_envs.envs.catch import CatchEnv  # noqa: E402
from ram_envs.envs.classification import ClassificationEnv  # noqa: E402
from ram_envs.rendering import FOG  # noqa: E402

AGENT = "cluttered-mnist-8"


@pytest.fixture(scope="module")
def digit() -> np.ndarray:
    image: np.ndarray = load_dataset("digits", "test").array[0]
    return image


def test_a_digit_in_the_middle_of_the_canvas(digit: np.ndarray) -> None:
    agent = RAMAgent.pretrained(AGENT)
    seen = look(agent, digit)
    assert seen.canvas.shape == (60, 60)
    assert np.array_equal(seen.canvas[16:44, 16:44], digit)
    assert seen.canvas.sum() == digit.sum()
    assert seen.locations.shape == (8, 2)
    assert seen.glimpses.shape == (8, 3, 12, 12)
    assert seen.probabilities.shape == (8, 10)
    assert np.allclose(seen.probabilities.sum(1), 1)
    assert seen.class_names == tuple("0123456789")
    assert (seen.label, seen.name) == (
        seen.probabilities[-1].argmax(),
        str(seen.probabilities[-1].argmax()),
    )
    assert len(look(agent, digit, num_glimpses=3).locations) == 3
    again, other = look(agent, digit), look(agent, digit, seed=1)
    assert np.array_equal(again.locations, seen.locations)
    assert not np.array_equal(other.locations[0], seen.locations[0])


def test_the_same_picture_in_other_forms(digit: np.ndarray, tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    agent = RAMAgent.pretrained(AGENT)
    expected = look(agent, digit).probabilities
    Image.fromarray(digit).save(tmp_path / "digit.png")
    Image.fromarray(255 - digit).save(tmp_path / "ink.png")
    for image in (
        tmp_path / "digit.png",
        str(tmp_path / "digit.png"),
        Image.fromarray(digit).convert("RGB"),
        digit.astype(np.float32) / 255,
        torch.from_numpy(digit[None].copy()),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(look(agent, image).probabilities, expected)
    with pytest.warns(PictureWarning, match="invert=True") as warned:
        look(agent, tmp_path / "ink.png")
    assert warned[0].filename == __file__
    inverted = look(agent, tmp_path / "ink.png", invert=True)
    assert np.array_equal(inverted.probabilities, expected)


def test_a_large_picture_is_reduced() -> None:
    large = np.full((200, 100), 80, np.uint8)
    canvas = place_on_canvas(large, (60, 60))
    assert (canvas[:, 15:45] == 80).all()
    assert canvas.sum() == 60 * 30 * 80


def test_what_cannot_be_looked_at(tmp_path: Path, digit: np.ndarray) -> None:
    agent = RAMAgent.pretrained(AGENT)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        look(agent, tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"text\.png"):
        look(agent, tmp_path / "text.png")
    with pytest.raises(ValueError, match="7"):
        look(agent, np.full((4, 4), 7.0))
    with pytest.raises(ValueError, match="RAMCatch-v0"):
        look(RAMAgent.pretrained("catch"), digit)


def test_pictures_of_a_look(digit: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    Image = pytest.importorskip("PIL.Image")
    seen = look(RAMAgent.pretrained(AGENT), digit, num_glimpses=2)
    covered = []
    for fog in (False, True):
        frames = seen.frames(fog)
        assert [frame.shape for frame in frames] == [(560, 960, 3)] * 2
        covered.append([int((frame == FOG).all(axis=-1).sum()) for frame in frames])
    assert covered[0] == [0, 0]
    assert covered[1][0] > 1.5 * covered[1][1] > 1_000  # the second glimpse lifts much of the fog
    assert '<img alt="' in seen._repr_html_()
    with Image.open(seen.save(tmp_path / "look.gif")) as gif:
        assert gif.n_frames == 2
    assert seen.save(tmp_path / "look.png").is_file()
    with pytest.raises(ValueError, match=r"\.bmp"):
        seen.save(tmp_path / "look.bmp")


def test_environments_of_an_agent() -> None:
    agent = RAMAgent.pretrained("mnist-6")
    env = agent.make_env(dataset="digits")
    assert env.unwrapped.num_images == 300  # type: ignore[attr-defined]
    envs = agent.make_envs(7, "validation", dataset="digits")
    assert (envs.num_envs, envs.unwrapped.num_images) == (7, 200)  # type: ignore[attr-defined]
    game = RAMAgent.pretrained("catch").make_env()
    assert game.observation_space["glimpse"].shape == (3, 6, 6)  # type: ignore[index]
    new = RAMAgent(game.observation_space, game.action_space)
    with pytest.raises(ValueError, match="unknown"):
        new.make_env()


def test_own_images_in_the_spec_are_those_of_the_split() -> None:
    images = np.zeros((6, 12, 12), np.uint8)
    datasets = tuple(ImageDataset(images[:n], np.arange(n) % 2) for n in (6, 4, 2))
    gym.register(
        "Flowers-v0",
        entry_point="ram_envs.envs.classification:ClassificationEnv",
        vector_entry_point="ram_envs.envs.classification:ClassificationVectorEnv",
        kwargs={"dataset": datasets, "glimpse_size": 4},
    )
    try:
        env = gym.make("Flowers-v0")
        agent = RAMAgent(env.observation_space, env.action_space)
        agent.info = {
            "env_id": "Flowers-v0",
            "env_kwargs": {},
            "images": describe_images(RunEnv("Flowers-v0")),
        }
        for split, count in (("train", 6), ("validation", 4), ("test", 2)):
            assert agent.make_env(split).unwrapped.num_images == count  # type: ignore[attr-defined]
            assert agent.make_envs(1, split).unwrapped.num_images == count  # type: ignore[attr-defined]
        assert agent.make_envs(1).unwrapped.num_images == 2  # type: ignore[attr-defined]
    finally:
        del gym.registry["Flowers-v0"]


class SmallWindow(ClassificationEnv):
    """A digit on a canvas, of which only the images can be chosen."""

    def __init__(self, *, dataset: str = "digits", split: Split = "train") -> None:
        super().__init__(
            dataset=dataset,
            split=split,
            canvas_size=(40, 50),
            glimpse_size=6,
            num_scales=2,
            num_glimpses=3,
            initial_location=(0.5, -0.25),
        )


class Levels(CatchEnv):
    """A game whose keyword "dataset" has nothing to do with images."""

    def __init__(self, *, dataset: str = "easy") -> None:
        super().__init__()
        self.level = dataset


def test_a_game_with_a_keyword_named_dataset(digit: np.ndarray) -> None:
    gym.register("Levels-v0", entry_point=Levels)  # type: ignore[arg-type]
    try:
        env = gym.make("Levels-v0")
        agent = RAMAgent(env.observation_space, env.action_space)
        agent.info = {"env_id": "Levels-v0", "env_kwargs": {"dataset": "hard"}, "images": None}
        assert agent.make_env().unwrapped.level == "hard"  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="Levels-v0"):
            look(agent, digit)
    finally:
        del gym.registry["Levels-v0"]


def test_a_picture_is_looked_at_as_a_custom_class_shows_its_images(digit: np.ndarray) -> None:
    gym.register("SmallWindow-v0", entry_point=SmallWindow)  # type: ignore[arg-type]
    try:
        env = gym.make("SmallWindow-v0")
        agent = RAMAgent(env.observation_space, env.action_space)
        agent.info = {"env_id": "SmallWindow-v0", "env_kwargs": {}, "dataset": "digits"}
        seen = look(agent, digit)
    finally:
        del gym.registry["SmallWindow-v0"]
    assert seen.canvas.shape == (40, 50)
    assert seen.locations.shape == (3, 2)
    assert seen.locations[0].tolist() == [0.5, -0.25]


def make_agent(**facts: Any) -> RAMAgent:
    env = gym.make("RAMMNIST-v0", dataset="digits")
    torch.manual_seed(0)
    agent = RAMAgent(env.observation_space, env.action_space)
    agent.info = {"env_id": "RAMMNIST-v0", "dataset": "digits", **facts}
    return agent


def test_a_picture_is_looked_at_with_limited_shifts(digit: np.ndarray) -> None:
    agent = make_agent(env_kwargs={"dataset": "digits", "max_shift": 0.1})
    moves = np.diff(look(agent, digit).locations, axis=0)
    assert 0 < np.abs(moves).max() <= 0.1 + 1e-6


def test_a_control_looks_at_a_picture_as_in_training(digit: np.ndarray) -> None:
    training = {"gaze": {"locations": "center"}}
    agent = make_agent(env_kwargs={"dataset": "digits"}, training=training)
    assert look(agent, digit).locations[1:].tolist() == [[0, 0]] * 5
    envs = agent.make_envs(5)
    assert record_gaze(agent, envs, 5).edges[1:].tolist() == [[[14, 14]] * 5] * 5
    counts = record_gaze_map(agent, envs, 6).counts
    assert counts[14, 14] >= 25
    assert counts.sum() == 30


def test_a_picture_is_looked_at_as_in_validations(digit: np.ndarray) -> None:
    mean, sampled = (
        look(make_agent(env_kwargs={}, training={"validation_sampled": sampled}), digit).locations
        for sampled in (False, True)
    )
    assert mean[0].tolist() == sampled[0].tolist()  # the environment's
    assert 0.01 < np.abs(mean[1:] - sampled[1:]).mean() < 0.5


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut\.jpg"):
        read_picture(path)
    with pytest.raises(FileNotFoundError, match="folder"):
        read_picture(tmp_path)
