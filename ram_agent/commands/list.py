"""The command `ram list`."""

from __future__ import annotations

import argparse

from ram_agent.pretrained_agents import describe_agents
from ram_envs.catalog import describe_all


def main(args: list[str]) -> None:
    """Print each environment with a sentence, and an agent of the package that plays it."""
    argparse.ArgumentParser("ram list", description="List the environments.").parse_args(args)
    agents = {agent.env_id: agent.name for agent in describe_agents()}  # the last of each
    row = "{:<25} {:>9}  {:<18} {:>8} {:>7}"
    print(row.format("environment", "canvas", "retina", "glimpses", "chance"))
    for facts in describe_all():
        height, width = facts.screen
        own = facts.needs_images
        cells = (
            facts.env_id,
            "any" if own else f"{height} × {width}",
            facts.retina,
            facts.num_steps or "varies",
            facts.chance_in_words,
        )
        print(row.format(*cells))
        print(f"    {facts.summary}")
        if facts.env_id in agents:
            print(f"    ram watch pretrained:{agents[facts.env_id]}")
    print(
        "\nChance: the score of random choices.\nTo play one: ram play ENV_ID. To train an agent: "
        "ram train ENV_ID. Trained agents: ram agents."
    )
