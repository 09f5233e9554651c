"""How fast environments are stepped, for `ram bench` and benchmarks/; without PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ram_envs.aliases import Env, VectorEnv


class Measurement(NamedTuple):
    """One line of the table."""

    name: str
    value: float
    unit: str


class Probe(NamedTuple):
    """Something that can be measured repeatedly; `measure(seconds)` returns units per second."""

    name: str
    unit: str
    measure: Callable[[float], float]


def calls_per_second(call: Callable[[int], Any], seconds: float) -> float:
    """Call call(0), call(1), … for `seconds`; return the calls per second."""
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        call(calls)
        calls += 1
    return calls / elapsed


def step_many(envs: VectorEnv, seconds: float) -> float:
    """Return env-steps per second with random actions, drawn beforehand."""
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(16)]
    return envs.num_envs * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)


def step_single(env: Env, seconds: float) -> float:
    """Return the same for one environment, which is reset at the end of each episode."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(16)]

    def step_once(step: int) -> None:
        _, _, terminated, truncated, _ = env.step(actions[step % 16])
        if terminated or truncated:
            env.reset()

    return calls_per_second(step_once, seconds)
