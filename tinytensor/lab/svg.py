"""Pictures as SVG: one element for a page, or a file of its own."""

from __future__ import annotations

from .html import DARK, LIGHT, SVG_STYLE, Html, tag

__all__ = ["HUES", "document", "px", "svg"]

FONT = "11px ui-monospace, monospace"
HUES = 8  # colors that can be told apart: classes hue0 … hue7
_DEGREES = (24, 215, 140, 330, 55, 270, 185, 0)


def _style(colors: dict[str, str], light: str) -> str:
    hues = "".join([f".hue{i}{{fill:hsl({h} 70% {light})}}" for i, h in enumerate(_DEGREES)])
    return f"{hues}.soft{{fill:{colors['soft']}}}.line{{fill:none;stroke:{colors['line']}}}" + (
        f".edge{{fill:none;stroke:{colors['ink']}}}.box{{fill:{colors['line']}}}"
    )


_PICTURE_STYLE = f"{_style(LIGHT, '60%')}@media (prefers-color-scheme:dark){{{_style(DARK, '45%')}}}"


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
        One `svg` element.

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
        viewBox=f"0 0 {px(width)} {px(height)}",
        width=px(width),
        height=px(height),
        role="img",
        aria_label=title,
        style=f"font:{FONT}",
    )


def document(picture: Html) -> str:
    """A picture as a file.

    Args:
        picture: one `svg` element.

    Returns:
        A document of SVG.

    Example:
        >>> document(svg("nothing", 100, 24))[:5]
        '<?xml'
    """
    head = f'<svg xmlns="http://www.w3.org/2000/svg"><style>{SVG_STYLE}</style>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_sized(head, picture)}{picture}</svg>\n'


def _sized(head: str, picture: Html) -> str:
    """The outer element is as large as the picture in it."""
    box = picture.split('viewBox="', 1)[1].split('"', 1)[0]
    _, _, width, height = box.split()
    return head.replace("<svg", f'<svg viewBox="{box}" width="{width}" height="{height}"', 1)
