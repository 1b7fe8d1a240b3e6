"""gradcheck and gradgradcheck: numerical verification of gradients with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytensor.autograd.modes import enable_grad, no_grad
from tinytensor.device import Device
from tinytensor.dispatch.transfer import constant, values
from tinytensor.dtypes import float64
from tinytensor.errors import ArgumentError, DTypeError, GradError
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor
from tinytensor.transforms.gradients import grad

__all__ = ["gradcheck", "gradgradcheck"]

Function = Callable[..., Any]  # Tensors → Tensor or a sequence of Tensors

# The error of a central difference with step h, extrapolated with one of h/2, is about h⁴ (truncation) +
# 2⁻⁵²/h (rounding). The sum is smallest near h = 2⁻⁵²ᐟ⁵, where both are equal.
_STEP = 2.0 ** (-52 / 5)


@dataclass(frozen=True, slots=True)
class _Settings:
    what: str
    rtol: float
    atol: float
    eps: float | None


def gradcheck(
    fn: Function,
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    complete: bool = False,
    seed: int = 0,
) -> float:
    """Compare the gradients of a function with finite differences; raise GradError if they differ.

    v·∇(w·f) = (w·f(x + hv) - w·f(x - hv)) / 2h, for a random direction v and random weights w of the outputs:
    one value per input, which depends on every entry of the Jacobian. The difference is computed with two
    steps, h and h/2: Richardson extrapolation cancels the error h², and the difference of the two estimates
    the remaining error.

    Args:
        fn: function from tensors to one or several tensors; outputs that are not floating are ignored.
        inputs: arguments of fn, of any shapes. Those with requires_grad are checked and must be float64.
        eps: the step h, for inputs of size 1; None takes 2**(-52/5) = 7.4e-4. Smaller near kinks.
        rtol, atol: relative (to the larger value) and absolute tolerance.
        complete: check each entry of the Jacobian separately, and name the one that is wrong.
        seed: seed of the random directions and weights.

    Returns:
        The largest difference found, relative to 1 + the larger of the two numbers.

    Raises:
        GradError: a gradient is wrong (the message has the input, the analytic and the numeric value); fn is
            not deterministic; no input requires grad; or the curvature of f is too large for this eps.
        DTypeError: an input that requires grad is not float64.
        ArgumentError: eps is not positive.

    Accuracy: finite differences in float64 have nine to eleven correct digits if f is smooth and of size 1.

    Differs from: PyTorch's gradcheck: random projections are the default, not the whole Jacobian; the result
        is a number, not True.

    >>> x = tt.tensor([0.5, -1.5], dtype=tt.float64, requires_grad=True)
    >>> tt.gradcheck(lambda x: x * x * x, x) < 1e-9
    True
    >>> tt.gradcheck(lambda x: x * x.detach(), x)  # a forgotten path
    Traceback (most recent call last):
    tinytensor.errors.GradError: gradcheck: the gradient of input 0 of shape (2,) is wrong
    ...
    """
    settings = _Settings("gradcheck", rtol, atol, eps)
    return _check(fn, _as_list(inputs), settings, complete, np.random.default_rng(seed))


def gradgradcheck(
    fn: Function,
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    complete: bool = False,
    seed: int = 0,
) -> float:
    """Compare second derivatives with finite differences of the first; raise GradError if they differ.

    The checked function maps the inputs and random gradients of the outputs to the gradients of the inputs,
    so a failure means that the backward of some op is not differentiated correctly. Run `gradcheck` first.

    Args:
        fn: function from tensors to one or several tensors.
        inputs, eps, rtol, atol, complete, seed: as for `gradcheck`.

    Returns:
        The largest difference found, relative to 1 + the larger of the two numbers. Inputs are numbered as in
        the call; the gradients of the outputs follow them.

    Raises:
        GradError: a second derivative is wrong, or as for `gradcheck`.
        DTypeError: an input that requires grad is not float64.

    >>> x = tt.tensor([0.5, -1.5], dtype=tt.float64, requires_grad=True)
    >>> tt.gradgradcheck(lambda x: x * x * x, x) < 1e-9
    True
    """
    settings = _Settings("gradgradcheck", rtol, atol, eps)
    xs, rng = _as_list(inputs), np.random.default_rng(seed)
    checked = _checked(xs, settings)
    with no_grad():
        starts = [_leaf(_normal(rng, y.shape), y.device) for y in _floating(fn(*xs), settings.what)]

    def first_order(*arguments: Tensor) -> list[Tensor]:
        at, gradients = list(arguments[: len(xs)]), arguments[len(xs) :]
        with enable_grad():
            fresh = [i in checked and not x.requires_grad for i, x in enumerate(at)]
            at = [_leaf(values(x), x.device) if new else x for new, x in zip(fresh, at, strict=True)]
            outputs = _floating(fn(*at), settings.what)
            return _gradients(outputs, [at[i] for i in checked], gradients, create=True)

    return _check(first_order, [*xs, *starts], settings, complete, rng)


def _check(
    fn: Function, xs: list[Tensor], settings: _Settings, complete: bool, rng: np.random.Generator
) -> float:
    """The largest relative difference over all checked inputs."""
    checked = _checked(xs, settings)
    with enable_grad():
        outputs = _floating(fn(*xs), settings.what)
    at_x = [values(y).copy() for y in outputs]
    _must_repeat(fn, xs, at_x, settings)
    worst = 0.0
    for weights in _weights(at_x, complete, rng):
        starts = [constant(w, float64, y.device) for w, y in zip(weights, outputs, strict=True)]
        gradients = _gradients(outputs, [xs[i] for i in checked], starts, create=False)
        for i, gradient in zip(checked, gradients, strict=True):
            if gradient.shape != xs[i].shape or gradient.dtype is not float64:
                raise GradError(
                    f"{settings.what}: the gradient of input {i} has shape {gradient.shape} and dtype "
                    f"{gradient.dtype}, the input {xs[i].shape} and {xs[i].dtype}",
                    why="a gradient has the shape and dtype of its input",
                    fix="check the gradient that backward returns for this input",
                )
            for v in _directions(xs[i].shape, complete, rng):
                analytic = float(np.vdot(values(gradient), v))
                numeric, doubt = _difference(fn, xs, i, v, weights, at_x, settings)
                where = _where(weights, v) if complete else "in a random direction"
                which = f"input {i} of shape {xs[i].shape}"
                worst = max(worst, _compare(analytic, numeric, doubt, which, where, settings))
    return worst


def _compare(
    analytic: float, numeric: float, doubt: float, which: str, where: str, settings: _Settings
) -> float:
    """Relative difference of two derivatives; GradError if too large. `doubt`: error of the numeric one."""
    size = max(abs(analytic), abs(numeric))
    allowed = settings.atol + settings.rtol * size
    apart = abs(analytic - numeric)
    if apart <= allowed:
        return apart / (1 + size)
    numbers = f"{where}: analytic {analytic:.12g}, numeric {numeric:.12g}, apart {apart:.3g}"
    if doubt > 0.1 * apart:
        raise GradError(
            f"{settings.what}: the gradient of {which} cannot be checked",
            why=f"{numbers}; but the numeric one is uncertain by {doubt:.3g}: fn is not smooth nearby",
            fix="pass a smaller eps, or inputs away from kinks and poles",
        )
    raise GradError(
        f"{settings.what}: the gradient of {which} is wrong",
        why=f"{numbers}, allowed {allowed:.3g}",
        fix="with complete=True the message names the entry of the Jacobian",
    )


def _difference(
    fn: Function,
    xs: list[Tensor],
    i: int,
    v: Array,
    weights: list[Array],
    at_x: list[Array],
    settings: _Settings,
) -> tuple[float, float]:
    """Derivative of w·fn(x) in direction v of input i, and its estimated error."""
    x = values(xs[i])
    scale = max(1.0, float(np.abs(x).max(initial=0.0)))
    size = max(1.0, float(np.abs(v).max(initial=0.0)))
    h = (_STEP if settings.eps is None else settings.eps) * scale / size

    def slope(step: float) -> tuple[float, float]:
        """Mean and difference of the slopes on both sides of x."""
        ahead = behind = 0.0
        high, low = (_evaluate(fn, xs, settings, x + sign * step * v, i) for sign in (1.0, -1.0))
        for w, a, b, c in zip(weights, low, at_x, high, strict=True):
            ahead += float(np.vdot(w, c - b)) / step
            behind += float(np.vdot(w, b - a)) / step
        return (ahead + behind) / 2, abs(ahead - behind)

    coarse, wide = slope(h)
    fine, near = slope(h / 2)
    better = (4 * fine - coarse) / 3  # cancels the h² terms
    kink = max(0.0, 2 * near - wide)  # if fn is smooth, halving the step halves the difference of the slopes
    return better, max(abs(better - fine), kink)


def _evaluate(
    fn: Function, xs: list[Tensor], settings: _Settings, moved: Array | None = None, i: int = 0
) -> list[Array]:
    """The outputs, computed without recording, optionally with another value of input i."""
    with no_grad():
        arguments = [x.detach() for x in xs]
        if moved is not None:
            arguments[i] = constant(np.array(moved, np.float64, order="C"), float64, xs[i].device)
        return [values(y).copy() for y in _floating(fn(*arguments), settings.what)]


def _must_repeat(fn: Function, xs: list[Tensor], at_x: list[Array], settings: _Settings) -> None:
    """Raise GradError if fn is not deterministic: then finite differences are meaningless."""
    again = _evaluate(fn, xs, settings)
    same = [
        np.allclose(a, b, rtol=1e-12, atol=1e-13, equal_nan=True) for a, b in zip(at_x, again, strict=True)
    ]
    if not all(same):
        raise GradError(
            f"{settings.what}: fn returns other values when it is called again with the same inputs",
            why="it uses random numbers, has state, or writes to its inputs",
            fix="give it a generator with a fixed seed, made inside fn; and clone what it writes to",
        )


def _gradients(
    outputs: Sequence[Tensor], xs: list[Tensor], starts: Sequence[Tensor], *, create: bool
) -> list[Tensor]:
    """Gradients of the outputs with respect to xs; zeros if there is no path. Keeps the graph."""
    pairs = [(y, w) for y, w in zip(outputs, starts, strict=True) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(xs)
    if pairs:
        ys, ws = zip(*pairs, strict=True)
        found = grad(ys, xs, ws, retain_graph=True, create_graph=create, allow_unused=True)
    return [
        constant(np.zeros(x.shape), float64, x.device) if g is None else g
        for g, x in zip(found, xs, strict=True)
    ]


def _weights(outputs: list[Array], complete: bool, rng: np.random.Generator) -> Iterator[list[Array]]:
    """Iterator of output weights: random ones, or one-hot for each output element."""
    if not complete:
        yield [_normal(rng, y.shape) for y in outputs]
        return
    for k, y in enumerate(outputs):
        for unit in _directions(y.shape, True, rng):
            yield [unit if j == k else np.zeros(other.shape) for j, other in enumerate(outputs)]


def _directions(shape: tuple[int, ...], complete: bool, rng: np.random.Generator) -> Iterator[Array]:
    """Iterator of input directions: a random one, or each unit vector."""
    if not complete:
        yield _normal(rng, shape)
        return
    for index in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[index] = 1.0
        yield unit


def _where(weights: list[Array], v: Array) -> str:
    """Description of the Jacobian entry that a pair of unit vectors selects."""
    for k, w in enumerate(weights):
        if w.any():
            return f"output {k}{_index(w)} by element {_index(v)}"
    return f"element {_index(v)}"


def _index(unit: Array) -> str:
    return str([int(i) for i in np.argwhere(unit)[0]])


def _checked(xs: list[Tensor], settings: _Settings) -> list[int]:
    """Indices of the inputs to check."""
    if settings.eps is not None and not settings.eps > 0:
        raise ArgumentError(
            f"{settings.what}: eps is {settings.eps}",
            why="a difference needs two different points",
            fix="pass a small positive number, or leave eps out",
        )
    found = [i for i, x in enumerate(xs) if x.requires_grad]
    for i in found:
        if xs[i].dtype is not float64:
            raise DTypeError(
                f"{settings.what}: input {i} of shape {xs[i].shape} has dtype {xs[i].dtype}",
                why="a finite difference has ten correct digits in float64, three in float32",
                fix="make the inputs with dtype=tt.float64",
            )
    if not found:
        raise GradError(
            f"{settings.what}: none of the {len(xs)} inputs requires grad",
            why="only inputs that require grad are checked",
            fix="make them with requires_grad=True",
        )
    return found


def _floating(outputs: Any, what: str) -> list[Tensor]:
    """The floating-point outputs, which can have a gradient."""
    several = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    for y in several:
        if not isinstance(y, Tensor):
            raise DTypeError(
                f"{what}: fn returned {type(y).__name__}",
                why="the outputs must be tensors",
                fix="return a tensor, or a tuple of tensors",
            )
    return [y for y in several if y.dtype.is_floating]


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.standard_normal(shape))


def _leaf(array: Array, device: Device) -> Tensor:
    return constant(np.array(array, np.float64, order="C"), float64, device).requires_grad_()


def _as_list(inputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The inputs as distinct leaves on the same memory, even if one tensor is passed twice."""
    several = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    return [x.detach().requires_grad_() if x.requires_grad else x for x in several]
