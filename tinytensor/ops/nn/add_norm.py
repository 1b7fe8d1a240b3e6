"""add_layer_norm and add_rms_norm: a residual sum, with dropout, and the norm that reads it, in one pass over
memory.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.levels import active
from tinytensor.dispatch.apply import apply, apply_all, run_op
from tinytensor.dispatch.batching import composed
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.cpu import run_plain
from tinytensor.dispatch.launch import Launch
from tinytensor.dtypes import DType, accumulator, float32
from tinytensor.generator import Generator
from tinytensor.kernels import norms
from tinytensor.kernels.dropout import Drop
from tinytensor.kernels.rows import require_tensors
from tinytensor.op import (
    Grads,
    HostCall,
    Needs,
    Op,
    Saved,
    Shapes,
    Spec,
    Specs,
    fields_of,
    norm_backward,
    register,
    size,
)
from tinytensor.ops.double_backward import partial_vjp
from tinytensor.ops.elementwise.arithmetic import add_arrays
from tinytensor.ops.nn.dropout import drop_array, dropped, source_of
from tinytensor.ops.nn.dropout import dropout as drawn
from tinytensor.ops.nn.layer_norm import check_norm, kernels, norm_backward_by_ops, norm_backward_op, norm_op
from tinytensor.ops.random.philox import blocks_needed
from tinytensor.ops.views.manipulation import cast
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["add_layer_norm", "add_rms_norm"]


def _name(centered: bool) -> str:
    return "layer_norm" if centered else "rms_norm"


def _drop(out: Array, x: Array, p: float, stream: Stream) -> Array:
    """dropout(x), computed in `out`, or x itself if nothing is dropped."""
    if not p:
        return x
    drop_array(out, x, p, stream)
    return out


def _by_ops(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stream: Stream,
    *,
    eps: float,
    centered: bool,
    dtype: DType,
    p: float,
) -> tuple[Tensor, Tensor]:
    """AddNorm in ops of its own, of which each may be batched."""
    total = x + _passed(y, dtype, p, stream)
    return total, cast(apply(norm_op(centered, eps=eps), total, weight, bias), dtype)


@register
class AddNorm(Op):
    """total = x + dropout(y), and its layer norm, or RMS norm unless `centered`, in `dtype`, that of y.
    Hidden outputs: mean and 1 / standard deviation (or root mean square) of each row.
    """

    eps: float
    centered: bool
    dtype: DType
    p: float

    inputs = ("x", "y", "weight", "bias", "stream")
    vmap = composed(_by_ops)
    outputs = ("total", "normed", "mean", "scale")
    visible = 2
    saves = ("total", "weight", "mean", "scale", "stream")
    dense = ("*",)
    contiguous = ("*",)

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return size(ins[0]) * ((6.0 if self.centered else 4.0) + sum([s is not None for s in ins[2:4]]))

    def infer(self, x: Spec, y: Spec, weight: Spec | None, bias: Spec | None, stream: Any) -> Specs:
        check_norm(f"add_{_name(self.centered)}", x, weight=weight, bias=bias)
        row = Spec(x.shape[:-1], accumulator(x.dtype))
        return x, y, row if self.centered else None, row

    def cpu(self, *arrays: Any) -> None:
        total, normed, mean, scale, x, y, weight, bias, stream = arrays
        add_arrays(total, x, _drop(total, y, self.p, stream))
        op = norm_op(self.centered, eps=self.eps)
        run_plain(op, [normed, mean, scale], [total, weight, bias])

    def host(self, *arrays: Any) -> HostCall:
        total, normed, _, scale, x, y, weight, _, _ = arrays
        if self.centered or self.p:
            return None
        return partial(kernels.add_rms_norm_forward, total, normed, scale, x, y, weight, self.eps)

    def cuda(self, launch: Launch, *views: Any) -> None:
        total, normed, mean, scale, x, y, weight, bias, stream = views
        operands, drop = (normed, mean, scale, x, weight, bias), Drop(self.p, stream)
        norms.forward(launch, self.centered, *operands, self.eps, y=y, total=total, drop=drop)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = dtotal + the gradient of the norm; dy = dropout(dx), by the mask of y, in the dtype of y."""
        more, grad = grads
        if grad is None:
            dy = None if more is None else _passed(more, self.dtype, self.p, saved.stream)
            return more, dy, None, None, None
        inputs = (more, grad, saved.total, saved.weight, saved.mean, saved.scale, saved.stream)
        wanted = (True, *needs[2:4])
        op = AddNormBackward(eps=self.eps, centered=self.centered, wanted=wanted, p=self.p)
        dx, dy, dweight, dbias = run_op(op, *inputs)
        return dx, dx if dy is None else dy, dweight, dbias, None


def _passed(x: Tensor, dtype: DType, p: float, stream: Stream) -> Tensor:
    """dropout(x) in a dtype; its own transpose, too."""
    return cast(dropped(x, p, stream) if p else x, dtype)


def _backward_by_ops(
    more: Tensor | None,
    grad: Tensor,
    total: Tensor,
    weight: Tensor | None,
    *others: Any,
    p: float,
    **given: Any,
) -> tuple[Tensor | None, ...]:
    """AddNormBackward in ops of its own, which do not read the statistics; the last input is the stream."""
    dx, dweight, dbias = norm_backward_by_ops(cast(grad, total.storage.dtype), total, weight, **given)
    assert dx is not None
    dx = dx if more is None else more + dx
    dy = _passed(dx, grad.storage.dtype, p, others[-1])
    return dx, dy, dweight, dbias


@register
class AddNormBackward(Op):
    """dx = more + the gradient of a norm; dy = dropout(dx) in the dtype of grad, unless that is dx itself."""

    eps: float
    centered: bool
    wanted: Needs
    p: float

    inputs = ("more", "grad", "total", "weight", "mean", "scale", "stream")
    vmap = composed(_backward_by_ops)
    outputs = ("dx", "dy", "dweight", "dbias")
    visible = 4
    saves = ("grad", "total", "weight", "stream")
    dense = ("*",)
    contiguous = ("*",)
    flops = norm_backward(11.0, 1.5)

    def infer(self, more: Spec | None, grad: Spec, total: Spec, *_: Any) -> Specs:
        vector = Spec(total.shape[-1:], total.dtype)
        of_weight, of_bias = [vector if w else None for w in self.wanted[1:]]
        return total, None if grad.dtype is total.dtype and not self.p else grad, of_weight, of_bias

    def cpu(self, *arrays: Any) -> None:
        dx, dy, dweight, dbias, more, grad, total, weight, mean, scale, stream = arrays
        op = norm_backward_op(self.centered, eps=self.eps, wanted=self.wanted)
        run_plain(op, [dx, dweight, dbias], [grad, total, weight, mean, scale])
        if more is not None:
            add_arrays(dx, dx, more)
        if dy is not None and _drop(dy, dx, self.p, stream) is dx:
            np.copyto(dy, dx)

    def host(self, *arrays: Any) -> HostCall:
        dx, dy, dweight, dbias, more, grad, total, weight, mean, scale, stream = arrays
        if more is not None or dy is not None:
            return None
        op: Any = norm_backward_op(self.centered, eps=self.eps, wanted=self.wanted)
        return op.host(dx, dweight, dbias, grad, total, weight, mean, scale)  # type: ignore[no-any-return]

    def cuda(self, launch: Launch, *views: Any) -> None:
        dx, dy, dweight, dbias, more, grad, total, weight, mean, scale, stream = views
        operands = (dx, dweight, dbias, grad, total, weight, mean, scale)
        norms.backward(launch, self.centered, *operands, more=more, dy=dy, drop=Drop(self.p, stream))

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dx = more + rstd * (d - average(d) - h * average(d * h)), dweight and dbias."""
        ddx, ddy, *_ = grads
        inputs = (saved.grad, saved.total, saved.weight, saved.stream)
        needed = (*needs[1:4], False)
        found = partial_vjp(partial(_backward_by_ops, None), inputs, grads, needed, **fields_of(self))
        wide = None if ddy is None else _passed(ddy, saved.total.storage.dtype, self.p, saved.stream)
        more = wide if ddx is None else ddx if wide is None else ddx + wide
        return more, *found, None, None


def _add_norm(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    centered: bool,
    p: float,
    generator: Generator | None,
) -> tuple[Tensor, Tensor]:
    what = f"add_{_name(centered)}"
    require_tensors(what, x, y, weight, bias)
    source = source_of(what, p, generator)
    dtype, other = x.storage.dtype, y.storage.dtype
    # a 16-bit sum is rounded before the norm reads it, or, in an autocast block, widened
    fits = dtype.is_floating and not dtype.narrow and (other is dtype or (dtype is float32 and other.narrow))
    fits = fits and x.layout.shape == y.layout.shape
    if not fits:
        for t in (x, y):
            floating(what, Spec(t.layout.shape, t.storage.dtype))
    drop = Drop()
    if source is not None:
        if not fits or active():  # inside of vmap, the samples of dropout are drawn for each sample
            y = drawn(y, p, generator=source)
        else:
            drop = Drop(float(p), Stream(source.seed, source.advance(blocks_needed(y.layout.size, 1))))
    op = AddNorm(eps=eps, centered=centered, dtype=other, p=drop.p)
    inputs = (x, y, weight, bias, drop.stream)
    if not fits:
        return _by_ops(*inputs, **fields_of(op))
    total, normed = apply_all(op, *inputs)
    return total, normed


def add_layer_norm(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """x + dropout(y), and its layer norm, in one pass: a residual connection and the norm after it.

    Args:
        x: shape (..., C); floating: the residual stream.
        y: what is added to it; may be 16-bit where x is float32, as in an autocast block.

    Returns:
        The sum, in the promoted dtype, and its norm, in the dtype of y: rounded once, if that is narrower.

    Memory: keeps the sum, and two values per row; the mask of the dropout is drawn again.

    >>> total, normed = tt.add_layer_norm(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0]), eps=0.0)
    >>> total.tolist(), normed.tolist()
    ([2.0, 6.0], [-1.0, 1.0])
    """
    return _add_norm(x, y, weight, bias, eps, True, dropout, generator)


def add_rms_norm(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    *,
    eps: float = 1e-6,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """x + dropout(y), and its RMS norm, in one pass: as add_layer_norm.

    Memory: keeps the sum, and one value per row; the mask of the dropout is drawn again.

    >>> total, normed = tt.add_rms_norm(tt.tensor([1.0, 2.0]), tt.tensor([2.0, 2.0]))
    >>> total.tolist(), normed.tolist()
    ([3.0, 4.0], [0.8485, 1.1314])
    """
    return _add_norm(x, y, weight, None, eps, False, dropout, generator)
