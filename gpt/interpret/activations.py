"""Activations of a forward pass by hooks: the residual stream between blocks, and attention weights.

Hooks record the values while the model computes, so they are exact for all variants of the model.
"""

import argparse
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import tinytensor as tt
from gpt.console import Parser
from gpt.generation.candidates import Array, to_numpy, tokens_of
from gpt.models.gpt import GPT
from gpt.models.residual import Residual
from gpt.tokenizers.base import Tokenizer
from tinytensor import nn
from tinytensor.lab.html import write


@dataclass(frozen=True)
class Inside:
    """Recorded activations of a forward pass over T tokens.

    Args:
        streams: the residual stream before the first block and after each, n_layer + 1 arrays (T, C).
        weights: attention weights, n_layer arrays (n_head, T, T); empty if they were not asked for.
        logits: shape (T, V).
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    streams: tuple[Array, ...]
    weights: tuple[Array, ...]
    logits: Array


def look_inside(model: GPT, tokenizer: Tokenizer, text: str, *, attention: bool = False) -> Inside:
    """Run a forward pass in evaluation mode on a text that fits into the context, and record its activations.

    Args:
        attention: also record attention weights; computes the attention of each layer twice.
    """
    ids = ids_of(tokenizer, text)
    streams: list[Array] = []
    weights: list[Array] = []

    def before(block: nn.Module, args: Any) -> None:
        streams.append(to_numpy(args[0].total()[0]))

    def after(block: nn.Module, args: Any, result: Residual) -> None:
        streams.append(to_numpy(result.total()[0]))

    def attend(attn: Any, args: Any) -> None:
        weights.append(to_numpy(attn.forward_with_weights(args[0])[1][0]))

    with model.evaluating(), ExitStack() as hooks:
        hooks.enter_context(model.h[0].register_forward_pre_hook(before))
        for block in model.h:
            hooks.enter_context(block.register_forward_hook(after))
            if attention:
                hooks.enter_context(block.attn.register_forward_pre_hook(attend))
        logits = to_numpy(model(tt.tensor([ids], device=model.device))[0])
    return Inside(tuple(ids), tokens_of(tokenizer, ids), tuple(streams), tuple(weights), logits)


def ids_of(tokenizer: Tokenizer, text: str, least: int = 1) -> list[int]:
    """Ids of a text; ArgumentError for fewer tokens than `least`."""
    ids = tokenizer.encode(text)
    if len(ids) < least:
        raise tt.ArgumentError(
            f"the text has {len(ids) or 'no'} tokens",
            why=f"{least} or more are needed: the first one has nothing before it"
            if least > 1
            else "one is needed",
            fix="give a longer text" if least > 1 else "give a word",
        )
    return ids


def view_parser(name: str, about: str, *, optional: str = "", top: bool = True) -> Parser:
    """Parser of a command that shows a text in a model: RUN, TEXT (one may be optional), --top, --html."""
    parser = Parser(prog=f"python -m gpt {name}", description=about)
    helps = {
        "run": "run directory, or another model, such as smollm2; if it is optional, runs/demo",
        "text": 'for example "The cat sat"; if it is optional, standard input',
    }
    for word, text in helps.items():
        parser.add_argument(word, nargs="?" if word == optional else None, help=text)
    if top:
        parser.add_argument("--top", type=_positive, default=5, help="how many tokens to list; default 5")
    parser.add_argument("--html", metavar="FILE", help="write a page instead")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("at least one token is listed")
    return int(text)


def save_page(file: str, page: str) -> None:
    """Write a page, and say so."""
    write(file, page)
    print(f"wrote {file}")
