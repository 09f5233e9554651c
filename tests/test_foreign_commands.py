"""The commands in environments of other packages, with an agent that nobody has trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from picture_envs import LAYOUTS, Numbers  # registers Numbers-v0

torch = pytest.importorskip("torch", reason="the extra agent is not installed")

from PIL import Image  # noqa: E402
from ram_commands import fail, frame_count  # noqa: E402

from ram_agent import evaluate, train  # noqa: E402
from ram_agent.agent import RAMAgent  # noqa: E402
from ram_agent.cli import main  # noqa: E402
from ram_agent.commands.train import default_folder  # noqa: E402
from ram_agent.config import AgentConfig  # noqa: E402
from ram_agent.gaze_map import blur, record_gaze_map  # noqa: E402
from ram_agent.measure import evaluate_all  # noqa: E402
from ram_agent.run_env import RunEnv  # noqa: E402
from ram_agent.runs import choose_preset, describe_run  # noqa: E402
from ram_agent.shard import VALIDATION_SEED  # noqa: E402
from ram_envs.making import make_env, make_vector_env  # noqa: E402
from ram_envs.wrappers import FixedGaze, GridAction  # noqa: E402

TOY: dict[str, Any] = {"glimpse_size": 4, "num_scales": 2}
NUMBERS = RunEnv("Numbers-v0", TOY)


def make_agent(env_id: str = "Numbers-v0", **keywords: Any) -> RAMAgent:
    torch.manual_seed(0)
    env = make_env(env_id, **keywords)
    config = AgentConfig(hidden_size=8, feature_size=8)
    agent = RAMAgent(env.observation_space, env.action_space, config)
    agent.info = {"env_id": env_id, "env_kwargs": keywords}
    return agent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    agent = make_agent(**TOY)
    agent.save(tmp_path / "toy.safetensors", agent.info)
    return tmp_path / "toy.safetensors"


def test_watch(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    main(["watch", str(path), "--save", str(tmp_path / "toy.gif"), "--max-steps", "2"])
    with Image.open(tmp_path / "toy.gif") as animation:
        assert (animation.n_frames, animation.size) == (3, (768, 560))  # type: ignore[attr-defined]
        assert animation.info["duration"] == 140  # 7 frames a second, in hundredths
    main(["watch", str(path), "--save", str(tmp_path / "toy.png"), "--episodes", "2"])
    assert (tmp_path / "toy.png").is_file()
    assert "max_steps=0" in fail(capsys, "watch", str(path), "--max-steps", "0", "--save", "a.gif")


def test_the_packed_agent_of_pong_plays_it(tmp_path: Path) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    pytest.importorskip("pygame", reason="the extra play is not installed")
    picture = tmp_path / "pong.gif"
    main(["watch", "pretrained:pong", "--save", str(picture), "--max-steps", "3"])
    assert frame_count(picture) == 4


def test_figures(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    pytest.importorskip("pygame", reason="the extra play is not installed")
    monkeypatch.setattr("ram_agent.commands.figures.NUM_FIXATIONS", 200)
    main(["figures", str(path), "--out", str(tmp_path / "figures"), "--dpi", "20"])
    names = {file.name for file in (tmp_path / "figures").iterdir()}
    assert names == {"episodes.gif", "gaze_map.png", "report.html"}


def test_a_gaze_map_counts_fixations() -> None:
    agent = make_agent(**TOY, initial_location=(0, 0))
    with torch.no_grad():
        for parameter in agent.location_head.parameters():
            parameter.zero_()
    for mode in ("NextStep", "SameStep", "Disabled"):
        keywords: dict[str, Any] = {**TOY, "initial_location": (0, 0)}
        envs = make_vector_env("Numbers-v0", 3, autoreset_mode=mode, **keywords)
        gaze_map = record_gaze_map(agent, envs, 10)
        assert gaze_map.counts[5, 6] == gaze_map.counts.sum() == 30  # the center's pixel edge
        assert gaze_map.canvas.shape == (9, 12, 3)
        assert 110 < gaze_map.canvas.mean() < 145
    blurred = blur(gaze_map.counts, 0.7)
    assert blurred.shape == (10, 13)
    assert blurred.sum() == pytest.approx(30)
    assert blurred[5, 6] == blurred.max()


@pytest.mark.parametrize(
    ("layout", "values", "newest"),
    [
        ("gray", 7, [7]),
        ("channels last", [0, 1, 2], [0, 1, 2]),
        ("channels first", [[[0]], [[1]], [[2]]], [0, 1, 2]),
        ("gray stack", [[[0]], [[1]], [[2]], [[3]]], [3]),
        ("color stack", [[[[0, 1, 2]]], [[[3, 4, 5]]]], [3, 4, 5]),
        ("color stack, channels first", np.arange(6).reshape(2, 3, 1, 1), [3, 4, 5]),
    ],
)
def test_a_gaze_map_shows_the_newest_frame(
    layout: str, values: Any, newest: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = LAYOUTS[layout]
    picture = np.broadcast_to(values, shape).astype(np.uint8)
    monkeypatch.setattr(Numbers, "_look", lambda env: picture)
    keywords: dict[str, Any] = {**TOY, "shape": shape}
    envs = make_vector_env("Numbers-v0", 2, **keywords)
    canvas = record_gaze_map(make_agent(**keywords), envs, 3).canvas
    assert canvas.shape == ((9, 12, 3) if len(newest) == 3 else (9, 12))
    assert (canvas == newest).all()


def test_a_gaze_map_of_samples_is_wider() -> None:
    agent = make_agent(**TOY, initial_location=(0, 0))
    with torch.no_grad():
        for parameter in agent.location_head.parameters():
            parameter.zero_()
    envs = make_vector_env("Numbers-v0", 3, **TOY, initial_location=(0, 0))
    counts = record_gaze_map(agent, envs, 10, deterministic=False).counts
    assert counts.sum() == 30 > counts.max()
    agent.info = {"training": {"validation_sampled": True}}
    assert (record_gaze_map(agent, envs, 10).counts == counts).all()
    assert record_gaze_map(agent, envs, 10, deterministic=True).counts.max() == 30


def test_an_agent_is_measured_as_it_was_validated() -> None:
    agent = make_agent(**TOY)
    results = evaluate_all(agent, NUMBERS, "test", 60, 0)
    assert list(results) == ["learned gaze", "learned gaze, sampled", "random gaze", "center gaze"]
    agent.info["training"] = {"validation_sampled": True}
    sampled = evaluate_all(agent, NUMBERS, "test", 60, 0)
    assert list(sampled) == [
        "learned gaze, sampled",
        "learned gaze",
        "random gaze, sampled",
        "center gaze, sampled",
    ]
    assert {name: sampled[name] for name in [*results][:2]} == {
        name: results[name] for name in [*results][:2]
    }
    assert sampled["random gaze, sampled"] != results["random gaze"]


def test_validations_are_sampled_where_the_setting_says_so(tmp_path: Path) -> None:
    for sampled in (None, False):
        run = tmp_path / str(sampled)
        given: dict[str, Any] = {} if sampled is None else {"validation_sampled": sampled}
        settings: dict[str, Any] = {"steps": 128, "batch_size": 8, "segment_length": 16}
        settings |= {"hidden_size": 8, "feature_size": 8, "validation_games": 20}
        agent = train("Numbers-v0", **TOY, **settings, **given, out=run)
        envs = NUMBERS.make_split(NUMBERS.num_evaluation_envs, "validation")
        returns = {
            deterministic: evaluate(
                agent, envs, num_episodes=20, deterministic=deterministic, seed=VALIDATION_SEED
            ).mean_return
            for deterministic in (False, True)
        }
        assert returns[False] != returns[True]
        assert agent.info["validation_return"] == returns[sampled is False]


def test_an_agent_makes_its_environment() -> None:
    agent = make_agent("Numbers-v0", **TOY, max_shift=0.2)
    observation, _ = agent.make_env().reset(seed=0)
    assert observation["glimpse"].shape == (6, 4, 4)
    assert agent.make_envs(2).reset(seed=0)[0]["glimpse"].shape == (2, 6, 4, 4)


def test_splits_and_modes() -> None:
    assert NUMBERS.splits == ()
    assert NUMBERS.is_foreign
    assert not RunEnv("RAMCatch-v0").is_foreign
    modes = {
        "SameStep": TOY,
        "NextStep": {**TOY, "source": "render"},
        "Disabled": {**TOY, "render_mode": "rgb_array"},
    }
    for mode, keywords in modes.items():
        envs = RunEnv("Numbers-v0", keywords).make_split(2, "train")
        assert envs.metadata["autoreset_mode"].value == mode
    assert "/" not in default_folder("ALE/Pong-v5").name


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["CartPole-v1"], "no glimpses"),
        (["Numbers-v0", "--glimpse-size", "99"], "glimpse_size=99"),
        (["Numbers-v0", "--glimpse-size", "4", "--env-kwargs", "shape"], "'shape'"),
        (["Numbers-v0", "--glimpse-size", "4", "--num-scales", "2", "--env-kwargs",
          "continuous=True"], "Discrete"),
        (["Numbers-v0", "--glimpse-size", "4", "--env-kwargs", "speed=3"], "speed"),
        (["ALE/Pung-v5"], "ale"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fail(capsys, "train", *args, "--out", "nothing").lower().replace(
        "discrete", "Discrete"
    )
    assert not Path("nothing").exists()


def test_figures_of_a_game_without_a_vector_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    pytest.importorskip("pygame", reason="the extra play is not installed")
    monkeypatch.setattr("ram_agent.run_env.EVALUATION_ENVS", 4)
    gym.register("PlainSearch-v0", entry_point="ram_envs.envs.search:SearchEnv")
    try:
        env = gym.make("PlainSearch-v0")
        agent = RAMAgent(env.observation_space, env.action_space)
        path = agent.save(tmp_path / "agent", {"env_id": "PlainSearch-v0", "env_kwargs": {}})
        main(["figures", str(path), "--out", str(tmp_path / "figures"), "--dpi", "20"])
    finally:
        del gym.registry["PlainSearch-v0"]
    assert "vector_entry_point" in capsys.readouterr().err
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {
        "episodes.gif",
        "report.html",
    }


def test_rewards_that_are_clipped_as_the_user_says() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    assert RunEnv("ALE/Pong-v5").training_keywords == {"reward_clipping": True}
    for clips in (True, False):
        assert RunEnv("ALE/Pong-v5", {"reward_clipping": clips}).training_keywords == {}
    assert RunEnv("RAMCatch-v0").training_keywords == {}
    pong = RunEnv("ALE/Pong-v5")
    run = describe_run(pong, "default", choose_preset("default", pong))
    assert run.training_keywords == {"reward_clipping": True}
    assert run.env.keywords == {}


@pytest.mark.parametrize("wrapper", [FixedGaze, GridAction])
def test_actions_that_a_wrapper_has_changed(wrapper: Any) -> None:
    def make(**keywords: Any) -> Any:
        return wrapper(gym.make("RAMCatch-v0", **keywords))

    gym.register("Changed-v0", make)
    try:
        with pytest.raises(ValueError, match=r"Changed-v0.*Discrete"):
            RunEnv("Changed-v0").check()
    finally:
        del gym.registry["Changed-v0"]
