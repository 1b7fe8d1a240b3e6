"""Write the golden files: what PyTorch and transformers compute, for tests that run without them.

Run in an environment with both: `.venv-oracle/bin/python -m tests.golden.make_golden`. The model is a random
GPT-2 of transformers with 2 layers; the file holds its weights, a batch, logits, loss, all gradients, and the
losses of 50 AdamW steps on 50 batches.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import GPT2Config, GPT2LMHeadModel

HERE = Path(__file__).parent
SHAPE = {"vocab_size": 96, "block_size": 24, "n_layer": 2, "n_head": 2, "n_embd": 32}
STEPS, BATCH, LR, BETAS, WEIGHT_DECAY, CLIP = 50, 4, 1e-3, (0.9, 0.99), 0.1, 1.0


def build() -> GPT2LMHeadModel:
    """A GPT-2 without dropout, weights scaled up so that attention is not uniform."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=SHAPE["vocab_size"],
        n_positions=SHAPE["block_size"],
        n_layer=SHAPE["n_layer"],
        n_head=SHAPE["n_head"],
        n_embd=SHAPE["n_embd"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn_like(p)
    return model


def batches() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets (STEPS, B, T): a learnable text, each token is the one before plus 1, 2 or 3."""
    rng = np.random.default_rng(0)
    steps = rng.integers(1, 4, (STEPS, BATCH, SHAPE["block_size"] + 1))
    text = np.cumsum(steps, axis=-1) % SHAPE["vocab_size"]
    return text[..., :-1].copy(), text[..., 1:].copy()


def main() -> None:
    """Write gpt2_2layer.safetensors beside this file."""
    torch.set_num_threads(1)
    model = build()
    inputs, targets = batches()
    named = {
        n.removeprefix("transformer."): p for n, p in model.named_parameters()
    }  # the tied head comes once
    arrays = {f"weight.{n}": p.detach().numpy().copy() for n, p in named.items()}

    logits = model(torch.from_numpy(inputs[0])).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets[0]).flatten())
    loss.backward()
    arrays["logits"] = logits.detach().numpy().copy()
    arrays |= {f"grad.{n}": p.grad.numpy().copy() for n, p in named.items()}

    groups = [
        {"params": [p for p in named.values() if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS)
    losses = []
    for x, y in zip(torch.from_numpy(inputs), torch.from_numpy(targets), strict=True):
        optimizer.zero_grad()
        step = torch.nn.functional.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())
        step.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        losses.append(step.item())
    arrays["losses"] = np.array(losses)
    arrays["inputs"], arrays["targets"] = inputs, targets
    about = {**SHAPE, "lr": LR, "betas": BETAS, "weight_decay": WEIGHT_DECAY, "clip": CLIP}
    metadata = {"config": json.dumps(about), "torch": torch.__version__, "loss": repr(loss.item())}
    save_file(arrays, HERE / "gpt2_2layer.safetensors", metadata=metadata)
    print({k: v.shape for k, v in arrays.items()}, losses[:3], losses[-1])


if __name__ == "__main__":
    main()
