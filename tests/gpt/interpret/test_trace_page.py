"""A trace as a page: every step, with the numbers of the trace."""

import numpy as np
import pytest

from gpt.__main__ import main
from gpt.interpret.trace import trace, trace_page
from tests.gpt.interpret.test_attention_maps import make_model
from tests.helpers.pages import TOKENS, OddTokenizer, parse
from tinytensor.lab.html import visible

TEXT = "0123456789"


@pytest.fixture(scope="module")
def result():
    return trace(make_model(), OddTokenizer(), TEXT)


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
    result = trace(make_model(), OddTokenizer(), TEXT)
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
