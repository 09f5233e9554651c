"""The one loop: what goes from environment to agent and back, and what is kept of it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from helpers import make_agent_for

import ram_envs  # noqa: F401
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig
from ram_agent.losses import gaussian_log_prob
from ram_agent.rollout import Rollout, collect_rollout, play_as_validated
from ram_envs.wrappers import vector


class RecordingEnvs(gym.vector.VectorWrapper):
    """Digits, three glimpses, and a record of all that was said and seen."""

    def __init__(self, num_envs: int = 4) -> None:
        super().__init__(
            gym.make_vec(
                "RAMMNIST-v0",
                num_envs=num_envs,
                autoreset_mode=AutoresetMode.DISABLED,
                dataset="digits",
                num_glimpses=3,
            )
        )
        self.observations: list[dict[str, np.ndarray]] = []
        self.actions: list[tuple[np.ndarray, np.ndarray]] = []

    def reset(self, **keywords: Any) -> Any:
        observation, info = super().reset(**keywords)
        self.observations.append(observation)
        return observation, info

    def step(self, actions: Any) -> Any:
        observation, *rest = super().step(actions)
        self.actions.append(actions)
        self.observations.append(observation)
        return observation, *rest


class UnlabeledEnvs(gym.vector.VectorEnv):
    """Black glimpses without labels; row i ends after lengths[i] steps and is paid 1, 2, 3 …"""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, *lengths: int) -> None:
        self.num_envs = len(lengths)
        self.lengths = np.array(lengths)
        location = spaces.Box(-1, 1, (2,), np.float32)
        self.single_observation_space = spaces.Dict(
            glimpse=spaces.Box(0, 1, (1, 2, 2), np.float32), location=location
        )
        self.single_action_space = spaces.Tuple((location, spaces.Discrete(3)))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def observe(self) -> dict[str, np.ndarray]:
        return {
            "glimpse": np.zeros((self.num_envs, 1, 2, 2), np.float32),
            "location": np.zeros((self.num_envs, 2), np.float32),
        }

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.steps = 0
        return self.observe(), {}

    def step(self, actions: Any) -> Any:
        self.steps += 1
        ended = self.steps == self.lengths
        rewards = np.full(self.num_envs, float(self.steps))
        return self.observe(), rewards, ended, np.zeros_like(ended), {}


def make_agent(envs: gym.vector.VectorEnv, **settings: Any) -> RAMAgent:
    return make_agent_for(envs, AgentConfig(hidden_size=32, feature_size=16, **settings))


def play(envs: gym.vector.VectorEnv | None = None, noise: int = 0, **keywords: Any) -> Rollout:
    envs = envs or RecordingEnvs()
    generator = torch.Generator().manual_seed(noise)
    return collect_rollout(make_agent(envs), envs, seed=3, generator=generator, **keywords)


def test_environments_that_do_not_state_how_they_reset_are_refused() -> None:
    envs = UnlabeledEnvs(2, 2)
    agent = make_agent(envs)
    envs.metadata = {}
    with pytest.raises(ValueError, match="metadata"):
        collect_rollout(agent, envs)


def test_environments_that_a_wrapper_changed_are_refused() -> None:
    envs = gym.make_vec("RAMMNIST-v0", num_envs=2, dataset="digits", autoreset_mode="Disabled")
    for wrapper in (vector.FlatBoxAction, vector.WholeCanvas):
        with pytest.raises(TypeError, match=wrapper.__name__):
            collect_rollout(make_agent(envs), wrapper(envs))


# --- what is kept ----------------------------------------------------------------------------


def test_time_comes_first() -> None:
    rollout = play()
    assert rollout.choice_logits.shape == (3, 4, 10)
    assert rollout.location_means.shape == (3, 4, 2)
    for per_step in (
        rollout.location_log_probs,
        rollout.baselines,
        rollout.choices,
        rollout.rewards,
    ):
        assert per_step.shape == (3, 4)


def test_labels_and_rewards_are_the_environments() -> None:
    rollout = play(options={"index": np.array([0, 1, 2, 3])})
    # the first digits of the training split
    digits = gym.make("RAMMNIST-v0", dataset="digits")
    labels = [digits.reset(options={"index": index})[1]["label"] for index in range(4)]
    assert rollout.labels is not None
    assert rollout.labels.tolist() == labels
    assert not rollout.rewards[:2].any()
    right = rollout.choices[2] == rollout.labels
    assert rollout.rewards[2].tolist() == right.float().tolist()


def test_rewards_of_every_step_are_kept() -> None:
    assert play(UnlabeledEnvs(3, 3)).rewards.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_observations_are_those_on_which_the_agent_acted() -> None:
    envs = RecordingEnvs()
    rollout = play(envs)
    assert len(rollout.observations) == 3
    for kept, returned in zip(rollout.observations, envs.observations[:3], strict=True):
        assert kept.keys() == {"glimpse", "location"}
        assert all(np.array_equal(kept[key], returned[key]) for key in kept)


@pytest.mark.parametrize("sampled", [False, True])
def test_episodes_are_played_as_in_the_validations(sampled: bool) -> None:
    envs = RecordingEnvs()
    agent = make_agent(envs)
    agent.info = {"training": {"validation_sampled": sampled, "gaze": {"locations": "learned"}}}
    first, second = (play_as_validated(agent, envs, seed=3) for _ in range(2))
    drawn = torch.tensor(np.stack([locations for locations, _ in envs.actions[:3]]))
    assert torch.equal(drawn, first.location_means) is not sampled
    assert torch.equal(first.choices, second.choices)
    assert torch.equal(first.location_log_probs, second.location_log_probs)
    given = play_as_validated(agent, envs, seed=3, deterministic=sampled, gaze="center")
    assert not any(locations.any() for locations, _ in envs.actions[6:])
    assert given.labels is not None
    assert first.labels is not None
    assert given.labels.tolist() == first.labels.tolist()


def test_the_graph_is_kept_unless_gradients_are_off() -> None:
    envs = RecordingEnvs()
    agent = make_agent(envs)
    rollout = collect_rollout(agent, envs, seed=3)
    rollout.choice_logits[2].sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in agent.glimpse_network.parameters())
    assert rollout.location_log_probs.requires_grad
    with torch.no_grad():
        rollout = collect_rollout(agent, envs, seed=3)
    assert not rollout.choice_logits.requires_grad
    assert not rollout.location_log_probs.requires_grad


def test_log_prob_pulls_the_mean_to_what_was_drawn() -> None:
    envs = RecordingEnvs()
    agent = make_agent(envs, location_mean="linear")
    agent.location_std.fill_(0.5)
    rollout = collect_rollout(agent, envs, seed=3)
    rollout.location_log_probs[1].sum().backward()  # type: ignore[no-untyped-call]
    # (location − mean) / 0.5², summed over the episodes
    pull = 4 * (torch.tensor(envs.actions[1][0]) - rollout.location_means[1].detach()).sum(0)
    assert agent.location_head.bias.grad is not None
    torch.testing.assert_close(agent.location_head.bias.grad, pull)


# --- the loop --------------------------------------------------------------------------------


def test_each_glimpse_is_taken_where_the_agent_said_and_seen_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    envs = RecordingEnvs()
    agent = make_agent(envs)
    agent.location_std.fill_(1.0)  # some draws leave the box
    seen, states = [], []
    step = agent.step

    def watched_step(observation: Any, state: Any) -> Any:
        output, next_state = step(observation, state)
        seen.append(observation)
        states.append((state, next_state))
        return output, next_state

    monkeypatch.setattr(agent, "step", watched_step)
    rollout = collect_rollout(agent, envs, seed=3)
    # The agent sees reset's glimpse and those of all steps but the last.
    assert len(seen) == 3
    assert all(given is shown for given, shown in zip(seen, envs.observations[:3], strict=True))
    assert not any(part.any() for part in states[0][0])
    assert all(states[t + 1][0] is states[t][1] for t in range(2))
    for t, (locations, choices) in enumerate(envs.actions):
        assert np.abs(locations).max() > 1
        assert np.array_equal(envs.observations[t + 1]["location"], locations.clip(-1, 1))
        assert choices.tolist() == rollout.choices[t].tolist()
        log_prob = gaussian_log_prob(torch.tensor(locations), rollout.location_means[t], 1.0)
        torch.testing.assert_close(rollout.location_log_probs[t], log_prob)


def test_deterministic_looks_at_the_mean() -> None:
    envs = RecordingEnvs()
    rollout = play(envs, deterministic=True)
    means = rollout.location_means.detach().numpy()
    assert all(np.array_equal(envs.actions[t][0], means[t]) for t in range(3))


def test_a_supervised_label_is_the_likeliest_and_another_choice_is_drawn() -> None:
    rollout = play(RecordingEnvs(200))
    assert torch.equal(rollout.choices, rollout.choice_logits.argmax(2))
    rollout = play(UnlabeledEnvs(*[1] * 200))
    assert rollout.labels is None
    assert rollout.choices.unique().tolist() == [0, 1, 2]  # type: ignore[no-untyped-call]
    assert play(UnlabeledEnvs(*[1] * 200), deterministic=True).choices.unique().numel() == 1  # type: ignore[no-untyped-call]


def test_random_gaze_is_uniform() -> None:
    envs = RecordingEnvs(400)
    play(envs, gaze="random")
    locations = np.concatenate([locations for locations, _ in envs.actions])
    assert -1 <= locations.min() < -0.98
    assert 0.98 < locations.max() <= 1
    # the standard error of the mean is 0.017, of the square 0.009
    assert locations.mean(0) == pytest.approx([0, 0], abs=0.07)
    assert (locations**2).mean(0) == pytest.approx([1 / 3, 1 / 3], abs=0.04)


def test_center_gaze_is_the_center() -> None:
    envs = RecordingEnvs()
    play(envs, gaze="center")
    assert all(not locations.any() for locations, _ in envs.actions)


@pytest.mark.parametrize(
    "how", [{}, {"gaze": "random"}, {"deterministic": True}], ids=["drawn", "random", "mean"]
)
def test_same_seed_and_noise_same_episodes(how: dict[str, Any]) -> None:
    records = []
    for global_seed in (1, 2):  # of no concern
        envs = RecordingEnvs()
        agent = make_agent(envs)
        torch.manual_seed(global_seed)
        generator = torch.Generator().manual_seed(5)
        collect_rollout(agent, envs, seed=3, generator=generator, **how)
        records.append(envs)
    for first, second in zip(records[0].observations, records[1].observations, strict=True):
        assert all(np.array_equal(first[key], second[key]) for key in ("glimpse", "location"))


@pytest.mark.parametrize("how", [{}, {"gaze": "random"}], ids=["drawn", "random"])
def test_other_noise_other_locations(how: dict[str, Any]) -> None:
    first, second = RecordingEnvs(), RecordingEnvs()
    play(first, noise=1, **how)
    play(second, noise=2, **how)
    assert np.array_equal(first.observations[0]["location"], second.observations[0]["location"])
    assert (first.actions[0][0] != second.actions[0][0]).all()


def test_on_step_is_called_at_reset_and_at_every_step() -> None:
    envs = RecordingEnvs()
    seen_so_far: list[int] = []
    play(envs, on_step=lambda: seen_so_far.append(len(envs.observations)))
    assert seen_so_far == [1, 2, 3, 4]


def test_an_agent_that_has_diverged() -> None:
    envs = RecordingEnvs()
    agent = make_agent(envs)
    agent.location_head.bias.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="finite"):
        collect_rollout(agent, envs, seed=3)


def test_episodes_of_unequal_length() -> None:
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        play(UnlabeledEnvs(3, 2, 2))


class LabeledEnvs(UnlabeledEnvs):
    """Three choices; the infos of `reset` are as given."""

    infos: dict[str, Any]

    def reset(self, **keywords: Any) -> Any:
        observation, _ = super().reset(**keywords)
        return observation, self.infos


def play_labeled(**infos: Any) -> Rollout:
    envs = LabeledEnvs(1, 1)
    envs.infos = infos
    return play(envs)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.int64])
def test_labels_of_any_integer_type(dtype: Any) -> None:
    labels = play_labeled(label=np.array([1, 0], dtype), _label=np.array([True, True])).labels
    assert labels is not None
    assert (labels.tolist(), labels.dtype) == ([1, 0], torch.int64)


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ({"label": np.array([0, 3])}, "from 0 to 3"),
        ({"label": np.array([-1, 0])}, "from -1 to 0"),
        ({"label": np.array([0.0, 1.0])}, "float64"),
        ({"label": np.array(["a", "b"])}, "<U1"),
        ({"label": torch.tensor([0, 3])}, "from 0 to 3"),
        ({"label": np.array([0, 1]), "_label": np.array([False, True])}, "1 of 2"),
    ],
)
def test_labels_that_are_no_choices(infos: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        play_labeled(**infos)
