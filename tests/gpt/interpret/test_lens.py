"""The logit lens: at the last layer it is the model; before, the head applied to the residual stream."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generation.candidates import choices
from gpt.interpret.activations import look_inside
from gpt.interpret.lens import lens_page, logit_lens, render
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.interpret.test_attention_maps import make_model
from tests.helpers.pages import TOKENS, OddTokenizer, parse
from tinytensor.lab.html import visible

TEXT = "0123456789"
IDS = [int(d) for d in TEXT]


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("fields", [{}, {"norm_position": "post"}, {"tied_head": False}], ids=str)
def test_the_last_layer_is_the_model(fields):
    model = make_model(**fields)
    lens = logit_lens(model, OddTokenizer(), TEXT, top=3)
    with tt.no_grad():
        p = softmax(model(tt.tensor([IDS]))[0].numpy().astype(np.float64))
    np.testing.assert_allclose(lens.probability[-1], p.max(-1), rtol=1e-5)
    assert lens.answers == tuple([TOKENS[i] for i in p.argmax(-1)])
    assert (lens.rank[-1] == 1).all()
    for place, top in enumerate(lens.top[-1]):
        best = np.argsort(-p[place])[:3]
        assert [token for token, _ in top] == [TOKENS[i] for i in best]
        np.testing.assert_allclose([q for _, q in top], p[place, best], rtol=1e-5)


def test_each_layer_is_the_head_of_its_stream():
    model = make_model()
    lens = logit_lens(model, OddTokenizer(), TEXT)
    assert lens.layers == ("embedding", "block 0", "block 1")
    table = model.wte.weight.detach().numpy().astype(np.float64)
    with tt.no_grad():
        x = model.embed(tt.tensor([IDS]))
        answer = model(tt.tensor([IDS]))[0].numpy().argmax(-1)
    for layer in range(3):
        stream = x.detach().numpy()[0].astype(np.float64)
        deviation = np.sqrt(stream.var(-1, keepdims=True) + model.config.norm_eps)
        normed = (stream - stream.mean(-1, keepdims=True)) / deviation * model.ln_f.weight.detach().numpy()
        p = softmax(normed @ table.T)
        own = p[np.arange(10), answer]
        np.testing.assert_allclose(lens.probability[layer], own, rtol=1e-3)
        assert lens.rank[layer].tolist() == (1 + (p > own[:, None]).sum(-1)).tolist()
        if layer < 2:
            with tt.no_grad():
                x = model.h[layer](x)


def test_ids_that_only_pad_the_vocabulary_are_never_named(tmp_path, capsys):
    """The model has 16 rows, the tokenizer 5 tokens."""
    config = GPTConfig(vocab_size=16, block_size=16, n_layer=1, n_head=2, n_embd=8)
    run = str(tmp_path / "run")
    write_run(GPT(config, tt.Generator(3)), CharTokenizer("abc:\n"), run)
    for words in (
        ["lens", run, "abc", "--top=9"],
        ["trace", str(run), "abc", "--top=9", f"--html={tmp_path / 'trace.html'}"],
        ["neighbours", run, "a", "--top=9"],
    ):
        assert main(words) == 0, capsys.readouterr().err


def test_looking_changes_neither_the_model_nor_its_mode():
    model = make_model(dropout=0.5).train()
    inside = look_inside(model, OddTokenizer(), TEXT, attention=True)
    assert model.training
    assert (len(inside.streams), len(inside.weights)) == (3, 2)
    with tt.no_grad():
        np.testing.assert_array_equal(inside.logits, model.eval()(tt.tensor([IDS]))[0].numpy())


def test_the_likeliest_come_in_order_also_where_they_tie():
    log_p = np.log([0.1, 0.2, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
    assert [token for token, _ in choices(np.exp(log_p), OddTokenizer(), 2)] == TOKENS[1:3]
    assert len(choices(np.exp(log_p), OddTokenizer(), 99)) == 10


def test_page_and_table_hold_the_numbers():
    lens = logit_lens(make_model(), OddTokenizer(), TEXT, top=2)
    document = parse(lens_page(lens))
    cells = [td for td in document.all("td") if "data-tip" in td.attributes]
    assert len(cells) == 3 * 10
    for k, cell in enumerate(cells):
        layer, place = divmod(k, 10)
        p = lens.probability[layer, place]
        assert cell.text == visible(lens.top[layer][place][0][0])
        tip = cell.attributes["data-tip"].splitlines()
        assert float(tip[1].rpartition(": ")[2].split(",")[0]) == pytest.approx(p, rel=1e-3)
        assert tip[1].endswith(f"rank {lens.rank[layer, place]}")
        assert float(tip[2].split()[-1]) == pytest.approx(lens.top[layer][place][0][1], rel=1e-3)
        assert float(cell.attributes["style"].removeprefix("--v:")) == pytest.approx(p, abs=1e-3)
        assert cell.attributes["tabindex"] == "0"
    words = render(lens, -1).splitlines()
    assert words[0] == f"after a (9) the model says {visible(lens.answers[9])}"
    assert f"{lens.probability[1, 9]:.1%}" in words[3]
    assert document.all("pre")[0].text == "\n".join(words)


def test_the_command_prints_and_writes(tmp_path, told, monkeypatch):
    model = make_model()
    monkeypatch.setattr("gpt.interpret.lens.load", lambda path: (model, OddTokenizer()))
    assert told("lens", "run", TEXT).count("the model says") == 1
    assert main(["lens", "run", TEXT, f"--html={tmp_path}/lens.html"]) == 0
    parse((tmp_path / "lens.html").read_text())
