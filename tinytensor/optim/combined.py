"""CombinedOptimizer: combines several optimizers with disjoint parameters into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tinytensor.api as tt
from tinytensor.optim.optimizer import Group, Optimizer, groups_of


class CombinedOptimizer(Optimizer):
    """Combines optimizers, for parameters with different update rules.

    Attributes:
        parts: the optimizers.
        param_groups: the groups of all parts, in order; the same dictionaries, so a learning rate set here
            applies to the part.

    >>> matrix, vector = tt.ones(2, 2, requires_grad=True), tt.ones(2, requires_grad=True)
    >>> optimizer = tt.optim.CombinedOptimizer(tt.optim.Muon([matrix]), tt.optim.AdamW([vector]))
    >>> (matrix @ vector).sum().backward()
    >>> optimizer.step()
    >>> [len(group["params"]) for group in optimizer.param_groups]
    [1, 1]
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = self._listed(parts)
        self.defaults: dict[str, Any] = {}
        self.param_groups = []
        known: set[int] = set()
        for part in self.parts:
            for group in part.param_groups:
                for i, p in enumerate(group["params"]):
                    self._check_parameter(i, p, known)
                known |= {id(p) for p in group["params"]}
                self.param_groups.append(group)

    @property
    def state(self) -> dict[tt.Tensor, dict[str, Any]]:  # type: ignore[override]
        """State of all parts by parameter."""
        return {p: kept for part in self.parts for p, kept in part.state.items()}

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Not supported: a group belongs to a part."""
        raise tt.ArgumentError(
            "CombinedOptimizer: a group without an optimizer",
            why="each part has its own update rule",
            fix="create a new CombinedOptimizer from parts that have the group",
        )

    def step(self, scale: tt.Tensor | float | None = None) -> None:
        """Update every parameter that has a gradient, part by part; on an error, none has changed."""
        self.ready()
        for part in self.parts:
            part.step(scale)

    def ready(self) -> list[tuple[list[tt.Tensor], Group]]:
        """Parameters that have a gradient, with their group; raises the same errors as `step`."""
        return [found for part in self.parts for found in part.ready()]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict()`; see Optimizer."""
        counts, saved = [len(part.param_groups) for part in self.parts], groups_of("CombinedOptimizer", state)
        if len(saved) != sum(counts):
            raise tt.ArgumentError(
                f"CombinedOptimizer.load_state_dict: {len(saved)} groups",
                why=f"the parts have {counts}",
                fix="build it with the same parts as the one that was saved",
            )
        first = 0
        for part, count in zip(self.parts, counts, strict=True):
            groups = saved[first : first + count]
            numbers = {str(number) for group in groups for number in group["params"]}
            kept = {number: entry for number, entry in state["state"].items() if str(number) in numbers}
            part.load_state_dict({"state": kept, "param_groups": groups})
            first += count
