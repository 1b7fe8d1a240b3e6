"""Explanations as page, fragment and picture: well-formed, quiet, and what belongs together lights up."""

import importlib
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings

import tinytensor as tt
from tests.helpers.browser import CHROMIUM, Browser
from tests.helpers.pages import every, parse
from tests.lab.test_expression import programs
from tinytensor import lab
from tinytensor.lab.explain.explanation import Explanation
from tinytensor.lab.html import page
from tinytensor.layout import Layout

SVG = "{http://www.w3.org/2000/svg}"
EXPRESSION = "arange(12).reshape(3, 4).T[1:, ::2]"
RULE = re.compile(r"\.tt-layout:has\(\.(b\d+p\d+):is\(:hover,:focus\)\) \.(b\d+p\d+)")


def fragment_in_page(x):
    return page("notebook", lab.html.Html(x._repr_html_()))


def marks(element):
    return [name for name in element.attributes.get("class", "").split() if re.fullmatch(r"b\d+p\d+", name)]


def place_of(element):
    (name,) = marks(element)
    return int(name.partition("p")[2])


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
    elements = [td for td in document.all("td") if "in" in td.attributes.get("class", "").split()]
    named = [td for td in document.all("td") if marks(td)]
    assert all(td.attributes["tabindex"] == "0" for td in named)
    assert {m for td in named for m in marks(td)} == lit_names(document)
    assert bool(elements) == bool(x.size)
    tips = ["data-tip" if whole else "title"]
    assert all(td.attributes.get(tips[0]) for td in named)
    if name == "large":
        return
    at = np.arange(x.storage.size)
    strides = [8 * stride for stride in x.strides]
    places = np.lib.stride_tricks.as_strided(at[x.offset :], x.shape, strides) if x.size else at[:0]
    tables = {t.all("caption")[0].text.split()[0]: [] for t in document.all("table") if t.all("caption")}
    for table in document.all("table"):
        if table.all("caption"):
            found = [(place_of(td), td) for td in table.all("td") if marks(td)]
            tables[table.all("caption")[0].text.split()[0]] += found
    shown = [p for p, _ in tables.get("elements", [])]
    everything = places.ravel().tolist()
    assert shown == everything if len(shown) == x.size else set(shown) < set(everything)
    assert [p for p, _ in tables["buffer"]] == at.tolist()
    marked = [p for p, td in tables["buffer"] if "in" in td.attributes["class"].split()]
    assert marked == np.unique(places).tolist()


def test_the_page_has_a_step_for_each_call():
    document = parse(lab.explain_expression(EXPRESSION).html())
    sections = [s for s in document.all("section") if s.attributes.get("id", "").startswith("step-")]
    assert [s.all("h2")[0].all("code")[0].text for s in sections] == [
        "arange(12)",
        ".reshape(3, 4)",
        ".T",
        "[1:, ::2]",
    ]
    assert "shape (4, 3)  strides (1, 4)  offset 0" in sections[2].text
    for section in sections:  # the same buffer in each of them, so a number is followed through all
        assert len([td for td in section.all("td") if "b0p9" in marks(td)]) == 2
    (tip,) = {
        td.attributes["data-tip"]
        for td in sections[3].all("td")
        if td.attributes.get("data-tip", "").startswith("[2, 1]")
    }
    assert tip == "[2, 1]: 1 + 2*1 + 1*8 = 11\nvalue 11"
    (cell,) = [
        td for td in sections[3].all("td") if td.attributes.get("data-tip", "").startswith("position 11:")
    ]
    assert cell.attributes["data-tip"] == (
        "position 11: bytes 88 to 95 of the buffer, cache line 1, sector 2\nread as [2, 1]"
    )
    assert document.all("h1")[0].text == EXPRESSION


def test_a_copy_has_a_buffer_of_its_own():
    document = parse(lab.explain_expression("arange(4).reshape(2, 2).T.contiguous()").html())
    last = document.all("section", id="step-4")[0]
    assert {m[:2] for td in last.all("td") for m in marks(td)} == {"b1"}


def test_the_tree_of_live_tensors_is_on_the_page():
    document = parse(tt.zeros(2, 3)[1].explain().html())
    (tree,) = document.all("pre")
    assert tree.text.splitlines() == [
        "without a name  shape (2, 3)  strides (3, 1)  offset 0",
        "└─ without a name  shape (3,)  strides (1,)  offset 3  ← this one",
    ]


def test_titles_are_escaped():
    step = lab.explain_layout(Layout((2,), (1,), 0)).steps[0]
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
    assert "emulated" in document.all("p")[0].text
    assert [td.text for td in document.all("table")[0].all("td")] == [
        str(p) for p in (0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)
    ]


def test_a_device_is_read_when_asked():
    x = tt.tensor([[1.5, 2.5], [3.5, 4.5]]).to("emulated").T
    assert x.explain().steps[0].values == {0: "1.5", 1: "2.5", 2: "3.5", 3: "4.5"}
    assert x.explain().steps[0].buffer.device == "emulated"
    assert x.explain(values=False).steps[0].values == {}


@pytest.mark.parametrize("name", cases())
def test_pictures_are_well_formed(name):
    x = cases()[name]
    root = ET.fromstring(x.explain().svg())
    boxes = [r for r in root.iter(f"{SVG}rect") if r.get("class", "") != "frame"]
    (step,) = x.explain().steps
    assert len(boxes) == len(step.positions())
    width, height = float(root.get("width")), float(root.get("height"))
    for box in boxes:
        assert float(box.get("x")) + float(box.get("width")) <= width
        assert float(box.get("y")) + float(box.get("height")) <= height
        assert box[0].text
    assert not any("url(" in style.text for style in root.iter(f"{SVG}style"))


def shades(x):
    """Opacity of the elements and of the cells of the buffer, in the order in which they are drawn."""
    rects = [r for r in ET.fromstring(x.explain().svg()).iter(f"{SVG}rect") if r.get("class") != "frame"]
    opacity = [float(r.get("fill-opacity")) for r in rects]
    return opacity[: x.size], opacity[x.size :]


def test_colors_show_the_order_of_elements():
    """Elements get darker in their order, and each cell of the buffer is as dark as its element."""
    x = tt.arange(12)
    for view in (x.reshape(4, 3), x.reshape(3, 4).T, x[::-1], x[2:10:3]):
        elements, cells = shades(view)
        assert elements == sorted(set(elements))
        places = np.lib.stride_tricks.as_strided(
            np.arange(12)[view.offset :], view.shape, [8 * s for s in view.strides]
        )
        expected = dict(zip(places.ravel().tolist(), elements, strict=True))
        assert cells == [expected.get(p, 0.0) for p in range(12)]
    texts = [t for t in ET.fromstring(x.explain().svg()).iter(f"{SVG}text") if t.get("class") == "soft"]
    assert texts[0].text == "at 0"


def test_a_picture_says_where_elements_stand():
    said = [text.text for text in ET.fromstring(lab.explain_expression(EXPRESSION).svg()).iter(f"{SVG}text")]
    assert "3  .T (view): shape (4, 3)  strides (1, 4)  offset 0" in said
    assert "[i, j] is at 1 + i*1 + j*8" in said


@given(programs())
@settings(max_examples=30)
def test_any_expression_can_be_shown(text):
    explanation = lab.explain_expression(text)
    document = parse(explanation.html())
    assert {m for td in document.all("td") for m in marks(td)} == lit_names(document)
    ET.fromstring(explanation.svg())
    assert max(map(len, explanation.text(60).splitlines())) <= 60


def test_no_page_asks_for_anything():
    for name, x in cases().items():
        for text in (x.explain().html(), x.explain().svg(), x._repr_html_()):
            assert not re.search(
                r"(?i)\b(?:src|href)=[\"'](?!#)|url\(|@import|<script|https?://(?!www\.w3\.org/)", text
            ), name
        assert not [e for e in every(parse(x.explain().html())) if e.name in ("script", "img", "link")]


LIT = """[...document.querySelectorAll("[class*=b0p]")]
  .filter(e => getComputedStyle(e).outlineStyle == "solid" || getComputedStyle(e).strokeWidth == "3px")
  .map(e => e.getAttribute("class").match(/b0p\\d+/)[0])"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to look at the page with")
def test_in_a_browser_what_belongs_together_lights_up(tmp_path):
    explanation = lab.explain_expression(EXPRESSION)
    html, svg = tmp_path / "a.html", tmp_path / "a.svg"
    html.write_text(explanation.html(), encoding="utf-8")
    svg.write_text(explanation.svg(), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        for path in (html, svg):
            browser.open(path)
            assert browser.run(LIT) == []
            for p in (0, 8, 9):
                places = 7 + (p == 9)  # a cell in each of four steps, an element in three or four
                for which in range(places):
                    browser.point(f"document.querySelectorAll('.b0p{p}')[{which}]")
                    assert browser.run(LIT) == [f"b0p{p}"] * places, (path, p, which)
        browser.open(html)
        browser.press_tab()
        assert browser.run("document.activeElement.textContent") == "To the facts"
        for p in range(12):
            browser.press_tab()
            assert set(browser.run(LIT)) == {f"b0p{p}"}
        browser.run("document.querySelector('#step-4 td.b0p11').focus()")
        assert browser.run(LIT) == ["b0p11"] * 8
        said = "getComputedStyle(document.activeElement, '::after').content"
        assert "[2, 1]: 1 + 2*1 + 1*8 = 11" in browser.run(said)
        seen = "document.querySelector('.tt-layout').scrollWidth <= window.innerWidth"
        for width in (1200, 480, 320):
            browser.open(html, width=width)
            assert browser.run(seen)
