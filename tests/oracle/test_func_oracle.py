"""Function transforms beside torch.func."""

from typing import Any

import numpy as np
import pytest
import torch

import tinytensor as tt

# PyTorch scripts its forward rules
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
RNG = np.random.default_rng(3)
W, X, V = RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=3)
FUNCTIONS: dict[str, Any] = {
    "products": lambda lib, x, w: lib.tanh(w @ x) * x.sum(),
    "softmax": lambda lib, x, w: lib.softmax(w @ x, -1) + x[0] * x[1:].prod(),
    "logarithms": lambda lib, x, w: lib.log(lib.exp(w @ x).sum() + x**2),
    "a tuple": lambda lib, x, w: (lib.sin(x), (w * x).sum(0)),
}
TRANSFORMS: dict[str, Any] = {
    "jvp": lambda func, f, x, v: func.jvp(f, (x,), (v,)),
    "jacrev": lambda func, f, x, v: func.jacrev(f)(x),
    "jacfwd": lambda func, f, x, v: func.jacfwd(f)(x),
    "jacfwd of jacrev": lambda func, f, x, v: func.jacfwd(func.jacrev(f))(x),
    "jvp of jvp": lambda func, f, x, v: func.jvp(lambda x: func.jvp(f, (x,), (v,))[1], (x,), (v,)),
    "hessian": lambda func, f, x, v: func.hessian(lambda x: total(f(x)))(x),
    "value_and_grad": lambda func, f, x, v: (
        func.grad_and_value(lambda x: total(f(x)))(x)[::-1]
        if hasattr(func, "grad_and_value")
        else func.value_and_grad(lambda x: total(f(x)))(x)
    ),
}


B, C = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
VECTORIZED: dict[str, Any] = {
    "both": lambda lib, b, c, w: lib.func.vmap(lambda x, y: lib.tanh(w @ x) * (x * y).sum())(b, c),
    "axes": lambda lib, b, c, w: lib.func.vmap(lambda x, y: (x @ y, x), in_dims=(1, None), out_dims=(0, 1))(
        b, b
    ),
    "nested": lambda lib, b, c, w: lib.func.vmap(
        lib.func.vmap(lambda x, y: lib.softmax(x * y, -1), in_dims=(None, 0)), in_dims=(0, None)
    )(b, c),
    "chunks": lambda lib, b, c, w: lib.func.vmap(lambda x: lib.cumsum(x, 0) @ w.T, chunk_size=2)(b),
    "gradients of samples": lambda lib, b, c, w: lib.func.vmap(
        lib.func.grad(lambda w, x: total(lib.sin(w @ x))), in_dims=(None, 0)
    )(w, b),
    "gradient of a batch": lambda lib, b, c, w: lib.func.grad(
        lambda w: total(lib.func.vmap(lambda x: lib.sin(w @ x))(b))
    )(w),
    "hessians": lambda lib, b, c, w: lib.func.vmap(lib.func.hessian(lambda x: total(lib.tanh(w @ x))))(b),
    "jacobian": lambda lib, b, c, w: lib.func.jacrev(lib.func.vmap(lambda x: lib.exp(x) * x.sum()))(b),
    "jvp": lambda lib, b, c, w: lib.func.vmap(
        lambda x, v: lib.func.jvp(lambda z: lib.tanh(w @ z), (x,), (v,))[1]
    )(b, c),
    "jvp of a batch": lambda lib, b, c, w: lib.func.jvp(lib.func.vmap(lambda x: lib.tanh(w @ x)), (b,), (c,)),
    "matrices": lambda lib, b, c, w: lib.func.vmap(
        lambda x, y: lib.linalg.solve(w[:3] + 9 * lib.outer(x, x), y)
    )(b, c),
    "indices": lambda lib, b, c, w: lib.func.vmap(lambda x, y: x[lib.argsort(y)])(b, c),
}


def total(y: Any) -> Any:
    return sum(part.sum() for part in y) if isinstance(y, tuple) else (y * y).sum()


def arrays(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, tuple | list):
        return [a for part in tree for a in arrays(part)]
    return [tree.detach().numpy()]


def close(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert [a.shape for a in found] == [a.shape for a in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_transform(name: str, transform: str) -> None:
    f, run = FUNCTIONS[name], TRANSFORMS[transform]
    found, wanted = [
        arrays(run(lib.func, lambda x, lib=lib, w=w: f(lib, x, w), x, v))
        for lib, w, x, v in [(lib, *map(lib.tensor, (W, X, V))) for lib in (tt, torch)]
    ]
    close(found, wanted)


@pytest.mark.parametrize("name", VECTORIZED)
def test_vmap(name: str) -> None:
    run = VECTORIZED[name]
    found, wanted = [arrays(run(lib, *[lib.tensor(a) for a in (B, C, W)])) for lib in (tt, torch)]
    close(found, wanted)


def test_modules() -> None:
    """Gradients of samples by `functional_call`, and an ensemble by `stack_module_state`."""
    models = [
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)) for _ in range(3)
    ]
    ours = [tt.nn.Sequential(tt.nn.Linear(3, 4), tt.nn.Tanh(), tt.nn.Linear(4, 2)) for _ in range(3)]
    for own, other in zip(ours, models, strict=True):
        for p, q in zip(own.parameters(), other.parameters(), strict=True):
            with tt.no_grad():
                p.copy_(tt.tensor(q.detach().numpy().T))  # weights are (in, out) here
    results = []
    for lib, nets in ((tt, ours), (torch, models)):
        x = lib.tensor(B.astype(np.float32))
        params = {name: p.detach() for name, p in nets[0].named_parameters()}
        one = lambda p, x, lib=lib, net=nets[0]: total(lib.func.functional_call(net, p, (x,)))  # noqa: E731
        each = lib.func.vmap(lib.func.grad(one), in_dims=(None, 0))(params, x)
        stack, buffers = lib.func.stack_module_state(nets)
        call = lambda p, b, x, lib=lib, net=nets[0]: lib.func.functional_call(net, (p, b), (x,))  # noqa: E731
        ensemble = lib.func.vmap(call, in_dims=(0, 0, None))(stack, buffers, x)
        results.append((each, ensemble))
    (each, ensemble), (each_of_theirs, wanted) = results
    np.testing.assert_allclose(ensemble.detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
    for own, other in zip(each.values(), each_of_theirs.values(), strict=True):
        wanted = other if other.ndim < 3 else other.mT
        np.testing.assert_allclose(own.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-6)
