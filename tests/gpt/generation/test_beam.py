"""Beam search against the search through all texts, with and without a cache, and beyond the context."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.generation.beam import beam_search
from gpt.generation.generate import generate
from gpt.models.kv_cache import KVCache
from tests.gpt.models.test_variants import SMALL, VARIANTS, model_of

V = 4


@pytest.fixture(scope="module")
def model():
    return model_of(replace(SMALL, vocab_size=V, n_layer=1, position="sinusoidal"))


def log_p(model, prompt, text):
    """Of a continuation, each token from a reading of its own."""
    total = 0.0
    for i, token in enumerate(text):
        with tt.no_grad():
            seen = [*prompt, *text[:i]][-model.config.block_size :]
            row = model(tt.tensor([seen]))[0, -1].numpy().astype(np.float64)
        total += row[token] - row.max() - np.log(np.exp(row - row.max()).sum())
    return total


def every_text(length, end):
    """All continuations: those that end, and those that are cut at a length."""
    whole = itertools.product(range(V), repeat=length)
    return sorted({t[: t.index(end) + 1] if end in t else t for t in whole})


@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("penalty", [1.0, 0.0, -1.0])
def test_with_enough_beams_it_is_exhaustive(model, end, penalty):
    prompt = [1, 3]
    scores = {t: log_p(model, prompt, t) / len(t) ** penalty for t in every_text(4, end)}
    best = sorted(scores, key=lambda t: -scores[t])
    found = beam_search(model, prompt, 4, V**4, length_penalty=penalty, end=end)
    assert [h.tokens for h in found[:8]] == best[:8]
    for h in found[:8]:
        assert h.score == pytest.approx(scores[h.tokens], rel=1e-5)
        assert h.log_p == pytest.approx(log_p(model, prompt, h.tokens), rel=1e-5)


def naive(model, prompt, length, beams):
    """Without an end: keep the best of all continuations, step by step."""
    alive: list[tuple[int, ...]] = [()]
    for _ in range(length):
        grown = [(*t, token) for t in alive for token in range(V)]
        alive = sorted(grown, key=lambda t: -log_p(model, prompt, t))[:beams]
    return alive


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_few_beams_also_beyond_the_context(model, beams):
    prompt, length = [0, 1, 2, 3, 1], 6  # the context has 8
    expected = naive(model, prompt, length, beams)
    for cache in (True, False):
        found = beam_search(model, prompt, length, beams, use_cache=cache)
        assert [h.tokens for h in found] == expected
    greedy = list(generate(model, prompt, length, temperature=0))
    assert beam_search(model, prompt, length, 1)[0].tokens == tuple(greedy)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_equals_uncached(variant):
    model = model_of(replace(SMALL, **VARIANTS[variant]))
    for prompt in ([3, 1], list(range(8)), [5] * 30):
        runs = [beam_search(model, prompt, 10, 3, end=7, use_cache=cache) for cache in (True, False)]
        assert [h.tokens for h in runs[0]] == [h.tokens for h in runs[1]]
        assert [h.log_p for h in runs[0]] == pytest.approx([h.log_p for h in runs[1]], rel=1e-4)


def test_rows_of_a_cache_change_places():
    model = model_of(replace(SMALL, position="rope", sliding_window=3))
    texts = np.random.default_rng(0).integers(0, 11, (3, 26))  # more than the cache keeps
    with tt.no_grad():
        cache = KVCache(model.config, 3)
        model(tt.tensor(texts), cache)
        cache.choose([2, 0, 0])
        found = model(tt.tensor([[1], [2], [3]]), cache).numpy()
        moved = np.concatenate([texts[[2, 0, 0]], [[1], [2], [3]]], axis=1)
        expected = model(tt.tensor(moved))[:, -1:].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def always(*logits):
    """A model with these logits after any text."""
    model = model_of(replace(SMALL, vocab_size=V, n_layer=1, tied_head=False))
    with tt.no_grad():
        model.ln_f.bias[0], model.ln_f.weight[0] = 1.0, 0.0  # channel 0 is 1
        model.lm_head.weight[:] = 0.0
        model.lm_head.weight[:, 0] = tt.tensor(logits)
    return model


def test_a_beam_that_ends_leaves_its_place():
    """The end is always the likeliest token: the best text is the end alone, and others are found, too."""
    model = always(3.0, 1.0, 0.5, 0.0)
    found = beam_search(model, [1], 3, 3, length_penalty=0.0, end=0)
    assert [h.tokens for h in found] == [(0,), (1, 0), (2, 0)]
    assert beam_search(model, [1], 3, 1, length_penalty=0.0, end=0)[0].tokens == (0,)


def test_an_end_behind_the_best_is_pruned():
    """Likelier than any whole text, it is not among the best continuations of its step."""
    found = beam_search(always(1.0, 0.9, 0.8, -5.0), [1], 3, 2, length_penalty=0.0, end=2)
    assert [len(h.tokens) for h in found] == [3, 3]
    assert found[0].tokens == (0, 0, 0)


def test_hostile_arguments(model):
    for wrong in (([], 3, 2), ([1], -1, 2), ([1], 3, 0)):
        with pytest.raises(tt.ArgumentError, match="beam_search"):
            beam_search(model, *wrong)
    for penalty in (float("nan"), float("inf"), 1e3, -1e3):
        with pytest.raises(tt.ArgumentError, match="length_penalty"):
            beam_search(model, [1], 3, 2, length_penalty=penalty)
    with pytest.raises(tt.ArgumentError, match="vocab_size=0"):
        beam_search(model, [1], 3, 2, vocab_size=0)
    assert [h.tokens for h in beam_search(model, [1], 0, 2)] == [()]
    with pytest.raises(tt.IndexRangeError):
        beam_search(model, [V], 2, 2)
    broken = model_of(model.config)
    with tt.no_grad():
        broken.wte.weight[0, 0] = float("nan")
    with pytest.raises(tt.ArgumentError, match="the largest logit is nan"):
        beam_search(broken, [1], 2, 2)
