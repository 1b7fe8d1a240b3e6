"""The trace of a text: its numbers are the model's own, its shapes are those of the formulas."""

from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.interpret.trace import render, trace, trace_page
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from tests.gpt.interpret.test_attention_maps import make_model
from tests.gpt.models.test_variants import SMALL, VARIANTS, model_of
from tests.helpers.pages import TOKENS, OddTokenizer, parse
from tinytensor.lab.html import visible

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
    result = trace(model.train(), TOKENIZER, TEXT)
    assert model.training
    ids = TOKENIZER.encode(TEXT)
    assert result.step("ids").value.tolist() == ids
    np.testing.assert_array_equal(
        result.step("token embeddings").value, model.wte.weight.detach().numpy()[ids]
    )
    with tt.no_grad():
        logits = model.eval()(tt.tensor([ids]))[0].numpy()
    p = result.step("probabilities of the next token").value
    np.testing.assert_allclose(p, np.exp(logits[-1]) / np.exp(logits[-1]).sum(), rtol=1e-4)
    likeliest = next(generate(model, ids, 1, temperature=0))
    assert result.following[0][0] == TOKENIZER.decode([likeliest])
    page = render(result)
    assert "T = 11" in page
    assert all(step.name in page for step in result.steps)


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
    llama = {"norm": "rms_norm", "activation": "swiglu", "bias": False, "position": "rope"}
    llama["tied_head"] = False
    post = {"norm_position": "post"}
    for fields, name, formula in (
        ({}, "block 0: feed-forward output", "gelu(ln_2(x) W_1 + b) W_2 + b"),
        (llama, "block 0: feed-forward output", "(silu(ln_2(x) W_g) * (ln_2(x) W_1)) W_2"),
        (llama, "block 0: ln_1", "each token to root mean square 1, scaled"),
        (llama, "block 0: queries", "q = x W_q, cut into heads, turned by its position"),
        (llama, "logits", "ln_f, then the product with each row of the matrix lm_head"),
        ({"n_kv_head": 2}, "block 0: scores", "q · k / sqrt(hs), each head of keys for 2 of queries"),
        (post, "block 0: output", "ln_2(ln_1(input + attention output) + feed-forward output)"),
        (post, "logits", "the product with each row of the token table"),
        (
            {"logit_soft_cap": 5.0},
            "logits",
            "ln_f, then the product with each row of the token table; 5 tanh(x / 5) of each",
        ),
    ):
        result = trace(model_of(replace(SMALL, **fields)), CharTokenizer("abcdefghijk"), "abc")
        assert result.step(name).formula == formula


def test_the_command_prints_a_page(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "attention weights" in told("trace", TEXT)


# ---- the page ----------------------------------------------------------------------------------------------


DIGITS = "0123456789"


@pytest.fixture(scope="module")
def result():
    return trace(make_model(), OddTokenizer(), DIGITS)


@pytest.fixture(scope="module")
def document(result):
    return parse(trace_page(result, OddTokenizer(), "a <b> model"))


def test_each_step_has_its_numbers(result, document):
    sections = document.all("section")
    assert len(sections) == len(result.steps) + 1
    checked = 0
    for step, section in zip(result.steps, sections, strict=False):
        assert section.all("h2")[0].text == step.name
        assert section.all("code")[0].text == step.formula
        for axis, n in zip(step.axes, step.value.shape, strict=True):
            assert f"{axis} = {n}" in section.all("p")[0].text
        if step.value.dtype.kind != "i":
            assert section.all("p")[0].text.endswith(
                f"{np.abs(step.value).max(initial=0, where=np.isfinite(step.value)):.3g}"
            )
        cells = [cell for group in section.all("g") for cell in group.all("rect")]
        numbers = [float(cell.text.rpartition(": ")[2]) for cell in cells]
        if step.value.dtype.kind == "i":
            assert [int(td.text) for td in section.all("td")] == step.value.tolist()
        elif step.axes[-1] == "V":
            order = np.argsort(-np.atleast_2d(step.value)[-1], kind="stable")
            np.testing.assert_allclose(numbers, step.value[..., order].ravel(), rtol=1e-3)
            checked += 1
        else:
            np.testing.assert_allclose(numbers, step.value.ravel(), rtol=1e-3)
            checked += 1
    assert checked > 20


def test_columns_of_a_vocabulary_are_named_and_the_next_tokens_listed(result, document):
    p = result.step("probabilities of the next token").value
    section = document.all("section")[-2]
    best = [cell.text.split("→ ", 1)[1] for cell in section.all("g")[0].all("rect")]
    assert best[0] == f"{visible(TOKENS[p.argmax()])}: {p.max():.4g}"
    following = document.all("section")[-1]
    assert following.all("th")[0].text == visible(TOKENS[p.argmax()])
    assert following.all("td")[0].text == f"{p.max():.2%}"


def test_links_lead_to_steps(document):
    ids = {section.attributes.get("id") for section in document.all("section")}
    links = [a.attributes["href"] for a in document.all("a")]
    assert len(links) == len(ids) - 1
    assert {link.removeprefix("#") for link in links} < ids


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr("gpt.interpret.trace.SHOWN_ON_PAGE", 5)
    monkeypatch.setattr("gpt.interpret.trace.HEADS", 3)
    result = trace(make_model(), OddTokenizer(), DIGITS)
    page = parse(trace_page(result, OddTokenizer()))
    places = {s.name: i for i, s in enumerate(result.steps)}
    section = page.all("section")[places["block 0: attention weights"]]
    assert len(section.all("svg")) == 3
    assert len(section.all("g")[0].all("rect")) == 25
    first = "the 3 first of 4 along head, the 5 first of 10 along T query, the 5 first of 10 along T key"
    assert section.all("p")[-1].text == f"Shown: {first}."
    assert page.all("section")[places["logits"]].all("p")[-1].text.endswith("the 5 likeliest of 10 along V.")


def test_the_command_writes_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["trace", "The cat", "--html=trace.html"]) == 0
    assert "attention weights" in parse((tmp_path / "trace.html").read_text()).text
    assert capsys.readouterr().out == "wrote trace.html\n"
