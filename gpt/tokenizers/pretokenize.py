"""Pre-tokenization: regular expressions that split text into pieces, and printable names of bytes.

Merges never cross the border of a piece. The rules are those of GPT-2, GPT-4, Llama 3 and SmolLM2, as
patterns of the standard library. Independent of vocabularies.
"""

import functools
import re
from pathlib import Path

from tinytensor.errors import ArgumentError

# White_Space of Unicode. Not Python's \s, which also includes the control characters U+001C to U+001F.
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Embedded, since Python versions differ in their version of Unicode, which would change the ids.
_CATEGORIES = Path(__file__).parent.parent / "text" / "unicode16.txt"
_ALL, _BASIC, _ASCII = 0x110000, 0x10000, 0x80

_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# The rules, with s for white space, L for letters, N for numbers. In o200k, where marks belong to words, U is
# upper case and what has no case, W is lower case and what has no case.
SPLITS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?[{L}]+| ?[{N}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}])|[{s}]+",
    "cl100k": _ENDINGS + r"|[^\r\n{L}{N}]?[{L}]+|[{N}]{{1,3}}| ?[^{s}{L}{N}]+[\r\n]*"
    r"|[{s}]++\Z|[{s}]*[\r\n]+|[{s}]+(?![^{s}])|[{s}]+",
    "llama3": _ENDINGS + r"|[^\r\n{L}{N}]?[{L}]+|[{N}]{{1,3}}| ?[^{s}{L}{N}]+[\r\n]*"
    r"|[{s}]*[\r\n]+|[{s}]+(?![^{s}])|[{s}]+",
    "o200k": rf"[^\r\n{{L}}{{N}}]?[{{U}}]*[{{W}}]+{_ENDINGS}?|[^\r\n{{L}}{{N}}]?[{{U}}]+[{{W}}]*{_ENDINGS}?"
    r"|[{N}]{{1,3}}| ?[^{s}{L}{N}]+[\r\n/]*|[{s}]*[\r\n]+|[{s}]+(?![^{s}])|[{s}]+",
    # Digits are split off first, and GPT-2's rule applies to the text between.
    "smollm": r"[{N}]|'(?:[sdmt]|ll|ve|re)| ?[{L}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}{N}])|[{s}]+",
}


@functools.cache
def _ranges() -> dict[str, list[tuple[int, int]]]:
    """Ranges of code points (first, last) by category."""
    found: dict[str, list[tuple[int, int]]] = {}
    name = ""
    for line in _CATEGORIES.read_text("ascii").splitlines():
        if line.startswith(" "):
            for run in line.split():
                first, _, last = run.partition("-")
                found[name].append((int(first, 16), int(last or first, 16)))
        elif not line.startswith("#"):
            name = line
            found[name] = []
    return found


def _members(categories: str, limit: int) -> str:
    """Contents of a [...] class for the characters of some categories below `limit`."""
    return "".join(
        f"\\U{first:08x}-\\U{min(last, limit - 1):08x}"
        for category in categories.split()
        for first, last in _ranges()[category]
        if first < limit
    )


@functools.cache
def split_pattern(split: str = "gpt2", limit: int = _ALL) -> re.Pattern[str]:
    r"""Compiled pattern of a pre-tokenization rule, for the standard library.

    Every character is in exactly one piece. GPT-2's rule: a word, a number or a run of other characters
    includes one space before it; of several spaces, the last belongs to the word.

        's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    "cl100k" (GPT-4) attaches any one character, not only a space, to the word after it, splits numbers into
    groups of three digits, and keeps newlines together; "llama3" differs from it only in white space at the
    end of the text, which it splits after the last newline; "o200k" (GPT-4o) also splits where upper case
    follows lower case, and includes marks in words; "smollm" is GPT-2's rule with single digits.

    Args:
        split: a key of SPLITS.
        limit: omit letters and numbers from this code point on. The pattern is correct for texts whose
            characters are all below it, and several times faster.

    Differs from: implementations with tables of another version of Unicode than 16.0, for characters that
        only one of the two has: they are neither letters nor numbers. The round trip is exact in any case.
    Source: Radford et al. 2019, the pattern of GPT-2's encoder; cl100k_base and o200k_base of tiktoken.

    Example:
        >>> split_pattern().findall("We'll  see 1234!")
        ['We', "'ll", ' ', ' see', ' 1234', '!']
        >>> split_pattern("cl100k").findall("We'll  see 1234!")
        ['We', "'ll", ' ', ' see', ' ', '123', '4', '!']
    """
    sets = {"L": "Lu Ll Lt Lm Lo", "N": "N", "U": "Lu Lt Lm Lo M", "W": "Ll Lm Lo M"}
    return re.compile(
        SPLITS[split].format(s=_SPACE, **{name: _members(kinds, limit) for name, kinds in sets.items()})
    )


def pieces(text: str, split: str = "gpt2") -> list[str]:
    """Split a text by a rule; joined, the pieces are the text."""
    if text.isascii():
        return split_pattern(split, _ASCII).findall(text)
    # Classes with characters beyond U+FFFF are searched range by range: four times slower, so only if needed.
    return split_pattern(split, _BASIC if max(text) < "\U00010000" else _ALL).findall(text)


def check_split(split: str, who: str) -> str:
    """Validate the name of a pre-tokenization rule; `who` is the function that the user called."""
    if split not in SPLITS:
        raise ArgumentError(
            f"{who}: split={split!r}",
            why="there is no pre-tokenization rule of this name",
            fix=f"choose one of {', '.join(SPLITS)}",
        )
    return split


def _byte_names() -> dict[int, str]:
    """Printable character of each byte, in GPT-2's order of ids.

    Bytes that are printable in Latin-1 keep their character; the other 68 (space, control characters, ...)
    map to the characters from U+0100 on. So a vocabulary can be written as text: a space is Ġ, a newline Ċ.
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
    """Name of a token in vocabulary files: b' the' is 'Ġthe'."""
    return "".join(BYTE_NAMES[byte] for byte in token)


def unprintable(name: str) -> bytes:
    """Bytes of a name, the inverse of `printable`; KeyError with a character that is not one of the 256."""
    return bytes(NAME_BYTES[character] for character in name)
