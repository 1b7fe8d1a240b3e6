"""gelu and silu: x times a smooth gate.

On the CPU, forward also computes the derivative (`slope`), while x is in the cache. On a device, backward
computes it, since loading it from memory would take longer.
"""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import numpy as np

from tinytensor.device import cpu
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import vmap_batched
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.forward import jvp_symmetric
from tinytensor.dispatch.launch import Launch, View, elementwise
from tinytensor.dtypes import accumulator
from tinytensor.errors import ArgumentError
from tinytensor.kernels.rows import flat_blocks, require_tensors
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Shapes, Spec, Specs, register, size
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.elementwise.arithmetic import clip
from tinytensor.ops.elementwise.exponential import erf, erf_of, exp, sigmoid, tanh
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor

__all__ = ["gelu", "silu"]

kernels = HostKernels("gelu")
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715
FAR = 12.0  # for |x| >= FAR the gate of gelu_tanh is 0 or 1 in every dtype, and its derivative 0


Gate = tuple[Array, Array]  # for y = x value: value, and its derivative in x


def _gelu_tanh(x: Array) -> Gate:
    """(1 + tanh z) / 2 with z = sqrt(2 / pi) (x + 0.044715 x^3)."""
    square = np.square(np.clip(x, -FAR, FAR))
    t = np.tanh(SQRT_2_OVER_PI * x * (1 + CUBIC * square))
    return 0.5 + 0.5 * t, (1 - t * t) * (0.5 * SQRT_2_OVER_PI * (1 + 3 * CUBIC * square))


def _gelu_erf(x: Array) -> Gate:
    """(1 + erf(x / sqrt(2))) / 2, the normal distribution function."""
    return 0.5 + 0.5 * erf_of(x * math.sqrt(0.5)), np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _silu(x: Array) -> Gate:
    """1 / (1 + exp(-x))."""
    s = 1 / (1 + np.exp(-x))
    return s, s * (1 - s)


_GATES = {"gelu_tanh": _gelu_tanh, "gelu_erf": _gelu_erf, "silu": _silu}
FUNCTORS = {"gelu_tanh": "GeluTanh", "gelu_erf": "GeluErf", "silu": "Silu"}  # of gelu.cu
# Floating-point operations of a gate, and of the product of its gradient, by gelu.cuh and gelu.cu.
GATE_FLOPS = {"gelu_tanh": (8.0, 16.0), "gelu_erf": (5.0, 12.0), "silu": (4.0, 9.0)}
PLACES = {name: place for place, name in enumerate(FUNCTORS)}  # in gelu.cpp and matmul.cpp


class Gated(Op):
    """x times a gate; base class. May save the derivative at each x: backward is then one product."""

    gate: str
    keeps_slope: bool

    inputs = ("x",)
    vmap = vmap_batched
    jvp = jvp_symmetric
    outputs = ("y", "slope")
    saves = ("x", "slope")
    contiguous = ("*",)

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        return GATE_FLOPS[self.gate][0] * size(outs[0])

    def infer(self, x: Spec) -> Specs:
        floating(self.gate.partition("_")[0], x)
        return x, Spec(x.shape, accumulator(x.dtype)) if self.keeps_slope else None

    def cpu(self, y: Array, slope: Array | None, x: Array) -> None:
        gate_array(y, slope, x, self.gate)

    def host(self, y: Array, slope: Array | None, x: Array) -> HostCall:
        return partial(kernels.gelu_forward, y, slope, x, None, PLACES[self.gate])

    def cuda(self, launch: Launch, y: View, slope: None, x: View) -> None:
        elementwise(launch.runtime, launch.stem, FUNCTORS[self.gate], y, (x,), x.dtype, x.dtype)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = grad * dy/dx. gelu: dy/dx = (1 + erf(x / sqrt(2))) / 2 + x * exp(-x**2 / 2) / sqrt(2 * pi); by
        tanh, with u = sqrt(2 / pi) * (x + 0.044715 * x**3) and t = tanh(u): dy/dx = (1 + t) / 2 + x / 2 * (1
        - t**2) * du/dx; silu, with s = sigmoid(x): dy/dx = s + x * s * (1 - s).
        """
        return (gated_gradient(grads[0], saved.x, saved.slope, self.gate),)


@register
class Gelu(Gated):
    """Gate "gelu_tanh" or "gelu_erf"."""


@register
class Silu(Gated):
    """Gate "silu"."""


class GatedBackward(Op):
    """dx = grad * slope, in the memory of slope where allowed. Without slope, it is computed from x."""

    gate: str

    inputs = ("grad", "x", "slope")
    jvp = through(lambda grad, x, **given: _gated_backward(grad, x, **given))
    vmap = vmap_batched
    outputs = ("dx",)
    saves = ("grad", "x")
    may_reuse: ClassVar[dict[str, str]] = {"dx": "slope"}
    contiguous = ("grad", "slope")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        keeps_slope = ins[2] is not None  # then it is one multiplication
        return (1.0 if keeps_slope else GATE_FLOPS[self.gate][1]) * size(outs[0])

    def infer(self, grad: Spec, x: Spec, slope: Spec | None) -> Specs:
        return (x,)

    def cpu(self, dx: Array, grad: Array, x: Array, slope: Array) -> None:
        np.multiply(grad, slope, out=dx)

    def host(self, dx: Array, grad: Array, x: Array, slope: Array) -> HostCall:
        return partial(kernels.gelu_backward, dx, grad, slope)

    def host_bf16(self, dx: Array, grad: Array, x: Array, slope: Array) -> HostCall:
        return partial(kernels.gelu_backward_bf16, dx, grad, slope)

    def cuda(self, launch: Launch, dx: View, grad: View, x: View, slope: None) -> None:
        functor = f"{FUNCTORS[self.gate]}Backward"
        elementwise(launch.runtime, launch.stem, functor, dx, (grad, x), x.dtype, x.dtype)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Gradients of dx = grad * dy/dx, by differentiating an unfused reference."""
        if not needs[1]:
            return gated_gradient_by_ops(grads[0], saved.x, self.gate), None, None
        # the saved slope is not recorded, so it is recomputed from x here
        return (*partial_vjp(_gated_backward, (saved.grad, saved.x), grads, needs[:2], gate=self.gate), None)


@register
class GeluBackward(GatedBackward):
    """Gate "gelu_tanh" or "gelu_erf"."""


@register
class SiluBackward(GatedBackward):
    """Gate "silu"."""


def _gated_backward(grad: Tensor, x: Tensor, *, gate: str) -> tuple[Tensor]:
    """Unfused reference of GatedBackward, for double backward."""
    if gate == "gelu_tanh":
        x = clip(x, -FAR, FAR)  # avoids overflow
        t = tanh(x * (x * x * CUBIC + 1.0) * SQRT_2_OVER_PI)
        z = (x * x * (3 * CUBIC) + 1.0) * (0.5 * SQRT_2_OVER_PI)
        slope = (t + 1.0) * 0.5 + x * (z * (1.0 - t * t))
    elif gate == "gelu_erf":
        share = (erf(x * math.sqrt(0.5)) + 1.0) * 0.5
        slope = share + x * (exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))
    else:
        s = sigmoid(x)
        slope = s * (x * (1.0 - s) + 1.0)
    return (grad * slope,)


def gated_gradient(grad: Tensor, x: Tensor, slope: Tensor | None, gate: str) -> Tensor:
    """grad times the derivative at x, not recorded; uses slope if given, else x."""
    op = SiluBackward(gate=gate) if gate == "silu" else GeluBackward(gate=gate)
    return apply(op, grad, x, slope)


def gated_gradient_by_ops(grad: Tensor, x: Tensor, gate: str) -> Tensor:
    """`gated_gradient` in unfused ops, differentiable in grad and x."""
    return _gated_backward(grad, x, gate=gate)[0]


def gate_array(y: Array, slope: Array | None, x: Array, gate: str) -> None:
    """y = gate(x), and the derivative at each x, in blocks: new memory costs ten times the arithmetic."""
    xs, ys, slopes = x.reshape(-1), y.reshape(-1), None if slope is None else slope.reshape(-1)
    for r in flat_blocks(x.size):
        value, change = _GATES[gate](xs[r])
        if slopes is not None:
            np.add(value, xs[r] * change, out=slopes[r])
        np.multiply(xs[r], value, out=ys[r])


def gated(x: Tensor, gate: str) -> Tensor:
    """gate(x)."""
    kind = Silu if gate == "silu" else Gelu
    return apply(kind(gate=gate, keeps_slope=x.storage.device is cpu), x)


def gelu_gate(what: str, approximate: str) -> str:
    """Name of the gate for an `approximate` argument."""
    if approximate not in ("tanh", "none"):
        raise ArgumentError(
            f"{what}: approximate is {approximate!r}",
            why="gelu has a tanh approximation and an exact form",
            fix='pass "tanh" (as in GPT-2) or "none" (exact)',
        )
    return "gelu_tanh" if approximate == "tanh" else "gelu_erf"


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit: x times the standard normal distribution function at x.

    "none": x * (1 + erf(x / sqrt(2))) / 2
    "tanh": x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2, within 5e-4 of "none"

    Memory: saves x, and on the CPU the derivative at each x (float32 or wider), whose memory the gradient
        reuses.
    Accuracy: 16-bit floats are computed in float32.
    Source: Hendrycks, Gimpel 2016, arXiv:1606.08415.

    >>> tt.gelu(tt.tensor([-1.0, 0.0, 1.0])).tolist()
    [-0.1587, 0.0, 0.8413]
    """
    require_tensors("gelu", x)
    return gated(x, gelu_gate("gelu", approximate))


def silu(x: Tensor) -> Tensor:
    """Sigmoid linear unit, also called swish: x / (1 + exp(-x)).

    Memory: saves x, and on the CPU the derivative at each x (float32 or wider), whose memory the gradient
        reuses.
    Accuracy: 16-bit floats are computed in float32.
    Source: Elfwing, Uchibe, Doya 2017, arXiv:1702.03118.

    >>> tt.silu(tt.tensor([0.0, 1.0])).tolist()
    [0.0, 0.7311]
    """
    require_tensors("silu", x)
    return gated(x, "silu")
