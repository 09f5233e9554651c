"""Figures of an agent that plays Catch: its gaze beside the ball, and which balls it catches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ram_agent.agent import RAMAgent
from ram_agent.player import Gaze
from ram_agent.rollout import play_as_validated
from ram_envs.aliases import VectorEnv
from ram_envs.retina import pixel_edges
from ram_envs.tasks.catch import Catch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_BINS = 10  # of the ball's speed
NUM_POSTER = 15  # games of the poster
BALL, GAZE, PADDLE = "#e69f00", "#56b4e9", "#999999"  # as in the pictures (Okabe & Ito 2008)


@dataclass(frozen=True)
class CatchRecord:
    """N games of one ball each, R rows high, as an agent plays them.

    balls    (R, N, 2), the ball's place (x, y) in pixels, row by row
    gazes    (R, N, 2), the pixel edges (x, y) where the agent looked
    paddles  (R, N), the paddle's left pixel
    speeds   (N,), columns a row at the start, without sign
    caught   (N,), whether the ball was caught
    size     the side of the screen
    width    of the paddle
    """

    balls: npt.NDArray[np.float64]
    gazes: npt.NDArray[np.int64]
    paddles: npt.NDArray[np.int64]
    speeds: npt.NDArray[np.float64]
    caught: npt.NDArray[np.bool_]
    size: int
    width: int


def is_catch(envs: VectorEnv) -> bool:
    """Return whether the environments play Catch with one ball a game."""
    task = getattr(getattr(envs.unwrapped, "batch", None), "task", None)
    return isinstance(task, Catch) and task.num_balls == 1


@torch.no_grad()
def record_catch(
    agent: RAMAgent,
    envs: VectorEnv,
    seed: int = 0,
    gaze: Gaze | None = None,
) -> CatchRecord:
    """Let an agent play a game in each sub-environment, as in its validations, and keep all of it.

    Args:
        agent: whom to record.
        envs: a vector environment of Catch, with autoreset DISABLED.
        seed: of the games, and of the agent's noise.
        gaze: see `collect_rollout`; if None, that of the agent's training.
    """
    batch = envs.unwrapped.batch  # type: ignore[attr-defined]
    task = batch.task
    balls, gazes, paddles = [], [], []

    def note() -> None:
        state = batch.state
        balls.append(np.stack([state.x, state.row.astype(np.float64)], 1))
        gazes.append(pixel_edges(batch.locations, task.size, task.size))
        paddles.append(state.paddle.copy())

    rollout = play_as_validated(agent, envs, seed, gaze=gaze, on_step=note)
    state = batch.state
    return CatchRecord(
        balls=np.stack(balls),
        gazes=np.stack(gazes),
        paddles=np.stack(paddles),
        speeds=np.abs(state.speeds[:, 0]),
        caught=(rollout.rewards.sum(0) > 0).cpu().numpy(),
        size=task.size,
        width=task.paddle_width,
    )


def draw_gaze_and_ball(record: CatchRecord) -> Figure:
    """Draw the columns of ball, gaze and paddle in a few games, and the gaze's distance by row."""
    import matplotlib.pyplot as plt

    num_rows, num_games, _ = record.balls.shape
    rows = np.arange(num_rows)
    games = "abcdef"
    figure, axes = plt.subplot_mosaic("abcm\ndefm", figsize=(11, 6), layout="constrained")
    figure.suptitle("Where the agent looks, and where the ball is")
    for game, axis in enumerate(axes[name] for name in games[:num_games]):
        axis.plot(record.balls[:, game, 0] + 0.5, rows, "o", color=BALL, markersize=3, label="ball")
        axis.plot(record.gazes[:, game, 0], rows, color=GAZE, label="gaze")
        middle = record.paddles[:, game] + record.width / 2
        axis.plot(middle, rows, "--", color=PADDLE, label="paddle")
        axis.set(xlim=(0, record.size), ylim=(num_rows, -1), title=_verdict(record, game))
        axis.set_xlabel("column")
        axis.set_ylabel("row of the ball")
    axes["a"].legend(frameon=False, fontsize=8)
    axis = axes["m"]
    distance = np.abs(record.gazes - record.balls - 0.5).mean(1)
    axis.plot(distance[:, 0], rows, color=GAZE, label="columns apart")
    axis.plot(distance[:, 1], rows, color="black", linestyle=":", label="rows apart")
    axis.set(ylim=(num_rows, -1), xlabel="pixels", title=f"mean of {num_games:,} games")
    axis.legend(frameon=False, fontsize=8)
    return figure


def draw_caught_by_speed(records: Mapping[str, CatchRecord]) -> Figure:
    """Draw the percentage of caught balls by their speed, a curve for each record."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    fastest = max(1.0, *(float(one.speeds.max()) for one in records.values()))
    edges = np.linspace(0, fastest, NUM_BINS + 1)
    for name, one in records.items():
        bins = np.clip(np.digitize(one.speeds, edges) - 1, 0, NUM_BINS - 1)
        counts = np.bincount(bins, minlength=NUM_BINS)
        rates = 100 * np.bincount(bins, one.caught, NUM_BINS) / np.maximum(counts, 1)
        shown = counts > 0
        middles = (edges[:-1] + edges[1:]) / 2
        axis.plot(
            middles[shown], rates[shown], "o-", label=f"{name}: {100 * one.caught.mean():.1f}%"
        )
    axis.set(
        xlabel="speed of the ball (columns a row)",
        ylabel="caught (%)",
        ylim=(0, 104),
        title="Caught balls by speed",
    )
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def draw_poster(record: CatchRecord) -> Figure:
    """Draw whole games in one picture each: the ball's path, the gaze's, and the paddle."""
    import matplotlib.pyplot as plt

    games = _pick_games(record)
    columns = 5
    figure, axes = plt.subplots(
        -(-len(games) // columns), columns, figsize=(11, 7.2), squeeze=False, layout="constrained"
    )
    figure.suptitle("Games of Catch: the ball in orange, the gaze from dark to bright")
    for axis in axes.flat:
        axis.axis("off")
    for axis, game in zip(axes.flat, games, strict=False):
        axis.set_facecolor("#16181d")
        axis.axis("on")
        axis.set(xlim=(0, record.size), ylim=(record.size, 0), xticks=[], yticks=[], aspect=1)
        x, y = record.balls[:, game].T + 0.5
        axis.plot(x, y, "o", color=BALL, markersize=3)
        x, y = record.gazes[:, game].T
        axis.plot(x, y, color=GAZE, linewidth=0.8, alpha=0.6)
        axis.scatter(x, y, c=np.arange(len(x)), cmap="Blues_r", s=12, marker="s", vmin=-8)
        left = record.paddles[-1, game]
        axis.plot([left, left + record.width], [record.size - 0.3] * 2, color="white", linewidth=4)
        axis.set_title(_verdict(record, game), fontsize=9)
    return figure


def _pick_games(record: CatchRecord) -> npt.NDArray[np.int64]:
    """Return games of all speeds, and the missed ones last, at most three."""
    missed = np.flatnonzero(~record.caught)[:3]
    caught = np.flatnonzero(record.caught)
    count = min(NUM_POSTER - len(missed), len(caught))
    by_speed = caught[np.argsort(record.speeds[caught], kind="stable")]
    spread = by_speed[np.linspace(0, len(by_speed) - 1, count).round().astype(np.int64)]
    picked: npt.NDArray[np.int64] = np.concatenate([spread, missed])
    return picked


def _verdict(record: CatchRecord, game: int) -> str:
    return f"{'caught' if record.caught[game] else 'missed'}, speed {record.speeds[game]:.2f}"
