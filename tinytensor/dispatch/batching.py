"""Batching rules of vmap for ops, views and in-place writes: the values of `Op.vmap`.

A rule gets a `VmapCall`: the call, with values whose first axis is the batch. It runs ordinary ops on them,
which are recorded as usual, and may be batched at a level further out.
Ops without a rule run once for each sample.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from tinytensor.autograd.levels import Batched, Level, Levels, active, batched, innermost
from tinytensor.dispatch.apply import run_op
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.views import ViewOp, make_view
from tinytensor.errors import TransformError
from tinytensor.generator import Generator, default_generator
from tinytensor.layout import Layout
from tinytensor.op import Grads, Needs, Op, Saved, Spec, conditions, fields_of, register
from tinytensor.tensor import Tensor, empty

# ---- values ------------------------------------------------------------------------------------------------


def unwrapped(x: Tensor, level: Level) -> Tensor:
    """The value of x at a level, the batch as first axis; if x has none there, a view that repeats it."""
    if not isinstance(x, Batched) or x.level.number < level.number:
        return x.expand((level.size, *x.layout.shape))
    if x.level is level:
        return x.value
    return batched(moved(unwrapped(x.value, level), 0, 1), x.level)  # x has an inner batch, too


def wrapped(value: Tensor, level: Level) -> Tensor:
    """The batched tensor of a value: the inverse of `unwrapped`."""
    if isinstance(value, Batched) and value.level.number > level.number:
        return batched(wrapped(moved(value.value, 1, 0), level), value.level)
    return batched(value, level)


def everywhere(x: Tensor, levels: Sequence[Level]) -> Tensor:
    """x, batched at each of the levels; the last is the innermost."""
    if not levels:
        return x
    *outer, level = levels
    if isinstance(x, Batched) and x.level is level:
        return batched(everywhere(x.value, outer), level)
    return batched(unwrapped(everywhere(x, outer), level), level)


def room_for(x: Tensor, *others: Any) -> Tensor:
    """x for each sample of the others, too: they can be written into a copy of it."""
    levels: set[Level] = set()
    for t in (x, *others):
        while isinstance(t, Batched):
            levels.add(t.level)
            t = t.value
    return everywhere(x, sorted(levels, key=lambda level: level.number))


def moved(x: Tensor, source: int, target: int) -> Tensor:
    """x with one axis moved: a view."""
    order = [a for a in range(len(x.layout.shape)) if a != source]
    order.insert(target, source)
    return x if source == target else x.permute(tuple(order))


def aligned(value: Tensor, ndim: int) -> Tensor:
    """A value whose samples have at least `ndim` axes: new ones of size 1 behind the batch."""
    batch, *shape = value.layout.shape
    missing = ndim - len(shape)
    return value if missing <= 0 else value.reshape((batch, *(1,) * missing, *shape))


def sample(value: Tensor, i: int) -> Tensor:
    """Sample i of a value: a view."""
    return value[i]


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Samples as one value."""
    if not parts:
        raise TransformError(
            "vmap: the batch is empty",
            why="a function inside runs once for each sample, and no result shows its shape",
            fix="pass at least one sample",
        )
    return Level.stack(parts)


def on_value(function: Callable[..., Tensor], x: Batched, *args: Any, **options: Any) -> Tensor:
    """The batched tensor whose value is function(value of x, …)."""
    innermost((x,))  # raises if the vmap has ended
    return wrapped(function(x.value, *args, **options), x.level)


# ---- calls -------------------------------------------------------------------------------------------------


class VmapCall:
    """One call of an op on batched operands.

    Attributes:
        op: what is called.
        level: the innermost level of the operands, which the rule is about.
        given: the operands as the op was called.
        xs: the same with the values of those that are batched at this level.
        batched: which are.
    """

    __slots__ = ("batched", "given", "level", "op", "xs")

    def __init__(self, level: Level, op: Op, given: Sequence[Any]) -> None:
        self.level, self.given = level, given
        self.op: Any = op
        self.batched = [isinstance(x, Batched) and x.level is level for x in given]
        self.xs = [x.value if is_one else x for x, is_one in zip(given, self.batched, strict=True)]

    def values(self) -> list[Any]:
        """The operands, all with the batch as first axis; numbers and None as they are."""
        return [unwrapped(x, self.level) if isinstance(x, Tensor) else x for x in self.given]

    def infer(self) -> Any:
        """The shapes and dtypes of the results for one sample; raises if the call is wrong."""
        specs = [Spec(x.layout.shape, x.storage.dtype) if isinstance(x, Tensor) else None for x in self.given]
        return self.op.infer(*specs)

    def run(self, *xs: Any, **changes: Any) -> Any:
        """The op on values, with changes of its parameters."""
        return run_op(self.op.replace(**changes) if changes else self.op, *xs)


F = TypeVar("F", bound=Callable[..., Any])
Rule = Callable[[VmapCall], Any]  # returns the value of each visible output


class Batch(Level):
    """A level whose tensors are batched."""

    __slots__ = ()

    def call(self, op: Op, xs: Sequence[Any]) -> Any:
        """Run an op whose innermost batched operand is of this level."""
        if op.writes:
            raise not_written(op.name)
        rule = op.vmap or (broadcasting if isinstance(op, Elementwise) else vmap_loop)
        outs = rule(VmapCall(self, op, xs))
        if op.visible == 1:
            return batched(outs, self)
        return tuple([None if t is None else batched(t, self) for t in outs])

    def view(self, x: Batched, layout: Layout, op: Any, origin: str | None) -> Tensor:
        """`make_view` of a sample."""
        whole = x.value.layout
        found = Layout((self.size, *layout.shape), (whole.strides[0], *layout.strides), layout.offset)
        if op is None:
            return batched(make_view(x.value, found, None, origin), self)
        each = ViewOfSamples(one=op, shape_in=whole.shape)
        return batched(make_view(x.value, found, each, origin), self)


def not_written(what: str) -> TransformError:
    """The error of a write whose target has no place for all samples."""
    return TransformError(
        f"{what}: a batched value would be written into a tensor that is not batched",
        why="the tensor has room for one sample, and the function runs for all samples at once",
        fix="make the target from a batched tensor, as tt.zeros_like(x), or use an op that is not in place",
    )


def _target(what: str, x: Tensor, *others: Any) -> Batched:
    """The target of a write, if it is batched wherever the other operands are."""
    parts = [part for t in others for part in (t if isinstance(t, tuple) else (t,))]
    if isinstance(x, Batched) and x.level is innermost((x, *parts)):
        return x
    raise not_written(what)


def write_values(function: Callable[..., Any], what: str, x: Tensor, *others: Any) -> Tensor:
    """An in-place function of elements, function(x, *others), on batched operands; returns x."""
    target, ndim = _target(what, x, *others), len(x.layout.shape)
    values = [
        aligned(t.value, ndim) if isinstance(t, Batched) and t.level is target.level else t for t in others
    ]
    function(target.value, *values)
    return x


def write_each(function: Callable[..., Any], what: str, x: Tensor, *others: Any) -> None:
    """An in-place function on batched operands, sample by sample."""
    target = _target(what, x, *others)
    for i in range(target.level.size):
        function(sample(target.value, i), *[_of_sample(t, target.level, i) for t in others])


def _of_sample(x: Any, level: Level, i: int) -> Any:
    """Sample i of what is batched at a level, also in a tuple; other objects as they are."""
    if isinstance(x, tuple):
        return tuple([_of_sample(part, level, i) for part in x])
    return sample(unwrapped(x, level), i) if isinstance(x, Batched) else x


# ---- random functions --------------------------------------------------------------------------------------


def sampling(place: int | None = None) -> Callable[[F], F]:
    """Decorator of a function that draws random numbers: inside of `vmap` it does what `randomness` says.

    Args:
        place: the argument that decides the shape of the samples, a shape or a tensor, so that one call can
            draw for all; None: a call for each.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            return _sampled(run, place, args, options) if active() else function(*args, **options)

        return run  # type: ignore[return-value]  # wraps() keeps the signature

    return decorate


def _sampled(function: Callable[..., Any], place: int | None, args: Any, options: dict[str, Any]) -> Any:
    *outer, level = active()
    if level.randomness == "error":
        raise TransformError(
            "vmap: the function draws random numbers",
            why="each sample may get its own, or all the same: you decide",
            fix='vmap(…, randomness="different"), or "same"',
        )
    batches = any([isinstance(x, Batched) and x.level is level for x in (*args, *options.values())])
    with Levels(tuple(outer)):
        if level.randomness == "same":
            if not batches:
                return function(*args, **options)
            found = [g for g in (*args, *options.values()) if isinstance(g, Generator)]
            generator = found[0] if found else default_generator
            state = generator.get_state()
        elif place is not None and place < len(args):
            shape = args[place]
            if isinstance(shape, Tensor):
                whole: Any = unwrapped(shape, level)
            else:
                whole = (level.size, *(shape if isinstance(shape, tuple | list) else (shape,)))
            return batched(function(*args[:place], whole, *args[place + 1 :], **options), level)
        parts = []
        for i in range(level.size):
            if level.randomness == "same":
                generator.set_state(state)
            given = {name: _of_sample(x, level, i) for name, x in options.items()}
            parts.append(function(*[_of_sample(x, level, i) for x in args], **given))
        return batched(stacked(parts), level)


# ---- rules -------------------------------------------------------------------------------------------------


def vmap_loop(call: VmapCall) -> Any:
    """The op once for each sample, and the results stacked: right for every op."""
    level, op = call.level, call.op
    if level.size == 0:
        specs = call.infer()
        device = next(x.storage.device for x in call.given if isinstance(x, Batched))
        none = [
            None if s is None else empty((0, *s.shape), s.dtype, device=device) for s in specs[: op.visible]
        ]
        return none[0] if op.visible == 1 else none
    pairs = list(zip(call.xs, call.batched, strict=True))
    results = [call.run(*[sample(x, i) if b else x for x, b in pairs]) for i in range(level.size)]
    if op.visible == 1:
        return stacked(results)
    return [None if parts[0] is None else stacked(parts) for parts in zip(*results, strict=True)]


def broadcasting(call: VmapCall) -> Any:
    """Operands that broadcast: those that are batched get as many axes as the others."""
    pairs = list(zip(call.xs, call.batched, strict=True))
    ndim = max([len(x.layout.shape) - b for x, b in pairs if isinstance(x, Tensor)])
    return call.run(*[aligned(x, ndim) if b else x for x, b in pairs])


_AXES = {"axes", "axis", "new"}
_SHAPES = {"apart", "shape", "shape_in"}
_COUNTS = {"k", "num_classes", "shifts", "sizes"}


def vmap_batched(call: VmapCall) -> Any:
    """All samples at once: parameters that are axes count one more, those that are shapes get the batch, by
    their names.
    """
    call.infer()  # since values may fit where samples do not
    return call.run(*call.values(), **shifted(call))


def _check_names(op: type[Op]) -> None:
    """Raise ValueError for an op with the rule `vmap_batched` and an integer whose use is unknown."""
    if op.vmap is not vmap_batched:
        return
    for name, kind in op.fields.items():
        if re.search(r"\bint\b|Shape|Axes", kind) and name not in _AXES | _SHAPES | _COUNTS:
            raise ValueError(
                f"{op.name}: the rule `vmap_batched` does not know whether the parameter {name!r} is an axis"
                f"\n  why: the batch shifts axes, called {', '.join(sorted(_AXES))}, and shapes, called "
                f"{', '.join(sorted(_SHAPES))}; other integers stay as they are"
                f"\n  fix: rename it; or, if it has nothing to do with axes, add it to _COUNTS in {__name__}"
            )


conditions.append(_check_names)


def shifted(call: VmapCall) -> dict[str, Any]:
    """The parameters for values in place of samples."""
    return {name: _shifted(name, value, call.level.size) for name, value in fields_of(call.op).items()}


def _shifted(name: str, value: Any, size: int) -> Any:
    if name in _AXES:
        return value + 1 if isinstance(value, int) else tuple([a + 1 for a in value])
    return (size, *value) if name in _SHAPES else value


def composed(plain: Callable[..., Any]) -> Rule:
    """The rule of an op that is a formula of other ops, which have theirs: plain(*inputs, **parameters)."""

    def rule(call: VmapCall) -> Any:
        found = plain(*call.given, **fields_of(call.op))
        if call.op.visible == 1:
            return unwrapped(found[0] if isinstance(found, tuple) else found, call.level)
        return [None if t is None else unwrapped(t, call.level) for t in found]

    return rule


# ---- views -------------------------------------------------------------------------------------------------


@register
class ViewOfSamples(ViewOp):
    """The same view of each sample of a value.

    Attributes:
        one: the view of a sample.
    """

    one: ViewOp

    def layout(self, x: Layout) -> Layout:
        """The layout of the view of sample 0, and the batch."""
        one = self.one.layout(Layout(x.shape[1:], x.strides[1:], x.offset))
        return Layout((x.shape[0], *one.shape), (x.strides[0], *one.strides), one.offset)

    def backward(self, grads: Grads, saved: Saved, needs: Needs) -> Grads:
        """dx = the gradient of the view, of each sample."""
        level = Batch(self.shape_in[0])
        with Levels((*active(), level)):
            (grad,) = self.one.backward((batched(grads[0], level),), saved, needs)
            return (None if grad is None else unwrapped(grad, level),)
