"""Memory of a GPT training step, counted, against PyTorch; losses must be equal first.

"Kept for backward" are the values that are alive between forward and backward, except weights and batch. The
resident peak is the maximum resident memory over several steps, minus that of the imports.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report, agree
from benchmarks.contest.contestants import Case, Suite, contestants
from benchmarks.suites.train import (
    LEARNING_RATE,
    ROUNDING,
    VARIANTS,
    batches,
    configs,
    trainer,
    weights,
)
from gpt.training.plan import plan
from tinytensor.optim import clip_grad_norm_

STEPS = 3  # the first one allocates gradients and moments, and fills pools
MIB = float(1 << 20)
COUNTED = "bytes"


def ours(shape: str) -> Suite:
    """Steps with tinytensor, counted by the engine's pool."""
    from tinytensor.runtime.cpu.memory import pool

    model, optimizer, source, train = trainer(shape)

    def forward() -> Any:
        inputs, targets = next(source)
        optimizer.zero_grad()
        return model.loss(tt.from_numpy(inputs), tt.from_numpy(targets))

    def finish(loss: Any) -> float:
        loss.backward()
        value = float(loss.item())
        clip_grad_norm_(model.parameters(), train.grad_clip)
        optimizer.step()
        return value

    def count() -> list[float]:
        optimizer.zero_grad()
        before = pool.settle().live
        loss = forward()
        kept = pool.settle().live - before
        finish(loss)
        return [float(sum(p.nbytes for p in model.parameters())), float(kept)]

    return _suite(lambda: finish(forward()), count)


def peer(shape: str) -> Suite:
    """Steps with PyTorch, counted by saved-tensor hooks."""
    import torch

    from benchmarks.peers.torch_gpt import TorchTrainer

    config, recipe = configs(shape)
    trainer = TorchTrainer(config, replace(recipe, learning_rate=LEARNING_RATE), weights(config))
    source = batches(config, recipe)
    own = {p.untyped_storage().data_ptr() for p in trainer.model.parameters()}

    def count() -> list[float]:
        saved: dict[int, int] = {}
        inputs, targets = (torch.from_numpy(array) for array in next(source))
        outside = own | {inputs.untyped_storage().data_ptr(), targets.untyped_storage().data_ptr()}

        def pack(x: Any) -> Any:
            storage = x.untyped_storage()
            if storage.data_ptr() not in outside:
                saved[storage.data_ptr()] = storage.nbytes()
            return x

        trainer.optimizer.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = trainer.loss(inputs, targets)
        kept = float(sum(saved.values()))
        loss.backward()
        return [float(sum(p.nbytes for p in trainer.model.parameters())), kept]

    return _suite(lambda: trainer.step(*next(source), lr=LEARNING_RATE), count)


def _suite(step: Any, count: Any) -> Suite:
    return {"steps": Case(step, lambda: [step() for _ in range(STEPS)]), COUNTED: Case(count, count)}


class MemoryReport(Report):
    """Report of counted bytes."""

    def table(self) -> str:
        """Text table with a line for each shape and contestant."""
        lines = [f"{'':22}{'weights':>12}{'kept for backward':>20}{'resident peak':>16}   MiB"]
        for name, found in self.findings.items():
            numbers = [found.get(f"{what}_mib") for what in ("weights", "kept_for_backward", "resident_peak")]
            cells = ["–" if n is None else f"{n:,.1f}" for n in numbers]
            lines.append(f"{name:22}{cells[0]:>12}{cells[1]:>20}{cells[2]:>16}")
        return "\n".join(lines)


def run(*, shapes: Sequence[str] = ("S", "M"), alone: bool = False) -> Report:
    """Count the bytes for each shape.

    Args:
        shapes: keys of train.SHAPES.
        alone: without PyTorch, even if it is installed.
    """
    report = MemoryReport("memory", "PyTorch")
    rounding = Plan(rtol=ROUNDING["float32"])
    for shape in shapes:
        with contestants(__name__, alone=alone, arguments={"shape": shape}, **VARIANTS["1 thread"]) as both:
            agree(shape, {name: process.check("steps") for name, process in both.items()}, rounding)
            for name, process in both.items():
                memory = process.about()["memory_mib"]  # before the counting hooks keep more alive
                parameters, kept = process.check(COUNTED)
                peak = None if memory["peak"] is None else round(memory["peak"] - memory["imported"], 1)
                report.findings[f"{shape}, {name}"] = {
                    "weights_mib": round(parameters / MIB, 1),
                    "kept_for_backward_mib": round(kept / MIB, 2),
                    "resident_peak_mib": peak,
                }
        counted = plan(*configs(shape), flops_per_second=1.0).activation_bytes
        report.findings[f"{shape}, gpt plan"] = {"kept_for_backward_mib": round(counted / MIB, 2)}
    return report
