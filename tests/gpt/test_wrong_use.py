"""What commands refuse: each row is a command line, and what its error says."""

import contextlib
import re
from pathlib import Path

import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.generation.test_generate import CONFIG

ROWS = [
    ("tokenizer", "COMMAND"),
    ("tokenizer paint", "paint"),
    ("tokenizer train", "FILE"),
    ("tokenizer train text", "--vocab-size 1024"),
    ("tokenizer train text --vocab-size many", "many"),
    ("tokenizer train text --vocab-size 100", "vocab_size >= 257"),
    ("tokenizer train text --kind char --vocab-size 9", "leave --vocab-size out"),
    ("tokenizer train missing.txt --vocab-size 300", r"missing\.txt"),
    ("tokenizer encode missing.json x", r"missing\.json"),
    ("tokenizer encode letters.json é", r"U\+00E9"),
    ("tokenizer encode letters.json e --special", "has none"),
    ("tokenizer decode letters.json x", "pass integers"),
    ("tokenizer decode letters.json 99", "id 99"),
    ("tokenizer encode text x", "JSON"),
    ("data prepare", "--out"),
    ("data prepare missing.txt --out out", r"missing\.txt"),
    ("data prepare --pattern *.md --out out", "folder"),
    ("data prepare --val-fraction 2 --out out", "val_fraction"),
    ("data prepare --tokenizer missing.json --out out", r"missing\.json"),
    ("data inf", "invalid choice"),
    ("sample run --prompt=", "at least one token"),
    ("chat run --max_new_tokens=0", "max_new_tokens=0"),
    ("chat run --top_k=0", "top_k=0"),
    ("chat run --sytem=x", "did you mean --system"),
    ("chat --context 1_000 --max_new_tokens=9", "chat: MODEL is missing"),
    ("chat package:no-such-package-at-all", "the package 'no-such-package-at-all' is not installed"),
    ("chat package:", "is not installed"),
    ("chat package:numpy", "the package numpy holds no weights"),
    ("finetune lorra", r"lora\?"),
    ("finetune lora --init_from=run --max_stepps=3", "max_steps"),
    ("finetune dpo --init_from=resume --out_dir=nowhere", "nowhere"),
    ("finetune instruct --init_from=run --data=nowhere.jsonl", r"nowhere\.jsonl"),
    ("finetune lora --init_from=run --data=empty", "finetune: 'empty' is empty"),
    ("eval run --data=empty", "eval: 'empty' is empty"),
    ("tasks sorting --count=0", "--count=0"),
    ("convert run out --format=safetensors", "recognize by its suffix"),
    ("convert run out --format=gguf", r"name it out\.gguf"),
    ("convert run out --quantize=q4_0", "only GGUF files have packed weights"),
    ("convert run out.safetensors --quantize=q4_0", "only GGUF files have packed weights"),
    ("convert run out.gguf --quantize=q3_k", "q3_k"),
    ("convert run out --dtype=float16", "a run keeps float32"),
    ("convert run out.gguf --dtype=float16 --quantize=q4_0", "--quantize is a dtype of its own"),
    ("convert run out --block_size=25", "longer than the model's 8"),
    ("convert run run --format=hf", "exists already"),
    ("info missing.safetensors", "no file or folder"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, a tokenizer, a text, and an empty one."""
    folder = tmp_path_factory.mktemp("place")
    with contextlib.chdir(folder):
        write_run(GPT(CONFIG, tt.Generator(3)), CharTokenizer("abcdefghijkl\n"), "run")
        CharTokenizer("abcdefgh").save("letters.json")
        Path("text").write_text("the cat sat on the mat. " * 40)
        Path("empty").touch()
    return folder


@pytest.mark.parametrize(("line", "said"), ROWS, ids=[line for line, _ in ROWS])
def test_wrong_use_is_explained(line, said, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(line.split(" ")) == 2
    shown = capsys.readouterr()
    assert re.search(said, shown.err)
    assert [shown.err.count(word) for word in ("error: ", "  why: ", "  fix: ", "Traceback")] == [1, 1, 1, 0]
    assert shown.out == ""
    assert not list(Path().glob("out*"))
