"""Rows of tinytensor/ops/nn/add_norm.py."""

from dataclasses import replace
from typing import Any

from tinytensor.op_table.nn.dropout import dropout
from tinytensor.op_table.nn.layer_norm import layer_norm
from tinytensor.op_table.nn.rms_norm import rms_norm
from tinytensor.op_table.row import Row, both, floats, positive

OPS = ("add_norm", "add_norm_backward")
WIDE = ("float32", "float64")  # others are two ops
X = replace(floats((2, 3, 5)), repeats=False)  # see layer_norm
Y = replace(floats((2, 3, 5)), repeats=False)


def torchs(torch: Any, x: Any, y: Any, weight: Any, bias: Any) -> Any:
    return x + y, torch.nn.functional.layer_norm(x + y, weight.shape, weight, bias)


ROWS = [
    Row("add_layer_norm", (X, Y, positive((5,)), floats((5,))),
        numpy=lambda x, y, w, b: (x + y, layer_norm(x + y, w, b)), torch=torchs, ops=OPS, dtypes=WIDE,
        also=(((0, 5), (0, 5), (5,), (5,)), ((2, 8), (2, 8), (8,), (8,)), ((9000, 16),) * 2 + ((16,),) * 2),
        large="r c, r c, c, c", timed=both("add and layer norm")),
    Row("add_rms_norm", (X, Y, positive((5,))), numpy=lambda x, y, w: (x + y, rms_norm(x + y, w)), ops=OPS,
        dtypes=WIDE,
        torch=lambda torch, x, y, w: (x + y, torch.nn.functional.rms_norm(x + y, w.shape, w, 1e-6)),
        also=(((5,), (5,), (5,)), ((2, 8), (2, 8), (8,))), large="r c, r c, c",
        timed=both("add and rms norm")),
    Row("add_layer_norm:normed", (X, Y), lambda xp, x, y: xp.add_layer_norm(x, y)[1],
        lambda x, y: layer_norm(x + y), torch=lambda torch, x, y: torch.nn.functional.layer_norm(x + y, (5,)),
        ops=OPS, dtypes=WIDE),
    Row("add_layer_norm:dropout", (X, Y, positive((5,)), floats((5,))),
        lambda xp, x, y, w, b: xp.add_layer_norm(x, y, w, b, dropout=0.25, generator=xp.Generator(3)),
        lambda x, y, w, b: (x + dropout(y, 0.25, 3), layer_norm(x + dropout(y, 0.25, 3), w, b)),
        ops=OPS, dtypes=WIDE, random=True,
        also=(((0, 5), (0, 5), (5,), (5,)), ((2, 8), (2, 8), (8,), (8,)), ((900, 16),) * 2 + ((16,),) * 2)),
    Row("add_rms_norm:dropout", (X, Y, positive((5,))),
        lambda xp, x, y, w: xp.add_rms_norm(x, y, w, dropout=0.25, generator=xp.Generator(3)),
        lambda x, y, w: (x + dropout(y, 0.25, 3), rms_norm(x + dropout(y, 0.25, 3), w)),
        ops=OPS, dtypes=WIDE, random=True, also=(((5,), (5,), (5,)), ((2, 8), (2, 8), (8,)))),
]  # fmt: skip
