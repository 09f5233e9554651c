"""Every id gives what it gave: short plays to the bit, a tiny training to one in a thousand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from ram_envs.registration import CATCH, SEARCH

sys.path.append(str(Path(__file__).parent.parent / "tools"))
import golden

ENV_IDS = sorted(
    spec.id for spec in gym.registry.values() if str(spec.entry_point).startswith("ram_envs.")
)
GAMES = {**CATCH, **SEARCH}
every_id = pytest.mark.parametrize("env_id", ENV_IDS)
# Other machines add in another order; a change that matters changes more.
TOLERANCE = {"rel_tol": 1e-3, "abs_tol": 1e-5}


def kept(env_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(golden.path_of(env_id).read_text(encoding="utf-8"))
    return found


def under_present_names(row: dict[str, float]) -> dict[str, float]:
    """Return kept metrics under the names of this version; the files keep those they began with."""
    row = dict(row)
    if "pay" in row:
        row["location_reward"] = row.pop("pay")
    if "label_loss" not in row and "train_error" in row:  # a game, whose return is reported
        row["train_return"] = 1 - row.pop("train_error") / 100
    return row


def complain(env_id: str, difference: str) -> None:
    pytest.fail(
        f"results of {env_id} changed: {difference}\nRaise the id's version, or explain in "
        f"CHANGELOG.md why it need not be; then rewrite with `python tools/golden.py {env_id}`."
    )


def compare_plays(env_id: str, found: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    assert found.keys() == expected.keys()
    for name, lines in expected.items():
        for number, (old, new) in enumerate(zip(lines, found[name], strict=False)):
            if old != new:
                complain(env_id, f"{name}, glimpse {number}\n  was {old}\n  is  {new}")
        if len(lines) != len(found[name]):
            complain(env_id, f"{name} has {len(found[name])} glimpses, and had {len(lines)}")


def compare_trainings(
    env_id: str, found: list[dict[str, float]], expected: list[dict[str, float]]
) -> None:
    for update, (new, old) in enumerate(zip(found, expected, strict=True)):
        if new.keys() != old.keys():
            complain(env_id, f"the metrics are {', '.join(new)}, and were {', '.join(old)}")
        for name, value in old.items():
            if not math.isclose(new[name], value, **TOLERANCE):
                complain(env_id, f"{name} in update {update} was {value:g}, is {new[name]:g}")


@every_id
def test_plays(env_id: str) -> None:
    compare_plays(env_id, golden.play_all(env_id), kept(env_id)["plays"])


@every_id
def test_training(env_id: str) -> None:
    pytest.importorskip("torch")
    expected = [under_present_names(row) for row in kept(env_id)["training"]]
    compare_trainings(env_id, golden.train(env_id), expected)


def test_what_is_kept_shows_rewards() -> None:
    for env_id in ENV_IDS:
        text = golden.path_of(env_id).read_text(encoding="utf-8")
        assert f"reward {'0.99' if env_id in SEARCH else '1'}, the end" in text
        assert len(text) < 10_000
        assert (
            env_id not in GAMES or f"reward {'-0.02' if env_id in SEARCH else '0'}, the end" in text
        )


def test_a_change_is_told_with_what_to_do() -> None:
    remedy = r"(?s)results of X-v0 changed: .*Raise the id's version.*python tools/golden.py X-v0"
    with pytest.raises(pytest.fail.Exception, match=remedy):
        compare_plays("X-v0", {"seed 0": ["a", "b"]}, {"seed 0": ["a", "c"]})
    with pytest.raises(pytest.fail.Exception, match=remedy):
        compare_plays("X-v0", {"seed 0": ["a"]}, {"seed 0": ["a", "b"]})
    with pytest.raises(pytest.fail.Exception, match=remedy):
        compare_trainings("X-v0", [{"loss": 1.0}], [{"loss": 1.002}])
    with pytest.raises(pytest.fail.Exception, match=remedy):
        compare_trainings("X-v0", [{"loss": math.nan}], [{"loss": 1.0}])
    with pytest.raises(pytest.fail.Exception, match=remedy):
        compare_trainings("X-v0", [{"loss": 1.0}], [{"lost": 1.0}])
    compare_trainings("X-v0", [{"loss": 1.0}], [{"loss": 1.0005}])


def test_ids_that_are_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        golden.main(["CartPole-v1"])
    assert "CartPole-v1: expected some of RAMMNIST-v0" in capsys.readouterr().err
