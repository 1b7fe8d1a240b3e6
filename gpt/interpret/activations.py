"""Activations of a forward pass by hooks: the residual stream between blocks, and attention weights.

Hooks record the values while the model computes, so they are exact for all variants of the model.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import tinytensor as tt
from gpt.generation.candidates import Array, to_numpy, tokens_of
from gpt.models.gpt import GPT
from gpt.models.residual import Residual
from gpt.tokenizers.base import Tokenizer
from tinytensor import nn


@dataclass(frozen=True)
class Inside:
    """Recorded activations of a forward pass.

    Args:
        ids: T token ids.
        tokens: texts of the tokens.
        streams: the residual stream before the first block and after each, n_layer + 1 arrays (T, C).
        weights: attention weights, n_layer arrays (n_head, T, T); empty if attention is False.
        logits: shape (T, V).
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    streams: tuple[Array, ...]
    weights: tuple[Array, ...]
    logits: Array


def look_inside(model: GPT, tokenizer: Tokenizer, text: str, *, attention: bool = False) -> Inside:
    """Run a forward pass on a text, and record its activations.

    Args:
        model: any GPT; run in evaluation mode, which is restored afterwards.
        tokenizer: its tokenizer.
        text: at least one token, at most the context.
        attention: also record attention weights; computes the attention of each layer twice.

    Raises:
        ArgumentError: the text has no tokens, or a character unknown to the tokenizer.
        ShapeError: it is longer than the context.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> model = GPT(GPTConfig(vocab_size=3, block_size=8, n_layer=2, n_head=2, n_embd=4))
        >>> inside = look_inside(model, CharTokenizer("abc"), "abca", attention=True)
        >>> len(inside.streams), inside.weights[0].shape
        (3, (2, 4, 4))
    """
    ids = tokenizer.encode(text)
    if not ids:
        raise tt.ArgumentError(
            "look_inside: the text has no tokens", why="a forward pass needs at least one", fix="give a word"
        )
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
