"""Random numbers: the same on every machine, a function of key and place alone, and uniform."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ram_envs.streams import (
    GOLDEN,
    MIX_1,
    MIX_2,
    Streams,
    combine_keys,
    key_from_seed,
    key_from_text,
)

words = st.integers(0, 2**64 - 1)


def streams_of(*keys: int) -> Streams:
    return Streams(np.array(keys, np.uint64))


def stream_of(word: int) -> Streams:
    """Return one stream whose first word is `word`: SplitMix64's finalizer can be inverted."""
    for shift, factor in ((31, 1), (27, MIX_2), (30, MIX_1)):
        word = word * pow(factor, -1, 2**64) % 2**64
        mixed, word = word, 0
        for _ in range(64):
            word = mixed ^ (word >> shift)
    return streams_of((word - GOLDEN) % 2**64)


# --- the numbers themselves ------------------------------------------------------------------


def test_bits_are_splitmix64() -> None:
    # The first outputs that are published for the seeds 0 and 1234567.
    assert streams_of(0, 1234567).bits(4).tolist() == [
        [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC],
        [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431],
    ]


def test_uniform_and_integers_of_known_streams() -> None:
    assert [value.hex() for value in streams_of(0).uniform(3)[0].tolist()] == [
        "0x1.c4415072f63b9p-1",
        "0x1.b9e279aa86e58p-2",
        "0x1.b117462002500p-6",
    ]
    # 0xE220A839 · 10 >> 32 = 8, 0x6E789E6A · 50,000 >> 32 = 21,576, and so on
    assert streams_of(0).integers(10, 50_000, 1000, 2).tolist() == [[8, 21_576, 26, 1]]


def test_keys_of_known_parts() -> None:
    assert combine_keys(0).tolist() == [0xE220A8397B1DCDAF]  # one step of SplitMix64 from 0
    assert combine_keys(1, 2).tolist() == [0xBCD9DBB49673066B]
    assert combine_keys(2, 1).tolist() == [0xE06DD043328BD285]
    assert combine_keys(1, 2, 3).tolist() == [0xD0734750FDE362B3]
    assert combine_keys(np.uint64(2**64 - 1), 5).tolist() == [0x3562133A936C2870]


def test_key_of_a_text_is_the_start_of_its_sha256() -> None:
    # sha256("canvas") begins with the bytes a4 57 e8 f0 4a a7 96 dc, read as little-endian
    assert key_from_text("canvas") == 0xDC96A74AF0E857A4
    assert key_from_text("canvas") != key_from_text("Canvas")
    assert key_from_text("Größe 60 × 60").dtype == np.uint64


def test_key_of_a_seed_is_the_seed() -> None:
    assert [int(key_from_seed(seed)) for seed in (0, 7, 2**63, 2**64 - 1)] == [
        0,
        7,
        9223372036854775808,
        18446744073709551615,
    ]
    assert key_from_seed(2**64 + 5) == 5
    assert [key_from_seed(kind(5)) for kind in (np.uint8, np.int64, np.uint64)] == [5, 5, 5]


# --- the same numbers as tensors -------------------------------------------------------------


def as_tensor(words: np.ndarray) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(words.view(np.int64))


def test_tensors_of_known_streams() -> None:
    keys = as_tensor(np.array([0, 1234567], np.uint64))
    assert [[word % 2**64 for word in row] for row in Streams(keys).bits(2).tolist()] == [
        [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4],
        [6457827717110365317, 3203168211198807973],
    ]
    assert Streams(keys).integers(10, 50_000, 1000, 2)[0].tolist() == [8, 21_576, 26, 1]
    assert Streams(keys).uniform(1)[0, 0].item().hex() == "0x1.c4415072f63b9p-1"
    assert (combine_keys(1, as_tensor(np.array([2])), 3) % 2**62).tolist() == [
        0xD0734750FDE362B3 % 2**62
    ]


@given(st.lists(words, min_size=1, max_size=4), words, st.lists(st.integers(1, 2**32), max_size=4))
def test_tensors_are_drawn_as_arrays_are(keys: list[int], part: int, ranges: list[int]) -> None:
    arrays = np.array(keys, np.uint64)
    tensors = as_tensor(arrays)
    for before, after in (((np.uint64(part),), ()), ((), (np.uint64(part), 7)), ((), ())):
        arrays = combine_keys(*before, arrays, *after)
        tensors = combine_keys(*before, tensors, *after)
        assert tensors.tolist() == arrays.view(np.int64).tolist()
    drawn = Streams(arrays), Streams(tensors)
    for name, arguments in (("bits", (3,)), ("integers", ranges), ("uniform", (2, -1, 1))):
        expected, tensor = (getattr(streams, name)(*arguments) for streams in drawn)
        signed = expected.view(np.int64) if name == "bits" else expected
        assert np.array_equal(tensor.numpy(), signed)
        assert str(tensor.dtype) == f"torch.{signed.dtype}"


# --- what a draw depends on ------------------------------------------------------------------


@given(st.lists(words, min_size=1, max_size=8), st.data())
def test_a_row_does_not_depend_on_the_rows_beside_it(keys: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(keys) - 1), min_size=1, max_size=8))
    together, chosen = streams_of(*keys), streams_of(*(keys[row] for row in rows))
    assert np.array_equal(together.uniform(3, -1, 1)[rows], chosen.uniform(3, -1, 1))
    assert np.array_equal(together.integers(7, 2, 10_000)[rows], chosen.integers(7, 2, 10_000))
    assert np.array_equal(together.bits(2)[rows], chosen.bits(2))


@given(words, st.lists(st.integers(0, 5), max_size=6))
def test_draws_in_portions_are_the_draws_at_once(key: int, portions: list[int]) -> None:
    streams = streams_of(key)
    in_portions = np.concatenate([streams.bits(0), *map(streams.bits, portions)], axis=1)
    assert np.array_equal(in_portions, streams_of(key).bits(sum(portions)))


@pytest.mark.parametrize("kind", [np.int8, np.float16, np.float32])
def test_limits_of_any_type(kind: Any) -> None:
    keys = combine_keys(5, np.arange(3))
    drawn = Streams(keys).uniform(2, kind(-1), kind(1))
    assert np.array_equal(drawn, Streams(keys).uniform(2, -1, 1))


def test_uniform_and_integers_take_one_word_a_draw() -> None:
    streams = streams_of(0, 9)
    streams.uniform(2)
    streams.integers(5, 5, 5)
    streams.integers()
    assert np.array_equal(streams.bits(1)[:, 0], streams_of(0, 9).bits(6)[:, 5])


def test_keys_are_not_changed_by_drawing() -> None:
    keys = np.array([3, 4], np.uint64)
    Streams(keys).uniform(5)
    assert keys.tolist() == [3, 4]


def test_keys_broadcast() -> None:
    one_by_one = [int(combine_keys(7, part, 2)[0]) for part in (0, 1, 5)]
    assert combine_keys(7, np.array([0, 1, 5]), 2).tolist() == one_by_one
    assert combine_keys(np.uint64(7), np.array([0, 1, 5], np.uint64), 2).tolist() == one_by_one


def test_keys_of_all_seeds_and_episodes_differ() -> None:
    seeds, episodes = np.divmod(np.arange(250_000), 500)
    assert len(np.unique(combine_keys(seeds, episodes))) == 250_000


@given(words, words, words)
def test_parts_keep_their_places(first: int, second: int, third: int) -> None:
    key = int(combine_keys(np.uint64(first), np.uint64(second))[0])
    assert (int(combine_keys(np.uint64(second), np.uint64(first))[0]) == key) == (first == second)
    assert (int(combine_keys(np.uint64(third), np.uint64(second))[0]) == key) == (first == third)
    assert int(combine_keys(np.uint64(first), np.uint64(second), np.uint64(third))[0]) != key


# --- how draws are distributed ---------------------------------------------------------------


@given(st.lists(st.integers(1, 2**32), min_size=1, max_size=5), words)
def test_integers_lie_in_their_ranges(ranges: list[int], key: int) -> None:
    drawn = streams_of(key, key ^ 1).integers(*ranges)
    assert drawn.shape == (2, len(ranges))
    assert drawn.dtype == np.int64
    assert (drawn >= 0).all()
    assert (drawn < np.array(ranges)).all()


def test_ends_of_the_ranges() -> None:
    lowest, highest = 0, 2**64 - 1
    for word in (lowest, highest, 0xE220A8397B1DCDAF):
        assert stream_of(word).bits(1).tolist() == [[word]]
    for limit in (1, 10, 50_000):
        assert stream_of(lowest).integers(limit).tolist() == [[0]]
        assert stream_of(highest).integers(limit).tolist() == [[limit - 1]]
    assert stream_of(lowest).uniform(1, -1, 1).tolist() == [[-1.0]]
    assert stream_of(highest).uniform(1).tolist() == [[1 - 2**-53]]
    assert stream_of(highest).uniform(1, -1, 1) < 1


@pytest.mark.parametrize("wrong", [0, -1, 2**32 + 1, 10**12, 2.7, True, [3, 4], "3"])
def test_a_range_out_of_range_is_refused(wrong: Any) -> None:
    streams = streams_of(0)
    with pytest.raises(ValueError, match=re.escape(f"range={wrong!r} ")):
        streams.integers(10, wrong)
    assert streams.integers(10, 2**32).tolist() == [[8, 0x6E789E6A]]  # as if it had not been called


@pytest.mark.parametrize("wrong", [np.array([0.0, 1.0]), math.nan, -math.inf, "0", None])
def test_an_end_that_is_no_number_is_refused(wrong: Any) -> None:
    for name in ("low", "high"):
        with pytest.raises(ValueError, match=re.escape(f"{name}={wrong!r} ")):
            streams_of(0).uniform(2, **{name: wrong})
    with pytest.raises(ValueError, match=r"high=-1\b"):
        streams_of(0).uniform(2, 1, -1)


@pytest.mark.parametrize("wrong", [-1, 2.0, None])
def test_a_wrong_count_is_refused(wrong: Any) -> None:
    for draw in (streams_of(0).bits, streams_of(0).uniform):
        with pytest.raises(ValueError, match=f"count={wrong!r} "):
            draw(wrong)


@pytest.mark.parametrize("along", ["one stream", "the first draws of many seeds"])
def test_uniform_is_uniform(along: str) -> None:
    if along == "one stream":
        drawn = streams_of(1).uniform(100_000, -1, 1).ravel()
    else:
        drawn = Streams(combine_keys(np.arange(100_000), 0)).uniform(1, -1, 1).ravel()
    # The standard errors are 0.0018 of the mean, 0.0009 of the mean square, 0.0032 of the
    # correlation and 30 of the count in each tenth.
    assert abs(drawn.mean()) < 0.008
    assert abs((drawn**2).mean() - 1 / 3) < 0.004
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.014
    counts, _ = np.histogram(drawn, bins=10, range=(-1, 1))
    assert abs(counts - 10_000).max() < 450


def test_integers_are_uniform() -> None:
    drawn = Streams(combine_keys(5, np.arange(30_000))).integers(3, 7)
    pairs = np.bincount(drawn[:, 0] * 7 + drawn[:, 1], minlength=21)  # 1429 ± 37 of each pair
    assert pairs.min() > 1250
    assert pairs.max() < 1610
