"""Step 5: which results are equal to the bit, and which within a tolerance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.first_day.day import DRY, Day
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tinytensor.optim import AdamW, clip_scale

CONFIG = GPTConfig(vocab_size=65, block_size=64, n_layer=2, n_head=2, n_embd=64, dropout=0.2)
BATCH = 8
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # of losses, between devices


def train(device: str, dtype: str, steps: int, *, captured: bool = False, dropout: float = 0.2) -> list[Any]:
    """Losses of training steps with dropout, then a digest of the weights."""
    tt.manual_seed(1)
    model = GPT(replace(CONFIG, dropout=dropout)).to(device).train()
    optimizer = AdamW(model.parameter_groups(0.1), lr=1e-3)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, CONFIG.vocab_size, (steps, BATCH, CONFIG.block_size + 1))
    x, y = [tt.tensor(part, device=device) for part in (ids[0, :, :-1], ids[0, :, 1:])]
    graph: tt.CapturedGraph | None = None

    def step() -> tt.Tensor:
        optimizer.zero_grad()
        with tt.autocast(tt.bfloat16, enabled=dtype == "bfloat16"):
            loss: tt.Tensor = model.loss(x, y)
        loss.backward()
        _, scale = clip_scale(model.parameters(), 1.0)
        optimizer.step(scale)
        return loss

    losses = []
    for number, batch in enumerate(ids):
        x.copy_(tt.from_numpy(np.ascontiguousarray(batch[:, :-1])))
        y.copy_(tt.from_numpy(np.ascontiguousarray(batch[:, 1:])))
        if captured and number == 2:
            graph = tt.capture(step, device=device, warmup=0)
        losses.append(float(step() if graph is None else graph.replay()))
    digest = hashlib.sha256()
    for weight in model.parameters():
        digest.update(weight.detach().cpu().numpy().tobytes())
    return [*losses, digest.hexdigest()[:16]]


def run(day: Day) -> None:
    """Compare runs with each other, with a captured run, with the emulator and with the CPU."""
    steps = 4 if day.small else 20
    for dtype in ("float32", "bfloat16"):
        first = train(day.device, dtype, steps)
        _row(day, f"{steps} steps, {dtype}, twice", first == train(day.device, dtype, steps), first[-1])
        captured = train(day.device, dtype, steps, captured=True)
        _row(day, f"{steps} steps, {dtype}, captured and eager", first == captured, captured[-1])
    _random(day)
    for other in ("cpu", "emulated"):
        if day.rehearsal != DRY and other != day.device and day.has(20, f"the comparison with {other}"):
            _compare(day, other)


def _compare(day: Day, other: str) -> None:
    """Losses on this device and on another one, without dropout."""
    for dtype, most in TOLERANCE.items():
        ours, theirs = [train(where, dtype, 3, dropout=0.0)[:-1] for where in (day.device, other)]
        off = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
        verdict = "within the tolerance" if off <= most else "DIFFERENT"
        about = {"difference": f"{off:.1e}", "verdict": verdict}
        day.row("losses of 3 steps", dtype=dtype, devices=f"{day.device}, {other}", **about)


def _random(day: Day) -> None:
    """Random numbers are the same on each device."""
    drawn: dict[str, Callable[[str], tt.Tensor]] = {
        "rand": lambda device: tt.rand(10_001, device=device),
        "randn": lambda device: tt.randn(10_001, device=device),
        "dropout": lambda device: tt.dropout(tt.ones(10_001, device=device), 0.2),
        "permutation": lambda device: tt.randperm(10_001, device=device),
    }
    for name, draw in drawn.items():
        values = []
        for device in (day.device, "cpu"):
            tt.manual_seed(7)
            values.append(draw(device).cpu().numpy())
        different = int((values[0] != values[1]).sum())
        _row(day, f"{name}, {day.device} and cpu", different == 0, f"{different} of 10,001 differ")


def _row(day: Day, what: str, equal: bool, about: str) -> None:
    verdict = "equal" if equal else "DIFFERENT"
    if day.rehearsal == DRY:  # nothing is computed that could be equal
        verdict = about = "–"
    day.row("bits", what=what, verdict=verdict, about=about)
