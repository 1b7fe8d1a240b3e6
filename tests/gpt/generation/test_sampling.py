"""The filters of the distribution against naive NumPy, and what the options refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.generation.sampling import SamplingConfig, next_probabilities

logit_rows = st.lists(st.floats(-20, 20), min_size=2, max_size=30)


@given(logit_rows, st.integers(1, 30), st.floats(0.05, 5))
def test_top_k_keeps_the_k_likeliest(logits, k, temperature):
    scores = np.array(logits)
    p = next_probabilities(scores, temperature=temperature, top_k=k)
    assert p.sum() == pytest.approx(1)
    kth = np.sort(scores)[::-1][min(k, len(scores)) - 1]
    full = np.exp(scores / temperature - (scores / temperature).max())
    expected = np.where(scores >= kth, full, 0)
    np.testing.assert_allclose(p, expected / expected.sum(), atol=1e-12)


@given(logit_rows, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_that_reach_p(logits, top_p):
    scores = np.array(logits)
    full = next_probabilities(scores)
    p = next_probabilities(scores, top_p=top_p)
    kept = np.flatnonzero(p)
    assert p.sum() == pytest.approx(1)
    assert full[kept].sum() >= top_p - 1e-9
    if len(kept) > 1:  # without the least likely of them it would not be enough
        assert full[kept].sum() - full[kept].min() < top_p + 1e-9
    outside = np.setdiff1d(np.arange(len(scores)), kept)
    if len(outside):
        assert full[outside].max() <= full[kept].min() + 1e-12


@pytest.mark.parametrize("V", [65, 20_000])
@pytest.mark.parametrize("how", [{"top_k": 1}, {"top_k": 40}, {"top_p": 0.9}, {"top_p": 0.999, "top_k": 700}])
@pytest.mark.parametrize("levels", [3, 200, 10**6])
def test_filters_equal_those_of_a_whole_sort(V, how, levels):
    """Few levels: many tokens tie, also with the last one that stays."""
    rng = np.random.default_rng(V + levels)
    logits = np.round(rng.standard_normal(V) * levels / 6).astype(np.float32) * np.float32(36 / levels)
    p = np.exp(logits.astype(np.float64) - logits.max())
    if "top_k" in how:
        p[logits < np.sort(logits)[::-1][min(how["top_k"], V) - 1]] = 0
    p /= p.sum()
    if "top_p" in how:
        order = np.argsort(-p, kind="stable")
        p[order[np.cumsum(p[order]) - p[order] >= how["top_p"]]] = 0
    found = next_probabilities(logits, **how)
    np.testing.assert_array_equal(found > 0, p > 0)
    np.testing.assert_allclose(found, p / p.sum(), rtol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", [{"temperature": 0}, {}, {"top_k": 2}, {"top_p": 0.5}])
def test_logits_that_give_no_probabilities(bad, how):
    with pytest.raises(tt.ArgumentError, match="the largest logit is"):
        next_probabilities(np.array([0.0, bad, 1.0]), **how)


def test_filters_leave_their_arguments_alone():
    logits = np.linspace(-1, 1, 9)
    logits.setflags(write=False)
    next_probabilities(logits, top_k=5, top_p=0.9)


@pytest.mark.parametrize(("field", "value"), [
    ("temperature", -0.1), ("temperature", float("nan")), ("temperature", float("inf")),
    ("top_k", 0), ("top_k", 1.5), ("top_p", 0.0), ("top_p", 1.01),
])  # fmt: skip
def test_the_config_refuses(field, value):
    with pytest.raises(tt.ArgumentError, match=f"SamplingConfig: {field}"):
        SamplingConfig(**{field: value})
