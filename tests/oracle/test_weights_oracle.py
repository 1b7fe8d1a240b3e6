"""Weight files against transformers, both ways: logits, gradients, training and greedy text of the models."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.weights.load import load
from gpt.weights.save import save_pretrained
from tinytensor.optim import AdamW, clip_grad_norm_

pytestmark = pytest.mark.oracle

V, T = 97, 32
GPT2_SIZES = {"vocab_size": V, "n_positions": T, "n_layer": 2, "n_head": 4, "n_embd": 32}
LLAMA_SIZES = {
    "vocab_size": V,
    "max_position_embeddings": T,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 88,
}
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


def scattered(model: Any) -> Any:
    """The model with weights far from its start, so that no part of it hides behind small numbers."""
    torch.manual_seed(4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            norm = name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))
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


def difference(ours: GPT, theirs: Any) -> float:
    ids = batches(1)[0, 0]
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits.numpy()
    with tt.no_grad():
        found = ours(tt.tensor(ids)).numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def gradients_agree(ours: GPT, theirs: Any, folder: Path) -> None:
    """Gradients take the road of weights: ours as a model of gradients, saved under their names."""
    gradients = GPT(ours.config)
    gradients.load_state_dict({name: p.grad for name, p in ours.named_parameters()})
    save_pretrained(gradients, folder)
    named = type(theirs).from_pretrained(folder).state_dict()
    for name, p in theirs.named_parameters():
        want = p.grad.numpy()
        assert np.abs(named[name].numpy() - want).max() < 3e-4 * np.abs(want).max(), name


def test_logits(pair):
    assert difference(*pair) < 3e-6


def test_gradients(pair, tmp_path):
    ours, theirs = pair
    inputs, targets = batches(1)[0]
    loss = ours.loss(tt.tensor(inputs), tt.tensor(targets))
    loss.backward()
    expected = their_loss(theirs, inputs, targets)
    expected.backward()
    assert abs(loss.item() - expected.item()) < 1e-5
    gradients_agree(ours, theirs, tmp_path / "gradients")
    ours.zero_grad()
    theirs.zero_grad()


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
