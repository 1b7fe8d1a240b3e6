"""Conversations from files of the usual formats: lists of messages {"role": …, "content": …}."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from gpt.data.records import Record, read_rows
from gpt.tokenizers.chat_template import ROLES, Message
from tinytensor.errors import FormatError
from tinytensor.files import PathLike

Conversation = list[Message]

FORMS = (
    '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]}, '
    '{"instruction": "…", "input": "…", "output": "…"}, {"prompt": "…", "completion": "…"} or '
    '{"question": "…", "answer": "…"}'
)
_PAIRS = (("instruction", "output"), ("prompt", "completion"), ("question", "answer"))
_SHAREGPT = {"human": "user", "gpt": "assistant", "system": "system"}


def read_conversations(path: PathLike) -> list[Conversation]:
    r"""Read a file of conversations: JSON lines, a JSON array, CSV or Parquet.

    A record has messages (OpenAI, Hugging Face), conversations (ShareGPT: from and value), instruction, input
    and output (Alpaca; input may be missing), prompt and completion, or question and answer. Pairs become
    conversations of a user's message and an answer, after the record's system message, if it has one.

    Args:
        path: the file; see `gpt.data.records.read_rows`.

    Raises:
        ArgumentError: the file cannot be read.
        FormatError: a record of another form, an unknown role, or no answer; or no records at all.
        MissingLibraryError: .parquet without pyarrow installed.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pairs.jsonl"
        >>> _ = path.write_text('{"instruction": "Add", "input": "2 and 2", "output": "4"}\n')
        >>> read_conversations(path)
        [[{'role': 'user', 'content': 'Add\n\n2 and 2'}, {'role': 'assistant', 'content': '4'}]]
    """
    found = [conversation_of(record, place) for place, record in read_rows(path)]
    if not found:
        raise FormatError(
            f"read_conversations: {path} is empty", why="it has no records", fix=f"a record is {FORMS}"
        )
    return found


def conversation_of(record: Record, place: str = "a record") -> Conversation:
    """Conversation of a record; `place` is where it is, for messages. See `read_conversations`.

    Raises:
        FormatError: a record of another form, an unknown role, or no answer.

    Example:
        >>> [message["role"] for message in conversation_of({"prompt": "2+2?", "completion": "4"})]
        ['user', 'assistant']
    """
    if "messages" in record or "conversations" in record:
        said = _messages(record.get("messages", record.get("conversations")), place)
    else:
        asks, answers = next((pair for pair in _PAIRS if record.keys() >= {*pair}), ("", ""))
        if not asks:
            _fail(place, f"its fields are {', '.join(map(str, record)) or 'none'}")
        asked, more = record[asks], record.get("input") if asks == "instruction" else None
        if isinstance(asked, list):  # messages, as in TRL's conversational form
            said = [*_messages(asked, place), *_messages(record[answers], place)]
        else:
            texts = [_text(text, place) for text in (asked, more) if text]
            said = [
                {"role": "user", "content": "\n\n".join(texts)},
                {"role": "assistant", "content": _text(record[answers], place)},
            ]
        if system := record.get("system"):
            said = [{"role": "system", "content": _text(system, place)}, *said]
    if not any(message["role"] == "assistant" for message in said):
        _fail(place, "it has no answer: no message of the assistant")
    return said


def _messages(value: Any, place: str) -> Conversation:
    """Messages of a list, or of its JSON text in a table."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            _fail(place, f"its messages are not JSON: {error}")
    if not isinstance(value, list) or not all(isinstance(message, Mapping) for message in value):
        _fail(place, "its messages are not a list of objects")
    said: Conversation = []
    for message in value:
        role, content = message.get("role"), message.get("content")
        if role is None and "from" in message:
            role, content = _SHAREGPT.get(str(message["from"]), message["from"]), message.get("value")
        if role not in ROLES:
            _fail(place, f"it has a message of {role!r}; roles are {', '.join(ROLES)}")
        said.append({"role": role, "content": _text(content, place)})
    return said


def _text(value: Any, place: str) -> str:
    """Text of a content, which may be a list of parts of text."""
    if isinstance(value, list) and all(isinstance(p, Mapping) and p.get("type") == "text" for p in value):
        value = "".join([str(part.get("text", "")) for part in value])
    if not isinstance(value, str):
        _fail(place, f"{str(value)[:60]!r} is not a text")
    return value


def _fail(place: str, why: str) -> NoReturn:
    raise FormatError(f"read_conversations: {place}", why=why, fix=f"a record is {FORMS}")
