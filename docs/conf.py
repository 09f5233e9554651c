"""Makes a site of docs/ and of the docstrings, with Sphinx; `make docs` builds it.

Manual pages of environments, the help of `ram play` and the reference are taken from the code, so
that they say what it does.
"""

import inspect
import os
import re
from pathlib import Path

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from sphinx import addnodes

import ram_envs
from ram_envs.play import command, screen
from ram_envs.registration import ENVS

project = "ram-gym"
author = "The ram-gym authors"
project_copyright = author
release = ram_envs.__version__
html_title = f"{project} {release}"
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # as GitHub makes them
default_role = "code"  # docstrings say `this`, as Markdown does
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
# What other packages document can't be linked to without a network.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(np|npt|numpy|gym|gymnasium|spaces|torch|nn|pathlib|collections|stable_baselines3)\..*",
    ),
    (
        "py:.*",
        r"Tensor|ResetNeeded|DependencyNotInstalled|.*\.(State|Config|Settings|Checked|Folder)",
    ),
    ("py:class", r"(dict|tuple)\[str"),  # napoleon splits the type of an attribute at its comma
]


def manual_page(env_id: str) -> str:
    """How an environment is made and, from its class, its manual page; Markdown."""
    spec = gym.spec(env_id)
    env_class = load_env_creator(spec.entry_point)
    given = ", ".join(
        f"`{name}={value!r}`".replace("'", '"') for name, value in spec.kwargs.items()
    )
    own = f"The id stands for {given}; each of these can be given otherwise." if given else ""
    return f'\n```py\nenv = gym.make("{env_id}")\n```\n\n{own}\n\n{inspect.getdoc(env_class)}\n'


def keys_table(keys: tuple[tuple[str, str], ...]) -> str:
    """The keys of a game, as its help shows them; Markdown."""
    return "\n".join(["| keys | |", "|---|---|", *(f"| {key} | {what} |" for key, what in keys)])


def fill_in(app, docname: str, source: list[str]) -> None:
    """Add to a page what the code says."""
    if docname.removeprefix("environments/") in ENVS:
        source[0] += manual_page(docname.removeprefix("environments/"))
    if docname == "play":
        os.environ["COLUMNS"] = "88"
        play_help = command.make_parser().format_help()
        source[0] = (
            source[0]
            .replace("{{ help }}", f"```text\n{play_help}```")
            .replace("{{ catch keys }}", keys_table(screen.CATCH_KEYS))
            .replace("{{ quiz keys }}", keys_table(screen.QUIZ_KEYS))
            .replace("{{ search keys }}", keys_table(screen.SEARCH_KEYS))
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
