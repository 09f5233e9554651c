"""What `ram reproduce` writes: rows of figures as JSON, and as Markdown beside the paper's."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ram_agent.config import is_a
from ram_agent.paper.tables import CONTROL_NAMES, GAZES, NONE, TABLES, Reported, Table
from ram_envs.atomic_files import read_json
from ram_envs.registration import CLASSIFICATION

Row = dict[str, Any]


def make_row(
    kind: str,
    name: str,
    num_glimpses: int | None,
    evaluations: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    gaze: str | None = None,
) -> Row:
    """A row of TABLE.json, from evaluation.json of each seed; percent, rounded to 0.0001.

    `gaze` is which of its results counts; None for a network that sees the whole canvas. "seconds"
    are those of training, all seeds together.
    """
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
        "train_episodes": evaluations[0]["training"]["episodes"],
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
        "dataset": evaluations[0]["dataset"],
    }


def _error(result: dict[str, Any]) -> float:
    """Percent of labels that are wrong, or of balls that are lost."""
    if "error" in result:
        return float(result["error"])
    return round(100 * (1 - float(result["mean_return"])), 4)


def _joined(values: Iterable[str]) -> str:
    """The value that all share, or all that there are."""
    return ", ".join(dict.fromkeys(values))


def merge_row(rows: Sequence[Row], new: Row, table: Table) -> list[Row]:
    """All rows in the table's order; `new` replaces those it repeats with as many seeds or more."""
    same = ("kind", "name", "env", "num_glimpses", "dataset", "quick")
    kept = [
        row
        for row in rows
        if any(row[key] != new[key] for key in same) or not {*row["seeds"]} <= {*new["seeds"]}
    ]
    names = list(_reported(table))

    def place(row: Row) -> tuple[Any, ...]:
        return row["quick"], row["dataset"] or "", names.index(row["name"]), row["seeds"]

    return sorted([*kept, new], key=place)


def read_rows(path: Path) -> list[Row]:
    """The rows in a file of `ram reproduce`; none where there is no file.

    Raises:
        ValueError: if the file holds something else.
    """
    if not path.is_file():
        return []
    try:
        rows: list[Row] = read_json(path)
        known = _reported(TABLES[path.stem])
        is_game = TABLES[path.stem].env_id not in CLASSIFICATION
        if isinstance(rows, list) and all(
            row["name"] in known and _is_row(row, is_game) for row in rows
        ):
            return rows
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError(
        f"{path} is no file of this version of `ram reproduce`. Remove it, or give another --out."
    )


def _is_row(row: Row, is_game: bool) -> bool:
    """Whether a row has what is made of it, so that a bad one is found before hours of training."""
    kinds = {**_KINDS, **(_GAME_KINDS if is_game else {})}
    seeds, accuracies = row["seeds"], row.get("accuracy_after_each_glimpse", [])
    return (
        all(is_a(row[name], kind) for name, kind in kinds.items())
        and isinstance(seeds, list)
        and all(is_a(seed, int) for seed in seeds)
        and isinstance(accuracies, list)
        and all(is_a(accuracy, float) for accuracy in accuracies)
        and is_a(row.get("seconds_to_pass_nips"), float | None)
        and (is_game or "catch_rate_mean" not in row)
    )


# What every row has, and is made into Markdown.
_KINDS: dict[str, Any] = {
    "kind": str,
    "name": str,
    "env": str,
    "num_glimpses": int | None,
    "error_mean": float,
    "error_std": float | None,
    "random_gaze_error": float | None,
    "test_episodes": int,
    "command": str,
    "quick": bool,
    "commit": str,
    "machine": str,
    "seconds": float,
    "dataset": str | None,
}
_GAME_KINDS: dict[str, Any] = {"catch_rate_mean": float}


def make_markdown(table: Table, rows: Sequence[Row]) -> str:
    """Ours beside the paper's two columns and the best rival; accuracy on the way; commands."""
    groups: dict[tuple[bool, str | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["quick"], row["dataset"]), []).append(row)
    parts = [
        "\n\n".join(_group_parts(table, rows, quick, dataset))
        for (quick, dataset), rows in groups.items()
    ]
    parts.append(
        "The paper's figures are as other texts quote them; those with * are from memory, and no "
        f"text confirms them. {table.note}".strip()
    )
    return "\n\n".join(parts) + "\n"


def _group_parts(table: Table, rows: Sequence[Row], quick: bool, dataset: str | None) -> list[str]:
    """The paragraphs and tables of rows that were measured on one data set."""
    machines = dict.fromkeys(row["machine"] for row in rows)
    is_game = "catch_rate_mean" in rows[0]
    number = f"{rows[0]['test_episodes']:,}"
    what = f"{number} balls caught" if is_game else f"{number} test images named wrong"
    title = f"## `{table.env_id}`" + (f", {dataset}" if dataset else "")
    columns = ("", "ours", "seeds", "random gaze", "the paper, arXiv v1", "NIPS", "best since")
    parts = [
        title + ", a quick run" * quick,
        f"Percent of {what}, one pass, mean gaze; ± is the standard deviation over the seeds. "
        "Random and center gaze: the agents of the row in bold, made to look elsewhere.",
        _table(columns, [_cells(table, row, is_game) for row in rows]),
        *_accuracy_parts(rows),
        _table(
            ("", "command", "commit", "training, all seeds", "till past the paper, each"),
            [
                (
                    row["name"],
                    f"`{row['command']}`",
                    row["commit"],
                    f"{row['seconds'] / 60:.1f} min",
                    _minutes_to_pass(row),
                )
                for row in rows
            ],
        ),
        "Past the paper: when the validation error fell below the test error that the paper has in "
        f"its NIPS version. Trained on {' and '.join(machines)}.",
    ]
    if quick:
        parts.insert(1, "It shows that everything works; its figures mean nothing.")
    return parts


def _cells(table: Table, row: Row, is_game: bool) -> tuple[str, ...]:
    """A row's figure beside those of others."""
    name, others = row["name"], _reported(table)[row["name"]]
    at_random = row["random_gaze_error"]
    if at_random is not None and is_game:
        at_random = 100 - at_random
    mean = row["catch_rate_mean"] if is_game else row["error_mean"]
    spread = "" if row["error_std"] is None else f" ± {row['error_std']:.2f}"
    return (
        f"**{name}**" if name == table.headline.name else name,
        f"{mean:.2f}{spread}",
        _seeds(row),
        NONE if at_random is None else f"{at_random:.2f}",
        others.arxiv,
        others.nips,
        others.since,
    )


def _accuracy_parts(rows: Sequence[Row]) -> list[str]:
    """Accuracy after each glimpse, where there is something to name."""
    rows = [row for row in rows if "accuracy_after_each_glimpse" in row]
    if not rows:
        return []
    most = max(len(row["accuracy_after_each_glimpse"]) for row in rows)
    body = []
    for row in rows:
        cells = [f"{accuracy:.2f}" for accuracy in row["accuracy_after_each_glimpse"]]
        body.append((row["name"], _seeds(row), *cells, *[""] * (most - len(cells))))
    return [
        "Percent named right after each glimpse.",
        _table(("", "seeds", *map(str, range(1, most + 1))), body),
    ]


def _reported(table: Table) -> dict[str, Reported]:
    """The names of all rows in order, and what others report for them."""
    headline = table.headline.name
    gazes = dict(zip(GAZES, (table.random_gaze, Reported()), strict=True))
    return {
        **{row.name: row.reported for row in table.rows},
        **{f"{headline}, {gaze}": reported for gaze, reported in gazes.items()},
        **{CONTROL_NAMES[row.network]: row.reported for row in table.controls},
    }


def _minutes_to_pass(row: Row) -> str:
    seconds = row.get("seconds_to_pass_nips")
    return NONE if seconds is None else f"{seconds / 60:.1f} min"


def _seeds(row: Row) -> str:
    return ", ".join(map(str, row["seeds"]))


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
