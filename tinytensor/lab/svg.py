"""SVG pictures that can be embedded in a page or notebook, or saved as a file."""

from __future__ import annotations

from tinytensor.lab.html import DARK, LIGHT, Html, svg_style, tag

FONT = "11px ui-monospace, monospace"
HUES = 8  # distinguishable colors: classes hue0 … hue7
_DEGREES = (24, 215, 140, 330, 55, 270, 185, 0)
SCOPE = "tt-picture"  # scope of all rules, since pages and notebooks have other content


def _style(colors: dict[str, str], light: str) -> str:
    fills = {f"hue{i}": f"hsl({h} 70% {light})" for i, h in enumerate(_DEGREES)}
    fills |= {"soft": colors["soft"], "box": colors["line"]}
    lines = {"line": colors["line"], "edge": colors["ink"]}
    return "".join(
        [f".{SCOPE} .{name}{{fill:{color}}}" for name, color in fills.items()]
        + [f".{SCOPE} .{name}{{fill:none;stroke:{color}}}" for name, color in lines.items()]
    )


_PICTURE_STYLE = (
    svg_style(f".{SCOPE}")
    + f"{_style(LIGHT, '60%')}@media (prefers-color-scheme:dark){{{_style(DARK, '45%')}}}"
)


def px(number: float) -> str:
    """Length as text, rounded to a thousandth of a pixel.

    Example:
        >>> px(1 / 3), px(12.0)
        ('0.333', '12')
    """
    return f"{number:.3f}".rstrip("0").rstrip(".")


def svg(title: str, width: float, height: float, *children: Html, role: str = "img") -> Html:
    """SVG element with a heading, its style and namespace, in pixels; the top 24 are reserved for the
    heading. `role`: "group" if one may go into it, since screen readers leave out what is in an "img".
    """
    width = max(width, 7.3 * len(title) + 12)
    return tag(
        "svg",
        tag("title", title),
        tag("style", Html(_PICTURE_STYLE)),
        tag("text", title, x=6, y=14, style="font-weight:bold"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_=SCOPE,
        viewBox=f"0 0 {px(width)} {px(height)}",
        width=px(width),
        height=px(height),
        role=role,
        aria_label=title,
        style=f"font:{FONT}",
    )
