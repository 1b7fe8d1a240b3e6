"""The `Op` base class, `Spec` (shape and dtype), and the op registry; `dispatch/apply.py` executes ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, ClassVar, Literal, NamedTuple

from tinytensor.dtypes import DType
from tinytensor.tensor import Tensor

__all__ = [
    "Direct",
    "Flops",
    "HostCall",
    "Op",
    "Params",
    "Precision",
    "Shape",
    "Shapes",
    "Spec",
    "Specs",
    "conditions",
    "flops_of",
    "norm",
    "norm_backward",
    "of_matrices",
    "per_input",
    "register",
    "registry",
    "size",
    "snake_case",
]

registry: dict[str, type[Op]] = {}
conditions: list[Callable[[type[Op]], None]] = []  # called by `register` with the op; raise where it is wrong
Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
Params = Mapping[str, Any]
Direct = Callable[..., Any]  # (arrays of the inputs) → array of the result
HostCall = partial[bool] | None
Flops = Callable[..., float]  # (outputs: Shapes, inputs: Shapes, parameters: Params)

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


class Op:
    """Base class of all ops: static methods for shapes, kernels and gradient; never instantiated.

    Attributes:
        inputs, outputs: names of the tensors, used in error messages, graph plots and byte counts.
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
        varying: parameters on which `infer` and `direct` do not depend, such as the position in a random
            stream: calls that differ in them share a plan.
        flops: floating-point operations: a number for each element of the first output, or a function of the
            shapes of outputs and inputs, and of the parameters; the end of this file defines what counts.
        autocast: how `tt.autocast` casts the inputs: "narrow" (to 16 bits), "wide" (to float32), None (not at
            all); after PyTorch's lists for CUDA ("Automatic Mixed Precision package", op reference).
        vmap: the rule by which it runs on batched tensors, one of `dispatch/batching.py`, or a function of a
            `Samples`; None: once per sample.
        jvp: the rule by which tangents pass from inputs to outputs, one of `dispatch/forward.py`, or a
            function of a `Tangents`; None: by the backward pass, twice.
        library: it has no kernel; on devices, `cpu` computes it on arrays that share their memory: by NumPy
            on emulated ones, by CuPy on GPUs (cuSOLVER and cuBLAS).
        dense: inputs that the CUDA kernels need C-contiguous (("*",): all); dispatch copies them if not.

    Static methods:
        infer(*specs, **params) → Specs: the shape rule of the op; None for an output that is not requested.
        Kept for equal parameters: it may not distinguish 1, 1.0 and True, or 0.0 and -0.0.
        cpu(*outputs, *inputs, **params): fills the outputs with NumPy; the reference implementation.
        host(*outputs, *inputs, **params) → partial(kernel, …): the same as one call of a C++ kernel, for the
        caller to make: it computes nothing itself, so replays of a captured step make this call alone. None,
        or a kernel that returns False, with nothing written: for cases that are left to `cpu`.
        host_bf16(*outputs, *inputs, **params): as `host`, on stored bfloat16; in the cases it leaves, and
        for float16, the inputs are widened to float32 for `host` and `cpu`.
        many(…): as `host`, of one call for all parameters; optimizer steps have one.
        direct(*inputs, **params) → function or None: for small C-contiguous inputs on the CPU, given as Specs
        (a Python number as its type), a function of their arrays that returns the only output as a new
        C-contiguous array, faster than `cpu` and equal to it; None: there is none.
        cuda(launch, *outputs, *inputs, **params): the CUDA implementation, on `dispatch.launch.View`s.
        backward(grads, saved, needs, **params) → one gradient (or None) per input, composed of other ops.
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
    library: ClassVar[bool] = False
    dense: ClassVar[tuple[str, ...]] = ()
    varying: ClassVar[tuple[str, ...]] = ()
    flops: ClassVar[float | Flops]
    autocast: ClassVar[Precision | None] = None
    vmap: ClassVar[Callable[..., Any] | None] = None
    jvp: ClassVar[Callable[..., Any] | None] = None

    name: ClassVar[str]
    slots: ClassVar[dict[str, int]]
    sources: ClassVar[tuple[tuple[int, int | None], ...]]
    plans: ClassVar[dict[Any, Any]]  # by the operands' metadata and the parameters: see dispatch/apply.py
    planned: ClassVar[int]  # number of plans

    infer: ClassVar[Callable[..., Specs]]
    cpu: ClassVar[Callable[..., None]]
    host: ClassVar[Callable[..., HostCall] | None] = None
    host_bf16: ClassVar[Callable[..., HostCall] | None] = None
    cuda: ClassVar[Callable[..., None]]
    backward: ClassVar[Callable[..., Sequence[Tensor | None]]]

    def __init_subclass__(cls) -> None:
        cls.plans, cls.planned = {}, 0

    @classmethod
    def direct(cls, *inputs: Any, **params: Any) -> Direct | None:
        """No function: `cpu` computes small inputs, too."""
        return None


_RESERVED = {"op", "grads", "saved", "needs"}


def snake_case(name: str) -> str:
    """CamelCase to snake_case: LayerNormBackward → layer_norm_backward."""
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def register(op: type[Op]) -> type[Op]:
    """Class decorator: adds the op to the registry, and lists what it saves.

    `sources` has for each save its position (i for input i, ~i for output i), and the input it depends on.
    """
    op.name = snake_case(op.__name__)
    if op.name in registry:
        raise ValueError(f"two ops have the name {op.name}")
    for method in ("infer", "cpu", "host", "host_bf16"):
        code = getattr(getattr(op, method, None), "__code__", None)
        if code is None:
            continue
        first, n = code.co_argcount, code.co_kwonlyargcount
        if _RESERVED & set(code.co_varnames[first : first + n]):
            raise ValueError(f"{op.name}.{method}: the parameter names {_RESERVED} are reserved for backward")
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
    return op


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
    return lambda outs, ins, params: each * size(ins[0])


def of_matrices(each: Callable[[int, int], float]) -> Flops:
    """So many for each matrix of the first input, from its numbers of rows and columns."""

    def flops(outs: Shapes, ins: Shapes, params: Params) -> float:
        shape = ins[0] or (0, 0)
        return prod(shape[:-2]) * each(shape[-2], shape[-1])

    return flops


def norm(each: float) -> Flops:
    """So many for each element of x, and one more for each of weight and bias: (x, weight, bias) → y."""
    return lambda outs, ins, params: size(ins[0]) * (each + sum(shape is not None for shape in ins[1:3]))


def norm_backward(each: float, for_columns: float) -> Flops:
    """So many for each element of dx, and some for each sum over rows: (grad, x, …) → dx, dweight, dbias."""

    def flops(outs: Shapes, ins: Shapes, params: Params) -> float:
        asked = sum(shape is not None for shape in outs[1:])
        return size(ins[1]) * ((each if outs[0] is not None else 2.0) + for_columns * asked)

    return flops


def flops_of(op: str, outs: Shapes, ins: Shapes, params: Params) -> float | None:
    """Floating-point operations of one call of an op.

    Args:
        op: its name in the registry.
        outs, ins: shapes in the order of `Op.outputs` and `Op.inputs`; None for one that is not there.
        params: keyword arguments of the op.

    Returns:
        The number; None for what is no op of the registry, or does not say.

    Example:
        >>> flops_of("matmul", [(2, 5)], [(2, 3), (3, 5)], {"ta": False, "tb": False})
        60.0
    """
    flops = getattr(registry.get(op), "flops", None)
    if flops is None:
        return None
    return float(flops(outs, ins, params) if callable(flops) else flops * size(outs[0]))
