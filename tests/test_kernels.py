"""Compiled kernels give what numpy gives, bit for bit; where they can't be used, numpy is."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from ram_envs import Retina, kernels
from ram_envs.kernels import Kernel, form_in_use, using
from ram_envs.retina import look_at_padded, look_at_rows
from ram_envs.streams import draw_integers, draw_uniform, episode_keys
from ram_envs.tasks.canvas import add_clipped, add_images, cut_windows
from ram_envs.tasks.catch import Catch, advance_games, draw_screens
from ram_envs.tasks.motion import drift

sys.path.append(str(Path(__file__).parent.parent / "tools"))
import golden
import test_envs
from test_golden import compare_plays, kept

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="the extra fast is not installed"
)


@pytest.fixture
def rng() -> np.random.Generator:
    """For each test its own, so that its numbers do not depend on which tests ran before."""
    return np.random.default_rng(0)


@pytest.fixture
def compiled() -> Iterator[None]:
    with using("numba"):
        yield
        assert form_in_use() == "numba"  # and not because of an error


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found, expected)


def assert_forms_agree(kernel: Kernel[..., Any], *args: Any) -> None:
    assert_equal(kernel.run(*args), kernel.numpy(*args))


# --- the same results ------------------------------------------------------------------------


@needs_numba
@pytest.mark.usefixtures("compiled")
class TestCompiled:
    @test_envs.every_id
    def test_plays(self, env_id: str) -> None:
        compare_plays(env_id, golden.play_all(env_id), kept(env_id)["plays"])

    @test_envs.every_id
    def test_native_is_sync(self, env_id: str) -> None:
        test_envs.test_native_is_sync_bit_for_bit(env_id, AutoresetMode.SAME_STEP)

    def test_glimpses(self, rng: np.random.Generator) -> None:
        for _ in range(150):
            num_scales, size, channels = (int(rng.integers(1, top)) for top in (8, 14, 4))
            height, width = rng.integers(size, size + 60, 2).tolist()
            images = rng.integers(0, 256, (3, height, width, channels), np.uint8)
            images = images[..., 0] if channels == 1 else images
            images.flags.writeable = bool(rng.random() < 0.5)
            rows = rng.integers(0, 3, 4)
            locations = rng.uniform(-1.1, 1.1, (4, 2)).astype(np.float32)
            retina = Retina(size, num_scales)
            assert_forms_agree(look_at_rows, retina, images, rows, locations)
            padded = retina.allocate(3, images.shape[1:])
            retina.fill(padded, images, np.arange(3))
            assert_forms_agree(look_at_padded, retina, padded, locations[:3])

    @pytest.mark.parametrize("scale", range(5))
    def test_every_sum_of_a_cell_becomes_the_same_float(self, scale: int) -> None:
        most, side = 255 * 4**scale, 2**scale
        sums = np.arange(most + 1)[:: 4 if scale == 4 else 1]
        pixels = np.clip(sums[:, None] - 255 * np.arange(side**2), 0, 255).astype(np.uint8)
        images, rows = pixels.reshape(-1, side, side), np.arange(len(sums))
        center = np.float32(0 if scale > 0 else -1)  # the edge of the only pixel
        retina, locations = Retina(1, scale + 1), np.full((len(sums), 2), center)
        found = look_at_rows.run(retina, images, rows, locations)
        assert np.array_equal(found[:, scale, 0, 0], sums.astype(np.float32) / np.float32(most))

    def test_rows_and_locations_of_other_types(self, rng: np.random.Generator) -> None:
        images = rng.integers(0, 256, (3, 9, 9), np.uint8)
        locations: Any = rng.uniform(-1, 1, (3, 2))
        args = (np.array([2, 0, 1], np.int32), locations)
        assert_forms_agree(look_at_rows, Retina(2, 2), images, *args)
        assert_forms_agree(look_at_rows, Retina(2, 2), images[:, ::-1], *args)
        with pytest.raises(IndexError, match="row 3"):
            look_at_rows.run(Retina(2), images, np.array([3, 0, 0]), locations)

    def test_streams(self, rng: np.random.Generator) -> None:
        keys = rng.integers(0, 2**64, 5, np.uint64)
        assert_forms_agree(draw_uniform, keys, 3, 4, -1.0, 1.0)
        assert_forms_agree(draw_integers, keys, 2, (1, 10, 50_000, 2**32))
        assert_forms_agree(episode_keys, keys, np.arange(5))

    @pytest.mark.parametrize("colors", [(), (3,)])
    def test_canvases(self, rng: np.random.Generator, colors: tuple[int, ...]) -> None:
        images = rng.integers(0, 256, (6, 9, 8, *colors), np.uint8)
        places = rng.integers(0, (6, 6, 5), (4, 3, 3))
        assert_forms_agree(cut_windows, images, places, 4)
        assert_forms_agree(cut_windows, images[:, ::-1], places, 4)
        pieces = cut_windows.numpy(images, places, 4)
        corners = rng.integers(0, (4, 7), (4, 4, 2))
        assert_forms_agree(add_clipped, (12, 14, *colors), pieces, images[:4], corners)
        canvases = rng.integers(0, 256, (2, 4, 12, 14, *colors), np.uint8)
        canvases[1] = canvases[0]
        add_images.run(canvases[0], pieces[:, 1], corners[:, 1])
        add_images.numpy(canvases[1], pieces[:, 1], corners[:, 1])
        assert_equal(*canvases)

    def test_canvases_are_compiled_up_to_their_borders(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for each in (cut_windows, add_clipped, add_images):
            monkeypatch.setattr(each, "numpy", None)  # what leaves a canvas is left to numpy
        images = np.arange(72, dtype=np.uint8).reshape(1, 9, 8)
        pieces = cut_windows.run(images, np.array([[[0, 0, 0], [0, 5, 4]]]), 4)
        assert pieces[0, :, -1, -1].tolist() == [27, 71]
        places = np.array([[[0, 0], [8, 10], [3, 6]]])
        canvases = add_clipped.run((12, 14), pieces, images, places)
        assert canvases[0, [0, 11], [3, 13]].tolist() == [3, 142]
        add_images.run(canvases, images, np.array([[0, 0]]))
        assert canvases[0, 0, 3] == 6

    def test_motion(self, rng: np.random.Generator) -> None:
        x, v = rng.uniform(0, 5, (4, 3, 2)), rng.uniform(-5, 5, (4, 3, 2))
        assert_forms_agree(drift, x, v, np.array([[5, 6], [7, 8], [5, 5]]))
        assert_forms_agree(drift, x[:, 0, 0], v[:, 0, 0], 5)

    def test_catch(self, rng: np.random.Generator) -> None:
        game = Catch(size=7, paddle_width=3, max_speed=2.5, num_balls=3)
        states = [game.allocate(5) for _ in range(2)]
        for state in states:
            beginning = np.random.default_rng(1)
            state.columns[:] = beginning.integers(0, 7, (5, 3))
            state.speeds[:] = beginning.uniform(-2.5, 2.5, (5, 3))
            state.x[:], state.v[:] = state.columns[:, 0], state.speeds[:, 0]
        for step in range(20):
            rows = np.flatnonzero(rng.random(5) < 0.9) if step < 10 else np.arange(5)
            rows = rows[~states[0].over[rows]]
            choices = rng.integers(0, 3, len(rows))
            outcomes = [
                form(game, state, rows, choices)
                for form, state in zip(
                    (advance_games.run, advance_games.numpy), states, strict=True
                )
            ]
            assert_equal(*outcomes)
            assert_equal(*(tuple(vars(state).values()) for state in states))
            screens = np.zeros((2, 5, 7, 7), np.uint8)
            draw_screens.run(game, states[0], screens[0])
            draw_screens.numpy(game, states[1], screens[1])
            assert_equal(*screens)
        assert states[0].caught.sum() > 0

    def test_a_game_that_is_over_is_refused_as_by_numpy(self) -> None:
        game = Catch(size=2)
        state = game.allocate(1)
        advance_games.run(game, state, np.array([0]), np.array([1]))
        with pytest.raises(IndexError):
            advance_games.run(game, state, np.array([0]), np.array([1]))


# --- which form is used ----------------------------------------------------------------------


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with using(form_in_use()):
        monkeypatch.setattr(kernels, "_form", None)
        yield monkeypatch


def test_without_numba_nothing_is_said(
    undecided: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    undecided.setattr(importlib.util, "find_spec", lambda name: None)
    undecided.delenv("RAM_ENVS_KERNELS", raising=False)
    assert form_in_use() == "numpy"
    assert capfd.readouterr().err == ""


def test_numba_that_is_asked_for_and_missing(
    undecided: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    undecided.setattr(importlib.util, "find_spec", lambda name: None)
    undecided.setenv("RAM_ENVS_KERNELS", "numba")
    assert form_in_use() == "numpy"
    (line,) = capfd.readouterr().err.splitlines()
    assert "ram-gym[fast]" in line


def test_a_folder_named_numba_is_not_numba(
    undecided: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "numba").mkdir()
    for name in [name for name in sys.modules if name.split(".")[0] == "numba"]:
        undecided.delitem(sys.modules, name)
    undecided.setattr(sys, "path", [str(tmp_path)])
    undecided.delenv("RAM_ENVS_KERNELS", raising=False)
    assert form_in_use() == "numpy"
    (line,) = capfd.readouterr().err.splitlines()
    assert "numba" in line


def test_another_form_is_named(undecided: pytest.MonkeyPatch) -> None:
    undecided.setenv("RAM_ENVS_KERNELS", "nubma")
    with pytest.raises(ValueError, match=r"'nubma'.*'numba'"):
        gym.make("RAMCatch-v0")


@needs_numba
def test_numba_is_used_where_it_is_installed(undecided: pytest.MonkeyPatch) -> None:
    undecided.delenv("RAM_ENVS_KERNELS", raising=False)
    assert form_in_use() == "numba"
    assert kernels.describe_form() == f"numba {importlib.import_module('numba').__version__}"


@needs_numba
@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("numba.version_info", (0, 60, 0), "numba>=0.61"),
        ("numba.config.DISABLE_JIT", 1, "NUMBA_DISABLE_JIT"),
        ("sys.byteorder", "big", "big-endian"),
    ],
)
def test_numba_that_cannot_be_used(
    name: str,
    value: Any,
    named: str,
    undecided: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    undecided.setattr(name, value)
    undecided.delenv("RAM_ENVS_KERNELS", raising=False)
    assert form_in_use() == "numpy"
    (line,) = capfd.readouterr().err.splitlines()
    assert named in line


@needs_numba
def test_kernels_that_do_not_compile(
    undecided: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> Any:
        raise SystemError(f"LLVM has no\n{name}")

    undecided.setenv("RAM_ENVS_KERNELS", "numba")
    undecided.setattr(importlib, "import_module", fail)
    retina, images = Retina(1), np.full((1, 3, 3), 255, np.uint8)
    assert retina.look_by_window(images, np.array([0]), np.zeros((1, 2), np.float32)) == 1
    assert form_in_use() == "numpy"
    (line,) = capfd.readouterr().err.splitlines()
    assert "LLVM has no ram_envs.kernels.glimpses" in line


@needs_numba
def test_kernels_that_cannot_be_cached(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    compiler = importlib.import_module("ram_envs.kernels.compiler")
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    monkeypatch.setattr(compiler, "_said_uncached", False)
    for _ in range(2):
        add = compiler.compiled(compiler.INTEGER, compiler.INTEGER)(lambda number: number + 1)
        assert add(2) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert "NUMBA_CACHE_DIR" in line


@needs_numba
def test_a_damaged_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    compiler = importlib.import_module("ram_envs.kernels.compiler")
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiler, "_said_uncached", False)

    def add_one(number: int) -> int:
        return number + 1

    compile_it = compiler.compiled(compiler.INTEGER, compiler.INTEGER)
    assert compile_it(add_one)(2) == 3
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2  # an index and the code
    for path in files:
        path.write_bytes(path.read_bytes()[:-9])
    assert compile_it(add_one)(2) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert "NUMBA_CACHE_DIR" in line


@needs_numba
def test_every_kernel_is_compiled() -> None:
    assert len(kernels.KERNELS) >= 12
    for kernel in kernels.KERNELS:
        assert kernel.compiled().__module__ == kernel.module


def test_no_form_is_in_use_while_another_thread_looks_for_numba(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(kernels, "_form", None)
    monkeypatch.setattr(kernels, "_why_not_numba", lambda is_wanted: seen.append(kernels._form))
    monkeypatch.setenv(kernels.VARIABLE, "numba")
    assert kernels.form_in_use() == "numba"
    assert seen == [None]
