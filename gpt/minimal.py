"""A GPT and its training in one file: nanoGPT's recipe for a CPU, in public names of tinytensor.

Read it from top to bottom, then run it: `python -m gpt.minimal` trains on the bundled Shakespeare for 2,000
steps, a few minutes, and prints a sample; it keeps no files. `python -m gpt train` does the same faster, with
checkpoints, a log and many variants; a test trains both and compares their weights.

Shapes: B sequences of T tokens, C channels, H heads of C / H channels, V characters in the vocabulary.
Source: Radford et al. 2019 (GPT-2) for the model and the names of its weights (wte, wpe: embeddings of tokens
and positions; c_fc, c_proj: products into and out of a layer); Karpathy's nanoGPT for the recipe. Unlike
nanoGPT it evaluates on all of the validation data, and has GPT-2's GELU, by tanh.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from tinytensor import nn
from tinytensor.nn import functional as F

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Config:
    """Sizes and hyperparameters; the defaults are those of nanoGPT for a CPU."""

    block_size: int = 64  # T, the longest context
    n_layer: int = 4
    n_head: int = 4  # H
    n_embd: int = 128  # C
    batch_size: int = 12  # B
    gradient_accumulation_steps: int = 1  # batches in an optimizer step
    max_steps: int = 2000
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    warmup_steps: int = 100
    weight_decay: float = 0.1  # of matrices; vectors have none
    beta1: float = 0.9
    beta2: float = 0.99
    grad_clip: float = 1.0  # largest norm of the gradient
    eval_interval: int = 250
    seed: int = 1337


# ---- the model --------------------------------------------------------------------------------------------


class CausalSelfAttention(nn.Module):
    """Each token takes a weighted mean of the values of itself and the tokens before it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)  # queries, keys, values
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        B, T, C = x.shape
        qkv = self.c_attn(x).reshape(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three views (B, H, T, C / H) of one buffer
        scores = q @ k.mT * (C // self.n_head) ** -0.5  # (B, H, T, T)
        later = tt.ones(T, T, dtype=tt.bool).triu(1)  # True for keys after the query
        weights = tt.softmax(tt.where(later, -math.inf, scores), axis=-1)  # rows sum to 1
        y = (weights @ v).transpose(1, 2).reshape(B, T, C)  # heads side by side
        return self.c_proj(y)


class MLP(nn.Module):
    """Each token by itself: gelu(x c_fc) c_proj, with 4 C hidden units."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Attention, then MLP; each adds its result to its input, the residual stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=False)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=False)
        self.mlp = MLP(config)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        """(B, T, C) → (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token ids → logits of the token that comes next, at each position."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, config.n_embd)  # the output layer, too: tied weights
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, bias=False)
        for name, p in self.named_parameters():
            if (
                p.ndim == 2
            ):  # 2 n_layer results of c_proj are added up: their sum should not grow with n_layer
                std = 0.02 / math.sqrt(2 * config.n_layer) if "c_proj" in name else 0.02
                nn.init.normal_(p, std=std)

    def forward(self, ids: tt.Tensor) -> tt.Tensor:
        """(B, T) → (B, T, V)."""
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]  # (B, T, C)
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T

    def loss(self, ids: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy, in nats, of targets (B, T) given ids (B, T)."""
        return F.cross_entropy(self(ids).flatten(0, 1), targets.flatten())


# ---- data -------------------------------------------------------------------------------------------------


def get_batch(data: Ids, config: Config, number: int) -> tuple[tt.Tensor, tt.Tensor]:
    """Inputs and targets, (B, T), at random positions: a function of the seed and the batch's number, from 0.

    Example:
        >>> inputs, targets = get_batch(np.arange(100), Config(), number=0)
        >>> bool((targets == inputs + 1).all())
        True
    """
    drawn = np.random.Philox(key=[config.seed, number]).random_raw(config.batch_size)
    starts = (drawn % np.uint64(len(data) - config.block_size)).astype(np.int64)  # (B,)
    windows = data[starts[:, None] + np.arange(config.block_size + 1)]  # (B, T + 1)
    return tt.tensor(windows[:, :-1]), tt.tensor(windows[:, 1:])


@tt.no_grad()
def evaluate(model: GPT, data: Ids, config: Config) -> float:
    """Mean loss over all of the data, in consecutive blocks."""
    T, count = config.block_size, len(data) - 1
    whole = count // T * T
    inputs, targets = data[:whole].reshape(-1, T), data[1 : whole + 1].reshape(-1, T)
    batches = [(inputs[i : i + 32], targets[i : i + 32]) for i in range(0, len(inputs), 32)]
    if whole < count:
        batches.append((data[None, whole:count], data[None, whole + 1 :]))  # a last, shorter block
    return sum([model.loss(tt.tensor(x), tt.tensor(y)).item() * x.size for x, y in batches]) / count


# ---- training ---------------------------------------------------------------------------------------------


def get_lr(step: int, config: Config) -> float:
    """Learning rate: linear warmup, then half a period of a cosine down to min_learning_rate.

    Example:
        >>> [round(get_lr(step, Config()), 6) for step in (0, 99, 100, 1050, 1999)]
        [1e-05, 0.00099, 0.001, 0.00055, 0.0001]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / (config.max_steps - config.warmup_steps)  # 0 to 1
    share = 0.5 * (1 + math.cos(math.pi * progress))  # 1 to 0
    return config.min_learning_rate + share * (config.learning_rate - config.min_learning_rate)


def train(config: Config, data: Ids, val: Ids, vocab_size: int) -> GPT:
    """A model trained on the token ids `data`, evaluated on `val`, both (N,) with N > block_size."""
    tt.manual_seed(config.seed)
    model = GPT(config, vocab_size)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = tt.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        betas=(config.beta1, config.beta2),
    )
    for step in range(config.max_steps):
        for group in optimizer.param_groups:
            group["lr"] = get_lr(step, config)
        optimizer.zero_grad()
        parts, loss = config.gradient_accumulation_steps, 0.0
        for number in range(step * parts, (step + 1) * parts):
            part_loss = model.loss(*get_batch(data, config, number)) / parts
            part_loss.backward()  # adds to the gradients of the parts before
            loss += part_loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss:.4f}")
        if (step + 1) % config.eval_interval == 0 or step + 1 == config.max_steps:
            print(f"step {step + 1}: validation loss {evaluate(model, val, config):.4f}")
    return model


# ---- sampling ---------------------------------------------------------------------------------------------


@tt.no_grad()
def generate(model: GPT, ids: list[int], count: int, config: Config, temperature: float) -> Iterator[int]:
    """`count` tokens that follow ids, each drawn from softmax(logits / temperature)."""
    for _ in range(count):
        context = tt.tensor([ids[-config.block_size :]])  # (1, T)
        probabilities = tt.softmax(model(context)[0, -1] / temperature, axis=-1)  # (V,)
        ids = [*ids, int(tt.multinomial(probabilities, 1).item())]
        yield ids[-1]


def main(config: Config) -> None:
    """Train on the bundled Shakespeare, whose last tenth is for validation, and print a sample."""
    text = (Path(__file__).parent / "text" / "shakespeare.txt").read_text(encoding="ascii")
    characters = sorted(set(text))  # a character's id is its place in this list
    ids = np.array([characters.index(c) for c in text])
    split = len(ids) * 9 // 10
    model = train(config, ids[:split], ids[split:], len(characters))
    for token in generate(model, [characters.index("\n")], 500, config, temperature=0.8):
        print(characters[token], end="", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m gpt.minimal", description=__doc__).parse_args()  # --help
    main(Config())
