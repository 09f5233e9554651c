"""Environments of glimpses from any id: those of ram_envs, and others through the retina.

An environment whose observations are glimpses is made unchanged. Any other must show pictures and
is wrapped in `ThroughRetina`; the keywords of both are given together. Atari's games come from
ale-py's native vector environment, one or many, so that all of them show the same pictures.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ram_envs.aliases import VectorEnv
from ram_envs.arguments import VECTOR_KEYWORDS
from ram_envs.atari import AtariGame, make_games
from ram_envs.checks import checked_autoreset_mode, checked_integer
from ram_envs.envs.classification import DatasetFacts
from ram_envs.glimpse_env import GlimpseEnv
from ram_envs.registration import ENVS, check_registered
from ram_envs.wrappers import RelativeGaze, ThroughRetina, vector

RETINA_KEYWORDS = ("glimpse_size", "num_scales", "source", "initial_location")
# Where an environment has no time limit of its own: half an hour of Atari's frames, of which an
# agent sees every fourth.
MAX_EPISODE_STEPS = 27_000
# An agent with a memory needs no stack of frames, and the score is the game's own.
ATARI = {"stack_num": 1, "reward_clipping": False}

PACKAGES = {  # beginning of an id: the module that registers it, the command that installs it
    "ALE/": ("ale_py", 'pip install "ram-gym[atari]"'),
    "MiniGrid-": ("minigrid", "pip install minigrid"),
    "BabyAI-": ("minigrid", "pip install minigrid"),
}

# Whether an entry point with these keywords makes a glimpse environment: to try can take seconds.
_SHOW_GLIMPSES: dict[tuple[Any, str], bool] = {}

Keywords = Mapping[str, Any]


def make_env(env_id: str, *, render_mode: str | None = None, **keywords: Any) -> Any:
    """Make one environment whose observations are glimpses.

    Args:
        env_id: a registered id, or MODULE:ID.
        render_mode: None or "rgb_array".
        keywords: those of the environment and, if it shows pictures instead of glimpses, those of
            `ThroughRetina`. "max_shift" puts `RelativeGaze` around it.

    Raises:
        NoPictureError: if the environment shows neither glimpses nor pictures.
        DependencyNotInstalled: if the package of the environment is not installed.
        gymnasium.error.Error: if no such environment is registered.
    """
    if (max_shift := keywords.pop("max_shift", None)) is not None:
        return RelativeGaze(make_env(env_id, render_mode=render_mode, **keywords), max_shift)
    spec = find_spec(env_id)
    if shows_glimpses(env_id, keywords):
        return gym.make(env_id, disable_env_checker=True, **_rendering(render_mode), **keywords)
    retina, own = _divide(keywords)
    if retina.get("source") == "render":
        render_mode = "rgb_array"
    if is_atari(spec):
        env = AtariGame(env_id, render_mode, **_game_keywords(env_id, **own))
    else:
        env = _make_world(env_id, render_mode, **own)
    return ThroughRetina(env, **retina)


def make_vector_env(
    env_id: str,
    num_envs: int,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    render_mode: str | None = None,
    **keywords: Any,
) -> VectorEnv:
    """Make a vector environment whose observations are glimpses; see `make_env`.

    It is native if the id has a vector environment of glimpses, or is a game of Atari that resets
    itself and is not rendered; otherwise a `SyncVectorEnv`.

    Raises:
        TypeError: for an argument of `gym.make_vec`, which is not a keyword of the environment.
    """
    for name in VECTOR_KEYWORDS:
        if name in keywords:  # `gym.make_vec` would not pass it on, so no environment rejects it
            raise TypeError(f"{env_id} has no keyword {name!r}. Leave it out.")
    if (max_shift := keywords.pop("max_shift", None)) is not None:
        keywords.update(autoreset_mode=autoreset_mode, render_mode=render_mode)
        return vector.RelativeGaze(make_vector_env(env_id, num_envs, **keywords), max_shift)
    num_envs = checked_integer("num_envs", num_envs, 1)
    spec, mode = find_spec(env_id), checked_autoreset_mode(autoreset_mode)
    if shows_glimpses(env_id, keywords):
        keywords = {**keywords, **_rendering(render_mode)}
        if spec.vector_entry_point is not None:
            return gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=mode, **keywords)
        options: dict[str, Any] = {"vectorization_mode": "sync"}
        options["vector_kwargs"] = {"autoreset_mode": mode}
        return gym.make_vec(env_id, num_envs=num_envs, **options, **keywords)
    retina, own = _divide(keywords)
    if retina.get("source") == "render":
        render_mode = "rgb_array"
    # ale-py's vector environment always resets itself, and draws nothing.
    if is_atari(spec) and mode is not AutoresetMode.DISABLED and render_mode is None:
        games = make_games(env_id, num_envs, mode, **_game_keywords(env_id, **own))
        return vector.ThroughRetina(games, **retina)
    make: Callable[[], Any]
    if is_atari(spec):
        make = partial(AtariGame, env_id, render_mode, **_game_keywords(env_id, **own))
    else:
        make = partial(_make_world, env_id, render_mode, **own)
    return vector.ThroughRetina(SyncVectorEnv([make] * num_envs, autoreset_mode=mode), **retina)


def find_spec(env_id: str) -> EnvSpec:
    """Return the spec of an id, after importing the package that registers it.

    Raises:
        DependencyNotInstalled: if the package is not installed.
        gymnasium.error.Error: if no such environment is registered.
    """
    import_package(env_id)
    return gym.spec(env_id.rpartition(":")[2])


def resolve_env_id(env_id: str) -> str:
    """Return an environment's id in its one form, after importing the module that it names.

    "ram_envs:RAMMNIST-v0", "RAMMNIST" and "RAMMNIST-v0" are one environment. An id of another
    module keeps the module's name, which later commands import.

    Raises:
        ValueError: if the module was not found.
        gymnasium.error.Error: if no such environment is registered.
    """
    module, _, name = env_id.rpartition(":")
    if f"{name}-v0" in ENVS:
        name = f"{name}-v0"
    if module.partition(".")[0] == "ram_envs":
        module = ""
    own_id = f"{module}:{name}" if module else name
    import_own_module(own_id)
    import_package(name)
    check_registered(name)
    return own_id


def import_own_module(env_id: str) -> None:
    """Import the module that MODULE:ID names, from the current folder too; for commands.

    Raises:
        ValueError: if the module was not found.
    """
    module = env_id.rpartition(":")[0]
    if not module or module in sys.modules:
        return
    if "" not in sys.path:
        sys.path.insert(0, "")  # the current folder, as `python -m` has it
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{env_id}: {error}. Run the command in the folder of {module}.py, or install it."
        ) from error


def import_package(env_id: str) -> None:
    """Import the module that registers an id: one that it names, or one of `PACKAGES`."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    for prefix, (package, install) in PACKAGES.items():
        if name.startswith(prefix):
            try:
                importlib.import_module(package)
            except ModuleNotFoundError as error:
                raise gym.error.DependencyNotInstalled(
                    f"{name} needs {error.name}. Run: {install}"
                ) from error


def is_atari(spec: EnvSpec) -> bool:
    """Return whether ale-py has a native vector environment of a game."""
    return str(spec.vector_entry_point).startswith("ale_py.")


def find_creator(env_id: str) -> Any:
    """Return the class or function that makes an environment; of an Atari game, many of them."""
    spec = find_spec(env_id)
    creator: Any = spec.vector_entry_point if is_atari(spec) else spec.entry_point
    return load_env_creator(creator) if isinstance(creator, str) else creator


def has_dataset(env_id: str) -> bool:
    """Return whether the class of an environment says that it has images in splits."""
    creator = find_creator(env_id)
    return isinstance(creator, type) and issubclass(creator, DatasetFacts)


def default_keywords(env_id: str) -> dict[str, Any]:
    """Return the keywords with which an environment is made, if no others are given."""
    parameters = inspect.signature(find_creator(env_id)).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    return {**defaults, **find_spec(env_id).kwargs}


def find_keywords(env_id: str) -> frozenset[str] | None:
    """Return the keywords with which an environment is made; None if it may take any."""
    of_creator = inspect.signature(find_creator(env_id)).parameters
    if any(one.kind is one.VAR_KEYWORD for one in of_creator.values()):
        return None
    of_make = inspect.signature(gym.make).parameters
    return frozenset((*of_creator, *of_make, *RETINA_KEYWORDS, "max_shift"))


def shows_glimpses(env_id: str, keywords: Keywords) -> bool:
    """Return whether the observations of an id are glimpses, without a retina before it.

    If its class does not say so, an environment is made; the answer is remembered.
    """
    spec, creator = find_spec(env_id), find_creator(env_id)
    if isinstance(creator, type) and issubclass(creator, GlimpseEnv):
        return True
    if is_atari(spec):
        return False
    own = {name: value for name, value in _divide(keywords)[1].items() if name != "max_shift"}
    key = creator, repr({**spec.kwargs, **own})
    if key not in _SHOW_GLIMPSES:
        env = gym.make(env_id, disable_env_checker=True, **own)
        space = env.observation_space
        env.close()
        _SHOW_GLIMPSES[key] = isinstance(space, spaces.Dict) and "glimpse" in space.spaces
    return _SHOW_GLIMPSES[key]


def parse_keywords(given: Iterable[str], options: Keywords) -> dict[str, Any]:
    """Return the keywords of options, and of NAME=VALUE; a value is a Python literal, or else text.

    Raises:
        ValueError: if there is no "=", or a keyword is given twice.
    """
    keywords = dict(options)
    for text in given:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise ValueError(f"{text!r} is not a keyword. Give NAME=VALUE, as in continuous=False.")
        if name in keywords:
            raise ValueError(
                f"{name} is given twice: {keywords[name]!r}, and {text} in --env-kwargs. Leave one "
                "out."
            )
        try:
            keywords[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            keywords[name] = value
    return keywords


def _divide(keywords: Keywords) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keywords of the retina, and those of the environment."""
    retina = {name: value for name, value in keywords.items() if name in RETINA_KEYWORDS}
    return retina, {name: value for name, value in keywords.items() if name not in retina}


def _rendering(render_mode: str | None) -> dict[str, Any]:
    return {} if render_mode is None else {"render_mode": render_mode}


def _make_world(env_id: str, render_mode: str | None, **keywords: Any) -> Any:
    """Make an environment that shows pictures, with a time limit."""
    if find_spec(env_id).max_episode_steps is None:
        keywords.setdefault("max_episode_steps", MAX_EPISODE_STEPS)
    return gym.make(env_id, disable_env_checker=True, **_rendering(render_mode), **keywords)


def _game_keywords(
    env_id: str, max_episode_steps: int | None = None, **keywords: Any
) -> dict[str, Any]:
    """Return the keywords of ale-py's games; max_episode_steps becomes their limit of frames.

    ale-py pools the last picture of a game that it cuts off in another way. One game and many have
    this limit, so that they end with the same picture.
    """
    keywords = {**ATARI, **keywords}
    if max_episode_steps in (None, -1):  # -1 means no limit in `gym.make`, too
        return keywords
    limit = checked_integer("max_episode_steps", max_episode_steps, 1, meaning=", or -1 for none")
    if "max_num_frames_per_episode" in keywords:
        raise ValueError(
            f"max_episode_steps={limit} and max_num_frames_per_episode="
            f"{keywords['max_num_frames_per_episode']} are the same limit. Give one of them."
        )
    skipped = {**find_spec(env_id).kwargs, **keywords}["frameskip"]
    return {**keywords, "max_num_frames_per_episode": skipped * limit}
