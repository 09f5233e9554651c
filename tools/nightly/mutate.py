"""Change the code in small ways, one at a time, and see whether the tests notice.

    pip install -e ".[mutate]"
    OMP_NUM_THREADS=1 python tools/nightly/mutate.py all --save results/mutation.json

mutmut makes the changes ("mutants"): another number, another operator, a missing argument, a string
in capitals. A mutant is killed when a test fails or hangs. Each module is tested by the few files
about it, so that a mutant takes about a second. Survivors are printed as diffs. With --save they
are kept, and so is the reason ("why") that somebody wrote beside one in that file.

mutmut skips code outside of functions, and decorated functions such as properties. It needs fork,
that is Linux or macOS.
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

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("ram_envs", "ram_agent", "tests", "tools", "benchmarks")
MODULES = {  # and the tests about each
    "ram_envs/retina.py": ("test_retina",),
    "ram_envs/tasks/canvas.py": ("test_canvas",),
    "ram_envs/tasks/catch.py": ("test_catch",),
    "ram_agent/losses.py": ("test_losses",),
    "ram_agent/weights.py": ("test_weights",),
}
MUTMUT = (sys.executable, "-c", "from mutmut.__main__ import cli; cli()")
KILLED = ("killed", "timeout", "segfault")
SETTINGS = """
[tool.mutmut]
source_paths = ["ram_envs", "ram_agent"]
also_copy = ["tools", "benchmarks"]
only_mutate = {modules}
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 5.0
"""


def main(args: list[str] | None = None) -> None:
    """Mutate one module, or all, one after another."""
    names = {Path(module).stem: module for module in MODULES}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", choices=[*names, "all"])
    parser.add_argument("--save", type=Path, help="write the results to this JSON file")
    settings = parser.parse_args(args)
    results: dict[str, Any] = {}
    if settings.save is not None and settings.save.exists():
        results = json.loads(settings.save.read_text(encoding="utf-8"))["modules"]
    for module in names.values() if settings.module == "all" else [names[settings.module]]:
        before = results.get(module, {"survivors": []})["survivors"]
        results[module] = mutate(module, {one["change"]: one["why"] for one in before})
    if settings.save is not None:
        write_json(settings.save, {**provenance(), "modules": results})
        print(f"Written to {settings.save}")


def mutate(module: str, reasons: dict[str, str]) -> dict[str, Any]:
    """Return a module's counts and its survivors, with the reasons known from earlier runs."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for folder in COPIED:
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / folder, scratch / folder, ignore=no_caches)
        settings = SETTINGS.format(
            modules=json.dumps([module]),
            tests=json.dumps([f"tests/{test}.py" for test in MODULES[module]]),
        )
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        (scratch / "pyproject.toml").write_text(project + settings, encoding="utf-8")
        subprocess.run([*MUTMUT, "run", "--max-children", "1"], cwd=scratch, check=True)
        listed = _mutmut(scratch, "results", "--all", "true")
        outcomes = dict(re.findall(r"^ +(\S+): (.+)$", listed, re.MULTILINE))
        survivors = []
        for mutant in (name for name, outcome in outcomes.items() if outcome not in KILLED):
            change = _changed_lines(_mutmut(scratch, "show", mutant))
            why = reasons.get(change, "")
            survivors.append({"where": _function(mutant), "change": change, "why": why})
            print(f"\n{_function(mutant)}\n{change}\n{why}")
    killed = len(outcomes) - len(survivors)
    share = 100 * killed / max(len(outcomes), 1)
    print(f"\n{module}: {killed} of {len(outcomes)} mutants killed, {share:.1f}%")
    return {
        "mutants": len(outcomes),
        "killed": killed,
        "survived": len(survivors),
        "seconds": round(time.monotonic() - started),
        "survivors": survivors,
    }


def _mutmut(scratch: Path, *command: str) -> str:
    return subprocess.run(
        [*MUTMUT, *command], cwd=scratch, capture_output=True, text=True, check=True
    ).stdout


def _function(mutant: str) -> str:
    """Return the function in a mutant's name, such as ram_envs.retina.x__halve__mutmut_3."""
    function = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")


def _changed_lines(diff: str) -> str:
    """Return the removed and added lines of a diff."""
    lines = [line for line in diff.splitlines() if line[:1] in ("-", "+")]
    return "\n".join(line for line in lines if line[:3] not in ("---", "+++"))


if __name__ == "__main__":
    main()
