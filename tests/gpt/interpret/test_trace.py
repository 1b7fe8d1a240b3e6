"""The trace of a text: its numbers are the model's own, its shapes are those of the formulas."""

from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.interpret.trace import render, trace
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from tests.gpt.models.test_variants import SMALL, VARIANTS, model_of

TEXT = "The cat sat"
TOKENIZER = CharTokenizer.train(TEXT)


@pytest.fixture(params=["pre", "post"])
def model(request):
    config = GPTConfig(TOKENIZER.vocab_size, block_size=16, n_layer=2, n_head=2, n_embd=8, dropout=0.1)
    config = GPTConfig(**{**config.__dict__, "norm_position": request.param})
    model = GPT(config, tt.Generator(2))
    with tt.no_grad():
        for p in model.parameters():
            p *= 5.0
    return model


def test_steps_are_those_of_the_forward_pass(model):
    result = trace(model, TOKENIZER, TEXT)
    ids = TOKENIZER.encode(TEXT)
    assert result.step("ids").value.tolist() == ids
    table = model.wte.weight.detach().numpy()
    np.testing.assert_array_equal(result.step("token embeddings").value, table[ids])
    with tt.no_grad():
        logits = model.eval()(tt.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(result.step("logits").value, logits, rtol=1e-4, atol=1e-5)
    p = result.step("probabilities of the next token").value
    np.testing.assert_allclose(p, np.exp(logits[-1]) / np.exp(logits[-1]).sum(), rtol=1e-4)
    likeliest = next(generate(model, ids, 1, temperature=0))
    assert result.following[0][0] == TOKENIZER.decode([likeliest])


def test_weights_are_a_causal_average_and_follow_from_the_scores(model):
    result = trace(model, TOKENIZER, TEXT)
    T = len(TEXT)
    for layer in range(2):
        scores = result.step(f"block {layer}: scores").value
        weights = result.step(f"block {layer}: attention weights").value
        assert weights.shape == (2, T, T)
        assert (weights[:, np.triu_indices(T, 1)[0], np.triu_indices(T, 1)[1]] == 0).all()
        masked = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)
        expected = np.exp(masked - masked.max(-1, keepdims=True))
        np.testing.assert_allclose(weights, expected / expected.sum(-1, keepdims=True), rtol=1e-4, atol=1e-6)
        q, k = (result.step(f"block {layer}: {name}").value for name in ("queries", "keys"))
        np.testing.assert_allclose(scores, q @ k.swapaxes(1, 2) / np.sqrt(4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_model(variant):
    """The steps follow from each other as their formulas say."""
    config = replace(SMALL, **VARIANTS[variant])
    model, ids = model_of(config), [0, 1, 2, 0, 3, 3, 1]
    result = trace(model, CharTokenizer("abcdefghijk"), "abcaddb")
    with tt.no_grad():
        expected = model(tt.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(result.step("logits").value, expected, rtol=1e-4, atol=1e-5)
    q, k = (result.step(f"block 0: {name}").value for name in ("queries", "keys"))
    k = k.repeat(config.n_head // config.kv_heads, axis=0)
    scores = result.step("block 0: scores").value
    np.testing.assert_allclose(scores, q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]), rtol=1e-4, atol=1e-5)
    step = result.step("block 0: attention weights")
    distance = np.arange(7)[:, None] - np.arange(7)
    if "slope" in step.formula:
        scores = scores - 2.0 ** (-8 * np.arange(1, 5) / 4)[:, None, None] * distance
    seen = (distance >= 0) & (distance < (config.sliding_window or 7))
    weights = np.exp(np.where(seen, scores, -np.inf))
    np.testing.assert_allclose(step.value, weights / weights.sum(-1, keepdims=True), rtol=1e-4, atol=1e-6)
    names = [step.name for step in result.steps]
    assert ("position embeddings" in names) == (config.position in ("learned", "sinusoidal"))
    assert ("turned by its position" in result.step("block 0: keys").formula) == (config.position == "rope")
    assert ("slope" in step.formula) == (config.position == "alibi")


def test_the_formulas_are_those_of_the_variant():
    llama = {
        "norm": "rms_norm",
        "activation": "swiglu",
        "bias": False,
        "position": "rope",
        "tied_head": False,
    }
    for fields, name, formula in (
        ({}, "block 0: feed-forward output", "gelu(ln_2(x) W_1 + b) W_2 + b"),
        (llama, "block 0: feed-forward output", "(silu(ln_2(x) W_g) * (ln_2(x) W_1)) W_2"),
        (llama, "block 0: ln_1", "each token to root mean square 1, scaled"),
        (llama, "block 0: queries", "q = x W_q, cut into heads, turned by its position"),
        (llama, "logits", "ln_f, then the product with each row of the matrix lm_head"),
        ({"n_kv_head": 2}, "block 0: scores", "q · k / sqrt(hs), each head of keys for 2 of queries"),
        (
            {"norm_position": "post"},
            "block 0: output",
            "ln_2(ln_1(input + attention output) + feed-forward output)",
        ),
        (
            {"norm_position": "post", "logit_soft_cap": 5.0},
            "logits",
            "the product with each row of the token table; 5 tanh(x / 5) of each",
        ),
    ):
        result = trace(model_of(replace(SMALL, **fields)), CharTokenizer("abcdefghijk"), "abc")
        assert result.step(name).formula == formula


def test_the_model_keeps_its_mode(model):
    model.train()
    trace(model, TOKENIZER, TEXT)
    assert model.training


def test_the_page_names_every_step(model):
    result = trace(model, TOKENIZER, TEXT)
    page = render(result)
    for step in result.steps:
        assert step.name in page
    assert "T = 11" in page


def test_the_command_prints_a_page_and_explains_errors(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["trace", TEXT]) == 0
    assert "attention weights" in capsys.readouterr().out
    assert main(["trace", ""]) == 2
    assert main(["trace", "x" * 100]) == 2
    assert "context of 64" in capsys.readouterr().err
    assert main(["trace", "ü"]) == 2
    assert main(["trace", "nowhere", TEXT]) == 2
