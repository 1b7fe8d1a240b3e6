"""Rows of tinytensor/ops/nn/softmax.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Row, floats


def softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


ROWS = [
    Row("softmax", tt.softmax, softmax, (floats((3, 4, 5)),), ops=("softmax", "softmax_backward"),
        torch=lambda torch, x: torch.softmax(x, -1), also=(((0, 3),), ((3, 0),), ((1,),), ((3, 1),))),
    Row("softmax:axis", lambda x: tt.softmax(x, axis=1), lambda x: softmax(x, 1), (floats((3, 4, 5)),),
        ops=("softmax", "softmax_backward"), torch=lambda torch, x: torch.softmax(x, 1),
        also=(((2, 0, 3),), ((1, 1),))),
    # enough elements for the blocks of rows
    Row("softmax:blocks", tt.softmax, softmax, (floats((40, 65)),), ops=("softmax", "softmax_backward"),
        torch=lambda torch, x: torch.softmax(x, -1), also=(((1100, 65),),), second=False),
    Row("log_softmax", tt.log_softmax, log_softmax, (floats((3, 4, 5)),),
        ops=("log_softmax", "log_softmax_backward"), torch=lambda torch, x: torch.log_softmax(x, -1),
        also=(((0, 3),), ((3, 0),), ((1,),), ((3, 1),))),
    Row("log_softmax:axis", lambda x: tt.log_softmax(x, axis=0), lambda x: log_softmax(x, 0),
        (floats((3, 4, 5)),), ops=("log_softmax", "log_softmax_backward"),
        torch=lambda torch, x: torch.log_softmax(x, 0)),
    Row("log_softmax:blocks", tt.log_softmax, log_softmax, (floats((40, 65)),),
        ops=("log_softmax", "log_softmax_backward"), torch=lambda torch, x: torch.log_softmax(x, -1),
        also=(((1100, 65),),), second=False),
]  # fmt: skip
