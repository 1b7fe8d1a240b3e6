"""Loss of each token of a text: `python -m gpt loss-map RUN "text"`.

On a page each token is colored by its loss, -ln of its probability: from no color at loss 0 to the full color
at the loss of a uniform distribution, ln V.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.generation.candidates import Choices, choices, in_words, log_softmax, to_numpy, tokens_of
from gpt.interpret.activations import ids_of, save_page, view_parser
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer
from tinytensor.lab.html import Html, heat, page, skip_link, tag, visible
from tinytensor.lab.report import Table


@dataclass(frozen=True)
class TokenLoss:
    """Loss of a token given the tokens before it, in nats; its rank, from 1; and the most likely tokens
    there.
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
    """Losses of all tokens of a text but the first; `even` is that of the uniform distribution, ln V."""

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
    """Loss of each token of a text, with `top` alternatives.

    A text longer than the context is processed in windows that overlap by half a context, so that every token
    has at least half a context before it, if the text has it.
    """
    ids = ids_of(tokenizer, text, least=2)
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


def render(result: LossMap) -> str:
    """Table with a line per token."""
    return f"{_table(result)}\n\n{result.summary()}"


def _table(result: LossMap) -> Table:
    rows = [
        (visible(x.token), f"{x.loss:.3f}", f"{x.probability:.2%}", x.rank, in_words(x.alternatives))
        for x in result.losses
    ]
    return Table(("token", "loss", "probability", "rank", "likeliest"), "lrrrl", rows)


def _shown(token: str) -> str:
    """Text of a token, with newlines marked and kept."""
    return visible(token).replace("␣", " ").replace("↵", "↵\n")


def loss_page(result: LossMap, about: str = "") -> str:
    """HTML page of the text; hovering a token, or focusing it with the Tab key, shows its values."""
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
        tag("details", tag("summary", "All tokens as a table"), _table(result).markup(), id="table"),
    )


def _span(x: TokenLoss, even: float) -> Html:
    tip = (
        f"{visible(x.token)}: probability {x.probability:.4g}, loss {x.loss:.4g}, rank {x.rank}\n"
        + "\n".join([f"{visible(token)}  {p:.4g}" for token, p in x.alternatives])
    )
    return tag("span", _shown(x.token), data_tip=tip, tabindex=0, **heat(x.loss / even))


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt loss-map RUN [TEXT]`."""
    parser = view_parser("loss-map", "Show which tokens the model expected.", optional="text")
    args = parser.parse_args(argv)
    model, tokenizer = require_tokenizer(load(args.run), "loss-map", args.run)
    result = loss_map(model, tokenizer, sys.stdin.read() if args.text is None else args.text, top=args.top)
    if args.html:
        save_page(args.html, loss_page(result, f"{args.run}: {model.num_parameters():,} parameters"))
        return 0
    print(render(result))
    return 0
