"""Rows of ops/views/manipulation.py and dispatch/view_gradients.py: views, copies, casts."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import ALL, FLOATS, Row, numbers


def view(
    name: str, call: Callable[..., Any], reference: Callable[..., Any], shape: tuple[int, ...], **more: Any
) -> Row:
    """A row for a function that returns views, which exist for every dtype."""
    return Row(name, call, reference, (numbers(shape),), dtypes=ALL, contiguous=False, **more)


def windows(x: Any, size: int, axis: int, step: int) -> Any:
    """NumPy's sliding windows, of which every `step`-th is taken."""
    all_windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    return all_windows[(slice(None),) * axis + (slice(None, None, step),)]


ROWS = [
    view("reshape", lambda x: tt.reshape(x, (4, -1)), lambda x: x.reshape(4, -1), (2, 6),
         ops=("reshape", "copy"), torch=lambda torch, x: x.reshape(4, -1)),
    view("permute_dims", lambda x: tt.permute_dims(x, axes=(2, 0, 1)), lambda x: x.transpose(2, 0, 1),
         (2, 3, 4), ops=("permute",), torch=lambda torch, x: x.permute(2, 0, 1)),
    view("permute", lambda x: tt.permute(x, 2, 0, 1), lambda x: x.transpose(2, 0, 1), (2, 3, 4),
         torch=lambda torch, x: x.permute(2, 0, 1), also=(((0, 2, 3),), ((1, 1, 1),))),
    view("transpose", lambda x: tt.transpose(x, 0, -1), lambda x: x.swapaxes(0, -1), (2, 3, 4),
         ops=("permute",), torch=lambda torch, x: x.transpose(0, -1)),
    view("matrix_transpose", tt.matrix_transpose, np.matrix_transpose, (2, 3, 4),
         ops=("permute",), torch=lambda torch, x: x.mT),
    view("moveaxis", lambda x: tt.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
         (2, 3, 4), ops=("permute",), torch=lambda torch, x: x.moveaxis((0, 1), (-1, 0))),
    view("expand", lambda x: tt.expand(x, 2, 3, 4), lambda x: np.broadcast_to(x, (2, 3, 4)), (3, 1),
         ops=("expand", "sum_to"), torch=lambda torch, x: x.expand(2, 3, 4), also=(((),), ((4,),))),
    view("broadcast_to", lambda x: tt.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4)),
         (3, 1), ops=("expand", "sum_to"), torch=lambda torch, x: x.broadcast_to(2, 3, 4)),
    view("flip", tt.flip, np.flip, (3, 4), torch=lambda torch, x: x.flip(0, 1), also=(((),), ((0, 2),))),
    view("flip:axis", lambda x: tt.flip(x, 1), lambda x: np.flip(x, 1), (3, 4),
         torch=lambda torch, x: x.flip(1)),
    view("squeeze", tt.squeeze, np.squeeze, (1, 3, 1), ops=("reshape",), torch="torch.squeeze",
         also=(((1, 1),), ((0, 1),), ((),))),
    view("expand_dims", lambda x: tt.expand_dims(x, axis=1), lambda x: np.expand_dims(x, 1), (3, 4),
         ops=("reshape",), torch=lambda torch, x: x.unsqueeze(1)),
    view("unsqueeze", lambda x: tt.unsqueeze(x, -2), lambda x: np.expand_dims(x, -2), (3, 4),
         ops=("reshape",), torch=lambda torch, x: x.unsqueeze(-2), also=(((0,),),)),
    view("diagonal", lambda x: tt.diagonal(x, 1, 0, 2), lambda x: np.diagonal(x, 1, 0, 2), (3, 2, 4),
         ops=("diagonal", "scatter"), torch=lambda torch, x: x.diagonal(1, 0, 2), also=(((1, 2, 1),),)),
    view("unfold", lambda x: tt.unfold(x, 1, 3, 2), lambda x: windows(x, 3, 1, 2), (2, 7),
         ops=("unfold", "scatter"), torch=lambda torch, x: x.unfold(1, 3, 2)),
    # a view of a copy: the strides name places in memory, so the layout of x itself must not matter
    view("as_strided", lambda x: tt.as_strided(tt.clone(x), (2, 3), (1, 2), 1),
         lambda x: np.stack([x[1:6:2], x[2:7:2]]), (8,),
         ops=("reframe", "reframe_transpose"),
         torch=lambda torch, x: x.clone().as_strided((2, 3), (1, 2), 1)),
    view("split", lambda x: tt.split(x, [1, 3], -1), lambda x: np.split(x, [1], -1), (2, 4),
         torch=lambda torch, x: x.split([1, 3], -1)),
    view("split:equal", lambda x: tt.split(x, 3, 1), lambda x: np.split(x, 3, 1), (2, 6),
         ops=("split",), torch=lambda torch, x: x.split(2, 1), also=(((0, 6),),)),
    view("chunk", lambda x: tt.chunk(x, 3), lambda x: [x[0:2], x[2:4], x[4:5]], (5, 2),
         ops=("split",), torch=lambda torch, x: x.chunk(3)),
    view("unbind", lambda x: tt.unbind(x, 1), lambda x: [x[:, 0], x[:, 1], x[:, 2]], (2, 3),
         ops=("split",), torch=lambda torch, x: x.unbind(1)),
    Row("clone", tt.clone, np.copy, (numbers((3, 4)),), ops=("copy",), dtypes=ALL, torch="torch.clone",
        also=(((),), ((0, 2),))),
    Row("contiguous", lambda x: tt.contiguous(x.transpose(0, 1)), lambda x: x.T.copy(), (numbers((3, 4)),),
        ops=("copy",), dtypes=ALL, torch=lambda torch, x: x.T.contiguous()),
    view("detach", tt.detach, np.copy, (3, 4), ops=(), grad=False),
    Row("astype", lambda x: tt.astype(x, tt.float64), lambda x: x.astype(np.float64), (numbers((3, 4)),),
        ops=("cast",), dtypes=(*FLOATS, "bool", "int32", "uint8"), result="float64",
        torch=lambda torch, x: x.to(torch.float64)),
    Row("astype:int", lambda x: tt.astype(x, "int32"), lambda x: x.astype(np.int32), (numbers((3, 4)),),
        ops=("cast",), dtypes=("float64", "float16", "int8", "uint64", "bool"), result="int32", grad=False),
]  # fmt: skip
