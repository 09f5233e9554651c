"""List the `raise` statements that no test reaches; the last step of `make coverage`.

Each of them may show users a message that no test has seen.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ram_envs", "ram_agent")


def main() -> None:
    """Print the unreached statements with their places; exit with 1 if there are any."""
    data = coverage.Coverage()
    data.load()
    count, unreached = 0, []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        *_, missing, _ = data.analysis2(str(path))
        lines = find_raises(text)
        count += len(lines)
        for line in sorted({*lines} & {*missing}):
            source = text.splitlines()[line - 1].strip()
            unreached.append(f"{path.relative_to(ROOT)}:{line}: {source}")
    print("\n".join(unreached))
    print(f"{count - len(unreached)} of {count} raise statements are reached by a test")
    sys.exit(bool(unreached))


def find_raises(text: str) -> list[int]:
    """Return the lines of a program's `raise` statements.

    A bare `raise` is left out, and so is an AssertionError, which marks an unreachable line.
    """
    raises = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Raise)]
    return [
        node.lineno
        for node in raises
        if node.exc is not None and "AssertionError" not in ast.unparse(node)
    ]


if __name__ == "__main__":
    main()
