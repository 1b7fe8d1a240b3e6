"""The kernels of all ops in other orders of threads and blocks, on one worker or two: the same bits.

A result that depends on the order lacks a barrier, or two threads write to one place. The calls are those of
watched_calls.py; no op is excepted: sums are taken in a fixed order, and what atomic operations add are
integers.
"""

import pytest

import tinytensor as tt
from tests.helpers.layouts import bits
from tests.helpers.on_emulated import RUNTIME
from tests.helpers.watched_calls import CALLS, Call, prepare


def results(call):
    return [bits(t.cpu()) for t in call.run("emulated")]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_orders_change_no_bit(call):
    prepare(call, "emulated")
    expected = results(call)
    for order, workers in ((1, 1), (5, 2)):
        with RUNTIME.schedule(order=order, workers=workers):
            assert results(call) == expected, f"order {order} on {workers} workers"


def test_an_order_that_matters_is_seen():
    """Each thread writes its number to one place: the last one stays."""
    k = tt.cuda.kernel("__global__ void last(int* y) { y[0] = blockIdx.x * 100 + threadIdx.x; }")

    def last(device):
        y = tt.empty(1, dtype=tt.int32, device=device)
        k[3, 64](y)
        return [y]

    call = Call("last", last)
    found = set()
    for order in (0, 1, 5):
        with RUNTIME.schedule(order=order, workers=1):
            found.add(results(call)[0])
    assert len(found) == 3
