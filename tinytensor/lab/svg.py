"""Pictures as SVG: an element that stands in a page, in a notebook, or alone in a file."""

from __future__ import annotations

from tinytensor.lab.html import DARK, LIGHT, Html, svg_style, tag

__all__ = ["HUES", "px", "svg"]

FONT = "11px ui-monospace, monospace"
HUES = 8  # colors that can be told apart: classes hue0 … hue7
_DEGREES = (24, 215, 140, 330, 55, 270, 185, 0)


_SCOPE = "tt-picture"  # all rules begin with it, since a notebook and a page hold other things, too


def _style(colors: dict[str, str], light: str) -> str:
    fills = {f"hue{i}": f"hsl({h} 70% {light})" for i, h in enumerate(_DEGREES)}
    fills |= {"soft": colors["soft"], "box": colors["line"]}
    lines = {"line": colors["line"], "edge": colors["ink"]}
    return "".join(
        [f".{_SCOPE} .{name}{{fill:{color}}}" for name, color in fills.items()]
        + [f".{_SCOPE} .{name}{{fill:none;stroke:{color}}}" for name, color in lines.items()]
    )


_PICTURE_STYLE = (
    svg_style(f".{_SCOPE}")
    + f"{_style(LIGHT, '60%')}@media (prefers-color-scheme:dark){{{_style(DARK, '45%')}}}"
)


def px(number: float) -> str:
    """A length, without digits that nobody sees.

    Example:
        >>> px(1 / 3), px(12.0)
        ('0.333', '12')
    """
    return f"{number:.3f}".rstrip("0").rstrip(".")


def svg(title: str, width: float, height: float, *children: Html) -> Html:
    """A picture with a heading.

    Args:
        title: what it shows, for the heading and for readers of the screen.
        width, height: in pixels.
        children: its shapes; the first 24 pixels from above are the heading's.

    Returns:
        One `svg` element with its style and its namespace.

    Example:
        >>> svg("nothing", 100, 24).startswith("<svg")
        True
    """
    width = max(width, 7.3 * len(title) + 12)
    return tag(
        "svg",
        tag("title", title),
        tag("style", Html(_PICTURE_STYLE)),
        tag("text", title, x=6, y=14, style="font-weight:bold"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_=_SCOPE,
        viewBox=f"0 0 {px(width)} {px(height)}",
        width=px(width),
        height=px(height),
        role="img",
        aria_label=title,
        style=f"font:{FONT}",
    )
