"""The replay on a page: `viewer.html` has its controls and panels, which the script fills."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tinytensor.lab.html import Html, tag
from tinytensor.lab.report import Report

SCRIPTS = ("model.js", "words.js", "panels.js", "viewer.js")


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def replay_report(
    title: str, launches: Sequence[dict[str, Any]], sources: Sequence[Html], *more: str
) -> Report:
    """Report of recorded launches.

    Args:
        title: the heading.
        launches: the results of `replay_data`.
        sources: the source of each launch, with `data-line` on its rows.
        more: what stands below.
    """
    if not launches:
        text = "There are no steps: no recorded thread read or wrote memory."
        return Report(title, (tag("p", text), *more))
    listings = "".join([tag("div", source, data_launch=i) for i, source in enumerate(sources)])
    body = Html(_file("viewer.html").replace("SOURCES", listings))
    script = "".join(map(_file, SCRIPTS))
    return Report(title, (body, *more), _file("viewer.css"), {"replay-data": list(launches)}, script)
