"""Cost estimate of a run: parameters, memory, FLOPs, minutes. Builds only small models of the same kind."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, counted
from gpt.fields import with_changes
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import from_small_models, parameter_shapes
from gpt.presets import add_presets, describe_presets, named_configs, preset, with_warmup
from gpt.training.measures import product_speed
from gpt.training.run_setup import vocabulary_of, with_vocabulary
from gpt.weights.load import open_source
from gpt.weights.run import read_configs, run_of
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
    """Estimated cost of a training run.

    FLOPs per token, exact: forward 2 M + 4 L C T + 2 C V, with M = weights of the blocks' matrices that a
    token meets (GPT-2: 12 L C²), backward twice that. Saved activations: what small models of the
    same kind save when they run, in this ratio of their sizes.

    Args:
        model: the planned model; its vocab_size must not be 0, see `GPTConfig.with_vocab_size`.
        train: the planned training.
        flops_per_second: speed of matrix products.

    Memory: a few MB, for GPT-3 too.
    Accuracy: parameters, FLOPs of matrix products and saved activations are exact; scratch memory and
        rounding of the pool are not included, nor are FLOPs of elementwise ops and of the optimizer.
    """

    model: GPTConfig
    train: TrainConfig
    flops_per_second: float

    def __post_init__(self) -> None:
        if not 0 < self.flops_per_second < math.inf:
            what = f"plan: flops_per_second={self.flops_per_second}"
            raise ArgumentError(what, why="it must be above 0", fix="use flops_per_second=1e11")
        self.parameters  # noqa: B018  a vocab_size of 0 is an error here

    # ---- parameters and their bytes -----------------------------------------------------------------------

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Count per group: wte, wpe, attn, mlp, norms, head."""
        return _count(parameter_shapes(self.model))

    @cached_property
    def parameters_per_block(self) -> dict[str, int]:
        """Count per group in one block: attn, mlp, norms."""
        shapes = parameter_shapes(self.model).items()
        counts = _count({name: shape for name, shape in shapes if name.startswith("h.0.")})
        return {name: counts[name] for name in ("attn", "mlp", "norms")}

    @property
    def total_parameters(self) -> int:
        """Number of all trained parameters, a tied head counted once."""
        return sum(self.parameters.values())

    @property
    def non_embedding_parameters(self) -> int:
        """Parameters without the position table, as nanoGPT reports them (a tied wte is also the head)."""
        tied_away = 0 if self.model.tied_head else self.parameters["wte"]
        return self.total_parameters - self.parameters["wpe"] - tied_away

    @property
    def weight_bytes(self) -> int:
        """The weights in float32."""
        return self.total_parameters * FLOAT_BYTES

    gradient_bytes = weight_bytes

    @property
    def optimizer_bytes(self) -> int:
        """AdamW's two moments per weight; Muon has one."""
        moved = sum([math.prod(shape) for shape in self._matrices]) if self.train.optimizer == "muon" else 0
        return (2 * self.total_parameters - moved) * FLOAT_BYTES

    # ---- activations --------------------------------------------------------------------------------------

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
    def training_bytes(self) -> int:
        """Sum of weights, gradients, moments and activations, with fused attention."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes

    # ---- FLOPs and time -----------------------------------------------------------------------------------

    @cached_property
    def _matrices(self) -> list[tuple[int, ...]]:
        """Shapes of the matrices of the blocks, which Muon moves; those of experts are stacked."""
        shapes = parameter_shapes(self.model).items()
        return [s for n, s in shapes if n.startswith("h.") and n.endswith("weight") and len(s) >= 2]

    @cached_property
    def forward_flops_per_token(self) -> int:
        """FLOPs of the matrix products: 2 FLOPs per multiply-add, attention over the whole context."""
        m = self.model
        stacked = m.n_expert_active if m.n_expert else 1  # a token meets the active experts alone
        met = sum([math.prod(s[-2:]) * (stacked if len(s) > 2 else 1) for s in self._matrices])
        return 2 * met + 4 * m.n_layer * m.n_embd * m.block_size + 2 * m.n_embd * m.vocab_size

    @property
    def backward_flops_per_token(self) -> int:
        """Each product has two gradients."""
        return 2 * self.forward_flops_per_token

    @property
    def again_flops_per_token(self) -> int:
        """Recomputation by activation checkpointing."""
        head = 2 * self.model.n_embd * self.model.vocab_size
        return self.forward_flops_per_token - head if self.train.checkpoint_blocks else 0

    @property
    def tokens_per_step(self) -> int:
        """Tokens per optimizer step."""
        return self.train.sequences_per_step * self.model.block_size

    @property
    def total_flops(self) -> int:
        """FLOPs of the whole training, by the exact count."""
        each = self.forward_flops_per_token + self.backward_flops_per_token + self.again_flops_per_token
        return each * self.tokens_per_step * self.train.max_steps

    @property
    def minutes(self) -> float:
        """Training time in minutes, without evaluation and samples."""
        return self.total_flops / (self.flops_per_second * UTILIZATION) / 60

    def table(self) -> str:
        """Estimate as text."""
        return "\n".join([*_model_lines(self), "", *_memory_lines(self), "", *_compute_lines(self)])


def plan(model: GPTConfig, train: TrainConfig, *, flops_per_second: float | None = None) -> Plan:
    """Estimate the cost of training a model; the speed of large matrix products is measured if it is None.

    Example:
        >>> plan(*preset("gpt2-xl"), flops_per_second=1e12).total_parameters
        1557611200
    """
    return Plan(model, train, product_speed() if flops_per_second is None else flops_per_second)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt plan [MODEL | --preset=NAME | --depth=N]`."""
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
        model = with_vocabulary(model, vocabulary_of(train), train.data)
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


# --- counting -----------------------------------------------------------------------------------------


def _count(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    groups = dict.fromkeys(("wte", "wpe", "attn", "mlp", "norms", "head"), 0)
    for name, shape in shapes.items():
        groups[_group(name)] += math.prod(shape)
    return groups


def _group(name: str) -> str:
    parts = name.split(".")
    if any(part.startswith("ln_") for part in parts):
        return "norms"
    if parts[0] == "h":
        return parts[2]
    return "head" if parts[0] == "lm_head" else parts[0]


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
    """
    with tt.enable_grad():
        model = GPT(config)
        names = dict([*model.named_parameters(), *model.named_buffers()])
        model.checkpoint_blocks = int(checkpointed)

        def saved(*outputs: tt.Tensor | None) -> int:
            graph = lab.graph(*[output for output in outputs if output is not None], names=names)
            return sum([s.nbytes for node in graph.nodes for s in node.saved if s.counted])

        rows, few = 2, config.block_size - 1
        counts = []
        for T in (few, few + 1):
            ids, targets = [tt.zeros(rows, T, dtype=tt.int64) for _ in range(2)]
            stream = model.through(model.embed(ids), None, 0, config.n_layer)
            counts.append({"stream": saved(stream, model.balance()), "loss": saved(model.loss(ids, targets))})
    slopes = {what: counts[1][what] - counts[0][what] for what in counts[0]}
    return {what: (slope // rows, counts[0][what] - slope * few) for what, slope in slopes.items()}


# --- text ---------------------------------------------------------------------------------------------


def _row(name: str, value: object) -> str:
    shown = f"{value:,}" if isinstance(value, int) else value
    return f"  {name:<38}{shown:>22}"


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
    return [*lines, _row("total", total), _row("without positions", p.non_embedding_parameters)]


def _memory_lines(p: Plan) -> list[str]:
    blocks, each, others = p.activations
    also = ", inputs of regions" if p.train.checkpoint_blocks else ""
    return [
        "memory in float32, per training step",
        _row("weights", _bytes(p.weight_bytes)),
        _row("gradients", _bytes(p.gradient_bytes)),
        _row("moments of the optimizer", _bytes(p.optimizer_bytes)),
        _row("activations", _bytes(p.activation_bytes)),
        _row("together", _bytes(p.training_bytes)),
        f"  activations = {blocks} × {_bytes(each)} in blocks + {_bytes(others)} in embedding, head{also};",
        f"  at B = {p.train.batch_size} sequences per forward pass; without dropout masks and scratch",
    ]


def _compute_lines(p: Plan) -> list[str]:
    t, again = p.train, p.again_flops_per_token
    return [
        "FLOPs per token",
        _row("forward, 2 M + 4 L C T + 2 C V", p.forward_flops_per_token),
        _row("backward, twice that", p.backward_flops_per_token),
        _row("both", p.forward_flops_per_token + p.backward_flops_per_token),
        *([_row("forward again, in checkpointed blocks", again)] if again else []),
        "",
        f"training: {t.max_steps:,} steps",
        _row(
            f"tokens per step, {t.batch_size} × {t.gradient_accumulation_steps} × {p.model.block_size}",
            p.tokens_per_step,
        ),
        _row("tokens", p.tokens_per_step * t.max_steps),
        _row("FLOPs", f"{p.total_flops:.3e}"),
        _row("FLOP/s of matrix products", f"{p.flops_per_second:.3e}"),
        _row(f"time at {UTILIZATION:.0%} of it", _duration(p.minutes)),
    ]


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB" if value < 1000 else f"{value:,.0f} TB"


def _duration(minutes: float) -> str:
    for limit, unit, factor in ((1.0, "seconds", 60.0), (120.0, "minutes", 1.0), (2880.0, "hours", 1 / 60)):
        if minutes < limit:
            return f"{minutes * factor:.1f} {unit}"
    days = minutes / 1440
    return f"{days:,.0f} days" if days < 730 else f"{days / 365.25:,.0f} years"


def _measured(speed: float) -> str:
    """Describe the measured machine: its speed, and whether other programs took a part of it."""
    processors = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    said = f"the time is of this machine: {speed / 1e9:,.1f} GFLOP/s, measured now"
    if load < processors / 2:
        return said
    return f"{said},\nwhile it is busy: load {load:.1f} on {processors} processors; else it takes less"
