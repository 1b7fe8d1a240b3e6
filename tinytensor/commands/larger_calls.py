"""Calls that launch what small tensors do not need: rows that several warps share, several blocks for a row,
several chunks of a scan, tiles with ragged edges, tensor cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.op_table.row import FLOATS, as_tuple
from tinytensor.ops.attention import launch as attention_tiles
from tinytensor.ops.attention.attention import heads, problem, scaled_dot_product_attention
from tinytensor.ops.matmul import gemm
from tinytensor.ops.nn.cross_entropy import cross_entropy
from tinytensor.ops.nn.embedding import embedding
from tinytensor.ops.nn.layer_norm import layer_norm, rms_norm
from tinytensor.ops.nn.loss import nll_loss
from tinytensor.random_streams import Stream
from tinytensor.runtime import runtime_of

Tensors = list[tt.Tensor]
Function = Callable[..., Any]  # of tensors; returns one, or several
Calls = list[tuple[Any, ...]]  # a Function, and the shapes of its tensors


def drawn(device: str, dtype: str, *shape: int, seed: int = 0) -> tt.Tensor:
    """Normal numbers; those of integers lie between -50 and 50, or 0 and 50."""
    values: np.ndarray[Any, Any] = np.random.default_rng(seed).normal(size=shape)
    if dtype not in FLOATS:
        values = (values * 20).round().clip(0 if dtype.startswith("uint") else -50, 50)
    return tt.tensor(values).astype(dtype).to(device)


def with_gradients(call: Function, *inputs: tt.Tensor) -> Tensors:
    """The results of a call, and the gradients of the inputs."""
    given = [x.detach().requires_grad_(x.dtype.is_floating) for x in inputs]
    ys = as_tuple(call(*given))
    ends = [y for y in ys if y.requires_grad]
    starts = [drawn(str(y.device), y.dtype.name, *y.shape, seed=9) for y in ends]
    leaves = [x for x in given if x.requires_grad]
    grads = tt.grad(ends, leaves, starts, allow_unused=True) if ends else ()
    return [*ys, *[g for g in grads if g is not None]]


@dataclass(frozen=True)
class Larger:
    """Calls for the kernels of these files, in dtypes that `check` runs; `tf32`: float32 on tensor cores."""

    name: str
    files: tuple[str, ...]
    calls: Sequence[tuple[Any, ...]]
    dtypes: tuple[str, ...] = ("float32",)
    tf32: bool = False

    def run(self, dtype: str, device: str) -> Tensors:
        """Results and gradients, from the same numbers each time."""
        before, tt.config.tf32 = tt.config.tf32, self.tf32
        try:
            found = []
            for call, *shapes in self.calls:
                xs = [drawn(device, dtype, *shape, seed=i) for i, shape in enumerate(shapes)]
                found += with_gradients(call, *xs)
            return found
        finally:
            tt.config.tf32 = before


def plain(call: Function) -> Function:
    """A function without gradients."""
    return tt.no_grad()(call)


# ---- rows, reductions and scans ----------------------------------------------------------------------------


def reduced(name: str) -> Calls:
    """Several blocks for one row, and for columns; many rows, short and long, and columns; rows of 8 elements
    that begin at no multiple of 16 bytes.
    """
    call = plain(getattr(tt, name))
    shapes = {(8201,): None, (9001, 3): 0, (600, 20): 1, (3, 2101): 1, (40, 700): 0}
    calls: Calls = [(partial(call, axis=axis), shape) for shape, axis in shapes.items()]
    cut = (lambda x: call(x[:, ::2, 1:9], axis=(0, 2))), (20, 6, 12)
    return calls if name == "argmin" else [*calls, cut]


def scanned(name: str) -> Calls:
    """Several chunks of a line, along memory and across; many lines, short and long."""
    shapes = {(8201,): 0, (301, 3): 0, (600, 20): 1, (3, 2101): 1, (20, 600): 0}

    def call(axis: int, x: tt.Tensor) -> Any:
        return getattr(tt, name)(x * 0.01 + 1.0 if name == "cumulative_prod" else x, axis=axis)

    return [(partial(call, axis), shape) for shape, axis in shapes.items()]


LONG = [(3, 2101), (1, 16_501)]  # rows that several warps share, with and without room for them in registers
SOFTMAXES: Calls = [
    *[(call, shape) for shape in LONG for call in (tt.softmax, tt.log_softmax)],
    (partial(tt.softmax, axis=0), (70, 5)),
    (plain(lambda x: tt.softmax(tt.where(x > 0, x, float("-inf")), 0)), (70, 5)),  # as a mask does
]


def loss_of_rows(call: Function, reduction: str, x: tt.Tensor) -> Any:
    """Classes in long rows; the second row is ignored."""
    targets = tt.arange(len(x), device=x.device) * 700
    return call(x, targets, ignore_index=700, reduction=reduction)


LOSSES: Calls = [
    (partial(loss_of_rows, call, reduction), shape)
    for shape in LONG
    for call in (cross_entropy, nll_loss)
    for reduction in ("mean", "none")
]


def normed(call: Function, vectors: int) -> Calls:
    """Long rows, and rows that threads hold in whole vectors; also gradients of the last vector alone."""

    def of_last(*xs: tt.Tensor) -> Any:
        return call(*[x.detach() for x in xs[:-1]], xs[-1])

    shapes = [*LONG, (70, 256)]
    return [(f, shape, *[shape[1:]] * vectors) for shape in shapes for f in (call, of_last)]


# ---- elements by index, order and chance -------------------------------------------------------------------


def sorted_in_tiles(x: tt.Tensor) -> Tensors:
    """More than one block can sort."""
    ordered = tt.sort(x)
    places = tt.searchsorted(ordered[0], x[1, :600])
    best = [*tt.topk(x, 5), *tt.topk(x, 600)]
    return [ordered, tt.argsort(x, descending=True), *best, tt.sort(x.T, axis=0), places]


def drawn_at_random(x: tt.Tensor) -> Tensors:
    """Draws with blocks that are not full, from more classes than one block holds, from probabilities that
    begin at no multiple of 16 bytes.
    """
    generator, p = tt.Generator(7), tt.abs(x).clip(0.1, 0.9)
    return [
        tt.bernoulli(p[0, 1:], generator=generator),
        *[f(1003, dtype=x.dtype, device=x.device, generator=generator) for f in (tt.rand, tt.randn)],
        tt.multinomial(p, 600, replacement=True, generator=generator),
        *[tt.multinomial(p, n, replacement=False, generator=generator) for n in (5, 600)],
    ]


# ---- products, attention and training ----------------------------------------------------------------------


def linear(x: tt.Tensor, weight: tt.Tensor, bias: tt.Tensor) -> Any:
    """An affine map, of floats."""
    return tt.linear(x, weight, bias, transposed=False) if x.dtype.is_floating else ()


SIZES = ((37, 45, 70), (135, 21, 131), (20, 600, 30), (5, 7, 9), (1, 4201, 5), (1, 77, 300))
PRODUCTS: Calls = [  # no size is a multiple of a tile; parts of a long inner axis; few rows, or one
    *[(plain(tt.matmul), (m, k), (k, n)) for m, k, n in SIZES],
    *[(plain(lambda a, b: a @ b.T.contiguous().T), (m, k), (k, n)) for m, k, n in SIZES],
    *[(plain(lambda a, b: a.T.contiguous().T @ b), (m, k), (k, n)) for m, k, n in SIZES],
    (plain(tt.matmul), (3, 1, 17, 9), (2, 9, 33)),
    (linear, (37, 45), (45, 70), (70,)),
]


def multiplied_by_warpgroups(a: tt.Tensor, b: tt.Tensor) -> Tensors:
    """The kernel of compute capability 9.0, which the emulated devices do not choose."""
    results = []
    for x in (a, a.T.contiguous().T):
        p = gemm.product_of(x.layout, b.layout, False, False)
        plan = gemm.plan_of(p, x.dtype, gemm.by_warpgroups(p, x.dtype, 1))
        y, sums = [tt.empty(*shape, 272, dtype=x.dtype, device=x.device) for shape in ((72,), ())]
        launch, operands = Launch(runtime_of(x.device), "matmul"), (view_of(x), view_of(b), None)
        gemm.start(launch, plan, view_of(y), operands)
        gemm.start(launch, plan, view_of(y), operands, column_sums=view_of(sums))  # of the columns of b
        results += [y, sums]
    return results


def multiplied_by_packed(x: tt.Tensor) -> Tensors:
    """Weights of all kinds of blocks; those of 34 bytes are aligned to 2 alone."""
    results = []
    for kind in tt.QUANTIZED:
        weight = tt.quantize(drawn("cpu", "float32", 20, 512, seed=1), kind).to(x.device)
        results += [tt.dequantize(weight, kind), tt.quantized_linear(x, weight, kind, rounded=True)]
    return results


def attended(size: int) -> Calls:
    """Several tiles of queries and keys with ragged edges, with and without a mask; no query; a short one."""

    def masked(q: tt.Tensor, k: tt.Tensor, v: tt.Tensor) -> tt.Tensor:
        mask = drawn(str(q.device), "float32", 37, 70, seed=3) > -0.5
        return scaled_dot_product_attention(q, k, v, mask=mask)

    def packed(dropout: float, x: tt.Tensor) -> tt.Tensor:
        return tt.causal_self_attention(x, n_head=1, dropout=dropout, generator=tt.Generator(7))

    keys = [(1, 1, 70, size)] * 2
    return [
        (masked, (1, 1, 37, size), *keys),
        (scaled_dot_product_attention, (1, 1, 0, size), *keys),
        *[(partial(packed, dropout), (1, n, 3 * size)) for n, dropout in ((69, 0.2), (69, 0.0), (5, 0.0))],
    ]


def attended_by_warpgroups(dropout: float, *qkv: tt.Tensor) -> tt.Tensor:
    """Forward by the kernel of compute capability 9.0, which the emulated devices do not choose."""
    q, k, v = map(view_of, qkv)
    result = tt.empty_like(qkv[0])
    at = heads(y=view_of(result), q=q, k=k, v=v)
    launch = Launch(runtime_of(result.device), "attention")
    what = problem(q, k, v, True, result.shape[-1] ** -0.5, dropout, launch.stream(Stream(7, 0)))
    instance = attention_tiles.hopper(what, at, None)
    assert instance
    attention_tiles.forward_by_warpgroups(launch, what, instance, at, None)
    return result


def rounded(x: tt.Tensor) -> Tensors:
    """Parameters that autocast rounds, one of which begins at no multiple of 16 bytes."""
    device = str(x.device)
    weights = drawn(device, "float32", 7, 9), drawn(device, "float32", 64, seed=1)[1:].reshape(7, 9)
    with tt.autocast(x.dtype):
        return [y for w in weights for y in with_gradients(tt.matmul, drawn(device, "float32", 5, 7), w)]


def stepped(*params: tt.Tensor) -> Tensors:
    """A step of AdamW with clipped gradients: of one tensor, and of several with ends within a block. The
    last gradient begins at no multiple of 16 bytes, as a part of a larger tensor does.
    """
    device, dtype = str(params[0].device), params[0].dtype.name
    for p in params:
        p.grad = drawn(device, dtype, *p.shape, seed=9)
    params[2].grad = drawn(device, dtype, 71, seed=9)[1:]
    tt.optim.clip_grad_norm_(params, 0.5)
    tt.optim.clip_grad_norm_(params[:1], 0.1)
    tt.optim.AdamW(params, lr=1e-3).step()
    return [p.detach() for p in params]


def arange(like: tt.Tensor, count: int) -> tt.Tensor:
    """The first integers, on the device of a tensor."""
    return tt.arange(count, device=like.device)


HALF = ("bfloat16",)
LARGER = [
    Larger("in place", ("arithmetic",), [(plain(lambda x: tt.clone(x).mul_(3.0)), (9001,))]),
    *[Larger(n, ("reduction",), reduced(n)) for n in ("sum", "any")],
    Larger("var", ("statistics",), reduced("var")),
    *[Larger(n, ("min_max",), reduced(n)) for n in ("max", "argmin")],
    *[Larger(n, ("scan",), scanned(n)) for n in ("cumulative_sum", "cumulative_prod")],
    Larger("softmax", ("softmax",), SOFTMAXES),
    Larger("losses", ("cross_entropy", "loss"), LOSSES),
    Larger("layer_norm", ("layer_norm",), normed(layer_norm, 2)),
    Larger("rms_norm", ("rms_norm",), normed(rms_norm, 1)),
    Larger("add_norm", ("add_norm",), [
        (lambda x, y, w: tt.multiply(*tt.add_layer_norm(x, y, w, w)), (70, 256), (70, 256), (256,)),
        (lambda x, y, w: tt.multiply(*tt.add_rms_norm(x, y, w)), (70, 256), (70, 256), (256,)),
    ]),
    # vectors of two doubles take half of the bits that are drawn at once
    Larger("norm of doubles", ("add_norm",), [
        (lambda x, y, w: tt.multiply(*tt.add_rms_norm(x, y, w, dropout=0.3, generator=tt.Generator(7))),
         (3, 70), (3, 70), (70,)),
    ], ("float64",)),
    Larger("powers", ("power",), [(lambda x: x ** tt.abs(x), (3, 300))], ("int64",)),
    # more elements than one block counts; a mask that begins at no multiple of 16 bytes
    Larger("mask", ("mask_select",), [
        (plain(lambda x: [*tt.nonzero(x > 1.0), *tt.nonzero((x > 1.0)[1:])]), (9001,)),
        (lambda x: x[x > 1.0], (9001,)),
    ]),
    Larger("sort", ("sorting",), [(plain(sorted_in_tiles), (2, 2501))]),
    # so many picks of one row that its gradient is added up in chunks
    Larger("getitem", ("selection", "indexing"), [(lambda x: x[arange(x, 150) // 70], (5, 80))]),
    # more positions of one row than the list of a warp takes
    Larger("embedding", ("embedding",), [(lambda w: embedding(w, arange(w, 4200) // 4000), (3, 8))]),
    # a gradient along an axis that no block holds at once
    Larger("gather", ("gather_along",), [
        (lambda x: tt.take_along_axis(x, arange(x, 7500).reshape(3, 2500) * 7 % 9001, 1), (3, 9001)),
    ]),
    Larger("contiguous", ("manipulation",), [  # tiles with ragged edges
        (plain(lambda x: x.mT.contiguous()), (2, 37, 3, 45)),
        (plain(lambda x: x.transpose(1, 3).contiguous()), (2, 37, 3, 45)),
        (plain(lambda x: x.T.contiguous()), (70, 9)),
    ]),
    Larger("random", ("random", "sampling"), [(plain(drawn_at_random), (2, 2101))], ("float32", "float64")),
    Larger("matmul", ("matmul",), PRODUCTS),
    Larger("matmul in 16 bits", ("matmul_mma",), PRODUCTS, HALF),
    Larger("matmul in tf32", ("matmul_mma",), PRODUCTS, tf32=True),
    Larger("matmul by warpgroups", ("matmul_sm90",),
           [(plain(multiplied_by_warpgroups), (72, 600), (600, 272))], HALF),  # more slabs than stages
    Larger("quantized", ("dequantize", "quantized_linear"), [(plain(multiplied_by_packed), (3, 512))]),
    Larger("attention", ("attention",), attended(24)),
    *[
        Larger(f"attention of {padded}", ("attention_mma",), attended(size), HALF)
        for padded, size in ((32, 24), (64, 60), (128, 100))
    ],
    Larger("attention by warpgroups", ("attention_sm90",), [
        (plain(partial(attended_by_warpgroups, dropout)), *[(1, 1, 330, size)] * 3)
        for size in (64, 128)
        for dropout in (0.0, 0.2)
    ], ("float16", "bfloat16")),
    Larger("autocast", ("multi_tensor",), [(rounded, (1,))], HALF),
    Larger("optimizer", ("adamw", "multi_tensor"), [(stepped, (300, 7), (5,), (70,))]),
]  # fmt: skip


def larger_of(file: str) -> list[Larger]:
    """The calls for the kernels of a file, by its stem."""
    return [call for call in LARGER if file in call.files]
