"""Conversations from records of all usual forms."""

import json

import pytest

import tinytensor as tt
from gpt.data.conversations import conversation_of, read_conversations


def talk(*contents, system=""):
    first = [{"role": "system", "content": system}] if system else []
    return first + [
        {"role": "assistant" if i % 2 else "user", "content": content} for i, content in enumerate(contents)
    ]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": talk("a", "b", "c", "d", system="s"), "id": 3}, talk("a", "b", "c", "d", system="s")),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            talk("a", "b"),
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, *talk("", "b")[1:]]},
         talk("a", "b")),
        ({"messages": json.dumps(talk("a", "b"))}, talk("a", "b")),
        ({"instruction": "a", "input": "x", "output": "b"}, talk("a\n\nx", "b")),
        ({"instruction": "a", "input": "", "output": "b", "text": "…"}, talk("a", "b")),
        ({"instruction": "a", "output": "b", "system": "s"}, talk("a", "b", system="s")),
        ({"prompt": "a", "completion": "b"}, talk("a", "b")),
        ({"prompt": talk("a"), "completion": talk("", "b")[1:]}, talk("a", "b")),
        ({"question": "a", "answer": "b"}, talk("a", "b")),
        ({"messages": None, "input": None, "instruction": "a", "output": "b"}, talk("a", "b")),
    ],
)  # fmt: skip
def test_forms(record, expected, tmp_path):
    assert conversation_of(record) == expected
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([record, record]))
    assert read_conversations(path) == [expected, expected]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"text": "a"}, "its fields are 'text'"),
        ({"instruction": "a"}, "'output' is missing or null; other fields are 'instruction'"),
        ({"instruction": 0, "output": "b"}, "'instruction' is 0, which is not a text"),
        ({"conversations": [{"from": "human", "text": "a"}]}, "'value' is missing or null"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "'text' is missing"),
        ({"messages": talk("a")}, "it has no answer"),
        ({"messages": []}, "it has no answer"),
        ({"messages": "[{"}, "not JSON"),
        ({"messages": [3]}, "not a list of objects"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "message 1 is of 'tool'"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "'content' is missing or null; other fields are 'role'",
        ),
        ({"prompt": "a", "completion": 3}, "'completion' is 3, which is not a text"),
        ({"prompt": talk("a"), "completion": "b"}, "not JSON"),
    ],
)
def test_other_forms_are_explained(record, why, tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n" + json.dumps(record))
    with pytest.raises(tt.FormatError, match=rf"line 2(, message 1)?\n.*{why}"):
        read_conversations(path)


def test_an_empty_file(tmp_path):
    (tmp_path / "talks.json").write_text("[]")
    with pytest.raises(tt.FormatError, match="has no records"):
        read_conversations(tmp_path / "talks.json")
