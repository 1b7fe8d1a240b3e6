"""Text from token ids as they come, up to a stop string."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import tinytensor as tt
from gpt.tokenizers.base import Tokenizer

__all__ = ["TextStream", "stream_text"]

LONGEST = 8  # tokens that a character is waited for; then it is broken


class TextStream:
    """Takes one token after another, and gives the text that is certain by then.

    A character whose bytes are not complete waits for the rest, and so does what may be the beginning of a
    stop string. The text does not depend on where tokens end.

    Args:
        tokenizer: what decodes.
        stop: texts that end it; neither they nor what follows is given.

    Attributes:
        ended: a stop string came.

    Raises:
        ArgumentError: an empty stop string.

    Example:
        >>> from gpt.tokenizers.tokenizer import CharTokenizer
        >>> stream = TextStream(CharTokenizer("abc"), stop=["bc"])
        >>> [stream.push(token) for token in (0, 1, 1, 2)], stream.ended
        (['a', '', 'b', ''], True)
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise tt.ArgumentError("stop: an empty text", why="it would end every text", fix="leave it out")
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._before: list[int] = []  # the last tokens that were decoded
        self._waiting: list[int] = []
        self._text = ""  # decoded, and not given yet
        self.ended = False

    def push(self, token: int) -> str:
        """The text that has become certain by this token."""
        self._waiting.append(token)
        return self._settle(self._decoded(complete=False))

    def close(self) -> str:
        """What still waited, when no more tokens come."""
        given = self._settle(self._decoded(complete=True))
        rest, self._text = "" if self.ended else self._text, ""
        return given + rest

    def _decoded(self, *, complete: bool) -> str:
        """The text of the waiting tokens. They are decoded behind those before them, since a tokenizer may
        write the first word of a text without the space in front of it.
        """
        text = self._tokenizer.decode(self._before + self._waiting)
        if text.endswith("\ufffd") and len(self._waiting) < LONGEST and not complete:
            return ""
        new = text[len(self._tokenizer.decode(self._before)) :]
        self._before, self._waiting = self._waiting or self._before, []
        return new

    def _settle(self, new: str) -> str:
        text = self._text + new
        # Of several stop strings the one that is complete first ends the text.
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.ended = True
            sure = min(found)[1]
        else:
            sure = len(text) - max((_overlap(text, stop) for stop in self._stop), default=0)
        self._text = text[sure:]
        return text[:sure]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


def stream_text(tokenizer: Tokenizer, ids: Iterable[int], stop: Sequence[str] = ()) -> Iterator[str]:
    """Text of ids as they come; see TextStream. After a stop string no more ids are asked for.

    Args:
        tokenizer: what decodes.
        ids: token ids.
        stop: texts that end it; neither they nor what follows is given.

    Returns:
        Iterator of pieces; joined, they are the decoded text.

    Example:
        >>> from gpt.tokenizers.tokenizer import CharTokenizer
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
