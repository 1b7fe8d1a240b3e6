"""Snapshot of the autograd graph as a table, SVG or HTML: `print(lab.graph(loss))`.

A snapshot holds numbers and text but no tensors, so it keeps nothing alive and stays valid after backward.
"""

from __future__ import annotations

import ast
import gc
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from tinytensor.autograd.backward import FREED, Pass
from tinytensor.autograd.graph import Node, Output, key_of
from tinytensor.autograd.modes import in_backward
from tinytensor.dispatch.record import edge_of
from tinytensor.errors import DTypeError, GradError
from tinytensor.lab.graph.placement import Placed, place
from tinytensor.lab.html import Html, tag
from tinytensor.lab.memory.ledger import size_of
from tinytensor.lab.report import Report, Shown, Table
from tinytensor.lab.svg import px, svg
from tinytensor.op import Op, registry
from tinytensor.ops.elementwise.arithmetic import GRADIENT_OPS
from tinytensor.tensor import Tensor, is_tensor, wrap
from tinytensor.transforms.checkpoint import Dropped
from tinytensor.transforms.gradients import start_gradient

Shape = tuple[int, ...]
SHORT = 4  # elements that are shown one by one
HEAD = ("", "op", "shape", "saved bytes", "value", "gradient", "inputs")


@dataclass(frozen=True)
class SavedTensor:
    """A tensor that a node saved for backward, with the bytes of its storage, which it keeps alive. They
    count at this node unless it is a leaf, or an earlier node in forward order saves the same storage.
    """

    name: str
    shape: Shape
    nbytes: int
    counted: bool


@dataclass(frozen=True)
class GraphNode:
    """A recorded op, or a leaf.

    Attributes:
        number: its index in Graph.nodes, which are in topological order.
        name: name of the op; for a leaf, the name given for it, or "leaf".
        shapes: shapes of its outputs; None for one that was not computed.
        inputs: for each input with a gradient: its name, the number of its source node, and the index of that
            node's output.
        saved: saved tensors; the first node of a checkpointed call saves the arguments of the call.
        state: "leaf", "recorded", "freed" by a backward pass, or "recomputed" if a checkpoint dropped its
            saved tensors.
        gradient: the formula of its gradients, or the code that computes them.
        where: file and line of the call, if `tt.detect_anomaly` was on.
        value: its value, as a short text; "" if it was not asked for, or is not known any more.
        grad: the gradient of the output with respect to it; "" if it was not asked for.
    """

    number: int
    name: str
    shapes: tuple[Shape | None, ...]
    inputs: tuple[tuple[str, int, int], ...] = ()
    saved: tuple[SavedTensor, ...] = ()
    state: str = "recorded"
    gradient: str = ""
    where: str = ""
    value: str = ""
    grad: str = ""

    @property
    def nbytes(self) -> int:
        """Saved bytes that count at this node."""
        return sum(s.nbytes for s in self.saved if s.counted)


@dataclass(frozen=True)
class Graph(Shown):
    """The autograd graph of some tensors: nodes in forward order, and the numbers of those of the tensors."""

    nodes: tuple[GraphNode, ...]
    outputs: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes saved for backward; a storage counts once, leaves do not count."""
        return sum(node.nbytes for node in self.nodes)

    def table(self) -> Table:
        """One row per node; with the columns value and gradient, if they were asked for."""
        rows = [*map(_row, self.nodes), ("", "in all", "", self.nbytes, "", "", "")]
        return Table(HEAD, "rllrlll", rows)

    def svg(self) -> Html:
        """SVG picture of the graph, forward from top to bottom."""
        return graph_picture(self)

    def report(self) -> Report:
        """The picture, and the saved tensors and gradient formula of each node, for `lab.page`."""
        formulas = ["\n".join([n.gradient, *[n.where] * bool(n.where)]) for n in self.nodes]
        rows = [(*_row(n), text, _saved_text(n)) for n, text in zip(self.nodes, formulas, strict=True)]
        head = (*HEAD, "formula of the gradients", "saved for backward")
        title = f"The graph behind {len(self.outputs)} tensor{'s' * (len(self.outputs) > 1)}"
        picture = tag("div", graph_picture(self, links=True), class_="scroll")
        table = Table(head, "rllrlllwl", rows, anchor="node")
        return Report(title, (tag("p", INTRO), picture, table), _STYLE)

    def __str__(self) -> str:
        return str(self.table())


def _row(node: GraphNode) -> tuple[str | int, ...]:
    nbytes: str | int = "" if node.state == "leaf" else node.state
    if node.state == "recorded" or (node.state == "recomputed" and node.saved):
        nbytes = node.nbytes
    shapes = ", ".join(map(str, node.shapes))
    inputs = ", ".join([f"{name} ← {number}" for name, number, _ in node.inputs])
    return node.number, node.name, shapes, nbytes, node.value, node.grad, inputs


def _saved_text(node: GraphNode) -> str:
    saved = [
        f"{s.name} {s.shape}: {s.nbytes:,} bytes" + ("" if s.counted else ", held by others, too")
        for s in node.saved
    ]
    return "\n".join(saved if node.state in ("recorded", "leaf") else [*saved, node.state])


@dataclass
class _Reader:
    """Builds the snapshot by a traversal of the edges, inputs first."""

    names: dict[int, str]
    numbers: dict[int, int] = field(default_factory=dict)  # by id of a node or leaf
    nodes: list[GraphNode] = field(default_factory=list)
    counted: set[int] = field(default_factory=set)  # ids of storages
    regions: set[int] = field(default_factory=set)  # ids of checkpointed calls
    gradient: Callable[[Op], str] = field(default_factory=lambda: cache(gradient_text))  # reading is slow
    things: list[Any] = field(default_factory=list)  # the nodes and leaves themselves

    def read(self, root: Any) -> int:
        """Number of the node at an edge; iterative, since chains may be long."""
        stack = [(_behind(root), False)]
        while stack:
            thing, ready = stack.pop()
            if id(thing) in self.numbers:
                continue
            if type(thing) is Node and not ready:
                stack.append((thing, True))
                stack += [(_behind(p), False) for p in reversed(thing.parents) if p is not None]
                continue
            self.numbers[id(thing)] = len(self.nodes)
            self.things.append(thing)
            self.nodes.append(self._node(thing) if type(thing) is Node else self._leaf(thing))
        return self.numbers[id(_behind(root))]

    def _leaf(self, leaf: Tensor) -> GraphNode:
        self.counted.add(id(leaf.storage))  # exists independently of the graph
        name = self.names.get(id(leaf), "leaf")
        return GraphNode(len(self.nodes), name, (leaf.layout.shape,), state="leaf")

    def _node(self, node: Node) -> GraphNode:
        if node.outs is not None:
            shapes = tuple([None if o is None else o[0] for o in node.outs])
        else:
            shapes = (None if node.result is None else node.result.shape,)
        state = "freed" if node.saved is FREED else "recorded"
        state = "recomputed" if isinstance(node.saved, Dropped) else state
        return GraphNode(
            number=len(self.nodes),
            name=node.name,
            shapes=shapes,
            inputs=tuple(self._inputs(node)),
            saved=tuple([self._saved(*kept) for kept in self._kept(node, state)]),
            state=state,
            gradient=self.gradient(node.op),
            where="" if node.extra is None else node.extra.trace,
        )

    def _inputs(self, node: Node) -> Iterator[tuple[str, int, int]]:
        for at, parent in enumerate(node.parents):
            if parent is not None:
                index = parent.index if type(parent) is Output else 0
                yield _input_name(node, at), self.numbers[id(_behind(parent))], index

    def _kept(self, node: Node, state: str) -> Iterator[tuple[str, Any, Any]]:
        """Name, storage and layout of each tensor that a node saved. The first node of a checkpointed call
        has the arguments of that call, in place of the tensors that its nodes saved.
        """
        if state == "recorded":
            names = [name.partition("?")[0] for name in node.op.saves]
            names += [f"saved_tensors[{at}]" for at in range(len(names), len(node.saved))]
            for name, record in zip(names, node.saved, strict=False):
                if type(record) is tuple:
                    yield name, record[0], record[1]
        elif state == "recomputed" and id(region := node.saved.region) not in self.regions:
            self.regions.add(id(region))
            for at, t in enumerate(region.tensors):
                yield f"argument {at} of the checkpoint", t.storage, t.layout

    def _saved(self, name: str, storage: Any, layout: Any) -> SavedTensor:
        new = id(storage) not in self.counted
        self.counted.add(id(storage))
        return SavedTensor(name, layout.shape, storage.nbytes, new)


def _behind(edge: Any) -> Any:
    return edge.node if type(edge) is Output else edge


def _input_name(node: Node, at: int) -> str:
    """Name of an input in the op; the last name applies to all further inputs."""
    names = getattr(node.op, "inputs", ())
    if not names:
        return str(at)
    return names[at] if at < len(names) - 1 or len(node.parents) == len(names) else f"{names[-1]}[{at}]"


def graph(*outputs: Tensor, names: Mapping[str, Tensor] | None = None, values: bool = False) -> Graph:
    """Snapshot the autograd graph: nodes, shapes, saved tensors and gradient formulas.

    Changes nothing, and runs nothing without `values`. Supports graphs of gradients (`create_graph=True`),
    checkpoints, views, in-place writes and tensors on devices.

    Args:
        names: names of leaves, such as `dict(model.named_parameters())`. As leaves, these tensors exist
            without the graph: their bytes do not count as saved, of a buffer of a model neither.
        values: show values, and the gradients of the only output, of one element. Intermediate values are
            known if a tensor or a node still holds them. The gradients take a backward pass, which changes no
            `.grad`; after `backward()`, only those of the leaves are known.

    Example:
        >>> from tinytensor import lab
        >>> w = tt.ones(3, requires_grad=True)
        >>> print(lab.graph((w * w).sum(), names={"w": w}))
             op                       shape                   saved bytes  inputs
           0 w                        (3,)
           1 multiply                 (3,)                              0  a ← 0, b ← 0
           2 sum                      ()                                0  x ← 1
             in all                                                     0
        >>> print(lab.graph((w * w).sum(), names={"w": w}, values=True))
             op                       shape                   saved bytes  value      gradient   inputs
           0 w                        (3,)                                 [1, 1, 1]  [2, 2, 2]
           1 multiply                 (3,)                              0             [1, 1, 1]  a ← 0, b ← 0
           2 sum                      ()                                0  3          1          x ← 1
             in all                                                     0
    """
    named = names or {}
    counted = {id(t.storage) for t in named.values()}
    reader = _Reader({id(t): name for name, t in named.items()}, counted=counted)
    found = []
    for i, output in enumerate(outputs):
        if not is_tensor(output):
            raise DTypeError(
                f"graph: output {i} is a {type(output).__name__}",
                why="only tensors have an autograd graph",
                fix="lab.graph(loss)",
            )
        edge = edge_of(output)
        if edge is None:
            raise GradError(
                f"graph: output {i} of shape {output.shape} does not require grad",
                why="no operation that leads to it was recorded",
                fix="make an input with requires_grad=True, outside tt.no_grad()",
            )
        found.append(reader.read(edge))
    if values:
        reader.nodes = _with_numbers(reader, outputs)
    return Graph(tuple(reader.nodes), tuple(found))


def _with_numbers(reader: _Reader, outputs: Sequence[Tensor]) -> list[GraphNode]:
    if len(outputs) != 1:
        raise GradError(
            f"graph: values of {len(outputs)} outputs",
            why="gradients are those of one number",
            fix="lab.graph(loss, values=True)",
        )
    values, grads = _values_of(reader.things), _gradients_of(outputs[0], reader.things)
    return [
        replace(node, value=values.get(id(thing), ""), grad=grads.get(id(thing), ""))
        for node, thing in zip(reader.nodes, reader.things, strict=True)
    ]


def _values_of(things: Sequence[Any]) -> dict[int, str]:
    """Values of leaves and of the results of nodes that are known, by the id of the node or leaf. The graph
    keeps no result: its tensor is alive, or another node saved it.
    """
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


def _gradients_of(output: Tensor, things: Sequence[Any]) -> dict[int, str]:
    """Gradients of an output, by id, which change no `.grad`; of a freed graph those that the leaves have."""
    if any(type(thing) is Node and thing.saved is FREED for thing in things):
        return {id(x): short(x.grad) for x in things if is_tensor(x) and x.grad is not None}
    wanted = [thing for thing in things if is_tensor(thing) or thing.outs is None]
    work = Pass([(edge_of(output), start_gradient(output, None, "graph"))], GRADIENT_OPS, wanted, True, False)
    in_backward(False, True, work.run)
    found = work.found | work.grads
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


# ---- formulas of gradients ---------------------------------------------------------------------------------

BROADCAST = "Each is summed over the axes along which its input was broadcast."


def gradient_text(op: Op) -> str:
    """Formula or source code of the gradients of the inputs of a registered op, or of that of a
    `tt.Function`.

    For a declared op the steps of its gradient; otherwise the docstring of its `backward`, or the formula in
    the docstring of the backward op that is named after it, or the statements of `backward`; for a lambda,
    its source lines. In a formula, `g` or `grad` is the gradient of the result; other names are those of
    inputs and outputs.

    Example:
        >>> gradient_text(registry["softmax"])
        'dx = y * (grad - sum(grad * y)).'
        >>> print(gradient_text(registry["add"]))
        da = g
        db = g
        Each is summed over the axes along which its input was broadcast.
    """
    text = _text(op)
    return f"{text}\n{BROADCAST}" if hasattr(op, "steps") and len(op.inputs) > 1 else text


def _text(op: Op) -> str:
    backward = getattr(op, "function", op).backward
    if not (inspect.isfunction(backward) or inspect.ismethod(backward)):  # a callable object
        return "(its source cannot be read)"
    if (steps := getattr(op, "steps", None)) is not None:
        lines = [f"{name} = {_step_text(step)}" for name, step in steps.items()]
        return "\n".join(lines or [f"d{x} = 0; the function is piecewise constant" for x in op.inputs])
    if backward.__doc__:
        return inspect.cleandoc(backward.__doc__)
    behind = registry.get(f"{op.name}_backward")
    if behind is not None and behind.__doc__ and " = " in behind.__doc__:
        return inspect.cleandoc(behind.__doc__)
    try:
        source = textwrap.dedent(inspect.getsource(backward))
    except OSError:  # defined at an interactive prompt
        return "(its source cannot be read)"
    if backward.__name__ == "<lambda>":  # its source lines may not be a complete statement
        return source.strip()
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    return textwrap.dedent("\n".join(source.splitlines()[function.body[0].lineno - 1 :])).strip()


def _step_text(step: Callable[..., Any]) -> str:
    """The expression of a lambda; for a function, its docstring."""
    code = step.__code__
    if step.__doc__:
        return " ".join(inspect.cleandoc(step.__doc__).split())
    for node in ast.walk(_parsed(code.co_filename)):
        if not isinstance(node, ast.Lambda) or node.lineno != code.co_firstlineno:
            continue
        if tuple([a.arg for a in node.args.args]) == code.co_varnames:
            return ast.unparse(node.body)
    return "(its source cannot be read)"


@cache
def _parsed(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


# ---- the picture -------------------------------------------------------------------------------------------

TOP, GAP, LINE, LETTER = 32, 42, 14, 7.0  # above it, between layers, a line and a character, in pixels


def _lines(node: GraphNode) -> list[str]:
    """Text lines in the box of a node."""
    shapes = ", ".join([str(s) for s in node.shapes if s is not None])
    numbers = [f"value {node.value}"] * bool(node.value) + [f"grad {node.grad}"] * bool(node.grad)
    if node.state == "leaf":
        return [node.name, shapes, *numbers]
    kept = f"saves {size_of(node.nbytes)}" if node.nbytes else "saves nothing" + " new" * bool(node.saved)
    if node.state != "recorded":
        kept = f"{node.state}, {kept}" if node.nbytes else node.state
    return [node.name, shapes, *numbers, kept]


def graph_picture(graph: Graph, *, links: bool = False) -> Html:
    """The graph as SVG, forward from top to bottom; with `links`, boxes link to the rows of the page."""
    texts = [_lines(node) for node in graph.nodes]
    widths = [max(map(len, text)) * LETTER + 18 for text in texts]
    edges = [(source, node.number) for node in graph.nodes for _, source, _ in node.inputs]
    placed = place(widths, edges)
    box_height = 8 + LINE * max([3, *map(len, texts)])
    shapes = [_curve(placed, edge, box_height) for edge in placed.routes]
    for node, text, width in zip(graph.nodes, texts, widths, strict=True):
        box = _box(node, text, width, placed, box_height)
        shapes.append(tag("a", box, href=f"#node{node.number}") if links else box)
    height = TOP + (box_height + GAP) * (max(placed.layer, default=0) + 1) - GAP + 10
    title = f"{len(graph.nodes)} nodes, {size_of(graph.nbytes)} saved for backward"
    return svg(title, placed.width + 20, height, *shapes, role="group" if links else "img")


def _curve(placed: Placed, edge: tuple[int, int], height: int) -> Html:
    """Curve of an edge from the bottom of a box, through its routing points, to the top of another."""
    first, last = [placed.layer[node] for node in edge]
    route = placed.routes[edge]
    y = TOP + (height + GAP) * first + height
    path = f"M{px(10 + route[0])} {px(y)}"
    layers = range(first + 1, last + 1) if len(route) > 2 else (last,)
    for step, (x, to) in zip(layers, pairwise(route), strict=True):
        end = TOP + (height + GAP) * step
        bend = (end - y) / 2
        path += f"C{px(10 + x)} {px(y + bend)} {px(10 + to)} {px(end - bend)} {px(10 + to)} {px(end)}"
        y = end
        if step < last:  # straight past the boxes of a layer
            y += height
            path += f"V{px(y)}"
    return tag("path", class_="edge", stroke_opacity=0.5, d=path)


def _box(node: GraphNode, text: list[str], width: float, placed: Placed, height: int) -> Html:
    x, y = 10 + placed.center[node.number], TOP + (height + GAP) * placed.layer[node.number]
    rows = [
        tag("text", line, x=px(x), y=px(y + 15 + LINE * i), text_anchor="middle", **({} if i else _BOLD))
        for i, line in enumerate(text)
    ]
    frame = tag(
        "rect",
        x=px(x - width / 2),
        y=px(y),
        width=px(width),
        height=height,
        rx=12 if node.state == "leaf" else 2,
        class_="box" if node.state == "leaf" else "frame",
    )
    tip = [tag("title", node.gradient)] if node.gradient else []
    return tag("g", *tip, frame, *rows)


_BOLD = {"font_weight": "bold"}

_STYLE = "svg a{text-decoration:none}tr:target{outline:2px solid var(--ink)}"
INTRO = (
    "Forward runs from top to bottom, gradients flow upwards. A box leads to its row below. Saved bytes "
    "that several nodes share count once, at the first of them. Leaves are not counted: they exist anyway."
)
