"""quantize and dequantize: floats to packed blocks of GGUF, and back."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.cpu import run_plain
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.dtypes import float32, uint8
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.kernels.rows import as_rows, require_tensors, row_blocks
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Shapes, Spec, Specs, Tensor, register, size
from tinytensor.ops.indexing.gathering import take
from tinytensor.ops.quantized.kinds import NUMBERS, QUANTIZED, dequantized, kind_of, packed_rows
from tinytensor.runtime.cpu.kernels import HostKernels

__all__ = ["dequantize", "quantize", "quantized_embedding"]

kernels = HostKernels("quantized_linear")


def values_in(what: str, packed: Spec, kind: str) -> int:
    """Values in a packed row; raises unless the operand has whole blocks of the kind."""
    found = kind_of(what, kind)
    if packed.dtype is not uint8:
        raise DTypeError(
            f"{what}: the packed operand has dtype {packed.dtype}",
            why="blocks are bytes",
            fix=f'pack floats first: tt.quantize(w, "{kind}")',
        )
    width = packed.shape[-1] if packed.shape else 1
    if width % found.nbytes:
        raise ShapeError(
            f"{what}: packed rows of shape {packed.shape}",
            why=f"a row of {kind} is made of blocks of {found.nbytes} bytes, {found.values} values each",
            fix="give the kind that the rows were packed as",
        )
    return width // found.nbytes * found.values


def on_even_address(launch: Launch, packed: View) -> View:
    """Packed blocks where kernels can read two bytes at once."""
    return launch.packed(packed, packed.dtype) if packed.ptr % 2 else packed


def launch_dequantize(launch: Launch, y: View, packed: View, kind: str) -> None:
    """y = the values of packed blocks, in the dtype of y."""
    args = (y, on_even_address(launch, packed), y.size // 4)
    grid = blocks_for(y.size // 4, 256)
    launch("dequantize", kind.upper(), y.dtype, grid=grid, args=args, file="dequantize")


def _no_gradient(grads: Grads, saved: object, needs: Needs, *, kind: str) -> Grads:
    """dx = 0: packed bytes have no gradient."""
    return (None,)


@register
class Dequantize(Op):
    kind: str

    inputs = ("packed",)
    contiguous = ("packed",)
    dense = ("packed",)
    backward = staticmethod(_no_gradient)

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return (2.0 if self.kind[-1] != "0" and self.kind != "q6_k" else 1.0) * size(outs[0])

    def infer(self, packed: Spec) -> Specs:
        return (Spec((*packed.shape[:-1], values_in("dequantize", packed, self.kind)), float32),)

    def cpu(self, y: Array, packed: Array) -> None:
        if y.size:
            rows, found = as_rows(packed), as_rows(y)
            for r in row_blocks(*found.shape):
                found[r] = dequantized(rows[r], QUANTIZED[self.kind])

    def host(self, y: Array, packed: Array) -> HostCall:
        return partial(kernels.dequantize, y, packed, NUMBERS[self.kind])

    def cuda(self, launch: Launch, y: View, packed: View) -> None:
        launch_dequantize(launch, y, packed, self.kind)


@register
class Quantize(Op):
    kind: str

    inputs = ("x",)
    contiguous = ("x",)
    library = True
    flops = 0.0
    backward = staticmethod(_no_gradient)

    def infer(self, x: Spec) -> Specs:
        floating("quantize", x)
        found = kind_of("quantize", self.kind)
        if not x.shape or x.shape[-1] % found.values:
            raise ShapeError(
                f"quantize: rows of shape {x.shape}",
                why=f"a block of {self.kind} has {found.values} values, and a row has whole blocks",
                fix='a kind with blocks of 32, such as "q8_0", or rows of another length',
            )
        return (Spec((*x.shape[:-1], x.shape[-1] // found.values * found.nbytes), uint8),)

    def cpu(self, y: Array, x: Array) -> None:
        if y.size:
            rows, found = as_rows(x), as_rows(y)
            for r in row_blocks(*rows.shape):
                found[r] = packed_rows(rows[r].astype(np.float32), QUANTIZED[self.kind])


def quantize(x: Tensor, kind: str) -> Tensor:
    """Pack rows of floats into blocks of 4 to 8 bits per value, as GGUF stores them.

    Each block has a scale, in most kinds with a start or minimum, and integers: see `QuantizedKind`. Kinds
    q8_0, q4_0, q4_1, q5_0 and q5_1 round as llama.cpp does; in q4_k, q5_k and q6_k the scales are those that
    cover the values of a group, without llama.cpp's search for better ones.

    Args:
        x: shape (..., K), floating; K is a multiple of the kind's block.
        kind: a key of `tt.QUANTIZED`, such as "q8_0" or "q4_1".

    Returns:
        shape (..., bytes of a row), uint8: without a gradient.

    Accuracy: 16-bit floats and float64 are converted to float32 first. A block with inf or NaN, or whose
        scale exceeds float16, unpacks to values that are not finite.
    Source: ggml-quants.c of llama.cpp.

    >>> packed = tt.quantize(tt.linspace(-1.0, 1.0, 64).reshape(2, 32), "q4_0")
    >>> packed.shape, packed.dtype
    ((2, 18), tinytensor.uint8)
    """
    require_tensors("quantize", x)
    return apply(Quantize(kind=kind), x)


def dequantize(packed: Tensor, kind: str) -> Tensor:
    """The values of packed rows: scale * q + offset for each integer q of a block.

    Args:
        packed: shape (..., bytes of a row), uint8.

    Returns:
        shape (..., K), float32; without a gradient.

    Accuracy: rounded once; the bits of llama.cpp and of the package gguf.

    >>> tt.dequantize(tt.quantize(tt.full((1, 32), 0.5), "q8_0"), "q8_0")[0, :2].tolist()
    [0.5, 0.5]
    """
    require_tensors("dequantize", packed)
    return apply(Dequantize(kind=kind), packed)


def quantized_embedding(indices: Tensor, packed: Tensor, kind: str) -> Tensor:
    """Look up rows of a packed table: y[..., :] = dequantize(packed)[indices[...], :].

    Args:
        packed: shape (V, bytes of a row), uint8.

    Returns:
        shape (..., C), float32; without a gradient.

    Raises:
        IndexRangeError: an index is below -V or above V - 1.

    >>> table = tt.quantize(tt.arange(64.0).reshape(2, 32), "q8_0")
    >>> tt.quantized_embedding(tt.tensor([1, 0, 1]), table, "q8_0").shape
    (3, 32)
    """
    require_tensors("quantized_embedding", indices, packed)
    if len(packed.layout.shape) != 2:
        raise ShapeError(
            f"quantized_embedding: packed has shape {packed.layout.shape}",
            why="it is a table: a row of blocks for each index",
            fix="reshape it to two axes; the indices are the first argument",
        )
    return dequantize(take(packed, indices, 0), kind)


def dequantize_array(out: Array, packed: Array, kind: str) -> None:
    """Dequantize of an array."""
    run_plain(Dequantize(kind=kind), [out], [packed])
