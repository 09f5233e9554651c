"""What is drawn is distributed as the rules say, and learning climbs the expected return.

Seeds are fixed, so a check passes or fails for good. With another seed a program that is right
fails a check with a chance below RARE = 10⁻⁹, and there are fewer than 500 checks: fewer than one
in a million seeds fails any. The bounds hold for every number of draws, not only for many:

    counts      P(n KL(observed ‖ expected) ≥ t) ≤ e^−t (e t / d)^d for t > d, where d is the number
                of cells less one (Agrawal 2020, 1904.02291)
    fractions   P(largest distance of the two distribution functions ≥ ε) ≤ 2 e^(−2 n ε²)
                (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant of 1990);
                P(none of n falls in a part p of the range) = (1 − p)^n

The gradients need no such bounds: all that can happen is enumerated, or integrated exactly.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

from ram_agent.agent import Action, AgentOutput, RAMAgent
from ram_agent.config import AgentConfig, TrainConfig, replace_settings
from ram_agent.losses import choice_log_probs, gaussian_log_prob
from ram_agent.rollout import collect_rollout
from ram_agent.trainer import Trainer
from ram_envs import ImageDataset
from ram_envs.envs.moving import MovingEnv
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.catch import Catch
from ram_envs.wrappers import vector

RARE = 1e-9
Fractions = npt.NDArray[np.float64]

# White rectangles that can lie at 6 × 7 places of the canvas.
WHITE = ImageDataset(np.full((3, 4, 2), 255, np.uint8), np.arange(3))
SMALL: dict[str, Any] = {"dataset": WHITE, "canvas_size": (9, 8), "glimpse_size": 2}


def check_counts(drawn: npt.NDArray[np.integer], chances: npt.ArrayLike) -> None:
    """Fail if the p-value of the integers `drawn` under these chances is below RARE."""
    chances = np.asarray(chances, np.float64)
    assert chances.sum() == pytest.approx(1)
    counts = np.bincount(drawn, minlength=len(chances))
    assert len(counts) == len(chances), f"{drawn.max()} is drawn, and must not be"
    seen, degrees = counts > 0, np.count_nonzero(chances) - 1
    assert (chances[seen] > 0).all(), "something is drawn that must not be"
    distance = float((counts[seen] * np.log(counts[seen] / (len(drawn) * chances[seen]))).sum())
    if distance > degrees:
        log_chance = degrees - distance + degrees * math.log(distance / degrees)
        assert log_chance > math.log(RARE), f"{counts}: n KL = {distance:.0f} of {degrees}"


def check_even(drawn: npt.NDArray[np.integer], num_values: int) -> None:
    """The same for integers that are uniform in 0 … num_values − 1."""
    check_counts(drawn, np.full(num_values, 1 / num_values))


def check_uniform(fractions: Fractions) -> None:
    """Fail if the p-value of the numbers as uniform in [0, 1] is below RARE."""
    ordered = np.sort(fractions.astype(np.float64))
    count = len(ordered)
    assert ordered[0] >= 0
    assert ordered[-1] <= 1
    ranks = np.arange(count + 1) / count
    distance = max((ranks[1:] - ordered).max(), (ordered - ranks[:-1]).max())
    assert 2 * math.exp(-2 * count * distance**2) > RARE, f"{distance:.3f} off, of {count} draws"
    empty = 1 - RARE ** (1 / count)  # no draw at all falls there with a chance of RARE
    assert ordered[0] <= empty, f"nothing below {ordered[0]:.4f}, of {count} draws"
    assert ordered[-1] >= 1 - empty, f"nothing above {ordered[-1]:.4f}, of {count} draws"


def check_independent(*fractions: Fractions, parts: int = 5) -> None:
    """Fail unless every two of several uniform fractions are independent."""
    cells = [np.minimum((values * parts).astype(int), parts - 1) for values in fractions]
    for first, second in itertools.combinations(cells, 2):
        check_even(first * parts + second, parts**2)


def begin_episodes(env_id: str, count: int, **keywords: Any) -> dict[str, Any]:
    """The first location, the index and the canvas of `count` episodes of a few hundred seeds."""
    options = keywords.pop("options", {})
    envs: Any = gym.make_vec(env_id, num_envs=500, **keywords)
    envs.reset(seed=1)
    begun: dict[str, list[Any]] = {"location": [], "index": [], "canvas": []}
    for _ in range(count // 500):
        observations, infos = envs.reset(options=dict(options))
        begun["location"].append(observations["location"])
        begun["index"].append(infos.get("index", np.zeros(500, int)))
        begun["canvas"].append(envs.unwrapped.canvases)
    return {name: np.concatenate(values) for name, values in begun.items()}


def top_left(canvases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column where what is not black begins, (B,) each."""
    lit = canvases.reshape(*canvases.shape[:3], -1).any(axis=3)
    return lit.any(axis=2).argmax(axis=1), lit.any(axis=1).argmax(axis=1)  # type: ignore[call-overload]


# --- the checks themselves -------------------------------------------------------------------


def test_the_checks_find_what_is_slightly_wrong() -> None:
    rng = np.random.default_rng(0)
    for wrong in (
        rng.integers(0, 19, 10_000),
        np.r_[rng.integers(0, 20, 9_000), np.zeros(600, int)],
    ):
        with pytest.raises(AssertionError, match="n KL"):
            check_even(wrong, 20)
    with pytest.raises(AssertionError, match="20 is drawn"):
        check_even(np.array([3, 20]), 20)
    for low, high, found in (
        (0, 0.95, "off, of 10000"),
        (0.04, 1, "off, of 10000"),
        (0.005, 1, "nothing below"),
        (0, 0.995, "nothing above"),
    ):
        with pytest.raises(AssertionError, match=found):
            check_uniform(rng.uniform(low, high, 10_000))
    same = rng.random(10_000)
    with pytest.raises(AssertionError, match="n KL"):
        check_independent(same, (same + 0.3 * rng.random(10_000)) % 1)


# --- canvases --------------------------------------------------------------------------------


def test_images_are_shown_equally_often() -> None:
    dataset = ImageDataset(np.zeros((40, 4, 4), np.uint8), np.arange(40) % 10)
    begun = begin_episodes("RAMMNIST-v0", 10_000, dataset=dataset, glimpse_size=2)
    check_even(begun["index"], 40)


def test_the_digit_lies_everywhere_equally_often_in_training() -> None:
    begun = begin_episodes("RAMTranslatedMNIST-v0", 10_000, num_scales=1, **SMALL)
    canvases = begun["canvas"]
    assert (np.count_nonzero(canvases, axis=(1, 2)) == 8).all()  # wholly inside
    rows, columns = top_left(canvases)
    check_even(rows * 7 + columns, 6 * 7)
    check_counts(begun["index"] * 6 + rows, np.full(18, 1 / 18))  # whichever digit it is


def test_the_digit_lies_everywhere_equally_often_in_the_test() -> None:
    dataset = ImageDataset(np.full((8_000, 4, 2), 255, np.uint8), np.arange(8_000) % 10)
    keywords = SMALL | {"dataset": dataset, "split": "test", "num_scales": 1}
    envs: Any = gym.make_vec("RAMTranslatedMNIST-v0", num_envs=8_000, **keywords)
    envs.reset(options={"index": np.arange(8_000)})
    rows, columns = top_left(envs.unwrapped.canvases)
    check_even(rows * 7 + columns, 6 * 7)


def test_clutter_is_cut_from_every_image_at_every_offset_and_lies_everywhere() -> None:
    # In color, so that a pixel says where it is from: its row + 1, its column + 1 and its image.
    # The image on the canvas, image 0, is black: what is seen is the piece.
    images = np.zeros((5, 7, 6, 3), np.uint8)
    images[1:, ..., 0] = np.arange(1, 8)[:, None]
    images[1:, ..., 1] = np.arange(1, 7)
    images[1:, ..., 2] = np.arange(1, 5)[:, None, None]
    begun = begin_episodes(
        "RAMClutteredMNIST-v0",
        12_000,
        dataset=ImageDataset(images, np.arange(5)),
        canvas_size=(9, 8),
        num_clutter=1,
        clutter_size=3,
        glimpse_size=2,
        num_scales=1,
        options={"index": 0},
    )
    canvases = begun["canvas"]
    rows, columns = top_left(canvases)
    first = canvases[np.arange(len(canvases)), rows, columns]
    check_even(first[:, 2], 5)  # black is one of them

    lit = first[:, 2] > 0
    canvases, rows, columns = canvases[lit], rows[lit], columns[lit]
    top, left, image = (first[lit].T - np.array([[1], [1], [0]])).astype(int)
    expected = np.zeros_like(canvases)
    for y, x in itertools.product(range(3), range(3)):
        places = np.arange(len(rows)), rows + y, columns + x
        expected[places] = images[image, top + y, left + x]
    assert np.array_equal(canvases, expected)  # whole, inside, and nothing else

    check_even(top * 4 + left, 5 * 4)
    check_even(rows * 6 + columns, 7 * 6)
    for offset, number in ((top, 5), (left, 4)):
        check_even((image - 1) * number + offset, 4 * number)
        for place, room in ((rows, 7), (columns, 6)):
            check_even(offset * room + place, number * room)
    for place, room in ((rows, 7), (columns, 6)):
        check_even((image - 1) * room + place, 4 * room)


def test_every_canvas_comes_as_often_as_counting_says() -> None:
    # Digit and two pieces of one pixel each, on four pixels: all there is can be listed.
    values, places = (0, 90, 200), range(4)
    one_thing = list(itertools.product(values, places))
    chances: Counter[tuple[int, ...]] = Counter()
    for things in itertools.product(one_thing, repeat=3):
        canvas = [0] * 4
        for value, place in things:
            canvas[place] += value
        chances[tuple(min(pixel, 255) for pixel in canvas)] += 1
    names = {canvas: number for number, canvas in enumerate(chances)}

    dataset = ImageDataset(np.array(values, np.uint8).reshape(3, 1, 1), np.arange(3))
    begun = begin_episodes(
        "RAMClutteredMNIST-v0",
        40_000,
        dataset=dataset,
        canvas_size=(1, 4),
        num_clutter=2,
        clutter_size=1,
        glimpse_size=1,
        num_scales=1,
    )
    drawn = [names[tuple(canvas)] for canvas in begun["canvas"][:, 0].tolist()]
    check_counts(np.array(drawn), np.array(list(chances.values())) / len(one_thing) ** 3)


def test_pieces_are_as_many_as_said_and_clipped_at_white() -> None:
    def canvases_of(value: int) -> np.ndarray:
        images = np.full((3, 5, 5), value, np.uint8)
        canvases: np.ndarray = begin_episodes(
            "RAMClutteredMNIST-v0",
            2_000,
            dataset=ImageDataset(images, np.arange(3)),
            canvas_size=9,
            num_clutter=6,
            clutter_size=3,
            glimpse_size=2,
            num_scales=1,
        )["canvas"]
        return canvases

    layers = canvases_of(2) // 2
    assert (layers.sum(axis=(1, 2)) == 6 * 9 + 25).all()
    assert layers.max() >= 4
    assert np.array_equal(canvases_of(90), np.array([0, 90, 180, 255, 255, 255, 255, 255])[layers])


# --- the first look, and looks at random -----------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "keywords", "rooms"),
    [("RAMTranslatedMNIST-v0", SMALL, (6, 7)), ("RAMCatch-v0", {}, (1, 24))],
)
def test_first_locations_are_uniform_and_do_not_tell_where_digit_or_ball_is(
    env_id: str, keywords: dict[str, Any], rooms: tuple[int, int]
) -> None:
    begun = begin_episodes(env_id, 8_000, num_scales=1, **keywords)
    x, y = (begun["location"].T.astype(np.float64) + 1) / 2
    check_uniform(x)
    check_uniform(y)
    check_independent(x, y)
    for location in (x, y):
        cells = np.minimum((location * 5).astype(int), 4)
        for place, room in zip(top_left(begun["canvas"][:, :-1]), rooms, strict=True):  # no paddle
            check_even(cells * room + place, 5 * room)


class Recorder(gym.vector.VectorWrapper):
    """Remembers where was looked."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__(env)
        self.locations: list[np.ndarray] = []

    def step(self, actions: Any) -> Any:
        said = super().step(actions)
        self.locations.append(said[0]["location"])
        return said


def small_agent(envs: gym.vector.VectorEnv, **settings: Any) -> RAMAgent:
    torch.manual_seed(0)
    config = AgentConfig(hidden_size=8, feature_size=8, pixel_scale=1.0, **settings)
    return RAMAgent(envs.single_observation_space, envs.single_action_space, config)


@pytest.mark.parametrize("who", ["the agent", "the wrapper"])
def test_random_gaze_is_uniform_and_forgets(who: str) -> None:
    envs: Any = gym.make_vec(
        "RAMCatch-v0", num_envs=400, num_scales=1, autoreset_mode=AutoresetMode.DISABLED
    )
    recorder = Recorder(envs)
    if who == "the agent":
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            collect_rollout(small_agent(envs), recorder, seed=3, gaze="random", generator=generator)
    else:
        wrapped = vector.RandomGaze(recorder)
        wrapped.reset(seed=3)
        for _ in range(23):
            wrapped.step(np.ones(400, np.int64))
    looks = (np.stack(recorder.locations).astype(np.float64) + 1) / 2  # (T, B, 2)
    assert looks.shape == (23, 400, 2)
    x, y = looks.reshape(-1, 2).T
    check_uniform(x)
    check_uniform(y)
    check_independent(x, y)
    for before, after in itertools.product(
        looks[0:-1:2].reshape(-1, 2).T, looks[1::2].reshape(-1, 2).T
    ):
        check_independent(before, after)


# --- Catch -----------------------------------------------------------------------------------

WALL = 23
# ⌊x + ½⌋ of a place x that is uniform between the walls: the columns there are half as likely.
AT_COLUMN = np.array([0.5, *[1.0] * 22, 0.5]) / WALL


def test_balls_and_paddles_begin_uniformly() -> None:
    canvases = begin_episodes("RAMCatch-v0", 8_000, num_scales=1)["canvas"]
    ball, paddle = canvases[:, 0].argmax(axis=1), canvases[:, WALL].argmax(axis=1)
    assert (np.count_nonzero(canvases, axis=(1, 2)) == 3).all()
    check_even(ball, 24)
    check_even(paddle, 23)
    check_even(ball // 4 * 23 + paddle, 6 * 23)


def test_balls_are_uniformly_fast_and_land_everywhere() -> None:
    """A ball of speed v lands 23 v further, and 23 v is uniform over one way there and back.

    So wherever it began, its place is uniform between the walls when it lands.
    """
    count = 20_000
    task, games = Catch(paddle_width=1, num_balls=2), np.arange(count)
    state = task.allocate(count)
    task.begin(state, games, Streams(combine_keys(4, games)), {})
    speeds = (state.speeds + 1) / 2
    check_uniform(speeds[:, 0])
    check_uniform(speeds[:, 1])
    columns = state.columns.astype(int)
    check_independent(*speeds.T, *((columns + 0.5) / 24).T, parts=4)
    for ball in range(2):
        for _ in range(WALL + ball):
            task.advance(state, games, np.ones(count, np.int64))
        screens, _ = task.images(state)
        bottom = screens[:, WALL] > 0
        bottom[games, state.paddle] = False
        landed = np.where(bottom.any(axis=1), bottom.argmax(axis=1), state.paddle)
        check_counts(landed, AT_COLUMN)
        check_counts(columns[:, ball] // 4 * 24 + landed, np.tile(AT_COLUMN, 6) / 6)


# --- moving digits ---------------------------------------------------------------------------


def test_what_moves_is_uniformly_placed_and_fast_in_every_frame() -> None:
    count = 8_000
    dataset = ImageDataset(np.full((2, 4, 3), 255, np.uint8), np.arange(2))
    task = MovingEnv(
        dataset=dataset,
        num_glimpses=99,
        glimpse_size=2,
        num_scales=1,
        canvas_size=(9, 11),
        num_clutter=2,
        clutter_size=2,
        max_speed=2.0,
    ).batch.task
    rows = np.arange(count)
    state = task.allocate(count)
    task.begin(state, rows, Streams(combine_keys(5, rows)), {})
    rooms = np.array([[7, 9], [7, 9], [5, 8]])  # of two pieces, and the digit
    for frame in range(21):
        if frame in (0, 1, 20):
            places = (state.places / rooms).reshape(count, -1).T
            speeds = (state.speeds.reshape(count, -1).T + 2) / 4
            for values in (*places, *speeds):
                check_uniform(values)
        if frame == 0:
            check_independent(*places, *speeds)
        task.advance(state, rows, np.zeros(count, np.int64))


def test_the_moving_digit_is_shown_everywhere() -> None:
    dataset = ImageDataset(np.full((2, 4, 3), 255, np.uint8), np.arange(2))
    envs: Any = gym.make_vec(
        "RAMMovingMNIST-v0",
        num_envs=6_000,
        dataset=dataset,
        canvas_size=(9, 11),
        num_clutter=0,
        glimpse_size=2,
        num_scales=1,
    )
    envs.reset(seed=6)
    down, across = np.array([0.5, 1, 1, 1, 1, 0.5]) / 5, np.array([0.5, *[1] * 7, 0.5]) / 8
    for _ in range(3):
        canvases = envs.unwrapped.canvases
        assert (np.count_nonzero(canvases, axis=(1, 2)) == 12).all()
        rows, columns = top_left(canvases)
        check_counts(rows * 9 + columns, np.outer(down, across).ravel())
        envs.step((np.zeros((6_000, 2)), np.zeros(6_000, np.int64)))


# --- what the agent draws --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "std"), [((0.0, 0.0), 0.2), ((0.9, -0.3), 0.07), ((-1.5, 1.0), 0.03)]
)
def test_locations_are_drawn_as_their_log_prob_says(mean: tuple[float, float], std: float) -> None:
    edges = np.array([-8, -2, -1, 0, 1, 2, 8])  # of cells, in standard deviations
    step = 0.02
    side = torch.arange(-8 + step / 2, 8, step, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    density = gaussian_log_prob(
        torch.tensor(mean, dtype=torch.float64) + std * grid,
        torch.tensor(mean, dtype=torch.float64).expand_as(grid),
        std,
    ).exp()
    masses = density.numpy() * (std * step) ** 2
    assert masses.sum() == pytest.approx(1, abs=1e-6)
    cells = np.digitize(grid.numpy(), edges) - 1
    chances = np.bincount(cells[:, 0] * 6 + cells[:, 1], masses, 36)

    envs: Any = gym.make_vec("RAMCatch-v0", num_envs=1)
    agent = small_agent(envs)
    agent.location_std.fill_(std)
    means = torch.tensor(mean).expand(20_000, 2)
    output = AgentOutput(means, torch.zeros(20_000, 3), torch.zeros(20_000))
    action = agent.act(output, generator=torch.Generator().manual_seed(7))
    drawn = ((action.location - means) / std).double().numpy()
    cells = np.clip(np.digitize(drawn, edges) - 1, 0, 5)
    check_counts(cells[:, 0] * 6 + cells[:, 1], chances / chances.sum())
    for values in torch.special.ndtr(torch.from_numpy(drawn)).numpy().T:
        check_uniform(values)


def test_choices_are_drawn_as_their_log_prob_says() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0, -8.0])
    every_choice = torch.arange(5).unsqueeze(1)
    chances = choice_log_probs(logits.expand(5, 1, 5), every_choice).exp().squeeze(1).double()
    assert chances.sum().item() == pytest.approx(1, abs=1e-6)

    agent = small_agent(gym.make_vec("RAMCatch-v0", num_envs=1))
    output = AgentOutput(torch.zeros(20_000, 2), logits.expand(20_000, 5), torch.zeros(20_000))
    generator = torch.Generator().manual_seed(8)
    choices = agent.act(output, sample_choice=True, generator=generator).choice
    check_counts(choices.numpy(), (chances / chances.sum()).numpy())


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
def test_chances_of_all_choices_sum_to_one(size: float) -> None:
    logits = size * torch.randn(50, 10, generator=torch.Generator().manual_seed(9))
    log_probs = choice_log_probs(logits.expand(10, 50, 10), torch.arange(10).expand(50, 10).T)
    torch.testing.assert_close(log_probs.exp().sum(0), torch.ones(50))


# --- REINFORCE climbs the expected return ----------------------------------------------------

FIRST_PAYS = np.array([0.0, 0.25, 0.125])  # for the first choice
SECOND_PAYS = np.array([[0.5, 0.0, 0.25], [0.125, 0.75, 0.0], [0.0, 0.375, 0.5]])  # and for both
SLOPE, TARGET = np.array([0.5, -1.0]), np.array([-0.25, 0.5])


class TwoSteps(gym.vector.VectorEnv):
    """Two choices of three, and a location: what the second glimpse shows says the first choice.

    Pays FIRST_PAYS, then SECOND_PAYS and, if `looks_pay`, SLOPE · l + ‖l − TARGET‖² for the first
    location l. Where to look makes no other difference. With `labels` there is one choice and one
    label, so that only looks matter.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(
        self, num_envs: int, looks_pay: bool, num_choices: int = 3, labels: bool = False
    ) -> None:
        self.num_envs = num_envs
        self.looks_pay, self.labels = looks_pay, labels
        self.choices_pay = num_choices == 3
        self.single_observation_space = spaces.Dict(
            glimpse=spaces.Box(0, 1, (1, 2, 2), np.float32),
            location=spaces.Box(-1, 1, (2,), np.float32),
        )
        self.single_action_space = spaces.Tuple(
            (spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(num_choices))
        )
        self.dtype = np.float32

    def see(self, first: npt.NDArray[np.int64] | None) -> dict[str, np.ndarray]:
        glimpses = np.zeros((self.num_envs, 4), self.dtype)
        glimpses[np.arange(self.num_envs), 0 if first is None else first + 1] = 1
        return {
            "glimpse": glimpses.reshape(-1, 1, 2, 2),
            "location": np.zeros((self.num_envs, 2), self.dtype),
        }

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.first: Any = None
        info = {"label": np.zeros(self.num_envs, np.int64)} if self.labels else {}
        return self.see(None), info

    def step(self, actions: Any) -> Any:
        locations, choices = actions
        is_first = self.first is None
        if is_first:
            self.first = locations, choices
        look, first = self.first
        rewards = np.zeros(self.num_envs)
        if self.choices_pay:
            rewards += FIRST_PAYS[choices] if is_first else SECOND_PAYS[first, choices]
        if self.looks_pay and not is_first:
            rewards += look @ SLOPE + ((look - TARGET) ** 2).sum(1)
        over = np.full(self.num_envs, not is_first)
        return self.see(first), rewards, over, np.zeros_like(over), {}


# An episode is learned from once, as a whole.
IN_SEGMENTS: dict[str, Any] = {"segment_length": 2, "passes": 1, "minibatches": 1, "discount": 1.0}


def make_trainer(envs: TwoSteps, agent: RAMAgent, **settings: Any) -> Trainer:
    """A trainer whose loss is REINFORCE's alone."""
    config = replace_settings(
        TrainConfig(),
        batch_size=envs.num_envs,
        normalize_advantages=False,
        baseline_weight=0.0,
        location_warmup=0.0,
        **({} if envs.labels else IN_SEGMENTS),
        **settings,
    )
    return Trainer(agent, [envs], envs, config)


def shard_gradients(trainer: Trainer) -> Any:
    """Return the gradients of the one shard's loss."""
    progress = trainer.update / trainer.num_updates
    shard, square = trainer.shards[0], trainer.advantage_square
    return shard.learn(trainer.update, progress, square, step=0).gradients


def gradient_of_choices(agent: RAMAgent, envs: TwoSteps) -> list[Tensor]:
    """The gradient of the expected pay of choices: all nine ways of playing, by their chance."""
    output, state = agent.step(envs.see(None), agent.initial_state(envs.num_envs))
    first_chances = output.choice_logits[0].softmax(0)
    expected = torch.zeros(())
    for first in range(3):
        output, _ = agent.step(envs.see(np.full(envs.num_envs, first)), state)
        second_chances = output.choice_logits[0].softmax(0)
        for second in range(3):
            pay = FIRST_PAYS[first] + SECOND_PAYS[first, second]
            expected = expected + first_chances[first] * second_chances[second] * pay
    return gradients(expected, agent)


def gradient_of_looks(agent: RAMAgent, envs: TwoSteps) -> list[Tensor]:
    """The gradient of E[a · l + ‖l − c‖²]: with the mean μ of l it is a + 2 (μ − c) times μ's."""
    output, _ = agent.step(envs.see(None), agent.initial_state(envs.num_envs))
    mean = output.location_mean[0]
    slope = torch.from_numpy(SLOPE - 2 * TARGET).to(mean) + 2 * mean.detach()
    return gradients(slope @ mean, agent)


def gradients(value: Tensor, agent: RAMAgent) -> list[Tensor]:
    parameters = list(agent.parameters())
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    return [
        torch.zeros_like(parameter) if one is None else one
        for one, parameter in zip(found, parameters, strict=True)
    ]


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize(
    ("core", "baseline_loss"),
    [("rectifier", "squared_error"), ("lstm", "cross_entropy"), ("transformer", "squared_error")],
)
def test_gradient_of_choices_is_that_of_the_expected_return(
    core: Any, baseline_loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = TwoSteps(1, looks_pay=False)
    agent = small_agent(envs, core=core).double()
    envs.dtype = np.float64  # type: ignore[assignment]
    trainer = make_trainer(envs, agent, baseline_loss=baseline_loss)
    expected = torch.zeros(sum(parameter.numel() for parameter in agent.parameters()))
    for plan in itertools.product(range(3), repeat=2):
        planned, chance = iter(plan), 1.0

        def act(output: AgentOutput, *how: Any) -> Action:
            nonlocal chance
            choice = next(planned)  # noqa: B023
            chance *= output.choice_logits.softmax(1)[0, choice].item()
            return Action(output.location_mean.detach(), torch.tensor([choice]))

        monkeypatch.setattr(agent, "act", act)
        gradient = flat(shard_gradients(trainer))  # plays, and so finds the chance
        expected = expected + chance * gradient
    # The loss is minus the mean over two steps. A location at its mean has no gradient.
    exact = -flat(gradient_of_choices(agent, envs)) / 2
    assert exact.norm() > 0.01
    torch.testing.assert_close(expected, exact, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("labels", [False, True], ids=["unsupervised", "hybrid"])
def test_gradient_of_looks_is_that_of_the_expected_return(
    labels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = TwoSteps(1, looks_pay=True, num_choices=1, labels=labels)
    agent = small_agent(envs)
    agent.location_std.fill_(0.3)
    trainer = make_trainer(
        envs, agent, location_weight=0.5, location_reward="reward", supervision="last_step"
    )
    # Three points integrate a polynomial of fifth degree exactly (Gauss and Hermite); pay times
    # the gradient of the log-prob is one of third degree in each coordinate.
    points = [(-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6)]
    expected = torch.zeros(sum(parameter.numel() for parameter in agent.parameters()))
    for (x, weight_x), (y, weight_y) in itertools.product(points, points):

        def act(output: AgentOutput, *how: Any, at: Any = (x, y)) -> Action:
            offset = 0.3 * torch.tensor(at)
            return Action(output.location_mean.detach() + offset, torch.tensor([0]))

        monkeypatch.setattr(agent, "act", act)
        gradient = flat(shard_gradients(trainer))
        expected = expected + weight_x * weight_y * gradient
    exact = -0.5 * flat(gradient_of_looks(agent, envs))
    assert exact.norm() > 0.01
    torch.testing.assert_close(expected, exact, rtol=1e-3, atol=1e-5)


def test_gradient_of_what_is_really_drawn_is_the_exact_one_on_average() -> None:
    envs = TwoSteps(200, looks_pay=True)
    agent = small_agent(envs)
    agent.location_std.fill_(0.3)
    trainer = make_trainer(envs, agent, location_weight=0.5)
    found = []
    for trainer.update in range(100):  # each has noise of its own
        found.append(flat(shard_gradients(trainer)))
    drawn = torch.stack(found).double()
    exact = -flat(gradient_of_choices(agent, envs)) / 2 - 0.5 * flat(gradient_of_looks(agent, envs))
    # A mean of 20,000 episodes is normal enough: one of the few hundred weights is off by more
    # than nine standard errors in fewer than 10⁻⁹ of all runs, even with Student's tails.
    standard_error = drawn.std(0) / math.sqrt(len(drawn))
    off = (drawn.mean(0) - exact).abs()
    assert (off <= 9 * standard_error + 1e-6).all()
    assert drawn.mean(0).norm() > 5 * standard_error.norm()
