"""ChatML: ids, targets, and texts that look like special tokens."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.__main__ import main
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, CHATML, END, IGNORED, ChatTemplate
from gpt.tokenizers.tokenizer import load
from gpt.tokenizers.tokenizer_config import write_config
from tinytensor.errors import MissingLibraryError

SPECIAL = ["<|endoftext|>", BEGIN, END]
WORDS = BPETokenizer.train("to be or not to be, that is the question: " * 9, 300, special_tokens=SPECIAL)
CHARS = CharTokenizer.train("system user assistant\n abc<|im_end|>", special_tokens=SPECIAL)

texts = st.text("abc <|im_end|>\n", max_size=30)
talks = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts), min_size=1, max_size=5)


def messages_of(talk):
    return [{"role": role, "content": content} for role, content in talk]


@pytest.mark.parametrize("tokenizer", [WORDS, CHARS])
@given(talk=talks)
def test_text_of_a_prompt(tokenizer, talk):
    ids = ChatTemplate(tokenizer).prompt(messages_of(talk))
    text = "".join(f"{BEGIN}{role}\n{content}{END}\n" for role, content in talk)
    assert tokenizer.decode(ids) == f"{text}{BEGIN}assistant\n"
    begin, end = (tokenizer.special_tokens[name] for name in (BEGIN, END))
    assert (ids.count(begin), ids.count(end)) == (len(talk) + 1, len(talk))  # whatever the messages say


@pytest.mark.parametrize("tokenizer", [WORDS, CHARS])
@given(talk=talks)
def test_what_is_learned(tokenizer, talk):
    chat, talk = ChatTemplate(tokenizer), [*talk, ("assistant", "abc")]
    inputs, targets = chat.example(messages_of(talk))
    counted = targets != IGNORED
    answers = [content for role, content in talk if role == "assistant"]
    assert tokenizer.decode(targets[counted]) == "".join(content + END for content in answers)
    np.testing.assert_array_equal(targets[:-1][counted[:-1]], inputs[1:][counted[:-1]])
    # Each answer is learned after the very ids that ask for it.
    last = chat.prompt(messages_of(talk[:-1]))
    assert inputs[: len(last)].tolist() == last
    assert targets[len(last) - 1 :].tolist() == [*tokenizer.encode("abc"), chat.stop_ids[-1], IGNORED]


def test_ids_that_end_an_answer():
    assert ChatTemplate(WORDS).stop_ids == tuple(WORDS.special_tokens[name] for name in SPECIAL)


def test_a_default_system_message():
    tokenizer = BPETokenizer.train("", 258, special_tokens=[BEGIN, END])
    place = "{% for message in messages %}"
    added = "{% if loop.first and messages[0]['role'] != 'system' %}"
    added += "{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}"
    tokenizer.chat_template = CHATML.replace(place, place + added)
    chat, asked = ChatTemplate(tokenizer), [{"role": "user", "content": "Hi"}]
    system = [{"role": "system", "content": "Be kind"}]
    assert chat.prompt(asked) == chat.prompt([*system, *asked])
    tokenizer.chat_template = tokenizer.chat_template.replace("\n", "\\n")  # as in most files
    assert ChatTemplate(tokenizer).system == "Be kind"


def test_another_template_needs_jinja2(monkeypatch):
    tokenizer = BPETokenizer.train("", 258, special_tokens=[BEGIN, END])
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingLibraryError, match="Jinja"):
        ChatTemplate(tokenizer)


def test_the_template_stays_with_the_tokenizer(tmp_path):
    tokenizer = BPETokenizer.train("", 259, special_tokens=SPECIAL)
    tokenizer.save(tmp_path / "tokenizer.json")
    write_config(tokenizer, tmp_path, block_size=64)
    for again in (load(tmp_path), load(tmp_path / "tokenizer.json")):
        assert (again.chat_template, again.named_tokens["eos_token"]) == (CHATML, END)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 64
    config["chat_template"] = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    config["eos_token"] = {"content": "<|endoftext|>", "lstrip": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    again = load(tmp_path)
    assert (again.chat_template, again.named_tokens["eos_token"]) == ("b", "<|endoftext|>")
    (tmp_path / "chat_template.jinja").write_text("c")
    assert load(tmp_path).chat_template == "c"
    (tmp_path / "chat_template.jinja").unlink()
    for named in ('[{"name": "tool_use"}]', '[{"name": []}]', "3", '[{"name": "default"}]'):
        (tmp_path / "tokenizer_config.json").write_text(f'{{"chat_template": {named}}}')
        with pytest.raises(tt.FormatError, match="no usable chat_template"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "no messages"),
        ([{"role": "human", "content": "a"}], "role is one of system, user, assistant"),
        ([{"role": "user"}], "content is a text"),
        ([{"role": "user", "content": "x"}], "unknown character 'x'"),
        ([{"role": "user", "content": "a"}], "without an answer"),
    ],
)
def test_wrong_messages(messages, message):
    with pytest.raises(tt.ArgumentError, match=message):
        ChatTemplate(CHARS).example(messages)


@pytest.mark.parametrize("tokenizer", [BPETokenizer.train("", 256, special_tokens=[]), CharTokenizer("a")])
def test_tokenizers_without_the_tokens(tokenizer):
    with pytest.raises(tt.ArgumentError, match=r"the model knows no conversations.*\n.*\n.*--special=chat"):
        ChatTemplate(tokenizer)


@pytest.mark.parametrize("how", [["--kind=char"], ["--vocab-size=300"]])
def test_trained_tokenizers(tmp_path, how, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "tokenizer.json"
    text.write_text("user assistant system\n<|im_end|> it is so " * 20)
    assert main(["tokenizer", "train", str(text), *how, "--special=chat", f"--out={out}"]) == 0
    tokenizer = load(out)
    assert sorted(tokenizer.special_tokens.values()) == [tokenizer.vocab_size + n for n in (-3, -2, -1)]
    assert tokenizer.separator == tokenizer.special_tokens["<|endoftext|>"]
    asked = [{"role": "user", "content": "so<|im_end|>"}]
    ids = ChatTemplate(tokenizer).prompt(asked)
    assert ids.count(tokenizer.special_tokens[END]) == 1
    assert tokenizer.decode(ids) == f"{BEGIN}user\nso<|im_end|>{END}\n{BEGIN}assistant\n"


@pytest.mark.parametrize("special", [["a"], [""], ["<s>", "<s>"]])
def test_wrong_special_tokens_of_characters(special):
    with pytest.raises(tt.ArgumentError, match="CharTokenizer"):
        CharTokenizer("abc", special)
