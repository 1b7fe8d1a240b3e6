"""GGUF files of the architecture llama: packed by `convert`, trained on, computed with as packed, refused.

That files of ours are right, llama.cpp says in test_gguf_written.py; the gguf library unpacks them here.
"""

import struct
from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.finetuning.lora import LoraConfig, adapters, add_adapters, merged_weights, trainable_counts
from gpt.generation.context import Reader, cache_for
from gpt.tokenizers.bpe import BPETokenizer
from gpt.weights.gguf_format import writer
from gpt.weights.gguf_format.architecture import describe_config
from gpt.weights.gguf_format.metadata import number, text
from gpt.weights.gguf_format.writer import kind_in_file, save_gguf
from gpt.weights.load import load
from gpt.weights.save import write_run
from tests.gpt.models.test_variants import model_of
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.nn import QuantizedEmbedding, QuantizedLinear

gguf = pytest.importorskip("gguf")

TEXT = "low lower lowest, 2024. " * 60
# With merges of digits, which this rule never lets happen.
LEARNED = BPETokenizer.train(TEXT, 264, special_tokens=["<|endoftext|>"])
WORDS = BPETokenizer(LEARNED.vocab, LEARNED.merges, LEARNED.special_tokens, split="smollm")
CONFIG = GPTConfig(
    vocab_size=WORDS.vocab_size, block_size=32, n_layer=2, n_head=4, n_kv_head=2, n_embd=64,
    bias=False, position="rope", norm="rms_norm", activation="swiglu", tied_head=False,
)  # fmt: skip
IDS = tt.tensor(np.random.default_rng(0).integers(0, WORDS.vocab_size, (2, 20)))


@pytest.fixture(scope="module")
def model():
    return model_of(CONFIG)


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantize") / "run"
    write_run(model, WORDS, folder)
    (folder.parent / "text.txt").write_text(TEXT)
    return folder


def written(path, model, kind="float32", **about):
    save_gguf(model, path, WORDS, dtype=kind, about=about)
    return path


def logits(model):
    with tt.no_grad():
        return model(IDS).numpy()


def kinds_in(path):
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


# ---- commands ---------------------------------------------------------------------------------------------


def test_norms_in_a_mapped_file_are_trained(model, run, tmp_path):
    """They are float32 in all GGUF files."""
    path = written(tmp_path / "m.gguf", model, "q8_0")
    before = path.read_bytes()
    words = f"--max_steps=2 --warmup_steps=0 --batch_size=2 --data={run.parent / 'text.txt'}".split()
    assert main(["train", f"--init_from={path}", f"--out_dir={tmp_path / 'run'}", *words]) == 0
    trained, tokenizer = load(tmp_path / "run")
    assert not np.array_equal(*[m.ln_f.weight.detach().numpy() for m in (trained, model)])
    assert path.read_bytes() == before
    assert tokenizer.encode("low 2024") == WORDS.encode("low 2024")
    words += ["--preset=tiny", f"--tokenizer={path}", f"--out_dir={tmp_path / 'b'}"]
    assert main(["train", *words]) == 0


@pytest.mark.parametrize("kind", list(tt.QUANTIZED))
def test_the_command_packs_as_the_library_unpacks(kind, model, run, tmp_path):
    """What the gguf library unpacks is near the weights, by the step of the kind."""
    path = tmp_path / "model.gguf"
    assert main(["convert", str(run), str(path), f"--quantize={kind}"]) == 0
    (tensor,) = [t for t in gguf.GGUFReader(path).tensors if t.name == "blk.1.ffn_down.weight"]
    assert tensor.tensor_type.name == kind.upper()
    found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    wanted = model.h[1].mlp.c_proj.weight.detach().numpy().T
    step = 2.0 ** -(int(kind[1]) - 2) * np.abs(wanted).max()
    assert 0 < np.abs(found - wanted).max() < step
    kinds = kinds_in(path)
    assert (kinds["token_embd.weight"], kinds["output_norm.weight"]) == ("Q8_0", "F32")


def test_all_commands_take_a_packed_file(run, tmp_path, told):
    path, data = tmp_path / "model.gguf", f"--data={run.parent / 'text.txt'}"
    said = told("convert", run, path, "--quantize=q4_0")
    assert f"{path.stat().st_size / 2**20:.1f} MiB" in said
    assert main(["sample", str(path), "--prompt=low", "--max_new_tokens=3"]) == 0
    assert "Q4_0" in told("info", path)
    packed = told("eval", path, data)
    save_gguf(load(path)[0], tmp_path / "floats.gguf", WORDS)
    losses = [float(out.split()[1]) for out in (packed, told("eval", tmp_path / "floats.gguf", data))]
    assert losses[0] == pytest.approx(losses[1], abs=0.01)  # few last tokens are read with rounding


def test_metadata_of_a_gguf_file_stay(model, tmp_path):
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    about = {"general.name": text("Low"), "tokenizer.chat_template": text("{{ messages }}")}
    written(first, model, "q8_0", **about)
    assert main(["convert", str(first), str(second), "--quantize=q4_k"]) == 0
    fields = gguf.GGUFReader(second).fields
    assert {key: fields[key].contents() for key in about} == {key: e.value for key, e in about.items()}
    assert fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_K_S
    again = load(second)[1]
    assert again is not None
    assert again.encode(TEXT) == WORDS.encode(TEXT)


def test_adapters_alone_are_tuned_on_a_packed_file(run, tmp_path, told):
    """It can be resumed, and its run is one as any other."""
    path = tmp_path / "model.gguf"
    assert main(["convert", str(run), str(path), "--quantize=q8_0"]) == 0
    tune = ["finetune", "lora", f"--out_dir={tmp_path / 'run'}"]
    data = [f"--data={run.parent / 'text.txt'}", "--warmup_steps=0", "--batch_size=2"]
    assert "q8_0" in told(*tune, *data, f"--init_from={path}", "--max_steps=2")
    assert main([*tune, "--init_from=resume", "--max_steps=4"]) == 0
    assert (tmp_path / "run" / "step_4").is_dir()
    assert main(["sample", str(tmp_path / "run"), "--prompt=low", "--max_new_tokens=3"]) == 0


# ---- packed weights ---------------------------------------------------------------------------------------


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


def mixed(path, monkeypatch, model, name, kind):
    """Write a file in which one part of the attention is packed in 8 bits, and all others in another kind."""

    def found(tensor, shape, dtype):
        return "Q8_0" if tensor.endswith(f"{name}.weight") else kind_in_file(tensor, shape, dtype)

    monkeypatch.setattr(writer, "kind_in_file", found)
    kinds = kinds_in(written(path, model, kind))
    assert {kinds[f"blk.1.attn_{part}.weight"] for part in "qkv"} == {"Q8_0", kind.upper()}
    return path


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["attn_k", "attn_v"])
def test_kinds_that_differ_stay_apart(name, bias, tmp_path, monkeypatch):
    """Files of mixed kinds have other ones for values than for queries and keys."""
    path = mixed(tmp_path / "m.gguf", monkeypatch, model_of(replace(CONFIG, bias=bias)), name, "q4_1")
    plain, packed = load(path)[0], load(path, packed=True)[0]
    if name == "attn_v":
        parts = packed.h[1].attn.c_attn.parts
        assert [(part.kind, part.out_features) for part in parts] == [("q4_1", 96), ("q8_0", 32)]
    np.testing.assert_allclose(logits(packed), logits(plain), atol=1e-4)


@pytest.mark.parametrize("kind", ["q8_0", "q4_1"])
def test_weights_stay_packed(model, tmp_path, kind):
    """The values are those of the unpacked model: activations of many tokens at once are not rounded."""
    path = written(tmp_path / "m.gguf", model, kind)
    plain, packed = load(path)[0], load(path, packed=True)[0]
    assert [type(packed.h[0].attn.c_attn), type(packed.lm_head)] == [QuantizedLinear, QuantizedEmbedding]
    np.testing.assert_allclose(logits(packed), logits(plain), atol=1e-5)
    layer = packed.h[1].attn.c_attn
    np.testing.assert_array_equal(layer.weight().numpy(), plain.h[1].attn.c_attn.weight.detach().numpy())
    assert sum(b.nbytes for b in packed.buffers() if b.dtype is tt.uint8) < path.stat().st_size
    for dtype, why in (("float32", "loaded with packed weights"), ("q3_k", "dtype='q3_k'")):
        with pytest.raises(ArgumentError, match=why):
            save_gguf(packed, tmp_path / "again.gguf", WORDS, dtype=dtype)


def test_packed_weights_generate(model, tmp_path):
    """Token by token: with the bits of the same calls without capture, and near the unpacked model."""
    path = written(tmp_path / "m.gguf", model, "q8_0")
    plain, packed = load(path)[0], load(path, packed=True)[0]
    cache = cache_for(packed, 1, 20)
    read = Reader(packed, cache_for(packed, 1, 20))
    with tt.no_grad():
        for end in range(1, 12):
            found = read([IDS[0, end - 1 : end].tolist()]).numpy()[0]
            eager = packed(IDS[:1, end - 1 : end], cache).numpy()[0, -1]
            wanted = plain(IDS[:1, :end], last_only=True).numpy()[0, -1]
            np.testing.assert_array_equal(found, eager)
            assert np.std(found - wanted) < 0.001 * np.std(wanted)


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "mixed"])
def test_adapters_of_packed_weights(kind, model, tmp_path, monkeypatch):
    """Gradients, and the merged weights, are those of the unpacked model."""
    if kind == "mixed":
        path = mixed(tmp_path / "m.gguf", monkeypatch, model, "attn_k", "q4_0")
    else:
        path = written(tmp_path / "m.gguf", model, kind)
    found = []
    for packed in (True, False):
        tuned, _ = load(path, packed=packed)
        targets = "*.mlp.*,*.c_proj" if kind == "mixed" else "*"
        add_adapters(tuned, LoraConfig(4, lora_targets=targets), tt.Generator(1))
        rng = np.random.default_rng(2)
        for _, layer in adapters(tuned):
            with tt.no_grad():
                layer.lora_b.copy_(tt.tensor(rng.normal(0, 0.1, layer.lora_b.shape).astype(np.float32)))
        loss = tuned.train().loss(IDS[:, :-1], IDS[:, 1:])
        loss.backward()
        thin = {name: p.grad.numpy() for name, p in tuned.named_parameters() if p.grad is not None}
        found.append((loss.item(), thin, merged_weights(tuned), trainable_counts(tuned)))
    (loss, thin, merged, counts), (loss_, thin_, merged_, counts_) = found
    assert counts == counts_
    assert loss == pytest.approx(loss_, rel=1e-5)
    assert (thin.keys(), merged.keys()) == (thin_.keys(), merged_.keys())
    for name, grad in thin.items():
        np.testing.assert_allclose(grad, thin_[name], atol=1e-5 * np.abs(thin_[name]).max() + 1e-7)
    for name, array in merged.items():
        np.testing.assert_allclose(array, merged_[name], atol=1e-6)


# ---- files of others --------------------------------------------------------------------------------------


def test_what_has_a_default_may_be_missing(model, tmp_path, monkeypatch):
    optional = ("llama.rope.dimension_count", "llama.vocab_size", "llama.rope.freq_base")

    def needed(config):
        return {key: entry for key, entry in describe_config(config).items() if key not in optional}

    monkeypatch.setattr(writer, "describe_config", needed)
    assert load(written(tmp_path / "m.gguf", model))[0].config == CONFIG


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"tokenizer.ggml.pre": text("qwen2")},
            "cuts texts by the rule 'qwen2'; there are gpt-2, default, smollm",
        ),
        ({"llama.expert_count": number(4)}, "mixture of experts"),
        ({"llama.rope.dimension_count": number(8)}, "its rope.dimension_count is 8"),
    ],
)
def test_other_models_are_refused(model, tmp_path, about, message):
    with pytest.raises(FormatError, match=message):
        load(written(tmp_path / "m.gguf", model, **about))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"llama", b"qwen2", "its architecture is 'qwen2'"),
        (b"smollm", b"\xffmollm", r"tokenizer\.ggml\.pre cannot be read"),
    ],
)
def test_other_words_are_refused(model, tmp_path, old, new, message):
    path = written(tmp_path / "m.gguf", model)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(FormatError, match=message):
        load(path)


def test_tensors_on_the_bytes_of_others_are_refused(model, tmp_path):
    """Both would have weights, and one of them wrong ones."""
    path = written(tmp_path / "m.gguf", model, "q8_0")
    first, *_, last = gguf.GGUFReader(path).tensors
    data = bytearray(path.read_bytes())
    end = last.field.offset + sum(part.nbytes for part in last.field.parts)
    data[end - 8 : end] = struct.pack("<Q", 0)  # the offset of the last one becomes that of the first
    path.write_bytes(data)
    why = f"{last.name} begins at byte {first.data_offset}, not at {last.data_offset}"
    with pytest.raises(FormatError, match=why):
        load(path)


def test_packed_scales_are_finite(model, tmp_path):
    path = written(tmp_path / "m.gguf", model, "q4_1")
    (tensor,) = [t for t in gguf.GGUFReader(path).tensors if t.name == "blk.1.ffn_up.weight"]
    whole = bytearray(path.read_bytes())
    whole[tensor.data_offset + 22 : tensor.data_offset + 24] = b"\x00\x7c"  # the start of block 1
    path.write_bytes(whole)
    for packed in (False, True):
        with pytest.raises(FormatError, match=r"ffn_up\.weight holds NaN or infinity"):
            load(path, packed=packed)


def test_the_byte_order_of_other_processors_is_refused(tmp_path):
    """The library turns floats, but not the scales of packed blocks."""
    path = tmp_path / "big.gguf"
    file = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.close()
    with pytest.raises(FormatError, match="gguf-convert-endian"):
        load(path)


NAME = struct.pack("<Qs", 1, b"x")


@pytest.mark.parametrize(
    ("field", "why"),
    [
        (NAME + struct.pack("<IIQ", 9, 0, 2**40), "an array of 1099511627776 items; the limit is 4194304"),
        (NAME + struct.pack("<IIQ", 9, 0, 10**6), "at byte 49 would end at 1000049; the file has 49 bytes"),
        (NAME + struct.pack("<IIQ", 9, 9, 1), "an array of arrays"),
        (NAME + struct.pack("<IIQ", 9, 8, 2**63), "an array of 9223372036854775808 items"),
        (NAME + struct.pack("<IIQQs", 9, 8, 1, 9, b"x"), "at byte 49 would end at 66; the file has 58"),
        (struct.pack("<Qs", 2**40, b"x"), "would end at 1099511627808; the file has 33 bytes"),
    ],
)
def test_values_that_are_not_there(tmp_path, field, why):
    """The library goes on behind the end of the file: 49 bytes took gigabytes."""
    path = tmp_path / "bomb.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + field)
    with pytest.raises(FormatError, match=why):
        load(path)
