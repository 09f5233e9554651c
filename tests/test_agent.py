"""The agent: which spaces it supports, what it computes from a glimpse, and how it plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

import ram_envs
from ram_agent.agent import AgentOutput, RAMAgent
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.evaluation import evaluate
from ram_agent.networks import GlimpseNetwork
from ram_agent.player import Gaze
from ram_agent.trainer import Trainer
from ram_agent.weights import CheckpointError, load_weights, write_tensors

LOCATION = spaces.Box(-1, 1, (2,), np.float32)


def glimpse_space(*shape: int) -> spaces.Dict:
    return spaces.Dict(glimpse=spaces.Box(0, 1, shape, np.float32), location=LOCATION)


def choice_space(num_choices: int) -> spaces.Tuple[Any]:
    return spaces.Tuple((LOCATION, spaces.Discrete(num_choices)))


def make_agent(**settings: Any) -> RAMAgent:
    torch.manual_seed(0)
    config = AgentConfig(hidden_size=32, feature_size=16, **settings)
    return RAMAgent(glimpse_space(3, 4, 4), choice_space(5), config)


def glimpses(batch_size: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "glimpse": rng.random((batch_size, 3, 4, 4), np.float32),
        "location": rng.uniform(-1, 1, (batch_size, 2)).astype(np.float32),
    }


def row(observation: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    return {name: value[index] for name, value in observation.items()}


def output_of(means: list[list[float]], logits: list[list[float]]) -> AgentOutput:
    return AgentOutput(
        location_mean=torch.tensor(means, requires_grad=True),
        choice_logits=torch.tensor(logits, requires_grad=True),
        baseline=torch.zeros(len(means)),
    )


# --- spaces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 1, (3, 4, 4), np.float32),
        spaces.Dict(glimpse=spaces.Box(0, 1, (3, 4, 4), np.float32)),
        glimpse_space(8, 3, 4, 4),  # that of a vector environment
        spaces.Dict(
            glimpse=spaces.Box(0, 1, (3, 4, 4), np.float32),
            location=spaces.Box(-1, 1, (3,), np.float32),
        ),
    ],
)
def test_observation_space_of_another_form(space: spaces.Space[Any]) -> None:
    with pytest.raises(TypeError, match="single_observation_space"):
        RAMAgent(space, choice_space(5))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5),
        spaces.Tuple((LOCATION,)),
        spaces.Tuple((spaces.Discrete(5), LOCATION)),
        spaces.Tuple((LOCATION, spaces.MultiDiscrete([5, 5]))),  # that of a vector environment
    ],
)
def test_action_space_of_another_form(space: spaces.Space[Any]) -> None:
    with pytest.raises(TypeError, match="single_action_space"):
        RAMAgent(glimpse_space(3, 4, 4), space)


@pytest.mark.parametrize("config", [TrainConfig(), {"hidden_size": 8}, "lstm", 8])
def test_a_config_of_another_kind(config: Any) -> None:
    with pytest.raises(TypeError, match=type(config).__name__):
        RAMAgent(glimpse_space(3, 4, 4), choice_space(5), config)


def test_fits_an_environment_with_its_shapes_only() -> None:
    agent = make_agent()
    env = gym.Env[Any, Any]()
    env.observation_space, env.action_space = glimpse_space(3, 4, 4), choice_space(5)
    agent.check_fits(env)
    env.action_space = choice_space(10)
    with pytest.raises(ValueError, match=r"5.*10"):
        agent.check_fits(env)
    env.action_space = LOCATION
    with pytest.raises(TypeError, match="action"):
        agent.check_fits(env)
    env.observation_space, env.action_space = glimpse_space(1, 8, 8), choice_space(5)
    with pytest.raises(ValueError, match=r"\(3, 4, 4\).*\(1, 8, 8\)"):
        agent.check_fits(env)


# --- seeing ----------------------------------------------------------------------------------


def test_shapes_of_a_step() -> None:
    agent = make_agent()
    output, state = agent.step(glimpses(7), agent.initial_state(7))
    assert output.location_mean.shape == (7, 2)
    assert output.choice_logits.shape == (7, 5)
    assert output.baseline.shape == (7,)
    assert [part.shape for part in state] == [(7, 32)]


def test_what_was_seen_before_matters() -> None:
    agent = make_agent()
    _, state = agent.step(glimpses(7, seed=1), agent.initial_state(7))
    fresh, _ = agent.step(glimpses(7, seed=2), agent.initial_state(7))
    later, _ = agent.step(glimpses(7, seed=2), state)
    assert (fresh.choice_logits != later.choice_logits).all()


def test_location_mean_is_tanh_of_the_head_or_the_head() -> None:
    bounded, linear = make_agent(), make_agent(location_mean="linear")
    for agent in (bounded, linear):
        with torch.no_grad():
            agent.location_head.weight.zero_()
            agent.location_head.bias.copy_(torch.tensor([0.5, -3.0]))
    means = [
        agent.step(glimpses(1), agent.initial_state(1))[0].location_mean[0].tolist()
        for agent in (bounded, linear)
    ]
    assert means[0] == pytest.approx([0.4621172, -0.9950548])
    assert means[1] == [0.5, -3.0]


def test_baseline_does_not_shape_the_state() -> None:
    agent = make_agent()
    output, state = agent.step(glimpses(7), agent.initial_state(7))
    output, _ = agent.step(glimpses(7), state)
    output.baseline.sum().backward()  # type: ignore[no-untyped-call]
    trained = {name for name, parameter in agent.named_parameters() if parameter.grad is not None}
    assert trained == {"baseline_head.weight", "baseline_head.bias"}


def test_label_trains_all_but_the_other_heads() -> None:
    agent = make_agent()
    output, _ = agent.step(glimpses(7), agent.initial_state(7))
    output.choice_logits.square().sum().backward()  # type: ignore[no-untyped-call]
    untrained = {name for name, parameter in agent.named_parameters() if parameter.grad is None}
    assert {name.split(".")[0] for name in untrained} == {"location_head", "baseline_head"}


# --- acting ----------------------------------------------------------------------------------


def test_deterministic_action_is_the_mean_and_the_likeliest() -> None:
    output = output_of([[0.3, -0.4], [1.5, 0.0]], [[0.0, 2, 1, 0, 0], [5.0, 0, 0, 0, 9]])
    action = make_agent().act(output, deterministic=True, sample_choice=True)
    assert torch.equal(action.location, torch.tensor([[0.3, -0.4], [1.5, 0.0]]))
    assert action.choice.tolist() == [1, 4]


def test_sampled_location_has_the_agents_spread() -> None:
    agent = make_agent()
    agent.location_std.fill_(0.25)
    output = output_of([[0.3, -0.4]] * 20_000, [[0.0] * 5] * 20_000)
    locations = agent.act(output, generator=torch.Generator().manual_seed(0)).location
    # standard errors: 0.0018 and 0.0013
    assert locations.mean(0).tolist() == pytest.approx([0.3, -0.4], abs=0.008)
    assert locations.std(0).tolist() == pytest.approx([0.25, 0.25], abs=0.006)
    assert abs(torch.corrcoef(locations.T)[0, 1].item()) < 0.03


def test_choice_is_the_likeliest_or_drawn_as_often_as_its_probability() -> None:
    agent = make_agent()
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().tolist()
    output = output_of([[0.0, 0.0]] * 20_000, [logits] * 20_000)
    assert not agent.act(output).choice.any()
    generator = torch.Generator().manual_seed(0)
    drawn = agent.act(output, sample_choice=True, generator=generator).choice
    shares = (drawn.bincount() / 20_000).tolist()
    assert shares == pytest.approx([0.5, 0.25, 0.125, 0.125], abs=0.015)


def test_noise_comes_from_the_generator() -> None:
    agent = make_agent()
    output = output_of([[0.0, 0.0]] * 50, [[0.0] * 5] * 50)

    def draw(seed: int) -> tuple[list[Any], list[int]]:
        generator = torch.Generator().manual_seed(seed)
        action = agent.act(output, sample_choice=True, generator=generator)
        return action.location.tolist(), action.choice.tolist()

    first = draw(1)
    torch.manual_seed(99)
    assert draw(1) == first
    other = draw(2)
    assert other[0] != first[0]
    assert other[1] != first[1]


def test_no_gradient_flows_through_a_drawn_location() -> None:
    agent = make_agent()
    output = output_of([[0.3, -0.4]], [[0.0] * 5])
    assert not agent.act(output).location.requires_grad
    assert not agent.act(output, deterministic=True).location.requires_grad


# --- playing ---------------------------------------------------------------------------------


def test_predict_of_one_and_of_a_batch_agree() -> None:
    agent = make_agent()
    first, second = glimpses(6, seed=1), glimpses(6, seed=2)
    (_, _), batch_state = agent.predict(first, deterministic=True)
    (locations, choices), _ = agent.predict(second, batch_state, deterministic=True)
    assert locations.shape == (6, 2)
    for index in range(6):
        _, state = agent.predict(row(first, index), deterministic=True)
        (location, choice), _ = agent.predict(row(second, index), state, deterministic=True)
        assert location == pytest.approx(locations[index], abs=1e-6)
        assert choice == choices[index]


def test_predict_acts_as_step_and_act() -> None:
    agent = make_agent()
    (locations, choices), state = agent.predict(glimpses(6), deterministic=True)
    output, next_state = agent.step(glimpses(6), agent.initial_state(6))
    assert np.array_equal(locations, output.location_mean.detach().numpy())
    assert np.array_equal(choices, output.choice_logits.argmax(1).numpy())
    assert np.array_equal(state, [part.detach().numpy() for part in next_state])


def test_predict_draws_unless_told_not_to() -> None:
    agent = make_agent()
    torch.manual_seed(1)
    (drawn, _), _ = agent.predict(glimpses(500))
    (means, _), _ = agent.predict(glimpses(500), deterministic=True)
    assert 0.08 < (drawn - means)[np.abs(means) < 0.5].std() < 0.12  # location_std is 0.1


@pytest.mark.parametrize("core", ["rectifier", "lstm", "transformer"])
def test_episode_start_forgets_in_its_rows(core: str) -> None:
    agent = make_agent(core=core)
    _, state = agent.predict(glimpses(3, seed=1))
    now = glimpses(3, seed=2)
    begun = np.array([False, True, False])
    _, partly = agent.predict(now, state, episode_start=begun)
    _, forgotten = agent.predict(now)
    _, remembered = agent.predict(now, state)
    # one bool for one environment, or for all
    _, alone = agent.predict(row(now, 0), tuple(part[:1] for part in state), episode_start=True)
    _, everywhere = agent.predict(now, state, episode_start=True)
    for part in range(len(state)):
        assert np.array_equal(partly[part][1], forgotten[part][1])
        assert np.array_equal(partly[part][[0, 2]], remembered[part][[0, 2]])
        assert not np.allclose(forgotten[part], remembered[part])
        assert np.allclose(alone[part][0], forgotten[part][0], atol=1e-6)
        assert np.array_equal(everywhere[part], forgotten[part])


@pytest.mark.parametrize(
    ("observation", "error", "named"),
    [
        (np.zeros((3, 4, 4), np.float32), TypeError, "ndarray"),
        (None, TypeError, "NoneType"),
        ({"glimpse": np.zeros((3, 4, 4))}, TypeError, r"\['glimpse'\]"),
        ({"glimpse": np.zeros((3, 4, 4), np.uint8), "location": np.zeros(2)}, TypeError, "uint8"),
        ({"glimpse": np.zeros((1, 8, 8)), "location": np.zeros(2)}, ValueError, r"\(1, 8, 8\)"),
        ({"glimpse": np.zeros((4, 4)), "location": np.zeros(2)}, ValueError, r"\(4, 4\)"),
        ({"glimpse": np.zeros((5, 3, 4, 4)), "location": np.zeros(2)}, ValueError, r"\(2,\)"),
        ({"glimpse": np.zeros((3, 4, 4)), "location": np.zeros((1, 2))}, ValueError, r"\(1, 2\)"),
        ({"glimpse": np.full((3, 4, 4), 255.0), "location": np.zeros(2)}, ValueError, "255"),
        ({"glimpse": np.full((3, 4, 4), -1.0), "location": np.zeros(2)}, ValueError, "-1"),
        ({"glimpse": np.full((3, 4, 4), np.nan), "location": np.zeros(2)}, ValueError, "nan"),
        ({"glimpse": np.zeros((3, 4, 4)), "location": np.full(2, np.nan)}, ValueError, "nan"),
        ({"glimpse": np.zeros((3, 4, 4)), "location": np.array([5, 2])}, ValueError, "5"),
        ({"glimpse": np.zeros((1, 1, 3, 4, 4)), "location": np.zeros((1, 1, 2))}, ValueError, "1"),
    ],
)
def test_predict_refuses_other_observations(
    observation: Any, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        make_agent().predict(observation)


def test_predict_refuses_starts_of_another_batch() -> None:
    with pytest.raises(ValueError, match="episode_start"):
        make_agent().predict(glimpses(3), episode_start=np.array([True, False]))


def test_predict_refuses_the_state_of_another_batch() -> None:
    agent = make_agent()
    _, state = agent.predict(glimpses(3))
    with pytest.raises(ValueError, match=r"\(3, 32\).*\(1, 32\)"):
        agent.predict(row(glimpses(3), 0), state)
    with pytest.raises(ValueError, match=r"\(3, 32\)"):
        make_agent(core="lstm").predict(glimpses(3), state)


def test_predict_takes_tensors() -> None:
    agent = make_agent()
    tensors: Any = {name: torch.from_numpy(value) for name, value in glimpses(3).items()}
    (locations, _), _ = agent.predict(tensors, deterministic=True)
    (expected, _), _ = agent.predict(glimpses(3), deterministic=True)
    assert np.array_equal(locations, expected)


def test_predict_takes_floats_of_any_precision() -> None:
    agent = make_agent()
    double: Any = {name: value.astype(np.float64) for name, value in glimpses(3).items()}
    (locations, _), _ = agent.predict(double, deterministic=True)
    (expected, _), _ = agent.predict(glimpses(3), deterministic=True)
    assert np.array_equal(locations, expected)


@pytest.fixture
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("settings", [{}, {"core": "lstm", "initialization": "torch"}])
def test_weights_do_not_depend_on_the_default_dtype(
    settings: dict[str, Any], double_by_default: None
) -> None:
    agent = make_agent(**settings)
    torch.set_default_dtype(torch.float32)
    expected = make_agent(**settings)
    torch.set_default_dtype(torch.float64)
    for name, value in expected.state_dict().items():
        assert torch.equal(agent.state_dict()[name], value)
    (locations, choices), _ = agent.predict(glimpses(3), deterministic=True)
    (same, choices_too), _ = expected.predict(glimpses(3), deterministic=True)
    assert np.array_equal(locations, same)
    assert np.array_equal(choices, choices_too)


def test_training_does_not_depend_on_the_default_dtype(double_by_default: None) -> None:
    def train() -> list[Any]:
        keywords: dict[str, Any] = {"dataset": "digits", "num_glimpses": 2, "num_envs": 10}
        keywords["autoreset_mode"] = AutoresetMode.DISABLED
        envs = gym.make_vec("RAMMNIST-v0", **keywords)
        validation_envs = gym.make_vec("RAMMNIST-v0", split="validation", **keywords)
        torch.manual_seed(0)
        agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
        config = TrainConfig(episodes=20, batch_size=10)
        trainer = Trainer(agent, [envs], validation_envs, config)
        metrics = [trainer.train_one_update() for _ in range(2)]
        errors = [
            evaluate(trainer.averaged_agent, envs, num_episodes=10, gaze=gaze).error
            for gaze in get_args(Gaze)
        ]
        return [metrics, errors, agent.choice_head.weight.tolist()]

    double = train()
    torch.set_default_dtype(torch.float32)
    assert double == train()


@pytest.mark.parametrize("deterministic", [True, False])
def test_plays_one_environment(deterministic: bool) -> None:
    env = gym.make("RAMMNIST-v0", dataset="digits", num_glimpses=3)
    agent = RAMAgent(env.observation_space, env.action_space)
    agent.location_std.fill_(5.0)  # draws leave the box
    observation, _ = env.reset(seed=0)
    state, steps, terminated = None, 0, False
    while not terminated:
        action, state = agent.predict(observation, state, steps == 0, deterministic)
        assert action in env.action_space
        observation, _, terminated, _, _ = env.step(action)
        assert np.array_equal(observation["location"], action[0])
        steps += 1
    assert steps == 3


def test_plays_a_vector_environment() -> None:
    envs = gym.make_vec("RAMMNIST-v0", num_envs=4, dataset="digits", num_glimpses=3)
    agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
    agent.location_std.fill_(5.0)
    observation, _ = envs.reset(seed=0)
    action, state = agent.predict(observation, episode_start=np.ones(4, np.bool_))
    assert action in envs.action_space
    observation, _, _, _, _ = envs.step(action)
    assert np.array_equal(observation["location"], action[0])
    assert [part.shape for part in state] == [(4, 256)]


def test_scales_of_color_have_three_channels() -> None:
    agent = make_agent(pixel_scale=1.0, scale_factor=4.0, num_channels=3)
    assert isinstance(agent.glimpse_network, GlimpseNetwork)
    assert agent.glimpse_network.pixel_scales.flatten().tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"num_channels=2.*3"):
        make_agent(num_channels=2)


@pytest.mark.parametrize("settings", [{}, {"glimpse_network": "conv"}])
def test_colors_need_an_agent_that_knows_them(settings: dict[str, Any]) -> None:
    images = np.zeros((8, 20, 20, 3), np.uint8)
    dataset = ram_envs.ImageDataset(images, np.arange(8) % 2)
    envs = gym.make_vec("RAMClassification-v0", 4, dataset=dataset, autoreset_mode="Disabled")
    spaces = envs.single_observation_space, envs.single_action_space
    with pytest.raises(ValueError, match=r"num_channels=1.*num_channels=3"):
        evaluate(RAMAgent(*spaces, AgentConfig(**settings)), envs)
    in_color = RAMAgent(*spaces, AgentConfig(num_channels=3, **settings))
    assert evaluate(in_color, envs).episodes == 8
    # One scale in color has the shape of three in gray.
    gray = ram_envs.ImageDataset(images[..., 0], dataset.labels)
    envs = gym.make_vec(
        "RAMClassification-v0", 4, dataset=gray, num_scales=3, autoreset_mode="Disabled"
    )
    in_color.check_fits(gym.make("RAMClassification-v0", dataset=dataset))
    for env in (envs, gym.make("RAMClassification-v0", dataset=gray, num_scales=3)):
        with pytest.raises(ValueError, match=r"num_channels=1.*num_channels=3"):
            in_color.check_fits(env)


# --- a glimpse network of the user's own --------------------------------------------------------


class OwnNetwork(torch.nn.Module):
    """Reads the finest scale only, and drops some of it in training."""

    def __init__(self, width: int = 32, side: int = 4) -> None:
        super().__init__()
        self.side = side
        self.pixels = torch.nn.Linear(side**2 + 2, width)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, glimpses: torch.Tensor, locations: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([glimpses[:, 0].reshape(-1, self.side**2), locations], 1)
        features: torch.Tensor = self.dropout(self.pixels(inputs)).relu()
        return features


def make_own_agent(network: torch.nn.Module) -> RAMAgent:
    config = AgentConfig(hidden_size=32)
    return RAMAgent(glimpse_space(3, 4, 4), choice_space(5), config, glimpse_network=network)


def test_a_glimpse_network_of_ones_own_is_used_as_it_is() -> None:
    network = OwnNetwork()
    weights = network.pixels.weight.clone()
    agent = make_own_agent(network)
    assert agent.glimpse_network is network
    assert torch.equal(network.pixels.weight, weights)
    assert not network.training
    observation = glimpses(7)
    output, _ = agent.step(observation, agent.initial_state(7))
    features = network(*(torch.from_numpy(value) for value in observation.values()))
    (state,) = agent.core(features, agent.initial_state(7))
    torch.testing.assert_close(output.choice_logits, agent.choice_head(state))


def test_an_agent_with_a_network_of_ones_own_is_saved_and_loaded(tmp_path: Path) -> None:
    agent = make_own_agent(OwnNetwork())
    path = agent.save(tmp_path / "own")
    loaded = RAMAgent.load(path, glimpse_network=OwnNetwork())
    for observation in (glimpses(3), glimpses(1)):
        want, _ = agent.predict(observation, deterministic=True)
        got, _ = loaded.predict(observation, deterministic=True)
        assert np.array_equal(got[0], want[0])
        assert np.array_equal(got[1], want[1])
    with pytest.raises(ValueError, match=r"glimpse_network=OwnNetwork\(…\)"):
        RAMAgent.load(path)
    with pytest.raises(ValueError, match="glimpse_network"):
        RAMAgent.load(make_agent().save(tmp_path / "plain"), glimpse_network=OwnNetwork())


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (OwnNetwork(width=16), r"OwnNetwork.*pixels\.weight.*\[32, 18\].*\[16, 18\]"),
        (torch.nn.Bilinear(4, 2, 32), r"OwnNetwork.*pixels\.weight"),
    ],
)
def test_a_network_unlike_the_saved_one_is_not_called_damage(
    network: torch.nn.Module, words: str, tmp_path: Path
) -> None:
    path = make_own_agent(OwnNetwork()).save(tmp_path / "own")
    with pytest.raises(ValueError, match=words) as caught:
        RAMAgent.load(path, glimpse_network=network)
    assert not isinstance(caught.value, CheckpointError)


def test_the_weights_of_a_network_of_ones_own_may_not_be_set_before_loading(tmp_path: Path) -> None:
    path = make_own_agent(OwnNetwork()).save(tmp_path / "own")
    network = OwnNetwork()
    torch.nn.init.constant_(network.pixels.bias, torch.nan)
    loaded = RAMAgent.load(path, glimpse_network=network)
    assert loaded.glimpse_network is network
    assert network.pixels.bias.isfinite().all()


def test_damage_is_not_blamed_on_a_network_of_ones_own(tmp_path: Path) -> None:
    path = make_own_agent(OwnNetwork()).save(tmp_path / "own")
    tensors, description = load_weights(path)
    for name in ("core.state_and_input.bias", "glimpse_network.pixels.bias"):
        spoiled = {**tensors, name: torch.full_like(tensors[name], torch.nan)}
        write_tensors(path, spoiled, "ram-agent", description)
        with pytest.raises(CheckpointError, match=name):
            RAMAgent.load(path, glimpse_network=OwnNetwork())


class DoubleNetwork(OwnNetwork):
    """Computes in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels.double()

    def forward(self, glimpses: torch.Tensor, locations: torch.Tensor) -> torch.Tensor:
        return super().forward(glimpses.double(), locations.double()).float()


class TiedNetwork(OwnNetwork):
    """Has two names for its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.pixels


@pytest.mark.parametrize("kind", [DoubleNetwork, TiedNetwork])
def test_weights_of_another_type_and_tied_weights_are_saved(
    kind: type[OwnNetwork], tmp_path: Path
) -> None:
    agent = make_own_agent(kind())
    loaded = RAMAgent.load(agent.save(tmp_path / "own"), glimpse_network=kind())
    for name, want in agent.glimpse_network.state_dict().items():
        got = loaded.glimpse_network.state_dict()[name]
        torch.testing.assert_close(got, want, rtol=1e-6, atol=0)  # stored as float32


class CountingNetwork(OwnNetwork):
    """Has a counter, as batch normalization has."""

    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor(0))


def test_integers_of_a_network_of_ones_own_are_saved(tmp_path: Path) -> None:
    network = CountingNetwork()
    network.count += 7
    path = make_own_agent(network).save(tmp_path / "own")
    loaded = RAMAgent.load(path, glimpse_network=CountingNetwork())
    count = loaded.state_dict()["glimpse_network.count"]
    assert (int(count), count.dtype) == (7, torch.int64)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (OwnNetwork(width=31), r"\(2, 31\).*hidden_size"),
        (OwnNetwork(side=5), r"\(2, 3, 4, 4\).*glimpse_size"),
        (torch.nn.Linear(4, 4), r"\(2, 3, 4, 4\)"),
        (torch.nn.LSTM(4, 32), r"\(2, 3, 4, 4\)"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(network: torch.nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_own_agent(network)


class Changed(OwnNetwork):
    """Makes features to which a function is applied."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, glimpses: torch.Tensor, locations: torch.Tensor) -> torch.Tensor:
        return self.change(super().forward(glimpses, locations))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda features: features.double(), r"torch\.float64.*torch\.float32"),
        (lambda features: features.long(), r"torch\.int64.*torch\.float32"),
        (lambda features: features / 0, "NaN"),
    ],
)
def test_features_are_finite_and_float32(change: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"glimpse_network.*{words}"):
        make_own_agent(Changed(change))


@pytest.mark.parametrize("kind", [KeyError, AttributeError, IndexError, AssertionError])
def test_any_error_of_a_network_of_ones_own_is_its_cause(kind: type[Exception]) -> None:
    def fail(features: torch.Tensor) -> torch.Tensor:
        raise kind("scale")

    with pytest.raises(ValueError, match=rf"glimpse_network.*{kind.__name__}.*scale") as caught:
        make_own_agent(Changed(fail))
    assert type(caught.value.__cause__) is kind


def test_a_new_agent_rests_its_gaze_if_so_configured() -> None:
    spread = []
    for start in (1.0, 0.1, 0.0):
        torch.manual_seed(0)
        agent = make_agent(location_start=start)
        (location, _), _ = agent.predict(glimpses(50, seed=1), deterministic=True)
        spread.append(np.abs(location).mean())
    assert spread[0] > 0.3
    assert 0.02 < spread[1] < 0.1
    assert spread[2] == 0
    other = make_agent(initialization="torch", location_start=0.0)
    assert not other.location_head.weight.any()
