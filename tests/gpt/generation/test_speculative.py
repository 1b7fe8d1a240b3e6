"""Speculative decoding: the same text where nothing is drawn, else the same distribution."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.generation.sampling import Past, Sampler, SamplingConfig
from gpt.generation.speculative import Speculation, _taken
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from tests.gpt.generation.test_generate import EVERY_WAY
from tests.gpt.models.test_variants import SMALL, VARIANTS, model_of

DRAFT = GPTConfig(vocab_size=11, block_size=12, n_layer=1, n_head=1, n_embd=4)


def greedy(V: int = 11) -> Sampler:
    return Sampler(SamplingConfig(temperature=0), V)


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_text_is_the_same_also_beyond_the_context(variant: str) -> None:
    model = model_of(replace(SMALL, **VARIANTS[variant]))
    for draft in (model_of(DRAFT), model):
        for prompt, ahead in ([3, 1], 1), ([3, 1], 4), ([5], 7), (list(range(8)), 3), ([4] * 30, 2):
            expected = list(generate(model, prompt, 13, temperature=0))
            assert list(Speculation(model, draft, ahead).generate(prompt, 13, greedy())) == expected


def test_a_model_that_drafts_for_itself_is_always_right() -> None:
    model = model_of(replace(SMALL, block_size=64))
    for how in EVERY_WAY:
        both = Speculation(model, model, ahead=4)
        how = {name: value for name, value in how.items() if name != "logit_bias"}
        drawn = both.generate([1, 2], 50, Sampler(SamplingConfig(**how), 11), tt.Generator(1))
        assert len(list(drawn)) == 50
        assert (both.passes, both.proposed, both.accepted) == (10, 40, 40)
        assert str(both) == "40 of 40 proposed tokens taken, 5.0 tokens a pass of the model"


@pytest.mark.parametrize("how", [{}, {"top_k": 2}, {"temperature": 0.7, "frequency_penalty": 1.0}])
def test_texts_follow_the_distribution_of_the_model(how: dict) -> None:
    """All texts of 3 tokens: how often each comes, beside its probability."""
    model = model_of(replace(SMALL, vocab_size=3, n_layer=1))
    draft, sampler, runs = model_of(replace(DRAFT, vocab_size=3)), Sampler(SamplingConfig(**how), 3), 1200
    p = {}
    for text in product(range(3), repeat=3):
        p[text] = 1.0
        for i, token in enumerate(text):
            with tt.no_grad():
                logits = model(tt.tensor([[0, *text[:i]]]))[0, -1].numpy()
            p[text] *= sampler.probabilities(logits, Past([0], list(text[:i])))[token]
    both, generator = Speculation(model, draft, ahead=2), tt.Generator(7)
    counts = Counter(tuple(both.generate([0], 3, sampler, generator)) for _ in range(runs))
    assert 0 < both.accepted < both.proposed  # the draft is neither useless nor perfect
    assert all(p[text] > 0 for text in counts)
    likely = [text for text in p if p[text] * runs > 5]
    chi2 = sum((counts[text] - p[text] * runs) ** 2 / (p[text] * runs) for text in likely)
    assert chi2 < len(likely) + 5 * np.sqrt(2 * len(likely))


class Numbers:
    """A generator that gives the numbers of a list."""

    def __init__(self, numbers: tuple[float, ...]) -> None:
        self.numbers: Iterator[float] = iter(numbers)

    def random(self) -> float:
        return next(self.numbers)


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_gives_exactly_the_probabilities_of_the_model(seed: int) -> None:
    """The first token, integrated over what is proposed and both random numbers."""
    rng, grid = np.random.default_rng(seed), (np.arange(60) + 0.5) / 60
    logits, q = rng.standard_normal((2, 4)) * 1.5, rng.dirichlet(np.ones(4))
    sampler = Sampler(SamplingConfig(), 4)
    found = np.zeros(4)
    for token in range(4):
        for numbers in product(grid, grid):
            first = next(_taken(logits, [token], [q], Past([0], []), sampler, Numbers(numbers)))
            found[first] += q[token] / 60**2
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    np.testing.assert_allclose(found, p, atol=2 / 60)


def test_what_was_read_can_be_taken_back() -> None:
    model = model_of(replace(SMALL, position="rope", sliding_window=3))
    ids = np.random.default_rng(0).integers(0, 11, (1, 30))
    with tt.no_grad():
        cache = KVCache(model.config, 1, room=40)
        model(tt.tensor(ids), cache)
        cache.rewind(20)
        found = model(tt.tensor([[5]]), cache)[0, -1].numpy()
        expected = model(tt.tensor([[*ids[0, :20], 5]]))[0, -1].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    assert cache.length == 21
    with pytest.raises(tt.ArgumentError, match="rewind to 22 of 21"):
        cache.rewind(22)
    small = KVCache(model.config, 1)
    with tt.no_grad():
        model(tt.tensor(ids), small)
    with pytest.raises(tt.ArgumentError, match="were dropped already"):
        small.rewind(25)
    fixed = model_of(SMALL)
    with pytest.raises(tt.ShapeError, match="context"), tt.no_grad():
        fixed(tt.tensor(ids), KVCache(fixed.config, 1, room=40))  # more room is no longer context


def test_hostile_arguments() -> None:
    model = model_of(SMALL)
    with pytest.raises(tt.ArgumentError, match="the model has 11 tokens, the draft 12"):
        Speculation(model, GPT(replace(DRAFT, vocab_size=12)))
    with pytest.raises(tt.ArgumentError, match="ahead=0"):
        Speculation(model, model, 0)
    for prompt, count in ([], 3), ([1], -1):
        with pytest.raises(tt.ArgumentError, match=f"a prompt of {len(prompt)} tokens, {count} new"):
            Speculation(model, model).generate(prompt, count, greedy())
    assert list(Speculation(model, model).generate([1], 0, greedy())) == []
    broken = model_of(DRAFT)
    with tt.no_grad():
        broken.wte.weight[0, 0] = float("nan")
    for pair in ((model, broken), (broken, model_of(DRAFT))):
        with pytest.raises(tt.ArgumentError, match="the largest logit is nan"):
            list(Speculation(*pair).generate([1], 3, Sampler(SamplingConfig(), 11)))
