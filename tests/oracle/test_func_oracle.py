"""Function transforms beside torch.func."""

from typing import Any

import numpy as np
import pytest
import torch

import tinytensor as tt

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


def total(y: Any) -> Any:
    return sum(part.sum() for part in y) if isinstance(y, tuple) else (y * y).sum()


def arrays(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, tuple | list):
        return [a for part in tree for a in arrays(part)]
    return [tree.detach().numpy()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # PyTorch scripts its forward rules
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_transform(name: str, transform: str) -> None:
    f, run = FUNCTIONS[name], TRANSFORMS[transform]
    w, x, v = (tt.tensor(a) for a in (W, X, V))
    found = arrays(run(tt.func, lambda x: f(tt, x, w), x, v))
    w, x, v = (torch.tensor(a) for a in (W, X, V))
    wanted = arrays(run(torch.func, lambda x: f(torch, x, w), x, v))
    assert [a.shape for a in found] == [a.shape for a in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
