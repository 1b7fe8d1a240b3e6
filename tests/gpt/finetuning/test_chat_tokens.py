"""New tokens for conversations, and the built-in conversations."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.data.command import embedded_shakespeare
from gpt.finetuning.builtin_conversations import PLAYS, builtin_conversations
from gpt.finetuning.chat_tokens import with_chat_tokens
from gpt.models.gpt import GPT
from gpt.tasks.base import held_out
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, END, ChatTemplate
from tests.helpers.runs import assert_same


def model_of(size, **more):
    config = GPTConfig(vocab_size=size, block_size=32, n_layer=1, n_head=1, n_embd=8, **more)
    return GPT(config, tt.Generator(1)).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("words", [CharTokenizer("abc\n"), BPETokenizer.train("", 257)])
def test_old_ids_and_their_logits_stay(words, tied):
    before = model_of(words.vocab_size, tied_head=tied)
    after, tokenizer = with_chat_tokens(before, words, seed=3)
    assert tokenizer.vocab_size == after.config.vocab_size == words.vocab_size + 2
    assert tokenizer.encode("cab") == words.encode("cab")
    ids = tt.tensor([words.encode("cab")])
    with tt.no_grad():
        np.testing.assert_array_equal(after(ids).numpy()[..., :-2], before(ids).numpy())
    table = before.wte.weight.detach().numpy()
    new = after.wte.weight.detach().numpy()[-2:]
    assert np.abs(new - table.mean(0)).max() < table.std()
    assert (new[0] != new[1]).all()
    assert_same(with_chat_tokens(before, words, seed=3)[0], after)
    assert with_chat_tokens(after, tokenizer) == (after, tokenizer)
    ChatTemplate(tokenizer)


def test_unused_rows_are_taken_first():
    model = model_of(8)
    after, tokenizer = with_chat_tokens(model, CharTokenizer("abc"))
    assert after is model
    assert tokenizer.special_tokens == {BEGIN: 3, END: 4}


def test_builtin_conversations():
    text = embedded_shakespeare()
    learned, kept = (builtin_conversations(text, 5, 400, part) for part in ("train", "test"))
    assert learned == builtin_conversations(text, 5, 400)
    assert learned != builtin_conversations(text, 6, 400)
    for talk in [*learned, *kept]:
        assert [message["role"] for message in talk] == ["user", "assistant"] * (len(talk) // 2)
        assert all(message["content"] for message in talk)
    asked = [[m["content"] for talk in talks for m in talk[::2]] for talks in (learned, kept)]
    common = set(asked[0]) & set(asked[1])
    assert max(map(len, common)) <= 40  # greetings, and short speeches such as "Ay, my lord."
    spelled = [q for part in asked for q in part if q.startswith(("Spell", "How do you sp"))]
    assert {held_out(question.split()[-1].strip(".?")) for question in spelled} == {False, True}
    for talk in learned:
        for question, answer in zip(talk[::2], talk[1::2], strict=True):
            mark = ": " if question["content"].startswith("Go") else "? "
            kind, _, line = question["content"].partition(mark)
            if kind == "Which play is this from":
                place = text.index(line)
                before = [play for play, words in PLAYS.items() if text.index(words) <= place]
                assert answer["content"] == f"{before[-1]}." or text.count(line) > 1
            elif kind == "Go on":
                assert f"{line}\n{answer['content']}" in text
