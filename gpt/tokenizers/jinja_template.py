"""Chat templates of other models: Jinja sources as in Hugging Face's tokenizer_config.json, in a sandbox."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

from gpt.tokenizers.base import Tokenizer
from tinytensor.errors import ArgumentError, FormatError, MissingLibraryError

MOST = 1 << 22  # characters of a conversation
_MARK = "\ufdd0"  # a code point that no text has: it breaks special tokens within messages


class JinjaTemplate:
    """Chat template in Jinja, for a tokenizer with special tokens.

    Attributes:
        stop_ids: ids that end an answer: of eos_token, and the separator of documents.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        special = tokenizer.special_tokens
        self._tokenizer, self._generate = tokenizer, compiled(tokenizer.chat_template)
        found = {special.get(tokenizer.named_tokens.get("eos_token", "")), tokenizer.separator}
        self.stop_ids = tuple(sorted(token for token in found if token is not None))
        names = sorted(special, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    def ids(self, messages: Sequence[Mapping[str, str]], *, answer: bool) -> list[int]:
        """Ids of a conversation; with `answer`, and of the header of the answer that is to follow."""
        said = [{**message, "content": self._broken(message["content"])} for message in messages]
        text, end = "", 0
        try:
            pieces = self._generate(
                messages=said, add_generation_prompt=answer, **self._tokenizer.named_tokens
            )
            for piece in pieces:
                text += piece
                if len(text) > MOST:
                    raise ValueError(f"it makes more than {MOST:,} characters")
        except Exception as error:  # a template is a program of others, and may raise anything
            raise ArgumentError(
                "chat: the model's chat template refuses the conversation",
                why=str(error) or repr(error),
                fix="many want user and assistant in turns, and some no system message",
            ) from None
        ids: list[int] = []
        for match in self._special.finditer(text):
            ids += self._plain(text[end : match.start()])
            ids.append(self._tokenizer.special_tokens[match[0]])
            end = match.end()
        return ids + self._plain(text[end:])

    def _broken(self, content: str) -> str:
        """Text of a message, in which no special token is found."""
        return self._special.sub(lambda match: match[0][0] + _MARK + match[0][1:], content)

    def _plain(self, text: str) -> list[int]:
        return self._tokenizer.encode(text.replace(_MARK, "")) if text else []


def compiled(source: str) -> Callable[..., Iterator[str]]:
    """Function from the variables of a template to pieces of its text.

    Source: `render_jinja_template` of transformers, whose sandbox this is: no attributes of Python, nothing
        changed, ranges of at most 100,000 numbers.
    """
    try:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise MissingLibraryError(
            "chat: the library jinja2 is missing",
            why="the model has a chat template of its own, which is written in Jinja",
            fix='pip install ".[gpt]"',
        ) from None

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(source).generate
    except Exception as error:  # also of Python, which compiles what Jinja makes of it
        raise FormatError(
            "chat: the model's chat template is not Jinja",
            why=str(error) or repr(error),
            fix="correct chat_template in its tokenizer_config.json",
        ) from None
