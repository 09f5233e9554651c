"""What `ram bench` measures: steps of environments, glimpses, matrix products, trainings."""

from __future__ import annotations

import dataclasses
import functools
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_agent.agent import RAMAgent
from ram_agent.presets import preset
from ram_agent.rollout import collect_rollout
from ram_agent.segment_shard import SegmentShard
from ram_agent.stepping import Measurement, Probe, calls_per_second, step_many, step_single
from ram_agent.trainer import Trainer
from ram_envs.device_env import DeviceVectorEnv, place_envs, why_on_host
from ram_envs.registration import dataset_keywords
from ram_envs.retina import Retina

SYNC_ENVS = 16  # Gymnasium's SyncVectorEnv gets no faster with more of them
MEMORY_ENVS = 1024


# --- environments ------------------------------------------------------------------------------


def env_probes(env_id: str, dataset: str, numbers: Sequence[int]) -> Iterator[Probe]:
    """Yield env-steps per second: one environment, SyncVectorEnv, and native."""
    keywords = dataset_keywords(env_id, dataset)
    single = gym.make(env_id, **keywords)
    yield Probe(f"{env_id}, single", "env-steps/s", functools.partial(step_single, single))
    sync = gym.make_vec(env_id, num_envs=SYNC_ENVS, vectorization_mode="sync", **keywords)
    native = [gym.make_vec(env_id, num_envs=number, **keywords) for number in numbers]
    for kind, envs in [("SyncVectorEnv", sync), *(("native", envs) for envs in native)]:
        name = f"{env_id}, {kind} × {envs.num_envs}"
        yield Probe(name, "env-steps/s", functools.partial(step_many, envs))


def retina_probes() -> list[Probe]:
    """Return glimpses per second of 12 × 12 at three scales, of 128 images 60 × 60."""
    retina, batch = Retina(12, 3), 128
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, 60, 60), np.uint8)
    locations = random.uniform(-1, 1, (16, batch, 2)).astype(np.float32)
    padded = retina.allocate(batch, (60, 60))
    retina.fill(padded, images, np.arange(batch))

    def rate(look: Callable[[Any], Any], seconds: float) -> float:
        return batch * calls_per_second(lambda step: look(locations[step % 16]), seconds)

    name = "retina 12 × 12 × 3, 60 × 60, batch 128, image looked at"
    often = functools.partial(rate, lambda where: retina.look(padded, where))
    once = functools.partial(rate, lambda where: retina(images, where))
    return [
        Probe(f"{name} often", "glimpses/s", often),
        Probe(f"{name} once", "glimpses/s", once),
    ]


def device_env_probes(
    env_id: str, dataset: str, numbers: Sequence[int], device: torch.device
) -> Iterator[Probe]:
    """Yield env-steps per second on a device; none if the environment stays on the CPU."""
    for num_envs in numbers:
        keywords = dataset_keywords(env_id, dataset) | {"autoreset_mode": "Disabled"}
        envs = gym.make_vec(env_id, num_envs=num_envs, **keywords)
        if why_on_host(envs) is not None:
            return
        on_device = DeviceVectorEnv(envs, device)
        name = f"{env_id}, on {device} × {num_envs}"
        yield Probe(name, "env-steps/s", functools.partial(step_on_device, on_device))


def step_on_device(envs: DeviceVectorEnv, seconds: float) -> float:
    """Return env-steps per second of whole episodes with random locations."""
    num_glimpses: int = envs.task.num_glimpses
    locations = 2 * torch.rand(num_glimpses, envs.num_envs, 2, device=envs.device) - 1
    choices = torch.zeros(envs.num_envs, dtype=torch.int64, device=envs.device)

    def play(episode: int) -> None:
        envs.reset(seed=episode)
        for location in locations:
            envs.step((location, choices))
        _wait_for(envs.device)

    play(0)
    return envs.num_envs * num_glimpses * calls_per_second(play, seconds)


def device_retina_probe(batch: int, device: torch.device) -> Probe:
    """Return glimpses per second of 12 × 12 at three scales, of images 60 × 60, sixteen each."""
    retina = Retina(12, 3)
    images = torch.randint(256, (batch, 60, 60), dtype=torch.uint8, device=device)
    locations: Any = 2 * torch.rand(16, batch, 2, device=device) - 1

    def look(_: int) -> None:
        for where in locations:
            retina(images, where)  # type: ignore[arg-type]
        _wait_for(device)

    def rate(seconds: float) -> float:
        return 16 * batch * calls_per_second(look, seconds)

    return Probe(f"retina 12 × 12 × 3, 60 × 60, batch {batch}, {device}", "glimpses/s", rate)


def matmul_probe(device: torch.device, size: int, dtype: str, where: str) -> Probe:
    """Return the GFLOP/s of a product of two square matrices of side `size`."""

    def rate(seconds: float) -> float:
        left, right = torch.rand(2, size, size, device=device, dtype=getattr(torch, dtype))
        result = torch.mm(left, right)

        def multiply(_: int) -> None:
            torch.mm(left, right, out=result)
            _wait_for(device)

        multiply(0)
        return 2 * size**3 * calls_per_second(multiply, seconds) / 1e9

    return Probe(f"matrix product, {size} × {size}, {dtype}, {where}", "GFLOP/s", rate)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_memory(dataset: str) -> float:
    """Return the megabytes that MEMORY_ENVS cluttered canvases take beside the data set."""
    keywords = dataset_keywords("RAMClutteredMNIST-v0", dataset)
    gym.make("RAMClutteredMNIST-v0", **keywords).reset(seed=0)  # loads the data set
    tracemalloc.start()
    try:
        envs = gym.make_vec("RAMClutteredMNIST-v0", num_envs=MEMORY_ENVS, **keywords)
        envs.reset(seed=0)
        envs.step(envs.action_space.sample())
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


# --- training ----------------------------------------------------------------------------------


class TimedEnvs(gym.vector.VectorWrapper):
    """A wrapper that adds up the seconds spent in the environments."""

    seconds = 0.0

    def reset(self, **keywords: Any) -> Any:
        return self._time(self.env.reset, **keywords)

    def step(self, actions: Any) -> Any:
        return self._time(self.env.step, actions)

    def _time(self, call: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        result = call(*args, **keywords)
        self.seconds += time.perf_counter() - started
        return result


class Training:
    """A training of RAM with the default preset, one thread for each shard of the batch."""

    def __init__(
        self,
        env_id: str,
        dataset: str,
        batch_size: int | None = None,
        num_threads: int = 1,
        device: torch.device | None = None,
    ) -> None:
        agent_config, config, _ = preset("default", env_id)
        batch_size = batch_size or config.batch_size
        config = dataclasses.replace(config, batch_size=batch_size)
        keywords = dataset_keywords(env_id, dataset) | {"autoreset_mode": "Disabled"}
        shards = []
        for _ in range(num_threads):
            envs = gym.make_vec(env_id, num_envs=batch_size // num_threads, **keywords)
            shards.append(TimedEnvs(envs if device is None else place_envs(envs, device)))
        self.envs = shards[0]
        space, action_space = self.envs.single_observation_space, self.envs.single_action_space
        self.agent = RAMAgent(space, action_space, agent_config).to(device or "cpu")
        if "dataset" in keywords:
            keywords = keywords | {"split": "validation"}
        validation_envs = gym.make_vec(env_id, num_envs=1, **keywords)
        self.trainer = Trainer(self.agent, shards, validation_envs, config)
        self.optimizer_seconds = 0.0
        self.trainer.optimizer.register_step_pre_hook(self._start_optimizer_clock)
        self.trainer.optimizer.register_step_post_hook(self._stop_optimizer_clock)
        self.batch_size = batch_size
        self.device = device
        how = {1: "one thread", 2: "two threads"}[num_threads] if device is None else str(device)
        self.name = f"training {env_id}, batch {batch_size}, {how}"
        self.probe = Probe(self.name, "images/s", self.measure)
        self.best_rate = 0.0
        self.shares: dict[str, float] = {}  # of the fastest measurement's time
        self._learn(0)  # the first update allocates

    def measure(self, seconds: float) -> float:
        """Return images, or games, per second, of at least one update."""
        envs_before, optimizer_before = self.envs.seconds, self.optimizer_seconds
        updates, elapsed = self._learn(seconds)
        environment = self.envs.seconds - envs_before
        optimizer = self.optimizer_seconds - optimizer_before
        forward = updates * self._forward_seconds()
        rate = updates * self.batch_size / elapsed
        if rate > self.best_rate:
            self.best_rate = rate
            self.shares = {
                "environment": environment / elapsed,
                "forward": forward / elapsed,
                "backward": 1 - (environment + forward + optimizer) / elapsed,
                "optimizer": optimizer / elapsed,
            }
        return rate

    def details(self, rate: float, matmul_rates: dict[str, float]) -> list[Measurement]:
        """Return where the time goes and how much of the machine's rate is used.

        On a device, which works while Python goes on, time cannot be attributed; its env-steps per
        second are returned instead.
        """
        flops, num_steps = self.count_forward_flops()
        # A backward pass has twice the products of a forward pass; segments are played first.
        passes = 3
        if isinstance(self.trainer.shards[0], SegmentShard):
            passes = 1 + 3 * self.trainer.config.segments.passes
        model_rate = passes * flops * rate / 1e9
        details = {f"time in the {part}": (100 * share, "%") for part, share in self.shares.items()}
        if self.device is not None:
            details = {"steps": (rate * num_steps, "env-steps/s")}
        details["products of the model"] = (model_rate, "GFLOP/s")
        for whose, matmul_rate in matmul_rates.items():
            details[f"share of the {whose}"] = (100 * model_rate / matmul_rate, "%")
        return [Measurement(f"{self.name}: {what}", *value) for what, value in details.items()]

    def count_forward_flops(self) -> tuple[int, int]:
        """Return an episode's operations in matrix products of the forward pass, and its steps."""
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            rollout = collect_rollout(self.agent, self.envs, seed=0)
        return int(counter.get_total_flops()) // self.batch_size, len(rollout.rewards)

    def _learn(self, seconds: float) -> tuple[int, float]:
        updates, started = 0, time.perf_counter()
        while True:
            self.trainer.train_one_update()
            updates += 1
            if (elapsed := time.perf_counter() - started) >= seconds:
                return updates, elapsed

    def _forward_seconds(self) -> float:
        """Measure one rollout, without the environment's share."""
        envs_before, started = self.envs.seconds, time.perf_counter()
        collect_rollout(self.agent, self.envs, seed=0)
        return time.perf_counter() - started - (self.envs.seconds - envs_before)

    def _start_optimizer_clock(self, *_: Any) -> None:
        self.optimizer_seconds -= time.perf_counter()

    def _stop_optimizer_clock(self, *_: Any) -> None:
        self.optimizer_seconds += time.perf_counter()
