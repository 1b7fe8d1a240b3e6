"""Calls that launch what small tensors do not need: rows that several warps share, several blocks for a row,
several chunks of a scan, tiles with ragged edges, tensor cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.op_table.row import FLOATS
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


@dataclass(frozen=True)
class Larger:
    """A call with larger tensors, for the kernels of these files. `run` gets one of `dtypes`, which `check`
    runs, and the device; from the same numbers each time it returns results and gradients.
    """

    name: str
    files: tuple[str, ...]
    run: Callable[[str, str], Tensors]
    dtypes: tuple[str, ...] = ("float32",)


def drawn(device: str, dtype: str, *shape: int, seed: int = 0) -> tt.Tensor:
    """Normal numbers; those of integers lie between -50 and 50, or 0 and 50."""
    values: np.ndarray[Any, Any] = np.random.default_rng(seed).normal(size=shape)
    if dtype not in FLOATS:
        values = (values * 20).round().clip(0 if dtype.startswith("uint") else -50, 50)
    return tt.tensor(values).astype(dtype).to(device)


def with_gradients(call: Callable[..., tt.Tensor], *inputs: tt.Tensor) -> Tensors:
    """The result of a call, and the gradients of all inputs."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = call(*leaves)
    grad = drawn(str(y.device), y.dtype.name, *y.shape, seed=9)
    return [y, *[g for g in tt.grad(y, leaves, grad) if g is not None]]


def written_in_place(dtype: str, device: str) -> Tensors:
    """Several blocks write where they read: each element once."""
    x = drawn(device, dtype, 9001)
    x *= 3.0
    return [x]


# ---- rows, reductions and scans ----------------------------------------------------------------------------


def reduced(name: str, dtype: str, device: str) -> Tensors:
    """Several blocks for one row, and for columns; many rows, short and long, and columns; rows of 8 elements
    that begin at no multiple of 16 bytes.
    """
    call, shapes = getattr(tt, name), [(8201,), (9001, 3), (600, 20), (3, 2101), (40, 700)]
    axes = (None, 0, 1, 1, 0)
    results = [call(drawn(device, dtype, *s), axis=axis) for s, axis in zip(shapes, axes, strict=True)]
    cut = drawn(device, dtype, 20, 6, 12)[:, ::2, 1:9]
    return results if name == "argmin" else [*results, call(cut, axis=(0, 2))]


def scanned(name: str, dtype: str, device: str) -> Tensors:
    """Several chunks of a line, along memory and across; many lines, short and long."""
    results, shapes = [], [((8201,), 0), ((301, 3), 0), ((600, 20), 1), ((3, 2101), 1), ((20, 600), 0)]
    for shape, axis in shapes:
        x = drawn(device, dtype, *shape)
        if name == "cumulative_prod":  # of numbers near 1
            x = x * 0.01 + 1.0
        results += with_gradients(partial(getattr(tt, name), axis=axis), x)
    return results


LONG = [(3, 2101), (1, 16_501)]  # rows that several warps share, with and without room for them in registers


def softmaxes(dtype: str, device: str) -> Tensors:
    """Long rows; columns."""
    rows = [drawn(device, dtype, *shape) for shape in LONG]
    results = [y for x in rows for call in (tt.softmax, tt.log_softmax) for y in with_gradients(call, x)]
    columns = drawn(device, dtype, 70, 5)
    hidden = tt.where(columns > 0, columns, float("-inf"))  # as a mask does
    return results + with_gradients(lambda x: tt.softmax(x, 0), columns) + [tt.softmax(hidden, 0)]


def losses(dtype: str, device: str) -> Tensors:
    """Classes in long rows."""
    results = []
    for x in [drawn(device, dtype, *shape) for shape in LONG]:
        targets = tt.arange(len(x), device=device) * 700
        for call in (cross_entropy, nll_loss):  # the second row is ignored
            given = partial(call, targets=targets, ignore_index=700)
            results += with_gradients(given, x) + with_gradients(partial(given, reduction="none"), x)
    return results


def normed(call: Callable[..., tt.Tensor], vectors: int, dtype: str, device: str) -> Tensors:
    """Long rows, and rows that threads hold in whole vectors."""
    results = []
    for shape in [*LONG, (70, 256)]:
        x = drawn(device, dtype, *shape)
        *first, last = [drawn(device, dtype, shape[1], seed=1 + i) for i in range(vectors)]
        results += with_gradients(call, x, *first, last)
        results += with_gradients(partial(call, x, *first), last)  # of the last one alone
    return results


def added_and_normed(dtype: str, device: str) -> Tensors:
    """A sum and its norm in one pass."""
    x, y = drawn(device, dtype, 70, 256), drawn(device, dtype, 70, 256, seed=1)
    weight = drawn(device, dtype, 256, seed=2)
    centered = with_gradients(lambda x, y, w: tt.multiply(*tt.add_layer_norm(x, y, w, w)), x, y, weight)
    return centered + with_gradients(lambda x, y, w: tt.multiply(*tt.add_rms_norm(x, y, w)), x, y, weight)


# ---- elements by index, order and chance -------------------------------------------------------------------


def raised(dtype: str, device: str) -> Tensors:
    """Integers to the power of integers: negative exponents are looked for first."""
    x = drawn(device, dtype, 3, 300)
    return [x ** tt.abs(x)]


def found_by_mask(dtype: str, device: str) -> Tensors:
    """More elements than one block counts; a mask that begins at no multiple of 16 bytes."""
    x = drawn(device, dtype, 9001)
    later = (x > 1.0)[1:]
    return [*tt.nonzero(x > 1.0), *tt.nonzero(later), *with_gradients(lambda x: x[x > 1.0], x)]


def sorted_in_tiles(dtype: str, device: str) -> Tensors:
    """More than one block can sort."""
    x = drawn(device, dtype, 2, 2501)
    ordered = tt.sort(x)
    places = tt.searchsorted(ordered[0], x[1, :600])
    return [
        ordered,
        tt.argsort(x, descending=True),
        *tt.topk(x, 5),
        *tt.topk(x, 600),
        tt.sort(x.T, axis=0),
        places,
    ]


def picked_often(dtype: str, device: str) -> Tensors:
    """So many picks of one row that its gradient is added up in chunks."""
    picks = tt.arange(150, device=device) // 70
    return with_gradients(lambda x: x[picks], drawn(device, dtype, 5, 80))


def looked_up(dtype: str, device: str) -> Tensors:
    """More positions of one row than the list of a warp takes."""
    ids = tt.arange(4200, device=device) // 4000
    return with_gradients(lambda w: embedding(w, ids), drawn(device, dtype, 3, 8))


def gathered(dtype: str, device: str) -> Tensors:
    """A gradient along an axis that no block holds at once."""
    index = tt.arange(3 * 2500, device=device).reshape(3, 2500) * 7 % 9001
    return with_gradients(lambda x: tt.take_along_axis(x, index, 1), drawn(device, dtype, 3, 9001))


def transposed(dtype: str, device: str) -> Tensors:
    """Tiles with ragged edges."""
    x = drawn(device, dtype, 2, 37, 3, 45)
    return [x.mT.contiguous(), x.transpose(1, 3).contiguous(), drawn(device, dtype, 70, 9).T.contiguous()]


def drawn_at_random(dtype: str, device: str) -> Tensors:
    """Draws with blocks that are not full, from more classes than one block holds, from probabilities that
    begin at no multiple of 16 bytes.
    """
    generator, p = tt.Generator(7), tt.abs(drawn(device, dtype, 2, 2101)).clip(0.1, 0.9)
    return [
        tt.bernoulli(p[0, 1:], generator=generator),
        tt.rand(1003, dtype=dtype, device=device, generator=generator),
        tt.randn(1003, dtype=dtype, device=device, generator=generator),
        tt.multinomial(p, 600, replacement=True, generator=generator),
        *[tt.multinomial(p, n, replacement=False, generator=generator) for n in (5, 600)],
    ]


def dropped(dtype: str, device: str) -> Tensors:
    """Vectors of two doubles, which take half of the bits that are drawn at once."""
    x, y, weight = drawn(device, dtype, 3, 70), drawn(device, dtype, 3, 70, seed=1), drawn(device, dtype, 70)

    def call(x: tt.Tensor, y: tt.Tensor, w: tt.Tensor) -> tt.Tensor:
        return tt.multiply(*tt.add_rms_norm(x, y, w, dropout=0.3, generator=tt.Generator(7)))

    return with_gradients(call, x, y, weight)


# ---- products, attention and training ----------------------------------------------------------------------


def multiplied(dtype: str, device: str) -> Tensors:
    """Products no size of which is a multiple of a tile; parts of a long inner axis; few rows, or one."""
    results = []
    sizes = [(37, 45, 70), (135, 21, 131), (20, 600, 30), (5, 7, 9), (1, 4201, 5), (1, 77, 300)]
    for rows, inner, columns in sizes:
        a, b = drawn(device, dtype, rows, inner), drawn(device, dtype, inner, columns, seed=1)
        results += [a @ b, a @ b.T.contiguous().T, a.T.contiguous().T @ b]
    batch = drawn(device, dtype, 3, 1, 17, 9), drawn(device, dtype, 2, 9, 33, seed=1)
    results.append(batch[0] @ batch[1])
    if dtype in FLOATS:
        weight, bias = drawn(device, dtype, 45, 70, seed=1), drawn(device, dtype, 70, seed=2)
        affine = partial(tt.linear, transposed=False)
        results += with_gradients(affine, drawn(device, dtype, 37, 45), weight, bias)
    return results


def multiplied_in_tf32(dtype: str, device: str) -> Tensors:
    """float32 on tensor cores."""
    before, tt.config.tf32 = tt.config.tf32, True
    try:
        return multiplied(dtype, device)
    finally:
        tt.config.tf32 = before


def multiplied_by_warpgroups(dtype: str, device: str) -> Tensors:
    """The kernel of compute capability 9.0, which the emulated devices do not choose."""
    a, b = drawn(device, dtype, 72, 600), drawn(device, dtype, 600, 272, seed=1)  # more slabs than stages
    results = []
    for x in (a, a.T.contiguous().T):
        p = gemm.product_of(x.layout, b.layout, False, False)
        plan = gemm.plan_of(p, x.dtype, gemm.by_warpgroups(p, x.dtype, 1))
        results.append(tt.empty(72, 272, dtype=x.dtype, device=device))
        launch = Launch(runtime_of(x.device), "matmul")
        gemm.start(launch, plan, view_of(results[-1]), (view_of(x), view_of(b), None))
        sums = tt.empty(272, dtype=x.dtype, device=device)  # of the columns of b
        operands = view_of(x), view_of(b), None
        gemm.start(launch, plan, view_of(results[-1]), operands, column_sums=view_of(sums))
        results.append(sums)
    return results


def multiplied_by_packed(dtype: str, device: str) -> Tensors:
    """Weights of all kinds of blocks; those of 34 bytes are aligned to 2 alone."""
    x, results = drawn(device, dtype, 3, 512), []
    for kind in tt.QUANTIZED:
        weight = tt.quantize(drawn("cpu", "float32", 20, 512, seed=1), kind).to(device)
        results += [tt.dequantize(weight, kind), tt.quantized_linear(x, weight, kind, rounded=True)]
    return results


def attended(size: int, dtype: str, device: str) -> Tensors:
    """Several tiles of queries and keys with ragged edges, with and without a mask; no query; a short one."""
    attention = scaled_dot_product_attention
    q, k, v = (drawn(device, dtype, 1, 1, n, size, seed=i) for i, n in enumerate((37, 70, 70)))
    mask = drawn(device, "float32", 37, 70, seed=3) > -0.5
    results = with_gradients(partial(attention, mask=mask), q, k, v)
    results += with_gradients(attention, q[:, :, :0], k, v)
    for tokens, dropout in ((69, 0.2), (69, 0.0), (5, 0.0)):
        qkv = drawn(device, dtype, 1, tokens, 3 * size)
        packed = partial(tt.causal_self_attention, n_head=1, dropout=dropout)
        results += with_gradients(lambda x, packed=packed: packed(x, generator=tt.Generator(7)), qkv)
    return results


def attended_by_warpgroups(dtype: str, device: str) -> Tensors:
    """Forward by the kernel of compute capability 9.0, which the emulated devices do not choose."""
    results = []
    for size, dropout in ((64, 0.0), (64, 0.2), (128, 0.0), (128, 0.2)):
        q, k, v = [view_of(drawn(device, dtype, 1, 1, 330, size, seed=i)) for i in range(3)]
        results.append(tt.empty(1, 1, 330, size, dtype=dtype, device=device))
        at = heads(y=view_of(results[-1]), q=q, k=k, v=v)
        launch = Launch(runtime_of(results[-1].device), "attention")
        what = problem(q, k, v, True, size**-0.5, dropout, launch.stream(Stream(7, 0)))
        instance = attention_tiles.hopper(what, at, None)
        assert instance
        attention_tiles.forward_by_warpgroups(launch, what, instance, at, None)
    return results


def rounded(dtype: str, device: str) -> Tensors:
    """Parameters that autocast rounds, one of which begins at no multiple of 16 bytes."""
    weights = drawn(device, "float32", 7, 9), drawn(device, "float32", 64, seed=1)[1:].reshape(7, 9)
    with tt.autocast(getattr(tt, dtype)):
        return [y for w in weights for y in with_gradients(tt.matmul, drawn(device, "float32", 5, 7), w)]


def stepped(dtype: str, device: str) -> Tensors:
    """A step of AdamW with clipped gradients: of one tensor, and of several with ends within a block. The
    last gradient begins at no multiple of 16 bytes, as a part of a larger tensor does.
    """
    shapes = [(300, 7), (5,), (70,)]
    params = [drawn(device, dtype, *shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    for p in params:
        p.grad = drawn(device, dtype, *p.shape, seed=9)
    params[2].grad = drawn(device, dtype, 71, seed=9)[1:]
    tt.optim.clip_grad_norm_(params, 0.5)
    tt.optim.clip_grad_norm_(params[:1], 0.1)
    tt.optim.AdamW(params, lr=1e-3).step()
    return [p.detach() for p in params]


LARGER = [
    Larger("in place", ("arithmetic",), written_in_place),
    *[
        Larger(n, ("reduction", "statistics")[n == "var" :], partial(reduced, n))
        for n in ("sum", "any", "var")
    ],
    *[Larger(n, ("min_max",), partial(reduced, n)) for n in ("max", "argmin")],
    *[Larger(n, ("scan",), partial(scanned, n)) for n in ("cumulative_sum", "cumulative_prod")],
    Larger("softmax", ("softmax",), softmaxes),
    Larger("losses", ("cross_entropy", "loss"), losses),
    Larger("layer_norm", ("layer_norm",), partial(normed, layer_norm, 2)),
    Larger("rms_norm", ("rms_norm",), partial(normed, rms_norm, 1)),
    Larger("add_norm", ("add_norm",), added_and_normed),
    Larger("powers", ("power",), raised, ("int64",)),
    Larger("mask", ("mask_select",), found_by_mask),
    Larger("sort", ("sorting",), sorted_in_tiles),
    Larger("getitem", ("selection", "indexing"), picked_often),
    Larger("embedding", ("embedding",), looked_up),
    Larger("gather", ("gather_along",), gathered),
    Larger("contiguous", ("manipulation",), transposed),
    Larger("random", ("random", "sampling"), drawn_at_random, ("float32", "float64")),
    Larger("norm of doubles", ("add_norm",), dropped, ("float64",)),
    Larger("matmul", ("matmul",), multiplied),
    Larger("matmul in 16 bits", ("matmul_mma",), multiplied, ("bfloat16",)),
    Larger("matmul in tf32", ("matmul_mma",), multiplied_in_tf32),
    Larger("matmul by warpgroups", ("matmul_sm90",), multiplied_by_warpgroups, ("bfloat16",)),
    Larger("quantized", ("dequantize", "quantized_linear"), multiplied_by_packed),
    Larger("attention", ("attention",), partial(attended, 24)),
    *[
        Larger(f"attention of {padded}", ("attention_mma",), partial(attended, size), ("bfloat16",))
        for padded, size in ((32, 24), (64, 60), (128, 100))
    ],
    Larger("attention by warpgroups", ("attention_sm90",), attended_by_warpgroups, ("float16", "bfloat16")),
    Larger("autocast", ("multi_tensor",), rounded, ("bfloat16",)),
    Larger("optimizer", ("adamw", "multi_tensor"), stepped),
]


def larger_of(file: str) -> list[Larger]:
    """The calls for the kernels of a file, by its stem."""
    return [call for call in LARGER if file in call.files]
