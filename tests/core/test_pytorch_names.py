"""Names and keywords of PyTorch: each is answered with one that is here."""

import enum
import importlib
import re
import types

import pytest

import tinytensor as tt
from tinytensor import autograd
from tinytensor.argument_errors import AUTOGRAD, FUNCTIONAL, FUNCTIONS, METHODS, MODULE, NN, OPTIM
from tinytensor.errors import ArgumentError, DTypeError, MissingNameError

x = tt.arange(6.0).reshape(2, 3)
TABLES = {"x": (METHODS, x), "tt": (FUNCTIONS, tt), "nn": (NN, tt.nn), "optim": (OPTIM, tt.optim)}
m = tt.nn.Linear(3, 2)
TABLES |= {"autograd": (AUTOGRAD, autograd), "m": (MODULE, m)}
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


def test_what_is_nowhere_stays_pythons_error() -> None:
    for owner in (tt, tt.nn, tt.optim, autograd, m, x, importlib.import_module("tinytensor.nn.functional")):
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'") as caught:
            _ = owner.no_such_name
        assert not isinstance(caught.value, MissingNameError)


@pytest.mark.parametrize(("owner", "name", "fix"), [
    (tt, "tensr", "did you mean tt.tensor?"), (tt.nn, "Linaer", "did you mean tt.nn.Linear?"),
    (tt.optim, "AdmaW", "did you mean tt.optim.AdamW?"),
])  # fmt: skip
def test_a_misspelled_name_is_answered_with_a_similar_one(owner: object, name: str, fix: str) -> None:
    with pytest.raises(MissingNameError, match=re.escape(fix)):
        getattr(owner, name)
    assert not hasattr(owner, name)
    with pytest.raises(AttributeError, match="has no attribute '_tensor'"):
        _ = tt._tensor  # private names are not public ones


def test_completion_offers_only_what_is_there() -> None:
    assert not set(dir(x)) & set(METHODS)
    assert {"sum", "ndim", "layout"} <= set(dir(x))


def test_functional_leads_to_the_functions() -> None:
    F = importlib.import_module("tinytensor.nn.functional")
    assert isinstance(F, types.ModuleType)
    assert F is tt.nn.functional
    with pytest.raises(MissingNameError, match=r"write tt\.einsum"):
        _ = F.einsum
    for name, ours in FUNCTIONAL.items():
        with pytest.raises(MissingNameError, match=re.escape(ours)):
            getattr(F, name)


KEYWORDS = {
    "method": (lambda: x.mean(dim=1), "mean: there is no argument dim", "write axis=1"),
    "two": (lambda: x.sum(dim=1, keepdim=True), "dim, keepdim", "write axis=1, keepdims=True"),
    "only one": (lambda: x.sum(axis=1, keepdim=True), "argument keepdim", "write keepdims=True"),
    "function": (lambda: tt.softmax(x, dim=-1), "softmax: there is no argument dim", "write axis=-1"),
    "list": (lambda: tt.stack([x, x], dim=0), "stack: there is no argument dim", "write axis=0"),
    "view": (lambda: x.unsqueeze(dim=0), "unsqueeze: there is no argument dim", "write axis=0"),
    "numbered": (lambda: x.transpose(dim0=0, dim1=1), "dim0, dim1", "write x, axis1, axis2"),
    "triangle": (lambda: tt.triu(x, diagonal=1), "triu: there is no argument diagonal", "write k=1"),
    "unbiased": (lambda: x.var(unbiased=False), "var: there is no argument unbiased", "write correction=0"),
    "size": (lambda: tt.randint(0, 5, size=(2, 3)), "argument size", "write shape=(2, 3)"),
    "sizes": (lambda: tt.rand(size=(2, 3)), "argument size", "write *(2, 3)"),
    "arange": (
        lambda: tt.arange(3, requires_grad=True),
        "arange: there is no argument requires_grad",
        "tt.arange(..., dtype=tt.float32).requires_grad_()",
    ),
    "eye": (lambda: tt.eye(3, requires_grad=True), "argument requires_grad", "tt.eye(..., dtype"),
    "linspace": (lambda: tt.linspace(0, 1, 3, requires_grad=True), "argument requires_grad", "tt.linspace("),
    "tensor": (lambda: tt.relu(input=x), "relu: there is no argument input", "write x"),
}


@pytest.mark.parametrize("case", KEYWORDS)
def test_a_keyword_is_answered_with_ours(case: str) -> None:
    call, what, fix = KEYWORDS[case]
    with pytest.raises(ArgumentError) as caught:
        call()
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_what_is_written_in_place_of_another_name_works() -> None:
    assert tt.rand(*(2, 3)).shape == tt.randint(0, 5, shape=(2, 3)).shape == (2, 3)
    assert m.to(tt.float64).weight.dtype is tt.float64
    assert m.to(tt.float32).to("cpu").weight.dtype is tt.float32
    y = tt.arange(6.0).reshape(2, 3)
    rows, index = tt.tensor([[0], [1]]), tt.tensor([[2, 0], [1, 2]])
    y[rows, index] = tt.tensor([[7.0, 8.0], [9.0, 10.0]])
    assert y.tolist() == [[8.0, 1.0, 7.0], [3.0, 9.0, 10.0]]  # y.scatter_(1, index, given)


def test_an_axis_in_front_of_the_index() -> None:
    with pytest.raises(ArgumentError, match=r"write x\.gather\(index, 1\)"):
        x.gather(1, tt.tensor([[0], [1]]))  # type: ignore[arg-type]


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


def test_a_count_of_elements_is_pythons_integer() -> None:
    """A class of its own could answer `x.size()`, and would send `y / x.size` down a slower road."""
    assert type(x.size) is type(x.numel) is int


def test_an_enum_of_integers_is_a_number() -> None:
    side = enum.IntEnum("side", {"left": 2})
    assert (x * side.left).tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]
    square, mask = tt.zeros(3, 3), tt.tensor([True, False, False])
    assert square.copy_(tt.masked_fill(square, mask, 1.0)).tolist() == [[1.0, 0.0, 0.0]] * 3
    square[mask.expand(3, 3)] = (
        2.0  # square.masked_fill_(mask, 2.0): a mask is repeated along new axes in front
    )
    assert square.tolist() == [[2.0, 0.0, 0.0]] * 3
