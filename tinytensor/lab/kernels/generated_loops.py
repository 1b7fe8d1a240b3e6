"""Shows the loops that a captured graph generates from elementwise ops of the CPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import tinytensor as tt
from tinytensor.errors import ArgumentError
from tinytensor.lab.html import View, preformatted, tag


@dataclass(repr=False)
class GeneratedLoops:
    """The generated loops of a captured graph, in its order; print them, or save their `html()`.

    Attributes:
        source: C++ source of all loops, `graph.source`.
        loops: the same in parts; each begins with a line that names its ops.
    """

    source: str
    loops: list[str]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loops)

    def __len__(self) -> int:
        return len(self.loops)

    def __getitem__(self, i: int) -> str:
        return self.loops[i]

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        return f"{len(self)} generated loop{'s' * (len(self) != 1)}; print them for their source"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return preformatted(str(self))

    def html(self) -> str:
        """Self-contained HTML page: the source of each loop, below the names of its ops."""
        return self.view().html()

    def view(self) -> View:
        """View for `lab.page`."""
        intro = "C++ generated from the captured elementwise ops; compiled at the tenth replay."
        parts = [loop.partition("\n") for loop in self]
        body = [x for head, _, code in parts for x in (tag("h2", head.strip("/ ")), preformatted(code))]
        return View("Loops of a captured graph", (tag("p", intro), *body))


def loops_of(graph: tt.CapturedGraph) -> GeneratedLoops:
    """The generated loops of a graph.

    Raises:
        ArgumentError: there is none.
    """
    if not graph.source:
        raise ArgumentError(
            f"kernel: {graph} has no generated loops",
            why="loops are generated on the CPU, from elementwise ops with a C++ formula"
            if graph.device.type == "cpu"
            else "they are generated on the CPU; on devices each kernel has a file",
            fix='lab.kernel("softmax", x) shows the kernels of an op',
        )
    return GeneratedLoops(graph.source, re.split(r"\n\n(?=// )", graph.source))
