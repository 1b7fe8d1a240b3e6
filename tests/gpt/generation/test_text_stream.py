"""Streamed text: characters in parts, stop strings across tokens, words whose space is written late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.generation.text_stream import TextStream, stream_text


class Bytes:
    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Words:
    """As SentencePiece writes: no space in front of the first word."""

    def decode(self, ids):
        return "".join(f" w{i}" for i in ids)[1:]


class Pieces:
    """Tokens that are several characters long."""

    def __init__(self, pieces):
        self.pieces = pieces

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids)


def test_streamed_pieces_join_to_the_text():
    data = "naïve 猫 🐈 ok".encode()
    assert "".join(stream_text(Bytes(), iter(data))) == data.decode()
    broken = b"a\xff\xffb\xe7"
    assert "".join(stream_text(Bytes(), iter(broken))).startswith("a")


def test_words_keep_the_space_before_them():
    assert list(stream_text(Words(), [3, 1, 2])) == ["w3", " w1", " w2"]


def first_end(text, stop):
    """The text before the stop string that is complete first; naive: character by character."""
    for end in range(len(text) + 1):
        for s in sorted(stop, key=len, reverse=True):
            if text[:end].endswith(s):
                return text[: end - len(s)]
    return text


@given(
    st.lists(st.text("ab|", min_size=1, max_size=4), max_size=12),
    st.lists(st.text("ab|", min_size=1, max_size=5), max_size=3),
)
def test_stop_strings_do_not_depend_on_the_borders_of_tokens(pieces, stop):
    found = list(stream_text(Pieces(pieces), range(len(pieces)), stop))
    assert "".join(found) == first_end("".join(pieces), stop)
    assert all(found)


def test_nothing_is_asked_for_after_a_stop_string():
    asked = []

    def ids():
        for i in b"one\n\ntwo":
            asked.append(i)
            yield i

    assert list(stream_text(Bytes(), ids(), ["\n\n"])) == ["o", "n", "e"]
    assert bytes(asked) == b"one\n\n"


def test_text_comes_as_soon_as_it_is_certain():
    stream = TextStream(Pieces(["User", ": hi\n", "Us", "er", "er:"]), ["\nUser:"])
    assert [stream.push(i) for i in range(4)] == ["User", ": hi", "", ""]
    assert stream.push(4) == "\nUserer:"
    assert not stream.ended


def test_a_part_of_a_stop_string_at_the_end_is_text():
    assert list(stream_text(Bytes(), b"ab\n", ["\n\n"])) == ["a", "b", "\n"]
    assert "".join(stream_text(Bytes(), "né".encode()[:-1], ["x"])) == "n\ufffd"


def test_an_empty_stop_string():
    with pytest.raises(tt.ArgumentError, match="end every text"):
        TextStream(Bytes(), ["a", ""])
