"""Launches of the attention kernels on a device: tile sizes, shared memory, and packed arguments.

The kernels are in kernels/attention/attention.cu, for 16-bit floats in attention_mma.cu next to it; on
compute capability 9.0 forward is in attention_sm90.cu.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from tinytensor.device import Device, cpu
from tinytensor.dispatch.launch import Launch, View
from tinytensor.dtypes import DType, bfloat16, bool_
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import Argument, Runtime, TemplateArgument

SIZES = (16, 32, 64, 128, 256)  # head sizes of the kernels; others are padded with zeros
# (queries of a block, keys of a step), by the bytes of an element and the head size. With more queries the
# keys are read less often; registers and shared memory set the limit.
FORWARD = {
    2: {16: (128, 64), 32: (128, 64), 64: (128, 64), 128: (64, 32), 256: (64, 16)},
    4: {16: (64, 64), 32: (64, 64), 64: (64, 64), 128: (64, 32), 256: (32, 16)},
    8: {16: (32, 32), 32: (32, 32), 64: (32, 32), 128: (32, 16), 256: (16, 16)},
}
# (keys of a step, queries of a step inside of it)
BACKWARD = {
    2: {16: (64, 64), 32: (128, 64), 64: (128, 64), 128: (64, 32), 256: (32, 16)},
    4: {16: (64, 64), 32: (64, 32), 64: (64, 32), 128: (32, 32), 256: (16, 16)},
    8: {16: (32, 32), 32: (32, 32), 64: (32, 16), 128: (16, 16), 256: (4, 16)},
}
# The same before compute capability 8.0, for SMALL shared memory
BACKWARD_SMALL = {
    2: {16: (64, 64), 32: (64, 32), 64: (64, 32), 128: (64, 16), 256: (32, 16)},
    4: {**BACKWARD[4], 64: (32, 32)},
    8: {**BACKWARD[8], 64: (16, 16)},
}
SHORT = 32  # up to this many queries and keys, smaller tiles leave fewer threads idle
SMALL = 65_536  # bytes of shared memory of a block before compute capability 8.0; at least 99 KiB since
BLOCK = 256  # threads of the kernels before and after the scores
DELTA_LANES = 8  # threads that share a query in attention_delta
SUMS = 1 << 28  # bytes that parts of a head may take for sums of dq, if there is more than one
PROBLEM = struct.Struct("@36q2d8iIi")  # Problem in attention.cuh, without its Stream
_NO_STREAM = bytes(24)
_NOWHERE = (0, 0, 0, 0)


class Heads(NamedTuple):
    """An operand (B, H, T, D) in memory: the address of its first element, and its strides."""

    ptr: int
    steps: tuple[int, ...]

    @property
    def is_aligned(self) -> bool:
        """Whether rows of 16-bit floats begin at multiples of 16 bytes."""
        *rows, column = self.steps
        return self.ptr % 16 == 0 and column == 1 and not any([step % 8 for step in rows])


class Problem(NamedTuple):
    """Sizes and options of an attention call, without addresses.

    Attributes:
        dtype: of all operands except a bool mask.
        batch, heads, queries, keys: B, H, Tq, Tk.
        size, value_size: D of the queries and keys, and of the values.
        causal, scale, dropout: as in scaled_dot_product_attention.
        stream: of dropout, from `Launch.stream`.
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
    dropout: float = 0.0
    stream: bytes = b""

    def instances(self, architecture: int, special: bool = False) -> tuple[Instance, Instance]:
        """Launch parameters of the forward and the backward kernel: see `instances`."""
        short = max(self.queries, self.keys) <= SHORT
        size = max(self.size, self.value_size)
        return instances(self.dtype.itemsize, size, short, architecture < 80, special)


class Instance(NamedTuple):
    """Launch parameters of a kernel: the padded head size, rows and columns of its tiles."""

    size: int
    rows: int
    columns: int
    threads: int
    shared: int


@lru_cache(256)
def instances(
    itemsize: int, size: int, short: bool, old: bool = False, special: bool = False
) -> tuple[Instance, Instance]:
    """Launch parameters of the forward and the backward kernel.

    Args:
        short: whether there are at most SHORT queries and keys.
        old: whether a block has SMALL shared memory.
        special: whether the kernels are GENERAL: see `_is_general`.
    """
    n = next(filled for filled in SIZES if filled >= size)
    most = SHORT if short else 1 << 30
    rows, columns = [min(i, most) for i in FORWARD[itemsize][n]]
    keys, queries = [min(i, most) for i in (BACKWARD_SMALL if old else BACKWARD)[itemsize][n]]
    if itemsize == 2:
        if special:  # it has fewer registers
            columns = 32 if n == 64 else columns
            queries = 16 if n == 128 else queries
        pitch = n + 8
        per_warp = 32 if n <= 64 else 16
        forward = Instance(n, rows, columns, rows // per_warp * 32, 2 * pitch * (rows + 4 * columns))
        shared = 2 * pitch * (2 * keys + 4 * queries) + 2 * keys * (queries + 8) + 16 * queries
        return forward, Instance(n, keys, queries, keys * 2, shared)
    pad = 16 // itemsize
    together = (32 if n <= 128 else 16) // itemsize  # rows that 16 threads share
    shared = n * rows + columns * n + columns * (max(n, rows) + pad)
    forward = Instance(n, rows, columns, rows // together * 16, itemsize * shared)
    shared = 2 * n * keys + keys * (n + pad) + 2 * queries * (n + pad + 1) + queries * (keys + pad)
    return forward, Instance(n, keys, queries, keys // together * 16, itemsize * shared)


def _by_warpgroups(n: int, stages: int) -> Instance:
    """attention_sm90.cu: 128 queries, rings of n keys or values, 8 warps that gather, barriers."""
    shared = 2 * (128 * n + stages * n * n + 8 * 16 * (n + 8)) + 8 * (1 + 2 * stages)
    return Instance(n, 128, n, 384, shared + 1008)  # it begins at a multiple of 1024


# Of compute capability 9.0 alone, by the padded head size.
HOPPER = {64: _by_warpgroups(64, 6), 128: _by_warpgroups(128, 4)}


def hopper(problem: Problem, at: Mapping[str, Heads], mask: View | None) -> Instance | None:
    """Launch parameters of the kernel of attention_sm90.cu; None if attention_mma.cu has to compute forward.

    It takes heads whose padded size is in HOPPER, more than SHORT queries or keys, a positive scale and no
    mask. TMA has to copy the operands: rows begin at multiples of 16 bytes, no axis is broadcast or reversed.
    """
    p = problem
    padded = next((n for n in SIZES if n >= max(p.size, p.value_size)), 0)
    fits = padded in HOPPER and min(p.size, p.value_size) > 0 and max(p.queries, p.keys) > SHORT
    if not fits or p.dtype.itemsize > 2 or p.scale <= 0 or _is_general(p, at, mask):
        return None
    steps = [step for name in "qkv" for step in _box_steps(p, at[name])]
    return HOPPER[padded] if min(steps) > 0 else None


def _box_steps(problem: Problem, operand: Heads) -> tuple[int, int, int]:
    """Strides of batch, heads and rows for a tensor map; those of a single example or head are not used."""
    batch, head, row, _ = operand.steps
    return batch if problem.batch > 1 else row, head if problem.heads > 1 else row, row


def _box_map(runtime: Runtime, problem: Problem, operand: Heads, lines: int, size: int, tile: int) -> bytes:
    """The tensor map of an operand (B, H, lines, size), for boxes of 64 columns of `tile` rows of a head."""
    shape = (problem.batch, problem.heads, lines, size)
    strides = (*_box_steps(problem, operand), 1)
    return runtime.tensor_map(operand.ptr, problem.dtype, shape, strides, (1, 1, tile, 64))


@lru_cache(1024)
def parts(heads: int, tiles: int, blocks: int, nbytes: int) -> int:
    """Among how many blocks to divide the tiles of keys of a head in backward.

    Each part of a head has sums of dq of its own, which a second launch adds in order: so the result does not
    depend on which block comes first, but more parts take more memory and time. The smallest number of parts
    whose time is near the least.

    Args:
        heads: of all examples.
        tiles: of keys, of one head.
        blocks: that run at the same time.
        nbytes: of the sums of one part of all heads.
    """

    def time(n: int) -> float:  # in tiles; to add the sums of a part costs about half a tile
        return -(-heads * n // blocks) * -(-tiles // n) + (0.5 * heads * n / blocks if n > 1 else 0.0)

    numbers = [n for n in range(1, min(tiles, blocks) + 1) if n == 1 or n * nbytes <= SUMS]
    least = min(time(n) for n in numbers)
    return next(n for n in numbers if time(n) <= 1.1 * least)


def fit(device: Device, dtype: DType, size: int) -> bool:
    """Whether the kernels of a device support this head size (the CPU supports all)."""
    if device is cpu:
        return True
    if size > SIZES[-1]:
        return False
    if runtime_of(device).architecture >= 80:
        return True
    # Without bfloat16 tensor cores a tile in registers does not pay: it spills.
    return dtype is not bfloat16 and all(
        s.shared <= SMALL for s in instances(dtype.itemsize, size, False, True)
    )


def forward(
    launch: Launch, problem: Problem, at: Mapping[str, Heads], lse: View | None, mask: View | None
) -> None:
    """y = dropout(softmax(scale * q k' + mask)) v, and the logsumexp of each row.

    Args:
        at: addresses and strides of y, q, k and v.
        lse: (B, H, Tq), or None if there is no backward.
        mask: four axes, broadcasts to (B, H, Tq, Tk).
    """
    by_warpgroups = hopper(problem, at, mask) if launch.runtime.architecture == 90 else None
    if by_warpgroups:
        return forward_by_warpgroups(launch, problem, by_warpgroups, at, lse)
    general = _is_general(problem, at, mask)
    options = general, problem.dropout > 0.0
    instance, _ = problem.instances(launch.runtime.architecture, general)
    blocks = problem.batch * problem.heads * -(-problem.queries // instance.rows)
    if not blocks:
        return
    dtype = problem.dtype
    # Backward will follow: compile its kernels in the same compiler run.
    together = [] if lse is None else _backward_kernels(launch, problem, general)
    types = (dtype, instance.size, instance.rows, instance.columns)
    kernel = launch.runtime.kernel(_file(problem), "attention_forward", *types, *options, together=together)
    operands = (at["q"].ptr, at["k"].ptr, at["v"].ptr, mask)
    args = (at["y"].ptr, lse, *operands, _told(problem, at, mask))
    kernel(blocks, instance.threads, args, instance.shared)


def forward_by_warpgroups(
    launch: Launch, problem: Problem, instance: Instance, at: Mapping[str, Heads], lse: View | None
) -> None:
    """`forward` by the kernel of attention_sm90.cu; `instance` is from `hopper`."""
    p, runtime = problem, launch.runtime
    blocks = p.batch * p.heads * -(-p.queries // instance.rows)
    if not blocks:
        return
    maps = [
        _box_map(runtime, p, at[name], lines, size, tile)
        for name, lines, size, tile in (
            ("q", p.queries, p.size, instance.rows),
            ("k", p.keys, p.size, instance.columns),
            ("v", p.keys, p.value_size, instance.columns),
        )
    ]
    types = (p.dtype, instance.size, p.dropout > 0.0)
    kernel = runtime.kernel("attention_sm90", "attention_forward_hopper", *types)
    kernel(blocks, instance.threads, (at["y"].ptr, lse, _told(p, at, None), *maps), instance.shared)


def _backward_kernels(
    launch: Launch, problem: Problem, general: bool
) -> list[tuple[str, tuple[TemplateArgument, ...]]]:
    """The instances that `backward` launches."""
    dtype, (_, back) = problem.dtype, problem.instances(launch.runtime.architecture, general)
    tiles = (dtype, back.size, back.rows, back.columns)
    delta, add = ("attention_delta", (dtype,)), ("attention_add_parts", tiles)
    return [delta, add, ("attention_backward", (*tiles, general, problem.dropout > 0.0))]


def backward(launch: Launch, problem: Problem, at: Mapping[str, Heads], lse: View, mask: View | None) -> None:
    """Gradients of queries, keys and values, without atomics: two launches, or three if heads have parts.

    Args:
        at: addresses and strides of dq, dk, dv, grad, q, k, v and y.
    """
    general = _is_general(problem, at, mask)
    _, instance = problem.instances(launch.runtime.architecture, general)
    dtype, heads, file = problem.dtype, problem.batch * problem.heads, _file(problem)
    tiles = -(-problem.keys // instance.rows)
    nbytes = heads * problem.queries * instance.size * lse.itemsize
    n = parts(heads, tiles, launch.runtime.multiprocessors, nbytes) if heads and tiles else 1
    told = _told(problem, at, mask, n)
    delta = launch.scratch(lse.shape, lse.dtype)  # (B, H, Tq)
    sums = launch.scratch((heads, n, problem.queries, instance.size), lse.dtype) if tiles > 1 else None

    per_block = BLOCK // DELTA_LANES
    args: tuple[Argument, ...] = (delta, at["grad"].ptr, at["y"].ptr, told)
    grid = heads * -(-problem.queries // per_block)
    if grid:
        together = _backward_kernels(launch, problem, general)
        launch.runtime.kernel(file, "attention_delta", dtype, together=together)(grid, BLOCK, args)

    types = (dtype, instance.size, instance.rows, instance.columns)
    operands = (at["grad"].ptr, at["q"].ptr, at["k"].ptr, at["v"].ptr, mask)
    args = (at["dq"].ptr, at["dk"].ptr, at["dv"].ptr, sums, *operands, lse, delta, told)
    halves = 2 if dtype.itemsize == 2 and instance.size > 128 else 1
    kernel = launch.runtime.kernel(file, "attention_backward", *types, general, problem.dropout > 0.0)
    if heads and tiles:
        kernel((heads * n, halves), instance.threads, args, instance.shared)

    if n > 1:
        per_block = BLOCK // (instance.size * dtype.itemsize // 16)
        grid = heads * -(-problem.queries // per_block)
        args = (at["dq"].ptr, sums, told)
        launch("attention_add_parts", *types, grid=grid, block=BLOCK, args=args, file=file)


def _file(problem: Problem) -> str:
    return "attention_mma" if problem.dtype.itemsize == 2 else "attention"


def _is_general(problem: Problem, at: Mapping[str, Heads], mask: View | None) -> bool:
    """The template argument GENERAL: there is a mask, or 16-bit rows that are not multiples of 16 bytes."""
    if mask is not None or problem.dtype.itemsize > 2:
        return mask is not None
    read = [at[name] for name in ("q", "k", "v", "grad") if name in at]
    sizes = problem.size % 8 or problem.value_size % 8
    return bool(sizes) or not all([x.is_aligned for x in read])


def _told(problem: Problem, at: Mapping[str, Heads], mask: View | None, parts: int = 1) -> bytes:
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
    sizes = (p.heads, p.queries, p.keys, p.size, p.value_size, reach, kind, parts)
    kept = 1.0 / (1.0 - p.dropout) if p.dropout < 1.0 else 0.0
    return PROBLEM.pack(*places, p.scale, kept, *sizes, ceil(p.dropout * (1 << 24)), 0) + (
        p.stream or _NO_STREAM
    )
