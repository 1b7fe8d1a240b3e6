"""Layers against PyTorch's with the same weights: values, and gradients of inputs and parameters."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape)


def state_of(theirs: Any) -> dict[str, Array]:
    """Their weights under our names; matrices of Linear are transposed."""
    state = {}
    for path, module in theirs.named_modules():
        for name, p in module.named_parameters(recurse=False):
            turned = isinstance(module, torch.nn.Linear) and name == "weight"
            state[f"{path}.{name}" if path else name] = (p.T if turned else p).detach().numpy().copy()
    return state


def compare(ours: nn.Module, theirs: Any, *inputs: Array) -> None:
    """Equal results, and equal gradients of a weighted sum of them."""
    ours.to(tt.float64)
    theirs.double()
    ours.load_state_dict(state_of(theirs))
    floating = [a.dtype == np.float64 for a in inputs]
    mine = [tt.tensor(a, requires_grad=f) for a, f in zip(inputs, floating, strict=True)]
    other = [torch.tensor(a, requires_grad=f) for a, f in zip(inputs, floating, strict=True)]
    y, want = ours(*mine), theirs(*other)
    if isinstance(want, tuple):  # attention and its weights
        np.testing.assert_allclose(y[1].detach().numpy(), want[1].detach().numpy(), rtol=1e-9, atol=1e-11)
        y, want = y[0], want[0]
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-11)
    if not want.requires_grad:
        return
    weights = normal(*want.shape)
    (y * tt.tensor(weights)).sum().backward()
    (want * torch.tensor(weights)).sum().backward()
    for a, b in zip(mine, other, strict=True):
        if a.requires_grad:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-10)
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        expected = grads[name].numpy()
        turned = expected.ndim == 2 and isinstance(
            theirs.get_submodule(name.rpartition(".")[0]), torch.nn.Linear
        )
        expected = expected.T if turned else expected
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(
    ("ours", "theirs", "inputs"),
    [
        (lambda: nn.Linear(3, 4), lambda t: t.Linear(3, 4), (normal(2, 5, 3),)),
        (lambda: nn.Linear(3, 4, bias=False), lambda t: t.Linear(3, 4, bias=False), (normal(3),)),
        (
            lambda: nn.Sequential(nn.Linear(3, 8), nn.GELU("tanh"), nn.LayerNorm(8), nn.Linear(8, 2)),
            lambda t: t.Sequential(t.Linear(3, 8), t.GELU("tanh"), t.LayerNorm(8), t.Linear(8, 2)),
            (normal(4, 3),),
        ),
    ],
)
def test_layers(ours, theirs, inputs):
    compare(ours(), theirs(torch.nn), *inputs)


Q, KV, ONE = normal(4, 2, 8), normal(5, 2, 8), normal(4, 8)
LAYER = "nn.TransformerEncoderLayer(8, 2, 16, 0.1"


@pytest.mark.filterwarnings("ignore")  # PyTorch says when its fast path does not apply
@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("nn.MultiheadAttention(8, 2)", (Q, KV, KV)),
        ("nn.MultiheadAttention(8, 2, bias=False)", (ONE, ONE, ONE)),
        ("nn.MultiheadAttention(8, 4, 0.3, batch_first=True).eval()", (KV, KV, KV)),
        (LAYER + ").eval()", (Q,)),
        (LAYER + ", 'gelu', norm_first=True, batch_first=True).eval()", (Q,)),
        (LAYER + ", bias=False).eval()", (ONE,)),
        ("nn.TransformerEncoder(" + LAYER + "), 2, norm=nn.LayerNorm(8)).eval()", (Q,)),
    ],
)
def test_transformers(text, inputs):
    compare(eval(text, {"nn": nn}), eval(text, {"nn": torch.nn}), *inputs)


MASKS = [
    {"attn_mask": np.triu(np.ones((4, 5), bool), 2)},
    {"attn_mask": normal(4, 5)},
    {"attn_mask": RNG.random((4, 4, 5)) < 0.3, "average_attn_weights": False},
    {"key_padding_mask": np.array([[False] * 4 + [True], [False] * 5])},
    {"key_padding_mask": np.array([[0.0] * 4 + [-np.inf], [0.0] * 5]), "attn_mask": normal(8 // 2, 4, 5)},
]


@pytest.mark.parametrize("options", MASKS)
def test_masks_exclude_as_in_pytorch(options):
    ours, theirs = nn.MultiheadAttention(8, 2).to(tt.float64), torch.nn.MultiheadAttention(8, 2).double()
    ours.load_state_dict(state_of(theirs))
    found = []
    for lib, module in ((tt, ours), (torch, theirs)):
        given = {k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        found.append([t.detach().numpy() for t in module(*[lib.tensor(a) for a in (Q, KV, KV)], **given)])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (nn.init.kaiming_normal_, lambda w: torch.nn.init.kaiming_normal_(w), (300, 200)),
        (
            nn.init.kaiming_uniform_,
            lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu"),
            (300, 200),
        ),
        (
            lambda w: nn.init.kaiming_normal_(w, a=0.3, mode="fan_out"),
            lambda w: torch.nn.init.kaiming_normal_(w, a=0.3, mode="fan_out"),
            (100, 50, 3, 3),
        ),
        (
            lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh"),
            lambda w: torch.nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh"),
            (100, 50, 3, 3),
        ),
        (nn.init.orthogonal_, torch.nn.init.orthogonal_, (300, 200)),
        (nn.init.orthogonal_, torch.nn.init.orthogonal_, (50, 40, 3, 3)),
        (nn.init.uniform_, torch.nn.init.uniform_, (300, 200)),
        (nn.init.xavier_normal_, torch.nn.init.xavier_normal_, (300, 200)),
        (nn.init.xavier_uniform_, torch.nn.init.xavier_uniform_, (100, 50, 3, 3)),
        (nn.init.trunc_normal_, torch.nn.init.trunc_normal_, (300, 200)),
    ],
)
def test_initial_values_have_the_same_distribution(ours, theirs, shape):
    torch.manual_seed(0)
    tt.manual_seed(0)
    mine = ours(tt.empty(shape)).numpy().ravel()
    other = torch.empty(shape[::-1] if len(shape) == 2 else shape)  # theirs is (out, in)
    other = theirs(other).numpy().ravel()
    deciles = np.linspace(0.05, 0.95, 10)
    scale = other.std()
    np.testing.assert_allclose(np.quantile(mine, deciles), np.quantile(other, deciles), atol=0.03 * scale)
    assert mine.std() == pytest.approx(scale, rel=0.01)


@pytest.mark.parametrize(
    "name", ["linear", "conv1d", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
)
def test_gains(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
