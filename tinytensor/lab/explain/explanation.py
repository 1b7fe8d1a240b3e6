"""Explains the memory layout of a tensor or an expression, call by call."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from tinytensor.argument_checks import with_argument_errors
from tinytensor.device import cpu
from tinytensor.lab.explain import expression
from tinytensor.lab.explain.aliases import Alias, aliases_of
from tinytensor.lab.explain.picture import explanation_picture
from tinytensor.lab.explain.steps import FULL, LINE, SMALL, Buffer, LayoutStep, make_step
from tinytensor.lab.explain.text import buffer_text, elements_text, facts, summary, tree
from tinytensor.lab.html import Html, skip_link, tag
from tinytensor.lab.report import OnTerminal, Report, Shown, Table
from tinytensor.storage import Storage
from tinytensor.tensor import Tensor

INTRO = (
    "The buffer is memory as it is: one flat row, here cut into cache lines. Colored cells are elements of "
    "the tensor. Point at an element, or go to it with the Tab key, and its place lights up, in every step "
    "that reads the same buffer; a cell lights up its elements. A gap between cells begins a GPU's sector."
)


@dataclass(frozen=True, repr=False)
class Explanation(Shown):
    """A layout and its buffer, with the calls that led to it.

    Attributes:
        title: name of the explained object.
        steps: one for each call; the last one is explained.
        aliases: live tensors on the same storage, each owner with its views; empty if not collected.

    Example:
        >>> from tinytensor import lab
        >>> step = lab.explain(tt.arange(12).reshape(3, 4).T[1:, ::2]).steps[-1]
        >>> step.layout, step.reach.distinct, step.formula(("i", "j"))
        (Layout(shape=(3, 2), strides=(1, 8), offset=1), 6, '1 + i*1 + j*8')
    """

    title: str
    steps: tuple[LayoutStep, ...]
    aliases: tuple[Alias, ...] = ()

    def text(self, width: int = 100) -> str:
        """Text for the terminal of so many characters."""
        return self.report(max(width, 1)).text(max(width, 1))

    def svg(self) -> Html:
        """SVG picture."""
        return explanation_picture(self.title, self.steps)

    def report(self, width: int = 100) -> Report:
        """The picture, on a terminal elements and buffer; facts of the last step; live tensors on it."""
        last = self.steps[-1]
        parts: list[Table | str] = [OnTerminal("\n".join(textwrap.wrap(self.title, width)))]
        parts += [tag("p", INTRO), skip_link("#fact0", "To the facts")]
        parts += [tag("div", self.svg(), class_="scroll")]
        if len(self.steps) > 1:
            calls = [(i, s.call, s.made, summary(s.layout)) for i, s in enumerate(self.steps, 1)]
            parts += [Table(("", "call", "makes", "layout"), "rllw", calls)]
        parts += [OnTerminal(elements_text(last, width)), OnTerminal(buffer_text(last, width))]
        parts += [Table(("fact", "in words"), "lw", list(facts(last)), anchor="fact")]
        parts += ["\n".join(["live tensors on this buffer", *tree(self.aliases)])] * bool(self.aliases)
        return Report(self.title, parts)

    def __str__(self) -> str:
        return self.text()


@with_argument_errors
def explain(x: Tensor, *, values: bool = True) -> Explanation:
    """Explain the memory layout of a tensor: print it, or save the result of its `svg()` or `html()`.

    Args:
        values: read the displayed elements; from a device, this copies a few hundred values and synchronizes.
            With False, positions are shown in their place.

    Memory: holds no reference to x or its storage.

    Example:
        >>> from tinytensor import lab
        >>> print(lab.explain(tt.tensor([1.5, 2.5]).flip()).text().splitlines()[2])
        elements     positions in the buffer
    """
    storage = x.storage
    step = make_step("", "", _buffer_of(storage), x.layout, FULL, storage if values else None)
    return Explanation(_title(x), (step,), aliases_of(x))


def explain_expression(text: str) -> Explanation:
    """Explain an expression, such as "arange(12).reshape(3, 4).T[1:, ::2]", call by call; buffers are aligned
    to a cache line. It is not evaluated as Python: only an allowlist of calls is run.

    Example:
        >>> from tinytensor import lab
        >>> found = lab.explain_expression("zeros(2, 3).T.contiguous()")
        >>> [(step.call, step.made) for step in found.steps]
        [('zeros(2, 3)', 'new buffer'), ('.T', 'view'), ('.contiguous()', 'copy')]
    """
    steps: list[LayoutStep] = []
    storages: list[Storage] = []
    before: Tensor | None = None
    for call, x in expression.run(text):
        if before is None:
            made = "new buffer"
        elif x is before:
            made = "same tensor"
        else:
            made = "view" if x.storage is storages[-1] else "copy"
        if made in ("new buffer", "copy"):
            storages.append(x.storage)
        buffer = Buffer(len(storages) - 1, x.storage.size, x.dtype, str(x.device))
        steps.append(make_step(call, made, buffer, x.layout, FULL, x.storage))
        before = x
    return Explanation("".join([step.call for step in steps]), tuple(steps))


def tensor_fragment(x: Tensor) -> Html:
    """Notebook representation of a tensor; on a device without values: reading them would synchronize."""
    storage = x.storage
    step = make_step("", "", _buffer_of(storage), x.layout, SMALL, storage if storage.device is cpu else None)
    title = f"{_title(x)}: {x.dtype} on {x.device}"
    return Report("", (tag("div", explanation_picture(title, (step,)), class_="scroll"),)).fragment()


def _title(x: Tensor) -> str:
    return "tensor, requires_grad=True" if x.requires_grad else "tensor"


def _buffer_of(storage: Storage) -> Buffer:
    memory = storage.buffer
    address = memory.__array_interface__["data"][0] if storage.device is cpu else memory.ptr
    return Buffer(0, storage.size, storage.dtype, str(storage.device), address % LINE)
