"""report.html: the figures of an agent on one page, in one file that needs no other."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ram_envs.atomic_files import write_bytes

CAPTIONS = {  # name of a figure: what it shows
    "paths": "Fixations on canvases, from dark to bright, and the last label, in red where it is "
    "wrong.",
    "glimpses": "What each glimpse showed, and the probability of each label after it.",
    "heat_maps": "Where the first, second, … fixation lies, relative to the center of the image, "
    "which is outlined.",
    "errors": "Error after each glimpse, with the gaze of its training and with others.",
    "failures": "The most confident errors.",
    "gaze_and_ball": "Columns of ball, gaze and paddle in six games, and their mean distance.",
    "caught_by_speed": "Caught balls by speed, with the gaze of its training and with others.",
    "poster": "Whole games: the ball's path and the gaze's; missed balls last.",
    "gaze_map": "The mean picture, and how often the gaze rested at each place.",
    "episodes": "Episodes with the gaze.",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f24; background: #fff }
img { max-width: 100%; border-radius: 6px; background: #fff }
figure { margin: 2rem 0 } figcaption { color: #57606a; margin-top: .4rem }
table { border-collapse: collapse } td { padding: .15rem 1rem .15rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #16181d } figcaption { color: #a0a5b0 } }
"""
FACTS = {  # fact of `agent.info`: its name on the page
    "env_id": "Trained in",
    "dataset": "Trained on",
    "validation_error": "Validation error (%)",
    "validation_return": "Validation return",
    "command": "Trained by",
    "commit": "Commit",
    "machine": "Machine",
    "date": "Date",
}


def write_report(
    path: Path, name: str, shown: str, info: Mapping[str, Any], figures: Sequence[Path]
) -> None:
    """Write the page of an agent.

    Args:
        path: the file.
        name: the agent's.
        shown: the environment and the images of the figures, which need not be those of training.
        info: `agent.info`.
        figures: PNG, SVG or GIF files; others, such as PDF, are left out.
    """
    facts = {title: info.get(fact) for fact, title in FACTS.items()}
    rows = "".join(
        f"<tr><td>{title}</td><td>{html.escape(str(value))}</td></tr>"
        for title, value in {"Figures of": shown, **facts}.items()
        if value not in (None, "")
    )
    parts = []
    for figure in figures:
        kind = {".png": "png", ".gif": "gif", ".svg": "svg+xml"}.get(figure.suffix)
        if kind is None:
            continue
        content = base64.b64encode(figure.read_bytes()).decode()
        caption = CAPTIONS.get(figure.stem, figure.stem)
        parts.append(
            f'<figure><img alt="{html.escape(caption)}" src="data:image/{kind};base64,{content}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    title = html.escape(f"The gaze of {name}")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        f"<table>{rows}</table>{''.join(parts)}</html>\n"
    )
    write_bytes(path, page.encode())
