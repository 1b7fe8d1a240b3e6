"""HTML building blocks: escaped markup, a style for light and dark mode, tooltips on hover and focus.

A page is one file, and its content security policy forbids every request and every script but its own, so a
token may be `<script>`. Independent of models.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping

from tinytensor.files import PathLike, atomic_write

# Name → color in light and in dark mode.
_COLORS = {
    "paper": ("#ffffff", "#15171c"),
    "ink": ("#1b1d22", "#eceef2"),
    "soft": ("#59606d", "#a9b1bf"),
    "line": ("#d9dce3", "#363c48"),
    "plus": ("#d9570f", "#ff8f57"),  # of colored numbers
    "minus": ("#2457d6", "#7aa5ff"),
    "most": ("60%", "40%"),  # the share of color behind text
}
LIGHT, DARK = ({name: colors[mode] for name, colors in _COLORS.items()} for mode in (0, 1))

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MONOSPACE = "ui-monospace,monospace"  # said by each element, as notebooks have another font in a `pre`
_MARKS = {" ": "␣", "\n": "↵", "\t": "⇥"}


class Html(str):
    """Markup, used verbatim; any other string is text and gets escaped.

    Example:
        >>> tag("p", "1 < 2", Html("<br>"))
        '<p>1 &lt; 2<br></p>'
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Notebook representation."""
        return self


class Page(Html):
    """A whole HTML document; in a notebook it is shown in a frame."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"a page of {len(self):,} characters; lab.html.write(path, page) saves it"

    def _repr_html_(self) -> str:
        """Notebook representation."""
        return frame(self)


def tag(name: str, *children: str, **attributes: str | float) -> Html:
    """HTML element; text in `children` is escaped, Html is not; `class_` is class, and `data_tip` data-tip.

    Example:
        >>> tag("b", "<script>", title='say "hi"')
        '<b title="say &quot;hi&quot;">&lt;script&gt;</b>'
    """
    words = [name] + [
        f'{key.rstrip("_").replace("_", "-")}="{_escape(str(value))}"' for key, value in attributes.items()
    ]
    inside = "".join([c if isinstance(c, Html) else _escape(c) for c in children])
    return Html(f"<{' '.join(words)}>" + ("" if name == "input" else f"{inside}</{name}>"))


def _escape(text: str) -> str:
    """Text escaped for HTML and XML; characters that XML forbids become U+FFFD."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def preformatted(text: str) -> Html:
    """Text in a `pre` element, for a page or a notebook."""
    return tag("pre", text, style=f"font-family:{_MONOSPACE};line-height:1.3;overflow-x:auto")


def frame(document: str) -> Html:
    """A whole page in a frame, for a notebook."""
    return tag("iframe", srcdoc=document, style="width:100%;height:60rem;border:0", title="page")


def skip_link(target: str, text: str) -> Html:
    """Link that skips many Tab stops; visible when focused."""
    return tag("p", tag("a", text, href=target), class_="skip")


def visible(token: str) -> str:
    """A token as a label without control characters: spaces and line ends as symbols, others as escapes."""
    return "".join(
        [_MARKS.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode()) for c in token]
    )


def heat(value: float) -> dict[str, str]:
    """Attributes for a background color: none at 0, full at 1."""
    return {"class_": "heat", "style": f"--v:{_part(value)}"}


def signed(value: float, most: float) -> dict[str, str]:
    """Attributes for the fill color of an SVG shape: one color above 0, one below; full at `most`."""
    kind = "minus" if value < 0 else "plus"
    return {"class_": kind, "fill_opacity": _part(abs(value) / most if most else 0.0)}


def _part(value: float) -> str:
    """Number clipped to [0, 1], with at most three decimals; 0 for nan."""
    return f"{min(value, 1.0):.3g}" if value >= 0.0005 else "0"


def svg_style(scope: str) -> str:
    """CSS rules for the `svg` elements of a scope, light and dark; some renderers lack CSS variables."""
    dark = _svg_rules(scope, DARK)
    return f"{_svg_rules(scope, LIGHT)}@media (prefers-color-scheme:dark){{{dark}}}"


def _svg_rules(scope: str, colors: dict[str, str]) -> str:
    return (
        f"{scope}{{background:{colors['paper']}}}{scope} text{{fill:{colors['ink']}}}"
        f"{scope} .plus{{fill:{colors['plus']}}}{scope} .minus{{fill:{colors['minus']}}}"
        f"{scope} .frame{{fill:none;stroke:{colors['line']}}}"
        f"{scope} .cells :hover{{stroke:{colors['ink']}}}"
    )


SVG_STYLE = svg_style("svg")


def _variables(colors: dict[str, str]) -> str:
    return ":root{" + "".join([f"--{name}:{value};" for name, value in colors.items()]) + "}"


_STYLE = (
    _variables(LIGHT)
    + f"@media (prefers-color-scheme:dark){{{_variables(DARK)}}}"
    + SVG_STYLE
    + """
:root{color-scheme:light dark}
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
  margin:0 auto;max-width:76rem;padding:1.5rem 1.5rem 7rem}
h1,h2{overflow-wrap:anywhere}h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .25rem}
p{margin:.25rem 0 1rem;max-width:48rem}.soft,caption,summary{color:var(--soft)}
code,pre,td,th{font-family:ui-monospace,monospace}code{overflow-wrap:anywhere}
.scroll{overflow-x:auto}.maps{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
svg{max-width:none}
figure{margin:0}
table{border-collapse:collapse;font-size:.85rem}caption{text-align:left;padding:.25rem 0}
th,td{border:1px solid var(--line);padding:.2rem .45rem;text-align:left;white-space:pre}
th{font-weight:600}.number{text-align:right}td.wrapped{white-space:pre-wrap;min-width:16rem;max-width:40rem}
.heat{background:color-mix(in srgb,var(--plus) calc(var(--v)*var(--most)),transparent)}
span.heat{border-radius:.2em;padding:.15em 0}
[data-tip]:hover,[data-tip]:focus{outline:2px solid var(--ink);outline-offset:-1px}
[data-tip]:hover::after,[data-tip]:focus::after{content:attr(data-tip);position:fixed;left:1rem;bottom:1rem;
  z-index:1;max-width:calc(100vw - 4rem);background:var(--ink);color:var(--paper);padding:.5rem .75rem;
  border-radius:.4rem;font:14px/1.4 ui-monospace,monospace;white-space:pre-wrap;text-align:left}
.skip{margin:0;height:0;overflow:hidden}.skip:focus-within{height:auto;margin-bottom:1rem}
section,details{margin-top:1rem}ol{columns:16rem}
.tabs>.view{display:none}.tabs>.view>h2:first-child{margin-top:1rem}
.tabs>label{display:inline-block;padding:.3rem .8rem;border-bottom:3px solid var(--line);cursor:pointer}
.tabs>input{position:absolute;opacity:0}.tabs>:checked+label{border-color:var(--ink);font-weight:600}
.tabs>:focus-visible+label{outline:2px solid var(--minus)}
.bar{display:flex;flex-wrap:wrap;gap:.4rem .6rem;align-items:center;margin:.5rem 0}
.bar label,.bar .soft{font-size:.85rem;color:var(--soft)}
:is(button,select,input[type=text]){font:inherit;font-size:.85rem;color:inherit;
  background:var(--paper);
  border:1px solid var(--soft);border-radius:.3rem;padding:.15rem .5rem;max-width:100%}
a{color:inherit}summary{cursor:pointer}:focus-visible{outline:2px solid var(--minus)}
"""
)


def page(
    title: str,
    *body: str,
    style: str = "",
    data: Mapping[str, object] | None = None,
    script: str = "",
    requests: bool = False,
) -> Page:
    """Self-contained HTML page.

    Args:
        title: the heading.
        body: text, which is escaped, and Html.
        style: additional CSS rules.
        data: what the script reads, as JSON in an element with this id.
        script: JavaScript; the page's policy allows no other.
        requests: whether the script may send requests to the server of the page.

    Example:
        >>> print(page("a < b", tag("p", "c"))[:32])
        <!doctype html>
        <html lang="en">
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    if requests:
        policy += "; connect-src 'self'"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"{tag('title', title)}\n<style>\n{_STYLE}{style}</style>"
    )
    ends = [
        Html(f'<script type="application/json" id="{_escape(name)}">{text}</script>')
        for name, value in (data or {}).items()
        for text in [json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")]
    ]
    if script:
        ends.append(Html(f"<script>{script}</script>"))
    main = tag("main", tag("h1", title), "\n", *body, *ends)
    return Page(
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{main}\n</body>\n</html>\n'
    )


def write(path: PathLike, text: str) -> None:
    """Write a page or a picture to a file atomically; SaveError without directory, permission or space."""
    with atomic_write(path) as file:
        file.write(text.encode())
