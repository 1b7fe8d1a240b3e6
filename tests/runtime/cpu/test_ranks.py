"""NumPy code on several threads: every piece once, errors raised, results as those of one thread."""

import os
import threading

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.ops.optim.adamw import SMALL
from tinytensor.runtime.cpu import numpy_threads
from tinytensor.runtime.cpu.numpy_threads import WORTH, in_ranks


@pytest.fixture
def four_threads(monkeypatch):
    before = tt.get_num_threads()
    tt.set_num_threads(4)
    monkeypatch.setattr(tt.config, "host_kernels", "off")
    yield
    tt.set_num_threads(before)


def test_each_piece_is_taken_once(four_threads):
    taken, threads = [], set()
    meeting = threading.Barrier(4, timeout=30)

    def work(piece):
        if piece < 4:
            meeting.wait()  # passes only if four threads are at work
        threads.add(threading.get_ident())
        taken.append(piece)

    in_ranks(work, range(40), WORTH)
    assert sorted(taken) == list(range(40))
    assert len(threads) == 4


def test_a_small_job_stays_on_its_thread(four_threads):
    threads = set()
    in_ranks(lambda piece: threads.add(threading.get_ident()), range(8), WORTH - 1)
    assert threads == {threading.get_ident()}


def test_an_error_of_a_piece_is_raised_and_the_next_job_runs(four_threads):
    def work(piece):
        if piece == 5:
            raise IndexError("piece 5")

    with pytest.raises(IndexError, match="piece 5"):
        in_ranks(work, range(100), WORTH)
    done = []
    in_ranks(done.append, range(10), WORTH)
    assert sorted(done) == list(range(10))


def test_a_job_inside_a_job_stays_on_its_thread(four_threads):
    inner = []

    def work(piece):
        threads = set()
        in_ranks(lambda _: threads.add(threading.get_ident()), range(4), WORTH)
        inner.append(threads == {threading.get_ident()})

    in_ranks(work, range(8), WORTH)
    assert inner == [True] * 8


def test_blas_has_one_thread_inside_and_its_own_number_after(four_threads):
    found = numpy_threads._blas()
    if found is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS")
    get, put = found
    before = get()
    put(3)
    try:
        seen = []
        in_ranks(lambda piece: seen.append(get()), range(8), WORTH)
        assert seen == [1] * 8
        assert get() == 3
    finally:
        put(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_threads_of_its_own(four_threads):
    in_ranks(lambda piece: None, range(8), WORTH)
    child = os.fork()
    if not child:
        done = []
        in_ranks(done.append, range(8), WORTH)
        os._exit(0 if sorted(done) == list(range(8)) else 1)
    assert os.waitpid(child, 0)[1] == 0


def _step(threads):
    """Loss and gradients of attention and a gated layer, large enough for threads, and moved parameters."""
    tt.set_num_threads(threads)
    rng = np.random.default_rng(3)
    made = [rng.standard_normal(s, dtype=np.float32) for s in ((8, 128, 96), (96, 1024), (1024,))]
    x, weight, bias = [tt.tensor(a, requires_grad=True) for a in made]
    y = tt.causal_self_attention(tt.concat([x, x * 0.5, x * 0.25], axis=-1), 6)
    loss = (tt.linear_gelu(y, weight, bias) ** 2).mean()
    loss.backward()
    optimizer = tt.optim.AdamW([x, weight, bias], lr=0.1)
    optimizer.step()
    return [
        a.numpy() for a in (loss.detach(), x.grad, weight.grad, x.detach(), weight.detach(), bias.detach())
    ]


def test_results_do_not_depend_on_threads(four_threads, monkeypatch):
    monkeypatch.setattr(numpy_threads, "WORTH", 1)
    for many, one in zip(_step(4), _step(1), strict=True):
        np.testing.assert_array_equal(many, one)


@pytest.mark.parametrize("coupled", [False, True])
def test_small_parameters_move_together_as_each_would_alone(four_threads, coupled):
    """The formula of the docstring, in float64, for shapes on both sides of the limit."""
    rng = np.random.default_rng(5)
    shapes = [(3,), (2, 5), (SMALL,), (SMALL + 1,), (0,), ()]
    numbers = [[rng.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(2)]
    params, grads = [[tt.tensor(a) for a in column] for column in numbers]
    ms, vs = [[tt.zeros(*s) for s in shapes] for _ in range(2)]
    versions = [p.storage.version for p in params]
    hyper = tt.adamw_hyper(lr=0.1, step=1, betas=(0.9, 0.99), weight_decay=0.01)
    tt.adamw_step(params, grads, ms, vs, hyper, coupled=coupled)
    for p, g, moved, version in zip(*numbers, params, versions, strict=True):
        p64, g64 = p.astype(np.float64), g.astype(np.float64)
        g64 = g64 + 0.01 * p64 if coupled else g64
        shrunk = p64 if coupled else p64 * (1 - 0.1 * 0.01)
        want = shrunk - 0.1 * g64 / (np.abs(g64) + 1e-8)
        np.testing.assert_allclose(moved.numpy(), want, rtol=2e-5, atol=2e-6)
        assert moved.storage.version > version
