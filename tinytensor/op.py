"""What an op is: Op, Spec, and the registry. How one runs is in `dispatch/apply.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from tinytensor.dtypes import DType
from tinytensor.tensor import Tensor

__all__ = [
    "Flops",
    "Op",
    "Params",
    "Precision",
    "Shape",
    "Shapes",
    "Spec",
    "Specs",
    "register",
    "registry",
    "snake_case",
]

registry: dict[str, type[Op]] = {}
Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
Params = Mapping[str, Any]
Flops = Callable[..., float]  # (outputs: Shapes, inputs: Shapes, parameters: Params)

Precision = Literal["narrow", "wide"]


class Spec(NamedTuple):
    """Shape, dtype and (rarely) the memory order of the axes of one value."""

    shape: Shape
    dtype: DType
    order: Shape | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


Specs = Sequence[Spec | None]


class Op:
    """A page in the catalogue of ops; never instantiated.

    Attributes:
        inputs, outputs: names of the tensors, used in messages, pictures and byte counts.
        visible: how many outputs the caller gets; the others are caches for backward, and are not computed
            when nothing is recorded.
        saves: what backward needs; "x?w" means x, but only if w needs a gradient.
        writes: inputs that the op writes (optimizer steps); such an op has no gradient.
        may_reuse: output → input whose memory it may take over when nobody else can see it.
        contiguous: inputs that the code for the CPU reads as one block (("*",): all); dispatch copies others.
        rows: inputs of which it reads rows: the last axis steps by 1; dispatch copies others.
        raw: the op moves elements without arithmetic, so 16-bit floats are not widened for it.
        quick: where all is small, dispatch takes the shapes of the results from the last such call.
        flops: floating-point operations: a number for each element of the first output, or a function of
        outputs, inputs (shapes) and parameters; `flops.py` says what counts.
        autocast: what `tt.autocast` makes of the inputs: "narrow" (16 bits), "wide" (float32), None (as they
        are). It follows PyTorch's lists for CUDA ("Automatic Mixed Precision package", op reference).
        dense: inputs that the kernels of `cuda` read as one block (("*",): all); dispatch copies others.

    Static methods:
        infer(*specs, **params) → Specs: the only place with the shape rule; None for an output nobody asks
        for.
        cpu(*outputs, *inputs, **params): fills the outputs; the specification of the op.
        host(*outputs, *inputs, **params) → bool: the same by a compiled kernel of the host; False, with
        nothing written, where it leaves this case to `cpu`. None: there is no such kernel.
        host_bf16(*outputs, *inputs, **params) → bool: as `host`, for bfloat16 as it is stored; where it gives
        False, and for float16, the inputs are widened for `host` and `cpu`.
        many(…) → bool: by one call of a kernel of the host for many tensors; there is one where steps of
        optimizers are.
        cuda(launch, *outputs, *inputs, **params): the same by kernels of the twin file, on `launching.View`s.
        backward(grads, saved, needs, **params) → one gradient (or None) per input, in terms of other ops.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    visible: ClassVar[int] = 1
    saves: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ()
    may_reuse: ClassVar[dict[str, str]] = {}
    contiguous: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[tuple[str, ...]] = ()
    raw: ClassVar[bool] = False
    quick: ClassVar[bool] = False
    dense: ClassVar[tuple[str, ...]] = ()
    flops: ClassVar[float | Flops]
    autocast: ClassVar[Precision | None] = None

    name: ClassVar[str]
    slots: ClassVar[dict[str, int]]
    plan: ClassVar[tuple[tuple[int, int | None], ...]]

    infer: ClassVar[Callable[..., Specs]]
    cpu: ClassVar[Callable[..., None]]
    host: ClassVar[Callable[..., bool] | None] = None
    host_bf16: ClassVar[Callable[..., bool] | None] = None
    cuda: ClassVar[Callable[..., None]]
    backward: ClassVar[Callable[..., Sequence[Tensor | None]]]


_RESERVED = {"op", "grads", "saved", "needs"}


def snake_case(name: str) -> str:
    """LayerNormBackward → layer_norm_backward."""
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def register(op: type[Op]) -> type[Op]:
    """Class decorator: file the op under its name and work out what recording it must keep.

    `plan` says for each save where it is found (input i, or ~i for output i) and on which input it depends.
    """
    op.name = snake_case(op.__name__)
    if op.name in registry:
        raise ValueError(f"two ops are called {op.name}")
    for method in ("infer", "cpu", "host", "host_bf16"):
        code = getattr(getattr(op, method, None), "__code__", None)
        if code is None:
            continue
        first, n = code.co_argcount, code.co_kwonlyargcount
        if _RESERVED & set(code.co_varnames[first : first + n]):
            raise ValueError(f"{op.name}.{method}: the parameter names {_RESERVED} belong to backward")
    unknown = {*op.contiguous, *op.rows, *op.dense} - {*op.inputs, "*"}
    if unknown:
        raise ValueError(f"{op.name} has no inputs {sorted(unknown)}")
    op.slots, plan = {}, []
    for i, text in enumerate(op.saves):
        name, _, condition = text.partition("?")
        at = op.inputs.index(name) if name in op.inputs else ~op.outputs.index(name)
        op.slots[name] = i
        plan.append((at, op.inputs.index(condition) if condition else None))
    op.plan = tuple(plan)
    registry[op.name] = op
    return op
