"""What a notebook shows of each object of the lab: markup that needs no page around it; and the markup of all
pages: escaped in text and attributes, legible in light and dark, without requests.
"""

import re
import xml.etree.ElementTree as ET
from html import unescape

import numpy as np
import pytest

import tinytensor as tt
from gpt.interpret.heat_map import heat_map
from tests.helpers.pages import TOKENS, parse
from tests.lab.conftest import Show
from tinytensor import lab
from tinytensor.errors import ArgumentError
from tinytensor.lab.html import DARK, LIGHT, SVG_STYLE, Html, heat, page, signed, tag, visible, write
from tinytensor.lab.report import Table

SVG = "{http://www.w3.org/2000/svg}"
BARE = re.compile(r"^<(?:tinytensor|generator|function)|^\w+\(\w+=")  # a repr that nobody wrote


def framed(shown):
    """The page in a frame."""
    return unescape(re.fullmatch(r'<iframe srcdoc="([^"]*)" [^<>]*></iframe>', shown)[1])


def loss():
    w = tt.ones(3, 2, requires_grad=True)
    return (tt.ones(4, 3) @ w).relu().sum()


def copies():
    with lab.trace_copies() as log:
        tt.zeros(2, 3).T.reshape(6)
    return log


def profile():
    with lab.profile() as p:
        tt.ones(4) + 1.0
    return p


def ledger():
    with lab.memory() as found:
        tt.ones(4)
    return found


def divergence():
    return lab.divergence(lambda device: tt.ones(4, device=device).exp(), "cpu", "emulated")


SHOWN = {
    "graph": lambda: lab.graph(loss()),
    "copies": copies,
    "profile": profile,
    "flame": lambda: profile().flame(),
    "ledger": ledger,
    "divergence": divergence,
    "kernels": lambda: lab.kernel("exp", tt.ones(40)),
    "launch": lambda: lab.kernel("exp", tt.ones(40))[0],
    "table": lambda: profile().table(by="line"),
    "page": lambda: lab.page(lab.graph(loss()), copies()),
    "explanation": lambda: tt.zeros(2, 3).T.explain(),
    "tensor": lambda: tt.zeros(2, 3).T,
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_markup_and_its_rules_stay_in_it(name):
    shown = SHOWN[name]()._repr_html_()
    if name in ("kernels", "page"):  # in a frame, where a page has its own rules
        parse(framed(shown))
        return
    document = parse(page("notebook", Html(shown)))
    own = document.all("style")[1:]  # the first one is that of the page
    classes = document.all("svg", class_="tt-picture")
    assert bool(own) == bool(classes or document.all("div", class_="tt-report"))
    for style in own:
        rules = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", style.text, flags=re.DOTALL)
        for selectors in re.findall(r"([^{}]+)\{[^}]*\}", rules):
            for selector in re.sub(r"\([^()]*\)", "", selectors).split(","):
                assert selector.strip().startswith((".tt-picture", ".tt-report")), selector
    for pre in document.all("pre"):  # Jupyter's own rule makes it proportional
        assert "font-family:ui-monospace,monospace" in pre.attributes["style"]
    if document.all("td") and document.all("div", class_="tt-report"):
        assert ":is(pre,td,th){font-family:ui-monospace,monospace}" in document.all("style")[1].text


UNOPENED = {name: getattr(lab, name) for name in ("trace_copies", "memory", "profile")}


@pytest.mark.parametrize("name", ["copies", "profile", "kernels", "explanation", "page", *UNOPENED])
def test_a_prompt_shows_words(name):
    shown = repr((SHOWN | UNOPENED)[name]())
    assert not BARE.search(shown)
    assert "object at" not in shown
    assert (name in UNOPENED) == (f"with lab.{name}(" in shown)


def test_a_page_shows_itself_and_is_text():
    made = lab.page(lab.graph(loss()), title="<Both>")
    assert framed(made._repr_html_()) == str(made)
    assert parse(made).all("h1")[0].text == "<Both>"
    assert len(repr(made)) < 100


def test_numbers_stand_below_each_other_and_empty_columns_are_left_out():
    table = Table(("op", "bytes", "why"), "lrw", [("<exp>", 4000, ""), ("matmul", 12, "")], "copies")
    assert str(table) == "copies\nop      bytes\n<exp>   4,000\nmatmul     12"
    document = parse(page("notebook", Html(table._repr_html_())))
    assert [[cell.text for cell in row.children] for row in document.all("tr")] == [
        ["op", "bytes"],
        ["<exp>", "4,000"],
        ["matmul", "12"],
    ]
    assert [cell.text for cell in document.all("td", class_="number")] == ["4,000", "12"]


def test_an_explanation_has_its_facts_in_a_notebook():
    x = tt.zeros(3, 4)
    document = parse(page("notebook", Html(x.T.explain()._repr_html_())))
    facts = dict([cell.text for cell in row.children] for row in document.all("tr")[1:])
    assert facts["contiguous"].startswith("no: axis 1 steps by 4, in C order it would step by 1")
    assert facts["element"] == "[i, j] is at 0 + i*1 + j*4"
    (tree,) = document.all("pre")
    assert "\nwithout a name  shape (3, 4)" in tree.text


@pytest.mark.parametrize("name", ["flame", "graph", "ledger", "explanation"])
def test_each_picture_is_a_document_when_written(name, tmp_path):
    made = {
        "flame": lambda: profile().flame(),
        "graph": lambda: lab.graph(loss()).svg(),
        "ledger": lambda: ledger().svg(),
        "explanation": lambda: tt.zeros(2, 3).T.explain().svg(),
    }[name]()
    path = tmp_path / "a.svg"
    write(path, made)
    root = ET.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    assert all(element.tag.startswith(SVG) for element in root.iter())
    assert ".frame{fill:none" in "".join([style.text for style in root.iter(f"{SVG}style")])


FILL = """["rect.frame", "svg text:not([style])"].map(
  chosen => getComputedStyle(document.querySelector(chosen)).fill)"""


def test_a_browser_draws_a_graph_in_a_notebook_and_in_a_file(show: Show):
    graph = lab.graph(loss())
    notebook = f"<!doctype html><body>{graph._repr_html_()}</body>"
    for text, name in ((notebook, "a.html"), (graph.svg(), "a.svg")):
        assert show(text, name).run(FILL) == ["none", "rgb(27, 29, 34)"], name


def test_one_page_has_a_tab_for_each_thing():
    with tt.cuda.check(record=True) as report:
        tt.ones(40, device="emulated") + 1.0
    things = [tt.zeros(2, 3).T.explain(), lab.graph(loss()), ledger(), profile(), copies(), report]
    page = parse(lab.page(*things, title="All"))
    labels = [label.text for label in page.all("label") if label.attributes.get("for", "").startswith("tab-")]
    views = [s for s in page.all("section") if s.attributes.get("class") == "view"]
    assert [view.all("h2")[0].text for view in views] == labels
    assert len(labels) == len(things)
    for words in ([], [report, report], [lab.kernel("exp", tt.ones(3)), report]):
        with pytest.raises(ArgumentError, match="at most one replay"):
            lab.page(*words)


def test_an_address_opens_the_tab_of_the_replay(show: Show):
    with tt.cuda.check(record=True) as report:
        tt.ones(40, device="emulated") + 1.0
    browser = show(lab.page(lab.graph(loss()), report))
    seen = "[...document.querySelectorAll('.view')].map(v => v.checkVisibility())"
    assert browser.run(seen) == [True, False]
    browser.run("document.getElementById('tab-1').click()")
    assert browser.run(seen) == [False, True]
    browser.run("document.getElementById('tab-0').click(), location.hash = '#step=0&x'")
    browser.wait("document.getElementById('tab-1').checked")


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
