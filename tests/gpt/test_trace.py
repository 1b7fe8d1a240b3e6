"""The trace of a text: its numbers are the model's own, its shapes are those of the formulas."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generate import generate
from gpt.model import GPT
from gpt.tokenizer import CharTokenizer
from gpt.trace import render, trace

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


def test_stations_are_those_of_the_forward_pass(model):
    result = trace(model, TOKENIZER, TEXT)
    ids = TOKENIZER.encode(TEXT)
    assert result.station("ids").value.tolist() == ids
    table = model.wte.weight.detach().numpy()
    np.testing.assert_array_equal(result.station("token embeddings").value, table[ids])
    with tt.no_grad():
        logits = model.eval()(tt.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(result.station("logits").value, logits, rtol=1e-4, atol=1e-5)
    p = result.station("probabilities of the next token").value
    np.testing.assert_allclose(p, np.exp(logits[-1]) / np.exp(logits[-1]).sum(), rtol=1e-4)
    likeliest = next(generate(model, ids, 1, temperature=0))
    assert result.following[0][0] == TOKENIZER.decode([likeliest])


def test_weights_are_a_causal_average_and_follow_from_the_scores(model):
    result = trace(model, TOKENIZER, TEXT)
    T = len(TEXT)
    for layer in range(2):
        scores = result.station(f"block {layer}: scores").value
        weights = result.station(f"block {layer}: attention weights").value
        assert weights.shape == (2, T, T)
        assert (weights[:, np.triu_indices(T, 1)[0], np.triu_indices(T, 1)[1]] == 0).all()
        masked = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)
        expected = np.exp(masked - masked.max(-1, keepdims=True))
        np.testing.assert_allclose(weights, expected / expected.sum(-1, keepdims=True), rtol=1e-4, atol=1e-6)
        q, k = (result.station(f"block {layer}: {name}").value for name in ("queries", "keys"))
        np.testing.assert_allclose(scores, q @ k.swapaxes(1, 2) / np.sqrt(4), rtol=1e-4, atol=1e-5)


def test_the_model_keeps_its_mode(model):
    model.train()
    trace(model, TOKENIZER, TEXT)
    assert model.training


def test_the_page_names_every_station(model):
    result = trace(model, TOKENIZER, TEXT)
    page = render(result)
    for station in result.stations:
        assert station.name in page
    assert "T = 11" in page


def test_the_command_prints_a_page_and_explains_errors(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["trace", TEXT]) == 0
    assert "attention weights" in capsys.readouterr().out
    assert main(["trace", ""]) == 2
    assert main(["trace", "x" * 100]) == 2
    assert "context of 64" in capsys.readouterr().err
    assert main(["trace", "ü"]) == 2
    assert main(["trace", TEXT, "--run=nowhere"]) == 2
