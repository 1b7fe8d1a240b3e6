"""Byte-level BPE tokenizer as in GPT-2 and GPT-4: encodes any text.

`pretokenize.py` splits a text into pieces; each piece starts as its UTF-8 bytes; the adjacent pair with the
lowest merge rank is merged repeatedly. Independent of data files and models.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain

from gpt.console import counted
from gpt.tokenizers.base import (
    END_OF_TEXT,
    Ids,
    Texts,
    Tokenizer,
    as_texts,
    check_ids,
    check_text,
    check_utf8,
)
from gpt.tokenizers.bpe_merge import merge
from gpt.tokenizers.bpe_train import BYTE_TOKENS, learn_merges
from gpt.tokenizers.hf_json import Merge, Parts, write_tokenizer_json
from gpt.tokenizers.pretokenize import NAME_BYTES, check_split, pieces, printable, unprintable
from gpt.tokenizers.tiktoken_file import read_ranks
from tinytensor.errors import ArgumentError
from tinytensor.files import PathLike

_CACHED_PIECES = 1 << 18
_CACHED_LENGTH = 64  # characters; longer pieces rarely repeat

Progress = Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]]


class BPETokenizer(Tokenizer):
    """Byte-level BPE tokenizer with the pre-tokenization of GPT-2 or another model.

    Args:
        vocab: bytes of each ordinary token → id. A text with a byte that is missing here cannot be encoded.
        merges: pairs of tokens in the order of their rank.
        special_tokens: text of each special token → id. They have no merges. Between the ids of special
            tokens after the ordinary ones there may be unused ids, as in GPT-4's vocabulary.
        split: pre-tokenization rule: "gpt2", "cl100k", "llama3", "o200k" or "smollm".
        whole_pieces: whether a piece that is a token becomes that token, also if merges do not produce it.

    Example:
        >>> tokenizer = BPETokenizer.train("low lower lowest", 260)
        >>> tokenizer.tokens[256:]
        [b'lo', b'low', b' low', b'<|endoftext|>']
        >>> tokenizer.decode(tokenizer.encode("below, ça va? 🙂"))
        'below, ça va? 🙂'
    """

    def __init__(
        self,
        vocab: Mapping[bytes, int],
        merges: Iterable[Merge],
        special_tokens: Mapping[str, int],
        split: str = "gpt2",
        whole_pieces: bool = False,
    ) -> None:
        self.vocab = dict(vocab)
        self.special_tokens = dict(special_tokens)
        self.split, self.whole_pieces = check_split(split, "BPETokenizer"), whole_pieces
        check_special_tokens(self.special_tokens, vocab)
        self.tokens: list[bytes] = tokens_by_id(self.vocab, self.special_tokens)  # b"" for unused ids
        self.merges: list[Merge] = list(merges)
        self._byte_ids = {token[0]: token_id for token, token_id in self.vocab.items() if len(token) == 1}
        self._made: list[int] = []  # rank → result of the merge
        self._ranks: dict[tuple[int, int], int] = {}
        for rank, (first, second) in enumerate(self.merges):
            where = f"merge {rank}"
            self._made.append(self._id(first + second, where))
            self._ranks.setdefault((self._id(first, where), self._id(second, where)), rank)
        self._cache = _Pieces(self._encode_piece)

    def __repr__(self) -> str:
        special = ", ".join(self.special_tokens) or "none"
        return f"BPETokenizer(vocab_size={self.vocab_size}, merges={len(self.merges)}, special: {special})"

    @classmethod
    def train(
        cls,
        texts: Texts,
        vocab_size: int,
        *,
        special_tokens: Collection[str] = (END_OF_TEXT,),
        split: str = "gpt2",
        min_count: int = 2,
        progress: Progress = iter,
    ) -> "BPETokenizer":
        """Learn a vocabulary: the 256 bytes, then merges of the most frequent pairs, then the special tokens.

        Ties between most frequent pairs are broken by the smallest ids, so the result is a function of the
        texts alone.

        Args:
            texts: one text, or an iterable of texts; no token spans two of them.
            vocab_size: target number of tokens, special tokens included.
            special_tokens: they get the last ids. Where their text occurs in `texts` it is ordinary text.
            split: pre-tokenization rule, as for the constructor.
            min_count: pairs that occur less often are not merged; the vocabulary may be smaller then.
            progress: wraps the iterator of merges, for example `tqdm.tqdm`.

        Memory: about 150 bytes per byte of *distinct* pieces; the texts themselves are not kept.

        Example:
            >>> BPETokenizer.train(["hug hug pug", "hugs"], 259).merges
            [(b'u', b'g'), (b'h', b'ug')]
        """
        special_tokens = [special_tokens] if isinstance(special_tokens, str) else list(special_tokens)
        least = len(BYTE_TOKENS) + len(special_tokens)
        if vocab_size < least:
            raise ArgumentError(
                f"train: vocab_size={vocab_size} is too small",
                why=f"256 bytes and {counted(len(special_tokens), 'special token')} need {least} ids",
                fix=f"choose vocab_size >= {least}, for example 1024",
            )
        if min_count < 1:
            raise ArgumentError(
                f"train: min_count={min_count}", why="a pair must occur to be merged", fix="use min_count=2"
            )
        if twice := [text for text, count in Counter(special_tokens).items() if count > 1]:
            raise ArgumentError(
                f"train: the special token {twice[0]!r} comes twice",
                why="each token has one id",
                fix="list each special token once",
            )
        counts = _count_pieces(texts, check_split(split, "train"))
        pairs = learn_merges(counts, vocab_size - len(special_tokens), min_count)
        tokens = list(BYTE_TOKENS)
        merges: list[Merge] = []
        for first, second in progress(pairs):
            merges.append((tokens[first], tokens[second]))
            tokens.append(tokens[first] + tokens[second])
        vocab = {token: token_id for token_id, token in enumerate(tokens)}
        return cls(vocab, merges, {text: len(tokens) + i for i, text in enumerate(special_tokens)}, split)

    @classmethod
    def from_ranks(
        cls, path: PathLike, *, special_tokens: Mapping[str, int] | None = None, split: str = ""
    ) -> "BPETokenizer":
        r"""Read a rank file of `tiktoken`: lines of a token in base64 and its id, which is also its rank.

        Args:
            path: the file, optionally gzip-compressed.
            special_tokens: text of each special token → id; default: by the file's name.
            split: pre-tokenization rule; default: by the file's name.
        """
        return cls(*read_ranks(path, special_tokens, split))

    def with_special_tokens(self, names: Iterable[str]) -> "BPETokenizer":
        """Tokenizer with further special tokens, which get the ids after all others."""
        new = {text: self.vocab_size + i for i, text in enumerate(names)}
        special = {**self.special_tokens, **new}
        return BPETokenizer(self.vocab, self.merges, special, self.split, self.whole_pieces)

    @property
    def vocab_size(self) -> int:
        """Number of ids: the largest plus one."""
        return len(self.tokens)

    def encode(self, text: str, *, allowed_special: Collection[str] = ()) -> list[int]:
        """Encode a text.

        Args:
            text: any text without lone surrogates.
            allowed_special: special tokens that are encoded as their id where they occur in the text; "all":
                all of them. Others are ordinary text, so that untrusted text cannot inject special tokens.

        Example:
            >>> tokenizer = BPETokenizer.train("", 257)
            >>> tokenizer.encode("<|endoftext|>", allowed_special="all")
            [256]
            >>> len(tokenizer.encode("<|endoftext|>"))
            13
        """
        check_text(text, "encode")
        check_utf8(text, "encode")
        allowed = self._allowed(allowed_special)
        if not allowed:
            return self._encode(text)
        # Of two special tokens with a common prefix the longer one wins; odd parts are the matches.
        alternatives = "|".join(map(re.escape, sorted(allowed, key=len, reverse=True)))
        ids: list[int] = []
        for i, part in enumerate(re.split(f"({alternatives})", text)):
            ids += [self.special_tokens[part]] if i % 2 else self._encode(part)
        return ids

    def decode(self, ids: Ids) -> str:
        """Text of ids; invalid UTF-8 (part of a character) becomes U+FFFD."""
        return self._join(ids, "decode").decode("utf-8", "replace")

    def decode_bytes(self, ids: Ids) -> bytes:
        """Bytes of ids; otherwise as `decode`."""
        return self._join(ids, "decode_bytes")

    def save(self, path: PathLike) -> None:
        """Write the tokenizer in the `tokenizer.json` format of Hugging Face's `tokenizers`."""
        parts = Parts(self.vocab, self.merges, dict(self.special_tokens), self.split, self.whole_pieces)
        write_tokenizer_json(path, parts)

    def _id(self, token: bytes, where: str) -> int:
        """Id of an ordinary token; ArgumentError if it is missing."""
        if token not in self.vocab:
            raise ArgumentError(
                f"BPETokenizer: {where} needs the token {printable(token)!r}, which is not in the vocabulary",
                why="both parts and the result of each merge are tokens",
                fix="give it an id, or use merges and vocabulary of the same training",
            )
        return self.vocab[token]

    def _allowed(self, names: Collection[str]) -> set[str]:
        """Special tokens that `encode` recognizes."""
        if isinstance(names, str):
            names = self.special_tokens if names == "all" else [names]
        for name in names:
            if name not in self.special_tokens:
                raise ArgumentError(
                    f"encode: {name!r} is not a special token",
                    why=f"this tokenizer has: {', '.join(self.special_tokens) or 'none'}",
                    fix='allow one of those, or allowed_special="all"',
                )
        return set(names)

    def _join(self, ids: Ids, who: str) -> bytes:
        plain = check_ids(ids, self.vocab_size, who)
        found = [self.tokens[token_id] for token_id in plain]
        if b"" in found:
            raise ArgumentError(
                f"{who}: id {plain[found.index(b'')]} at position {found.index(b'')} has no token",
                why="this vocabulary has unused ids between its special tokens",
                fix="use the tokenizer that made these ids",
            )
        return b"".join(found)

    def _encode(self, text: str) -> list[int]:
        """Ids of ordinary text."""
        return list(chain.from_iterable(map(self._cache.__getitem__, pieces(text, self.split))))

    def _encode_piece(self, piece: str) -> list[int]:
        data = piece.encode("utf-8")
        if self.whole_pieces and data in self.vocab:
            return [self.vocab[data]]
        try:
            ids = [self._byte_ids[byte] for byte in data]
        except KeyError as error:
            raise ArgumentError(
                f"encode: {piece[:40]!r} contains the byte {error.args[0]:#04x}, which has no token",
                why="this vocabulary lacks bytes that did not occur in its training text",
                fix="leave the character out",
            ) from None
        return merge(ids, self._ranks, self._made)


class _Pieces(dict[str, list[int]]):
    """Cache of the ids of recent pieces, which encodes missing pieces."""

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, piece: str) -> list[int]:
        ids = self._encode(piece)
        if len(piece) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_PIECES:
                self.clear()
            self[piece] = ids
        return ids


def _count_pieces(texts: Texts, split: str) -> dict[bytes, int]:
    """Count of each piece, as UTF-8, in the texts."""
    counts: Counter[str] = Counter()
    for text in as_texts(texts):
        check_text(text, "train")
        check_utf8(text, "train")
        counts.update(pieces(text, split))
    return {piece.encode("utf-8"): count for piece, count in counts.items()}


_MOST_HOLES = 4096  # unused ids; a file with more is damaged


def tokens_by_id(vocab: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> list[bytes]:
    """Tokens by id; b"" for unused ids between special tokens after the ordinary ones."""
    by_id = {token_id: token for token, token_id in vocab.items()}
    by_id |= {token_id: text.encode("utf-8") for text, token_id in special_tokens.items()}
    count, end = len(vocab) + len(special_tokens), max(by_id, default=-1) + 1
    ordinary = max(vocab.values(), default=-1) + 1
    absent = next((token_id for token_id in range(ordinary) if token_id not in by_id), -1)
    if len(by_id) < count or absent >= 0 or min(by_id, default=0) < 0 or end > count + _MOST_HOLES:
        raise ArgumentError(
            f"BPETokenizer: {count} tokens, but "
            + (f"none has the id {absent}" if absent >= 0 else "an id comes twice or is far off"),
            why="ids are rows of the embedding table: 0, 1, 2, … without duplicates, and without gaps except "
            "between special tokens",
            fix="number the tokens from 0 without gaps",
        )
    return [by_id.get(token_id, b"") for token_id in range(end)]


def check_special_tokens(special_tokens: Mapping[str, int], vocab: Mapping[bytes, int]) -> None:
    """Raise for special tokens that are empty, or equal the name of an ordinary token in vocabulary files."""
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
