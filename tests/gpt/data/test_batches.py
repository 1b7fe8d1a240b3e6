"""Batches against plain slices, their position, their random numbers; consecutive blocks for evaluation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import Batches, TokenFile, consecutive_blocks
from tinytensor.errors import ArgumentError, DTypeError, FormatError, ShapeError

BITS = (1 << 64) - 1


def philox(counter, key):
    """Philox 4x64-10 of Salmon et al. 2011, from its definition."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (right >> 64) ^ b ^ k, right & BITS, (left >> 64) ^ d ^ m, left & BITS
        k, m = (k + 0x9E3779B97F4A7C15) & BITS, (m + 0xBB67AE8584CAA73B) & BITS
    return [a, b, c, d]


class TestBatches:
    @given(
        n=st.integers(2, 60),
        batch_size=st.integers(1, 5),
        block_size=st.integers(1, 12),
        mode=st.sampled_from(["random", "consecutive", "stride"]),
        stride=st.integers(1, 15),
        seed=st.integers(0, 2**64 - 1),
    )
    def test_targets_are_the_next_tokens(self, n, batch_size, block_size, mode, stride, seed):
        ids = np.arange(n) * 3
        step = stride if mode == "stride" else None
        if n < block_size + 1:
            with pytest.raises(ArgumentError, match="too few"):
                Batches(ids, batch_size, block_size, mode, stride=step, seed=seed)
            return
        batches = Batches(ids, batch_size, block_size, mode, stride=step, seed=seed)
        width = {"random": 1, "consecutive": block_size, "stride": stride}[mode]
        windows = [ids[s : s + block_size + 1] for s in range(0, n - block_size, width)]
        for k in range(4):
            inputs, targets = next(batches)
            assert inputs.shape == targets.shape == (batch_size, block_size)
            assert inputs.dtype == targets.dtype == np.int64
            assert inputs.flags.c_contiguous
            assert targets.flags.c_contiguous
            np.testing.assert_array_equal(targets, inputs + 3)
            for row in range(batch_size):
                if mode == "random":
                    assert 0 <= inputs[row, 0] // 3 <= n - block_size - 1
                else:
                    window = windows[(k * batch_size + row) % len(windows)]
                    np.testing.assert_array_equal(inputs[row], window[:-1])

    @given(
        mode=st.sampled_from(["random", "consecutive", "stride"]),
        before=st.integers(0, 9),
        seed=st.integers(0, 99),
    )
    def test_resume_is_exact(self, mode, before, seed):
        def make():
            return Batches(range(50), 3, 4, mode, stride=3 if mode == "stride" else None, seed=seed)

        whole = make()
        for _ in range(before):
            next(whole)
        state = json.loads(json.dumps(whole.state_dict()))
        resumed = make()
        next(resumed)
        resumed.load_state_dict(state)
        for k in range(5):
            expected = next(whole)
            np.testing.assert_array_equal(next(resumed), expected)
            np.testing.assert_array_equal(make().batch(before + k), expected)

    @given(st.integers(0, 2**64 - 1), st.integers(0, 2**32))
    def test_windows_are_drawn_from_philox(self, seed, step):
        """A run must see the same data on another machine and in another version."""
        inputs, _ = Batches(range(1000), 4, 1, seed=seed).batch(step)
        drawn = philox((1, 0, 0, 0), (seed, step))  # NumPy counts from 1
        assert inputs[:, 0].tolist() == [number % 999 for number in drawn]

    def test_negative_steps(self):
        with pytest.raises(ArgumentError, match="step=-1"):
            Batches(range(9), 1, 2).batch(-1)

    def test_philox_here_gives_the_published_numbers(self):
        """The known answers of Random123 for counter and key 0."""
        published = "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"
        assert [f"{number:016x}" for number in philox((0, 0, 0, 0), (0, 0))] == published.split()

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"seed": 1}, "seed"),
            ({"block_size": 5}, "block_size"),
            ({"tokens": 51}, "tokens"),
            ({"mode": "stride"}, "mode"),
            ({"step": -1}, "step=-1"),
            ({"step": "1"}, "step='1'"),
            ({"step": None}, "step=None"),
        ],
    )
    def test_a_state_of_other_batches(self, change, text):
        batches = Batches(range(50), 3, 4)
        with pytest.raises(ArgumentError, match=text):
            batches.load_state_dict(batches.state_dict() | change)
        assert batches.step == 0

    def test_files_and_their_vocabulary(self, tmp_path):
        path = tmp_path / "train.bin"
        np.array([0, 1, 2, 9, 1, 2], "<u2").tofile(path)
        assert next(Batches(TokenFile(path), 1, 5))[0].tolist() == [[0, 1, 2, 9, 1]]
        for batches in (
            Batches(TokenFile(path), 1, 5, vocab_size=9),
            consecutive_blocks(TokenFile(path), 2, vocab_size=9),
            Batches([0, 1, -1], 1, 2),
        ):
            with pytest.raises(FormatError, match="is not in the vocabulary"):
                list(zip(range(5), batches))

    @pytest.mark.parametrize(
        ("error", "tokens", "arguments"),
        [
            (ArgumentError, range(9), {"batch_size": 0, "block_size": 2}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 0}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 9}),
            (ArgumentError, [], {"batch_size": 1, "block_size": 1}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 2, "mode": "shuffled"}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 2, "mode": "stride"}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 2, "mode": "stride", "stride": 0}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 2, "stride": 1}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 2, "seed": -1}),
            (ArgumentError, range(9), {"batch_size": 1, "block_size": 2, "seed": 2**64}),
            (ShapeError, np.zeros((3, 3), int), {"batch_size": 1, "block_size": 2}),
            (DTypeError, np.zeros(9), {"batch_size": 1, "block_size": 2}),
            (DTypeError, ["a", "b", "c"], {"batch_size": 1, "block_size": 2}),
        ],
    )
    def test_wrong_arguments(self, error, tokens, arguments):
        with pytest.raises(error, match="Batches"):
            Batches(tokens, **arguments)


class TestConsecutiveBlocks:
    @given(n=st.integers(2, 80), block_size=st.integers(1, 20), batch_size=st.integers(1, 6))
    def test_every_token_is_predicted_once(self, n, block_size, batch_size):
        ids = np.random.default_rng(n).integers(0, 50, n)
        batches = list(consecutive_blocks(ids, block_size, batch_size))
        np.testing.assert_array_equal(np.concatenate([inputs.ravel() for inputs, _ in batches]), ids[:-1])
        np.testing.assert_array_equal(np.concatenate([targets.ravel() for _, targets in batches]), ids[1:])
        whole = [inputs for inputs, _ in batches if inputs.shape[1] == block_size]
        assert len(whole) == -(-((n - 1) // block_size) // batch_size)
        assert all(inputs.shape == (batch_size, block_size) for inputs in whole[:-1])

    def test_wrong_arguments_are_told_at_once(self):
        for tokens, sizes in [([1], (1, 1)), ([1, 2], (0, 1)), ([1, 2], (1, 0))]:
            with pytest.raises(ArgumentError, match="consecutive_blocks"):
                consecutive_blocks(tokens, *sizes)
