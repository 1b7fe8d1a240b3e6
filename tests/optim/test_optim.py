"""Optimizers against steps written by hand in NumPy, their state, errors, clipping."""

import json
import math

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import optim
from tinytensor.optim.optimizer import BLOCK
from tinytensor.runtime.cpu.memory import pool

STEPS = 10
SHAPES = [(3, 4), (5,), (), (2 * BLOCK + 7,)]  # the last one takes several blocks


def arrays(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def gradients(step, dtype=np.float32):
    return arrays(dtype, seed=100 + step)


def parameters(dtype=np.float32):
    return [tt.tensor(a, requires_grad=True) for a in arrays(dtype)]


def run(optimizer, steps=range(STEPS)):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        for p, g in zip(params, gradients(step, np.dtype(params[0].dtype.name)), strict=True):
            p.grad = tt.tensor(g)
        optimizer.step()
    return params


def by_hand(formula, dtype=np.float64):
    """Each array after STEPS steps of p, state = formula(p, g, state, t), computed in float64."""
    result = []
    for i, p in enumerate(arrays()):
        p, state = p.astype(dtype), {}
        for t in range(STEPS):
            p = formula(p, gradients(t)[i].astype(dtype), state, t + 1)
        result.append(p)
    return result


def sgd(lr, momentum=0.0, dampening=0.0, decay=0.0, nesterov=False):
    def formula(p, g, state, t):
        g = g + decay * p
        if momentum:
            b = state["b"] = g if t == 1 else momentum * state["b"] + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        return p - lr * g

    return formula


def adam(lr, beta1, beta2, eps, decay, decoupled):
    def formula(p, g, state, t):
        if decoupled:
            p = p - lr * decay * p
        else:
            g = g + decay * p
        m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
        v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g * g
        return p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)

    return formula


def rmsprop(lr, alpha, eps, decay, momentum, centered):
    def formula(p, g, state, t):
        g = g + decay * p
        v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g * g
        m = state["m"] = alpha * state.get("m", 0) + (1 - alpha) * g
        step = g / (np.sqrt(v - m * m if centered else v) + eps)
        b = state["b"] = momentum * state.get("b", 0) + step
        return p - lr * b

    return formula


RULES = {
    "rmsprop": (lambda p: optim.RMSprop(p, lr=0.05), rmsprop(0.05, 0.99, 1e-8, 0, 0, False)),
    "rmsprop all": (lambda p: optim.RMSprop(p, 0.05, 0.9, 1e-3, 0.3, 0.5, True),
                    rmsprop(0.05, 0.9, 1e-3, 0.3, 0.5, True)),
    "sgd": (lambda p: optim.SGD(p, lr=0.1), sgd(0.1)),
    "sgd decay": (lambda p: optim.SGD(p, lr=0.1, weight_decay=0.3), sgd(0.1, decay=0.3)),
    "sgd momentum": (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), sgd(0.1, 0.9)),
    "sgd dampening": (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.4, weight_decay=0.3),
                      sgd(0.1, 0.9, 0.4, 0.3)),
    "sgd nesterov": (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.3, nesterov=True),
                     sgd(0.1, 0.9, 0, 0.3, True)),
    "adam": (lambda p: optim.Adam(p, lr=0.1), adam(0.1, 0.9, 0.999, 1e-8, 0, False)),
    "adam decay": (lambda p: optim.Adam(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.3),
                   adam(0.1, 0.8, 0.9, 1e-3, 0.3, False)),
    "adamw": (lambda p: optim.AdamW(p, lr=0.1), adam(0.1, 0.9, 0.999, 1e-8, 0.01, True)),
    "adamw decay": (lambda p: optim.AdamW(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.3),
                    adam(0.1, 0.8, 0.9, 1e-3, 0.3, True)),
}  # fmt: skip


@pytest.fixture(params=RULES)
def rule(request):
    return RULES[request.param]


# ---- steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_steps_are_those_of_the_formula(rule, dtype, mode):
    make, formula = rule
    for p, want in zip(run(make(parameters(dtype))), by_hand(formula), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), want, rtol=2e-5, atol=2e-6)


def test_sixteen_bits_are_rounded_once_per_step(rule):
    make, formula = rule
    params = [tt.tensor(a).astype(tt.bfloat16).requires_grad_() for a in arrays()]
    states = [{} for _ in params]
    optimizer = make(params)
    for t in range(3):
        wants = []
        for p, g, state in zip(params, gradients(t), states, strict=True):
            p.grad = tt.tensor(g).astype(tt.bfloat16)
            wide, exact = [x.detach().astype(tt.float64).numpy() for x in (p, p.grad)]
            wants.append(formula(wide, exact, state, t + 1))
        optimizer.step()
        for p, want in zip(params, wants, strict=True):
            got = p.detach().astype(tt.float64).numpy()
            # half a unit in the last of 8 bits
            assert np.all(np.abs(got - want) <= np.abs(want) * 2.0**-8 + 2e-6)


def test_steps_write_in_place_and_are_counted(rule):
    optimizer = rule[0](parameters())
    params = [p for group in optimizer.param_groups for p in group["params"]]
    storages, versions = [p.storage for p in params], [p.version for p in params]
    run(optimizer, range(2))
    assert all(p.storage is s for p, s in zip(params, storages, strict=True))
    assert all(p.version > v for p, v in zip(params, versions, strict=True))
    assert all(p.is_leaf and p.requires_grad for p in params)
    assert not any(
        x.requires_grad for s in optimizer.state.values() for x in s.values() if type(x) is tt.Tensor
    )


def test_steps_need_blocks_not_copies(rule):
    w = tt.zeros(32 * BLOCK, requires_grad=True)
    w.grad = tt.ones(32 * BLOCK)
    optimizer = rule[0]([w])
    optimizer.step()
    live = pool.settle().live
    pool.reset_peak()
    optimizer.step()
    assert pool.settle().peak - live <= w.nbytes // 8


def test_a_step_invalidates_a_graph_that_saved_the_parameter():
    w = tt.ones(2, requires_grad=True)
    loss = (w * w).sum()
    w.grad = tt.ones(2)
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(tt.GradError, match="overwritten"):
        loss.backward()


def test_parameters_without_gradient_stay_and_do_not_count(rule):
    a, b = tt.ones(2, requires_grad=True), tt.ones(2, requires_grad=True)
    optimizer = rule[0]([a, b])
    a.grad = tt.ones(2)
    optimizer.step()
    assert b.tolist() == [1.0, 1.0]
    assert b not in optimizer.state
    b.grad = tt.ones(2)
    a.grad = None
    first = a.tolist()
    optimizer.step()
    assert b.tolist() == first == a.tolist()  # b's first step is like a's first step


def test_strided_parameters_and_gradients():
    w = tt.ones(300, 400).T.requires_grad_()
    w.grad = tt.ones(300, 400).T
    optim.SGD([w], lr=0.5, momentum=0.9).step()
    assert w.sum().item() == 60_000.0
    v = tt.ones(400, 300, requires_grad=True)
    v.grad = tt.ones(300, 400).T
    for kind in (optim.SGD, optim.Adam, optim.AdamW):
        kind([v], lr=0.5, weight_decay=0.0).step()
    assert v.sum().item() == pytest.approx(-60_000.0)


def test_groups_have_their_own_options():
    a, b = tt.ones(1, requires_grad=True), tt.ones(1, requires_grad=True)
    optimizer = optim.SGD([{"params": [a]}, {"params": iter([b]), "lr": 0.25}], lr=0.5)
    a.grad, b.grad = tt.ones(1), tt.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 0.75)
    optimizer.param_groups[0]["lr"] = 0.0
    c = tt.ones(1, requires_grad=True)
    c.grad = tt.ones(1)
    optimizer.add_param_group({"params": c, "lr": 1.0})
    optimizer.step()
    assert (a.item(), b.item(), c.item()) == (0.5, 0.5, 0.0)
    assert repr(optimizer).splitlines()[1].startswith("  1 tensors, 1 numbers: lr=0.0, momentum=0.0")


def test_zero_grad():
    w = tt.ones(2, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is None
    w.grad = tt.ones(2)
    kept = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert kept.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert w.grad is None


# ---- saving ------------------------------------------------------------------------------------------------


def through_json(state):
    """As a checkpoint does: tensors as arrays, the rest as text."""
    entries = state["state"].items()
    tensors = {(i, k): v.numpy().copy() for i, s in entries for k, v in s.items() if k != "step"}
    rest = {i: {k: v for k, v in s.items() if k == "step"} for i, s in entries}
    loaded = json.loads(json.dumps({"state": rest, "param_groups": state["param_groups"]}))
    for (i, k), array in tensors.items():
        loaded["state"][str(i)][k] = array
    return loaded


def test_a_loaded_state_goes_on_with_equal_bits(rule):
    make, _ = rule
    whole = run(make(parameters()))
    halfway = make(parameters())
    half = run(halfway, range(4))
    state = through_json(halfway.state_dict())
    resumed = make([tt.tensor(p.detach().numpy(), requires_grad=True) for p in half])
    resumed.load_state_dict(state)
    for a, b in zip(whole, run(resumed, range(4, STEPS)), strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


def test_a_loaded_state_is_a_copy_and_brings_its_options():
    saved = optim.AdamW(parameters(), lr=0.1, betas=(0.5, 0.6))
    run(saved, range(2))
    loaded = optim.AdamW(parameters(), lr=0.7)
    loaded.load_state_dict(saved.state_dict())
    assert {k: loaded.param_groups[0][k] for k in ("lr", "betas")} == {"lr": 0.1, "betas": (0.5, 0.6)}
    for a, b in zip(saved.state.values(), loaded.state.values(), strict=True):
        assert a["step"] == b["step"] == 2
        assert not a["m"].shares_memory(b["m"])


def test_the_state_names_parameters_by_number():
    a, b = tt.ones(1, requires_grad=True), tt.ones(2, requires_grad=True)
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "momentum": 0.5}], lr=0.1)
    b.grad = tt.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert {i: list(s) for i, s in state["state"].items()} == {1: ["momentum"]}
    json.dumps(state["param_groups"])


def broken(change):
    saved = optim.AdamW(parameters())
    run(saved, range(1))
    state = saved.state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: s["param_groups"].append(s["param_groups"][0]), tt.ArgumentError, r"groups of \[4, 4\]"),
        (lambda s: s["param_groups"][0].update(params=[0]), tt.ArgumentError, r"groups of \[1\]"),
        (lambda s: s["param_groups"][0].update(momentum=1), tt.ArgumentError, "unknown option 'momentum'"),
        (lambda s: s["param_groups"][0].pop("eps"), tt.ArgumentError, "'eps' is missing"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), tt.ArgumentError, "lr is -1"),
        (lambda s: s["state"].update({9: {}}), tt.ArgumentError, "state of parameter 9"),
        (lambda s: s["state"][0].pop("v"), tt.ArgumentError, r"has \['m', 'step'\]"),
        (lambda s: s["state"][0].update(step="1"), tt.ArgumentError, "the state of parameter 0"),
        (lambda s: s["state"][0].update(m=tt.zeros(2)), tt.ShapeError, r"m of parameter 0 has shape \(2,\)"),
    ],
)
def test_a_broken_state_changes_nothing(change, error, text):
    optimizer = optim.AdamW(parameters())
    run(optimizer, range(2))
    before = optimizer.state_dict()
    with pytest.raises(error, match=text):
        optimizer.load_state_dict(broken(change))
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(after["state"][i]["m"] is before["state"][i]["m"] for i in before["state"])


STATES = [({}, r"names \[\]"), (5, "a int"), ({"scale": 1.0}, r"names \['scale'\]"),
          ({"state": {}, "param_groups": [[0]]}, "a list")]  # fmt: skip
LOADING = [lambda sgd: sgd, optim.CombinedOptimizer, lambda sgd: optim.lr_scheduler.StepLR(sgd, 1),
           optim.lr_scheduler.ReduceLROnPlateau, lambda _: optim.GradScaler()]  # fmt: skip


@pytest.mark.parametrize(("state", "text"), STATES)
@pytest.mark.parametrize("make", LOADING)
def test_what_is_no_state_is_refused(make, state, text):
    loads = make(optim.SGD(parameters(), lr=0.1))
    with pytest.raises(tt.ArgumentError, match=rf"{type(loads).__name__}.load_state_dict: ") as caught:
        loads.load_state_dict(state)
    if isinstance(loads, optim.SGD):
        assert caught.match(text)


# ---- errors ------------------------------------------------------------------------------------------------

W = tt.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: optim.SGD([], lr=0.1), tt.ArgumentError, "SGD: there are no parameters"),
        (lambda: optim.SGD([{"params": []}]), tt.ArgumentError, "SGD: there are no parameters"),
        (lambda: optim.SGD(5), tt.ArgumentError, "parameters of type int"),
        (lambda: optim.SGD([W, 3]), tt.ArgumentError, "parameter 1 is a int"),
        (lambda: optim.SGD([{"params": [W]}, W]), tt.ArgumentError, "parameter 0 is a dict"),
        (lambda: optim.SGD([{"lr": 1.0}]), tt.ArgumentError, r"keys \['lr'\]"),
        (lambda: optim.SGD([W, W]), tt.ArgumentError, r"parameter 1 of shape \(2,\) comes twice"),
        (lambda: optim.SGD([{"params": [W]}, {"params": [W]}]), tt.ArgumentError, "comes twice"),
        (lambda: optim.SGD([W * 2]), tt.GradError, "result of a recorded operation"),
        (lambda: optim.SGD([tt.arange(3)]), tt.GradError, "dtype int64"),
        (lambda: optim.SGD([{"params": [W], "momentun": 0.9}]), tt.ArgumentError, "did you mean 'momentum'"),
        (lambda: optim.SGD([{"params": [W], "foo": 0.9}]), tt.ArgumentError, "lr, momentum, dampening"),
        (lambda: optim.SGD(W, lr=-0.1), tt.ArgumentError, r"SGD: lr is -0\.1"),
        (lambda: optim.SGD(W, lr=math.nan), tt.ArgumentError, "lr is nan"),
        (lambda: optim.SGD(W, lr="0.1"), tt.ArgumentError, r"lr is '0\.1'"),
        (lambda: optim.SGD(W, momentum=1.0), tt.ArgumentError, r"momentum is 1\.0"),
        (lambda: optim.SGD(W, dampening=2.0), tt.ArgumentError, r"dampening is 2\.0"),
        (lambda: optim.SGD(W, nesterov=True), tt.ArgumentError, "nesterov is True"),
        (lambda: optim.AdamW(W, betas=(0.9, 1.0)), tt.ArgumentError, r"AdamW: betas is \(0\.9, 1\.0\)"),
        (lambda: optim.Adam(W, betas=(0.9,)), tt.ArgumentError, r"Adam: betas is \(0\.9,\)"),
        (lambda: optim.RMSprop(W, alpha=1.5), tt.ArgumentError, r"RMSprop: alpha is 1\.5"),
        (lambda: optim.RMSprop(W, momentum=1.0), tt.ArgumentError, r"RMSprop: momentum is 1\.0"),
        (lambda: optim.AdamW(W, eps=math.inf), tt.ArgumentError, "eps is inf"),
        (lambda: optim.AdamW(W, weight_decay=-1), tt.ArgumentError, "weight_decay is -1"),
    ],
)
def test_wrong_calls(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_options_are_checked_again_before_each_step():
    w = tt.ones(2, requires_grad=True)
    w.grad = tt.ones(2)
    optimizer = optim.SGD([w], lr=0.1)
    optimizer.param_groups[0]["learning_rate"] = 0.5
    with pytest.raises(tt.ArgumentError, match="unknown option 'learning_rate'"):
        optimizer.step()
    del optimizer.param_groups[0]["learning_rate"]
    optimizer.param_groups[0]["lr"] = math.inf
    with pytest.raises(tt.ArgumentError, match="lr is inf"):
        optimizer.step()
    assert w.tolist() == [1.0, 1.0]


def test_an_optimizer_without_update_says_so():
    w = tt.ones(2, requires_grad=True)
    w.grad = tt.ones(2)
    with pytest.raises(tt.ArgumentError, match="define update in Optimizer"):
        optim.Optimizer([w]).step()


def test_a_scaler_divides_the_gradients_that_follow_an_interrupted_step() -> None:
    w = tt.ones(1, requires_grad=True)
    optimizer, scaler = optim.SGD([w], lr=1.0), optim.GradScaler(1024.0)
    for lost in (True, False):
        optimizer.zero_grad()
        scaler.scale(w * 0.5).sum().backward()
        scaler.unscale_(optimizer)
        if lost:
            continue  # Ctrl-C: neither step nor update
        scaler.step(optimizer)
        scaler.update()
    assert w.tolist() == [0.5]


def with_gradients():
    rng = np.random.default_rng(0)
    params = [tt.zeros(shape, requires_grad=True) for shape in [(3, 4), (), (2 * BLOCK + 7,)]]
    for p in params:
        p.grad = tt.tensor(rng.normal(size=p.shape).astype(np.float32))
    return params


def norm_of(params):
    return math.sqrt(sum((p.grad.astype(tt.float64) ** 2).sum().item() for p in params))


def test_clipping_scales_all_gradients_together():
    params = with_gradients()
    before, grads = norm_of(params), [p.grad.numpy().copy() for p in params]
    objects = [p.grad for p in params]
    norm = optim.clip_grad_norm_(iter(params), 2.0)
    assert norm.shape == ()
    assert float(norm) == pytest.approx(before, rel=1e-6)
    assert norm_of(params) == pytest.approx(2.0, rel=1e-5)
    for p, g, kept in zip(params, grads, objects, strict=True):
        assert p.grad is kept
        np.testing.assert_allclose(p.grad.numpy(), g * (2.0 / before), rtol=1e-5)


def test_clipping_needs_no_copies():
    w = tt.zeros(32 * BLOCK, requires_grad=True)
    w.grad = tt.ones(32 * BLOCK)
    live = pool.settle().live
    pool.reset_peak()
    optim.clip_grad_norm_([w], 1.0)
    assert pool.settle().peak - live <= w.nbytes // 8


@pytest.mark.parametrize("max_norm", [1e6, math.inf])
def test_short_gradients_keep_their_bits(max_norm):
    params = with_gradients()
    grads = [p.grad.numpy().tobytes() for p in params]
    optim.clip_grad_norm_(params, max_norm)
    assert [p.grad.numpy().tobytes() for p in params] == grads


def test_sixteen_bit_gradients_are_scaled_in_float32():
    w = tt.ones(4, dtype=tt.bfloat16, requires_grad=True)
    w.grad = tt.full((4,), 3.0, dtype=tt.bfloat16)
    assert float(optim.clip_grad_norm_(w, 2.0)) == 6.0
    assert w.grad.tolist() == [1.0] * 4  # a factor of 1/3 rounded to 8 bits would give 1.0078


def test_gradients_that_are_not_finite():
    w = tt.ones(2, requires_grad=True)
    w.grad = tt.tensor([1.0, math.inf])
    with pytest.raises(tt.GradError, match="clip_grad_norm_: the norm of 1 gradients is inf"):
        optim.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
    assert w.grad.tolist() == [1.0, math.inf]
    assert float(optim.clip_grad_norm_(w, 1.0)) == math.inf
    assert w.grad[0].item() == 0.0
    assert math.isnan(w.grad[1].item())


def test_clipping_needs_gradients_and_a_norm():
    w = tt.ones(2, requires_grad=True)
    with pytest.raises(tt.GradError, match="none of 1 parameters has a gradient"):
        optim.clip_grad_norm_([w], 1.0)
    with pytest.raises(tt.ArgumentError, match="max_norm is 0"):
        optim.clip_grad_norm_([w], 0)
