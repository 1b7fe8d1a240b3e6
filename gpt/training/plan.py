"""Cost estimate of a run: parameters, memory, FLOPs, minutes. Builds only small models of the same kind."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, counted
from gpt.data.command import embedded_shakespeare
from gpt.data.prepare import read_texts
from gpt.data.token_file import open_split
from gpt.fields import with_changes
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import from_small_models, parameter_shapes
from gpt.presets import add_presets, describe_presets, named_configs, preset, with_warmup
from gpt.training.utilization import product_speed
from gpt.weights.init_from import read_configs, require_data, run_of
from gpt.weights.sources import named_tokenizer, open_source
from gpt.weights.trained import TOKENIZER
from tinytensor import lab
from tinytensor.errors import ArgumentError

FLOAT_BYTES = 4  # float32
_BEGIN = preset("shakespeare-char-cpu")
_ABOUT = """Count what a training run will cost, without running it.

  python -m gpt plan --preset=gpt2
  python -m gpt plan --depth=6
  python -m gpt plan --preset=gpt3 --flops=1e15
  python -m gpt plan runs/gpt --max_steps=9000
  python -m gpt plan smollm2 --batch_size=4
  python -m gpt plan --preset=shakespeare-char --n_layer=8 --batch_size=16"""
UTILIZATION = 0.4  # share of the peak matmul speed that a training step reaches on two CPU cores


@dataclass(frozen=True)
class Plan:
    """Estimated cost of a run.

    Args:
        model: the planned model.
        train: the planned training.
        parameters: count per group: wte, wpe, attn, mlp, norms, head.
        parameters_per_block: count per group in one block: attn, mlp, norms.
        weight_bytes: the weights in float32.
        gradient_bytes: one gradient per weight.
        optimizer_bytes: AdamW's two moments per weight; Muon has one.
        average_bytes: the moving average of the weights, if enabled.
        forward_flops_per_token: exact count of the matrix products of a forward pass; 2 FLOPs per
            multiply-add, attention over the whole context.
        backward_flops_per_token: the same for backward: each product has two gradients.
        again_flops_per_token: recomputation by activation checkpointing.
        optimizer_flops_per_step: products of Muon's iterations; 0 for AdamW, whose work is elementwise.
        palm_flops_per_token: forward and backward by the PaLM estimate.
        tokens_per_step: tokens per optimizer step.
        total_flops: of the whole training, by the exact count.
        flops_per_second: speed of matrix products, measured or given.
        utilization: assumed share of that speed in training.
    """

    model: GPTConfig
    train: TrainConfig
    parameters: Mapping[str, int]
    parameters_per_block: Mapping[str, int]
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    average_bytes: int
    forward_flops_per_token: int
    backward_flops_per_token: int
    again_flops_per_token: int
    optimizer_flops_per_step: int
    palm_flops_per_token: int
    tokens_per_step: int
    total_flops: int
    flops_per_second: float
    utilization: float

    @property
    def total_parameters(self) -> int:
        """Number of all trained parameters, a tied head counted once."""
        return sum(self.parameters.values())

    @property
    def non_embedding_parameters(self) -> int:
        """Parameters without the position table, as nanoGPT reports them (a tied wte is also the head)."""
        tied_away = 0 if self.model.tied_head else self.parameters["wte"]
        return self.total_parameters - self.parameters["wpe"] - tied_away

    @cached_property
    def activations(self) -> tuple[int, int, int]:
        """Blocks whose activations are there at the same time, bytes of one of them, and all other bytes."""
        return _activations(self.model, self.train)

    @property
    def activation_bytes(self) -> int:
        """Bytes saved for backward in one forward pass of batch_size sequences, with fused attention and
        float32; with activation checkpointing the peak.
        """
        blocks, each, others = self.activations
        return blocks * each + others

    @property
    def attention_matrix_bytes(self) -> int:
        """Additional bytes of unfused attention, which saves its weights."""
        m, blocks = self.model, self.activations[0]
        return self.train.batch_size * blocks * m.n_head * m.block_size**2 * FLOAT_BYTES

    @property
    def training_bytes(self) -> int:
        """Sum of weights, gradients, moments, average and activations, with fused attention."""
        kept = self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.average_bytes
        return kept + self.activation_bytes

    @property
    def minutes(self) -> float:
        """Training time in minutes, without evaluation and samples."""
        return self.total_flops / (self.flops_per_second * self.utilization) / 60

    def table(self) -> str:
        """Estimate as text.

        Example:
            >>> model, train = preset("gpt2")
            >>> "124,439,808" in plan(model, train, flops_per_second=1e12).table()
            True
        """
        return "\n".join(
            [*_model_lines(self), "", *_memory_lines(self), "", *_compute_lines(self), "", *_time_lines(self)]
        )


def plan(
    model: GPTConfig,
    train: TrainConfig,
    *,
    flops_per_second: float | None = None,
    utilization: float = UTILIZATION,
) -> Plan:
    """Estimate the cost of training a model.

    FLOPs per token, exact: forward 2 M + 4 L C T + 2 C V, with M = weights of the blocks' matrices that a
    token meets (GPT-2: 12 L C²), backward twice that.
    FLOPs per token, estimate: 6 N + 12 L C T, with N = parameters without the position table.
    Saved activations: what small models of the same kind save when they run, in this ratio of their sizes.

    Args:
        model: model config; vocab_size must not be 0, see `GPTConfig.with_vocab_size`.
        train: for batch size, steps and accumulation.
        flops_per_second: speed of matrix products; None: measure that of large ones here, in a second.
        utilization: share of it that training reaches, in (0, 1].

    Raises:
        ArgumentError: vocab_size is 0, or a speed or share outside its domain.

    Memory: a few MB, for GPT-3 too.
    Accuracy: parameters, FLOPs of matrix products and saved activations are exact; scratch memory and
        rounding of the pool are not included, nor are FLOPs of elementwise ops.
    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B, for the estimate.

    Example:
        >>> model, train = preset("gpt2-xl")
        >>> plan(model, train, flops_per_second=1e12).total_parameters
        1557611200
    """
    speed = product_speed() if flops_per_second is None else flops_per_second
    for name, value, most in (("flops_per_second", speed, math.inf), ("utilization", utilization, 1.0)):
        if not (0 < value <= most and math.isfinite(value)):
            raise ArgumentError(
                f"plan: {name}={value}",
                why=f"it must be above 0{' and at most 1' if most == 1 else ''}",
                fix=f"use {name}={'1e11' if most > 1 else UTILIZATION}",
            )
    L, T, C, V = model.n_layer, model.block_size, model.n_embd, model.vocab_size
    shapes = parameter_shapes(model)
    groups = _count(shapes)
    block = _count({name: shape for name, shape in shapes.items() if name.startswith("h.0.")})
    total = sum(groups.values())
    forward = 2 * _met_by_a_token(model) + 4 * L * C * T + 2 * C * V
    matmul_parameters = total - groups["wpe"] - (0 if model.tied_head else groups["wte"])
    tokens_per_step = train.sequences_per_step * T
    again = forward - 2 * C * V if train.checkpoint_blocks else 0
    moving = _muon_flops(model, train)
    return Plan(
        model=model,
        train=train,
        parameters=groups,
        parameters_per_block={name: block[name] for name in ("attn", "mlp", "norms")},
        weight_bytes=total * FLOAT_BYTES,
        gradient_bytes=total * FLOAT_BYTES,
        optimizer_bytes=(2 * total - _moved_by_muon(model, train)) * FLOAT_BYTES,
        average_bytes=total * FLOAT_BYTES if train.ema_decay else 0,
        forward_flops_per_token=forward,
        backward_flops_per_token=2 * forward,
        again_flops_per_token=again,
        optimizer_flops_per_step=moving,
        palm_flops_per_token=6 * matmul_parameters + 12 * L * C * T,
        tokens_per_step=tokens_per_step,
        total_flops=((3 * forward + again) * tokens_per_step + moving) * train.max_steps,
        flops_per_second=speed,
        utilization=utilization,
    )


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt plan [MODEL | --preset=NAME | --depth=N]`.

    Example:
        >>> main(["--preset=gpt3", "--flops=1e15"])  # doctest: +ELLIPSIS
        model: 96 layers × 96 heads × 12,288 channels...
        0
    """
    parser = Parser(
        prog="python -m gpt plan",
        usage="%(prog)s [MODEL | --preset=NAME | --depth=N] [--flops=SPEED] [--field=value ...]",
        description=_ABOUT,
        epilog=f"presets:\n{describe_presets()}",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a run, or another model, such as smollm2")
    parser.add_argument(
        "--flops", type=float, metavar="SPEED", help="of matrix products, in FLOP/s; default: measured here"
    )
    add_presets(parser)
    parser.add_fields(*_BEGIN)
    options = parser.parse_args(argv)
    model, train = _configs(options.model, vars(options))
    if model.vocab_size == 0:
        model = model.with_vocab_size(_vocabulary(train))
    found = plan(model, train, flops_per_second=options.flops)
    print(found.table())
    if options.flops is None:
        print(_measured(found.flops_per_second))
    return 0


def _configs(source: str | None, given: Mapping[str, Any]) -> tuple[GPTConfig, TrainConfig]:
    """Configs of a run, another model, or a preset, with fields changed."""
    if source is None:
        model, train = named_configs(given) or _BEGIN
        return with_changes(with_warmup(given, train.warmup_steps), model, train)
    folder = run_of(source)
    known = (open_source(source).config, TrainConfig()) if folder is None else read_configs(folder)
    return with_changes(given, *known)


def _vocabulary(train: TrainConfig) -> int:
    """Vocabulary size that training takes from the data: it reads the text for a tokenizer by characters."""
    require_data(train)
    data = Path(train.data)
    if train.data == "shakespeare":
        return named_tokenizer(train.tokenizer, embedded_shakespeare()).vocab_size
    if not (data / "train.bin").is_file():
        return named_tokenizer(train.tokenizer, read_texts(data, train.pattern)).vocab_size
    saved = data / TOKENIZER
    name = str(saved) if saved.is_file() else train.tokenizer
    if name not in ("char", "word"):
        return named_tokenizer(name, ()).vocab_size
    size = open_split(data, "train").vocab_size
    if size is None:
        raise ArgumentError(
            f"plan: the vocabulary of {data} is not known",
            why="the token files have neither meta.json nor a tokenizer",
            fix="set its size, such as --vocab_size=50257",
        )
    return size


# --- counting -----------------------------------------------------------------------------------------


def _count(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sum tensor sizes by group."""
    groups = dict.fromkeys(("wte", "wpe", "attn", "mlp", "norms", "head"), 0)
    for name, shape in shapes.items():
        groups[_group(name)] += math.prod(shape)
    return groups


def _group(name: str) -> str:
    """Group of a tensor."""
    parts = name.split(".")
    if any(part.startswith("ln_") for part in parts):
        return "norms"
    if parts[0] == "h":
        return parts[2]
    return "head" if parts[0] == "lm_head" else parts[0]


def _matrices(model: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the matrices of the blocks, which Muon moves; those of experts are stacked."""
    shapes = parameter_shapes(model).items()
    return {n: s for n, s in shapes if n.startswith("h.") and n.endswith("weight") and len(s) >= 2}


def _met_by_a_token(model: GPTConfig) -> int:
    """Weights of the matrices of the blocks by which a token is multiplied: of experts the active ones."""
    stacked = model.n_expert_active if model.n_expert else 1
    return sum([math.prod(s[-2:]) * (stacked if len(s) > 2 else 1) for s in _matrices(model).values()])


def _moved_by_muon(model: GPTConfig, train: TrainConfig) -> int:
    """Number of weights updated by Muon, with one moment instead of two."""
    return sum([math.prod(s) for s in _matrices(model).values()]) if train.optimizer == "muon" else 0


def _muon_flops(model: GPTConfig, train: TrainConfig) -> int:
    """FLOPs of Muon's products in a step (`orthogonalize`), for m x n matrices, m <= n.

    X Xᵀ, its square, and a product with X for each iteration; where n is at least 1.5 m, X Xᵀ and a product
    with X once, the square and three products of squares for each iteration, less three.
    """
    if train.optimizer != "muon":
        return 0
    k, each = train.muon_iterations, 0
    for *stack, rows, columns in _matrices(model).values():
        m, n = sorted((rows, columns))
        squares = 4 * m * m * n + (8 * k - 6) * m**3
        each += math.prod(stack) * (squares if 2 * n >= 3 * m else k * (4 * m * m * n + 2 * m**3))
    return each


def _activations(model: GPTConfig, train: TrainConfig) -> tuple[int, int, int]:
    """Blocks whose activations are there at the same time, bytes of one of them, and all other bytes."""
    L, k = model.n_layer, train.checkpoint_blocks
    found = from_small_models(
        model,
        lambda small: {
            f"{what}, {layers} blocks": sizes
            for layers in (1, 2)
            for what, sizes in _saved(replace(small, n_layer=layers), checkpointed=k > 0).items()
        },
    )
    tokens = train.batch_size * model.block_size
    saved = {name: tokens * per_token + constant for name, (per_token, constant) in found.items()}
    stream, loss = [(saved[f"{what}, 1 blocks"], saved[f"{what}, 2 blocks"]) for what in ("stream", "loss")]
    block, more = stream[1] - stream[0], loss[1] - loss[0]
    if not k:
        return L, block, loss[0] - block
    # Forward saves the input of each region. Backward adds the activations of one region to those before it.
    k = min(k, L)
    at_the_end = loss[0] + (-(-L // k) - 1) * more
    in_backward = stream[0] + (k - 1) * block + (L // k - 1) * more
    return k, block, max(at_the_end, in_backward) - k * block


def _saved(config: GPTConfig, *, checkpointed: bool) -> dict[str, tuple[int, int]]:
    """Bytes that a small model saves for backward, per token and in addition: up to the residual stream after
    the blocks, without checkpoints, and up to the loss.

    Attention of few tokens may keep its weights, which are not counted here.
    """
    with tt.enable_grad():
        model = GPT(config)
        names = dict([*model.named_parameters(), *model.named_buffers()])
        model.checkpoint_blocks = int(checkpointed)

        def saved(*outputs: tt.Tensor | None) -> int:
            graph = lab.graph(*[output for output in outputs if output is not None], names=names)
            kept = [s.nbytes for node in graph.nodes for s in node.saved if s.counted and s.name != "kept"]
            return sum(kept)

        rows, few = 2, config.block_size - 1
        counts = []
        for T in (few, few + 1):
            ids, targets = [tt.zeros(rows, T, dtype=tt.int64) for _ in range(2)]
            stream = model.through(model.embed(ids), None, 0, config.n_layer)
            counts.append({"stream": saved(stream, model.balance()), "loss": saved(model.loss(ids, targets))})
    slopes = {what: counts[1][what] - counts[0][what] for what in counts[0]}
    return {what: (slope // rows, counts[0][what] - slope * few) for what, slope in slopes.items()}


# --- text ---------------------------------------------------------------------------------------------


def _model_lines(p: Plan) -> list[str]:
    m, total = p.model, p.total_parameters
    lines = [
        f"model: {counted(m.n_layer, 'layer')} × {counted(m.n_head, 'head')} × "
        f"{counted(m.n_embd, 'channel')}, context {m.block_size:,}, vocabulary {m.vocab_size:,}",
        "",
        f"{'parameters':<22}{'per block':>18}{'all':>22}{'share':>9}",
    ]
    for group, count in p.parameters.items():
        per_block = p.parameters_per_block.get(group)
        tied = "  (tied to wte)" if group == "head" and m.tied_head else ""
        fixed = "  (fixed waves)" if group == "wpe" and m.position == "sinusoidal" else ""
        shown = f"{per_block:,}" if per_block is not None else ""
        lines.append(f"  {group:<20}{shown:>18}{count:>22,}{count / total:>9.1%}{tied}{fixed}")
    lines.append(f"  {'total':<38}{total:>22,}")
    lines.append(f"  {'without positions':<38}{p.non_embedding_parameters:>22,}")
    return lines


def _memory_lines(p: Plan) -> list[str]:
    rows = {
        "weights": p.weight_bytes,
        "gradients": p.gradient_bytes,
        "moments of the optimizer": p.optimizer_bytes,
        **({"average of the weights": p.average_bytes} if p.average_bytes else {}),
        "activations": p.activation_bytes,
        "together": p.training_bytes,
    }
    lines = ["memory in float32, per training step"]
    lines += [f"  {name:<38}{_bytes(count):>22}" for name, count in rows.items()]
    lines.append(
        f"  {'attention weights, if they are kept':<38}{'+ ' + _bytes(p.attention_matrix_bytes):>22}"
    )
    blocks, each, others = p.activations
    also = ", inputs of regions" if p.train.checkpoint_blocks else ""
    lines.append(
        f"  activations = {blocks} × {_bytes(each)} in blocks + {_bytes(others)} in embedding, head{also};"
    )
    lines.append(f"  attention weights = 4 B × {blocks} nh T² bytes,")
    lines.append(
        f"  at B = {p.train.batch_size} sequences per forward pass; without dropout masks and scratch"
    )
    return lines


def _compute_lines(p: Plan) -> list[str]:
    exact = p.forward_flops_per_token + p.backward_flops_per_token
    moving = [f"  {'Muon, per step':<38}{p.optimizer_flops_per_step:>22,}"]
    again = [f"  {'forward again, in checkpointed blocks':<38}{p.again_flops_per_token:>22,}"]
    return [
        "FLOPs per token",
        f"  {'forward, 2 M + 4 L C T + 2 C V':<38}{p.forward_flops_per_token:>22,}",
        f"  {'backward, twice that':<38}{p.backward_flops_per_token:>22,}",
        f"  {'both':<38}{exact:>22,}",
        *(again if p.again_flops_per_token else []),
        f"  {'both by 6 N + 12 L C T (PaLM)':<38}{p.palm_flops_per_token:>22,}",
        *(moving if p.optimizer_flops_per_step else []),
    ]


def _time_lines(p: Plan) -> list[str]:
    t = p.train
    return [
        f"training: {t.max_steps:,} steps",
        f"  {f'tokens per step, {t.batch_size} × {t.gradient_accumulation_steps} × {p.model.block_size}':<38}"
        f"{p.tokens_per_step:>22,}",
        f"  {'tokens':<38}{p.tokens_per_step * t.max_steps:>22,}",
        f"  {'FLOPs':<38}{p.total_flops:>22.3e}",
        f"  {'FLOP/s of matrix products':<38}{p.flops_per_second:>22.3e}",
        f"  {f'time at {p.utilization:.0%} of it':<38}{_duration(p.minutes):>22}",
    ]


def _bytes(count: int) -> str:
    """Format bytes with three digits and a decimal unit."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB" if value < 1000 else f"{value:,.0f} TB"


def _duration(minutes: float) -> str:
    """Format a duration in a suitable unit."""
    for limit, unit, factor in ((1.0, "seconds", 60.0), (120.0, "minutes", 1.0), (2880.0, "hours", 1 / 60)):
        if minutes < limit:
            return f"{minutes * factor:.1f} {unit}"
    days = minutes / 1440
    return f"{days:,.0f} days" if days < 730 else f"{days / 365.25:,.0f} years"


def _measured(speed: float) -> str:
    """Of which machine the time is: its measured speed, and whether other programs took a part of it."""
    processors = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    said = f"the time is of this machine: {speed / 1e9:,.1f} GFLOP/s, measured now"
    if load < processors / 2:
        return said
    return f"{said},\nwhile it is busy: load {load:.1f} on {processors} processors; else it takes less"
