"""The command `ram train`."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import reprlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from ram_agent.callbacks import (
    Callback,
    LogMetrics,
    LogToTensorBoard,
    LogToWandb,
    check_installed,
    print_validation,
    train_with,
)
from ram_agent.commands.parsing import UNSET, parse
from ram_agent.commands.train_help import describe_common
from ram_agent.config import AgentConfig, TrainConfig, flatten_settings
from ram_agent.distributed import Ranks, checked_device, join_ranks, local_device
from ram_agent.measure import show_trained
from ram_agent.presets import SHARDS, Preset
from ram_agent.provenance import command_line
from ram_agent.run_config import RunConfig
from ram_agent.run_env import GPU, RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.run_images import check_run_images, describe_images
from ram_agent.runs import (
    TRAINING_KEYWORDS,
    choose_preset,
    describe_run,
    make_trainer,
)
from ram_agent.settings import OTHER_NAMES
from ram_agent.trainer import Trainer
from ram_envs.atomic_files import write_json
from ram_envs.device_env import DeviceVectorEnv, why_on_host
from ram_envs.making import default_keywords, parse_keywords, resolve_env_id
from ram_envs.registration import ENVS

_ENV_DEFAULT = tyro.conf.arg(help_behavior_hint="(default: the environment's own)")


@dataclass(frozen=True)
class Environment:
    """What the agent is trained in."""

    dataset: Annotated[str | None, _ENV_DEFAULT] = None
    """mnist, digits (embedded, no download), cifar10, auto, or the path of a folder of images by
    class or of an .npz."""

    splits: Annotated[Literal["all"] | None, UNSET] = None
    """all: use all images of a path without splits for training, validation and test. By default
    they are divided 70/15/15."""

    num_glimpses: Annotated[int | None, _ENV_DEFAULT] = None
    """T, the number of glimpses."""

    glimpse_size: Annotated[int | None, _ENV_DEFAULT] = None
    """G: every scale has G × G cells, and the finest one covers G × G pixels."""

    num_scales: Annotated[int | None, _ENV_DEFAULT] = None
    """K, the number of scales of a glimpse, each twice as wide as the one before."""

    canvas_size: Annotated[int | None, _ENV_DEFAULT] = None
    """Side of the canvas, in pixels."""

    max_shift: Annotated[float | None, UNSET] = None
    """The maximum distance of a location from the last one, where 1 is half the canvas's side
    (ram_envs.wrappers.RelativeGaze). Unlimited by default."""

    source: Annotated[Literal["observation", "render"] | None, UNSET] = None
    """What the retina looks at in an environment of another package: the picture that it observes,
    or with "render" the frame that it draws."""

    env_kwargs: Annotated[tuple[str, ...], UNSET] = ()
    """Other keywords of the environment, as NAME=VALUE: continuous=False, img_height=168."""

    distortion: float = 0.0
    """Strength of random rotation, scaling, shear and shift of training images. It helps long
    runs without clutter; 1 is strong for digits."""

    elastic: float = 0.0
    """Strength of random local deformations of training images, which are harder to memorize and
    take longer to learn."""

    mirror: bool = False
    """Whether training images are mirrored left to right at random, as is usual for natural
    images."""

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords that were given, without those of the training environments alone."""
        values = dataclasses.asdict(self)
        others = values.pop("env_kwargs")
        in_training = {name: value for name in TRAINING_KEYWORDS if (value := values.pop(name))}
        options = {name: value for name, value in values.items() if value is not None}
        keywords = parse_keywords(others, {**options, **in_training})
        return {name: value for name, value in keywords.items() if name not in in_training}

    @property
    def training_keywords(self) -> dict[str, Any]:
        """The keywords of the training environments alone."""
        return {name: getattr(self, name) for name in TRAINING_KEYWORDS}


@dataclass(frozen=True)
class Run:
    """Where and how to train."""

    preset: str = "default"
    """Defaults of all settings below: "default" (best results) or "paper" (the paper's settings).
    `ram train ENV_ID --preset paper --help` shows them."""

    out: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(default: runs/ENV_ID-DATE)")] = (
        None
    )
    """The run's folder."""

    resume: Annotated[Path | None, UNSET] = None
    """Continue the run in this folder, with its own settings, as if it had not stopped. Only
    --dataset may be given too, where the images lie elsewhere, or have changed."""

    start_from: Annotated[str | None, UNSET] = None
    """Initialize the networks with the weights of a trained agent: a run's folder, a .safetensors
    file, or pretrained:NAME. The networks must have the same shape; if the number of classes
    differs, the layer that predicts them keeps its random initialization."""

    device: str = "cpu"
    """Where the networks run: cpu, cuda, … With cuda, environments of still images run there too;
    under torchrun each process has a GPU of its own."""

    shards: int = SHARDS
    """Number of parts of a batch; each has its own thread."""

    threads: int = 1
    """PyTorch's threads on the CPU. The networks are small: one is fastest."""

    tensorboard: bool = False
    """Write metrics for TensorBoard too (pip install "ram-gym[tensorboard]")."""

    wandb: Annotated[str | None, UNSET] = None
    """Log metrics to this project of Weights & Biases too (pip install wandb)."""


@dataclass(frozen=True)
class Train:
    """Train an agent, validate it as it learns, and draw its fixations.

    Examples:
      ram train RAMClutteredMNIST-v0
      ram train RAMMNIST-v0 --num-glimpses 4 --seed 1 --out runs/four
      ram train RAMTranslatedMNIST-v0 --dataset digits --episodes 500000
      ram train RAMClassification-v0 --dataset photos/ --glimpse-size 12 --num-scales 3
      ram train ALE/Pong-v5 --glimpse-size 20 --num-scales 3 --env-kwargs stack_num=2
      ram train --resume runs/four
      torchrun --standalone --nproc-per-node 2 -m ram_agent train RAMMNIST-v0

    The run's folder gets config.json, metrics.jsonl (a row for every 20th update and for each
    validation), best.safetensors and last.safetensors, resume.safetensors (the state for --resume)
    and, at the end, evaluation.json and fixations.png. A run is validated at least ten times.
    Ctrl-C saves, and prints the command that continues.
    """

    env_id: Annotated[
        tyro.conf.Positional[str | None],
        tyro.conf.arg(metavar="[ENV_ID]", help_behavior_hint=""),
    ] = None
    """The environment: RAMClutteredMNIST-v0 or another that `ram list` shows, MODULE:ID for your
    own, or any environment with pictures, such as ALE/Pong-v5."""

    environment: tyro.conf.DisallowNone[Environment] = field(default_factory=Environment)
    """The environment"""

    run: tyro.conf.DisallowNone[Run] = field(default_factory=Run)

    agent: AgentConfig = field(default_factory=AgentConfig)

    training: TrainConfig = field(default_factory=TrainConfig)


def main(args: list[str]) -> None:
    """Train an agent as the arguments say, and measure it once it is trained."""
    command, args = continue_if_restarted(parse_train(args), args)
    options = command.run
    if options.threads < 1:
        raise ValueError(f"threads={options.threads} is out of range. Give at least 1.")
    torch.set_num_threads(options.threads)
    device = checked_device(local_device(options.device))
    if options.tensorboard:
        check_installed("tensorboard")
    if options.wandb is not None:
        check_installed("wandb")
    folder = RunFolder(options.resume or options.out or default_folder(command.env_id))
    try:
        with join_ranks(device) as ranks:
            run = RunConfig.from_json(
                ranks.from_first(
                    lambda: make_run(command, args, folder, ranks.size, device).to_json()
                )
            )
            trainer = train(options, run, folder if ranks.is_first else None, device, ranks)
        if ranks.is_first and trainer.is_over:
            show_trained(trainer, folder)
    finally:
        folder.unlock()


def continue_if_restarted(command: Train, args: list[str]) -> tuple[Train, list[str]]:
    """Return the command, or one that continues its run if torchrun --max-restarts repeats it."""
    if not is_restarted(command.run.out):
        return command, args
    run = dataclasses.replace(command.run, resume=command.run.out, out=None)
    return dataclasses.replace(command, run=run), []


def is_restarted(out: Path | None) -> bool:
    """Return whether torchrun repeats a command that has trained in the folder `out` before."""
    if out is None or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return False
    folder = RunFolder(out)
    return not folder.is_free and folder.read_config().get("command") == command_line()


def parse_train(args: list[str]) -> Train:
    """Parse twice: the first time for what decides on the defaults of the other settings."""
    for name in (arg.partition("=")[0] for arg in args if arg.startswith("--")):
        if meant := OTHER_NAMES.get(name[2:].replace("-", "_")):
            option = f"--{meant.replace('_', '-')}"
            print(f"{name} is not an option of ram train. Did you mean {option}?", file=sys.stderr)
            sys.exit(2)  # as for other options that are not understood
    first = parse(
        Train, "train", [arg for arg in args if arg not in ("-h", "--help")], allow_none=True
    )
    env_id = None if first.env_id is None else resolve_env_id(first.env_id)
    supervision = first.training.objective.supervision
    env = None if env_id is None else RunEnv(env_id, first.environment.keywords)
    settings = choose_preset(first.run.preset, env, supervision)
    default = Train(
        run=Run(shards=settings.shards), agent=settings.agent, training=settings.training
    )
    own_keywords = default_keywords(env_id) if env_id in ENVS else {}
    common = describe_common(default, env_id, own_keywords)
    command = parse(Train, "train", args, default, allow_none=True, more_help=common)
    return dataclasses.replace(command, env_id=env_id)


def train(
    options: Run, run: RunConfig, folder: RunFolder | None, device: torch.device, ranks: Ranks
) -> Trainer:
    """Train as one of the ranks, to the end or to a signal."""
    trainer = make_trainer(run, folder, device, ranks)
    if folder is None:
        trainer.train()
        return trainer
    if options.resume is not None:
        trainer.resume()
        write_json(folder.config_path, run.to_json())  # with the data set of --dataset
    print(f"{run.env.name}: {trainer.num_updates} updates, in {folder.path}")
    envs = trainer.shards[0].envs
    if device.type == GPU and not isinstance(envs, DeviceVectorEnv):
        print(f"The networks are on {device}, the environments on the CPU: {why_on_host(envs)}.")
    callbacks: list[Callback] = [LogMetrics(folder), print_validation]
    if options.tensorboard:
        callbacks.append(LogToTensorBoard(folder.path))
    if options.wandb is not None:
        wandb = LogToWandb(project=options.wandb, name=folder.path.name, config=run.to_json())
        callbacks.append(wandb)
    if not train_with(trainer, callbacks):
        print(f"Stopped after {trainer.update} updates. Continue: {folder.resume_command}")
    return trainer


def make_run(
    command: Train, args: list[str], folder: RunFolder, num_ranks: int, device: torch.device
) -> RunConfig:
    """Return the run in `folder`, which is made if the run is new."""
    if command.run.resume is not None:
        run = read_run(folder, command.env_id, command.environment.dataset)
        check_unchanged(args, run, folder)
        how = "Continue with a number of processes that divides it."
    else:
        if command.env_id is None:
            raise ValueError("ENV_ID is missing. Run `ram train ENV_ID`; `ram list` shows them.")
        env = RunEnv(command.env_id, command.environment.keywords)
        run = describe_run(
            env,
            command.run.preset,
            Preset(command.agent, command.training, command.run.shards),
            training_keywords=command.environment.training_keywords,
            start_from=command.run.start_from,
            device=device,
        )
        how = f"Give --shards {num_ranks}, or a multiple of it."
    if run.shards % num_ranks:
        raise ValueError(
            f"shards={run.shards} cannot be divided among {num_ranks} processes. {how}"
        )
    if command.run.resume is None:
        folder.create(run.to_json(), or_beside=command.run.out is None)
    return run


def read_run(folder: RunFolder, named: str | None = None, dataset: str | None = None) -> RunConfig:
    """Return a run that continues, after locking its folder.

    Args:
        folder: the run's folder.
        named: the environment that the user named.
        dataset: another data set that the user gave; replaces the run's own.

    Raises:
        FileNotFoundError: if the folder holds no run, or the data set is missing.
        ValueError: if its settings are damaged, its environment is unknown, or its images changed.
        BlockingIOError: if another process writes there.
    """
    run = RunConfig.read(folder, named)
    folder.lock()
    folder.check_fits(run.agent)
    if dataset is None:
        check_run_images(run.to_json(), run.env)
        return run
    env = run.env.with_dataset(dataset)
    images = describe_images(env) or {}
    kinds = images.get("class_names"), env.num_channels
    own_kinds = (run.images or {}).get("class_names"), run.agent.num_channels
    if own_kinds[0] is not None and kinds != own_kinds:
        raise ValueError(
            f"dataset={dataset!r} has classes {reprlib.repr(kinds[0])} and "
            f"num_channels={kinds[1]}; the run in {folder.path} has "
            f"{reprlib.repr(own_kinds[0])} and num_channels={own_kinds[1]}. Give images with the "
            "run's classes and channels, or start a new run."
        )
    return dataclasses.replace(run, env=env, images=images)


def check_unchanged(args: list[str], run: RunConfig, folder: RunFolder) -> None:
    """Raise ValueError if the arguments name a setting that is not the resumed run's own."""
    in_training = run.training_keywords.items()
    own = Train(
        environment=Environment(**{k: v for k, v in in_training if k in TRAINING_KEYWORDS}),
        run=Run(preset=run.preset, shards=run.shards, start_from=run.start_from),
        agent=run.agent,
        training=run.training,
    )
    given = parse(Train, "train", args, own, allow_none=True)
    keywords = {k: v for k, v in given.environment.keywords.items() if k != "dataset"}
    # Apart, since a keyword of a user's own environment may have the name of a setting.
    for before, now in ((run.env.keywords, keywords), (_flat(own), _flat(given))):
        for name, value in now.items():
            if json.loads(json.dumps(value, default=str)) != before.get(name):
                raise ValueError(
                    f"{name}={value!r}: the run in {folder.path} has {before.get(name)!r}, and "
                    "--resume continues with the run's own settings. Leave it out, or start a new "
                    "run."
                )


def default_folder(env_id: str | None) -> Path:
    """Return the folder of a new run where the user gave none."""
    name = f"{env_id}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    return Path("runs") / name.replace(":", "-").replace("/", "-")


def _flat(command: Train) -> dict[str, Any]:
    return {
        "preset": command.run.preset,
        "out": command.run.out,
        "shards": command.run.shards,
        "start_from": command.run.start_from,
        **command.environment.training_keywords,
        **flatten_settings(dataclasses.asdict(command.agent)),
        **flatten_settings(dataclasses.asdict(command.training)),
    }
