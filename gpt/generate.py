"""Generation: one token after another, with a cache of keys and values. `python -m gpt sample RUN`.

Each step: logits of the next token → temperature → top-k → top-p → softmax → draw. Temperature 0 takes the
    likeliest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.console import Parser
from gpt.model import GPT, KVCache
from gpt.run import load_model
from gpt.tokenizer import Tokenizer

__all__ = ["generate", "main", "next_probabilities", "stream_text"]

Floats = npt.NDArray[np.floating[Any]]


def next_probabilities(
    logits: Floats, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Floats:
    """Probabilities from which the next token is drawn.

    Args:
        logits: shape (V,).
        temperature: logits are divided by it; below 1 sharpens, 0 leaves only the likeliest.
        top_k: keep the k likeliest tokens (all that tie with the k-th stay).
        top_p: keep the fewest likeliest tokens whose probabilities add up to at least p.

    Returns:
        shape (V,), float64, adding up to 1.

    Raises:
        ArgumentError: temperature below 0, top_k below 1, or top_p outside (0, 1].

    Source: top-p: Holtzman et al. 2020, arXiv:1904.09751.

    Example:
        >>> next_probabilities(np.log([0.5, 0.3, 0.2]), top_k=2).round(3).tolist()
        [0.625, 0.375, 0.0]
    """
    _check(temperature, top_k, top_p)
    scores: Floats = np.asarray(logits, np.float64)
    if temperature == 0:
        chosen = np.zeros(len(scores))
        chosen[int(scores.argmax())] = 1.0
        return chosen
    scores = scores / temperature
    if top_k is not None and top_k < len(scores):
        threshold = np.partition(scores, -top_k)[-top_k]  # no sort of the whole vocabulary
        scores = np.where(scores < threshold, -np.inf, scores)
    p: Floats = np.exp(scores - scores.max())
    p /= p.sum()
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]  # mass ahead of each: 0 for the likeliest, which always stays
        p[order[before >= top_p]] = 0.0
        p /= p.sum()
    return p


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not temperature >= 0 or temperature == float("inf"):
        raise tt.ArgumentError(
            f"generate: temperature {temperature}", why="it is finite and not negative", fix="temperature=0.8"
        )
    if top_k is not None and top_k < 1:
        raise tt.ArgumentError(f"generate: top_k {top_k}", why="one token must stay", fix="top_k=50, or None")
    if top_p is not None and not 0 < top_p <= 1:
        raise tt.ArgumentError(
            f"generate: top_p {top_p}", why="it is a probability", fix="top_p=0.9, or None"
        )


def generate(
    model: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: tt.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[int]:
    """Continue a prompt, token by token.

    Beyond the context the last `block_size` tokens are read anew for each token, since their positions shift.

    Args:
        model: in evaluation mode, or its dropout will act.
        prompt: token ids, at least one; only the last block_size of them are read.
        max_new_tokens: how many to draw.
        temperature, top_k, top_p: see `next_probabilities`.
        generator: of the draws; default: tinytensor's.
        use_cache: keep keys and values of what was read; the tokens are the same without, only slower.

    Returns:
        An iterator of ids, each drawn when it is asked for.

    Raises:
        ArgumentError: an empty prompt, a negative number of tokens, or a parameter outside its domain.
        IndexRangeError: an id of the prompt is not in the vocabulary.

    Example:
        >>> from gpt.config import GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> len(list(generate(model, [1, 2], 6, temperature=0)))
        6
    """
    _check(temperature, top_k, top_p)
    if not len(prompt) or max_new_tokens < 0:
        raise tt.ArgumentError(
            f"generate: a prompt of {len(prompt)} tokens, {max_new_tokens} new ones",
            why="the model continues at least one token",
            fix="begin with a separator or newline token",
        )
    return _generate(model, list(prompt), max_new_tokens, temperature, top_k, top_p, generator, use_cache)


def _generate(
    model: GPT,
    ids: list[int],
    count: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: tt.Generator | None,
    use_cache: bool,
) -> Iterator[int]:
    context = model.config.block_size
    cache = KVCache(model.config, 1, model.device) if use_cache else None
    unread = ids[-context:]
    for _ in range(count):
        with tt.no_grad():
            if cache is not None and cache.length + len(unread) > context:
                cache = None  # full: from here on the window slides
            if cache is None:
                unread = ids[-context:]
            logits = model(tt.tensor([unread], device=model.device), cache, last_only=True)[0, -1]  # (V,)
        p = next_probabilities(logits.cpu().numpy(), temperature=temperature, top_k=top_k, top_p=top_p)
        if temperature == 0:
            drawn = int(p.argmax())
        else:
            drawn = int(tt.multinomial(tt.tensor(p), 1, generator=generator)[0])
        ids.append(drawn)
        unread = [drawn]
        yield drawn


def stream_text(tokenizer: Tokenizer, ids: Iterator[int]) -> Iterator[str]:
    """Text of ids as they come: a character whose bytes are not complete yet waits for the rest.

    Args:
        tokenizer: what decodes.
        ids: token ids.

    Returns:
        Iterator of pieces; joined, they are the decoded text.

    Example:
        >>> from gpt.tokenizer import CharTokenizer
        >>> "".join(stream_text(CharTokenizer("ab"), iter([0, 1, 0])))
        'aba'
    """
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if text.endswith("\ufffd") and len(waiting) < 8:
            continue
        yield text
        waiting.clear()
    if waiting:
        yield tokenizer.decode(waiting)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt sample RUN`.

    Args:
        argv: the run directory, and options; `--help` lists them.

    Returns:
        Exit code 0.

    Raises:
        FormatError: there is no usable checkpoint.
        ArgumentError: the run has no tokenizer, or an option is outside its domain.
    """
    args = _parser().parse_args(argv)
    which = int(args.checkpoint) if args.checkpoint.isdecimal() else args.checkpoint
    model, tokenizer = load_model(args.run, which)
    if tokenizer is None:
        raise tt.ArgumentError(
            f"sample: {args.run} has no tokenizer.json",
            why="the run was trained on token files that came without one",
            fix=f"copy the tokenizer to {args.run}/tokenizer.json",
        )
    prompt = tokenizer.encode(args.prompt)
    for k in range(args.num_samples):
        if args.num_samples > 1:
            print(f"--- sample {k + 1} ---")
        ids = generate(
            model,
            prompt,
            args.max_new_tokens,
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            generator=tt.Generator(args.seed + k),
            use_cache=not args.no_cache,
        )
        sys.stdout.write(args.prompt)
        for piece in stream_text(tokenizer, ids):
            sys.stdout.write(piece)
            sys.stdout.flush()
        print()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m gpt sample", description="Let a trained model write.")
    parser.add_argument("run", help="run directory, for example runs/demo")
    parser.add_argument("--prompt", default="\n", help="text to continue (default: a new line)")
    parser.add_argument("--max_new_tokens", type=int, default=500, help="default 500")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest; default 0.8")
    parser.add_argument("--top_k", type=int, default=None, help="keep the k likeliest")
    parser.add_argument("--top_p", type=float, default=None, help="keep the likeliest that make up p")
    parser.add_argument("--seed", type=int, default=1337, help="of the draws; default 1337")
    parser.add_argument("--num_samples", type=int, default=1, help="how many texts; default 1")
    parser.add_argument("--checkpoint", default="best", help="best, latest, or a step; default best")
    parser.add_argument("--no_cache", action="store_true", help="read everything anew for each token")
    return parser
