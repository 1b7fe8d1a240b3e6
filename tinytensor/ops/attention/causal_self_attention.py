"""causal_self_attention: packed q, k, v of all heads to the merged result, in one op without views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tinytensor.autograd.levels import Batched
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.batching import VmapCall, sampling, vmap_loop
from tinytensor.dispatch.checks import floating
from tinytensor.dispatch.launch import Launch, View
from tinytensor.errors import ShapeError
from tinytensor.generator import Generator
from tinytensor.kernels.rows import require_tensors
from tinytensor.op import Grads, HostCall, Needs, Op, Saved, Shape, Shapes, Spec, Specs, fields_of, register
from tinytensor.ops.attention import launch as attention_tiles
from tinytensor.ops.attention import numpy_attention
from tinytensor.ops.attention.attention import (
    attention_backward_flops,
    attention_flops,
    kernels,
    merged,
    row_cache,
    scaled_dot_product_attention,
)
from tinytensor.ops.attention.reference import blocks_of, draw_and_drop, plain_attention, redrawn
from tinytensor.ops.double_backward import partial_vjp, through
from tinytensor.ops.joining.joining import chunk, split
from tinytensor.ops.nn.dropout import source_of
from tinytensor.ops.views.manipulation import permute, reshape
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["causal_self_attention"]


def heads_of(a: Array, n_head: int) -> Array:
    """(B, T, C) as a view (B, H, T, D)."""
    B, T, C = a.shape
    return a.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def qkv_of(a: Array, n_head: int) -> tuple[Array, Array, Array]:
    """(B, T, 3 C) as views q, k, v of (B, H, T, D) each."""
    C = a.shape[2] // 3
    return (
        heads_of(a[..., :C], n_head),
        heads_of(a[..., C : 2 * C], n_head),
        heads_of(a[..., 2 * C :], n_head),
    )


def places(a: View, names: Sequence[str], n_head: int) -> dict[str, attention_tiles.Heads]:
    """Addresses and strides of the operands (B, H, T, D) packed along the last axis, one per name."""
    batch, row, column = a.strides
    C = a.shape[2] // len(names)
    steps = (batch, C // n_head * column, row, column)
    return {
        name: attention_tiles.Heads(a.ptr + i * C * column * a.itemsize, steps)
        for i, name in enumerate(names)
    }


def _problem(qkv: View, n_head: int, dropout: float, stream: bytes) -> attention_tiles.Problem:
    B, T, C3 = qkv.shape
    sizes = (B, n_head, T, T, C3 // 3 // n_head, C3 // 3 // n_head)
    return attention_tiles.Problem(qkv.dtype, *sizes, True, _scale(qkv.shape, n_head), dropout, stream)


def _scale(shape: Shape, n_head: int) -> float:
    return 1 / math.sqrt(shape[2] // 3 // n_head)


def _head(qkv: Shape | None, n_head: int) -> Shape:
    B, T, C3 = qkv or (0, 0, 0)
    return (B, n_head, T, C3 // 3 // n_head)


def _self_attention_each(call: VmapCall) -> Any:
    if call.op.dropout:  # its samples are those of the whole batch
        return vmap_loop(call)
    qkv, size = call.xs[0], call.level.size
    y = causal_self_attention(merged(qkv), call.op.n_head)
    return reshape(y, (size, -1, *y.layout.shape[1:]))


def _self_attention_backward_each(call: VmapCall) -> Any:
    """Compute the gradient of all samples as one batch, since the saved tensors cannot be joined."""
    if call.op.dropout or any([isinstance(x, Batched) for x in call.xs]):
        return vmap_loop(call)
    grad, qkv = [merged(x) for x in call.values()[:2]]

    def plain(qkv: Tensor) -> tuple[Tensor]:
        return (causal_self_attention(qkv, call.op.n_head),)

    (dqkv,) = partial_vjp(plain, (qkv,), (grad,), (True,))
    return reshape(dqkv, (call.level.size, -1, *dqkv.layout.shape[1:]))


@register
class CausalSelfAttention(Op):
    """Hidden output: as in Attention."""

    n_head: int
    dropout: float

    inputs = ("qkv", "stream")
    vmap = _self_attention_each
    jvp = through(lambda qkv, stream, **given: _plain_again(qkv, stream, **given))
    rows = ("qkv",)
    outputs = ("y", "lse")
    saves = ("qkv", "stream", "y", "lse")
    autocast = "narrow"

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        head = _head(ins[0], self.n_head)
        return attention_flops((head, head, head), True)

    def infer(self, qkv: Spec, stream: Any) -> Specs:
        floating("causal_self_attention", qkv)
        B, T, C3 = qkv.shape
        return Spec((B, T, C3 // 3), qkv.dtype), row_cache((B, self.n_head), T, qkv)

    def cpu(self, y: Array, lse: Array | None, qkv: Array, stream: Stream) -> None:
        mask_options: Any = {"causal": True, "scale": _scale(qkv.shape, self.n_head), "dropout": self.dropout}
        places = (heads_of(y, self.n_head), lse, *qkv_of(qkv, self.n_head), None, None, stream)
        numpy_attention.forward(*places, **mask_options)

    def host(self, y: Array, lse: Array | None, qkv: Array, stream: Stream) -> HostCall:
        params = (self.n_head, _scale(qkv.shape, self.n_head), self.dropout, *stream)
        return partial(kernels.attention_packed_forward, y, lse, qkv, *params)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        y, lse, qkv, stream = views
        at = {**places(y, ["y"], self.n_head), **places(qkv, ["q", "k", "v"], self.n_head)}
        samples = launch.stream(stream) if self.dropout else b""
        attention_tiles.forward(launch, _problem(qkv, self.n_head, self.dropout, samples), at, lse, None)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        ins = (saved.qkv, saved.stream, saved.y, saved.lse)
        op = CausalSelfAttentionBackward(n_head=self.n_head, dropout=self.dropout)
        return apply(op, grads[0], *ins), None


@register
class CausalSelfAttentionBackward(Op):
    """With P = softmax(scale * q @ k.T), causal, and dP = grad @ v.T: dv = P.T @ grad,
    dS = P * (dP - sum(dP * P)), dq = scale * dS @ k, dk = scale * dS.T @ q; written into one packed array.
    """

    n_head: int
    dropout: float

    inputs = ("grad", "qkv", "stream", "y", "lse")
    vmap = _self_attention_backward_each
    jvp = through(lambda *xs, **given: _packed_backward(*xs, **given))
    rows = ("grad", "qkv")
    outputs = ("dqkv",)
    saves = ("grad", "qkv", "stream")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        head = _head(ins[1], self.n_head)
        return attention_backward_flops((None, head, head, head), True)

    def infer(self, grad: Spec, qkv: Spec, *_: Spec | None) -> Specs:
        return (qkv,)

    def cpu(self, *arrays: Any) -> None:
        dqkv, grad, qkv, stream, y, lse = arrays
        mask_options: Any = {"causal": True, "scale": _scale(qkv.shape, self.n_head), "dropout": self.dropout}
        grad, y = heads_of(grad, self.n_head), heads_of(y, self.n_head)
        q, k, v = qkv_of(qkv, self.n_head)
        dq, dk, dv = qkv_of(dqkv, self.n_head)
        numpy_attention.backward(dq, dk, dv, grad, q, k, v, None, None, stream, y, lse, **mask_options)

    def host(self, *arrays: Any) -> HostCall:
        dqkv, grad, qkv, stream, y, lse = arrays
        params = (self.n_head, _scale(qkv.shape, self.n_head), self.dropout, *stream)
        return partial(kernels.attention_packed_backward, dqkv, grad, qkv, y, lse, *params)

    host_bf16 = host

    def cuda(self, launch: Launch, *views: Any) -> None:
        dqkv, grad, qkv, stream, y, lse = views
        at = {**places(grad, ["grad"], self.n_head), **places(y, ["y"], self.n_head)}
        at |= places(dqkv, ["dq", "dk", "dv"], self.n_head) | places(qkv, ["q", "k", "v"], self.n_head)
        samples = launch.stream(stream) if self.dropout else b""
        attention_tiles.backward(launch, _problem(qkv, self.n_head, self.dropout, samples), at, lse, None)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """Double backward of dq = scale * dS @ k, dk = scale * dS.T @ q and dv = P.T @ grad."""
        inputs = (saved.grad, saved.qkv, saved.stream)
        found = partial_vjp(_packed_backward, inputs, grads, (*needs[:2], False), **fields_of(self))
        return (*found, None, None)


def _packed_backward(grad: Tensor, qkv: Tensor, stream: Stream, **params: Any) -> Grads:
    """CausalSelfAttentionBackward in unfused ops, for double backward."""
    return partial_vjp(_plain_again, (qkv, stream), (grad,), (True, False), **params)[:1]


def _plain_again(qkv: Tensor, stream: Stream, *, n_head: int, dropout: float) -> tuple[Tensor]:
    """CausalSelfAttention in unfused ops."""
    return (_plain_packed(qkv, n_head, redrawn(dropout, stream)),)


def _plain_packed(qkv: Tensor, n_head: int, drop: Callable[[Tensor], Tensor] | None) -> Tensor:
    """causal_self_attention in unfused ops."""
    B, T, C3 = qkv.layout.shape
    heads = [permute(reshape(a, (B, T, n_head, C3 // 3 // n_head)), (0, 2, 1, 3)) for a in chunk(qkv, 3, -1)]
    scale = _scale((B, T, C3), n_head)
    y, _ = plain_attention(*heads, mask=None, causal=True, scale=scale, drop=drop)
    return reshape(permute(y, (0, 2, 1, 3)), (B, T, C3 // 3))


def causal_self_attention(
    qkv: Tensor,
    n_head: int,
    *,
    n_kv_head: int = 0,
    window: int = 0,
    slopes: Tensor | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Multi-head causal self-attention: each token attends to itself and all tokens before it.

    The same as splitting qkv into q, k, v and each into heads, scaled_dot_product_attention(causal=True), and
    merging the heads; but in one node that reads and writes the packed memory.

    Args:
        qkv: shape (B, T, (H + 2 G) D): queries, keys and values side by side, in each the heads side by side.
        n_kv_head: number of key and value heads G, a divisor of H; 0: H, so qkv is (B, T, 3 H D).
        window: number of tokens a token attends to, itself and the last before it; 0: all.
        slopes: shape (H,), floating: slope times distance is subtracted from the scores (ALiBi).
        dropout: probability of dropping a weight; 0 outside training.

    Returns:
        shape (B, T, H D), dtype of qkv.

    Memory: as scaled_dot_product_attention.

    >>> tt.causal_self_attention(tt.ones(1, 2, 12), 2).shape
    (1, 2, 4)
    """
    require_tensors("causal_self_attention", qkv, slopes)
    shape, G = qkv.layout.shape, n_kv_head or n_head
    every = n_head + 2 * G
    if len(shape) != 3 or n_head < 1 or G < 1 or n_head % G or not shape[2] or shape[2] % every:
        raise ShapeError(
            f"causal_self_attention: qkv has shape {shape}, n_head is {n_head}, n_kv_head {n_kv_head}",
            why="qkv is (B, T, (H + 2 G) D) with H at least 1, and G a divisor of it",
            fix="give the last axis the size (n_head + 2 * n_kv_head) * head size",
        )
    device, (B, T, _) = qkv.storage.device, shape
    if window or slopes is not None or n_head != G:
        B, T, width = shape
        heads = permute(reshape(qkv, (B, T, every, width // every)), (0, 2, 1, 3))  # (B, H + 2 G, T, D)
        y = scaled_dot_product_attention(
            *split(heads, [n_head, G, G], 1),
            causal=True,
            window=window,
            slopes=slopes,
            dropout=dropout,
            generator=generator,
        )
        return reshape(permute(y, (0, 2, 1, 3)), (B, T, width // every * n_head))
    source = source_of("causal_self_attention", dropout, generator)
    if not attention_tiles.fit(device, qkv.storage.dtype, shape[2] // every):
        drop = None if source is None else partial(draw_and_drop, p=float(dropout), generator=source)
        return _plain_packed(qkv, n_head, drop)
    if source is None:
        return apply(CausalSelfAttention(n_head=n_head, dropout=0.0), qkv, Stream())
    return _dropping(qkv, source, n_head=n_head, dropout=float(dropout))


@sampling()
def _dropping(qkv: Tensor, source: Generator, *, n_head: int, **params: Any) -> Tensor:
    """Attention with dropout; its samples are drawn here, for each sample of a vmap."""
    B, T, _ = qkv.layout.shape
    offset = source.advance(blocks_of(B * n_head * T, T))
    return apply(CausalSelfAttention(n_head=n_head, **params), qkv, Stream(source.seed, offset))
