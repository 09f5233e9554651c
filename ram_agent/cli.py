"""The command `ram`: train, evaluate, watch, figures, play, reproduce, bench, list."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import gymnasium as gym
import torch
import tyro

from ram_agent.agent import RAMAgent
from ram_agent.bench import Bench, bench
from ram_agent.config import (
    AgentConfig,
    TrainConfig,
    config_from_json,
    preset,
)
from ram_agent.distributed import Ranks, checked_device, join_ranks, local_device
from ram_agent.evaluation import evaluate
from ram_agent.paper.reproduce import Reproduce, reproduce
from ram_agent.provenance import provenance
from ram_agent.rollout import Gaze
from ram_agent.run_folder import RunFolder
from ram_agent.runs import (
    EVALUATION_ENVS,
    GPU,
    SIZES,
    check_env,
    describe_run,
    evaluate_all,
    make_split,
    make_trainer,
    name_env,
    own_env,
    print_progress,
    print_results,
    save_watched,
    show_trained,
)
from ram_agent.trainer import Trainer
from ram_agent.weights import CheckpointError
from ram_envs.atomic_files import write_json
from ram_envs.device_env import DeviceVectorEnv, why_on_host
from ram_envs.registration import CLASSIFICATION, ENVS, IMAGES


@dataclass(frozen=True)
class Train:
    """Train RAM, validate it as it learns, and show what it looks at.

    Examples:
      ram train RAMClutteredMNIST-v0
      ram train RAMMNIST-v0 --num-glimpses 4 --seed 1 --out runs/four
      ram train RAMTranslatedMNIST-v0 --dataset digits --episodes 500000
      ram train RAMClassification-v0 --dataset photos/ --glimpse-size 12 --num-scales 3
      ram train --resume runs/four
      torchrun --standalone --nproc-per-node 2 -m ram_agent train RAMMNIST-v0

    The folder gets config.json, metrics.jsonl (a row for each validation), best.safetensors and
    last.safetensors, resume.safetensors (all that --resume needs) and, at the end,
    evaluation.json and fixations.png. Ctrl-C saves and says how to go on.
    """

    env_id: tyro.conf.Positional[str | None] = None
    """The environment, for example RAMClutteredMNIST-v0; `ram list` shows them all."""

    preset: str = "default"
    """The settings below are those of this preset unless given: "default", what trains best, or
    "paper", as the paper says. `ram train --preset paper --help` shows them."""

    out: Path | None = None
    """The run's folder; runs/ENV_ID-DATE-TIME if not given."""

    resume: Path | None = None
    """Go on with the run in this folder, as if it had not stopped. Takes no other settings."""

    dataset: str | None = None
    """mnist, digits (embedded, no download), auto, or the path of a folder of images by class or of
    an .npz; the environment's default if not given."""

    num_glimpses: int | None = None
    """T, how often the agent looks; the environment's default if not given."""

    glimpse_size: int | None = None
    """G, the side of what the retina returns; the environment's default if not given."""

    num_scales: int | None = None
    """K, how many squares the retina has, each twice as wide; the environment's default if not
    given."""

    canvas_size: int | None = None
    """Side of the canvas in pixels; the environment's default if not given."""

    device: str = "cpu"
    """Where the networks run: cpu, cuda, … With cuda, environments of still images are there too;
    under torchrun it is a GPU for each process."""

    threads: int | None = None
    """Threads of PyTorch on the CPU; 1 if not given, since the networks are small."""

    tensorboard: bool = False
    """Write metrics for TensorBoard too (pip install "ram-gym[tensorboard]")."""

    agent: Annotated[AgentConfig, tyro.conf.arg(name="")] = field(default_factory=AgentConfig)

    training: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained agent beside random gaze and center gaze: its error after each glimpse.

    Examples:
      ram evaluate runs/four
      ram evaluate runs/four --split validation --save validation.json
      ram evaluate runs/four --stop-when-sure 0.9 0.99
      ram evaluate pretrained:cluttered-mnist-8 --canvas-size 100 --num-clutter 8
      ram evaluate pretrained:catch

    Each image is seen once, on the split's fixed canvases. A game has no images and no labels;
    there it is the mean return of 10,000 games that training did not see.
    """

    run: tyro.conf.Positional[str]
    """A run's folder, the path of weights (.safetensors), or pretrained:NAME."""

    split: Literal["train", "validation", "test"] = "test"
    """Which images."""

    env_id: str | None = None
    """Another environment than the agent's own, whose glimpses have the same shape."""

    dataset: str | None = None
    """Another data set than the agent's own: mnist or digits."""

    num_glimpses: int | None = None
    """Another number of glimpses than the agent's own."""

    canvas_size: int | None = None
    """Another side of the canvas, in pixels, than the agent's own."""

    num_clutter: int | None = None
    """Another number of pieces of clutter than the agent's own."""

    stop_when_sure: tuple[float, ...] = ()
    """Thresholds: let the agent answer once its label is so probable, and count its glimpses."""

    num_episodes: int | None = None
    """Only the first so many images, or so many games; the whole split, or 10,000, if not given."""

    seed: int = 0
    """Of first locations and drawn actions."""

    save: Path | None = None
    """Write the figures to this JSON file."""


@dataclass(frozen=True)
class Watch:
    """Watch a trained agent look, in a window or in a picture.

    Examples:
      ram watch runs/four
      ram watch runs/four --save four.gif
      ram watch runs/four --save four.png --episodes 6
      ram watch pretrained:mnist-6 --dataset digits
    """

    run: tyro.conf.Positional[str]
    """A run's folder, the path of weights (.safetensors), or pretrained:NAME."""

    env_id: str | None = None
    """Another environment than the agent's own, whose glimpses have the same shape."""

    dataset: str | None = None
    """Another data set than the agent's own: mnist or digits."""

    save: Path | None = None
    """Instead of a window: an animation (.gif), or the last frames side by side (.png)."""

    episodes: int = 6
    """How many episodes."""

    start: int = 0
    """The first episode: an image's index."""

    split: Literal["train", "validation", "test"] = "test"
    """Which images."""

    sampled: bool = False
    """Draw locations and labels instead of taking the likeliest."""


@dataclass(frozen=True)
class Figures:
    """Draw what a trained agent looks at: pictures for slides (pip install "ram-gym[figures]").

    Examples:
      ram figures runs/four
      ram figures pretrained:cluttered-mnist-8 --num-images 10000 --out slides

    paths.png, fixations on canvases; glimpses.png, what the retina shows and what the agent makes
    of it, glimpse by glimpse; heat_maps.png, where the first, second, … fixation lies, seen from
    the image's middle; errors.png, percent wrong after each glimpse; failures.png, the surest
    errors. Where the screen moves, looks.gif: episodes with the gaze.
    """

    run: tyro.conf.Positional[str]
    """A run's folder, the path of weights (.safetensors), or pretrained:NAME."""

    out: Path = Path("figures")
    """The folder of the pictures."""

    split: Literal["train", "validation", "test"] = "test"
    """Which images."""

    num_images: int = 2_000
    """How many images, the first of the split; all, if there are fewer."""

    env_id: str | None = None
    """Another environment than the agent's own, whose glimpses have the same shape."""

    dataset: str | None = None
    """Another data set than the agent's own: mnist or digits."""


@dataclass(frozen=True)
class Play:
    """Play yourself, seeing only what the retina sees. `ram play --help` says more."""


@dataclass(frozen=True)
class List:
    """List the environments."""


def main(args: list[str] | None = None) -> None:
    """Run the command line; exits with 1 and one clear line where it can't go on."""
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["play"]:  # its own command line, which needs no torch
        from ram_envs.play import main as play

        return play(args[1:])
    try:
        agent_config, train_config = preset(
            _scan(args, "--preset") or "default", _scan_env_id(args)
        )
        train_default = Train(agent=agent_config, training=train_config)
        command = tyro.cli(
            Annotated[Train, tyro.conf.subcommand("train", default=train_default)]
            | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
            | Annotated[Watch, tyro.conf.subcommand("watch")]
            | Annotated[Figures, tyro.conf.subcommand("figures")]
            | Annotated[Play, tyro.conf.subcommand("play")]
            | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
            | Annotated[Bench, tyro.conf.subcommand("bench")]
            | Annotated[List, tyro.conf.subcommand("list")],
            prog="ram",
            description="Recurrent models of visual attention: train and watch an agent that "
            "looks at one small glimpse after another. `ram COMMAND --help` says more.",
            args=args,
        )
        if isinstance(command, Train):
            train(command)
        elif isinstance(command, Evaluate):
            evaluate_run(command)
        elif isinstance(command, Watch):
            watch(command)
        elif isinstance(command, Figures):
            draw_figures(command)
        elif isinstance(command, Reproduce):
            reproduce(command)
        elif isinstance(command, Bench):
            bench(command)
        else:
            list_envs()
    except (OSError, ValueError, FloatingPointError, MemoryError, gym.error.Error) as error:
        print(f"ram: {error}", file=sys.stderr)
        sys.exit(1)


def train(command: Train) -> None:
    """`ram train`."""
    if command.threads is not None and command.threads < 1:
        raise ValueError(f"threads={command.threads}: expected 1 or more.")
    torch.set_num_threads(command.threads or 1)
    device = checked_device(local_device(command.device))
    if command.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError('TensorBoard is not installed: pip install "ram-gym[tensorboard]".')
    folder = RunFolder(command.resume or command.out or _new_folder(command.env_id))
    try:
        with join_ranks(device) as ranks:
            trainer = _train(command, device, ranks, folder)
        if ranks.is_first and trainer.is_over:
            show_trained(trainer, folder)
    finally:
        folder.unlock()


def _train(command: Train, device: torch.device, ranks: Ranks, new_folder: RunFolder) -> Trainer:
    """Train, as one of the ranks, till the end or till a signal."""
    run = ranks.from_first(lambda: make_run(command, new_folder, ranks.size, device))
    folder = new_folder if ranks.is_first else None
    env_id, keywords = run["env_id"], run["env_kwargs"]
    trainer = make_trainer(run, folder, device, ranks)
    if folder is None:
        trainer.train()
        return trainer
    if command.resume is not None:
        trainer.resume()
    if command.tensorboard:
        trainer.log_to_tensorboard()
    print(f"{name_env(env_id, keywords)}: {trainer.num_updates} updates, in {folder.path}")
    (envs, *_) = trainer.train_envs
    if device.type == GPU and not isinstance(envs, DeviceVectorEnv):
        print(f"The networks are on {device}, the environments on the CPU: {why_on_host(envs)}.")
    if not trainer.train(report=print_progress):
        print(f"Stopped after {trainer.update} updates. Go on: {folder.resume_command}")
    return trainer


def evaluate_run(command: Evaluate) -> None:
    """`ram evaluate`."""
    torch.set_num_threads(1)
    agent = RAMAgent.load(command.run)
    env_id, keywords = own_env(agent.info, command.env_id)
    for name in ("dataset", "num_glimpses", "canvas_size", "num_clutter"):
        if (value := getattr(command, name)) is not None:
            keywords[name] = value
    result = evaluate_all(
        agent,
        env_id,
        command.split,
        command.num_episodes,
        command.seed,
        keywords,
        command.stop_when_sure,
    )
    print_results(result, f"{name_env(env_id, keywords)}, {command.split} split")
    if command.save is not None:
        how = {"env_id": env_id, "env_kwargs": keywords, "split": command.split}
        made = {**provenance(), "seed": command.seed, "trained_by": agent.info}
        write_json(command.save, {**how, **made, "results": result})
        print(f"Written to {command.save}")


def watch(command: Watch) -> None:
    """`ram watch`."""
    from ram_agent.pictures import play_frames
    from ram_envs.rendering import Window, to_surface

    if command.episodes < 1:
        raise ValueError(f"episodes={command.episodes}: expected 1 or more.")
    agent = RAMAgent.load(command.run)
    env_id, keywords = own_env(agent.info, command.env_id)
    if command.dataset is not None:
        keywords["dataset"] = command.dataset
    episodes = range(command.start, command.start + command.episodes)
    if command.save is not None:
        save_watched(
            agent, env_id, keywords, command.save, episodes, command.split, not command.sampled
        )
        print(f"Written to {command.save}")
        return
    envs = make_split(env_id, 1, command.split, render_mode="rgb_array", **keywords)
    window = Window(title=f"ram watch {command.run}", render_fps=2)
    for frames in play_frames(agent, envs, episodes, not command.sampled):
        for frame in (*frames, frames[-1]):
            window.show(to_surface(frame))
            if window.closed:
                return
    window.close()


def draw_figures(command: Figures) -> None:
    """`ram figures`."""
    torch.set_num_threads(1)
    agent = RAMAgent.load(command.run)
    env_id, keywords = own_env(agent.info, command.env_id)
    if command.dataset is not None:
        keywords["dataset"] = command.dataset
    if env_id not in IMAGES:
        path = command.out / "looks.gif"
        save_watched(agent, env_id, keywords, path)
        print(f"Written to {path}")
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('matplotlib is not installed: pip install "ram-gym[figures]".')
    from ram_agent.figures import look_at_images, save_figures

    envs = make_split(env_id, EVALUATION_ENVS, command.split, **keywords)
    num_images = min(command.num_images, envs.unwrapped.num_images)  # type: ignore[attr-defined]
    looks = look_at_images(agent, envs, num_images)
    errors = {
        f"{gaze} gaze": evaluate(agent, envs, num_episodes=num_images, gaze=gaze).errors
        for gaze in get_args(Gaze)
    }
    for path in save_figures(looks, errors, command.out):
        print(f"Written to {path}")


def list_envs() -> None:
    """`ram list`."""
    row = "{:<26} {:>9} {:>9}  {:<18} {}"
    print(row.format("id", "screen", "clutter", "retina", "steps"))
    for env_id in ENVS:
        keywords: dict[str, Any] = {"dataset": "digits"} if env_id in CLASSIFICATION else {}
        batch = gym.make(env_id, **keywords).unwrapped.batch  # type: ignore[attr-defined]
        height, width = batch.task.image_shape[:2]
        size, num_scales = batch.retina.glimpse_size, batch.retina.num_scales
        clutter = batch.task.canvas.num_clutter if env_id in CLASSIFICATION else "a game"
        steps = batch.task.num_glimpses if env_id in CLASSIFICATION else height - 1
        retina = f"{size} × {size}, {num_scales} scale{'s' * (num_scales > 1)}"
        print(row.format(env_id, f"{height} × {width}", clutter, retina, steps))


def make_run(
    command: Train, folder: RunFolder, num_ranks: int, device: torch.device
) -> dict[str, Any]:
    """config.json of the run in `folder`, which is made if the run is new."""
    is_new = command.resume is None
    run = _new_run(command, device) if is_new else _resumed_run(command, folder)
    parts = config_from_json(TrainConfig, run["training"]).parts
    if parts % num_ranks:
        raise ValueError(
            f"parts={parts} cannot be shared by {num_ranks} processes evenly. "
            f"Give --parts {num_ranks}, or a multiple of it."
            if is_new
            else f"the run in {folder.path} has parts={parts}, which {num_ranks} processes cannot "
            "share evenly. Go on with a number of processes that divides its parts."
        )
    if is_new:
        folder.create(run, or_beside=command.out is None)
    return run


def _new_run(command: Train, device: torch.device) -> dict[str, Any]:
    """config.json of a new run."""
    if command.env_id is None:
        raise ValueError(
            f"which environment? Expected ram train ENV_ID, one of: {', '.join(ENVS)}."
        )
    given = {name: getattr(command, name) for name in ("dataset", *SIZES)}
    keywords: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return describe_run(
        command.env_id, keywords, command.preset, command.agent, command.training, device
    )


def _resumed_run(command: Train, folder: RunFolder) -> dict[str, Any]:
    """config.json of the run that goes on, after refusing settings that would change it."""
    agent_config, train_config = preset("default", command.env_id)
    fresh = Train(
        env_id=command.env_id,
        resume=command.resume,
        device=command.device,
        threads=command.threads,
        tensorboard=command.tensorboard,
        agent=agent_config,
        training=train_config,
    )
    run = folder.read_config()
    missing = {"env_id", "env_kwargs", "dataset", "agent", "training"} - run.keys()
    if missing:
        raise CheckpointError(f"{folder.config_path} is damaged: it lacks {sorted(missing)}.")
    if command != fresh or command.env_id not in (None, run["env_id"]):
        raise ValueError(
            f"--resume {folder.path} goes on with the settings of that run ({run['env_id']}) and "
            "takes no others. Leave them out, or start a new run with them."
        )
    check_env(run["env_id"], run["env_kwargs"], command.env_id)
    folder.lock()
    folder.check_fits(config_from_json(AgentConfig, run["agent"]))
    return run


def _new_folder(env_id: str | None) -> Path:
    return Path("runs") / f"{env_id}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _scan_env_id(args: list[str]) -> str | None:
    """The environment's id among `args`, not the value of an option."""
    for before, arg in pairwise(["", *args]):
        if arg in gym.registry and not before.startswith("--"):
            return arg
    return None


def _scan(args: list[str], option: str) -> str | None:
    """The value of `option`, found before the rest is parsed: it decides the others' defaults."""
    for place, arg in enumerate(args):
        if arg == option and place + 1 < len(args):
            return args[place + 1]
        if arg.startswith(f"{option}="):
            return arg.partition("=")[2]
    return None
