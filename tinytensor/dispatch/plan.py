"""Plans: what depends only on an op, its parameters, and the metadata of its operands, made once per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.elementwise import NUMBERS, Elementwise
from tinytensor.dispatch.launch import Launched, plan_caches
from tinytensor.dtypes import DType
from tinytensor.errors import DTypeError
from tinytensor.layout import SMALL, Layout, contiguous, ordered, with_aligned_rows
from tinytensor.op import Direct, Op, Spec
from tinytensor.random_streams import Stream
from tinytensor.tensor import Meta, Tensor, interned, meta_of

MAX_PLANS = 16_384  # of all ops
_count = 0
_owners: list[dict[Any, Any]] = []  # the `plans` that are not empty


class Result(NamedTuple):
    """One output in a plan."""

    spec: Spec
    layout: Layout
    meta: Meta


class Plan:
    """Everything about a call that does not depend on the elements of its operands.

    Attributes:
        device: where the op runs.
        results: for each output, or None for an output that is not computed.
        compute: the dtype that an elementwise op computes in; None for other ops.
        launched: the kernel and the grid of an elementwise op on a device, once it has run there.
        direct: for small operands, a function of their arrays that returns the result: see `Op.direct`.
        into: the same into an array: see `Op.into`.
        observed: the call may be seen by a capture or a tool: it is one of `Op.observed`.
        fast: there is `direct`, and nothing sees the call.
        run: computes the outputs: (op, plan, outputs, operands, their arrays); of device or CPU, chosen once.
        layout, meta, dtype: of the result of `direct`.
        single: small operands and one small result on the CPU, for a function such as `direct`.
        small: an op that is not elementwise has small operands and outputs on the CPU, for `cpu`.
        recorded: gradients can pass through the first output.
        complex: the result is complex, so that recording it is an error.
        specs: for each input of an elementwise op, the (shape, dtype) to which its gradient is summed and
            cast, or None; None if no gradient is.
    """

    __slots__ = (
        *("complex", "compute", "device", "direct", "dtype", "fast", "into", "launched", "layout", "meta"),
        *("observed", "recorded", "results", "run", "single", "small", "specs"),
    )

    device: Device
    results: tuple[Result | None, ...]
    compute: DType | None
    launched: Launched | None
    direct: Direct | None
    into: Callable[..., object] | None
    observed: bool
    fast: bool
    run: Callable[..., None]
    layout: Layout
    meta: Meta
    dtype: DType
    single: bool
    small: bool
    recorded: bool
    complex: bool
    specs: tuple[Any, ...] | None


def new_plan(
    op: Op, xs: Sequence[Any], observed: bool, choose: Callable[[Op, Plan], Callable[..., None]]
) -> tuple[tuple[Any, ...], Plan]:
    """(checked operands, plan) of a call whose plan was not found by `type(x)`; keeps it in its table."""
    global _count
    xs = tuple([x if isinstance(x, Tensor) else _checked(op, x) for x in xs])
    if len(xs) < len(op.inputs):
        raise TypeError(f"{op.name} of {len(xs)} operands: they are {', '.join(op.inputs)}")
    *steps, last = [meta_of(x) if isinstance(x, Tensor) else type(x) for x in xs]
    table = op.observed if observed else op.plans
    place: Any = table
    for step in steps:
        place = place.get(step, {})
    plan = place.get(last)  # operands such as np.float64(2) were converted
    if plan is None:
        plan = _plan(op, xs)
        plan.observed, plan.fast = observed, plan.direct is not None and not observed
        plan.run = choose(op, plan)
        if _count >= MAX_PLANS:
            forget_plans()
        place = table
        if not place:
            _owners.append(place)
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = plan
        _count += 1
    return xs, plan


def forget_plans() -> None:
    """Make all plans anew."""
    global _count
    for plans in _owners:
        plans.clear()
    _owners.clear()
    _count = 0


plan_caches.append(forget_plans)


def _checked(op: Op, x: Any) -> Any:
    """An operand that is no tensor: None, or, for an op of numbers, a Python number."""
    if op.numbers:
        if isinstance(x, np.generic):
            x = x.item()
        if isinstance(x, NUMBERS):
            return x
        why = "operands must be tensors or Python numbers"
    elif x is None or isinstance(x, Stream):
        return x
    else:
        why = "ops take tensors"
    raise DTypeError(
        f"{op.name}: an operand of type {type(x).__name__}",
        why=why,
        fix="make it a tensor first: tt.asarray(x)",
    )


def _plan(op: Op, xs: Sequence[Any]) -> Plan:
    given: list[Any] = [
        Spec(x.layout.shape, x.storage.dtype) if isinstance(x, Tensor) else None if x is None else type(x)
        for x in xs
    ]
    tensors = [x for x in xs if isinstance(x, Tensor)]
    p = Plan()
    p.device = common_device(op.name, tensors) if tensors else getattr(op, "device", cpu)
    specs = op.infer(*given)
    p.results = tuple([None if spec is None else _result(spec, p.device) for spec in specs])
    first = specs[0] if specs else None
    p.recorded = not op.writes and (op.visible > 1 or first is None or first.dtype.is_inexact)
    p.specs = p.compute = p.direct = p.into = p.launched = None
    p.complex = any([spec is not None and spec.dtype.kind == "complex" for spec in specs])
    if isinstance(op, Elementwise):
        assert first is not None
        p.compute = op.compute_dtype(*given)
        if any([isinstance(x, Spec) and x[:2] != first[:2] for x in given]):
            p.specs = tuple([x[:2] if isinstance(x, Spec) and x[:2] != first[:2] else None for x in given])
    everything = [spec for spec in (*specs, *given) if isinstance(spec, Spec)]
    plain = p.device is cpu and all([prod(s.shape) <= SMALL and not s.dtype.narrow for s in everything])
    fits = plain and not p.complex
    plain = plain and bool(tensors) and not op.writes
    p.small = plain and p.compute is None
    packed = p.compute is not None or all([x.layout.is_contiguous for x in tensors])
    p.single = plain and len(p.results) == 1 and not p.complex and first is not None and first.order is None
    if p.single:
        p.direct = op.direct(*given) if packed else None
    if fits and not isinstance(op, Elementwise):
        p.into = op.into
    elif isinstance(op, Elementwise) and p.direct is not None:
        p.into = op.ufunc
    if p.single or p.into is not None:
        assert first is not None
        (_, p.layout, p.meta), p.dtype = _result(first, cpu), first.dtype
    return p


def _result(spec: Spec, device: Device) -> Result:
    if spec.aligned and device is not cpu:
        layout = with_aligned_rows(spec.shape, spec.dtype.itemsize)
    else:
        layout = contiguous(spec.shape) if spec.order is None else ordered(spec.shape, spec.order)
    return Result(spec, layout, interned(layout, spec.dtype, device))
