"""Learning from segments: where episodes begin and end, what is remembered, and what is learned."""

from __future__ import annotations

import dataclasses
import math
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers import make_agent_for, without_seconds

import ram_agent.segment
from ram_agent.action_logs import ActionLogs
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, TrainConfig, replace_settings
from ram_agent.distributed import Ranks
from ram_agent.evaluation import evaluate
from ram_agent.losses import gaussian_log_prob
from ram_agent.objective import segment_loss
from ram_agent.player import Player, Step
from ram_agent.run_folder import RunFolder
from ram_agent.segment import Segment, collect_segment, unroll
from ram_agent.segment_shard import ResumeWarning, SegmentShard
from ram_agent.trainer import Trainer
from ram_envs.glimpse_env import GlimpseVectorEnv
from ram_envs.retina import Retina
from ram_envs.task import Outcome

MODES = list(AutoresetMode)


@dataclass
class CountdownState:
    left: np.ndarray  # (B,) steps to the end
    color: np.ndarray  # (B,) 0 or 1
    is_first: np.ndarray  # (B,) whether the episode has just begun


class Countdown:
    """The first frame shows a color; 1 to 4 steps later, when it says "now", naming it pays 1.

    Each step costs 0.1. So episodes are of unequal length, and pay is for what is remembered.
    """

    image_shape: tuple[int, ...] = (4, 4)
    choice_names: tuple[str, ...] = ("dark", "bright")
    option_names = ()
    frames_change = True

    def __init__(self, longest: int = 4) -> None:
        self.longest = longest

    def allocate(self, num_envs: int) -> CountdownState:
        zeros = np.zeros(num_envs, np.int64)
        return CountdownState(zeros, zeros.copy(), zeros.astype(bool))

    def begin(self, state: CountdownState, rows: Any, streams: Any, options: Any) -> None:
        state.left[rows] = 1 + streams.integers(self.longest)[:, 0]
        state.color[rows] = streams.integers(2)[:, 0]
        state.is_first[rows] = True

    def advance(self, state: CountdownState, rows: Any, choices: Any) -> Outcome:
        state.left[rows] -= 1
        state.is_first[rows] = False
        over = state.left[rows] == 0
        return Outcome((over & (choices == state.color[rows])) - 0.1, over)

    def images(self, state: CountdownState) -> Any:
        images = np.zeros((len(state.left), 4, 4), np.uint8)
        first = state.is_first
        images[first, :2] = np.where(state.color, 255, 90)[first, None, None]
        images[state.left == 1, 2:] = 255
        return images, np.arange(len(images))

    def infos(self, state: CountdownState) -> dict[str, Any]:
        return {}


def make_envs(
    num_envs: int = 6,
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
    limit: int | None = 3,
    longest: int = 4,
) -> GlimpseVectorEnv:
    """Make Countdown, truncated after `limit` steps."""
    return GlimpseVectorEnv(
        Countdown(longest),
        Retina(4),
        num_envs,
        initial_location=(0, 0),
        autoreset_mode=mode,
        max_episode_steps=limit,
    )


SMALL = AgentConfig(
    core="lstm", hidden_size=24, feature_size=16, baseline_shapes_state=True, pixel_scale=1.0
)
CONFIG = replace_settings(
    TrainConfig(),
    segment_length=5,
    passes=2,
    minibatches=2,
    batch_size=8,
    steps=8 * 5 * 6,
    validate_every=8 * 5 * 3,
    validation_games=8,
    gae_lambda=0.8,
    return_lambda=0.9,
    discount=0.9,
    warmup_updates=0,
    location_warmup=0.0,
)


def make_player(envs: GlimpseVectorEnv | None = None, config: AgentConfig = SMALL) -> Player:
    envs = envs or make_envs()
    player = Player(make_agent_for(envs, config), envs)
    player.begin(seed=3)
    return player


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- steps, in each autoreset mode ------------------------------------------------------------


def play_rows(mode: AutoresetMode, num_steps: int = 40) -> list[list[tuple[Any, ...]]]:
    """Play the same choices whatever the mode; of each row return the steps that count."""
    player = make_player(make_envs(mode=mode))
    rows: list[list[tuple[Any, ...]]] = [[] for _ in range(6)]
    with torch.no_grad():
        for _ in range(num_steps):
            step: Step = player.step(deterministic=True)
            truncated = np.flatnonzero(step.truncated).tolist()
            for row in np.flatnonzero(step.acts):
                final = None
                if row in truncated:
                    assert step.final_observation is not None
                    final = step.final_observation["glimpse"][truncated.index(int(row))].tolist()
                rows[row].append(
                    (
                        bool(step.begins[row]),
                        step.observation["glimpse"][row].tolist(),
                        step.output.choice_logits[row].tolist(),
                        float(step.rewards[row]),
                        bool(step.ended[row]),
                        final,
                    )
                )
    return rows


def test_every_mode_plays_the_same_episodes() -> None:
    same, disabled = play_rows(AutoresetMode.SAME_STEP), play_rows(AutoresetMode.DISABLED)
    following = play_rows(AutoresetMode.NEXT_STEP)
    assert same == disabled
    for row, steps in zip(same, following, strict=True):
        # A step in each episode only begins the next one, so it plays fewer.
        assert 20 < len(steps) < len(row) == 40
        for step, other in zip(row, steps, strict=False):
            assert step[:2] == other[:2]
            assert step[2] == pytest.approx(other[2], abs=1e-5)
            assert step[3:] == other[3:]
    lengths = {len(play) for row in same for play in episodes_of(row)}
    assert lengths == {1, 2, 3}
    assert {step[5] is None for row in same for step in row} == {True, False}


def episodes_of(steps: list[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Split the steps of a row at their ends; the last, unfinished, episode is left out."""
    episodes: list[list[tuple[Any, ...]]] = [[]]
    for step in steps:
        episodes[-1].append(step)
        if step[4]:
            episodes.append([])
    assert all(episode[0][0] for episode in episodes if episode)
    return episodes[:-1]


# --- a segment against a slow and literal reference --------------------------------------------


@torch.no_grad()
def literal_values(segment: Segment, agent: RAMAgent, row: int) -> list[float]:
    """The value of each step of a row, by `agent.step`, one after another."""
    state = tuple(part[row : row + 1] for part in segment.state)
    values = []
    for t in range(len(segment.rewards)):
        if segment.begins[t, row]:
            state = agent.initial_state(1)
        observation = {
            "glimpse": segment.glimpses[t, row][None],
            "location": segment.locations[t, row][None],
        }
        output, state = agent.step(observation, state)
        values.append(output.baseline.item())
    return values


@torch.no_grad()
def literal_advantages(
    rewards: list[float], values: list[float], bootstrap: float, discount: float, lambda_: float
) -> list[float]:
    """GAE as the paper has it: Σ_l (γλ)^l δ_{t+l} over what is left of one episode's piece."""
    following = [*values[1:], bootstrap]
    deltas = [
        reward + discount * after - value
        for reward, value, after in zip(rewards, values, following, strict=True)
    ]
    return [
        sum((discount * lambda_) ** k * delta for k, delta in enumerate(deltas[t:]))
        for t in range(len(deltas))
    ]


def note_steps(player: Player, steps: list[Step], states: list[Any]) -> None:
    """Let the player note its steps, and the recurrent states after them."""
    step = player.step

    def noting(*args: Any, **keywords: Any) -> Step:
        steps.append(step(*args, **keywords))
        states.append(player.state)
        return steps[-1]

    player.step = noting  # type: ignore[method-assign]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("core", ["lstm", "rectifier", "transformer"])
def test_advantages_are_those_of_each_piece_alone(mode: AutoresetMode, core: Any) -> None:
    player = make_player(make_envs(mode=mode), dataclasses.replace(SMALL, core=core))
    agent, seen = player.agent, {"terminated": 0, "truncated": 0, "cut": 0}
    generator = noise()
    for _ in range(4):
        steps: list[Step] = []
        states: list[Any] = []
        step = player.step

        note_steps(player, steps, states)
        segment = collect_segment(player, 7, CONFIG, generator)
        player.step = step  # type: ignore[method-assign]
        for row in range(6):
            values = literal_values(segment, agent, row)
            pieces: list[list[int]] = [[]]
            for t in range(7):
                if segment.acts[t, row]:
                    pieces[-1].append(t)
                if segment.ended[t, row]:
                    pieces.append([])
            for piece in filter(None, pieces):
                last, bootstrap, kind = steps[piece[-1]], 0.0, "terminated"
                state = tuple(part[row : row + 1] for part in states[piece[-1]])
                if last.truncated[row]:
                    kind = "truncated"
                    place = np.flatnonzero(last.truncated).tolist().index(row)
                    assert last.final_observation is not None
                    final = {key: value[[place]] for key, value in last.final_observation.items()}
                    bootstrap = agent.step(final, state)[0].baseline.item()
                elif not last.ended[row]:
                    kind = "cut"
                    now = {key: value[[row]] for key, value in player.observation.items()}
                    bootstrap = agent.step(now, state)[0].baseline.item()
                seen[kind] += 1
                rewards = segment.rewards[piece, row].tolist()
                of_piece = [values[t] for t in piece]
                for lambda_, found in (
                    (0.8, segment.advantages[piece, row]),
                    (0.9, segment.returns[piece, row] - torch.tensor(of_piece)),
                ):
                    expected = literal_advantages(rewards, of_piece, bootstrap, 0.9, lambda_)
                    assert found.tolist() == pytest.approx(expected, abs=2e-6)
    assert min(seen.values()) > 5


def test_without_a_bootstrap_at_time_limits_advantages_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = collect_segment(make_player(), 7, CONFIG, noise()).advantages
    monkeypatch.setattr(
        ram_agent.segment, "final_values", lambda agent, step, *_: torch.zeros(len(step.rewards))
    )
    wrong = collect_segment(make_player(), 7, CONFIG, noise()).advantages
    assert (right - wrong).abs().max() > 1e-3


def test_the_state_is_carried_over_and_forgotten() -> None:
    player = make_player()
    first = collect_segment(player, 4, CONFIG, noise())
    carried = player.state
    second = collect_segment(player, 4, CONFIG, noise())
    assert all(torch.equal(a, b) for a, b in zip(carried, second.state, strict=True))
    assert not first.state[0].any()
    assert first.begins[0].all()
    assert not second.begins[0].all()

    def outputs(segment: Segment, state: Any) -> torch.Tensor:
        with torch.no_grad():
            return unroll(player.agent, dataclasses.replace(segment, state=state)).choice_logits

    before = outputs(second, second.state)
    other = outputs(second, tuple(part + 1 for part in second.state))
    remembers = torch.ones(6, dtype=torch.bool)
    for t in range(4):
        remembers &= ~second.begins[t]
        changed = (before[t] != other[t]).any(1)
        assert torch.equal(changed, remembers)
    assert not remembers.all()


def literal_loss(agent: RAMAgent, segment: Segment, config: TrainConfig) -> torch.Tensor:
    """The policy gradient's loss, step by step and row by row, with the state kept by hand."""
    choice_loss, location_loss, entropy, baseline_loss = [], [], [], []
    scale = segment.advantages.square().mean().sqrt() + 1e-8
    for row in range(segment.rewards.shape[1]):
        state = tuple(part[row : row + 1] for part in segment.state)
        for t in range(len(segment.rewards)):
            if segment.begins[t, row]:
                state = agent.initial_state(1)
            observation = {
                "glimpse": segment.glimpses[t, row][None],
                "location": segment.locations[t, row][None],
            }
            output, state = agent.step(observation, state)
            if not segment.acts[t, row]:
                continue
            advantage = (segment.advantages[t, row] / scale).clamp(-4, 4)
            log_probs = output.choice_logits[0].log_softmax(0)
            choice_loss.append(-log_probs[segment.choices[t, row]] * advantage)
            entropy.append(-(log_probs.exp() * log_probs).sum())
            baseline_loss.append((output.baseline[0] - segment.returns[t, row]) ** 2)
            if not segment.ended[t, row]:
                log_prob = gaussian_log_prob(
                    segment.looks[t, row], output.location_mean[0], agent.location_std
                )
                location_loss.append(-log_prob * advantage)

    def mean(losses: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(losses).mean()

    return (
        mean(choice_loss)
        + config.gaze.location_weight * mean(location_loss)
        + mean(baseline_loss)
        - 0.05 * mean(entropy)
    )


@pytest.mark.parametrize("core", ["lstm", "rectifier", "transformer"])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_the_first_gradient_is_that_of_the_policy(mode: AutoresetMode, core: Any) -> None:
    """Ratios are 1 before the first step, where PPO's gradient is REINFORCE's."""
    player = make_player(make_envs(mode=mode), dataclasses.replace(SMALL, core=core))
    config = replace_settings(CONFIG, entropy_weight=0.05)
    collect_segment(player, 4, config, noise())
    segment = collect_segment(player, 6, config, noise())
    agent = player.agent
    square = float(segment.advantages.square().mean())
    loss, metrics = segment_loss(agent, segment, config, 0.0, square)
    assert metrics["choices_clipped"] == metrics["locations_clipped"] == 0
    found = torch.autograd.grad(loss, list(agent.parameters()))
    expected = torch.autograd.grad(literal_loss(agent, segment, config), list(agent.parameters()))
    for gradient, like in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, like, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("ratio", "advantage", "loss"), [(2.0, 1.0, -1.3), (0.5, -1.0, 0.7)])
def test_choices_and_locations_that_have_moved_too_far_are_clipped(
    ratio: float, advantage: float, loss: float
) -> None:
    player = make_player()
    segment = collect_segment(player, 4, CONFIG, noise())
    segment = dataclasses.replace(
        segment,
        choice_log_probs=segment.choice_log_probs - math.log(ratio),
        look_log_probs=segment.look_log_probs - math.log(ratio),
        advantages=torch.full_like(segment.advantages, advantage),
    )
    config = replace_settings(CONFIG, clip_range=0.3, entropy_weight=0.0)
    _, metrics = segment_loss(player.agent, segment, config, 0.0, 1.0)
    for name in ("choice", "location"):
        assert metrics[f"{name}_loss"].item() == pytest.approx(loss)
        assert metrics[f"{name}s_clipped"].item() == 1
        heads = [*player.agent.choice_head.parameters(), *player.agent.location_head.parameters()]
        gradients = torch.autograd.grad(
            metrics[f"{name}_loss"], heads, retain_graph=True, allow_unused=True
        )
        assert not any(gradient.any() for gradient in gradients if gradient is not None)


def test_steps_that_only_begin_an_episode_teach_nothing() -> None:
    player = make_player(make_envs(mode=AutoresetMode.NEXT_STEP))
    segment = collect_segment(player, 9, CONFIG, noise())
    assert not segment.acts.all()
    assert not segment.rewards[~segment.acts].any()
    garbage = torch.where(segment.acts, segment.advantages, torch.full((9, 6), 99.0))
    spoiled = dataclasses.replace(
        segment,
        advantages=garbage,
        returns=torch.where(segment.acts, segment.returns, torch.full((9, 6), 99.0)),
        choices=torch.where(segment.acts, segment.choices, 1 - segment.choices),
    )
    first, second = (
        segment_loss(player.agent, part, CONFIG, 0.5, 1.0)[0] for part in (segment, spoiled)
    )
    assert first.item() == pytest.approx(second.item(), abs=1e-6)


def test_minibatches_are_of_whole_environments() -> None:
    segment = collect_segment(make_player(), 5, CONFIG, noise())
    part = segment.rows(torch.tensor([4, 1]))
    assert torch.equal(part.choices, segment.choices[:, [4, 1]])
    assert torch.equal(part.glimpses, segment.glimpses[:, [4, 1]])
    assert torch.equal(part.state[1], segment.state[1][[4, 1]])


# --- training ----------------------------------------------------------------------------------


def make_trainer(
    config: TrainConfig = CONFIG,
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
    folder: RunFolder | None = None,
    shards: int = 1,
    longest: int = 4,
) -> Trainer:
    """Make a new agent and its trainer of 6 updates; the folder is made unless it is there."""
    train_envs = [
        make_envs(config.batch_size // shards, mode, limit=8, longest=longest)
        for _ in range(shards)
    ]
    agent = make_agent_for(train_envs[0], SMALL)
    if folder is not None and not folder.path.exists():
        folder.create({"training": dataclasses.asdict(config)})
    validation_envs = make_envs(4, AutoresetMode.DISABLED, limit=8, longest=longest)
    return Trainer(agent, train_envs, validation_envs, config, folder)


def test_each_pass_has_minibatches_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int]] = []
    rows = Segment.rows

    def noting(self: Segment, index: torch.Tensor) -> Segment:
        taken.append(index.tolist())
        return rows(self, index)

    monkeypatch.setattr(Segment, "rows", noting)
    make_trainer(replace_settings(CONFIG, passes=2, minibatches=2)).train_one_update()
    first, second = taken[0] + taken[1], taken[2] + taken[3]
    assert len(taken) == 4
    assert sorted(first) == sorted(second) == [*range(8)]
    assert first != second


def test_same_step_and_disabled_learn_the_same() -> None:
    states = []
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
        trainer = make_trainer(mode=mode)
        trainer.train()
        states.append(trainer.state_dict())
        states[-1].counters.pop("seconds")
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop_after", [1, 3, 5])  # restarts come after 3 and 6
def test_stopped_and_resumed_is_as_if_not_stopped(
    tmp_path: Path, mode: AutoresetMode, stop_after: int
) -> None:
    whole = make_trainer(mode=mode, folder=RunFolder(tmp_path / "whole"), shards=2, longest=12)
    assert whole.train()
    folder = RunFolder(tmp_path / "stopped")
    stopped = make_trainer(mode=mode, folder=folder, shards=2, longest=12)
    train_one_update = stopped.train_one_update

    def update_and_interrupt() -> dict[str, float]:
        metrics = train_one_update()
        if stopped.update == stop_after:
            signal.raise_signal(signal.SIGTERM)
        return metrics

    stopped.train_one_update = update_and_interrupt  # type: ignore[method-assign]
    assert not stopped.train()
    saved = folder.load_state()
    has_actions = "environments.1.locations" in saved.tensors
    assert has_actions == (stop_after != 3)
    resumed = make_trainer(mode=mode, folder=folder, shards=2, longest=12)
    resumed.resume()
    # What was loaded can be saved before anything is played.
    torch.testing.assert_close(resumed.state_dict().tensors, saved.tensors, rtol=0, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resumed.train()
    states = [trainer.state_dict() for trainer in (resumed, whole)]
    for state in states:
        state.counters.pop("seconds")
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert without_seconds(folder) == without_seconds(RunFolder(tmp_path / "whole"))
    assert [row["steps"] for row in folder.read_metrics()] == [120, 240]


@pytest.mark.parametrize("locations", ["learned", "random"])
def test_gone_on_with_after_a_stop_is_as_if_not_stopped(locations: Any) -> None:
    config = replace_settings(CONFIG, locations=locations)
    trainer, whole = (make_trainer(config, longest=12) for _ in range(2))
    whole.train()
    assert not trainer.train(on_update=lambda metrics: trainer.stop())
    assert trainer.update == 1
    trainer.load_state_dict(trainer.state_dict())
    trainer.train()
    states = [one.state_dict() for one in (trainer, whole)]
    for state in states:
        state.counters.pop("seconds")
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_a_control_never_learns_where_to_look() -> None:
    """Its locations are so improbable under a narrow policy that a ratio would overflow."""
    config = replace_settings(CONFIG, locations="random", location_std=0.01, location_std_end=0.01)
    trainer = make_trainer(config)
    agent = trainer.agent
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    assert math.isfinite(trainer.train_one_update()["loss"])
    changed = {name for name in before if not torch.equal(before[name], agent.state_dict()[name])}
    assert {"choice_head.weight", "baseline_head.weight"} <= changed
    assert not {"location_head.weight", "location_head.bias"} & changed
    (shard,) = trainer.shards
    assert isinstance(shard, SegmentShard)
    locations = shard.action_log["locations"]
    assert locations.std().item() == pytest.approx(3**-0.5, abs=0.15)  # uniform in [−1, 1]


def test_environments_that_are_no_function_of_their_seed() -> None:
    trainer = make_trainer(longest=12)
    trainer.train_one_update()
    state = trainer.state_dict()
    other = make_trainer(longest=12)
    task: Any = other.shards[0].envs.batch.task  # type: ignore[attr-defined]
    task.longest = 2  # another world
    other.load_state_dict(state)
    with pytest.warns(ResumeWarning, match="7 of 8"):
        other.train_one_update()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: tensors.pop("environments.0.choices"),
        lambda tensors: tensors.update({"environments.1.choices": torch.zeros(1)}),
        lambda tensors: tensors.update({"environments.0.locations": torch.zeros(4, 8, 2)}),
        lambda tensors: tensors["environments.0.locations"].fill_(math.nan),
    ],
)
def test_action_logs_that_do_not_fit(spoil: Any) -> None:
    trainer = make_trainer()
    trainer.train_one_update()
    state = trainer.state_dict()
    spoil(state.tensors)
    with pytest.raises(ValueError, match="environments"):
        make_trainer().load_state_dict(state)


def test_ranks_share_their_action_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rank saves where the environments of all ranks are."""
    both = make_trainer(shards=2)
    both.train_one_update()
    first, second = (shard for shard in both.shards if isinstance(shard, SegmentShard))
    monkeypatch.setattr(Ranks, "gather", lambda self, own: [*own, (1, second.action_log)])
    states = ActionLogs([first], Ranks(0, 2))
    states.gather()
    own, others = states.split(both.state_dict().tensors)
    assert own.keys() == states.tensors().keys()
    assert all(torch.equal(own[key], tensor) for key, tensor in states.tensors().items())
    assert not any(key.startswith("environments") for key in others)


def test_metrics_of_segments() -> None:
    rows: list[dict[str, float]] = []
    make_trainer().train(rows.append)
    assert [row["steps"] for row in rows] == [120, 240]
    for row in rows:
        assert -0.4 <= row["train_return"] <= 0.9
        assert 0 < row["entropy"] <= math.log(2) + 1e-6
        assert 20 < row["finished_episodes"] < 100  # of 120 steps
    # No episode ends in the first segments of a long game.
    long = make_trainer(replace_settings(CONFIG, segment_length=1, validate_every=8, steps=16))
    rows = []
    long.shards[0].envs.max_episode_steps = None  # type: ignore[attr-defined]
    long.shards[0].envs.batch.task.longest = 10**6  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match=r"\b1 steps\b"):
        long.train(rows.append)
    assert [row["steps"] for row in rows] == [8, 16]
    assert all("train_return" not in row for row in rows)


def test_more_minibatches_than_environments() -> None:
    make_trainer(replace_settings(CONFIG, minibatches=3)).train_one_update()  # 3, 3 and 2
    with pytest.raises(ValueError, match="minibatches=9"):
        make_trainer(replace_settings(CONFIG, minibatches=9))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_learns_to_remember_across_segments(mode: AutoresetMode) -> None:
    config = replace_settings(
        CONFIG,
        segment_length=3,
        batch_size=64,
        passes=2,
        steps=64 * 3 * 150,
        validate_every=64 * 3 * 150,
        validation_games=400,
        learning_rate=1e-2,
        discount=1.0,
        return_lambda=0.95,
        gae_lambda=0.95,
        entropy_weight=0.01,
    )
    trainer = make_trainer(config, mode)
    while not trainer.is_over:
        trainer.train_one_update()
    result = evaluate(trainer.averaged_agent, trainer.validation_envs, num_episodes=400)
    # 2.5 steps at 0.1, and 1 at the end; by chance a half.
    assert result.mean_return > 0.7


# --- evaluation --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_evaluation_of_unequal_episodes(mode: AutoresetMode) -> None:
    """Episode i is that of seed i, whatever the mode and the number of environments."""
    agent = make_agent_for(make_envs(), SMALL)
    result = evaluate(agent, make_envs(5, mode, limit=None), num_episodes=23)
    alone = [
        evaluate(agent, make_envs(1, AutoresetMode.DISABLED, None), num_episodes=1, seed=seed)
        for seed in range(23)
    ]
    returns = np.array([one.mean_return for one in alone])
    assert len({round(value, 3) for value in returns}) > 4
    assert result.mean_return == pytest.approx(returns.mean(), abs=1e-6)
    assert result.standard_error == pytest.approx(returns.std() / 23**0.5, abs=1e-6)


def test_an_episode_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_agent.rollout.MAX_STEPS", 50)
    envs = make_envs(2, limit=None, longest=10**6)
    with pytest.raises(ValueError, match="max_episode_steps"):
        evaluate(make_agent_for(envs, SMALL), envs, num_episodes=2)
