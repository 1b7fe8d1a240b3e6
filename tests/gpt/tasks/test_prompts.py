"""Questions in the form that a model was trained on."""

import pytest

from gpt.tasks.prompts import Prompts
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, END


def test_a_model_with_chatml_is_asked_as_a_user():
    tokenizer = BPETokenizer.train("", 259, special_tokens=[BEGIN, END, "<|endoftext|>"])
    prompts, special = Prompts(tokenizer), tokenizer.special_tokens
    ids = prompts.of("Sort b a.")
    assert tokenizer.decode(ids) == f"{BEGIN}user\nSort b a.{END}\n{BEGIN}assistant\n"
    assert ids[0] == special[BEGIN]
    assert {special[BEGIN], special[END]} <= set(prompts.stop_ids)
    answer = [*tokenizer.encode("a b"), special[END]]
    assert prompts.text(answer) == prompts.text(answer[:-1]) == "a b"


def test_other_models_are_asked_in_a_plain_form():
    characters = Prompts(CharTokenizer.train("Sort b a.\nAnswer: "))
    assert characters.tokenizer.decode(characters.of("Sort b a.")) == "Sort b a.\nAnswer: "
    assert characters.stop_ids == tuple(characters.tokenizer.encode("\n"))
    tokens = Prompts(BPETokenizer.train("", 257))
    assert tokens.stop_ids == (tokens.tokenizer.separator,)
    assert tokens.text([]) == ""


def test_a_model_with_a_template_of_its_own_is_asked_by_that():
    pytest.importorskip("jinja2")
    tokenizer = BPETokenizer.train("", 257)
    tokenizer.chat_template = "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
    assert tokenizer.decode(Prompts(tokenizer).of("Sort b a.")) == "[INST] Sort b a. [/INST]"
