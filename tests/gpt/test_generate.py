"""Generation: with and without cache, filters of the distribution, streaming, and the command."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generate import Reader, generate, next_probabilities, stream_text
from gpt.model import GPT, KVCache

CONFIG = GPTConfig(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16)


@pytest.fixture(scope="module", params=["learned", "sinusoidal", "post"])
def model(request):
    change = {"norm_position": "post"} if request.param == "post" else {"position": request.param}
    model = GPT(GPTConfig(**{**CONFIG.__dict__, **change}), tt.Generator(3)).eval()
    for p in model.parameters():
        p.requires_grad_(False)
        p *= 8.0  # far from uniform
    return model


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_cached_equals_uncached_also_beyond_the_context(model, temperature):
    runs = [
        list(
            generate(
                model, [1, 2, 3], 14, temperature=temperature, generator=tt.Generator(5), use_cache=cache
            )
        )
        for cache in (True, False)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 14


@pytest.mark.parametrize("pieces", [[1] * 8, [3, 1, 1, 2, 1], [1, 1, 6], [8], [2] * 4])
def test_logits_of_a_reader_are_those_of_the_whole_text(model, pieces):
    ids = [1, 7, 7, 0, 12, 3, 5, 2]
    cache, at = KVCache(model.config, 1), 0
    read = Reader(model, cache)
    with tt.no_grad():
        whole = model(tt.tensor([ids]))[0].numpy()
        for size in pieces:
            logits = read(ids[at : at + size])
            at += size
            np.testing.assert_allclose(logits.numpy(), whole[at - 1], rtol=2e-5, atol=1e-5)
            assert cache.length == at
        with pytest.raises(tt.ShapeError, match="longer than the context of 8"):
            read([1])


def test_a_reader_without_a_cache_begins_anew(model):
    read, rng = Reader(model), np.random.default_rng(1)
    with tt.no_grad():
        for size in (3, 8, 8, 8, 1, 1, 1):
            ids = rng.integers(0, 13, size).tolist()
            expected = model(tt.tensor([ids]))[0, -1].numpy()
            np.testing.assert_allclose(read(ids).numpy(), expected, rtol=2e-5, atol=1e-5)


def test_two_readers_do_not_meet(model):
    with tt.no_grad():
        a, b = (Reader(model, KVCache(model.config, 1)) for _ in range(2))
        for i in range(5):
            found = a([i]).tolist()
            b([12 - i])
            expected = model(tt.tensor([list(range(i + 1))]))[0, -1].tolist()
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_models_of_other_dtypes_write(dtype):
    model = GPT(CONFIG, tt.Generator(3)).to(dtype).eval()
    runs = [list(generate(model, [1, 2], 5, temperature=0, use_cache=cache)) for cache in (True, False)]
    assert len(runs[0]) == 5
    assert dtype == "bfloat16" or runs[0] == runs[1]


def test_low_temperature_approaches_the_likeliest(model):
    greedy = list(generate(model, [4], 6, temperature=0))
    assert list(generate(model, [4], 6, temperature=1e-4, generator=tt.Generator(1))) == greedy


def test_a_long_prompt_is_read_from_its_end(model):
    prompt = list(np.random.default_rng(0).integers(0, 13, 30))
    a = list(generate(model, prompt, 3, temperature=0))
    assert a == list(generate(model, prompt[-8:], 3, temperature=0))


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


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7}, {"top_k": 4}, {"top_p": 0.8}])
def test_draws_are_those_of_multinomial(model, how):
    """A seed gives the text that drawing from all probabilities gives."""
    for seed in range(20):
        generator, ids = tt.Generator(seed), [1, 2]
        for drawn in generate(model, ids, 5, generator=tt.Generator(seed), **how):
            with tt.no_grad():
                p = next_probabilities(model(tt.tensor([ids]))[0, -1].numpy(), **how)
            assert drawn == tt.multinomial(tt.tensor(p), 1, generator=generator).item()
            ids = [*ids, drawn]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", [{"temperature": 0}, {}, {"top_k": 2}, {"top_p": 0.5}])
def test_logits_that_give_no_probabilities(bad, how):
    with pytest.raises(tt.ArgumentError, match="the largest logit is"):
        next_probabilities(np.array([0.0, bad, 1.0]), **how)


def test_draws_follow_the_probabilities(model):
    with tt.no_grad():
        p = next_probabilities(model(tt.tensor([[1, 2]]))[0, -1].numpy())
    drawn = [next(generate(model, [1, 2], 1, generator=tt.Generator(s))) for s in range(1500)]
    counts = np.bincount(drawn, minlength=13)
    big = p * 1500 > 5
    chi2 = ((counts - p * 1500) ** 2 / (p * 1500))[big].sum()
    assert chi2 < big.sum() + 6 * np.sqrt(2 * big.sum())


@pytest.mark.parametrize("wrong", [
    {"temperature": -1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5},
])  # fmt: skip
def test_wrong_parameters_say_so(model, wrong):
    with pytest.raises(tt.ArgumentError):
        generate(model, [1], 1, **wrong)


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(tt.ArgumentError, match="at least one token"):
        generate(model, [], 1)


def test_streamed_pieces_join_to_the_text():
    class Bytes:
        def decode(self, ids):
            return bytes(ids).decode("utf-8", errors="replace")

    data = "naïve 猫 🐈 ok".encode()
    assert "".join(stream_text(Bytes(), iter(data))) == data.decode()
    broken = b"a\xff\xffb\xe7"
    assert "".join(stream_text(Bytes(), iter(broken))).startswith("a")
