"""Tokenizer protocol, and validation of texts and ids. Independent of the kinds of tokenizers."""

from collections.abc import Iterable, Mapping
from typing import Protocol, SupportsIndex

from tinytensor.errors import ArgumentError, DTypeError, FormatError
from tinytensor.files import PathLike

Ids = Iterable[SupportsIndex]  # lists, ranges, NumPy arrays of integers
Texts = str | Iterable[str]  # one text, or several that are never joined

END_OF_TEXT = "<|endoftext|>"


class Tokenizer(Protocol):
    """Text to token ids 0 … vocab_size - 1, and back.

    Attributes:
        special_tokens: text of each special token → id. `encode` never returns these ids: in a text they are
            ordinary characters.
        chat_template: Jinja source of the model's chat template, as in Hugging Face's tokenizer_config.json;
            empty: none.
        named_tokens: bos_token, eos_token and others of that file, which the template may use.
    """

    special_tokens: Mapping[str, int] = {}
    chat_template: str = ""
    named_tokens: Mapping[str, str] = {}

    @property
    def vocab_size(self) -> int:
        """Number of distinct ids."""

    @property
    def separator(self) -> int | None:
        """Id of the document separator, <|endoftext|>, or None if the vocabulary has none."""
        return self.special_tokens.get(END_OF_TEXT)

    def encode(self, text: str) -> list[int]:
        """Ids of a text.

        Raises:
            ArgumentError: a character that the vocabulary cannot represent, or a lone surrogate.
            DTypeError: not a str.
        """

    def decode(self, ids: Ids) -> str:
        """Text of ids, integers in 0 … vocab_size - 1; special tokens decode to their text.

        Raises:
            ArgumentError: an id outside the vocabulary, or one that has no token.
            DTypeError: ids that are not integers.
        """

    def save(self, path: PathLike) -> None:
        """Write a file that `gpt.tokenizers.tokenizer.load` reads; replaced atomically if it exists."""


def unusable(
    path: PathLike,
    why: str,
    what: str = "a usable tokenizer",
    fix: str = "the file is damaged or was edited by hand: save or download it again",
) -> FormatError:
    """Error for a file of a tokenizer that cannot be used."""
    return FormatError(f"load: {str(path)!r} is not {what}", why=why, fix=fix)


def every_text(tokenizer: Tokenizer) -> list[str | None]:
    """Text of each id decoded separately; None for unused ids, as GPT-4's between special tokens."""

    def text(token: int) -> str | None:
        try:
            return tokenizer.decode([token])
        except ArgumentError:
            return None

    return [text(token) for token in range(tokenizer.vocab_size)]


def as_texts(texts: Texts) -> Iterable[str]:
    """Wrap a single text in a list, so that it is not iterated by characters."""
    return [texts] if isinstance(texts, str) else texts


def check_text(text: object, who: str) -> None:
    """Raise DTypeError unless text is a str; `who` is the function that the user called."""
    if not isinstance(text, str):
        raise DTypeError(
            f"{who}: the text is a {type(text).__name__}, not a str",
            why="a tokenizer encodes text",
            fix="pass a str; decode bytes with data.decode('utf-8')",
        )


def check_utf8(text: str, who: str) -> None:
    """Raise ArgumentError for text that UTF-8 cannot encode; `who` is the function that the user called."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"{who}: lone surrogate {text[error.start]!r} at position {error.start}",
            why="half of a surrogate pair is not a character and has no UTF-8 encoding",
            fix="clean the text: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')",
        ) from None


def check_ids(ids: Ids, vocab_size: int, who: str) -> list[int]:
    """Ids as ints, checked against the vocabulary; `who` is the function that the user called."""
    try:
        plain = [token_id.__index__() for token_id in ids]
    except (AttributeError, TypeError):
        raise DTypeError(
            f"{who}: the ids are not integers",
            why="an id is a position in the vocabulary: an int or a NumPy integer",
            fix="pass a flat list such as [3, 1, 2]; from an array: array.ravel().astype(int)",
        ) from None
    if plain and not 0 <= min(plain) <= max(plain) < vocab_size:
        position = next(i for i, token_id in enumerate(plain) if not 0 <= token_id < vocab_size)
        raise ArgumentError(
            f"{who}: id {plain[position]} at position {position} is not in the vocabulary",
            why=f"this tokenizer has the ids 0 to {vocab_size - 1}",
            fix="use the tokenizer that made these ids, or leave out ids that pad the vocabulary",
        )
    return plain
