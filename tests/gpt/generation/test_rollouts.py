"""Answers sampled together are those of `generate`; they have the probabilities of the model."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.generation.rollouts import sample_answers
from gpt.models.gpt import GPT
from tinytensor.errors import ArgumentError


def made(**config):
    model = GPT(GPTConfig(7, block_size=24, n_layer=2, n_head=2, n_embd=16, **config), tt.Generator(1))
    for p in model.parameters():  # far from even probabilities
        with tt.no_grad():
            p *= 8.0
    return model.eval()


PROMPTS = [[1, 2, 3], [4, 1, 5, 6, 2, 3, 3], [6], [2, 2, 5]]


@pytest.mark.parametrize("config", [{}, {"position": "rope", "n_kv_head": 1}, {"position": "alibi"}])
def test_greedy_answers_are_those_of_single_prompts(config):
    model = made(**config)
    wanted = [list(generate(model, prompt, 9, temperature=0)) for prompt in PROMPTS]
    stop = wanted[0][4]
    cut = [row[: row.index(stop) + 1] if stop in row else row for row in wanted]
    assert len({len(row) for row in cut}) > 1
    found = sample_answers(model, PROMPTS, 9, stop_ids={stop}, copies=2, temperature=0.0)
    assert found == [row for row in cut for _ in range(2)]


def test_sampled_tokens_have_the_probabilities_of_the_model():
    model, temperature = made(), 1.7
    generator = tt.Generator(5)
    found = sample_answers(
        model, [[1, 2], [3]], 1, stop_ids=(), copies=4000, temperature=temperature, generator=generator
    )
    for prompt, tokens in (([1, 2], found[:4000]), ([3], found[4000:])):
        with tt.no_grad():
            logits = model(tt.tensor([prompt])).numpy()[0, -1].astype(np.float64) / temperature
        p = np.exp(logits - logits.max())
        p /= p.sum()
        counts = np.bincount(np.concatenate(tokens), minlength=7)
        assert np.abs(counts - 4000 * p).max() < 5 * np.sqrt(4000 * 0.25)


def test_the_generator_decides():
    model = made()

    def drawn(seed):
        return sample_answers(model, PROMPTS, 6, stop_ids={0}, copies=3, generator=tt.Generator(seed))

    assert drawn(1) == drawn(1) != drawn(2)


def test_ids_that_only_pad_the_vocabulary_are_not_sampled():
    answers = sample_answers(made(), PROMPTS, 8, stop_ids=(), copies=8, temperature=9.0, vocab_size=3)
    assert {token for answer in answers for token in answer} == {0, 1, 2}


@pytest.mark.parametrize(("prompts", "count"), [([[1], []], 3), ([], 3), ([[1] * 20], 5), ([[1]], 0)])
def test_what_does_not_fit_is_refused(prompts, count):
    with pytest.raises(ArgumentError, match="sample_answers: prompts of"):
        sample_answers(made(), prompts, count, stop_ids={0})


def test_weights_that_overflowed_are_refused():
    model = made()
    with tt.no_grad():
        model.ln_f.weight *= float("nan")
    with pytest.raises(ArgumentError, match="infinite or NaN"):
        sample_answers(model, [[1]], 3, stop_ids={0})
