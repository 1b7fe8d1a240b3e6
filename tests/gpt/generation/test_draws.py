"""What a draw is said to have been: against NumPy, and the same tokens as without a word."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.__main__ import main
from gpt.generation.explain_sampling import Draw, ExplainingSampler, explain, render
from gpt.generation.generate import generate_rows
from gpt.generation.sample import SampleConfig
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.models.gpt import GPT
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char_and_word import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.generation.test_generate import CONFIG, EVERY_WAY
from tinytensor.runtime.compile_reports import is_reported

WORDS = CharTokenizer("abcdefghijkl\n")


def bits(p):
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize("how", EVERY_WAY)
def test_the_numbers(how):
    logits = np.random.default_rng(1).standard_normal(13) * 2
    sampler = Sampler(SamplingConfig(**how), 13)
    p = sampler.probabilities(logits)
    token = int(p.argmax())
    draw = explain(sampler, logits, token, WORDS, top=13)
    assert draw.token == WORDS.decode([token])
    assert draw.probability == pytest.approx(p[token])
    assert draw.model_probability == pytest.approx(softmax(logits)[token])
    assert draw.model_entropy == pytest.approx(bits(softmax(logits)))
    assert dict(draw.model_choices) == pytest.approx(
        {WORDS.decode([i]): x for i, x in enumerate(softmax(logits))}
    )
    assert dict(draw.candidates) == pytest.approx({WORDS.decode([int(i)]): p[i] for i in np.flatnonzero(p)})
    assert draw.stages[-1].entropy == pytest.approx(bits(p), abs=1e-12)
    assert [stage.name for stage in draw.stages] == [name for name, _ in sampler.filters]
    assert sum(stage.removed for stage in draw.stages) + draw.left == 13


def test_what_each_filter_removed():
    logits = np.log([0.4, 0.3, 0.15, 0.1, 0.05])
    sampler = Sampler(SamplingConfig(top_k=4, top_p=0.7), 5)
    draw = explain(sampler, logits, 0, CharTokenizer("abcde"))
    few, scaled, most = draw.stages
    assert (few.removed, few.likeliest[0][0], scaled.removed) == (1, "e", 0)
    assert few.mass == pytest.approx(0.05)
    left = np.array([0.4, 0.3, 0.15, 0.1]) / 0.95
    assert few.entropy == scaled.entropy == pytest.approx(bits(left))
    assert [token for token, _ in most.likeliest] == ["c", "d"]  # 0.42 + 0.32 reach 0.7
    assert most.mass == pytest.approx(0.25 / 0.95)
    assert draw.probability == pytest.approx(4 / 7)


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=9))
def test_entropy_has_its_bounds(logits):
    words = CharTokenizer("abcdefghi"[: len(logits)])
    draw = explain(Sampler(SamplingConfig(), len(logits)), np.array(logits), 0, words)
    assert 0 <= draw.model_entropy <= math.log2(len(logits)) + 1e-9


@pytest.mark.parametrize("how", EVERY_WAY)
def test_the_tokens_are_the_same(how):
    model, config, told = GPT(CONFIG, tt.Generator(3)).eval(), SamplingConfig(**how), []
    for sampler in (Sampler(config, 13), ExplainingSampler(config, WORDS, told.append)):
        rows = generate_rows(model, [[1, 2]], 12, sampler, generators=[tt.Generator(5)])
        tokens = [token for _, token in rows]
        if told:
            assert [draw.token for draw in told] == [WORDS.decode([token]) for token in tokens]
        else:
            expected = tokens
    assert tokens == expected


def test_control_characters_stay_out_of_the_terminal():
    assert "\x1b" not in render(Draw("\x1b[2J", 1.0, 1.0, 0.0, (("\x1b[2J", 1.0),), (), 1, ()))


@pytest.fixture
def run(tmp_path):
    write_run(GPT(CONFIG, tt.Generator(3)), WORDS, tmp_path / "run")
    return str(tmp_path / "run")


def test_the_command(run, capsys):
    how = ["--prompt=ab", "--max_new_tokens=3", "--top_k=4", "--top_p=0.9", "--seed=4"]
    assert main(["sample", run, *how]) == 0
    text = capsys.readouterr().out
    assert main(["sample", run, *how, "--explain"]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"--- sample 1 ---\n{text}")
    assert SampleConfig(explain=True).length == 20  # each token is some lines
    assert SampleConfig().length == 500
    assert SampleConfig(explain=True, max_new_tokens=9).length == 9
    for line in ("model", "top-k 4", "temperature 0.8", "top-p 0.9"):
        assert said.count(f"\n  {line} ") == 3
    assert said.count("took 9 tokens with ") == 3


def test_a_note_about_kernels_comes_before_the_text(run, monkeypatch):
    told: list[bool] = []

    def draw(*given):
        told.append(not is_reported())
        return 0

    monkeypatch.setattr(Sampler, "draw", draw)
    assert main(["sample", run, "--prompt=ab", "--max_new_tokens=3"]) == 0
    assert told == [True, False, False]


def test_a_vocabulary_with_holes(tmp_path, capsys):
    """GPT-4's has ids between its special tokens that have no text."""
    words = BPETokenizer({bytes([b]): b for b in range(256)}, [], {"<|endoftext|>": 256, "<|end|>": 258})
    run = str(tmp_path / "run")
    write_run(GPT(replace(CONFIG, vocab_size=259), tt.Generator(3)), words, run)
    assert main(["neighbours", run, "a", "--top=300"]) == 0
    assert capsys.readouterr().out.count("\n") == len({words.decode([i]) for i in range(259) if i != 257})


def test_ids_that_only_pad_the_vocabulary_are_never_drawn(tmp_path, capsys):
    """The model has 13 rows, the tokenizer 3 tokens: no other may be drawn, since it has no text."""
    write_run(GPT(CONFIG, tt.Generator(3)), CharTokenizer("abc"), tmp_path / "run")
    for how in ([], ["--explain"], ["--temperature=0"]):
        assert main(["sample", str(tmp_path / "run"), "--prompt=a", "--max_new_tokens=30", *how]) == 0
    assert set(capsys.readouterr().out.splitlines()[0]) <= set("abc")
