"""Questions as token ids for a model: by its chat template, or as plain lines."""

from collections.abc import Sequence

from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import BEGIN, END, ChatTemplate

PLAIN = "{}\nAnswer: "  # without a chat template


class Prompts:
    r"""Prompts for a tokenizer, and the answers that follow them as text.

    Args:
        tokenizer: with a chat template or the special tokens of ChatML, or without: then a prompt is
            `QUESTION\nAnswer: `, and an answer ends at the separator of documents, or at a newline.

    Attributes:
        stop_ids: ids that end an answer.

    Example:
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> prompts = Prompts(CharTokenizer.train("2+ 2?\nAnswer: 4"))
        >>> prompts.tokenizer.decode(prompts.of("2+2?"))
        '2+2?\nAnswer: '
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        talks = bool(tokenizer.chat_template) or {BEGIN, END} <= tokenizer.special_tokens.keys()
        self._chat = ChatTemplate(tokenizer) if talks else None
        if self._chat is not None:
            self.stop_ids = self._chat.stop_ids
        elif tokenizer.separator is not None:
            self.stop_ids = (tokenizer.separator,)
        else:
            self.stop_ids = tuple(tokenizer.encode("\n"))

    def of(self, question: str) -> list[int]:
        """Ids of a question, up to where the answer begins."""
        if self._chat is not None:
            return self._chat.prompt([{"role": "user", "content": question}])
        return self.tokenizer.encode(PLAIN.format(question))

    def text(self, ids: Sequence[int]) -> str:
        """Text of an answer, without the id that ends it."""
        return self.tokenizer.decode(ids[:-1] if ids and ids[-1] in self.stop_ids else ids)
