"""Variants of the model against models of transformers with the same random weights: logits and gradients."""

from collections.abc import Callable
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
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from gpt.models.positions import alibi_slopes

pytestmark = pytest.mark.oracle

LAYERS = 2
LLAMA = {
    "vocab_size": 65, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": LAYERS,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "attn_implementation": "eager", "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
}  # fmt: skip
OURS = GPTConfig(
    vocab_size=65, block_size=64, n_layer=LAYERS, n_head=6, n_embd=48, n_kv_head=2, n_inner=80, bias=False,
    position="rope", rope_theta=5000.0, norm="rms_norm", activation="swiglu", tied_head=False,
)  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("Llama", {}, {}),
    "llama tied, multi-query": (
        "Llama",
        {"num_key_value_heads": 1, "tie_word_embeddings": True},
        {"n_kv_head": 1, "tied_head": True},
    ),
    "window": ("Mistral", {"sliding_window": 7, "head_dim": 8}, {"sliding_window": 7}),
    "qk norm": ("Qwen3", {"head_dim": 8}, {"qk_norm": True}),
    "experts": (
        "Mixtral",
        {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": None, "head_dim": 8},
        {"n_expert": 5},
    ),
}


def scattered(model: Any) -> Any:
    """With weights far from their start, in evaluation mode."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * 0.15 + (1 if p.ndim == 1 else 0))
    return model.eval()


def logits_and_gradients_agree(ours: GPT, theirs: Any, of: Callable[[Any], dict[str, Any]]) -> None:
    """`of` gives what it makes of each parameter under our names."""
    ids, targets = batch(40)
    expected = theirs(torch.from_numpy(ids)).logits
    scale = expected.detach().numpy()
    assert np.abs(ours(tt.tensor(ids)).detach().numpy() - scale).max() < 1e-5 * np.abs(scale).max()
    ours.loss(tt.tensor(ids), tt.tensor(targets)).backward()
    torch.nn.functional.cross_entropy(expected.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
    wanted = of(lambda p: p.grad)
    for name, p in ours.named_parameters():
        assert p.grad is not None
        assert np.abs(p.grad.numpy() - wanted[name]).max() < 3e-4 * np.abs(wanted[name]).max(), name


def pair_of(case: str) -> tuple[GPT, Any]:
    name, theirs, ours = CASES[case]
    config = getattr(transformers, f"{name}Config")(**{**LLAMA, **theirs})
    torch.manual_seed(0)
    model = scattered(getattr(transformers, f"{name}ForCausalLM")(config))
    own = GPT(GPTConfig(**{**OURS.__dict__, **ours})).eval()
    own.load_state_dict({n: tt.tensor(a) for n, a in ours_of(model, lambda p: p).items()})
    return own, model


def ours_of(model: Any, of: Any) -> dict[str, Any]:
    """Weights (or what `of` makes of a parameter) under our names, matrices as (in, out)."""
    given = {n: of(p).detach().numpy().copy() for n, p in model.named_parameters()}
    found = {"wte.weight": given["model.embed_tokens.weight"], "ln_f.weight": given["model.norm.weight"]}
    if "lm_head.weight" in given:
        found["lm_head.weight"] = given["lm_head.weight"]
    for i in range(LAYERS):
        a, h = f"model.layers.{i}.", f"h.{i}."
        qkv = [given[f"{a}self_attn.{x}_proj.weight"] for x in "qkv"]
        found[f"{h}attn.c_attn.weight"] = np.concatenate(qkv).T
        found[f"{h}attn.c_proj.weight"] = given[f"{a}self_attn.o_proj.weight"].T
        found[f"{h}ln_1.weight"] = given[f"{a}input_layernorm.weight"]
        found[f"{h}ln_2.weight"] = given[f"{a}post_attention_layernorm.weight"]
        for x in "qk":
            if f"{a}self_attn.{x}_norm.weight" in given:
                found[f"{h}attn.{x}_norm.weight"] = given[f"{a}self_attn.{x}_norm.weight"]
        if f"{a}mlp.gate.weight" in given:
            gate, up = np.split(given[f"{a}mlp.experts.gate_up_proj"], 2, 1)
            found[f"{h}mlp.router.weight"] = given[f"{a}mlp.gate.weight"].T
            parts = {"c_gate": gate, "c_fc": up, "c_proj": given[f"{a}mlp.experts.down_proj"]}
        else:
            names = {"c_gate": "gate", "c_fc": "up", "c_proj": "down"}
            parts = {x: given[f"{a}mlp.{y}_proj.weight"] for x, y in names.items()}
        found |= {f"{h}mlp.{x}.weight": w.swapaxes(-1, -2) for x, w in parts.items()}
    return found


def batch(T: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.integers(0, 65, (2, T)), rng.integers(0, 65, (2, T))


@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients(case: str) -> None:
    ours, theirs = pair_of(case)
    logits_and_gradients_agree(ours, theirs, lambda of: ours_of(theirs, of))


@pytest.mark.parametrize("case", CASES)
def test_cached_logits(case: str) -> None:
    ours, theirs = pair_of(case)
    ids, _ = batch(40)
    expected = theirs(torch.from_numpy(ids)).logits.detach().numpy()
    cache, found = KVCache(ours.config, 2), []
    with tt.no_grad():
        for piece in np.split(ids, [21, 22, 23, 31], axis=1):
            found.append(ours(tt.tensor(piece), cache).numpy())
    assert np.abs(np.concatenate(found, 1) - expected).max() < 1e-5 * np.abs(expected).max()


def test_balance_of_experts() -> None:
    """Theirs takes all layers together, and counts each of the two choices as a share of its own."""
    ours, theirs = pair_of("experts")
    ids, _ = batch(40)
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
    torch.manual_seed(0)
    config = transformers.MptConfig(d_model=48, n_heads=6, n_layers=2, vocab_size=65, max_seq_len=64)
    theirs = scattered(transformers.MptForCausalLM(config))
    ours = GPT(
        GPTConfig(
            vocab_size=65, block_size=64, n_layer=2, n_head=6, n_embd=48, bias=False, position="alibi",
            activation="gelu_erf",
        )
    ).eval()  # fmt: skip
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
    logits_and_gradients_agree(ours, theirs, renamed)
