"""Evaluation: each image once, and the percentages that agents of known skill deserve."""

from __future__ import annotations

import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import ram_envs
from ram_agent.agent import AgentOutput, RAMAgent
from ram_agent.config import AgentConfig
from ram_agent.cores import State
from ram_agent.evaluation import EarlyAnswers, Evaluation, answer_early, evaluate

# 12 images, each of one brightness that tells its class; 5 are of class 0.
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0])
DATASET = ram_envs.ImageDataset(
    np.broadcast_to((LABELS * 80 + 40).astype(np.uint8)[:, None, None], (12, 8, 8)).copy(), LABELS
)


class RecordingEnvs(gym.vector.VectorWrapper):
    """The 12 images, and a record of what was asked of them."""

    def __init__(self, num_envs: int, num_glimpses: int = 3) -> None:
        super().__init__(
            gym.make_vec(
                "RAMClassification-v0",
                num_envs=num_envs,
                autoreset_mode=AutoresetMode.DISABLED,
                dataset=DATASET,
                glimpse_size=4,
                num_glimpses=num_glimpses,
            )
        )
        self.indices: list[list[int]] = []
        self.locations: list[np.ndarray] = []

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        self.indices.append(options["index"].tolist())
        self.locations.append(observation["location"])
        return observation, info

    def step(self, actions: Any) -> Any:
        self.locations.append(actions[0])
        return super().step(actions)


class ScriptedAgent(RAMAgent):
    """Reads the class off the brightness, from its `awake`-th glimpse on; says 0 before."""

    def __init__(self, awake: int) -> None:
        envs = RecordingEnvs(1)
        torch.manual_seed(0)
        config = AgentConfig(hidden_size=8, feature_size=8)
        super().__init__(envs.single_observation_space, envs.single_action_space, config)
        self.awake = awake

    def step(self, observation: Any, state: State) -> tuple[AgentOutput, State]:
        output, _ = super().step(observation, state)
        num_glimpses = state[0] + 1
        brightness = torch.from_numpy(observation["glimpse"]).amax((1, 2, 3)) * 255
        said = ((brightness - 40) / 80).round().long() * (num_glimpses[:, 0] >= self.awake)
        return output._replace(choice_logits=torch.eye(3)[said]), (num_glimpses,)


def test_an_agent_that_knows_makes_no_error() -> None:
    result = evaluate(ScriptedAgent(awake=1), RecordingEnvs(4))
    assert result == Evaluation(12, mean_return=1.0, return_spread=0.0, errors=(0.0, 0.0, 0.0))
    assert (result.error, result.standard_error) == (0.0, 0.0)


def test_an_agent_that_always_says_0_is_wrong_where_it_is_not_0() -> None:
    result = evaluate(ScriptedAgent(awake=99), RecordingEnvs(4))
    assert result.errors == pytest.approx([58.333333] * 3)
    assert result.mean_return == pytest.approx(5 / 12)


def test_errors_are_of_each_glimpse_and_the_last_decides() -> None:
    result = evaluate(ScriptedAgent(awake=4), RecordingEnvs(6, num_glimpses=5))
    assert result.errors == pytest.approx([58.333333] * 3 + [0, 0])
    assert result.error == 0.0
    assert result.mean_return == 1.0


@pytest.mark.parametrize(
    ("num_envs", "num_episodes", "indices"),
    [
        (4, None, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        # The last rows are filled up, and not counted.
        (5, None, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 0, 1, 2]]),
        (5, 7, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]),
        (14, None, [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1]]),
    ],
)
def test_each_image_counts_once(
    num_envs: int, num_episodes: int | None, indices: list[list[int]]
) -> None:
    envs = RecordingEnvs(num_envs)
    result = evaluate(ScriptedAgent(awake=99), envs, num_episodes=num_episodes)
    assert envs.indices == indices
    # 7 of the 12 images are not of class 0; 4 of the first 7
    episodes, wrong = (12, 7) if num_episodes is None else (7, 4)
    assert result.episodes == episodes
    assert result.error == pytest.approx(100 * wrong / episodes)
    assert result.mean_return == pytest.approx(1 - wrong / episodes)


def test_who_is_sure_answers_early() -> None:
    confidences = torch.tensor([[0.5, 0.9, 0.2, 0.4], [0.8, 0.1, 0.3, 0.4], [0.6, 0.3, 0.4, 0.4]])
    wrong = torch.tensor([[True, False, True, True], [False, True, True, False], [True] * 4])
    # glimpses 2, 1, 3 and 3, since the last two are never so sure; wrong are the last two
    assert answer_early(confidences, wrong, 0.8) == EarlyAnswers(0.8, 50.0, 2.25)
    assert answer_early(confidences, wrong, 0.0) == EarlyAnswers(0.0, 75.0, 1.0)
    assert answer_early(confidences, wrong, 1.0) == EarlyAnswers(1.0, 100.0, 3.0)


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"num_episodes": 13}, "13"),  # of 12 images
        ({"num_episodes": 0}, "0"),
        ({"num_episodes": -2}, "-2"),
        ({"num_episodes": 1.5}, "1.5"),
        ({"num_episodes": True}, "True"),
        ({"gaze": "centre"}, "'learned', 'random', 'center', None"),
        ({"stop_when_sure": (0.5, 1.5)}, "1.5"),
        ({"stop_when_sure": (math.nan,)}, "nan"),
    ],
)
def test_wrong_arguments(keywords: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        evaluate(ScriptedAgent(awake=1), RecordingEnvs(4), **keywords)


def test_environments_that_cannot_be_evaluated() -> None:
    env: Any = gym.make("RAMCatch-v0")
    agent = RAMAgent(env.observation_space, env.action_space)
    with pytest.raises(TypeError, match="make_vec"):
        evaluate(agent, env)
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        envs: Any = gym.make_vec("RAMMNIST-v0", num_envs=2, dataset="digits", autoreset_mode=mode)
        agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
        with pytest.raises(ValueError, match=mode.value):
            evaluate(agent, envs, num_episodes=2)


def test_early_answers_of_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its likeliest label has the probability e / (e + 2) = 0.576 from the first glimpse on.
    result = evaluate(ScriptedAgent(awake=2), RecordingEnvs(5), stop_when_sure=(0.57, 0.58))
    never_awake, awake = result.early_answers
    assert never_awake == EarlyAnswers(0.57, pytest.approx(58.333333), 1.0)  # type: ignore[arg-type]
    assert awake == EarlyAnswers(0.58, 0.0, 3.0)
    games: Any = gym.make_vec("RAMCatch-v0", num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    agent = RAMAgent(games.single_observation_space, games.single_action_space)
    monkeypatch.setattr(games, "step", None)  # nothing is played first, which may take long
    with pytest.raises(ValueError, match="labels"):
        evaluate(agent, games, num_episodes=2, stop_when_sure=(0.5,))


def test_mean_locations_unless_told_to_draw() -> None:
    agent = ScriptedAgent(awake=1)
    mean, again, drawn = RecordingEnvs(12), RecordingEnvs(12), RecordingEnvs(12)
    evaluate(agent, mean)
    agent.location_std.fill_(0.3)  # no part of the mean
    evaluate(agent, again)
    evaluate(agent, drawn, deterministic=False)
    assert np.array_equal(mean.locations, again.locations)
    assert np.array_equal(mean.locations[0], drawn.locations[0])  # the first is the environment's
    assert 0.1 < (mean.locations[1] - drawn.locations[1]).std() < 0.5


def test_an_agent_is_evaluated_as_in_its_training() -> None:
    agent = ScriptedAgent(awake=1)
    agent.location_std.fill_(0.3)

    def locations(**how: Any) -> Any:
        envs = RecordingEnvs(12)
        evaluate(agent, envs, **how)
        return np.array(envs.locations).tolist()

    mean, sampled = (locations(deterministic=is_mean) for is_mean in (True, False))
    agent.info = {"training": {"validation_sampled": True}}
    assert locations() == sampled != mean == locations(deterministic=True)
    agent.info = {"training": {"gaze": {"locations": "center"}}}
    assert locations()[1:] == [[[0, 0]] * 12] * 3
    assert locations(gaze="learned") == mean


@pytest.mark.parametrize("gaze", ["learned", "random", "center"])
def test_same_seed_same_episodes(gaze: Any) -> None:
    runs = []  # type: ignore[var-annotated]
    for seed in (7, 7, 8):
        envs = RecordingEnvs(5)
        torch.manual_seed(len(runs))  # of no concern
        agent = ScriptedAgent(awake=1)
        evaluate(agent, envs, deterministic=False, gaze=gaze, seed=seed)
        runs.append(np.array(envs.locations))
    assert np.array_equal(runs[0], runs[1])
    assert (runs[0][0] != runs[2][0]).all()  # first locations
    if gaze != "center":
        assert (runs[0][1] != runs[2][1]).all()  # noise


@pytest.mark.parametrize("seed", [-1, 2**63, 10**100, 1.5, "3", True])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(seed))):
        evaluate(ScriptedAgent(awake=1), RecordingEnvs(5), seed=seed)


def test_first_locations_are_not_those_of_the_batch_before() -> None:
    envs = RecordingEnvs(4)
    evaluate(ScriptedAgent(awake=1), envs)
    firsts = np.concatenate(envs.locations[::4])  # a reset and three steps to a batch
    assert len(np.unique(firsts, axis=0)) == 12


def test_gradients_are_off() -> None:
    agent = ScriptedAgent(awake=1)
    grad_was_on = []
    act = agent.act
    agent.act = lambda *args: grad_was_on.append(torch.is_grad_enabled()) or act(*args)  # type: ignore[method-assign, func-returns-value]
    evaluate(agent, RecordingEnvs(12))
    assert grad_was_on == [False] * 3
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("evaluation", "measure", "value", "standard_error", "score"),
    [
        (Evaluation(400, 0.8, return_spread=0.4, errors=(60.0, 20.0)), "error", 20, 2, -20),
        (Evaluation(100, mean_return=0.5, return_spread=0.5, errors=()), "return", 0.5, 0.05, 0.5),
        (Evaluation(900, mean_return=1.5, return_spread=0.6, errors=()), "return", 1.5, 0.02, 1.5),
        (Evaluation(10_000, mean_return=1.0, return_spread=0.0, errors=(0.0,)), "error", 0, 0, 0),
    ],
)
def test_measure_value_standard_error_and_score(
    evaluation: Evaluation, measure: str, value: float, standard_error: float, score: float
) -> None:
    assert evaluation.measure == measure
    assert evaluation.value == pytest.approx(value)
    assert evaluation.standard_error == pytest.approx(standard_error)
    assert evaluation.score == pytest.approx(score)


def test_a_game_has_no_error() -> None:
    evaluation = Evaluation(900, mean_return=2.4, return_spread=0.6, errors=())  # three balls
    with pytest.raises(ValueError, match=r"2\.4"):
        _ = evaluation.error


def test_separate_environments_of_images_are_warned_of() -> None:
    def make_one() -> Any:
        return gym.make("RAMMNIST-v0", dataset="digits", split="test", num_glimpses=1)

    envs = gym.vector.SyncVectorEnv([make_one] * 2, autoreset_mode=AutoresetMode.DISABLED)
    agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
    with pytest.warns(UserWarning, match=r"gym\.make_vec") as warned:
        evaluate(agent, envs, num_episodes=2)
    assert warned[0].filename == __file__
