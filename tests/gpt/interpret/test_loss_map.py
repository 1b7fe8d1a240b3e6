"""Losses of tokens: the model's cross-entropy, token by token, also beyond the context."""

import re

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.interpret.loss_map import loss_map, loss_page
from tests.gpt.interpret.test_attention_maps import make_model
from tests.helpers.pages import TOKENS, OddTokenizer, parse
from tinytensor.lab.html import visible

TEXT = "0123456789"


def test_losses_are_the_models():
    model = make_model()
    result = loss_map(model, OddTokenizer(), TEXT, top=3)
    ids = np.array([int(d) for d in TEXT])
    with tt.no_grad():
        logits = model(tt.tensor([ids[:-1].tolist()]))[0].numpy().astype(np.float64)
        mean = model.loss(tt.tensor([ids[:-1].tolist()]), tt.tensor([ids[1:].tolist()])).item()
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = p[np.arange(9), ids[1:]]
    np.testing.assert_allclose([x.probability for x in result.losses], own, rtol=1e-5)
    np.testing.assert_allclose([x.loss for x in result.losses], -np.log(own), rtol=1e-5)
    assert np.mean([x.loss for x in result.losses]) == pytest.approx(mean, rel=1e-5)
    assert [x.rank for x in result.losses] == (1 + (p > own[:, None]).sum(-1)).tolist()
    for x, row in zip(result.losses, p, strict=True):
        assert [token for token, _ in x.alternatives] == [TOKENS[i] for i in np.argsort(-row)[:3]]
    right = np.mean(p.argmax(-1) == ids[1:])
    assert f"loss {mean:.3f}" in result.summary()
    assert f"first choice right {right:.1%}" in result.summary()


def test_long_texts_have_at_least_half_a_context_before_each_token():
    model = make_model()  # context 12
    text = "0123456789" * 4
    result = loss_map(model, OddTokenizer(), text)
    assert "".join([result.first, *[x.token for x in result.losses]]) == "".join(TOKENS * 4)
    ids = [int(d) for d in text]
    for at, x in enumerate(result.losses, 1):
        begin = 0 if at <= 12 else 6 * -(-(at - 12) // 6)  # the window that ends last before or at it
        begin = min(begin, 39 - 12)
        with tt.no_grad():
            row = model(tt.tensor([ids[begin:at]]))[0, -1].numpy().astype(np.float64)
        expected = np.log(np.exp(row).sum()) - row[ids[at]]
        assert x.loss == pytest.approx(expected, rel=1e-4)
        assert at - begin >= min(at, 6)


def test_dropout_does_not_act_and_the_mode_stays():
    model = make_model(dropout=0.5)
    calm = loss_map(model, OddTokenizer(), TEXT)
    assert loss_map(model.train(), OddTokenizer(), TEXT) == calm
    assert model.training


def test_the_page_holds_the_numbers():
    result = loss_map(make_model(), OddTokenizer(), TEXT, top=2)
    document = parse(loss_page(result, "a <b> model"))
    (text,) = document.all("div", class_="tokens")
    spans = [s for s in text.all("span") if "data-tip" in s.attributes]
    assert text.text.startswith('<script>alert(1)</script>"&amp; ↵\n\\x1bé</title>')
    for span, x in zip(spans, result.losses, strict=True):
        first, best, _ = span.attributes["data-tip"].splitlines()
        p, loss, rank = re.fullmatch(r".*: probability (\S+), loss (\S+), rank (\d+)", first).groups()
        assert float(p) == pytest.approx(x.probability, rel=1e-3)
        assert float(loss) == pytest.approx(x.loss, rel=1e-3)
        assert int(rank) == x.rank
        assert best == f"{visible(x.alternatives[0][0])}  {x.alternatives[0][1]:.4g}"
        color = float(span.attributes["style"].removeprefix("--v:"))
        assert color == pytest.approx(min(x.loss / np.log(10), 1), abs=2e-3)
        assert span.attributes["tabindex"] == "0"
    rows = document.all("details")[0].all("tr")
    assert len(rows) == 1 + len(result.losses)
    assert f"{result.losses[3].loss:.3f}" in [td.text for td in rows[4].all("td")]


def test_the_command_prints_and_writes(tmp_path, capsys, monkeypatch):
    model = make_model()
    monkeypatch.setattr("gpt.interpret.loss_map.load", lambda path: (model, OddTokenizer()))
    assert main(["loss-map", "run", TEXT]) == 0
    said = capsys.readouterr().out
    assert "likeliest" in said
    assert "\\x1b" in said, "of a token, escaped"
    assert "\x1b" not in said
    assert main(["loss-map", "run", TEXT, f"--html={tmp_path}/loss.html"]) == 0
    parse((tmp_path / "loss.html").read_text())
    assert main(["loss-map", "run", "0"]) == 2
    assert main(["loss-map", "run", TEXT, "--top=0"]) == 2
