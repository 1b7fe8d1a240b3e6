"""What the profiler leaves: pictures and a page."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.pages import parse
from tests.lab.test_profiler_devices import profiled
from tinytensor import lab
from tinytensor.errors import ArgumentError
from tinytensor.lab.profiler.flame import tree


def test_boxes_are_as_wide_as_their_time() -> None:
    p = profiled()
    for by in ("module", "line"):
        root = tree(p.calls, by)
        assert root.seconds == pytest.approx(sum(c.own for c in p.calls))
        boxes = [root]
        while boxes:
            box = boxes.pop()
            assert sum(inner.seconds for inner in box.inside.values()) <= box.seconds * (1 + 1e-9)
            boxes += box.inside.values()
    image = ET.fromstring(p.flame())
    rows: dict[str, list[tuple[float, float]]] = {}
    for rect in image.iter("{http://www.w3.org/2000/svg}rect"):
        rows.setdefault(rect.attrib["y"], []).append((float(rect.attrib["x"]), float(rect.attrib["width"])))
    assert len(rows) >= 4  # all, Two, h.0, linear
    for boxes_of_row in rows.values():
        for (x, width), (after, _) in pairwise(sorted(boxes_of_row)):
            assert x + width <= after + 0.01
    with pytest.raises(ArgumentError, match="by='op'"):
        p.flame("op")


def test_dots_stand_where_their_numbers_say() -> None:
    p = profiled()
    image = ET.fromstring(p.roofline())
    circles = list(image.iter("{http://www.w3.org/2000/svg}circle"))
    shown = {op.name: op for op in p.groups() if op.flops and op.busy}
    assert len(circles) == len(shown)
    places = {}
    for circle in circles:
        (title,) = circle
        places[(title.text or "").partition(":")[0]] = float(circle.attrib["cx"]), -float(circle.attrib["cy"])
    names = sorted(shown)
    for i, value in enumerate([lambda op: op.flops / op.nbytes, lambda op: op.flops / op.busy]):
        logs = np.log10([value(shown[name]) for name in names])
        pixels = np.array([places[name][i] for name in names])
        slope, start = np.polyfit(logs, pixels, 1)
        assert slope > 0
        np.testing.assert_allclose(pixels, slope * logs + start, atol=0.01)


def test_the_page_is_whole() -> None:
    p = profiled()
    assert len(repr(p)) < 400  # not every call
    document_ = parse(p.html())
    assert len(document_.all("svg")) == 3
    assert "of matmul" in document_.text


def test_a_program_that_calls_deeply_has_a_flame() -> None:
    def grow(x: tt.Tensor, depth: int) -> tt.Tensor:
        return grow(x + 1.0, depth - 1) if depth else x

    with lab.profile() as p:
        grow(tt.ones(2), 700)
    root = ET.fromstring(p.flame("line"))
    rows = {rect.attrib["y"] for rect in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert len(rows) > 100  # of 700: the innermost calls take too small a part to be seen
