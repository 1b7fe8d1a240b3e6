"""adamw_step, a fused in-place AdamW step for many parameters; and grad_norm, the global gradient norm.

The hyperparameters of a step are in one small float32 tensor, `hyper`, on the device of the parameters. So a
scale computed from the gradient norm is never read back by the host, and a captured step reads the values
that the host wrote before each replay. On a device all parameters are updated in one launch per dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinytensor.autograd.modes import grad_enabled, no_grad
from tinytensor.config import config
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch import copies
from tinytensor.dispatch.apply import apply, apply_all
from tinytensor.dispatch.batching import composed
from tinytensor.dispatch.checks import common_device, floating
from tinytensor.dispatch.cpu import do
from tinytensor.dispatch.launch import Launch, View, launch_for, view_of
from tinytensor.dispatch.record import edge_of
from tinytensor.dispatch.transfer import constant
from tinytensor.dispatch.watch import watched
from tinytensor.dtypes import accumulator, float32, float64
from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.kernels.rows import flat_blocks, one_block, require_tensors, reshaped
from tinytensor.layout import Layout
from tinytensor.op import Array, Grads, HostCall, Needs, Op, Saved, Spec, Specs, per_input, register
from tinytensor.ops.elementwise.power import sqrt, square
from tinytensor.ops.inplace import copy_
from tinytensor.ops.optim.multi_tensor import CHUNK, addresses, by_dtype, table_of
from tinytensor.ops.reductions import reduction
from tinytensor.ops.views.manipulation import cast, copied, detach
from tinytensor.runtime.cpu.graph import capturing, graphs
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.tensor import Tensor, arr, empty, from_array, is_tensor, wrap

__all__ = ["adamw_hyper", "adamw_step", "grad_norm"]

kernels = HostKernels("adamw")
HYPER = 10  # hyperparameters of a step, in the order that adamw_hyper documents


@register
class Adamw(Op):
    """Step of one parameter, with the running means m and v; `coupled` adds weight decay to the gradient."""

    coupled: bool

    inputs = ("param", "grad", "m", "v", "hyper")
    outputs = ()
    visible = 0
    writes = ("param", "m", "v")
    flops = per_input(13.0)

    def infer(self, param: Spec, grad: Spec, m: Spec, v: Spec, hyper: Spec) -> Specs:
        floating("adamw_step", param)
        if not param.shape == grad.shape == m.shape == v.shape or hyper.shape != (HYPER,):
            raise ShapeError(
                f"adamw_step: param {param.shape}, grad {grad.shape}, m {m.shape}, v {v.shape} and hyper "
                f"{hyper.shape} do not fit",
                why=f"param, grad, m and v have one shape, and hyper has {HYPER} elements",
                fix="make m and v with tt.zeros_like(param), and hyper with adamw_hyper(...)",
            )
        wide = accumulator(param.dtype)
        if grad.dtype is not param.dtype or m.dtype is not wide or v.dtype is not wide:
            raise DTypeError(
                f"adamw_step: param {param.dtype}, grad {grad.dtype}, m {m.dtype}, v {v.dtype}",
                why=f"the gradient has the dtype of the parameter, and the running means are {wide}",
                fix=f"make m and v with tt.zeros_like(param, dtype=tt.{wide})",
            )
        return ()

    def cpu(self, param: Array, grad: Array, m: Array, v: Array, hyper: Array) -> None:
        lr, beta1, rest1, beta2, rest2, correction1, correction2, eps, decay, scale = hyper.tolist()
        g = grad * scale + param * decay if self.coupled and decay else grad * scale
        m[...] = beta1 * m + rest1 * g
        v[...] = beta2 * v + rest2 * (g * g)
        kept = param if self.coupled else param * (1 - lr * decay)
        param[...] = kept - (lr / correction1) * m / (np.sqrt(v / correction2) + eps)

    @staticmethod
    def many(columns: list[list[Array]], hyper: Array, rows: Array, coupled: bool) -> HostCall:
        return partial(kernels.adamw, *columns, hyper, rows, coupled)

    def cuda(self, launch: Launch, param: View, grad: View, m: View, v: View, hyper: View) -> None:
        grad = launch.dense(grad, operand="the gradient")
        table = table_of(launch, (param.size,), [(x.ptr,) for x in (param, grad, m, v)])
        args = (table.entries, table.chunks, hyper, self.coupled)
        launch("adamw", param.dtype, grid=table.blocks, args=args)


def adamw_hyper(
    *,
    lr: float,
    step: int,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    scale: float | Tensor = 1.0,
    device: Device | str | None = None,
) -> Tensor:
    """Hyperparameters of one AdamW step as a small tensor, for `adamw_step`.

    Args:
        step: number of the step, from 1.
        scale: factor of all gradients, for example from clipping; a number or a 0-d tensor.

    Returns:
        shape (10,), float32: lr, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta1**step, 1 - beta2**step, eps,
        weight_decay, scale.

    >>> tt.adamw_hyper(lr=0.1, step=1, betas=(0.5, 0.5), weight_decay=0.0).tolist()
    [0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 1.0]
    """
    beta1, beta2 = betas
    if step < 1 or not (0.0 <= beta1 < 1.0 and 0.0 <= beta2 < 1.0):
        raise ArgumentError(
            f"adamw_hyper: step is {step}, betas are {betas}",
            why="steps count from 1, and with a beta of 1 the running mean would ignore every gradient",
            fix="for example adamw_hyper(lr=3e-4, step=1, betas=(0.9, 0.95))",
        )
    if is_tensor(scale) and scale.layout.shape:
        raise ShapeError(
            f"adamw_hyper: scale has shape {scale.layout.shape}",
            why="all gradients are multiplied by one number",
            fix="pass a number or a 0-d tensor, for example scale.sum()",
        )
    number = 1.0 if is_tensor(scale) else scale
    place = as_device(device) if device is not None else scale.storage.device if is_tensor(scale) else cpu
    corrections = (1.0 - beta1**step, 1.0 - beta2**step)
    row = [lr, beta1, 1.0 - beta1, beta2, 1.0 - beta2, *corrections, eps, weight_decay, number]
    hyper = constant(np.array(list(map(float, row)), np.float32), float32, place)
    if is_tensor(scale):
        copy_(wrap(None, Layout((), (), HYPER - 1), hyper.storage), detach(scale))  # not read back
    return hyper


def adamw_step(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    ms: Sequence[Tensor],
    vs: Sequence[Tensor],
    hyper: Tensor,
    *,
    rows: Sequence[int] | None = None,
    coupled: bool = False,
) -> None:
    """Update many parameters by one step of AdamW, in place.

    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g, with g = scale * gradient
    p = p - lr * weight_decay * p - lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + eps)

    Args:
        params: contiguous floating tensors of any shapes, all on one device; written to.
        grads: one per parameter, of its shape and dtype.
        ms, vs: running means of gradient and squared gradient, of the parameters' shapes, at least float32;
            written to. Zeros before the first step.
        hyper: shape (10,), float32, from adamw_hyper; or (R, 10), several of them stacked.
        rows: the row of hyper for each parameter, if there are several.
        coupled: add weight decay to the gradient, as in Adam: g = scale * gradient + weight_decay * p.

    Memory: a block of scratch; parameters need no float32 copy. On a device a table of addresses, which is
        copied there when one of them has changed.
    Accuracy: 16-bit parameters are computed in float32 and rounded to nearest once per step.
    Source: Loshchilov, Hutter 2019, arXiv:1711.05101; Kingma, Ba 2015, arXiv:1412.6980.

    >>> p, g = tt.ones(2), tt.tensor([1.0, -1.0])
    >>> m, v = tt.zeros(2), tt.zeros(2)
    >>> tt.adamw_step([p], [g], [m], [v], tt.adamw_hyper(lr=0.1, step=1, weight_decay=0.0))
    >>> p.tolist()
    [0.9, 1.1]
    """
    if not len(params) == len(grads) == len(ms) == len(vs):
        raise ShapeError(
            f"adamw_step: {len(params)} params, {len(grads)} grads, {len(ms)} ms and {len(vs)} vs",
            why="each parameter has one of each",
            fix="leave out parameters without a gradient, and their m and v",
        )
    require_tensors("adamw_step", *params, *grads, *ms, *vs, hyper)
    which = _checked_rows(hyper, len(params)) if rows is None else _checked_rows(hyper, len(params), rows)
    if not params:
        return
    device = common_device("adamw_step", (*params, *grads, *ms, *vs, hyper))
    one = Spec((HYPER,), hyper.storage.dtype)
    for p, g, m, v in zip(params, grads, ms, vs, strict=True):
        shape, dtype = p.layout.shape, p.storage.dtype
        if not (
            shape == g.layout.shape == m.layout.shape == v.layout.shape
            and dtype is g.storage.dtype is m.storage.dtype is v.storage.dtype
            and dtype.is_floating
        ):  # 16-bit floats, or an error
            param, grad, mean, square = [Spec(x.layout.shape, x.storage.dtype) for x in (p, g, m, v)]
            Adamw(coupled=coupled).infer(param, grad, mean, square, one)
        for name, x in (("param", p), ("m", m), ("v", v)):
            if not x.layout.is_contiguous:
                raise ShapeError(
                    f"adamw_step: {name} of shape {x.layout.shape} is not contiguous",
                    why="the step processes the memory of a tensor as one block",
                    fix=f"keep {name} as a contiguous tensor: {name}.contiguous()",
                )

    def run() -> Sequence[Any]:
        _step(device, params, grads, ms, vs, hyper, which, coupled)
        return ()

    watched(Adamw(coupled=coupled), device, (params, grads, ms, vs, hyper, which), run)


def _step(
    device: Device,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    ms: Sequence[Tensor],
    vs: Sequence[Tensor],
    hyper: Tensor,
    which: Sequence[int],
    coupled: bool,
) -> None:
    if device is not cpu:
        _step_on_device(
            launch_for(Adamw(coupled=coupled), device), params, grads, ms, vs, hyper, which, coupled
        )
        return
    written = (*params, *ms, *vs)
    rows, tensors = np.array(which, np.int64), (hyper, *params, *grads, *ms, *vs)
    host = partial(Adamw.many, _columns(params, grads, ms, vs), arr(hyper), rows, coupled)
    do(partial(_step_on_cpu, rows, coupled), *tensors, writes=written, host=host)
    if capturing() is not None:  # otherwise the step has done it
        for x in written:
            x.storage.bump(Adamw.name)


def _step_on_cpu(rows: Array, coupled: bool, hyper: Tensor, *tensors: Tensor) -> None:
    n = len(rows)
    params, grads, ms, vs = [tensors[i : i + n] for i in range(0, 4 * n, n)]
    if _step_on_host(params, grads, ms, vs, hyper, rows, coupled):
        return
    hypers = [from_array(np.ascontiguousarray(row), float32) for row in arr(hyper).reshape(-1, HYPER)]
    with no_grad():
        for row, *one in zip(rows.tolist(), params, grads, ms, vs, strict=True):
            apply_all(Adamw(coupled=coupled), *one, hypers[row])


def _checked_rows(hyper: Tensor, count: int, rows: Sequence[int] | None = None) -> Sequence[int]:
    """The row of hyper for each parameter."""
    shape = hyper.layout.shape
    if hyper.storage.dtype is not float32:
        raise DTypeError(
            f"adamw_step: hyper has dtype {hyper.storage.dtype}",
            why="kernels read the hyperparameters as float32",
            fix="make it with adamw_hyper(...)",
        )
    if rows is None and shape == (HYPER,):
        return [0] * count
    if rows is None or len(shape) != 2 or shape[1] != HYPER:
        raise ShapeError(
            f"adamw_step: hyper has shape {shape}, with rows {'None' if rows is None else 'given'}",
            why=f"hyper has {HYPER} elements, or rows of {HYPER} and one row index per parameter",
            fix="hyper=adamw_hyper(...), or hyper=tt.stack([...]) with rows=[...]",
        )
    if len(rows) != count or any([not 0 <= row < shape[0] for row in rows]):
        raise ShapeError(
            f"adamw_step: rows {list(rows)} for {count} parameters and hyper of shape {shape}",
            why="each parameter has one row of hyper",
            fix=f"give {count} row indices from 0 to {shape[0] - 1}",
        )
    return rows


def _columns(*columns: Sequence[Tensor]) -> list[list[Array]]:
    return [[arr(x) for x in column] for column in columns]


def _step_on_host(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    ms: Sequence[Tensor],
    vs: Sequence[Tensor],
    hyper: Tensor,
    rows: Array,
    coupled: bool,
) -> bool:
    """Step by one call of a C++ kernel; False if it does not support them."""
    if config.host_kernels == "off":
        return False
    columns = _columns(params, grads, ms, vs)
    call = Adamw.many(columns, np.ascontiguousarray(arr(hyper)), rows, coupled)
    if call is None or not call():
        return False
    for written in (params, ms, vs):
        for x in written:
            x.storage.bump(Adamw.name)
    return True


def _as_block(op: str, x: Tensor) -> Tensor:
    """x, or a C-contiguous copy for multi-tensor kernels."""
    layout = x.layout
    if layout.is_contiguous:
        return x
    nbytes = layout.size * x.storage.dtype.itemsize
    copies.hidden(op, "a gradient", layout.shape, layout.strides, nbytes, "the kernel reads it as one block")
    return copied(x)


def _step_on_device(
    launch: Launch,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    ms: Sequence[Tensor],
    vs: Sequence[Tensor],
    hyper: Tensor,
    rows: Sequence[int],
    coupled: bool,
) -> None:
    """Step in one launch per dtype."""
    dense = [_as_block("adamw", g) for g in grads]  # usually no copy
    numbers = view_of(_as_block("adamw", hyper))
    for dtype, places in by_dtype(params).items():
        columns = [addresses([column[i] for i in places]) for column in (params, dense, ms, vs)]
        sizes = tuple([params[i].layout.size for i in places])
        table = table_of(launch, sizes, columns, tuple([rows[i] for i in places]))
        launch("adamw", dtype, grid=table.blocks, args=(table.entries, table.chunks, numbers, coupled))
    for written in (params, ms, vs):
        for x in written:
            x.storage.bump(Adamw.name)


@register
class SumOfSquares(Op):
    """Sum of squares of all elements, in float32 or wider."""

    inputs = ("x",)
    vmap = composed(lambda x: reduction.sum(square(cast(x, accumulator(x.storage.dtype)))))
    saves = ("x",)
    dense = ("x",)
    flops = per_input(2.0)

    @staticmethod
    def infer(x: Spec) -> Specs:
        floating("grad_norm", x)
        return (Spec((), accumulator(x.dtype)),)

    @staticmethod
    def cpu(y: Array, x: Array) -> None:
        flat, total = reshaped(x, -1), 0.0
        for r in flat_blocks(flat.size):  # BLAS adds one block in float32, Python the blocks in float64
            total += float(np.dot(flat[r], flat[r]))
        y[...] = total

    @staticmethod
    def many(norm: Array, xs: list[Array]) -> HostCall:
        """C++ kernel: the root of the sum over all arrays."""
        return partial(kernels.euclidean_norm, norm, xs)

    @staticmethod
    def cuda(launch: Launch, y: View, x: View) -> None:
        blocks = -(-x.size // CHUNK)
        sums = launch.scratch((blocks,), float64)
        launch("sum_of_squares", x.dtype, grid=blocks, args=(sums, x, x.size))
        launch(
            "sum_of_squares_total", y.dtype, grid=1, block=one_block(blocks), args=(y, sums, blocks, False)
        )

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = 2 * grad * x."""
        x = saved.x
        return (x * (cast(grads[0], x.storage.dtype) * 2.0),)


def grad_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Global Euclidean norm of several tensors, as for gradient clipping.

    norm = sqrt(sum over all tensors and elements of x * x)

    Returns:
        shape (), at least float32; stays on the device, without a read-back.

    Accuracy: blocks of at most 65,536 squares are added in the dtype, the blocks in float64.

    >>> tt.grad_norm([tt.tensor([3.0]), tt.tensor([[4.0]])]).item()
    5.0
    """
    if not tensors:
        raise ArgumentError(
            "grad_norm: no tensor", why="the norm needs at least one tensor", fix="pass the gradients"
        )
    require_tensors("grad_norm", *tensors)
    device = common_device("grad_norm", tensors)
    recorded = grad_enabled() and any([edge_of(x) is not None for x in tensors])
    if not recorded and (device is not cpu or config.host_kernels == "auto"):

        def run() -> Sequence[Tensor | None]:
            return (_norm_of_all(device, tensors),)

        (norm,) = watched(SumOfSquares, device, (tensors,), run)
        if norm is not None:
            return norm  # type: ignore[no-any-return]
    total = apply(SumOfSquares, tensors[0])
    for x in tensors[1:]:
        total = total + apply(SumOfSquares, x)
    return sqrt(total)


def _norm_of_all(device: Device, tensors: Sequence[Tensor]) -> Tensor | None:
    """Norm by one call for all tensors; None if no kernel handles them."""
    if device is not cpu:
        return _norm_on_device(device, tensors)
    norm, arrays = empty((), float32), [arr(x) for x in tensors]
    call = SumOfSquares.many(arr(norm), arrays)
    if call is None or not call():
        return None
    if graphs:  # the kernel supports these operands, and replays call it again
        do(call, host=partial(SumOfSquares.many, arr(norm), arrays))
    return norm


def _norm_on_device(device: Device, tensors: Sequence[Tensor]) -> Tensor:
    """Norm by two launches (one more for each further dtype), not recorded by autograd."""
    launch = launch_for(SumOfSquares, device)
    for x in tensors:
        SumOfSquares.infer(Spec(x.layout.shape, x.storage.dtype))
    dense = [_as_block("grad_norm", x) for x in tensors]
    tables = []
    for dtype, places in by_dtype(dense).items():
        members = [dense[i] for i in places]
        sizes = tuple([x.layout.size for x in members])
        tables.append((dtype, table_of(launch, sizes, [addresses(members)])))
    blocks = sum([table.blocks for _, table in tables])
    sums, start = launch.scratch((blocks,), float64), 0
    for dtype, table in tables:
        part = sums.read_through(Layout((table.blocks,), (1,), start))
        launch("sum_of_squares_many", dtype, grid=table.blocks, args=(part, table.entries, table.chunks))
        start += table.blocks
    norm = empty((), float64 if any([dtype is float64 for dtype, _ in tables]) else float32, device=device)
    args = (view_of(norm), sums, blocks, True)
    launch("sum_of_squares_total", norm.storage.dtype, grid=1, block=one_block(blocks), args=args)
    return norm
