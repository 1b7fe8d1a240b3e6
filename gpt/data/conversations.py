"""Conversations from files of the usual formats: lists of messages {"role": …, "content": …}."""

import json
from collections.abc import Mapping
from typing import Any

from gpt.data.records import Record, read_rows, text_of, unusable
from gpt.tokenizers.chat_template import ROLES, Message
from tinytensor.files import PathLike

Conversation = list[Message]

FORMS = (
    '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}, …]}, '
    '{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}, …]}, '
    '{"instruction": "…", "input": "…", "output": "…"}, {"prompt": "…", "completion": "…"} or '
    '{"question": "…", "answer": "…"}'
)
_PAIRS = (("instruction", "output"), ("prompt", "completion"), ("question", "answer"))
_SHAREGPT = {"human": "user", "gpt": "assistant", "system": "system"}


def read_conversations(path: PathLike) -> list[Conversation]:
    r"""Read a file of conversations: JSON lines, a JSON array, CSV or Parquet.

    A record has messages (OpenAI, Hugging Face), conversations (ShareGPT: from and value), instruction, input
    and output (Alpaca; input may be missing), prompt and completion, or question and answer. Pairs become
    conversations of a user's message and an answer, after the record's system message, if it has one. Fields
    that are null count as missing.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pairs.jsonl"
        >>> _ = path.write_text('{"instruction": "Add", "input": "2 and 2", "output": "4"}\n')
        >>> read_conversations(path)
        [[{'role': 'user', 'content': 'Add\n\n2 and 2'}, {'role': 'assistant', 'content': '4'}]]
    """
    found = [conversation_of(record, place) for place, record in read_rows(path)]
    if not found:
        raise unusable(path, "it has no records", FORMS)
    return found


def conversation_of(record: Record, place: str = "a record") -> Conversation:
    """Conversation of a record; `place` is where it is, for messages. See `read_conversations`."""
    record = {name: value for name, value in record.items() if value is not None}  # of tables with gaps
    if listed := next((name for name in ("messages", "conversations") if name in record), ""):
        said = _messages(record[listed], place)
    else:
        known = [pair for pair in _PAIRS if record.keys() & {*pair}]
        if not known:
            fields = ", ".join(map(repr, record)) or "none"
            raise unusable(place, f"its fields are {fields}", FORMS)
        asks, answers = max(known, key=lambda pair: len(record.keys() & {*pair}))
        if isinstance(record.get(asks), list):  # messages, as in TRL's conversational form
            said = [*_messages(record[asks], place), *_messages(record.get(answers), place)]
        else:
            more = [_text(record, "input", place)] if asks == "instruction" and "input" in record else []
            asked = "\n\n".join(filter(None, [_text(record, asks, place), *more]))
            said = [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": _text(record, answers, place)},
            ]
        if system := _text(record, "system", place) if "system" in record else "":
            said = [{"role": "system", "content": system}, *said]
    if not any(message["role"] == "assistant" for message in said):
        raise unusable(place, "it has no answer: no message of the assistant", FORMS)
    return said


def _messages(value: Any, place: str) -> Conversation:
    """Messages of a list, or of its JSON text in a table."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise unusable(place, f"its messages are not JSON: {error}", FORMS) from None
    if not isinstance(value, list) or not all(isinstance(message, Mapping) for message in value):
        raise unusable(place, "its messages are not a list of objects", FORMS)
    said: Conversation = []
    for number, message in enumerate(value, 1):
        role, content = message.get("role"), "content"
        if role is None and "from" in message:
            role, content = _SHAREGPT.get(str(message["from"]), message["from"]), "value"
        if role not in ROLES:
            why = f"message {number} is of {role!r}; roles are {', '.join(ROLES)}"
            raise unusable(place, why, FORMS)
        said.append({"role": role, "content": _text(message, content, f"{place}, message {number}")})
    return said


def _text(record: Mapping[str, Any], name: str, place: str) -> str:
    """Text of a field, which may be a list of parts of text."""
    value = record.get(name)
    if isinstance(value, list) and all(isinstance(p, Mapping) and p.get("type") == "text" for p in value):
        return "".join([text_of(part, "text", place, FORMS) for part in value])
    return text_of(record, name, place, FORMS)
