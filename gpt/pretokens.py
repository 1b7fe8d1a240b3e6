"""What GPT-2 does to a text before any merge: split it into words, and give each byte a printable name.

A merge never crosses the border of a piece. Knows nothing of vocabularies.
"""

import functools
import itertools
import re
import unicodedata

__all__ = ["BYTE_NAMES", "NAME_BYTES", "gpt2_pattern", "pieces", "printable", "unprintable"]

# White_Space of Unicode. Not Python's \s, which counts the control characters U+001C to U+001F, too.
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# All letters and numbers lie in planes 0 to 3; the rest of Unicode is empty, private, or marks.
_ALL = 0x40000


def _members(category: str, limit: int) -> str:
    """The inside of [...] for the characters below `limit` of a category: "L" letters, "N" numbers."""
    ranges = []
    inside = (code for code in range(limit) if unicodedata.category(chr(code))[0] == category)
    for _, run in itertools.groupby(enumerate(inside), lambda pair: pair[1] - pair[0]):
        codes = [code for _, code in run]
        ranges.append(f"\\U{codes[0]:08x}-\\U{codes[-1]:08x}")
    return "".join(ranges)


@functools.cache
def gpt2_pattern(limit: int = _ALL) -> re.Pattern[str]:
    r"""GPT-2's rule for cutting text into pieces, as a pattern of the standard library.

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    Every character lands in exactly one piece. A word takes one space before it along; of several spaces, the
    last goes with the word.

    Args:
        limit: letters and numbers from this code point on are left out. The pattern is right for texts whose
            characters are all smaller, and several times faster.

    Returns:
        compiled pattern; `findall` gives the pieces.

    Differs from: the `regex` module and other implementations only for characters that were added to Unicode
        after the tables of the running Python (`unicodedata.unidata_version`): these count as neither letter
        nor number here. The text comes back exactly in any case.
    Source: Radford et al. 2019, the pattern of GPT-2's encoder.

    Example:
        >>> from gpt.pretokens import gpt2_pattern
        >>> gpt2_pattern().findall("We'll  see 42!")
        ['We', "'ll", ' ', ' see', ' 42', '!']
    """
    letter, number = _members("L", limit), _members("N", limit)
    return re.compile(
        rf"'(?:[sdmt]|ll|ve|re)| ?[{letter}]+| ?[{number}]+| ?[^{_SPACE}{letter}{number}]+"
        rf"|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    )


def pieces(text: str) -> list[str]:
    """Cut a text by GPT-2's rule; joined, the pieces are the text."""
    if text.isascii():
        return gpt2_pattern(0x80).findall(text)
    # A set of characters beyond U+FFFF is searched range by range: four times slower, so only where needed.
    return gpt2_pattern(0x10000 if max(text) < "\U00010000" else _ALL).findall(text)


def _byte_names() -> dict[int, str]:
    """One printable character for each byte, in GPT-2's order of ids.

    Bytes that print as Latin-1 keep their character; the other 68 (space, control characters, ...) take the
    characters from U+0100 on. So a vocabulary can be written as text: a space reads Ġ, a newline Ċ.
    """
    printing = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    names = {byte: chr(byte) for byte in printing}
    hidden = (byte for byte in range(256) if byte not in names)
    return names | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


BYTE_NAMES = _byte_names()
NAME_BYTES = {name: byte for byte, name in BYTE_NAMES.items()}


def printable(token: bytes) -> str:
    """The name of a token in vocabulary files: b' the' is 'Ġthe'."""
    return "".join(BYTE_NAMES[byte] for byte in token)


def unprintable(name: str) -> bytes:
    """The bytes behind a name; KeyError with the character if it is not one of the 256."""
    return bytes(NAME_BYTES[character] for character in name)
