"""Feed the file readers with damaged and hostile input, guided by coverage.

    pip install -e ".[agent,play,fuzz]"
    python tools/nightly/fuzz.py all --seconds 60
    python tools/nightly/fuzz.py npz --runs 1000000 --corpus runs/fuzz

A reader may accept an input, or refuse it with the exceptions of its docstring, within the limits
of `fuzz_targets.py`. Fuzzing starts from `tests/fuzz_corpus`; with --corpus, new inputs are kept
and the next call continues from them. The exit code is 1 if a target failed.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).resolve().parents[2] / "tests" / "fuzz_corpus"
MAX_INPUT_BYTES = 2**14
MAX_NEW_BYTES = 2**30  # of address space, beyond what the process has at the start
WATCHED = ("ram_envs", "ram_agent", "PIL")  # packages whose branches guide the fuzzer
WATCHED_MODULES = ("gzip", "json.decoder", "json.scanner", "zipfile", "numpy.lib._format_impl")


def main(args: list[str] | None = None) -> None:
    """Fuzz one target or all; exit with 1 if any failed."""
    names = sorted(folder.name for folder in CORPUS.iterdir())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=[*names, "all"])
    parser.add_argument("--runs", type=int, default=-1, help="inputs per target; -1: no limit")
    parser.add_argument("--seconds", type=int, default=60, help="per target; 0: no limit")
    parser.add_argument("--jobs", type=int, default=1, help="targets fuzzed at the same time")
    parser.add_argument("--seed", type=int, default=1, help="seed of the changes")
    parser.add_argument("--corpus", type=Path, help="keep new inputs in this folder")
    parser.add_argument("--failures", type=Path, default=Path("runs/fuzz-failures"))
    parser.add_argument("--save", type=Path, help="add the counts to this JSON file")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    settings = parser.parse_args(args)
    if settings.inside:
        fuzz_inside(settings)
        return
    runs = []
    with ThreadPoolExecutor(settings.jobs) as pool:  # the threads wait for processes
        picked = names if settings.target == "all" else [settings.target]
        for done in as_completed(pool.submit(fuzz, name, settings) for name in picked):
            runs.append(done.result())
            if settings.save is not None:
                save(settings.save, runs[-1])
    inputs = sum(run["inputs"] for run in runs)
    failures = [run["failure"] for run in runs if run["failure"]]
    print(f"{inputs:,} inputs; {len(failures)} of {len(runs)} targets failed", *failures, sep="\n")
    sys.exit(bool(failures))


def save(path: Path, run: dict[str, Any]) -> None:
    """Add the counts of one target's run to the file."""
    from ram_agent.provenance import provenance
    from ram_envs.atomic_files import write_json

    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
    failure = run["failure"] and Path(run["failure"]).name
    runs.append({**run, "failure": failure, **provenance()})
    write_json(path, {"inputs": sum(run["inputs"] for run in runs), "runs": runs})


def fuzz(name: str, settings: argparse.Namespace) -> dict[str, Any]:
    """Fuzz a target in a new process, which ends with its first failure; return the counts."""
    settings.failures.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        options = {
            "seconds": settings.seconds,
            "runs": settings.runs,
            "seed": settings.seed,
            "failures": settings.failures,
            "corpus": settings.corpus or scratch,
        }
        flags = [f"--{option}={value}" for option, value in options.items()]
        process = subprocess.run(
            [sys.executable, __file__, name, "--inside", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    output = process.stdout
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", output) or [(0, 0, 0)]
    inputs = re.search(r"stat::number_of_executed_units: +(\d+)", output)
    failure = re.search(r"Test unit written to (\S+)", output)
    if process.returncode and failure is None:
        sys.exit(f"{output}\n{name} could not be fuzzed: see above.")
    result: dict[str, Any] = {
        "target": name,
        "seed": settings.seed,
        "inputs": int(inputs.group(1)) if inputs else 0,
        **dict(zip(("branches", "features", "corpus"), map(int, coverage[-1]), strict=True)),
        "seconds": round(time.perf_counter() - started, 1),
        "failure": failure and failure.group(1),
    }
    print(result, output[-4000:] if failure else "", flush=True)
    return result


def fuzz_inside(settings: argparse.Namespace) -> None:
    """Become the fuzzer of one target; do not return."""
    import atheris
    import gymnasium  # noqa: F401  imported early, like the next two, so as not to be watched
    import torch  # noqa: F401
    import tyro  # noqa: F401

    for module in WATCHED_MODULES:
        watch(atheris.instrument_func, importlib.import_module(module))
    with atheris.instrument_imports(include=list(WATCHED)):
        import fuzz_targets
        from PIL import Image

        Image.init()  # imports a module for each format
    import fuzz_mutations

    name = settings.target
    numbers = itertools.count()

    def change(content: bytes) -> bytes:
        return bytes(atheris.Mutate(content, MAX_INPUT_BYTES))

    def mutate(content: bytes, max_size: int, seed: int) -> bytes:
        mutated = fuzz_mutations.mutate(content, random.Random(seed), change)
        return mutated if len(mutated) <= max_size else content

    def check(content: bytes) -> None:
        if next(numbers) % 1000 == 0:
            limit_address_space()
        fuzz_targets.check_input(name, content)

    for path in sorted((CORPUS / name).iterdir()):  # fills all caches
        fuzz_targets.check_input(name, path.read_bytes(), max_seconds=math.inf)
    found = settings.corpus / name
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={settings.seconds}",
        f"-runs={settings.runs}",
        f"-seed={settings.seed}",
        f"-max_len={MAX_INPUT_BYTES}",
        "-len_control=0",
        "-timeout=20",  # for hangs; `check_input` limits the seconds of the processor
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={settings.failures}/{name}-",
    ]
    arguments = [sys.argv[0], *options, str(found), str(CORPUS / name)]
    atheris.Setup(arguments, check, custom_mutator=mutate)
    atheris.Fuzz()


def watch(instrument: Callable[[Any], Any], module: Any) -> None:
    """Let the branches of a module that is imported already guide the fuzzer."""
    for owner in (module, *(kind for _, kind in inspect.getmembers(module, inspect.isclass))):
        for function in vars(owner).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                instrument(function)


def limit_address_space() -> None:
    """Let a far too large allocation fail, even if nothing is written to it.

    Call it repeatedly: after a million inputs the process, with the fuzzer's notes, has grown.
    """
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_NEW_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    main()
