"""Rows of tinytensor/ops/matmul/convolution.py, against plain loops over windows."""

from typing import Any

import numpy as np

from tinytensor.op_table.row import REAL, Array, Row, Shape, both, distinct, floats, numbers
from tinytensor.ops.matmul import convolution as ops


def pair(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * n


def convolve(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """One output element after the other, as the formula says."""
    n = x.ndim - 2
    step, around, gap = pair(stride, n), pair(padding, n), pair(dilation, n)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in around]])
    kernel = weight.shape[2:]
    places = [(x.shape[2 + i] - gap[i] * (kernel[i] - 1) - 1) // step[i] + 1 for i in range(n)]
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    y = np.zeros((x.shape[0], weight.shape[0], *places), x.dtype)
    for o in range(weight.shape[0]):
        first = o // outputs * inputs  # the channels that this output's group sees
        for at in np.ndindex(*places):
            window = x[:, first : first + inputs]
            for i in range(n):
                start = at[i] * step[i]
                window = window.take(range(start, start + gap[i] * (kernel[i] - 1) + 1, gap[i]), 2 + i)
            y[(slice(None), o, *at)] = (window * weight[o]).sum(tuple(range(1, n + 2)))
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


def pool(
    function: Any, x: Array, size: Any, n: int, stride: Any = None, padding: Any = 0, fill: Any = 0
) -> Array:
    """The function of every window over the last n axes."""
    kernel, around = pair(size, n), pair(padding, n)
    step = kernel if stride is None else pair(stride, n)
    lead = x.ndim - n
    x = np.pad(x, [(0, 0)] * lead + [(p, p) for p in around], constant_values=fill)
    places = [(x.shape[lead + i] - kernel[i]) // step[i] + 1 for i in range(n)]
    y = np.zeros((*x.shape[:lead], *places), x.dtype)
    for at in np.ndindex(*places):
        window: Any = [slice(p * s, p * s + k) for p, s, k in zip(at, step, kernel)]
        y[..., *at] = function(x[..., *window], axis=tuple(range(-n, 0)))
    return y


def row(name: str, *shapes: Shape, options: Any = (), **more: Any) -> Row:
    """A row for a convolution with these options, which PyTorch has, too."""
    function, given = name.partition(":")[0], dict(options)
    return Row(name, tuple(map(floats, shapes)), lambda _, *xs: getattr(ops, function)(*xs, **given),
        lambda *xs: convolve(*xs, **given),
        lambda torch, *xs: getattr(torch.nn.functional, function)(*xs, **given),
        **{"ops": ("windows", "matmul"), **more})  # fmt: skip


ROWS = [
    row("conv1d", (2, 3, 7), (4, 3, 3), (4,), large="2 3 c, 4 3 3, 4"),
    row("conv1d:options", (2, 4, 9), (6, 2, 2), (6,),
        options={"stride": 2, "padding": 1, "dilation": 3, "groups": 2}),
    row("conv2d", (2, 3, 5, 6), (4, 3, 2, 3), (4,), large="4 8 y x, 8 8 3 3, 8", timed=both("conv2d")),
    row("conv2d:1x1", (2, 3, 4, 3), (2, 3, 1, 1)),
    row("conv2d:options", (2, 4, 7, 6), (2, 2, 3, 2), ops=("windows", "matmul", "pad", "permute", "copy"),
        options={"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2},
        large="2 4 y x, 2 2 3 2"),
    Row("max_pool1d", (numbers((2, 3, 7)),), lambda _, x: ops.max_pool1d(x, 2),
        lambda x: pool(np.max, x, 2, 1), ops=("windows", "max"), dtypes=REAL, grad=False),
    Row("max_pool1d:overlap", (distinct((2, 6)),), lambda _, x: ops.max_pool1d(x, 3, stride=1),
        lambda x: pool(np.max, x, 3, 1, 1), torch=lambda torch, x: torch.nn.functional.max_pool1d(x, 3, 1),
        ops=("windows", "max")),
    Row("max_pool2d", (distinct((2, 3, 5, 6)),), lambda _, x: ops.max_pool2d(x, (3, 2), stride=2, padding=1),
        lambda x: pool(np.max, x, (3, 2), 2, 2, 1, -np.inf),
        torch=lambda torch, x: torch.nn.functional.max_pool2d(x, (3, 2), 2, 1), ops=("windows", "max"),
        also=(((0, 5, 6),), ((5, 6),)), large="2 3 y x"),
    Row("max_pool2d:halves", (distinct((3, 4, 5)),), lambda _, x: ops.max_pool2d(x, 2),
        lambda x: pool(np.max, x, 2, 2), torch=lambda torch, x: torch.nn.functional.max_pool2d(x, 2),
        ops=("windows", "max"), large="2 3 y x"),
    Row("max_pool2d:int", (numbers((2, 5, 6), -9, 1),), lambda _, x: ops.max_pool2d(x, 3, padding=1),
        lambda x: pool(np.max, x, 3, 2, None, 1, np.iinfo(x.dtype).min), ops=("windows", "max"),
        dtypes=("int64", "int8", "uint8"), grad=False),
    Row("avg_pool1d", (floats((2, 3, 6)),), lambda _, x: ops.avg_pool1d(x, 3, stride=1, padding=1),
        lambda x: pool(np.mean, x, 3, 1, 1, 1),
        torch=lambda torch, x: torch.nn.functional.avg_pool1d(x, 3, 1, 1), ops=("windows", "mean"),
        also=(((0, 6),),)),
    Row("avg_pool2d", (floats((2, 3, 4, 7)),), lambda _, x: ops.avg_pool2d(x, (2, 3), stride=(1, 2)),
        lambda x: pool(np.mean, x, (2, 3), 2, (1, 2)),
        torch=lambda torch, x: torch.nn.functional.avg_pool2d(x, (2, 3), (1, 2)), ops=("windows", "mean"),
        large="2 3 y x"),
    Row("avg_pool2d:thirds", (floats((2, 3, 4)),), lambda _, x: ops.avg_pool2d(x, 3),
        lambda x: pool(np.mean, x, 3, 2), torch=lambda torch, x: torch.nn.functional.avg_pool2d(x, 3),
        ops=("windows", "mean"), large="2 3 y x"),
]  # fmt: skip
