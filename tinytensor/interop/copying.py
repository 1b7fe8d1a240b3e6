"""`copy.copy`, `copy.deepcopy` and `pickle` support for tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.device import cpu
from tinytensor.dtypes import BY_NAME
from tinytensor.errors import DeviceError, DTypeError, GradError
from tinytensor.ops.views.manipulation import alias, clone, detach
from tinytensor.runtime.cpu.arrays import NUMPY
from tinytensor.tensor import Tensor, arr, from_array


def deep(x: Tensor, memo: dict[int, Any]) -> Tensor:
    """`copy.deepcopy(x)`: a leaf tensor with a copy of the elements."""
    if x._edge is not None:
        raise GradError(
            "deepcopy: the tensor is the result of a recorded operation",
            why="its history cannot be copied",
            fix="x.detach().clone()",
        )
    memo[id(x)] = copy = _marked(clone(detach(x)), x._requires, getattr(x, "_parameter", False))
    return copy


def shallow(x: Tensor) -> Tensor:
    """`copy.copy(x)`: a view of all elements that shares storage and autograd history."""
    if x._edge is not None:
        return alias(x)
    return _marked(detach(x), x._requires, getattr(x, "_parameter", False))


def _marked(x: Tensor, requires_grad: bool, parameter: bool) -> Tensor:
    x._requires = requires_grad
    if parameter:
        x._parameter = True
    return x


def reduced(x: Tensor) -> tuple[Any, ...]:
    """Pickle a tensor by value: elements, dtype and `requires_grad`, without history and gradient."""
    if x.storage.device is not cpu:
        raise DeviceError(
            f"pickle: the tensor is on {x.device}",
            why="another process or machine may lack the device",
            fix='copy it first: x.to("cpu")',
        )
    marked = getattr(x, "_parameter", False)
    return from_values, (arr(x), x.dtype.name, x._requires, marked)


def from_values(array: Any, dtype: str, requires_grad: bool, parameter: bool) -> Tensor:
    """Rebuild a tensor from a pickle, from an array that NumPy has read; creates nothing else."""
    kind = BY_NAME[dtype]
    if not isinstance(array, np.ndarray) or array.dtype != NUMPY[kind]:
        raise DTypeError(
            f"unpickle: {type(array).__name__} of {getattr(array, 'dtype', None)} for a tensor of {dtype}",
            why="the pickle was not written by tinytensor, or is damaged",
            fix="write it again, or load weights from safetensors",
        )
    x = from_array(np.require(array, requirements=["C", "W", "A"]), kind)
    return _marked(x, bool(requires_grad), parameter)
