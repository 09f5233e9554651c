"""RAM plays an Atari game: where to look and what to do are learned together, from the score.

    python examples/ram_atari.py --env-id ALE/Pong-v5 --out runs/pong
    python examples/ram_atari.py --quick  # a minute, to see that it runs

Needs pip install "ram-gym[agent,atari]". It trains for --steps steps, in segments of 64 steps of
32 games, and then plays whole games with the learned, with random and with center gaze. `ram watch
runs/pong` shows the trained agent; `ram train --resume runs/pong` continues a training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import ram_agent
from ram_agent.callbacks import print_validation

GAZES: tuple[Any, ...] = ("learned", "random", "center")


@dataclass(frozen=True)
class Settings:
    """Train RAM in an Atari game that it sees through the retina."""

    env_id: str = "ALE/Pong-v5"
    glimpse_size: int = 20
    num_scales: int = 3
    stack_num: int = 2
    steps: int = 10_000_000
    eval_episodes: int = 100
    seed: int = 0
    out: Path | None = None
    quick: bool = False


def main(settings: Settings) -> None:
    changes: dict[str, Any] = {"steps": settings.steps, "seed": settings.seed}
    eval_episodes = settings.eval_episodes
    if settings.quick:
        changes |= {"steps": 256, "batch_size": 8, "segment_length": 16, "validation_games": 1}
        changes |= {"hidden_size": 16, "feature_size": 16, "max_episode_steps": 50}
        eval_episodes = 2
    agent = ram_agent.train(
        settings.env_id,
        glimpse_size=settings.glimpse_size,
        num_scales=settings.num_scales,
        stack_num=settings.stack_num,
        out=settings.out,
        callback=print_validation,
        **changes,
    )
    envs = agent.make_envs(min(eval_episodes, 20), autoreset_mode="SameStep")
    for gaze in GAZES:
        result = ram_agent.evaluate(agent, envs, num_episodes=eval_episodes, gaze=gaze)
        print(f"{gaze} gaze: mean return {result.mean_return:.2f} ± {result.standard_error:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Settings))
