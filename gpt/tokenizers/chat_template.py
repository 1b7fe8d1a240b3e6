r"""Chat templates: a conversation as token ids, for answers of a model and for training on them.

A message is {"role": …, "content": …}, as in OpenAI's and Hugging Face's formats. ChatML puts each between
two special tokens: `<|im_start|>user\nHello<|im_end|>\n`.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.jinja_template import JinjaTemplate
from tinytensor.errors import ArgumentError

Ints = npt.NDArray[np.int64]
Message = Mapping[str, str]

BEGIN, END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")
IGNORED = -100  # target excluded from the loss

# ChatML in Jinja; %s is empty, or adds a system message to conversations without one, as SmolLM2's.
_JINJA = (
    "{%% for message in messages %%}%s{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{%% endfor %%}{%% if add_generation_prompt %%}"
    "{{ '<|im_start|>assistant\n' }}{%% endif %%}"
)
_DEFAULT = (
    "{%% if loop.first and messages[0]['role'] != 'system' %%}"
    "{{ '<|im_start|>system\n%s<|im_end|>\n' }}{%% endif %%}"
)
CHATML = _JINJA % ""
_WITH_SYSTEM = re.compile(re.escape(_JINJA % "\0").replace("\0", "(.*)"), re.DOTALL)
_SYSTEM = re.compile(re.escape(_DEFAULT % "\0").replace("\0", "([^']*)"))


class ChatTemplate:
    r"""Format of conversations: the chat template of a model, or ChatML.

    Args:
        tokenizer: has a chat template, or the special tokens <|im_start|> and <|im_end|> of ChatML.

    Attributes:
        stop_ids: ids that end an answer: of <|im_end|> and <|im_start|>, or of the model's eos_token, and the
            separator of documents.
        system: ChatML's default system message, of conversations that begin with another one; empty: none.

    Source: ChatML, https://github.com/openai/openai-python/blob/v0.28.1/chatml.md; the template of
        SmolLM2-Instruct.

    Example:
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> words = CharTokenizer.train("user assistant system\nHi?", special_tokens=[BEGIN, END])
        >>> chat = ChatTemplate(words)
        >>> words.decode(chat.prompt([{"role": "user", "content": "Hi"}]))
        '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n'
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, special = tokenizer, tokenizer.special_tokens
        system = _default_system(tokenizer.chat_template)
        self.system = system or ""
        self._jinja = None if system is not None else JinjaTemplate(tokenizer)
        if self._jinja is not None:
            self.stop_ids = self._jinja.stop_ids
            return
        if not {BEGIN, END} <= special.keys():
            raise ArgumentError(
                "chat: the model knows no conversations",
                why=f"its tokenizer has no {BEGIN} and {END}, the delimiters of messages",
                fix="use a chat-tuned model, such as smollm2; a tokenizer of your own gets them by "
                "python -m gpt tokenizer train FILE --special=chat",
            )
        self._begin, self._end = special[BEGIN], special[END]
        stops = {self._begin, self._end, tokenizer.separator}
        self.stop_ids = tuple(sorted(token for token in stops if token is not None))
        self._line = tokenizer.encode("\n")

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation, and of the header of the answer that the model is to give.

        Args:
            messages: dictionaries with role (system, user, assistant) and content. Special tokens in a
                content are encoded as ordinary text. An answer is encoded apart from its header, as the model
                generates it.
        """
        if self._jinja is not None:
            return self._jinja.ids(self._complete(messages), answer=True)
        ids = [i for message in self._complete(messages) for i in self._message(message)]
        return [*ids, *self._header()]

    def example(self, messages: Sequence[Message]) -> tuple[Ints, Ints]:
        r"""Inputs and targets of a conversation, (T,) each: a target is the token after its input.

        Targets outside of answers are -100, which the loss ignores. The token that ends an answer is learned,
        the newline after it is not.

        Example:
            >>> from gpt.tokenizers.bpe import BPETokenizer
            >>> chat = ChatTemplate(BPETokenizer.train("", 258, special_tokens=[BEGIN, END]))
            >>> talk = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
            >>> inputs, targets = chat.example(talk)
            >>> chat.tokenizer.decode(targets[targets != IGNORED])
            '4<|im_end|>'
        """
        messages = self._complete(messages)
        chatml = self._jinja is None
        ids, learned = self._learned(messages) if chatml else self._learned_by_template(messages)
        if not any(learned):
            raise ArgumentError(
                "example: a conversation without an answer",
                why="the loss counts what the assistant says",
                fix='add a message {"role": "assistant", "content": "…"}',
            )
        whole = np.array(ids, np.int64)
        return whole[:-1], np.where(learned, whole, IGNORED)[1:]

    def _learned(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Ids in ChatML, and whether each is the assistant's."""
        ids: list[int] = []
        learned: list[bool] = []
        for message in messages:
            new = self._message(message)
            answer = len(new) - len(self._header()) - len(self._line)  # with its end
            ids += new
            if message["role"] == "assistant":
                learned += [*[False] * len(self._header()), *[True] * answer, *[False] * len(self._line)]
            else:
                learned += [False] * len(new)
        return ids, learned

    def _learned_by_template(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """The same by a template: an answer is what it adds to the header of the answer, up to a stop id."""
        jinja = self._jinja
        assert jinja is not None
        whole = jinja.ids(messages, answer=False)
        learned = [False] * len(whole)
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            begin = len(head := jinja.ids(messages[:i], answer=True))
            with_it = jinja.ids(messages[: i + 1], answer=False)
            stops = [k for k in range(begin, len(with_it)) if with_it[k] in self.stop_ids]
            end = stops[0] + 1 if stops else len(with_it)
            if with_it[:begin] != head or whole[:end] != with_it[:end]:
                raise ArgumentError(
                    "example: the model's chat template changes earlier messages of a conversation",
                    why="so an answer is written in another way when it is given than later on",
                    fix="train on conversations with one answer, the last message",
                )
            learned[begin:end] = [True] * (end - begin)
        return whole, learned

    def _complete(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Messages with the default system message, after validation."""
        if not messages:
            raise ArgumentError("chat: no messages", why="a conversation has one or more", fix="add one")
        for message in messages:
            role, content = message.get("role"), message.get("content")
            if role not in ROLES or not isinstance(content, str):
                raise ArgumentError(
                    f"chat: the message {str(dict(message))[:80]}",
                    why=f"role is one of {', '.join(ROLES)}, and content is a text",
                    fix='for example {"role": "user", "content": "Hello"}',
                )
        if self.system and messages[0]["role"] != "system":
            return [{"role": "system", "content": self.system}, *messages]
        return messages

    def _header(self) -> list[int]:
        return [self._begin, *self.tokenizer.encode("assistant\n")]

    def _message(self, message: Message) -> list[int]:
        """Ids of a message with its delimiters."""
        encode, role, content = self.tokenizer.encode, message["role"], message["content"]
        if role == "assistant":
            return [*self._header(), *encode(content), self._end, *self._line]
        return [self._begin, *encode(f"{role}\n{content}"), self._end, *self._line]


def _default_system(source: str) -> str | None:
    """Default system message of a Jinja source of ChatML; None if it is another template."""
    found = _WITH_SYSTEM.fullmatch((source or CHATML).replace("\\n", "\n"))
    system = _SYSTEM.fullmatch(found[1]) if found else None
    if not found or (found[1] and not system):
        return None
    return system[1] if system else ""
