"""Put the tables of results/ into the README and the pages of docs/.

    python benchmarks/publish.py

Reads the files of `ram reproduce` and `ram evaluate --save`; trains nothing. The README gets the
headline of each table, docs/results.md all rows and a chart, docs/beyond.md the results outside of
the training settings, and `ram_agent/pretrained/README.md` the agents that come with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from matplotlib.figure import Figure
from pages import put_table

from ram_agent.paper.report import (
    EXPLANATION,
    EXPLANATION_OF_PAPER,
    Row,
    find_result,
    make_markdown,
    make_table,
    read_rows,
)
from ram_agent.paper.tables import CONTROL_NAMES, NONE, TABLES, Table
from ram_agent.pretrained_agents import describe_agents
from ram_envs.atomic_files import read_json

ROOT = Path(__file__).parent.parent
FRAME_SIZE = 84  # pixels of an Atari frame: a glimpse as large shows all of it


class Game(NamedTuple):
    """A game that RAM learned from rewards alone.

    file      its results, in the folder of results
    link      where they are shown, a page and perhaps a section
    digits    decimal places of returns
    others    results of agents that were trained with another seed or gaze, or by another library
    """

    env_id: str
    file: str
    link: str
    digits: int
    others: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        """The page with the table of the game."""
        return ROOT / self.link.partition("#")[0]


GAMES = (
    Game("RAMSearch-v0", "games/RAMSearch-v0-seed-0.json", "docs/environments/RAMSearch-v0.md", 3),
    Game(
        "ALE/Pong-v5",
        "pretrained/pong.json",
        "docs/atari.md#pong",
        1,
        (
            "games/Pong-learned-seed-1.json",
            "games/Pong-random-seed-0.json",
            "games/Pong-center-seed-0.json",
            "games/Pong-whole-frame-seed-0.json",
        ),
    ),
    Game(
        "ALE/RoadRunner-v5",
        "games/RoadRunner-learned-seed-0.json",
        "docs/atari.md#roadrunner",
        0,
        (
            "games/RoadRunner-learned-seed-1.json",
            "games/RoadRunner-random-seed-0.json",
            "games/RoadRunner-center-seed-0.json",
            "games/RoadRunner-whole-frame-seed-0.json",
        ),
    ),
    Game(
        "ALE/UpNDown-v5",
        "games/UpNDown-learned-seed-0.json",
        "docs/atari.md#upndown",
        0,
        (
            "games/UpNDown-learned-seed-1.json",
            "games/UpNDown-random-seed-0.json",
            "games/UpNDown-center-seed-0.json",
            "games/UpNDown-whole-frame-seed-0.json",
            "games/UpNDown-learned-2-scales-seed-0.json",
            "games/UpNDown-center-2-scales-seed-0.json",
            "games/UpNDown-sb3-learned-gaze.json",
            "games/UpNDown-sb3-center-gaze.json",
            "games/UpNDown-sb3-whole-frame.json",
        ),
    ),
)


@dataclass(frozen=True)
class Settings:
    """Put the tables of results/ into the README and the pages of docs/."""

    results: Path = ROOT / "results"
    """Folder of the files of `ram reproduce`, with those of `ram evaluate` in `beyond/`."""

    readme: Path = ROOT / "README.md"
    """Page that gets the headline of each table, between its two marks."""

    chart: Path = ROOT / "results" / "headlines.png"
    """Picture of these headlines."""

    page: Path = ROOT / "docs" / "results.md"
    """Page that gets all tables, between its two marks."""

    beyond_page: Path = ROOT / "docs" / "beyond.md"
    """Page that gets the results beyond the paper, between its two marks."""

    agents_page: Path = ROOT / "ram_agent" / "pretrained" / "README.md"
    """Page that gets the trained agents, between its two marks."""


def main(settings: Settings) -> None:
    tables = read_tables(settings.results)
    headlines = find_headlines(tables)
    put_table(settings.readme, make_headlines(headlines))
    draw_headlines(headlines, settings.chart)
    put_table(settings.page, make_page(tables))
    put_table(settings.agents_page, make_agents(settings.results / "pretrained"))
    put_table(settings.readme, make_games(settings.results), "<!-- games -->")
    for game in GAMES:
        put_table(game.page, make_learned(game, settings.results), f"<!-- {game.env_id} -->")
    put_table(settings.beyond_page, make_beyond(read_beyond(settings.results / "beyond")))


def read_tables(folder: Path) -> dict[str, list[Row]]:
    """Return the rows of each table that has any."""
    tables = {name: read_rows(folder / f"{name}.json") for name in TABLES}
    return {name: rows for name, rows in tables.items() if rows}


class Headline(NamedTuple):
    """A table's row in bold and its controls: errors in percent; in Catch, lost balls."""

    table: Table
    learned: float
    random: float
    cnn: float | None

    @property
    def paper(self) -> float | None:
        """The error in the paper's NIPS version."""
        return self.table.headline.others.nips_error


def find_headlines(tables: dict[str, list[Row]]) -> list[Headline]:
    """Return the headline of each table that was measured."""
    found = []
    for name, rows in tables.items():
        table, kept = TABLES[name], {row["name"]: row for row in rows if not row["quick"]}
        if (row := kept.get(table.headline.name)) is not None:
            cnn = kept.get(CONTROL_NAMES["cnn"], {}).get("error_mean")
            found.append(Headline(table, row["error_mean"], row["random_gaze_error"], cnn))
    return found


def make_headlines(headlines: list[Headline]) -> str:
    """Return a Markdown table of each table's headline beside its controls and the paper."""
    head = ("environment", "glimpses", "RAM", "random gaze", "small CNN, whole canvas", "the paper")
    body = []
    for table, learned, random, cnn in headlines:
        where = f"[{table.env_id}](docs/environments/{table.env_id}.md)"
        digits = 2
        if table.is_game:
            learned, random, digits = 100 - learned, 100 - random, 1
            where += ", caught"
        cells = [
            where,
            str(table.headline.num_glimpses or NONE),
            f"**{learned:.{digits}f}**",
            f"{random:.1f}",
            NONE if cnn is None else f"{cnn:.2f}",
            table.headline.others.format(table.is_game)[1],
        ]
        body.append(cells)
    return make_table(head, body)


def draw_headlines(headlines: list[Headline], path: Path) -> None:
    """Draw each headline beside its controls and the paper, on a logarithmic axis."""
    figure = Figure(figsize=(7.5, 0.5 * len(headlines) + 1.4), layout="constrained")
    axes = figure.subplots()
    for label, style, errors in (
        ("RAM", "C0o", [headline.learned for headline in headlines]),
        ("the same with random gaze", "C1s", [headline.random for headline in headlines]),
        ("small CNN, whole canvas", "C2x", [headline.cnn for headline in headlines]),
        ("the paper's RAM", "k|", [headline.paper for headline in headlines]),
    ):
        known = [(error, place) for place, error in enumerate(errors) if error is not None]
        axes.plot(*zip(*known, strict=True), style, label=label, markersize=9, markeredgewidth=2)
    names = [headline.table.env_id.removesuffix("-v0") for headline in headlines]
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", xlabel="test error (%); in Catch, balls lost (%)")
    ticks = (0.5, 1, 2, 5, 10, 20, 50, 100)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)


def make_agents(folder: Path) -> str:
    """Return a Markdown table of the agents of the package, from the files of `ram evaluate`."""
    head = ("agent", "environment", "glimpses", "result", "random gaze", "trained by")
    body = []
    for agent in describe_agents():
        file = read_json(folder / f"{agent.name}.json")
        cells = [
            f"`{agent.name}`",
            f"`{agent.env_id}`",
            str(agent.num_glimpses or NONE),
            f"[{agent.result}](../../results/pretrained/{agent.name}.json)",
            agent.at_random,
            f"`{file['trained_by']['command']}`",
        ]
        body.append(cells)
    return make_table(head, body)


def make_summary(tables: dict[str, list[Row]]) -> str:
    """Return a Markdown table of the rows of RAM; for Catch, the percentage of caught balls."""
    head = (
        *("environment", "glimpses", "learned gaze", "seeds", "random gaze"),
        *("training, each seed", "the paper, arXiv v1 / NIPS", "best since"),
    )
    body = []
    for name, rows in tables.items():
        table = TABLES[name]
        for row in rows:
            if row["kind"] != "ram" or row["quick"]:
                continue
            ours, spread, at_random, (arxiv, nips, since) = find_result(table, row)
            where, glimpses = f"`{row['env']}`", row["name"].removeprefix("RAM, ")
            if table.is_game:
                where, glimpses = f"{where}, balls caught", NONE
            cells = [
                where,
                glimpses.replace(" glimpses", ""),
                f"**{ours:.2f}**{spread}",
                str(len(row["seeds"])),
                f"{at_random:.1f}",
                f"{row['seconds'] / len(row['seeds']) / 60:.0f} min",
                f"{arxiv} / {nips}",
                since,
            ]
            body.append(cells)
    return make_table(head, body)


def read_beyond(folder: Path) -> list[dict[str, Any]]:
    """Return the files of `ram evaluate --save`, the training environment first."""
    files = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return sorted(files, key=lambda file: file["env_kwargs"] != file["trained_by"]["env_kwargs"])


def make_beyond(files: list[dict[str, Any]]) -> str:
    """Return Markdown tables: the error on each kind of canvas, and that of early answers."""
    body, early = [], []
    for file in files:
        results = file["results"]
        learned, at_random = results["learned gaze"], results["random gaze"]
        after = " ".join(f"{error:.1f}" for error in learned["errors_after_each_glimpse"])
        own = file["trained_by"]["env_kwargs"]
        changes = [
            f"{key}={value}" for key, value in file["env_kwargs"].items() if own.get(key) != value
        ]
        where = ", ".join(changes) or f"`{file['env_id']}`, as it was trained"
        error = f"{learned['error']:.2f} ± {learned['standard_error']:.2f}"
        body.append((where, error, f"{at_random['error']:.1f}", after))
        early += [
            (
                f"{100 * answers['threshold']:g}%",
                f"{answers['mean_glimpses']:.2f}",
                f"{answers['error']:.2f}",
            )
            for answers in learned.get("early_answers", ())
        ]
    tables = (
        make_table(("measured on", "learned gaze", "random gaze", "after each glimpse"), body),
        make_table(("answers at probability", "mean glimpses", "error (%)"), early),
    )
    return "\n".join(tables)


def make_games(results: Path) -> str:
    """Return a Markdown table of the mean return in each game: RAM's, and with other gazes."""
    body = []
    for game in GAMES:
        gazes = read_json(results / game.file)["results"]
        own, *_, random, center = (
            f"{result['mean_return']:.{game.digits}f}" for result in gazes.values()
        )
        body.append((f"[{game.env_id}]({game.link})", f"**{own}**", random, center))
    return make_table(("game", "RAM", "random gaze", "center gaze"), body)


def make_learned(game: Game, results: Path) -> str:
    """Return a Markdown table of a game: the mean return of each agent with each gaze."""
    first = read_json(results / game.file)
    runs = [first, *(read_json(results / file) for file in game.others)]
    body = []
    for agent, gaze, result in (row for run in runs for row in list_scores(run, first)):
        mean, spread = result["mean_return"], result["standard_error"]
        score = f"{mean:.{game.digits}f} ± {spread:.{game.digits}f}"
        body.append((agent, gaze.replace(" gaze", ""), score))
    head = ("agent", "gaze", "mean return")
    if game.others:
        return make_table(head, body)
    return make_table(head[1:], [row[1:] for row in body])


def list_scores(run: dict[str, Any], first: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return the agent, the gaze and the result of each evaluation of a run.

    An agent that was trained with random or center gaze is shown with that gaze alone.
    """
    rows = list(run["results"].items())
    training = run.get("training") or run.get("trained_by", {}).get("training")
    if training is None:  # of another library, whose file has one result, named by both
        agent, _, gaze = rows[0][0].partition(", ")
        return [(agent, gaze, rows[0][1])]
    if run["env_kwargs"].get("glimpse_size") == FRAME_SIZE:
        return [("RAM", rows[0][0].replace("center gaze", "whole frame"), rows[0][1])]
    gaze, seed = training["gaze"]["locations"], training["seed"]
    scales, usual = (of["env_kwargs"].get("num_scales") for of in (run, first))
    name = "RAM" if scales == usual else f"RAM, {scales} scales"
    agent = f"{name}, " + (f"seed {seed}" if gaze == "learned" else f"trained with {gaze} gaze")
    return [(agent, *row) for row in (rows if gaze == "learned" else rows[:1])]


def make_page(tables: dict[str, list[Row]]) -> str:
    """Return what the tables mean, a summary, and each table, as Markdown."""
    each = "\n".join(make_markdown(TABLES[name], rows) for name, rows in tables.items())
    return f"{EXPLANATION}\n\n{EXPLANATION_OF_PAPER}\n\n{make_summary(tables)}\n{each}"


if __name__ == "__main__":
    main(tyro.cli(Settings))
