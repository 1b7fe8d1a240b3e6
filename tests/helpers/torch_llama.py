"""transformers' LlamaForCausalLM with the weights of a tinytensor model, as the peer of SmolLM2."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers

from gpt.models.gpt import GPT
from gpt.weights.hf_config import config_to_hf
from gpt.weights.hf_names import LLAMA, places


def llama_of(model: GPT, dtype: str = "float32") -> Any:
    """Convert a model to PyTorch.

    Args:
        model: model of the Llama architecture, in float32.
        dtype: dtype of the weights.
    """
    config = transformers.LlamaConfig(
        **{k: v for k, v in config_to_hf(model.config).items() if k != "model_type"}
    )
    with torch.device("meta"):
        theirs = transformers.LlamaForCausalLM(config)
    own = model.state_dict()
    state = {
        LLAMA.full(part): torch.from_numpy(np.array(array, order="C")).to(getattr(torch, dtype))
        for name, place in places(model.config, LLAMA).items()
        for part, array in place.scatter(own[name].numpy()).items()
    }
    theirs.load_state_dict(state, strict=False, assign=True)
    theirs.tie_weights()
    # Rotary frequencies are not weights: they are recomputed, replacing those on "meta".
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config)
    left = [name for name, tensor in theirs.state_dict().items() if tensor.is_meta]
    assert not left, left
    return theirs.eval().requires_grad_(False)


@torch.inference_mode()
def next_logits(theirs: Any, ids: Sequence[int]) -> np.ndarray:
    """Logits (T, V) after each of the ids, without a cache."""
    return theirs(torch.tensor([list(ids)])).logits[0].float().numpy()


@torch.inference_mode()
def greedy(theirs: Any, prompt: Sequence[int], count: int) -> list[int]:
    """Greedy continuation of a prompt, with transformers' cache, but without its `generate`."""
    cache = transformers.DynamicCache(config=theirs.config)
    keyword = "cache" if "cache" in inspect.signature(theirs.forward).parameters else "past_key_values"
    unread, found = torch.tensor([list(prompt)]), []
    for _ in range(count):
        logits = theirs(unread, use_cache=True, logits_to_keep=1, **{keyword: cache}).logits
        unread = logits[:, -1].argmax(-1, keepdim=True)
        found.append(int(unread))
    return found
