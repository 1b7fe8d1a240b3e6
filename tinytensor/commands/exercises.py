"""Small calls that launch the kernels of every op, for the commands `check` and `selftest`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

import tinytensor as tt
from tinytensor.op import registry
from tinytensor.runtime.kernel_files import kernel_files

__all__ = ["EXERCISES", "Data", "run"]

ROWS, COLUMNS = 37, 70  # not multiples of block, tile or vector sizes: each has a remainder
TOKENS, CLASSES = 45, 11


class Data:
    """Generates the inputs of an exercise, identical for each device.

    Attributes:
        device, dtype: device and dtype of the inputs.
        leaves: the inputs that require gradients.
    """

    def __init__(self, device: tt.Device | str, dtype: tt.DType) -> None:
        self.device, self.dtype = tt.Device(device), dtype
        self.leaves: list[tt.Tensor] = []
        self._rng = np.random.default_rng(7)

    @property
    def wide(self) -> tt.DType:
        """Accumulation dtype: that of the inputs, or float32 for 16-bit floats."""
        return tt.float64 if self.dtype is tt.float64 else tt.float32

    def floats(self, *shape: int, low: float = -2.0, high: float = 2.0) -> tt.Tensor:
        """Uniform floats in [low, high) that require gradients."""
        x = self._drawn(shape, low, high).requires_grad_()
        self.leaves.append(x)
        return x

    def _drawn(self, shape: tuple[int, ...], low: float, high: float) -> tt.Tensor:
        return tt.tensor(self._rng.uniform(low, high, shape), dtype=self.dtype).to(self.device)

    def positive(self, *shape: int) -> tt.Tensor:
        """Floats in [0.5, 2)."""
        return self.floats(*shape, low=0.5)

    def shuffled_rows(self) -> tt.Tensor:
        """(ROWS, COLUMNS) floats: each row is a permutation of 0, 1, 2, …, so its elements are distinct."""
        rows = self._rng.permuted(np.tile(np.arange(COLUMNS), (ROWS, 1)), axis=1)
        self.leaves.append(tt.tensor(rows, dtype=self.dtype).to(self.device).requires_grad_())
        return self.leaves[-1]

    def constant(self, *shape: int) -> tt.Tensor:
        """Floats in [-2, 2) that do not require gradients."""
        return self._drawn(shape, -2.0, 2.0)

    def ints(self, high: int, *shape: int) -> tt.Tensor:
        """Integers in [0, high)."""
        return tt.tensor(self._rng.integers(0, high, shape)).to(self.device)

    def bools(self, *shape: int) -> tt.Tensor:
        """Fair coins."""
        return tt.tensor(self._rng.random(shape) < 0.5).to(self.device)

    def generator(self) -> tt.Generator:
        """Generator with the same stream on each device."""
        return tt.Generator(11)

    def matrix(self) -> tt.Tensor:
        """(ROWS, COLUMNS) floats."""
        return self.floats(ROWS, COLUMNS)


Exercise = Callable[[Data], Iterable[tt.Tensor]]


def run(
    exercise: Exercise, device: tt.Device | str, dtype: tt.DType
) -> tuple[list[tt.Tensor], list[tt.Tensor]]:
    """Run an exercise and return its results and the gradients of its inputs.

    Args:
        exercise: one of EXERCISES.
        device: device to run on.
        dtype: dtype of its floats.

    Example:
        >>> results, grads = run(EXERCISES["softmax"], "cpu", tt.float32)
        >>> results[0].shape, grads[0].shape
        ((37, 70), (37, 70))
    """
    data = Data(device, dtype)
    results = list(exercise(data))
    ends = [y for y in results if y.requires_grad]
    starts = [data.constant(*y.shape) for y in ends]
    grads = tt.grad(ends, data.leaves, starts, allow_unused=True) if ends else ()
    return results, [g for g in grads if g is not None]


def _each(functions: Sequence[Callable[..., tt.Tensor]], *inputs: tt.Tensor) -> list[tt.Tensor]:
    return [f(*inputs) for f in functions]


def _activation(d: Data) -> list[tt.Tensor]:
    x = d.matrix()
    return [*_each((tt.relu, tt.silu), x), tt.heaviside(d.constant(ROWS, COLUMNS), d.constant(COLUMNS))]


def _adamw(d: Data) -> list[tt.Tensor]:
    shapes = [(ROWS, COLUMNS), (COLUMNS,), (1,)]
    p, g = ([d.constant(*shape) for shape in shapes] for _ in range(2))
    m = [d.constant(*shape).astype(d.wide) for shape in shapes]
    v = [d.positive(*shape).detach().astype(d.wide) for shape in shapes]
    tt.adamw_step(p, g, m, v, tt.adamw_hyper(lr=1e-2, step=3, device=d.device))
    return [*p, *m, *v]


def _gather_along(d: Data) -> list[tt.Tensor]:
    x, at = d.matrix(), d.ints(COLUMNS, ROWS, 20)
    return [tt.take_along_axis(x, at, axis=1), tt.gather(x, d.ints(ROWS, 20, COLUMNS), 0)]


def _arithmetic(d: Data) -> list[tt.Tensor]:
    x, y, row = d.matrix(), d.positive(ROWS, COLUMNS), d.positive(COLUMNS)
    binary = (tt.add, tt.subtract, tt.multiply, tt.divide, tt.maximum, tt.minimum)
    found = [*_each(binary, x, y), *_each(binary, x.T[3:], y.T[3:]), *_each(binary, x, row)]
    found += [tt.negative(x), tt.positive(x), tt.clip(x, -1.0, 1.0), x * 2.0]
    return found + _each((tt.remainder, tt.floor_divide), x.detach(), y.detach())


def _attention(d: Data) -> list[tt.Tensor]:
    q, k, v = (d.floats(2, 3, n, 24) for n in (40, 45, 45))
    mask = d.bools(2, 1, 40, 45)
    return [
        tt.causal_self_attention(d.floats(2, 40, 3 * 48), 2),
        tt.scaled_dot_product_attention(q, k, v),
        tt.scaled_dot_product_attention(q, k, v, mask=mask),
    ]


def _bitwise(d: Data) -> list[tt.Tensor]:
    a, b = d.ints(1000, ROWS, COLUMNS), d.ints(7, ROWS, COLUMNS)
    both = (tt.bitwise_and, tt.bitwise_or, tt.bitwise_xor, tt.bitwise_left_shift, tt.bitwise_right_shift)
    return [*_each(both, a, b), tt.bitwise_invert(a)]


def _cached_attention(d: Data) -> list[tt.Tensor]:
    keys, values = d.floats(2, 3, 45, 24).detach(), d.floats(2, 3, 45, 24).detach()
    start = tt.tensor([5], device=keys.device)
    new = d.floats(2, 4, 3 * 72).detach()
    return [tt.cached_self_attention(new, keys, values, start), keys, values]


def _sampling(d: Data) -> list[tt.Tensor]:
    p = d.positive(5, COLUMNS).detach()
    found = [tt.multinomial(p, 9, replacement=r, generator=d.generator()) for r in (True, False)]
    return [*found, tt.permutation(200, generator=d.generator(), device=d.device)]


def _comparison(d: Data) -> list[tt.Tensor]:
    x, y = d.constant(ROWS, COLUMNS), d.constant(COLUMNS)
    yes, no = d.bools(ROWS, COLUMNS), d.bools(COLUMNS)
    found = _each((tt.equal, tt.not_equal, tt.less, tt.less_equal, tt.greater, tt.greater_equal), x, y)
    found += _each((tt.logical_and, tt.logical_or, tt.logical_xor), yes, no)
    found += [tt.logical_not(yes), *_each((tt.isfinite, tt.isinf, tt.isnan, tt.signbit), x), tt.isclose(x, y)]
    return [*found, tt.where(yes, d.matrix(), d.floats(COLUMNS))]


def _cross_entropy(d: Data) -> list[tt.Tensor]:
    return [tt.cross_entropy(d.floats(TOKENS, CLASSES), d.ints(CLASSES, TOKENS))]


def _dropout(d: Data) -> list[tt.Tensor]:
    return [tt.dropout(d.matrix(), 0.3, generator=d.generator())]


def _embedding(d: Data) -> list[tt.Tensor]:
    return [tt.embedding(d.floats(CLASSES, COLUMNS), d.ints(CLASSES, 3, TOKENS))]


def _exponential(d: Data) -> list[tt.Tensor]:
    x, y = d.matrix(), d.positive(ROWS, COLUMNS)
    found = _each((tt.exp, tt.expm1, tt.tanh, tt.sigmoid, tt.softplus, tt.erf), x)
    found += _each((tt.log, tt.log1p, tt.log2, tt.log10), y)
    return [*found, tt.logaddexp(x, y)]


def _min_max(d: Data) -> list[tt.Tensor]:
    x, yes = d.matrix(), d.bools(ROWS, COLUMNS)
    found = [f(x, axis=axis) for f in (tt.max, tt.min, tt.argmax, tt.argmin) for axis in (0, 1, None)]
    return found + [f(yes, axis=1) for f in (tt.any, tt.all, tt.count_nonzero)]


def _gathering(d: Data) -> list[tt.Tensor]:
    x, at = d.matrix(), d.ints(ROWS, 20, COLUMNS)
    added = tt.scatter_add(d.matrix(), at, d.floats(20, COLUMNS), 0)
    return [tt.gather(x, at, 0), tt.take_along_axis(x, at, axis=0), added]


def _gelu(d: Data) -> list[tt.Tensor]:
    x = d.matrix()
    return [tt.gelu(x), tt.gelu(x, approximate="tanh")]


def _indexing(d: Data) -> list[tt.Tensor]:
    x, rows = d.matrix(), d.ints(ROWS, 20)
    y = d.constant(ROWS, COLUMNS)
    y[d.bools(ROWS, COLUMNS)] = 3.0
    y[rows[:1], 2:40] = 1.0
    return [x[rows], x[rows, d.ints(COLUMNS, 20)], x[:, d.bools(COLUMNS)], x[2:30, ::3], y]


def _layer_norm(d: Data) -> list[tt.Tensor]:
    return [tt.layer_norm(d.matrix(), d.floats(COLUMNS), d.floats(COLUMNS))]


def _loss(d: Data) -> list[tt.Tensor]:
    x = d.floats(TOKENS, CLASSES)
    targets = d.positive(TOKENS, CLASSES).detach() / 2.0
    found = [tt.nll_loss(tt.log_softmax(x), d.ints(CLASSES, TOKENS)), tt.mse_loss(x, targets)]
    return [*found, tt.bce_with_logits(x, targets)]


def _manipulation(d: Data) -> list[tt.Tensor]:
    x = d.matrix()
    copies = [x.T.contiguous(), x[:, ::-1].contiguous(), x[::2, 3:].clone(), x.astype(tt.float64)]
    joined = [tt.concat([x, x[:5]]), tt.stack([x, x]), tt.pad(x, [(1, 2), (3, 0)]), tt.roll(x, 3, axis=1)]
    return [*copies, *joined, tt.repeat(x, 3, axis=0), tt.tile(x, (2, 1)), x.sum().expand(4, 5).contiguous()]


def _multi_tensor(d: Data) -> list[tt.Tensor]:
    tensors = [d.constant(*shape) for shape in ((ROWS, COLUMNS), (COLUMNS,), (1,))]
    norm = tt.grad_norm(tensors)
    tt.scale_all_(tensors, norm)
    scaled = [t.clone() for t in tensors]
    tt.zero_all_(tensors)
    return [norm, *scaled, *tensors]


def _masking(d: Data) -> list[tt.Tensor]:
    x = d.matrix()
    hot = tt.one_hot(d.ints(CLASSES, TOKENS), CLASSES)
    return [tt.tril(x), tt.triu(x, 2), tt.masked_fill(x, d.bools(ROWS, COLUMNS), -1.0), hot]


def _matmul(d: Data) -> list[tt.Tensor]:
    a, b = d.matrix(), d.floats(COLUMNS, 45)
    batch = d.floats(3, ROWS, 20) @ d.floats(3, 33, 20).transpose(1, 2)
    return [a @ b, tt.linear(a, d.floats(COLUMNS, 45), d.floats(45)), batch, a @ d.floats(COLUMNS)]


def _mask_select(d: Data) -> list[tt.Tensor]:
    return list(tt.nonzero(d.bools(ROWS, COLUMNS)))


def _sign_and_complex(d: Data) -> list[tt.Tensor]:
    x, y = d.matrix(), d.constant(ROWS, COLUMNS)
    return [
        tt.abs(x),
        tt.sign(x),
        tt.copysign(x, y),
        tt.nextafter(*[t.detach().astype(d.wide) for t in (x, y)]),
    ]


def _power(d: Data) -> list[tt.Tensor]:
    x = d.positive(ROWS, COLUMNS)
    y = d.floats(COLUMNS)
    return [tt.pow(x, y), tt.hypot(x, y), *_each((tt.square, tt.reciprocal, tt.sqrt, tt.rsqrt), x)]


def _random(d: Data) -> list[tt.Tensor]:
    g = d.generator()
    return [
        tt.rand(ROWS, COLUMNS, dtype=d.dtype, device=d.device, generator=g),
        tt.randn(ROWS, COLUMNS, dtype=d.dtype, device=d.device, generator=g),
        tt.randint(0, 9, (ROWS, COLUMNS), device=d.device, generator=g),
        tt.bernoulli(d.positive(ROWS, COLUMNS).detach() / 2.0, generator=g),
    ]


def _reduction(d: Data) -> list[tt.Tensor]:
    x, y = d.matrix(), d.positive(4, ROWS, COLUMNS)
    found = [f(x, axis=axis) for f in (tt.sum, tt.mean) for axis in (0, 1, None)]
    return [*found, x.T.sum(axis=0), y.sum(axis=(0, 2)), y[:, :5, :6].prod(axis=1), tt.norm(x)]


def _view_gradients(d: Data) -> list[tt.Tensor]:
    image, weight = d.floats(2, 3, 9, 11), d.floats(4, 3, 3, 3)
    pooled = [tt.max_pool2d(image, 2), tt.avg_pool2d(image, 3)]
    return [tt.conv2d(image, weight, d.floats(4), padding=1), *pooled, tt.unfold(d.matrix(), 1, 5, 3)]


def _rms_norm(d: Data) -> list[tt.Tensor]:
    return [tt.rms_norm(d.matrix(), d.floats(COLUMNS))]


def _rounding(d: Data) -> list[tt.Tensor]:
    return _each((tt.ceil, tt.floor, tt.trunc, tt.round), d.constant(ROWS, COLUMNS))


def _scan(d: Data) -> list[tt.Tensor]:
    x = d.positive(ROWS, COLUMNS)
    found = [tt.cumulative_sum(x, axis=axis) for axis in (0, 1)]
    return [*found, tt.cumulative_prod(x[:, :9], axis=1)]


def _selection(d: Data) -> list[tt.Tensor]:
    return [tt.take(d.matrix(), d.ints(ROWS, 150), axis=0), tt.take(d.matrix(), d.ints(COLUMNS, 9), axis=1)]


def _softmax(d: Data) -> list[tt.Tensor]:
    x = d.matrix()
    return [tt.softmax(x), tt.softmax(x, axis=0), tt.log_softmax(x), tt.logsumexp(x)]


def _sorting(d: Data) -> list[tt.Tensor]:
    x = d.shuffled_rows()
    edges = tt.sort(d.constant(50))
    long = d.constant(2, 5000)
    found = [tt.sort(x), tt.sort(x, axis=0), *tt.topk(x, 5), tt.sort(long), tt.topk(long, 3)[0]]
    return [*found, tt.argsort(x.detach()), tt.searchsorted(edges, d.constant(COLUMNS))]


def _statistics(d: Data) -> list[tt.Tensor]:
    x = d.matrix()
    return [f(x, axis=axis) for f in (tt.var, tt.std) for axis in (0, 1, None)]


def _trigonometric(d: Data) -> list[tt.Tensor]:
    x, small = d.matrix(), d.floats(ROWS, COLUMNS, low=-0.9, high=0.9)
    large = d.floats(ROWS, COLUMNS, low=1.1)
    found = _each((tt.sin, tt.cos, tt.tan, tt.sinh, tt.cosh, tt.atan, tt.asinh), x)
    found += _each((tt.asin, tt.acos, tt.atanh), small)
    return [*found, tt.acosh(large), tt.atan2(x, large)]


def _of_matrices(file: str) -> Exercise | None:
    """For a file that none below is for: the functions named as the ops of its module, on matrices."""
    ops = [op for op in registry.values() if op.__module__.endswith(f".{file}") and hasattr(tt, op.name)]
    if not ops:
        return None
    return lambda d: [getattr(tt, op.name)(*[d.matrix() for _ in op.inputs]) for op in ops]


# By the file in kernels/ that they are for, without the ending.
EXERCISES: dict[str, Exercise] = {
    "activation": _activation,
    "adamw": _adamw,
    "gather_along": _gather_along,
    "arithmetic": _arithmetic,
    "attention": _attention,
    "bitwise": _bitwise,
    "cached_attention": _cached_attention,
    "sampling": _sampling,
    "comparison": _comparison,
    "cross_entropy": _cross_entropy,
    "dropout": _dropout,
    "embedding": _embedding,
    "exponential": _exponential,
    "min_max": _min_max,
    "gathering": _gathering,
    "gelu": _gelu,
    "indexing": _indexing,
    "layer_norm": _layer_norm,
    "loss": _loss,
    "manipulation": _manipulation,
    "multi_tensor": _multi_tensor,
    "masking": _masking,
    "matmul": _matmul,
    "mask_select": _mask_select,
    "sign_and_complex": _sign_and_complex,
    "power": _power,
    "random": _random,
    "reduction": _reduction,
    "view_gradients": _view_gradients,
    "rms_norm": _rms_norm,
    "rounding": _rounding,
    "scan": _scan,
    "selection": _selection,
    "softmax": _softmax,
    "sorting": _sorting,
    "statistics": _statistics,
    "trigonometric": _trigonometric,
}
for _file in kernel_files(".cu"):
    if _file.removesuffix("_mma") not in EXERCISES and (_made := _of_matrices(_file)):
        EXERCISES[_file] = _made
