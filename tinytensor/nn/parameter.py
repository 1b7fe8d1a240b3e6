"""Parameter: a leaf tensor that a module owns."""

from __future__ import annotations

from typing import Any, TypeGuard

import tinytensor.api as tt

__all__ = ["Parameter"]


class _Marked(type):
    """Makes isinstance(x, Parameter) test the mark; there are no Parameter objects."""

    def __instancecheck__(cls, x: object) -> bool:
        return is_parameter(x)


class Parameter(metaclass=_Marked):
    """Mark a tensor as a parameter: a leaf that requires grad, found by the module it is assigned to.

    The result is a plain Tensor with a mark, not a subclass: ops test `type(x) is Tensor` on their fast path,
    which parameters take more often than any other tensor. So annotate it as `tt.Tensor`.

    Args:
        data: the initial values, any shape, floating; shares their memory if it is contiguous.
        requires_grad: False freezes it.

    Returns:
        A leaf tensor.

    Raises:
        GradError: the data are not floating.

    Example:
        >>> weight = tt.nn.Parameter(tt.zeros(2, 3))
        >>> isinstance(weight, tt.nn.Parameter), weight.requires_grad
        (True, True)
    """

    def __new__(cls, data: Any, requires_grad: bool = True) -> Any:
        """Return a marked tensor; this class has no instances."""
        source = tt.asarray(data)
        if not source.dtype.is_floating:
            raise tt.GradError(
                f"Parameter: data of dtype {source.dtype}",
                why="parameters are learned by gradients, which only floating tensors have",
                fix="cast first: data.astype(tt.float32), or use module.register_buffer",
            )
        parameter = source.detach().contiguous()
        parameter.requires_grad_(requires_grad)
        parameter._parameter = True  # slot of Tensor for the mark, which copies inherit
        return parameter


def is_parameter(x: object) -> TypeGuard[tt.Tensor]:
    """Whether x is a tensor marked as a parameter."""
    return isinstance(x, tt.Tensor) and getattr(x, "_parameter", False)
