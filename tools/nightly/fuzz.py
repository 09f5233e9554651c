"""Feed the readers of strangers' files with damaged and hostile ones, guided by coverage.

    pip install -e ".[agent,play,fuzz]"
    python tools/fuzz.py all --seconds 60
    python tools/fuzz.py npz --runs 1000000 --corpus runs/fuzz

A reader may take an input or refuse it in words, with the exceptions that its docstring names, in
less than a second and 100 MB (`tools/fuzz_targets.py`). Starts from `tests/fuzz_corpus`; with
--corpus it keeps what it finds and goes on from there. Exits with 1 where a target failed, and
names the input: fix the reader, and put the input into `tests/fuzz_corpus` under its target.
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

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "fuzz_corpus"
MOST_INPUT_BYTES = 2**14
MOST_MORE_BYTES = 2**30  # of address space, beyond what the process has when it begins
WATCHED = ("ram_envs", "ram_agent", "PIL")  # whose branches guide it
ALSO_WATCHED = (  # of which only these modules are: all of torch would take minutes
    *("gzip", "json.decoder", "json.scanner", "pickletools", "zipfile", "numpy.lib._format_impl"),
    *("torch.serialization", "torch._weights_only_unpickler", "torch._utils"),
)


def main(args: list[str] | None = None) -> None:
    """Fuzz one target or all; exit with 1 if any failed."""
    names = sorted(folder.name for folder in CORPUS.iterdir())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=[*names, "all"])
    parser.add_argument("--runs", type=int, help="inputs for each target; without end if not given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target; 0 is without end")
    parser.add_argument("--jobs", type=int, default=1, help="targets that are fuzzed side by side")
    parser.add_argument("--seed", type=int, default=1, help="of the changes")
    parser.add_argument("--corpus", type=Path, help="keep what is found here, and go on from it")
    parser.add_argument("--failures", type=Path, default=Path("runs/fuzz-failures"))
    parser.add_argument("--save", type=Path, help="add the figures to this JSON file")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    settings = parser.parse_args(args)
    if settings.inside:
        fuzz_inside(settings)
        return
    picked = names if settings.target == "all" else [settings.target]
    runs = []
    with ThreadPoolExecutor(settings.jobs) as pool:  # of threads that wait for processes
        for done in as_completed(pool.submit(fuzz, name, settings) for name in picked):
            runs.append(done.result())
            if settings.save is not None:
                save(settings.save, runs[-1])
    inputs = sum(run["inputs"] for run in runs)
    failed = [run["failure"] for run in runs if run["failure"]]
    print(f"{inputs:,} inputs in all; {len(failed)} of {len(runs)} targets failed")
    for path in failed:
        print(f"  {path}")
    sys.exit(bool(failed))


def save(path: Path, run: dict[str, Any]) -> None:
    """Add the figures of one target's run to those that the file has."""
    from ram_agent.provenance import provenance
    from ram_envs.atomic_files import write_json

    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
    failure = run["failure"] and Path(run["failure"]).name
    runs.append({**run, "failure": failure, **provenance()})
    write_json(path, {"inputs": sum(run["inputs"] for run in runs), "runs": runs})


def fuzz(name: str, settings: argparse.Namespace) -> dict[str, Any]:
    """Fuzz a target in a process of its own, which ends with its first failure."""
    settings.failures.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, name, "--inside", "--seconds", str(settings.seconds)]
    command += ["--seed", str(settings.seed), "--failures", str(settings.failures)]
    if settings.runs is not None:
        command += ["--runs", str(settings.runs)]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        command += ["--corpus", str(settings.corpus or scratch)]
        process = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    said = process.stdout
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", said) or [(0, 0, 0)]
    failure = re.search(r"Test unit written to (\S+)", said)
    result: dict[str, Any] = {
        "target": name,
        "seed": settings.seed,
        "inputs": _number(r"stat::number_of_executed_units: +(\d+)", said),
        "branches": int(coverage[-1][0]),
        "features": int(coverage[-1][1]),
        "corpus": int(coverage[-1][2]),
        "seconds": round(time.perf_counter() - started, 1),
        "failure": failure and failure.group(1),
    }
    if process.returncode and failure is None:
        sys.exit(f"{said}\n{name} could not be fuzzed: see above.")
    print(
        f"{name:<10} {result['inputs']:>10,} inputs {result['branches']:>6} branches "
        f"{result['seconds']:>5} s  {result['failure'] or 'no failure'}",
        flush=True,
    )
    if failure:
        print(said[-4000:])
    return result


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def fuzz_inside(settings: argparse.Namespace) -> None:
    """Become the fuzzer of one target; does not return."""
    import atheris
    import gymnasium  # noqa: F401  like the next, not to be watched
    import torch  # noqa: F401
    import tyro  # noqa: F401

    for module in ALSO_WATCHED:
        watch(atheris.instrument_func, importlib.import_module(module))
    with atheris.instrument_imports(include=list(WATCHED)):
        import fuzz_targets
        from PIL import Image

        Image.init()  # which imports a module for each format
    import fuzz_mutations

    name = settings.target

    def change(content: bytes) -> bytes:
        return bytes(atheris.Mutate(content, MOST_INPUT_BYTES))

    def mutate(content: bytes, max_size: int, seed: int) -> bytes:
        mutated = fuzz_mutations.mutate(content, random.Random(seed), change)
        return mutated if len(mutated) <= max_size else content

    numbers = itertools.count()

    def check(content: bytes) -> None:
        if next(numbers) % 1000 == 0:
            limit_address_space()
        fuzz_targets.check_input(name, content)

    for path in sorted((CORPUS / name).iterdir()):  # whatever is made once is made now
        fuzz_targets.check_input(name, path.read_bytes(), most_seconds=math.inf)
    settings.corpus.mkdir(parents=True, exist_ok=True)
    found = settings.corpus / name
    found.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={settings.seconds}",
        f"-runs={-1 if settings.runs is None else settings.runs}",
        f"-seed={settings.seed}",
        f"-max_len={MOST_INPUT_BYTES}",
        "-len_control=0",
        "-timeout=20",  # `check_input` counts the processor's seconds; this ends what hangs
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={settings.failures}/{name}-",
    ]
    atheris.Setup(
        [sys.argv[0], *options, str(found), str(CORPUS / name)],
        check,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


def watch(instrument: Callable[[Any], Any], module: Any) -> None:
    """Let the branches of a module that was imported already guide the fuzzer."""
    for owner in (module, *(kind for _, kind in inspect.getmembers(module, inspect.isclass))):
        for function in vars(owner).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                instrument(function)


def limit_address_space() -> None:
    """Let a single allocation that is far too large fail, even if nothing is written to it.

    From time to time anew: a process that has read a million inputs, and what its fuzzer notes of
    them, is larger than at first.
    """
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    main()
