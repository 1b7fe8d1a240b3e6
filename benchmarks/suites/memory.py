"""Memory of a GPT training step, counted, against PyTorch; losses must be equal first.

"Kept for backward" are the values that are alive between forward and backward, except weights and batch. The
resident peak is the maximum resident memory over several steps, minus that of the imports.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contest.contest import Plan, Report, agree
from benchmarks.contest.contestants import Case, Suite, contestants
from benchmarks.suites.train import ROUNDING, VARIANTS, batches, configs, training
from benchmarks.training import initial_weights
from gpt.training.plan import plan

STEPS = 3  # the first one allocates gradients and moments, and fills pools
MIB = float(1 << 20)
COUNTED = "bytes"


def ours(shape: str) -> Suite:
    """Steps with tinytensor, counted by the engine's pool."""
    from tinytensor.runtime.cpu.memory import pool

    steps = training(shape)

    def count() -> list[float]:
        steps.optimizer.zero_grad()
        steps.next_batch()
        before = pool.settle().live
        loss = steps.forward()
        kept = pool.settle().live - before
        steps.finish(loss)
        return [float(sum(p.nbytes for p in steps.model.parameters())), float(kept)]

    return _suite(steps.step, count)


def peer(shape: str) -> Suite:
    """Steps with PyTorch, counted by saved-tensor hooks."""
    import torch

    from benchmarks.peers.torch_gpt import TorchTrainer

    config, recipe = configs(shape)
    trainer, source = TorchTrainer(config, recipe, initial_weights(config)), batches(shape)
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

    return _suite(lambda: trainer.step(*next(source)), count)


def _suite(step: Callable[[], Any], count: Callable[[], list[float]]) -> Suite:
    check = lambda: [float(step().item()) for _ in range(STEPS)]  # noqa: E731
    return {"steps": Case(step, check), COUNTED: Case(count, count)}


def run(*, shapes: Sequence[str] = ("S", "M"), alone: bool = False) -> Report:
    """Count the bytes for each shape."""
    report = Report("memory", "PyTorch")
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
