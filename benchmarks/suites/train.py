"""Time of a GPT training step (forward, backward, clip, AdamW), against PyTorch.

S is nanoGPT's CPU shape, M six layers of 384 at context 256, L GPT-2 with 124 million parameters; the batches
of "shakespeare" and "gpt2" are for a GPU. Weights and batches are the same; the losses of the first steps
must be equal before anything is timed.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Contender, Suite, contestants
from benchmarks.contest.gpu_clock import TorchClock, clock_of
from benchmarks.contest.tables import ratio_text
from benchmarks.dry_gpu.gpu import installed_device
from benchmarks.training import Training, initial_weights
from gpt.config import GPTConfig, TrainConfig
from gpt.data.batches import Batches
from gpt.models.gpt import GPT
from gpt.presets import preset
from gpt.training.plan import plan

SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "S": ({"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "vocab_size": 65}, 12),
    "M": ({"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "vocab_size": 65}, 8),
    "L": ({"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 256, "vocab_size": 50257}, 1),
    "gpt2": ({"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "vocab_size": 50257}, 16),
    "shakespeare": ({"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "vocab_size": 65}, 64),
    "tiny": ({"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64, "vocab_size": 65}, 2),
}
VARIANTS = {"2 threads": {"threads": 2}, "1 thread": {"threads": 1, "pinned": True}}
COMPILED = "torch.compile"
OTHERS = {
    "captured": Contender(mode={"captured": True}),
    "NumPy alone": Contender(environment={"TINYTENSOR_HOST_KERNELS": "off"}),
    COMPILED: Contender(mode={"compiled": True}, library="torch"),
}
ROUNDING = {"float32": 1e-4, "bfloat16": 5e-3}  # tolerance of the losses
STEPS_THAT_AGREE = 4
LEARNING_RATE = 3e-4


def configs(shape: str) -> tuple[GPTConfig, TrainConfig]:
    """Model of a shape (with biases, as GPT-2, and without dropout, which the peers have not), and nanoGPT's
    recipe with its batch size.
    """
    model, train = preset("shakespeare-char-cpu")
    sizes, batch_size = SHAPES[shape]
    recipe = replace(train, batch_size=batch_size, learning_rate=LEARNING_RATE)
    return replace(model, bias=True, dropout=0.0, **sizes), recipe


def batches(shape: str) -> Batches:
    """Random windows of random text: the time of a step does not depend on the data."""
    config, train = configs(shape)
    ids = np.random.default_rng(2).integers(0, config.vocab_size, 100_000)
    return Batches(ids, train.batch_size, config.block_size)


def training(shape: str, *, device: str = "cpu", dtype: str = "float32", captured: bool = False) -> Training:
    config, train = configs(shape)
    model = GPT(config)
    model.load_state_dict({name: tt.from_numpy(array) for name, array in initial_weights(config).items()})
    rates = {"lr": LEARNING_RATE, "betas": (train.beta1, train.beta2), "decay": train.weight_decay}
    return Training(model.to(device), batches(shape), **rates, dtype=dtype, captured=captured)


def ours(shape: str, dtype: str = "float32", device: str = "cpu", captured: bool = False) -> Suite:
    """Step with tinytensor, eager or replayed as a graph (tt.capture); bfloat16: under autocast."""
    step = training(shape, device=installed_device(device), dtype=dtype, captured=captured).step
    return _stepping(shape, step, device, clock_of(device))


def peer(shape: str, dtype: str = "float32", device: str = "cpu", compiled: bool = False) -> Suite:
    """Step with PyTorch, eager or through torch.compile; bfloat16: under autocast."""
    import torch

    from benchmarks.peers.torch_gpt import TorchTrainer

    config, recipe = configs(shape)
    how: dict[str, Any] = {"compiled": compiled, "dtype": dtype, "device": device}
    trainer = TorchTrainer(config, recipe, initial_weights(config), **how)
    source = batches(shape)
    return _stepping(
        shape, lambda: trainer.step(*next(source)), device, TorchClock(torch) if device == "cuda" else None
    )


def _stepping(shape: str, step: Callable[[], Any], device: str, clock: Any = None) -> Suite:
    check = lambda: [float(step().item()) for _ in range(STEPS_THAT_AGREE)]  # noqa: E731
    return {shape: Case(step, check, device, clock)}


def run(
    rounds: Plan,
    *,
    shapes: Sequence[str] = ("S", "M"),
    variants: Sequence[str] = tuple(VARIANTS),
    alone: bool = False,
    others: Sequence[str] = (),
    dtype: str = "float32",
    device: str = "cpu",
) -> Report:
    report = Report("train", "PyTorch")
    agreeing = replace(rounds, rtol=ROUNDING[dtype])
    for variant in variants if device == "cpu" else list(variants)[:1]:
        options: dict[str, Any] = VARIANTS[variant]
        for shape in shapes:
            with contestants(
                __name__,
                alone=alone,
                more={name: OTHERS[name] for name in others},
                arguments={"shape": shape, "dtype": dtype, "device": device},
                **options,
            ) as both:
                label = f"{variant if device == 'cpu' else device}{', bfloat16' * (dtype != 'float32')}"
                (result,) = report.compete(both, agreeing, label=f"{{}}, {label}")
            for name in (name for name in both if name not in ("tinytensor", "PyTorch", "NumPy alone")):
                for who, beside in (("tinytensor", name), (name, "PyTorch"))[: 1 + (name == "captured")]:
                    if beside in both:
                        ratio = ratio_text(asdict(result.ratio(who, beside)))
                        report.findings[f"{shape}, {label}, {who} : {beside}"] = ratio
            for name in both:
                found = derived(shape, result.times(name).median) | _memory(result.about[name])
                report.findings[f"{shape}, {label}, {name}"] = found
    return report


def derived(shape: str, seconds: float) -> dict[str, float]:
    """Tokens per second, and the operations of the step's matrix products in TFLOP/s."""
    config, train = configs(shape)
    costs = plan(config, train, flops_per_second=1.0)
    tokens = train.batch_size * config.block_size
    rate = tokens * (costs.forward_flops_per_token + costs.backward_flops_per_token) / seconds
    return {"tokens_per_second": round(tokens / seconds), "tflop_per_second": round(rate / 1e12, 3)}


def _memory(about: dict[str, Any]) -> dict[str, int | None]:
    """Peak memory of the host in MiB during the steps, minus that of the imports."""
    memory = about["memory_mib"]
    peak, imported = memory["peak"], memory["imported"]
    return {"peak_memory_mib": None if peak is None else round(peak - imported)}
