"""cached_self_attention: attention of new tokens to a KV cache, for incremental decoding."""

from __future__ import annotations

import struct
from functools import partial

from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import cpu
from tinytensor.dispatch.apply import apply
from tinytensor.dispatch.checks import floating, same_dtype
from tinytensor.dispatch.launch import BLOCK, Launch, View, blocks_for
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import bool_, int64
from tinytensor.errors import DeviceError, DTypeError, GradError, IndexRangeError, ShapeError
from tinytensor.kernels.rows import require_tensors
from tinytensor.layout import contiguous
from tinytensor.op import Array, HostCall, Op, Shapes, Spec, Specs, Tensor, register
from tinytensor.ops.attention import launch as attention_tiles
from tinytensor.ops.attention import numpy_attention
from tinytensor.ops.attention.attention import attention_flops, check_past
from tinytensor.ops.attention.causal_self_attention import heads_of, places
from tinytensor.ops.views.manipulation import cast
from tinytensor.random_streams import Stream
from tinytensor.runtime.cpu.kernels import HostKernels

__all__ = ["cached_self_attention"]

kernels = HostKernels("cached_attention")
FEW = 8  # tokens at once, up to which queries that share keys are faster one by one than as a matrix
_STEPS = struct.Struct("@4q")  # Steps in cached_attention.cu


@register
class CachedSelfAttention(Op):
    """`start` is read when the op runs: each replay of a captured step continues at the current end."""

    window: int

    inputs = ("qkv", "keys", "values", "start", "slopes")
    contiguous = ("qkv",)
    writes = ("keys", "values")
    dense = ("qkv", "start", "slopes")

    def flops(self, outs: Shapes, ins: Shapes) -> float:
        """FLOPs for a full cache: its length is in a tensor."""
        (B, T, C), (_, G, N, D) = ins[0] or (0, 0, 0), ins[1] or (0, 1, 0, 1)
        head, keys = (B, C // max(D, 1) - 2 * G, T, D), (B, G, N, D)
        return attention_flops((head, keys, keys), True, self.window)

    def infer(self, qkv: Spec, keys: Spec, values: Spec, start: Spec, slopes: Spec | None) -> Specs:
        floating("cached_self_attention", qkv)
        same_dtype("cached_self_attention", qkv, keys, values)
        if start.dtype is not int64:
            raise DTypeError(
                f"cached_self_attention: start has dtype {start.dtype}",
                why="it is a position in the cache",
                fix="start.astype(tt.int64)",
            )
        fits = (
            qkv.ndim == 3
            and keys.ndim == 4
            and keys.shape == values.shape
            and qkv.shape[0] == keys.shape[0]
            and _heads(qkv.shape[2], *keys.shape[1::2]) > 0
            and 1 <= qkv.shape[1] <= keys.shape[2]
            and start.shape == (1,)
        )
        if not fits:
            raise ShapeError(
                f"cached_self_attention: qkv {qkv.shape}, keys {keys.shape}, values {values.shape} and start "
                f"{start.shape} do not fit",
                why="they are (B, T, (H + 2 G) D), twice (B, G, N, D) with N at least T, T at least 1, H a "
                "multiple of G, and (1,)",
                fix="allocate a cache with room for all tokens: tt.zeros(B, G, N, D)",
            )
        H = _heads(qkv.shape[2], *keys.shape[1::2])
        return (Spec((*qkv.shape[:2], H * keys.shape[3]), qkv.dtype),)

    def cpu(
        self, y: Array, qkv: Array, keys: Array, values: Array, start: Array, slopes: Array | None
    ) -> None:
        B, T, _ = qkv.shape
        G, N, D = keys.shape[1:]
        begin = int(start[0])
        end = begin + T
        if begin < 0 or end > N:
            raise _outside(begin, T, N)
        heads = qkv.reshape(B, T, qkv.shape[2] // D, D).transpose(0, 2, 1, 3)  # (B, H + 2 G, T, D)
        H = heads.shape[1] - 2 * G
        keys[:, :, begin:end], values[:, :, begin:end] = heads[:, H : H + G], heads[:, H + G :]
        seen = keys[:, :, :end], values[:, :, :end], None, slopes
        mask_options = {"causal": True, "scale": D**-0.5, "window": self.window}
        numpy_attention.forward(heads_of(y, H), None, heads[:, :H], *seen, Stream(), **mask_options)

    def host(
        self, y: Array, qkv: Array, keys: Array, values: Array, start: Array, slopes: Array | None
    ) -> HostCall:
        plain = y.shape[2] == keys.shape[1] * keys.shape[3] and not self.window
        if slopes is not None or not (plain or qkv.shape[1] <= FEW):
            return None
        return partial(
            kernels.cached_attention, y, qkv, keys, values, start, keys.shape[3] ** -0.5, self.window
        )

    def cuda(
        self, launch: Launch, y: View, qkv: View, keys: View, values: View, start: View, slopes: View | None
    ) -> None:
        (B, T, _), (H, N, D) = qkv.shape, keys.shape[1:]
        if not y.size:
            return
        seen = launch.scratch((T, N), bool_)
        room = launch.bounds(0, N - T + 1, _outside, T, N)
        steps = _STEPS.pack(*keys.strides), _STEPS.pack(*values.strides)
        args = (keys, values, seen, qkv, start, room, *steps, T, H, D, N, B * T * H * D)
        grid = blocks_for(max(B * T * H * D, T * N), BLOCK)
        launch("cache_append", qkv.as_bits().dtype, grid=grid, args=args)
        at = {**places(y, ["y"], H), "q": places(qkv, ["q", "k", "v"], H)["q"]}
        at |= {name: attention_tiles.Heads(v.ptr, v.strides) for name, v in (("k", keys), ("v", values))}
        problem = attention_tiles.Problem(qkv.dtype, B, H, T, N, D, D, False, D**-0.5)
        mask = seen.read_through(contiguous((1, 1, T, N)))
        attention_tiles.forward(launch, problem, at, None, mask)


def _heads(width: int, G: int, D: int) -> int:
    """Number of query heads in rows of `width`, next to 2 G heads of size D; 0 if they do not fit."""
    H = width // max(D, 1) - 2 * G
    return H if G > 0 and H > 0 and H % G == 0 and width == (H + 2 * G) * D else 0


def _outside(begin: int, count: int, room: int) -> IndexRangeError:
    return IndexRangeError(
        f"cached_self_attention: start is {begin}, with {count} new tokens",
        why=f"the cache has room for positions 0 to {room - 1}",
        fix="restart with the last tokens, or allocate a larger cache",
    )


def cached_self_attention(
    qkv: Tensor, keys: Tensor, values: Tensor, start: Tensor, *, window: int = 0, slopes: Tensor | None = None
) -> Tensor:
    """Causal attention of new tokens to themselves and to all earlier tokens in a KV cache.

    Writes the keys and values of the new tokens to keys[:, :, start:start + T] and values[:, :, start:start +
    T]. Then new token t attends to all tokens up to start + t, as in causal_self_attention.

    Args:
        qkv: shape (B, T, (H + 2 G) D): queries, keys and values of the new tokens side by side, in each the
            heads side by side; floating, and cast to the dtype of the cache.
        keys: the cache, shape (B, G, N, D), floating; written to. H is a multiple of G.
        values: the cache of values, likewise.
        start: shape (1,), int64: the position of the first new token, which is the number of tokens in the
            cache. In a captured step each replay reads it.
        window: number of tokens a token attends to, itself and the last before it; 0: all.
        slopes: shape (H,), floating: slope times distance is subtracted from the scores (ALiBi).

    Returns:
        shape (B, T, H D), dtype of the cache.

    Raises:
        IndexRangeError: the new tokens do not fit into the cache. On a GPU it is raised at the next
            read-back, and nothing is written.
        GradError: qkv requires grad: writes into the cache are not differentiable.
        DeviceError: on a device, the head size exceeds the limit of its kernels (256).

    Memory: on a device T * N bytes of scratch; its kernel reads the whole cache.

    >>> keys, values = tt.zeros(1, 2, 8, 2), tt.zeros(1, 2, 8, 2)
    >>> y = tt.cached_self_attention(tt.ones(1, 3, 12), keys, values, tt.tensor([0]))
    >>> y.shape, keys[0, 0, :, 0].tolist()
    ((1, 3, 4), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    """
    require_tensors("cached_self_attention", qkv, keys, values, start, slopes)
    if grad_enabled() and any([requires(t) for t in (qkv, keys, values)]):
        raise GradError(
            "cached_self_attention: an operand requires grad",
            why="the cache is written in place, and these writes are not differentiable",
            fix="call it under tt.no_grad(), or use tt.causal_self_attention",
        )
    device, size = qkv.storage.device, keys.layout.shape[-1] if keys.layout.shape else 0
    grouped = qkv.layout.shape[-1:] != (3 * keys.layout.shape[1] * size,) if keys.layout.shape[1:] else False
    if device is not cpu and (window or slopes is not None or grouped):
        raise DeviceError(
            f"cached_self_attention: a window, slopes or shared keys on {device}",
            why="its kernels support neither windows nor slopes, and need as many key heads as query heads",
            fix="generate on the CPU",
        )
    if device is not cpu and not attention_tiles.fit(device, qkv.storage.dtype, size):
        raise DeviceError(
            f"cached_self_attention: head size {size} on {device}",
            why="its attention kernels keep a row of a head in registers and shared memory",
            fix="use more, smaller heads",
        )
    if qkv.storage.dtype.is_floating and keys.storage.dtype.is_floating:
        qkv = cast(qkv, keys.storage.dtype)
    if (slopes is not None or window) and qkv.layout.shape and keys.layout.shape[1:]:
        H = _heads(qkv.layout.shape[-1], keys.layout.shape[1], size)
        check_past("cached_self_attention", H, True, window, slopes)
    return apply(CachedSelfAttention(window=window), qkv, keys, values, start, slopes)
