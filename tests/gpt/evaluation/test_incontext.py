"""Examples in the prompt: probabilities against products by hand, and the table."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.evaluation.incontext import ANSWERS, QUERY, TASKS, few_shots, render
from gpt.generation.generate import generate
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.models.test_variants import model_of

WORDS = CharTokenizer("abcd: +\n")
V = WORDS.vocab_size


@pytest.fixture(scope="module")
def model():
    return model_of(GPTConfig(vocab_size=V, block_size=48, n_layer=1, n_head=2, n_embd=16))


def probability(model, prompt, answer):
    """The product of the probabilities of its characters."""
    found = 1.0
    for i, character in enumerate(answer):
        with tt.no_grad():
            row = model(tt.tensor([WORDS.encode(prompt + answer[:i])]))[0, -1].numpy().astype(np.float64)
        p = np.exp(row - row.max())
        found *= p[WORDS.encode(character)[0]] / p.sum()
    return found


def test_shots(model):
    examples = ["a: b", "b: c"]
    shots = few_shots(model, WORDS, examples, "c:", [" d", " a"])
    assert [shot.prompt for shot in shots] == ["c:", "a: b\nc:", "a: b\nb: c\nc:"]
    for shot in shots:
        text = WORDS.decode(list(generate(model, WORDS.encode(shot.prompt), 8, temperature=0)))
        assert shot.answer == text.partition("\n")[0]
        expected = [probability(model, shot.prompt, f"{answer}\n") for answer in (shot.answer, " d", " a")]
        assert [shot.probability, *shot.asked] == pytest.approx(expected, rel=1e-5)


def test_the_end_of_a_document_ends_an_answer_and_is_none_of_it():
    words = BPETokenizer.train("", 257, special_tokens=["<|endoftext|>"])
    ended = model_of(GPTConfig(257, 48, n_layer=1, n_head=1, n_embd=8, tied_head=False))
    with tt.no_grad():
        ended.ln_f.bias[0], ended.ln_f.weight[0] = 1.0, 0.0  # channel 0 is 1
        ended.lm_head.weight[:] = 0.0
        ended.lm_head.weight[words.separator, 0] = 5.0
    (shot,) = few_shots(ended, words, [], "a:")
    assert shot.answer == ""
    assert shot.probability == pytest.approx(1 / (256 + np.exp(5)))


def test_hostile_texts(model):
    with pytest.raises(tt.ArgumentError, match="at least one token"):
        few_shots(model, WORDS, [], "")
    for examples, answers in ((["a: b"] * 20, []), (["a: b"], ["a" * 48])):
        with pytest.raises(tt.ArgumentError, match="the model's context has 48"):
            few_shots(model, WORDS, examples, "c:", answers)


def test_the_command(tmp_path, told):
    words = CharTokenizer.train("\n".join([QUERY, *ANSWERS, *[line for task in TASKS for line in task]]))
    model = model_of(GPTConfig(vocab_size=words.vocab_size, block_size=96, n_layer=1, n_head=2, n_embd=16))
    run = str(tmp_path / "run")
    write_run(model, words, run)
    head, _, *lines = told("incontext", run).splitlines()
    assert head.startswith(f"{run} completes the line 'Italy:'")
    assert lines[:6] == render(few_shots(model, words, TASKS[0], QUERY, ANSWERS), TASKS[0], ANSWERS).split(
        "\n"
    )
    assert "usage: python -m gpt incontext" in told("incontext", "--help")
