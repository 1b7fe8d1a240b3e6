"""Character tokenizer: one id per character."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from gpt.tokenizers.base import Ids, Texts, Tokenizer, as_texts, check_ids, check_text, unusable
from tinytensor.errors import ArgumentError
from tinytensor.files import PathLike, atomic_write


class CharTokenizer(Tokenizer):
    """Character tokenizer: one id for each character of an alphabet.

    Args:
        alphabet: the characters in the order of their ids.
        special_tokens: they get the ids after the characters. In a text they are ordinary characters.

    Example:
        >>> tokenizer = CharTokenizer.train("hello", special_tokens=["<|end|>"])
        >>> tokenizer.alphabet, tokenizer.encode("hole"), tokenizer.special_tokens
        ('ehlo', [1, 3, 2, 0], {'<|end|>': 4})
        >>> tokenizer.decode([1, 3, 2, 0, 4])
        'hole<|end|>'
    """

    FORMAT = "tinytensor-characters"

    def __init__(self, alphabet: Iterable[str], special_tokens: Collection[str] = ()) -> None:
        characters = list(alphabet)
        self._ids = _numbered(characters, "CharTokenizer", "characters")
        for character in characters:
            if len(character) != 1:
                raise ArgumentError(
                    f"CharTokenizer: {character!r} is not one character",
                    why="each id represents exactly one",
                    fix="pass a string of the characters, or use CharTokenizer.train(text)",
                )
        self.alphabet = "".join(characters)
        for text in special_tokens:
            if len(text) < 2:
                raise ArgumentError(
                    f"CharTokenizer: {text!r} cannot be a special token",
                    why="it is empty, or a character",
                    fix="use a name that no text contains, such as '<|endoftext|>'",
                )
        self._tokens = [*characters, *special_tokens]
        every = _numbered(self._tokens, "CharTokenizer", "tokens")
        self.special_tokens = {text: every[text] for text in special_tokens}

    def __repr__(self) -> str:
        special = f", special: {', '.join(self.special_tokens)}" if self.special_tokens else ""
        return f"CharTokenizer(vocab_size={self.vocab_size}{special})"

    @classmethod
    def train(cls, texts: Texts, *, special_tokens: Collection[str] = ()) -> "CharTokenizer":
        """Tokenizer of the characters that occur in one or several texts, in the order of code points."""
        found: set[str] = set()
        for text in as_texts(texts):
            check_text(text, "train")
            found.update(text)
        return cls(sorted(found), special_tokens)

    def with_special_tokens(self, names: Iterable[str]) -> "CharTokenizer":
        """Tokenizer with further special tokens, which get the ids after all others."""
        return CharTokenizer(self.alphabet, [*self.special_tokens, *names])

    @property
    def vocab_size(self) -> int:
        """Number of characters and special tokens."""
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of a text: one per character."""
        check_text(text, "encode")
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise ArgumentError(
                f"encode: unknown character {character!r} (U+{ord(character):04X}) at position "
                f"{text.index(character)}",
                why=f"the alphabet has {len(self.alphabet)} characters: {self.alphabet[:100]!r}",
                fix="leave the character out, train the tokenizer on text that has it, or use BPETokenizer",
            ) from None

    def decode(self, ids: Ids) -> str:
        """Text of ids."""
        return "".join([self._tokens[i] for i in check_ids(ids, self.vocab_size, "decode")])

    def save(self, path: PathLike) -> None:
        """Write the alphabet as JSON."""
        # A list: in a string, two adjacent surrogate halves would be read as one character.
        special = {"special_tokens": list(self.special_tokens)} if self.special_tokens else {}
        _write(path, {"format": self.FORMAT, "alphabet": list(self.alphabet), **special})

    @classmethod
    def from_json(cls, description: Mapping[str, object], path: PathLike) -> "CharTokenizer":
        """Tokenizer from the JSON object of its file; FormatError if it is damaged."""
        special = _strings(description, "special_tokens", path) if "special_tokens" in description else []
        return cls(_strings(description, "alphabet", path), special)


def _numbered(tokens: list[str], who: str, what: str) -> dict[str, int]:
    """Map from token to id; raises for an empty list and duplicates."""
    ids = {token: i for i, token in enumerate(tokens)}
    if not tokens:
        raise ArgumentError(f"{who}: no {what}", why="the text or list is empty", fix="pass a text")
    if len(ids) < len(tokens):
        twice = next(token for token, count in Counter(tokens).items() if count > 1)
        raise ArgumentError(
            f"{who}: {twice!r} comes twice", why="each token has one id", fix="list each token once"
        )
    return ids


def _strings(description: Mapping[str, object], field: str, path: PathLike) -> list[str]:
    """List of strings in a field of a file."""
    values = description.get(field)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise unusable(path, f"{field!r} is not a list of strings")
    return values


def _write(path: PathLike, description: Mapping[str, object]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(description, indent=1).encode("ascii"))
