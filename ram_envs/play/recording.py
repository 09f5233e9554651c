"""Recordings: a game to play again, as JSON, written completely or not at all."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ram_envs.atomic_files import read_json, write_json
from ram_envs.play.seat import Action, Deal

FORMAT, FORMAT_VERSION = "ram-play", 1


class RecordingError(ValueError):
    """A file is not a recording of this game."""


@dataclass(frozen=True)
class RecordedEpisode:
    """Which episode was played, and what the player did."""

    deal: Deal
    actions: list[Action]


@dataclass(frozen=True)
class Recording:
    """A game: where it was played, the episodes, and the score that they come to."""

    env_id: str
    keywords: dict[str, Any]
    seed: int
    score: int
    episodes: list[RecordedEpisode] = field(default_factory=list)


def save_recording(recording: Recording, path: Path) -> None:
    """Write a recording."""
    episodes = [
        {
            "seed": episode.deal.seed,
            "index": episode.deal.index,
            "actions": [[x, y, choice] for (x, y), choice in episode.actions],
        }
        for episode in recording.episodes
    ]
    head = {"format": FORMAT, "version": FORMAT_VERSION}
    write_json(path, {**head, **vars(recording), "episodes": episodes})


def load_recording(path: Path, env_id: str) -> Recording:
    """Return the recording of a game in the environment `env_id`.

    Raises:
        FileNotFoundError: if there is no such file.
        RecordingError: if it is damaged, or of another environment or version.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist. Give a file that --record wrote."
        ) from None
    except ValueError as error:
        raise RecordingError(f"{path} is not JSON: {error}. Record the game again.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordingError(f"{path} is not a recorded game. Give a file that --record wrote.")
    if content.get("version") != FORMAT_VERSION:
        raise RecordingError(
            f"{path} has version {reprlib.repr(content.get('version'))}, and this ram-gym reads "
            f"version {FORMAT_VERSION}. Use the ram-gym that wrote it, or record again."
        )
    if content.get("env_id") != env_id:
        raise RecordingError(
            f"{path} was recorded in {reprlib.repr(content.get('env_id'))}, not in {env_id}. Give "
            "that id."
        )
    try:
        return Recording(
            env_id=env_id,
            keywords={str(key): value for key, value in dict(content["keywords"]).items()},
            seed=_natural(content["seed"]),
            score=_natural(content["score"]),
            episodes=[_read_episode(episode) for episode in content["episodes"]],
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordingError(
            f"{path} is damaged: {type(error).__name__} {error}. Record it again."
        ) from None


def _read_episode(episode: Any) -> RecordedEpisode:
    index = episode["index"]
    deal = Deal(_natural(episode["seed"]), None if index is None else _natural(index))
    return RecordedEpisode(deal, [_read_action(*action) for action in episode["actions"]])


def _read_action(x: Any, y: Any, choice: Any) -> Action:
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in (x, y)):
        raise ValueError(f"location ({x!r:.100}, {y!r:.100})")
    return (float(x), float(y)), _natural(choice)


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{reprlib.repr(value)} is not an integer of at least 0")
    return value
