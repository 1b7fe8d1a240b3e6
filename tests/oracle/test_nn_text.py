"""Modules by the text that makes them in both libraries: state, results, gradients and initial weights."""

import inspect
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6))
PAIR = RNG.normal(size=(4, 6))
SHARES, CLASSES = RNG.uniform(0.1, 0.9, size=(4, 6)), np.array([2, 0, 5, 1])
IMAGE, SEQUENCE = RNG.normal(size=(2, 4, 6, 8)), RNG.normal(size=(5, 2, 3))
IDS = np.array([[0, 3], [3, 6]])
Q, KV, ONE = RNG.normal(size=(4, 2, 8)), RNG.normal(size=(5, 2, 8)), RNG.normal(size=(4, 8))
LAYER = "nn.TransformerEncoderLayer(8, 2, 16, 0.1"
DECODER = "nn.TransformerDecoderLayer(8, 2, 16, 0.1"
WEIGHT = "torch.arange(1.0, 7.0, dtype=torch.float64)"

# One module a line; the input is that above the lines.
ON_X = """
nn.ReLU()
nn.ReLU6()
nn.LeakyReLU()
nn.LeakyReLU(0.2)
nn.ELU(0.5)
nn.SELU()
nn.GELU()
nn.GELU('tanh')
nn.SiLU()
nn.Mish()
nn.Softsign()
nn.Sigmoid()
nn.Hardtanh(-0.5, 0.7)
nn.Hardswish()
nn.LogSigmoid()
nn.Tanh()
nn.Softmax(1)
nn.LogSoftmax(dim=0)
nn.GLU()
nn.Identity(54, unused=True)
nn.Flatten(0)
nn.Dropout(0.0)
nn.Unflatten(1, (2, 3))
nn.LayerNorm(6)
nn.LayerNorm((4, 6), elementwise_affine=False)
nn.LayerNorm([6], 1e-3, True, False)
nn.RMSNorm(6)
nn.RMSNorm((4, 6), 1e-3)
nn.BatchNorm1d(6)
nn.BatchNorm1d(6, affine=False)
nn.BatchNorm1d(6, momentum=None)
nn.BatchNorm1d(6, track_running_stats=False)
nn.BatchNorm1d(6).eval()
nn.GroupNorm(2, 6)
nn.GroupNorm(3, 6, 1e-3, False)
"""
ON_IMAGE = """
nn.BatchNorm2d(4, 1e-3, 0.3)
nn.Dropout2d(0.4).eval()
nn.Unfold(2, stride=2)
nn.Conv2d(4, 6, 3)
nn.Conv2d(4, 6, 3, 2, 1)
nn.Conv2d(4, 6, (3, 5), (1, 2), (0, 1), 1, 2, False)
nn.Conv2d(4, 2, 3, padding='same', padding_mode='reflect')
nn.Flatten(1, 2)
nn.Conv2d(4, 2, 3, padding=(1, 2), padding_mode='circular')
nn.ConvTranspose2d(4, 2, 3)
nn.ConvTranspose2d(4, 6, (3, 2), 2, 1, 1, 2)
nn.ConvTranspose2d(4, 2, 3, 3, dilation=2, bias=False)
nn.MaxPool2d(2)
nn.MaxPool2d(3, 2, 1)
nn.AvgPool2d(2, 1)
nn.AdaptiveAvgPool2d((3, None))
nn.AvgPool2d(3, 2, 1, count_include_pad=False)
nn.AdaptiveAvgPool2d(4)
"""
ON_SEQUENCE = """
nn.RNN(3, 4)
nn.RNN(3, 4, 2, 'relu', bias=False)
nn.RNN(3, 4, batch_first=True)
nn.LSTM(3, 4)
nn.LSTM(3, 4, 3, bidirectional=True)
nn.LSTM(3, 4, bias=False, batch_first=True)
nn.GRU(3, 4)
nn.GRU(3, 4, 2, dropout=0.5, bidirectional=True).eval()
nn.GRU(3, 4, bias=False)
nn.Conv1d(2, 4, 2)
nn.Conv1d(2, 4, 2, 1, 1, padding_mode='replicate')
nn.MaxPool1d(2, 1)
nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1)
nn.AvgPool1d(2)
nn.BatchNorm1d(2)
nn.AdaptiveAvgPool1d(2)
"""

# The text of a module, and its inputs.
MODULES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(ON_X.split("\n")[1:-1], (X,)),
    **dict.fromkeys(ON_IMAGE.split("\n")[1:-1], (IMAGE,)),
    **dict.fromkeys(ON_SEQUENCE.split("\n")[1:-1], (SEQUENCE,)),
    "nn.LSTM(3, 4, 1)": (SEQUENCE, (RNG.normal(size=(1, 2, 4)), RNG.normal(size=(1, 2, 4)))),
    "nn.GRU(3, 4, 1)": (SEQUENCE[:, 0], RNG.normal(size=(1, 4))),
    "nn.LSTM(3, 4, bidirectional=True)": (SEQUENCE[:, 0],),
    "nn.RNNCell(3, 4, nonlinearity='relu')": (SEQUENCE[0], RNG.normal(size=(2, 4))),
    "nn.LSTMCell(3, 4)": (SEQUENCE[0], (RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4)))),
    "nn.GRUCell(3, 4, False)": (SEQUENCE[0, 0],),
    "nn.RNNCell(3, 4)": (SEQUENCE[0],),
    "nn.Embedding(7, 3)": (IDS,),
    "nn.Embedding(7, 3, padding_idx=-4)": (IDS,),
    "nn.Embedding.from_pretrained(torch.ones(7, 2), padding_idx=0)": (IDS,),
    "nn.CosineSimilarity()": (X, PAIR),
    "nn.Linear(6, 4)": (X,),
    "nn.Linear(6, 4, bias=False)": (X[0],),
    "nn.Linear(3, 8)": (SEQUENCE,),
    "nn.Sequential(nn.Linear(6, 8), nn.GELU('tanh'), nn.LayerNorm(8), nn.Linear(8, 2))": (X,),
    **{
        f"nn.{loss}({options})": inputs
        for loss, inputs, more in [
            ("MSELoss", (X, PAIR), ["reduction='none'"]),
            ("L1Loss", (X, PAIR), ["reduction='sum'"]),
            ("SmoothL1Loss", (X, PAIR), ["beta=0.5"]),
            ("HuberLoss", (X, PAIR), ["'sum', 0.5"]),
            ("BCELoss", (SHARES, SHARES[::-1].copy()), [WEIGHT]),
            ("BCEWithLogitsLoss", (X, SHARES), [WEIGHT, f"pos_weight={WEIGHT}"]),
            ("CrossEntropyLoss", (X, CLASSES), [WEIGHT, "label_smoothing=0.1", "reduction='none'"]),
            ("CrossEntropyLoss", (X, SHARES), ["label_smoothing=0.2, reduction='sum'"]),
            ("NLLLoss", (X, CLASSES), [WEIGHT, "ignore_index=0, reduction='sum'"]),
            ("KLDivLoss", (X, SHARES), ["reduction='batchmean'", "log_target=True"]),
        ]
        for options in ["", *more]
    },
}  # fmt: skip


TRANSFORMERS: dict[str, tuple[Any, ...]] = {
    "nn.MultiheadAttention(8, 2)": (Q, KV, KV),
    "nn.MultiheadAttention(8, 2, bias=False)": (ONE, ONE, ONE),
    "nn.MultiheadAttention(8, 4, 0.3, batch_first=True).eval()": (KV, KV, KV),
    LAYER + ").eval()": (Q,),
    LAYER + ", 'gelu', norm_first=True, batch_first=True).eval()": (Q,),
    LAYER + ", bias=False).eval()": (ONE,),
    "nn.TransformerEncoder(" + LAYER + "), 2, norm=nn.LayerNorm(8)).eval()": (Q,),
    DECODER + ").eval()": (Q, KV),
    DECODER + ", 'gelu', norm_first=True, batch_first=True, bias=False).eval()": (KV, KV),
    "nn.TransformerDecoder(" + DECODER + "), 2, norm=nn.LayerNorm(8)).eval()": (Q, KV),
    "nn.Transformer(8, 2, 2, 2, 16).eval()": (KV, Q),
    "nn.Transformer(8, 4, 1, 2, 16, norm_first=True, batch_first=True, bias=False).eval()": (Q, Q),
}


def made(text: str, ours: bool) -> Any:
    """The module of a text, in float64."""
    lib: Any = tt if ours else torch
    module = eval(text, {"nn": lib.nn, "torch": lib})
    return module.to(lib.float64)


def tensors(inputs: Any, lib: Any) -> Any:
    """Inputs as tensors; floating ones require gradients."""
    if isinstance(inputs, tuple):
        return tuple([tensors(x, lib) for x in inputs])
    return lib.tensor(inputs, requires_grad=inputs.dtype == np.float64)


def flat(value: Any) -> list[Any]:
    return [t for v in value for t in flat(v)] if isinstance(value, tuple) else [value]


def array(tensor: Any) -> Any:
    return tensor.detach().numpy()


def turned(module: Any) -> set[str]:
    """Names of PyTorch's matrices that stand here transposed: those of Linear."""
    linear = [path for path, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
    return {f"{path}.weight" if path else "weight" for path in linear}


def state_of(module: Any) -> dict[str, Any]:
    """PyTorch's weights and buffers as ours."""
    transposed = turned(module)
    state = {name: array(t).copy() for name, t in module.state_dict().items()}
    return {name: a.T if name in transposed else a for name, a in state.items()}


def close(ours: Any, theirs: Any, what: str) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11, err_msg=what)


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of odd but valid options
@pytest.mark.parametrize(("text", "inputs"), [*MODULES.items(), *TRANSFORMERS.items()])
def test_the_same_text_makes_the_same_module(text: str, inputs: tuple[Any, ...]) -> None:
    ours, theirs = made(text, ours=True), made(text, ours=False)
    state, transposed = state_of(theirs), turned(theirs)
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in state.items()}
    ours.load_state_dict(state)
    mine, other = tensors(inputs, tt), tensors(inputs, torch)
    ys, us = flat(ours(*mine)), flat(theirs(*other))
    assert len(ys) == len(us)
    rng = np.random.default_rng(1)
    for y, u in zip(ys, us, strict=True):
        close(array(y), array(u), "result")
    if us[0].requires_grad:
        weights = [rng.normal(size=tuple(u.shape)) for u in us]
        tt.stack([(y * tt.tensor(w)).sum() for y, w in zip(ys, weights, strict=True)]).sum().backward()
        sum([(u * torch.tensor(w)).sum() for u, w in zip(us, weights, strict=True)]).backward()
        for x, t in zip(flat(mine), flat(other), strict=True):
            if t.requires_grad and t.grad is not None:
                close(array(x.grad), array(t.grad), "gradient of an input")
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if q.grad is not None:
            close(array(p.grad), array(q.grad).T if name in transposed else array(q.grad), name)
    for (name, b), (other_name, c) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert name == other_name
        close(array(b), array(c), name)


WEIGHTS = [
    *("nn.Linear(200, 300)", "nn.Conv1d(20, 400, 9, groups=2)", "nn.Conv2d(20, 400, 5)"),
    *("nn.Embedding(300, 40)", "nn.ConvTranspose2d(20, 400, 5)", "nn.ConvTranspose1d(20, 400, 9)"),
    *("nn.LSTM(50, 60, 2)", "nn.GRUCell(90, 80)", "nn.RNN(60, 400, bidirectional=True)"),
    *("nn.BatchNorm2d(5)", "nn.GroupNorm(1, 4)"),
]


def deciles_agree(ours: Any, theirs: Any, within: float, what: str) -> None:
    deciles = np.linspace(0.05, 0.95, 10)
    found, expected = np.quantile(ours, deciles), np.quantile(theirs, deciles)
    np.testing.assert_allclose(found, expected, atol=within * max(theirs.std(), 1e-9), err_msg=what)


@pytest.mark.parametrize("text", WEIGHTS)
def test_initial_weights_have_the_same_distribution(text: str) -> None:
    torch.manual_seed(0)
    tt.manual_seed(0)
    ours, theirs = ({n: array(t).ravel() for n, t in made(text, o).named_parameters()} for o in (True, False))
    for name, w in theirs.items():
        deciles_agree(ours[name], w, 0.05 if w.size > 5000 else 0.5, name)  # biases are few
        assert np.abs(ours[name]).max() <= 1.3 * np.abs(w).max(), name


# Arguments that one of the two libraries lacks, in all modules and in some.
LESS = {"size_average", "reduce", "device", "dtype", "generator"}
ALSO_LESS = {
    "Embedding": {"max_norm", "norm_type", "scale_grad_by_freq", "sparse", "_weight", "_freeze"},
    "Hardtanh": {"min_value", "max_value"},
    "ConvTranspose1d": {"padding_mode"},
    "ConvTranspose2d": {"padding_mode"},
    "Upsample": {"recompute_scale_factor"},
    **{key: {"ceil_mode", "divisor_override"} for key in ("AvgPool1d", "AvgPool2d")},
    **{key: {"dilation", "return_indices", "ceil_mode"} for key in ("MaxPool1d", "MaxPool2d")},
    "Softplus": {"beta", "threshold"},
    **{key: {"dtype"} for key in ("Softmax", "LogSoftmax")},
    "LayerNorm": {"narrow"},
    "RMSNorm": {"narrow"},
}
NAMES = sorted({text[3:].partition("(")[0].partition(".")[0] for text in MODULES})


@pytest.mark.parametrize("name", NAMES)
def test_arguments_have_the_names_order_and_defaults_of_pytorch(name: str) -> None:
    less = LESS | ALSO_LESS.get(name, set())
    ours, theirs = (inspect.signature(getattr(lib.nn, name)).parameters for lib in (tt, torch))
    if "args" in theirs:
        return  # the texts above call ours by position
    mine, other = (
        {{"axis": "dim"}.get(n, n): p.default for n, p in ps.items() if n not in {*less, "inplace"}}
        for ps in (ours, theirs)
    )
    assert list(mine) == list(other)
    assert all(mine[n] == default for n, default in other.items())


# ---- masks ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_masks_of_a_transformer():
    theirs = torch.nn.Transformer(8, 2, 1, 1, 16).double().eval()
    ours = nn.Transformer(8, 2, 1, 1, 16).to(tt.float64).eval()
    ours.load_state_dict(state_of(theirs))
    padding, memory = np.array([[False] * 4 + [True], [False] * 5]), RNG.random((4, 5)) < 0.3
    masks = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding, "memory_mask": memory}
    squares, found = [], []
    for lib, layers, model in ((tt, nn, ours), (torch, torch.nn, theirs)):
        square = layers.Transformer.generate_square_subsequent_mask(4)
        given = {"tgt_mask": square < 0, **{name: lib.tensor(mask) for name, mask in masks.items()}}
        squares.append(square.numpy())
        found.append(model(lib.tensor(KV), lib.tensor(Q), **given).detach().numpy())
    np.testing.assert_array_equal(*squares)
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-11)


MASKS = [
    {"attn_mask": np.triu(np.ones((4, 5), bool), 2)},
    {"attn_mask": RNG.normal(size=(4, 5))},
    {"attn_mask": RNG.random((4, 4, 5)) < 0.3, "average_attn_weights": False},
    {"key_padding_mask": np.array([[False] * 4 + [True], [False] * 5])},
    {
        "key_padding_mask": np.array([[0.0] * 4 + [-np.inf], [0.0] * 5]),
        "attn_mask": RNG.normal(size=(4, 4, 5)),
    },
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


INITS = """
kaiming_normal_(w) 300 200
kaiming_uniform_(w, nonlinearity="relu") 300 200
kaiming_normal_(w, a=0.3, mode="fan_out") 100 50 3 3
kaiming_normal_(w, mode="fan_out", nonlinearity="tanh") 100 50 3 3
orthogonal_(w) 300 200
orthogonal_(w) 50 40 3 3
uniform_(w) 300 200
xavier_normal_(w) 300 200
xavier_uniform_(w) 100 50 3 3
trunc_normal_(w) 300 200
"""


@pytest.mark.parametrize("row", INITS.split("\n")[1:-1])
def test_initial_values_have_the_same_distribution(row):
    text, shape = row[: row.rindex(")") + 1], [int(n) for n in row[row.rindex(")") + 1 :].split()]
    torch.manual_seed(0)
    tt.manual_seed(0)
    mine = eval(f"init.{text}", {"init": nn.init, "w": tt.empty(shape)}).numpy().ravel()
    theirs = torch.empty(shape[::-1] if len(shape) == 2 else shape)  # (out, in)
    other = eval(f"init.{text}", {"init": torch.nn.init, "w": theirs}).numpy().ravel()
    deciles_agree(mine, other, 0.03, row)
    assert mine.std() == pytest.approx(other.std(), rel=0.01)


@pytest.mark.parametrize(
    "name", ["linear", "conv1d", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
)
def test_gains(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
