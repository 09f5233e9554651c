"""The command `ram`: its table of commands, and how a command fails."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import pytest
from ram_commands import BRIEF, TINY, fail

import ram_agent
import ram_envs
from ram_agent.cli import COMMANDS, main
from ram_agent.commands.train import parse_train
from ram_agent.pretrained_agents import pretrained_names
from ram_envs.datasets.loading import DatasetFallbackWarning
from ram_envs.registration import ENVS


def test_list_shows_every_environment(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    rows = {
        line.split()[0]: (" ".join(line.split()), lines[n + 1])
        for n, line in enumerate(lines[:-1])
        if line.strip()
    }
    assert ENVS.keys() <= rows.keys()
    assert rows["RAMMNIST-v0"][0] == "RAMMNIST-v0 28 × 28 8 × 8, 1 scale 6 10%"
    assert rows["RAMClutteredMNIST100-v0"][0].endswith("100 × 100 12 × 12, 4 scales 8 10%")
    assert rows["RAMCIFAR10-v0"][0] == "RAMCIFAR10-v0 32 × 32 8 × 8, 2 scales 8 10%"
    assert rows["RAMClassification-v0"][0] == "RAMClassification-v0 any 8 × 8, 1 scale 6 –"
    assert rows["RAMCatch-v0"][0] == "RAMCatch-v0 24 × 24 6 × 6, 3 scales 23 8.4%"
    for env_id in ENVS:
        assert rows[env_id][1].startswith("    ")
        assert rows[env_id][1].endswith(".")
    assert "    ram watch pretrained:catch" in lines


def test_agents_shows_every_agent_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    main(["agents"])
    rows = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line
    }
    assert set(pretrained_names()) <= rows.keys()
    assert rows["mnist-6"][:2] == ["RAMMNIST-v0", "6"]
    assert rows["catch"][:2] == ["RAMCatch-v0", "–"]
    assert "caught" in rows["catch"]


def start_python(code: str, folder: Path, *args: str, **env: str) -> subprocess.Popen[str]:
    """Start Python code that sees this checkout, in a process of its own."""
    root = Path(ram_agent.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), **env},
    )


def run_python(code: str, folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as `start_python` does, to its end."""
    with start_python(code, folder, *args, **env) as process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(args, process.returncode, output, errors)


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_names_every_command(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(args)
    said = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in said


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_each_command(
    command: str, width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: ram {command}" in said
    if command == "train":
        for option in ("--resume", "--learning-rate", "--hidden-size", "--num-glimpses"):
            assert option in said
        for group in ("environment", "run", "agent", "training"):
            assert f"{group} options" in said


def test_common_options_come_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        main(["train", "RAMClutteredMNIST100-v0", "--help"])
    common = capsys.readouterr().out.partition("environment options")[0]
    assert "RAMClutteredMNIST100-v0" in common
    assert re.search(r"--num-glimpses .*\(8\)", common)
    assert re.search(r"--num-scales .*\(4\)", common)
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    common = capsys.readouterr().out.partition("environment options")[0]
    assert re.search(r"--episodes [^(]*$", common, re.MULTILINE)  # no other environment's


@pytest.mark.parametrize(
    ("env_id", "used", "unused"),
    [
        ("RAMCatch-v0", {"--steps", "--glimpse-size"}, {"--episodes", "--dataset"}),
        ("RAMMNIST-v0", {"--episodes", "--dataset"}, {"--steps"}),
    ],
)
def test_common_options_are_those_that_an_environment_uses(
    env_id: str, used: set[str], unused: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", env_id, "--help"])
    common = capsys.readouterr().out.partition("Common")[2].partition("--help")[0]
    shown = set(common.split())
    assert used <= shown
    assert not unused & shown


def test_help_joins_the_lines_of_docstrings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "800")  # each help text on one line
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "--dataset STR" in line)
    assert "mnist" in line
    assert ".npz" in line


def test_help_shows_the_settings_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help", "--preset", "paper", "--tensorboard", "RAMCatch-v0"])
    said = capsys.readouterr().out
    assert "lstm" in said.partition("--core")[2].partition("default:")[2].split(")")[0]
    assert "20000000" in said
    assert "default: sgd" in " ".join(said.replace("│", " ").split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert ram_envs.__version__ in capsys.readouterr().out


def test_help_and_list_need_only_the_environments(tmp_path: Path) -> None:
    code = """
import sys
for name in ("torch", "tyro", "tqdm", "safetensors", "PIL", "pygame"):
    sys.modules[name] = None
from ram_agent.cli import COMMANDS, main
main(["--help"])
assert not {"gymnasium", "numpy"} & sys.modules.keys()
main(["list"])
main(["agents"])
main(sys.argv[1:])
"""
    done = run_python(code, tmp_path, "train", "RAMMNIST-v0")
    assert "RAMCatch-v0" in done.stdout
    assert done.returncode == 1
    assert 'pip install "ram-gym[agent]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_public_names_are_imported_when_they_are_used() -> None:
    for name in ram_agent.__all__:
        assert getattr(ram_agent, name) is not None
        assert name in dir(ram_agent)
    with pytest.raises(AttributeError, match="RAMagent"):
        ram_agent.RAMagent  # noqa: B018


@pytest.mark.parametrize(("given", "meant"), [("trian", "train"), ("lst", "list")])
def test_a_misspelled_command(given: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, given, "RAMMNIST-v0")
    assert repr(given) in line
    assert f"{meant!r}?" in line


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["train"], "ENV_ID"),
        (["train", "RAMNIST-v0"], "Did you mean 'RAMMNIST-v0'?"),
        (["train", "no_such_module:Own-v0"], "no_such_module"),
        (["train", "RAMCatch-v0", "--dataset", "digits"], "dataset"),
        (["train", "RAMCatch-v0", "--num-glimpses", "6"], "num_glimpses"),
        (["train", "RAMMNIST-v0", "--preset", "papr"], "'papr'"),
        (["train", "RAMMNIST-v0", "--preset=papr"], "'papr'"),
        (["train", "RAMMNIST-v0", "--dataset", "mnits"], "'mnits'"),
        (["train", *TINY[:3], "--num-glimpses", "0"], "num_glimpses=0"),
        (["train", *BRIEF, "--device", "abacus"], "'abacus'"),
        (["train", *BRIEF, "--device", "gpu"], "cuda"),
        (["train", *BRIEF, "--threads", "0"], "threads=0"),
        (["train", "CartPole-v1"], "--source render"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "pretrained:catch", "--split", "train"], "split='train'"),
        (["watch", "nowhere", "--save", "a.gif"], "nowhere"),
        (["watch", "pretrained:mnist6", "--save"], "Did you mean 'mnist-6'?"),
        (["watch", "pretrained:mnist-6", "--image", "no.png", "--save"], "no.png"),
        (["watch", "pretrained:mnist-6", "--invert", "--save"], "--image"),
        (["watch", "pretrained:catch", "--image", "a.png", "--start", "3", "--save"], "--start"),
        (["watch", "pretrained:catch", "--fps", "0", "--save"], "fps=0"),
        (["watch", "pretrained:catch", "--fps", "1000", "--save"], "below 1000"),
        (["watch", "pretrained:catch", "--start", "-1", "--save"], "start=-1"),
        (["watch", "pretrained:mnist-6", "--image", "a.png", "--max-steps", "3"], "--max-steps"),
        (["train", "RAMMNIST-v0", "--env-kwargs", "split=test"], "split='test'"),
        (
            ["train", "RAMMNIST-v0", "--num-glimpses", "4", "--env-kwargs", "num_glimpses=8"],
            "num_glimpses=8",
        ),
        (
            ["train", "RAMMNIST-v0", "--distortion", "0.5", "--env-kwargs", "distortion=0.3"],
            "distortion=0.3",
        ),
        (["train", "RAMMNIST-v0", "--mirror", "--env-kwargs", "mirror=True"], "mirror=True"),
        (["bench", "--compare", "no.json", "neither.json"], "no.json"),
        (["watch", "pretrained:catch", "--save", "catch.jpg"], "'.jpg'"),
        (["watch", "pretrained:catch", "--save", "catch"], ".gif"),
        (["watch", "pretrained:cach"], "Did you mean 'catch'?"),
        (["evaluate", "pretrained:catch", "RAMMNIST-v0"], "--env-id"),
        (["evaluate", "pretrained:mnist-6", "--env-id", "RAMCatch-v0"], "RAMMNIST-v0"),
        (["figures", "pretrained:catch", "RAMMNIST-v0"], "'RAMMNIST-v0'"),
        (["figures", "pretrained:catch", "--dpi", "3"], "dpi=3"),
    ],
)
def test_a_failure_names_the_value_and_leaves_no_files(
    args: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named in fail(capsys, *args)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["RAMMNIST-v0", "--episodes", "-5"], "episodes=-5"),
        ([*BRIEF, "--seed", "-1"], "seed=-1"),
        (["RAMMNIST-v0", "--learning-rat", "1"], "--learning-rat"),
        (["RAMMNIST-v0", "--lr", "1e-3"], "--learning-rate"),
        (["RAMMNIST-v0", "--total_timesteps=9"], "--steps"),
        (["RAMMNIST-v0", "--seed", "one"], "--seed"),
    ],
)
def test_a_setting_that_is_not_understood_ends_with_2(
    args: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *args])
    assert exit_info.value.code == 2
    assert named in capsys.readouterr().err


def test_a_value_may_be_named_like_a_setting_elsewhere() -> None:
    assert parse_train(["RAMMNIST-v0", "--out", "lr"]).run.out == Path("lr")


def test_play_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    with pytest.raises(SystemExit) as exit_info:
        main(["play", "RAMCatch-v0", "--episodes", "0"])
    assert exit_info.value.code == 1
    assert "--episodes 0" in capsys.readouterr().err


# --- whatever comes from outside: signals, pipes, encodings, displays, other people's code --------


@pytest.mark.parametrize("command", ["train", "evaluate", "list"])
def test_an_interruption_is_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(args: list[str]) -> None:
        raise KeyboardInterrupt

    module = importlib.import_module(COMMANDS[command][0])
    monkeypatch.setattr(module, "main", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as exit_info:
            main([command])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a second one changes nothing
    finally:
        signal.signal(signal.SIGINT, handler)
    assert exit_info.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a child")
def test_ctrl_c_in_a_command_and_again_at_its_end(tmp_path: Path) -> None:
    code = (  # SIGINT as in a terminal; a shell ignores it in the background
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from ram_agent import cli; run, fail = cli.run, cli.fail\n"
        "import ram_agent.measure, ram_agent.commands.evaluate\n"  # imports may swallow SIGINT
        "cli.run = lambda args: (print('ready', flush=True), run(args))\n"
        "cli.fail = lambda *args: (signal.raise_signal(signal.SIGINT), fail(*args))\n"
        "cli.main()"
    )
    arguments = ["evaluate", "pretrained:catch", "--num-episodes", "1000000"]
    with start_python(code, tmp_path, *arguments) as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.send_signal(signal.SIGINT)
        try:
            _, errors = command.communicate(timeout=60)
        finally:
            command.kill()
    assert command.returncode == 130
    # If SIGINT arrives in a callback of Python's import lock, Python prints this and continues.
    reported = r"Exception ignored in: <function _get_module_lock.*\nTraceback.*\n(  .*\n)*\w+: \n"
    own = re.sub(reported, "", errors)
    assert own.startswith("ram: ")
    assert own.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
@pytest.mark.parametrize("args", [["list"], ["--help"]])
def test_a_closed_pipe_ends_in_silence(args: list[str], tmp_path: Path) -> None:
    code = "input()\nfrom ram_agent.cli import main; main()"
    with start_python(code, tmp_path, *args) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        command.stdin.write("\n")
        command.stdin.close()
        assert command.stderr.read() == ""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_in_another_encoding(encoding: str, tmp_path: Path) -> None:
    code = """
import sys
from ram_agent.cli import main
main(["list"])
main(sys.argv[1:])
try:
    main(["train", "--help"])
except SystemExit as exit:
    assert exit.code == 0
print("all of it")
"""
    train = ["train", *BRIEF, "--out", "run"]
    done = run_python(code, tmp_path, *train, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all of it\n")
    assert (tmp_path / "run" / "fixations.png").is_file()


def test_no_window_without_a_display(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pygame = pytest.importorskip("pygame", reason="the extra play is not installed")
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr(pygame.display, "init", lambda: None)
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    assert "--save" in fail(capsys, "watch", "pretrained:catch")
    assert "'catch'?" in fail(capsys, "watch", "pretrained:cach")  # the mistake that comes first


def test_a_warning_has_no_place_in_the_source_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(args: list[str]) -> None:
        lines = [
            warnings.formatwarning("Digits instead.", DatasetFallbackWarning, "there.py", 3),
            warnings.formatwarning("No episode ended.", UserWarning, ram_agent.__file__, 3),
            warnings.formatwarning("Old.", DeprecationWarning, "there.py", 3),
            warnings.formatwarning("Overflow.", RuntimeWarning, ram_agent.__file__, 3),
            warnings.formatwarning("Slow.", UserWarning, "there.py", 3),
        ]
        print(*lines, sep="")

    monkeypatch.setattr("ram_agent.commands.list.main", warn)
    before = warnings.formatwarning
    main(["list"])
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == ["ram: Digits instead.", "ram: No episode ended."]
    for place in ("there.py:3: Deprecat", f"{ram_agent.__file__}:3: Runtime", "there.py:3: User"):
        assert place in said
    assert warnings.formatwarning is before


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_too_little_memory_is_one_line(
    device: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="the extra agent is not installed")

    def allocate(args: list[str]) -> None:
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        torch.empty(2**60)  # more than a process can address

    monkeypatch.setattr("ram_agent.commands.list.main", allocate)
    line = fail(capsys, "list")
    assert "batch_size" in line
    assert "hidden_size" in line


OWN_MODULE = """
import gymnasium
from ram_envs.envs.catch import CatchEnv, CatchVectorEnv


class OwnVectorEnv(CatchVectorEnv):
    def step(self, actions):
        MISTAKE


gymnasium.register("Own-v0", CatchEnv, vector_entry_point=OwnVectorEnv)
"""


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ("super().step(*actions)", "TypeError"),
        ('raise ValueError("not a number")', "not a number"),
        ('open("no_weights")', "no_weights"),
        # Its last frame is of numpy/random/_generator.pyx, which is not on this machine.
        ("import numpy; numpy.random.default_rng(0).choice(3, 5, replace=False)", "sample"),
    ],
)
def test_a_mistake_in_a_module_of_ones_own_is_one_line_with_its_place(
    mistake: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    monkeypatch.setattr(gym, "registry", gym.envs.registration.registry)
    # A name that begins like this package's, beside which it may lie.
    monkeypatch.setattr("ram_agent.cli.__file__", str(tmp_path / "own" / "cli.py"))
    monkeypatch.delitem(sys.modules, "own_mistake", raising=False)
    Path("own_mistake.py").write_text(OWN_MODULE.replace("MISTAKE", mistake))
    line = fail(capsys, "train", "own_mistake:Own-v0", "--out", "run")
    assert named in line
    assert "own_mistake.py:8" in line


def test_a_mistake_of_this_package_has_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_agent.commands.list.describe_all", None)
    with pytest.raises(TypeError):
        main(["list"])
