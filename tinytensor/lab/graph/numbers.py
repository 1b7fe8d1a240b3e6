"""Values and gradients of the nodes of a graph, as short texts.

The graph keeps no result of an op. A value is known if its tensor is alive, if another node saved it, or if
it is a leaf. Gradients come from a backward pass of their own, which changes no `.grad`.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

from tinytensor.autograd.backward import FREED, Pass
from tinytensor.autograd.graph import Node, key_of
from tinytensor.autograd.modes import in_backward
from tinytensor.dispatch.record import edge_of
from tinytensor.ops.elementwise.arithmetic import ALGEBRA
from tinytensor.tensor import Tensor, is_tensor, wrap
from tinytensor.transforms.gradients import start_gradient

SHORT = 4  # elements that are shown one by one


def values_of(things: Sequence[Any]) -> dict[int, str]:
    """Values of leaves and of the results of nodes that are known, by the id of the node or leaf."""
    found = {id(thing): short(thing) for thing in things if is_tensor(thing)}
    for node in things:
        if type(node) is not Node:
            continue
        for live in gc.get_referrers(node):
            if is_tensor(live) and live._edge is node:
                found[id(node)] = short(live)
        if type(node.saved) is not list:
            continue
        for name, record in zip(node.op.saves, node.saved, strict=False):
            bare = name.partition("?")[0]
            if type(record) is not tuple or record[0].version != record[3]:
                continue
            source = node.parents[node.op.inputs.index(bare)] if bare in node.op.inputs else node
            if (
                type(source) is Node
                and source.outs is None
                and bare in (*node.op.inputs, *node.op.outputs[:1])
            ):
                found.setdefault(id(source), short(wrap(None, record[1], record[0])))
    return found


def gradients_of(output: Tensor, things: Sequence[Any]) -> dict[int, str]:
    """Gradients of an output of one element, by the id of the node or leaf; of a freed graph only those that
    the leaves have.
    """
    if any(type(thing) is Node and thing.saved is FREED for thing in things):
        return {id(x): short(x.grad) for x in things if is_tensor(x) and x.grad is not None}
    wanted = [thing for thing in things if is_tensor(thing) or thing.outs is None]
    work = Pass([(edge_of(output), start_gradient(output, None, "graph"))], ALGEBRA, wanted, True, False)
    in_backward(False, True, work.run)
    found = work.found | work.leaves
    return {id(t): short(g) for t in wanted if (g := found.get(key_of(t))) is not None}


def short(x: Tensor) -> str:
    """A few elements one by one, of more the smallest, the mean and the largest.

    Example:
        >>> short(tt.tensor([1.0, 2.5])), short(tt.arange(10.0))
        ('[1, 2.5]', '0 … 9, mean 4.5')
    """
    x = x.detach().cpu()
    if x.size <= SHORT:
        numbers = [f"{v:.4g}" for v in x.reshape(-1).tolist()]
        return f"[{', '.join(numbers)}]" if x.ndim else numbers[0]
    x = x.astype("float64")
    return f"{x.min().item():.4g} … {x.max().item():.4g}, mean {x.mean().item():.4g}"
