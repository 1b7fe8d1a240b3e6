"""Streaming detokenizer."""

from gpt.tokenizers.base import Tokenizer

LONGEST = 8  # tokens to wait for an incomplete character; then it is decoded as broken


class TextStream:
    """Decodes a stream of tokens incrementally, and holds back characters that are not complete.

    Example:
        >>> from gpt.tokenizers.bpe import BPETokenizer
        >>> words = BPETokenizer.train("", 257)
        >>> stream = TextStream(words)
        >>> [stream.push(token) for token in words.encode("aé")]
        ['a', '', 'é']
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []  # the last decoded tokens
        self._waiting: list[int] = []

    def push(self, token: int) -> str:
        """Add a token; returns the text that has become final."""
        self._waiting.append(token)
        return self._decoded(complete=False)

    def close(self) -> str:
        """End the stream; returns the text that was held back."""
        return self._decoded(complete=True)

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
