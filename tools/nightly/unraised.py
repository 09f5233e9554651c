"""List the `raise` statements that no test reaches, after `make coverage`, which runs this.

Each of them is an error that somebody may meet and whose words nobody has seen yet.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ram_envs", "ram_agent")


def main() -> None:
    """Print them with their places; exit with 1 if there are any."""
    data = coverage.Coverage()
    data.load()
    count, unreached = 0, []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            *_, missing, _ = data.analysis2(str(path))
            for line in find_raises(text):
                count += 1
                if line in missing:
                    words = text.splitlines()[line - 1].strip()
                    unreached.append(f"{path.relative_to(ROOT)}:{line}: {words}")
    print("\n".join(unreached))
    print(f"{count - len(unreached)} of {count} raise statements are reached by a test")
    sys.exit(bool(unreached))


def find_raises(text: str) -> list[int]:
    """The lines of a program's `raise` statements, but for those that raise an error again.

    An AssertionError is left out too: it says that its line cannot be reached.
    """
    raises = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Raise)]
    named = [node for node in raises if node.exc is not None]
    return sorted(node.lineno for node in named if "AssertionError" not in ast.unparse(node))


if __name__ == "__main__":
    main()
