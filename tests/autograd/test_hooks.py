"""Hooks on tensors and nodes, retained gradients, and what hooks may do and return."""

from itertools import product

import pytest

import tinytensor as tt
from tests.helpers.raised import raises
from tinytensor.ops.elementwise.arithmetic import GRADIENT_OPS


def chain():
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    return x, y, (y * y).sum()


@pytest.mark.parametrize("which", ["leaf", "result"])
def test_hooks_see_and_replace_the_whole_gradient_once_in_order(which):
    x, y, _ = chain()
    t, seen = (x if which == "leaf" else y), []
    z = (y * y + y + t).sum() if which == "result" else (y * y + t).sum()

    def look(g):
        seen.append(g.tolist())

    t.register_hook(look)
    t.register_hook(lambda g: g * 10)
    last = t.register_hook(look)
    z.backward(retain_graph=True)
    total = [19.0, 37.0] if which == "leaf" else [8.0, 14.0]
    assert seen == [total, [10 * g for g in total]]
    assert x.grad.tolist() == [10 * g * (1 if which == "leaf" else 3) for g in total]
    last.remove()
    last.remove()
    z.backward()
    assert len(seen) == 3


def test_a_handle_is_a_context_manager():
    x, y, z = chain()
    with y.register_hook(lambda g: g * 0):
        z.backward(retain_graph=True)
    assert x.grad.tolist() == [0.0, 0.0]
    z.backward()
    assert x.grad.tolist() == [18.0, 36.0]


def test_the_same_hook_registered_twice_runs_twice_and_is_removed_once():
    x, y, z = chain()
    calls = []
    hook = calls.append
    first = y.register_hook(hook)
    y.register_hook(hook)
    z.backward(retain_graph=True)
    assert len(calls) == 2
    first.remove()
    z.backward()
    assert len(calls) == 3


def test_hooks_of_one_output_among_several():
    x = tt.ones(4, requires_grad=True)
    p, q = (x * 1).split(2)
    seen = []
    q.register_hook(lambda g: seen.append(g.tolist()))
    p.register_hook(lambda g: seen.append("p"))
    (q * 5).sum().backward()
    assert seen == [[5.0, 5.0]]
    assert x.grad.tolist() == [0.0, 0.0, 5.0, 5.0]


def test_hooks_count_for_grad_as_for_backward():
    x, y, z = chain()
    x.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: g * 5)
    gy, gx = tt.grad(z, [y, x])
    assert (gy.tolist(), gx.tolist()) == ([30.0, 60.0], [180.0, 360.0])


def test_hooks_of_nodes_run_before_and_after():
    x, y, z = chain()
    node, seen = y.node, []
    node.register_prehook(lambda outs: seen.append(("before", outs[0].tolist())))
    node.register_prehook(lambda outs: (outs[0] * 2,))
    node.register_hook(lambda ins, outs: seen.append(("after", ins[0].tolist(), outs[0].tolist())))
    stop = node.register_hook(lambda ins, outs: (None, None))
    z.backward(retain_graph=True)
    assert seen == [("before", [6.0, 12.0]), ("after", [36.0, 72.0], [12.0, 24.0])]
    stop.remove()
    with node.register_prehook(lambda outs: (None,)):  # the op of the node does not run
        z.backward(retain_graph=True)
    assert x.grad is None
    z.backward()
    assert x.grad.tolist() == [36.0, 72.0]


def test_gradients_that_hooks_give_can_be_differentiated():
    x, y, z = chain()
    with y.register_hook(lambda g: g * x):
        (g,) = tt.grad(z, x, create_graph=True)  # 2 * 3x * x * 3
    assert g.tolist() == [18.0, 72.0]
    assert tt.grad(g.sum(), x)[0].tolist() == [36.0, 72.0]


def test_backward_may_run_inside_a_hook():
    x, y, z = chain()
    w = tt.tensor([1.0, 1.0], requires_grad=True)

    def nested(grad):
        assert not tt.is_grad_enabled()
        with tt.enable_grad():
            inner = (w * w * grad).sum()
        inner.backward()
        assert not tt.is_grad_enabled()
        return w.grad

    y.register_hook(nested)
    z.backward()
    assert (w.grad.tolist(), x.grad.tolist()) == ([12.0, 24.0], [36.0, 72.0])


def test_the_same_leaf_may_be_reached_from_inside_its_own_hook():
    x = tt.ones(2, requires_grad=True)
    depth = []

    def again(grad):
        depth.append(1)
        if len(depth) < 3:
            with tt.enable_grad():
                (x * 10).sum().backward()

    x.register_hook(again)
    (x * 1).sum().backward()
    assert x.grad.tolist() == [21.0, 21.0]


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_pass_in_which_a_hook_raises_adds_nothing(first, create):
    leaves = [tt.tensor([1.0, 2.0], requires_grad=True) for _ in range(3)]
    if not first:
        sum([x * 5 for x in leaves]).sum().backward()
    before = [None if x.grad is None else x.grad.tolist() for x in leaves]
    y = leaves[0] * leaves[1] + leaves[2]
    y.retain_grad()

    def refuse(grad):
        raise ValueError("no")

    z = y.sum()
    for watched, around in product((*leaves, y), (tt.enable_grad, tt.no_grad)):
        handle = watched.register_hook(refuse)
        with around():
            with raises("no", ValueError):
                z.backward(retain_graph=True, create_graph=create)
            assert tt.is_grad_enabled() is (around is tt.enable_grad)
        assert [None if x.grad is None else x.grad.tolist() for x in leaves] == before
        assert y.grad is None
        handle.remove()
    y.sum().backward()
    add = 0.0 if first else 5.0
    assert [x.grad.tolist() for x in leaves] == [[1 + add, 2 + add], [1 + add, 2 + add], [1 + add, 1 + add]]
    assert y.grad.tolist() == [1.0, 1.0]


def test_a_hook_gives_a_gradient_on_the_same_device():
    x, _, z = chain()
    x.register_hook(lambda grad: grad.to("emulated"))
    with raises(r"on emulated.*return grad.to\('cpu'\)", tt.DeviceError):
        z.backward()
    assert x.grad is None


# ---- retained gradients --------------------------------------------------------------------------------


def test_results_keep_their_gradient_if_asked_after_their_other_hooks():
    x, y, z = chain()
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [60.0, 120.0]
    z.backward()
    assert y.grad.tolist() == [120.0, 240.0]
    x.retain_grad()  # nothing to do for a leaf
    assert x.grad.tolist() == [360.0, 720.0]


@pytest.mark.parametrize("create", [False, True])
def test_a_retained_gradient_aliases_nothing(create):
    x = tt.ones(5000, requires_grad=True)
    y, start = x + 1, tt.ones(5000)
    y.retain_grad()
    y.backward(start, create_graph=create)
    assert not y.grad.shares_memory(start)
    assert not y.grad.shares_memory(x.grad)
    y = x * 1
    y.retain_grad()
    y.sum().backward()
    assert y.grad.is_contiguous()


def test_a_retained_gradient_has_history_with_create_graph():
    x, y, z = chain()
    y.retain_grad()
    z.backward(create_graph=True)
    assert tt.grad(y.grad.sum(), x)[0].tolist() == [6.0, 6.0]


def test_one_output_among_several_retains_its_gradient():
    p, q = (tt.ones(4, requires_grad=True) * 1).split(2)
    q.retain_grad()
    (p * 3 + q * 5).sum().backward()
    assert (p.grad, q.grad.tolist()) == (None, [5.0, 5.0])


# ---- refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "word"),
    [
        (lambda g: g.sum(), r"returned shape \(\), dtype float32.*shape \(2,\)"),
        (lambda g: g.astype(tt.float64), "dtype float64"),
        (lambda g: g.tolist(), "returned a list.*asarray"),
        (lambda g: 0, "returned a int"),
    ],
)
@pytest.mark.parametrize("of", ["leaf", "result"])
def test_a_hook_may_not_change_shape_dtype_or_type(returned, word, of):
    x, y, z = chain()
    (x if of == "leaf" else y).register_hook(returned)
    with raises(f"register_hook.*{word}"):
        z.backward()
    assert x.grad is None


@pytest.mark.parametrize("returned", [lambda g: g, lambda g: [g], lambda g: (g, g, g)])
def test_a_hook_of_a_node_returns_one_gradient_for_each(returned):
    _, y, z = chain()
    y.node.register_prehook(lambda outs: returned(outs[0]))
    with raises("register_prehook: the hook returned .*replaces a tuple of 1"):
        z.backward()


def test_hooks_need_something_that_requires_grad():
    for register in (lambda t: t.register_hook(print), lambda t: t.retain_grad()):
        with raises("does not require grad"):
            register(tt.ones(2))


def test_a_leaf_is_told_as_soon_as_its_gradient_is_complete():
    told = []
    first, last = [tt.tensor([1.0, 2.0], requires_grad=True) for _ in range(2)]
    for name, leaf in (("first", first), ("last", last)):
        leaf.register_post_accumulate_grad_hook(lambda x, name=name: told.append((name, x.grad.tolist())))
    y = first * first + first  # three contributions
    y.register_hook(lambda g: told.append(("y", g.tolist())))
    z = (y * last).sum()
    z.backward(retain_graph=True)
    assert told == [("last", [2.0, 6.0]), ("y", [1.0, 2.0]), ("first", [3.0, 10.0])]
    z.backward()
    assert told[3:] == [("last", [4.0, 12.0]), ("y", [1.0, 2.0]), ("first", [6.0, 20.0])]


def test_a_leaf_that_waits_gets_what_the_others_get():
    plain, watched = [tt.tensor([1.0, -2.0, 3.0], requires_grad=True) for _ in range(2)]
    calls = []
    handle = watched.register_post_accumulate_grad_hook(calls.append)
    for x in (plain, watched):
        for _ in range(2):  # also where a leaf is the root, a view is used, or a function runs again
            (tt.checkpoint(lambda x: (x * x).exp(), x) * x[1:].sum() + x.flip(0)).sum().backward()
            x.backward(tt.ones(3))
    assert len(calls) == 4
    assert all(leaf is watched for leaf in calls)
    assert watched.grad.tolist() == plain.grad.tolist()
    handle.remove()
    watched.sum().backward()
    tt.grad(watched.sum(), watched)
    assert len(calls) == 4


def test_a_leaf_is_not_told_where_nothing_reaches_it_or_nothing_is_accumulated():
    x, y = tt.ones(3, requires_grad=True), tt.ones(3, requires_grad=True)
    for leaf in (x, y):
        leaf.register_post_accumulate_grad_hook(lambda leaf: pytest.fail("called"))
    tt.grad((x * y).sum(), [x, y])
    with raises("not a leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)

    class OneSided(tt.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a * b

        @staticmethod
        def backward(ctx, grad):
            return None, None

    OneSided.apply(x, y).sum().backward()
    assert x.grad is None
    assert y.grad is None


def test_a_gradient_that_nobody_else_holds_is_taken_over_without_a_copy(monkeypatch):
    w, x = tt.ones(64, 64, requires_grad=True), tt.ones(64, 64)
    seen = []
    w.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.storage.nbytes))
    monkeypatch.setattr(GRADIENT_OPS, "clone", lambda grad: pytest.fail("copied"))
    (w @ x).sum().backward()
    assert seen == [w.grad.nbytes]


def test_a_hook_gives_no_gradient_where_there_is_none():
    x = tt.tensor(2.0, dtype=tt.bfloat16, requires_grad=True)
    y = tt.where(tt.tensor([True, False]), x, 1.0)
    y.node.register_hook(lambda ins, outs: tuple([tt.ones(2) if g is None else g for g in ins]))
    with raises("returned a gradient at position 0, where there is none"):
        y.sum().backward()
    assert x.grad is None
