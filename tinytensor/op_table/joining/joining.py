"""Rows of tinytensor/ops/joining."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import ALL, Row, numbers
from tinytensor.ops.joining.padding import pad as op

X = numbers((2, 3))


def padded(xp: Any, x: Any, *args: Any, **options: Any) -> Any:
    """Pad by the op or by NumPy, with NumPy's arguments; `tt.pad` has PyTorch's."""
    return (np.pad if xp is np else op)(x, *args, **options)


def pad(mode: str, width: Any = ((1, 2), (2, 0))) -> Row:
    """A row for one mode of pad that reads the new elements from the axis."""
    return Row(
        f"pad:{mode}", (numbers((3, 4)),), lambda xp, x: padded(xp, x, width, mode), ops=("pick",), dtypes=ALL
    )


ROWS = [
    Row("concat", (X, numbers((2, 1))), lambda xp, a, b: xp.concat([a, b, a], axis=1), torch=True,
        ops=("join",), dtypes=ALL, also=(((2, 0), (2, 3)), ((0, 2), (0, 1)))),
    Row("concat:columns", (X, X), lambda xp, a, b: xp.concat([a, b], axis=1), torch=True, ops=("join",),
        large="r c, r c", timed="concat of columns"),
    Row("concat:flat", (X, numbers(())), lambda xp, a, b: xp.concat((a, b), axis=None), ops=("join",),
        dtypes=ALL, torch=lambda torch, a, b: torch.cat((a.flatten(), b.flatten()))),
    Row("cat", (X, numbers((1, 3))), lambda xp, a, b: xp.cat([a, b]), lambda a, b: np.concatenate([a, b]),
        torch=True, ops=("join",), dtypes=ALL, large="r c, 5 c"),
    Row("stack", (X, X), lambda xp, a, b: xp.stack([a, b]), torch=True, ops=("join",), dtypes=ALL,
        also=(((), ()), ((0, 2), (0, 2))), large="r c, r c"),
    Row("stack:last", (X, X), lambda xp, a, b: xp.stack([a, b], axis=-1), torch=True, ops=("join",),
        dtypes=ALL),
    # gradients of unused parts are missing, and count as zeros
    Row("split:some", (numbers((4, 2)),), lambda xp, x: xp.split(x, [1, 2, 1])[1] * 2, lambda x: x[1:3] * 2,
        ops=("split", "join")),
    Row("unbind:some", (numbers((4, 2)),), lambda xp, x: xp.unbind(x, 1)[1] * 2, lambda x: x[:, 1] * 2,
        ops=("split", "join")),
    Row("pad", (X,), lambda xp, x: padded(xp, x, ((1, 2), (0, 3))), dtypes=ALL,
        torch=lambda torch, x: torch.nn.functional.pad(x, (0, 3, 1, 2)), also=(((0, 2),),)),
    Row("pad:value", (X,), lambda xp, x: padded(xp, x, (1, 2), constant_values=1.5)),
    *map(pad, ("edge", "wrap", "reflect", "symmetric")),
    Row("repeat", (X,), lambda xp, x: xp.repeat(x, 3, axis=1), dtypes=ALL,
        torch=lambda torch, x: x.repeat_interleave(3, 1), also=(((2, 0),), ((1, 1),)), large=""),
    Row("repeat:rows", (X,), lambda xp, x: xp.repeat(x, 2, axis=0),
        torch=lambda torch, x: x.repeat_interleave(2, 0), large="r c", timed="repeat of rows"),
    Row("repeat:flat", (X,), lambda xp, x: xp.repeat(x, 2), dtypes=ALL,
        torch=lambda torch, x: x.flatten().repeat_interleave(2), also=(((),), ((0, 2),))),
    Row("repeat:each", (X,), lambda xp, x: xp.repeat(x, xp.asarray([2, 0, 1]), axis=1), ops=("pick",),
        dtypes=ALL, torch=lambda torch, x: x.repeat_interleave(torch.tensor([2, 0, 1]), 1)),
    Row("tile", (X,), lambda xp, x: xp.tile(x, (2, 1, 3)), torch=True, ops=("repeat",), dtypes=ALL,
        also=(((),), ((0, 2),), ((2, 1, 2),)), large="r c"),
    Row("roll", (numbers((3, 4)),), lambda xp, x: xp.roll(x, (1, -5), (0, 1)), torch=True, dtypes=ALL,
        also=(((0, 3),), ((1, 1),)), large=""),
    Row("roll:columns", (numbers((3, 4)),), lambda xp, x: xp.roll(x, 3, 1), torch=True, large="r c",
        timed="roll of columns"),
    Row("roll:flat", (numbers((3, 4)),), lambda xp, x: xp.roll(x, 2), torch=True, dtypes=ALL,
        also=(((),), ((0, 3),))),
    Row("broadcast_arrays", (numbers((2, 1)), numbers((3,))), torch="torch.broadcast_tensors",
        ops=("expand", "sum_to"), dtypes=ALL, contiguous=False),
    Row("meshgrid", (numbers((2,)), numbers((3,)), numbers((4,))),
        torch=lambda torch, a, b, c: torch.meshgrid(a, b, c, indexing="xy"), ops=("reshape", "expand"),
        dtypes=ALL, contiguous=False),
    Row("meshgrid:ij", (numbers((2,)), numbers((3,))), lambda xp, a, b: xp.meshgrid(a, b, indexing="ij"),
        torch=True, ops=("reshape", "expand"), dtypes=ALL, contiguous=False),
]  # fmt: skip
