"""A context of 4096 against transformers with PyTorch's fused attention: loss and all gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import tinytensor as tt
from gpt.weights.load import load
from tests.oracle.test_weights_oracle import gradients_agree

pytestmark = pytest.mark.oracle

V, T = 65, 4096
MODELS: dict[str, Any] = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=V, n_positions=T, n_layer=2, n_head=2, n_embd=32, attn_implementation="sdpa",
            attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
        )
    ),
    "llama, grouped": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=V, max_position_embeddings=T, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, hidden_size=32, intermediate_size=88, attn_implementation="sdpa",
        )
    ),
    "mistral, window": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(
            vocab_size=V, max_position_embeddings=T, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, hidden_size=32, intermediate_size=88, attn_implementation="sdpa",
            sliding_window=300,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = MODELS[name]()
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _ = load(tmp_path / "theirs")
    ids = np.random.default_rng(0).integers(0, V, (1, T + 1))
    loss = ours.loss(tt.tensor(ids[:, :-1]), tt.tensor(ids[:, 1:]))
    loss.backward()
    logits = theirs(torch.from_numpy(ids[:, :-1])).logits
    expected = torch.nn.functional.cross_entropy(logits[0], torch.from_numpy(ids[0, 1:]))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    gradients_agree(ours, theirs, tmp_path / "gradients")
