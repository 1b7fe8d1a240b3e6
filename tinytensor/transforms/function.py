"""`Function`: user-defined operations with a custom gradient, and a custom tangent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from tinytensor.autograd import backward as autograd
from tinytensor.autograd.backward import fetch_all
from tinytensor.autograd.graph import Output, extra_of
from tinytensor.autograd.levels import Batched, Level, batched, innermost
from tinytensor.autograd.modes import enable_grad, grad_enabled, no_grad
from tinytensor.creation import ones, zeros
from tinytensor.device import Device
from tinytensor.dispatch.batching import moved, sample, stacked, unwrapped
from tinytensor.dispatch.forward import Found, JvpCall
from tinytensor.dispatch.record import edge_of, new_node
from tinytensor.dispatch.views import make_view
from tinytensor.dtypes import DType
from tinytensor.errors import DeviceError, DTypeError, GradError
from tinytensor.op import Grads, Needs, Op, Saved, Shape
from tinytensor.ops.elementwise.arithmetic import GRADIENT_OPS
from tinytensor.ops.views.manipulation import astype
from tinytensor.tensor import Tensor, is_tensor, meta_of, same_memory
from tinytensor.transforms.capture import is_capturing

__all__ = ["Function"]

_ORIGIN = "inside a custom Function, whose gradient an in-place write would bypass"


class Context:
    """Context shared by `forward`, `backward` and `jvp` of one call; any attribute can be set on it.

    Attributes:
        needs_input_grad: per argument, whether its gradient is needed; in backward: in this pass; in jvp:
            whether it has a tangent.

    Attributes set by forward are stored unchanged: use `save_for_backward` for tensors, so that in-place
    writes are detected, outputs create no reference cycle, and second derivatives are correct.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_fixed",
        "_forward",
        "_kept",
        "_outs",
        "_part",
        "_parts",
        "_plan",
        "_saved",
        "_specs",
        "needs_input_grad",
    )

    __hash__ = None  # type: ignore[assignment]  # so that no op of one call is kept

    needs_input_grad: tuple[bool, ...]
    _kept: tuple[Tensor | None, ...]  # during forward: arguments of save_for_backward
    _forward: tuple[Tensor | None, ...] | None  # the same of save_for_forward
    _fixed: tuple[Any, ...]  # during forward: non-differentiable outputs; then: whether each output is
    _specs: tuple[tuple[Shape, DType, Device] | None, ...]  # of the arguments; None: not a tensor
    _outs: tuple[tuple[Shape, DType, Device], ...]  # of the outputs
    _plan: tuple[int | None, ...]  # source of each saved tensor, as in Op.plan
    _parts: tuple[slice, slice]  # which of the saved tensors are those of backward, and of jvp
    _part: slice  # in backward and jvp only: one of them
    _saved: Saved | None  # in backward and jvp only: it references the node, and that the first Context

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save inputs, outputs or intermediate tensors (or None) for `backward`, as `ctx.saved_tensors`.

        Raises:
            DTypeError: an argument is neither a tensor nor None.
        """
        _need_tensors("save_for_backward", tensors)
        self._kept = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Save tensors for `jvp`, as `ctx.saved_tensors` there; without it they are those saved for backward.

        Raises:
            DTypeError: an argument is neither a tensor nor None.
        """
        _need_tensors("save_for_forward", tensors)
        self._forward = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Mark outputs, in forward, as having no gradient; integer outputs never have one."""
        self._fixed = outputs

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arguments of `save_for_backward`, or in `jvp` those of `save_for_forward`, with their history.

        Raises:
            GradError: outside backward and jvp, after the graph was freed, or if one was overwritten since.
        """
        if not hasattr(self, "_plan"):
            raise GradError(
                "saved_tensors: read outside backward and jvp",
                why="saved tensors are attached to the graph when backward or jvp runs",
                fix="in forward use the tensors themselves",
            )
        return fetch_all(self._saved, self._plan)[self._part]

    def _inside(self, saved: Saved | None, needs: Needs, part: slice) -> Context:
        """Copy of this context for one call of backward or jvp, with a part of the saved tensors: shares the
        attributes, without keeping the graph.
        """
        ctx = Context()
        ctx.__dict__ = self.__dict__
        ctx._plan, ctx._saved, ctx.needs_input_grad, ctx._part = self._plan, saved, needs, part
        return ctx


def _need_tensors(what: str, tensors: Sequence[Any]) -> None:
    for i, t in enumerate(tensors):
        if t is not None and not is_tensor(t):
            raise DTypeError(
                f"{what}: argument {i} is a {type(t).__name__}",
                why="only tensors have a version and a graph edge to track",
                fix="set other values as attributes: ctx.value = value",
            )


class VmapInfo(NamedTuple):
    """Argument of `Function.vmap`: the number of samples, and the behavior of random functions."""

    batch_size: int
    randomness: str


class Function:
    """Base class of custom operations: subclass it, write `forward` and `backward`, call `apply`.

    `forward(ctx, *args)` computes with tensors, unrecorded (for NumPy: x.detach().numpy()), and returns a
    tensor or a tuple of tensors. `backward(ctx, *grads)` gets one gradient per output (zeros if none arrived)
    and returns one per argument of forward: None if there is none, as for arguments that are not tensors.
    Tensor operations in backward can be differentiated again; tensors inside lists do not count as arguments.

    `jvp(ctx, *tangents)`, if there is one, is what `tt.func.jvp`, `jacfwd`, `hvp` and `hessian` use: it gets
    a tangent per argument (zeros if there is none, None for what is not a floating tensor) and returns one
    per output of forward (None for one without a gradient). Tensor operations in it can be differentiated.

    One of backward and jvp may be missing: each is derived from the other, which is then made of tensor
    operations (GradError if it is not). If backward returns gradients without history, because it uses NumPy
    or a kernel, second derivatives are derived from jvp, or, without it, are 0 as those of a constant.

    Under `tt.func.vmap` forward, backward and jvp run once for each sample, unless the subclass has a rule,
    `vmap(info, in_dims, *args)`, which gets the values with the batch at the axes `in_dims` (None: there is
    none), and returns (outputs, out_dims); `info.batch_size` is the number of samples.

    An output that is an argument, or shares memory with one, is returned as a view of it, with this
    function's gradient; such an output cannot be modified in place while recording.

    >>> class Square(tt.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 2 * x
    >>> x = tt.tensor(3.0, requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad.item()
    6.0
    """

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]
    jvp: ClassVar[Callable[..., Any]]  # these two are not defined here: rules of the subclass
    vmap: ClassVar[Callable[..., Any]]
    _op: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        class FunctionOp(Op):
            context: Context

            function = cls

            def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Sequence[Any]:
                return _backward(cls, self.context, grads, saved, needs)

            def check_history(self, gradient: Tensor) -> None:
                _check_history(gradient, cls.__name__, "jvp", "backward")

        FunctionOp.name = cls.__name__
        if hasattr(cls, "jvp"):
            FunctionOp.jvp = staticmethod(lambda call: _tangents(cls, call))
        cls._op = FunctionOp

    def __init__(self) -> None:
        raise GradError(
            f"{type(self).__name__}: a Function is not instantiated",
            why="each call has its own context; the class has no instances",
            fix=f"call {type(self).__name__}.apply(...)",
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward and record the call for backward.

        Args:
            args: the arguments of forward after ctx: tensors and other objects.

        Returns:
            The outputs of forward; they require grad if an argument does.

        Raises:
            GradError: forward is missing, or both backward and jvp; forward wrote to an argument, or stored
                an output as attribute.
            DTypeError: forward returned other objects than tensors.
        """
        for method in ("forward", "backward"):
            if not hasattr(cls, method) and (method == "forward" or not hasattr(cls, "jvp")):
                raise GradError(
                    f"{cls.__name__}.apply: there is no {method}",
                    why="a Function computes in forward and returns gradients in backward",
                    fix=f"add: @staticmethod def {method}(ctx, ...)",
                )
        if (level := innermost(args)) is not None:
            return _for_samples(cls, level, args)
        record = grad_enabled()
        edges = tuple([edge_of(a) if record and is_tensor(a) else None for a in args])
        versions = [a.storage.version if is_tensor(a) else 0 for a in args]
        ctx = Context()
        ctx.needs_input_grad = tuple([e is not None for e in edges])
        ctx._kept = ctx._fixed = ()
        ctx._forward = None
        with no_grad():
            result = cls.forward(ctx, *args)
        raw = _outputs(cls, result)
        outs = _new_tensors(raw, args)
        if any(ctx.needs_input_grad):
            _check_forward(cls, ctx, args, versions, raw)
            _record(cls, ctx, args, edges, raw, outs)
        return tuple(outs) if isinstance(result, tuple | list) else outs[0]


def _for_samples(cls: type[Function], level: Level, args: Sequence[Any]) -> Any:
    """`apply` inside of `vmap`: by the rule of the class, or once for each sample."""
    mine = [isinstance(a, Batched) and a.level is level for a in args]
    values = [a.value if is_one else a for a, is_one in zip(args, mine, strict=True)]
    if hasattr(cls, "vmap"):
        info = VmapInfo(level.size, level.randomness)
        result, dims = cls.vmap(info, tuple([0 if is_one else None for is_one in mine]), *values)
        if not isinstance(result, tuple):
            return _sample_of(level, result, dims)
        dims = dims if isinstance(dims, tuple) else (dims,) * len(result)
        return tuple([_sample_of(level, t, dim) for t, dim in zip(result, dims, strict=True)])
    results = [
        cls.apply(*[sample(v, i) if is_one else v for v, is_one in zip(values, mine, strict=True)])
        for i in range(level.size)
    ]
    if not results or not isinstance(results[0], tuple):
        return batched(stacked(results), level)
    return tuple([batched(stacked(parts), level) for parts in zip(*results, strict=True)])


def _sample_of(level: Level, result: Tensor, dim: int | None) -> Tensor:
    """A result of `Function.vmap` as the tensor of one sample; `dim` is where it has the batch."""
    return result if dim is None else batched(moved(result, dim % len(result.layout.shape), 0), level)


def _outputs(cls: type[Function], result: Any) -> list[Tensor]:
    """The outputs of forward as a list of tensors."""
    raw = list(result) if isinstance(result, tuple | list) else [result]
    for i, o in enumerate(raw):
        if not is_tensor(o):
            raise DTypeError(
                f"{cls.__name__}.forward: output {i} is a {type(o).__name__}",
                why="outputs must be tensors to be part of the graph",
                fix="return tt.asarray(value), or keep it as ctx.value",
            )
    return raw


def _new_tensors(raw: list[Tensor], args: Sequence[Any]) -> list[Tensor]:
    """New tensors for the outputs: those that forward returned may be arguments or referenced by the user.
    Outputs that share memory with an argument or another output become views.
    """
    taken = {id(a.storage) for a in args if is_tensor(a)}
    outs = []
    for o in raw:
        if o._base is not None or id(o.storage) in taken:
            with no_grad():
                t = make_view(o, o.layout, None)
            t._origin = _ORIGIN
        else:
            t = same_memory(o)
        taken.add(id(o.storage))
        outs.append(t)
    return outs


def _check_forward(
    cls: type[Function], ctx: Context, args: Sequence[Any], versions: list[int], raw: list[Tensor]
) -> None:
    for i, (a, version) in enumerate(zip(args, versions, strict=True)):
        if is_tensor(a) and a.storage.version != version:
            raise GradError(
                f"{cls.__name__}.forward: argument {i} of shape {a.shape} was written to",
                why="the gradient would not include the write",
                fix="compute on a copy: x = x.clone()",
            )
    for name, value in ctx.__dict__.items():
        if any([value is o for o in raw]) and not any([value is a for a in args]):
            raise GradError(
                f"{cls.__name__}.forward: ctx.{name} is an output",
                why="as an attribute it would lose its autograd history, and second derivatives with it",
                fix="ctx.save_for_backward(output)",
            )
    for t in ctx._fixed:
        if not any([t is o for o in raw]):
            raise GradError(
                f"{cls.__name__}.forward: mark_non_differentiable got an object that is not an output",
                why="only outputs can be marked",
                fix="mark the same tensor object that forward returns",
            )


def _record(
    cls: type[Function],
    ctx: Context,
    args: Sequence[Any],
    edges: tuple[Any, ...],
    raw: list[Tensor],
    outs: list[Tensor],
) -> None:
    """Record one node for the call; it saves data, not outputs, to avoid reference cycles."""
    fixed = [not o.dtype.is_floating or any([o is t for t in ctx._fixed]) for o in raw]
    if all(fixed):
        return
    places = [*enumerate(args), *[(~i, o) for i, o in enumerate(raw)]]
    n, kept = len(ctx._kept), (*ctx._kept, *(ctx._forward or ()))
    ctx._parts = slice(0, n), slice(0, n) if ctx._forward is None else slice(n, None)
    ctx._plan = tuple([next((at for at, x in places if x is t), None) for t in kept])
    saved = [
        None if t is None else (t.storage, t.layout, t._array, t.storage.version, t._meta) for t in kept
    ]  # as in dispatch.record
    ctx._specs = tuple([(a.shape, a.dtype, a.device) if is_tensor(a) else None for a in args])
    ctx._kept, ctx._forward, ctx._fixed = (), None, tuple(fixed)
    ctx._outs = tuple([(o.shape, o.dtype, o.device) for o in raw])
    several = tuple([(o.shape, o.dtype) for o in raw]) if len(raw) > 1 else None
    result = meta_of(raw[0]) if several is None else None
    node = new_node(cls._op(context=ctx), edges, result, saved, several)
    extra_of(node)  # as with hooks: user code gets the gradients
    for i, (t, without) in enumerate(zip(outs, fixed, strict=True)):
        if not without:
            t._edge = node if several is None else Output(node, i)
            t._requires = True


def _backward(
    cls: type[Function], context: Context, grads: Grads, saved: Saved | None, needs: Needs
) -> Sequence[Tensor | None]:
    """Call the user's backward with all gradients, and check its results."""
    given = [_zeros(spec) if g is None else g for g, spec in zip(grads, context._outs, strict=True)]
    if (level := innermost(given)) is not None:
        return _by_samples(lambda row: _backward(cls, context, tuple(row), saved, needs), given, level)
    if not hasattr(cls, "backward"):
        return _transposed(cls, context, given, saved, needs)
    result = cls.backward(context._inside(saved, needs, context._parts[0]), *given)
    back = list(result) if isinstance(result, tuple | list) else [result]
    n = len(context._specs)
    if all([g is None for g in back[n:]]):  # for default arguments that were not passed
        del back[n:]
    if len(back) != n:
        raise GradError(
            f"{cls.__name__}.backward: {len(back)} gradients for {n} arguments of forward",
            why="each argument after ctx needs one; None if there is none",
            fix="return " + ", ".join([f"grad_{i}" for i in range(n)]),
        )
    found = [
        _check_gradient(f"{cls.__name__}.backward: gradient {i}", g, spec, need)
        for i, (g, spec, need) in enumerate(zip(back, context._specs, needs, strict=True))
    ]
    once = grad_enabled() and not any([g is not None and g.requires_grad for g in found])
    return _transposed(cls, context, given, saved, needs) if once and hasattr(cls, "jvp") else found


def _transposed(
    cls: type[Function], context: Context, given: Sequence[Tensor], saved: Saved | None, needs: Needs
) -> Sequence[Tensor | None]:
    """The gradients by the user's jvp: linear in the tangents, so its backward pass is its transpose."""
    create = grad_enabled()
    with enable_grad():
        tangents = [
            None if spec is None or not spec[1].is_floating else _ones(spec) if need else _zeros(spec)
            for spec, need in zip(context._specs, needs, strict=True)
        ]
        outs = _call_jvp(cls, context, saved, needs, tangents)
    for y in outs:
        if y is not None:
            _check_history(y, cls.__name__, "backward", "jvp")
    pairs = [(edge_of(y), g) for y, g in zip(outs, given, strict=True) if y is not None]
    wanted = [t for t, need in zip(tangents, needs, strict=True) if need]
    roots = [(edge, g) for edge, g in pairs if edge is not None]
    found = iter(autograd.run(roots, GRADIENT_OPS, wanted=wanted, retain=True, create=create))
    return [next(found) if need else None for need in needs]


def _zeros(spec: tuple[Shape, DType, Device]) -> Tensor:
    return zeros(spec[0], dtype=spec[1], device=spec[2])


def _ones(spec: tuple[Shape, DType, Device]) -> Tensor:
    return ones(spec[0], dtype=spec[1], device=spec[2], requires_grad=True)


def _check_history(y: Tensor, name: str, missing: str, other: str) -> None:
    """Raise GradError for a result that has no history and is not 0, where what it is linear in is 1."""
    if edge_of(y) is not None or is_capturing() or innermost((y,)) is not None:
        return
    if (y != 0).cpu().numpy().any():
        raise GradError(
            f"{name}: there is no {missing}, and {other} returned a tensor {y.shape} without a history",
            why=f"{missing} is derived from the tensor operations of {other}; NumPy and kernels are none",
            fix=f"write {missing}, too, or compute {other} with tensor operations",
        )


def _by_samples(call: Callable[[list[Any]], Any], given: Sequence[Any], level: Level) -> list[Tensor | None]:
    """The results for batched gradients or tangents, one by one: user code may use NumPy."""
    values = [None if t is None else unwrapped(t, level) for t in given]
    rows = [call([None if v is None else sample(v, i) for v in values]) for i in range(level.size)]
    return [None if row[0] is None else batched(stacked(row), level) for row in zip(*rows, strict=True)]


def _check_gradient(what: str, g: Any, spec: Any, need: bool) -> Tensor | None:
    """One gradient, checked and cast to the argument's dtype; None if it is not needed."""
    if spec is None and g is not None:
        raise GradError(
            f"{what} is a {type(g).__name__}",
            why="the argument is not a tensor, so it has no gradient",
            fix="return None in its place",
        )
    if g is None or not need:
        return None
    return _like(
        what, g, spec, "argument", f"sum over axes that forward repeated, or .expand{spec[0]} others"
    )


def _like(what: str, g: Any, spec: Any, of: str, fix: str) -> Tensor:
    """A result of the user's for an argument or output of this shape, dtype and device: checked and cast."""
    shape, dtype, device = spec
    if not is_tensor(g):
        raise GradError(
            f"{what} is a {type(g).__name__}",
            why=f"what belongs to an {of} of shape {shape} is a tensor",
            fix="return tt.asarray(value)",
        )
    if g.shape != shape:
        raise GradError(f"{what} has shape {g.shape}, its {of} {shape}", why="the shapes are equal", fix=fix)
    if g.device is not device:
        raise DeviceError(
            f"{what} of shape {g.shape} is on {g.device}",
            why=f"its {of} is on {device}, and tensors are never copied between devices implicitly",
            fix=f"return value.to({str(device)!r})",
        )
    if not g.dtype.is_floating:
        raise GradError(
            f"{what} has dtype {g.dtype}",
            why=f"what belongs to an {of} of dtype {dtype} is floating",
            fix=f"return value.astype(tt.{dtype})",
        )
    return astype(g, dtype, copy=False)


# ---- tangents ----------------------------------------------------------------------------------------------


def _tangents(cls: type[Function], call: JvpCall) -> Found:
    """The tangents of the outputs, by the user's jvp."""
    context = call.op.context
    given = [
        _zeros(spec) if t is None and spec is not None and spec[1].is_floating else t
        for t, spec in zip(call.given, context._specs, strict=True)
    ]
    if (level := innermost(given)) is not None:
        return _by_samples(lambda row: _tangents(cls, JvpCall(call.node, row, call.ops)), given, level)
    return _call_jvp(cls, context, call.saved, call.needs, given)


def _call_jvp(
    cls: type[Function],
    context: Context,
    saved: Saved | None,
    needs: Needs,
    tangents: Sequence[Tensor | None],
) -> Found:
    """Call the user's jvp with all tangents, and check its results."""
    result = cls.jvp(context._inside(saved, needs, context._parts[1]), *tangents)
    found = list(result) if isinstance(result, tuple | list) else [result]
    if len(found) != len(context._outs):
        raise GradError(
            f"{cls.__name__}.jvp: {len(found)} tangents for {len(context._outs)} outputs of forward",
            why="each output needs one; None if it has no gradient",
            fix="return " + ", ".join([f"tangent_{i}" for i in range(len(context._outs))]),
        )
    return [
        _check_tangent(f"{cls.__name__}.jvp: tangent {i}", t, spec, fixed)
        for i, (t, spec, fixed) in enumerate(zip(found, context._outs, context._fixed, strict=True))
    ]


def _check_tangent(what: str, t: Any, spec: Any, fixed: bool) -> Tensor | None:
    """One tangent, checked and cast to the output's dtype; None for an output without a gradient."""
    if fixed and t is not None:
        raise GradError(
            f"{what} is a {type(t).__name__}",
            why="the output has no gradient: it is not floating, or marked as not differentiable",
            fix="return None in its place",
        )
    if not fixed and t is None:
        raise GradError(
            f"{what} is None",
            why=f"the output of shape {spec[0]} has a gradient, so it has a tangent",
            fix="return tt.zeros_like(output), or in forward call ctx.mark_non_differentiable(output)",
        )
    return (
        None
        if t is None
        else _like(what, t, spec, "output", "compute the derivative of what forward returns")
    )
