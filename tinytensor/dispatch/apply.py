"""How ops run: `apply` for any op. Knows no op by name; what an op is stands in `op.py`.

`apply` is the whole life of an op: check → infer → allocate → run → record. Elementwise ops have roads of
their own (`elementwise.py`), and so do views (`viewing.py`) and writes into existing memory (`inplace.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinytensor.autograd.backward import Algebra, Node, Output, follow
from tinytensor.autograd.modes import grad_enabled, retaining
from tinytensor.config import config
from tinytensor.device import Device, cpu
from tinytensor.dispatch import cpu as host_work
from tinytensor.dispatch import launch
from tinytensor.dispatch.transfer import arr as arr
from tinytensor.dispatch.transfer import constant as constant
from tinytensor.dispatch.transfer import copy_between_gpus as copy_between_gpus
from tinytensor.dispatch.transfer import download as download
from tinytensor.dispatch.transfer import empty as empty
from tinytensor.dispatch.transfer import from_array as from_array
from tinytensor.dispatch.transfer import is_tensor as is_tensor
from tinytensor.dispatch.transfer import same_memory as same_memory
from tinytensor.dispatch.transfer import small, widened
from tinytensor.dispatch.transfer import upload as upload
from tinytensor.dispatch.transfer import values as values
from tinytensor.dispatch.transfer import wrap as wrap
from tinytensor.dtypes import DType, float32
from tinytensor.errors import DeviceError, DTypeError, GradError
from tinytensor.layout import Layout, contiguous
from tinytensor.op import Op as Op
from tinytensor.op import Spec as Spec
from tinytensor.op import Specs as Specs
from tinytensor.op import register as register
from tinytensor.op import registry as registry
from tinytensor.precision import casting
from tinytensor.reuse import ATTACHED, reusable
from tinytensor.runtime.cpu.graph import capturing, graphs, refuse
from tinytensor.runtime.cpu.memory import without_memory

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor

new = object.__new__
Shape = tuple[int, ...]

_Tensor: type[Tensor]  # the class of all results


def use_result_class(cls: type[Tensor]) -> None:
    """As in `arrays`; a global here, too, since every op compares with it."""
    global _Tensor
    _Tensor = cls


def attach(record: Any, edge: Any) -> Tensor:
    """A saved record as a tensor, with its edge again; a leaf is itself again."""
    if edge is not None and type(edge) is not Node and type(edge) is not Output:
        leaf: Tensor = edge
        return leaf
    t = wrap(record[2], record[1], record[0])
    t._origin = ATTACHED
    t._edge = edge
    t._requires = edge is not None
    return t


Algebra.attach = attach


# ---- edges -------------------------------------------------------------------------------------------------


def edge_of(t: Tensor) -> Any:
    """Where the gradient of t goes. A view whose base was written to since looks again at its base."""
    if t._base is not None and t._seen != t.storage.version:
        _refresh(t)
    if not t._requires:
        return None
    return t if t._edge is None else t._edge


def new_node(
    op: type[Op],
    parents: tuple[Any, ...],
    params: dict[str, Any] | None,
    layout: Layout | None,
    saved: Any = (),
    outs: Any = None,
) -> Node:
    """A node for what no op computed; `saved` are records as `record` makes them."""
    node = new(Node)
    node.op = op
    node.parents = parents
    node.params = params
    node.layout = layout
    node.saved = saved
    node.outs = outs
    node.specs = node.extra = None
    if observers:
        for observe in tuple(observers):
            observe(node, ())
    return node


# anomaly mode and checkpointing watch the nodes that are made, and the outputs where there are any yet
observers: list[Callable[[Node, Sequence[Any]], None]] = []


def _refresh(view: Tensor) -> None:
    base = view._base
    assert base is not None
    if base._requires and edge_of(base) is not None:
        if view._origin:
            raise GradError(
                "this view can no longer be differentiated",
                why=f"it was made {view._origin}, and its base was modified in place since",
                fix="make the view again after the in-place operation, or clone it before",
            )
        params = {"src": base.layout, "dst": view.layout}
        old = view._edge
        view._edge = new_node(registry["reframe"], (edge_of(base),), params, view.layout)
        view._requires = True
        follow(view, old)
    view._seen = view.storage.version


def requires(t: Tensor) -> bool:
    """requires_grad as the user sees it: a view of a base that got a history has one, too."""
    base = t._base
    return t._requires or (base is not None and base._requires and t._seen != t.storage.version)


def record(
    op: type[Op],
    ins: Sequence[Any],
    edges: tuple[Any, ...],
    outs: Sequence[Any],
    params: dict[str, Any] | None,
    specs: Any = None,
) -> Node:
    """One node for `outs` (tensors, hidden ones included); `ins` may hold Python numbers."""
    if graphs:
        refuse("recording history")
    node = new(Node)
    node.op = op
    node.parents = edges
    node.params = params
    node.specs = specs
    node.outs = node.extra = None
    saved: list[Any] = []
    for at, condition in op.plan:
        if condition is not None and edges[condition] is None:
            saved.append(None)
            continue
        t = ins[at] if at >= 0 else outs[~at]
        saved.append((t.storage, t.layout, t._array, t.storage.version) if isinstance(t, _Tensor) else t)
    node.saved = saved
    if op.visible == 1:
        t = outs[0]
        node.layout = t.layout
        t._edge = node
        t._requires = True
    else:
        visible = outs[: op.visible]
        node.layout = None
        node.outs = tuple([None if o is None else (o.layout.shape, o.storage.dtype) for o in visible])
        for i, o in enumerate(visible):
            if o is not None and o.storage.dtype.is_inexact:
                o._edge = Output(node, i)
                o._requires = True
    if observers:
        for observe in tuple(observers):
            observe(node, outs)
    return node


# ---- any op ------------------------------------------------------------------------------------------------


def run_op(op: type[Op], *ins: Tensor | None, **params: Any) -> Any:
    """check → infer → allocate → run → record: the visible outputs of op, one tensor or a tuple of them."""
    cast = casting()
    if op.quick and cast is None and not graphs and not config.debug:
        result = _run_small(op, ins, params)
        if result is not _NOT_SMALL:
            return result
    if cast is not None:
        ins = tuple(cast(op.name, ins))
    looking = not op.writes and grad_enabled()
    edges, specs_in, arrays, recording, device = _inputs(op, ins, looking)
    if not ins:
        device = params.pop("device", cpu)
    specs = op.infer(*specs_in, **params)
    if recording and op.visible == 1 and (first := specs[0]) is not None and not first.dtype.is_inexact:
        recording = False  # no gradient passes through integers
    outs: list[Any] = []
    for k, spec in enumerate(specs):
        if spec is None or (k >= op.visible and not recording):
            outs.append(None)
            continue
        t = _reused(op, k, ins, spec) if op.may_reuse and not retaining() else None
        outs.append(empty(*spec, device) if t is None else t)
    if device is not cpu:
        launch.run(op, device, outs, ins, params)
    elif graphs and (graph := capturing()) is not None:
        host_work.note(graph, op, outs, ins, params)
    else:
        try:
            host_work.run(op, outs, ins, arrays, params)
        except (MemoryError, ValueError) as error:
            largest = max([t.layout.size for t in (*ins, *outs) if t is not None])
            if (missing := without_memory(op.name, error, largest)) is None:
                raise
            raise missing from None
    if recording:
        record(op, ins, tuple(edges), outs, params)
    if op.writes:
        for name, x in zip(op.inputs, ins, strict=False):
            if x is not None and name in op.writes:
                x.storage.bump(op.name)
    return outs[0] if op.visible == 1 else tuple(outs[: op.visible])


# By op, layouts and parameters: what the results are, and the layouts, whose ids in the key stay theirs so.
_small_results: dict[Any, Any] = {}
_MOST_SMALL = 4096
_NOT_SMALL = object()


def _run_small(op: type[Op], ins: Sequence[Any], params: dict[str, Any]) -> Any:
    """`run_op` for small float32 tensors that own their memory, without the questions of the first call."""
    key: list[Any] = [op, *params.items()]
    arrays: list[Any] = []
    edges: list[Any] = []
    recording = False
    looking = grad_enabled()
    for x in ins:
        edge = None
        if x is None:
            key.append(None)
            arrays.append(None)
        elif (
            type(x) is _Tensor
            and x._base is None
            and x.storage.dtype is float32
            and (layout := x.layout).small
        ):
            key.append(id(layout))
            array = x._array
            arrays.append(arr(x) if array is None else array)
            if looking and x._requires:
                edge = x._edge or x
                recording = True
        else:
            return _NOT_SMALL
        edges.append(edge)
    fixed = tuple(key)
    known = _small_results.get(fixed)
    if known is None:
        known = _small_results_of(op, fixed, ins, params)
    results = known[0]
    if results is _NOT_SMALL:
        return results
    outs: list[Any] = []
    places: list[Any] = []
    visible = op.visible
    for result in results:
        if result is None or (not recording and len(outs) >= visible):
            outs.append(None)
            places.append(None)
        else:
            t = small(*result)
            outs.append(t)
            places.append(t._array)
    host_work.run_plain(op, places, arrays, params)
    if recording:
        record(op, ins, tuple(edges), outs, params)
    return outs[0] if visible == 1 else tuple(outs[:visible])


def _small_results_of(op: type[Op], key: Any, ins: Sequence[Any], params: dict[str, Any]) -> Any:
    """Ask the op once what its results are."""
    specs = op.infer(*[None if x is None else Spec(x.layout.shape, float32) for x in ins], **params)
    if len(_small_results) >= _MOST_SMALL:
        _small_results.clear()
    results = [None if s is None else (contiguous(s.shape), s.dtype) for s in specs]
    layouts = [None if x is None else x.layout for x in ins]
    fits = all([r is None or r[0].small for r in results])
    known = _small_results[key] = results if fits else _NOT_SMALL, layouts
    return known


def _inputs(
    op: type[Op], ins: Sequence[Any], looking: bool
) -> tuple[list[Any], list[Any], list[Any], bool, Device]:
    """Edges, specs and arrays of the inputs (no arrays off the CPU), whether one of them has a history (if
    anyone is looking), and their device.
    """
    device = cpu
    edges: list[Any] = []
    specs: list[Any] = []
    arrays: list[Any] = []
    recording = False
    raw = op.raw or op.host_bf16 is not None
    for x in ins:
        if x is None:
            edges.append(None)
            specs.append(None)
            arrays.append(None)
            continue
        if not isinstance(x, _Tensor):
            raise DTypeError(
                f"{op.name}: an input of type {type(x).__name__}",
                why="ops take tensors",
                fix="make it a tensor first: tt.asarray(x)",
            )
        if looking:
            edge = edge_of(x)
            edges.append(edge)
            if edge is not None:
                recording = True
        dtype = x.storage.dtype
        specs.append(_as_spec(Spec, (x.layout.shape, dtype, None)))
        array = x._array
        if array is None:
            if x.storage.device is not cpu:
                device = x.storage.device
                continue
            array = arr(x)
        arrays.append(widened(op.name, array, dtype) if dtype.narrow and not raw else array)
    if device is not cpu:
        common_device(op.name, ins)
    return edges, specs, arrays, recording, device


def common_device(what: str, items: Sequence[Any]) -> Device:
    """The device of all tensors among the items; DeviceError if they are on several."""
    device: Device | None = None
    for x in items:
        if isinstance(x, _Tensor):
            here = x.storage.device
            if device is not None and here is not device:
                raise _mixed_devices(what, items)
            device = here
    return cpu if device is None else device


def _mixed_devices(what: str, items: Sequence[Any]) -> DeviceError:
    places = [f"{x.layout.shape} on {x.storage.device}" for x in items if isinstance(x, _Tensor)]
    return DeviceError(
        f"{what}: the tensors are on different devices: {', '.join(places)}",
        why="nothing is copied between devices behind your back",
        fix="move them to one device: x.to(y.device)",
    )


_as_spec = tuple.__new__  # half the time of Spec(…): no Python code runs


apply: Callable[..., Tensor] = run_op  # for ops with one visible output
apply_all: Callable[..., tuple[Tensor, ...]] = run_op  # for ops with several


def _reused(op: type[Op], k: int, ins: Sequence[Any], spec: Spec) -> Tensor | None:
    """The input whose memory output k takes over, if the graph is being freed and nobody else can see it."""
    name = op.may_reuse.get(op.outputs[k])
    if name is None:
        return None
    x = ins[op.inputs.index(name)]
    if x is None or not reusable(x, spec.shape, spec.dtype):
        return None
    x.storage.bump(op.name)
    return same_memory(x)


def same_dtype(what: str, *specs: Spec | None) -> DType:
    """The dtype that all these inputs share; DTypeError where they differ."""
    present = [s for s in specs if s is not None]
    first = present[0].dtype
    for s in present[1:]:
        if s.dtype is not first:
            raise _several_dtypes(what, specs)
    return first


def _several_dtypes(what: str, specs: Sequence[Spec | None]) -> DTypeError:
    """The error that names those inputs that differ from most others."""
    names = getattr(registry.get(what), "inputs", ()) or [f"input {i}" for i in range(len(specs))]
    found = {n: s.dtype for n, s in zip(names, specs, strict=False) if s is not None}
    most, _ = Counter(found.values()).most_common(1)[0]
    odd = " and ".join([name for name, dtype in found.items() if dtype is not most])
    return DTypeError(
        f"{what}: inputs have dtypes {', '.join([f'{n} {d}' for n, d in found.items()])}",
        why="this op computes in one dtype and does not cast behind your back",
        fix=f"cast {odd} with .astype(tt.{most})",
    )


def floating(what: str, spec: Spec) -> None:
    """DTypeError unless the input is a real floating tensor."""
    if not spec.dtype.is_floating:
        raise DTypeError(
            f"{what}: the input of shape {spec.shape} has dtype {spec.dtype}",
            why="the result has fractions, so a floating dtype is needed",
            fix="cast with .astype(tt.float32)",
        )
