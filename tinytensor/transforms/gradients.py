"""User API of autograd: `backward`, `grad`, tensor hooks, `retain_grad`, `requires_grad_`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinytensor.autograd import backward as autograd
from tinytensor.autograd.backward import retain, set_grad
from tinytensor.autograd.graph import Node, Output, extra_of
from tinytensor.autograd.hooks import LeafHooks, Removable, replaced
from tinytensor.autograd.levels import Batched, Level, innermost
from tinytensor.autograd.modes import in_backward
from tinytensor.dispatch.batching import unwrapped, wrapped
from tinytensor.dispatch.forward import push
from tinytensor.dispatch.record import edge_of, requires
from tinytensor.dispatch.transfer import constant
from tinytensor.dtypes import float32
from tinytensor.errors import DeviceError, DTypeError, GradError, ShapeError, TransformError
from tinytensor.op import Grads
from tinytensor.ops.elementwise.arithmetic import GRADIENT_OPS
from tinytensor.ops.views.manipulation import cast
from tinytensor.runtime.cpu.arrays import NUMPY
from tinytensor.tensor import Tensor, is_tensor

__all__ = ["grad"]


def start_gradient(output: Tensor, gradient: Tensor | None, what: str) -> Tensor:
    """The initial gradient of a backward pass, checked; ones for a single element."""
    if gradient is None:
        if output.layout.size != 1:
            raise GradError(
                f"{what}: an output of shape {output.layout.shape} needs a gradient to start from",
                why="the default gradient, 1, is defined only for outputs with one element",
                fix="reduce it with .sum(), or pass a gradient of the output's shape",
            )
        one = np.ones(output.layout.shape, NUMPY[float32])
        gradient = constant(one, float32, output.storage.device)
    else:
        check_gradient(what, gradient, output)
    return cast(gradient, output.storage.dtype)


def check_gradient(what: str, gradient: Any, x: Tensor) -> None:
    """Raise unless the gradient is a tensor of x's shape on x's device."""
    if not is_tensor(gradient):
        raise DTypeError(
            f"{what}: the gradient is a {type(gradient).__name__}",
            why="gradients are tensors",
            fix="pass tt.asarray(gradient)",
        )
    if gradient.shape != x.shape:
        raise ShapeError(
            f"{what}: the gradient has shape {gradient.shape}, the tensor {x.shape}",
            why="a gradient has the shape of its tensor",
            fix=f"pass a gradient of shape {x.shape}",
        )
    if gradient.device is not x.device:
        raise DeviceError(
            f"{what}: the gradient, of shape {x.shape}, is on {gradient.device}, the tensor on {x.device}",
            why="tensors are never copied between devices implicitly",
            fix=f"pass gradient.to({str(x.device)!r})",
        )


def _not_batched(what: str, *xs: Tensor | None) -> None:
    """Raise TransformError inside of `vmap`, where a tensor has a gradient for each sample."""
    if innermost(xs) is not None:
        raise TransformError(
            f"{what}: inside of vmap",
            why="a tensor has one .grad and one list of hooks, and there is a gradient for each sample",
            fix="use tt.func.grad inside of vmap, or call backward on what vmap returns",
        )


def backward(
    x: Tensor, gradient: Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Compute the gradients of x and add d(x)/d(leaf) to the `.grad` of every leaf it depends on.

    If the pass raises, no `.grad` has changed, except of leaves with a post-accumulate hook, which get theirs
    as soon as it is complete. Threads may run backward concurrently on their own graphs, also with shared
    leaves: contributions add up, in the order in which the passes end.

    Args:
        gradient: initial gradient, of x's shape; optional if x has one element.
        retain_graph: keep the saved tensors, so that backward can run again.
        create_graph: record the backward pass itself, for higher derivatives.

    Raises:
        GradError: x does not require grad, needs a gradient argument, or its graph was already used.
        ShapeError: the gradient does not have x's shape.
        DeviceError: the gradient is not on x's device.

    >>> x = tt.tensor(3.0, requires_grad=True)
    >>> (x * x).backward()
    >>> x.grad.item()
    6.0
    """
    _not_batched("backward", x, gradient)
    edge = edge_of(x)
    if edge is None:
        raise GradError(
            f"backward: the tensor of shape {x.shape} does not require grad",
            why="no recorded operation leads to it",
            fix="make an input with requires_grad=True, outside tt.no_grad()",
        )
    root = start_gradient(x, gradient, "backward")
    autograd.run([(edge, root)], GRADIENT_OPS, retain=retain_graph, create=create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs with respect to inputs, returned and not added to `.grad`.

    Args:
        outputs: tensor(s) to differentiate; each of one element unless grad_outputs is given.
        inputs: tensor(s) to differentiate with respect to: leaves or intermediate results.
        grad_outputs: initial gradient(s), one per output.
        retain_graph: keep the saved tensors; default: the value of create_graph.
        create_graph: record the pass, so that the gradients can be differentiated again.
        allow_unused: return None for an input that the outputs do not depend on, instead of raising.

    Returns:
        One gradient per input, of its shape.

    Raises:
        GradError: an output or input does not require grad, or an input was not used.

    >>> x = tt.tensor(2.0, requires_grad=True)
    >>> (slope,) = tt.grad(x**3, x, create_graph=True)
    >>> slope.item(), tt.grad(slope, x)[0].item()
    (12.0, 12.0)
    """
    outs = [outputs] if is_tensor(outputs) else list(outputs)
    ins = [inputs] if is_tensor(inputs) else list(inputs)
    starts = (
        [grad_outputs] * len(outs) if grad_outputs is None or is_tensor(grad_outputs) else list(grad_outputs)
    )
    if len(starts) != len(outs):
        raise ShapeError(
            f"grad: {len(starts)} grad_outputs for {len(outs)} outputs",
            why="each output needs one",
            fix="pass one gradient (or None) per output",
        )
    for kind, tensors in (("output", outs), ("input", ins)):
        for i, t in enumerate(tensors):
            if not is_tensor(t):
                raise DTypeError(
                    f"grad: {kind} {i} is a {type(t).__name__}",
                    why="only tensors have gradients",
                    fix="pass tensors, made with requires_grad=True",
                )
            if edge_of(t) is None:
                raise GradError(
                    f"grad: {kind} {i} of shape {t.shape} does not require grad",
                    why="nothing was recorded for it",
                    fix="make the inputs with requires_grad=True, outside tt.no_grad()",
                )
    if (level := innermost((*outs, *ins))) is not None:
        given = {"retain_graph": retain_graph, "create_graph": create_graph, "allow_unused": allow_unused}
        return _grad_of_samples(level, outs, ins, starts, given)
    roots = [(edge_of(o), start_gradient(o, s, "grad")) for o, s in zip(outs, starts, strict=True)]
    keep = create_graph if retain_graph is None else retain_graph
    found = autograd.run(
        roots, GRADIENT_OPS, wanted=[edge_of(x) for x in ins], retain=keep, create=create_graph
    )
    for i, g in enumerate(found):
        if g is None and not allow_unused:
            raise GradError(
                f"grad: the outputs do not depend on input {i} of shape {ins[i].shape}",
                why="no recorded path leads from one to the other",
                fix="leave the input out, or pass allow_unused=True to get None",
            )
    return tuple(found)


def _grad_of_samples(
    level: Level, outs: Sequence[Tensor], ins: Sequence[Tensor], starts: Sequence[Any], given: Any
) -> tuple[Tensor | None, ...]:
    """`grad` inside of `vmap`: of the values, in which no sample depends on another."""
    if any([not isinstance(x, Batched) or x.level is not level for x in ins]):
        raise TransformError(
            "grad: inside of vmap, with respect to a tensor that all samples share",
            why="each sample has a gradient of its own, but recording began before they were told apart",
            fix="use tt.func.grad, vjp or jvp inside of vmap: their variables are those of one sample",
        )
    pairs = [
        (o.value, unwrapped(start_gradient(o, s, "grad"), level))
        for o, s in zip(outs, starts, strict=True)
        if isinstance(o, Batched) and o.level is level
    ]
    found = grad([o for o, _ in pairs], [x.value for x in ins], [s for _, s in pairs], **given)  # type: ignore[attr-defined]
    return tuple([None if g is None else wrapped(g, level) for g in found])


def pushed(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    tangents: Sequence[Tensor | None],
    create: bool,
    retain: bool,
) -> list[Tensor | None]:
    """The tangents of outputs, from those of inputs, by a forward pass over the recorded graph.

    Args:
        outputs, inputs: require grad; the inputs are leaves or intermediate results.
        tangents: one per input, of its shape; None is 0.
        create: record the pass, so that the tangents can be differentiated.
        retain: keep what the graph has saved.

    Returns:
        One tangent per output; None is 0.
    """
    if (level := innermost((*outputs, *inputs))) is not None:
        values = [x.value if isinstance(x, Batched) and x.level is level else x for x in (*outputs, *inputs)]
        given = [None if t is None else unwrapped(t, level) for t in tangents]
        found = pushed(values[: len(outputs)], values[len(outputs) :], given, create, retain)
        return [None if t is None else wrapped(t, level) for t in found]
    given = [
        None if t is None else start_gradient(x, t, "jvp") for x, t in zip(inputs, tangents, strict=True)
    ]
    edges = [edge_of(y) for y in outputs], [edge_of(x) for x in inputs]
    return list(in_backward(create, True, push, *edges, given, GRADIENT_OPS, retain))


def _edge(what: str, x: Tensor) -> Any:
    """The edge of a tensor, which a gradient reaches."""
    _not_batched(what, x)
    if (edge := edge_of(x)) is None:
        raise GradError(
            f"{what}: the tensor does not require grad",
            why="no gradient will reach it",
            fix="set requires_grad_() on it or on an input",
        )
    return edge


def register_hook(x: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Removable:
    """Call `hook(grad)` when the tensor's gradient is complete; a returned tensor replaces it.

    Returns:
        A handle; `handle.remove()` removes the hook.

    Raises:
        GradError: the tensor does not require grad.

    >>> x = tt.ones(2, requires_grad=True)
    >>> handle = x.register_hook(lambda grad: grad * 10)
    >>> x.sum().backward()
    >>> x.grad.tolist()
    [10.0, 10.0]
    """
    edge = _edge("register_hook", x)
    if edge is x:
        x._hooks = LeafHooks() if x._hooks is None else x._hooks
        return Removable(x._hooks, hook)
    index = edge.index if type(edge) is Output else 0
    node: Node = edge.node if type(edge) is Output else edge

    def on_node(grads: Grads) -> Grads | None:
        grad = grads[index]
        if grad is None or (new := hook(grad)) is None:
            return None
        return (*grads[:index], replaced("register_hook", grad, new), *grads[index + 1 :])

    return Removable(extra_of(node).before, on_node)


def register_post_accumulate_grad_hook(x: Tensor, hook: Callable[[Tensor], None]) -> Removable:
    """Call `hook(x)` in each backward pass as soon as `x.grad` is complete, while the pass continues.

    The hook may read, change or replace `x.grad`; data-parallel training communicates gradients in it.

    Args:
        hook: called with the leaf, without recording; not called if no gradient reaches it.

    Returns:
        A handle; `handle.remove()` removes the hook.

    Raises:
        GradError: the tensor is not a leaf that requires grad.

    >>> x = tt.ones(2, requires_grad=True)
    >>> handle = x.register_post_accumulate_grad_hook(lambda leaf: print(leaf.grad.tolist()))
    >>> (x * 3).sum().backward()
    [3.0, 3.0]
    """
    if edge_of(x) is not x:
        raise GradError(
            "register_post_accumulate_grad_hook: the tensor is not a leaf that requires grad",
            why="gradients are accumulated in leaves only",
            fix="use register_hook for results, and requires_grad_() for leaves",
        )
    x._hooks = LeafHooks() if x._hooks is None else x._hooks
    return Removable(x._hooks.after, hook)


def retain_grad(x: Tensor) -> None:
    """Also store `.grad` of a non-leaf tensor; it includes in-place writes and hooks, as for a leaf.

    Raises:
        GradError: the tensor does not require grad.

    >>> x = tt.ones(2, requires_grad=True)
    >>> y = x * 2
    >>> y.retain_grad()
    >>> (y * y).sum().backward()
    >>> y.grad.tolist()
    [4.0, 4.0]
    """
    if _edge("retain_grad", x) is not x:
        retain(x)


def requires_grad_(x: Tensor, on: bool = True) -> Tensor:
    """Set `requires_grad` of a leaf; returns the tensor itself."""
    if on and not x.dtype.is_floating:
        raise GradError(
            f"requires_grad_: dtype {x.dtype} cannot have a gradient",
            why="gradients are real numbers, so only floating tensors have them",
            fix="cast first: x.astype(tt.float32)",
        )
    if not on and not is_leaf(x):
        raise GradError(
            "requires_grad_: the tensor is the result of a recorded operation",
            why="only leaves can stop requiring grad",
            fix="use x.detach()",
        )
    x._requires = bool(on)
    return x


def is_leaf(x: Tensor) -> bool:
    """Whether the tensor is a leaf of the graph: not the result of a recorded op."""
    return not requires(x) or edge_of(x) is x


def node_of(x: Tensor) -> Node | None:
    """The graph node of the op that computed the tensor, or None."""
    edge = edge_of(x)
    return edge.node if type(edge) is Output else edge if type(edge) is Node else None


def set_gradient(x: Tensor, new: Tensor | None) -> None:
    """Set `x.grad`, or reset it with None.

    Raises:
        DTypeError, ShapeError, DeviceError: new is not a tensor of x's dtype, shape and device.
    """
    if new is not None:
        check_gradient("grad", new, x)
        if new.storage.dtype is not x.storage.dtype:
            raise DTypeError(
                f"grad: the gradient has dtype {new.dtype}, the tensor {x.dtype}",
                why="backward accumulates in the dtype of the tensor",
                fix=f"x.grad = gradient.astype(tt.{x.dtype})",
            )
    set_grad(x, new)
