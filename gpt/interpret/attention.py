"""Attention maps: `python -m gpt attention RUN "text" --layer 0 --head 1 --html map.html`.

A map has a row per query token and a column per key token; the weights of a row sum to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

import tinytensor as tt
from gpt.console import counted
from gpt.generation.candidates import Array
from gpt.interpret.activations import look_inside, save_page, view_parser
from gpt.interpret.heat_map import WIDE, heat_map
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer
from tinytensor.lab.html import Html, heat, page, tag, visible
from tinytensor.lab.report import Table

OPENED = 32  # maps; of more, a layer is shown when it is opened, or a link leads there
MOST_CELLS = 400_000  # about 50 MB of SVG, near the limit of browsers


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights (T, T) of one head; row t has the weights of token t, 0 where masked."""

    layer: int
    head: int
    tokens: tuple[str, ...]
    weights: Array

    @property
    def title(self) -> str:
        """Layer and head as text."""
        return f"layer {self.layer}, head {self.head}"

    @property
    def place(self) -> str:
        """Id of its figure on a page."""
        return f"l{self.layer}h{self.head}"

    def strongest(self, row: int, count: int = 3) -> str:
        """Tokens with the highest weights of a row, with their positions and weights."""
        best = np.argsort(-self.weights[row, : row + 1], kind="stable")[:count]
        return ", ".join([f"{visible(self.tokens[j])} ({j}) {self.weights[row, j]:.1%}" for j in best])

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

    def in_words(self) -> Table:
        """The highest weights of each token."""
        rows = [(f"{visible(token)} ({i})", self.strongest(i)) for i, token in enumerate(self.tokens)]
        return Table(("token", "looks at"), "lw", rows, f"{self.title}   ({self.entropy():.2f} bits)")

    def svg(self) -> Html:
        """Heat map, without the masked future tokens."""
        labels = [visible(t) for t in self.tokens]
        shown = np.where(np.tri(len(labels), dtype=bool), self.weights, np.nan)
        return heat_map(shown, labels, labels, title=self.title, most=1.0)


def attention_maps(
    model: GPT, tokenizer: Tokenizer, text: str, *, layer: int | None = None, head: int | None = None
) -> list[AttentionMap]:
    """Attention maps of a text that fits into the context: of all layers and heads, or of one."""
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


def attention_page(maps: Sequence[AttentionMap], about: str = "") -> str:
    """Maps as an HTML page: heat maps and tables."""
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
            m.svg(),
            tag("details", tag("summary", f"{m.title} in words"), m.in_words().markup()),
            id=m.place,
        )
        for m in maps
    ]
    title = tag("summary", f"layer {maps[0].layer}: {counted(len(maps), 'head')}")
    shown = {"open": ""} if opened else {}
    return tag("details", title, tag("div", *figures, class_="maps"), **shown)


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
    """Maps as text: the highest weights of each token."""
    return "\n".join([str(m.in_words()) for m in maps])


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt attention RUN TEXT`."""
    parser = view_parser("attention", "Show where each token looks.", top=False)
    parser.add_argument("--layer", type=int, help="only this layer, from 0; default all")
    parser.add_argument("--head", type=int, help="only this head, from 0; default all")
    args = parser.parse_args(argv)
    model, tokenizer = require_tokenizer(load(args.run), "attention", args.run)
    maps = attention_maps(model, tokenizer, args.text, layer=args.layer, head=args.head)
    if args.html:
        save_page(args.html, attention_page(maps, f"{args.run}: {model.num_parameters():,} parameters"))
    else:
        print(render(maps))
    return 0
