"""The structure of the code: which file may import which, and how long files and classes may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 470
MAX_CLASS_LINES = 250
PACKAGES = ("ram_envs", "ram_agent")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, in functions too; not for types alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
        waiting += ast.iter_child_nodes(node)
    return found


IMPORTS = {name: imported_modules(path) for name, path in MODULES.items()}


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle; empty if there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, set()) & graph.keys()):
            if circle := visit(other, [*path, name]):
                return circle
        done.add(name)
        return []

    for name in graph:
        if circle := visit(name, []):
            return circle
    return []


def test_no_files_import_each_other() -> None:
    assert find_circle(IMPORTS) == []


def test_a_circle_is_found() -> None:
    assert find_circle({"a": {"b", "x"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b"}, "b": set(), "c": {"a", "b"}}) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_classes_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_CLASS_LINES, node.name


FORBIDDEN = {  # a module, or those in a package: what it does not import
    "ram_envs.checks": {"ram_envs", "torch"},
    "ram_envs.tasks": {
        "gymnasium",
        "pygame",
        "torch",
        "ram_envs.rendering",
        "ram_envs.glimpse_env",
    },
    "ram_envs.retina": {"gymnasium", "pygame", "torch"},
    "ram_envs.datasets": {"torch", "pygame", "ram_envs.tasks", "ram_envs.envs", "ram_envs.retina"},
    "ram_envs.rendering": {"torch"},
    "ram_agent.networks": {"gymnasium", "ram_envs"},
    "ram_agent.losses": {"gymnasium", "ram_envs", "ram_agent"},
    "ram_agent.agent": {"ram_envs"},  # except for what both packages share, below
    "ram_agent.objective": {"gymnasium", "ram_envs"},
    "ram_agent.config": {"gymnasium", "torch", "tyro", "ram_envs"},
    "ram_agent.presets": {"gymnasium", "torch", "tyro", "ram_envs"},
    "ram_agent.weights": {"gymnasium", "ram_agent.agent"},
    "ram_agent.trainer": {"ram_envs", "ram_agent.commands", "ram_agent.paper"},
}


SHARED = {  # helpers of both
    "ram_envs.aliases",
    "ram_envs.arguments",
    "ram_envs.atomic_files",
    "ram_envs.checks",
}


def lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("importer", FORBIDDEN)
def test_imports_run_one_way(importer: str) -> None:
    for name, imports in IMPORTS.items():
        if lies_in(name, importer):
            wrong = [
                other
                for other in imports - (set() if importer == "ram_agent.config" else SHARED)
                for package in FORBIDDEN[importer]
                if lies_in(other, package)
            ]
            assert not wrong, f"{name} imports {wrong}"


def test_environments_know_no_agent() -> None:
    """Only `ram play` loads one, when an opponent is asked for."""
    for name, imports in IMPORTS.items():
        if lies_in(name, "ram_envs") and not lies_in(name, "ram_envs.play"):
            assert not [other for other in imports if lies_in(other, "ram_agent")], name
