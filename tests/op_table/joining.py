"""Rows of tinytensor/ops/joining.py."""

from typing import Any

import numpy as np

import tinytensor as tt

from .row import ALL, Row, numbers


def pad(mode: str, width: Any = ((1, 2), (2, 0)), **more: Any) -> Row:
    """A row for one mode of pad that reads the new elements from the axis."""
    return Row(
        f"pad:{mode}",
        lambda x: tt.pad(x, width, mode),
        lambda x: np.pad(x, width, mode),
        (numbers((3, 4)),),
        ops=("pick",),
        dtypes=ALL,
        **more,
    )


ROWS = [
    Row(
        "concat",
        lambda a, b: tt.concat([a, b, a], axis=1),
        lambda a, b: np.concatenate([a, b, a], axis=1),
        (numbers((2, 3)), numbers((2, 1))),
        ops=("join",),
        dtypes=ALL,
        torch=lambda torch, a, b: torch.cat([a, b, a], 1),
        also=(((2, 0), (2, 3)), ((0, 2), (0, 1))),
    ),
    Row(
        "concat:flat",
        lambda a, b: tt.concat((a, b), axis=None),
        lambda a, b: np.concatenate((a, b), axis=None),
        (numbers((2, 3)), numbers(())),
        ops=("join",),
        dtypes=ALL,
        torch=lambda torch, a, b: torch.cat((a.flatten(), b.flatten())),
    ),
    Row(
        "cat",
        lambda a, b: tt.cat([a, b]),
        lambda a, b: np.concatenate([a, b]),
        (numbers((2, 3)), numbers((1, 3))),
        ops=("join",),
        dtypes=ALL,
        torch=lambda torch, a, b: torch.cat([a, b]),
    ),
    Row(
        "stack",
        lambda a, b: tt.stack([a, b]),
        lambda a, b: np.stack([a, b]),
        (numbers((2, 3)), numbers((2, 3))),
        ops=("join",),
        dtypes=ALL,
        torch=lambda torch, a, b: torch.stack([a, b]),
        also=(((), ()), ((0, 2), (0, 2))),
    ),
    Row(
        "stack:last",
        lambda a, b: tt.stack([a, b], axis=-1),
        lambda a, b: np.stack([a, b], axis=-1),
        (numbers((2, 3)), numbers((2, 3))),
        ops=("join",),
        dtypes=ALL,
        torch=lambda torch, a, b: torch.stack([a, b], -1),
    ),
    # the gradients of parts that nobody used are missing, and count as zeros
    Row(
        "split:some",
        lambda x: tt.split(x, [1, 2, 1])[1] * 2,
        lambda x: x[1:3] * 2,
        (numbers((4, 2)),),
        ops=("split", "join"),
    ),
    Row(
        "unbind:some",
        lambda x: tt.unbind(x, 1)[1] * 2,
        lambda x: x[:, 1] * 2,
        (numbers((4, 2)),),
        ops=("split", "join"),
    ),
    Row(
        "pad",
        lambda x: tt.pad(x, ((1, 2), (0, 3))),
        lambda x: np.pad(x, ((1, 2), (0, 3))),
        (numbers((2, 3)),),
        dtypes=ALL,
        torch=lambda torch, x: torch.nn.functional.pad(x, (0, 3, 1, 2)),
        also=(((0, 2),),),
    ),
    Row(
        "pad:value",
        lambda x: tt.pad(x, (1, 2), constant_values=1.5),
        lambda x: np.pad(x, (1, 2), constant_values=1.5),
        (numbers((2, 3)),),
    ),
    pad("edge"),
    pad("wrap"),
    pad("reflect"),
    pad("symmetric"),
    Row(
        "repeat",
        lambda x: tt.repeat(x, 3, axis=1),
        lambda x: np.repeat(x, 3, axis=1),
        (numbers((2, 3)),),
        dtypes=ALL,
        torch=lambda torch, x: x.repeat_interleave(3, 1),
        also=(((2, 0),), ((1, 1),)),
    ),
    Row(
        "repeat:flat",
        lambda x: tt.repeat(x, 2),
        lambda x: np.repeat(x, 2),
        (numbers((2, 3)),),
        dtypes=ALL,
        torch=lambda torch, x: x.flatten().repeat_interleave(2),
        also=(((),), ((0, 2),)),
    ),
    Row(
        "repeat:each",
        lambda x: tt.repeat(x, tt.tensor([2, 0, 1]), axis=1),
        lambda x: np.repeat(x, [2, 0, 1], axis=1),
        (numbers((2, 3)),),
        ops=("pick",),
        dtypes=ALL,
        torch=lambda torch, x: x.repeat_interleave(torch.tensor([2, 0, 1]), 1),
    ),
    Row(
        "tile",
        lambda x: tt.tile(x, (2, 1, 3)),
        lambda x: np.tile(x, (2, 1, 3)),
        (numbers((2, 3)),),
        ops=("repeat",),
        dtypes=ALL,
        torch=lambda torch, x: x.tile(2, 1, 3),
        also=(((),), ((0, 2),), ((2, 1, 2),)),
    ),
    Row(
        "roll",
        lambda x: tt.roll(x, (1, -5), (0, 1)),
        lambda x: np.roll(x, (1, -5), (0, 1)),
        (numbers((3, 4)),),
        dtypes=ALL,
        torch=lambda torch, x: x.roll((1, -5), (0, 1)),
        also=(((0, 3),), ((1, 1),)),
    ),
    Row(
        "roll:flat",
        lambda x: tt.roll(x, 2),
        lambda x: np.roll(x, 2),
        (numbers((3, 4)),),
        dtypes=ALL,
        torch=lambda torch, x: x.roll(2),
        also=(((),), ((0, 3),)),
    ),
    Row(
        "broadcast_arrays",
        lambda a, b: tt.broadcast_arrays(a, b),
        np.broadcast_arrays,
        (numbers((2, 1)), numbers((3,))),
        ops=("expand", "sum_to"),
        dtypes=ALL,
        contiguous=False,
        torch=lambda torch, a, b: torch.broadcast_tensors(a, b),
    ),
    Row(
        "meshgrid",
        lambda a, b, c: tt.meshgrid(a, b, c),
        np.meshgrid,
        (numbers((2,)), numbers((3,)), numbers((4,))),
        ops=("reshape", "expand"),
        dtypes=ALL,
        contiguous=False,
        torch=lambda torch, a, b, c: torch.meshgrid(a, b, c, indexing="xy"),
    ),
    Row(
        "meshgrid:ij",
        lambda a, b: tt.meshgrid(a, b, indexing="ij"),
        lambda a, b: np.meshgrid(a, b, indexing="ij"),
        (numbers((2,)), numbers((3,))),
        ops=("reshape", "expand"),
        dtypes=ALL,
        contiguous=False,
        torch=lambda torch, a, b: torch.meshgrid(a, b, indexing="ij"),
    ),
]
