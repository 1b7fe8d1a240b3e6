"""Sharded optimizer states (ZeRO stage 1): each rank stores the states of its share of the parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tinytensor as tt
from tinytensor.distributed.communicator import Communicator
from tinytensor.optim import Optimizer


class ShardedOptimizer(Optimizer):
    """Wraps an optimizer and shards its state over the ranks: each rank stores 1 / size of Adam's moments.

    Each parameter belongs to one rank. In a step each rank updates its own parameters and broadcasts them.
    Gradients must be the same on all ranks, which `DataParallel` ensures. The results equal those of the
    unsharded optimizer.

    Args:
        optimizer: optimizer of all parameters, before its first step; its groups and options are shared.
        ranks: the communicator.

    Attributes:
        owners: the rank of each parameter, in the order of the groups; the largest are assigned first, each
            to the rank with the fewest elements.

    Source: Rajbhandari et al. 2020, "ZeRO", arXiv:1910.02054, section 5.1.

    Example:
        >>> from tinytensor.distributed import ShardedOptimizer, run_local
        >>> def train(ranks):
        ...     params = [tt.ones(2, requires_grad=True) for _ in range(2)]
        ...     optimizer = ShardedOptimizer(tt.optim.SGD(params, lr=0.5, momentum=0.9), ranks)
        ...     (params[0] * params[1]).sum().backward()
        ...     optimizer.step()
        ...     return params[0].tolist(), params[1].tolist(), len(optimizer.state)
        >>> run_local(2, train)
        [([0.5, 0.5], [0.5, 0.5], 1), ([0.5, 0.5], [0.5, 0.5], 1)]
    """

    def __init__(self, optimizer: Optimizer, ranks: Communicator) -> None:
        self.optimizer, self.ranks = optimizer, ranks
        self.defaults, self.param_groups = optimizer.defaults, optimizer.param_groups
        self.owners = _divided([p.nbytes for p in self._parameters()], ranks.size)

    @property
    def state(self) -> dict[tt.Tensor, dict[str, Any]]:  # type: ignore[override]
        """Optimizer state of this rank's own parameters."""
        return self.optimizer.state

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Raise ArgumentError: the parameters are already assigned to ranks."""
        raise tt.ArgumentError(
            "ShardedOptimizer: another group",
            why="the parameters are already assigned to ranks",
            fix="add it to the optimizer before it is sharded",
        )

    def step(self, scale: tt.Tensor | float | None = None) -> None:
        """Update the parameters of this rank that have a gradient, and receive the others from their ranks.

        Args:
            scale: factor of all gradients, see Optimizer.

        Raises:
            ArgumentError: see Optimizer.
            CommunicationError: another rank has failed.
        """
        self.optimizer.ready()
        params = self._parameters()
        moved = [(p, owner) for p, owner in zip(params, self.owners, strict=True) if p.grad is not None]
        others = [(p, p.grad) for p, owner in moved if owner != self.ranks.rank]
        for p, _ in others:
            p.grad = None
        try:
            if len(others) < len(moved):
                self.optimizer.step(scale)
        finally:
            for p, grad in others:
                p.grad = grad
        for handle in [self.ranks.broadcast(p.detach(), owner) for p, owner in moved]:
            handle.wait()

    # ---- saving -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The full state, as of the unsharded optimizer, so that any number of ranks can resume from it. All
        ranks must call this together.
        """
        own = self.optimizer.state_dict()
        device = self._parameters()[0].device
        full: dict[int, dict[str, Any]] = {}
        for root in range(self.ranks.size):
            listed = json.loads(self.ranks.share(_described(own["state"]), root, device))
            handles = []
            for number, values in listed.items():
                entry = full[int(number)] = {}
                for name, value in values.items():
                    entry[name] = value
                    if isinstance(value, dict):
                        if root == self.ranks.rank:
                            entry[name] = own["state"][int(number)][name]
                        else:
                            entry[name] = tt.zeros(value["shape"], dtype=value["dtype"], device=device)
                        handles.append(self.ranks.broadcast(entry[name], root))
            for handle in handles:
                handle.wait()
        return {"state": dict(sorted(full.items())), "param_groups": own["param_groups"]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a `state_dict()` of this or of the unsharded optimizer; see Optimizer.

        Args:
            state: state of all parameters; each rank loads its own.
        """
        order = [number for group in state["param_groups"] for number in group["params"]]
        owner = dict(zip(map(str, order), self.owners, strict=False))
        mine = {n: entry for n, entry in state["state"].items() if owner.get(str(n)) == self.ranks.rank}
        self.optimizer.load_state_dict({"state": mine, "param_groups": state["param_groups"]})


def _described(state: Mapping[int, Mapping[str, Any]]) -> str:
    """State as JSON, with tensors replaced by shape and dtype."""
    return json.dumps(
        {
            number: {
                name: {"shape": value.shape, "dtype": value.dtype.name}
                if isinstance(value, tt.Tensor)
                else value
                for name, value in values.items()
            }
            for number, values in state.items()
        }
    )


def _divided(sizes: list[int], ranks: int) -> list[int]:
    """Greedy assignment of sizes to ranks: the largest first, to the rank with the smallest sum."""
    load, owners = [0] * ranks, [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        owners[i] = load.index(min(load))
        load[owners[i]] += sizes[i]
    return owners
