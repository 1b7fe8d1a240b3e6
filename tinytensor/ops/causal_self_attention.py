"""GPT's attention in one node: from the packed q, k, v of all heads to their merged result, without views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..autograd import Grads, Needs, Saved
from ..dispatch import Op, Spec, Specs, apply, floating, register
from ..errors import ShapeError
from ..launching import Launch, View
from ..layout import Shape
from ..runtime.host import Array
from . import attention_blocks, attention_tiles
from .attention import kept_scores, kernels, plain_attention, row_caches
from .blocks import need_tensors
from .manipulation import permute, reshape
from .plain import partial_vjp
from .splitting import split

if TYPE_CHECKING:
    from ..random import Generator
    from ..tensor import Tensor


def heads_of(a: Array, n_head: int) -> Array:
    """(B, T, C) as (B, H, T, D), without a copy."""
    B, T, C = a.shape
    return a.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def qkv_of(a: Array, n_head: int) -> tuple[Array, Array, Array]:
    """(B, T, 3 C) as q, k, v of (B, H, T, D) each, without a copy."""
    C = a.shape[2] // 3
    return (
        heads_of(a[..., :C], n_head),
        heads_of(a[..., C : 2 * C], n_head),
        heads_of(a[..., 2 * C :], n_head),
    )


def places(a: View, names: Sequence[str], n_head: int) -> dict[str, attention_tiles.Heads]:
    """(B, T, C) in memory as an operand (B, H, T, D) for each name, side by side along the last axis."""
    batch, row, column = a.strides
    C = a.shape[2] // len(names)
    steps = (batch, C // n_head * column, row, column)
    return {
        name: attention_tiles.Heads(a.ptr + i * C * column * a.itemsize, steps)
        for i, name in enumerate(names)
    }


def _problem(qkv: View, n_head: int) -> attention_tiles.Problem:
    B, T, C3 = qkv.shape
    D = C3 // 3 // n_head
    return attention_tiles.Problem(qkv.dtype, B, n_head, T, T, D, D, True, _scale(qkv.shape, n_head))


def _scale(shape: Shape, n_head: int) -> float:
    return 1 / math.sqrt(shape[2] // 3 // n_head)


@register
class CausalSelfAttention(Op):
    """Hidden: as in Attention."""

    inputs = ("qkv",)
    outputs = ("y", "kept", "inv", "lse")
    saves = ("qkv", "y", "kept", "inv", "lse")

    @staticmethod
    def infer(qkv: Spec, *, n_head: int, keep: int) -> Specs:
        floating("causal_self_attention", qkv)
        B, T, C3 = qkv.shape
        return Spec((B, T, C3 // 3), qkv.dtype), *row_caches((B, n_head), T, qkv, keep=keep)

    @staticmethod
    def cpu(
        y: Array,
        kept: Array | None,
        inv: Array | None,
        lse: Array | None,
        qkv: Array,
        *,
        n_head: int,
        keep: int,
    ) -> None:
        q, k, v = qkv_of(qkv, n_head)
        scale = _scale(qkv.shape, n_head)
        attention_blocks.forward(heads_of(y, n_head), kept, inv, lse, q, k, v, None, causal=True, scale=scale)

    @staticmethod
    def host(
        y: Array,
        kept: Array | None,
        inv: Array | None,
        lse: Array | None,
        qkv: Array,
        *,
        n_head: int,
        keep: int,
    ) -> bool:
        scale = _scale(qkv.shape, n_head)
        return kept is None and kernels.attention_packed_forward(y, lse, qkv, n_head, scale)

    @staticmethod
    def cuda(
        launch: Launch,
        y: View,
        kept: View | None,
        inv: View | None,
        lse: View | None,
        qkv: View,
        *,
        n_head: int,
        keep: int,
    ) -> None:
        at = {**places(y, ["y"], n_head), **places(qkv, ["q", "k", "v"], n_head)}
        attention_tiles.forward(launch, _problem(qkv, n_head), at, lse, None)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, n_head: int, keep: int) -> Grads:
        ins = (saved.qkv, saved.y, saved.kept, saved.inv, saved.lse)
        return (apply(CausalSelfAttentionBackward, grads[0], *ins, n_head=n_head),)


@register
class CausalSelfAttentionBackward(Op):
    """The three gradients, written into one array."""

    inputs = ("grad", "qkv", "y", "kept", "inv", "lse")
    outputs = ("dqkv",)
    saves = ("grad", "qkv")

    @staticmethod
    def infer(grad: Spec, qkv: Spec, *_: Spec | None, n_head: int) -> Specs:
        return (qkv,)

    @staticmethod
    def cpu(
        dqkv: Array,
        grad: Array,
        qkv: Array,
        y: Array,
        kept: Array | None,
        inv: Array | None,
        lse: Array | None,
        *,
        n_head: int,
    ) -> None:
        g, y = heads_of(grad, n_head), heads_of(y, n_head)
        q, k, v = qkv_of(qkv, n_head)
        scale = _scale(qkv.shape, n_head)
        attention_blocks.backward(
            *qkv_of(dqkv, n_head), g, q, k, v, None, y, kept, inv, lse, causal=True, scale=scale
        )

    @staticmethod
    def host(
        dqkv: Array,
        grad: Array,
        qkv: Array,
        y: Array,
        kept: Array | None,
        inv: Array | None,
        lse: Array | None,
        *,
        n_head: int,
    ) -> bool:
        scale = _scale(qkv.shape, n_head)
        return lse is not None and kernels.attention_packed_backward(dqkv, grad, qkv, y, lse, n_head, scale)

    @staticmethod
    def cuda(
        launch: Launch,
        dqkv: View,
        grad: View,
        qkv: View,
        y: View,
        kept: View | None,
        inv: View | None,
        lse: View,
        *,
        n_head: int,
    ) -> None:
        at = {**places(grad, ["grad"], n_head), **places(y, ["y"], n_head)}
        at |= places(dqkv, ["dq", "dk", "dv"], n_head) | places(qkv, ["q", "k", "v"], n_head)
        attention_tiles.backward(launch, _problem(qkv, n_head), at, lse, None)

    @staticmethod
    def backward(grads: Grads, saved: Saved, needs: Needs, *, n_head: int) -> Grads:
        inputs = (saved.grad, saved.qkv)
        return (*partial_vjp(_packed_backward, inputs, grads, needs[:2], n_head=n_head), *[None] * 4)


def _packed_backward(grad: Tensor, qkv: Tensor, *, n_head: int) -> Grads:
    """CausalSelfAttentionBackward in ordinary ops, for its own gradient."""
    return partial_vjp(_plain_packed, (qkv,), (grad,), (True,), n_head=n_head)


def _plain_packed(
    qkv: Tensor, *, n_head: int, dropout: float = 0.0, generator: Generator | None = None
) -> tuple[Tensor]:
    """The same in ordinary ops."""
    B, T, C3 = qkv.layout.shape
    heads = [permute(reshape(a, (B, T, n_head, C3 // 3 // n_head)), (0, 2, 1, 3)) for a in split(qkv, 3, -1)]
    y, _ = plain_attention(
        *heads, mask=None, causal=True, scale=_scale((B, T, C3), n_head), dropout=dropout, generator=generator
    )
    return (reshape(permute(y, (0, 2, 1, 3)), (B, T, C3 // 3)),)


def causal_self_attention(
    qkv: Tensor, n_head: int, *, dropout: float = 0.0, generator: Generator | None = None
) -> Tensor:
    """Attend from each token to itself and all before it, in all heads at once.

    The same as splitting qkv into q, k, v and each into heads, scaled_dot_product_attention(causal=True), and
    merging the heads; but in one node, reading and writing the packed memory.

    Args:
        qkv: shape (B, T, 3 C): queries, keys and values side by side, in each the heads side by side.
        n_head: number of heads H; C is H times the size D of a head.
        dropout: probability of dropping a weight; 0 outside of training.
        generator: of the dropout; default the global one.

    Returns:
        shape (B, T, C), dtype of qkv.

    Raises:
        ShapeError: qkv has no three axes, or its last axis does not split into 3 * n_head parts.
        DTypeError: qkv is not floating.

    Memory: as scaled_dot_product_attention; with dropout all scores are in memory.

    Example:
        >>> tt.causal_self_attention(tt.ones(1, 2, 12), 2).shape
        (1, 2, 4)
    """
    need_tensors("causal_self_attention", qkv)
    shape = qkv.layout.shape
    if len(shape) != 3 or n_head < 1 or not shape[2] or shape[2] % (3 * n_head):
        raise ShapeError(
            f"causal_self_attention: qkv has shape {shape}, n_head is {n_head}",
            why="qkv is (B, T, 3 C), and C must be a multiple of n_head, which is at least 1",
            fix="make the last axis 3 * n_head * (size of a head)",
        )
    device, (B, T, C3) = qkv.storage.device, shape
    if dropout or not attention_tiles.fit(device, qkv.storage.dtype, C3 // 3 // n_head):
        return _plain_packed(qkv, n_head=n_head, dropout=dropout, generator=generator)[0]
    keep = kept_scores(device, qkv.storage.dtype, (B, n_head), T, T, causal=True)
    return apply(CausalSelfAttention, qkv, n_head=n_head, keep=keep)
