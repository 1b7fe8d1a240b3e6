"""GGUF files that we write: they come back, and llama.cpp computes the same from them."""

import json
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.models.gpt import GPT
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import CHATML
from gpt.weights.gguf_format.metadata import Entry, Metadata
from gpt.weights.gguf_format.tokenizer import describe_tokenizer, read_tokenizer
from gpt.weights.gguf_format.writer import save_gguf
from gpt.weights.load import load
from gpt.weights.save import write_run
from gpt.weights.weight_tensor import DTYPES
from tests.golden.make_llama_cpp import (
    CASES,
    GOLDEN,
    LEARNED,
    NEW_TOKENS,
    SPECIAL,
    TEXT,
    cut_by,
    found_by_llama_cpp,
    model_of,
)
from tinytensor.errors import ArgumentError, SaveError, TinyTensorError

gguf = pytest.importorskip("gguf")

SMALL = GPTConfig(vocab_size=LEARNED.vocab_size, block_size=16, n_layer=1, n_head=2, n_embd=16)


def file_of(name, folder):
    case = CASES[name]
    model, path = model_of(case), folder / "model.gguf"
    save_gguf(model, path, case.tokenizer, dtype=case.dtype)
    return model, path


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.dtype in DTYPES])
def test_a_file_comes_back(name, tmp_path):
    """The weights of the cases are exact in 16 bits, too."""
    model, path = file_of(name, tmp_path)
    again, tokenizer = load(path)
    wanted = model.config if model.config.position == "rope" else replace(model.config, bias=True)
    assert again.config == wanted
    before, after = model.state_dict(), again.state_dict()
    for key, value in after.items():
        expected = before[key].numpy() if key in before else np.zeros(value.shape)  # absent biases
        np.testing.assert_array_equal(value.numpy(), expected, err_msg=key)
    assert tokenizer is not None
    assert type(tokenizer) is type(CASES[name].tokenizer)
    assert tokenizer.encode(TEXT) == CASES[name].tokenizer.encode(TEXT)
    assert tokenizer.vocab_size == CASES[name].tokenizer.vocab_size
    assert tokenizer.special_tokens == CASES[name].tokenizer.special_tokens
    assert tokenizer.chat_template == (CHATML if tokenizer.special_tokens else "")


def agrees(name, path, theirs):
    model, case = load(path)[0], CASES[name]
    tokenizer = case.tokenizer
    assert theirs["ids"] == tokenizer.encode(TEXT)
    special = tokenizer.special_tokens
    assert theirs["ends"] == ([special[text] for text in (SPECIAL[0], SPECIAL[2])] if special else [-1, -1])
    with tt.no_grad():
        logits = model(tt.tensor([theirs["ids"]])).numpy()[0]
    ours = np.array([logits[at, :: max(1, logits.shape[-1] // 20)] for at in (0, -1)])
    off = tolerance(case) * np.abs(ours).max()
    np.testing.assert_allclose(ours, theirs["logits"], rtol=0, atol=off)
    if case.dtype in tt.QUANTIZED:
        return
    greedy = Sampler(SamplingConfig(temperature=0), model.config.vocab_size)
    answer = [token for _, token in generate_rows(model, [theirs["ids"]], NEW_TOKENS, greedy)]
    assert answer == theirs["answer"]
    shown = [token for token in answer if token not in special.values()]  # llama.cpp shows no others
    assert tokenizer.decode(shown) == theirs["text"]


def tolerance(case):
    """llama.cpp rounds the inputs of 16-bit matrices to 16 bits, and has GELU as a table of float16."""
    if case.dtype in tt.QUANTIZED:  # it rounds all inputs to 8 bits
        return 5e-2
    if case.dtype != "float32":
        return 1e-2
    return 1e-5 if "activation" in case.fields else 1e-3


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_computed_the_same(name, tmp_path):
    """Of exactly this file; make_llama_cpp.py says how, and the next test does it where it can."""
    theirs = json.loads(GOLDEN.read_text())[name]
    path = file_of(name, tmp_path)[1]
    assert zlib.crc32(path.read_bytes()) == theirs["crc32"], "run make_llama_cpp.py: the file has changed"
    agrees(name, path, theirs)


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_computes_the_same(name, tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python, which takes minutes to build, is not there")
    path = file_of(name, tmp_path)[1]
    agrees(name, path, found_by_llama_cpp(path))


LLAMA: dict[str, Any] = {"position": "rope", "norm": "rms_norm", "activation": "swiglu"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"position": "alibi"}, "gpt2 is the closest, but has position=learned, not alibi"),
        ({"position": "none", "bias": False}, "position=learned, not none"),
        ({"n_kv_head": 1}, "gpt2 is the closest, but has n_kv_head=2, not 1"),
        ({"activation": "gelu_erf"}, "activation=gelu, not gelu_erf"),
        ({"qk_norm": True}, "qk_norm=False, not True"),
        ({"norm_position": "post"}, "norm_position=pre, not post"),
        ({"n_expert": 4}, "n_expert=0, not 4"),
        (LLAMA | {"logit_soft_cap": 15.0}, "llama is the closest, but has logit_soft_cap=0.0, not 15.0"),
        (LLAMA | {"sliding_window": 4}, "sliding_window=0, not 4"),
        (LLAMA | {"activation": "relu2"}, "activation=swiglu, not relu2"),  # with biases
    ],
)
def test_models_that_llama_cpp_does_not_have(fields, why, tmp_path):
    with pytest.raises(ArgumentError, match=why):
        save_gguf(GPT(replace(SMALL, **fields)), tmp_path / "model.gguf", LEARNED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tokenizer", "why"),
    [
        (cut_by("cl100k"), "cuts texts by the rule 'cl100k'; there are gpt2, llama3, smollm"),
        (BPETokenizer(LEARNED.vocab, LEARNED.merges, {}), "no token that ends a text"),
    ],
)
def test_tokenizers_that_llama_cpp_does_not_have(tokenizer, why, tmp_path):
    with pytest.raises(ArgumentError, match=why):
        save_gguf(GPT(SMALL), tmp_path / "model.gguf", tokenizer)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_characters_come_back(text):
    tokenizer = CharTokenizer.train(text)
    written = describe_tokenizer(tokenizer, replace(SMALL, vocab_size=tokenizer.vocab_size + 2))
    written["general.architecture"] = Entry("string", "gpt2")
    fields = {key: SimpleNamespace(contents=lambda value=value: value) for key, (_, value) in written.items()}
    again = read_tokenizer(Metadata(Path("model.gguf"), fields))
    assert isinstance(again, CharTokenizer)
    assert again.alphabet == tokenizer.alphabet


def test_bytes_alone_come_back(tmp_path):
    """BPE without merges, and a model without a tokenizer."""
    plain = BPETokenizer.train("", 257)
    save_gguf(GPT(SMALL), tmp_path / "model.gguf", plain)
    again = load(tmp_path / "model.gguf")[1]
    assert isinstance(again, BPETokenizer)
    assert again.merges == []
    assert again.encode("été") == plain.encode("été")
    save_gguf(GPT(SMALL), tmp_path / "model.gguf")
    assert load(tmp_path / "model.gguf")[1] is None


def test_the_command(tmp_path, told):
    write_run(GPT(SMALL), LEARNED, tmp_path / "run")
    out = tmp_path / "model.gguf"
    assert main(["convert", str(tmp_path / "run"), str(out), "--dtype=float16"]) == 0
    shown = told("info", out)
    assert "the names of GPT-2 in GGUF" in shown
    assert "F16" in shown
    assert main(["sample", str(out), "--prompt=low", "--max_new_tokens=3"]) == 0


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.gguf"
    save_gguf(GPT(SMALL), path)
    before = path.read_bytes()
    broken = GPT(SMALL)
    broken.ln_f.weight = tt.nn.Parameter(tt.ones(3))  # the last tensor
    with pytest.raises((AssertionError, ValueError, TinyTensorError)):
        save_gguf(broken, path)
    assert path.read_bytes() == before
    with pytest.raises(SaveError):
        save_gguf(GPT(SMALL), tmp_path / "none" / "model.gguf")
    assert [each.name for each in tmp_path.iterdir()] == ["model.gguf"]


WHOLE: list[bytes] = []


@given(data=st.data())
def test_damaged_files(tmp_path_factory, data):
    """Any byte of the head changed: a model comes, or an error of ours; with the end cut off the error."""
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "model.gguf"
    if not WHOLE:
        save_gguf(GPT(SMALL), path, LEARNED)
        WHOLE.append(path.read_bytes())
    changed = bytearray(WHOLE[0])
    head = changed.index(b"token_embd.weight") + 1500  # metadata, and names and sizes of the tensors
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, head))
        changed[at : at + 1] = data.draw(st.sampled_from([b"\x00", b"\xff", b"\x80", b"\x01", b"\x09", b""]))
    end = data.draw(st.sampled_from([len(changed)] * 3 + [len(changed) // 2, head, 100]))
    path.write_bytes(changed[:end])
    with suppress(TinyTensorError) if end == len(changed) else pytest.raises(TinyTensorError):
        load(path)
