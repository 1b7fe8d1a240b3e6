"""Explanations as HTML: a page, and a notebook fragment, with matching elements highlighted on hover.

Every node for a buffer position has a class named after the position, so one CSS rule for each position
highlights its elements and its cell, in all steps at once. There is no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinytensor.lab.explain.aliases import Alias
from tinytensor.lab.explain.facts import facts, summary, tip_of_cell, tip_of_element
from tinytensor.lab.explain.steps import Block, Element, LayoutStep, bracketed
from tinytensor.lab.explain.text import tree
from tinytensor.lab.html import Html, preformatted, skip_link, tag
from tinytensor.lab.report import Report

# Around what lights up together; all rules begin with it, since a notebook has many others.
CLASS = "tt-layout"
CELLS_OF_LINE = 32

_STYLE = """
.tt-layout{--in:#2457d6;--lit:#d9570f}
@media (prefers-color-scheme:dark){.tt-layout{--in:#7aa5ff;--lit:#ff8f57}}
.tt-layout p{margin:.25rem 0}
.tt-layout .pair{display:flex;flex-wrap:wrap;gap:.25rem 2rem;align-items:flex-start}
.tt-layout .scroll{overflow-x:auto;max-width:100%;padding:2px}
.tt-layout table{border-collapse:collapse;border:0;margin:.25rem 0;width:auto;
  font:13px/1.4 ui-monospace,monospace}
.tt-layout tr{background:none!important}
.tt-layout caption{caption-side:top;text-align:left;padding:0;color:inherit;opacity:.7;
  white-space:nowrap}
.tt-layout th,.tt-layout td{border:1px solid color-mix(in srgb,currentColor 25%,transparent);
  padding:.15em .45em;text-align:right;white-space:pre;font-weight:400}
.tt-layout th{border:0;opacity:.7}
.tt-layout td{min-width:var(--w)}
.tt-layout td.in{background:color-mix(in srgb,var(--in) var(--s),transparent);font-weight:600}
.tt-layout td.sector{border-left:2px solid currentColor}
.tt-layout td.gap{border:0;text-align:left;min-width:0}
.tt-layout .facts :is(th,td){text-align:left;vertical-align:top;white-space:pre-wrap}
"""
_LIT = (
    "background:color-mix(in srgb,var(--lit) 40%,transparent);"
    "outline:2px solid var(--lit);outline-offset:-2px"
)
_MADE = {
    "": "reads buffer",
    "new buffer": "new buffer",
    "view": "view of buffer",
    "copy": "copy into new buffer",
    "same tensor": "the same tensor: buffer",
}
_PAGE_STYLE = """
.facts td{white-space:normal}.facts th{vertical-align:top}
h2 code{font-size:1rem}
"""


def mark(step: LayoutStep, position: int) -> str:
    """CSS class of all nodes for a buffer position."""
    return f"b{step.buffer.number}p{position}"


def shade(step: LayoutStep, position: int) -> float:
    """Color intensity of an element by its index in the tensor, which shows the order in the buffer."""
    return 0.08 + 0.47 * step.order.get(position, 0.5)


def lit(steps: Iterable[LayoutStep], state: str, look: str) -> str:
    """CSS rule with the declarations `look` for all nodes of a class while one of them is in a state."""
    marks = dict.fromkeys([mark(s, p) for s in steps for p in s.positions()])
    selectors = [f".{CLASS}:has(.{name}{state}) .{name}" for name in marks]
    return ",".join(selectors) + f"{{{look}}}" if selectors else ""


def fragment(title: str, steps: Sequence[LayoutStep], *words: Html) -> Html:
    """Notebook fragment of an explanation; `words`: sections below the figures, see `in_words`."""
    last = steps[-1]
    about = f"{title}: {summary(last.layout)}  {last.buffer.dtype}  {last.buffer.device}"
    figures = []
    for step in steps:
        if step.call:
            figures.append(tag("p", tag("code", step.call)))
        figures.append(_figure(step, "title"))
    return _lighting(steps, tag("p", tag("code", about)), *figures, *words)


def in_words(steps: Sequence[LayoutStep], aliases: Sequence[Alias]) -> tuple[Html, Html]:
    """Sections below the figures: facts of the last step, and live tensors on its buffer."""
    shared = (tag("h2", "Live tensors on this buffer"), preformatted("\n".join(tree(aliases))))
    return _facts(steps[-1]), tag("section", *shared) if aliases else Html("")


def explanation_report(title: str, steps: Sequence[LayoutStep], aliases: Sequence[Alias]) -> Report:
    """Report of an explanation, whose last step is explained in full."""
    intro = (
        "The buffer is memory as it is: one flat row, here cut into cache lines. Colored cells are elements "
        "of the tensor: the stronger the color, the later in the tensor. Point at an element, or go to it "
        "with the Tab key, and its place lights up, in every step that reads the same buffer; a cell lights "
        "up its elements. A thick line begins a GPU's sector."
    )
    body = (
        tag("p", intro),
        skip_link("#facts", "To the facts"),
        _lighting(steps, *[_section(number, step) for number, step in enumerate(steps, 1)]),
        tag("h2", "In words", id="facts"),
        *in_words(steps, aliases),
    )
    return Report(title, body, _PAGE_STYLE)


def _lighting(steps: Sequence[LayoutStep], *children: Html) -> Html:
    """Element that scopes the highlighting, with its style."""
    style = _STYLE + lit(steps, ":is(:hover,:focus)", _LIT)
    return tag("div", tag("style", Html(style)), *children, class_=CLASS)


def _section(number: int, step: LayoutStep) -> Html:
    heading = [f"{number}  ", tag("code", step.call)] if step.call else ["The tensor"]
    about = f"{_MADE[step.made]} {step.buffer.number}: {summary(step.layout)}"
    return tag(
        "section",
        tag("h2", *heading),
        tag("p", about, class_="soft"),
        _figure(step, "data_tip"),
        id=f"step-{number}",
    )


# ---- one step ----------------------------------------------------------------------------------------------


def _figure(step: LayoutStep, tip: str) -> Html:
    """Tables of the elements and of the buffer; `tip` is the attribute for tooltips."""
    matrices = [_matrix(step, block, tip) if block else tag("p", "…") for block in step.blocks]
    return tag(
        "div",
        *[tag("div", matrix, class_="scroll") for matrix in matrices],
        tag("div", _buffer(step, tip), class_="scroll"),
        class_="pair",
    )


def _matrix(step: LayoutStep, block: Block, tip: str) -> Html:
    name = f"elements {bracketed([*block.lead, ':', ':'])}" if block.lead else "elements"
    rows = [_head(block)] if step.layout.ndim else []
    for row in block.rows:
        if row is None:
            rows.append(tag("tr", tag("th", "…")))
            continue
        first = next((e for e in row if e), None)
        label = str(first.index[-2]) if first and step.layout.ndim > 1 else ""
        cells = [_element(step, e, tip) if e else tag("td", "…", class_="gap") for e in row]
        rows.append(tag("tr", tag("th", label, scope="row"), *cells))
    return _table(step, name, rows)


def _table(step: LayoutStep, name: str, rows: Sequence[Html]) -> Html:
    """Table whose cells are all as wide as the widest."""
    letters = max([len(step.label(p)) for p in step.positions()], default=1)
    return tag("table", tag("caption", name), *rows, style=f"--w:{letters}ch")


def _head(block: Block) -> Html:
    """Header row: the indices along the last axis."""
    row = next((row for row in block.rows if row), ())
    heads = [tag("th", str(e.index[-1]) if e else "", scope="col") for e in row]
    return tag("tr", tag("th", ""), *heads)


def _element(step: LayoutStep, e: Element, tip: str) -> Html:
    said = {tip: tip_of_element(step, e)}
    look = {"class_": f"in {mark(step, e.position)}", "style": _shaded(step, e.position)}
    return tag("td", step.label(e.position), tabindex=0, **look, **said)


def _shaded(step: LayoutStep, position: int) -> str:
    return f"--s:{shade(step, position):.0%}"


def _buffer(step: LayoutStep, tip: str) -> Html:
    rows = []
    named = _names(step)
    for line in step.lines_of_cells(CELLS_OF_LINE):
        if isinstance(line, int):
            rows.append(
                tag("tr", tag("th", ""), tag("td", f"… {line} elements", class_="gap", colspan=CELLS_OF_LINE))
            )
            continue
        first = next(p for p in line if p is not None)
        cells = [tag("td", "", class_="gap") if p is None else _cell(step, p, named, tip) for p in line]
        rows.append(tag("tr", tag("th", str(first), scope="row"), *cells))
    start = step.buffer.start
    into = f", the first one {start} bytes into a cache line" if start and step.buffer.size else ""
    return _table(step, f"{step.buffer}{into}", rows)


def _cell(step: LayoutStep, position: int, named: dict[int, list[str]], tip: str) -> Html:
    inside = step.reach.covers(position)
    classes = [mark(step, position)] + ["in"] * bool(inside) + ["sector"] * step.begins_sector(position)
    said = {tip: tip_of_cell(step, position, named.get(position, []))}
    if inside:
        said["style"] = _shaded(step, position)
    label = step.label(position) + "?" * (inside is None)
    return tag("td", label, class_=" ".join(classes), tabindex=0, **said)


def _names(step: LayoutStep) -> dict[int, list[str]]:
    """Displayed indices that map to each position."""
    found: dict[int, list[str]] = {}
    for element in step.elements():
        found.setdefault(element.position, []).append(bracketed(element.index))
    return found


# ---- in words ----------------------------------------------------------------------------------------------


def _facts(step: LayoutStep) -> Html:
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", said)) for name, said in facts(step)]
    return tag("div", tag("table", *rows, class_="facts"), class_="scroll")
