"""A trace as one page: each station with its formula, its shape and its numbers as colors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpt.interpret.heat_map import heat_map
from gpt.tokenizers.tokenizer import Tokenizer
from tinytensor.lab.html import Html, heat, page, tag, visible

if TYPE_CHECKING:
    from gpt.interpret.trace import Station, Trace

__all__ = ["trace_page"]

Array = npt.NDArray[Any]
SHOWN = 32  # rows and columns of a picture; of a vocabulary, the likeliest of the last token
HEADS = 8  # pictures of a station that has heads


def trace_page(result: Trace, tokenizer: Tokenizer, about: str = "") -> str:
    """All stations of a trace.

    Args:
        result: what `gpt.trace.trace` returned.
        tokenizer: of the model; names the columns of logits.
        about: the model, in words.

    Returns:
        A document of HTML that needs nothing else.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.models.gpt import GPT
        >>> from gpt.tokenizers.tokenizer import CharTokenizer
        >>> from gpt.interpret.trace import trace
        >>> tokenizer = CharTokenizer("ab")
        >>> model = GPT(GPTConfig(vocab_size=2, block_size=4, n_layer=1, n_head=1, n_embd=4))
        >>> trace_page(trace(model, tokenizer, "ab"), tokenizer).count("<section") > 10
        True
    """
    links = [tag("li", tag("a", s.name, href=f"#s{i}")) for i, s in enumerate(result.stations)]
    sections = [_section(f"s{i}", s, result.tokens, tokenizer) for i, s in enumerate(result.stations)]
    return page(
        f"The way of a text through a model: {result.text}",
        tag(
            "p",
            "Each station of the way shows how its numbers come about, and the numbers: one color above "
            "zero, another below, stronger for larger ones. Hover a cell for its number.",
        ),
        tag("p", about, class_="soft"),
        tag("details", tag("summary", f"{len(links)} stations"), tag("ol", *links)),
        *sections,
        _following(result),
    )


def _section(place: str, station: Station, tokens: tuple[str, ...], tokenizer: Tokenizer) -> Html:
    shape = ", ".join([f"{a} = {n}" for a, n in zip(station.axes, station.value.shape, strict=True)])
    return tag(
        "section",
        tag("h2", station.name),
        tag("p", tag("code", station.formula), tag("span", f"   ({shape})", class_="soft")),
        tag("div", *_pictures(station, tokens, tokenizer), class_="maps scroll"),
        tag("p", _left_out(station), class_="soft"),
        id=place,
    )


def _pictures(station: Station, tokens: tuple[str, ...], tokenizer: Tokenizer) -> list[Html]:
    """One picture, or one for each head."""
    value = station.value
    if value.dtype.kind == "i":
        heads = [tag("th", visible(t), scope="col") for t in tokens]
        return [tag("table", tag("tr", *heads), tag("tr", *[tag("td", str(n)) for n in value]))]
    if value.ndim == 3:
        parts = [(f"head {i}", value[i]) for i in range(min(len(value), HEADS))]
    else:
        parts = [(station.name, value.reshape(-1, value.shape[-1]))]
    most = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
    rows = [visible(t) for t in tokens[:SHOWN]] if value.ndim > 1 else [""]
    pictures = []
    for title, matrix in parts:
        columns = _columns(station.axes[-1], matrix)
        names = [_name(station.axes[-1], int(j), tokens, tokenizer) for j in columns]
        pictures.append(heat_map(matrix[: len(rows), columns], rows, names, title=title, most=most))
    return pictures


def _columns(axis: str, matrix: Array) -> Array:
    """The columns that are shown: the first, or of a vocabulary the largest of the last row."""
    if axis == "V":
        return np.argsort(-matrix[-1], kind="stable")[:SHOWN]
    return np.arange(min(matrix.shape[1], SHOWN))


def _name(axis: str, column: int, tokens: tuple[str, ...], tokenizer: Tokenizer) -> str:
    """The label of a column: a token of the vocabulary or of the text, else the number of the channel."""
    if axis == "V" and column < tokenizer.vocab_size:  # ids behind it only pad the vocabulary
        return visible(tokenizer.decode([column]))
    return visible(tokens[column]) if axis.startswith("T") else str(column)


def _left_out(station: Station) -> str:
    """What the pictures do not show, in words."""
    value = station.value
    if value.dtype.kind == "i":
        return ""
    limits = [HEADS, SHOWN, SHOWN][-value.ndim :]
    parts = [
        f"{limit} {'likeliest' if axis == 'V' else 'first'} of {n} along {axis}"
        for axis, n, limit in zip(station.axes, value.shape, limits, strict=True)
        if n > limit
    ]
    return f"Shown: the {', the '.join(parts)}." if parts else ""


def _following(result: Trace) -> Html:
    rows = [
        tag("tr", tag("th", visible(token), scope="row"), tag("td", f"{p:.2%}", **heat(p)))
        for token, p in result.following
    ]
    return tag("section", tag("h2", "The next token"), tag("table", *rows))
