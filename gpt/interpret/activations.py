"""A forward pass watched from inside: the residual stream between the blocks, and where each token looks.

The numbers are taken by hooks while the model computes, so they are its own, whatever its variant.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.models.gpt import GPT
from gpt.tokenizers.tokenizer import Tokenizer
from gpt.training.run import require_tokenizer
from gpt.weights.pretrained import from_pretrained
from tinytensor import nn

__all__ = [
    "Choices",
    "Inside",
    "choices",
    "log_softmax",
    "look_inside",
    "open_model",
    "to_numpy",
    "tokens_of",
]

Array = npt.NDArray[Any]
Choices = tuple[tuple[str, float], ...]  # tokens and their probabilities, the likeliest first


@dataclass(frozen=True)
class Inside:
    """What a model computed on its way.

    Args:
        ids: of the tokens, T of them.
        tokens: their texts.
        streams: the residual stream before the first block and after each, n_layer + 1 arrays (T, C).
        weights: of attention, per layer, n_layer arrays (n_head, T, T); empty if they were not asked for.
        logits: shape (T, V).
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    streams: tuple[Array, ...]
    weights: tuple[Array, ...]
    logits: Array


def look_inside(model: GPT, tokenizer: Tokenizer, text: str, *, attention: bool = False) -> Inside:
    """Run a text through a model, and keep what passes by.

    Args:
        model: any GPT; run without dropout, and left in the mode it had.
        tokenizer: its tokenizer.
        text: at least one token, at most the context.
        attention: keep the weights of attention, too; each layer's attention is computed twice then.

    Returns:
        Its numbers.

    Raises:
        ArgumentError: the text has no tokens, or a character that the tokenizer does not know.
        ShapeError: it is longer than the context.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.tokenizers.tokenizer import CharTokenizer
        >>> model = GPT(GPTConfig(vocab_size=3, block_size=8, n_layer=2, n_head=2, n_embd=4))
        >>> inside = look_inside(model, CharTokenizer("abc"), "abca", attention=True)
        >>> len(inside.streams), inside.weights[0].shape
        (3, (2, 4, 4))
    """
    ids = tokenizer.encode(text)
    if not ids:
        raise tt.ArgumentError(
            "look_inside: the text has no tokens", why="there is nothing to follow", fix="give a word"
        )
    streams: list[Array] = []
    weights: list[Array] = []

    def before(block: nn.Module, args: Any) -> None:
        streams.append(to_numpy(args[0][0]))

    def after(block: nn.Module, args: Any, result: tt.Tensor) -> None:
        streams.append(to_numpy(result[0]))

    def attend(attn: Any, args: Any) -> None:
        weights.append(to_numpy(attn.forward_with_weights(args[0])[1][0]))

    training = model.training
    model.eval()
    try:
        with tt.no_grad(), ExitStack() as hooks:
            hooks.enter_context(model.h[0].register_forward_pre_hook(before))
            for block in model.h:
                hooks.enter_context(block.register_forward_hook(after))
                if attention:
                    hooks.enter_context(block.attn.register_forward_pre_hook(attend))
            logits = to_numpy(model(tt.tensor([ids], device=model.device))[0])
    finally:
        model.train(training)
    return Inside(tuple(ids), tokens_of(tokenizer, ids), tuple(streams), tuple(weights), logits)


def to_numpy(x: tt.Tensor) -> Array:
    """A copy of a tensor on the host; 16-bit floats become float32.

    Args:
        x: any tensor, without history.

    Returns:
        Its numbers.

    Example:
        >>> to_numpy(tt.tensor([1.5], dtype=tt.bfloat16))
        array([1.5], dtype=float32)
    """
    on_host = x.cpu()
    return np.array(on_host.astype(tt.float32).numpy() if x.dtype in (tt.bfloat16, tt.float16) else on_host)


def tokens_of(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, ...]:
    """The text of each id by itself; a token that ends within a character shows U+FFFD.

    Args:
        tokenizer: what decodes.
        ids: token ids.

    Returns:
        As many texts.

    Example:
        >>> from gpt.tokenizers.tokenizer import CharTokenizer
        >>> tokens_of(CharTokenizer("ab"), [1, 0])
        ('b', 'a')
    """
    return tuple([tokenizer.decode([i]) for i in ids])


def log_softmax(logits: Array) -> Array:
    """Logarithms of probabilities.

    Args:
        logits: shape (…, V).

    Returns:
        shape (…, V), float64.

    Example:
        >>> np.exp(log_softmax(np.log([1.0, 3.0]))).round(3).tolist()
        [0.25, 0.75]
    """
    shifted = logits - logits.max(-1, keepdims=True).astype(np.float64)
    lengths: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return lengths


def choices(log_p: Array, tokenizer: Tokenizer, count: int) -> Choices:
    """The likeliest tokens.

    Args:
        log_p: shape (V,), logarithms of probabilities.
        tokenizer: what decodes; ids that only pad the vocabulary are no choice.
        count: how many.

    Returns:
        Texts and probabilities, the likeliest first; equal ones in the order of their ids.

    Example:
        >>> from gpt.tokenizers.tokenizer import CharTokenizer
        >>> choices(np.log([0.2, 0.5, 0.3]), CharTokenizer("abc"), 2)
        (('b', 0.5), ('c', 0.3))
    """
    log_p = log_p[: tokenizer.vocab_size]
    least = np.partition(log_p, -count)[-count] if count < len(log_p) else -np.inf
    few = np.flatnonzero(log_p >= least)  # no need to sort the whole vocabulary
    best = few[np.argsort(-log_p[few], kind="stable")][:count]
    return tuple([(tokenizer.decode([int(i)]), float(np.exp(log_p[i]))) for i in best])


def open_model(path: str) -> tuple[GPT, Tokenizer]:
    """A trained model and its tokenizer.

    Args:
        path: a run directory, or what else `gpt.weights.from_pretrained` reads.

    Returns:
        model in evaluation mode, tokenizer.

    Raises:
        FormatError: there are no usable weights.
        ArgumentError: they come without a tokenizer.
    """
    model, tokenizer = from_pretrained(path)
    return model, require_tokenizer(tokenizer, "open_model", path)
