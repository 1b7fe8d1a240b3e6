"""The training step of a GPT that the benchmarks time, count and compare."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import sqrt
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_shapes
from tinytensor.optim import AdamW, clip_scale

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def initial_weights(config: GPTConfig) -> dict[str, np.ndarray[Any, Any]]:
    """Initial weights by name, with GPT-2's initialization: the same for all libraries."""
    rng = np.random.default_rng(1)
    made: dict[str, np.ndarray[Any, Any]] = {}
    for name, shape in parameter_shapes(config).items():
        if len(shape) >= 2:
            std = 0.02 / sqrt(2 * config.n_layer) if name.endswith("c_proj.weight") else 0.02
            made[name] = rng.standard_normal(shape, dtype=np.float32) * np.float32(std)
        else:
            made[name] = np.full(shape, name.endswith("weight"), np.float32)  # norms 1, biases 0
    return made


class Training:
    """A GPT and its training step: forward, backward, clipping to 1, AdamW.

    Args:
        model: the model, on its device; it is put into training mode.
        batches: pairs of ids (B, T) and targets (B, T).
        lr, betas, decay: of AdamW.
        dtype: "bfloat16": products and attention under autocast.
        captured: replay the step as a graph, which is captured at the second step.
    """

    def __init__(
        self,
        model: GPT,
        batches: Iterator[Arrays],
        *,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: float = 0.1,
        dtype: str = "float32",
        captured: bool = False,
    ) -> None:
        self.model, self.dtype, self.captured = model.train(), dtype, captured
        self.device = next(iter(model.parameters())).device
        self.optimizer = AdamW(model.parameter_groups(decay), lr=lr, betas=betas)
        first = next(batches)
        self.batches = chain([first], batches)
        self.inputs, self.targets = [tt.from_numpy(array).to(self.device) for array in first]
        self._graph: tt.CapturedGraph | None = None
        self._steps = 0

    def forward(self) -> tt.Tensor:
        """The loss of the current batch; gradients of the step before are gone."""
        self.optimizer.zero_grad()
        with tt.autocast(tt.bfloat16, enabled=self.dtype == "bfloat16"):
            loss: tt.Tensor = self.model.loss(self.inputs, self.targets)
        return loss

    def finish(self, loss: tt.Tensor) -> tt.Tensor:
        """The rest of the step; returns the loss."""
        loss.backward()
        _, scale = clip_scale(self.model.parameters(), 1.0)
        self.optimizer.step(scale)
        return loss

    def compute(self) -> tt.Tensor:
        """A step on the current batch."""
        return self.finish(self.forward())

    def next_batch(self) -> None:
        for tensor, array in zip((self.inputs, self.targets), next(self.batches), strict=True):
            tensor.copy_(tt.from_numpy(array))

    def step(self) -> tt.Tensor:
        """A step on the next batch; returns the loss on the device."""
        self._steps += 1
        if self.captured and self._steps == 2:
            self._graph = tt.capture(self.compute, device=self.device, warmup=0)
        self.next_batch()
        return self.compute() if self._graph is None else self._graph.replay()
