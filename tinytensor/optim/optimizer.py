"""Optimizer: base class with parameter groups, options per group and state per parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from numbers import Real
from typing import Any, ClassVar

import tinytensor.api as tt

Params = Iterable[tt.Tensor] | Iterable[dict[str, Any]]
Group = dict[str, Any]
BLOCK = 65_536  # elements per block of an update, so that its intermediate results stay in the cache


class Optimizer:
    """Base class of optimizers: groups, option checks, saving and loading. Subclasses define `update`.

    Args:
        params: tensors, or groups: dictionaries with "params" and group-specific options.

    Attributes:
        param_groups: dictionaries with "params" and all options; "lr" may be changed between steps.
        state: state of each parameter.

    Raises:
        GradError: a parameter is the result of an operation, so a step could not change it.

    >>> w = tt.ones(2, requires_grad=True)
    >>> optimizer = tt.optim.SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.0, 0.0]
    >>> optimizer.param_groups[0]["lr"] = 0.1
    """

    buffers: ClassVar[tuple[str, ...]] = ()  # names of the state tensors of each parameter, of its shape
    dropped: int = 0  # number of zero_grad calls, by which a GradScaler detects new gradients
    counts: ClassVar[bool] = False  # whether the state includes "step", the parameter's number of steps

    def __init__(self, params: Params, **options: Any) -> None:
        self.defaults = options
        self.param_groups: list[Group] = []
        self.state: dict[tt.Tensor, dict[str, Any]] = {}  # tensors as keys compare by identity
        self._rates: dict[Any, tt.Tensor] = {}  # (group, device, dtype) → learning rate
        given: list[Any] = self._listed(params)
        for group in given if all([isinstance(g, dict) for g in given]) else [{"params": given}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    # ---- parameters and options -------------------------------------------------------------------------

    def _listed(self, params: Any) -> list[Any]:
        """Tensors or groups as a non-empty list."""
        if isinstance(params, tt.Tensor | dict):
            return [params]
        if not isinstance(params, Iterable):
            raise tt.ArgumentError(
                f"{self._name}: parameters of type {type(params).__name__}",
                why="parameters are tensors, or groups with their own options",
                fix=f"{self._name}(model.parameters(), ...)",
            )
        if listed := list(params):
            return listed
        raise tt.ArgumentError(
            f"{self._name}: there are no parameters",
            why="the list is empty; an iterator such as model.parameters() is empty the second time",
            fix=f"call {self._name}(model.parameters(), ...) with a new iterator",
        )

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a parameter group.

        Args:
            group: {"params": tensors, option: value, …}; missing options default to the optimizer's.
        """
        if "params" not in group:
            raise tt.ArgumentError(
                f"{self._name}: a group has the keys {list(group)}",
                why='its tensors are expected under "params"',
                fix='{"params": tensors, "lr": 1e-3}',
            )
        params = self._listed(group["params"])
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            self._check_parameter(i, p, known)
            known.add(id(p))
        full = {**self.defaults, **group, "params": params}
        self._check_group(full)
        self.param_groups.append(full)

    def _check_parameter(self, i: int, p: Any, known: set[int]) -> None:
        if not isinstance(p, tt.Tensor):
            raise tt.ArgumentError(
                f"{self._name}: parameter {i} is a {type(p).__name__}",
                why="parameters are tensors; if there are groups, all of them must be in groups",
                fix='pass model.parameters(), or [{"params": [...]}, ...]',
            )
        if not p.is_leaf or not p.dtype.is_floating:
            raise tt.GradError(
                f"{self._name}: parameter {i} of shape {p.shape} "
                + (f"has dtype {p.dtype}" if p.is_leaf else "is the result of a recorded operation"),
                why="a step changes leaves, which backward gives a gradient",
                fix="pass the tensors that it was computed from, or x.detach().requires_grad_()",
            )
        if id(p) in known:
            raise tt.ArgumentError(
                f"{self._name}: parameter {i} of shape {p.shape} comes twice",
                why="it would be updated twice in each step",
                fix="pass each parameter once: model.parameters() yields shared ones once",
            )

    def _check_group(self, group: Group) -> None:
        """Check that all options are known, present and valid; before each step, since they may change."""
        if group.keys() != self.defaults.keys() | {"params"}:
            for name in group.keys() - self.defaults.keys() - {"params"}:
                near = tt.errors.nearest(name, self.defaults)
                raise tt.ArgumentError(
                    f"{self._name}: unknown option {name!r}",
                    why=f"its options are {', '.join(self.defaults)}",
                    fix=f"did you mean {near!r}?" if near else "use one of these",
                )
            raise tt.ArgumentError(
                f"{self._name}: the option {min(self.defaults.keys() - group.keys())!r} is missing",
                why="every group has every option",
                fix="set it to a value instead of deleting it",
            )
        self.check(group)

    def check(self, group: Group) -> None:
        """Raise ArgumentError if an option is out of its range; defined by subclasses."""

    def require(self, ok: bool, group: Group, name: str, why: str, fix: str) -> None:
        """Raise ArgumentError about an option unless ok."""
        if not ok:
            raise tt.ArgumentError(
                f"{self._name}: {name} is {group[name]!r}", why=why, fix=f"for example {name}={fix}"
            )

    def not_negative(self, group: Group, *names: str) -> None:
        """Raise ArgumentError unless these options are finite numbers of at least 0."""
        for name in names:
            value = group[name]
            number = isinstance(value, Real) and 0 <= float(value) < inf
            self.require(number, group, name, "it is a finite number, at least 0", "0.001")

    # ---- steps ------------------------------------------------------------------------------------------

    def step(self, scale: tt.Tensor | float | None = None) -> None:
        """Update every parameter that has a gradient, in place.

        Args:
            scale: factor of all gradients, such as the second result of `clip_scale`: a number, or a 0-d
                tensor on their device, which is not read back. They are multiplied in place.
        """
        with tt.no_grad():
            ready = self.ready()
            if scale is not None:
                grads: list[Any] = [p.grad for params, _ in ready for p in params]
                tt.scale_all_(grads, scale)
            for params, group in ready:
                self.update(params, group)

    def ready(self) -> list[tuple[list[tt.Tensor], Group]]:
        """Parameters that have a gradient, with their group; raises the same errors as `step`."""
        found = []
        for group in self.param_groups:
            self._check_group(group)
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                found.append((params, group))
        return found

    def update(self, params: Sequence[tt.Tensor], group: Group) -> None:
        """Update parameters that have a gradient; called under no_grad. Defined by subclasses."""
        raise tt.ArgumentError(
            f"{self._name}: the optimizer has no update",
            why="step() calls update(params, group) for each group",
            fix=f"define update in {self._name}, or use SGD, Adam or AdamW",
        )

    def started(self, p: tt.Tensor) -> dict[str, Any]:
        """State of a parameter; initialized to zeros before its first step."""
        state = self.state.get(p)
        if state is None:
            state = self.state[p] = self.fresh(p)
        return state

    def fresh(self, p: tt.Tensor) -> dict[str, Any]:
        """Initial state of a parameter. Assign it to `state` only when it is complete, so that a step
        interrupted by Ctrl-C leaves all of it or nothing.

        Raises:
            DeviceError: during a capture, whose replays would each start with it.
        """
        if tt.is_capturing():
            raise tt.DeviceError(
                f"{self._name}: the first step of a parameter of shape {p.shape} is captured",
                why="its state would be made again by each replay",
                fix="do a step before the capture: tt.capture(step, warmup=1)",
            )
        counts = {"step": 0} if self.counts else {}
        zeros = {n: tt.zeros(p.shape, dtype=wide(p.dtype), device=p.device) for n in self.buffers}
        return {**counts, **zeros}

    def rate(self, group: Group, device: tt.Device, dtype: tt.DType) -> Any:
        """Learning rate: a number, or, in a captured step on a device, a tensor that replays read."""
        if device.type == "cpu" and not tt.is_capturing():
            return group["lr"]
        rate = self._rates.get((id(group), device, dtype))
        if rate is None:
            # from a number: filled now, and not again by each replay
            rate = self._rates[id(group), device, dtype] = tt.tensor(0.0, dtype=dtype, device=device)
        tt.before_replay(lambda: rate.copy_(group["lr"]))
        return rate

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to zero in place."""
        self.dropped += 1
        if set_to_none:
            for p in self._parameters():
                p.grad = None
        else:
            with tt.no_grad():
                tt.zero_all_([p.grad for p in self._parameters() if p.grad is not None])

    # ---- saving -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State for a bitwise equal resume: options, and state by parameter number.

        Returns:
            {"state": {number: {name: tensor or integer}}, "param_groups": [{option: value, "params":
            numbers}]}. The tensors share the optimizer's memory; everything else is JSON-serializable.
        """
        numbers = {p: i for i, p in enumerate(self._parameters())}
        groups = []
        for group in self.param_groups:
            values = {k: list(v) if isinstance(v, tuple) else v for k, v in group.items() if k != "params"}
            groups.append({**values, "params": [numbers[p] for p in group["params"]]})
        return {"state": {numbers[p]: dict(s) for p, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict()`. On an error, nothing changes. A captured step still refers to the old
        memory: capture it again.

        Args:
            state: state of an optimizer of the same class, with groups of the same sizes in the same order.
                Tensors are copied; parameter numbers may be strings, as in JSON.
        """
        params, groups = self._parameters(), groups_of(self._name, state)
        have, want = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if have != want:
            raise tt.ArgumentError(
                f"{self._name}.load_state_dict: groups of {have} parameters",
                why=f"this optimizer has groups of {want}",
                fix="build it with the same groups as the one that was saved",
            )
        full = [
            {**_with_tuples(saved, self.defaults), "params": own["params"]}
            for saved, own in zip(groups, self.param_groups, strict=True)
        ]
        for group in full:
            self._check_group(group)
        order = [number for group in groups for number in group["params"]]
        by_number = {str(number): p for number, p in zip(order, params, strict=True)}
        loaded = {}
        for number, entry in state["state"].items():
            if str(number) not in by_number:
                raise tt.ArgumentError(
                    f"{self._name}.load_state_dict: state of parameter {number}",
                    why=f"the groups name the parameters {', '.join(list(by_number)[:5])}, …",
                    fix="pass a result of state_dict()",
                )
            p = by_number[str(number)]
            loaded[p] = self._loaded(number, p, entry)
        for own, group in zip(self.param_groups, full, strict=True):
            own.update(group)
        self.state = loaded

    def _parameters(self) -> list[tt.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _loaded(self, number: Any, p: tt.Tensor, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Validated copy of one parameter's saved state."""
        expected = {*self.buffers, *(["step"] if self.counts else [])}
        if entry.keys() != expected or not isinstance(entry.get("step", 0), int):
            raise tt.ArgumentError(
                f"{self._name}.load_state_dict: the state of parameter {number} has {sorted(entry)}",
                why=f"{self._name} keeps {sorted(expected)}",
                fix="load the state of an optimizer of the same class",
            )
        loaded: dict[str, Any] = {"step": entry["step"]} if self.counts else {}
        for name in self.buffers:
            value = tt.asarray(entry[name])
            if value.shape != p.shape:
                raise tt.ShapeError(
                    f"{self._name}.load_state_dict: {name} of parameter {number} has shape {value.shape}",
                    why=f"the parameter has shape {p.shape}",
                    fix="build the optimizer with the parameters in the same order as when it was saved",
                )
            loaded[name] = value.detach().to(p.device).astype(wide(p.dtype), copy=True).contiguous()
        return loaded

    def __repr__(self) -> str:
        lines = [self._name]
        for group in self.param_groups:
            options = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            count = sum([p.size for p in group["params"]])
            lines.append(f"  {len(group['params'])} tensors, {count:,} numbers: {options}")
        return "\n".join(lines)


def check_state(who: str, state: Any, *names: str) -> None:
    """Raise ArgumentError for what is no `state_dict()`: a mapping that has these names."""
    if not isinstance(state, Mapping) or not all(name in state for name in names):
        found = f"names {list(state)[:5]}" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise tt.ArgumentError(
            f"{who}.load_state_dict: {found}",
            why=f"a state is a dict with {' and '.join(map(repr, names))}",
            fix="pass a result of state_dict()",
        )


def groups_of(who: str, state: Any) -> list[Mapping[str, Any]]:
    """The groups of an optimizer's `state_dict()`; ArgumentError for another object."""
    check_state(who, state, "state", "param_groups")
    groups = list(state["param_groups"])
    for group in groups:
        check_state(who, group, "params")
    return groups


def wide(dtype: tt.DType) -> tt.DType:
    """Dtype of state and computation: at least float32."""
    return tt.float32 if dtype.itemsize < 4 else dtype


def in_blocks(target: tt.Tensor, *others: tt.Tensor) -> Iterator[tuple[tt.Tensor, ...]]:
    """Matching flat blocks (views) of tensors of one shape; one block if they are small or on a device."""
    tensors = [t.detach() for t in (target, *others)]
    whole = target.size <= BLOCK or target.device.type != "cpu"
    if whole or not target.is_contiguous():  # a flat copy of the target would not be written
        yield tuple(tensors)
        return
    flat = [t.reshape(-1) for t in tensors]
    for start in range(0, target.size, BLOCK):
        yield tuple([t[start : start + BLOCK] for t in flat])


def move(target: tt.Tensor, *others: tt.Tensor, formula: Callable[..., None]) -> None:
    """Call formula(target, *others) block by block, in at least float32. The formula may write to all but
    16-bit others. Call under no_grad.
    """
    if target.size <= BLOCK and target.dtype.itemsize >= 4:
        formula(target, *others)
        return
    for T, *rest in in_blocks(target, *others):
        if T.dtype is wide(T.dtype):
            formula(T, *rest)
        else:
            exact = T.astype(wide(T.dtype))
            formula(exact, *[t.to(wide(t.dtype)) for t in rest])
            T.copy_(exact)  # rounded once


def _with_tuples(saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
    """Options from JSON: lists are converted to tuples where the optimizer has tuples."""
    return {k: tuple(v) if isinstance(defaults.get(k), tuple) else v for k, v in saved.items()}
