"""matmul, linear and outer: matrix products with transposition flags, and x @ weight + bias in one node.

Transposes are flags of the op, not views: BLAS reads either operand in its memory layout, and backward
creates no view objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinytensor.autograd.backward import edge_to
from tinytensor.autograd.modes import grad_enabled
from tinytensor.config import config
from tinytensor.device import cpu
from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import VmapCall, aligned, composed
from tinytensor.dispatch.checks import same_dtype
from tinytensor.dispatch.cpu import run_plain
from tinytensor.dispatch.forward import Found, JvpCall, product_rule
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import accumulator, float32, promote
from tinytensor.errors import DTypeError, ShapeError
from tinytensor.kernels.rows import reshaped
from tinytensor.layout import contiguous
from tinytensor.op import Direct, Grads, HostCall, Needs, Op, Saved, Shapes, Spec, Specs, register, size
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.elementwise.arithmetic import multiply as times
from tinytensor.ops.matmul.gemm import multiply, sum_columns
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.reductions.summing import column_sum
from tinytensor.ops.views.manipulation import cast, cast_from, expand, matrix_transpose, reshape, unsqueeze
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.shapes import Shape, broadcast_shapes
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["linear", "matmul", "outer"]

kernels = HostKernels("matmul", "matmul_f64", "matmul_bf16")


def _t(a: Array, flag: bool) -> Array:
    return a.swapaxes(-1, -2) if flag else a


def _matmul_each(call: VmapCall) -> Tensor:
    pairs = list(zip(call.xs, call.batched, strict=True))
    ndim = max([len(x.layout.shape) - is_batched for x, is_batched in pairs])
    a, b = [aligned(x, ndim) if is_batched else x for x, is_batched in pairs]
    return product(a, b, call.op.ta, call.op.tb)


@register
class Matmul(Op):
    """(..., M, K) @ (..., K, N); `ta`, `tb` read an operand with its last two axes swapped."""

    ta: bool
    tb: bool

    inputs = ("a", "b")
    vmap = _matmul_each
    jvp = product_rule
    saves = ("a?b", "b?a")
    autocast = "narrow"

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        a = ins[0] or (0, 0)
        return 2.0 * a[-2 if self.ta else -1] * size(outs[0])

    def infer(self, a: Spec, b: Spec) -> tuple[Spec]:
        m, k = (a.shape[-1], a.shape[-2]) if self.ta else a.shape[-2:]
        k2, n = (b.shape[-1], b.shape[-2]) if self.tb else b.shape[-2:]
        if k != k2:
            raise _unequal(_shown(a.shape, self.ta), _shown(b.shape, self.tb), k, k2)
        batch = a.shape[:-2]
        if batch != b.shape[:-2]:
            what = f"matmul: {_shown(a.shape, self.ta)} @ {_shown(b.shape, self.tb)}: leading axes"
            batch = broadcast_shapes(batch, b.shape[:-2], what=what)
        return (Spec((*batch, m, n), a.dtype),)

    def direct(self, a: Spec, b: Spec) -> Direct | None:
        (y,) = self.infer(a, b)
        # the dot of two transposed matrices is not C-contiguous
        if a.ndim != 2 or b.ndim != 2 or (self.ta and self.tb) or a.dtype.kind != "float":
            return None

        def product(x: Array, y: Array) -> Any:
            if config.matmul == "own":
                out = np.empty(shape, x.dtype)
                run_plain(self, [out], [x, y])
                return out
            return (x.T if self.ta else x).dot(y.T if self.tb else y)  # np.matmul takes twice as long

        shape = y.shape
        return product

    def cpu(self, y: Array, a: Array, b: Array) -> None:
        np.matmul(_t(a, self.ta), _t(b, self.tb), out=y)

    def host(self, y: Array, a: Array, b: Array) -> HostCall:
        who = config.matmul
        multiply = kernels.matmul_f64 if y.itemsize == 8 else kernels.matmul
        return partial(multiply, y, a, b, self.ta, self.tb, False, who == "own") if who != "vendor" else None

    def host_bf16(self, y: Array, a: Array, b: Array) -> HostCall:
        return partial(kernels.matmul_bf16, y, a, b, self.ta, self.tb) if config.matmul != "vendor" else None

    def cuda(self, launch: Launch, y: View, a: View, b: View) -> None:
        multiply(launch, y, a, b, ta=self.ta, tb=self.tb)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """da = grad @ b.T, db = a.T @ grad; where an operand is read transposed, the transpose of that."""
        (g,) = grads
        da = db = None
        if needs[0]:
            da = product(saved.b, g, self.tb, True) if self.ta else product(g, saved.b, False, not self.tb)
        if needs[1]:
            db = product(g, saved.a, True, self.ta) if self.tb else product(saved.a, g, not self.ta, False)
        return da, db


def _unequal(a: Shape, b: Shape, k: int, k2: int) -> ShapeError:
    return ShapeError(
        f"matmul: shapes {a} @ {b} do not fit",
        why=f"the inner sizes {k} and {k2} differ",
        fix="transpose or reshape one operand so that they are equal, for example a @ b.mT",
    )


def _shown(shape: Shape, transposed: bool) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2]) if transposed else shape


def product(a: Tensor, b: Tensor, ta: bool = False, tb: bool = False) -> Tensor:
    """a @ b of tensors with at least two axes and one dtype, each possibly transposed."""
    out = apply(Matmul(ta=ta, tb=tb), a, b)
    la, lb = a.layout, b.layout
    if out._edge is not None and la.shape[:-2] != lb.shape[:-2] and type(out) is Tensor:
        # a batch axis was broadcast: sum its gradient
        out._edge.specs = ((la.shape, a.storage.dtype), (lb.shape, b.storage.dtype))
    return out


def numeric(what: str, *xs: Any) -> Sequence[Tensor]:
    """The operands of a product, promoted to one numeric dtype."""
    for x in xs:
        if not is_tensor(x):
            raise DTypeError(
                f"{what}: an operand of type {type(x).__name__}",
                why="it takes tensors only",
                fix="make it a tensor first: tt.asarray(x)",
            )
    dtype = xs[0].storage.dtype
    if any([x.storage.dtype is not dtype for x in xs]):
        dtype = promote(*[x.storage.dtype for x in xs])
        xs = tuple([cast(x, dtype) for x in xs])
    if dtype.kind == "bool":
        raise DTypeError(
            f"{what}: the operands are bool", why="products need a numeric dtype", fix="x.astype(tt.int64)"
        )
    return xs


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product; `a @ b`.

    (a @ b)[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]. A vector on the left is a row, on the
    right a column, and its axis is removed from the result. Leading axes broadcast.

    Args:
        a: shape (..., M, K) or (K,).
        b: shape (..., K, N) or (K,).

    Returns:
        shape (..., M, N), without M or N where the operand is a vector; the promoted dtype.

    Memory: keeps each operand for backward only if the other one needs a gradient.
    Accuracy: floats are added in the dtype of the result, 16-bit ones in float32, in longer sequential runs
        than in `sum`: for K in the millions float32 loses digits; use (a * b).sum() then. On CPUs with
        AVX512-BF16, bfloat16 operands and sums below 2**-126 in magnitude are flushed to 0 by these
        instructions; tt.config.host_kernels = "off" computes with them.

    >>> (tt.eye(2) @ tt.tensor([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    a, b = numeric("matmul", a, b)
    na, nb = len(a.layout.shape), len(b.layout.shape)
    if na == 2 == nb:
        return product(a, b)
    if na == 0 or nb == 0:
        raise ShapeError(
            f"matmul: shapes {a.layout.shape} @ {b.layout.shape}",
            why="an operand has no axes, so there is nothing to sum over",
            fix="multiply by a scalar with *",
        )
    if na == 1 or nb == 1:
        k, k2 = a.layout.shape[-1], b.layout.shape[-1 if nb == 1 else -2]
        if k != k2:
            raise _unequal(a.layout.shape, b.layout.shape, k, k2)
    if na == 1 and nb == 1:
        return reshape(product(unsqueeze(a, 0), unsqueeze(b, 1)), ())
    if na == 1:
        r = matmul(unsqueeze(a, 0), b)  # (..., 1, N)
        return reshape(r, r.layout.shape[:-2] + r.layout.shape[-1:])
    if nb == 1:
        r = matmul(a, unsqueeze(b, 1))  # (..., M, 1)
        return reshape(r, r.layout.shape[:-1])
    if (
        nb == 2 and a.layout.is_contiguous and a.layout.size
    ):  # one large product in place of a batch of small ones
        shape = a.layout.shape
        return reshape(product(reshape(a, (-1, shape[-1])), b), (*shape[:-1], b.layout.shape[-1]))
    return product(a, b)


def linear_flops(op: Any, outs: Shapes, ins: Shapes) -> float:
    """Floating-point operations of x @ weight + bias."""
    x, bias = ins[0] or (0,), ins[2]
    return (2.0 * x[-1] + (bias is not None)) * size(outs[0])


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, transposed: bool) -> Tensor:
    """Linear in unfused ops, of which each may be batched."""
    y = matmul(x, matrix_transpose(weight) if transposed else weight)
    return y if bias is None else y + bias


def _linear_each(call: VmapCall) -> Any:
    shared = call.batched == [True, False, False]  # then more rows are enough
    return call.run(*call.xs) if shared else composed(_linear)(call)


def linear_tangent(call: JvpCall) -> Found:
    """dy = dx @ weight + x @ dweight + dbias."""
    (dx, dweight, dbias), saved, transposed = call.given, call.saved, call.op.transposed
    ((shape, _),) = call.outputs()  # type: ignore[misc]  # it is computed
    parts = [
        None if dx is None else linear(dx, saved.weight, transposed=transposed),
        None if dweight is None else linear(saved.x, dweight, transposed=transposed),
        None if dbias is None else expand(dbias, shape),
    ]
    return call.total([part for part in parts if part is not None])


@register
class Linear(Op):
    """y = x @ weight + bias with weight (K, N), or, with `transposed`, weight (N, K)."""

    transposed: bool

    inputs = ("x", "weight", "bias")
    vmap = _linear_each
    jvp = linear_tangent
    saves = ("x?weight", "weight?x")
    dense = ("bias",)
    flops = linear_flops
    autocast = "narrow"

    def infer(self, x: Spec, weight: Spec, bias: Spec | None) -> Specs:
        return (linear_spec("linear", x, weight, bias, self.transposed)._replace(aligned=True),)

    def cpu(self, y: Array, x: Array, weight: Array, bias: Array | None) -> None:
        y2 = _rows(y)  # (rows, N)
        np.matmul(_rows(x), weight.T if self.transposed else weight, out=y2)
        if bias is not None:
            y2 += bias

    def host(self, y: Array, x: Array, weight: Array, bias: Array | None) -> HostCall:
        who = config.matmul
        transform = kernels.linear_f64 if y.itemsize == 8 else kernels.linear
        if who == "vendor":
            return None
        return partial(transform, y, x, weight, bias, self.transposed, who == "own")

    def host_bf16(self, y: Array, x: Array, weight: Array, bias: Array | None) -> HostCall:
        return (
            partial(kernels.linear_bf16, y, x, weight, bias, self.transposed)
            if config.matmul != "vendor"
            else None
        )

    def cuda(self, launch: Launch, y: View, x: View, weight: View, bias: View | None) -> None:
        if x.ndim == 1:
            x = x.read_through(x.layout.unsqueeze(0))  # (1, K)
        multiply(launch, y, x, weight, bias, tb=self.transposed)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        return linear_gradients(grads[0], saved, saved.x, saved.weight, needs, self.transposed)


def linear_spec(what: str, x: Spec, weight: Spec, bias: Spec | None, transposed: bool) -> Spec:
    """Shape and dtype of an affine map; raises if the operands do not fit."""
    dtype = same_dtype(what, x, weight, bias)
    if dtype.kind == "bool":
        raise DTypeError(
            f"{what}: the inputs are bool", why="products need a numeric dtype", fix="x.astype(tt.int64)"
        )
    if len(weight.shape) != 2:
        raise ShapeError(
            f"{what}: weight has shape {weight.shape}", why="it is a matrix (in, out)", fix="pass two axes"
        )
    k, n = weight.shape[::-1] if transposed else weight.shape
    if not x.shape or x.shape[-1] != k or (bias is not None and bias.shape != (n,)):
        turned = transposed and x.shape[-1:] == weight.shape[:1] and bias in (None, Spec((k,), dtype))
        raise ShapeError(
            f"{what}: x {x.shape}, weight {weight.shape}{' (transposed)' if transposed else ''} and bias "
            f"{None if bias is None else bias.shape} do not fit",
            why=f"the last axis of x must have size {k}, and the bias the shape ({n},)",
            fix="an nn.Linear has (in, out): call lin(x), or F.linear(x, lin.weight.T, lin.bias)"
            if turned
            else "check the sizes of the layer; weight is (in, out), or (out, in) with transposed=True",
        )
    return Spec((*x.shape[:-1], n), dtype)


def linear_gradients(
    grad: Tensor, saved: Saved, x: Tensor, weight: Tensor, needs: Needs, transposed: bool
) -> Grads:
    """Gradients of an affine map, None where not needed; `needs` is in the order of x, weight and bias.

    A device sums in float32. If weight and bias were cast from float32, as in an autocast block, their
    gradients stay so: rounding them would cost digits, and a cast of each.
    """
    needs_bias = len(needs) > 2 and needs[2]
    operands = x if needs[1] else None, weight if needs[0] else None  # unneeded gradients are not computed
    wide = grad.storage.device is not cpu and grad.storage.dtype.narrow and not grad_enabled()
    wide = wide and all(
        [cast_from(edge_to(saved, i)) is float32 for i in (1, 2) if needs[i : i + 1] == (True,)]
    )
    return apply_all(LinearBackward(transposed=transposed, needs_bias=needs_bias, wide=wide), grad, *operands)


def _rows(a: Array) -> Array:
    """(..., C) as (rows, C); a view unless the leading axes do not merge."""
    return reshaped(a, -1, a.shape[-1]) if a.size else a.reshape(int(np.prod(a.shape[:-1])), a.shape[-1])


def _row_view(launch: Launch, v: View) -> View:
    """(..., C) as (rows, C); a contiguous copy if the leading axes do not merge."""
    shape = (prod(v.shape[:-1]), v.shape[-1])
    found = v.layout.reshape(shape)
    if found is None:
        v = launch.dense(v)
        found = contiguous(shape)
    return v.read_through(found)


@register
class LinearBackward(Op):
    """dx = grad @ weight.T, dweight = x.T @ grad, dbias = the sum of grad over rows; with `transposed`, those
    of weight.T. A gradient whose operand is None is not computed. If `wide`, dweight and dbias are float32.
    """

    transposed: bool
    needs_bias: bool
    wide: bool

    inputs = ("grad", "x", "weight")
    jvp = through(lambda *xs, **given: _linear_backward(*xs, **given))
    outputs = ("dx", "dweight", "dbias")
    visible = 3
    saves = ("grad", "x", "weight")
    vmap = composed(lambda *xs, **params: _linear_backward(*xs, **params))

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        dx, dweight, dbias = outs[:3]
        grad = ins[0] or (0,)
        rows = size(grad[:-1])
        # each element of dx is a sum over the columns of grad, each of dweight one over its rows
        return 2.0 * grad[-1] * size(dx) + 2.0 * rows * size(dweight) + rows * size(dbias)

    def infer(self, grad: Spec, x: Spec | None, weight: Spec | None) -> Specs:
        n, dtype = grad.shape[-1], grad.dtype
        total = accumulator(dtype) if self.wide else dtype
        dx = dweight = None
        if weight is not None:
            dx = Spec((*grad.shape[:-1], weight.shape[1 if self.transposed else 0]), dtype)
        if x is not None:
            dweight = Spec((n, x.shape[-1]) if self.transposed else (x.shape[-1], n), total)
        return dx, dweight, Spec((n,), total) if self.needs_bias else None

    def cpu(self, *arrays: Any) -> None:
        dx, dweight, dbias, grad, x, weight = arrays
        g = _rows(grad)  # (rows, N)
        if dx is not None and weight is not None:
            np.matmul(g, weight if self.transposed else weight.T, out=_rows(dx))
        if dweight is not None and x is not None:
            np.matmul(g.T, _rows(x), out=dweight) if self.transposed else np.matmul(
                _rows(x).T, g, out=dweight
            )
        if dbias is not None:
            column_sum(g, out=dbias)

    def host(self, *arrays: Any) -> HostCall:
        who = config.matmul
        if who == "vendor":
            return None
        gradients = kernels.linear_backward_f64 if arrays[3].itemsize == 8 else kernels.linear_backward
        return partial(gradients, *arrays, self.transposed, who == "own")

    def host_bf16(self, *arrays: Array | None) -> HostCall:
        return (
            partial(kernels.linear_backward_bf16, *arrays, self.transposed)
            if config.matmul != "vendor" and not self.wide
            else None
        )

    def cuda(self, launch: Launch, *views: Any) -> None:
        dx, dweight, dbias, grad, x, weight = views
        g = _row_view(launch, grad)  # (rows, N)
        if dx is not None and weight is not None:
            multiply(launch, dx, g, weight, tb=not self.transposed)
        if dweight is not None and x is not None:
            x = _row_view(launch, x)  # (rows, K)
            if not self.transposed:
                multiply(launch, dweight, x, g, ta=True, column_sums=dbias)
                return
            multiply(launch, dweight, g, x, ta=True)
        if dbias is not None:
            sum_columns(launch, dbias, g)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dx = grad @ weight.T, dweight = x.T @ grad and dbias, through unfused ops."""
        if not (needs[1] or needs[2]):
            return _linear_forward(grads, saved.grad, saved.x, saved.weight, self.transposed), None, None
        ins = (saved.grad, saved.x, saved.weight)
        return partial_vjp(
            _linear_backward, ins, grads, needs, transposed=self.transposed, needs_bias=self.needs_bias
        )


def _linear_backward(
    grad: Tensor,
    x: Tensor | None,
    weight: Tensor | None,
    *,
    transposed: bool,
    needs_bias: bool,
    wide: bool = False,
) -> tuple[Tensor | None, ...]:
    """LinearBackward in unfused ops, for double backward, which follows only if not `wide`."""
    n = grad.layout.shape[-1]
    g = reshape(grad, (grad.layout.size // n if n else 0, n))
    dx = dweight = None
    if weight is not None:
        k = weight.layout.shape[1 if transposed else 0]
        dx = reshape(product(g, weight, False, not transposed), (*grad.layout.shape[:-1], k))
    if x is not None:
        x2 = reshape(x, (g.layout.shape[0], x.layout.shape[-1]))
        dweight = product(g, x2, True) if transposed else product(x2, g, True)
    return dx, dweight, sum(g, 0) if needs_bias else None


def _linear_forward(
    grads: Grads, grad: Tensor, x: Tensor | None, weight: Tensor | None, transposed: bool
) -> Tensor | None:
    """The transpose of LinearBackward as a function of grad: the product rule of x @ weight + bias."""
    dx, dweight, dbias = grads
    y = None if dx is None or weight is None else linear(dx, weight, transposed=transposed)
    if dweight is None or x is None:
        if y is None:
            return None if dbias is None else expand(dbias, grad.layout.shape)
        return y if dbias is None else y + dbias
    other = linear(x, dweight, dbias, transposed=transposed)
    return other if y is None else y + other


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, transposed: bool = True) -> Tensor:
    """Affine map of the last axis, x @ weight.T + bias, in one node.

    Args:
        x: shape (..., K).
        weight: shape (N, K), which is read as its transpose, without a copy; (K, N) with transposed=False.

    Returns:
        shape (..., N), dtype of x.

    Memory: keeps x if the weight needs a gradient, and the weight if x does.
    >>> tt.linear(tt.tensor([1.0, 2.0]), tt.tensor([[3.0, 4.0]]), tt.tensor([1.0])).tolist()
    [12.0]
    """
    return apply(Linear(transposed=transposed), x, weight, bias)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """Outer product of two vectors: a[i] * b[j].

    Returns:
        shape (M, N), the promoted dtype.

    Accuracy: products of two numbers, each rounded once, with the sign of zero.

    >>> tt.outer(tt.tensor([1.0, 2.0]), tt.tensor([3.0, 4.0])).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    a, b = numeric("outer", a, b)
    if len(a.layout.shape) != 1 or len(b.layout.shape) != 1:
        raise ShapeError(
            f"outer: shapes {a.layout.shape} and {b.layout.shape}",
            why="both operands must be vectors",
            fix="flatten them with x.reshape(-1)",
        )
    return times(unsqueeze(a, 1), unsqueeze(b, 0))
