"""The command `ram train`, with tiny settings: new runs, and runs that continue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from ram_commands import BRIEF, TINY, TINY_AGENT, fail, frame_count

import ram_agent
from ram_agent.agent import RAMAgent
from ram_agent.cli import main
from ram_agent.commands import train
from ram_agent.presets import Preset, preset
from ram_agent.rollout import Rollout, collect_rollout
from ram_agent.run_config import RunConfig
from ram_agent.run_folder import RunFolder
from ram_agent.runs import make_trainer
from ram_agent.unused_settings import check_used_in_task, check_used_together
from ram_envs.play.session import load_pilot
from ram_envs.tasks.distortion import Distortion


def test_train_leaves_all_that_is_needed(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        ".lock-holder",
        "best.safetensors",
        "config.json",
        "evaluation.json",
        "fixations.png",
        "last.safetensors",
        "metrics.jsonl",
        "resume.safetensors",
    ]
    config = json.loads((run / "config.json").read_text())
    assert config["env_id"] == "RAMMNIST-v0"
    assert config["env_kwargs"] == {"dataset": "digits", "num_glimpses": 2}
    assert config["dataset"] == "digits"
    assert config["preset"] == "default"
    assert config["agent"]["hidden_size"] == 16
    assert (config["training"]["seed"], config["training"]["episodes"]) == (4, 256)
    assert config["command"]
    assert config["machine"]
    (row,) = RunFolder(run).read_metrics()
    assert (row["update"], row["episodes"]) == (8, 256)
    assert 50 < row["validation_error"] <= 100

    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["split"] == "test"
    assert evaluation["env_id"] == "RAMMNIST-v0"
    assert evaluation["training"]["seed"] == 4
    assert set(evaluation["results"]) == {
        "learned gaze",
        "learned gaze, sampled",
        "random gaze",
        "center gaze",
    }
    with Image.open(run / "fixations.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1536


def test_only_training_is_distorted(tmp_path: Path) -> None:
    settings = [*BRIEF, "--distortion", "0.5", "--elastic", "2", "--hidden-size", "8"]
    main(["train", *settings, "--out", str(tmp_path / "run")])
    run = RunConfig.read(RunFolder(tmp_path / "run"))
    assert run.training_keywords == {"distortion": 0.5, "elastic": 2.0}
    assert run.env.keywords == {"dataset": "digits", "num_glimpses": 2}
    trainer = make_trainer(run, None)
    for shard in trainer.shards:
        assert shard.envs.batch.task.canvas.distortion == Distortion(0.5, 2.0)  # type: ignore[attr-defined]
    validation = trainer.validation_envs.batch.task  # type: ignore[attr-defined]
    assert validation.canvas.distortion is None


def test_the_gaze_moves_by_a_limited_shift(tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ["--max-shift", "0.25", "--mirror", "--hidden-size", "8"]
    main(["train", *BRIEF, *settings, "--out", str(out)])
    run = RunConfig.read(RunFolder(out))
    assert run.env.keywords == {"dataset": "digits", "num_glimpses": 2, "max_shift": 0.25}
    assert run.training_keywords == {"mirror": True}
    envs = run.env.make_split(1, "test")
    before, _ = envs.reset(seed=0)
    after = envs.step((np.array([[-3.0, 4.0]]), np.zeros(1, np.int64)))[0]
    assert np.allclose(after["location"] - before["location"], [[-0.15, 0.2]])
    # In `ram play` the environment has no wrapper, and the agent's shifts become locations.
    env: Any = gym.make("RAMMNIST-v0", dataset="digits", num_glimpses=2)
    seen, _ = env.reset(seed=0)
    location, _ = load_pilot(str(out), env.unwrapped).act(seen)
    assert 0 < np.hypot(*(location - seen["location"])) <= 0.25 + 1e-6


def test_a_game_has_nothing_to_distort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert "distortion" in fail(capsys, "train", "RAMCatch-v0", "--distortion", "1", "--out", out)
    assert not out.exists()


def test_train_prints_progress_and_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    main(["train", *TINY, *TINY_AGENT, "--preset", "paper", "--epochs", "0.05", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    # 64.85 episodes of 1,297, in batches of 32
    assert lines[0] == f"RAMMNIST-v0, digits, num_glimpses=2: 3 updates, in {out}"
    assert lines[1].split()[:2] == ["96", "episodes"]
    (title,) = (line for line in lines if "test split" in line)
    assert title.startswith("RAMMNIST-v0, digits, num_glimpses=2, test split")
    assert "300" in title
    config = json.loads((out / "config.json").read_text())
    assert config["preset"] == "paper"
    assert config["training"]["optimizer"]["update_rule"] == "sgd"  # the preset's
    assert config["training"]["batch_size"] == 32  # given
    assert RAMAgent.load(out).config.location_mean == "linear"


def test_train_without_pygame_draws_no_fixations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    main(["train", *BRIEF, "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "evaluation.json").is_file()
    assert not (tmp_path / "run" / "fixations.png").exists()
    assert "pygame" in capsys.readouterr().out


def assert_same_weights(*paths: Path) -> None:
    one, other = (RAMAgent.load(path).state_dict() for path in paths)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_same_command_trains_the_same_weights(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    main(["train", *BRIEF, "--seed", "4", "--out", str(out)])
    assert_same_weights(out / "last.safetensors", run / "last.safetensors")
    results = [json.loads((path / "evaluation.json").read_text())["results"] for path in (out, run)]
    assert results[0] == results[1]


def test_resuming_a_finished_run_leaves_it_as_it_is(copied_run: Path) -> None:
    before = (copied_run / "last.safetensors").read_bytes()
    main(["train", "--resume", str(copied_run)])
    assert (copied_run / "last.safetensors").read_bytes() == before
    assert len(RunFolder(copied_run).read_metrics()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a child")
def test_an_interrupted_training_saves_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    settings = [*TINY, *TINY_AGENT, "--episodes", "12800", "--validate-every", "1"]  # 400 updates
    root = Path(ram_agent.__file__).parent.parent
    said = ""
    with subprocess.Popen(
        [sys.executable, "-m", "ram_agent", "train", *settings, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
    ) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if "validation error" in line and "validation error" not in said:  # the first of 10
                training.send_signal(signal.SIGINT)
            said += line
    assert training.returncode == 0, said
    assert f"ram train --resume {out}" in said
    update = RunFolder(out).load_state().counters["update"]
    assert 40 <= update < 400
    assert f"after {update} updates" in said
    assert not (out / "evaluation.json").exists()

    main(["train", "--resume", str(out)])
    assert "test split" in capsys.readouterr().out
    assert RunFolder(out).load_state().counters["update"] == 400
    rows = RunFolder(out).read_metrics()
    validations = [row["update"] for row in rows if "validation_error" in row]
    assert validations == list(range(40, 401, 40))
    assert len(rows) == len(validations) + 400 // 20
    assert rows[-1]["label_loss"] < rows[0]["label_loss"]  # it learned something
    assert (out / "evaluation.json").is_file()


def test_a_folder_of_images_is_trained_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, name in enumerate(("dark", "bright")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(50):  # of which some ten are for the test
            image = Image.fromarray(np.full((10, 8 + number % 8), 40 + 180 * label, np.uint8))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    out, photos = str(tmp_path / "run"), str(tmp_path / "photos")
    settings = ["--glimpse-size", "4", "--num-scales", "2", "--canvas-size", "16"]
    brief = [
        "--num-glimpses",
        "2",
        "--episodes",
        "64",
        "--batch-size",
        "16",
        "--validate-every",
        "64",
    ]
    main(["train", "RAMClassification-v0", "--dataset", photos, *settings, *brief, "--out", out])
    title = f"RAMClassification-v0, {photos}, num_glimpses=2, glimpse_size="
    assert title in capsys.readouterr().out
    agent = RAMAgent.load(out)
    assert (agent.glimpse_shape, agent.num_choices) == ((2, 4, 4), 2)
    assert agent.info["env_kwargs"]["canvas_size"] == 16
    main(["evaluate", out, "--num-episodes", "10"])
    assert " 10 images" in capsys.readouterr().out


def test_a_game_is_trained_measured_and_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "catch"
    brief = ["--steps", "1472", "--batch-size", "16", "--validate-every", "736"]
    main(["train", "RAMCatch-v0", *TINY_AGENT, *brief, "--out", str(out)])
    said = capsys.readouterr().out
    assert "10000 games" in said
    assert "split" not in said  # a game has none
    config = json.loads((out / "config.json").read_text())
    assert (config["env_kwargs"], config["dataset"]) == ({}, None)
    assert config["agent"]["core"] == "lstm"
    results = json.loads((out / "evaluation.json").read_text())["results"]
    assert list(results) == ["learned gaze", "learned gaze, sampled", "random gaze", "center gaze"]
    assert results["learned gaze"].keys() == {"mean_return", "standard_error", "episodes"}
    assert 0 < results["learned gaze"]["mean_return"] < 0.4  # chance is 0.08
    assert len(RunFolder(out).read_metrics()) == 2

    main(["evaluate", str(out), "--num-episodes", "50", "--save", str(tmp_path / "all.json")])
    assert " 50 games" in capsys.readouterr().out
    assert (
        json.loads((tmp_path / "all.json").read_text())["results"]["random gaze"]["episodes"] == 50
    )
    main(["watch", str(out), "--save", str(tmp_path / "game.gif"), "--episodes", "1"])
    assert frame_count(tmp_path / "game.gif") == 24


def test_moving_digits_are_trained_measured_and_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "moving"
    env = ["RAMMovingMNIST-v0", "--dataset", "digits", "--num-glimpses", "3"]
    main(["train", *env, *TINY_AGENT, "--episodes", "64", "--batch-size", "32", "--out", str(out)])
    assert "RAMMovingMNIST-v0, digits, num_glimpses=3, test split" in capsys.readouterr().out
    results = json.loads((out / "evaluation.json").read_text())["results"]
    assert len(results["learned gaze"]["errors_after_each_glimpse"]) == 3

    main(["evaluate", str(out), "--num-episodes", "50"])
    assert " 50 images" in capsys.readouterr().out
    main(["watch", str(out), "--save", str(tmp_path / "moving.gif"), "--episodes", "2"])
    assert frame_count(tmp_path / "moving.gif") == 8  # two episodes of four frames


# --- refused ---


def test_a_folder_with_files_is_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    assert str(tmp_path) in fail(capsys, "train", *BRIEF, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("others", "named"),
    [
        (["--seed", "7"], "seed=7"),
        (["--seed", "0"], "seed=0"),  # the preset's, and the run has 4
        (["--hidden-size", "7"], "hidden_size=7"),
        (["--num-glimpses", "7"], "num_glimpses=7"),
        (["--out", "elsewhere"], "elsewhere"),
        (["--preset", "paper"], "preset='paper'"),
        (["RAMClutteredMNIST-v0"], "RAMClutteredMNIST-v0"),
    ],
)
def test_resume_refuses_other_settings(
    copied_run: Path, others: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fail(capsys, "train", *others, "--resume", copied_run)
    assert named in line
    assert str(copied_run) in line


def test_without_supervision_episodes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fail(capsys, "train", *BRIEF, "--supervision", "none", "--out", tmp_path / "run")
    assert "episodes=256" in line
    assert "steps" in line
    command = train.parse_train(["RAMMNIST-v0", "--supervision", "none"])
    check_used_in_task(command.training, supervised=False)  # the preset's own episodes are left out


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["--glimpse-network", "linear", "--conv-maps", "4"], "conv_maps=4"),
        (["--locations", "random", "--location-weight", "1"], "location_weight=1.0"),
        (["--locations", "center", "--location-std-end", "0.1"], "location_std_end=0.1"),
    ],
)
def test_settings_that_another_one_makes_useless(
    settings: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fail(capsys, "train", "RAMCatch-v0", *settings, "--out", tmp_path / "run")
    assert named in line
    assert settings[1] in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", ["--glimpse-network linear", "--locations random"])
def test_settings_of_the_preset_may_be_useless(settings: str) -> None:
    command = train.parse_train(["RAMCatch-v0", *settings.split()])
    assert (command.agent.conv_maps, command.training.gaze.location_weight) == (8, 0.3)
    check_used_together(
        Preset(command.agent, command.training, 1), preset("default", "RAMCatch-v0")
    )


def test_channels_are_those_of_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fail(capsys, "train", *BRIEF, "--num-channels", "3", "--out", tmp_path / "run")
    assert "num_channels=3" in line
    assert "num_channels=1" in line
    assert not (tmp_path / "run").exists()


def test_a_preset_without_supervision_has_no_location_reward() -> None:
    command = train.parse_train(["RAMPairsMNIST-v0", "--supervision", "none"])
    check_used_in_task(
        command.training, supervised=False
    )  # where labels are supervised it is log_gain


def test_keywords_that_are_named_like_settings_are_those_of_the_run(copied_run: Path) -> None:
    folder = RunFolder(copied_run)
    run = RunConfig.from_json({**folder.read_config(), "env_kwargs": {"steps": 5, "seed": 2}})
    args = ["--resume", str(copied_run), "--env-kwargs", "steps=5", "seed=2"]
    train.check_unchanged(args, run, folder)
    with pytest.raises(ValueError, match="steps=9"):
        train.check_unchanged([*args[:-2], "steps=9"], run, folder)


def test_resume_takes_the_settings_that_the_run_has(copied_run: Path) -> None:
    before = (copied_run / "last.safetensors").read_bytes()
    main(["train", "--resume", str(copied_run), "ram_envs:RAMMNIST-v0", "--seed", "4"])
    assert (copied_run / "last.safetensors").read_bytes() == before


def test_resume_without_a_checkpoint(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied_run / "resume.safetensors").unlink()
    assert "resume.safetensors" in fail(capsys, "train", "--resume", copied_run)


@pytest.mark.parametrize("name", ["config.json", "resume.safetensors"])
def test_resume_from_a_damaged_file(
    copied_run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = (copied_run / name).read_bytes()[:-20]
    (copied_run / name).write_bytes(damaged)
    assert name in fail(capsys, "train", "--resume", copied_run)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_settings_that_do_not_fit_the_checkpoint_are_refused_before_a_network_is_made(
    copied_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = json.loads((copied_run / "config.json").read_text())["agent"]
    change_json(copied_run / "config.json", agent={**agent, "hidden_size": 10**9})
    assert "hidden_size=1000000000" in fail(capsys, "train", "--resume", copied_run)


def test_a_run_that_is_going_on_is_not_written_by_another(
    copied_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunFolder(copied_run)
    other.lock()
    line = fail(capsys, "train", "--resume", copied_run)
    assert str(copied_run) in line
    assert str(os.getpid()) in line
    other.unlock()
    main(["train", "--resume", str(copied_run)])


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "default_folder", lambda env_id: Path("runs") / "now")
    for _ in range(3):
        main(["train", *BRIEF])
    assert sorted(path.name for path in Path("runs").iterdir()) == ["now", "now-2", "now-3"]
    assert "in runs/now-3" in capsys.readouterr().out.replace("\\", "/")


def test_a_run_that_was_killed_before_its_first_checkpoint_begins(
    copied_run: Path, run: Path
) -> None:
    for path in copied_run.iterdir():
        if path.name != "config.json":
            path.unlink()
    main(["train", "--resume", str(copied_run)])
    for name in ("best.safetensors", "last.safetensors"):
        assert_same_weights(copied_run / name, run / name)


def test_resume_where_another_program_wrote_config_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"env_id": "RAMMNIST-v0"}')
    line = fail(capsys, "train", "--resume", tmp_path)
    assert "config.json" in line
    assert "agent" in line


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("shards", "2", "shards='2'"),
        ("shards", 0, "shards=0"),
        ("training_env_kwargs", [], "training_env_kwargs=[]"),
        ("images", [], "images=[]"),
        ("preset", 3, "preset=3"),
    ],
)
def test_resume_where_config_json_was_edited_wrongly(
    name: str, value: Any, named: str, copied_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RunFolder(copied_run).config_path
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert named in fail(capsys, "train", "--resume", copied_run)


def test_tensorboard_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    line = fail(capsys, "train", *BRIEF, "--tensorboard", "--out", tmp_path / "run")
    assert 'pip install "ram-gym[tensorboard]"' in line
    assert not (tmp_path / "run").exists()


def test_tensorboard_shows_the_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main(["train", *BRIEF, "--tensorboard", "--out", str(tmp_path / "run")])
    (row,) = RunFolder(tmp_path / "run").read_metrics()
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(row)
    (error,) = events.Scalars("validation_error")
    assert (error.step, error.value) == (8, pytest.approx(row["validation_error"]))


def test_a_control_is_measured_and_drawn_with_its_own_gaze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gazes: list[str] = []

    def note(*args: Any, **keywords: Any) -> Rollout:
        gazes.append(keywords["gaze"])
        return collect_rollout(*args, **keywords)

    monkeypatch.setattr("ram_agent.rollout.collect_rollout", note)
    main(["train", *BRIEF, "--locations", "center", "--out", str(tmp_path / "run")])
    assert gazes == ["center"] * 6
    results = json.loads((tmp_path / "run" / "evaluation.json").read_text())["results"]
    assert list(results) == ["center gaze", "random gaze"]
    said = capsys.readouterr().out
    assert said.index("center gaze") < said.index("random gaze")
    main(["evaluate", str(tmp_path / "run"), "--num-episodes", "9", "--stop-when-sure", "0"])
    assert "if 0% sure" in capsys.readouterr().out


def test_resume_takes_a_pair_that_the_run_has(tmp_path: Path) -> None:
    command = [*BRIEF, "--env-kwargs", "initial_location=(0,0)"]
    main(["train", *command, "--out", str(tmp_path / "run")])
    main(["train", *command, "--resume", str(tmp_path / "run")])
