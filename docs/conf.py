"""Makes a site of docs/ and of the docstrings, with Sphinx; `make docs` builds it.

Manual pages of environments, the help of `ram play` and the reference are taken from the code, so
that they say what it does.
"""

import inspect
import os
import re
from pathlib import Path

import gymnasium as gym
from sphinx import addnodes

import ram_envs
from ram_agent.paper.report import read_rows
from ram_agent.paper.tables import TABLES
from ram_envs.catalog import EnvFacts, describe_env, env_class
from ram_envs.play import arcade_game, command
from ram_envs.play.catch_game import CatchGame
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.search_game import SearchGame
from ram_envs.registration import ENVS

RESULTS = Path(__file__).parent.parent / "results"

project = "ram-gym"
author = "The ram-gym authors"
project_copyright = author
release = ram_envs.__version__
html_title = f"{project} {release}"
html_theme = "furo"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
ogp_site_url = os.environ.get("RAM_GYM_SITE", "")  # where the site is published
ogp_image = "images/preview.png"
ogp_description_length = 160
ogp_enable_meta_description = True
ogp_social_cards = {"enable": False}
copybutton_exclude = ".linenos, .gp"
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # as GitHub makes them
default_role = "code"  # docstrings say `this`, as Markdown does
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
# What other packages document can't be linked to without a network.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(np|npt|numpy|gym|gymnasium|spaces|torch|nn|pathlib|collections|stable_baselines3)\..*",
    ),
    (
        "py:.*",
        r"Tensor|ResetNeeded|DependencyNotInstalled"
        r"|.*\.(State|Config|Settings|Checked|Folder|Memory|Notes|Padded)",
    ),
    ("py:class", r"ram_agent\.(shard|segment_shard)\..*"),  # parts of the trainer
    ("py:exc", r"NoPictureError"),
    ("py:class", r"(dict|tuple)\[str"),  # napoleon splits the type of an attribute at its comma
]


def manual_page(env_id: str) -> str:
    """How an environment is made, its facts and, from its class, its manual page; Markdown."""
    spec, facts = gym.spec(env_id), describe_env(env_id)
    height, width = facts.screen
    size, num_scales = facts.glimpse_size, facts.num_scales
    shape = f"({num_scales * facts.channels}, {size}, {size})"
    rows = {
        "Import": f'`import ram_envs; env = gym.make("{env_id}")`',
        "Canvas": "your images" if facts.needs_images else f"{height} × {width} pixels",
        "Retina": f"{facts.retina}: glimpses of shape `{shape}`",
        "Observation": f"`Dict(glimpse=Box(0, 1, {shape}), location=Box(-1, 1, (2,)))`",
        "Action": f"`Tuple(Box(-1, 1, (2,)), Discrete({len(facts.choices)}))`: the next location, "
        f"and {name_choices(facts)}",
        "Steps": str(facts.num_steps or "variable"),
        "Chance": facts.chance_in_words,
        **result_rows(env_id),
    }
    if spec.reward_threshold is not None:
        rows["Reward threshold"] = f"{spec.reward_threshold:g}"
    if facts.needs_images:
        del rows["Chance"], rows["Action"]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    given = ", ".join(
        f"`{name}={value!r}`".replace("'", '"') for name, value in spec.kwargs.items()
    )
    own = f"The id sets {given}; `gym.make` can override each." if given else ""
    manual = inspect.getdoc(env_class(env_id))
    return f"\n{facts.summary}\n\n| | |\n|---|---|\n{table}\n\n{own}\n\n{manual}\n"


def name_choices(facts: EnvFacts) -> str:
    """What the second half of an action is, in words."""
    names = facts.choices
    shown = ", ".join(f"{number} {name}" for number, name in enumerate(names[:4]))
    if all(name == str(number) for number, name in enumerate(names)):
        return "a label"
    return shown if len(names) <= 4 else f"{shown}, …"


def result_rows(env_id: str) -> dict[str, str]:
    """The main result of an environment with its own keywords, and the time of its training."""
    for name, table in TABLES.items():
        if table.env_id != env_id:
            continue
        rows = [row for row in read_rows(RESULTS / f"{name}.json") if not row["quick"]]
        of_defaults = [entry for entry in table.rows if not entry.environment]
        entry = table.headline if table.headline in of_defaults else of_defaults[0]
        row = next((row for row in rows if row["name"] == entry.name), None)
        if row is None:
            continue
        minutes = row["seconds"] / len(row["seeds"]) / 60
        ours, random, words = row["error_mean"], row["random_gaze_error"], "% wrong"
        if table.is_game:
            ours, random, words = 100 - ours, 100 - random, "% caught"
        looks = f" with {row['num_glimpses']} glimpses" if row["num_glimpses"] else ""
        return {
            "RAM": f"[{ours:.2f}{words}](../results.md){looks}, {minutes:.0f} minutes of training",
            "Random gaze": f"{random:.1f}{words}{looks}",
        }
    return {}


def picture(env_id: str) -> str:
    """The picture of a card, if it has been drawn."""
    exists = (Path(__file__).parent / "images" / f"{env_id}.gif").exists()
    return f":img-top: ../images/{env_id}.gif\n" if exists else ""


def gallery() -> str:
    """A card with a picture for each environment; Markdown."""
    cards = [  # a picture may be drawn later than its environment is made
        f":::{{grid-item-card}} {env_id}\n:link: {env_id}\n:link-type: doc\n"
        f"{picture(env_id)}\n{describe_env(env_id).summary}\n:::"
        for env_id in ENVS
    ]
    return "::::{grid} 1 2 2 3\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n::::"


def keys_table(keys: tuple[tuple[str, str], ...]) -> str:
    """The keys of a game, as its help shows them; Markdown."""
    return "\n".join(["| keys | |", "|---|---|", *(f"| {key} | {what} |" for key, what in keys)])


def fill_in(app, docname: str, source: list[str]) -> None:
    """Add to a page what the code says."""
    if docname.removeprefix("environments/") in ENVS:
        source[0] += manual_page(docname.removeprefix("environments/"))
    if docname == "environments/index":
        listed = "```{toctree}\n:hidden:\n\n" + "\n".join(ENVS) + "\n```"
        source[0] = source[0].replace("{{ gallery }}", gallery()).replace("{{ list }}", listed)
    if docname == "play":
        os.environ["COLUMNS"] = "88"
        play_help = command.make_parser().format_help()
        source[0] = (
            source[0]
            .replace("{{ help }}", f"```text\n{play_help}```")
            .replace("{{ catch keys }}", keys_table(CatchGame.keys))
            .replace("{{ quiz keys }}", keys_table(QuizGame.keys))
            .replace("{{ arcade keys }}", keys_table(arcade_game.KEYS))
            .replace("{{ search keys }}", keys_table(SearchGame.keys))
        )


def name_only(app, doctree) -> None:
    """What lies in the repository beside docs/, and is no file to download, gets no link here."""
    folders = (Path(app.env.doc2path(app.env.docname)).parent, Path(app.srcdir).parent)
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link["reftarget"]
        if link["reftype"] == "myst" and target not in app.env.found_docs:
            paths = [folder / name for folder in folders for name in (target, f"{target}.md")]
            if any(path.exists() for path in paths):
                link.replace_self(link.children)


def leave_out(app, what, name, member, skip: bool, options) -> bool | None:
    """Fields of named tuples, of which the class's docstring says more."""
    is_field = (getattr(member, "__doc__", None) or "").startswith("Alias for field number")
    return True if is_field else None


def keep_columns(app, what, name, obj, options, lines: list[str]) -> None:
    """Names and meanings that a docstring sets in two columns become a list of definitions."""
    if what in ("attribute", "property"):  # or napoleon reads "type: text"
        lines[:0] = ["..", ""]
    kept, column = [], 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        found = re.match(r"\s*(\S+(?:,? \S+)*) {2,}(?=\S)", line)
        if found and not line.lstrip().startswith((">>>", "#", "|")):
            column, margin = found.end(), " " * indent
            kept += [f"{margin}``{found[1]}``", f"{margin}    {line[column:]}"]
        elif column and indent >= column:
            kept.append(f"{margin}    {line[column:]}")
        else:
            if column and line.strip():
                kept.append("")
            column = 0
            kept.append(line)
    lines[:] = kept


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
    app.connect("doctree-read", name_only)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", keep_columns, priority=400)  # before napoleon
