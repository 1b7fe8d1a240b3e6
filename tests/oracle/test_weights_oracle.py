"""Models beside those of transformers with the same weights: files both ways, logits, gradients, training and
greedy text; a context of 4096, where PyTorch's attention is the fused one; experts and ALiBi.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from gpt.models.positions import alibi_slopes
from gpt.weights.load import load
from gpt.weights.save import save_pretrained
from tinytensor.optim import AdamW, clip_grad_norm_

pytestmark = pytest.mark.oracle

V, T = 97, 32
GPT2_SIZES = {"vocab_size": V, "n_positions": T, "n_layer": 2, "n_head": 4, "n_embd": 32}
LLAMA_SIZES = {
    "vocab_size": V, "max_position_embeddings": T, "num_hidden_layers": 2, "num_attention_heads": 4,
    "hidden_size": 32, "intermediate_size": 88,
}  # fmt: skip
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
Build = Callable[[], Any]


def gpt2(**changes: Any) -> Build:
    config = transformers.GPT2Config(**GPT2_SIZES | NO_DROPOUT | changes)
    return lambda: transformers.GPT2LMHeadModel(config)


def llama(kind: str = "Llama", **changes: Any) -> Build:
    config = getattr(transformers, f"{kind}Config")(**LLAMA_SIZES | changes)
    return lambda: getattr(transformers, f"{kind}ForCausalLM")(config)


MODELS: dict[str, Build] = {
    "gpt2": gpt2(),
    "gpt2, exact gelu, untied": gpt2(activation_function="gelu", tie_word_embeddings=False),
    "gpt2, relu, narrow": gpt2(activation_function="relu", n_inner=48),
    "llama": llama(),
    "llama, grouped and tied": llama(
        num_key_value_heads=2, tie_word_embeddings=True, rope_theta=500.0, rms_norm_eps=1e-5
    ),
    "llama, one key": llama(num_key_value_heads=1, intermediate_size=128),
    "mistral": llama("Mistral", num_key_value_heads=2, sliding_window=9),
    "qwen3": llama("Qwen3", num_key_value_heads=2, head_dim=8),
}
LONG: dict[str, Build] = {
    "gpt2": gpt2(n_positions=4096, n_head=2),
    "llama, grouped": llama(max_position_embeddings=4096, num_key_value_heads=2),
    "mistral, window": llama(
        "Mistral", max_position_embeddings=4096, num_key_value_heads=2, sliding_window=300
    ),
}


def scattered(model: Any) -> Any:
    """The model with weights far from its start, so that no part of it hides behind small numbers."""
    torch.manual_seed(4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            norm = name.endswith("weight") and ("norm" in name or ".ln_" in name)
            p.normal_(mean=1.0 if norm else 0.0, std=0.1 if norm or p.ndim < 2 else 0.15)
    return model


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[GPT, Any]:
    theirs = scattered(MODELS[request.param]())
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    ours, tokenizer = load(folder)
    assert tokenizer is None
    return ours, theirs.eval()


def batches(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, V, (count, 2, 3, T))  # inputs and targets, (3, T) each


def their_loss(model: Any, inputs: np.ndarray, targets: np.ndarray) -> torch.Tensor:
    logits = model(torch.from_numpy(inputs)).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten())


def difference(ours: GPT, theirs: Any, cuts: tuple[int, ...] = ()) -> float:
    """Of logits, as a share of the largest; ours reads the pieces between `cuts` one by one, with a cache."""
    ids = batches(1)[0, 0]
    cache = KVCache(ours.config, len(ids)) if cuts else None
    with torch.no_grad(), tt.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits.numpy()
        pieces = [ours(tt.tensor(piece), cache).numpy() for piece in np.split(ids, cuts, axis=1)]
    return float(np.abs(np.concatenate(pieces, 1) - expected).max() / np.abs(expected).max())


each_way = pytest.mark.parametrize("cuts", [(), (17, 18, 19, 25)], ids=["whole", "with a cache"])


def backward(ours: GPT, theirs: Any, inputs: np.ndarray, targets: np.ndarray, within: float = 1e-5) -> None:
    loss, expected = ours.loss(tt.tensor(inputs), tt.tensor(targets)), their_loss(theirs, inputs, targets)
    loss.backward()
    expected.backward()
    assert abs(loss.item() - expected.item()) < within


def close(found: Any, wanted: Any, name: str) -> None:
    assert np.abs(found - wanted).max() < 3e-4 * np.abs(wanted).max(), name


def gradients_agree(ours: GPT, theirs: Any, folder: Path) -> None:
    """Gradients take the road of weights: ours as a model of gradients, saved under their names."""
    gradients = GPT(ours.config)
    gradients.load_state_dict({name: p.grad for name, p in ours.named_parameters()})
    save_pretrained(gradients, folder)
    named = type(theirs).from_pretrained(folder).state_dict()
    for name, p in theirs.named_parameters():
        close(named[name].numpy(), p.grad.numpy(), name)
    ours.zero_grad()
    theirs.zero_grad()


@each_way
def test_logits(pair, cuts):
    assert difference(*pair, cuts) < 3e-6


def test_gradients(pair, tmp_path):
    backward(*pair, *batches(1)[0])
    gradients_agree(*pair, tmp_path)


@pytest.mark.parametrize("name", LONG)
def test_loss_and_gradients_of_a_long_context(name, tmp_path):
    torch.manual_seed(0)
    theirs = LONG[name]()
    assert theirs.config._attn_implementation == "sdpa"  # the fused one
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _ = load(tmp_path / "theirs")
    ids = np.random.default_rng(0).integers(0, V, (1, 4097))
    backward(ours, theirs, ids[:, :-1], ids[:, 1:], 1e-6)
    gradients_agree(ours, theirs, tmp_path / "gradients")


def test_greedy_text(pair):
    ours, theirs = pair
    prompt = [5, 7, 9]
    expected = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=T - 4, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    assert list(generate(ours.eval(), prompt, T - 4, temperature=0)) == expected[0, 3:].tolist()


def test_saved_by_us_is_read_by_transformers(pair, tmp_path):
    ours, theirs = pair
    save_pretrained(ours, tmp_path / "ours")
    again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for name, p in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], p), name
    same = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert type(theirs.config).from_pretrained(tmp_path / "ours").vocab_size == same["vocab_size"]
    assert difference(ours, again.eval()) < 3e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halved_files_both_ways(pair, dtype, tmp_path):
    ours, theirs = pair
    half = type(theirs)(theirs.config).to(getattr(torch, dtype))
    half.load_state_dict(theirs.state_dict())
    half.save_pretrained(tmp_path / "theirs")
    save_pretrained(ours, tmp_path / "ours", dtype=dtype)
    mine, _ = load(tmp_path / "theirs")
    for name, p in load(tmp_path / "ours")[0].named_parameters():
        assert (p == dict(mine.named_parameters())[name]).all(), name  # rounded alike
    read = type(theirs).from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    assert difference(mine, read.eval()) < 3e-6


def test_shards(pair, tmp_path):
    ours, theirs = pair
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again, _ = load(tmp_path)
    for name, p in ours.named_parameters():
        assert (p == dict(again.named_parameters())[name]).all(), name


def fifty_losses(ours: GPT, theirs: Any) -> Iterator[tuple[float, float]]:
    """The losses of both models over fifty steps of training."""
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=1e-3,
        betas=(0.9, 0.99),
    )
    own = AdamW(ours.parameter_groups(0.1), lr=1e-3, betas=(0.9, 0.99))
    ours.train()
    theirs.train()
    for inputs, targets in batches(50):
        optimizer.zero_grad()
        expected = their_loss(theirs, inputs, targets)
        expected.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        own.zero_grad()
        loss = ours.loss(tt.tensor(inputs), tt.tensor(targets))
        loss.backward()
        clip_grad_norm_(ours.parameters(), 1.0)
        own.step()
        yield loss.item(), expected.item()


def test_fifty_steps_of_training_in_float64(pair):
    ours, theirs = copy.deepcopy(pair[0]).to(tt.float64), copy.deepcopy(pair[1]).double()
    for loss, expected in fifty_losses(ours, theirs):
        assert abs(loss - expected) < 1e-6  # Llama in transformers computes norms and angles in float32


def test_fifty_steps_of_training(pair):
    for loss, expected in fifty_losses(*pair):  # the last test of this file: it changes the models
        # Adam divides by gradients near 0: rounding, which differs between processors, grows with the steps.
        assert loss == pytest.approx(expected, rel=1e-5)


def test_training_leaves_the_file_alone(tmp_path: Path):
    MODELS["gpt2"]().save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    ours, _ = load(tmp_path)
    with tt.no_grad():
        for p in ours.parameters():
            p.copy_(0.0)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_model_without_biases_becomes_gpt2_with_zeros(tmp_path):
    config = GPTConfig(V, T, n_layer=2, n_head=4, n_embd=32, bias=False)  # as nanoGPT trains them
    ours = GPT(config, tt.Generator(3)).eval()
    with tt.no_grad():
        for p in ours.parameters():
            p *= 4.0
    save_pretrained(ours, tmp_path / "ours")
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(not p.any() for name, p in theirs.named_parameters() if name.endswith("bias"))
    assert difference(ours, theirs.eval()) < 3e-6
    again, _ = load(tmp_path / "ours")
    assert again.config.bias
    ids = tt.tensor(batches(1)[0, 0])
    with tt.no_grad():
        np.testing.assert_array_equal(again(ids).numpy(), ours(ids).numpy())


EXPERTS = llama(
    "Mixtral", num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2, sliding_window=None,
    rms_norm_eps=1e-5, rope_theta=500.0, head_dim=8,
)  # fmt: skip
OURS = {"vocab_size": V, "block_size": T, "n_layer": 2, "n_head": 4, "n_embd": 32, "bias": False}


@pytest.fixture
def experts() -> tuple[GPT, Any]:
    theirs = scattered(EXPERTS()).eval()
    config = GPTConfig(
        **OURS, n_kv_head=2, n_inner=88, position="rope", rope_theta=500.0, norm="rms_norm",
        activation="swiglu", tied_head=False, n_expert=5,
    )  # fmt: skip
    ours = GPT(config).eval()
    ours.load_state_dict({n: tt.tensor(a) for n, a in ours_of(theirs, lambda p: p).items()})
    return ours, theirs


def ours_of(model: Any, of: Any) -> dict[str, Any]:
    """Weights (or what `of` makes of a parameter) under our names, matrices as (in, out)."""
    given = {n: of(p).detach().numpy().copy() for n, p in model.named_parameters()}
    found = {"wte.weight": given["model.embed_tokens.weight"], "ln_f.weight": given["model.norm.weight"]}
    found["lm_head.weight"] = given["lm_head.weight"]
    for i in range(2):
        a, h = f"model.layers.{i}.", f"h.{i}."
        gate, up = np.split(given[f"{a}mlp.experts.gate_up_proj"], 2, 1)
        matrices = {
            "attn.c_attn": np.concatenate([given[f"{a}self_attn.{x}_proj.weight"] for x in "qkv"]),
            "attn.c_proj": given[f"{a}self_attn.o_proj.weight"],
            "mlp.router": given[f"{a}mlp.gate.weight"],
            "mlp.c_gate": gate,
            "mlp.c_fc": up,
            "mlp.c_proj": given[f"{a}mlp.experts.down_proj"],
        }
        found |= {f"{h}{x}.weight": w.swapaxes(-1, -2) for x, w in matrices.items()}
        found[f"{h}ln_1.weight"] = given[f"{a}input_layernorm.weight"]
        found[f"{h}ln_2.weight"] = given[f"{a}post_attention_layernorm.weight"]
    return found


@each_way
def test_logits_of_experts(experts: tuple[GPT, Any], cuts: tuple[int, ...]) -> None:
    assert difference(*experts, cuts) < 1e-5


def test_gradients_of_experts(experts: tuple[GPT, Any]) -> None:
    ours, theirs = experts
    backward(ours, theirs, *batches(1)[0])
    wanted = ours_of(theirs, lambda p: p.grad)
    for name, p in ours.named_parameters():
        close(p.grad.numpy(), wanted[name], name)


def test_balance_of_experts(experts: tuple[GPT, Any]) -> None:
    """Theirs takes all layers together, and counts each of the two choices as a share of its own."""
    ours, theirs = experts
    ids = batches(1)[0, 0]
    ours(tt.tensor(ids))
    scores = theirs(torch.from_numpy(ids), output_router_logits=True).router_logits
    expected = [load_balancing_loss_func((s,), num_experts=5, top_k=2).item() / 2 for s in scores]
    balance = ours.balance()
    assert balance is not None
    assert balance.item() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 6, 8, 12, 16, 25])
def test_slopes(heads: int) -> None:
    bloom = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)[:, 0, 1].numpy()
    mpt = build_mpt_alibi_tensor(heads, 2).reshape(heads, 2)  # at distances 1 and 0
    np.testing.assert_allclose(alibi_slopes(heads).numpy(), bloom, rtol=1e-6)
    np.testing.assert_allclose(alibi_slopes(heads).numpy(), (mpt[:, 1] - mpt[:, 0]).numpy(), rtol=1e-6)


def test_alibi_against_mpt() -> None:
    config = transformers.MptConfig(d_model=32, n_heads=4, n_layers=2, vocab_size=V, max_seq_len=T)
    theirs = scattered(transformers.MptForCausalLM(config)).eval()
    ours = GPT(GPTConfig(**OURS, position="alibi", activation="gelu_erf")).eval()
    names = {
        "transformer.": "", "blocks.": "h.", "norm_1": "ln_1", "norm_2": "ln_2", "norm_f": "ln_f",
        "attn.Wqkv": "attn.c_attn", "attn.out_proj": "attn.c_proj", "ffn.up_proj": "mlp.c_fc",
        "ffn.down_proj": "mlp.c_proj",
    }  # fmt: skip

    def renamed(of: Any) -> dict[str, Any]:
        found = {}
        for name, p in theirs.named_parameters():
            for theirs_, ours_ in names.items():
                name = name.replace(theirs_, ours_)
            a = of(p).detach().numpy()
            found[name] = a if a.ndim < 2 or name == "wte.weight" else a.T
        return found

    ours.load_state_dict({n: tt.tensor(a) for n, a in renamed(lambda p: p).items()})
    assert difference(ours, theirs) < 1e-5
    backward(ours, theirs, *batches(1)[0])
    wanted = renamed(lambda p: p.grad)
    for name, p in ours.named_parameters():
        close(p.grad.numpy(), wanted[name], name)
