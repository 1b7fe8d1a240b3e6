"""quantized_linear: products with packed weights, in floats or with activations rounded to 16 bits."""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.launch import Launch, View, blocks_for
from tinytensor.dtypes import float32, int8
from tinytensor.errors import ShapeError
from tinytensor.kernels.rows import as_rows, require_tensors, row_blocks
from tinytensor.layout import contiguous
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Shapes, Spec, Specs, register, size
from tinytensor.ops.matmul.gemm import multiply
from tinytensor.ops.matmul.matmul import matmul
from tinytensor.ops.quantized.dequantize import (
    dequantize,
    dequantize_array,
    launch_dequantize,
    on_even_address,
    values_in,
)
from tinytensor.ops.quantized.kinds import NUMBERS, QUANTIZED, ROUNDED, rounded_product
from tinytensor.ops.views.manipulation import cast
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["quantized_linear"]

kernels = HostKernels("quantized_linear")


@register
class QuantizedLinear(Op):
    """y = x @ dequantize(packed).T; with `rounded`, of x rounded to 16 bits in blocks of 32."""

    kind: str
    rounded: bool

    inputs = ("x", "packed")
    saves = ("packed",)
    contiguous = ("packed",)
    dense = ("*",)

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return 2.0 * (ins[0] or (0,))[-1] * size(outs[0])

    def infer(self, x: Spec, packed: Spec) -> Specs:
        floating("quantized_linear", x)
        inner = values_in("quantized_linear", packed, self.kind)
        if packed.ndim != 2 or not x.shape or x.shape[-1] != inner:
            raise ShapeError(
                f"quantized_linear: x {x.shape} and packed rows {packed.shape} of {self.kind} do not fit",
                why=f"packed is (N, bytes of a row), and a row of it has {inner} values: the last axis of x",
                fix="check the sizes of the layer; the weight is packed as (out, in)",
            )
        return (Spec((*x.shape[:-1], packed.shape[0]), x.dtype),)

    def cpu(self, y: Array, x: Array, packed: Array) -> None:
        if not x.size or not y.size:
            y[...] = 0
            return
        x2, y2 = as_rows(x), as_rows(y)
        for r in row_blocks(len(packed), x2.shape[1]):  # of the weight
            if self.rounded:
                y2[:, r] = rounded_product(x2, packed[r], QUANTIZED[self.kind])
            else:
                weight = np.empty((r.stop - r.start, x2.shape[1]), np.float32)
                dequantize_array(weight, packed[r], self.kind)
                y2[:, r] = np.matmul(x2, weight.T.astype(x2.dtype, copy=False))

    def host(self, y: Array, x: Array, packed: Array) -> HostCall:
        return partial(kernels.quantized_linear, y, x, packed, NUMBERS[self.kind]) if self.rounded else None

    def cuda(self, launch: Launch, y: View, x: View, packed: View) -> None:
        inner, columns = x.shape[-1], packed.shape[0]
        rows = prod(x.shape[:-1])
        if not y.size:
            return
        if not self.rounded or not inner:
            weight = launch.scratch((columns, inner), y.dtype)
            launch_dequantize(launch, weight, packed, self.kind)
            rows_of_x = x.read_through(contiguous((rows, inner)))
            multiply(launch, y, rows_of_x, weight, tb=True)
            return
        groups = rows * (inner // ROUNDED)
        high, low = launch.scratch((rows, inner), int8), launch.scratch((rows, inner), int8)
        scales = launch.scratch((groups,), float32)
        block = (32, 8)
        to_round = (high, low, scales, x, groups)
        launch("round_activations", x.dtype, grid=blocks_for(groups, 8), block=block, args=to_round)
        args = (y, high, low, scales, on_even_address(launch, packed), rows, columns, inner)
        launch(
            "quantized_rows", self.kind.upper(), y.dtype, grid=blocks_for(columns, 8), block=block, args=args
        )

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad @ dequantize(packed): rounding counts as the identity."""
        weight = dequantize(saved.packed, self.kind)
        return matmul(grads[0], cast(weight, grads[0].storage.dtype)), None


def quantized_linear(x: Tensor, packed: Tensor, kind: str, *, rounded: bool = False) -> Tensor:
    """Product with a packed weight: y = x @ dequantize(packed, kind).T.

    With `rounded`, x is rounded first, in blocks of 32 values along the last axis: x becomes s * q with
    s = max|x| / 32512 and q = rint(x * (32512 / max|x|)), an integer of 16 bits, computed in float32; a block
    below 1e-30 in magnitude becomes 0. Then each group of weights (16 or 32 with one scale) is multiplied
    with its activations in integers, exactly; the sums of these products are in float32. A few rows of x are
    multiplied several times as fast, since the weight is read packed.

    Args:
        x: shape (..., K), floating.
        packed: shape (N, bytes of a row), uint8, with K values in a row.

    Returns:
        shape (..., N), dtype of x. The gradient is for x alone, and is that without rounding.

    Memory: keeps the packed weight for backward; unpacks blocks of rows while it computes, in backward and on
        devices the whole weight.
    Accuracy: without `rounded`, that of a product of floats; devices unpack to the dtype of x. With it, the
        error of an activation is at most 1/65,024 of the largest in its block; devices differ by the order of
        float32 sums alone.
    Source: integer products as in llama.cpp, which rounds to 8 bits, where 32512 = 127 * 256 is 127; gradient
        as in QLoRA:
        Dettmers et al. 2023, arXiv:2305.14314.

    >>> w = tt.tensor([[1.0] * 32, [2.0] * 32])
    >>> tt.quantized_linear(tt.ones(1, 32), tt.quantize(w, "q8_0"), "q8_0").tolist()
    [[32.0, 64.0]]
    """
    require_tensors("quantized_linear", x, packed)
    return apply(QuantizedLinear(kind=kind, rounded=rounded), x, packed)
