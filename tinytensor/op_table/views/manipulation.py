"""Rows of ops/views/manipulation.py and dispatch/view_gradients.py: views, copies, casts."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import ALL, FLOATS, Call, Row, Shape, numbers


def view(
    name: str, shape: Shape, expression: Call | None = None, numpy: Call | None = None, **more: Any
) -> Row:
    """A row for a function that returns views, which exist for every dtype."""
    return Row(
        name,
        (numbers(shape),),
        expression,
        numpy,
        **{"dtypes": ALL, "contiguous": False, "large": "", **more},
    )


def windows(x: Any, size: int, axis: int, step: int) -> Any:
    """NumPy's sliding windows, of which every `step`-th is taken."""
    all_windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    return all_windows[(slice(None),) * axis + (slice(None, None, step),)]


ROWS = [
    view("reshape", (2, 6), lambda xp, x: xp.reshape(x, (4, -1)), torch=True, ops=("reshape", "copy")),
    view("permute_dims", (2, 3, 4), lambda xp, x: xp.permute_dims(x, axes=(2, 0, 1)), ops=("permute",),
         torch=lambda torch, x: x.permute(2, 0, 1)),
    view("permute", (2, 3, 4), lambda xp, x: xp.permute(x, 2, 0, 1), lambda x: x.transpose(2, 0, 1),
         torch=lambda torch, x: x.permute(2, 0, 1), also=(((0, 2, 3),), ((1, 1, 1),))),
    view("transpose", (2, 3, 4), lambda xp, x: xp.transpose(x, 0, -1), lambda x: x.swapaxes(0, -1),
         torch=True, ops=("permute",)),
    view("matrix_transpose", (2, 3, 4), torch=lambda torch, x: x.mT, ops=("permute",)),
    view("moveaxis", (2, 3, 4), lambda xp, x: xp.moveaxis(x, (0, 1), (-1, 0)), torch=True, ops=("permute",)),
    view("expand", (3, 1), lambda xp, x: xp.expand(x, 2, 3, 4), lambda x: np.broadcast_to(x, (2, 3, 4)),
         torch=lambda torch, x: x.expand(2, 3, 4), ops=("expand", "sum_to"), also=(((),), ((4,),))),
    view("broadcast_to", (3, 1), lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), torch=True,
         ops=("expand", "sum_to")),
    view("flip", (3, 4), torch=lambda torch, x: x.flip(0, 1), also=(((),), ((0, 2),))),
    view("flip:axis", (3, 4), lambda xp, x: xp.flip(x, 1), torch=lambda torch, x: x.flip(1)),
    view("flip:copy", (3, 4), lambda xp, x: x[:, ::-1].contiguous(), lambda x: x[:, ::-1],
         torch=lambda torch, x: x.flip(1), ops=("index", "copy"), contiguous=True, large="r c"),
    view("squeeze", (1, 3, 1), torch=True, ops=("reshape",), also=(((1, 1),), ((0, 1),), ((),))),
    view("expand_dims", (3, 4), lambda xp, x: xp.expand_dims(x, axis=1),
        torch=lambda torch, x: x.unsqueeze(1), ops=("reshape",)),
    view("unsqueeze", (3, 4), lambda xp, x: xp.unsqueeze(x, -2), lambda x: np.expand_dims(x, -2), torch=True,
         ops=("reshape",), also=(((0,),),)),
    view("diagonal", (3, 2, 4), lambda xp, x: xp.diagonal(x, 1, 0, 2), torch=True,
        ops=("diagonal", "scatter"), also=(((1, 2, 1),),)),
    view("unfold", (2, 7), lambda _, x: x.unfold(1, 3, 2), lambda x: windows(x, 3, 1, 2),
         torch=lambda torch, x: x.unfold(1, 3, 2), ops=("unfold", "scatter"), large="r c"),
    # a view of a copy: the strides name places in memory, so the layout of x itself must not matter
    view("as_strided", (8,), lambda xp, x: xp.as_strided(xp.clone(x), (2, 3), (1, 2), 1),
         lambda x: np.stack([x[1:6:2], x[2:7:2]]), torch=True, ops=("reframe", "reframe_transpose")),
    view("as_strided:columns", (3, 4),
        lambda _, x: x.clone().as_strided((x.shape[0], x.shape[1] // 2), (x.shape[1], 2)),
        lambda x: x[:, ::2], torch=True, ops=("reframe", "reframe_transpose"), large="r c",
        timed="slice of a copy, backward"),
    view("split", (2, 4), lambda xp, x: xp.split(x, [1, 3], -1), lambda x: np.split(x, [1], -1), torch=True),
    view("split:equal", (2, 6), lambda xp, x: xp.split(x, 2, 1), lambda x: np.split(x, 3, 1), torch=True,
         ops=("split",), also=(((0, 6),),)),
    view("split:halves", (2, 6), lambda xp, x: xp.chunk(x, 2, 1), lambda x: np.split(x, 2, 1), torch=True,
         ops=("split",), large="r c", timed="split into halves"),
    view("chunk", (5, 2), lambda xp, x: xp.chunk(x, 3), lambda x: [x[0:2], x[2:4], x[4:5]], torch=True,
         ops=("split",)),
    view("unbind", (2, 3), lambda xp, x: xp.unbind(x, 1), lambda x: [x[:, 0], x[:, 1], x[:, 2]], torch=True,
         ops=("split",)),
    Row("clone", (numbers((3, 4)),), numpy=np.copy, torch=True, ops=("copy",), dtypes=ALL,
        also=(((),), ((0, 2),)), large="r c", timed="clone"),
    Row("contiguous", (numbers((3, 4)),), lambda xp, x: xp.contiguous(x.transpose(0, 1)),
        lambda x: x.T.copy(), torch=lambda torch, x: x.T.contiguous(), ops=("copy",), dtypes=ALL, large="r c",
        timed="x.T.contiguous()"),
    view("detach", (3, 4), numpy=np.copy, ops=(), grad=False),
    Row("astype", (numbers((3, 4)),), lambda xp, x: xp.astype(x, xp.float64),
        torch=lambda torch, x: x.to(torch.float64), ops=("cast",), dtypes=(*FLOATS, "bool", "int32", "uint8"),
        result="float64", large="r c", timed="cast to float64"),
    Row("astype:int", (numbers((3, 4)),), lambda xp, x: xp.astype(x, "int32"), lambda x: x.astype(np.int32),
        ops=("cast",), dtypes=("float64", "float16", "int8", "uint64", "bool"), result="int32", grad=False),
]  # fmt: skip
