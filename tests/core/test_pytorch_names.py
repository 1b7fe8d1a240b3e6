"""Names and keywords of PyTorch: each is answered with one that is here."""

import copy
import enum
import importlib
import json
import math
import pickle
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import argument_errors as errors
from tinytensor import autograd
from tinytensor.argument_checks import with_argument_errors
from tinytensor.errors import ArgumentError, DTypeError, IndexRangeError, MissingNameError

x = tt.arange(6.0).reshape(2, 3)
m = tt.nn.Linear(3, 2)
TABLES: dict[str, tuple[dict[str, str], Any]] = {
    "x": (errors.METHODS, x), "tt": (errors.FUNCTIONS, tt), "nn": (errors.NN, tt.nn), "m": (errors.MODULE, m),
    "optim": (errors.OPTIM, tt.optim), "autograd": (errors.AUTOGRAD, autograd),
    "cuda": (errors.CUDA, tt.cuda), "backends": (errors.BACKENDS, tt.backends), "fft": (errors.FFT, tt.fft),
    "func": (errors.FUNC, tt.func), "linalg": (errors.LINALG, tt.linalg),
    "nn.utils": (errors.NN_UTILS, tt.nn.utils), "nn.attention": (errors.NN_ATTENTION, tt.nn.attention),
    "schedulers": (errors.SCHEDULERS, tt.optim.lr_scheduler), "utils": (errors.UTILS, tt.utils),
    "data": (errors.DATA, tt.utils.data),
}  # fmt: skip
NAMES = [(where, name) for where, (table, _) in TABLES.items() for name in table]


@pytest.mark.parametrize(("where", "name"), NAMES)
def test_a_name_is_answered_with_one_that_is_here(where: str, name: str) -> None:
    table, owner = TABLES[where]
    with pytest.raises(MissingNameError, match=re.escape(table[name])):
        getattr(owner, name)
    assert not hasattr(owner, name)
    for path in re.findall(r"\b(?:x|tt|m)(?:\.\w+)+", table[name].replace("m.name", "")):
        thing = {"x": x, "tt": tt, "m": m}[path.partition(".")[0]]
        for part in path.split(".")[1:]:
            thing = getattr(thing, part)


A, C = np.array([[1.5, -2.0], [4.0, 0.5]]), np.array([[2.0, 3.0], [-1.0, 1.0]])
OF_TWO = ["float_power", "fmax", "fmin", "fmod", "inner", "kron", "logaddexp2"]
OF_ONE = ["deg2rad", "exp2", "fliplr", "flipud", "isneginf", "isposinf", "nanmean", "nansum", "rad2deg"]
OF_ONE += ["rot90", "sinc"]


@pytest.mark.parametrize("name", OF_TWO + OF_ONE)
def test_an_expression_in_place_of_a_name_has_its_values(name: str) -> None:
    found = eval(errors.FUNCTIONS[name], {"tt": tt, "math": math, "x": tt.tensor(A), "y": tt.tensor(C)})
    np.testing.assert_allclose(found.numpy(), getattr(np, name)(*[A, C][: 1 + (name in OF_TWO)]))


def test_what_is_nowhere_stays_pythons_error() -> None:
    for owner in (tt, tt.nn, tt.optim, autograd, m, x, importlib.import_module("tinytensor.nn.functional")):
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'") as caught:
            _ = owner.no_such_name
        assert not isinstance(caught.value, MissingNameError)


@pytest.mark.parametrize(("owner", "name", "fix"), [
    (tt, "tensr", "did you mean tt.tensor?"), (tt.nn, "Linaer", "did you mean tt.nn.Linear?"),
    (tt.optim, "AdmaW", "did you mean tt.optim.AdamW?"),
    (tt.optim, "StepLR", "write tt.optim.lr_scheduler.StepLR"),
    (tt.nn.init, "xavier_normal", "did you mean tt.nn.init.xavier_normal_?"),
    (tt.optim.lr_scheduler, "StepRL", "did you mean tt.optim.lr_scheduler.StepLR?"),
    (tt, "set_float32_matmul_precision", "write tt.config.tf32 = True"),
    (tt.autograd, "forward_ad", "write tt.func.jvp"), (tt.cuda, "graph", "step = tt.capture("),
    (tt.linalg, "choleski", "did you mean tt.linalg.cholesky?"),
])  # fmt: skip
def test_a_misspelled_name_is_answered_with_a_similar_one(owner: object, name: str, fix: str) -> None:
    with pytest.raises(MissingNameError, match=re.escape(fix)):
        getattr(owner, name)
    assert not hasattr(owner, name)
    with pytest.raises(AttributeError, match="has no attribute '_tensor'"):
        _ = tt._tensor  # private names are not public ones


def test_completion_offers_only_what_is_there() -> None:
    assert not set(dir(x)) & set(errors.METHODS)
    assert {"sum", "ndim", "layout"} <= set(dir(x))


def test_functional_leads_to_the_functions() -> None:
    F = importlib.import_module("tinytensor.nn.functional")
    assert isinstance(F, types.ModuleType)
    assert F is tt.nn.functional
    with pytest.raises(MissingNameError, match=r"write tt\.einsum"):
        _ = F.einsum
    for name, ours in errors.FUNCTIONAL.items():
        with pytest.raises(MissingNameError, match=re.escape(ours)):
            getattr(F, name)


v, i = tt.tensor([1.0, 2.0]), tt.tensor([[2], [0]])
RENAMED: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {  # beside those of test_pytorch_calls.py
    "only one": (lambda: x.sum(axis=1, keepdim=True), lambda: x.sum(1, True)),
    "tensors": (lambda: tt.cat(tensors=[x, x], dim=1), lambda: tt.cat([x, x], 1)),
    "input": (lambda: tt.relu(input=x), lambda: x),
    "mat2": (lambda: tt.matmul(x.T, other=v), lambda: x.T @ v),
    "exponent": (lambda: tt.pow(x, exponent=2), lambda: x * x),
    "linspace": (lambda: tt.linspace(start=0, end=1, steps=3), lambda: tt.linspace(0, 1, 3)),
}


@pytest.mark.parametrize("case", RENAMED)
def test_a_keyword_of_pytorch_is_ours(case: str) -> None:
    theirs, ours = (call() for call in RENAMED[case])
    assert theirs.dtype is ours.dtype
    assert theirs.tolist() == ours.tolist()


def test_to_takes_pytorchs_arguments() -> None:
    for y in (
        x.to("cpu", tt.float64),
        x.to(dtype=tt.float64, device="cpu"),
        x.to(tt.zeros(1, dtype=tt.float64)),
    ):
        assert y.dtype is tt.float64
        assert y.tolist() == x.tolist()
    assert x.to(device="cpu", non_blocking=True) is x.to(dtype=tt.float32) is x
    assert not x.to("cpu", copy=True).shares_memory(x)
    assert x.to("emulated", tt.float16).to("cpu").tolist() == x.tolist()
    assert str(x.to("emulated", tt.float16).device) == "emulated"
    module = tt.nn.Linear(3, 2).to(device="cpu", dtype=tt.float64)
    assert module.weight.dtype is tt.float64
    assert module.to("cpu", tt.float32).weight.dtype is tt.float32


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "arange": (lambda: tt.arange(3, requires_grad=True), "arange: the argument requires_grad is not here",
               "tt.arange(..., dtype=tt.float32).requires_grad_()"),
    "eye": (lambda: tt.eye(3, requires_grad=True), "argument requires_grad", "tt.eye(..., dtype"),
    "relu": (lambda: tt.relu(x, requires_grad=True), "argument requires_grad", "x.requires_grad_(), where x"),
    "seed": (lambda: tt.manual_seed(1, requires_grad=True), "argument requires_grad", "where x is made"),
    "Adam": (lambda: tt.optim.Adam([v], 0.1, (0.9, 0.99)), "arguments after lr", "Adam(..., betas=...)"),
    "SGD": (lambda: tt.optim.SGD([v], 0.1, 0.9), "SGD: arguments after lr", "SGD(..., momentum=...)"),
    "linspace": (lambda: tt.linspace(0, 1, 3, requires_grad=True), "argument requires_grad", "tt.linspace("),
    **{f"{name}, {word}": (lambda name=name, word=word, value=value: getattr(tt, name)(x, **{word: value}),
                           f"{name}: the argument {word} is PyTorch's", fix)
       for name, word, value, fix in (
           ("max", "dim", 1, "x.argmax(axis=1)"), ("max", "other", x, "tt.maximum(x, y)"),
           ("min", "keepdim", True, "x.min(axis=1)"), ("sort", "dim", 1, "x.argsort(axis=1)"),
           ("std", "dim", 1, "x.std(axis=1, correction=1)"), ("var", "keepdim", True, "x.var(axis=1) by n"),
           ("equal", "other", x, "(x == y).all()"))},
    "alpha": (lambda: x.add(x, alpha=2), "add: the argument alpha", "y * alpha"),
    "right": (lambda: tt.searchsorted(v, v, right=True), "argument right", 'side="right"'),
    "twice": (lambda: x.sum(axis=0, dim=1), "sum: axis is given twice", "leave out dim"),
    "two tensors": (lambda: tt.max(x, v), "max: the axis is a tensor", "tt.maximum(x, y)"),
    "of a place": (lambda: x.max(tt.tensor(1)), "max: the axis is a tensor", "tt.maximum(x, y)"),
    "several numbers": (lambda: x.repeat(2, 1), "repeat: the numbers 2, 1", "x.tile((2, 1))"),
    "no shape": (lambda: tt.normal(3), "normal: there is no shape", "shape=()"),
}  # fmt: skip
F = tt.nn.functional
ABSENT: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any], str]] = {
    # the call, arguments that change nothing, arguments that are refused, and what to do instead of these
    "AdamW": (
        lambda **given: tt.optim.AdamW(m.parameters(), 0.5, **given).defaults,
        {"amsgrad": False, "maximize": False, "foreach": None, "fused": False, "capturable": False},
        {"amsgrad": True},
        "leave it out",
    ),
    "SGD": (lambda **given: tt.optim.SGD(m.parameters(), **given).defaults,
            {"differentiable": False, "fused": None}, {"maximize": True}, "(-loss).backward()"),
    "StepLR": (lambda **given: tt.optim.lr_scheduler.StepLR(tt.optim.SGD(m.parameters()), 2, **given).gamma,
               {"last_epoch": -1, "verbose": False}, {"last_epoch": 3}, "load_state_dict"),
    "LinearLR": (lambda **given: tt.optim.lr_scheduler.LinearLR(tt.optim.SGD([v]), **given).last_epoch,
                 {"verbose": "deprecated"}, {"verbose": True}, "get_last_lr()"),
    "searchsorted": (lambda **given: tt.searchsorted(v, v, **given).tolist(), {"out_int32": False},
                     {"out_int32": True}, "astype(tt.int32)"),
    "LSTM": (lambda **given: tt.nn.LSTM(2, 3, **given).num_parameters(), {"proj_size": 0}, {"proj_size": 2},
             "tt.nn.Linear"),
    "MultiheadAttention": (
        lambda **given: tt.nn.MultiheadAttention(4, 2, **given).num_heads,
        {"add_bias_kv": False, "add_zero_attn": False, "vdim": None}, {"kdim": 3}, "tt.nn.Linear"),
    "MSELoss": (lambda **given: repr(tt.nn.MSELoss(**given)), {"size_average": None}, {"reduce": False},
                "reduction="),
    "embedding": (lambda **given: F.embedding(i, x.T, **given).tolist(), {"max_norm": None, "sparse": False},
                  {"max_norm": 1.0}, "too long"),
    "sum": (lambda **given: tt.sum(x, dim=1, **given).tolist(), {"out": None}, {"out": x}, "y.copy_(sum("),
    "arange": (lambda **given: tt.arange(3, **given).tolist(), {"requires_grad": False},
               {"requires_grad": True}, "dtype="),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_an_argument_of_pytorch_that_is_not_here_may_have_its_default(name: str) -> None:
    call, idle, refused, fix = ABSENT[name]
    assert call(**idle) == call()
    with pytest.raises(ArgumentError) as caught:
        call(**refused)
    assert caught.value.what == f"{name}: the argument {next(iter(refused))} is not here"
    assert fix in caught.value.fix


@pytest.mark.parametrize("case", REFUSED)
def test_a_call_that_means_something_else_is_an_error(case: str) -> None:
    call, what, fix = REFUSED[case]
    with pytest.raises(ArgumentError) as caught:
        call()
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_a_function_runs_once() -> None:
    """Also if it fails with a TypeError of its own."""
    calls = []

    @with_argument_errors
    def reads(x: Any, dim: Any = None, axis: Any = None) -> None:
        calls.append((x, dim, axis))
        raise TypeError("of its own")

    @with_argument_errors
    def renamed(x: Any, axis: Any = None) -> None:
        calls.append((x, axis))
        raise TypeError("of its own")

    for function in (reads, renamed):
        with pytest.raises(TypeError, match="of its own"):
            function(1, dim=2)
    assert calls == [(1, 2, None), (1, 2)]


def test_the_operand_of_another_dtype_is_named() -> None:
    with pytest.raises(DTypeError) as caught:
        m(x.astype(tt.float64))
    assert caught.value.what == "linear: inputs have dtypes x float64, weight float32, bias float32"
    assert caught.value.fix == "cast x with .astype(tt.float32)"
    with pytest.raises(DTypeError, match=r"cast weight with \.astype\(tt\.float32\)"):
        tt.linear(x, m.weight.astype(tt.float64), m.bias)


def test_other_wrong_calls_stay_pythons_errors() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        x.sum(colour=1)
    with pytest.raises(TypeError, match="missing"):
        tt.softmax()


def test_a_count_of_elements_is_an_integer_that_can_be_called() -> None:
    y = tt.ones(2, 3, 4)
    assert isinstance(y.size, int)
    assert (y.size, y.numel(), tt.numel(y), str(y.size), json.dumps(y.size)) == (24, 24, 24, "24", "24")
    assert (y.size(), y.size(0), y.size(-1), y.size(dim=1)) == ((2, 3, 4), 2, 4, 3)
    assert (tt.ones(()).size(), tt.ones(()).size, tt.ones(()).numel()) == ((), 1, 1)
    assert (y / y.size).dtype is tt.float32
    assert np.zeros(y.size).shape == y.reshape(y.size).shape == (24,)
    assert copy.deepcopy(y.size) == pickle.loads(pickle.dumps(y.size)) == 24
    with pytest.raises(IndexRangeError, match="size: axis 3"):
        y.size(3)


def test_names_of_autograd_and_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Function", "detect_anomaly", "grad", "gradcheck", "gradgradcheck"):
        assert getattr(autograd, name) is getattr(tt, name)
    assert not tt.backends.mps.is_available()
    assert not tt.backends.mps.is_built()
    tt.backends.cuda.matmul.allow_tf32 = False
    monkeypatch.setattr(tt.config, "tf32", False)
    tt.backends.cuda.matmul.allow_tf32 = True
    assert tt.config.tf32 is True
    with pytest.raises(ArgumentError, match="tf32"):
        tt.backends.cuda.matmul.allow_tf32 = 1
    assert tt.backends.cuda.matmul.allow_tf32 is True
    with pytest.raises(MissingNameError, match=r"tt\.backends\.cudnn: .*"):
        tt.backends.cudnn.benchmark = True


def test_a_module_is_cast_and_moved_by_pytorchs_names() -> None:
    module = tt.nn.Linear(3, 2)
    for name, dtype in (
        ("half", tt.float16),
        ("bfloat16", tt.bfloat16),
        ("double", tt.float64),
        ("float", tt.float32),
    ):
        assert getattr(module, name)().weight.dtype is dtype
    assert str(module.cuda("emulated").weight.device) == "emulated"
    assert str(module.cpu().weight.device) == "cpu"


def test_an_enum_of_integers_is_a_number() -> None:
    side = enum.IntEnum("side", {"left": 2})
    assert (x * side.left).tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]
    square, mask = tt.zeros(3, 3), tt.tensor([True, False, False])
    assert square.copy_(tt.masked_fill(square, mask, 1.0)).tolist() == [[1.0, 0.0, 0.0]] * 3
    square[mask.expand(3, 3)] = (
        2.0  # square.masked_fill_(mask, 2.0): a mask is repeated along new axes in front
    )
    assert square.tolist() == [[2.0, 0.0, 0.0]] * 3
