"""Byte-level byte-pair encoding as in GPT-2: any text, any bytes, nothing is ever unknown.

A text is cut into pieces (`gpt/pretokens.py`); each piece starts as its UTF-8 bytes; again and again the two
adjacent tokens whose merge was learned first become one. Knows nothing of training data files and models.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from gpt.bpe_merge import merge_long, merge_short
from gpt.bpe_train import BYTE_TOKENS, learn_merges
from gpt.files import PathLike
from gpt.pretokens import NAME_BYTES, pieces, printable, unprintable
from gpt.tokenizer_json import Merge, write_tokenizer_json
from gpt.vocabulary import Ids, Texts, as_texts, check_ids, check_text
from tinytensor.errors import ArgumentError, DTypeError

__all__ = ["END_OF_TEXT", "BPETokenizer"]

END_OF_TEXT = "<|endoftext|>"

_LONG = 64  # bytes; from here on a heap finds the next merge faster than a list
_CACHED_PIECES = 1 << 18
_CACHED_LENGTH = 64  # characters; longer pieces hardly ever come again

Progress = Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]]


class BPETokenizer:
    """Byte-level BPE tokenizer with GPT-2's cutting rule.

    Args:
        vocab: bytes of each ordinary token → id. Holds all 256 single bytes.
        merges: pairs of tokens in the order of their rank.
        special_tokens: text of each special token → id. They have no merges and stand for themselves.

    Raises:
        ArgumentError: the ids are not 0 … vocab_size - 1, a byte is missing, a merge names or makes a token
            that the vocabulary lacks, or a special token is empty or collides with an ordinary one.

    Example:
        >>> from gpt.bpe import BPETokenizer
        >>> tokenizer = BPETokenizer.train("low lower lowest", 260)
        >>> tokenizer.tokens[256:]
        [b'lo', b'low', b' low', b'<|endoftext|>']
        >>> tokenizer.decode(tokenizer.encode("below, ça va? 🙂"))
        'below, ça va? 🙂'
    """

    def __init__(
        self, vocab: Mapping[bytes, int], merges: Iterable[Merge], special_tokens: Mapping[str, int]
    ) -> None:
        self.special_tokens = dict(special_tokens)
        _check_special(self.special_tokens, vocab)
        by_id = {token_id: token for token, token_id in vocab.items()}
        by_id |= {token_id: text.encode("utf-8") for text, token_id in self.special_tokens.items()}
        count = len(vocab) + len(self.special_tokens)
        if by_id.keys() != set(range(count)):
            absent = next(token_id for token_id in range(count + 1) if token_id not in by_id)
            raise ArgumentError(
                f"BPETokenizer: {count} tokens, but none has the id {absent}",
                why="ids are rows of the embedding table: 0, 1, 2, … without holes and repetitions",
                fix="number the tokens from 0 without gaps",
            )
        self.tokens: list[bytes] = [by_id[token_id] for token_id in range(count)]
        self.merges: list[Merge] = list(merges)
        self.vocab = dict(vocab)
        self._byte_ids = [self._id(token, "vocab") for token in map(bytes, zip(range(256)))]
        self._made: list[int] = []  # rank → the token that the merge makes
        self._ranks: dict[tuple[int, int], int] = {}
        for rank, (first, second) in enumerate(self.merges):
            where = f"merge {rank}"
            self._made.append(self._id(first + second, where))
            self._ranks.setdefault((self._id(first, where), self._id(second, where)), rank)
        self._cache: dict[str, list[int]] = {}

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
        min_count: int = 2,
        progress: Progress = iter,
    ) -> "BPETokenizer":
        """Learn a vocabulary: the 256 bytes, then merges of the most frequent pairs, then the special tokens.

        Of several most frequent pairs the one with the smallest ids merges first, so the result depends on
        nothing but the texts.

        Args:
            texts: one text, or an iterable of texts; no token spans two of them.
            vocab_size: number of tokens wanted, the special ones included.
            special_tokens: they get the last ids. Where their text occurs in `texts` it is ordinary text.
            min_count: pairs that occur less often are not merged; the vocabulary can end up smaller.
            progress: wraps the iterator of merges, for example `tqdm.tqdm`.

        Returns:
            tokenizer with `vocab_size` tokens, or fewer if the texts do not hold so many pairs.

        Raises:
            ArgumentError: `vocab_size` has no room for the bytes and special tokens, or `min_count` < 1.
            DTypeError: a text is not a str.

        Memory: about 150 bytes per byte of *distinct* pieces; the texts themselves are not kept.

        Example:
            >>> from gpt.bpe import BPETokenizer
            >>> BPETokenizer.train(["hug hug pug", "hugs"], 259).merges
            [(b'u', b'g'), (b'h', b'ug')]
        """
        special_tokens = [special_tokens] if isinstance(special_tokens, str) else list(special_tokens)
        least = len(BYTE_TOKENS) + len(special_tokens)
        if vocab_size < least:
            raise ArgumentError(
                f"train: vocab_size={vocab_size} is too small",
                why=f"256 bytes and {len(special_tokens)} special tokens need {least} ids",
                fix=f"choose vocab_size >= {least}, for example 1024",
            )
        if min_count < 1:
            raise ArgumentError(
                f"train: min_count={min_count}", why="a pair must occur to be merged", fix="use min_count=2"
            )
        pairs = learn_merges(_count_pieces(texts), vocab_size - len(special_tokens), min_count)
        tokens = list(BYTE_TOKENS)
        merges: list[Merge] = []
        for first, second in progress(pairs):
            merges.append((tokens[first], tokens[second]))
            tokens.append(tokens[first] + tokens[second])
        vocab = {token: token_id for token_id, token in enumerate(tokens)}
        return cls(vocab, merges, {text: len(tokens) + i for i, text in enumerate(special_tokens)})

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self.tokens)

    @property
    def separator(self) -> int | None:
        """The id of <|endoftext|>, which stands between documents, or None."""
        return self.special_tokens.get(END_OF_TEXT)

    def encode(self, text: str, *, allowed_special: Collection[str] = ()) -> list[int]:
        """Turn a text into ids.

        Args:
            text: any text without lone surrogates.
            allowed_special: names of special tokens that become their id where they stand in the text; "all"
                means all. The others are ordinary text, so that a text from outside cannot give commands.

        Returns:
            ids.

        Raises:
            ArgumentError: a lone surrogate, or an unknown name in `allowed_special`.
            DTypeError: not a str.

        Example:
            >>> from gpt.bpe import BPETokenizer
            >>> tokenizer = BPETokenizer.train("", 257)
            >>> tokenizer.encode("<|endoftext|>", allowed_special="all")
            [256]
            >>> len(tokenizer.encode("<|endoftext|>"))
            13
        """
        check_text(text, "encode")
        _check_surrogates(text, "encode")
        allowed = self._allowed(allowed_special)
        if not allowed:
            return self._encode(text)
        # Of two special tokens that begin alike the longer one wins; odd parts are what the pattern matched.
        alternatives = "|".join(map(re.escape, sorted(allowed, key=len, reverse=True)))
        ids: list[int] = []
        for i, part in enumerate(re.split(f"({alternatives})", text)):
            ids += [self.special_tokens[part]] if i % 2 else self._encode(part)
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        r"""Turn any bytes into ids; for valid UTF-8 the same as `encode` of its text.

        Args:
            data: any bytes; those that are no UTF-8 are cut like punctuation.

        Returns:
            ids; `decode_bytes` gives the bytes back.

        Raises:
            DTypeError: not bytes.

        Example:
            >>> from gpt.bpe import BPETokenizer
            >>> tokenizer = BPETokenizer.train("", 257)
            >>> tokenizer.decode_bytes(tokenizer.encode_bytes(b"\xff\x00"))
            b'\xff\x00'
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise DTypeError(
                f"encode_bytes: the data is a {type(data).__name__}, not bytes",
                why="bytes are encoded as they are",
                fix="call encode(text) for a str",
            )
        return self._encode(bytes(data).decode("utf-8", "surrogateescape"))

    def decode(self, ids: Ids) -> str:
        r"""Turn ids into text; bytes that are no valid UTF-8 (half a character) become U+FFFD.

        Args:
            ids: integers in 0 … vocab_size - 1; special tokens give their text.

        Returns:
            text.

        Raises:
            ArgumentError: an id outside the vocabulary.
            DTypeError: ids that are no integers.

        Example:
            >>> from gpt.bpe import BPETokenizer
            >>> tokenizer = BPETokenizer.train("", 257)
            >>> tokenizer.decode(tokenizer.encode("é")[:1]) == "\ufffd"
            True
        """
        return self._join(check_ids(ids, self.vocab_size, "decode")).decode("utf-8", "replace")

    def decode_bytes(self, ids: Ids) -> bytes:
        r"""Turn ids into exactly the bytes that they stand for.

        Args:
            ids: integers in 0 … vocab_size - 1; special tokens give the bytes of their text.

        Returns:
            bytes.

        Raises:
            ArgumentError: an id outside the vocabulary.
            DTypeError: ids that are no integers.

        Example:
            >>> from gpt.bpe import BPETokenizer
            >>> tokenizer = BPETokenizer.train("", 257)
            >>> tokenizer.decode_bytes(tokenizer.encode("é"))
            b'\xc3\xa9'
        """
        return self._join(check_ids(ids, self.vocab_size, "decode_bytes"))

    def save(self, path: PathLike) -> None:
        """Write the tokenizer in the `tokenizer.json` format of Hugging Face's `tokenizers`.

        Args:
            path: the file; replaced in one step if it exists.

        Raises:
            SaveError: the file cannot be written.

        Example:
            >>> import gpt.tokenizer, pathlib, tempfile
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "tokenizer.json"
            >>> gpt.tokenizer.BPETokenizer.train("low lower", 259).save(path)
            >>> gpt.tokenizer.load(path)
            BPETokenizer(vocab_size=259, merges=2, special: <|endoftext|>)
        """
        write_tokenizer_json(path, self.vocab, self.merges, self.special_tokens)

    def _id(self, token: bytes, where: str) -> int:
        """The id of an ordinary token that must be there."""
        if token not in self.vocab:
            raise ArgumentError(
                f"BPETokenizer: {where} needs the token {printable(token)!r}, which is not in the vocabulary",
                why="all 256 bytes, and both parts and the result of each merge, are tokens",
                fix="give it an id, or use the merges and the vocabulary of the same training",
            )
        return self.vocab[token]

    def _allowed(self, names: Collection[str]) -> set[str]:
        """The special tokens that `encode` was told to honor."""
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

    def _join(self, ids: list[int]) -> bytes:
        return b"".join([self.tokens[token_id] for token_id in ids])

    def _encode(self, text: str) -> list[int]:
        """The ids of ordinary text, in which lone surrogates stand for bytes that are no UTF-8."""
        cached = self._cache.get
        ids: list[int] = []
        for piece in pieces(text):
            ids += cached(piece) or self._encode_piece(piece)
        return ids

    def _encode_piece(self, piece: str) -> list[int]:
        ids = [self._byte_ids[byte] for byte in piece.encode("utf-8", "surrogateescape")]
        merge = merge_short if len(ids) < _LONG else merge_long
        ids = merge(ids, self._ranks, self._made)
        if len(piece) <= _CACHED_LENGTH:
            if len(self._cache) >= _CACHED_PIECES:
                self._cache.clear()
            self._cache[piece] = ids
        return ids


def _count_pieces(texts: Texts) -> dict[bytes, int]:
    """How often each piece occurs in the texts, as UTF-8."""
    counts: Counter[str] = Counter()
    for text in as_texts(texts):
        check_text(text, "train")
        _check_surrogates(text, "train")
        counts.update(pieces(text))
    return {piece.encode("utf-8"): count for piece, count in counts.items()}


def _check_surrogates(text: str, who: str) -> None:
    """Refuse text that has no UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"{who}: lone surrogate {text[error.start]!r} at position {error.start}",
            why="half of a surrogate pair is no character and has no UTF-8 bytes",
            fix="clean the text: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')",
        ) from None


def _check_special(special_tokens: Mapping[str, int], vocab: Mapping[bytes, int]) -> None:
    """Special tokens must be text that no ordinary token is written as in vocabulary files."""
    for text in special_tokens:
        check_text(text, "special_tokens")
        _check_surrogates(text, "special_tokens")
        taken = all(character in NAME_BYTES for character in text) and unprintable(text) in vocab
        if not text or taken:
            raise ArgumentError(
                f"BPETokenizer: {text!r} cannot be a special token",
                why="it is empty, or an ordinary token has this name in the vocabulary",
                fix=f"use a name that no text contains, such as {END_OF_TEXT!r}",
            )
