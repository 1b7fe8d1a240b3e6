"""Long chains, freeing without the garbage collector, and several threads."""

import gc
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers import op_functions as ops
from tests.helpers.threads import in_threads
from tinytensor.autograd.graph import Node
from tinytensor.dispatch import apply

N = 100_000


class Square(tt.Function):
    """Saves its argument and its result."""

    @staticmethod
    def forward(ctx, x):
        y = x * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * 2 * y / x


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def live_nodes():
    return sum(type(o) is Node for o in gc.get_objects())


# ---- long chains -------------------------------------------------------------------------------------------


def test_a_chain_of_100_000_operations_runs_backward_and_is_freed():
    x, w = tt.ones(2, requires_grad=True), tt.ones(2, requires_grad=True)
    with no_collector():
        before = live_nodes()
        y = x
        for i in range(N):
            y = y + w if i % 2 else y * 1.0
        y.sum().backward()
        assert (x.grad.tolist(), w.grad.tolist()) == ([1.0] * 2, [N / 2] * 2)
        y = w
        for _ in range(N // 10):
            y = Square.apply(y)
        y.sum().backward()
        del y
        assert live_nodes() == before


@pytest.mark.parametrize("step", [lambda y: y * y, lambda y: y[:], lambda y: y.split(2)[0], Square.apply])
def test_a_chain_that_was_never_differentiated_is_freed(step):
    with no_collector():
        before = live_nodes()
        y = tt.ones(2, requires_grad=True) * 1
        for _ in range(N // 4):
            y = step(y) if len(y) > 1 else step(y.expand(2))
        ref = weakref.ref(y.node)
        del y
        assert ref() is None
        assert live_nodes() == before


@pytest.mark.parametrize("count", [N, N // 4] if FULL else [N // 40])
def test_writes_through_one_view_and_through_new_ones(count):
    x, w = tt.zeros(4), tt.ones(4, requires_grad=True)
    v = x[0:2]
    for _ in range(count):
        v += w[0:2]
        x[1:3] += w[3]
    x.sum().backward()
    assert (x.tolist(), w.grad.tolist()) == ([count, 2 * count, count, 0], [count, count, 0, 2 * count])


# ---- freed as soon as nobody holds them --------------------------------------------------------------------


def arithmetic(a, b):
    y = a * b / (a + 2.0) - b**2
    return y, y * y


def matrices(a, b):
    y = a @ b.T
    z = tt.linear(y, b, transposed=False)
    return y, z


def views(a, b):
    y = a * b
    v = y[1:3].T
    u = y.unfold(1, 3)
    return y, v, u, v.sum() * u.sum()


def writes(a, b):
    y = a * b
    v = y[1]
    v *= b[0]
    y += 1.0
    y[0] = b[2]
    y[[0, 2]] = a[:2]
    y *= y
    return y, v


def several_outputs(a, b):
    p, q = (a * b).split([2, 2])
    r, *_ = q.unbind()
    return p, q, p * q, r


def reductions(a, b):
    y = a * b
    return y, y.mean(0), y.max(1), y.sum((0, 1), keepdims=True) * y


def hooks(a, b):
    y = a * b
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.node.register_hook(lambda ins, outs: ins)
    return y, y * y


def checkpoints(a, b):
    y = tt.checkpoint(lambda a: tt.checkpoint(lambda a: a * b * a, a) * a, a * 1)
    return y, y * y


def nested_checkpoints(a, b):
    p, q = tt.checkpoint(lambda a: (a * b, tt.dropout(a[0] * 1).sum()), a)
    return p, q, tt.checkpoint(lambda p, k: tt.checkpoint(writes, p * 1, b)[0] * k, p, 2)


def functions(a, b):
    y = Square.apply(a * b)
    return y, tt.checkpoint(Square.apply, y)


def casts(a, b):
    y = (a * b).astype(tt.bfloat16)
    y *= 2.0
    return y, y.astype(tt.float32) * a


def selections(a, b):
    y = a * b
    z = y[tt.tensor([0, 2, 2])]
    return y, z, tt.where(y > 0.5, y, b), tt.concat([y, z])


PROGRAMS = [
    arithmetic, matrices, views, writes, several_outputs, reductions, hooks, checkpoints, casts, selections,
    nested_checkpoints, functions,
]  # fmt: skip


@pytest.mark.parametrize("how", ["forward only", "backward", "retained", "double"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_results_nodes_and_storages_are_freed_by_counting_alone(program, how):
    def run():
        rng = np.random.default_rng(0)
        a, b = (tt.tensor(rng.uniform(0.5, 1.5, (4, 4)).astype(np.float32), requires_grad=True) for _ in "ab")
        outs = program(a, b)
        z = sum((o.astype(tt.float32).sum() for o in outs), start=tt.tensor(0.0))
        refs = [weakref.ref(x) for o in (*outs, a, z) for x in (o, o.storage)]
        refs += [weakref.ref(o.node) for o in (*outs, z)]
        if how == "double":
            first = tt.grad(z, [a, b], create_graph=True)
            refs += [weakref.ref(g.node) for g in first]
            sum((g * g).sum() for g in first).backward()
        elif how != "forward only":
            z.backward(retain_graph=how == "retained")
        return refs

    with no_collector():
        run()  # fills caches
        before = live_nodes()
        assert [ref() for ref in run() if ref() is not None] == []
        assert live_nodes() == before


def test_backward_frees_what_forward_saved_while_the_result_lives_on():
    with no_collector():
        x = tt.ones(100, 100, requires_grad=True)
        h = x * 2
        y = (h * h).sum()
        ref = weakref.ref(h.storage)
        del h
        assert ref() is not None
        y.backward()
        assert ref() is None


# ---- memory that backward may write over -----------------------------------------------------------------


def holders(x):
    """Ways in which somebody else can still see the memory of x after `del x`."""
    return {
        "tensor": x,
        "detached": x.detach(),
        "view": x[0],
        "array": x.detach().numpy() if x.dtype is tt.float32 else x.detach(),
        "part": x.detach().numpy()[1:] if x.dtype is tt.float32 else x[1:],
        "storage": x.storage,
    }


@pytest.mark.parametrize("dtype", [tt.float32, tt.bfloat16])
@pytest.mark.parametrize("held", ["nobody", "leaf", "tensor", "detached", "view", "array", "part", "storage"])
def test_backward_writes_over_the_logits_only_where_nobody_sees_them(held, dtype, monkeypatch):
    taken = []
    real = apply.reusable
    monkeypatch.setattr(apply, "reusable", lambda *args: taken.append(real(*args)) or taken[-1])
    logits = tt.randn(100, 200, generator=tt.Generator(1)).astype(dtype)
    if held == "leaf":
        logits.requires_grad_()
        holder = logits
    else:
        logits = logits.requires_grad_().clone()
        holder = holders(logits).get(held)
    before = logits.detach().clone()
    loss = ops.cross_entropy(logits, tt.zeros(100, dtype=tt.int64))
    del logits
    loss.backward()
    assert taken == [held == "nobody"]
    if held in ("tensor", "leaf"):
        assert (holder.detach() == before).all()


def test_a_graph_that_is_kept_keeps_the_logits():
    logits = tt.randn(100, 200).requires_grad_().clone()
    loss = ops.cross_entropy(logits, tt.zeros(100, dtype=tt.int64))
    leaf = logits.node.parents[0]
    del logits
    loss.backward(retain_graph=True)
    once = leaf.grad.numpy().copy()
    loss.backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), 2 * once)


# ---- threads -----------------------------------------------------------------------------------------------


def test_graphs_of_several_threads_are_independent():
    def work(k):
        rng = np.random.default_rng(k)
        for n in (3, 90) * 15:
            a = rng.uniform(0.5, 1.5, (n, n)).astype(np.float32)
            x = tt.tensor(a, requires_grad=True)
            y = x * x
            y[0] *= 3.0
            (y / (x + 1.0)).sum().backward()
            expected = (a * a + 2 * a) / (a + 1) ** 2
            expected[0] *= 3
            np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5)

    in_threads(work, 4)


def test_backward_of_several_threads_adds_up_in_shared_leaves():
    w = tt.ones(200, 200, requires_grad=True)

    def work(k):
        for _ in range(25):
            (w * float(k)).sum().backward()

    in_threads(work, 4)
    assert w.grad.numpy().min() == w.grad.numpy().max() == 25 * (0 + 1 + 2 + 3)


def test_modes_belong_to_the_thread():
    ready, go = threading.Barrier(2), threading.Barrier(2)

    def work(k):
        x = tt.ones(1, requires_grad=True)
        with tt.set_grad_enabled(k == 0):
            ready.wait()
            assert (x * 2).requires_grad is (k == 0)
            go.wait()
        assert tt.is_grad_enabled()

    with tt.no_grad():
        in_threads(work, 2)
        assert not tt.is_grad_enabled()


def test_one_mode_object_serves_several_threads():
    mode, (first, second, left) = tt.no_grad(), (threading.Event() for _ in range(3))

    def work(k):
        with tt.set_grad_enabled(k == 1):
            first.wait(10 * k)
            with mode:  # the first thread leaves while the second is inside
                (second if k else first).set()
                (left if k else second).wait(10)
            left.set()
            assert tt.is_grad_enabled() is (k == 1)

    in_threads(work, 2)


def test_one_thread_may_differentiate_what_another_recorded():
    x = tt.tensor([3.0], requires_grad=True)
    y = tt.checkpoint(lambda x: x * x, x)
    in_threads(lambda k: y.backward(), 1)
    assert x.grad.item() == 6.0
