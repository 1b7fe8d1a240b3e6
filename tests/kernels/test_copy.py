"""Copies between memory orders: by tiles where axes change places, and what that costs."""

from itertools import permutations

import numpy as np
import pytest

import tinytensor as tt

SHAPES = [(64, 96), (33, 35), (3, 40, 50), (2, 3, 9, 17), (2, 8, 8, 8), (5, 7), (8, 1, 70), (70_000, 1, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "int8", "float64", "bfloat16"])
def test_every_order_of_axes(shape, dtype):
    kind = getattr(tt, dtype)
    values = np.random.default_rng(0).integers(-100, 100, shape)
    x = tt.tensor(values, dtype=kind, device="emulated")
    for axes in permutations(range(len(shape))):
        expected = values.transpose(axes)
        y = x.permute(axes).contiguous()
        assert y.is_contiguous()
        np.testing.assert_array_equal(y.cpu().astype(tt.float64).numpy(), expected)


def test_parts_of_a_matrix_and_targets_with_strides():
    values = np.arange(40 * 60, dtype=np.float32).reshape(40, 60)
    x = tt.tensor(values, device="emulated")
    target = tt.zeros(90, 80, device="emulated")
    target[10:60, 5:45:2].copy_(x[::2, 3:53].T)
    expected = np.zeros((90, 80), np.float32)
    expected[10:60, 5:45:2] = values[::2, 3:53].T
    np.testing.assert_array_equal(target.cpu().numpy(), expected)
    part = tt.zeros(60, 50, device="emulated")
    part[:, 5:45].copy_(x.T)
    np.testing.assert_array_equal(part.cpu().numpy()[:, 5:45], values.T)


def test_a_transposed_copy_moves_each_byte_once():
    x = tt.ones(64, 128, device="emulated")
    with tt.cuda.check(blocks=1_000_000) as report:
        x.T.contiguous()
    assert not report.findings
    assert report.global_bytes == 2 * x.nbytes
    assert all(line.bank_conflict_ways == 1.0 for line in report.lines if line.space == "shared")
