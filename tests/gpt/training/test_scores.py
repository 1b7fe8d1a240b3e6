"""The commands `eval` and `health`: their numbers against NumPy, and what they say."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main as command_line
from gpt.config import GPTConfig
from gpt.evaluation.text_scores import score
from gpt.models.gpt import GPT
from gpt.tokenizers.bpe import BPETokenizer
from gpt.training.command import train
from gpt.training.health import HealthProbe
from gpt.training.measures import evaluate
from gpt.training.run_log import RunLog
from tests.helpers.runs import assert_same, tiny

TEXT = "The cat sat on the mät. The dog ran in the park – and the cat slept. " * 40
WORDS = ("--max_steps=6", "--eval_interval=3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("scores")
    (place / "story.txt").write_text(TEXT, encoding="utf-8")
    words = (*WORDS, f"--data={place / 'story.txt'}", "--health_interval=2")
    return train(*tiny(place / "run", *words), quiet=True)


@pytest.fixture
def run(trained, tmp_path):
    """A copy, which a test may damage."""
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    return SimpleNamespace(folder=folder, best_loss=trained.best_loss)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("count", [70, 65, 9])  # with a rest, without one, less than a block
def test_scores_are_those_of_a_loop_over_the_text(count):
    config = GPTConfig(vocab_size=300, block_size=16, n_layer=1, n_head=2, n_embd=16)
    model = GPT(config, tt.Generator(3)).train()
    tokenizer = BPETokenizer.train(TEXT, 300)
    tokens = np.repeat(tokenizer.encode(TEXT), 2)[:count]  # a tied head expects a token again
    tokens[5::20] = tokenizer.separator
    losses, right, places = [], 0, []
    with tt.no_grad():
        for first in range(0, count - 1, 16):
            ids = tokens[first : min(first + 16, count - 1)]
            p = softmax(model.eval()(tt.tensor(ids[None])).numpy().astype(np.float64))[0]
            for j, target in enumerate(tokens[first + 1 : first + 1 + len(ids)]):
                losses.append(-np.log(p[j, target]))
                places.append(j)
                right += p[j].argmax() == target
    model.train()
    found = score(model, tokens, batch_size=2, tokenizer=tokenizer)
    assert model.training
    assert found.tokens == count - 1 == len(losses)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert found.loss == pytest.approx(evaluate(model, tokens, 3), rel=1e-6)
    assert found.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-6)
    assert found.accuracy == right / len(losses) > 0.2
    of_text = tokens[1:] != tokenizer.separator
    size = len(tokenizer.decode_bytes(tokens[1:][of_text]))
    nats = np.array(losses)[of_text].sum()
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / size, rel=1e-6)
    for place, loss in enumerate(found.by_place):
        wanted = [x for x, at in zip(losses, places, strict=True) if at == place]
        assert loss == pytest.approx(np.mean(wanted), rel=1e-5)


def test_eval_says_what_was_trained(run, tmp_path, told, capsys):
    said = told("eval", run.folder)
    assert f"{run.best_loss:.4f} nats" in said
    places = ("1 token", "16 to 31 tokens", "32 tokens")
    assert all(word in said for word in ("perplexity", "bits per byte", "accuracy"))
    assert all(f"loss after {place}" in said for place in places)
    assert all("nats" in line for line in said.splitlines() if line.startswith("loss"))
    assert command_line(["eval", str(run.folder), "--data", str(run.folder / "data")]) == 0
    capsys.readouterr()
    (tmp_path / "other.txt").write_text("The cat ran in the park.")
    assert "tokens                      23" in told("eval", run.folder, "--data", tmp_path / "other.txt")
    (run.folder / "data" / "val.bin").unlink()
    assert "no validation part" in told("eval", run.folder, code=2)


# ---- health ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_health_is_that_of_numpy(activation):
    config = GPTConfig(23, block_size=12, n_layer=2, n_head=2, n_embd=8, activation=activation, dropout=0.1)
    model = GPT(config, tt.Generator(0)).train()
    rng = np.random.default_rng(0)
    ids = tt.tensor(rng.integers(0, 23, (3, 12)))
    with tt.no_grad():
        model.h[1].mlp.c_fc.bias[:7] = -30.0  # seven of 32 units never fire
    model.loss(ids, ids).backward()
    grads = {n: p.grad.numpy().copy() for n, p in model.named_parameters()}
    before = {n: p.detach().numpy().copy() for n, p in model.named_parameters()}
    probe = HealthProbe(model)
    tt.optim.SGD(model.parameters(), lr=0.1).step()
    drawn = tt.default_generator.get_state()
    parts = {part.pop("part"): part for part in probe.measure(ids)}
    assert tt.default_generator.get_state() == drawn
    assert model.training
    assert list(parts) == ["wte", "wpe", "h.0", "h.1", "ln_f"]
    after = {n: p.detach().numpy() for n, p in model.named_parameters()}
    for part, numbers in parts.items():
        names = [n for n in before if n.startswith(part + ".")]
        norm, old, added = [
            math.sqrt(sum((a[n].astype(np.float64) ** 2).sum() for n in names))
            for a in (grads, before, {n: after[n] - before[n] for n in names})
        ]
        assert numbers["grad_norm"] == pytest.approx(norm, rel=1e-5)
        assert numbers["update_ratio"] == pytest.approx(added / old, rel=1e-3)
    assert parts["h.0"]["dead_units"] < 7 / 32 <= parts["h.1"]["dead_units"] < 1 / 2
    with tt.no_grad():
        x = model.eval().embed(ids)
        for i, block in enumerate(model.h):
            q, k, _ = [t.numpy().astype(np.float64) for t in block.attn.heads(block.ln_1(x))]
            scores = q @ k.swapaxes(-1, -2) / 2
            w = softmax(np.where(np.tril(np.ones((12, 12))) > 0, scores, -np.inf))
            entropy = -(w * np.log(np.where(w > 0, w, 1))).sum(-1).mean()
            assert parts[f"h.{i}"]["attention_entropy"] == pytest.approx(entropy, rel=1e-5)
            h = block.mlp.c_fc(block.ln_2(x + block.attn(block.ln_1(x)))).numpy()
            largest = np.abs(h if activation == "gelu" else np.maximum(h, 0)).max((0, 1))
            assert parts[f"h.{i}"]["dead_units"] == (largest < largest.max() / 1000).mean()
            x = block(x)


def test_units_of_experts_that_get_no_token_are_dead():
    sizes = {"vocab_size": 23, "block_size": 12, "n_layer": 1, "n_head": 2, "n_embd": 8}
    model = GPT(GPTConfig(**sizes, n_expert=4, n_expert_active=1, activation="swiglu"), tt.Generator(0))
    ids = tt.tensor(np.random.default_rng(0).integers(0, 23, (3, 12)))
    with tt.no_grad():
        model.h[0].ln_2.bias += 1.0  # so that all tokens have something in common
        model.h[0].mlp.router.weight[:, 2] = 9.0
    model.loss(ids, ids).backward()
    assert HealthProbe(model).measure(ids)[2]["dead_units"] == 3 / 4


def test_health_costs_nothing_but_at_its_interval(run):
    assert [line["step"] for line in RunLog(run.folder).read() if "health" in line] == [2, 4, 6]


def test_a_table_of_health_ends_the_training(tmp_path, capsys):
    train(*tiny(tmp_path / "run", *WORDS, "--health_interval=3"))
    assert "dead units" in capsys.readouterr().out.splitlines()[-6]


def test_health_changes_no_bit_of_the_training(tmp_path):
    words = (*WORDS, "--dropout=0.1")
    runs = [train(*tiny(tmp_path / n, *words, f"--health_interval={n}"), quiet=True) for n in ("0", "2")]
    assert_same(*runs)


@pytest.mark.parametrize("line", [b"\xff", b"[1]", b'{"health": []}', b"[" * 100_000])
def test_what_is_no_line_of_a_log_is_passed_over(run, line):
    log, before = run.folder / "log.jsonl", RunLog(run.folder).read()
    log.write_bytes(line + b"\n" + log.read_bytes())
    read = RunLog(run.folder).read()
    assert read[-len(before) :] == before
