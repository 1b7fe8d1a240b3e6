"""Loss of each token of a text: `python -m gpt loss-map RUN "text"`.

Each token is colored by its loss, -ln of its probability: from no color at loss 0 to the full color at the
loss of a uniform distribution, ln V.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.console import Parser, colored_output, counted
from gpt.generation.candidates import Choices, choices, in_words, log_softmax, to_numpy, tokens_of
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.trained import open_model
from tinytensor.lab.html import Html, heat, page, skip_link, tag, visible, write

# Backgrounds of 256-color terminals, from pale to strong, for black text; none below the first.
_SHADES = [230, 223, 216, 209, 202]


@dataclass(frozen=True)
class TokenLoss:
    """Loss of a token given the tokens before it.

    Args:
        token: its text.
        loss: -ln of its probability, in nats.
        rank: number of more likely tokens, plus one.
        alternatives: most likely tokens at its position.
    """

    token: str
    loss: float
    rank: int
    alternatives: Choices

    @property
    def probability(self) -> float:
        """Probability that the model assigned to the token."""
        return math.exp(-self.loss)


@dataclass(frozen=True)
class LossMap:
    """Losses of all tokens of a text.

    Args:
        first: the first token, which has no loss.
        losses: of all other tokens.
        even: loss of the uniform distribution, ln V.
    """

    first: str
    losses: tuple[TokenLoss, ...]
    even: float

    def summary(self) -> str:
        """Mean loss, perplexity and top-1 accuracy, as text."""
        mean = sum([x.loss for x in self.losses]) / len(self.losses)
        right = sum([x.rank == 1 for x in self.losses]) / len(self.losses)
        return (
            f"{len(self.losses)} tokens: loss {mean:.3f} nats (guessing evenly: {self.even:.3f}), "
            f"perplexity {math.exp(mean):.2f}, first choice right {right:.1%}"
        )


def loss_map(model: GPT, tokenizer: Tokenizer, text: str, *, top: int = 5) -> LossMap:
    """Loss of each token of a text.

    A text longer than the context is processed in windows that overlap by half a context, so that every token
    has at least half a context before it, if the text has it.

    Args:
        model: any GPT; run in evaluation mode, which is restored afterwards.
        tokenizer: its tokenizer.
        text: at least two tokens.
        top: number of alternatives to keep.

    Raises:
        ArgumentError: fewer than two tokens, or a character unknown to the tokenizer.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> model = GPT(GPTConfig(vocab_size=3, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> len(loss_map(model, CharTokenizer("abc"), "abcabcabcabc").losses)
        11
    """
    ids = tokenizer.encode(text)
    if len(ids) < 2:
        raise tt.ArgumentError(
            f"loss_map: {counted(len(ids), 'token')}",
            why="the first token has no loss, since no token precedes it",
            fix="give a longer text",
        )
    tokens = tokens_of(tokenizer, ids)
    losses: list[TokenLoss] = []
    for start, end in _windows(len(ids) - 1, model.config.block_size):
        with model.evaluating():
            logits = model(tt.tensor([ids[start:end]], device=model.device))[0]
        new = log_softmax(to_numpy(logits))[len(losses) - start :]  # (tokens without a loss so far, V)
        for row in new:
            at = len(losses) + 1
            own = row[ids[at]]
            best = choices(np.exp(row), tokenizer, top)
            losses.append(TokenLoss(tokens[at], -float(own), 1 + int((row > own).sum()), best))
    return LossMap(tokens[0], tuple(losses), math.log(model.config.vocab_size))


def _windows(count: int, context: int) -> list[tuple[int, int]]:
    """Begin and end of the windows that cover `count` tokens."""
    ends = [min(context, count)]
    while ends[-1] < count:
        ends.append(min(ends[-1] + max(context // 2, 1), count))
    return [(max(0, end - context), end) for end in ends]


# ---- the terminal ----------------------------------------------------------------------------------------


def render(result: LossMap) -> str:
    """The text in terminal colors, with a legend.

    Returns:
        Text with escape sequences; those in the text itself are escaped.

    Example:
        >>> render(LossMap("a", (TokenLoss("b", 0.0, 1, ()),), 1.0)).splitlines()[0]
        'ab'
    """
    pieces = [_shown(result.first)]
    for x in result.losses:
        pieces.append(_shade(_shown(x.token), x.loss / result.even))
    steps = len(_SHADES) + 1
    legend = "".join([_shade(f" {math.exp(-result.even * k / steps):.1%} ", k / steps) for k in range(steps)])
    return f"{''.join(pieces)}\n\nprobability {legend}\n{result.summary()}"


def _shade(text: str, part: float) -> str:
    level = min(int(part * (len(_SHADES) + 1) + 1e-9), len(_SHADES))
    if level == 0:
        return text
    begin, end = f"\x1b[38;5;16;48;5;{_SHADES[level - 1]}m", "\x1b[0m"
    return "\n".join([f"{begin}{line}{end}" if line else "" for line in text.split("\n")])


def _shown(token: str) -> str:
    """Text of a token, with newlines marked and kept."""
    return visible(token).replace("␣", " ").replace("↵", "↵\n")


def render_table(result: LossMap) -> str:
    """Table with a line per token.

    Returns:
        Token, loss, probability, rank and alternatives, without colors.

    Example:
        >>> print(render_table(LossMap("a", (TokenLoss("b", 0.0, 1, (("b", 1.0),)),), 1.0)))
        token        loss       p   rank  likeliest
        b           0.000  100.0%      1  b 100.0%
        <BLANKLINE>
        1 tokens: loss 0.000 nats (guessing evenly: 1.000), perplexity 1.00, first choice right 100.0%
    """
    lines = [f"{'token':<10}{'loss':>7} {'p':>7}  {'rank':>5}  likeliest"]
    for x in result.losses:
        token, words = visible(x.token), in_words(x.alternatives)
        lines.append(f"{token:<10}{x.loss:7.3f} {x.probability:7.1%}  {x.rank:>5}  {words}")
    return "\n".join([*lines, "", result.summary()])


# ---- the page --------------------------------------------------------------------------------------------


def loss_page(result: LossMap, about: str = "") -> str:
    """HTML page of the text; hovering a token, or focusing it with the Tab key, shows its values.

    Example:
        >>> "<script>" in loss_page(LossMap("a", (TokenLoss("<script>", 0.0, 1, ()),), 1.0))
        False
    """
    spans = [_span(x, result.even) for x in result.losses]
    return page(
        "How much each token was expected",
        tag(
            "p",
            "The stronger the color, the less the model expected the token; the full color is what guessing "
            "evenly would give. Hover a token, or go to it with the Tab key, for its numbers.",
        ),
        tag("p", result.summary()),
        tag("p", about, class_="soft"),
        skip_link("#table", "To the table of all tokens"),
        tag("div", tag("span", _shown(result.first)), *spans, class_="tokens"),
        tag("details", tag("summary", "All tokens as a table"), _table(result), id="table"),
    )


def _span(x: TokenLoss, even: float) -> Html:
    tip = (
        f"{visible(x.token)}: probability {x.probability:.4g}, loss {x.loss:.4g}, rank {x.rank}\n"
        + "\n".join([f"{visible(token)}  {p:.4g}" for token, p in x.alternatives])
    )
    return tag("span", _shown(x.token), data_tip=tip, tabindex=0, **heat(x.loss / even))


def _table(result: LossMap) -> Html:
    names = ("token", "loss", "probability", "rank", "likeliest")
    rows = [tag("tr", *[tag("th", name, scope="col") for name in names])]
    for x in result.losses:
        numbers = [f"{x.loss:.3f}", f"{x.probability:.2%}", str(x.rank)]
        cells = [tag("td", n, class_="number") for n in numbers]
        words = tag("td", in_words(x.alternatives))
        rows.append(tag("tr", tag("th", visible(x.token), scope="row"), *cells, words))
    return tag("div", tag("table", *rows), class_="scroll")


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt loss-map RUN [TEXT]`."""
    args = _parser().parse_args(argv)
    if args.top < 1:
        raise tt.ArgumentError(
            f"loss-map: --top={args.top}", why="at least one token is listed", fix="--top=5"
        )
    model, tokenizer = open_model(args.run)
    result = loss_map(model, tokenizer, sys.stdin.read() if args.text is None else args.text, top=args.top)
    if args.html:
        write(args.html, loss_page(result, f"{args.run}: {model.num_parameters():,} parameters"))
        print(f"wrote {args.html}")
        return 0
    colors = args.color == "always" or (
        args.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    print(render(result) if colors else render_table(result), file=colored_output())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m gpt loss-map", description="Show which tokens the model expected.")
    parser.add_argument("run", help="run directory, for example runs/demo, or another model, such as smollm2")
    parser.add_argument("text", nargs="?", help="standard input if left out")
    parser.add_argument("--top", type=int, default=5, help="how many alternatives to list; default 5")
    parser.add_argument("--html", metavar="FILE", help="write a page instead")
    parser.add_argument(
        "--color",
        choices=["auto", "always", "never"],
        default="auto",
        help="colored text, or a table; default auto: colors on a terminal, unless NO_COLOR is set",
    )
    return parser
