"""Time of a GPT training step (forward, backward, clip, AdamW), against PyTorch and others.

S is nanoGPT's CPU shape, M six layers of 384 at context 256, L GPT-2 with 124 million parameters. Weights and
batches are the same; the losses of the first steps must be equal before anything is timed.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from math import sqrt
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report, ratio_text
from benchmarks.contest.contestants import BenchmarkError, Case, Contender, Suite, contestants
from benchmarks.contest.probes import peaks
from gpt.config import GPTConfig, TrainConfig
from gpt.data.batches import Batches
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import preset
from gpt.training.plan import plan
from tinytensor.optim import AdamW, clip_scale

SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "S": ({"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "vocab_size": 65}, 12),
    "M": ({"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "vocab_size": 65}, 8),
    "L": ({"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 256, "vocab_size": 50257}, 1),
}
VARIANTS = {"2 threads": {"threads": 2}, "1 thread": {"threads": 1, "pinned": True}}
COMPILED = "torch.compile"
OTHERS = {
    "captured": Contender(mode={"captured": True}),
    "NumPy alone": Contender(environment={"TINYTENSOR_HOST_KERNELS": "off"}),
    COMPILED: Contender(mode={"compiled": True}, library="torch"),
    "JAX": Contender(library="jax", suite="benchmarks.suites.train:jax_peer"),
    "tinygrad": Contender(library="tinygrad", suite="benchmarks.suites.train:tinygrad_peer"),
}
ROUNDING = {"float32": 1e-4, "bfloat16": 5e-3}  # tolerance of the losses
STEPS_THAT_AGREE = 4
LEARNING_RATE = 3e-4


def configs(shape: str) -> tuple[GPTConfig, TrainConfig]:
    """Model of a shape (with biases, as GPT-2), and nanoGPT's recipe with its batch size."""
    model, train = preset("shakespeare-char-cpu")
    sizes, batch_size = SHAPES[shape]
    return replace(model, bias=True, **sizes), replace(train, batch_size=batch_size)


def weights(config: GPTConfig) -> dict[str, np.ndarray]:
    """Initial weights by name, with GPT-2's initialization."""
    rng = np.random.default_rng(1)
    made: dict[str, np.ndarray] = {}
    for name, shape in parameter_shapes(config).items():
        if len(shape) >= 2:
            std = 0.02 / sqrt(2 * config.n_layer) if name.endswith("c_proj.weight") else 0.02
            made[name] = rng.standard_normal(shape, dtype=np.float32) * np.float32(std)
        else:
            made[name] = np.full(shape, name.endswith("weight"), np.float32)  # norms 1, biases 0
    return made


def batches(config: GPTConfig, train: TrainConfig) -> Batches:
    """Random windows of random text: the time of a step does not depend on the data."""
    ids = np.random.default_rng(2).integers(0, config.vocab_size, 100_000)
    return Batches(ids, train.batch_size, config.block_size)


def trainer(shape: str) -> tuple[GPT, AdamW, Batches, TrainConfig]:
    """Model, optimizer, batches and recipe of a shape, with tinytensor."""
    config, train = configs(shape)
    model = GPT(config)
    model.load_state_dict({name: tt.from_numpy(array) for name, array in weights(config).items()})
    groups = model.parameter_groups(train.weight_decay)
    optimizer = AdamW(groups, lr=LEARNING_RATE, betas=(train.beta1, train.beta2))
    return model, optimizer, batches(config, train), train


def ours(shape: str, dtype: str = "float32", captured: bool = False) -> Suite:
    """Step with tinytensor, eager or replayed as a graph (tt.capture); bfloat16: under autocast."""
    model, optimizer, source, train = trainer(shape)
    inputs, targets = [tt.tensor(array) for array in source.batch(0)]
    graph: Any = None
    steps = 0

    def step() -> tt.Tensor:
        optimizer.zero_grad()
        with tt.autocast(tt.bfloat16, enabled=dtype == "bfloat16"):
            loss: tt.Tensor = model.loss(inputs, targets)
        loss.backward()
        _, scale = clip_scale(model.parameters(), train.grad_clip)
        optimizer.step(scale)
        return loss

    def next_step() -> float:
        nonlocal graph, steps
        for tensor, array in zip((inputs, targets), next(source), strict=True):
            tensor.copy_(tt.from_numpy(array))
        steps += 1
        if captured and steps == 2:
            graph = tt.capture(step, device="cpu", warmup=0)
        return float((step() if graph is None else graph.replay()).item())

    return _stepping(shape, next_step)


def peer(shape: str, dtype: str = "float32", compiled: bool = False) -> Suite:
    """Step with PyTorch, eager or through torch.compile; bfloat16: under autocast."""
    from benchmarks.peers.torch_gpt import TorchTrainer

    config, recipe = configs(shape)
    recipe = replace(recipe, learning_rate=LEARNING_RATE)
    trainer = TorchTrainer(config, recipe, weights(config), compiled=compiled, dtype=dtype)
    source = batches(config, recipe)
    return _stepping(shape, lambda: trainer.step(*next(source), lr=LEARNING_RATE))


def jax_peer(shape: str, dtype: str = "float32") -> Suite:
    """Step with JAX."""
    from benchmarks.peers.jax_gpt import JaxTrainer

    return _rival(shape, dtype, JaxTrainer)


def tinygrad_peer(shape: str, dtype: str = "float32") -> Suite:
    """Step with tinygrad."""
    from benchmarks.peers.tinygrad_gpt import TinygradTrainer

    return _rival(shape, dtype, TinygradTrainer)


def _rival(shape: str, dtype: str, trainer_class: Any) -> Suite:
    if dtype != "float32":
        raise BenchmarkError(f"train: {trainer_class.__name__} supports float32 only")
    config, recipe = configs(shape)
    trainer = trainer_class(config, replace(recipe, learning_rate=LEARNING_RATE), weights(config))
    source = batches(config, recipe)
    return _stepping(shape, lambda: trainer.step(*next(source)))


def _stepping(shape: str, step: Callable[[], float]) -> Suite:
    return {shape: Case(step, lambda: [step() for _ in range(STEPS_THAT_AGREE)])}


def run(
    rounds: Plan,
    *,
    shapes: Sequence[str] = ("S", "M"),
    variants: Sequence[str] = tuple(VARIANTS),
    alone: bool = False,
    others: Sequence[str] = (),
    dtype: str = "float32",
) -> Report:
    """Measure steps, and the peaks of the machine.

    Args:
        rounds: rounds and windows.
        shapes: keys of SHAPES.
        variants: keys of VARIANTS.
        alone: without PyTorch, even if it is installed.
        others: additional contestants, keys of OTHERS.
        dtype: dtype of products and attention, a key of ROUNDING.
    """
    report = Report("train", "PyTorch")
    if dtype not in ROUNDING:
        raise BenchmarkError(f"train: dtype {dtype!r} is none of {', '.join(ROUNDING)}")
    agreeing = replace(rounds, rtol=ROUNDING[dtype])
    for variant in variants:
        options: dict[str, Any] = VARIANTS[variant]
        peak = peaks(report, plan=rounds, **options)
        for shape in shapes:
            with contestants(
                __name__,
                alone=alone,
                more={name: OTHERS[name] for name in others},
                arguments={"shape": shape, "dtype": dtype},
                **options,
            ) as both:
                label = variant if dtype == "float32" else f"{variant}, {dtype}"
                (result,) = report.compete(both, agreeing, label=f"{{}}, {label}")
            for name in (name for name in both if name not in ("tinytensor", "PyTorch", "NumPy alone")):
                ratio = result.ratio("tinytensor", name)
                report.findings[f"{shape}, {label}, tinytensor : {name}"] = ratio_text(asdict(ratio))
                if name == "captured" and "PyTorch" in both:
                    ratio = result.ratio(name, "PyTorch")
                    report.findings[f"{shape}, {label}, {name} : PyTorch"] = ratio_text(asdict(ratio))
            for name in both:
                report.findings[f"{shape}, {label}, {name}"] = derived(
                    shape, result.times(name).median, peak["matmul_gflops"]
                ) | _memory(result.about[name])
    return report


def derived(shape: str, seconds: float, peak_gflops: float) -> dict[str, float]:
    """Tokens per second, and the step's matrix product FLOPs as a share of the measured peak."""
    config, train = configs(shape)
    costs = plan(config, train, flops_per_second=1.0)
    tokens = train.batch_size * config.block_size
    flops = tokens * (costs.forward_flops_per_token + costs.backward_flops_per_token)
    share = flops / seconds / (peak_gflops * 1e9)
    return {"tokens_per_second": round(tokens / seconds), "of_matmul_peak": round(share, 3)}


def _memory(about: dict[str, Any]) -> dict[str, int | None]:
    """Peak memory in MiB during the steps, minus that of the imports."""
    memory = about["memory_mib"]
    peak, imported = memory["peak"], memory["imported"]
    return {"peak_memory_mib": None if peak is None else round(peak - imported)}
