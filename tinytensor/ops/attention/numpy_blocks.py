"""Blocked attention on NumPy arrays (B, H, T, D), forward and backward: the specification of the kernels.

Scores are computed for a few query rows at a time, against all keys that those rows attend to, so that one
block stays in the cache and blocks above a causal diagonal are skipped. The exponentials of a block are not
normalized: y = (E @ V) / rowsum(E), which saves a pass over the scores.

Backward either reads saved scores (`kept`: the blocks of E, one after the other in the order of `plan`, and
1 / row sum) or recomputes them from q, k and the logsumexp of each row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from tinytensor.ops.random.philox import blocks_needed, dropout_keep
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import Array, scratch
from tinytensor.runtime.cpu.numpy_threads import in_ranks

STEP = 64  # query rows in a block; a causal block computes at most STEP - 1 masked scores per row
BLOCK = 1 << 18  # scores in a block of several heads: 1 MiB of float32
MODERATE = 60.0  # exp of scores between -60 and 60, and their sums, are normal float32 numbers


class Piece(NamedTuple):
    """Query rows i to j of some heads, attending to keys begin to end, and the offset of their scores."""

    b: slice
    h: slice
    i: int
    j: int
    begin: int
    end: int
    place: slice


@lru_cache(256)
def plan(B: int, H: int, Tq: int, Tk: int, causal: bool, window: int = 0) -> tuple[tuple[Piece, ...], ...]:
    """All blocks of scores: groups of heads, each with its blocks from the last to the first."""
    if not (B and H and Tq):
        return ()
    step = min(Tq, STEP if causal else max(STEP, BLOCK // max(Tk, 1)))
    heads = max(1, BLOCK // max(step * (min(Tk, step + window) if window else Tk), 1))
    groups, at = [], 0
    for b, h in _heads(B, H, heads):
        pieces = []
        for i in range((Tq - 1) // step * step, -1, -step):
            j = min(i + step, Tq)
            end = j + Tk - Tq if causal else Tk
            begin = max(0, i + Tk - Tq - window + 1) if window else 0
            size = (b.stop - b.start) * (h.stop - h.start) * (j - i) * (end - begin)
            pieces.append(Piece(b, h, i, j, begin, end, slice(at, at + size)))
            at += size
        groups.append(tuple(pieces))
    return tuple(groups)


def _heads(B: int, H: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of about `count` heads: whole batch items if they fit."""
    if count >= H:
        for b in range(0, B, count // H):
            yield slice(b, min(b + count // H, B)), slice(0, H)
    else:
        for b in range(B):
            for h in range(0, H, count):
                yield slice(b, b + 1), slice(h, min(h + count, H))


def scores(B: int, H: int, Tq: int, Tk: int, causal: bool, window: int = 0) -> int:
    """Number of scores in all blocks."""
    groups = plan(B, H, Tq, Tk, causal, window)
    return groups[-1][-1].place.stop if groups else 0


@cache
def _future(n: int, dtype: np.dtype[np.floating]) -> Array:
    """Causal mask that is added to the diagonal block of scores: -inf above the diagonal, else 0."""
    return np.triu(np.full((n, n), -np.inf, dtype), 1)


@lru_cache(256)
def _gone(n: int, earlier: int, dtype: np.dtype[np.floating]) -> Array:
    """Window mask that is added to the first scores of n rows: -inf before the window of each row, else 0.

    The scores begin `earlier` keys after the window of the first row.
    """
    return np.where(
        np.tri(n, max(n - 1 - earlier, 0), -1 - earlier, bool), dtype.type(-np.inf), dtype.type(0)
    )


def _add_masks(
    e: Array,
    piece: Piece,
    mask: Array | None,
    causal: bool,
    window: int,
    slopes: Array | None,
) -> None:
    """Apply the masks to a block of scores: -inf where masked; adds an additive mask and the ALiBi bias."""
    n = piece.j - piece.i
    last = piece.end - n  # the last key visible to the first row of a causal block
    if slopes is not None:
        far = np.subtract.outer(np.arange(last, piece.end), np.arange(piece.begin, piece.end)).astype(e.dtype)
        falls = scratch("attention.falls", (e.shape[1], *far.shape), e.dtype)
        e -= np.multiply(slopes[piece.h, None, None], far, out=falls)
    if causal and n > 1:
        e[..., last - piece.begin :] += _future(n, e.dtype)
    if window and n > 1:
        gone = _gone(n, piece.begin - (last - window + 1), e.dtype)
        e[..., : gone.shape[1]] += gone
    if mask is not None:
        part = (piece.b, piece.h, slice(piece.i, piece.j), slice(piece.begin, piece.end))
        m = mask[tuple([s if size > 1 else slice(None) for s, size in zip(part, mask.shape, strict=True)])]
        e += np.where(m, e.dtype.type(0), e.dtype.type(-np.inf)) if m.dtype == bool else m


def _for_heads(x: Array, piece: Piece, H: int) -> Array:
    """Keys or values for the query heads of a block, (b, h, Tk, D); several may share one."""
    each = H // x.shape[1]
    if each == 1:
        return x[piece.b, piece.h]
    first, last = piece.h.start // each, (piece.h.stop - 1) // each
    if first < last:  # a block with heads of several groups: they are small
        return x[piece.b][:, np.arange(piece.h.start, piece.h.stop) // each]
    shared = x[piece.b, first : last + 1]
    return np.broadcast_to(shared, (shared.shape[0], piece.h.stop - piece.h.start, *shared.shape[2:]))


def _score(e: Array, queries: Array, keys: Array, piece: Piece) -> None:
    """E = Q K' for the rows of one block; the queries are already scaled."""
    np.matmul(queries[:, :, piece.i : piece.j], keys[:, :, piece.begin : piece.end].swapaxes(-1, -2), out=e)


def _room(piece: Piece, kept: Array | None, like: Array) -> Array:
    """Memory for the scores of one block: its part of `kept`, or scratch."""
    shape = (
        piece.b.stop - piece.b.start,
        piece.h.stop - piece.h.start,
        piece.j - piece.i,
        piece.end - piece.begin,
    )
    return scratch("attention.e", shape, like.dtype) if kept is None else kept[piece.place].reshape(shape)


def _scaled(a: Array, scale: float) -> Array:
    """A contiguous copy of the queries of a group, times the scale."""
    scaled: Array = np.multiply(a, scale, out=scratch("attention.q", a.shape, a.dtype))
    return scaled


def forward(
    y: Array,
    kept: Array | None,
    inv: Array | None,
    lse: Array | None,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    slopes: Array | None,
    stream: Stream,
    *,
    causal: bool,
    scale: float,
    window: int = 0,
    dropout: float = 0.0,
) -> None:
    """y = dropout(softmax(scale * q k' + mask - slopes * distances)) v; also fills kept, inv and lse unless
    None.
    """
    B, H, Tq, _ = q.shape

    def group(pieces: tuple[Piece, ...]) -> None:
        for piece in pieces:
            b, h, i, j, begin, end, _ = piece
            if j == Tq:  # the first block of a group
                queries = _scaled(q[b, h], scale)
                keys, values = _for_heads(k, piece, H), _for_heads(v, piece, H)
            e = _room(piece, kept, q)
            _score(e, queries, keys, piece)
            # with slopes each row must attend to the key at distance 0, whose score they do not change
            additive = mask is not None and (slopes is not None or mask.dtype != bool)
            moderate = not additive and _is_moderate(e)
            _add_masks(e, piece, mask, causal, window, slopes)
            top = None
            if not moderate:
                top = np.maximum.reduce(e, -1)
                top[top == -np.inf] = 0  # a fully masked row
                e -= top[..., None]
            np.exp(e, out=e)
            s = np.matmul(e, np.ones(end - begin, e.dtype))
            if mask is not None:
                s[s == 0] = np.inf  # a fully masked row gives 0
            out = y[b, h, i:j]
            if dropout:
                shares = _shares(e, piece, q.shape[:3], k.shape[2], dropout, stream)
                e = np.multiply(e, shares, out=shares)
            np.matmul(e, values[:, :, begin:end], out=out)
            r = np.reciprocal(s, out=scratch("attention.r", s.shape, s.dtype))
            out *= r[..., None]
            if inv is not None:
                inv[b, h, i:j] = r
            if lse is not None:
                np.log(s, out=s)
                lse[b, h, i:j] = s if top is None else s + top

    in_ranks(group, plan(B, H, Tq, k.shape[2], causal, window), B * H * Tq * k.shape[2])


def _shares(e: Array, piece: Piece, shape: tuple[int, ...], keys: int, p: float, stream: Stream) -> Array:
    """Dropout's factors of the weights of a block: 0 or 1 / (1 - p). Word j % 4 of block j // 4 of a query is
    that of key j; the blocks of all queries, (B, H, Tq), follow each other.
    """
    shares = scratch("attention.shares", e.shape, e.dtype)
    each, factor = blocks_needed(keys, 1), e.dtype.type(1.0 / (1.0 - p) if p < 1.0 else 0.0)
    (_, H, queries), n = shape, piece.j - piece.i
    for b, h in np.ndindex(e.shape[:2]):
        first = (((piece.b.start + b) * H + piece.h.start + h) * queries + piece.i) * each
        kept = dropout_keep(stream.seed, (stream.offset + first) % (1 << 64), p, 4 * n * each)
        np.multiply(kept.reshape(n, 4 * each)[:, piece.begin : piece.end], factor, out=shares[b, h])
    return shares


def _is_moderate(e: Array) -> bool:
    """Whether exp of the scores can neither overflow nor underflow, so that no row maximum is needed."""
    return bool(e.size and np.minimum.reduce(e, None) > -MODERATE and np.maximum.reduce(e, None) < MODERATE)


def backward(
    dq: Array,
    dk: Array,
    dv: Array,
    grad: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    slopes: Array | None,
    stream: Stream,
    y: Array,
    kept: Array | None,
    inv: Array | None,
    lse: Array | None,
    *,
    causal: bool,
    scale: float,
    window: int = 0,
    dropout: float = 0.0,
) -> None:
    """With P = softmax, dP = grad v' and dS = P * (dP - rowsum(grad * y)): dq = scale dS k, dk = scale dS' q,
    dv = P' grad. With kept E instead of P, 1 / rowsum(E) goes into grad once.
    dk and dv are per query head, also if heads share keys. Dropout D: dv = (D * P)' grad, and D * dP in place
    of dP.
    """
    B, H, Tq, _ = q.shape
    for gradient in (dk, dv):
        if not Tq:
            gradient[...] = 0

    def group(pieces: tuple[Piece, ...]) -> None:
        for piece in pieces:
            b, h, i, j, begin, end, _ = piece
            if j == Tq:
                queries = _scaled(q[b, h], scale)
                keys, values = _for_heads(k, piece, H), _for_heads(v, piece, H)
            g = grad[b, h, i:j]
            e = _room(piece, kept, q)
            if lse is not None:
                _score(e, queries, keys, piece)
                _add_masks(e, piece, mask, causal, window, slopes)
                e -= lse[b, h, i:j, None]
                np.exp(e, out=e)
            if inv is not None:
                g = np.multiply(g, inv[b, h, i:j, None], out=scratch("attention.g", g.shape, g.dtype))
            ds = scratch("attention.ds", e.shape, e.dtype)
            np.matmul(g, values[:, :, begin:end].swapaxes(-1, -2), out=ds)
            if dropout:
                shares = _shares(e, piece, q.shape[:3], k.shape[2], dropout, stream)
                ds *= shares
            ds -= np.vecdot(g, y[b, h, i:j])[..., None]
            ds *= e
            if dropout:
                e = np.multiply(e, shares, out=shares)
            np.matmul(ds, keys[:, :, begin:end], out=dq[b, h, i:j])
            dq[b, h, i:j] *= scale
            _accumulate(dk[b, h], ds, queries[:, :, i:j], begin, first=j == Tq)
            _accumulate(dv[b, h], e, g, begin, first=j == Tq)

    in_ranks(group, plan(B, H, Tq, k.shape[2], causal, window), B * H * Tq * k.shape[2])


def _accumulate(total: Array, weights: Array, rows: Array, begin: int, first: bool) -> None:
    """total[begin:end] += weights' rows. The first block of a group, with the last keys, overwrites."""
    t = weights.swapaxes(-1, -2)
    seen = total[:, :, begin : begin + t.shape[2]]
    if first:
        np.matmul(t, rows, out=seen)
        total[:, :, :begin] = 0
    else:
        seen += np.matmul(t, rows, out=scratch("attention.t", seen.shape, total.dtype))
