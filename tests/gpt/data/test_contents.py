"""A run goes on with the data and the tokenizer that it was started with, or not at all."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gpt.__main__ import main
from gpt.data.token_file import TokenFile
from gpt.tokenizers.char import CharTokenizer

STEPS = ("--max_steps=2", "--warmup_steps=0", "--eval_interval=0", "--log_interval=1", "--batch_size=2")
MORE = ("--init_from=resume", "--max_steps=3")
SMALL = ("--preset=tiny", "--block_size=8", "--n_layer=1", "--n_head=1", "--n_embd=8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A text, and a run of two steps on it."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        Path("text").write_text("the cat sat on the mat. " * 40)
        assert main(["train", *SMALL, "--data=text", "--out_dir=run", *STEPS]) == 0
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def turned(path):
    """The file with its ids in another order."""
    np.fromfile(path, np.uint16)[::-1].tofile(path)


@pytest.mark.parametrize("name", ["train", "val"])
@pytest.mark.parametrize("forged", [False, True])
def test_prepared_files(name, forged, place, told):
    data = place / "run" / "data"
    turned(data / f"{name}.bin")
    if forged:  # as if they had been prepared from another text
        meta = json.loads((data / "meta.json").read_text())
        (data / "meta.json").unlink()
        meta["splits"][name]["sha256"] = TokenFile(data / f"{name}.bin").digest()
        (data / "meta.json").write_text(json.dumps(meta))
    said = told("train", "--out_dir=run", *MORE, code=2)
    what = {"train": "training data", "val": "validation data"}[name]
    assert (f"the {what} is not the one that the run in run" if forged else "was changed after") in said
    turned(data / f"{name}.bin")
    if not forged:
        assert main(["train", "--out_dir=run", *MORE]) == 0


def test_bare_files(place, told):
    (place / "data").mkdir()
    for name in ("train", "val"):
        np.random.default_rng(1).integers(0, 20, 500).astype(np.uint16).tofile(place / "data" / f"{name}.bin")
    assert main(["train", *SMALL, "--vocab_size=20", "--data=data", "--out_dir=bare", *STEPS]) == 0
    turned(place / "data" / "train.bin")
    assert "training data is not the one" in told("train", "--out_dir=bare", *MORE, code=2)
    turned(place / "data" / "train.bin")
    assert main(["train", "--out_dir=bare", *MORE]) == 0


def test_a_tokenizer_of_equal_size(place, told):
    assert main(["data", "prepare", "text", "--out", "data"]) == 0
    assert main(["train", *SMALL, "--data=data", "--out_dir=its", *STEPS]) == 0
    kept = (place / "its" / "tokenizer.json").read_bytes()
    alphabet = CharTokenizer.train((place / "text").read_text()).alphabet
    other = "".join(alphabet).replace("c", "C")
    CharTokenizer("".join(sorted(other))).save(place / "data" / "tokenizer.json")
    assert "the tokenizer is not the one" in told("train", "--out_dir=its", *MORE, code=2)
    assert (place / "its" / "tokenizer.json").read_bytes() == kept


def test_a_tokenizer_of_translations(place, told):
    lines = [{"source": f"{n}", "target": f"{n + 1}"} for n in range(60)]
    (place / "pairs").write_text("".join(json.dumps(line) + "\n" for line in lines))
    CharTokenizer("\n0123456789a").save(place / "tok.json")
    words = ["translate", "--data=pairs", "--tokenizer=tok.json", *SMALL[1:], "--out_dir=pairing"]
    assert main([*words, *STEPS]) == 0
    CharTokenizer("\n0123456789b").save(place / "tok.json")
    assert "the tokenizer is not the one" in told("translate", "--out_dir=pairing", *MORE, code=2)


def test_data_of_a_fine_tuning(place, told):
    shutil.copy("text", "tuned")
    words = ["finetune", "lora", "--out_dir=tuning"]
    assert main([*words, "--init_from=run", "--data=tuned", *STEPS]) == 0
    (place / "tuned").write_text("the mat sat on the cat. " * 40)
    assert "the data is not the one" in told(*words, *MORE, code=2)
    shutil.copy("text", "tuned")
    assert main([*words, *MORE]) == 0
