"""Step-by-step tokenization as text: pieces, tokens with ids, and merges in order.

Used by `python -m gpt tokenizer split`.
"""

from collections.abc import Iterator
from itertools import pairwise

from gpt.console import counted
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.pretokenize import pieces
from tinytensor.lab.html import visible

_SHOWN = 8  # merges shown per piece


def merge_steps(tokenizer: BPETokenizer, piece: str) -> Iterator[tuple[int, list[bytes]]]:
    """Merges of one piece in order."""
    ranks = {pair: rank for rank, pair in reversed(list(enumerate(tokenizer.merges)))}
    tokens = [bytes([b]) for b in piece.encode("utf-8")]
    while known := [(ranks[pair], at) for at, pair in enumerate(pairwise(tokens)) if pair in ranks]:
        rank, at = min(known)
        tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
        yield rank, list(tokens)


def render_split(tokenizer: Tokenizer, text: str) -> str:
    """Tokenization of a text, as lines.

    Returns:
        A summary line; then, for byte-level BPE, a line for each piece with its tokens, and one for each of
        its merges; for other tokenizers a line with all tokens.

    Example:
        >>> tokenizer = BPETokenizer.train("low lower lowest", 260)
        >>> print(render_split(tokenizer, "low 7"))
        5 bytes, 3 tokens, 1.667 bytes per token
        low  low#257
              merge 0    lo·w
              merge 1    low
        ␣7   ␣#220 7#22
    """
    ids = tokenizer.encode(text)
    size = len(text.encode("utf-8"))
    ratio = f", {size / len(ids):.3f} bytes per token" if ids else ""
    lines = [f"{counted(size, 'byte')}, {counted(len(ids), 'token')}{ratio}"]
    if not isinstance(tokenizer, BPETokenizer):
        return "\n".join([*lines, " ".join([f"{visible(tokenizer.decode([i]))}#{i}" for i in ids])])
    cut = pieces(text, tokenizer.split)
    width = max([len(visible(piece)) for piece in cut], default=0)
    for piece in cut:
        named = [f"{_named(tokenizer.tokens[i])}#{i}" for i in tokenizer.encode(piece)]
        lines.append(f"{visible(piece):<{width}}  {' '.join(named)}")
        steps = list(merge_steps(tokenizer, piece))
        lines += [f"      merge {rank:<4} {'·'.join(map(_named, after))}" for rank, after in steps[:_SHOWN]]
        if len(steps) > _SHOWN:
            lines.append(f"      and {len(steps) - _SHOWN} more")
    return "\n".join(lines)


def _named(token: bytes) -> str:
    """Bytes decoded as text if possible."""
    try:
        return visible(token.decode("utf-8"))
    except UnicodeDecodeError:
        return "".join([f"\\x{b:02x}" for b in token])
