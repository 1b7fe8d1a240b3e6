"""dropout without a stored mask: backward regenerates it from the Philox seed and offset."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import sampling
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.cpu import run_plain
from tinytensor.dispatch.launch import Launch, View
from tinytensor.errors import ArgumentError, DTypeError
from tinytensor.generator import Generator, default_generator
from tinytensor.kernels.dropout import Drop, add_dropped, dropout_threshold
from tinytensor.kernels.rows import require_tensors
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Spec, Specs, Tensor, register
from tinytensor.ops.random.philox import blocks_needed, dropout_keep
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.kernels import HostKernels

__all__ = ["dropout"]

kernels = HostKernels("dropout")


@register
class Dropout(Op):
    """y = x * keep / (1 - p). Linear and its own adjoint: backward is the same op on the gradient."""

    p: float

    inputs = ("x", "stream")
    saves = ("stream",)
    dense = ("x",)
    contiguous = ("*",)
    flops = 1.0

    def infer(self, x: Spec, stream: Any) -> Specs:
        floating("dropout", x)
        return (x,)

    def cpu(self, y: Array, x: Array, stream: Stream) -> None:
        keep = dropout_keep(stream.seed, stream.offset, self.p, x.size).reshape(x.shape)
        np.multiply(x * keep, x.dtype.type(1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0), out=y)

    def host(self, y: Array, x: Array, stream: Stream) -> HostCall:
        return partial(kernels.dropout_forward, y, x, *dropout_threshold(self.p), stream.seed, stream.offset)

    def cuda(self, launch: Launch, y: View, x: View, stream: Stream) -> None:
        add_dropped(launch, y, None, x, Drop(self.p, stream))

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * keep / (1 - p), with the mask of forward, regenerated."""
        return apply(self, grads[0], saved.stream), None


def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """Set each element to 0 with probability p, and scale the others by 1 / (1 - p).

    Args:
        training: False returns x itself.
        generator: source of the random bits; default the global one. Each element takes one 32-bit word, in C
            order.

    Memory: keeps only the seed and offset; backward regenerates the mask.
    Accuracy: p is rounded up to a multiple of 2**-24. A dropped inf or nan gives nan.
    Source: Srivastava et al. 2014, JMLR 15.

    >>> tt.dropout(tt.ones(6), 0.5, generator=tt.Generator(1)).sum().item() in {0, 2, 4, 6, 8, 10, 12}
    True
    """
    require_tensors("dropout", x)
    source = source_of("dropout", p, generator if training else None)
    return _dropped(x, float(p), source) if training and source is not None else x


def source_of(what: str, p: float, generator: Generator | None) -> Generator | None:
    """The generator that dropout of a function draws from; None if it drops nothing. Checks both."""
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"{what}: p is {p}", why="p is a probability", fix="choose 0 <= p <= 1")
    if p == 0.0:
        return None
    source = default_generator if generator is None else generator
    if not isinstance(source, Generator):
        raise DTypeError(
            f"{what}: generator is a {type(source).__name__}",
            why="it is a tt.Generator",
            fix="tt.Generator(seed)",
        )
    return source


@sampling(0)
def _dropped(x: Tensor, p: float, source: Generator) -> Tensor:
    """Dropout of checked arguments."""
    offset = source.advance(blocks_needed(x.layout.size, 1))
    return dropped(x, p, Stream(source.seed, offset))


def drop_array(out: Array, x: Array, p: float, stream: Stream) -> None:
    """Dropout of an array."""
    run_plain(Dropout(p=p), [out], [x, stream])


def dropped(x: Tensor, p: float, stream: Stream) -> Tensor:
    """Dropout by the Philox blocks of a stream."""
    return apply(Dropout(p=p), x, stream)
