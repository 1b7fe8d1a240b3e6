"""Row: one way to call an op, what NumPy says about it, and where its inputs are drawn.

A family of ops lists its rows as `ROWS` in a module of this package. The drivers (test_op_values,
test_op_gradients, oracle/test_op_oracle) multiply each row by dtypes and memory layouts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from tinytensor.op import Op, registry

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

FLOATS = ("float64", "float32", "float16", "bfloat16")
SIGNED = ("int64", "int32", "int16", "int8")
UNSIGNED = ("uint64", "uint32", "uint16", "uint8")
INTS = SIGNED + UNSIGNED
BOOL = ("bool",)
COMPLEX = ("complex128", "complex64")
REAL_NUMERIC = FLOATS + INTS
REAL = REAL_NUMERIC + BOOL
NUMERIC = REAL_NUMERIC + COMPLEX
ALL = REAL + COMPLEX


def rounded(values: Array, dtype: str) -> Array:
    """The values as `dtype` can hold them; floats come as float64, complex as complex128."""
    if dtype == "bfloat16":  # drop the low half: not the nearest, but a number that bfloat16 holds
        bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
        return bits.view(np.float32).astype(np.float64)
    exact = values.astype(dtype)
    if exact.dtype.kind in "fc":
        return exact.astype(np.complex128 if exact.dtype.kind == "c" else np.float64)
    return exact


@dataclass(frozen=True)
class Input:
    """How one input of a row is drawn.

    Attributes:
        shape: its shape, unless a row tries others (`Row.also`).
        kind: "float" (takes the dtype under test), "number" (the same, integers and bools too), "int" or
            "bool" (always int64 and bool).
        draw: draws float64 values (int64 or bool for those kinds; for "number" see `numbers`).
        repeats: whether equal values may stand along an axis, so that an expanded layout makes sense.
    """

    shape: Shape
    kind: str
    draw: Callable[[np.random.Generator, Shape, str], Array]
    repeats: bool = True

    def sample(self, rng: np.random.Generator, dtype: str, shape: Shape | None = None) -> Array:
        """Values for this input in a run with `dtype`, as NumPy's reference gets them."""
        values = np.asarray(self.draw(rng, self.shape if shape is None else shape, dtype))
        return rounded(values, dtype) if self.kind in ("float", "number") else values

    def dtype(self, dtype: str) -> str:
        """The dtype of the tensor for this input in a run with `dtype`."""
        return {"int": "int64", "bool": "bool"}.get(self.kind, dtype)


def floats(shape: Shape, low: float = -2.0, high: float = 2.0) -> Input:
    """Uniform floats in (low, high)."""
    return Input(shape, "float", lambda rng, s, _: rng.uniform(low, high, s))


def positive(shape: Shape, low: float = 0.5, high: float = 2.5) -> Input:
    """Floats well above zero."""
    return floats(shape, low, high)


def unit(shape: Shape) -> Input:
    """Floats in (-0.9, 0.9), where asin and atanh are smooth."""
    return floats(shape, -0.9, 0.9)


def away_from(point: float, shape: Shape, low: float = -2.0, high: float = 2.0, gap: float = 0.1) -> Input:
    """Floats in (low, high), none of them within `gap` of a point where the op has a kink."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Array:
        x = rng.uniform(low, high, s)
        return np.where(np.abs(x - point) < gap, point + np.where(x < point, -gap, gap) * 1.5, x)

    return Input(shape, "float", draw)


def distinct(shape: Shape, step: float = 0.25) -> Input:
    """Floats without ties, at least `step` apart; up to 256 of them are exact in every dtype."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Array:
        n = int(np.prod(s))
        return ((rng.permutation(n) - n // 2) * step).reshape(s)

    return Input(shape, "float", draw, repeats=False)


def ints(shape: Shape, low: int, high: int, repeats: bool = True) -> Input:
    """int64 in [low, high), whatever the dtype under test: indices, targets, shifts."""
    return Input(shape, "int", lambda rng, s, _: rng.integers(low, high, s), repeats)


def bools(shape: Shape) -> Input:
    """Fair coins, whatever the dtype under test: conditions and masks."""
    return Input(shape, "bool", lambda rng, s, _: rng.random(s) < 0.5)


def numbers(shape: Shape, low: float = -4, high: float = 4, nonzero: bool = False) -> Input:
    """Numbers of the dtype under test, of any kind: floats or complex in (low, high), integers in [low, high]
    (unsigned ones from 0), fair coins for bool. With `nonzero`, none is near 0.
    """

    def draw(rng: np.random.Generator, s: Shape, dtype: str) -> Array:
        if dtype == "bool":
            return np.ones(s, bool) if nonzero else rng.random(s) < 0.5
        if dtype in INTS:
            x = rng.integers(max(int(low), 0) if dtype in UNSIGNED else int(low), int(high) + 1, s)
            return np.where(x == 0, 1, x) if nonzero else x
        x = rng.uniform(low, high, s)
        if nonzero:
            x = np.where(np.abs(x) < 0.25, np.where(x < 0, -0.5, 0.5), x)
        return x + 1j * rng.uniform(low, high, s) if dtype in COMPLEX else x

    return Input(shape, "number", draw)


@dataclass(frozen=True)
class Row:
    """One way to call a public function.

    Attributes:
        name: the public function, "softmax"; a word after a colon tells several rows apart: "pow:scalar".
        call: the call on Tensors; returns a tensor or a tuple of them.
        reference: the same on NumPy arrays, independent of the engine. Floats arrive as float64, holding the
            values that the tensors hold; complex as complex128; integers in the dtype under test.
        inputs: how each argument is drawn.
        ops: registered ops that the row exercises; None: the name before the colon.
        dtypes: what the float and number inputs are tried in.
        grad: differentiate the floating inputs against finite differences (False where the function is
            constant, jumps, or returns no floats).
        second: differentiate twice.
        torch: the same in PyTorch, for tests/oracle: "torch.softmax", or a function of the module torch and
            the tensors.
        tol: factor on the tolerance; say why where it is not 1.
        roundings: how many ops the call consists of, each of which rounds its result.
        terms: how many numbers an output element adds up; None: the size of the largest input.
        also: further tuples of shapes, one shape per input, for values only: empty axes, no axes, size 1.
        result: expected dtype, or one per output, or a function from the tested dtype's name to these.
            None: that of the reference; float64 stands for the tested dtype (float32 if that is no float).
        contiguous: whether every result lies in C order; False for views.
        packed_only: True where the call looks at the memory of its input, so other layouts make no sense.
    """

    name: str
    call: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Input, ...]
    ops: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] = FLOATS
    grad: bool = True
    second: bool = True
    torch: str | Callable[..., Any] | None = None
    tol: float = 1.0
    roundings: int = 1
    terms: int | None = None
    also: tuple[tuple[Shape, ...], ...] = ()
    result: str | tuple[str, ...] | Callable[[str], str | tuple[str, ...]] | None = None
    contiguous: bool = True
    packed_only: bool = False

    def __post_init__(self) -> None:
        if self.ops is None:
            object.__setattr__(self, "ops", (self.function,))
        whole = [d for d in self.dtypes if d not in FLOATS]
        if whole and any(i.kind == "float" for i in self.inputs):
            raise ValueError(f"row {self.name}: inputs for {', '.join(whole)} are drawn with numbers(shape)")
        if any(len(shapes) != len(self.inputs) for shapes in self.also):
            raise ValueError(f"row {self.name}: each tuple in `also` has one shape per input")

    @property
    def function(self) -> str:
        """The public function that the row calls."""
        return self.name.partition(":")[0]

    def rng(self) -> np.random.Generator:
        """A generator that depends on the row's name alone."""
        return np.random.default_rng(crc32(self.name.encode()))

    def reshaped(self, shapes: tuple[Shape, ...]) -> "Row":
        """The row with inputs of other shapes."""
        return replace(self, inputs=tuple(replace(i, shape=s) for i, s in zip(self.inputs, shapes)))

    def sample(self, dtype: str) -> list[Array]:
        """One array per input, as the reference gets them."""
        rng = self.rng()
        return [i.sample(rng, dtype) for i in self.inputs]

    def has_host_kernel(self) -> bool:
        """Whether one of its ops may be computed by a kernel of the host."""
        return any(registry[name].host is not None for name in self.ops or () if name in registry)

    def on_devices(self) -> bool:
        """Whether all its ops have kernels for devices."""
        return not any(name in registry and for_the_cpu(registry[name]) for name in self.ops or ())

    def differentiable(self) -> list[int]:
        """Positions of the inputs that have a gradient."""
        return [i for i, x in enumerate(self.inputs) if x.kind in ("float", "number")]


def for_the_cpu(op: type[Op]) -> bool:
    """Whether an op has NumPy code and no kernel: linear algebra and Fourier transforms."""
    return op.__module__.startswith(("tinytensor.ops.linalg.", "tinytensor.ops.fourier."))


@contextmanager
def silent() -> Iterator[None]:
    """NumPy computes inf and nan without a warning, as the engine does."""
    with np.errstate(all="ignore"):
        yield


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """Outputs of a row, one or several, as a tuple."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
