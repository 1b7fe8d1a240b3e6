"""Results that are equal to the bit: training twice, captured, on another device; random numbers."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Report
from benchmarks.training import Training
from gpt.config import GPTConfig
from gpt.models.gpt import GPT

CONFIG = GPTConfig(vocab_size=65, block_size=64, n_layer=2, n_head=2, n_embd=64, dropout=0.2)
BATCH = 8
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # of losses, between devices


def train(device: str, dtype: str, steps: int, *, captured: bool = False, dropout: float = 0.2) -> list[Any]:
    """Losses of training steps, then a digest of the weights."""
    tt.manual_seed(1)
    model = GPT(replace(CONFIG, dropout=dropout)).to(device)
    ids = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (steps, BATCH, CONFIG.block_size + 1))
    batches = ((np.ascontiguousarray(x[:, :-1]), np.ascontiguousarray(x[:, 1:])) for x in ids)
    training = Training(model, batches, lr=1e-3, dtype=dtype, captured=captured)
    losses = [float(training.step().item()) for _ in range(steps)]
    digest = hashlib.sha256()
    for weight in model.parameters():
        digest.update(weight.detach().cpu().numpy().tobytes())
    return [*losses, digest.hexdigest()[:16]]


def run(device: str = "cuda") -> Report:
    """Compare runs with each other, with a captured run, and with the emulator and the CPU."""
    report, steps = Report("bits"), 4 if device == "emulated" else 20
    rows: list[dict[str, Any]] = []
    report.findings["bits"] = rows
    for dtype, most in TOLERANCE.items():
        first = train(device, dtype, steps)
        for what, captured in (("twice", False), ("captured and eager", True)):
            again = train(device, dtype, steps, captured=captured)
            rows.append(_row(f"{steps} steps, {dtype}, {what}", first == again, again[-1]))
        for other in [where for where in ("cpu", "emulated") if where != device]:
            ours, theirs = [train(where, dtype, 3, dropout=0.0)[:-1] for where in (device, other)]
            off = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
            row = _row(f"losses of 3 steps, {dtype}, {device} and {other}", off <= most, f"off by {off:.1e}")
            rows.append(row | {"verdict": f"within {most:g}" if off <= most else "DIFFERENT"})
    drawn: dict[str, Callable[[str], tt.Tensor]] = {
        "rand": lambda where: tt.rand(10_001, device=where),
        "randn": lambda where: tt.randn(10_001, device=where),
        "dropout": lambda where: tt.dropout(tt.ones(10_001, device=where), 0.2),
        "permutation": lambda where: tt.randperm(10_001, device=where),
    }
    for name, draw in drawn.items():
        values = []
        for where in (device, "cpu"):
            tt.manual_seed(7)
            values.append(draw(where).cpu().numpy())
        different = int((values[0] != values[1]).sum())
        rows.append(_row(f"{name}, {device} and cpu", different == 0, f"{different} of 10,001 differ"))
    return report


def _row(what: str, equal: bool, about: str) -> dict[str, str]:
    return {"what": what, "verdict": "equal" if equal else "DIFFERENT", "about": about}
