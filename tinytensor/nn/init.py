"""Weight initialization. Each function fills a tensor in place, without recording, and returns it.

fan_in is the number of terms summed per output, fan_out that per input in the backward pass. They follow from
the shape: (in, out) for a matrix, as Linear stores it, and (out, in, k, …) for a convolution. For a matrix of
(out, in), such as weight_ih_l0 of LSTM, in_proj_weight of MultiheadAttention and the weight of F.linear,
`kaiming_normal_` and `kaiming_uniform_` take layout="out, in"; the others treat both axes alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import erf, prod, sqrt
from typing import TYPE_CHECKING, Literal

import tinytensor.api as tt
from tinytensor.argument_checks import publish as _publish

__all__ = [
    "calculate_gain",
    "constant_",
    "fans",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "skipped",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

Generator = tt.Generator | None
Mode = Literal["fan_in", "fan_out"]
Layout = Literal["in, out", "out, in"]

_skipping: ContextVar[bool] = ContextVar("tinytensor_init_skipping", default=False)


@contextmanager
def skipped() -> Iterator[None]:
    """Skip initialization in this thread: tensors stay uninitialized, for modules whose weights are loaded.

    >>> with tt.nn.init.skipped():
    ...     layer = tt.nn.Linear(1000, 1000)  # whatever the memory held
    >>> layer.weight.shape
    (1000, 1000)
    """
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def _fill(tensor: tt.Tensor, value: tt.Tensor | float) -> tt.Tensor:
    if _skipping.get():
        return tensor
    with tt.no_grad():
        return tensor.copy_(value)


def zeros_(tensor: tt.Tensor) -> tt.Tensor:
    """Fill with 0.

    >>> tt.nn.init.zeros_(tt.ones(2)).tolist()
    [0.0, 0.0]
    """
    return _fill(tensor, 0)


def ones_(tensor: tt.Tensor) -> tt.Tensor:
    """Fill with 1.

    >>> tt.nn.init.ones_(tt.zeros(2)).tolist()
    [1.0, 1.0]
    """
    return _fill(tensor, 1)


def constant_(tensor: tt.Tensor, val: float) -> tt.Tensor:
    """Fill with a number.

    >>> tt.nn.init.constant_(tt.empty(2), 0.5).tolist()
    [0.5, 0.5]
    """
    return _fill(tensor, val)


def orthogonal_(tensor: tt.Tensor, gain: float = 1.0, generator: Generator = None) -> tt.Tensor:
    """Fill with a random matrix whose rows, or columns if it has more rows, are orthonormal, times the gain.

    Args:
        tensor: at least two axes, of which the others form the columns; written to.

    Source: Saxe, McClelland, Ganguli 2013, arXiv:1312.6120.

    >>> w = tt.nn.init.orthogonal_(tt.empty(2, 3))
    >>> tt.allclose(w @ w.T, tt.eye(2), atol=1e-6)
    True
    """
    fans(tensor.shape, "orthogonal_")
    rows, columns = tensor.shape[0], prod(tensor.shape[1:])
    drawn = tt.normal(0.0, 1.0, (max(rows, columns), min(rows, columns)), generator=generator)
    from tinytensor.linalg import qr  # imported by those who ask for it

    q, r = qr(drawn)
    q = q * tt.sign(tt.diagonal(r))  # so that all directions are equally likely
    return _fill(tensor, (gain * (q if rows >= columns else q.T)).reshape(tensor.shape).to(tensor.device))


def uniform_(tensor: tt.Tensor, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> tt.Tensor:
    """Fill with samples of the uniform distribution on [a, b).

    >>> w = tt.nn.init.uniform_(tt.empty(100), -1, 1)
    >>> bool((w >= -1).all() & (w < 1).all())
    True
    """
    if _skipping.get():
        return tensor
    drawn = tt.uniform(tensor.shape, a, b, dtype=tensor.dtype, device=tensor.device, generator=generator)
    return _fill(tensor, drawn)


def normal_(tensor: tt.Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator = None) -> tt.Tensor:
    """Fill with samples of a normal distribution.

    Source: std=0.02 is GPT-2's (Radford et al. 2019, the released code).

    >>> w = tt.nn.init.normal_(tt.empty(10_000), std=0.02, generator=tt.Generator(0))
    >>> round(float(w.numpy().std()), 3)
    0.02
    """
    if _skipping.get():
        return tensor
    drawn = tt.normal(mean, std, tensor.shape, dtype=tensor.dtype, device=tensor.device, generator=generator)
    return _fill(tensor, drawn)


def trunc_normal_(
    tensor: tt.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator = None,
) -> tt.Tensor:
    """Fill with samples of a normal distribution truncated to [a, b].

    Args:
        mean, std: parameters of the normal distribution before truncation.
        a, b: the bounds, as values, not as multiples of std.

    Raises:
        ArgumentError: less than a thousandth of the distribution lies inside.

    >>> w = tt.nn.init.trunc_normal_(tt.empty(10_000), std=0.02, a=-0.04, b=0.04)
    >>> bool((w.abs() <= 0.04).all())
    True
    """
    inside = (erf((b - mean) / std / sqrt(2)) - erf((a - mean) / std / sqrt(2))) / 2 if std > 0 else 0.0
    if not inside >= 1e-3:
        raise tt.ArgumentError(
            f"trunc_normal_: mean {mean}, std {std}, from {a} to {b}",
            why=f"only a share of {max(inside, 0.0):.1g} lies inside, and samples outside are redrawn",
            fix="a and b are values, not multiples of std: a=mean - 2 * std, b=mean + 2 * std",
        )
    if _skipping.get():
        return tensor
    dtype, device = tensor.dtype, tensor.device
    values = tt.normal(mean, std, (tensor.size,), dtype=dtype, device=device, generator=generator)
    while (bad := ((values < a) | (values > b)).nonzero()[0]).size:
        values[bad] = tt.normal(mean, std, bad.shape, dtype=dtype, device=device, generator=generator)
    return _fill(tensor, values.reshape(tensor.shape))


def fans(shape: tuple[int, ...], what: str = "init.fans", *, layout: Layout = "in, out") -> tuple[int, int]:
    """fan_in and fan_out of a weight: (in, out) for two axes, (out, in, k, …) for more.

    Args:
        layout: the axes of a matrix: "in, out" as in Linear, or "out, in" as in LSTM and F.linear. A weight
            of more axes is always (out, in, k, …).

    >>> tt.nn.init.fans((768, 3072)), tt.nn.init.fans((16, 3, 5, 5))
    ((768, 3072), (75, 400))
    >>> tt.nn.init.fans(tt.nn.LSTM(10, 20).weight_ih_l0.shape, layout="out, in")
    (10, 80)
    """
    if layout not in ("in, out", "out, in"):
        raise tt.ArgumentError(
            f"{what}: layout {layout!r}",
            why='a matrix is stored as "in, out", for x @ w, or as "out, in", for x @ w.T',
            fix='layout="out, in"',
        )
    if len(shape) < 2:
        raise tt.ShapeError(
            f"{what}: shape {shape} has no fan-in",
            why="a weight that is multiplied and summed has at least two axes",
            fix="biases and scales are filled with zeros_ or ones_",
        )
    if len(shape) == 2:
        return (shape[0], shape[1]) if layout == "in, out" else (shape[1], shape[0])
    window = prod(shape[2:])
    return shape[1] * window, shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor of the standard deviation that the activation which follows asks for.

    Args:
        nonlinearity: "linear", "conv1d", "conv2d", "sigmoid" (1), "tanh" (5/3), "relu" (sqrt(2)),
            "leaky_relu" (sqrt(2 / (1 + slope²))), "selu" (3/4).
        param: the slope of "leaky_relu", default 0.01.

    >>> round(tt.nn.init.calculate_gain("relu"), 4)
    1.4142
    """
    slope = 0.01 if param is None else param
    gains = dict.fromkeys(("linear", "conv1d", "conv2d", "sigmoid"), 1.0)
    gains |= {"tanh": 5 / 3, "relu": sqrt(2.0), "leaky_relu": sqrt(2.0 / (1 + slope**2)), "selu": 0.75}
    if nonlinearity not in gains:
        raise tt.ArgumentError(
            f"calculate_gain: nonlinearity {nonlinearity!r}",
            why=f"it is one of {', '.join(gains)}",
            fix='"relu"',
        )
    return gains[nonlinearity]


def _kaiming_std(
    shape: tuple[int, ...], a: float, mode: Mode, nonlinearity: str, layout: Layout, what: str
) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise tt.ArgumentError(
            f"{what}: mode {mode!r}",
            why="the variance is preserved in forward (fan_in) or backward (fan_out)",
            fix='mode="fan_in"',
        )
    fan = fans(shape, what, layout=layout)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / sqrt(max(fan, 1))


def kaiming_normal_(
    tensor: tt.Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
    *,
    layout: Layout = "in, out",
) -> tt.Tensor:
    """Kaiming normal initialization: preserves the variance through layers followed by a ReLU.

    std = gain / sqrt(fan), gain = sqrt(2 / (1 + a²)) for leaky_relu

    Args:
        mode: "fan_in" preserves the variance in the forward pass, "fan_out" in the backward pass.
        nonlinearity: the activation that follows, see `calculate_gain`.
        layout: "out, in" for a matrix of F.linear, LSTM, … (PyTorch's layout), see `fans`.

    Source: He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equations 10 and 15.

    >>> w = tt.nn.init.kaiming_normal_(tt.empty(200, 100), generator=tt.Generator(0))
    >>> round(float(w.numpy().std()), 3)
    0.1
    """
    std = _kaiming_std(tensor.shape, a, mode, nonlinearity, layout, "kaiming_normal_")
    return normal_(tensor, std=std, generator=generator)


def kaiming_uniform_(
    tensor: tt.Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
    *,
    layout: Layout = "in, out",
) -> tt.Tensor:
    """Kaiming uniform initialization: as `kaiming_normal_`, with a uniform distribution of equal variance.

    bound = sqrt(3) * gain / sqrt(fan)

    Source: He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equations 10 and 15. With a = sqrt(5) the bound is
        1 / sqrt(fan_in), LeCun et al. 1998, "Efficient BackProp", section 4.6: the default of Linear.

    >>> w = tt.nn.init.kaiming_uniform_(tt.empty(150, 4))
    >>> bool((w.abs() <= 0.2).all())
    True
    """
    bound = sqrt(3.0) * _kaiming_std(tensor.shape, a, mode, nonlinearity, layout, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: tt.Tensor, gain: float = 1.0, generator: Generator = None) -> tt.Tensor:
    """Xavier (Glorot) normal initialization: preserves the variance in forward and backward on average.

    std = gain * sqrt(2 / (fan_in + fan_out))

    Args:
        gain: factor for the activation that follows; 1 for none or tanh.

    Source: Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
        equation 12.

    >>> w = tt.nn.init.xavier_normal_(tt.empty(150, 50), generator=tt.Generator(0))
    >>> round(float(w.numpy().std()), 3)
    0.1
    """
    std = gain * sqrt(2.0 / max(sum(fans(tensor.shape, "xavier_normal_")), 1))
    return normal_(tensor, std=std, generator=generator)


def xavier_uniform_(tensor: tt.Tensor, gain: float = 1.0, generator: Generator = None) -> tt.Tensor:
    """Xavier (Glorot) uniform initialization: as `xavier_normal_`, with a uniform distribution.

    bound = gain * sqrt(6 / (fan_in + fan_out))

    Source: Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
        equation 16.

    >>> w = tt.nn.init.xavier_uniform_(tt.empty(100, 50))
    >>> bool((w.abs() <= 0.2).all())
    True
    """
    bound = gain * sqrt(6.0 / max(sum(fans(tensor.shape, "xavier_uniform_")), 1))
    return uniform_(tensor, -bound, bound, generator=generator)


if not TYPE_CHECKING:
    _publish(globals(), {})
