"""Streaming detokenizer with stop strings."""

from collections.abc import Iterable, Iterator, Sequence

import tinytensor as tt
from gpt.tokenizers.base import Tokenizer

LONGEST = 8  # tokens to wait for an incomplete character; then it is decoded as broken


class TextStream:
    """Decodes a stream of tokens incrementally, and returns text once it is final.

    Incomplete characters and possible beginnings of a stop string are held back. The text does not depend on
    token boundaries.

    Attributes:
        ended: whether a stop string was found.

    Example:
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> stream = TextStream(CharTokenizer("abc"), stop=["bc"])
        >>> [stream.push(token) for token in (0, 1, 1, 2)], stream.ended
        (['a', '', 'b', ''], True)
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise tt.ArgumentError(
                "stop: an empty text", why="it would end every text at once", fix="leave it out"
            )
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._before: list[int] = []  # the last decoded tokens
        self._waiting: list[int] = []
        self._text = ""  # decoded, and not returned yet
        self.ended = False

    def push(self, token: int) -> str:
        """Add a token; returns the text that has become final."""
        self._waiting.append(token)
        return self._settle(self._decoded(complete=False))

    def close(self) -> str:
        """End the stream; returns the text that was held back."""
        given = self._settle(self._decoded(complete=True))
        rest, self._text = "" if self.ended else self._text, ""
        return given + rest

    def _decoded(self, *, complete: bool) -> str:
        """Text of the pending tokens. They are decoded after the tokens before them, since a tokenizer may
        omit the space before the first word of a text.
        """
        text = self._tokenizer.decode(self._before + self._waiting)
        if text.endswith("\ufffd") and len(self._waiting) < LONGEST and not complete:
            return ""
        new = text[len(self._tokenizer.decode(self._before)) :]
        self._before, self._waiting = self._waiting or self._before, []
        return new

    def _settle(self, new: str) -> str:
        text = self._text + new
        # Of several stop strings, the one that is complete first ends the text.
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.ended = True
            sure = min(found)[1]
        else:
            sure = len(text) - max((_overlap(text, stop) for stop in self._stop), default=0)
        self._text = text[sure:]
        return text[:sure]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of a text that is a prefix of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


def stream_text(tokenizer: Tokenizer, ids: Iterable[int], stop: Sequence[str] = ()) -> Iterator[str]:
    """Decode an iterable of ids to chunks of text; see TextStream. Stops consuming ids at a stop string.

    Example:
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> list(stream_text(CharTokenizer("ab"), iter([0, 1, 0])))
        ['a', 'b', 'a']
        >>> "".join(stream_text(CharTokenizer("abc"), iter([0, 0, 1, 2, 0]), stop=["bc"]))
        'aa'
    """
    stream = TextStream(tokenizer, stop)
    for token in ids:
        if piece := stream.push(token):
            yield piece
        if stream.ended:
            return
    if piece := stream.close():
        yield piece
