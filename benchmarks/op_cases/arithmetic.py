"""Cases of reductions, scans, row-wise ops, matrix products and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.op_cases.case import Draw, OpCase, distinct, drawn, near_one, side, squares

__all__ = ["attention", "products", "reductions", "rows", "with_more"]

WIDE, TOKENS = 64, 256  # of attention: head size and sequence length


def with_more(*kinds: str) -> Draw:
    """Inputs: a square x, and one more for each kind: "row" a vector, "mask" of x's shape, "classes" a column
    for each row, "order" a permutation of the rows, "along" one of each row's columns.
    """

    def draw(rng: np.random.Generator, n: int) -> list[Any]:
        s = side(n)
        makers: dict[str, Callable[[], Any]] = {
            "row": lambda: drawn(rng, (s,)),
            "mask": lambda: rng.random((s, s)) < 0.5,
            "classes": lambda: rng.integers(0, s, s),
            "order": lambda: rng.permutation(s),
            "along": lambda: rng.permuted(np.tile(np.arange(s), (s, 1)), axis=1),
        }
        return [drawn(rng, (s, s)), *(makers[kind]() for kind in kinds)]

    return draw


def _mask(rng: np.random.Generator, n: int) -> list[Any]:
    return with_more("mask")(rng, n)[1:]


def reductions() -> list[OpCase]:
    """Cases of sums, extrema and scans."""

    def over(name: str, ours: Any, numpy: Any, torch: Any, draw: Draw | None = None) -> OpCase:
        return OpCase(name, "reduction", draw or squares(), ours, numpy, torch)

    def by_name(name: str, torch: str, draw: Draw | None = None) -> OpCase:
        return over(
            f"{name} of rows",
            lambda x: getattr(tt, name)(x, axis=1),
            lambda xp, x: getattr(xp, name)(x, axis=1),
            lambda t, x: getattr(t, torch)(x, dim=1),
            draw,
        )

    of_rows = [by_name(name, name) for name in ("sum", "mean")]
    of_rows += [by_name("prod", "prod", near_one), by_name("max", "amax", distinct)]
    of_rows += [by_name("min", "amin"), *(by_name(name, name, distinct) for name in ("argmax", "argmin"))]
    of_rows += [by_name(name, name, _mask) for name in ("any", "all", "count_nonzero")]
    total = over("sum", lambda x: x.sum(), lambda xp, x: xp.sum(x), lambda t, x: x.sum())
    columns = over(
        "sum of columns", lambda x: x.sum(axis=0), lambda xp, x: xp.sum(x, axis=0), lambda t, x: x.sum(0)
    )
    logs = over("logsumexp of rows", lambda x: tt.logsumexp(x, axis=1), None, lambda t, x: x.logsumexp(1))
    norm = over(
        "norm of rows",
        lambda x: tt.vector_norm(x, axis=1),
        lambda xp, x: xp.linalg.norm(x, axis=1),
        lambda t, x: t.linalg.vector_norm(x, dim=1),
    )
    spreads = [
        over(
            f"{name} of rows",
            lambda x, name=name: getattr(tt, name)(x, axis=1),
            lambda xp, x, name=name: getattr(xp, name)(x, axis=1),
            lambda t, x, name=name: getattr(t, name)(x, dim=1, correction=0),
        )
        for name in ("var", "std")
    ]
    scans = [
        over(
            f"cumulative {name}",
            lambda x, ours=ours: getattr(tt, ours)(x, axis=1),
            lambda xp, x, other=other: getattr(xp, other)(x, axis=1),
            lambda t, x, other=other: getattr(t, other)(x, 1),
            near_one,
        )
        for name, ours, other in (
            ("sum", "cumulative_sum", "cumsum"),
            ("product", "cumulative_prod", "cumprod"),
        )
    ]
    forward = [total, columns, *of_rows, logs, norm, *spreads, *scans]
    differentiated = {"sum", "max of rows", "logsumexp of rows", "std of rows", "cumulative product"}
    return forward + [case.gradients() for case in forward if case.name in differentiated]


def rows() -> list[OpCase]:
    """Cases of softmax, norms, activations and losses, and their gradients."""

    def of(name: str, draw: Draw, ours: Any, torch: Any) -> OpCase:
        return OpCase(name, "rows", draw, ours, None, torch)

    def functional(name: str, **options: Any) -> Callable[..., Any]:
        return lambda t, *tensors: getattr(t.nn.functional, name)(*tensors, **options)

    forward = [
        of("softmax", squares(), lambda x: tt.softmax(x), lambda t, x: t.softmax(x, -1)),
        of("log softmax", squares(), lambda x: tt.log_softmax(x), lambda t, x: t.log_softmax(x, -1)),
        of(
            "layer norm",
            with_more("row", "row"),
            lambda x, w, b: tt.layer_norm(x, w, b),
            lambda t, x, w, b: t.nn.functional.layer_norm(x, w.shape, w, b),
        ),
        of(
            "rms norm",
            with_more("row"),
            lambda x, w: tt.rms_norm(x, w),
            lambda t, x, w: t.nn.functional.rms_norm(x, w.shape, w, 1e-6),
        ),
        of("gelu", squares(), lambda x: tt.gelu(x), functional("gelu", approximate="tanh")),
        of("silu", squares(), lambda x: tt.silu(x), functional("silu")),
        of(
            "cross entropy",
            with_more("classes"),
            lambda x, y: tt.cross_entropy(x, y),
            functional("cross_entropy"),
        ),
        of("nll loss", with_more("classes"), lambda x, y: tt.nll_loss(x, y), functional("nll_loss")),
        of("x + row", with_more("row"), lambda x, w: x + w, lambda t, x, w: x + w),  # backward sums columns
    ]
    return [case for f in forward for case in (f, f.gradients())]


# ---- products ----------------------------------------------------------------------------------------------


def heads(count: int) -> Draw:
    """Inputs: `count` tensors for queries, keys or values, (1, heads, tokens, 64)."""

    def draw(rng: np.random.Generator, n: int) -> list[Any]:
        tokens = min(TOKENS, max(1, n // WIDE))
        shape = (1, max(1, n // (tokens * WIDE)), tokens, WIDE)
        return [drawn(rng, shape, -1.0, 1.0) for _ in range(count)]

    return draw


def packed(rng: np.random.Generator, n: int) -> list[Any]:
    """Inputs: packed queries, keys and values of one head, (batch, tokens, 192)."""
    tokens = min(TOKENS, max(1, n // (3 * WIDE)))
    return [drawn(rng, (max(1, n // (tokens * 3 * WIDE)), tokens, 3 * WIDE), -1.0, 1.0)]


def images(rng: np.random.Generator, n: int) -> list[Any]:
    """Inputs: four images of eight channels, and as many 3 x 3 kernels."""
    s = max(4, side(n // 32))
    return [drawn(rng, (4, 8, s, s)), drawn(rng, (8, 8, 3, 3))]


def into_cache(qkv: Any) -> Any:
    """Self-attention of new tokens through an empty cache."""
    B, T, _ = qkv.shape
    keys, values = (tt.zeros(B, 1, T, WIDE, device=qkv.device) for _ in "kv")
    return tt.cached_self_attention(qkv, keys, values, tt.zeros(1, dtype=tt.int64, device=qkv.device))


def attended(torch: Any, q: Any, k: Any, v: Any) -> Any:
    """PyTorch's causal attention."""
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _cube(n: int) -> float:
    return 2.0 * side(n) ** 3


def _causal(n: int) -> float:
    """FLOPs of causal attention: half of two products per head."""
    return 2.0 * n * min(TOKENS, max(1, n // WIDE))


def _of(name: str, draw: Draw, ours: Any, numpy: Any, torch: Any, flops: Any, most: int = 1 << 20) -> OpCase:
    return OpCase(name, "products", draw, ours, numpy, torch, flops=flops, most=most)


def _three(rng: np.random.Generator, n: int) -> list[Any]:
    return [*squares(2)(rng, n), drawn(rng, (side(n),))]


def products() -> list[OpCase]:
    """Cases of matrix products and convolution."""
    matmul = _of(
        "matmul",
        squares(2),
        lambda a, b: a @ b,
        lambda xp, a, b: xp.matmul(a, b),
        lambda t, a, b: t.matmul(a, b),
        _cube,
    )
    linear = _of(
        "linear",
        _three,
        lambda x, w, b: tt.linear(x, w, b),
        lambda xp, x, w, b: xp.matmul(x, w) + b,
        lambda t, x, w, b: t.addmm(b, x, w),
        _cube,
    )
    with_gelu = _of(
        "linear with GELU",
        _three,
        lambda x, w, b: tt.linear_gelu(x, w, b),
        None,
        lambda t, x, w, b: t.nn.functional.gelu(t.addmm(b, x, w), approximate="tanh"),
        _cube,
    )
    convolution = _of(
        "conv2d",
        images,
        lambda x, w: tt.conv2d(x, w),
        None,
        lambda t, x, w: t.nn.functional.conv2d(x, w),
        lambda n: 2.0 * 72 * n,
    )
    return [matmul, linear, linear.gradients(), with_gelu, convolution, convolution.gradients()]


def attention() -> list[OpCase]:
    """Cases of causal attention: separate and packed inputs, and with a cache."""
    apart = _of(
        "attention",
        heads(3),
        lambda q, k, v: tt.scaled_dot_product_attention(q, k, v, causal=True),
        None,
        attended,
        _causal,
        1 << 22,
    )
    packed_together = _of(
        "causal self-attention",
        packed,
        lambda x: tt.causal_self_attention(x, 1),
        None,
        lambda t, x: attended(t, *x.split(WIDE, dim=-1)),
        lambda n: _causal(n // 3),
        1 << 22,
    )
    cached = _of(
        "attention through a cache", packed, into_cache, None, None, lambda n: _causal(n // 3), 1 << 22
    )
    return [apart, apart.gradients(), packed_together, packed_together.gradients(), cached]
