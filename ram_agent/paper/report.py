"""The output of `ram reproduce`: rows as JSON, and as Markdown beside the paper's values."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ram_agent.paper.tables import CONTROL_NAMES, GAZES, NONE, TABLES, Others, Table
from ram_envs.atomic_files import read_json

Row = dict[str, Any]


def make_row(
    kind: str,
    name: str,
    num_glimpses: int | None,
    evaluations: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    gaze: str | None = None,
) -> Row:
    """Return a row of TABLE.json, with percentages rounded to 0.0001.

    Args:
        kind: "ram" or "control".
        name: the row's name in the table.
        num_glimpses: None in the game and for networks on the whole canvas.
        evaluations: what `finish_run` returned for each seed.
        facts: columns that are added as they are.
        gaze: the gaze whose result counts; None for a network on the whole canvas.
    """
    dataset = evaluations[0]["dataset"]
    results = [run["results"] if gaze is None else run["results"][gaze] for run in evaluations]
    errors = [_error(result) for result in results]
    row: Row = {
        "kind": kind,
        "name": name,
        "env": evaluations[0]["env_id"],
        "num_glimpses": num_glimpses,
        "passes": 1,
        "error_mean": round(statistics.mean(errors), 4),
        "error_std": round(statistics.stdev(errors), 4) if len(errors) > 1 else None,
        "errors": errors,
        "random_gaze_error": None,
        "test_episodes": results[0]["episodes"],
        "train_episodes": round(statistics.mean(run["train_episodes"] for run in evaluations)),
    }
    if gaze == "learned gaze":
        at_random = [_error(run["results"]["random gaze"]) for run in evaluations]
        row["random_gaze_error"] = round(statistics.mean(at_random), 4)
        passed = [run["seconds_to_pass_nips"] for run in evaluations]
        row["seconds_to_pass_nips"] = None if None in passed else round(statistics.mean(passed), 1)
    if "mean_return" in results[0]:  # the game
        row["catch_rate_mean"] = round(100 - row["error_mean"], 4)
        row["catch_rate_std"] = row["error_std"]
    elif gaze is not None:
        after = zip(*(result["errors_after_each_glimpse"] for result in results), strict=True)
        row["accuracy_after_each_glimpse"] = [
            round(100 - statistics.mean(of_seeds), 4) for of_seeds in after
        ]
    return {
        **row,
        **facts,
        **{name: _joined(run[name] for run in evaluations) for name in ("commit", "machine")},
        "software": _joined(run["software"] for run in evaluations),
        "seconds": round(sum(run["train_seconds"] for run in evaluations), 1),
        "dataset": dataset and Path(dataset).name,  # a path says nothing on another machine
    }


def _error(result: dict[str, Any]) -> float:
    """Return the percentage of wrong labels, or of lost balls."""
    if "error" in result:
        return float(result["error"])
    return round(100 * (1 - float(result["mean_return"])), 4)


def _joined(values: Iterable[str]) -> str:
    """Return the distinct values, which is one if all share it."""
    return ", ".join(dict.fromkeys(values))


def merge_row(rows: Sequence[Row], new: Row, table: Table) -> list[Row]:
    """Return all rows in the table's order; `new` replaces rows of a subset of its seeds."""
    same = ("kind", "name", "env", "num_glimpses", "dataset", "quick")
    kept = [
        row
        for row in rows
        if any(row[key] != new[key] for key in same) or not {*row["seeds"]} <= {*new["seeds"]}
    ]
    names = list(_others(table))

    def place(row: Row) -> tuple[Any, ...]:
        return row["quick"], row["dataset"] or "", names.index(row["name"]), row["seeds"]

    return sorted([*kept, new], key=place)


def read_rows(path: Path) -> list[Row]:
    """Return the rows in TABLE.json; none if there is no file.

    Raises:
        ValueError: if the file is not a table.
    """
    if not path.is_file():
        return []
    try:
        rows = read_json(path)
        if not isinstance(rows, list):
            raise TypeError("not a list of rows")
        make_markdown(TABLES[path.stem], rows)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ValueError(
            f"{path} was not written by this version of `ram reproduce`. Remove it, or give "
            "another --out."
        ) from None
    return rows


EXPLANATION = (
    "One pass, mean locations; ± is the standard deviation over the seeds. In the rows of random "
    "and center gaze, the agents of the row in bold look at other locations. Episodes and "
    "env-steps are per seed; a network on the whole canvas takes no steps."
)
EXPLANATION_OF_PAPER = (
    "The paper's values are quoted from other texts. Those marked with * could not be confirmed. "
    "Time to the paper's error is the mean time per seed until the validation error fell below the "
    "test error of the paper's NIPS version."
)


def explain(table: Table) -> str:
    """Return what the tables of `make_markdown` mean, for a file that has one alone."""
    paper = f"\n{EXPLANATION_OF_PAPER}\n" if table.has_paper_values else ""
    return f"{EXPLANATION}\n{paper}"


def make_markdown(table: Table, rows: Sequence[Row]) -> str:
    """Return our results beside the paper's and the best since, accuracies and commands."""
    groups: dict[tuple[bool, str | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["quick"], row["dataset"]), []).append(row)
    paragraphs = [
        paragraph
        for (quick, dataset), group in groups.items()
        for paragraph in _group_paragraphs(table, group, quick, dataset)
    ]
    trained = {row["name"] for row in rows}
    names = [row.name for row in table.rows] + [control.name for control in table.controls]
    untrained = [name for name in names if name not in trained]
    if untrained:
        paragraphs.append(f"Not trained yet: {'; '.join(untrained)}.")
    if table.note:
        paragraphs.append(table.note)
    return "\n\n".join(paragraph.strip() for paragraph in paragraphs) + "\n"


def _group_paragraphs(
    table: Table, rows: Sequence[Row], quick: bool, dataset: str | None
) -> list[str]:
    """Return the paragraphs and tables of rows that were measured on one data set."""
    title = f"## `{table.env_id}`"
    if dataset:
        title += f", {dataset}"
    paragraphs = [title]
    if quick:
        paragraphs[0] += ", a quick run"
        paragraphs.append("A quick run on other images, to see that it learns.")
    number = f"{rows[0]['test_episodes']:,}"
    if table.is_game:
        measure = f"Caught balls (%) in {number} games"
    else:
        measure = f"Test error (%) on {number} images"
    paragraphs += [
        f"{measure}:",
        make_table(
            ("", "ours", "seeds", "random gaze", "the paper, arXiv v1", "NIPS", "best since"),
            [_cells(table, row) for row in rows],
        ),
    ]
    if not table.is_game:
        paragraphs += _accuracy_paragraphs(rows)
    machines = dict.fromkeys(row["machine"] for row in rows)
    paragraphs += [
        make_table(
            (
                *("", "command", "commit", "episodes", "env-steps"),
                *("training, all seeds", "time to the paper's error"),
            ),
            [
                (
                    row["name"],
                    f"`{row['command']}`",
                    row["commit"],
                    f"{row['train_episodes'] / 1e6:.2f} M",
                    _env_steps(row),
                    f"{row['seconds'] / 60:.1f} min",
                    _minutes_to_pass(row),
                )
                for row in rows
            ],
        ),
        f"Trained on {' and '.join(machines)}.",
    ]
    return paragraphs


class Result(NamedTuple):
    """A row's result beside those of others: errors in percent, or caught balls.

    mean       over the seeds
    spread     " ± " and the standard deviation; empty for one seed
    at_random  with random gaze; None if it was not measured
    others     in words: the paper's, of arXiv v1 and of NIPS, and the best since
    """

    mean: float
    spread: str
    at_random: float | None
    others: list[str]


def find_result(table: Table, row: Row) -> Result:
    """Return a row's result beside those of others."""
    mean, at_random = row["error_mean"], row["random_gaze_error"]
    if table.is_game:
        mean = row["catch_rate_mean"]
        at_random = None if at_random is None else 100 - at_random
    spread = "" if row["error_std"] is None else f" ± {row['error_std']:.2f}"
    return Result(mean, spread, at_random, _others(table)[row["name"]].format(table.is_game))


def _cells(table: Table, row: Row) -> tuple[str, ...]:
    mean, spread, at_random, others = find_result(table, row)
    return (
        f"**{row['name']}**" if row["name"] == table.headline.name else row["name"],
        f"{mean:.2f}{spread}",
        _seeds(row),
        NONE if at_random is None else f"{at_random:.2f}",
        *others,
    )


def _accuracy_paragraphs(rows: Sequence[Row]) -> list[str]:
    """Return the accuracy after each glimpse, of the rows that have glimpses."""
    accuracies = [(row, row.get("accuracy_after_each_glimpse", [])) for row in rows]
    longest = max(len(after) for _, after in accuracies)
    body = []
    for row, after in accuracies:
        if after:
            cells = [f"{accuracy:.2f}" for accuracy in after] + [""] * (longest - len(after))
            body.append((row["name"], _seeds(row), *cells))
    if not body:
        return []
    head = ("", "seeds", *map(str, range(1, longest + 1)))
    return ["Accuracy (%) after each glimpse:", make_table(head, body)]


def _others(table: Table) -> dict[str, Others]:
    """Return the names of all rows in order, and what others report for them."""
    headline = table.headline.name
    gazes = dict(zip(GAZES, (table.random_gaze, Others()), strict=True))
    return {
        **{row.name: row.others for row in table.rows},
        **{f"{headline}, {gaze}": others for gaze, others in gazes.items()},
        **{CONTROL_NAMES[row.network]: row.others for row in table.controls},
    }


def _env_steps(row: Row) -> str:
    steps = row["train_episodes"] * (row["num_glimpses"] or 0)
    return f"{steps / 1e6:.1f} M" if steps else NONE


def _minutes_to_pass(row: Row) -> str:
    seconds = row.get("seconds_to_pass_nips")
    return NONE if seconds is None else f"{seconds / 60:.1f} min"


def _seeds(row: Row) -> str:
    return ", ".join(map(str, row["seeds"]))


def make_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    first, *others = ("| " + " | ".join(cells) + " |" for cells in (head, *body))
    return "\n".join([first, "|---" * len(head) + "|", *others]) + "\n"
