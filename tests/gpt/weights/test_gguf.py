"""GGUF files of the architecture llama, written by the gguf library: weights, rotations, tokens, refusals."""

import json
import struct

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.generation.context import Reader, cache_for
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.pretokenize import printable
from gpt.weights.load import load
from tests.gpt.models.test_variants import model_of
from tinytensor.errors import FormatError
from tinytensor.nn import QuantizedEmbedding, QuantizedLinear

gguf = pytest.importorskip("gguf")

# With merges of digits, which this rule never lets happen.
LEARNED = BPETokenizer.train("low lower lowest 2024 2024 2024", 264, special_tokens=["<|endoftext|>"])
WORDS = BPETokenizer(LEARNED.vocab, LEARNED.merges, LEARNED.special_tokens, split="smollm")
CONFIG = GPTConfig(
    vocab_size=WORDS.vocab_size, block_size=32, n_layer=2, n_head=4, n_kv_head=2, n_embd=64, n_inner=96,
    bias=False, position="rope", rope_theta=500.0, norm="rms_norm", activation="swiglu", tied_head=False,
)  # fmt: skip
IDS = tt.tensor(np.random.default_rng(0).integers(0, WORDS.vocab_size, (2, 20)))


@pytest.fixture(scope="module")
def model():
    return model_of(CONFIG)


def pairs(rows, heads):
    """Rows of queries or keys in GGUF's order: channels i and i + half of a head become neighbors."""
    halves = rows.reshape(heads, 2, -1, rows.shape[1])
    return np.stack([halves[:, 0], halves[:, 1]], axis=2).reshape(rows.shape)


def tensors_of(model):
    own = {name: p.detach().numpy() for name, p in model.named_parameters()}
    found = {
        "token_embd.weight": own["wte.weight"],
        "output.weight": own["lm_head.weight"],
        "output_norm.weight": own["ln_f.weight"],
    }
    for n in range(CONFIG.n_layer):
        h, blk = f"h.{n}.", f"blk.{n}."
        q, k, v = np.split(own[f"{h}attn.c_attn.weight"].T, [64, 96])  # (out, in)
        found |= {
            f"{blk}attn_norm.weight": own[f"{h}ln_1.weight"],
            f"{blk}ffn_norm.weight": own[f"{h}ln_2.weight"],
            f"{blk}attn_q.weight": pairs(q, 4),
            f"{blk}attn_k.weight": pairs(k, 2),
            f"{blk}attn_v.weight": v,
            f"{blk}attn_output.weight": own[f"{h}attn.c_proj.weight"].T,
            f"{blk}ffn_gate.weight": own[f"{h}mlp.c_gate.weight"].T,
            f"{blk}ffn_up.weight": own[f"{h}mlp.c_fc.weight"].T,
            f"{blk}ffn_down.weight": own[f"{h}mlp.c_proj.weight"].T,
        }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def written(path, model, *, architecture="llama", pre="smollm", kind="F32", other=None, **more):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONFIG.block_size)
    writer.add_block_count(CONFIG.n_layer)
    writer.add_embedding_length(CONFIG.n_embd)
    writer.add_feed_forward_length(CONFIG.inner_size)
    writer.add_head_count(CONFIG.n_head)
    writer.add_head_count_kv(CONFIG.kv_heads)
    writer.add_rope_freq_base(CONFIG.rope_theta)
    writer.add_layer_norm_rms_eps(CONFIG.norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    special = set(WORDS.special_tokens.values())
    names = [t.decode() if i in special else printable(t) for i, t in enumerate(WORDS.tokens)]
    writer.add_token_list(names)
    writer.add_token_types([3 if i in special else 1 for i in range(len(names))])
    writer.add_token_merges([f"{printable(a)} {printable(b)}" for a, b in WORDS.merges])
    for name, number in more.items():
        writer.add_uint32(f"{architecture}.{name}", number)
    for name, array in tensors_of(model).items():
        quantised = gguf.GGMLQuantizationType[(other or {}).get(name, kind)]
        as_floats = kind == "F32" or array.ndim == 1
        data = array if as_floats else gguf.quants.quantize(array, quantised)
        writer.add_tensor(name, data, raw_dtype=None if as_floats else quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(model):
    with tt.no_grad():
        return model(IDS).numpy()


def test_every_weight_can_be_trained(model, tmp_path):
    """Norms are float32 in all GGUF files, so they lie in the mapped file."""
    path = written(tmp_path / "m.gguf", model, kind="Q8_0")
    before = path.read_bytes()
    lines = [{"instruction": "low", "output": "lower"}, {"instruction": "2", "output": "4"}] * 6
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--max_steps=2", "--warmup_steps=0", "--batch_size=2", f"--out_dir={tmp_path / 'run'}"]
    data = f"--data={tmp_path / 'data.jsonl'}"
    assert main(["finetune", "instruct", f"--init_from={path}", data, *words]) == 0
    trained, _ = load(tmp_path / "run")
    assert not np.array_equal(*[m.ln_f.weight.detach().numpy() for m in (trained, model)])
    assert path.read_bytes() == before


def test_a_file_is_trained_on_planned_and_scored(model, tmp_path, capsys):
    path, text = written(tmp_path / "m.gguf", model), tmp_path / "text.txt"
    text.write_text("low lower lowest, 2024. " * 40)
    words = [f"--data={text}", "--max_steps=2", "--warmup_steps=0", "--batch_size=2", "--eval_batches=1"]
    assert main(["train", f"--init_from={path}", f"--out_dir={tmp_path / 'run'}", *words]) == 0
    assert main(["train", "--init_from=resume", f"--out_dir={tmp_path / 'run'}", "--max_steps=3"]) == 0
    again, tokenizer = load(tmp_path / "run")
    assert again.config.vocab_size == CONFIG.vocab_size
    assert tokenizer is not None
    assert tokenizer.encode("low 2024") == load(path)[1].encode("low 2024")
    assert main(["train", f"--tokenizer={path}", "--preset=tiny", f"--out_dir={tmp_path / 'b'}", *words]) == 0
    assert main(["eval", str(path), f"--data={text}"]) == 0
    capsys.readouterr()
    assert main(["plan", str(path), "--flops=1e12"]) == 0
    assert f"{CONFIG.n_layer} layers" in capsys.readouterr().out


def test_the_model_comes_back(model, tmp_path):
    again, tokenizer = load(written(tmp_path / "m.gguf", model))
    assert again.config == CONFIG
    np.testing.assert_allclose(logits(again), logits(model), atol=1e-5)
    assert isinstance(tokenizer, BPETokenizer)
    for text in ("low lowest 20245", "été 7", "<|endoftext|>"):
        assert tokenizer.encode(text) == WORDS.encode(text)
        assert tokenizer.encode(text, allowed_special="all") == WORDS.encode(text, allowed_special="all")


@pytest.mark.parametrize(("kind", "off"), [("Q8_0", 0.02), ("Q4_1", 0.3), ("BF16", 0.02)])
def test_quantised_weights(model, tmp_path, kind, off):
    again, _ = load(written(tmp_path / "m.gguf", model, kind=kind))
    found = again.h[1].mlp.c_proj.weight.detach().numpy()
    expected = model.h[1].mlp.c_proj.weight.detach().numpy()
    assert 0 < np.abs(found - expected).max() < off * np.abs(expected).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre": "qwen2"}, "cuts texts by the rule 'qwen2'; there are gpt-2, default, smollm"),
        ({"architecture": "qwen2"}, "its architecture is 'qwen2'"),
        ({"expert_count": 4}, "mixture of experts"),
        ({"rope.dimension_count": 8}, "its rope.dimension_count is 8"),
    ],
)
def test_other_models_are_refused(model, tmp_path, changes, message):
    with pytest.raises(FormatError, match=message):
        load(written(tmp_path / "m.gguf", model, **changes))


def test_cut_files_are_refused(model, tmp_path):
    data = written(tmp_path / "m.gguf", model).read_bytes()
    for length in (0, 3, 100, 5000, len(data) - 100):
        (tmp_path / "cut.gguf").write_bytes(data[:length])
        with pytest.raises(FormatError):
            load(tmp_path / "cut.gguf")


def test_tensors_on_the_bytes_of_others_are_refused(model, tmp_path):
    """Both would have weights, and one of them wrong ones."""
    path = written(tmp_path / "m.gguf", model, kind="Q8_0")
    first, *_, last = gguf.GGUFReader(path).tensors
    data = bytearray(path.read_bytes())
    end = last.field.offset + sum(part.nbytes for part in last.field.parts)
    data[end - 8 : end] = struct.pack("<Q", 0)  # the offset of the last one becomes that of the first
    path.write_bytes(data)
    why = f"{last.name} begins at byte {first.data_offset}, not at {last.data_offset}"
    with pytest.raises(FormatError, match=why):
        load(path)


def test_the_byte_order_of_other_processors_is_refused(tmp_path):
    """The library turns floats, but not the scales of packed blocks."""
    path = tmp_path / "big.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor(
        "token_embd.weight", np.zeros((2, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(FormatError, match="gguf-convert-endian"):
        load(path)


def test_texts_that_are_none_are_refused(model, tmp_path):
    file = written(tmp_path / "tiny.gguf", model)
    file.write_bytes(file.read_bytes().replace(b"smollm", b"\xffmollm"))
    with pytest.raises(FormatError, match=r"tokenizer\.ggml\.pre cannot be read"):
        load(file)


@pytest.mark.parametrize(
    ("items", "kind", "why"),
    [
        (2**40, 0, "an array of 1099511627776 items; the limit is 4194304"),
        (10**6, 0, "the value at byte 49 would end at 1000049; the file has 49 bytes"),
        (1, 9, "an array of arrays"),
        (2**63, 8, "an array of 9223372036854775808 items"),
    ],
)
def test_arrays_that_are_not_there(tmp_path, items, kind, why):
    """The library goes on behind the end of the file: 49 bytes took gigabytes."""
    name = b"x"
    head = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, len(name)) + name
    path = tmp_path / "bomb.gguf"
    path.write_bytes(head + struct.pack("<IIQ", 9, kind, items))
    assert path.stat().st_size == 49
    with pytest.raises(FormatError, match=why):
        load(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (struct.pack("<Qs", 2**40, b"x"), "would end at 1099511627808; the file has 33 bytes"),
        (
            struct.pack("<QsIIQQs", 1, b"x", 9, 8, 1, 9, b"x"),
            "a text at byte 49 would end at 66; the file has 58",
        ),
    ],
    ids=["name", "array"],
)
def test_a_text_longer_than_the_file(tmp_path, text, why):
    path = tmp_path / "long.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text)
    with pytest.raises(FormatError, match=why):
        load(path)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_weights_stay_packed(model, tmp_path, kind):
    """The values are those of the unpacked model: activations of many tokens at once are not rounded."""
    path = written(tmp_path / "m.gguf", model, kind=kind)
    plain, packed = load(path)[0], load(path, packed=True)[0]
    assert [type(packed.h[0].attn.c_attn), type(packed.lm_head)] == [QuantizedLinear, QuantizedEmbedding]
    np.testing.assert_allclose(logits(packed), logits(plain), atol=1e-5)
    layer = packed.h[1].attn.c_attn
    np.testing.assert_array_equal(layer.weight().numpy(), plain.h[1].attn.c_attn.weight.detach().numpy())
    size = path.stat().st_size
    assert sum(b.nbytes for b in packed.buffers() if b.dtype is tt.uint8) < size


def test_packed_weights_generate(model, tmp_path):
    """Token by token: with the bits of the same calls without capture, and near the unpacked model."""
    path = written(tmp_path / "m.gguf", model, kind="Q8_0")
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


def test_kinds_that_differ_stay_apart(model, tmp_path):
    """Files of mixed kinds have other ones for values than for queries and keys."""
    path = written(tmp_path / "m.gguf", model, kind="Q4_1", other={"blk.1.attn_v.weight": "Q8_0"})
    plain, packed = load(path)[0], load(path, packed=True)[0]
    parts = packed.h[1].attn.c_attn.parts
    assert [(part.kind, part.out_features) for part in parts] == [("q4_1", 96), ("q8_0", 32)]
    np.testing.assert_allclose(logits(packed), logits(plain), atol=1e-5)


def test_packed_scales_are_finite(model, tmp_path):
    path = written(tmp_path / "m.gguf", model, kind="Q4_1")
    (tensor,) = [t for t in gguf.GGUFReader(path).tensors if t.name == "blk.1.ffn_up.weight"]
    whole = bytearray(path.read_bytes())
    whole[tensor.data_offset + 22 : tensor.data_offset + 24] = b"\x00\x7c"  # the start of block 1
    path.write_bytes(whole)
    for packed in (False, True):
        with pytest.raises(FormatError, match=r"ffn_up\.weight holds NaN or infinity"):
            load(path, packed=packed)
