"""The filters of the distribution against naive NumPy, the tokens that are drawn, and their text."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.__main__ import main
from gpt.generation.sampling import Sampler, next_probabilities
from gpt.generation.text_stream import TextStream
from gpt.models.gpt import GPT
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.generation.test_generate import CONFIG
from tinytensor.runtime.compile_reports import is_reported

logit_rows = st.lists(st.floats(-20, 20), min_size=2, max_size=30)


@given(logit_rows, st.integers(1, 30), st.floats(0.05, 5))
def test_top_k_keeps_the_k_likeliest(logits, k, temperature):
    scores = np.array(logits)
    p = next_probabilities(scores, temperature=temperature, top_k=k)
    assert p.sum() == pytest.approx(1)
    kth = np.sort(scores)[::-1][min(k, len(scores)) - 1]
    full = np.exp(scores / temperature - (scores / temperature).max())
    expected = np.where(scores >= kth, full, 0)
    np.testing.assert_allclose(p, expected / expected.sum(), atol=1e-12)


@given(logit_rows, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_that_reach_p(logits, top_p):
    scores = np.array(logits)
    full = next_probabilities(scores)
    p = next_probabilities(scores, top_p=top_p)
    kept = np.flatnonzero(p)
    assert p.sum() == pytest.approx(1)
    assert full[kept].sum() >= top_p - 1e-9
    if len(kept) > 1:  # without the least likely of them it would not be enough
        assert full[kept].sum() - full[kept].min() < top_p + 1e-9
    outside = np.setdiff1d(np.arange(len(scores)), kept)
    if len(outside):
        assert full[outside].max() <= full[kept].min() + 1e-12


@pytest.mark.parametrize("V", [65, 20_000])
@pytest.mark.parametrize("how", [{"top_k": 1}, {"top_k": 40}, {"top_p": 0.9}, {"top_p": 0.999, "top_k": 700}])
@pytest.mark.parametrize("levels", [3, 200, 10**6])
def test_filters_equal_those_of_a_whole_sort(V, how, levels):
    """Few levels: many tokens tie, also with the last one that stays."""
    rng = np.random.default_rng(V + levels)
    logits = np.round(rng.standard_normal(V) * levels / 6).astype(np.float32) * np.float32(36 / levels)
    p = np.exp(logits.astype(np.float64) - logits.max())
    if "top_k" in how:
        p[logits < np.sort(logits)[::-1][min(how["top_k"], V) - 1]] = 0
    p /= p.sum()
    if "top_p" in how:
        order = np.argsort(-p, kind="stable")
        p[order[np.cumsum(p[order]) - p[order] >= how["top_p"]]] = 0
    found = next_probabilities(logits, **how)
    np.testing.assert_array_equal(found > 0, p > 0)
    np.testing.assert_allclose(found, p / p.sum(), rtol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("how", [{"temperature": 0}, {}, {"top_k": 2}, {"top_p": 0.5}])
def test_logits_that_give_no_probabilities(bad, how):
    with pytest.raises(tt.ArgumentError, match="the largest logit is"):
        next_probabilities(np.array([0.0, bad, 1.0]), **how)


def test_filters_leave_their_arguments_alone():
    logits = np.linspace(-1, 1, 9)
    logits.setflags(write=False)
    next_probabilities(logits, top_k=5, top_p=0.9)


# ---- the command `sample` ----------------------------------------------------------------------------------


WORDS = CharTokenizer("abcdefghijkl\n")


@pytest.fixture
def run(tmp_path):
    write_run(GPT(CONFIG, tt.Generator(3)), WORDS, tmp_path / "run")
    return str(tmp_path / "run")


def test_a_note_about_kernels_comes_before_the_text(run, monkeypatch, capsys):
    told: list[bool] = []

    def draw(*given):
        told.append(not is_reported())
        if told == [True]:
            print("compiling")
        return 0

    monkeypatch.setattr(Sampler, "draw", draw)
    assert main(["sample", run, "--prompt=ab", "--max_new_tokens=3"]) == 0
    assert told == [True, False, False]
    assert capsys.readouterr().out == "compiling\nabaaa\n"


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
    for how in ([], ["--temperature=0"]):
        assert main(["sample", str(tmp_path / "run"), "--prompt=a", "--max_new_tokens=30", *how]) == 0
    assert set(capsys.readouterr().out.splitlines()[0]) <= set("abc")


# ---- streamed text: characters in parts, words whose space is written late ---------------------------------


class Bytes:
    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Words:
    """As SentencePiece writes: no space in front of the first word."""

    def decode(self, ids):
        return "".join(f" w{i}" for i in ids)[1:]


@pytest.mark.parametrize(("tokenizer", "ids", "pieces"), [
    (Bytes(), "né 猫".encode(), ["n", "", "é", " ", "", "", "猫", ""]),
    (Bytes(), "né".encode()[:-1], ["n", "", "\ufffd"]),
    (Bytes(), b"a\xff" + b"b" * 8, ["a", "", "\ufffdb", *"bbbbbbb", ""]),
    (Words(), [3, 1, 2], ["w3", " w1", " w2", ""]),
])  # fmt: skip
def test_text_comes_as_soon_as_it_is_whole(tokenizer, ids, pieces):
    stream = TextStream(tokenizer)
    assert [*[stream.push(i) for i in ids], stream.close()] == pieces
