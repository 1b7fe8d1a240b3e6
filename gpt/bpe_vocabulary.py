"""Which vocabularies byte-level BPE takes: ids without gaps, special tokens that are nobody else's name."""

from collections.abc import Mapping

from gpt.tokenizers.base import check_text, check_utf8
from gpt.tokenizers.pretokenize import NAME_BYTES, unprintable
from tinytensor.errors import ArgumentError

__all__ = ["check_special_tokens", "tokens_by_id"]

_MOST_HOLES = 4096  # ids without a token; a file that leaves more is damaged


def tokens_by_id(vocab: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> list[bytes]:
    """The tokens in the order of their ids; b"" for holes between special tokens behind the ordinary ones."""
    by_id = {token_id: token for token, token_id in vocab.items()}
    by_id |= {token_id: text.encode("utf-8") for text, token_id in special_tokens.items()}
    count, end = len(vocab) + len(special_tokens), max(by_id, default=-1) + 1
    ordinary = max(vocab.values(), default=-1) + 1
    absent = next((token_id for token_id in range(ordinary) if token_id not in by_id), -1)
    if len(by_id) < count or absent >= 0 or min(by_id, default=0) < 0 or end > count + _MOST_HOLES:
        raise ArgumentError(
            f"BPETokenizer: {count} tokens, but "
            + (f"none has the id {absent}" if absent >= 0 else "an id comes twice or is far off"),
            why="ids are rows of the embedding table: 0, 1, 2, … without repetitions, and without holes but "
            "between special tokens",
            fix="number the tokens from 0 without gaps",
        )
    return [by_id.get(token_id, b"") for token_id in range(end)]


def check_special_tokens(special_tokens: Mapping[str, int], vocab: Mapping[bytes, int]) -> None:
    """Special tokens must be text that no ordinary token is written as in vocabulary files."""
    for text in special_tokens:
        check_text(text, "special_tokens")
        check_utf8(text, "special_tokens")
        taken = all(character in NAME_BYTES for character in text) and unprintable(text) in vocab
        if not text or taken:
            raise ArgumentError(
                f"BPETokenizer: {text!r} cannot be a special token",
                why="it is empty, or an ordinary token has this name in the vocabulary",
                fix="use a name that no text contains, such as '<|endoftext|>'",
            )
