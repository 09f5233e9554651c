"""`train`: from an environment's id to a trained agent in one call."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ram_agent.agent import RAMAgent
from ram_agent.callbacks import Callback, LogMetrics, train_with
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.distributed import checked_device
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.runs import TRAINING_KEYWORDS, choose_preset, describe_run, make_trainer
from ram_agent.settings import setting_names
from ram_envs.arguments import check_arguments
from ram_envs.checks import checked_integer
from ram_envs.making import resolve_env_id
from ram_envs.notices import print_notice


@check_arguments
def train(
    env_id: str,
    *,
    callback: Callback | Sequence[Callback] = (),
    preset: str = "default",
    out: str | Path | None = None,
    start_from: str | Path | None = None,
    device: str = "cpu",
    threads: int = 1,
    **settings: Any,
) -> RAMAgent:
    """Train an agent and return it with the weights of its best validation.

        agent = ram_agent.train("RAMMNIST-v0", dataset="digits", episodes=40_000, seed=0)

    Ctrl-C, or stopping the cell of a notebook, ends the training and returns the agent so far.

    Args:
        env_id: the environment, such as "RAMClutteredMNIST-v0".
        callback: one or several functions of (trainer, metrics), called after every update and
            validation; see `ram_agent.callbacks`.
        preset: the settings that are not given: "default" or "paper".
        out: the run's folder, as `ram train --out` writes it; None keeps no files,
            unless the training does not finish: then the folder is kept, and a line on stderr
            names it.
        start_from: a trained agent whose weights initialize the networks, as for `RAMAgent.load`;
            the choice head is copied only if the number of classes is the same. Its networks and
            its scaling of pixels must be those of the new agent.
        device: where the networks run.
        threads: PyTorch's threads on the CPU while it trains.
        settings: any setting of `AgentConfig` and `TrainConfig` or of their groups, such as
            episodes, seed, hidden_size or learning_rate; `shards`; and keywords of the environment,
            such as dataset, num_glimpses or distortion.

    Raises:
        TypeError: if the data set is not a name or a path.
        ValueError: if a setting does not exist or is out of its range, or the environment cannot be
            made.
        FileNotFoundError: if `start_from` has no weights.
        FileExistsError: if `out` contains a run or other files.
    """
    own = _take(settings, {*setting_names(AgentConfig), *setting_names(TrainConfig), "shards"})
    training_keywords = _take(settings, {*TRAINING_KEYWORDS})
    env = RunEnv(resolve_env_id(env_id), settings)
    run = describe_run(
        env,
        preset,
        choose_preset(preset, env, own.get("supervision")).change(**own),
        training_keywords=training_keywords,
        start_from=start_from,
        device=checked_device(device),
    )
    callbacks = [callback] if callable(callback) else [*callback]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(checked_integer("threads", threads, 1))
    try:
        if out is not None:
            return _train_in(RunFolder(out), run, device, callbacks)
        with _temporary_folder() as folder:
            return _train_in(folder, run, device, callbacks)
    finally:
        torch.set_num_threads(num_threads)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[RunFolder]:
    """Yield a folder; remove it unless an unfinished training can be continued from it."""
    folder = RunFolder(tempfile.mkdtemp(prefix="ram-train-"))
    try:
        yield folder
    except BaseException:
        if folder.is_free:
            shutil.rmtree(folder.path)
        else:
            print_notice(
                f"The training did not finish. Its last checkpoint is in {folder.path}. Continue "
                f"it with: {folder.resume_command}"
            )
        raise
    else:
        shutil.rmtree(folder.path)


def _train_in(
    folder: RunFolder, run: RunConfig, device: str, callbacks: Sequence[Callback]
) -> RAMAgent:
    folder.create(run.to_json())
    try:
        trainer = make_trainer(run, folder, device)
        train_with(trainer, [LogMetrics(folder), *callbacks])
        return RAMAgent.load(folder.path)
    finally:
        folder.unlock()


def _take(settings: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Remove the settings of these names, and return them."""
    return {name: settings.pop(name) for name in names & settings.keys()}
