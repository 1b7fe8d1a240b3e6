"""Generation: one token after another, with a cache of keys and values. `python -m gpt sample RUN`.

Each step: logits of the next token → temperature → top-k → top-p → softmax → draw. Temperature 0 takes the
    likeliest.
"""

from __future__ import annotations

import argparse
import math
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
Tokens = npt.NDArray[np.intp]
ROW = 64  # neighbors in the vocabulary that are compared at once


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
    tokens, p = _candidates(np.asarray(logits), temperature, top_k, top_p)
    whole = np.zeros(len(logits))
    whole[tokens] = p
    return whole


def _candidates(
    logits: Floats, temperature: float, top_k: int | None, top_p: float | None
) -> tuple[Tokens, Floats]:
    """The tokens that can be drawn, ascending, and their probabilities. Never sorts the whole vocabulary."""
    likeliest = int(logits.argmax())
    top = float(logits[likeliest])
    if not math.isfinite(top):
        raise tt.ArgumentError(
            f"generate: the largest logit is {top}",
            why="no probabilities come of it: the weights or the logits overflowed, or are not a number",
            fix="look at the weights, and at the loss of the training",
        )
    if temperature == 0:
        return np.array([likeliest]), np.ones(1)
    if top_k is None or top_k >= len(logits):
        tokens, p = np.arange(len(logits)), logits.astype(np.float64)
    else:
        tokens = _largest(logits, top_k)
        p = logits[tokens].astype(np.float64)
    p /= temperature
    p -= p.max()
    np.exp(p, out=p)
    p /= p.sum()
    if top_p is not None and top_p < 1:
        kept = _mass(p, top_p)
        tokens, p = tokens[kept], p[kept]
        p /= p.sum()
    return tokens, p


def _largest(x: Floats, k: int) -> Tokens:
    """Where the k largest numbers of x are, and all that equal the least of them; ascending.

    Of numbers in rows, the k-th largest of the rows' maxima is no larger than the k-th largest of all: so few
    are left to look at.
    """
    rows = len(x) // ROW
    if rows <= 2 * k:
        return np.flatnonzero(x >= np.partition(x, -k)[-k])
    tops = x[: rows * ROW].reshape(rows, ROW).max(1)  # (rows,)
    few: Tokens = np.flatnonzero(x >= np.partition(tops, -k)[-k])
    likely: Tokens = few[x[few] >= np.partition(x[few], -k)[-k]]
    return likely


def _mass(p: Floats, least: float) -> Tokens:
    """Where the fewest likeliest probabilities are that add up to `least`; ascending."""
    count = len(p)
    few = min(ROW, count)
    while True:
        likely = _largest(p, few)
        order = likely[np.argsort(-p[likely], kind="stable")]
        before = np.cumsum(p[order]) - p[order]  # mass ahead of each: 0 for the likeliest, which always stays
        if before[-1] >= least or len(order) == count:
            return np.sort(order[before < least])
        few = min(8 * few, count)


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
    cache = KVCache(model.config, 1, model.device, model.wte.weight.dtype) if use_cache else None
    read, unread = Reader(model, cache), ids[-context:]
    for _ in range(count):
        with tt.no_grad():
            if cache is not None and cache.length + len(unread) > context:
                cache, read = None, Reader(model)  # full: from here on the window slides
            logits = read(ids[-context:] if cache is None else unread)  # (V,)
        tokens, p = _candidates(_numbers(logits), temperature, top_k, top_p)
        drawn = int(tokens[_draw(p, generator)]) if temperature else int(tokens[0])
        ids.append(drawn)
        unread = [drawn]
        yield drawn


class Reader:
    """Logits of the token after those of each call. With a cache, calls continue each other.

    As many tokens again are the same work again, so it is captured then, and replayed from there on: the
    engine would take longer than the kernels of a small model.

    Args:
        model: in evaluation mode.
        cache: keys and values of what was read.

    Example:
        >>> from gpt.config import GPTConfig
        >>> config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)
        >>> read = Reader(GPT(config).eval(), KVCache(config, 1))
        >>> with tt.no_grad():
        ...     [read(ids).shape for ids in ([1, 2], [3], [4])]
        [(5,), (5,), (5,)]
    """

    def __init__(self, model: GPT, cache: KVCache | None = None) -> None:
        self._model, self._cache = model, cache
        self._idx = tt.zeros(1, 0, dtype=tt.int64, device=model.device)  # what a replay reads
        self._step: tt.CapturedGraph | None = None

    def __call__(self, ids: Sequence[int]) -> tt.Tensor:
        """Logits (V,); the next call may write over them."""
        again = len(ids) == self._idx.shape[1]
        if again and self._step is None:
            self._step = tt.capture(self._logits, device=self._model.device, warmup=0)
        elif not again:
            self._idx, self._step = tt.zeros(1, len(ids), dtype=tt.int64, device=self._model.device), None
        self._idx.copy_(ids[0] if len(ids) == 1 else tt.tensor([ids]))
        logits: tt.Tensor = self._logits() if self._step is None else self._step.replay()
        return logits

    def _logits(self) -> tt.Tensor:
        logits: tt.Tensor = self._model(self._idx, self._cache, last_only=True)[0, -1]
        return logits


def _numbers(logits: tt.Tensor) -> Floats:
    """In float32 at least, on the host."""
    on_host = logits.cpu()
    return (on_host.astype(tt.float32) if on_host.itemsize == 2 else on_host).numpy()


def _draw(p: Floats, generator: tt.Generator | None) -> int:
    """A position, drawn by these probabilities: as tt.multinomial draws it, without its checks."""
    sums = np.cumsum(p)
    u = (tt.default_generator if generator is None else generator).random()
    at = int(np.searchsorted(sums, u * sums[-1], side="right"))
    return at if at < len(p) else int(np.flatnonzero(p)[-1])  # rounding may lead past the last possible one


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
