"""Attention maps: pictures and words hold the numbers of the model."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.interpret.attention import attention_maps, attention_page, render
from gpt.models.gpt import GPT
from tests.helpers.pages import TOKENS, OddTokenizer, parse
from tinytensor.lab.html import visible

TEXT = "0123456789"
SVG = "{http://www.w3.org/2000/svg}"


def make_model(**fields):
    config = GPTConfig(len(TOKENS), block_size=12, n_layer=2, n_head=4, n_embd=16, **fields)
    model = GPT(config, tt.Generator(3)).eval()
    with tt.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p *= 6.0
    return model


def test_the_maps_are_the_softmax_of_the_first_layers_scores():
    model = make_model()
    ids = [int(d) for d in TEXT]
    with tt.no_grad():
        qkv = model.h[0].attn.c_attn(model.h[0].ln_1(model.embed(tt.tensor([ids]))))[0].numpy()
    maps = attention_maps(model, OddTokenizer(), TEXT, layer=0)
    assert [(m.layer, m.head) for m in maps] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    for m in maps:
        q, k = (qkv[:, 16 * part + 4 * m.head : 16 * part + 4 * m.head + 4] for part in (0, 1))
        scores = np.where(np.tri(10, dtype=bool), q @ k.T / 2, -np.inf)
        p = np.exp(scores - scores.max(1, keepdims=True))
        np.testing.assert_allclose(m.weights, p / p.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)


def check_cells(cells, m, title):
    """Cells in the order of the lower triangle, each with the number of the model in its title."""
    places = [(i, j) for i in range(10) for j in range(i + 1)]
    assert len(cells) == len(places)
    for cell, (i, j) in zip(cells, places, strict=True):
        names, _, number = title(cell).rpartition(": ")
        assert names == f"{visible(m.tokens[i])} → {visible(m.tokens[j])}"
        assert float(number) == pytest.approx(m.weights[i, j], rel=1e-3)


def test_the_page_holds_the_numbers_and_no_script():
    maps = attention_maps(make_model(), OddTokenizer(), TEXT, head=2)
    document = parse(attention_page(maps, about="a <b> model"))
    pictures = document.all("svg")
    assert [p.attributes["aria-label"] for p in pictures] == ["layer 0, head 2", "layer 1, head 2"]
    for picture, m in zip(pictures, maps, strict=True):
        check_cells(picture.all("g")[0].all("rect"), m, lambda cell: cell.all("title")[0].text)
    assert "a <b> model" in document.text
    assert "<script>alert(1)</script>" in document.all("title")[0].text


def test_the_page_begins_with_a_table_of_all_heads(monkeypatch):
    maps = attention_maps(make_model(), OddTokenizer(), TEXT)
    document = parse(attention_page(maps))
    cells = document.all("table")[0].all("a")
    assert len(cells) == 8
    figures = {figure.attributes["id"]: figure for figure in document.all("figure")}
    for cell, m in zip(cells, maps, strict=True):
        figure = figures[cell.attributes["href"].removeprefix("#")]
        assert figure.all("svg")[0].attributes["aria-label"] == m.title
        p = m.weights[np.tri(10, dtype=bool)]
        assert float(cell.text) == pytest.approx(-(p * np.log2(p.clip(1e-30))).sum() / 10, abs=0.06)
    before, first = m.weights[range(1, 10), range(9)].mean(), m.weights[1:, 0].mean()
    told = document.all("table")[0].all("td")[-1].attributes["title"]
    assert told.endswith(f"the token before {before:.0%}, of the first token {first:.0%}")
    layers = [d for d in document.all("details") if d.all("summary")[0].text.startswith("layer 0: 4")]
    assert "open" in layers[0].attributes
    monkeypatch.setattr("gpt.interpret.attention.OPENED", 7)
    assert not [d for d in parse(attention_page(maps)).all("details") if "open" in d.attributes]


def test_words_name_the_strongest():
    (m,) = attention_maps(make_model(), OddTokenizer(), TEXT, layer=1, head=3)
    best = int(m.weights[9].argmax())
    last = render([m]).splitlines()[-1]
    assert last.startswith("a (9)")
    assert f"{visible(TOKENS[best])} ({best}) {m.weights[9, best]:.1%}" in last
    assert "\x1b" not in render([m])


def test_the_command_writes_files_and_explains_errors(tmp_path, told, monkeypatch):
    model = make_model()
    monkeypatch.setattr("gpt.interpret.attention.load", lambda path: (model, OddTokenizer()))
    page = tmp_path / "a.html"
    assert main(["attention", "run", TEXT, "--layer=1", "--head=2", f"--html={page}"]) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert "layer 0, head 3" in told("attention", "run", TEXT, "--layer=0")
    monkeypatch.setattr("gpt.interpret.attention.MOST_CELLS", 50)
    assert main(["attention", "run", TEXT, f"--html={tmp_path}/b.html"]) == 2
