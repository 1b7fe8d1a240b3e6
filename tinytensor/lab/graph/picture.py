"""A graph of recorded ops as a picture, in the language of Graphviz, and as a page. Reads no tensor."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tinytensor.lab.graph.placement import Placed, place
from tinytensor.lab.html import Html, page, tag
from tinytensor.lab.memory.picture import size_of
from tinytensor.lab.svg import px, svg

if TYPE_CHECKING:
    from tinytensor.lab.graph.graph import Graph, GraphNode

__all__ = ["dot_text", "graph_page", "graph_picture"]

TOP, ROW, BOX, LETTER = 32, 92, 50, 7.0  # of the picture, a layer, a node and a letter, in pixels


def _lines(node: GraphNode) -> list[str]:
    """What stands in the box of a node."""
    shapes = ", ".join([str(s) for s in node.shapes if s is not None])
    if node.state == "leaf":
        return [node.name, shapes]
    kept = f"saves {size_of(node.nbytes)}" if node.nbytes else "saves nothing" + " new" * bool(node.saved)
    if node.state != "recorded":
        kept = f"{node.state}, {kept}" if node.nbytes else node.state
    return [node.name, shapes, kept]


def dot_text(graph: Graph) -> str:
    """The graph for Graphviz."""
    lines = ["digraph backward {", '  node [shape=box fontname="monospace"];']
    for node in graph.nodes:
        style = " style=rounded" if node.state == "leaf" else ""
        lines.append(f"  n{node.number} [label={_quoted(_lines(node))}{style}];")
    for node in graph.nodes:
        for name, source, _ in node.inputs:
            lines.append(f"  n{source} -> n{node.number} [label={_quoted([name])}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(lines: list[str]) -> str:
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines]
    return '"' + "\\n".join(escaped) + '"'


def graph_picture(graph: Graph, *, links: bool = False) -> Html:
    """The graph as SVG, forward from top to bottom; with `links`, boxes lead to the rows of the page."""
    texts = [_lines(node) for node in graph.nodes]
    widths = [max(map(len, text)) * LETTER + 18 for text in texts]
    edges = [(source, node.number) for node in graph.nodes for _, source, _ in node.inputs]
    placed = place(widths, edges)
    shapes = [_curve(placed, edge) for edge in placed.routes]
    for node, text, width in zip(graph.nodes, texts, widths, strict=True):
        box = _box(node, text, width, placed)
        shapes.append(tag("a", box, href=f"#node{node.number}") if links else box)
    height = TOP + ROW * (max(placed.layer, default=0) + 1) - (ROW - BOX) + 10
    title = f"{len(graph.nodes)} nodes, {size_of(graph.nbytes)} saved for backward"
    return svg(title, placed.width + 20, height, *shapes)


def _curve(placed: Placed, edge: tuple[int, int]) -> Html:
    """An edge from the foot of a box, by its points in the layers between, to the head of another."""
    first, last = [placed.layer[node] for node in edge]
    route = placed.routes[edge]
    y = TOP + ROW * first + BOX
    path = f"M{px(10 + route[0])} {px(y)}"
    layers = range(first + 1, last + 1) if len(route) > 2 else (last,)
    for step, (x, to) in zip(layers, pairwise(route), strict=True):
        end = TOP + ROW * step
        bend = (end - y) / 2
        path += f"C{px(10 + x)} {px(y + bend)} {px(10 + to)} {px(end - bend)} {px(10 + to)} {px(end)}"
        y = end
        if step < last:  # straight past the boxes of a layer
            y += BOX
            path += f"V{px(y)}"
    return tag("path", class_="edge", stroke_opacity=0.5, d=path)


def _box(node: GraphNode, text: list[str], width: float, placed: Placed) -> Html:
    x, y = 10 + placed.center[node.number], TOP + ROW * placed.layer[node.number]
    rows = [
        tag("text", line, x=px(x), y=px(y + 15 + 14 * i), text_anchor="middle", **({} if i else _BOLD))
        for i, line in enumerate(text)
    ]
    frame = tag(
        "rect",
        x=px(x - width / 2),
        y=px(y),
        width=px(width),
        height=BOX,
        rx=12 if node.state == "leaf" else 2,
        class_="box" if node.state == "leaf" else "frame",
    )
    tip = [tag("title", node.gradient)] if node.gradient else []
    return tag("g", *tip, frame, *rows)


_BOLD = {"font_weight": "bold"}
_STYLE = (
    "svg a{text-decoration:none}tr:target{outline:2px solid var(--ink)}"
    "td pre{margin:0;white-space:pre-wrap;width:40rem}"
)


def graph_page(graph: Graph) -> str:
    """A page with the picture, what each node keeps, and how its gradients are computed."""
    text = (
        "Forward runs from top to bottom, gradients flow upwards. A box leads to its row below. Bytes of a "
        "storage that several nodes keep count at the first of them; leaves, which would be there anyway, do "
        "not."
    )
    head = ("", "op", "shape", "inputs", "saved for backward", "gradient")
    rows = [tag("tr", *[tag("th", word, scope="col") for word in head])]
    rows += [_row(node) for node in graph.nodes]
    return page(
        f"The graph behind {len(graph.outputs)} tensor{'s' * (len(graph.outputs) > 1)}",
        tag("p", text),
        tag("div", graph_picture(graph, links=True), class_="scroll"),
        tag("div", tag("table", *rows), class_="scroll"),
        style=_STYLE,
    )


def _row(node: GraphNode) -> Html:
    inputs = ", ".join([f"{name} ← {number}" for name, number, _ in node.inputs])
    saved = [
        f"{s.name} {s.shape}: {s.nbytes:,} bytes" + ("" if s.counted else ", held by others, too")
        for s in node.saved
    ]
    state = saved if node.state == "recorded" else [*saved, node.state]
    cells = [node.name, ", ".join(map(str, node.shapes)), inputs, "\n".join(state)]
    where = [node.where] if node.where else []
    return tag(
        "tr",
        tag("td", str(node.number), class_="number"),
        *[tag("td", cell) for cell in cells],
        tag("td", tag("pre", "\n".join([node.gradient, *where]))),
        id=f"node{node.number}",
    )
