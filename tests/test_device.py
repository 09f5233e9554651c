"""On a device: the same episodes, evaluation and training, bit for bit, without a trip to the host.

Here the device is the GPU, or the CPU where there is none; and "meta", on which tensors have no
values, so that whatever asks for one fails.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

import torch
from helpers import make_agent_for
from lazy_images import LazyImages

import ram_envs
from ram_agent import player, rollout, run_env, runs
from ram_agent.agent import RAMAgent
from ram_agent.cli import main
from ram_agent.config import AgentConfig, TrainConfig, replace_settings
from ram_agent.evaluation import evaluate
from ram_agent.paper.controls import ControlTrainer
from ram_agent.rollout import collect_rollout
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.trainer import Trainer
from ram_envs.device_env import DeviceVectorEnv, why_on_host
from ram_envs.registration import CLASSIFICATION, IMAGES, PAIRS
from ram_envs.wrappers import vector

pytestmark = pytest.mark.usefixtures("one_thread")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

SMALL = AgentConfig(hidden_size=32, feature_size=16)
BRIEF = TrainConfig(episodes=120, batch_size=20, validate_every=60)


def make_envs(env_id: str = "RAMClutteredMNIST-v0", num_envs: int = 5, **keywords: Any) -> Any:
    if env_id in CLASSIFICATION:
        keywords = {"dataset": "digits", **keywords}
    return gym.make_vec(env_id, num_envs=num_envs, autoreset_mode="Disabled", **keywords)


def nothing_chosen() -> torch.Tensor:
    return torch.zeros(5, dtype=torch.int64, device=DEVICE)


# --- the same episodes -----------------------------------------------------------------------


def assert_same(tensors: dict[str, Any], arrays: dict[str, Any]) -> None:
    for key, tensor in tensors.items():
        assert isinstance(tensor, torch.Tensor)
        assert np.array_equal(tensor.cpu().numpy(), arrays[key])
        assert str(tensor.dtype) == f"torch.{arrays[key].dtype}"


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("env_id", [*IMAGES, *PAIRS])
def test_the_episodes_of_the_vector_environment(env_id: str, split: str) -> None:
    envs = make_envs(env_id, split=split)
    on_device = DeviceVectorEnv(envs, DEVICE)
    rng = np.random.default_rng(0)
    index = np.array([3, 0, 2, 1, 0])
    for asked in ({"seed": 2**40}, {}, {"options": {"index": index}}, {"seed": 1, "options": {}}):
        observation, infos = envs.reset(**asked)
        observed, told = on_device.reset(**asked)
        assert observed.keys() == observation.keys()
        assert told.keys() == {"label", "index"}
        assert_same({**observed, **told}, {**observation, **infos})
        assert np.array_equal(on_device.canvases.cpu().numpy(), envs.canvases)
        ended = np.zeros(5, np.bool_)
        while not ended.all():
            locations = rng.uniform(-1.2, 1.2, (5, 2)).astype(np.float32)
            choices = infos["label"] * np.array([1, 0, 1, 0, 1])
            observation, rewards, ended, truncated, infos = envs.step((locations, choices))
            observed, paid, *ends, told = on_device.step(
                (torch.tensor(locations, device=DEVICE), torch.tensor(choices, device=DEVICE))
            )
            assert_same({**observed, **told}, {**observation, **infos})
            assert_same({"rewards": paid}, {"rewards": rewards})
            assert np.array_equal(ends, [ended, truncated])
        assert rewards[[0, 2, 4]].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("env_id", "augmentation"),
    [
        ("RAMMNIST-v0", {"distortion": 1.0, "elastic": 1.0}),
        ("RAMPairsMNIST-v0", {"distortion": 1.0, "elastic": 1.0}),
        ("RAMMNIST-v0", {"mirror": True}),
    ],
)
def test_distorted_images(env_id: str, augmentation: dict[str, Any]) -> None:
    envs = make_envs(env_id, num_envs=30, **augmentation)
    on_device = DeviceVectorEnv(envs, DEVICE)
    assert_same(on_device.reset(seed=4)[0], envs.reset(seed=4)[0])
    assert np.array_equal(on_device.canvases.cpu().numpy(), envs.canvases)


def test_images_in_color_from_a_first_location() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 7, 3), np.uint8)[:, :, ::-1]
    dataset = ram_envs.ImageDataset(images, np.arange(6))
    settings: dict[str, Any] = {
        "dataset": dataset,
        "canvas_size": (12, 20),
        "num_clutter": 2,
        "clutter_size": 3,
        "mirror": True,
    }
    envs = make_envs("RAMClassification-v0", initial_location=(0.25, -1), **settings)
    on_device = DeviceVectorEnv(envs, DEVICE)
    assert_same(on_device.reset(seed=4)[0], envs.reset(seed=4)[0])
    assert on_device.canvases.shape == (5, 12, 20, 3)
    assert np.array_equal(on_device.canvases.cpu().numpy(), envs.canvases)
    assert on_device.num_images == 6


def test_what_was_told_stays_as_it_was() -> None:
    on_device = DeviceVectorEnv(make_envs(), DEVICE)
    before, infos = on_device.reset(seed=0, options={"index": np.arange(5)})
    kept = {key: value.clone() for key, value in {**before, **infos}.items()}
    on_device.step((torch.ones(5, 2, device=DEVICE), nothing_chosen()))
    on_device.reset(seed=1)
    assert all(torch.equal(value, kept[key]) for key, value in {**before, **infos}.items())


def test_without_a_seed_it_goes_on_and_a_seed_begins_anew() -> None:
    on_device = DeviceVectorEnv(make_envs(), DEVICE)
    first, second = on_device.reset()[0], on_device.reset()[0]  # a seed of chance
    assert not torch.equal(first["location"], second["location"])
    envs = make_envs()
    assert_same(on_device.reset(seed=3)[0], envs.reset(seed=3)[0])
    assert_same(on_device.reset()[0], envs.reset()[0])


def test_locations_that_are_none() -> None:
    on_device = DeviceVectorEnv(make_envs(), DEVICE)
    on_device.reset(seed=0)
    strange = torch.tensor([[torch.nan, 0.5], [torch.inf, -torch.inf], [2, -3], [0, 1], [0.5, 0]])
    observation = on_device.step((strange.to(DEVICE), nothing_chosen()))[0]
    shown = [[0, 0.5], [1, -1], [1, -1], [0, 1], [0.5, 0]]
    assert observation["location"].tolist() == shown


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["RAMCatch-v0", "RAMMovingMNIST-v0", "RAMSearch-v0"])
def test_games_are_played_on_the_cpu(env_id: str) -> None:
    envs = make_envs(env_id)
    with pytest.raises(ValueError, match=f"device='{DEVICE}'.*still"):
        DeviceVectorEnv(envs, DEVICE)


def test_wrappers_are_not_left_out() -> None:
    with pytest.raises(ValueError, match="wrappers"):
        DeviceVectorEnv(vector.RandomGaze(make_envs()), DEVICE)


def test_images_that_are_read_by_window_stay_where_they_are(tmp_path: Path) -> None:
    images, labels = np.zeros((2, 9, 9), np.uint8), np.arange(2)
    np.save(tmp_path / "images.npy", images)
    for source in (LazyImages(images), np.load(tmp_path / "images.npy", mmap_mode="r")):
        dataset = ram_envs.ImageDataset(source, labels, "scans")
        envs = make_envs("RAMClassification-v0", dataset=dataset)
        assert "'scans'" in (why_on_host(envs) or "")


def test_steps_and_options_that_there_are_not() -> None:
    on_device = DeviceVectorEnv(make_envs(num_glimpses=1), DEVICE)
    action = torch.zeros(5, 2, device=DEVICE), nothing_chosen()
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\)"):
        on_device.step(action)
    on_device.reset(seed=0)
    with pytest.raises(TypeError, match=r"location.*ndarray.*Tensor \(5, 2\) on c"):
        on_device.step((np.zeros((5, 2), np.float32), action[1]))
    with pytest.raises(TypeError, match=r"choice.*\(4,\).*Tensor \(5,\)"):
        on_device.step((action[0], action[1][:4]))
    on_device.step(action)
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\)"):
        on_device.step(action)
    with pytest.raises(ValueError, match=r"'index'.* 1297"):
        on_device.reset(options={"index": np.array([0, 1, 2, 3, 1297])})
    with pytest.raises(ValueError, match="reset_mask"):
        on_device.reset(options={"reset_mask": np.ones(5, np.bool_)})


# --- the loop --------------------------------------------------------------------------------


@pytest.mark.parametrize("gaze", ["learned", "random", "center"])
def test_a_rollout_is_that_of_the_vector_environment(gaze: player.Gaze) -> None:
    envs = make_envs()
    played = [
        collect_rollout(
            make_agent_for(envs, SMALL),
            where,
            seed=3,
            gaze=gaze,
            sample_choice=True,
            generator=player.noise_source(where, 5),
        )
        for where in (envs, DeviceVectorEnv(envs, "cpu"))
    ]
    first, second = (dict(vars(rollout)) for rollout in played)
    for seen, other in zip(first.pop("observations"), second.pop("observations"), strict=True):
        for name in ("glimpse", "location"):
            assert torch.equal(torch.as_tensor(seen[name]), torch.as_tensor(other[name]))
    for name, values in first.items():
        assert torch.equal(second[name], values)


@pytest.mark.parametrize("gaze", ["learned", "random", "center"])
def test_a_rollout_asks_for_no_value(monkeypatch: pytest.MonkeyPatch, gaze: player.Gaze) -> None:
    on_device = DeviceVectorEnv(make_envs(), "meta")
    agent = make_agent_for(on_device, SMALL).to("meta")
    with pytest.raises(RuntimeError, match="meta"):  # the check at the end, which asks for one
        collect_rollout(agent, on_device, seed=0, gaze=gaze)
    checked = []
    monkeypatch.setattr(rollout, "check_locations", lambda looks: checked.append(looks.shape))
    played = collect_rollout(agent, on_device, seed=0, gaze=gaze, sample_choice=True)
    assert checked == [(6, 5, 2)]  # once, of all steps
    for name, shape in (("choice_logits", (6, 5, 10)), ("rewards", (6, 5)), ("labels", (5,))):
        assert getattr(played, name).device.type == "meta"
        assert getattr(played, name).shape == shape


def test_an_agent_that_has_diverged() -> None:
    on_device = DeviceVectorEnv(make_envs(), "cpu")
    agent = make_agent_for(on_device, SMALL)
    agent.location_head.bias.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="diverged"):
        collect_rollout(agent, on_device, seed=3)


def test_choices_are_drawn_as_multinomial_draws_them() -> None:
    envs = make_envs(num_envs=200)
    agent = make_agent_for(envs, SMALL)
    output, _ = agent.step(envs.reset(seed=0)[0], agent.initial_state(200))
    probs = output.choice_logits.detach().softmax(1)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    choice = agent.act(output, sample_choice=True, generator=generators[0]).choice
    torch.randn(200, 2, generator=generators[1])  # the noise of the location comes first
    expected = torch.multinomial(probs, 1, generator=generators[1]).squeeze(1)
    assert torch.equal(choice, expected)


# --- evaluation and training -----------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"deterministic": False}, {"gaze": "random"}])
def test_an_evaluation_is_that_of_the_vector_environment(how: dict[str, Any]) -> None:
    envs = make_envs(num_envs=60, split="test")
    agent = make_agent_for(envs, SMALL)
    on_device = evaluate(agent, DeviceVectorEnv(envs, "cpu"), num_episodes=150, **how)
    assert on_device == evaluate(agent, envs, num_episodes=150, **how)
    assert len(set(on_device.errors)) > 1


@pytest.mark.parametrize("supervision", ["every_step", "none"])
def test_a_training_is_that_of_the_vector_environment(supervision: Any) -> None:
    episodes = TrainConfig().episodes if supervision == "none" else BRIEF.episodes
    config = replace_settings(BRIEF, supervision=supervision, episodes=episodes)
    results = []
    for place in (lambda envs: envs, lambda envs: DeviceVectorEnv(envs, "cpu")):
        train_envs = [place(make_envs(num_envs=10)) for _ in range(2)]
        validation_envs = place(make_envs(num_envs=50, split="validation"))
        trainer = Trainer(make_agent_for(train_envs[0], SMALL), train_envs, validation_envs, config)
        metrics = [trainer.train_one_update() for _ in range(4)]
        weights = {name: one.tolist() for name, one in trainer.agent.state_dict().items()}
        results.append((metrics, weights, evaluate(trainer.averaged_agent, validation_envs)))
    assert results[1] == results[0]


@pytest.mark.skipif(DEVICE == "cpu", reason="there is no GPU")
def test_an_evaluation_on_the_gpu() -> None:
    envs = make_envs(num_envs=500, split="test")
    agent = make_agent_for(envs, SMALL)
    expected = evaluate(agent, envs, num_episodes=297)
    on_device = evaluate(agent.to(DEVICE), DeviceVectorEnv(envs, DEVICE), num_episodes=297)
    assert on_device.errors == pytest.approx(expected.errors, abs=1)  # sums are rounded otherwise


# --- the command -----------------------------------------------------------------------------

TINY = ["--dataset", "digits", "--hidden-size", "16", "--feature-size", "8", "--episodes", "40"]
TINY += ["--batch-size", "20", "--validate-every", "20", "--num-glimpses", "2"]


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for command in (["train", "RAMMNIST-v0", *TINY], ["bench"], ["reproduce", "mnist"]):
        with pytest.raises(SystemExit, match="1"):
            main([*command, "--device", "cuda"])
        assert "ram: device='cuda' cannot be used: " in capsys.readouterr().err


@pytest.mark.skipif(DEVICE == "cpu", reason="there is no GPU")
@pytest.mark.parametrize("env_id", ["RAMTranslatedMNIST-v0", "RAMCatch-v0"])
def test_a_run_on_the_gpu_goes_on(tmp_path: Path, env_id: str) -> None:
    small = ["--hidden-size", "16", "--feature-size", "8", "--batch-size", "20"]
    small += ["--validate-every", "40"]
    dataset = ["--dataset", "digits"] if env_id in CLASSIFICATION else []
    out = tmp_path / "run"
    command = ["train", env_id, "--device", "cuda", "--out", str(out), *small, *dataset]
    main([*command, "--episodes", "80"])
    machine = json.loads((out / "config.json").read_text())["machine"]
    assert machine.startswith(torch.cuda.get_device_name())
    (out / "evaluation.json").unlink()
    main(["train", "--resume", str(out), "--device", "cuda"])
    assert (out / "evaluation.json").is_file()


def test_training_and_validation_are_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = RunEnv("RAMClutteredMNIST-v0", {"dataset": "digits"})
    run = RunConfig(env, SMALL, BRIEF, shards=2)
    assert not isinstance(runs.make_trainer(run, None).shards[0].envs, DeviceVectorEnv)
    # "meta" stands for a GPU: it is asked whether the environments can be there.
    monkeypatch.setattr(run_env, "GPU", "meta")
    assert not isinstance(runs.make_trainer(run, None).validation_envs, DeviceVectorEnv)
    trainer = runs.make_trainer(run, None, "meta")
    for envs in (*[shard.envs for shard in trainer.shards], trainer.validation_envs):
        assert isinstance(envs, DeviceVectorEnv)
        assert envs.device == torch.device("meta")
    control = {**run.to_json(), "training": {"network": "conv", "seed": 0, "episodes": 128}}
    seeing_all = ControlTrainer(control, RunFolder(tmp_path), "meta")
    for envs in (seeing_all.train_envs, seeing_all.validation_envs):
        assert isinstance(envs, DeviceVectorEnv)
    assert all(one.device.type == "meta" for one in seeing_all.network.parameters())
    in_steps = TrainConfig(steps=120, batch_size=20)
    run = RunConfig(RunEnv("RAMCatch-v0"), SMALL, in_steps, shards=2)
    assert not isinstance(runs.make_trainer(run, None, "meta").shards[0].envs, DeviceVectorEnv)


def test_segments_on_a_device_go_on() -> None:
    config = replace_settings(
        TrainConfig(),
        **{"supervision": "none", "batch_size": 4, "segment_length": 6, "minibatches": 2},
        steps=4 * 6 * 4,
        validate_every=4 * 6 * 4,
    )

    def make() -> Trainer:
        train, validation = (
            DeviceVectorEnv(
                gym.make_vec(
                    "RAMMNIST-v0", 4, dataset="digits", split=split, autoreset_mode="Disabled"
                ),
                "cpu",
            )
            for split in ("train", "validation")
        )
        torch.manual_seed(0)
        small = AgentConfig(hidden_size=8, feature_size=8)
        agent = RAMAgent(train.single_observation_space, train.single_action_space, small)
        return Trainer(agent, train, validation, config)

    first, second = make(), make()
    first.train_one_update()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert first.train_one_update() == second.train_one_update()
