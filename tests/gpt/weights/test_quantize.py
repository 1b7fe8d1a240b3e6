"""python -m gpt convert --quantize: packed files that all commands take."""

from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.finetuning.lora import LoraConfig, adapters, add_adapters, merged_weights, trainable_counts
from gpt.tokenizers.bpe import BPETokenizer
from gpt.weights.gguf_format.metadata import text
from gpt.weights.gguf_format.writer import kind_in_file, save_gguf
from gpt.weights.load import load
from gpt.weights.save import write_run
from tests.gpt.models.test_variants import model_of
from tinytensor.errors import ArgumentError

gguf = pytest.importorskip("gguf")

TEXT = "low lower lowest " * 60
WORDS = BPETokenizer.train(TEXT, 262, special_tokens=["<|endoftext|>"])
CONFIG = GPTConfig(
    vocab_size=WORDS.vocab_size, block_size=32, n_layer=2, n_head=2, n_embd=64, n_inner=256,
    bias=False, position="rope", norm="rms_norm", activation="swiglu",
)  # fmt: skip
IDS = tt.tensor(np.random.default_rng(0).integers(0, WORDS.vocab_size, (2, 20)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantize") / "run"
    write_run(model_of(CONFIG), WORDS, folder)
    (folder.parent / "text.txt").write_text(TEXT)
    return folder


def kinds_in(path):
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("kind", list(tt.QUANTIZED))
def test_the_command_packs_as_the_library_unpacks(kind, run, tmp_path):
    """What the gguf library unpacks is near the weights, by the step of the kind."""
    path = tmp_path / "model.gguf"
    assert main(["convert", str(run), str(path), f"--quantize={kind}"]) == 0
    floats, _ = load(run)
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name == "blk.1.ffn_down.weight":
            assert tensor.tensor_type.name == kind.upper()
            found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            wanted = floats.h[1].mlp.c_proj.weight.detach().numpy().T
            step = 2.0 ** -(int(kind[1]) - 2) * np.abs(wanted).max()
            assert 0 < np.abs(found - wanted).max() < step
    assert kinds_in(path)["token_embd.weight"] == "Q8_0"
    assert kinds_in(path)["output_norm.weight"] == "F32"


def test_all_commands_take_the_file(run, tmp_path, capsys):
    path, text = tmp_path / "model.gguf", f"--data={run.parent / 'text.txt'}"
    assert main(["convert", str(run), str(path), "--quantize=q4_0"]) == 0
    assert f"{path.stat().st_size / 2**20:.1f} MiB" in capsys.readouterr().out
    assert main(["sample", str(path), "--prompt=low", "--max_new_tokens=3"]) == 0
    assert main(["info", str(path)]) == 0
    assert "Q4_0" in capsys.readouterr().out
    assert main(["eval", str(path), text]) == 0
    packed = capsys.readouterr().out
    save_gguf(load(path)[0], tmp_path / "floats.gguf", WORDS)
    assert main(["eval", str(tmp_path / "floats.gguf"), text]) == 0
    losses = [float(out.split()[1]) for out in (packed, capsys.readouterr().out)]
    assert losses[0] == pytest.approx(losses[1], abs=0.01)  # few last tokens are read with rounding


def test_metadata_of_a_gguf_file_stay(run, tmp_path):
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    model, words = load(run)
    about = {"general.name": text("Low"), "tokenizer.chat_template": text("{{ messages }}")}
    save_gguf(model, first, words, dtype="q8_0", about=about)
    assert main(["convert", str(first), str(second), "--quantize=q4_k"]) == 0
    fields = gguf.GGUFReader(second).fields
    assert fields["general.name"].contents() == "Low"
    assert fields["tokenizer.chat_template"].contents() == "{{ messages }}"
    assert fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_K_S
    again = load(second)[1]
    assert again is not None
    assert again.encode(TEXT) == WORDS.encode(TEXT)


def test_a_packed_model_is_not_saved(run, tmp_path):
    save_gguf(load(run)[0], tmp_path / "model.gguf", WORDS, dtype="q8_0")
    packed, _ = load(tmp_path / "model.gguf", packed=True)
    with pytest.raises(ArgumentError, match="loaded with packed weights"):
        save_gguf(packed, tmp_path / "again.gguf", WORDS)
    with pytest.raises(ArgumentError, match="dtype='q3_k'"):
        save_gguf(packed, tmp_path / "again.gguf", WORDS, dtype="q3_k")


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "kind"),
    [
        ("blk.0.attn_q.weight", (8, 256), "q4_k", "Q4_K"),
        ("blk.0.attn_q.weight", (8, 96), "q4_k", "Q5_0"),
        ("blk.0.attn_q.weight", (8, 96), "q6_k", "Q8_0"),
        ("blk.0.attn_q.weight", (8, 40), "q4_0", "F16"),
        ("blk.0.attn_q.bias", (256,), "q4_0", "F32"),
        ("position_embd.weight", (8, 256), "q4_0", "F32"),
        ("token_embd.weight", (8, 256), "q4_k", "Q8_0"),
        ("blk.0.attn_q.weight", (8, 256), "bfloat16", "BF16"),
    ],
)
def test_kinds(name, shape, dtype, kind):
    assert kind_in_file(name, shape, dtype) == kind


def mixed(path, monkeypatch, **changes):
    """Write a file whose keys are packed in another kind than its queries and values."""

    def kind(name, shape, dtype):
        return "Q8_0" if name.endswith("attn_k.weight") else kind_in_file(name, shape, dtype)

    monkeypatch.setattr("gpt.weights.gguf_format.writer.kind_in_file", kind)
    save_gguf(model_of(replace(CONFIG, **changes)), path, WORDS, dtype="q4_0")
    assert [kinds_in(path)[f"blk.1.attn_{part}.weight"] for part in "qkv"] == ["Q4_0", "Q8_0", "Q4_0"]


@pytest.mark.parametrize("bias", [False, True])
def test_queries_and_keys_of_different_kinds(bias, tmp_path, monkeypatch):
    mixed(tmp_path / "model.gguf", monkeypatch, bias=bias)
    floats, _ = load(tmp_path / "model.gguf")
    packed, _ = load(tmp_path / "model.gguf", packed=True)
    with tt.no_grad():
        np.testing.assert_allclose(packed(IDS).numpy(), floats(IDS).numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "mixed"])
def test_adapters_of_packed_weights(kind, run, tmp_path, monkeypatch):
    """Gradients, and the merged weights, are those of the unpacked model."""
    path = tmp_path / "model.gguf"
    if kind == "mixed":
        mixed(path, monkeypatch)
    else:
        save_gguf(load(run)[0], path, WORDS, dtype=kind)
    found = []
    for packed in (True, False):
        model, _ = load(path, packed=packed)
        targets = "*.mlp.*,*.c_proj" if kind == "mixed" else "*"
        add_adapters(model, LoraConfig(4, lora_targets=targets), tt.Generator(1))
        rng = np.random.default_rng(2)
        for _, layer in adapters(model):
            with tt.no_grad():
                layer.lora_b.copy_(tt.tensor(rng.normal(0, 0.1, layer.lora_b.shape).astype(np.float32)))
        loss = model.train().loss(IDS[:, :-1], IDS[:, 1:])
        loss.backward()
        thin = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
        found.append((loss.item(), thin, merged_weights(model), trainable_counts(model)))
    (loss, thin, merged, counts), (loss_, thin_, merged_, counts_) = found
    assert counts == counts_
    assert loss == pytest.approx(loss_, rel=1e-5)
    assert thin.keys() == thin_.keys()
    for name, grad in thin.items():
        np.testing.assert_allclose(grad, thin_[name], atol=1e-5 * np.abs(thin_[name]).max() + 1e-7)
    assert merged.keys() == merged_.keys()
    for name, array in merged.items():
        np.testing.assert_allclose(array, merged_[name], atol=1e-6)


def test_finetune_on_a_packed_file(run, tmp_path, capsys):
    """It trains adapters alone, can be resumed, and its run is one as any other."""
    path = tmp_path / "model.gguf"
    assert main(["convert", str(run), str(path), "--quantize=q8_0"]) == 0
    data = [f"--data={run.parent / 'text.txt'}", "--warmup_steps=0", "--batch_size=2"]
    words = ["finetune", "lora", *data, f"--init_from={path}", "--max_steps=4"]
    assert main([*words, f"--out_dir={tmp_path / 'whole'}"]) == 0
    assert "q8_0" in capsys.readouterr().out
    assert main([*words[:-1], "--max_steps=2", f"--out_dir={tmp_path / 'half'}"]) == 0
    resumed = ["--init_from=resume", "--max_steps=4", f"--out_dir={tmp_path / 'half'}"]
    assert main(["finetune", "lora", *resumed]) == 0
    assert (tmp_path / "half" / "step_4").is_dir()
    assert main(["sample", str(tmp_path / "whole"), "--prompt=low", "--max_new_tokens=3"]) == 0
