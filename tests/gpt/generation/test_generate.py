"""Generation: with and without cache, one text or several side by side."""

from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.context import Reader, cache_for
from gpt.generation.generate import generate, generate_rows
from gpt.generation.rollouts import sample_answers
from gpt.generation.sampling import Sampler, SamplingConfig, next_probabilities
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from tests.gpt.models.test_variants import SMALL, VARIANTS, model_of
from tinytensor.errors import ArgumentError

CONFIG = GPTConfig(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16)


@pytest.fixture(scope="module", params=["learned", "sinusoidal", "post"])
def model(request):
    change = {"norm_position": "post"} if request.param == "post" else {"position": request.param}
    model = GPT(GPTConfig(**{**CONFIG.__dict__, **change}), tt.Generator(3)).eval()
    for p in model.parameters():
        p.requires_grad_(False)
        p *= 8.0  # far from uniform
    return model


EVERY_WAY = [
    {"temperature": 0},
    {},
    {"temperature": 0.7, "top_k": 5},
    {"top_p": 0.9},
    {"top_k": 8, "top_p": 0.95},
]


@pytest.mark.parametrize("pieces", [[1] * 8, [3, 1, 1, 2, 1], [1, 1, 6], [8], [2] * 4])
def test_logits_of_a_reader_are_those_of_the_whole_text(model, pieces):
    ids = [1, 7, 7, 0, 12, 3, 5, 2]
    cache, at = KVCache(model.config, 1), 0
    read = Reader(model, cache)
    with tt.no_grad():
        whole = model(tt.tensor([ids]))[0].numpy()
        for size in pieces:
            logits = read([ids[at : at + size]])[0]
            at += size
            np.testing.assert_allclose(logits.numpy(), whole[at - 1], rtol=2e-5, atol=1e-5)
            assert cache.length == at
        with pytest.raises(tt.ShapeError, match="longer than the context of 8"):
            read([[1]])


def test_a_reader_without_a_cache_begins_anew(model):
    read, rng = Reader(model), np.random.default_rng(1)
    with tt.no_grad():
        for size in (3, 8, 8, 8, 1, 1, 1):
            ids = rng.integers(0, 13, size).tolist()
            expected = model(tt.tensor([ids]))[0, -1].numpy()
            np.testing.assert_allclose(read([ids])[0].numpy(), expected, rtol=2e-5, atol=1e-5)


def test_two_readers_do_not_meet(model):
    with tt.no_grad():
        a, b = (Reader(model, KVCache(model.config, 1)) for _ in range(2))
        for i in range(5):
            found = a([[i]])[0].tolist()
            b([[12 - i]])
            expected = model(tt.tensor([list(range(i + 1))]))[0, -1].tolist()
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_models_of_other_dtypes_write(dtype):
    model = GPT(CONFIG, tt.Generator(3)).to(dtype).eval()
    runs = [list(generate(model, [1, 2], 5, temperature=0, use_cache=cache)) for cache in (True, False)]
    assert len(runs[0]) == 5
    assert dtype == "bfloat16" or runs[0] == runs[1]


def test_a_long_prompt_is_read_from_its_end(model):
    prompt = list(np.random.default_rng(0).integers(0, 13, 30))
    a = list(generate(model, prompt, 3, temperature=0))
    assert a == list(generate(model, prompt[-8:], 3, temperature=0))


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


PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12] * 30, [4]]


def side_by_side(model, prompts, count, how, use_cache):
    """Tokens of each prompt, continued as rows of a batch."""
    found = [[] for _ in prompts]
    sampler = Sampler(SamplingConfig(**how), model.config.vocab_size)
    generators = [tt.Generator(row) for row in range(len(prompts))]
    rows = generate_rows(model, prompts, count, sampler, generators=generators, use_cache=use_cache)
    for row, token in rows:
        found[row].append(token)
    return found


def one_by_one(model, prompts, count, how):
    """The same, each prompt alone."""
    return [list(generate(model, p, count, generator=tt.Generator(i), **how)) for i, p in enumerate(prompts)]


@pytest.mark.parametrize("count", [1, 3, 14])
@pytest.mark.parametrize("how", EVERY_WAY)
def test_each_row_is_the_row_generated_alone(model, how, count):
    """Prompts of different length: shorter than the context of 8, longer, and twice the same."""
    alone = one_by_one(model, PROMPTS, count, how)
    assert side_by_side(model, PROMPTS, count, how, use_cache=True) == alone
    assert side_by_side(model, PROMPTS, count, how, use_cache=False) == alone


def test_rows_read_no_more_often_than_they_must(model, monkeypatch):
    """While the short text is written the long prompt is read along; then the rest of it at once."""
    sizes = []
    call = Reader.__call__

    def counted(self, rows):
        sizes.append(len(rows[0]))
        return call(self, rows)

    monkeypatch.setattr(Reader, "__call__", counted)
    rows = generate_rows(model, [[1], [1, 2, 3, 4, 5, 6]], 2, Sampler(SamplingConfig(), 13))
    assert [row for row, _ in rows] == [0, 0, 1, 1]
    assert sizes == [1, 1, 4, 1]


def test_wrong_rows_say_so(model):
    sampler = Sampler(SamplingConfig(), 13)
    for prompts in ([], [[1], []]):
        with pytest.raises(tt.ArgumentError, match="at least one token"):
            generate_rows(model, prompts, 1, sampler)
    with pytest.raises(tt.ArgumentError, match="at least one token"):
        generate(model, [], 1)
    with pytest.raises(tt.ArgumentError, match="-1 new ones"):
        generate_rows(model, [[1]], -1, sampler)
    with pytest.raises(tt.ShapeError, match="2 generators for 1 prompts"):
        generate_rows(model, [[1]], 1, sampler, generators=[tt.Generator(1)] * 2)
    assert list(generate_rows(model, [[1], [2, 3]], 0, sampler)) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_model(variant):
    """Cached and not, alone and side by side, within the context and beyond: the same tokens."""
    model = model_of(replace(SMALL, **VARIANTS[variant]))
    prompts = [[1, 2, 3], [4], [5] * 30]
    for how in ({"temperature": 0}, {"top_k": 5}):
        alone = one_by_one(model, prompts, 12, how)
        assert side_by_side(model, prompts, 12, how, use_cache=True) == alone
        assert side_by_side(model, prompts, 12, how, use_cache=False) == alone


@pytest.mark.parametrize(
    "variant", [{"position": "alibi"}, {"n_head": 4, "n_kv_head": 2}, {"sliding_window": 3}, {}], ids=str
)
def test_a_device_generates_what_the_cpu_generates(variant):
    """Also where its attention has no kernels for a KV cache."""
    config = GPTConfig(
        **{"vocab_size": 11, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16, **variant}
    )
    model = GPT(config, tt.Generator(3)).eval()
    wanted = list(generate(model, [1, 2, 3], 9, temperature=0))
    assert list(generate(model.to("emulated"), [1, 2, 3], 9, temperature=0)) == wanted


def test_rotations_of_a_narrow_model_are_exact():
    """bfloat16 has 8 bits: cosines may be rounded to it, but neither positions beyond 256 nor angles."""
    config = replace(SMALL, position="rope", block_size=600, n_layer=1)
    rotary = GPT(config).to("bfloat16").h[0].attn.rotary
    cache = KVCache(config, 1, dtype=tt.bfloat16)
    cache.claim(700)
    expected = np.cos(np.arange(700)[:, None] * 10000.0 ** -(np.arange(2) / 2))  # heads of 4 channels
    for angles in (rotary.first(600), rotary.first(700), cache.angles(rotary)):
        assert angles.dtype is tt.bfloat16
        found = angles[0, :, :2].astype(tt.float32).numpy()
        np.testing.assert_allclose(found, expected[: len(found)], atol=2**-8)


def test_a_cache_is_no_larger_than_the_text():
    config = GPTConfig(vocab_size=5, block_size=4096, n_layer=1, n_head=1, n_embd=4, position="rope")
    model = GPT(config).eval()
    assert cache_for(model, 2, 20).room < 50
    assert cache_for(GPT(replace(config, position="learned")), 1, 20).room == 20
    assert cache_for(GPT(replace(config, block_size=16)), 1, 10**9).room == 32
    assert cache_for(GPT(replace(config, sliding_window=64)), 1, 20).config.window == 64


# ---- answers sampled together ------------------------------------------------------------------------------


def made(**config):
    model = GPT(GPTConfig(7, block_size=24, n_layer=2, n_head=2, n_embd=16, **config), tt.Generator(1))
    for p in model.parameters():  # far from even probabilities
        with tt.no_grad():
            p *= 8.0
    return model.eval()


QUESTIONS = [[1, 2, 3], [4, 1, 5, 6, 2, 3, 3], [6], [2, 2, 5]]


@pytest.mark.parametrize("config", [{}, {"position": "rope", "n_kv_head": 1}, {"position": "alibi"}])
def test_greedy_answers_are_those_of_single_prompts(config):
    model = made(**config)
    wanted = [list(generate(model, prompt, 9, temperature=0)) for prompt in QUESTIONS]
    stop = wanted[0][4]
    cut = [row[: row.index(stop) + 1] if stop in row else row for row in wanted]
    assert len({len(row) for row in cut}) > 1
    found = sample_answers(model, QUESTIONS, 9, stop_ids={stop}, copies=2, temperature=0.0)
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
        return sample_answers(model, QUESTIONS, 6, stop_ids={0}, copies=3, generator=tt.Generator(seed))

    assert drawn(1) == drawn(1) != drawn(2)


def test_ids_that_only_pad_the_vocabulary_are_not_sampled():
    answers = sample_answers(made(), QUESTIONS, 8, stop_ids=(), copies=8, temperature=9.0, vocab_size=3)
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
