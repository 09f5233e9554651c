"""Record short plays and a tiny training of RAM in every id.

    python tools/golden.py                 # all ids
    python tools/golden.py RAMCatch-v0     # some

`tests/test_golden.py` repeats them and compares them with the files in `tests/golden/`, so that no
result changes unnoticed. Plays are equal on every machine; metrics differ in their last digits.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import ram_envs
from ram_envs.aliases import Env
from ram_envs.registration import CLASSIFICATION, ENVS, SEARCH, dataset_keywords

FOLDER = Path(ram_envs.__file__).parent.parent / "tests" / "golden"
# Locations of the player, in a cycle: inside the canvas, on its border and outside.
LOOKS = ((0.25, -0.5), (-1, 1), (0, 0), (1.75, 0.125), (-0.625, -0.375))
# Seeds with which the player of `play` misses or catches the ball, and misses or finds the target.
MISSED, CAUGHT = 0, 11
NOT_FOUND, FOUND = 0, 121
UPDATES = 4


def main(args: list[str] | None = None) -> None:
    """Write the files of the given ids, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="default: all")
    ids = parser.parse_args(args).ids or sorted(ENVS)
    unknown = sorted(set(ids) - set(ENVS))
    if unknown:
        parser.error(f"{', '.join(unknown)}: expected some of {', '.join(ENVS)}")
    FOLDER.mkdir(exist_ok=True)
    for env_id in ids:
        golden = {"plays": play_all(env_id), "training": train(env_id)}
        text = json.dumps(golden, indent=1, ensure_ascii=False)
        path_of(env_id).write_text(text + "\n", encoding="utf-8")
        print(f"Written to {path_of(env_id)}")


def path_of(env_id: str) -> Path:
    return FOLDER / f"{env_id}.json"


def keywords_of(env_id: str) -> dict[str, Any]:
    if env_id in SEARCH:
        return {"time_limit": 12}
    return dataset_keywords(env_id, "digits")


def play_all(env_id: str) -> dict[str, list[str]]:
    """Return an id's plays by name, a line for each glimpse."""
    if env_id not in CLASSIFICATION:
        seeds = (NOT_FOUND, FOUND) if env_id in SEARCH else (MISSED, CAUGHT)
        return {f"seed {seed}": play(env_id, seed, None) for seed in seeds}
    return {
        "train, seed 0": play(env_id, 0, None, split="train"),
        "validation, image 7": play(env_id, 0, {"index": 7}, split="validation"),
        "test, image 3": play(env_id, 1, {"index": 3}, split="test"),
    }


def play(env_id: str, seed: int, options: dict[str, Any] | None, **keywords: Any) -> list[str]:
    """Play an episode; return a line for each observation, with choice and reward."""
    env = gym.make(env_id, **keywords_of(env_id), **keywords)
    observation, info = env.reset(seed=seed, options=options)
    num_choices = env.action_space[1].n  # type: ignore[index]
    lines, steps, over = [describe(env, observation, info)], 0, False
    while not over:
        choice = info.get("label", steps % num_choices)
        look = np.array(LOOKS[steps % len(LOOKS)], np.float32)
        observation, reward, terminated, truncated, info = env.step((look, choice))
        over = terminated or truncated
        steps += 1
        end = ", the end" if over else ""
        lines.append(f"{choice} reward {reward:g}{end}: {describe(env, observation, info)}")
    return lines


def describe(env: Env, observation: dict[str, Any], info: dict[str, Any]) -> str:
    """Return an observation in one line: location, checksums and sums of pixels, info."""
    x, y = observation["location"].tolist()
    glimpse, canvas = observation["glimpse"], env.unwrapped.canvas  # type: ignore[attr-defined]
    facts = "".join(f", {name} {value}" for name, value in info.items())
    return (
        f"at {x:.7f} {y:.7f} glimpse {checksum(glimpse)} of sum {glimpse.sum(dtype=float):.4f}, "
        f"canvas {checksum(canvas)} of sum {canvas.sum(dtype=int)}{facts}"
    )


def checksum(array: np.ndarray[Any, Any]) -> str:
    return f"{zlib.crc32(array.tobytes()):08x}"


def train(env_id: str) -> list[dict[str, float]]:
    """Return the metrics of the first updates of a small agent, otherwise with the id's preset."""
    from ram_agent.measured_pixels import measure_pixels
    from ram_agent.presets import preset
    from ram_agent.run_config import RunConfig
    from ram_agent.run_env import RunEnv
    from ram_agent.runs import make_trainer

    env = RunEnv(env_id, keywords_of(env_id))
    settings = preset("default", env_id).change(hidden_size=16, feature_size=8, batch_size=32)
    if env_id in CLASSIFICATION:
        settings = settings.change(episodes=UPDATES * 32)
    else:
        segment_length = settings.training.segments.segment_length
        settings = settings.change(steps=UPDATES * 32 * segment_length)
    agent = measure_pixels(env, settings.agent)
    trainer = make_trainer(RunConfig(env, agent, settings.training, settings.shards), None)
    rows = [trainer.train_one_update() for _ in range(UPDATES)]
    return [{name: float(f"{value:.6g}") for name, value in row.items()} for row in rows]


if __name__ == "__main__":
    main()
