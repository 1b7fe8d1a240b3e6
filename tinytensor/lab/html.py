"""What all pages share: escaped markup, one style for light and dark, tips on hover and focus.

A page is one file. It has no script, and its policy forbids every request, so a token may be `<script>`.
Knows no model.
"""

from __future__ import annotations

import html
import re

from tinytensor.files import PathLike, atomic_write

__all__ = [
    "DARK",
    "LIGHT",
    "SVG_STYLE",
    "Html",
    "heat",
    "page",
    "preformatted",
    "signed",
    "skip_link",
    "svg_style",
    "tag",
    "visible",
    "write",
]

# paper and ink; soft ink and lines; plus and minus of colored numbers; most: the share of color behind text.
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1d22",
    "soft": "#59606d",
    "line": "#d9dce3",
    "plus": "#d9570f",
    "minus": "#2457d6",
    "most": "60%",
}
DARK = {
    "paper": "#15171c",
    "ink": "#eceef2",
    "soft": "#a9b1bf",
    "line": "#363c48",
    "plus": "#ff8f57",
    "minus": "#7aa5ff",
    "most": "40%",
}

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = {" ": "␣", "\n": "↵", "\t": "⇥"}


class Html(str):
    """Markup that stands as it is; any other string is text, and gets escaped.

    Example:
        >>> tag("p", "1 < 2", Html("<br>"))
        '<p>1 &lt; 2<br></p>'
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self


def tag(name: str, *children: str, **attributes: str | float) -> Html:
    """An element.

    Args:
        name: of the element.
        children: text, which is escaped, and Html, which is not.
        attributes: `class_` is class, and `data_tip` is data-tip.

    Returns:
        The element with its end tag.

    Example:
        >>> tag("b", "<script>", title='say "hi"')
        '<b title="say &quot;hi&quot;">&lt;script&gt;</b>'
    """
    words = [name] + [
        f'{key.rstrip("_").replace("_", "-")}="{_escape(str(value))}"' for key, value in attributes.items()
    ]
    inside = "".join([c if isinstance(c, Html) else _escape(c) for c in children])
    return Html(f"<{' '.join(words)}>{inside}</{name}>")


def _escape(text: str) -> str:
    """Text for HTML and XML; characters that no XML may hold become U+FFFD."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def preformatted(text: str) -> Html:
    """Lines of text as they are, in columns.

    Args:
        text: escaped here.

    Returns:
        One element, for a page or a notebook.

    Example:
        >>> preformatted("1 < 2")
        '<pre style="line-height:1.3;overflow-x:auto">1 &lt; 2</pre>'
    """
    return tag("pre", text, style="line-height:1.3;overflow-x:auto")


def skip_link(target: str, text: str) -> Html:
    """A link over many things that the Tab key stops at; seen when it has the focus.

    Args:
        target: "#" and the id of an element.
        text: where it leads.

    Returns:
        A paragraph.

    Example:
        >>> skip_link("#words", "To the words")
        '<p class="skip"><a href="#words">To the words</a></p>'
    """
    return tag("p", tag("a", text, href=target), class_="skip")


def visible(token: str) -> str:
    r"""A token as a label: spaces and line ends as marks, what does not print as its escape.

    Args:
        token: any text.

    Returns:
        Text without control characters, so that neither a terminal nor the direction of writing obeys it.

    Example:
        >>> visible(" the\n"), visible("\x1b[2J")
        ('␣the↵', '\\x1b[2J')
    """
    return "".join(
        [_MARKS.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode()) for c in token]
    )


def heat(value: float) -> dict[str, str]:
    """Attributes that color what stands behind a text.

    Args:
        value: 0 … 1; no color … the most.

    Returns:
        class and style.

    Example:
        >>> tag("td", "the", **heat(0.25))
        '<td class="heat" style="--v:0.25">the</td>'
    """
    return {"class_": "heat", "style": f"--v:{_part(value)}"}


def signed(value: float, most: float) -> dict[str, str]:
    """Attributes that color a shape of an SVG by a number: one color above 0, one below, none at 0.

    Args:
        value: the number.
        most: what gets the full color.

    Returns:
        class and fill-opacity.

    Example:
        >>> signed(-1.0, 4.0)
        {'class_': 'minus', 'fill_opacity': '0.25'}
    """
    kind = "minus" if value < 0 else "plus"
    return {"class_": kind, "fill_opacity": _part(abs(value) / most if most else 0.0)}


def _part(value: float) -> str:
    """A number between 0 and 1, with three decimals at most; what is no number has no color."""
    return f"{min(value, 1.0):.3g}" if value >= 0.0005 else "0"


def svg_style(scope: str) -> str:
    """Rules for the shapes of a picture, light and dark. In colors, not in variables, since not everything
    that draws an SVG knows those.

    Args:
        scope: a selector of the `svg` elements that they are for.

    Returns:
        CSS, each rule of which begins with the scope.

    Example:
        >>> svg_style("svg").startswith("svg{background:#ffffff}svg text{fill:#1b1d22}")
        True
    """
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
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .25rem}
p{margin:.25rem 0 1rem;max-width:48rem}.soft,caption,summary{color:var(--soft)}
code,pre,.tokens,td,th{font-family:ui-monospace,monospace}code{overflow-wrap:anywhere}
.tokens{white-space:pre-wrap;overflow-wrap:anywhere;line-height:2}
.scroll{overflow-x:auto}.maps{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
svg{max-width:none}
figure{margin:0}
table{border-collapse:collapse;font-size:.85rem}caption{text-align:left;padding:.25rem 0}
th,td{border:1px solid var(--line);padding:.2rem .45rem;text-align:left;white-space:pre}
th{font-weight:600}td.number{text-align:right}
.heat{background:color-mix(in srgb,var(--plus) calc(var(--v)*var(--most)),transparent)}
span.heat{border-radius:.2em;padding:.15em 0}
[data-tip]:hover,[data-tip]:focus{outline:2px solid var(--ink);outline-offset:-1px}
[data-tip]:hover::after,[data-tip]:focus::after{content:attr(data-tip);position:fixed;left:1rem;bottom:1rem;
  z-index:1;max-width:calc(100vw - 4rem);background:var(--ink);color:var(--paper);padding:.5rem .75rem;
  border-radius:.4rem;font:14px/1.4 ui-monospace,monospace;white-space:pre-wrap;text-align:left}
.skip{margin:0;height:0;overflow:hidden}.skip:focus-within{height:auto;margin-bottom:1rem}
section,details{margin-top:1rem}ol{columns:16rem}
a{color:inherit}summary{cursor:pointer}:focus-visible{outline:2px solid var(--minus)}
"""
)


def page(title: str, *body: str, style: str = "", images: bool = False) -> str:
    """A page that needs nothing but itself.

    Args:
        title: the heading.
        body: text, which is escaped, and Html.
        style: rules of CSS for this page alone.
        images: whether the body holds images, as data inside of it.

    Returns:
        A document of HTML.

    Example:
        >>> print(page("a < b", tag("p", "c"))[:32])
        <!doctype html>
        <html lang="en">
    """
    policy = f"default-src 'none'; style-src 'unsafe-inline'{'; img-src data:' if images else ''}"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"{tag('title', title)}\n<style>\n{_STYLE}{style}</style>"
    )
    main = tag("main", tag("h1", title), "\n", *body)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{main}\n</body>\n</html>\n'


def write(path: PathLike, text: str) -> None:
    """Write a page or a picture as a file that a browser shows; no reader ever sees half of it.

    Args:
        path: the file; its folder must exist.
        text: what a method called `html`, `svg`, `flame`, `roofline` or `threads` of the lab returned.

    Raises:
        SaveError: no such folder, no permission, no room.

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.html"
        >>> write(target, page("a"))
        >>> target.stat().st_size > 500
        True
    """
    with atomic_write(path) as file:
        file.write(text.encode())
