"""Attention maps: `python -m gpt attention RUN "text" --layer 0 --head 1 --html map.html`.

A map has a row per query token and a column per key token; the weights of a row sum to 1.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

import tinytensor as tt
from gpt.console import Parser, counted
from gpt.generation.candidates import Array
from gpt.interpret.activations import look_inside
from gpt.interpret.heat_map import WIDE, heat_map, picture
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.trained import open_model
from tinytensor.lab.html import Html, heat, page, tag, visible, write

OPENED = 32  # maps; of more, a layer is shown when it is opened, or a link leads there
MOST_CELLS = 400_000  # about 50 MB of SVG, near the limit of browsers


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of one head.

    Args:
        layer: index of the block.
        head: index of the head in it.
        tokens: T texts.
        weights: shape (T, T); row t has the weights of token t, 0 where masked.
    """

    layer: int
    head: int
    tokens: tuple[str, ...]
    weights: Array

    @property
    def title(self) -> str:
        """Layer and head as text."""
        return f"layer {self.layer}, head {self.head}"

    def strongest(self, row: int, count: int = 3) -> str:
        """Tokens with the highest weights of a row, with their positions and weights."""
        best = np.argsort(-self.weights[row, : row + 1], kind="stable")[:count]
        return ", ".join([f"{visible(self.tokens[j])} ({j}) {self.weights[row, j]:.1%}" for j in best])

    @property
    def place(self) -> str:
        """Id of its figure on a page."""
        return f"l{self.layer}h{self.head}"

    def to_previous(self) -> float:
        """Mean weight of the token before; 0 for a text of one token."""
        return float(np.diagonal(self.weights, -1).mean()) if len(self.weights) > 1 else 0.0

    def to_first(self) -> float:
        """Mean weight of the first token, from all others; 0 for a text of one token."""
        return float(self.weights[1:, 0].mean()) if len(self.weights) > 1 else 0.0

    def entropy(self) -> float:
        """Mean entropy of the rows in bits: 0 if each token attends to one position only."""
        p = self.weights[self.weights > 0]
        return float(-(p * np.log2(p)).sum() / len(self.weights)) + 0.0


def attention_maps(
    model: GPT, tokenizer: Tokenizer, text: str, *, layer: int | None = None, head: int | None = None
) -> list[AttentionMap]:
    """Attention maps of a text.

    Args:
        model: any GPT.
        tokenizer: its tokenizer.
        text: at least one token, at most the context.
        layer: index of one layer; None: all.
        head: index of one head; None: all.

    Raises:
        ArgumentError: the text has no tokens, or there is no such layer or head.
        ShapeError: the text is longer than the context.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> model = GPT(GPTConfig(vocab_size=3, block_size=8, n_layer=2, n_head=2, n_embd=4))
        >>> maps = attention_maps(model, CharTokenizer("abc"), "abca", head=1)
        >>> [m.title for m in maps], maps[0].weights.sum(1).round(3).tolist()
        (['layer 0, head 1', 'layer 1, head 1'], [1.0, 1.0, 1.0, 1.0])
    """
    for name, asked, count in (("layer", layer, model.config.n_layer), ("head", head, model.config.n_head)):
        if asked is not None and not 0 <= asked < count:
            raise tt.ArgumentError(
                f"attention: there is no {name} {asked}",
                why=f"the model has {count}, numbered from 0",
                fix=f"use --{name}={count - 1}, or leave it out for all",
            )
    inside = look_inside(model, tokenizer, text, attention=True)
    return [
        AttentionMap(i, j, inside.tokens, weights)
        for i, heads in enumerate(inside.weights)
        for j, weights in enumerate(heads)
        if layer in (None, i) and head in (None, j)
    ]


def attention_picture(maps: Sequence[AttentionMap]) -> str:
    """Maps as one SVG file.

    Returns:
        An SVG document with the maps below each other.

    Raises:
        ArgumentError: there are too many cells for a picture.

    Example:
        >>> "weighs" in attention_picture([AttentionMap(0, 0, ("a", "b"), np.tri(2))])
        False
    """
    return picture([_svg(m) for m in _not_too_many(maps)])


def attention_page(maps: Sequence[AttentionMap], about: str = "") -> str:
    """Maps as an HTML page: heat maps and tables.

    Raises:
        ArgumentError: there are too many cells for a page.

    Example:
        >>> attention_page([AttentionMap(0, 0, ("<b>", "</b>"), np.tri(2))]).count("<b>")
        0
    """
    layers = [list(group) for _, group in groupby(_not_too_many(maps), key=lambda m: m.layer)]
    text = "".join(maps[0].tokens) if maps else ""
    return page(
        f"Where each token looks: {text}",
        tag(
            "p",
            "A row for each token: how much it takes from itself and the tokens before it. "
            "Each row adds up to 1. Hover a cell for its number.",
        ),
        tag("p", about, class_="soft"),
        *([_overview(layers)] if len(maps) > 1 else []),
        *[_layer(group, opened=len(maps) <= OPENED) for group in layers],
        style=WIDE
        + "#overview td{padding:0}#overview a{display:block;padding:.2rem .45rem;text-decoration:none}",
    )


def _overview(layers: Sequence[Sequence[AttentionMap]]) -> Html:
    """Table of all heads, a row for each layer, which links to the maps."""
    heads = sorted({m.head for group in layers for m in group})
    rows = [tag("tr", tag("td"), *[tag("th", f"head {head}", scope="col") for head in heads])]
    for group in layers:
        cells = [
            tag(
                "td",
                tag("a", f"{m.entropy():.1f}", href=f"#{m.place}"),
                title=f"{m.title}: {m.entropy():.2f} bits; mean weight of the token before "
                f"{m.to_previous():.0%}, of the first token {m.to_first():.0%}",
                **heat(m.to_previous()),
            )
            for m in group
        ]
        rows.append(tag("tr", tag("th", f"layer {group[0].layer}", scope="row"), *cells))
    about = (
        "All heads: mean entropy of the rows in bits, 0 where each token looks at one place; the color is "
        "the mean weight of the token before."
    )
    return tag("div", tag("p", about), tag("table", *rows), class_="scroll", id="overview")


def _layer(maps: Sequence[AttentionMap], opened: bool) -> Html:
    """The maps of a layer, beside each other."""
    figures = [
        tag(
            "figure",
            _svg(m),
            tag("details", tag("summary", f"{m.title} in words ({m.entropy():.2f} bits)"), _table(m)),
            id=m.place,
        )
        for m in maps
    ]
    title = tag("summary", f"layer {maps[0].layer}: {counted(len(maps), 'head')}")
    shown = {"open": ""} if opened else {}
    return tag("details", title, tag("div", *figures, class_="maps"), **shown)


def _svg(m: AttentionMap) -> Html:
    labels = [visible(t) for t in m.tokens]
    shown = np.where(np.tri(len(labels), dtype=bool), m.weights, np.nan)  # mask of future tokens
    return heat_map(shown, labels, labels, title=m.title, most=1.0)


def _table(m: AttentionMap) -> Html:
    rows = []
    for i, token in enumerate(m.tokens):
        name = f"{visible(token)} ({i})"
        rows.append(tag("tr", tag("th", name, scope="row"), tag("td", m.strongest(i))))
    heads = [tag("th", name, scope="col") for name in ("token", "looks at")]
    return tag("div", tag("table", tag("caption", m.title), tag("tr", *heads), *rows), class_="scroll")


def _not_too_many(maps: Sequence[AttentionMap]) -> Sequence[AttentionMap]:
    cells = sum([m.weights.size // 2 for m in maps])
    if cells > MOST_CELLS:
        raise tt.ArgumentError(
            f"attention: {len(maps)} maps have {cells:,} cells",
            why=f"browsers render up to about {MOST_CELLS:,} of them in acceptable time",
            fix="choose a --layer, a --head, or a shorter text",
        )
    return maps


def render(maps: Sequence[AttentionMap]) -> str:
    """Maps as text: the highest weights of each token.

    Example:
        >>> print(render([AttentionMap(0, 0, ("a", "b"), np.array([[1, 0], [0.25, 0.75]]))]))
        layer 0, head 0   (0.41 bits)
          a (0)  a (0) 100.0%
          b (1)  b (1) 75.0%, a (0) 25.0%
    """
    lines = []
    for m in maps:
        names = [f"{visible(token)} ({i})" for i, token in enumerate(m.tokens)]
        width = max([len(name) for name in names])
        lines.append(f"{m.title}   ({m.entropy():.2f} bits)")
        lines += [f"  {name:<{width}}  {m.strongest(i)}" for i, name in enumerate(names)]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt attention RUN TEXT`."""
    args = _parser().parse_args(argv)
    kind = Path(args.out or "").suffix
    if args.out and kind not in (".svg", ".html"):
        raise tt.ArgumentError(
            f"attention: --out={args.out}",
            why="a map is written as .svg or as .html",
            fix=f"--out={args.out}.html",
        )
    files = ((args.html, ".html"), (args.svg, ".svg"), (args.out, kind))
    written = [(name, kind) for name, kind in files if name]
    model, tokenizer = open_model(args.run)
    maps = attention_maps(model, tokenizer, args.text, layer=args.layer, head=args.head)
    if not written:
        print(render(maps))
    about = f"{args.run}: {model.num_parameters():,} parameters"
    for name, kind in written:
        write(name, attention_picture(maps) if kind == ".svg" else attention_page(maps, about))
        print(f"wrote {name}: {counted(len(maps), 'map')} of {counted(len(maps[0].tokens), 'token')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m gpt attention", description="Show where each token looks.")
    parser.add_argument("run", help="run directory, for example runs/demo, or another model, such as smollm2")
    parser.add_argument("text", help='for example "The cat sat"')
    parser.add_argument("--layer", type=int, help="only this layer, from 0; default all")
    parser.add_argument("--head", type=int, help="only this head, from 0; default all")
    parser.add_argument("--html", metavar="FILE", help="write a page instead")
    parser.add_argument("--svg", metavar="FILE", help="write a picture instead")
    parser.add_argument("--out", metavar="FILE", help="one of both, by the end of its name: .html or .svg")
    return parser
