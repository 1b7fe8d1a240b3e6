"""The replay on a page: controls, time line, threads and memory, which the script fills."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tinytensor.lab.html import Html, View, tag

_BUTTONS = (
    ("first", "|◀", "first step (Home)"),
    ("before", "◀▌", "the barrier before (shift and left arrow)"),
    ("back", "◀", "one step back (left arrow)"),
    ("play", "▶ play", "play and stop (space)"),
    ("next", "▶", "one step on (right arrow)"),
    ("after", "▐▶", "the next barrier (shift and right arrow)"),
    ("last", "▶|", "last step (End)"),
)
_LEGEND = (
    ("load", "R", "reads"),
    ("store", "W", "writes"),
    ("atomic", "A", "atomic"),
    ("idle", "–", "inactive lane"),
    ("meets", "·", "meets others"),
    ("written", "", "written before"),
    ("was-read", "", "read before"),
    ("moved", "", "moved with its sector, unused"),
    ("mark", "①②", "the two accesses of a finding"),
)
SCRIPTS = ("model.js", "words.js", "panels.js", "viewer.js")
_INTRO = (
    "A step is a request of a warp, a warp operation or a barrier. Warps are rows of the time line: blue is "
    "global memory, orange shared memory; low boxes read, high ones write; a wall is a barrier of the block. "
    "Between two barriers a GPU runs warps in any order, here they follow each other. Click on a cell or a "
    "thread for its whole history."
)


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def replay_view(title: str, launches: Sequence[dict[str, Any]], sources: Sequence[Html], *more: str) -> View:
    """View of recorded launches.

    Args:
        title: the heading.
        launches: the results of `replay_data`.
        sources: the source of each launch, with `data-line` on its rows.
        more: what stands below.
    """
    if not launches:
        return View(title, (tag("p", "There are no steps: no recorded thread read or wrote memory."), *more))
    panes = [
        tag(
            "div",
            tag(
                "div",
                *[tag("div", s, data_launch=i) for i, s in enumerate(sources)],
                class_="source",
                tabindex=0,
            ),
            tag("div", id="replay-details"),
        ),
        tag(
            "div",
            tag("h3", "Threads of the block"),
            tag("div", id="replay-threads"),
            tag("h3", "Memory"),
            tag("div", id="replay-memory"),
        ),
    ]
    body = (
        tag("p", _INTRO),
        tag(
            "div",
            tag(
                "section",
                tag("h3", "Findings"),
                tag("ol", id="replay-findings"),
                tag("p", id="replay-orders"),
            ),
            _choices(),
            tag("div", id="replay-timeline", class_="timeline"),
            tag("input", type="range", min=0, value=0, id="replay-slider", aria_label="step"),
            _buttons(),
            tag("div", id="replay-now", class_="now", aria_live="polite"),
            _legend(),
            tag("div", *panes, class_="panes"),
            class_="replay",
            id="replay-root",
        ),
        tag("noscript", "The replay needs JavaScript, which this page contains; the source below does not."),
        *more,
    )
    return View(
        title, body, _file("viewer.css"), {"replay-data": list(launches)}, "".join(map(_file, SCRIPTS))
    )


def _select(name: str, about: str, **options: str) -> Html:
    chosen = [tag("option", text, value=value) for value, text in options.items()]
    return tag("label", f"{about} ", tag("select", *chosen, id=f"replay-{name}"))


def _choices() -> Html:
    return tag(
        "div",
        _select("launch", "kernel"),
        _select("block", "of"),
        _select("order", "steps", warp="requests of warps", run="accesses in the order of the run"),
        _select("show", "cells show", thread="threads", value="values"),
        tag(
            "label",
            "find ",
            tag("input", type="text", id="replay-find", size=10, placeholder="s[5], thread 3"),
        ),
        tag("span", id="replay-cut", class_="soft"),
        class_="bar",
    )


def _buttons() -> Html:
    buttons = [
        tag("button", text, title=about, aria_label=about, data_action=action, id=f"replay-{action}")
        for action, text, about in _BUTTONS
    ]
    return tag("div", *buttons, tag("span", id="replay-count"), class_="bar")


def _legend() -> Html:
    marks = [tag("span", tag("b", letter, class_=kind), text) for kind, letter, text in _LEGEND]
    return tag("div", *marks, class_="legend")
