"""nanoGPT's CPU recipe: final loss and training time, against PyTorch.

The preset shakespeare-char-cpu on a text: 2000 steps, then the mean loss over the last 10 % of the text in
consecutive blocks. PyTorch starts from the same weights and trains on the same batches; the losses of the
first steps must agree. Later ones cannot: rounding differences grow from step to step.
"""

import atexit
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Process, Suite, contestants
from gpt.data.batches import consecutive_blocks
from gpt.presets import configs_from, preset
from gpt.training.optimizer_setup import schedule_of
from gpt.training.run import Run
from gpt.training.train import Trainer
from gpt.training.validation_loss import evaluate

PRESET = "shakespeare-char-cpu"
CHUNK = 10  # steps per window; as many must agree first
EVALUATION_BATCH = 32
PUBLISHED = 1.88  # nanoGPT's README, for its own evaluation on random batches


def made(text: str, seed: int, steps: int) -> Run:
    """Run of the preset, in a temporary folder that is deleted at exit."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    warmup = min(preset(PRESET)[1].warmup_steps, steps // 20)
    words = [f"--preset={PRESET}", f"--data={text}", f"--out_dir={folder.name}/run", f"--seed={seed}"]
    words += [f"--max_steps={steps}", f"--warmup_steps={warmup}"]
    return Run(*configs_from(words, default=PRESET))


def cases(step: Callable[[], float], validate: Callable[[], float]) -> Suite:
    """Cases: training steps, of which the first few are compared, and the validation loss."""
    return {
        "step": Case(step, lambda: [step() for _ in range(CHUNK)]),
        "validation loss": Case(validate, validate),
    }


def ours(text: str, seed: int, steps: int) -> Suite:
    """Steps of gpt.training.train."""
    run = made(text, seed, steps)
    trainer = Trainer(run, quiet=True)
    assert run.val_tokens is not None
    val_tokens = run.val_tokens
    return cases(lambda: trainer.step()["loss"], lambda: evaluate(run.model, val_tokens, EVALUATION_BATCH))


def peer(text: str, seed: int, steps: int) -> Suite:
    """PyTorch's steps, with the same weights, batches and learning rates."""
    import torch

    from benchmarks.peers.torch_gpt import TorchTrainer

    run = made(text, seed, steps)
    start = {name: value.numpy().copy() for name, value in run.model.state_dict().items()}
    trainer = TorchTrainer(run.model_config, run.train_config, start)
    rates = schedule_of(run.train_config)

    def step() -> float:
        lr = rates.lr_at(run.step)
        run.step += 1
        return trainer.step(*next(run.batches), lr=lr)

    def validate() -> float:
        total, count = 0.0, 0
        assert run.val_tokens is not None
        with torch.no_grad():
            blocks = consecutive_blocks(run.val_tokens, run.model_config.block_size, EVALUATION_BATCH)
            for inputs, targets in blocks:
                loss = trainer.model.loss(torch.from_numpy(inputs), torch.from_numpy(targets))
                total, count = total + loss.item() * targets.size, count + targets.size
        return total / count

    return cases(step, validate)


def run(text: Path, *, seeds: int = 3, steps: int | None = None, threads: int = 2, torch: bool) -> Report:
    """Train with each seed.

    Args:
        text: a text file, such as tinyshakespeare.
        seeds: number of seeds; 1337, 1338, …
        steps: overrides the recipe's 2000, with a shorter warmup; a multiple of 10, at least 20.
        threads: number of BLAS threads.
        torch: also train with PyTorch.
    """
    train = preset(PRESET)[1]
    steps = steps or train.max_steps
    report = Report("nanogpt-cpu", "PyTorch")
    report.findings["text"] = {
        "name": text.name,
        "bytes": text.stat().st_size,
        "sha256": hashlib.sha256(text.read_bytes()).hexdigest(),
    }
    plan = Plan(rounds=steps // CHUNK - 1, retries=0, calls=CHUNK, rtol=1e-3)
    losses: dict[str, list[float]] = {}
    for seed in range(train.seed, train.seed + seeds):
        arguments = {"text": str(text.resolve()), "seed": seed, "steps": steps}
        with contestants(__name__, alone=not torch, arguments=arguments, threads=threads) as both:
            found = one_seed(report, both, plan, seed)
        for name, numbers in found.items():
            losses.setdefault(name, []).append(numbers["validation_loss"])
    for name, values in losses.items():
        report.findings[f"mean of {len(values)} seeds, {name}"] = {
            "validation_loss": round(sum(values) / len(values), 4)
        }
    report.findings["nanoGPT's README"] = {"validation_loss": PUBLISHED}
    return report


def one_seed(report: Report, both: dict[str, Process], plan: Plan, seed: int) -> dict[str, dict[str, Any]]:
    """Train all contestants, alternating every few steps; returns loss and time of each."""
    (result,) = report.compete(both, plan, cases=["step"], label=f"{{}}, seed {seed}")
    found = {}
    for name, contestant in both.items():
        timed = sum(window[name].wall for window in result.rounds)
        whole = timed * (plan.rounds + 1) / plan.rounds  # including the compared steps
        found[name] = {
            "validation_loss": round(contestant.check("validation loss"), 4),
            "training_seconds": round(whole, 1),
        }
        report.findings[f"seed {seed}, {name}"] = found[name]
    return found
