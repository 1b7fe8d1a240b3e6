"""What every page must be: well-formed, without foreign scripts and requests. `parse` checks it."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input"}
# How a script could ask for something.
REQUESTS = re.compile(
    r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|import|sendBeacon|Worker|eval)\b|https?:"
)
TOKENS = ["<script>alert(1)</script>", '"', "&amp;", " ", "\n", "\x1b", "é", "</title>", "'", "a"]


@dataclass
class Element:
    """A tag with what it holds."""

    name: str
    attributes: dict[str, str]
    text: str = ""  # of itself and all elements in it
    children: list["Element"] = field(default_factory=list)

    def all(self, name: str, **attributes: str) -> list["Element"]:
        """All elements of this name in it, with these attributes, in order."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        own = self.name == name and wanted.items() <= self.attributes.items()
        return [self] * own + [e for child in self.children for e in child.all(name, **attributes)]


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = [Element("document", {})]

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().name == tag

    def handle_data(self, data):
        for element in self.open:
            element.text += data


def parse(page):
    """The document of a page, checked."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    (document,) = parser.open  # every element was closed
    (policy,) = [m for m in document.all("meta") if m.attributes.get("http-equiv")]
    rules = "default-src 'none'; style-src 'unsafe-inline'"
    scripts = [s for s in document.all("script") if s.attributes.get("type") != "application/json"]
    for script in scripts:
        assert not script.attributes
        digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
        rules += f"; script-src 'sha256-{digest}'"
        assert not REQUESTS.search(script.text)
    assert len(scripts) <= 1
    assert policy.attributes["content"] == rules
    for name in ("img", "link", "iframe", "object", "base", "form"):
        assert not document.all(name), name
    style = "".join([s.text for s in document.all("style")])
    assert "url(" not in style
    assert "@import" not in style
    for element in every(document):
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert name not in ("href", "src", "xlink:href") or value.startswith("#")
    return document


def every(element):
    """An element and all below it."""
    return [element] + [e for child in element.children for e in every(child)]


class OddTokenizer:
    """A vocabulary of what pages must escape: one id for each of TOKENS."""

    vocab_size = len(TOKENS)
    separator = None

    def encode(self, text):
        return [int(digit) for digit in text]

    def decode(self, ids):
        return "".join([TOKENS[i] for i in ids])
