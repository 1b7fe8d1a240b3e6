"""Explanations as page, fragment and picture: well-formed, quiet, and what belongs together lights up."""

import importlib
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings

import tinytensor as tt
from tests.helpers.pages import parse
from tests.lab.conftest import Show
from tests.lab.test_expression import programs
from tinytensor import lab
from tinytensor.lab.explain.explanation import Explanation
from tinytensor.lab.html import page

SVG = "{http://www.w3.org/2000/svg}"
EXPRESSION = "arange(12).reshape(3, 4).T[1:, ::2]"
RULE = re.compile(r"\.tt-picture:has\(\.(b\d+p\d+):is\(:hover,:focus\)\) \.(b\d+p\d+) rect")


def fragment_in_page(x):
    return page("notebook", lab.html.Html(x._repr_html_()))


class Cell:
    """A cell of a picture: the position, what stands in it and in its tip, its color and place."""

    def __init__(self, g):
        rect, text, tip = g.children
        assert g.attributes["tabindex"] == "0"
        self.name = g.attributes["class"].removeprefix("at ")
        self.place = int(self.name.partition("p")[2])
        self.inside = rect.attributes["class"] == "minus"
        self.shade = float(rect.attributes["fill-opacity"])
        self.y = float(rect.attributes["y"])
        self.label, self.tip, self.below = text.text, tip.text, float(tip.attributes["y"])


def steps_of(document):
    """The cells of each step, in the order in which they are drawn: those with tips on one line."""
    cells = [Cell(g) for g in document.all("g") if g.attributes.get("class", "").startswith("at ")]
    found = {}
    for cell in cells:
        found.setdefault(cell.below, []).append(cell)
    return list(found.values())


def lit_names(document):
    """Names with a rule, each of which lights up itself."""
    found = RULE.findall("".join(style.text for style in document.all("style")))
    assert all(a == b for a, b in found)
    return {a for a, _ in found}


def cases():
    x = tt.arange(24, dtype=tt.float32).reshape(2, 3, 4)
    return {
        "transposed": x.permute(2, 0, 1),
        "backwards": x[:, ::-1, ::-2],
        "windows": tt.arange(8).unfold(0, 3, 1),
        "repeated": tt.arange(3, dtype=tt.int8).unsqueeze(1).expand(3, 4),
        "number": tt.tensor(2.5),
        "empty": tt.zeros(3, 0, 2),
        "axes": tt.arange(16).reshape(2, 1, 2, 2, 1, 2),
        "bool": tt.arange(9).reshape(3, 3) % 2 == 0,
        "complex": tt.tensor([[1 + 2j, 3j]]).T,
        "bfloat16": tt.arange(6, dtype=tt.bfloat16).reshape(2, 3).T,
        "leaf": tt.ones(2, 2, requires_grad=True),
        "large": tt.zeros(300, 300)[::3, 5:],
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("whole", [True, False], ids=["page", "fragment"])
def test_elements_and_cells_light_each_other(name, whole):
    x = cases()[name]
    document = parse(x.explain().html() if whole else fragment_in_page(x))
    cells = [cell for step in steps_of(document) for cell in step]
    assert {cell.name for cell in cells} == lit_names(document)
    assert all(cell.tip for cell in cells)
    if name == "large":
        return
    at = np.arange(x.storage.size)
    strides = [8 * stride for stride in x.strides]
    places = np.lib.stride_tricks.as_strided(at[x.offset :], x.shape, strides) if x.size else at[:0]
    buffer = cells[len(cells) - at.size :]
    shown, everything = [cell.place for cell in cells[: len(cells) - at.size]], places.ravel().tolist()
    assert shown == everything if len(shown) == x.size else set(shown) < set(everything)
    assert [cell.place for cell in buffer] == at.tolist()
    assert [cell.place for cell in buffer if cell.inside] == np.unique(places).tolist()


def test_the_page_has_a_step_for_each_call():
    document = parse(lab.explain_expression(EXPRESSION).html())
    texts = [text.text for text in document.all("text")]
    for said in (
        *("1  arange(12) (new buffer): shape (12,)  strides (1,)  offset 0", "[i, j] is at 1 + i*1 + j*8"),
        *("3  .T (view): shape (4, 3)  strides (1, 4)  offset 0", "buffer 0: 12 elements of 8 bytes"),
    ):
        assert said in texts
    steps = steps_of(document)
    assert len(steps) == 4
    for step in steps:  # the same buffer in each of them, so a number is followed through all
        assert len([cell for cell in step if cell.name == "b0p9"]) == 2
    (element,) = [cell for cell in steps[3] if cell.tip.startswith("[2, 1]")]
    assert (element.tip, element.label) == ("[2, 1]: 1 + 2*1 + 1*8 = 11; value 11", "11")
    (cell,) = [cell for cell in steps[3] if cell.tip.startswith("position 11:")]
    assert cell.tip == ("position 11: bytes 88 to 95 of the buffer, cache line 1, sector 2; read as [2, 1]")
    assert document.all("h1")[0].text == EXPRESSION


def test_a_copy_has_a_buffer_of_its_own():
    document = parse(lab.explain_expression("arange(4).reshape(2, 2).T.contiguous()").html())
    assert {cell.name[:2] for cell in steps_of(document)[-1]} == {"b1"}


def test_the_tree_of_live_tensors_is_on_the_page():
    document = parse(tt.zeros(2, 3)[1].explain().html())
    (tree,) = document.all("pre")
    assert tree.text.splitlines()[1:] == [
        "without a name  shape (2, 3)  strides (3, 1)  offset 0",
        "└─ without a name  shape (3,)  strides (1,)  offset 3  ← this one",
    ]


def test_titles_are_escaped():
    step = tt.zeros(2).explain().steps[0]
    hostile = Explanation("</title><script>alert(1)</script>", (step,))
    assert parse(hostile.html()).all("h1")[0].text == hostile.title
    assert next(ET.fromstring(hostile.svg()).iter(f"{SVG}title")).text == hostile.title
    parse(page("notebook", lab.html.Html(hostile._repr_html_())))


def test_a_fragment_is_small_and_leaves_the_device_alone(monkeypatch):
    x = tt.rand(1000, 1000)
    assert len(x._repr_html_()) < 60_000
    there = tt.arange(12, dtype=tt.float32).to("emulated").reshape(3, 4).T
    monkeypatch.setattr(importlib.import_module("tinytensor.lab.explain.steps"), "values", None)
    document = parse(fragment_in_page(there))
    assert "tensor: float32 on emulated" in document.text
    (step,) = steps_of(document)
    assert [c.label for c in step[:12]] == [str(p) for p in (0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)]


@pytest.mark.parametrize("name", cases())
def test_pictures_are_well_formed(name):
    x = cases()[name]
    root = ET.fromstring(x.explain().svg())
    assert root.get("role") == "group", "one goes into it"
    boxes = list(root.iter(f"{SVG}rect"))
    (step,) = x.explain().steps
    assert len(boxes) == len(step.positions())
    width, height = float(root.get("width")), float(root.get("height"))
    for box in boxes:
        assert float(box.get("x")) + float(box.get("width")) <= width
        assert float(box.get("y")) + float(box.get("height")) <= height
    assert not any("url(" in style.text for style in root.iter(f"{SVG}style"))


def test_colors_show_the_order_of_elements():
    """Elements get darker in their order, and each cell of the buffer is as dark as its element."""
    x = tt.arange(12)
    for view in (x.reshape(4, 3), x.reshape(3, 4).T, x[::-1], x[2:10:3]):
        (step,) = steps_of(parse(view.explain().html()))
        elements, cells = [[cell.shade for cell in part] for part in (step[: view.size], step[view.size :])]
        assert elements == sorted(set(elements))
        places = np.lib.stride_tricks.as_strided(
            np.arange(12)[view.offset :], view.shape, [8 * s for s in view.strides]
        )
        expected = dict(zip(places.ravel().tolist(), elements, strict=True))
        assert cells == [expected.get(p, 0.0) for p in range(12)]
    texts = [t for t in ET.fromstring(x.explain().svg()).iter(f"{SVG}text") if t.get("class") == "soft"]
    assert texts[0].text == "at 0"


@given(programs())
@settings(max_examples=30)
def test_any_expression_can_be_shown(text):
    explanation = lab.explain_expression(text)
    document = parse(explanation.html())
    assert {cell.name for step in steps_of(document) for cell in step} == lit_names(document)
    ET.fromstring(explanation.svg())
    assert max(map(len, explanation.text(60).splitlines())) <= 60


LIT = """[...document.querySelectorAll("[class*=b0p]")]
  .filter(e => getComputedStyle(e.querySelector("rect")).strokeWidth == "3px")
  .map(e => e.getAttribute("class").match(/b0p\\d+/)[0])"""


def test_in_a_browser_what_belongs_together_lights_up(show: Show):
    explanation = lab.explain_expression(EXPRESSION)
    for text, path in ((explanation.svg(), "a.svg"), (explanation.html(), "a.html")):
        browser = show(text, path)
        assert browser.run(LIT) == []
        for p in (0, 8, 9):
            places = 7 + (p == 9)  # a cell in each of four steps, an element in three or four
            for which in range(places):
                browser.point(f"document.querySelectorAll('.b0p{p} rect')[{which}]")
                assert browser.run(LIT) == [f"b0p{p}"] * places, (path, p, which)
    browser = show(explanation.html())
    browser.press_tab()
    assert browser.run("document.activeElement.textContent") == "To the facts"
    for p in range(12):
        browser.press_tab()
        assert set(browser.run(LIT)) == {f"b0p{p}"}
    browser.run("[...document.querySelectorAll('.b0p11')].at(-2).focus()")
    assert browser.run(LIT) == ["b0p11"] * 8
    tip = "document.activeElement.querySelector('.tip')"
    assert "[2, 1]: 1 + 2*1 + 1*8 = 11" in browser.run(f"{tip}.textContent")
    assert browser.run(f"getComputedStyle({tip}).opacity") == "1"
    seen = "document.documentElement.scrollWidth <= window.innerWidth"
    for width in (1200, 480, 320):
        show(explanation.html(), width=width)
        assert browser.run(seen)
