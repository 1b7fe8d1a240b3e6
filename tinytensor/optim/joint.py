"""Joint: several optimizers, each with parameters of its own, as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tinytensor.api as tt
from tinytensor.optim.optimizer import Group, Optimizer

__all__ = ["Joint"]


class Joint(Optimizer):
    """Several optimizers that step together, for parameters that are moved by different formulas.

    Args:
        parts: optimizers, whose parameters are all different.

    Attributes:
        parts: those optimizers.
        param_groups: the groups of all parts, in their order; the same dictionaries, so a learning rate
            written here is the part's.

    Raises:
        ArgumentError: there is no part, or a parameter belongs to two.

    Example:
        >>> matrix, vector = tt.ones(2, 2, requires_grad=True), tt.ones(2, requires_grad=True)
        >>> optimizer = tt.optim.Joint(tt.optim.Muon([matrix]), tt.optim.AdamW([vector]))
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
        """What the parts keep for their parameters."""
        return {p: kept for part in self.parts for p, kept in part.state.items()}

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Refused: a group belongs to a part."""
        raise tt.ArgumentError(
            "Joint: a group without an optimizer",
            why="each part has a formula of its own",
            fix="build the Joint anew from parts that have the group",
        )

    def step(self) -> None:
        """Move every parameter that has a gradient, part by part.

        Raises:
            ArgumentError: see Optimizer; then no part has moved anything.
        """
        self.ready()
        for part in self.parts:
            part.step()

    def ready(self) -> list[tuple[list[tt.Tensor], Group]]:
        """The parameters that have a gradient, with their group; raises what `step` raises."""
        return [found for part in self.parts for found in part.ready()]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict()` was taken; see Optimizer.

        Args:
            state: of a Joint of the same parts.

        Raises:
            ArgumentError: groups, options or names differ.
            ShapeError: a tensor has another shape than its parameter.
        """
        counts = [len(part.param_groups) for part in self.parts]
        if len(state["param_groups"]) != sum(counts):
            raise tt.ArgumentError(
                f"Joint.load_state_dict: {len(state['param_groups'])} groups",
                why=f"the parts have {counts}",
                fix="build it with the same parts as the one that was saved",
            )
        first = 0
        for part, count in zip(self.parts, counts, strict=True):
            groups = state["param_groups"][first : first + count]
            numbers = {str(number) for group in groups for number in group["params"]}
            kept = {number: entry for number, entry in state["state"].items() if str(number) in numbers}
            part.load_state_dict({"state": kept, "param_groups": groups})
            first += count
