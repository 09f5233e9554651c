"""The command `ram agents`."""

from __future__ import annotations

import argparse

from ram_agent.pretrained_agents import describe_agents


def main(args: list[str]) -> None:
    """Print the agents that come with the package, and how good each is."""
    argparse.ArgumentParser(
        "ram agents", description="List the trained agents that come with the package."
    ).parse_args(args)
    row = "{:<22} {:<26} {:>8}  {}"
    print(row.format("agent", "environment", "glimpses", "result"))
    for agent in describe_agents():
        result = f"{agent.result} ({agent.at_random} with random gaze)"
        print(row.format(agent.name, agent.env_id, agent.num_glimpses or "–", result))
    print(
        "\nTo watch one: ram watch pretrained:AGENT. To measure it: ram evaluate pretrained:AGENT."
        '\nIn Python: RAMAgent.pretrained("AGENT").'
    )
