"""The filters of the distribution against naive NumPy, and what the options refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.generation.sampling import Past, Sampler, SamplingConfig, filters, next_probabilities

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


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def probabilities(logits, past=((), ()), **how):
    return Sampler(SamplingConfig(**how), len(logits)).probabilities(np.asarray(logits), Past(*past))


@given(logit_rows, st.floats(0.01, 1))
def test_min_p_keeps_what_is_likely_beside_the_likeliest(logits, least):
    p = softmax(np.array(logits))
    kept = probabilities(logits, min_p=least) > 0
    assert kept[p > least * p.max() * (1 + 1e-9)].all()
    assert not kept[p < least * p.max() * (1 - 1e-9)].any()


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=30, unique=True), st.floats(0.05, 0.95))
def test_typical_keeps_what_is_as_surprising_as_the_mean(logits, mass):
    p = softmax(np.array(logits) / 4)
    surprise = -np.log(p)
    distance = np.abs(surprise - (p * surprise).sum())
    kept, total = [], 0.0
    for i in np.argsort(distance):
        kept.append(i)
        total += p[i]
        if total >= mass:
            break
    found = np.flatnonzero(probabilities(np.array(logits) / 4, typical_p=mass))
    close = np.abs(total - mass) < 1e-9 or np.abs(total - p[kept[-1]] - mass) < 1e-9
    assert close or sorted(kept) == found.tolist()


def test_tokens_as_typical_as_the_last_one_stay():
    assert np.flatnonzero(probabilities(np.zeros(6), typical_p=0.1)).tolist() == list(range(6))


def test_penalties_and_bias():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(9).astype(np.float32)
    prompt, answer = [1, 1, 5], [5, 7, 7, 7]
    expected = logits.astype(np.float64)
    expected[2] += 1.5
    expected[8] -= 3
    for token in {1, 5, 7}:
        expected[token] *= 1 / 1.3 if expected[token] > 0 else 1.3
    expected[5] -= 0.5 + 0.25
    expected[7] -= 0.5 + 3 * 0.25
    found = probabilities(
        logits,
        (prompt, answer),
        repetition_penalty=1.3,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        logit_bias="2:1.5,8:-3",
    )
    np.testing.assert_allclose(found, softmax(expected), rtol=1e-6)


def test_a_bias_of_minus_infinity_forbids_a_token():
    logits = np.array([1.0, 5.0, 2.0])
    found = probabilities(logits, logit_bias="1:-inf")
    np.testing.assert_allclose(found, softmax(np.array([1.0, -np.inf, 2.0])))
    assert probabilities(logits, logit_bias="1:-inf", temperature=0).tolist() == [0, 0, 1]
    for how in ({}, {"top_k": 1}, {"temperature": 0}, {"typical_p": 0.5}):
        with pytest.raises(tt.ArgumentError, match="a bias forbids all"):
            probabilities(logits, logit_bias="0:-inf,1:-inf,2:-inf", **how)


def test_the_order_of_the_filters():
    config = SamplingConfig(0.5, 3, 0.9, 0.1, 0.8, 1.1, 0.2, 0.3, "1:2")
    assert [name.split()[0] for name, _ in filters(config)] == [
        "logit", "repetition", "presence", "top-k", "temperature", "top-p", "min-p", "typical",
    ]  # fmt: skip
    assert [name for name, _ in filters(SamplingConfig(top_p=1.0, typical_p=1.0))] == ["temperature 1"]


def test_filters_leave_their_arguments_alone():
    logits = np.linspace(-1, 1, 9)
    logits.setflags(write=False)
    how = {"top_k": 5, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "repetition_penalty": 2.0}
    probabilities(logits, ([1], [2]), frequency_penalty=1.0, logit_bias="1:1", **how)


@pytest.mark.parametrize(("field", "value"), [
    ("temperature", -0.1), ("temperature", float("nan")), ("temperature", float("inf")),
    ("top_k", 0), ("top_k", 1.5), ("top_p", 0.0), ("top_p", 1.01), ("min_p", 0.0), ("min_p", -1.0),
    ("typical_p", 2.0), ("repetition_penalty", 0.0), ("repetition_penalty", -1.0),
    ("presence_penalty", float("inf")), ("logit_bias", "3"), ("logit_bias", "x:1"), ("logit_bias", "3:nan"),
    ("logit_bias", "3:inf"), ("logit_bias", "-1:2"), ("logit_bias", "1:2:3"),
    ("logit_bias", "1:2,01:3"),
])  # fmt: skip
def test_the_config_refuses(field, value):
    with pytest.raises(tt.ArgumentError, match=f"SamplingConfig: {field}"):
        SamplingConfig(**{field: value})


def test_a_bias_of_an_unknown_token():
    with pytest.raises(tt.ArgumentError, match="names token 9"):
        Sampler(SamplingConfig(logit_bias="9:1"), 9)
