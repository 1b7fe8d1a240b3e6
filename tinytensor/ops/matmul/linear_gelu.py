"""linear_gelu: gelu(x @ weight + bias) fused into one op.

The activation is applied in the epilogue of the matrix product: to values in registers on a device, in the
cache on the CPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.modes import grad_enabled
from tinytensor.config import config
from tinytensor.device import cpu
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import composed
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.forward import Found, JvpCall
from tinytensor.dispatch.launch import Launch
from tinytensor.dtypes import accumulator
from tinytensor.kernels.rows import as_rows, require_tensors
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Shapes, Spec, Specs, register, size
from tinytensor.ops.elementwise.gelu import (
    FUNCTORS,
    GATE_FLOPS,
    PLACES,
    gate_array,
    gated,
    gated_gradient,
    gated_gradient_by_ops,
    gelu_gate,
)
from tinytensor.ops.elementwise.gelu import kernels as gates
from tinytensor.ops.matmul.gemm import multiply
from tinytensor.ops.matmul.matmul import kernels as products
from tinytensor.ops.matmul.matmul import linear, linear_flops, linear_gradients, linear_spec, linear_tangent
from tinytensor.tensor import Tensor

__all__ = ["linear_gelu"]


def _linear_gelu(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, gate: str, transposed: bool, keeps: str
) -> Tensor:
    """LinearGelu in two ops, of which each may be batched."""
    return gated(linear(x, weight, bias, transposed=transposed), gate)


def _linear_gelu_tangent(call: JvpCall) -> Found:
    """With z = x @ weight + bias: dy = dz * gelu'(z)."""
    (dz,) = linear_tangent(call)
    assert dz is not None
    return [_times_slope(dz, call.saved, call.op.gate, call.op.transposed)]


@register
class LinearGelu(Op):
    """Hidden output if backward may follow: the gate's slope on the CPU, its input on a device."""

    gate: str
    transposed: bool
    keeps: str

    inputs = ("x", "weight", "bias")
    vmap = composed(_linear_gelu)
    jvp = _linear_gelu_tangent
    outputs = ("y", "before", "slope")
    saves = ("x", "weight", "bias", "before", "slope")
    dense = ("bias",)
    autocast = "narrow"

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return linear_flops(self, outs, ins) + GATE_FLOPS[self.gate][0] * size(outs[0])

    def infer(self, x: Spec, weight: Spec, bias: Spec | None) -> Specs:
        floating("linear_gelu", x)
        y = linear_spec("linear_gelu", x, weight, bias, self.transposed)
        slope = Spec(y.shape, accumulator(y.dtype))
        return y, y if self.keeps == "before" else None, slope if self.keeps == "slope" else None

    def cpu(
        self, y: Array, before: None, slope: Array | None, x: Array, weight: Array, bias: Array | None
    ) -> None:
        if not y.size:
            return
        np.matmul(as_rows(x), weight.T if self.transposed else weight, out=as_rows(y))
        if config.host_kernels != "off" and gates.gelu_forward(y, slope, y, bias, PLACES[self.gate]):
            return  # the product by NumPy's BLAS: see `config.matmul`
        gate_array(y, slope, y if bias is None else y + bias, self.gate)

    def host(
        self, y: Array, before: None, slope: Array | None, x: Array, weight: Array, bias: Array | None
    ) -> HostCall:
        who, operands = config.matmul, (y, slope, x, weight, bias)
        if who == "vendor":
            return None
        return partial(products.linear_gelu, *operands, PLACES[self.gate], self.transposed, who == "own")

    def host_bf16(
        self, y: Array, before: None, slope: Array | None, x: Array, weight: Array, bias: Array | None
    ) -> HostCall:
        if config.matmul == "vendor":
            return None
        return partial(
            products.linear_gelu_bf16, y, slope, x, weight, bias, PLACES[self.gate], self.transposed
        )

    def cuda(self, launch: Launch, *views: Any) -> None:
        y, before, _, x, weight, bias = views
        if x.ndim == 1:
            x = x.read_through(x.layout.unsqueeze(0))  # (1, K)
        multiply(launch, y, x, weight, bias, tb=self.transposed, gate=FUNCTORS[self.gate], before=before)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """With z = x @ weight + bias and dz = grad * gelu'(z): dx = dz @ weight.T, dweight = x.T @ dz, dbias
        = the sum of dz over rows.
        """
        grad = _times_slope(grads[0], saved, self.gate, self.transposed)
        return linear_gradients(grad, saved, saved.x, saved.weight, needs, self.transposed)


def _times_slope(grad: Tensor, saved: Saved, gate: str, transposed: bool) -> Tensor:
    """grad times the derivative of the gate."""
    if grad_enabled():  # the hidden outputs have no history
        z = linear(saved.x, saved.weight, saved.bias, transposed=transposed)
        return gated_gradient_by_ops(grad, z, gate)
    before = grad if saved.before is None else saved.before  # not read if there is a slope
    return gated_gradient(grad, before, saved.slope, gate)


def linear_gelu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    approximate: str = "tanh",
    transposed: bool = False,
) -> Tensor:
    """gelu(linear(x, weight, bias)) in one op, without a memory round trip in between.

    Args:
        x: shape (..., K); floating.
        weight: shape (K, N); or (N, K) with transposed=True.
        approximate: "tanh" (as in GPT-2) or "none": the formulas of `gelu`.

    Returns:
        shape (..., N), dtype of x.

    Memory: keeps x, weight and bias, and if one of them needs a gradient, a tensor of the size of the result:
        on the CPU the slope of the gate (float32 or wider), on a device the input of the gate.

    >>> tt.linear_gelu(tt.ones(1, 2), tt.eye(2), tt.tensor([0.0, -2.0])).tolist()
    [[0.8412, -0.1588]]
    """
    require_tensors("linear_gelu", x, weight)
    gate = gelu_gate("linear_gelu", approximate)
    recording = grad_enabled() and any([t is not None and t.requires_grad for t in (x, weight, bias)])
    keeps = ("slope" if x.storage.device is cpu else "before") if recording else ""
    return apply(LinearGelu(gate=gate, transposed=transposed, keeps=keeps), x, weight, bias)
