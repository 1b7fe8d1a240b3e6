"""Flame graph: the call hierarchy from top to bottom, as boxes whose width is their time.

Boxes in a row are sorted by size, not by time: calls with the same path are summed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tinytensor.errors import ArgumentError
from tinytensor.lab.html import Html, tag
from tinytensor.lab.profiler.recorder import Call
from tinytensor.lab.svg import px, svg

WIDTH, ROW, LETTER = 1180.0, 18, 6.7  # pixels: width of the picture, height of a row, width of a character
LEAST = 0.4  # pixels; narrower boxes are not drawn

Frame = tuple[str, str]  # kind ("frame", "op" or "backward") and name


@dataclass
class Box:
    """Sum over all calls with the same call path: inclusive time, and calls of ops. Its kind is "frame" (a
    module or a line), "op", or "backward": gradients.
    """

    kind: str
    name: str
    seconds: float = 0.0
    calls: int = 0
    inside: dict[Frame, Box] = field(default_factory=dict)

    def add(self, frames: Iterable[Frame], seconds: float) -> None:
        """Add a call to the subtree."""
        box = self
        box.count(seconds)
        for frame in frames:
            box = box.inside.setdefault(frame, Box(*frame))
            box.count(seconds)

    def count(self, seconds: float) -> None:
        """Add the time of one call."""
        self.seconds += seconds
        self.calls += 1


def tree(calls: Iterable[Call], by: str = "module") -> Box:
    """Root box of the call hierarchy; see `Profile.flame`."""
    if by not in ("module", "line"):
        raise ArgumentError(
            f"flame: by={by!r}", why="boxes above ops are modules or lines", fix='by="module" or by="line"'
        )
    root = Box("frame", "all ops")
    for call in calls:
        seconds = call.own if call.device_seconds is None else call.device_seconds
        root.add(_frames(call, by), seconds)
    return root


def _frames(call: Call, by: str) -> Iterator[Frame]:
    outside = call.path if by == "module" else [f"{os.path.basename(f)}:{n}" for f, n in call.lines]
    for name in outside:
        yield "frame", name
    if call.backward:
        yield "backward", f"{call.node} backward" if call.node else "sums of gradients"
    chain = [call]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    for op in reversed(chain):
        yield "backward" if call.backward else "op", op.op


def flame(calls: Iterable[Call], by: str = "module") -> Html:
    """SVG flame graph; see `Profile.flame`."""
    root = tree(calls, by)
    boxes = list(_placed(root, WIDTH / root.seconds if root.seconds else 0.0))
    shapes = [shape for box in boxes for shape in _drawn(*box, root.seconds)]
    depth = 1 + max([row for _, _, row, _ in boxes], default=0)
    legend = "orange: forward; blue: backward; gray: " + ("modules" if by == "module" else "lines")
    height = 24 + ROW * depth + 24
    return svg(
        f"Where {_time(root.seconds)} in ops went, by {by}",
        WIDTH + 12,
        height,
        tag("g", *shapes, class_="cells"),
        tag("text", legend, x=6, y=height - 8, class_="soft"),
    )


def _placed(root: Box, scale: float) -> Iterator[tuple[Box, float, int, float]]:
    """Visible boxes with x, row and width, at `scale` pixels per second; iterative, as calls may nest."""
    stack = [(root, 6.0, 0)]
    while stack:
        box, x, row = stack.pop()
        width = box.seconds * scale
        if width < LEAST:
            continue
        yield box, x, row, width
        for inner in sorted(box.inside.values(), key=lambda b: -b.seconds):
            stack.append((inner, x, row + 1))
            x += inner.seconds * scale


_CLASSES = {"frame": ("box", 0.6), "op": ("plus", 0.45), "backward": ("minus", 0.45)}


def _drawn(box: Box, x: float, row: int, width: float, whole: float) -> Iterator[Html]:
    """A box, with its name if it fits at least in part."""
    y = 24 + ROW * row
    kind, opacity = _CLASSES[box.kind]
    about = f"{box.name}: {_time(box.seconds)}, {box.seconds / whole:.1%}, {box.calls:,} calls of ops"
    yield tag(
        "rect",
        tag("title", about),
        x=px(x),
        y=px(y),
        width=px(max(width - 0.5, LEAST)),
        height=ROW - 1,
        class_=kind,
        fill_opacity=opacity,
    )
    letters = int((width - 6) / LETTER)
    if letters >= 3:
        text = box.name if len(box.name) <= letters else box.name[: letters - 1] + "…"
        yield tag("text", text, x=px(x + 3), y=px(y + 13), pointer_events="none")


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
