"""Weight initialization. Each function fills a tensor in place, without recording, and returns it.

fan_in is the number of terms summed per output, fan_out that per input in the backward pass. They follow from
the shape: (in, out) for a matrix, as Linear stores it, and (out, in, k, …) for a convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import erf, prod, sqrt
from typing import Literal

import tinytensor.api as tt

__all__ = [
    "fans",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "skipped",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

Generator = tt.Generator | None
Mode = Literal["fan_in", "fan_out"]

_skipping: ContextVar[bool] = ContextVar("tinytensor_init_skipping", default=False)


@contextmanager
def skipped() -> Iterator[None]:
    """Skip initialization in this thread: tensors stay uninitialized, for modules whose weights are loaded.

    Example:
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

    Args:
        tensor: any shape; written to.

    Returns:
        tensor.

    Example:
        >>> tt.nn.init.zeros_(tt.ones(2)).tolist()
        [0.0, 0.0]
    """
    return _fill(tensor, 0)


def ones_(tensor: tt.Tensor) -> tt.Tensor:
    """Fill with 1.

    Args:
        tensor: any shape; written to.

    Returns:
        tensor.

    Example:
        >>> tt.nn.init.ones_(tt.zeros(2)).tolist()
        [1.0, 1.0]
    """
    return _fill(tensor, 1)


def uniform_(
    tensor: tt.Tensor, low: float = 0.0, high: float = 1.0, *, generator: Generator = None
) -> tt.Tensor:
    """Fill with samples of the uniform distribution on [low, high).

    Args:
        tensor: any shape, floating; written to.
        low, high: the bounds.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Example:
        >>> w = tt.nn.init.uniform_(tt.empty(100), -1, 1)
        >>> bool((w >= -1).all() & (w < 1).all())
        True
    """
    if _skipping.get():
        return tensor
    drawn = tt.uniform(tensor.shape, low, high, dtype=tensor.dtype, device=tensor.device, generator=generator)
    return _fill(tensor, drawn)


def normal_(
    tensor: tt.Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator = None
) -> tt.Tensor:
    """Fill with samples of a normal distribution.

    Args:
        tensor: any shape, floating; written to.
        mean: mean.
        std: standard deviation.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Source: std=0.02 is GPT-2's (Radford et al. 2019, the released code).

    Example:
        >>> w = tt.nn.init.normal_(tt.empty(10_000), std=0.02, generator=tt.Generator(0))
        >>> round(float(w.numpy().std()), 3)
        0.02
    """
    if _skipping.get():
        return tensor
    drawn = tt.normal(tensor.shape, mean, std, dtype=tensor.dtype, device=tensor.device, generator=generator)
    return _fill(tensor, drawn)


def trunc_normal_(
    tensor: tt.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    *,
    generator: Generator = None,
) -> tt.Tensor:
    """Fill with samples of a normal distribution truncated to [low, high].

    Args:
        tensor: any shape, floating; written to.
        mean, std: parameters of the normal distribution before truncation.
        low, high: the bounds, as values, not as multiples of std.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Raises:
        ArgumentError: less than a thousandth of the distribution lies inside.

    Example:
        >>> w = tt.nn.init.trunc_normal_(tt.empty(10_000), std=0.02, low=-0.04, high=0.04)
        >>> bool((w.abs() <= 0.04).all())
        True
    """
    inside = (erf((high - mean) / std / sqrt(2)) - erf((low - mean) / std / sqrt(2))) / 2 if std > 0 else 0.0
    if not inside >= 1e-3:
        raise tt.ArgumentError(
            f"trunc_normal_: mean {mean}, std {std}, from {low} to {high}",
            why=f"only a share of {max(inside, 0.0):.1g} lies inside, and samples outside are redrawn",
            fix="low and high are values, not multiples of std: low=mean - 2 * std, high=mean + 2 * std",
        )
    if _skipping.get():
        return tensor
    dtype, device = tensor.dtype, tensor.device
    values = tt.normal((tensor.numel,), mean, std, dtype=dtype, device=device, generator=generator)
    while (bad := ((values < low) | (values > high)).nonzero()[0]).numel:
        values[bad] = tt.normal(bad.shape, mean, std, dtype=dtype, device=device, generator=generator)
    return _fill(tensor, values.reshape(tensor.shape))


def fans(shape: tuple[int, ...], what: str = "init.fans") -> tuple[int, int]:
    """fan_in and fan_out of a weight: (in, out) for two axes, (out, in, k, …) for more.

    Args:
        shape: shape of the weight; at least two axes.
        what: name of the caller, for the message.

    Returns:
        (fan_in, fan_out).

    Raises:
        ShapeError: the shape has fewer than two axes.

    Example:
        >>> tt.nn.init.fans((768, 3072)), tt.nn.init.fans((16, 3, 5, 5))
        ((768, 3072), (75, 400))
    """
    if len(shape) < 2:
        raise tt.ShapeError(
            f"{what}: shape {shape} has no fan-in",
            why="a weight that is multiplied and summed has at least two axes",
            fix="biases and scales are filled with zeros_ or ones_",
        )
    if len(shape) == 2:
        return shape[0], shape[1]
    window = prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _kaiming_std(shape: tuple[int, ...], slope: float, mode: Mode, what: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise tt.ArgumentError(
            f"{what}: mode {mode!r}",
            why="the variance is preserved in forward (fan_in) or backward (fan_out)",
            fix='mode="fan_in"',
        )
    return sqrt(2.0 / (1.0 + slope**2) / max(fans(shape, what)[mode == "fan_out"], 1))


def kaiming_normal_(
    tensor: tt.Tensor, slope: float = 0.0, mode: Mode = "fan_in", *, generator: Generator = None
) -> tt.Tensor:
    """Kaiming normal initialization: preserves the variance through layers followed by a ReLU.

    std = sqrt(2 / ((1 + slope²) * fan))

    Args:
        tensor: at least two axes, floating; written to.
        slope: slope of the activation for negative inputs; 0 for a ReLU, 1 for none.
        mode: "fan_in" preserves the variance in the forward pass, "fan_out" in the backward pass.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Raises:
        ShapeError: the tensor has fewer than two axes.

    Source: He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equations 10 and 15.

    Example:
        >>> w = tt.nn.init.kaiming_normal_(tt.empty(200, 100), generator=tt.Generator(0))
        >>> round(float(w.numpy().std()), 3)
        0.1
    """
    return normal_(
        tensor, std=_kaiming_std(tensor.shape, slope, mode, "kaiming_normal_"), generator=generator
    )


def kaiming_uniform_(
    tensor: tt.Tensor, slope: float = 0.0, mode: Mode = "fan_in", *, generator: Generator = None
) -> tt.Tensor:
    """Kaiming uniform initialization: as `kaiming_normal_`, with a uniform distribution of equal variance.

    bound = sqrt(3) * sqrt(2 / ((1 + slope²) * fan))

    Args:
        tensor: at least two axes, floating; written to.
        slope: slope of the activation for negative inputs; 0 for a ReLU, 1 for none.
        mode: "fan_in" preserves the variance in the forward pass, "fan_out" in the backward pass.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Raises:
        ShapeError: the tensor has fewer than two axes.

    Source: He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equations 10 and 15. With slope = sqrt(5) the bound is
        1 / sqrt(fan_in), LeCun et al. 1998, "Efficient BackProp", section 4.6: the default of Linear.

    Example:
        >>> w = tt.nn.init.kaiming_uniform_(tt.empty(150, 4))
        >>> bool((w.abs() <= 0.2).all())
        True
    """
    bound = sqrt(3.0) * _kaiming_std(tensor.shape, slope, mode, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: tt.Tensor, gain: float = 1.0, *, generator: Generator = None) -> tt.Tensor:
    """Xavier (Glorot) normal initialization: preserves the variance in forward and backward on average.

    std = gain * sqrt(2 / (fan_in + fan_out))

    Args:
        tensor: at least two axes, floating; written to.
        gain: factor for the activation that follows; 1 for none or tanh.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Raises:
        ShapeError: the tensor has fewer than two axes.

    Source: Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
        equation 12.

    Example:
        >>> w = tt.nn.init.xavier_normal_(tt.empty(150, 50), generator=tt.Generator(0))
        >>> round(float(w.numpy().std()), 3)
        0.1
    """
    std = gain * sqrt(2.0 / max(sum(fans(tensor.shape, "xavier_normal_")), 1))
    return normal_(tensor, std=std, generator=generator)


def xavier_uniform_(tensor: tt.Tensor, gain: float = 1.0, *, generator: Generator = None) -> tt.Tensor:
    """Xavier (Glorot) uniform initialization: as `xavier_normal_`, with a uniform distribution.

    bound = gain * sqrt(6 / (fan_in + fan_out))

    Args:
        tensor: at least two axes, floating; written to.
        gain: factor for the activation that follows; 1 for none or tanh.
        generator: random generator; default: the global one.

    Returns:
        tensor.

    Raises:
        ShapeError: the tensor has fewer than two axes.

    Source: Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
        equation 16.

    Example:
        >>> w = tt.nn.init.xavier_uniform_(tt.empty(100, 50))
        >>> bool((w.abs() <= 0.2).all())
        True
    """
    bound = gain * sqrt(6.0 / max(sum(fans(tensor.shape, "xavier_uniform_")), 1))
    return uniform_(tensor, -bound, bound, generator=generator)
