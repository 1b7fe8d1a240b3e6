"""GPTConfig (architecture) and TrainConfig (training hyperparameters). Independent of tensors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpt.fields import at_least, check_types
from tinytensor.errors import ArgumentError

Activation = Literal["gelu", "gelu_erf", "relu", "relu2", "swiglu"]
_MOST_PARTS = 10_000  # blocks, or experts per block


@dataclass(frozen=True)
class GPTConfig:
    """Architecture of a model; the defaults are those of GPT-2."""

    vocab_size: int  # number of token ids; 0: taken from the tokenizer when training begins
    block_size: int  # longest context, in tokens
    n_layer: int  # number of blocks
    n_head: int  # attention heads per block; must divide n_embd
    n_embd: int  # channels of the residual stream
    # key/value heads, each shared by n_head / n_kv_head query heads (grouped-query attention; 1:
    # multi-query); 0: as many as n_head
    n_kv_head: int = 0
    n_inner: int = 0  # hidden size of the feed-forward layer; 0: 4 n_embd
    n_expert: int = 0  # experts of a mixture of experts in place of the feed-forward layer; 0: no mixture
    n_expert_active: int = 2  # experts per token
    dropout: float = 0.0  # probability of dropping an activation while training
    bias: bool = True  # biases in linear layers and layer norms
    # learned (a table added to the tokens), sinusoidal (fixed waves added to sqrt(n_embd) times the tokens),
    # rope (queries and keys rotated by their position), alibi (scores fall with the distance), or none
    position: Literal["learned", "sinusoidal", "rope", "alibi", "none"] = "learned"
    rope_theta: float = 10000.0  # base of rope; wavelengths range from 2 pi to nearly 2 pi rope_theta tokens
    # layer_norm, or rms_norm: no mean subtraction, no bias
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    # norm before each sublayer (GPT-2), or after its residual sum (the 2017 transformer)
    norm_position: Literal["pre", "post"] = "pre"
    # gelu (tanh form, GPT-2), gelu_erf (exact), relu, relu2 (its square), or swiglu (silu of one product
    # times another)
    activation: Activation = "gelu"
    sliding_window: int = 0  # tokens that a token attends to, itself included; 0: the whole context
    qk_norm: bool = False  # RMS norm of each query and key, before rope
    logit_soft_cap: float = 0.0  # logits become cap tanh(logits / cap); 0: no cap
    tied_head: bool = True  # share the token embedding with the output layer
    norm_eps: float = 1e-5  # added to the variance in norms
    # initial weights. gpt2: deviation 0.02, and less for the products that add to the residual stream;
    # scaled: 1 / sqrt(inputs) for the matrices of the blocks, and 0 for those products and for a head of its
    # own, so that a new model predicts all tokens alike
    init: Literal["gpt2", "scaled"] = "gpt2"

    def __post_init__(self) -> None:
        check_types(self)
        at_least(self, 0, "vocab_size", "n_kv_head", "n_inner", "n_expert", "sliding_window")
        at_least(self, 0, "logit_soft_cap")
        at_least(self, 1, "block_size", "n_layer", "n_head", "n_embd", "n_expert_active")
        _in_unit_interval(self, "dropout")
        C, heads, window, experts = self.n_embd, self.n_head, self.sliding_window, self.n_expert
        many = "each is a module with its own tensors, and no model has so many"
        _require(self, [
            (C % heads == 0, f"n_head={heads} does not divide n_embd={C}",
             "each head takes n_embd / n_head channels",
             f"n_embd={(C // heads + 1) * heads} or another n_head"),
            (heads % self.kv_heads == 0, f"n_kv_head={self.n_kv_head} does not divide n_head={heads}",
             "all key/value heads serve the same number of query heads",
             "n_kv_head=1 (multi-query), or 0 for as many as n_head"),
            (self.position != "rope" or self.head_size % 2 == 0,
             f"heads of {self.head_size} channels with position='rope'", "channels are rotated in pairs",
             f"n_embd={C + heads} or another n_head"),
            (self.position != "sinusoidal" or C % 2 == 0, f"n_embd={C} is odd with position='sinusoidal'",
             "channels come in pairs of sine and cosine", f"n_embd={C + heads} or position='learned'"),
            (window <= self.block_size, f"sliding_window={window} with block_size={self.block_size}",
             "a token cannot attend to more tokens than the context has",
             "sliding_window=0 for the whole context"),
            (experts == 0 or self.n_expert_active <= experts,
             f"n_expert_active={self.n_expert_active} with n_expert={experts}",
             "a token cannot use more experts than there are", f"n_expert_active={min(2, experts)}"),
            # a damaged file must not make us list names without end
            (self.n_layer <= _MOST_PARTS, f"n_layer={self.n_layer}", many, f"at most {_MOST_PARTS}"),
            (experts <= _MOST_PARTS, f"n_expert={experts}", many, f"at most {_MOST_PARTS}"),
            (0 < self.norm_eps < math.inf, f"norm_eps={self.norm_eps}",
             "a row of equal values has variance 0, which would be a division by 0", "norm_eps=1e-5"),
            (0 < self.rope_theta < math.inf, f"rope_theta={self.rope_theta}", "wavelengths are powers of it",
             "rope_theta=10000.0"),
        ])  # fmt: skip

    @property
    def head_size(self) -> int:
        """Channels per head."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Number of key/value heads: n_kv_head, with 0 resolved to n_head."""
        return self.n_kv_head or self.n_head

    @property
    def inner_size(self) -> int:
        """Hidden size of the feed-forward layer: n_inner, with 0 resolved to 4 n_embd."""
        return self.n_inner or 4 * self.n_embd

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layer multiplies two products: of W_1, and of W_g after the activation."""
        return self.activation == "swiglu"

    @property
    def positions_end(self) -> bool:
        """Whether positions are limited to block_size: a table, learned or sinusoidal. Otherwise a text
        may be longer, and each token attends to the last block_size tokens.
        """
        return self.position in ("learned", "sinusoidal")

    @property
    def window(self) -> int:
        """Longest attention span: sliding_window, with 0 resolved to block_size."""
        return self.sliding_window or self.block_size

    def with_vocab_size(self, tokenizer_size: int) -> "GPTConfig":
        """Config with a vocab_size of 0 resolved to the number of ids of a tokenizer; a padded vocabulary is
        fine.

        Example:
            >>> GPTConfig(0, block_size=8, n_layer=1, n_head=1, n_embd=4).with_vocab_size(65).vocab_size
            65
        """
        _require(self, [
            (self.vocab_size == 0 or self.vocab_size >= tokenizer_size,
             f"vocab_size={self.vocab_size} is too small", f"the tokenizer has {tokenizer_size} ids",
             f"vocab_size={tokenizer_size}, or 0 to take it from the tokenizer"),
        ])  # fmt: skip
        return self if self.vocab_size else replace(self, vocab_size=tokenizer_size)


@dataclass(frozen=True)
class TrainConfig:
    """Training hyperparameters; the defaults are nanoGPT's CPU recipe."""

    data: str = "shakespeare"  # training text: shakespeare (embedded), a text file, a folder, or token files
    pattern: str = "*.txt"  # which files of a folder are read, at any depth
    # char, the path of a tokenizer file, or the name of a model, such as smollm2
    tokenizer: str = "char"
    out_dir: str = "runs/gpt"  # folder of the run
    seed: int = 1337  # random seed of initial weights, batches, dropout and samples
    # device of the tensors: cpu, cuda, cuda:1, emulated, checked. With several ranks, cuda is one GPU per
    # rank
    device: str = "cpu"
    # of matrix products and attention; weights and sums stay in float32 (tt.autocast). float16 scales the
    # loss, and skips steps that overflow
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # multiply float32 matrices on tensor cores, which round each factor to 11 bits (tt.config.tf32): on a GPU
    # several times faster than float32
    tf32: bool = False
    batch_size: int = 12  # sequences per forward pass
    batch_order: Literal["random", "consecutive"] = "random"  # of the windows in the training text
    gradient_accumulation_steps: int = 1  # forward and backward passes per optimizer step
    # record a step once, and replay it without Python between kernels (tt.capture): on one rank, without
    # float16. Steps that measure health run eagerly
    capture: bool = True
    # activation checkpointing over groups of so many blocks: recompute activations in backward; less memory,
    # a third more work; 0: off
    checkpoint_blocks: int = 0
    max_steps: int = 2000  # optimizer steps
    learning_rate: float = 1e-3  # peak learning rate, reached after the warmup
    # peak learning rate of the matrices of the blocks, on the same schedule; 0: learning_rate
    matrix_learning_rate: float = 0.0
    min_learning_rate: float = 1e-4  # final learning rate, reached at the end of the decay
    warmup_steps: int = 100  # steps of linear warmup from 0
    # cosine and linear: the step at which the decay ends (0: max_steps); wsd: the length of the decay at the
    # end (0: a fifth of max_steps)
    decay_steps: int = 0
    # learning rate schedule: cosine, linear, wsd (warmup, stable, decay), constant
    schedule: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    # adamw for all weights, or muon: Muon for the matrices of the blocks, AdamW for the others
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.1  # of AdamW and Muon, on matrices only
    beta1: float = 0.9  # AdamW's decay rate of the first moment
    beta2: float = 0.99  # AdamW's decay rate of the second moment
    muon_iterations: int = 5  # Newton-Schulz iterations per step; fewer are faster and less exact
    grad_clip: float = 1.0  # maximum global gradient norm; 0: no clipping
    eval_interval: int = 250  # steps between evaluations; 0: only at the end
    eval_batches: int = 0  # batches per evaluation; 0: the whole validation split in consecutive blocks
    log_interval: int = 10  # steps between log lines
    # steps between measurements per block: gradient norm, update/weight ratio, attention entropy, dead units;
    # 0: none
    health_interval: int = 0
    sample_interval: int = 0  # steps between printed samples; 0: none
    sample_tokens: int = 200  # tokens per sample, after the first token of the training data
    checkpoint_interval: int = 0  # steps between checkpoints; 0: only with evaluations
    keep_checkpoints: int = 2  # number of newest checkpoints to keep; the best is kept in addition
    # scratch, resume (the last checkpoint in out_dir), or weights: a run directory, a Hugging Face model
    # folder, a .safetensors or .gguf file, smollm2, a name on the Hugging Face hub
    init_from: str = "scratch"

    def __post_init__(self) -> None:
        check_types(self)
        at_least(self, 1, "batch_size", "gradient_accumulation_steps", "max_steps", "log_interval")
        at_least(self, 1, "keep_checkpoints", "sample_tokens", "muon_iterations")
        at_least(self, 0, "seed", "warmup_steps", "decay_steps", "weight_decay", "grad_clip")
        at_least(self, 0, "eval_interval", "eval_batches", "sample_interval", "checkpoint_interval")
        at_least(self, 0, "checkpoint_blocks", "health_interval", "matrix_learning_rate")
        _in_unit_interval(self, "beta1", "beta2")
        peak, low, wsd = self.learning_rate, self.min_learning_rate, self.schedule == "wsd"
        room = self.max_steps - self.decay_length if wsd else self.decay_length
        _require(self, [
            *[(getattr(self, name) != "", f"{name} is empty", "a name or a path is needed", "its default")
              for name in ("data", "pattern", "tokenizer", "out_dir", "device", "init_from")],
            (not self.tf32 or self.device != "cpu", "tf32 with device=cpu",
             "TF32 is a format of the tensor cores of GPUs; the CPU multiplies in float32",
             "--device=cuda or emulated, or leave tf32 out"),
            (0 <= low <= peak and peak > 0, f"learning_rate={peak}, min_learning_rate={low}",
             "the rate falls from learning_rate to min_learning_rate, and neither is negative",
             f"min_learning_rate={abs(peak) / 10:g}"),
            (self.schedule == "constant" or self.warmup_steps <= room,
             f"warmup_steps={self.warmup_steps} with decay_steps={self.decay_steps} and "
             f"max_steps={self.max_steps}",
             f"the decay {'begins' if wsd else 'ends'} at step {room}, before the warmup ends",
             f"warmup_steps={max(0, room) // 10}, or more steps"),
        ])  # fmt: skip

    @property
    def decay_length(self) -> int:
        """decay_steps, with 0 resolved as its help describes."""
        if self.decay_steps:
            return self.decay_steps
        return max(1, self.max_steps // 5) if self.schedule == "wsd" else self.max_steps

    @property
    def sequences_per_step(self) -> int:
        """Sequences per optimizer step."""
        return self.batch_size * self.gradient_accumulation_steps


def _require(config: object, rules: Sequence[tuple[bool, str, str, str]]) -> None:
    """Raise ArgumentError for the first rule that does not hold: whether it holds, what, why, what to use."""
    for holds, what, why, fix in rules:
        if not holds:
            raise ArgumentError(f"{type(config).__name__}: {what}", why=why, fix=f"use {fix}")


def _in_unit_interval(config: object, *names: str) -> None:
    """Check that fields (probabilities, decay rates) are in [0, 1)."""
    for name in names:
        value, usual = getattr(config, name), 0.1 if name == "dropout" else 0.9
        rule = (0 <= value < 1, f"{name}={value}", f"{name} must lie in [0, 1)", f"{name}={usual}")
        _require(config, [rule])
