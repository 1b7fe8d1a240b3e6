"""Models from the files of others: read, refused, written. The golden file is what transformers computed."""

import json
import pickle
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tinytensor as tt
from gpt.__main__ import main
from gpt.config import GPTConfig
from gpt.fields import to_dict
from gpt.lessons.seq2seq import Encoder
from gpt.models.gpt import GPT
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.hf_config import naming_for
from gpt.weights.load import load, require_tokenizer
from gpt.weights.save import save_pretrained, save_single, write_run
from tests.gpt.models.test_model import GOLDEN
from tinytensor.errors import ArgumentError, FormatError, SaveError

ARRAYS = load_file(GOLDEN)
WEIGHTS = {name.removeprefix("weight."): a for name, a in ARRAYS.items() if name.startswith("weight.")}
CONFIG = {
    "model_type": "gpt2",
    "vocab_size": 96,
    "n_positions": 24,
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}


def written(folder, weights=WEIGHTS, **changes):
    """A folder as transformers writes it."""
    folder.mkdir(exist_ok=True)
    save_file({f"transformer.{name}": a for name, a in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    return folder


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "model")


def small(**changes):
    sizes = {"vocab_size": 9, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 4}
    return GPT(GPTConfig(**sizes | changes))


def logits(model):
    with tt.no_grad():
        return model(tt.tensor(ARRAYS["inputs"][0])).numpy()


# ---- reading ----------------------------------------------------------------------------------------------


def test_logits_are_those_of_transformers(folder):
    state = tt.default_generator.get_state()
    model, tokenizer = load(folder)
    assert tt.default_generator.get_state() == state
    assert tokenizer is None
    assert not model.training
    np.testing.assert_allclose(logits(model), ARRAYS["logits"], rtol=0, atol=3e-5)


def test_the_original_file_has_no_prefix_but_buffers(folder):
    masks = {f"h.{n}.attn.bias": np.tril(np.ones((1, 1, 24, 24), np.float32)) for n in range(2)}
    save_file(WEIGHTS | masks, folder / "model.safetensors")
    np.testing.assert_allclose(logits(load(folder)[0]), ARRAYS["logits"], rtol=0, atol=3e-5)


def test_a_head_that_repeats_the_embeddings_is_left_out(folder):
    save_file(WEIGHTS | {"lm_head.weight": WEIGHTS["wte.weight"]}, folder / "model.safetensors")
    assert "lm_head.weight" not in load(folder)[0].state_dict()
    save_file(WEIGHTS | {"lm_head.weight": WEIGHTS["wte.weight"] + 1}, folder / "model.safetensors")
    with pytest.raises(FormatError, match=r"differs from wte\.weight"):
        load(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which memory is a file")
def test_packed_matrices_stay_in_the_file(folder):
    model, _ = load(folder)
    mapped = [
        line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line
    ]
    spans = [tuple(int(end, 16) for end in line[0].split("-")) for line in mapped]
    for name, p in model.named_parameters():
        address = p.detach().numpy().ctypes.data
        assert any(begin <= address < end for begin, end in spans), name


def test_a_shorter_context(folder):
    model, _ = load(folder, block_size=7, dropout=0.25)
    assert model.wpe.weight.shape == (7, 32)
    assert model.config.dropout == 0.25
    with tt.no_grad():
        found = model(tt.tensor(ARRAYS["inputs"][0][:, :7])).numpy()
    np.testing.assert_allclose(found, ARRAYS["logits"][:, :7], rtol=0, atol=3e-5)
    with pytest.raises(ArgumentError, match="longer than the model's 24"):
        load(folder, block_size=25)


def test_the_tokenizer_comes_along(folder):
    BPETokenizer.train("low lower", 259).save(folder / "tokenizer.json")
    with pytest.raises(ArgumentError, match="too small"):  # 259 ids, 96 rows
        load(folder)
    CharTokenizer("abc").save(folder / "tokenizer.json")
    assert repr(load(folder)[1]) == "CharTokenizer(vocab_size=3)"


# ---- files that are refused -------------------------------------------------------------------------------


def without(name):
    return {key: a for key, a in WEIGHTS.items() if key != name}


def cut(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])


def change(**changes):
    return lambda folder: written(folder, **changes)


def replaced(name, array):
    return lambda folder: written(folder, WEIGHTS | {name: array})


def spoiled(value):
    array = WEIGHTS["h.1.mlp.c_fc.weight"].copy()
    array[3, 5] = value
    return replaced("h.1.mlp.c_fc.weight", array)


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (cut, "the file is cut off"),
    (lambda f: written(f, without("ln_f.bias")), r"1 tensors are missing \(ln_f.bias\)"),
    (replaced("h.2.ln_1.bias", np.ones(32, np.float32)), r"and 1 have no place .*transformer.h.2.ln_1.bias"),
    (replaced("wpe.weight", np.ones((23, 32), np.float32)), r"wpe.weight is \(23, 32\), not \(24, 32\)"),
    (
        replaced("h.0.attn.c_attn.weight", WEIGHTS["h.0.attn.c_attn.weight"].T.copy()),
        r"c_attn.weight is \(96, 32\), not \(32, 96\)",
    ),
    (spoiled(np.nan), "h.1.mlp.c_fc.weight holds NaN or infinity"),
    (spoiled(-np.inf), "h.1.mlp.c_fc.weight holds NaN or infinity"),
    (change(n_head=3), "n_head=3 does not divide"),
    (change(n_layer=3), "12 tensors are missing"),
    (change(n_layer=10**12), "no model has so many"),
    (change(n_layer="2"), "its n_layer is '2', not a positive integer"),
    (change(n_layer=None), "its n_layer is None"),
    (change(model_type="bert"), "model_type is 'bert'"),
    (change(activation_function="silu"), "activation_function is 'silu'"),
    (change(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx is True"),
    (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
    (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
]


@pytest.mark.parametrize(("spoil", "why"), WRONG)
def test_wrong_files_are_explained(folder, spoil, why):
    spoil(folder)
    with pytest.raises(FormatError, match=why) as caught:
        load(folder)
    assert caught.value.fix


def test_integers_are_no_weights(folder):
    written(folder, WEIGHTS | {"ln_f.bias": np.ones(32, np.int8)})
    with pytest.raises(tt.DTypeError, match=r"ln_f.bias is stored as I8"):
        load(folder)


def test_pickles_are_never_read(folder):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    bomb = folder / "pytorch_model.bin"
    bomb.write_bytes(pickle.dumps(Bomb()))
    (folder / "model.safetensors").unlink()
    for path in (folder, bomb):
        with pytest.raises(FormatError, match=r"pytorch_model.bin is a pickle") as caught:
            load(path)
        assert "execute arbitrary code" in caught.value.why


def test_shards_by_their_index(folder):
    names = [f"transformer.{name}" for name in WEIGHTS]
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in halves.items():
        save_file({name: WEIGHTS[name.removeprefix("transformer.")] for name in held}, folder / file)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    table = {name: file for file, held in halves.items() for name in held}
    index.write_text(json.dumps({"metadata": {}, "weight_map": table}))
    np.testing.assert_allclose(logits(load(folder)[0]), ARRAYS["logits"], rtol=0, atol=3e-5)
    index.write_text(json.dumps({"weight_map": table | {names[0]: "b.safetensors"}}))
    with pytest.raises(FormatError, match=r"a.safetensors does not match .*\.index\.json"):
        load(folder)
    index.write_text(json.dumps({"weight_map": table | {names[0]: "../a.safetensors"}}))
    with pytest.raises(FormatError, match="must map each tensor to a file of the same folder"):
        load(folder)


# ---- the hub ----------------------------------------------------------------------------------------------


def test_a_name_on_the_hub(folder, monkeypatch):
    asked: list[str] = []

    def snapshot_download(name, allow_patterns):
        asked.append(name)
        if name != "openai-community/gpt2":
            raise OSError("no such repository")
        assert not any(pattern.endswith((".bin", "*")) for pattern in allow_patterns)
        return str(folder)

    library = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    assert load("openai-community/gpt2")[0].config.n_layer == 2
    with pytest.raises(ArgumentError, match=r"no file or folder 'gpt3' here, and the Hugging Face hub"):
        load("gpt3")
    with pytest.raises(ArgumentError, match="no file or folder"):
        load("some/where/else/model")  # no name of the hub
    assert asked == ["openai-community/gpt2", "gpt3"]


# ---- writing ----------------------------------------------------------------------------------------------


def test_written_names_and_config_are_those_of_hugging_face(folder, tmp_path):
    model, _ = load(folder)
    save_pretrained(model, tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert again.keys() == {f"transformer.{name}" for name in WEIGHTS}
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(again[f"transformer.{name}"], array)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {name: config[name] for name in CONFIG} == CONFIG


def test_any_variant_fits_into_a_file_of_ours(tmp_path):
    model = small(bias=False, position="sinusoidal", norm_position="post", activation="relu")
    save_single(model, tmp_path / "model.safetensors", dtype="float16")
    again, _ = load(tmp_path / "model.safetensors")
    assert again.config == model.config
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name].numpy(), p.numpy().astype(np.float16))
    with pytest.raises(ArgumentError, match="no architecture of Hugging Face") as caught:
        save_pretrained(model, tmp_path / "folder")
    assert "convert RUN model.safetensors" in caught.value.fix
    differing = "position=learned, not sinusoidal, norm_position=pre, not post"
    assert caught.value.why == f"gpt2 is the closest, but has {differing}"
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("fields", "differing"),
    [
        ({"activation": "relu2"}, "gpt2 is the closest, but has activation=gelu, not relu2"),
        ({"bias": False, "logit_soft_cap": 5.0}, "gpt2 is the closest, but has logit_soft_cap=0.0, not 5.0"),
        (
            {"bias": True, "position": "rope", "norm": "rms_norm", "activation": "swiglu"},
            "llama is the closest, but has bias=False, not True",
        ),
    ],
)
def test_the_error_names_the_field_that_does_not_fit(fields, differing):
    with pytest.raises(ArgumentError) as caught:
        naming_for(small(**fields).config)
    assert caught.value.why == differing


def test_heads_of_an_odd_size_are_not_those_of_llama():
    assert naming_for(small(n_head=2, n_embd=6).config)[0] == "gpt2"


def test_a_file_without_a_tokenizer_says_where_one_belongs(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_single(small(), path)
    with pytest.raises(ArgumentError, match=r"lens: .*tiny\.safetensors has no tokenizer\.json") as caught:
        require_tokenizer(load(path), "lens", path)
    assert caught.value.fix == f"copy the tokenizer to {tmp_path}/tokenizer.json"
    CharTokenizer("abc").save(tmp_path / "tokenizer.json")
    assert require_tokenizer(load(path), "lens", path)[1].decode([0]) == "a"


@pytest.mark.parametrize("write", [save_pretrained, save_single])
def test_a_target_that_cannot_be_written(write, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(SaveError) as caught:
        write(small(), tmp_path / "file" / "model.safetensors")
    assert caught.value.why
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt.weights.save.write_safetensors", full)
    with pytest.raises(SaveError, match="cannot write") as caught:
        save_pretrained(small(), tmp_path / "model")
    assert "No space left" in caught.value.why
    assert not list(tmp_path.iterdir())


# ---- the command ------------------------------------------------------------------------------------------


def test_a_run_of_a_model_and_back(folder, tmp_path, told, capsys):
    CharTokenizer("".join(map(chr, range(32, 128)))).save(folder / "tokenizer.json")
    run, out = tmp_path / "run", tmp_path / "out"
    assert "29,312" in told("convert", folder, run)  # (96 + 24) 32 + 2 (12 · 32² + 13 · 32) + 2 · 32
    np.testing.assert_allclose(logits(load(run)[0]), ARRAYS["logits"], rtol=0, atol=3e-5)
    assert len(told("sample", run, "--prompt=A", "--max_new_tokens=5")) == len("A") + 5 + len("\n")
    assert main(["convert", str(run), str(out), "--format=hf", "--dtype=float16"]) == 0
    assert "but not the tokenizer, a CharTokenizer" in capsys.readouterr().err
    assert load_file(out / "model.safetensors")["transformer.wte.weight"].dtype == np.float16
    assert main(["convert", str(out), str(tmp_path / "back"), "--block_size=8"]) == 0
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (run / "tokenizer.json").read_bytes()
    assert load(tmp_path / "back")[0].config.block_size == 8
    one = tmp_path / "one.safetensors"
    assert main(["convert", str(folder), str(one)]) == 0
    assert load(one)[0].config == load(folder)[0].config


def test_every_path_to_a_run_leads_to_its_model(folder, tmp_path):
    run = tmp_path / "run"
    write_run(load(folder)[0], None, run)
    for path in (run, run / "step_0", run / "step_0" / "model.safetensors"):
        np.testing.assert_array_equal(logits(load(path)[0]), logits(load(folder)[0]))
    save_single(small(), run / "other.safetensors")  # a file of its own, though it is in the folder of a run
    assert load(run / "other.safetensors")[0].config.n_embd == 4
    (tmp_path / "begun").mkdir()
    shutil.copy(run / "config.json", tmp_path / "begun")  # a run that ended before its first checkpoint
    for path in (tmp_path / "none", tmp_path / "begun"):
        with pytest.raises(ArgumentError, match=r"load: (there is no run|the run .* has no checkpoint)"):
            load(path)
    with pytest.raises(FormatError, match="holds a model of kind GPT, not Encoder"):
        load(run, kind=Encoder)
    weights = bytearray((run / "step_0" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (run / "step_0" / "model.safetensors").write_bytes(weights)
    with pytest.raises(FormatError, match="no usable checkpoint"):  # by its checksum
        load(run)


@pytest.mark.parametrize("target", ["run", "out --format=hf", "one.safetensors", "one.gguf"])
def test_a_damaged_model_leaves_the_target_untouched(folder, tmp_path, told, target):
    cut(folder)
    assert "cut off" in told("convert", folder, *f"{tmp_path}/{target}".split(), code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_config_inside_a_file_is_checked(tmp_path):
    config = json.dumps(to_dict(small().config) | {"n_head": 3})
    for metadata, why in (
        ({"gpt_config": config}, "n_head=3 does not divide"),
        ({"gpt_config": "{"}, "its config is not JSON"),
        (None, "comes without a config"),
    ):
        save_file({"w": np.ones(1, np.float32)}, tmp_path / "m.safetensors", metadata)
        with pytest.raises(FormatError, match=why):
            load(tmp_path / "m.safetensors")


# ---- the inventory of a file -------------------------------------------------------------------------------


def lines_of(text):
    """First word of a line → the other cells."""
    rows = [line.split("  ") for line in text.splitlines()]
    return {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}


def test_each_tensor_as_numpy_sees_it(folder, told):
    rows = lines_of(told("info", folder))
    for name, array in WEIGHTS.items():
        strides = tuple(step // 4 for step in array.strides)
        count = ["2"] if name.startswith("h.") else []
        want = [*count, str(array.shape), str(strides), "F32", f"{array.nbytes * (2 if count else 1):,}"]
        assert rows[re.sub(r"h\.\d+", "h.N", f"transformer.{name}")] == want


def test_only_headers_are_read(folder, told):
    # A file of 512 GB that takes no room: reading it would never end.
    shape = {"dtype": "F32", "shape": [50257, 2560000], "data_offsets": [0, 50257 * 2560000 * 4]}
    header = json.dumps({"transformer.wte.weight": shape}).encode().ljust(160)  # a multiple of 8
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + shape["data_offsets"][1])
    assert "(50257, 2560000)" in told("info", folder)


def test_a_run_directory_and_a_file_of_no_model(folder, tmp_path, told):
    assert main(["convert", str(folder), str(tmp_path / "run")]) == 0
    assert "h.N.attn.c_attn.weight" in told("info", tmp_path / "run")
    lone = tmp_path / "lone" / "x.safetensors"
    lone.parent.mkdir()
    save_file({"w": np.ones((2, 3), np.float16)}, lone)
    out = told("info", lone)
    assert lines_of(out)["w"] == ["(2, 3)", "(3, 1)", "F16", "12"]
    assert "comes without a config" in out
