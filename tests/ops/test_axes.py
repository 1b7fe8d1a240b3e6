"""An axis out of range in every function that takes one: an IndexError, as in NumPy and the array API."""

import inspect
from collections.abc import Callable

import pytest

import tinytensor as tt

X = tt.ones(2, 3, 4)
INDEX = tt.zeros(2, 3, 4, dtype=tt.int64)
NAMES = ("axis", "axes", "axis1", "dim", "start_dim")
MOVES = ["moveaxis", "movedim"]  # whose axes are source and destination
PLACES = tt.arange(2)
# functions that take more than x and the axis
CALLS: dict[str, Callable[[int], object]] = {
    "amax": lambda axis: tt.amax(X, axis),
    "amin": lambda axis: tt.amin(X, axis),
    "cat": lambda axis: tt.cat([X, X], axis),
    "chunk": lambda axis: tt.chunk(X, 2, axis),
    "concat": lambda axis: tt.concat([X, X], axis),
    "concatenate": lambda axis: tt.concatenate([X, X], axis),
    "diagonal": lambda axis: tt.diagonal(X, 0, axis, 1),
    "flatten": lambda axis: tt.flatten(X, axis),
    "gather": lambda axis: tt.gather(X, axis, INDEX),
    "index_select": lambda axis: tt.index_select(X, axis, tt.arange(2)),
    "index_add": lambda axis: tt.index_add(X, axis, PLACES, X[:, :2]),
    "moveaxis": lambda axis: tt.moveaxis(X, axis, 0),
    "movedim": lambda axis: tt.movedim(X, axis, 0),
    "narrow": lambda axis: tt.narrow(X, axis, 0, 1),
    "permute": lambda axis: tt.permute(X, 0, 1, axis),
    "permute_dims": lambda axis: tt.permute_dims(X, (0, 1, axis)),
    "quantile": lambda axis: tt.quantile(X, 0.5, axis),
    "repeat": lambda axis: tt.repeat(X, 2, axis=axis),
    "repeat_interleave": lambda axis: tt.repeat_interleave(X, 2, axis),
    "roll": lambda axis: tt.roll(X, 1, axis),
    "scatter": lambda axis: tt.scatter(X, axis, INDEX, X),
    "scatter_add": lambda axis: tt.scatter_add(X, axis, INDEX, X),
    "select": lambda axis: tt.select(X, axis, 0),
    "split": lambda axis: tt.split(X, 2, axis),
    "stack": lambda axis: tt.stack([X, X], axis),
    "swapaxes": lambda axis: tt.swapaxes(X, 0, axis),
    "take": lambda axis: tt.take(X, tt.arange(2), axis),
    "take_along_axis": lambda axis: tt.take_along_axis(X, INDEX, axis),
    "tensordot": lambda axis: tt.tensordot(X, X, ((axis,), (0,))),
    "topk": lambda axis: tt.topk(X, 1, axis),
    "trace": lambda axis: tt.trace(X, 0, axis, 1),
    "transpose": lambda axis: tt.transpose(X, 0, axis),
    "unflatten": lambda axis: tt.unflatten(X, axis, (2, -1)),
    "vecdot": lambda axis: tt.vecdot(X, X, axis=axis),
}


def _takes_axis() -> list[str]:
    functions = {name: getattr(tt, name) for name in tt.__all__}
    functions = {name: f for name, f in functions.items() if inspect.isfunction(f)}
    return MOVES + [
        name for name, f in functions.items() if any(p in inspect.signature(f).parameters for p in NAMES)
    ]


def _by_keyword(name: str, axis: int) -> object:
    function = getattr(tt, name)
    word = next(p for p in NAMES if p in inspect.signature(function).parameters)
    return function(X, **{word: axis})


def test_the_table_is_of_use() -> None:
    assert len(_takes_axis()) >= 36
    assert set(CALLS) <= set(_takes_axis())


@pytest.mark.parametrize("axis", [4, -5, 2**70])
@pytest.mark.parametrize("name", _takes_axis())
def test_an_axis_out_of_range_is_an_index_error(name: str, axis: int) -> None:
    call = CALLS.get(name, lambda axis: _by_keyword(name, axis))
    with pytest.raises(tt.IndexRangeError, match=f"^{name}: axis {axis}|: axis .* out of range") as caught:
        call(axis)
    assert isinstance(caught.value, IndexError)
    assert isinstance(caught.value, ValueError)  # as NumPy's AxisError, which is both
