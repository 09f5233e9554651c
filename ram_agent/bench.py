"""The command `ram bench`: how fast this machine steps the environments and trains RAM.

Every figure of a run is measured several times, in turn with all others, and the best counts:
what else a machine does only ever slows. So figures of one run can be compared with each other;
those of two runs with care.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from ram_agent.agent import RAMAgent
from ram_agent.config import preset
from ram_agent.distributed import checked_device
from ram_agent.provenance import provenance
from ram_agent.rollout import collect_rollout
from ram_agent.trainer import Trainer
from ram_envs.atomic_files import write_json
from ram_envs.device_env import DeviceVectorEnv, place_envs, why_on_host
from ram_envs.registration import CLASSIFICATION, ENVS
from ram_envs.retina import Retina

MATMUL_SIZE = 1024  # of the square matrices whose product is the machine's own rate
DEVICE_MATMUL_SIZE = 4096  # on a GPU, which a smaller product does not fill
SYNC_ENVS = 16  # in Gymnasium's SyncVectorEnv, which is no faster with more
MEMORY_ENVS = 1024
WIDTH = 80  # of a name in the table


@dataclass(frozen=True)
class Bench:
    """Measure how fast this machine steps the environments, looks, and trains RAM.

    Examples:
      ram bench --save before.json
      ram bench --env-ids RAMCatch-v0 --num-envs 128 --train
      ram bench --compare before.json after.json
      ram bench --device cuda --train RAMClutteredMNIST-v0 --batch-size 8192
    """

    env_ids: tuple[str, ...] = tuple(env_id for env_id in ENVS if env_id != "RAMClassification-v0")
    """Which environments to step."""

    num_envs: tuple[int, ...] = (1, 16, 128, 256, 1024)
    """Sub-environments of the native vector environment."""

    train: tuple[str, ...] = ("RAMMNIST-v0", "RAMClutteredMNIST-v0", "RAMCatch-v0")
    """Where RAM is trained, with its default preset; none to leave it out."""

    batch_size: int | None = None
    """Episodes of an update in training; the preset's if not given."""

    device: str = "cpu"
    """With cuda: environments, retina and training there, beside its own matrix product."""

    dataset: str = "auto"
    """mnist, digits or auto."""

    seconds: float = 0.3
    """How long each measurement takes."""

    repeats: int = 5
    """How often each is taken; the best counts."""

    peers: bool = False
    """Measure other projects too, those of ap_gym, oculr, envpool and bsuite that are installed."""

    save: Path | None = None
    """Write the figures to this JSON file."""

    compare: tuple[Path, Path] | None = None
    """Measure nothing; print the ratios of two files that --save wrote."""

    def __post_init__(self) -> None:
        for name in ("seconds", "repeats"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a positive number.")
        for number in self.num_envs:
            if number < 1:
                raise ValueError(f"num_envs contains {number}: expected numbers of 1 or more.")
        if self.batch_size is not None and (self.batch_size < 2 or self.batch_size % 2):
            raise ValueError(f"batch_size={self.batch_size}: expected an even number, 2 or more.")
        for env_id in (*self.env_ids, *self.train):
            if env_id not in ENVS:
                raise ValueError(f"{env_id!r}: expected some of {', '.join(ENVS)}.")


class Figure(NamedTuple):
    """One line of the table."""

    name: str
    value: float
    unit: str


class Probe(NamedTuple):
    """Something that can be measured again and again."""

    name: str
    unit: str
    measure: Callable[[float], float]  # seconds it may take, to units per second


def bench(command: Bench) -> None:
    """`ram bench`."""
    if command.compare is not None:
        print_comparison(*command.compare)
        return
    device = checked_device(command.device)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={command.device!r}: expected cpu or cuda.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if device.type == "cpu":
            figures = measure_all(command)
        else:
            figures = measure_on_device(command, device)
    finally:
        torch.set_num_threads(threads)
    for name, value, unit in figures:
        digits = 0 if value >= 1000 else 1
        print(f"{name:<{WIDTH}} {value:>12,.{digits}f} {unit}")
    if command.save is not None:
        rows = [figure._asdict() for figure in figures]
        write_json(
            command.save, {**provenance(device), "dataset": command.dataset, "figures": rows}
        )
        print(f"Written to {command.save}")


def measure_all(command: Bench) -> list[Figure]:
    """All figures that the command asks for."""
    settings = command.dataset, command.batch_size
    trainings = [Training(env_id, *settings) for env_id in command.train]
    in_two_threads = [Training(env_id, *settings, parts=2) for env_id in command.train]
    probes = [
        *(probe for env_id in command.env_ids for probe in env_probes(env_id, command)),
        *retina_probes(),
        Probe("matrix product, 1024 × 1024, float32, one thread", "GFLOP/s", _matmul_rate),
        *(
            Probe(training.name, "images/s", training.measure)
            for training in (*trainings, *in_two_threads)
        ),
        *(peer_probes() if command.peers else ()),
    ]
    figures = _measure(probes, command)
    rates = {figure.name: figure.value for figure in figures}
    matmul_rate = next(figure.value for figure in figures if figure.unit == "GFLOP/s")
    for training in trainings:
        figures += training.figures(rates[training.name], {"machine's": matmul_rate})
    if "RAMClutteredMNIST-v0" in command.env_ids:
        name = f"RAMClutteredMNIST-v0, native × {MEMORY_ENVS}: memory beside the data set"
        figures.append(Figure(name, measure_memory(command.dataset), "MB"))
    return figures


def measure_on_device(command: Bench, device: torch.device) -> list[Figure]:
    """The figures of a GPU."""
    trainings = [
        Training(env_id, command.dataset, command.batch_size, device=device)
        for env_id in command.train
    ]
    products = {
        name: f"matrix product, {DEVICE_MATMUL_SIZE} × {DEVICE_MATMUL_SIZE}, {name}, {device}"
        for name in ("float32", "bfloat16")
    }
    probes = [
        *(
            probe
            for env_id in command.env_ids
            for probe in device_env_probes(env_id, command, device)
        ),
        *(device_retina_probe(batch, device) for batch in command.num_envs),
        *(
            Probe(product, "GFLOP/s", functools.partial(_device_matmul_rate, device, name))
            for name, product in products.items()
        ),
        *(Probe(training.name, "images/s", training.measure) for training in trainings),
    ]
    figures = _measure(probes, command)
    rates = {figure.name: figure.value for figure in figures}
    machine = {f"{device}'s {name}": rates[product] for name, product in products.items()}
    for training in trainings:
        figures += training.figures(rates[training.name], machine)
    return figures


def _measure(probes: list[Probe], command: Bench) -> list[Figure]:
    """The best figure of each probe, all measured in turn."""
    best = dict.fromkeys(range(len(probes)), 0.0)
    with tqdm(total=command.repeats * len(probes), disable=None, leave=False) as bar:
        for _ in range(command.repeats):
            for number, probe in enumerate(probes):
                best[number] = max(best[number], probe.measure(command.seconds))
                bar.update()
    return [Figure(probe.name, best[number], probe.unit) for number, probe in enumerate(probes)]


def print_comparison(before: Path, after: Path) -> None:
    """The figures of two files, and their ratios."""
    values = []
    for path in (before, after):
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
            values.append({row["name"]: (float(row["value"]), row["unit"]) for row in figures})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no file of `ram bench --save`: {error!r}. Expected its JSON."
            ) from None
    old, new = values
    print(f"{'':<{WIDTH}} {before.name:>14} {after.name:>14} {'ratio':>7}")
    for name, (value, unit) in new.items():
        if name in old:
            ratio = value / old[name][0]
            print(f"{name:<{WIDTH}} {old[name][0]:>14,.5g} {value:>14,.5g} {ratio:>6.2f}× {unit}")
    for name in sorted(old.keys() ^ new.keys()):
        print(f"{name:<{WIDTH}} only in {(before if name in old else after).name}")


# --- environments ------------------------------------------------------------------------------


def env_probes(env_id: str, command: Bench) -> list[Probe]:
    """Env-steps per second: alone, through SyncVectorEnv, and native."""
    keywords = _keywords(env_id, command.dataset)
    single = gym.make(env_id, **keywords)
    sync = gym.make_vec(env_id, num_envs=SYNC_ENVS, vectorization_mode="sync", **keywords)
    native = [gym.make_vec(env_id, num_envs=number, **keywords) for number in command.num_envs]
    return [
        Probe(f"{env_id}, single", "env-steps/s", lambda seconds: step_single(single, seconds)),
        *(
            Probe(
                f"{env_id}, {kind} × {envs.num_envs}",
                "env-steps/s",
                lambda seconds, envs=envs: step_many(envs, seconds),  # type: ignore[misc]
            )
            for kind, envs in [("SyncVectorEnv", sync), *(("native", envs) for envs in native)]
        ),
    ]


def calls_per_second(call: Callable[[int], Any], seconds: float) -> float:
    """How often call(0), call(1), … was made in a second."""
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        call(calls)
        calls += 1
    return calls / elapsed


def step_many(envs: gym.vector.VectorEnv[Any, Any, Any], seconds: float) -> float:
    """Env-steps per second with random actions, drawn beforehand."""
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(16)]
    return envs.num_envs * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)


def step_single(env: gym.Env[Any, Any], seconds: float) -> float:
    """The same for one environment, which is reset at the end of each episode."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(16)]

    def step_once(step: int) -> None:
        if env.step(actions[step % 16])[2]:
            env.reset()

    return calls_per_second(step_once, seconds)


def retina_probes() -> list[Probe]:
    """Glimpses per second of 12 × 12 at three scales, of 128 images 60 × 60."""
    retina, batch = Retina(12, 3), 128
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, 60, 60), np.uint8)
    locations = random.uniform(-1, 1, (16, batch, 2)).astype(np.float32)
    padded = retina.allocate(batch, (60, 60))
    retina.fill(padded, images, np.arange(batch))

    def rate(look: Callable[[Any], Any], seconds: float) -> float:
        return batch * calls_per_second(lambda step: look(locations[step % 16]), seconds)

    name = "retina 12 × 12 × 3, 60 × 60, batch 128"
    return [
        Probe(
            f"{name}, image looked at often",
            "glimpses/s",
            lambda seconds: rate(lambda where: retina.look(padded, where), seconds),
        ),
        Probe(
            f"{name}, image looked at once",
            "glimpses/s",
            lambda seconds: rate(lambda where: retina(images, where), seconds),
        ),
    ]


def device_env_probes(env_id: str, command: Bench, device: torch.device) -> list[Probe]:
    """Env-steps per second on a device, whole episodes; none where it is not played there."""
    probes = []
    for num_envs in command.num_envs:
        keywords = _keywords(env_id, command.dataset) | {"autoreset_mode": "Disabled"}
        envs = gym.make_vec(env_id, num_envs=num_envs, **keywords)
        if why_on_host(envs) is not None:
            return []
        on_device = DeviceVectorEnv(envs, device)
        name = f"{env_id}, on {device} × {num_envs}"
        probes.append(Probe(name, "env-steps/s", functools.partial(step_on_device, on_device)))
    return probes


def step_on_device(envs: DeviceVectorEnv, seconds: float) -> float:
    """Env-steps per second, in whole episodes, with random actions."""
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
    """Glimpses per second of 12 × 12 at three scales, of images 60 × 60, sixteen looks each."""
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


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_memory(dataset: str) -> float:
    """Megabytes that MEMORY_ENVS sub-environments of cluttered MNIST take, beside the data set."""
    keywords = _keywords("RAMClutteredMNIST-v0", dataset)
    gym.make("RAMClutteredMNIST-v0", **keywords).reset(seed=0)  # loads the data set
    tracemalloc.start()
    try:
        envs = gym.make_vec("RAMClutteredMNIST-v0", num_envs=MEMORY_ENVS, **keywords)
        envs.reset(seed=0)
        envs.step(envs.action_space.sample())
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _keywords(env_id: str, dataset: str) -> dict[str, Any]:
    return {"dataset": dataset} if env_id in CLASSIFICATION else {}


# --- training ----------------------------------------------------------------------------------


class TimedEnvs(gym.vector.VectorWrapper):
    """Adds up the seconds that are spent in the environments inside."""

    seconds = 0.0

    def reset(self, **keywords: Any) -> Any:
        started = time.perf_counter()
        result = self.env.reset(**keywords)
        self.seconds += time.perf_counter() - started
        return result

    def step(self, actions: Any) -> Any:
        started = time.perf_counter()
        result = self.env.step(actions)
        self.seconds += time.perf_counter() - started
        return result


class Training:
    """A training of RAM with the default preset, a thread for each part of the batch.

    With one part, `shares` says where the time goes; on a device, where much is begun before it is
    done, nobody knows.
    """

    def __init__(
        self,
        env_id: str,
        dataset: str,
        batch_size: int | None = None,
        parts: int = 1,
        device: torch.device | None = None,
    ) -> None:
        agent_config, config = preset("default", env_id)
        batch_size = batch_size or config.batch_size
        config = dataclasses.replace(config, batch_size=batch_size, parts=parts)
        keywords = _keywords(env_id, dataset) | {"autoreset_mode": "Disabled"}
        num_envs = config.batch_size // parts
        made = [gym.make_vec(env_id, num_envs=num_envs, **keywords) for _ in range(parts)]
        if device is not None:
            made = [place_envs(envs, device) for envs in made]
        all_envs = [TimedEnvs(envs) for envs in made]
        self.envs = all_envs[0]
        space, action_space = self.envs.single_observation_space, self.envs.single_action_space
        self.agent = RAMAgent(space, action_space, agent_config).to(device or "cpu")
        validation_envs = gym.make_vec(env_id, num_envs=1, **keywords)
        self.trainer = Trainer(self.agent, all_envs, validation_envs, config)
        self.optimizer_seconds = 0.0
        self.trainer.optimizer.register_step_pre_hook(self._optimizer_begins)
        self.trainer.optimizer.register_step_post_hook(self._optimizer_ends)
        self.batch_size = config.batch_size
        self.device = device
        how = {1: "one thread", 2: "two threads"}[parts] if device is None else str(device)
        self.name = f"training {env_id}, batch {self.batch_size}, {how}"
        self.best_rate = 0.0
        self.shares: dict[str, float] = {}  # of the time of the fastest measurement
        self._learn(0)  # the first update allocates

    def measure(self, seconds: float) -> float:
        """Images, or games, per second; at least one update."""
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

    def figures(self, rate: float, matmul_rates: dict[str, float]) -> list[Figure]:
        """Where the time goes, and the share of the matrix products' rates."""
        # A backward pass costs twice the products of a forward pass.
        flops, num_steps = self._forward_flops()
        model_rate = 3 * flops * rate / 1e9
        if self.device is None:
            first = [
                Figure(f"{self.name}: time in the {part}", 100 * share, "%")
                for part, share in self.shares.items()
            ]
        else:
            first = [Figure(f"{self.name}: steps", rate * num_steps, "env-steps/s")]
        return [
            *first,
            Figure(f"{self.name}: products of the model", model_rate, "GFLOP/s"),
            *(
                Figure(f"{self.name}: share of the {name}", 100 * model_rate / matmul_rate, "%")
                for name, matmul_rate in matmul_rates.items()
            ),
        ]

    def _learn(self, seconds: float) -> tuple[int, float]:
        updates, started = 0, time.perf_counter()
        while True:
            self.trainer.train_one_update()
            updates += 1
            if (elapsed := time.perf_counter() - started) >= seconds:
                return updates, elapsed

    def _forward_seconds(self) -> float:
        """Of one rollout, the environment's part left out."""
        envs_before, started = self.envs.seconds, time.perf_counter()
        collect_rollout(self.agent, self.envs, seed=0)
        return time.perf_counter() - started - (self.envs.seconds - envs_before)

    def _forward_flops(self) -> tuple[int, int]:
        """Operations of the forward pass of one episode, matrix products alone, and its steps."""
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            rollout = collect_rollout(self.agent, self.envs, seed=0)
        return int(counter.get_total_flops()) // self.batch_size, len(rollout.rewards)

    def _optimizer_begins(self, *_: Any) -> None:
        self.optimizer_seconds -= time.perf_counter()

    def _optimizer_ends(self, *_: Any) -> None:
        self.optimizer_seconds += time.perf_counter()


def _matmul_rate(seconds: float) -> float:
    """GFLOP/s of a large matrix product in one thread."""
    left, right = torch.rand(2, MATMUL_SIZE, MATMUL_SIZE)
    result = torch.mm(left, right)
    products = calls_per_second(lambda _: torch.mm(left, right, out=result), seconds)
    return 2 * MATMUL_SIZE**3 * products / 1e9


def _device_matmul_rate(device: torch.device, dtype: str, seconds: float) -> float:
    """GFLOP/s of a large matrix product on a device."""
    shape = 2, DEVICE_MATMUL_SIZE, DEVICE_MATMUL_SIZE
    left, right = torch.rand(shape, device=device, dtype=getattr(torch, dtype))
    result = torch.mm(left, right)

    def multiply(_: int) -> None:
        torch.mm(left, right, out=result)
        _wait_for(device)

    multiply(0)
    return 2 * DEVICE_MATMUL_SIZE**3 * calls_per_second(multiply, seconds) / 1e9


# --- other projects ----------------------------------------------------------------------------


def peer_probes() -> list[Probe]:
    """Those that are installed; says which are not."""
    probes = []
    for make, how in {
        _ap_gym: "pip install ap_gym",
        _oculr: "clone github.com/pkuderov/oculr, since the package of that name is another",
        _envpool: "pip install envpool",
        _bsuite: "pip install bsuite",
    }.items():
        try:
            probes.append(make())
        except ImportError as error:
            print(f"{make.__name__[1:]} is not measured ({error}): {how}")
    return probes


def _ap_gym() -> Probe:
    import ap_gym  # noqa: F401  registers the ids

    envs = gym.make_vec("CircleSquare-v0", num_envs=128)
    name = "ap_gym CircleSquare-v0, 5 × 5 of 28 × 28, vector × 128"
    return Probe(name, "env-steps/s", lambda seconds: step_many(envs, seconds))


def _oculr() -> Probe:
    from oculr.env import ImageEnvironment

    images = SimpleNamespace(images=np.zeros((10_000, 28 * 28)), targets=np.zeros(10_000, int))
    dataset = SimpleNamespace(n_classes=10, image_shape=(1, 28, 28), train=images)
    envs = ImageEnvironment(dataset, num_envs=128, obs_hw_shape=8, max_time_steps=6)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, [1, 10, 21, 21], (16, 128, 4))
    actions[..., 0] = 1  # to look elsewhere

    def rate(seconds: float) -> float:
        return 128 * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)

    return Probe("oculr, 8 × 8 of 28 × 28, one scale, vector × 128", "env-steps/s", rate)


def _envpool() -> Probe:
    import envpool

    envs = envpool.make_gymnasium("Catch-v0", num_envs=128, num_threads=1)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, 3, (16, 128), np.int32)

    def rate(seconds: float) -> float:
        return 128 * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)

    return Probe("envpool Catch-v0, the whole 10 × 5 screen, vector × 128", "env-steps/s", rate)


def _bsuite() -> Probe:
    from bsuite.environments.catch import Catch

    env = Catch()
    env.reset()

    def step_once(step: int) -> None:
        if env.step(step % 3).last():
            env.reset()

    def rate(seconds: float) -> float:
        return calls_per_second(step_once, seconds)

    return Probe("bsuite Catch, the whole 10 × 5 screen, single", "env-steps/s", rate)
