"""Adapters: x W + (alpha/r) x A B, alone in training, merged and taken out again, saved alone."""

import json

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.finetuning.lora import (
    AdaptedLinear,
    LoraConfig,
    adapters,
    add_adapters,
    load_adapters,
    merged_weights,
    save_adapters,
)
from gpt.models.gpt import GPT
from tests.helpers.runs import assert_same
from tinytensor import nn
from tinytensor.interop.safetensors_file import read_safetensors
from tinytensor.optim import AdamW

SHAPE = {"vocab_size": 11, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}
VARIANTS = [
    {},
    {"activation": "swiglu", "norm": "rms_norm", "position": "rope", "n_kv_head": 1, "bias": False},
]


def built(seed=0, **variant):
    return GPT(GPTConfig(**SHAPE, **variant), tt.Generator(seed))


def adapted(rank=3, alpha=6.0, targets="*", **variant):
    """A model with adapters that say something already, and a batch."""
    model = built(**variant)
    add_adapters(model, LoraConfig(rank, alpha, targets), tt.Generator(1))
    rng = np.random.default_rng(2)
    for _, layer in adapters(model):
        with tt.no_grad():
            layer.lora_b.copy_(tt.tensor(rng.normal(0, 0.2, layer.lora_b.shape).astype(np.float32)))
    ids = rng.integers(0, 11, (3, 13))
    return model, tt.tensor(ids[:, :-1]), tt.tensor(ids[:, 1:])


def arrays(model):
    return {name: p.numpy().copy() for name, p in model.state_dict().items()}


@pytest.mark.parametrize("gelu", ["none", "tanh", None])
def test_a_layer_is_the_formula(gelu):
    rng = np.random.default_rng(0)
    layer = nn.Linear(5, 7) if gelu is None else nn.LinearGelu(5, 7, approximate=gelu)
    added = AdaptedLinear(layer, LoraConfig(lora_rank=2, lora_alpha=5.0))
    with tt.no_grad():
        added.lora_b.copy_(tt.tensor(rng.standard_normal((2, 7)).astype(np.float32)))
    x = rng.standard_normal((4, 5)).astype(np.float32)
    W, b, A, B = (
        p.detach().numpy().astype(np.float64) for p in (layer.weight, layer.bias, added.lora_a, added.lora_b)
    )
    y = x @ W + b + 5.0 / 2 * (x @ A @ B)
    if gelu == "tanh":
        y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    elif gelu == "none":
        from math import erf

        y = 0.5 * y * (1 + np.vectorize(erf)(y / np.sqrt(2)))
    np.testing.assert_allclose(added(tt.tensor(x)).detach().numpy(), y, atol=2e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_weights_compute_the_same(variant):
    model, ids, _ = adapted(**variant)
    logits = model(ids).detach().numpy()
    plain = built(seed=9, **variant)
    assert np.abs(plain(ids).detach().numpy() - logits).max() > 0.01
    before = arrays(model)
    plain.load_state_dict({name: tt.tensor(a) for name, a in merged_weights(model).items()})
    np.testing.assert_allclose(plain(ids).detach().numpy(), logits, atol=3e-6)
    assert merged_weights(model).keys() == plain.state_dict().keys()
    assert_same(model, before)


def test_a_new_adapter_changes_nothing_and_freezes_the_rest():
    model, plain = built(), built()
    names = add_adapters(model, LoraConfig(lora_rank=2, lora_targets="*.attn.*, h.1.mlp.c_fc"))
    attention = [f"h.{layer}.attn.{name}" for layer in (0, 1) for name in ("c_attn", "c_proj")]
    assert names == [*attention, "h.1.mlp.c_fc"]
    ids = tt.tensor([[1, 2, 3]])
    np.testing.assert_array_equal(model(ids).detach().numpy(), plain(ids).detach().numpy())
    model.loss(ids, ids).backward()
    for name, p in model.named_parameters():
        thin = name.endswith((".lora_a", ".lora_b"))
        assert p.requires_grad is thin, name
        assert (p.grad is not None) is thin, name


def test_gradients_are_those_of_the_explicit_product():
    model, ids, targets = adapted()
    model.loss(ids, targets).backward()
    plain = built()
    plain.load_state_dict({name: tt.tensor(a) for name, a in merged_weights(model).items()})
    plain.loss(ids, targets).backward()
    whole = {name: p.grad.numpy().astype(np.float64) for name, p in plain.named_parameters()}
    for name, layer in adapters(model):
        A, B = (p.detach().numpy().astype(np.float64) for p in (layer.lora_a, layer.lora_b))
        for got, want in (
            (layer.lora_a.grad, 2.0 * whole[f"{name}.weight"] @ B.T),
            (layer.lora_b.grad, 2.0 * A.T @ whole[f"{name}.weight"]),
        ):
            np.testing.assert_allclose(got.numpy(), want, atol=1e-5 * np.abs(want).max() + 1e-8, err_msg=name)


def test_the_optimizer_keeps_the_thin_matrices_alone():
    model, ids, targets = adapted(rank=2, targets="*.attn.c_attn")
    frozen = {n: a for n, a in arrays(model).items() if "lora" not in n}
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    before = model.loss(ids, targets).item()
    for _ in range(5):
        model.zero_grad()
        model.loss(ids, targets).backward()
        optimizer.step()
    assert model.loss(ids, targets).item() < before
    kept = sum(t.size for s in optimizer.state.values() for t in s.values() if isinstance(t, tt.Tensor))
    assert kept == 2 * 2 * (16 * 2 + 2 * 48)  # two moments, two layers, A and B
    assert_same({name: p for name, p in model.state_dict().items() if name in frozen}, frozen)


def test_adapters_are_saved_and_loaded_alone(tmp_path):
    model, ids, _ = adapted(rank=2, targets="*.mlp.*")
    path = save_adapters(model, LoraConfig(2, 6.0, "*.mlp.*"), tmp_path)
    stored = read_safetensors(path).arrays()
    assert set(stored) == {
        f"h.{i}.mlp.{m}.lora_{x}" for i in (0, 1) for m in ("c_fc", "c_proj") for x in "ab"
    }
    assert json.loads((tmp_path / "adapters.json").read_text())["lora_rank"] == 2
    again = built()
    assert load_adapters(again, tmp_path) == LoraConfig(2, 6.0, "*.mlp.*")
    np.testing.assert_array_equal(again(ids).detach().numpy(), model(ids).detach().numpy())
    with pytest.raises(tt.ArgumentError, match="matrices"):
        load_adapters(GPT(GPTConfig(**{**SHAPE, "n_layer": 3})), tmp_path)
    with pytest.raises(tt.ShapeError):
        load_adapters(GPT(GPTConfig(**{**SHAPE, "n_embd": 8})), tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora_rank": 0}, "linear layers"),
        ({"lora_rank": 2, "lora_targets": "nothing.*"}, "linear layers"),
        ({"lora_rank": 17}, "use lora_rank=16 or less"),  # all matrices of the blocks have a side of 16
    ],
)
def test_adapters_that_mean_nothing_are_refused(fields, said):
    with pytest.raises(tt.ArgumentError, match=said):
        add_adapters(built(), LoraConfig(**fields))


def test_adapters_are_added_once():
    model = built()
    add_adapters(model, LoraConfig(16))
    with pytest.raises(tt.ArgumentError, match="added once"):
        add_adapters(model, LoraConfig(2))
