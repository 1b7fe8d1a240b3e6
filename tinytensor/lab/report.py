"""Reports: what the views of the lab return, and the one renderer that makes text, notebook output and pages.

A report is a title and parts: tables and text, which print; markup such as pictures, which does not; and text
that stands for a picture on a terminal.
"""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from tinytensor.errors import ArgumentError
from tinytensor.lab.html import Html, Page, frame, page, preformatted, tag

P = ParamSpec("P")
T = TypeVar("T")
Cell = str | int
SCOPE = "tt-report"  # scope of all rules in a notebook, which has other content
_NOTEBOOK_STYLE = (
    f".{SCOPE} :is(pre,td,th){{font-family:ui-monospace,monospace}}"
    f".{SCOPE} :is(td,th){{text-align:left;vertical-align:top;white-space:pre}}"
    f".{SCOPE} :is(td,th).number{{text-align:right}}.{SCOPE} td.wrapped{{white-space:pre-wrap}}"
)


@dataclass(frozen=True)
class Table:
    """Rows of text and integers below a head; a column in which all cells are empty is left out.

    Attributes:
        head: names of the columns.
        align: for each column "l" (left), "r" (right) or "w" (left, lines may be broken on a page).
        rows: cells, in the order of the columns; integers are shown with commas.
        caption: what stands above.
        anchor: on a page, row i is the target of links to `#{anchor}{i}`.

    Example:
        >>> print(Table(("op", "bytes", "why"), "lrl", [("exp", 4000, ""), ("matmul", 12, "")]))
        op      bytes
        exp     4,000
        matmul     12
    """

    head: Sequence[str]
    align: str
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    anchor: str = ""

    def _columns(self) -> tuple[list[str], str, list[list[str]]]:
        """Head, alignment and texts of the columns that have any."""
        texts = [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in self.rows]
        kept = [i for i in range(len(self.head)) if any(row[i] for row in texts)] or [*range(len(self.head))]
        align = "".join([self.align[i] for i in kept])
        return [self.head[i] for i in kept], align, [[row[i] for i in kept] for row in texts]

    def text(self, width: int = 0) -> str:
        """Text for the terminal; the last column is broken to fit `width`, if it may be and that is not 0."""
        head, align, rows = self._columns()
        lines = [head, *[[" ".join(cell.split("\n")) for cell in row] for row in rows]]
        *widths, last = [max(map(len, column)) for column in zip(*lines, strict=True)]
        if width and align[-1] == "w":
            last = max(min(last, width - sum(widths) - 2 * len(widths)), 12)
        printed = [self.caption] * bool(self.caption)
        for *cells, end in lines:
            for part in (textwrap.wrap(end, last) or [""]) if align[-1] == "w" else [end]:
                columns = zip([*cells, part], align, [*widths, last], strict=True)
                printed.append(
                    "  ".join([f"{c:{'>' if a == 'r' else '<'}{w}}" for c, a, w in columns]).rstrip()
                )
                cells = [""] * len(cells)
        return "\n".join(printed)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def markup(self) -> Html:
        """The `table` element, in one that scrolls."""
        head, align, rows = self._columns()
        kinds = [{"r": {"class_": "number"}, "w": {"class_": "wrapped"}}.get(a, {}) for a in align]
        lines = [tag("tr", *[tag("th", h, scope="col", **k) for h, k in zip(head, kinds, strict=True)])]
        for i, row in enumerate(rows):
            own = {"id": f"{self.anchor}{i}"} if self.anchor else {}
            lines.append(tag("tr", *[tag("td", c, **k) for c, k in zip(row, kinds, strict=True)], **own))
        caption = [tag("caption", self.caption)] * bool(self.caption)
        return tag("div", tag("table", *caption, *lines), class_="scroll")

    def _repr_html_(self) -> str:
        """Notebook representation."""
        return Report("", (self,)).fragment()


class OnTerminal(str):
    """Text that pages and notebooks leave out, since they have a picture."""

    __slots__ = ()


@dataclass(frozen=True)
class Report:
    """Tables and pictures under a title.

    Attributes:
        title: the heading.
        parts: tables; text, which is shown as it is; Html, which the text of the report leaves out;
            OnTerminal, which everything else leaves out.
        style: additional CSS rules of its page.
        data: what the script reads, by the id of its element.
        script: JavaScript, at most once on a page.
    """

    title: str
    parts: Sequence[Table | str]
    style: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    script: str = ""

    def text(self, width: int = 0) -> str:
        """Text for the terminal, in lines of at most `width` characters; 0: as long as they are."""
        parts = [p for p in self.parts if not isinstance(p, Html)]
        text = "\n\n".join([p.text(width) if isinstance(p, Table) else p for p in parts])
        cut = [line if len(line) <= width else f"{line[: width - 1]}…" for line in text.split("\n")]
        return "\n".join(cut) if width else text

    def body(self) -> list[Html]:
        """The parts as markup."""
        shown = [part for part in self.parts if not isinstance(part, OnTerminal)]
        return [
            p.markup() if isinstance(p, Table) else p if isinstance(p, Html) else preformatted(p)
            for p in shown
        ]

    def fragment(self) -> Html:
        """Markup for a notebook; what needs a script is in a frame."""
        if self.script:
            return frame(self.html())
        return tag("div", tag("style", Html(_NOTEBOOK_STYLE)), *self.body(), class_=SCOPE)

    def html(self, *, requests: bool = False) -> Page:
        """Self-contained page; `requests`: whether the script may send requests to the server of the page."""
        return page(
            self.title, *self.body(), style=self.style, data=self.data, script=self.script, requests=requests
        )


def check_counts(what: str, **counts: int) -> None:
    """ArgumentError if a count is below 1."""
    if min(counts.values()) < 1:
        said = ", ".join([f"{name} is {count}" for name, count in counts.items()])
        raise ArgumentError(f"{what}: {said}", why="a count is 1 or more", fix=f"for example {what}(rows=10)")


class Shown(ABC):
    """Base class of views: shows its report by `print`, in a notebook, and as a page."""

    @abstractmethod
    def report(self) -> Report:
        """Tables and pictures, for `lab.page`."""

    def html(self) -> str:
        """Self-contained HTML page; `lab.html.write` saves it."""
        return self.report().html()

    def __str__(self) -> str:
        return self.report().text()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Notebook representation."""
        return self.report().fragment()


def tabs(title: str, *reports: Report) -> Page:
    """Self-contained page with a tab for each report; the arrow keys go from one to the next."""
    parts: list[Html] = []
    for i, report in enumerate(reports):
        checked = {"checked": ""} if not i else {}
        parts += [tag("input", type="radio", name_="tab", id=f"tab-{i}", class_="tab", **checked)]
        parts += [tag("label", report.title, for_=f"tab-{i}")]
    parts += [tag("section", tag("h2", report.title), *report.body(), class_="view") for report in reports]
    shown = ",".join([f"#tab-{i}:checked~.view:nth-of-type({i + 1})" for i in range(len(reports))])
    style = "".join(dict.fromkeys(report.style for report in reports)) + f"{shown}{{display:block}}"
    data = {key: value for report in reports for key, value in report.data.items()}
    script = "".join(dict.fromkeys(report.script for report in reports))
    return page(title, tag("div", *parts, class_="tabs"), style=style, data=data, script=script)


class Block(Generic[T]):
    """A context manager that says how it is used where it is shown by itself, as in a cell of a notebook."""

    def __init__(self, name: str, manager: AbstractContextManager[T]) -> None:
        self._name, self._manager = name, manager

    def __enter__(self) -> T:
        return self._manager.__enter__()

    def __exit__(self, *raised: Any) -> bool | None:
        return self._manager.__exit__(*raised)

    def __repr__(self) -> str:
        return f"nothing was recorded yet: with lab.{self._name}(…) as result: …, then print(result)"


def block(function: Callable[P, Iterator[T]]) -> Callable[P, Block[T]]:
    """`contextlib.contextmanager` that returns a Block."""
    managed = contextmanager(function)

    @wraps(function)
    def opened(*args: P.args, **kwargs: P.kwargs) -> Block[T]:
        return Block(function.__name__, managed(*args, **kwargs))

    return opened
