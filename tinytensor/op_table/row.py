"""Row: one way to call a public function, what it must equal, and how its inputs are drawn.

A family of ops lists its rows as `ROWS` in a module of this package. Tests multiply each row by dtypes and
memory layouts. `python -m tinytensor check` and `selftest` run it at lengths that leave remainders of blocks
and vectors, the benchmarks for n elements: `Row.large` says which length each axis has then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any
from zlib import crc32

import numpy as np

import tinytensor as tt
from tinytensor.op import Op, registry

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Call = Callable[..., Any]

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


# ---- inputs ------------------------------------------------------------------------------------------------


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
    """Distribution of one input of a row.

    Attributes:
        shape: its shape, unless a row tries others (`Row.also`, `Row.large`).
        kind: "float" (takes the dtype under test), "number" (the same, integers and bools too), "wide" (as
            "float", but float32 in place of 16 bits), "int" or "bool" (always int64 and bool).
        draw: draws float64 values (int64 or bool for those kinds; for "number" see `numbers`) from a
            generator, the shape, and the dtype under test or, if there is one, the bound `below`.
        repeats: whether equal values may stand along an axis, so that an expanded layout makes sense.
        below: what integers are below: the length of an axis that they are indices of.
    """

    shape: Shape
    kind: str
    draw: Callable[[np.random.Generator, Shape, Any], Array]
    repeats: bool = True
    below: int | None = None

    def sample(self, rng: np.random.Generator, dtype: str, shape: Shape | None = None) -> Array:
        """Values for this input in a run with `dtype`, as NumPy's reference gets them."""
        about = dtype if self.below is None else self.below
        values = np.asarray(self.draw(rng, self.shape if shape is None else shape, about))
        return values if self.kind in ("int", "bool") else rounded(values, self.dtype(dtype))

    def dtype(self, dtype: str) -> str:
        """The dtype of the tensor for this input in a run with `dtype`."""
        wide = "float32" if dtype in ("float16", "bfloat16") else dtype
        return {"int": "int64", "bool": "bool", "wide": wide}.get(self.kind, dtype)


def floats(shape: Shape, low: float = -2.0, high: float = 2.0) -> Input:
    """Uniform floats in (low, high)."""
    return Input(shape, "float", lambda rng, s, _: rng.uniform(low, high, s))


positive = partial(floats, low=0.5, high=2.5)
unit = partial(floats, low=-0.9, high=0.9)  # where asin and atanh are smooth
near_one = partial(floats, low=0.95, high=1.05)  # thousands can be multiplied


def away_from(point: float, shape: Shape, low: float = -2.0, high: float = 2.0, gap: float = 0.1) -> Input:
    """Floats in (low, high), none of them within `gap` of a point where the op has a kink."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Array:
        x = rng.uniform(low, high, s)
        return np.where(np.abs(x - point) < gap, point + np.where(x < point, -gap, gap) * 1.5, x)

    return Input(shape, "float", draw)


def distinct(shape: Shape) -> Input:
    """Floats at least 0.25 apart; more than 256, which 16 bits lack, along the last axis alone."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Array:
        n = int(np.prod(s))
        if n > 256:
            return (rng.permuted(np.broadcast_to(np.arange(s[-1]), s), axis=-1) - s[-1] // 2) * 0.25
        return ((rng.permutation(n) - n // 2) * 0.25).reshape(s)

    return Input(shape, "float", draw, repeats=False)


def ties(shape: Shape, high: int = 3) -> Input:
    """Numbers of any real dtype of which many are equal: integers below `high`."""
    return Input(shape, "number", lambda rng, s, dtype: rng.integers(0, 2 if dtype == "bool" else high, s))


def ints(shape: Shape, low: int, high: int) -> Input:
    """int64 in [low, high), whatever the dtype under test: indices, targets, shifts."""
    return Input(shape, "int", lambda rng, s, below: rng.integers(low, below, s), below=high)


def order(shape: Shape, high: int) -> Input:
    """int64 below `high`, in random order and each once: indices of one axis."""
    return Input(
        shape, "int", lambda rng, s, below: rng.permutation(below)[: np.prod(s)].reshape(s), below=high
    )


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
            i = rng.integers(max(int(low), 0) if dtype in UNSIGNED else int(low), int(high) + 1, s)
            return np.where(i == 0, 1, i) if nonzero else i
        x = rng.uniform(low, high, s)
        if nonzero:
            x = np.where(np.abs(x) < 0.25, np.where(x < 0, -0.5, 0.5), x)
        return x + 1j * rng.uniform(low, high, s) if dtype in COMPLEX else x

    return Input(shape, "number", draw)


# ---- rows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One way to call a public function.

    Attributes:
        name: the public function, "softmax"; a word after a colon tells several rows apart: "pow:scalar".
        inputs: how each argument is drawn.
        expression: the call, as a function of a module with NumPy's names and of the arrays: of tinytensor
            and its tensors, and of NumPy for the reference. None: the function of the row's name.
        numpy: the reference where NumPy has no such call: a function of arrays, independent of the engine.
            Floats arrive as float64, holding the values that the tensors hold; complex as complex128;
            integers in the dtype under test.
        torch: the same in PyTorch: True if the same call means it there, "torch.mul", or a function of the
            module torch and the tensors.
        ops: registered ops that the row exercises; None: the name before the colon.
        dtypes: what the float and number inputs are tried in.
        grad: differentiate the floating inputs against finite differences (False where the function is
            constant, jumps, or returns no floats).
        second: differentiate twice.
        tol: factor on the tolerance; say why where it is not 1.
        roundings: how many ops the call consists of, each of which rounds its result.
        also: further tuples of shapes, one shape per input, for values only: empty axes, no axes, size 1.
        result: expected dtype, or one per output, or a function from the tested dtype's name to these.
            None: that of the reference; float64 stands for the tested dtype (float32 if that is no float).
        contiguous: whether every result lies in C order; False for views.
        writes: inputs that the call overwrites. They are copied for it, and are its last results.
        random: the call draws random numbers, of which other libraries draw others. Without `numpy`, values
            are not compared with a reference, but those of devices are with each other.
        large: the shapes of large inputs, with letters for lengths that are to be chosen, and behind < what
            indices are below: "r c, r < c" are a matrix and a column for each of its rows. "": there are no
            large inputs, so neither `check` and `selftest` nor benchmarks run the row. None: "r c" for each
            input, if the name is that of an op and all inputs have one shape of two or more axes; else "".
        timed: the cases of `python -m benchmarks ops`: "softmax" times the call, "softmax, backward" its
            gradients. None: a case of the row's name for ops of large inputs that no other row times.
    """

    name: str
    inputs: tuple[Input, ...]
    expression: Call | None = None
    numpy: Call | None = None
    torch: bool | str | Call = False
    ops: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] = FLOATS
    grad: bool = True
    second: bool = True
    tol: float = 1.0
    roundings: int = 1
    also: tuple[tuple[Shape, ...], ...] = ()
    result: str | tuple[str, ...] | Callable[[str], str | tuple[str, ...]] | None = None
    contiguous: bool = True
    writes: tuple[int, ...] = ()
    random: bool = False
    large: str | None = None
    timed: tuple[str, ...] | str | None = None

    def __post_init__(self) -> None:
        shapes = {x.shape for x in self.inputs}
        plain = self.name in registry and len(shapes) == 1 and len(self.inputs[0].shape) > 1
        defaults = {"ops": (self.function,), "large": ", ".join(["r c"] * len(self.inputs)) if plain else ""}
        for field, value in defaults.items():
            if getattr(self, field) is None:
                object.__setattr__(self, field, value)
        whole = [d for d in self.dtypes if d not in FLOATS]
        if whole and any(i.kind in ("float", "wide") for i in self.inputs):
            raise ValueError(f"row {self.name}: inputs for {', '.join(whole)} are drawn with numbers(shape)")
        if any(len(shapes) != len(self.inputs) for shapes in self.also):
            raise ValueError(f"row {self.name}: each tuple in `also` has one shape per input")
        if self.large and len(self.large.split(",")) != len(self.inputs):
            raise ValueError(f"row {self.name}: `large` has one shape per input, with commas between them")

    @property
    def function(self) -> str:
        """The public function that the row calls."""
        return self.name.partition(":")[0]

    # ---- the call ----

    def within(self, library: Any) -> Call:
        """The call in a module that has the names: tinytensor, NumPy."""
        if self.expression is not None:
            return partial(self.expression, library)
        found: Call = reduce(getattr, self.function.split("."), library)
        return found

    def within_torch(self, torch: Any) -> Call:
        """The call in PyTorch, for rows with `torch`."""
        if isinstance(self.torch, str):
            found: Call = reduce(getattr, self.torch.split(".")[1:], torch)
            return found
        return partial(self.torch, torch) if callable(self.torch) else self.within(torch)

    def on_copies(self, function: Call, arrays: Sequence[Any], copy: Call) -> Any:
        """The results of a function, and the operands that it wrote."""
        arrays = [copy(x) if i in self.writes else x for i, x in enumerate(arrays)]
        found = function(*arrays)
        written = [arrays[i] for i in self.writes]
        return (*(() if found is None else as_tuple(found)), *written) if written else found

    def call(self, *tensors: tt.Tensor) -> Any:
        """The results on tensors: one, or a tuple."""
        return self.on_copies(self.within(tt), tensors, tt.clone)

    def reference(self, *arrays: Array) -> Any:
        """The results that NumPy gives."""
        return self.numpy(*arrays) if self.numpy else self.on_copies(self.within(np), arrays, np.copy)

    @property
    def has_reference(self) -> bool:
        """Whether there is something to compare values with."""
        return self.numpy is not None or not self.random

    # ---- the inputs ----

    def rng(self, *seed: int) -> np.random.Generator:
        """A generator that depends on the row's name, and on a seed if there is one."""
        return np.random.default_rng([crc32(self.name.encode()), *seed])

    def reshaped(self, shapes: tuple[Shape, ...]) -> Row:
        """The row with inputs of other shapes."""
        return replace(self, inputs=tuple(replace(i, shape=s) for i, s in zip(self.inputs, shapes)))

    def enlarged(self, length: Callable[[str], int]) -> Row:
        """The row with large inputs, given the length of each letter in `large`."""

        def size(axis: str) -> int:
            return int(axis) if axis.isdigit() else length(axis)

        inputs = []
        for x, text in zip(self.inputs, (self.large or "").split(","), strict=True):
            axes, _, below = text.partition("<")
            bound = size(below.strip()) if below else x.below
            inputs.append(replace(x, shape=tuple(map(size, axes.split())), below=bound))
        return replace(self, inputs=tuple(inputs))

    def sample(self, dtype: str, *seed: int) -> list[Array]:
        """One array per input, as the reference gets them; from a generator of `rng`."""
        rng = self.rng(*seed)
        return [i.sample(rng, dtype) for i in self.inputs]

    def main_dtype(self, wanted: str = "float32") -> str:
        """The dtype that is wanted, or what stands for it in a row without it."""
        return next(
            (d for d in (wanted, "float32", "int64", "complex64") if d in self.dtypes), self.dtypes[0]
        )

    def has_host_kernel(self) -> bool:
        """Whether one of its ops may be computed by a kernel of the host."""
        return any(registry[name].host is not None for name in self.ops or () if name in registry)

    def on_devices(self) -> bool:
        """Whether all its ops have kernels for devices."""
        return not any(name in registry and for_the_cpu(registry[name]) for name in self.ops or ())

    def by_library(self) -> bool:
        """Whether its ops without kernels are computed on devices by a library."""
        ops = [registry[name] for name in self.ops or () if name in registry]
        return all(op.library or not for_the_cpu(op) for op in ops)

    def differentiable(self) -> list[int]:
        """Positions of the inputs that have a gradient."""
        return [i for i, x in enumerate(self.inputs) if x.kind in ("float", "number", "wide")]


def both(name: str) -> tuple[str, str]:
    """Time a call and its gradients."""
    return name, f"{name}, backward"


def for_the_cpu(op: type[Op]) -> bool:
    """Whether an op has no kernel: Fourier transforms, and ops that a library computes on devices."""
    return op.library or op.__module__.startswith(("tinytensor.ops.linalg.", "tinytensor.ops.fourier."))


@contextmanager
def silent() -> Iterator[None]:
    """NumPy computes inf and nan without a warning, as the engine does."""
    with np.errstate(all="ignore"):
        yield


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """Outputs of a row, one or several, as a tuple."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def whole(x: Array) -> Array:
    """Integers as float64: what NumPy and we agree on; only floats have -0.0."""
    return x if x.dtype.kind in "fc" else x.astype(np.float64)
