"""The command `sample` and the tokens that it may draw."""

from dataclasses import replace

import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.generation.sampling import Sampler
from gpt.models.gpt import GPT
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.generation.test_generate import CONFIG
from tinytensor.runtime.compile_reports import is_reported

WORDS = CharTokenizer("abcdefghijkl\n")


@pytest.fixture
def run(tmp_path):
    write_run(GPT(CONFIG, tt.Generator(3)), WORDS, tmp_path / "run")
    return str(tmp_path / "run")


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
    for how in ([], ["--temperature=0"]):
        assert main(["sample", str(tmp_path / "run"), "--prompt=a", "--max_new_tokens=30", *how]) == 0
    assert set(capsys.readouterr().out.splitlines()[0]) <= set("abc")
