"""Conversations: what the model reads, what it forgets, how an answer ends, and what may be typed."""

import io
import signal
import sys

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generation import chat
from gpt.generation.chat import ChatConfig, Conversation
from gpt.generation.context import Reader
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.chat_template import BEGIN, END
from gpt.weights.save import write_run
from tests.gpt.models.test_variants import model_of
from tinytensor.runtime.compile_reports import is_reported

# Each token is a byte: a text has one list of ids.
WORDS = BPETokenizer.train("", 259, special_tokens=[BEGIN, END, "<|endoftext|>"])
OPENING = WORDS.encode(f"{BEGIN}assistant\n", allowed_special="all")
V = WORDS.vocab_size
CONFIG = GPTConfig(
    vocab_size=V, block_size=256, n_layer=1, n_head=2, n_embd=16, position="rope", norm="rms_norm"
)
PRINTED = np.array([len(token) == 1 and token <= b"~" for token in WORDS.tokens])


@pytest.fixture(scope="module")
def model():
    return model_of(CONFIG)


def talk_with(model, system="Be kind", count=6, context=0):
    return Conversation(model, WORDS, ChatConfig(system, count, context), Printing())


class Printing(Sampler):
    """Draws the likeliest token that is one printed character."""

    def __init__(self):
        super().__init__(SamplingConfig(temperature=0), V)

    def draw(self, logits, generator):
        return super().draw(np.where(PRINTED, logits, -1e9), generator)


def greedy(model, ids, count):
    return [token for _, token in generate_rows(model, [ids], count, Printing())]


class Scripted(Sampler):
    """Draws what it is told, and calls functions on the way."""

    def __init__(self, script):
        super().__init__(SamplingConfig(), V)
        self.script = list(script)

    def draw(self, logits, generator):
        while callable(step := self.script.pop(0)):
            step()
        return step


def scripted(model, *script, context=0, count=100):
    return Conversation(model, WORDS, ChatConfig("", count, context), Scripted(script))


def said_in(talk):
    return [(message["role"], message["content"]) for message in talk.messages]


def whole(*messages):
    """ChatML, written out as a text with special tokens in it."""
    text = "".join(f"{BEGIN}{role}\n{said}{END}\n" for role, said in messages)
    return WORDS.encode(text, allowed_special="all")


def asked(*messages):
    """What the model reads before it answers."""
    return [*whole(*messages), *OPENING]


def test_each_answer_is_that_of_a_fresh_reading(model):
    talk, said = talk_with(model), [("system", "Be kind")]
    for question in ("hello", "and again", "hello hello"):
        answer = "".join(talk.answer(question))
        said.append(("user", question))
        assert answer == WORDS.decode(greedy(model, asked(*said), 6))
        said.append(("assistant", answer))
        assert said_in(talk) == said[1:]
        assert talk.cut


def test_each_message_is_read_once(model, monkeypatch):
    sizes = []
    call = Reader.__call__

    def counted(self, rows):
        sizes.append(len(rows[0]))
        return call(self, rows)

    monkeypatch.setattr(Reader, "__call__", counted)
    talk = talk_with(model, count=3)
    for question in ("hello", "again"):
        "".join(talk.answer(question))
    first = len(asked(("system", "Be kind"), ("user", "hello")))
    second = 1 + len(WORDS.encode(f"{END}\n", allowed_special="all")) + len(asked(("user", "again")))
    assert sizes == [first, 1, 1, second, 1, 1]  # the last token of an answer is read with what follows


@pytest.mark.parametrize("name", [END, BEGIN, "<|endoftext|>"])
def test_a_special_token_ends_an_answer(model, name):
    talk = scripted(model, *WORDS.encode("hello"), WORDS.special_tokens[name])
    assert "".join(talk.answer("hi")) == "hello"
    assert talk._read == whole(("user", "hi"), ("assistant", "hello"))[:-2]
    assert not talk.cut


def test_half_a_character_is_said_as_such(model):
    data = "né 猫".encode()[:-1]
    talk = scripted(model, *[WORDS.vocab[bytes([b])] for b in data], WORDS.special_tokens[END])
    assert "".join(talk.answer("hi")) == "né \ufffd"
    assert said_in(talk)[-1] == ("assistant", "né \ufffd")


def test_who_stops_listening_ends_the_answer(model):
    talk, said = talk_with(model, "", count=20), []
    pieces = talk.answer("hello")
    part = next(pieces) + next(pieces)
    pieces.close()
    assert said_in(talk) == [("user", "hello"), ("assistant", part)]
    assert not talk.cut
    said = [*said_in(talk), ("user", "go on")]
    answer = "".join(talk.answer("go on"))
    assert answer == WORDS.decode(greedy(model, asked(*said), 20))


def test_an_answer_that_is_not_read_is_not_remembered(model):
    talk = talk_with(model, "")
    talk.answer("hello").close()
    assert talk.messages == []
    assert talk._read == []


def test_the_oldest_messages_make_room(model):
    talk = talk_with(model, count=20, context=110)
    for number in range(6):
        question = f"question {number}"
        answer = "".join(talk.answer(question))
        assert len(talk._read) <= 110
        assert said_in(talk)[-2:] == [("user", question), ("assistant", answer)]
        said = [("system", "Be kind"), *said_in(talk)[:-1]]
        ids = asked(*said)
        assert len(ids) <= 90  # no answer is cut off by the context
        assert answer == WORDS.decode(greedy(model, ids, 20))
    assert talk.forgotten >= 4
    assert len(talk.messages) + talk.forgotten == 12


def test_an_answer_ends_with_the_context(model):
    talk = talk_with(model, "", count=500, context=60)
    "".join(talk.answer("hello"))
    assert talk.cut
    assert len(talk._read) == 60 - 1  # the last token of the answer is not read


def test_a_message_that_is_too_long_counts_as_not_said(model):
    talk = talk_with(model, count=4, context=60)
    "".join(talk.answer("hello"))
    before, ids = talk.messages.copy(), talk._read.copy()
    with pytest.raises(tt.ArgumentError, match="the context has 60, one of them for the answer"):
        talk.answer("x1" * 40)
    assert (talk.messages, talk._read) == (before, ids)
    assert "".join(talk.answer("hi"))
    tiny = talk_with(model, "a system's message that fills it all", context=30)
    with pytest.raises(tt.ArgumentError, match="a prompt of"):
        tiny.answer("x")


# ---- the command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "run"
    write_run(model, WORDS, folder)
    return str(folder)


@pytest.fixture(autouse=True)
def printing(monkeypatch):
    monkeypatch.setattr(chat, "Sampler", lambda config, size: Printing())


def typed(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


HOW = ["--temperature=0", "--max_new_tokens=5", "--system=", "--top_p=none"]


def test_piped_messages(run, model, monkeypatch, capsys):
    typed(monkeypatch, "hello\n\n  \nça va?".encode())
    assert main(["chat", *HOW, run]) == 0
    talk = talk_with(model, "", count=5)
    expected = ["".join(talk.answer(message)) for message in ("hello", "ça va?")]
    said = capsys.readouterr()
    assert said.out == "".join(f"{answer}\n" for answer in expected)
    assert said.err.count("cut off") == 2


def test_what_is_forgotten_or_too_long_is_said(run, monkeypatch, capsys):
    typed(monkeypatch, b"question one\nquestion two\n" + b"x1" * 100 + b"\nquestion three\n")
    assert main(["chat", run, *HOW, "--context=50"]) == 0
    said = capsys.readouterr()
    assert "the first 2 messages no longer fit into the context" in said.err
    assert "error: chat: a message that makes a prompt of " in said.err
    assert len(said.out.splitlines()) >= 3


def test_commands_on_a_terminal(run, monkeypatch, told):
    lines = iter(["hello", "hello", "/reset", "hello", "/what", "/quit", "never read"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    head, first, second, third, told = told("chat", run, *HOW).splitlines()
    assert first == third != second
    assert "/reset begins again" in head
    assert told in head
    assert next(lines) == "never read"


def test_input_that_is_not_utf8(run, monkeypatch, told):
    typed(monkeypatch, b"h\xff\n")
    assert "not UTF-8" in told("chat", run, *HOW, code=2)


def test_ctrl_c_ends_an_answer_and_twice_the_program(model, capsys):
    def press():
        signal.raise_signal(signal.SIGINT)

    h, end = WORDS.vocab[b"h"], WORDS.special_tokens[END]
    before = signal.getsignal(signal.SIGINT)
    talk = scripted(model, h, press, h, h, h, h, end, h, press, press)
    chat._say(talk, "one")
    assert capsys.readouterr().out == "hh\n"
    chat._say(talk, "two")
    assert capsys.readouterr().out == "hhh\n"
    with pytest.raises(KeyboardInterrupt):
        chat._say(talk, "three")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_note_about_kernels_comes_before_an_answer(model):
    told: list[bool] = []

    def ask():
        told.append(not is_reported())

    h, end = WORDS.vocab[b"h"], WORDS.special_tokens[END]
    chat._say(scripted(model, ask, h, ask, h, end), "one")
    assert told == [True, False]


def test_weights_in_a_package(tmp_path, monkeypatch, model):
    from gpt.weights.hf import SHORT, local_path
    from gpt.weights.load import load
    from gpt.weights.save import save_single

    info = tmp_path / "tiny_weights-1.dist-info"
    info.mkdir()
    (tmp_path / "tiny_weights").mkdir()
    save_single(model, tmp_path / "tiny_weights" / "tiny.safetensors")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1\n")
    (info / "RECORD").write_text("tiny_weights/tiny.safetensors,,\ntiny_weights-1.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SHORT, "tiny", "tiny-weights")
    assert local_path("package:tiny-weights") == local_path("tiny")
    assert load("tiny")[0].config == model.config
