"""Launches of the attention kernels on a device: tile sizes, shared memory, and packed arguments.

The kernels are in kernels/attention/attention.cu, for 16-bit floats in attention_mma.cu next to it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from tinytensor.device import Device, cpu
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import DType, bfloat16, bool_
from tinytensor.runtime import runtime_of

SIZES = (16, 32, 64, 128, 256)  # head sizes of the kernels; others are padded with zeros
# (rows of a block, columns of a step), by the bytes of an element and the head size. With more rows the
# columns are read less often; registers and shared memory set the limit.
FORWARD = {
    2: {16: (128, 64), 32: (128, 64), 64: (128, 64), 128: (64, 32), 256: (64, 16)},
    4: {16: (64, 64), 32: (64, 64), 64: (64, 64), 128: (64, 32), 256: (32, 16)},
    8: {16: (32, 32), 32: (32, 32), 64: (32, 32), 128: (32, 16), 256: (16, 16)},
}
BACKWARD = {
    2: {16: (64, 64), 32: (64, 64), 64: (64, 64), 128: (64, 32), 256: (32, 16)},
    4: {16: (64, 64), 32: (64, 32), 64: (64, 32), 128: (32, 32), 256: (16, 16)},
    8: {16: (32, 32), 32: (32, 32), 64: (32, 16), 128: (16, 16), 256: (8, 16)},
}
SHORT = 32  # up to this many queries and keys, smaller tiles leave fewer threads idle
SMALL = 65_536  # bytes of shared memory of a block before compute capability 8.0; at least 99 KiB since
_PROBLEM = struct.Struct("@36qd8i")  # Problem in attention.cuh
_NOWHERE = (0, 0, 0, 0)


class Heads(NamedTuple):
    """An operand (B, H, T, D) in memory: the address of its first element, and its strides."""

    ptr: int
    steps: tuple[int, ...]


class Problem(NamedTuple):
    """Sizes and options of an attention call, without addresses.

    Attributes:
        dtype: of all operands except a bool mask.
        batch, heads, queries, keys: B, H, Tq, Tk.
        size, value_size: D of the queries and keys, and of the values.
        causal, scale: as in scaled_dot_product_attention.
    """

    dtype: DType
    batch: int
    heads: int
    queries: int
    keys: int
    size: int
    value_size: int
    causal: bool
    scale: float

    def instances(self) -> tuple[Instance, Instance]:
        """Launch parameters of the forward and the backward kernels."""
        short = max(self.queries, self.keys) <= SHORT
        return instances(self.dtype.itemsize, max(self.size, self.value_size), short)


class Instance(NamedTuple):
    """Launch parameters of a kernel: the padded head size, rows and columns of its tiles."""

    size: int
    rows: int
    columns: int
    threads: int
    shared: int


@lru_cache(256)
def instances(itemsize: int, size: int, short: bool) -> tuple[Instance, Instance]:
    """Launch parameters of the forward and the backward kernels.

    Args:
        itemsize: bytes of an element.
        size: of the heads.
        short: whether there are at most SHORT queries and keys.
    """
    n = next(filled for filled in SIZES if filled >= size)
    most = SHORT if short else 1 << 30
    rows, columns = [min(i, most) for i in FORWARD[itemsize][n]]
    b_rows, b_columns = [min(i, most) for i in BACKWARD[itemsize][n]]
    if itemsize == 2:
        pitch = n + 8
        per_warp = 32 if n <= 64 else 16
        forward = Instance(n, rows, columns, rows // per_warp * 32, 2 * pitch * (rows + 4 * columns))
        shared = 2 * pitch * (2 * b_rows + 4 * b_columns) + 16 * b_columns
        return forward, Instance(n, b_rows, b_columns, b_rows // 16 * 32, shared)
    pad = 16 // itemsize
    together = (32 if n <= 128 else 16) // itemsize  # rows that 16 threads share
    shared = n * rows + columns * n + columns * (max(n, rows) + pad)
    forward = Instance(n, rows, columns, rows // together * 16, itemsize * shared)
    shared = 2 * n * b_rows + 2 * b_columns * (n + pad + 1) + b_columns * (b_rows + pad)
    return forward, Instance(n, b_rows, b_columns, b_rows // together * 16, itemsize * shared)


def fit(device: Device, dtype: DType, size: int) -> bool:
    """Whether the kernels of a device support this head size (the CPU supports all)."""
    if device is cpu:
        return True
    if size > SIZES[-1]:
        return False
    if runtime_of(device).architecture >= 80:
        return True
    # Without bfloat16 tensor cores a tile in registers does not pay: it spills.
    return dtype is not bfloat16 and all(s.shared <= SMALL for s in instances(dtype.itemsize, size, False))


def forward(
    launch: Launch, problem: Problem, at: Mapping[str, Heads], lse: View | None, mask: View | None
) -> None:
    """y = softmax(scale * q k' + mask) v, and the logsumexp of each row.

    Args:
        launch: the launch of the op.
        problem: sizes and options.
        at: addresses and strides of y, q, k and v.
        lse: (B, H, Tq), or None if there is no backward.
        mask: four axes, broadcasts to (B, H, Tq, Tk).
    """
    instance, _ = problem.instances()
    operands = (at["q"].ptr, at["k"].ptr, at["v"].ptr, mask)
    args = (at["y"].ptr, lse, *operands, _told(problem, at, mask))
    _launch(launch, "attention_forward", problem, instance, problem.queries, args, lse is not None)


def backward(launch: Launch, problem: Problem, at: Mapping[str, Heads], lse: View, mask: View | None) -> None:
    """Gradients of the queries, then of the keys and values, in two kernels without atomics.

    Args:
        launch, problem, lse, mask: as in forward.
        at: addresses and strides of dq, dk, dv, grad, q, k, v and y.
    """
    _, instance = problem.instances()
    delta = launch.scratch(lse.shape, lse.dtype)  # (B, H, Tq)
    told = _told(problem, at, mask)
    operands = (at["grad"].ptr, at["q"].ptr, at["k"].ptr, at["v"].ptr, mask)
    first = (at["dq"].ptr, delta, *operands, at["y"].ptr, lse, told)
    _launch(launch, "attention_backward_queries", problem, instance, problem.queries, first)
    second = (at["dk"].ptr, at["dv"].ptr, *operands, lse, delta, told)
    _launch(launch, "attention_backward_keys", problem, instance, problem.keys, second)


def _told(problem: Problem, at: Mapping[str, Heads], mask: View | None) -> bytes:
    """The packed struct that all attention kernels take."""
    p = problem
    steps = {name: heads.steps for name, heads in at.items()}
    kind = 0
    if mask is not None:
        steps["mask"] = tuple([0 if n == 1 else s for n, s in zip(mask.shape, mask.strides, strict=True)])
        kind = 1 if mask.dtype is bool_ else 2
    names = ("q", "k", "v", "mask", "y", "grad", "dq", "dk", "dv")
    places = [step for name in names for step in steps.get(name, _NOWHERE)]
    reach = p.keys - p.queries if p.causal else p.keys - 1
    sizes = (p.heads, p.queries, p.keys, p.size, p.value_size, reach, kind, 0)
    return _PROBLEM.pack(*places, p.scale, *sizes)


def _launch(
    launch: Launch,
    name: str,
    problem: Problem,
    instance: Instance,
    rows: int,
    args: tuple[object, ...],
    recorded: bool = False,
) -> None:
    """Launch a kernel; if backward will follow (`recorded`), compile its kernels in the same compiler run."""
    grid = problem.batch * problem.heads * -(-rows // instance.rows)
    if not grid:
        return
    dtype = problem.dtype
    together = []
    if recorded:
        _, back = problem.instances()
        for other in ("attention_backward_queries", "attention_backward_keys"):
            together.append((other, (dtype, back.size, back.rows, back.columns)))
    file = "attention_mma" if dtype.itemsize == 2 else "attention"
    kernel = launch.runtime.kernel(
        file, name, dtype, instance.size, instance.rows, instance.columns, together=together
    )
    halves = 2 if dtype.itemsize == 2 and instance.size > 128 and name == "attention_backward_keys" else 1
    kernel((grid, halves), instance.threads, args, instance.shared)
