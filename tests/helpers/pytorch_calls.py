"""Common calls of PyTorch, as text, each of which gives the same here, or an error.

tests/core/test_pytorch_calls.py compares with recorded results, that of tests/oracle with PyTorch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

RNG = np.random.default_rng(0)
DATA = {
    "x": RNG.normal(size=(2, 3)).astype("float32"),
    "y": RNG.normal(size=(2, 3)).astype("float32"),
    "w": RNG.normal(size=(3, 4)).astype("float32"),
    "v": RNG.normal(size=3).astype("float32"),
    "b": RNG.normal(size=(2, 3, 4)).astype("float32"),
    "c": RNG.normal(size=(2, 4, 5)).astype("float32"),
    "p": RNG.uniform(0.1, 0.9, size=(2, 3)).astype("float32"),
    "i": np.array([[3, -7, 5], [0, 2, -2]]),
    "j": np.array([[2, 3, -2], [4, -3, 3]]),
    "k": np.array([2, 0]),
    "g": np.array([[2, 0], [1, 1]]),
    "m": np.array([[True, False, True], [False, False, True]]),
    "h": np.array([1.5, -2.5, 0.0], dtype="float16"),
    "s": np.array(2.5, dtype="float32"),
    "n": np.array([np.nan, np.inf, -np.inf, 1.0], dtype="float32"),
}

# The same text gives the same values, shape and dtype. Each stands in RECORDED with what PyTorch gives for
# it: for a new call add `"the call": null,` there, and run `python -m tests.golden.make_pytorch_calls`.
RECORDED = Path(__file__).parents[1] / "golden" / "pytorch_calls.json"
SAME: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))

# The same text, random values: shape and dtype are equal.
RANDOM = """
torch.rand(2, 3)
torch.rand((2, 3))
torch.randn(2, 3)
torch.randn(2, 3, dtype=torch.float64)
torch.randint(0, 5, (2, 3))
torch.randint(low=0, high=5, size=(2, 3))
torch.randint(5, (2, 3))
torch.randint(5, size=(2, 3))
torch.randint(high=5, size=(2, 3))
torch.rand_like(x)
torch.randn_like(h)
torch.randperm(5)
torch.empty(2, 3)
torch.empty_like(x)
torch.multinomial(p, 2, replacement=True)
torch.multinomial(p, 2, False)
F.dropout(x)
F.dropout(x, p=0.3, training=True)
torch.normal(0.0, 1.0, (2,))
torch.randint(1, (2, 3))
F.dropout2d(b[None])
x.uniform_()
x.normal_(2.0, 0.1)
x.new_empty(3)
"""

# An error here that says what to write.
REFUSED = """
torch.embedding(w, k)
F.softplus(x, beta=2.0)
F.relu(x, inplace=True)
F.softmax(b)
torch.permute(b, dims=(2, 1, 0))
x.max(dim=1).values
x.max(dim=1)[1]
x.min(dim=0, keepdim=True).indices
torch.max(x, dim=1)[0]
torch.max(x, y)
torch.min(x, y)
torch.max(input=x, other=y)
x.sort(dim=1).values
x.sort(1, True).indices
torch.sort(x, dim=0, descending=True)[0]
x.argsort(1, True)
x.std(dim=1)
x.std(0, keepdim=True)
x.var(dim=0, keepdim=True)
x.var(dim=(0, 1))
torch.where(m)[1]
torch.add(x, y, alpha=2)
x.sub(y, alpha=0.5)
x.add_(y, alpha=2)
x.sub_(y, alpha=2)
x.tile(2, 2)
x.tile(2, 1, 1)
torch.rand(size=(2, 3))
x.repeat(2, 3)
torch.equal(input=x, other=y)
x.type(torch.float64)
x.grad_fn
x.squeeze(1)
torch.arange(end=5)
x.permute(dims=(1, 0))
x.pow(exponent=2)
torch.cumsum(x, axis=1, dim=0)
F.max_pool2d(b, 2, ceil_mode=True)
F.embedding(k, w, max_norm=1.0)
x.max(1).values
torch.einsum(x, [0, 1], w, [1, 2])
F.cross_entropy(x, k, None, None, -100)
F.mse_loss(x, v)
F.l1_loss(x, y, None, None, "sum")
F.local_response_norm(b, 2)
"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def run(text: str, lib: Any, leaves: dict[str, Any] | None = None) -> Any:
    """The value of a call, of fresh tensors; with `leaves` these require gradients, and are put there."""
    names = {name: lib.tensor(array) for name, array in DATA.items()}
    if leaves is not None:
        leaves |= {name: t.requires_grad_() for name, t in names.items() if t.dtype == lib.float32}
        names |= {name: t * 1 for name, t in leaves.items()}
    return eval(text, {"torch": lib, "F": lib.nn.functional, "np": np, **names})


def known(value: Any, lib: Any) -> Any:
    """A result as something both libraries have: dtype, shape and values, or text."""
    if isinstance(value, lib.Tensor):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape), value.detach().numpy()
    if isinstance(value, type(lib.float32)):
        return str(value).rpartition(".")[2]
    return tuple(value) if isinstance(value, tuple) else value


def same(ours: Any, theirs: Any) -> None:
    """Both are `known`, of equal types, and values are close."""
    assert type(ours) is type(theirs)
    if isinstance(ours, tuple) and len(ours) == 3 and isinstance(ours[2], np.ndarray):
        assert ours[:2] == theirs[:2]
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_equal(ours, theirs)
