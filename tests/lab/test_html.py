"""The markup of all pages: escaped in text and attributes, legible in light and dark, without requests."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gpt.interpret.heat_map import heat_map
from tests.helpers.pages import TOKENS, parse
from tinytensor.lab.html import DARK, LIGHT, SVG_STYLE, Html, heat, page, signed, tag, visible, write


@pytest.mark.parametrize("token", [*TOKENS, "\x00", "\ufffe", "]]>", "<!--", "\u202e", "&#60;"], ids=ascii)
def test_any_token_stands_as_itself_in_text_and_attributes(token):
    document = parse(page(token, tag("p", token, title=token), token))
    written = re.sub("[\x00\x1b\ufffe]", "\ufffd", token)
    (p,) = document.all("p")
    assert p.text == written
    assert p.attributes["title"] == written
    assert document.all("title")[0].text == written
    root = ET.fromstring(heat_map(np.eye(1), [token], [token], title=token))  # XML is stricter
    assert root[0].text == written


def test_markup_is_not_escaped_twice():
    assert tag("p", tag("b", "<"), "<", Html("<br>")) == "<p><b>&lt;</b>&lt;<br></p>"
    assert not isinstance(Html("a") + "<b>", Html)  # a sum is text again


def test_labels_obey_nobody():
    for code in [*range(0x300), 0x200B, 0x202E, 0x2066, 0xFEFF, 0xFFFD]:
        label = visible(chr(code))
        assert label
        assert label.isprintable()
    assert visible("a b\nc\td") == "a␣b↵c⇥d"


def luminance(color):
    channels = np.array(color) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    """As the guidelines for accessible pages (WCAG 2.2) define it; 4.5 is what text needs."""
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_legible_on_any_color(colors):
    rgb = {k: [int(v[i : i + 2], 16) for i in (1, 3, 5)] for k, v in colors.items() if v.startswith("#")}
    assert contrast(rgb["ink"], rgb["paper"]) > 12
    assert contrast(rgb["soft"], rgb["paper"]) > 4.5
    share = float(colors["most"].rstrip("%")) / 100
    behind = share * np.array(rgb["plus"]) + (1 - share) * np.array(rgb["paper"])
    assert contrast(rgb["ink"], behind) > 4.5


def test_colors_follow_the_numbers():
    styles = [heat(v)["style"] for v in (0.0, 1e-9, 0.5, 1.0, 7.0, float("nan"))]
    assert styles == ["--v:0", "--v:0", "--v:0.5", "--v:1", "--v:1", "--v:0"]
    assert signed(3.0, 4.0) == {"class_": "plus", "fill_opacity": "0.75"}
    assert signed(-8.0, 4.0) == {"class_": "minus", "fill_opacity": "1"}
    assert signed(0.0, 0.0)["fill_opacity"] == "0"


def test_a_map_shows_every_number_in_its_place():
    values = np.array([[1.0, -2.0, np.nan], [0.0, 0.5, 4.0]])
    (svg,) = parse(page("a", heat_map(values, ["p", "q"], ["x", "y", "z"], title="numbers"))).all("svg")
    cells = svg.all("g")[0].all("rect")
    assert [c.text for c in cells] == ["p → x: 1", "p → y: -2", "q → x: 0", "q → y: 0.5", "q → z: 4"]
    assert [c.attributes["class"] for c in cells] == ["plus", "minus", "plus", "plus", "plus"]
    assert [float(c.attributes["fill-opacity"]) for c in cells] == [0.25, 0.5, 0, 0.125, 1]
    xs, ys = ([float(c.attributes[axis]) for c in cells] for axis in "xy")
    assert [round((x - xs[0]) / 18) for x in xs] == [0, 1, 0, 1, 2]
    assert [round((y - ys[0]) / 18) for y in ys] == [0, 0, 1, 1, 1]
    width, height = (float(svg.attributes[k]) for k in ("width", "height"))
    assert max(xs) + 16 < width
    assert max(ys) + 16 < height


def test_files_are_written_whole(tmp_path):
    write(tmp_path / "a.html", page("é"))
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page("é")
    assert "url(" not in SVG_STYLE
