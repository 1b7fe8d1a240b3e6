"""The formula of an op's gradient, from the docstring that it has; of an op without one, its code."""

from __future__ import annotations

import ast
import inspect
import textwrap

from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.op import Op, registry

__all__ = ["gradient_text"]

BROADCAST = "Each is summed over the axes along which its input was broadcast."


def gradient_text(op: type[Op]) -> str:
    """How the gradients of an op's inputs are computed.

    Args:
        op: a registered op, or that of a `tt.Function`.

    Returns:
        The docstring of its `backward`; else the formula in that of the op that computes the gradients, which
        is named after it; else the statements of `backward`; of a lambda the lines on which it stands. In a
        formula `grad` is the gradient of the result; other names are those of inputs and outputs.

    Example:
        >>> from tinytensor.op import registry
        >>> gradient_text(registry["softmax"])
        'dx = y * (grad - sum(grad * y)).'
        >>> print(gradient_text(registry["add"]))
        da = grad, db = grad.
        Each is summed over the axes along which its input was broadcast.
    """
    text = _text(op)
    return f"{text}\n{BROADCAST}" if issubclass(op, Elementwise) and len(op.inputs) > 1 else text


def _text(op: type[Op]) -> str:
    backward = getattr(op, "function", op).backward
    if not (inspect.isfunction(backward) or inspect.ismethod(backward)):  # an object with a call
        return "(its source cannot be read)"
    if backward.__doc__:
        return inspect.cleandoc(backward.__doc__)
    behind = registry.get(f"{op.name}_backward")
    if behind is not None and behind.__doc__ and " = " in behind.__doc__:
        return inspect.cleandoc(behind.__doc__)
    try:
        source = textwrap.dedent(inspect.getsource(backward))
    except OSError:  # typed in at a prompt
        return "(its source cannot be read)"
    if backward.__name__ == "<lambda>":  # the lines on which it stands may be no whole statement
        return source.strip()
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    return textwrap.dedent("\n".join(source.splitlines()[function.body[0].lineno - 1 :])).strip()
