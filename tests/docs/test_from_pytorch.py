"""Each row of docs/from_pytorch.md with equal names and other results: what we answer, and how to get what
PyTorch's documentation says it answers.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import tinytensor as tt
import tinytensor.nn.functional as F
from tinytensor import nn

DOCUMENT = Path(__file__).parents[2] / "docs" / "from_pytorch.md"
X = tt.tensor([[3.0, 1.0, 2.0], [4.0, 4.0, 0.0]])


def largest() -> None:
    assert X.max(1).tolist() == [3.0, 4.0]
    assert X.argmax(1).tolist() == [0, 0]
    assert X.min(1).tolist() == [1.0, 0.0]
    with pytest.raises(tt.ArgumentError, match=r"x\.argmax\(axis=1\)"):
        X.max(dim=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="too many values"):
        _, _ = tt.max(X.T, 1)


def larger() -> None:
    with pytest.raises(tt.ArgumentError, match=r"tt\.maximum\(x, y\)"):
        tt.max(X, X)  # type: ignore[arg-type]
    assert tt.maximum(X, X[:1]).tolist() == [[3.0, 1.0, 2.0], [4.0, 4.0, 2.0]]


def sort() -> None:
    assert X.sort().tolist() == [[1.0, 2.0, 3.0], [0.0, 4.0, 4.0]]
    assert X.argsort().tolist() == [[1, 2, 0], [2, 0, 1]]
    with pytest.raises(tt.ArgumentError, match=r"x\.argsort\(axis=1\)"):
        X.sort(dim=-1)  # type: ignore[call-arg]


def spread() -> None:
    x = tt.tensor([1.0, 3.0])
    assert (x.var().item(), x.std().item()) == (1.0, 1.0)
    with pytest.raises(tt.ArgumentError, match="divides by n - 1"):
        x.var(dim=0)  # type: ignore[call-arg]
    assert (x.var(correction=1).item(), x.std(correction=1).item()) == (2.0, pytest.approx(math.sqrt(2)))


def repeat() -> None:
    x = tt.tensor([1, 2])
    assert x.tile((2, 3)).tolist() == [[1, 2] * 3] * 2  # PyTorch's x.repeat(2, 3)
    assert x.repeat(2, axis=0).tolist() == [1, 1, 2, 2]
    with pytest.raises(tt.ArgumentError, match=r"x\.tile\(\(2, 3\)\)"):
        x.repeat(2, 3)


def squeeze() -> None:
    for call in (lambda: X.squeeze(1), lambda: X.squeeze(dim=1)):  # type: ignore[call-arg]
        with pytest.raises(tt.ShapeError, match="cannot be dropped"):
            call()


def no_axes() -> None:
    for call in (lambda x: x.sum(0), lambda x: x.sort(0)):
        with pytest.raises(tt.IndexRangeError, match="0 axes"):
            call(tt.tensor(1.0))


def unsigned() -> None:
    x = tt.tensor([1, 2], dtype=tt.uint8)
    assert x.sum().dtype is x.cumsum(0).dtype is x.prod().dtype is tt.uint64
    assert x.any().dtype is x.all().dtype is tt.bool


def nonzero() -> None:
    places = X.nonzero()
    assert [p.tolist() for p in places] == [[0, 0, 0, 1, 1], [0, 1, 2, 0, 1]]  # PyTorch: shape (5, 2)
    assert X[places].tolist() == [3.0, 1.0, 2.0, 4.0, 4.0]


def weight() -> None:
    lin, x = nn.Linear(2, 5), tt.ones(3, 2)
    assert lin.weight.shape == (2, 5)
    assert tt.allclose(F.linear(x, lin.weight.T, lin.bias), lin(x))
    with pytest.raises(tt.ShapeError, match=r"lin\(x\), or F\.linear\(x, lin\.weight\.T, lin\.bias\)"):
        F.linear(x, lin.weight, lin.bias)
    with pytest.raises(tt.ShapeError, match=r"lin\(x\)"):
        F.linear(x, lin.weight)
    with pytest.raises(tt.ShapeError, match="check the sizes"):
        F.linear(tt.ones(3, 4), lin.weight)


def initial_weights() -> None:
    table = nn.init.kaiming_uniform_(tt.empty(1, 600))  # fan_in 1: bound sqrt(6)
    assert 2.3 < table.abs().max().item() < math.sqrt(6)
    rnn = nn.LSTM(1, 150).weight_ih_l0  # (600, 1): fan_in 1, too
    nn.init.kaiming_uniform_(rnn, layout="out, in")
    assert 2.3 < rnn.abs().max().item() < math.sqrt(6)


def ties() -> None:
    x = X.clone().requires_grad_()
    x.max(1).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    square = tt.ones(1, 2, 2, requires_grad=True)
    F.max_pool2d(square, 2).sum().backward()
    assert square.grad is not None
    assert square.grad.tolist() == [[[0.25, 0.25], [0.25, 0.25]]]


def hooks_of_a_written_view() -> None:
    x = tt.ones(2, requires_grad=True)
    y = x * 1.0
    v = y[:1]
    v.mul_(3.0)
    v.register_hook(lambda grad: grad * 10)
    (v.sum() + y.sum()).backward()
    assert x.grad.tolist() == [60.0, 1.0]  # PyTorch: 33 = 3 (10 + 1), the hook sees what arrives through v


def data() -> None:
    p = tt.ones(3, requires_grad=True)
    loss = (p * p).sum()
    assert p.data.shares_memory(p)
    p.data.zero_()
    with pytest.raises(tt.GradError, match="overwritten"):
        loss.backward()


def meshgrid() -> None:
    a, b = tt.zeros(2), tt.zeros(3)
    assert tt.meshgrid(a, b)[0].shape == (3, 2)
    assert tt.meshgrid(a, b, indexing="ij")[0].shape == (2, 3)  # PyTorch's default


def equal() -> None:
    assert tt.equal(tt.tensor([1, 2]), tt.tensor([1, 3])).tolist() == [True, False]
    assert (tt.tensor([1, 2]) == tt.tensor([1, 2])).all().item() is True


def widening() -> None:
    a, s = tt.ones(2, dtype=tt.float16), tt.tensor(2.0)
    assert (a * s).dtype is tt.float32
    assert (a * 2.0).dtype is (a * s.to(a.dtype)).dtype is tt.float16  # PyTorch's a * s


def sign() -> None:
    assert math.isnan(tt.sign(tt.tensor(math.nan)).item())


def mixed_index() -> None:
    x, i = tt.arange(24).reshape(2, 3, 4), tt.tensor([0, 3])
    assert x[1, :, i].tolist() == [[12, 16, 20], [15, 19, 23]]
    assert x[1][:, i].tolist() == [[12, 15], [16, 19], [20, 23]]  # PyTorch's x[1, :, i]


def classes() -> None:
    logits, targets = tt.zeros(2, 5, 3), tt.zeros(2, 5, dtype=tt.int64)
    assert tt.cross_entropy(logits.mT, targets).item() == pytest.approx(math.log(3))
    assert tt.nll_loss(tt.log_softmax(logits, -1).mT, targets).item() == pytest.approx(math.log(3))
    with pytest.raises(tt.ShapeError, match="classes are on axis 1"):
        tt.cross_entropy(logits, targets)


def gelus() -> None:
    x = tt.tensor(3.0, dtype=tt.float64)
    assert tt.gelu(x).item() == pytest.approx(1.5 * (1 + math.erf(3.0 / math.sqrt(2))), rel=1e-12)
    tanh = 1.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (3.0 + 0.044715 * 27)))
    assert tt.gelu(x, "tanh").item() == pytest.approx(tanh, rel=1e-12)


def linears() -> None:
    x, w = tt.ones(4, 2), tt.zeros(3, 2)
    assert tt.linear(x, w).shape == tt.linear(x, w.T, transposed=False).shape == (4, 3)


def embeddings() -> None:
    table, indices = tt.zeros(5, 2), tt.tensor([1, 4, 0])
    assert tt.embedding(indices, table).shape == (3, 2)
    with pytest.raises(tt.DTypeError, match="other way round"):
        tt.embedding(table, indices)


def norms() -> None:
    x, weight = tt.tensor([1.0, 3.0]), tt.tensor([2.0, 2.0])
    assert tt.layer_norm(x, (2,), weight).tolist() == pytest.approx([-2.0, 2.0], rel=1e-4)
    for norm in (tt.layer_norm, tt.rms_norm):
        with pytest.raises(tt.ArgumentError, match="normalized_shape is a tensor"):
            norm(x, weight)  # type: ignore[arg-type]


def epsilons() -> None:
    x = tt.zeros(2) + 1e-6
    assert tt.rms_norm(x, (2,)).tolist() == pytest.approx([1e-6 / math.sqrt(1e-12 + 2**-23)] * 2)
    assert tt.rms_norm(x, (2,), eps=1e-6).tolist() == pytest.approx([1e-3] * 2, rel=1e-3)


def softmaxes() -> None:
    x = tt.zeros(2, 3, 4)
    for function in (tt.softmax, tt.log_softmax):
        with pytest.raises(tt.ArgumentError, match=r"PyTorch takes axis 0 here"):
            function(x)
        with pytest.raises(tt.ArgumentError, match=r"PyTorch takes axis 1 here"):
            function(x[None])
    assert F.softmax(x[0])[0, 0].item() == 0.25
    assert F.log_softmax(x[0, 0])[0].item() == pytest.approx(-math.log(4))


def pads() -> None:
    assert tt.pad(tt.zeros(2, 3), (1, 2)).shape == (2, 6)
    assert tt.pad(tt.zeros(2, 3), (1, 2, 3, 4)).shape == (9, 6)


def one_hots() -> None:
    assert tt.one_hot(tt.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]


def windows() -> None:
    assert F.unfold(tt.zeros(1, 2, 4, 4), 3).shape == (1, 18, 4)
    assert tt.zeros(5).unfold(0, 3, 1).shape == (3, 3)
    with pytest.raises(AttributeError, match=r"x\.unfold\(axis, size, step\)"):
        tt.unfold(tt.zeros(5), 0, 3)  # type: ignore[attr-defined]


def attentions() -> None:
    q, k, v = tt.zeros(1, 1, 1, 2), tt.zeros(1, 1, 2, 2), tt.tensor([[[[0.0], [1.0]]]])
    assert tt.scaled_dot_product_attention(q, k, v, is_causal=True).item() == 0.0  # the first key alone
    assert tt.scaled_dot_product_attention(q, k, v).item() == 0.5
    heads = q.expand(1, 2, 1, 2)
    with pytest.raises(tt.ShapeError, match="enable_gqa=True"):
        tt.scaled_dot_product_attention(q.expand(1, 4, 1, 2), heads, heads)


def softplus() -> None:
    x = tt.tensor(21.0, dtype=tt.float64)
    assert tt.softplus(x).item() == pytest.approx(21 + math.exp(-21), rel=1e-15)


ROWS: dict[str, Callable[[], None]] = {
    "`x.max(1)`, `x.min(1)`, `torch.max(x, 1)`": largest,
    "`torch.max(x, y)`": larger,
    "`x.sort()`": sort,
    "`x.std()`, `x.var(1)`": spread,
    "`x.repeat(2, 3)`": repeat,
    "`x.squeeze(1)` of an axis with more than one element": squeeze,
    "`x.sum(0)`, `x.sort(0)`, … of a tensor without axes": no_axes,
    "`x.sum()`, `x.cumsum(0)`, `x.prod()` of uint8": unsigned,
    "`x.nonzero()`": nonzero,
    "`nn.Linear(a, b).weight`": weight,
    "`nn.init.kaiming_uniform_(w)`, `kaiming_normal_`, w a matrix": initial_weights,
    "`softmax(x)`, `log_softmax(x)` of three axes or more": softmaxes,
    "`softplus(x)`": softplus,
    "`x.max(1)`, `max_pool2d(x, 2)` with ties": ties,
    "hooks of a view that is written, `v = y[:1]; v.mul_(3)`": hooks_of_a_written_view,
    "`x.data`": data,
    "`meshgrid(a, b)`": meshgrid,
    "`equal(a, b)`": equal,
    "`a * s`, a of float16 and s of shape () and float32": widening,
    "`sign(x)` of nan": sign,
    "`x[1, :, i]` with an index tensor i of shape (n,)": mixed_index,
}
FUNCTIONS: dict[str, Callable[[], None]] = {
    "`tt.gelu(x)`": gelus,
    "`tt.linear(x, weight)`": linears,
    "`tt.embedding(a, b)`": embeddings,
    "`tt.layer_norm(x, a)`, `tt.rms_norm(x, a)`": norms,
    "`tt.rms_norm` without eps": epsilons,
    "`tt.cross_entropy`, `tt.nll_loss`": classes,
    "`tt.pad(x, (1, 2))`": pads,
    "`tt.scaled_dot_product_attention`": attentions,
    "`tt.softmax(x)`, `tt.log_softmax(x)`": softmaxes,
    "`tt.one_hot(x)`": one_hots,
    "`tt.unfold`": windows,
}
TABLES = {"| call | PyTorch | here |": ROWS, "| call | once | now |": FUNCTIONS}


@pytest.mark.parametrize("head", TABLES)
def test_each_row_of_the_document_has_its_test(head: str) -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition(head)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \| .+ \|$", table, re.M)
    assert [r for r in rows if r != "---"] == list(TABLES[head])


@pytest.mark.parametrize(("head", "row"), [(head, row) for head, rows in TABLES.items() for row in rows])
def test_a_row_says_what_happens_here(head: str, row: str) -> None:
    TABLES[head][row]()
