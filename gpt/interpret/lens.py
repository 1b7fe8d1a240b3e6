"""Logit lens: next-token predictions from each layer. Command `python -m gpt lens RUN "text"`.

The head is applied to the residual stream before the first block and after each one. The last row is the
prediction of the model; the rows above show in which layers it emerges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.generation.candidates import Array, Choices, choices, in_words, log_softmax, to_numpy, tokens_of
from gpt.interpret.activations import look_inside, save_page, view_parser
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer
from tinytensor.lab.html import Html, heat, page, skip_link, tag, visible
from tinytensor.lab.report import Table


@dataclass(frozen=True)
class Lens:
    """Predictions of L layers at each of T positions.

    Args:
        answers: T texts, the most likely next token of the model at each position.
        probability, rank: of that token, shape (L, T); ranks begin with 1.
        top: most likely tokens of each layer and position, with their probabilities.
    """

    tokens: tuple[str, ...]
    layers: tuple[str, ...]
    answers: tuple[str, ...]
    probability: Array
    rank: Array
    top: tuple[tuple[Choices, ...], ...]


def logit_lens(model: GPT, tokenizer: Tokenizer, text: str, *, top: int = 5) -> Lens:
    """Predictions from the residual stream of each layer, for a text that fits into the context; those of the
    last layer are the model's. `top` tokens are kept per layer and position.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    inside = look_inside(model, tokenizer, text)
    V = tokenizer.vocab_size  # higher ids pad the vocabulary
    answer = inside.logits[:, :V].argmax(-1)  # (T,)
    places = np.arange(len(answer))
    probability, rank, best = [], [], []
    for stream in inside.streams:
        with tt.no_grad():
            x = tt.from_numpy(stream).to(model.device).astype(model.dtype)
            log_p = log_softmax(to_numpy(model.head(x.reshape(1, *x.shape))[0]))[:, :V]  # (T, V)
        own = log_p[places, answer]
        probability.append(np.exp(own))
        rank.append(1 + (log_p > own[:, None]).sum(-1))
        best.append(tuple([choices(row, tokenizer, top) for row in np.exp(log_p)]))
    return Lens(
        inside.tokens,
        ("embedding", *[f"block {i}" for i in range(model.config.n_layer)]),
        tokens_of(tokenizer, answer.tolist()),
        np.array(probability),
        np.array(rank),
        tuple(best),
    )


def render(lens: Lens, position: int) -> str:
    """Predictions after a token, by its index, as a table with a line per layer."""
    at = position % len(lens.tokens)
    answer = visible(lens.answers[at])
    rows = [
        (layer, f"{lens.probability[i, at]:.1%}", int(lens.rank[i, at]), in_words(lens.top[i][at]))
        for i, layer in enumerate(lens.layers)
    ]
    caption = f"after {visible(lens.tokens[at])} ({at}) the model says {answer}"
    return str(Table(("layer", f"p({answer})", "rank", "likeliest"), "lrrl", rows, caption))


def lens_page(lens: Lens, about: str = "") -> str:
    """HTML page of all positions: top token of each layer, colored by the probability of the prediction."""
    heads = [tag("th", "layer", scope="col")]
    heads += [tag("th", f"{visible(t)} ({i})", scope="col") for i, t in enumerate(lens.tokens)]
    rows = [
        tag("tr", tag("th", layer, scope="row"), *[_cell(lens, i, j) for j in range(len(lens.tokens))])
        for i, layer in enumerate(lens.layers)
    ]
    answers = [tag("th", visible(a)) for a in lens.answers]
    rows.append(tag("tr", tag("th", "answer", scope="row"), *answers))
    return page(
        f"What each layer would say: {''.join(lens.tokens)}",
        tag(
            "p",
            "The head of the model, applied after each layer. A cell shows the likeliest next token; "
            "the color is the probability of the answer that the model gives in the end. Hover a cell, "
            "or go to it with the Tab key, for the numbers.",
        ),
        tag("p", about, class_="soft"),
        skip_link("#words", "To the last position in words"),
        tag("div", tag("table", tag("tr", *heads), *rows), class_="scroll"),
        tag("h2", "The last position in words", id="words"),
        tag("div", tag("pre", render(lens, -1)), class_="scroll"),
    )


def _cell(lens: Lens, i: int, j: int) -> Html:
    p = float(lens.probability[i, j])
    tip = (
        f"{lens.layers[i]}, after {visible(lens.tokens[j])} ({j})\n"
        f"answer {visible(lens.answers[j])}: {p:.4g}, rank {lens.rank[i, j]}\n"
        + "\n".join([f"{visible(token)}  {q:.4g}" for token, q in lens.top[i][j]])
    )
    first = visible(lens.top[i][j][0][0])
    return tag("td", first, data_tip=tip, tabindex=0, **heat(p))


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt lens RUN TEXT`."""
    parser = view_parser("lens", "What the model would say after each layer.")
    args = parser.parse_args(argv)
    model, tokenizer = require_tokenizer(load(args.run), "lens", args.run)
    lens = logit_lens(model, tokenizer, args.text, top=args.top)
    if args.html:
        save_page(args.html, lens_page(lens, f"{args.run}: {model.num_parameters():,} parameters"))
        return 0
    print(render(lens, -1))
    return 0
