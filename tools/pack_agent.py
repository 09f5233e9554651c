"""Add the best weights of a run to the package, to be loaded by name, with 8 bits per weight.

    python tools/pack_agent.py runs/reproduce/mnist/mnist/7-glimpses-seed-0 mnist-7

Prints the validation error before and after packing. The stored command omits the run's folder.
Then measure it and publish: see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import get_args

from ram_agent.agent import RAMAgent
from ram_agent.evaluation import evaluate
from ram_agent.measure import usual_episodes
from ram_agent.player import Gaze
from ram_agent.pretrained_agents import PRETRAINED
from ram_agent.run_env import RunEnv

GAZES = get_args(Gaze)[:2]  # learned and random


def main(args: list[str] | None = None) -> None:
    """Pack an agent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run's folder, or what else RAMAgent.load takes")
    parser.add_argument("name", help="name of the packed agent")
    parser.add_argument(
        "--out", type=Path, default=PRETRAINED, help="folder of the file; default: the package's"
    )
    options = parser.parse_args(args)
    agent = RAMAgent.load(options.run)
    info = {**agent.info, "command": without_folders(agent.info.get("command", ""))}
    path = agent.save(options.out / options.name, info, packed=True)
    packed = RAMAgent.load(path)
    env = RunEnv.named_in(info)
    num_episodes, num_envs = usual_episodes(env), env.num_evaluation_envs
    test = measure(packed, num_envs, num_episodes)
    agent.save(path, {**info, "test": test}, packed=True)  # for `ram agents`
    envs = env.make_split(num_envs, "validation")
    before, after = (evaluate(one, envs, num_episodes=num_episodes) for one in (agent, packed))
    if before.errors:
        print(f"{options.name}: error {before.error:.2f}%, packed {after.error:.2f}%")
    else:
        print(f"{options.name}: mean return {before.mean_return:.4f}, {after.mean_return:.4f}")


def measure(agent: RAMAgent, num_envs: int, num_episodes: int | None) -> dict[str, float]:
    """Return the test error in percent, or the mean return, with learned and with random gaze."""
    envs = agent.make_envs(num_envs)
    learned, random = (
        evaluate(agent, envs, num_episodes=num_episodes, gaze=gaze) for gaze in GAZES
    )
    name = learned.measure
    return {name: round(learned.value, 4), f"random_gaze_{name}": round(random.value, 4)}


def without_folders(command: str) -> str:
    """Return the command as `ram …`, without --out and --runs, the folders of a run."""
    words = iter(shlex.split(command.replace("python -m ram_agent", "ram", 1)))
    kept = []
    for word in words:
        if word in ("--out", "--runs"):
            next(words)
        elif not word.startswith(("--out=", "--runs=")):
            kept.append(word)
    return shlex.join(kept)


if __name__ == "__main__":
    main()
