"""Plans: what depends only on an op, its parameters, and the metadata of its operands, made once per call."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.elementwise import NUMBERS, Elementwise
from tinytensor.dtypes import DType
from tinytensor.errors import DTypeError
from tinytensor.layout import SMALL, Layout, contiguous, ordered, with_aligned_rows
from tinytensor.op import Direct, Op, Spec
from tinytensor.tensor import Meta, Tensor, interned, meta_of

MAX_PLANS = 4096  # of one op


class Result(NamedTuple):
    """What a plan knows about one output."""

    spec: Spec
    layout: Layout
    meta: Meta


class Plan:
    """What is known about a call before its operands' elements are read.

    Attributes:
        device: where the op runs.
        results: for each output, or None for an output that is not computed.
        compute: the dtype that an elementwise op computes in; None for other ops.
        direct: for small operands, a function of their arrays that returns the result: see `Op.direct`.
        layout, meta, dtype: of the result of `direct`.
        small: small operands and outputs on the CPU, which the op's CPU code takes as they are stored.
        recorded: gradients can pass through the first output.
        complex: the result is complex, so that recording it is an error.
        specs: for each input of an elementwise op, the (shape, dtype) to which its gradient is summed and
            cast, or None; None if no gradient is.
    """

    __slots__ = (
        *("complex", "compute", "device", "direct", "dtype", "layout", "meta"),
        *("recorded", "results", "small", "specs"),
    )

    device: Device
    results: tuple[Result | None, ...]
    compute: DType | None
    direct: Direct | None
    layout: Layout
    meta: Meta
    dtype: DType
    small: bool
    recorded: bool
    complex: bool
    specs: tuple[Any, ...] | None


def plan_of(op: type[Op], xs: Sequence[Any]) -> Plan:
    """The plan of a call without parameters."""
    plan: Any = op.plans
    try:
        for x in xs:
            plan = plan[meta_of(x) if type(x) is Tensor else type(x)]
        found: Plan = plan[()]
    except KeyError:
        return new_plan(op, xs, {})[1]
    return found


def key_of(op: type[Op], params: dict[str, Any]) -> tuple[Any, ...]:
    """The parameters that a plan depends on."""
    return tuple([item for item in params.items() if item[0] not in op.varying])


def new_plan(op: type[Op], xs: Sequence[Any], params: dict[str, Any]) -> tuple[tuple[Any, ...], Plan]:
    """(checked operands, plan) of a call whose plan was not found by `type(x)`; keeps it."""
    xs = tuple([_checked(op, x) for x in xs])
    key = key_of(op, params)
    try:
        hash(key)
    except TypeError:  # a parameter that cannot be hashed: the next call makes the plan again
        return xs, _plan(op, xs, params)
    steps = [meta_of(x) if isinstance(x, Tensor) else type(x) for x in xs]
    place = op.plans
    for step in steps:
        place = place.get(step, {})
    plan = place.get(key)  # operands such as np.float64(2) were converted
    if plan is None:
        plan = _plan(op, xs, params)
        if op.planned >= MAX_PLANS:
            op.plans.clear()
            op.planned = 0
        place = op.plans
        for step in steps:
            place = place.setdefault(step, {})
        place[key] = plan
        op.planned += 1
    return xs, plan


def _checked(op: type[Op], x: Any) -> Any:
    """The operand: a tensor, None, or, for an elementwise op, a Python number."""
    if isinstance(x, Tensor):
        return x
    if issubclass(op, Elementwise):
        if isinstance(x, np.generic):
            x = x.item()
        if isinstance(x, NUMBERS):
            return x
        why = "operands must be tensors or Python numbers"
    elif x is None:
        return x
    else:
        why = "ops take tensors"
    raise DTypeError(
        f"{op.name}: an operand of type {type(x).__name__}",
        why=why,
        fix="make it a tensor first: tt.asarray(x)",
    )


def _plan(op: type[Op], xs: Sequence[Any], params: dict[str, Any]) -> Plan:
    given: list[Any] = [
        Spec(x.layout.shape, x.storage.dtype) if isinstance(x, Tensor) else None if x is None else type(x)
        for x in xs
    ]
    tensors = [x for x in xs if isinstance(x, Tensor)]
    p = Plan()
    if xs:
        p.device = common_device(op.name, tensors)
        specs = op.infer(*given, **params)
    else:
        p.device = params.get("device", cpu)
        specs = op.infer(**{name: value for name, value in params.items() if name != "device"})
    p.results = tuple([None if spec is None else _result(spec, p.device) for spec in specs])
    first = specs[0] if specs else None
    p.recorded = not op.writes and (op.visible > 1 or first is None or first.dtype.is_inexact)
    p.specs = p.compute = p.direct = None
    p.complex = any([spec is not None and spec.dtype.kind == "complex" for spec in specs])
    if issubclass(op, Elementwise):
        assert first is not None
        p.compute = op.compute_dtype(*given)
        if any([isinstance(x, Spec) and x[:2] != first[:2] for x in given]):
            p.specs = tuple([x[:2] if isinstance(x, Spec) and x[:2] != first[:2] else None for x in given])
    everything = [spec for spec in (*specs, *given) if isinstance(spec, Spec)]
    plain = p.device is cpu and all([prod(s.shape) <= SMALL and not s.dtype.narrow for s in everything])
    plain = plain and bool(xs) and not op.writes
    p.small = plain and p.compute is None
    packed = p.compute is not None or all([x.layout.is_contiguous for x in tensors])
    if plain and packed and len(p.results) == 1 and not p.complex:
        assert first is not None
        p.direct = op.direct(*given, **params)
        (_, p.layout, p.meta), p.dtype = _result(first, cpu), first.dtype
    return p


def _result(spec: Spec, device: Device) -> Result:
    if spec.aligned and device is not cpu:
        layout = with_aligned_rows(spec.shape, spec.dtype.itemsize)
    else:
        layout = contiguous(spec.shape) if spec.order is None else ordered(spec.shape, spec.order)
    return Result(spec, layout, interned(layout, spec.dtype, device))
