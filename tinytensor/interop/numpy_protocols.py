"""NumPy's functions of tensors: np.exp(x), np.multiply(x, y), np.concatenate([x, y]) or np.mean(x, axis=0).

NumPy asks an argument that has `__array_ufunc__` or `__array_function__` to compute its functions. A call
whose operands are tensors and numbers, and whose function and options have the same names here, is computed
by the op of this name: the result is a tensor, and gradients are recorded. In other calls, such as
np.percentile(x, 50), np.cbrt(x) or np.concatenate([array, x]), NumPy computes with arrays and returns arrays.
Elementwise functions refuse arrays among their operands, as operators do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinytensor.device import cpu
from tinytensor.errors import DeviceError, DTypeError
from tinytensor.interop.namespaces import namespaces
from tinytensor.ops.joining.padding import pad
from tinytensor.ops.reductions.scan import cumulative_prod, cumulative_sum
from tinytensor.tensor import Tensor

# Names that mean something else here, or give no tensor.
_OTHERWISE = {"can_cast", "dot", "linspace", "pad", "result_type", "save", "select", "split", "transpose"}
# PyTorch's functions may mean something else than NumPy's of the same name (median); these mean the same.
_PYTORCH = "tinytensor.interop.pytorch"
_AS_IN_NUMPY = {
    *("amax", "amin", "argwhere", "diag", "hstack", "nan_to_num", "nonzero", "ravel", "unique", "vstack"),
}
# NumPy's options under a name of ours, where the function here has no option of NumPy's name.
_RENAMED = {"a_max": "max", "a_min": "min", "ddof": "correction", "x": "a", "y": "b"}  # x and y: of where


def ufunc(x: Tensor, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """`__array_ufunc__`: an elementwise function of NumPy, with a tensor among its inputs.

    NumPy also computes `array + x` by it, as np.add(array, x), so arrays are refused here as in `x + array`.
    """
    if not all([_known(type(value)) for value in inputs]):
        return NotImplemented
    name = f"np.{function.__name__}" + ("" if method == "__call__" else f".{method}")
    _check_out(name, inputs, options.get("out", ()))
    operands = [_no_array(value, name) for value in inputs]
    ours = _table().get(function)
    if ours is not None and method == "__call__" and not options:
        _check_devices(inputs, function)
        return ours(*operands)
    arrays, named = _with_arrays((operands, options))
    return getattr(function, method)(*arrays, **named)


def _check_out(name: str, inputs: tuple[Any, ...], out: tuple[Any, ...]) -> None:
    """Raise DTypeError for `array += x`, and for a tensor as `out`: autograd would not see the write."""
    if any([value is array for value in inputs for array in out if isinstance(array, np.ndarray)]):
        raise DTypeError(
            f"{name}: a tensor would change a NumPy array in place, as in `a += x`",
            why="operators do not mix arrays and tensors",
            fix="a += x.numpy(), or a = tt.asarray(a) + x",
        )
    if any([isinstance(value, Tensor) for value in out]):
        raise DTypeError(
            f"{name}: out is a tensor",
            why="autograd would not see that NumPy writes to it",
            fix=f"x.copy_({name}(…))",
        )


def _no_array(value: Any, name: str) -> Any:
    """An operand that is no array. One without axes is a number: NumPy makes it of np.float32(1) < x."""
    if not isinstance(value, np.ndarray):
        return value
    if not value.shape:
        return value[()]
    raise DTypeError(
        f"{name}: a NumPy array of shape {value.shape} is combined with a tensor",
        why="arrays are not converted to tensors implicitly",
        fix="make it a tensor first: tt.asarray(array)",
    )


def function(
    x: Tensor, function: Any, types: Iterable[type], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`__array_function__`: any other function of NumPy, with a tensor among its arguments."""
    if not all(_known(kind) for kind in types):
        return NotImplemented
    ours = _table().get(function)
    found = None if ours is None else _arguments(function, ours, args, kwargs)
    if ours is None or found is None or _has_array(found):
        arrays, named = _with_arrays((args, kwargs))
        return function._implementation(*arrays, **named)  # which does not ask again
    operands, options = found
    _check_devices([*operands, *options.values()], function)
    return ours(*operands, **options)


def _known(kind: type) -> bool:
    """Whether arguments of a type are known: no library has its own meaning of them."""
    return (
        kind is np.ndarray
        or issubclass(kind, Tensor | np.generic)  # a Tensor may be one sample of a vmap
        or not hasattr(kind, "__array_ufunc__")
    )


@functools.cache
def _table() -> dict[Any, Callable[..., Any]]:
    """NumPy's functions, and those of the same names and meanings here."""
    found: dict[Any, Callable[..., Any]] = {}
    tinytensor = namespaces["tinytensor"]
    for module, theirs in ((tinytensor, np), (tinytensor.linalg, np.linalg), (tinytensor.fft, np.fft)):
        for name in sorted(set(module.__all__) - _OTHERWISE):
            ours, other = getattr(module, name), getattr(theirs, name, None)
            made = getattr(inspect.unwrap(ours), "__module__", "")
            alike = not made.startswith(_PYTORCH) or name in _AS_IN_NUMPY
            if isinstance(other, np.ufunc) or (alike and hasattr(other, "_implementation")):
                found[other] = ours
    found[np.pad] = pad
    found[np.transpose] = _transposed
    found[np.cumsum] = cumsum
    found[np.cumprod] = cumprod
    return found


def _transposed(a: Tensor, axes: Any = None) -> Tensor:
    """np.transpose, which reverses all axes if it is given none."""
    return a.T if axes is None else a.permute(axes)


def cumsum(a: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """np.cumsum, which flattens a tensor if it is given no axis."""
    return cumulative_sum(a.reshape(-1) if axis is None else a, axis=axis, dtype=dtype)


def cumprod(a: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """np.cumprod, as np.cumsum."""
    return cumulative_prod(a.reshape(-1) if axis is None else a, axis=axis, dtype=dtype)


def _arguments(
    theirs: Callable[..., Any], ours: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]] | None:
    """Operands and options of the same call here (what has no default in NumPy is an operand), or None."""
    signature, known = _signature(theirs), _signature(ours)
    operands: list[Any] = []
    options: dict[str, Any] = {}
    for key, value in signature.bind(*args, **kwargs).arguments.items():
        kind, default = signature.parameters[key].kind, signature.parameters[key].default
        if kind is inspect.Parameter.VAR_POSITIONAL:
            operands += value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            options |= value
        elif default is inspect.Parameter.empty:
            operands.append(value)
        elif value is not default and not (isinstance(value, int | str) and value == default):
            options[key if key in known.parameters else _RENAMED.get(key, key)] = value
    try:
        known.bind(*operands, **options)
    except TypeError:
        return None
    return operands, options


_signature = functools.cache(inspect.signature)


def _check_devices(operands: Iterable[Any], function: Callable[..., Any]) -> None:
    for value in operands:
        if isinstance(value, Tensor) and value.storage.device is not cpu:
            name = function.__name__
            raise DeviceError(
                f"np.{name}: a tensor is on {value.storage.device}",
                why="NumPy's functions compute on the CPU",
                fix=f'tt.{_table()[function].__name__}(x) computes there; x.to("cpu") is a copy on the CPU',
            )


def _has_array(value: Any) -> bool:
    """Whether an argument is an array, or None, which NumPy takes for one, or has one inside."""
    if isinstance(value, list | tuple):
        return any([_has_array(item) for item in value])
    if isinstance(value, dict):
        return _has_array([*value.values()])
    return value is None or isinstance(value, np.ndarray)


def _with_arrays(value: Any) -> Any:
    """Arguments with arrays for tensors, also inside of lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return np.asarray(value)
    if type(value) in (list, tuple):
        return type(value)([_with_arrays(item) for item in value])
    if type(value) is dict:
        return {key: _with_arrays(item) for key, item in value.items()}
    return value
