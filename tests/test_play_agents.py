"""Trained agents that play, alone or against the player."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from stages import begun, fall, quiz_env  # noqa: E402

from ram_envs.play import main, session  # noqa: E402
from ram_envs.play.seat import AgentPilot  # noqa: E402
from ram_envs.play.session import Options, make_env  # noqa: E402


def test_a_saved_agent_is_an_opponent_and_is_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    env = make_env("RAMCatch-v0", {})
    RAMAgent(env.observation_space, env.action_space).save(tmp_path / "agent")
    run = str(tmp_path / "agent")
    game = session.set_up(Options("RAMCatch-v0", versus=run, seed=3)).game
    stage = begun(game)
    fall(stage)
    assert [seat.count for seat in game.seats] == [1, 1]

    gif = str(tmp_path / "agent.gif")
    record = str(tmp_path / "game.json")
    main(["RAMCatch-v0", "--agent", run, "--episodes", "2", "--gif", gif, "--record", record])
    assert " of 2 " in capsys.readouterr().out
    main(["RAMCatch-v0", "--replay", record, "--gif", gif])
    assert " of 2 " in capsys.readouterr().out

    with pytest.raises(SystemExit):
        main(["RAMMNIST-v0", "--dataset", "digits", "--agent", run])
    assert "(3, 6, 6)" in capsys.readouterr().err


def test_an_agent_that_shifts_its_gaze_is_played_as_it_was_trained() -> None:
    class Down:
        def predict(self, observation: Any, **keywords: Any) -> tuple[Any, None]:
            return (np.array([0, 2], np.float32), 1), None

    pilot = AgentPilot(Down(), max_shift=0.5)
    seen = {"location": np.array([-0.25, 0.125], np.float32)}
    assert pilot.act(seen) == ((-0.25, 0.625), 1)
    seen = {"location": np.array([0.25, 0.75], np.float32)}
    assert pilot.act(seen) == ((0.25, 1.0), 1)  # the border


class Noisy:
    """Samples where it is asked to, and counts its steps in its state."""

    def predict(
        self, observation: Any, state: Any, episode_start: bool, deterministic: bool
    ) -> tuple[Any, int]:
        step = 1 if episode_start else state + 1
        shift = 0 if deterministic else 0.25
        return (np.array([shift, step / 8], np.float32), 0 if deterministic else 7), step


def test_an_agent_is_played_as_it_was_validated() -> None:
    seen = {"location": np.array([0.5, 0.5], np.float32)}
    sampled = AgentPilot(Noisy(), deterministic=False)
    assert [sampled.act(seen) for _ in range(2)] == [((0.25, 0.125), 7), ((0.25, 0.25), 7)]
    answering = AgentPilot(Noisy(), deterministic=False, answers=True)
    assert [answering.act(seen) for _ in range(2)] == [((0.25, 0.125), 0), ((0.25, 0.25), 0)]
    assert AgentPilot(Noisy(), gaze="center").act(seen) == ((0, 0), 0)
    still = AgentPilot(Noisy(), max_shift=0.5, gaze="center")
    assert still.act(seen) == ((0.5, 0.5), 0)  # no shift
    random = AgentPilot(Noisy(), gaze="random")
    places = np.array([random.act(seen)[0] for _ in range(100)])
    assert places.min() >= -1
    assert places.max() <= 1
    assert 0.5 < places.std() < 0.65


def test_a_control_is_played_with_its_gaze(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    env = quiz_env()
    agent = RAMAgent(env.observation_space, env.action_space)
    agent.info["training"] = {"validation_sampled": True, "gaze": {"locations": "center"}}
    agent.save(tmp_path / "agent")
    observation, _ = env.reset(seed=0)
    pilot = session.load_pilot(str(tmp_path / "agent"), env)
    location, choice = pilot.act(observation)
    best = agent.predict(observation, deterministic=True)[0][1]
    assert (location, choice) == ((0, 0), best)


def test_a_seed_determines_what_an_agent_samples(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    env = make_env("RAMCatch-v0", {})
    agent = RAMAgent(env.observation_space, env.action_space)
    agent.info["training"] = {"validation_sampled": True}
    agent.save(tmp_path / "agent")
    observation, _ = env.reset(seed=0)
    actions = []
    for seed in (0, 0, 1):
        pilot = session.load_pilot(str(tmp_path / "agent"), env, seed)
        actions.append([pilot.act(observation) for _ in range(5)])
    assert actions[0] == actions[1] != actions[2]


def test_an_agent_without_pytorch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", "--agent", "run"])
    said = capsys.readouterr().err
    assert 'pip install "ram-gym[agent,play]"' in said
