"""`python -m tinytensor explain EXPR`: explains the memory layout of a tensor, call by call."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from typing import Any

from tinytensor.commands.json_output import write_json, write_page
from tinytensor.commands.options import parser
from tinytensor.lab.explain.explanation import explain_expression
from tinytensor.lab.explain.expression import MAKERS, METHODS, PROPERTIES
from tinytensor.lab.explain.steps import LayoutStep


def main(words: Sequence[str]) -> int:
    """Print the explanation, or write it to files."""
    options = _parser().parse_args(words)
    explanation = explain_expression(options.expression)
    write_page(options, options.svg, explanation.svg)
    write_page(options, options.html, explanation.html)
    if options.json:
        write_json("explain", steps=[_fields(step) for step in explanation.steps])
    elif options.svg is None and options.html is None:
        print(explanation.text(shutil.get_terminal_size((100, 24)).columns))
    return 0


def _fields(step: LayoutStep) -> dict[str, Any]:
    """Fields of one call: its effect, and the layout of its result."""
    layout = step.layout
    return {
        "call": step.call,
        "made": step.made,
        "buffer": step.buffer.number,
        "buffer_size": step.buffer.size,
        "dtype": step.buffer.dtype.name,
        "shape": layout.shape,
        "strides": layout.strides,
        "offset": layout.offset,
        "contiguous": layout.is_contiguous,
        "position": step.formula(step.letters),
    }


def _parser() -> argparse.ArgumentParser:
    made = parser(
        "explain",
        "Show how a tensor lies in memory, for each call of an expression. "
        f"It begins with {', '.join(MAKERS)}; {', '.join((*METHODS, *PROPERTIES))} and indices follow.",
        *("--html", "--json"),
    )
    made.add_argument("expression", help='for example "arange(12).reshape(3, 4).T[1:, ::2]"')
    made.add_argument("--svg", metavar="FILE", help="write a picture; with --html or --svg, no text")
    return made
