"""Streamed text: characters in parts, words whose space is written late."""

import pytest

from gpt.generation.text_stream import TextStream


class Bytes:
    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Words:
    """As SentencePiece writes: no space in front of the first word."""

    def decode(self, ids):
        return "".join(f" w{i}" for i in ids)[1:]


@pytest.mark.parametrize(("tokenizer", "ids", "pieces"), [
    (Bytes(), "né 猫".encode(), ["n", "", "é", " ", "", "", "猫", ""]),
    (Bytes(), "né".encode()[:-1], ["n", "", "\ufffd"]),
    (Bytes(), b"a\xff" + b"b" * 8, ["a", "", "\ufffdb", *"bbbbbbb", ""]),
    (Words(), [3, 1, 2], ["w3", " w1", " w2", ""]),
])  # fmt: skip
def test_text_comes_as_soon_as_it_is_whole(tokenizer, ids, pieces):
    stream = TextStream(tokenizer)
    assert [*[stream.push(i) for i in ids], stream.close()] == pieces
