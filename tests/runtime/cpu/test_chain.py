"""Kernels that follow one another without Python: which calls become so, and what happens in between."""

import gc
from functools import partial

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tinytensor.runtime.cpu import chain
from tinytensor.runtime.cpu.chain import Step, chained, run_steps


def run_and_chain(steps):
    return chained(steps, run_steps(steps))


TEXT = """
#include "array.h"
HOST_KERNEL bool affine(Array y, Array x, bool negative, int step, Index more, double factor) {
    if (!dense<float>(y, x) || !x || x.data<float>()[0] < 0) return false;
    for (Index i = 0; i < y.size(); i++)
        y.data<float>()[i] = x.data<float>()[i] * (negative ? -factor : factor) + step + more;
    return true;
}
HOST_KERNEL bool total(Array y, Array x, Arrays more) {
    y.data<float>()[0] = x.data<float>()[0] + more[0].data<float>()[0];
    return true;
}
"""


@pytest.fixture
def python_calls():
    return []


def test_a_chain_calls_kernels_with_their_arguments(kernels, python_calls):
    x, y, z = np.arange(5, dtype=np.float32), np.zeros(5, np.float32), np.zeros(5, np.float32)
    w = np.zeros(5, np.float32)

    def first():
        python_calls.append(1)
        if not kernels.affine(y, x, False, -3, 1 << 33, 0.5):
            y[:] = 7

    def second():
        python_calls.append(2)
        kernels.affine(z, y, True, 3, -5, 2.0)

    def third():
        python_calls.append(3)
        w[:] = z + 1

    steps = [
        Step(first, partial(lambda y, x: partial(kernels.affine, y, x, False, -3, 1 << 33, 0.5), y, x)),
        Step(second, partial(lambda z, y: partial(kernels.affine, z, y, True, 3, -5, 2.0), z, y)),
        Step(third),
    ]
    again = run_and_chain(steps)
    assert len(again) == 2
    for run in (1, 2):
        x += run
        gc.collect()
        for function in again:
            function()
        half = (x * 0.5 - 3 + (1 << 33)).astype(np.float32)
        np.testing.assert_array_equal(y, half)
        np.testing.assert_array_equal(z, (half * -2.0 + 3 - 5).astype(np.float32))
        np.testing.assert_array_equal(w, z + 1)
    assert python_calls == [3, 3, 3]
    x[0] = -1  # now the first kernel leaves its work to NumPy, the second does not
    for function in again:
        function()
    assert python_calls == [3, 3, 3, 1, 3]
    assert (y == 7).all()
    assert (z == -16).all()


@pytest.mark.parametrize(
    "host",
    [
        None,
        lambda k, y, x: None,
        lambda k, y, x: partial(k.affine, y, x.copy(), False, 0, 0, 1.0),  # as old as the first run
        lambda k, y, x: partial(k.affine, y, y, False, 0, 0, 1.0),  # x was looked at in another way
        lambda k, y, x: partial(k.affine, y, -x, False, 0, 0, 1.0),
        lambda k, y, x: partial(k.total, y, x, [x.copy()]),
    ],
)
def test_what_is_no_call_on_the_operands_stays_python(host, kernels, python_calls):
    x, y = np.ones(5, np.float32), np.zeros(5, np.float32)

    def run():
        python_calls.append(1)
        kernels.affine(y, x, False, 0, 0, 1.0)  # that a step calls a kernel on its operands says nothing
        y[:] += 1

    (again,) = run_and_chain([Step(run, None if host is None else partial(host, kernels, y, x))])
    again()
    assert python_calls == [1, 1]
    assert y.tolist() == [2.0] * 5


def replayed(fn):
    """A graph that was replayed once, and how many kernels its chains have."""
    lengths = []
    real = chain._chain
    with tt.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "_chain", lambda group: lengths.append(len(group)) or real(group))
        graph = tt.capture(fn, device="cpu", warmup=0)
        graph.replay()
    return graph, lengths


def test_a_step_of_a_model_is_one_chain():
    tt.config.matmul = "own"  # products as small as these are left to NumPy otherwise
    x, w, b, table = tt.ones(1, 8), tt.ones(8, 8), tt.ones(8), tt.ones(5, 8)
    ids = tt.tensor([2])

    def step():
        h = ops.embedding(table, ids) + x
        h = h + tt.linear(ops.layer_norm(h, b, b), w, b, transposed=False)
        return tt.softmax(tt.linear_gelu(h, w, b) * x, -1)

    graph, lengths = replayed(step)
    assert lengths == [8]
    x.copy_(tt.arange(8.0))
    table[3] = 5.0
    ids.copy_(3)
    with tt.no_grad():
        assert graph.replay().tolist() == step().tolist()


def test_an_index_out_of_range_is_an_error_of_that_replay():
    table, ids = tt.arange(8.0).reshape(4, 2), tt.tensor([0, 3])
    graph, lengths = replayed(lambda: ops.embedding(table, ids) + tt.ones(2, 2))
    assert lengths
    ids.copy_(4)
    with pytest.raises(tt.IndexRangeError, match="is 4"):
        graph.replay()
    ids.copy_(1)
    assert graph.replay().tolist() == [[3.0, 4.0]] * 2


def test_indices_of_other_dtypes_are_read_at_each_replay():
    table, ids = tt.arange(8.0).reshape(4, 2), tt.tensor([0, 3], dtype=tt.int32)
    graph, lengths = replayed(lambda: ops.embedding(table, ids))
    assert not lengths
    ids.copy_(1)
    assert graph.replay().tolist() == [[2.0, 3.0]] * 2


@pytest.mark.parametrize(
    ("who", "kernels"), [("own", "auto"), ("vendor", "auto"), ("auto", "auto"), ("auto", "off")]
)
def test_who_computes_changes_nothing(who, kernels):
    tt.config.matmul, tt.config.host_kernels = who, kernels
    x, w, b = tt.ones(3, 4), tt.ones(4, 5), tt.ones(5)
    graph, lengths = replayed(lambda: tt.linear_gelu(x, w, b))
    assert kernels == "auto" or not lengths
    x.copy_(2.0)
    with tt.no_grad():
        assert graph.replay().tolist() == tt.linear_gelu(x, w, b).tolist()
