"""Change the code in small ways, one at a time, and see whether the tests notice.

    pip install -e ".[agent,play,mutate]"
    OMP_NUM_THREADS=1 python tools/mutate.py all --save results/mutation.json

mutmut makes the changes ("mutants"): another number, another operator, an argument left out, a text
in capitals. A mutant is killed when a test fails or hangs. Each module has the few test files that
are about it, so that a mutant takes about a second. What survives is printed as a diff; with
--save it is kept, and what somebody wrote about it in that file ("why" it may survive) stays.

mutmut leaves out what stands outside of functions, and functions with decorators, such as
properties. It needs Linux or macOS, where processes fork.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_json

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("ram_envs", "ram_agent", "tests", "tools", "benchmarks")
MODULES = {  # and the tests that are about it
    "ram_envs/retina.py": ("test_retina",),
    "ram_envs/tasks/canvas.py": ("test_canvas",),
    "ram_envs/tasks/catch.py": ("test_catch",),
    "ram_agent/losses.py": ("test_losses",),
    "ram_agent/weights.py": ("test_checkpoint",),
}
ONLY_ON_WINDOWS = ('"win32"', "msvcrt", r"2\*\*20, os\.SEEK_SET")  # lines that are left as they are
MUTMUT = (sys.executable, "-c", "from mutmut.__main__ import cli; cli()")
KILLED = ("killed", "timeout", "segfault")


def main(args: list[str] | None = None) -> None:
    """Mutate one module or all, one after another."""
    names = {Path(module).stem: module for module in MODULES}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", choices=[*names, "all"])
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file")
    settings = parser.parse_args(args)
    picked = names.values() if settings.module == "all" else [names[settings.module]]
    results: dict[str, Any] = {}
    if settings.save is not None and settings.save.exists():
        results = json.loads(settings.save.read_text(encoding="utf-8"))["modules"]
    for module in picked:
        before = results.get(module, {"survivors": []})["survivors"]
        results[module] = mutate(module, {one["change"]: one["why"] for one in before})
    if settings.save is not None:
        write_json(settings.save, {**provenance(), "modules": results})
        print(f"Written to {settings.save}")


def mutate(module: str, why: dict[str, str]) -> dict[str, Any]:
    """The figures of one module, and its survivors."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for folder in COPIED:
            shutil.copytree(
                ROOT / folder, scratch / folder, ignore=shutil.ignore_patterns("__pycache__")
            )
        tests = [f"tests/{test}.py" for test in MODULES[module]]
        settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + (
            "\n[tool.mutmut]\n"
            'source_paths = ["ram_envs", "ram_agent"]\n'
            'also_copy = ["tools", "benchmarks"]\n'
            f"only_mutate = {json.dumps([module])}\n"
            f"pytest_add_cli_args_test_selection = {json.dumps(tests)}\n"
            f"do_not_mutate_patterns = {json.dumps(ONLY_ON_WINDOWS)}\n"
            "timeout_multiplier = 5.0\n"
        )
        (scratch / "pyproject.toml").write_text(settings, encoding="utf-8")
        subprocess.run([*MUTMUT, "run", "--max-children", "1"], cwd=scratch, check=True)
        told = _ask(scratch, "results", "--all", "true")
        status = dict(re.findall(r"^ +(\S+): (.+)$", told, re.MULTILINE))
        survivors = [name for name, word in status.items() if word not in KILLED]
        changes = [_ask(scratch, "show", name) for name in survivors]
    result = {
        "mutants": len(status),
        "killed": len(status) - len(survivors),
        "survived": len(survivors),
        "seconds": round(time.monotonic() - started),
        "survivors": [
            {"where": _place(name), "change": change, "why": why.get(change, "")}
            for name, change in zip(survivors, map(_lines, changes), strict=True)
        ],
    }
    for one in result["survivors"]:
        print(f"\n{one['where']}\n{one['change']}\n{one['why']}")
    share = 100 * result["killed"] / max(len(status), 1)
    print(f"\n{module}: {result['killed']} of {len(status)} mutants killed, {share:.1f} %")
    return result


def _ask(scratch: Path, *command: str) -> str:
    return subprocess.run(
        [*MUTMUT, *command], cwd=scratch, capture_output=True, text=True, check=True
    ).stdout


def _place(name: str) -> str:
    """The function in mutmut's name of a mutant, such as ram_envs.retina.x__halve__mutmut_3."""
    function = name.rpartition(".")[2].rpartition("__mutmut_")[0]
    return function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")


def _lines(diff: str) -> str:
    """The lines of a diff that were taken away and put in."""
    lines = [line for line in diff.splitlines() if line[:1] in ("-", "+")]
    return "\n".join(line for line in lines if line[:3] not in ("---", "+++"))


if __name__ == "__main__":
    main()
