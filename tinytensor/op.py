"""The `Op` base class, the types of its methods, and the op registry; `dispatch/apply.py` executes ops.

An op is a value of its parameters: `Softmax(axis=1)` is the same object each time, and keeps its plans.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial, reduce
from inspect import get_annotations
from math import prod
from operator import or_
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar, dataclass_transform

from tinytensor.dtypes import DType
from tinytensor.runtime.cpu.arrays import Array as Array
from tinytensor.tensor import Tensor as Tensor

registry: dict[str, Any] = {}  # the class of each op
conditions: list[Callable[[type[Op]], None]] = []  # called by `register` with the op; raise where it is wrong
Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
Direct = Callable[..., Any]  # (arrays of the inputs) → array of the result
HostCall = partial[bool] | None
Flops = Callable[..., float]  # (op, outputs: Shapes, inputs: Shapes)
Grads = tuple[Any, ...]  # Tensor | None each; typed so, every op would need asserts
Needs = tuple[bool, ...]  # for each input, whether its gradient is asked for

Precision = Literal["narrow", "wide"]


class Spec(NamedTuple):
    """Shape and dtype of one input or output, and optionally how an output lies in memory.

    Attributes:
        order: its axes in memory order, slowest first.
        aligned: on a device its rows begin at aligned addresses: see `layout.with_aligned_rows`.
    """

    shape: Shape
    dtype: DType
    order: Shape | None = None
    aligned: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


Specs = Sequence[Spec | None]


class Saved(Protocol):
    """What an op has saved for its backward pass, by name."""

    def __getattr__(self, name: str) -> Any: ...


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Op:
    """Base class of all ops: an interned, frozen object of its parameters, which are its annotated fields.

    An op without parameters is one object, which `register` puts in the place of its class.

    Attributes:
        inputs, outputs: names of the operands, used in error messages, graph plots and byte counts.
        visible: number of outputs returned to the caller; the others are caches for backward, computed only
            if the op is recorded.
        saves: inputs and outputs saved for backward; "x?w" saves x only if w needs a gradient.
        writes: inputs that the op modifies in place (optimizer steps); such an op has no gradient.
        may_reuse: output → input whose memory the output may reuse if nothing else references it.
        formula: of an elementwise op, a C++ expression of the inputs {0}, {1}, {2} with the bits of its NumPy
            code for floats: captured steps on the CPU become one generated loop; "" if there is none.
        contiguous: inputs that the CPU code needs C-contiguous (("*",): all); dispatch copies them if not.
        rows: inputs whose last axis must have stride 1; dispatch copies them if not.
        raw: the op moves elements without arithmetic, so 16-bit floats are not widened to float32.
        numbers: it also takes Python numbers as operands.
        into: for small operands on the CPU, into(*arrays, out=y) writes the only output to y of any strides,
            also where operands share its memory; None: `cpu` does. Elementwise ops have their ufunc.
        flops: floating-point operations: a number for each element of the first output, or a method of the
            shapes of outputs and inputs; the end of this file defines what counts.
        autocast: how `tt.autocast` casts the inputs: "narrow" (to 16 bits), "wide" (to float32), None (not at
            all); after PyTorch's lists for CUDA ("Automatic Mixed Precision package", op reference).
        vmap: the rule by which it runs on batched tensors, one of `dispatch/batching.py`, or a function of a
            `VmapCall`; None: once per sample.
        jvp: the rule by which tangents pass from inputs to outputs, one of `dispatch/forward.py`, or a
            function of a `JvpCall`; None: by the backward pass, twice.
        library: it has no kernel; on devices, `cpu` computes it on arrays that share their memory: by NumPy
            on emulated ones, by CuPy on GPUs (cuSOLVER and cuBLAS).
        dense: inputs that the CUDA kernels need C-contiguous (("*",): all); dispatch copies them if not.

    Methods, which are static where they read no parameter:
        infer(*specs) → Specs: the shape rule of the op; None for an output that is not requested.
        cpu(*outputs, *inputs): fills the outputs with NumPy; the reference implementation.
        host(*outputs, *inputs) → partial(kernel, …): the same as one call of a C++ kernel, for the
        caller to make: it computes nothing itself, so replays of a captured step make this call alone. None,
        or a kernel that returns False, with nothing written: for cases that are left to `cpu`.
        host_bf16(*outputs, *inputs): as `host`, on stored bfloat16; in the cases it leaves, and
        for float16, the inputs are widened to float32 for `host` and `cpu`.
        many(…): as `host`, of one call for all parameters; optimizer steps have one.
        direct(*inputs) → function or None: for small C-contiguous inputs on the CPU, given as Specs
        (a Python number as its type), a function of their arrays that returns the only output as a new
        C-contiguous array, faster than `cpu` and equal to it; None: there is none.
        cuda(launch, *outputs, *inputs): the CUDA implementation, on `dispatch.launch.View`s.
        backward(grads, saved, needs) → one gradient (or None) per input, composed of other ops.

    What changes from call to call, as the position in a stream of random numbers, is an operand.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    visible: ClassVar[int] = 1
    saves: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ()
    may_reuse: ClassVar[dict[str, str]] = {}
    formula: ClassVar[str] = ""
    contiguous: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[tuple[str, ...]] = ()
    raw: ClassVar[bool] = False
    numbers: ClassVar[bool] = False
    into: ClassVar[Callable[..., object] | None] = None
    library: ClassVar[bool] = False
    dense: ClassVar[tuple[str, ...]] = ()
    flops: ClassVar[float | Flops]
    autocast: ClassVar[Precision | None] = None
    vmap: ClassVar[Callable[..., Any] | None] = None
    jvp: ClassVar[Callable[..., Any] | None] = None

    name: ClassVar[str]
    fields: ClassVar[dict[str, str]] = {}  # the parameters, and their types
    slots: ClassVar[dict[str, int]]
    sources: ClassVar[tuple[tuple[int, int | None], ...]]
    plans: ClassVar[dict[Any, Any]]  # of each op, by the metadata of the operands: see dispatch/apply.py
    observed: ClassVar[dict[Any, Any]]  # those of calls that a capture or a tool may see

    infer: ClassVar[Callable[..., Specs]]
    cpu: ClassVar[Callable[..., None]]
    host: ClassVar[Callable[..., HostCall] | None] = None
    host_bf16: ClassVar[Callable[..., HostCall] | None] = None
    cuda: ClassVar[Callable[..., None]]
    backward: ClassVar[Callable[..., Sequence[Tensor | None]]]

    def __init_subclass__(cls) -> None:
        own = {n: str(k) for n, k in get_annotations(cls).items() if not str(k).startswith("ClassVar")}
        bases: Any = reversed(cls.__bases__)
        cls.fields = reduce(or_, [base.fields for base in bases], {}) | own
        cls.plans, cls.observed = {}, {}
        for name, value in list(cls.__dict__.items()):  # a function that was made elsewhere is no method
            made = getattr(value, "__qualname__", "")
            binds = callable(value) and hasattr(value, "__get__") and not isinstance(value, staticmethod)
            if binds and made and not made.startswith(cls.__qualname__ + "."):
                setattr(cls, name, staticmethod(value))
        make: Any = _written if cls.fields else _only
        cls.__new__ = make  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.name} is a value: make another one with other parameters")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([f'{n}={v!r}' for n, v in fields_of(self).items()])})"

    def replace(self, **changes: Any) -> Self:
        """The op with other values of some parameters."""
        return type(self)(**{**fields_of(self), **changes})

    def direct(self, *inputs: Any) -> Direct | None:
        """No function: `cpu` computes small inputs, too."""
        return None


MAX_OPS = 16_384
_ops: dict[Any, Any] = {}  # by class and parameters


def _only(cls: type[Op]) -> Op:
    """`cls.__new__` of an op without parameters."""
    return _made(cls, (cls,), {})


def _written(cls: type[Op], **values: Any) -> Any:
    """`cls.__new__` of an op with parameters: its first call writes the function of the later ones."""
    make = _constructor(cls)
    cls.__new__ = make  # type: ignore[method-assign]
    return make(cls, **values)


def _constructor(cls: type[Op]) -> Any:
    """`cls.__new__` that looks the op up by its parameters, and makes it if it is not there.

    It is written as text for the class, as `dataclasses` does, since it runs at each call of the op. The key
    tells 1, 1.0 and True apart, and 0.0 and -0.0; elements of tuples only where floats may be among them.
    """
    key = []
    for name, kind in cls.fields.items():
        if kind == "float":
            key.append(f"{name} if 0 != {name} == {name} else repr({name}), {name}.__class__")
        elif re.search("float|complex|Scalar|Any", kind):
            key.append(f"_exact({name})")
        elif kind in ("DType", "Device", "Shape"):  # equal ones are the same
            key.append(name)
        else:
            key.append(f"{name}, {name}.__class__")
    given = [f"{name}=cls.{name}" if hasattr(cls, name) else name for name in cls.fields]
    text = f"""
def __new__({", ".join(["_cls", *(["*"] if given else []), *given])}):
    _key = _cls, {", ".join(key)}
    try:
        return _ops[_key]
    except (KeyError, TypeError):  # TypeError: a parameter that cannot be hashed
        return _made(_cls, _key, {{{", ".join([f"{name!r}: {name}" for name in cls.fields])}}})
"""
    scope: dict[str, Any] = {"cls": cls, "_ops": _ops, "_exact": _exact, "_made": _made}
    exec(_compiled(text), scope)
    return scope["__new__"]


@cache
def _compiled(text: str) -> Any:
    """The code of a constructor, which ops with the same parameters share."""
    return compile(text, "<op>", "exec")


def _exact(value: Any) -> Any:
    """A key of a value, different for values of different types or signs, and the same for nan."""
    if isinstance(value, tuple):
        return (type(value), *map(_exact, value))
    return type(value), repr(value) if isinstance(value, float | complex) else value


def _made(cls: type[Op], key: Any, values: dict[str, Any]) -> Op:
    """A new op, which is kept if its parameters can be hashed."""
    op = object.__new__(cls)
    op.__dict__.update(values)
    if cls.fields:
        op.__dict__.update(plans={}, observed={})
    try:
        hash(key)
    except TypeError:
        return op
    if len(_ops) >= MAX_OPS:
        _ops.clear()
    return _ops.setdefault(key, op)  # type: ignore[no-any-return]  # another thread may have made it


def fields_of(op: Op) -> dict[str, Any]:
    """The parameters of an op, by name."""
    return {name: getattr(op, name) for name in op.fields}


T = TypeVar("T", bound=Op)


def snake_case(name: str) -> str:
    """CamelCase to snake_case: LayerNormBackward → layer_norm_backward."""
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def register(op: type[T]) -> Any:
    """Class decorator: adds the op to the registry, and lists what it saves. Returns the class, or the op if
    it has no parameters.

    `sources` has for each save its position (i for input i, ~i for output i), and the input it depends on.
    """
    op.name = snake_case(op.__name__)
    if op.name in registry:
        raise ValueError(f"two ops have the name {op.name}")
    if taken := op.fields.keys() & {*Op.__dict__, *get_annotations(Op)}:
        raise ValueError(f"{op.name}: each op has an attribute {', '.join(taken)}; rename the parameter")
    for check in conditions:
        check(op)
    unknown = {*op.contiguous, *op.rows, *op.dense} - {*op.inputs, "*"}
    if unknown:
        raise ValueError(f"{op.name} has no inputs {sorted(unknown)}")
    op.slots, sources = {}, []
    for i, text in enumerate(op.saves):
        name, _, condition = text.partition("?")
        at = op.inputs.index(name) if name in op.inputs else ~op.outputs.index(name)
        op.slots[name] = i
        sources.append((at, op.inputs.index(condition) if condition else None))
    op.sources = tuple(sources)
    registry[op.name] = op
    return op if op.fields else op()


# ---- floating-point operations of a call, from its shapes: what `Op.flops` is made of ---------------------
#
# Counted as in `emulator/check/flops.py`: additions, multiplications, divisions and square roots are one, a
# fused multiply-add is two, a function such as exp is one whatever it costs; comparisons, conversions,
# minimum, maximum and moves are none. It is the work of the formula: a kernel that pads a tile, or computes
# something twice to save memory, does more.


def size(shape: Shape | None) -> int:
    """Number of elements; 0 for a tensor that is not there."""
    return 0 if shape is None else prod(shape)


def per_input(each: float) -> Flops:
    """So many for each element of the first input."""
    return lambda op, outs, ins: each * size(ins[0])


def of_matrices(each: Callable[[int, int], float]) -> Flops:
    """So many for each matrix of the first input, from its numbers of rows and columns."""

    def flops(op: Op, outs: Shapes, ins: Shapes) -> float:
        shape = ins[0] or (0, 0)
        return prod(shape[:-2]) * each(shape[-2], shape[-1])

    return flops


def norm(each: float) -> Flops:
    """So many for each element of x, and one more for each of weight and bias: (x, weight, bias) → y."""
    return lambda op, outs, ins: size(ins[0]) * (each + sum(shape is not None for shape in ins[1:3]))


def norm_backward(each: float, for_columns: float) -> Flops:
    """So many for each element of dx, and some for each sum over rows: (grad, x, …) → dx, dweight, dbias."""

    def flops(op: Op, outs: Shapes, ins: Shapes) -> float:
        asked = sum(shape is not None for shape in outs[1:])
        return size(ins[1]) * ((each if outs[0] is not None else 2.0) + for_columns * asked)

    return flops


def flops_of(op: Op | None, outs: Shapes, ins: Shapes) -> float | None:
    """Floating-point operations of one call of an op.

    Args:
        outs, ins: shapes in the order of `Op.outputs` and `Op.inputs`; None for one that is not there.

    Returns:
        The number; None for no op, or one that does not say.

    >>> from tinytensor.ops.matmul.matmul import Matmul
    >>> flops_of(Matmul(ta=False, tb=False), [(2, 5)], [(2, 3), (3, 5)])
    60.0
    """
    flops = None if op is None else getattr(type(op), "flops", None)
    if flops is None:
        return None
    return float(flops(op, outs, ins) if callable(flops) else flops * size(outs[0]))
