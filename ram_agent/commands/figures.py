"""The command `ram figures`."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from ram_agent import game_figures
from ram_agent.agent import RAMAgent
from ram_agent.commands.parsing import UNSET, parse
from ram_agent.commands.trained import Trained, check_one_run, name_run
from ram_agent.evaluation import evaluate
from ram_agent.figures import record_gaze, save_figures, write_figures
from ram_agent.gaze_map import draw_gaze_map, record_gaze_map
from ram_agent.gaze_report import write_report
from ram_agent.measure import title_results
from ram_agent.pictures import NUM_SHOWN, make_drawn, save_watched
from ram_agent.play_mode import compared_gazes
from ram_agent.run_env import RunEnv
from ram_agent.run_images import pick_episodes, shows_still_images
from ram_envs.aliases import VectorEnv
from ram_envs.atomic_files import check_writable
from ram_envs.datasets import Split
from ram_envs.wrappers.vector import find_seen

NUM_FIXATIONS = 20_000  # in the heat map
NUM_GAMES = 2_000  # recorded for the figures of Catch
DPI = 100


@dataclass(frozen=True)
class Figures(Trained):
    """Draw figures of a trained agent's gaze for slides (pip install "ram-gym[figures]").

    Examples:
      ram figures pretrained:catch
      ram figures runs/four --format pdf
      ram figures pretrained:cluttered-mnist-8 --num-images 10000 --dpi 300 --out slides

    paths: fixations on canvases. glimpses: each glimpse and the labels' probabilities. heat_maps:
    the first, second, … fixation relative to the image's center. errors: error after each glimpse.
    failures: the most confident errors. Of Catch: gaze_and_ball, caught_by_speed and poster. Where
    the screen changes during an episode: episodes.gif, and gaze_map, a heat map of all fixations.
    report.html shows all on one page.
    """

    out: Annotated[Path | None, UNSET] = None
    """The folder of the pictures (default: figures/NAME, with the agent's name)."""

    num_images: int = 2_000
    """Number of images, from the start of the split."""

    dpi: int = DPI
    """Pixels per inch."""

    format: Literal["png", "svg", "pdf"] = "png"
    """The files' format."""


def main(args: list[str]) -> None:
    """Draw every figure into the folder that --out names."""
    check_one_run(args)
    command = parse(Figures, "figures", args)
    if not 10 <= command.dpi <= 2400:
        raise ValueError(f"dpi={command.dpi} is out of range. Give a number from 10 to 2400.")
    torch.set_num_threads(1)
    name = name_run(command.run)
    out = command.out or Path("figures") / name
    check_writable(out / "report.html")
    agent, env, split = command.load(only_look=True)
    envs = env.make_split(env.num_evaluation_envs, split)
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('matplotlib is not installed. Run: pip install "ram-gym[figures]"')
    if shows_still_images(envs):
        paths = draw_still(command, agent, envs, out)
    else:
        paths = draw_moving(command, agent, envs, env, split, out)
    shown = title_results(env, env.find_split(split))
    write_report(out / "report.html", name, shown, agent.info, paths)
    for path in (*paths, out / "report.html"):
        print(f"Written to {path}")


def draw_still(command: Figures, agent: RAMAgent, envs: Any, out: Path) -> list[Path]:
    """Draw the figures of an agent of still images; return their paths."""
    num_images = min(command.num_images, envs.unwrapped.num_images)
    record = record_gaze(agent, envs, num_images)
    errors = {
        f"{gaze} gaze": evaluate(agent, envs, num_episodes=num_images, gaze=gaze).errors
        for gaze in compared_gazes(agent.info)
    }
    return save_figures(record, errors, out, command.dpi, command.format)


def draw_moving(
    command: Figures, agent: RAMAgent, envs: VectorEnv, run_env: RunEnv, split: Split, out: Path
) -> list[Path]:
    """Draw the figures of an agent whose screen changes; return their paths."""
    episodes = pick_episodes(run_env, split, 1 if run_env.is_foreign else NUM_SHOWN)
    save_watched(agent, make_drawn(run_env, split), out / "episodes.gif", episodes)
    drawings: dict[str, Any] = {}
    try:
        find_seen(envs)
    except TypeError:
        print(
            f"The heat map of the gaze is not drawn: {run_env.env_id} was registered without "
            "vector_entry_point, a vector environment of glimpses.",
            file=sys.stderr,
        )
    else:
        gaze_map = record_gaze_map(agent, envs, NUM_FIXATIONS // envs.num_envs)
        drawings["gaze_map"] = partial(draw_gaze_map, gaze_map)
    if game_figures.is_catch(envs):
        envs = run_env.make_split(NUM_GAMES, split)
        records = {
            f"{gaze} gaze": game_figures.record_catch(agent, envs, gaze=gaze)
            for gaze in compared_gazes(agent.info)
        }
        own = next(iter(records.values()))
        drawings |= {
            "gaze_and_ball": partial(game_figures.draw_gaze_and_ball, own),
            "caught_by_speed": partial(game_figures.draw_caught_by_speed, records),
            "poster": partial(game_figures.draw_poster, own),
        }
    paths = write_figures(drawings, out, command.dpi, command.format)
    return [*paths, out / "episodes.gif"]
