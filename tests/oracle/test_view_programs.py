"""Random programs of views, in-place writes and arithmetic against PyTorch: values, gradients, refusals.

Both run the same statements. Where one refuses a statement the other must refuse it, too, with the
exceptions that `Outcome` lists and explains; anything else fails. PyTorch has no negative strides: what walks
backwards here is flipped there.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from enum import Enum
from random import Random
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import read
from tests.helpers.view_programs import VIEWS, WRITES, Statement, base_shape, draw

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

PROGRAMS = 20_000 if os.environ.get("TINYTENSOR_FULL") == "1" else 2_000
CHUNK = 250
MORE_WRITES = ("add_leaf", "multiply_leaf", "set_leaf", "exp_", "tanh_", "nograd_multiply")
MORE_WRITES += ("copy_backwards_other",)
FRESH = ("arithmetic_other", "backwards")
KINDS = VIEWS * 2 + WRITES + MORE_WRITES + FRESH * 2 + ("detach", "nograd_view", "as_strided")


class Outcome(Enum):
    """How a program may end. All but the first are differences that are meant."""

    EQUAL = "values, gradients and refusals are equal"
    BOTH_REFUSE = "both refuse the backward pass: a saved tensor was overwritten"
    OVERLAP = "ours refuses targets that overlap themselves, or whose base does; PyTorch only stride 0"
    OWN_MEMORY = "PyTorch refuses an overwritten saved tensor; ours saved the value in memory of its own"
    LEAF_VIEW = "PyTorch still takes a view, made before its base got a history, for a leaf"
    NOGRAD_LEAF = (
        "PyTorch lets a view made under no_grad require grad; what is computed from it has a history"
    )
    CLONED = "ours refuses an overwritten operand that PyTorch was given as a clone"


class Differ(Exception):
    """The two do something else, and no Outcome explains it."""


class End(Exception):
    """The program ends here with a known difference."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


def overlaps(t: Any) -> bool:
    """Whether two elements of a PyTorch tensor share one place in memory."""
    places = np.zeros((), np.int64)
    for n, stride in zip(t.shape, t.stride()):
        places = places[..., None] + np.arange(n) * stride
    return bool(np.unique(places).size < places.size)


class Pair:
    """The variables of one program, as tensors of both libraries, and two leaves."""

    def __init__(self, seed: int) -> None:
        self.rnd, rng = Random(seed), np.random.default_rng(seed)
        self.rng = rng
        a, b = rng.standard_normal(base_shape(self.rnd)), rng.standard_normal(())
        self.leaves = [tt.tensor(v, dtype="float64", requires_grad=True) for v in (a, b)]
        self.their_leaves = [torch.tensor(v, requires_grad=True) for v in (a, b)]
        recorded = self.rnd.random() < 0.8
        self.done: list[Statement] = []  # what neither refused
        self.weights: list[Any] = []
        self.recorded = recorded
        self.log = [f"v0 of shape {a.shape}, {'2 * leaf' if recorded else 'without history'}"]
        self.ours = [self.leaves[0] * 2.0 if recorded else tt.tensor(a, dtype="float64")]
        self.theirs = [self.their_leaves[0] * 2.0 if recorded else torch.tensor(a)]

    def step(self) -> None:
        """Run one random statement in both, and compare."""
        s = draw(self.rnd, KINDS, [x.shape for x in self.ours])
        if s is None or (s.kind == "as_strided" and not self.fits_as_strided(s)):
            return
        if s.kind == "arithmetic_other" and self.ours[s.other].shape != self.ours[s.on].shape:
            return
        self.log.append(str(s))
        made, ours = attempt(lambda: self.run(s, tt))
        expected, theirs = attempt(lambda: self.run(s, torch))
        if (ours is None) != (theirs is None):
            self.explain(s, ours, theirs)
        if ours is None:
            self.done.append(s)
            self.ours += made
            self.theirs += expected
            if s.kind == "reshape":
                made_at, own_at = [t.untyped_storage().data_ptr() for t in (expected[0], self.theirs[s.on])]
                shared = made[0].storage is self.ours[s.on].storage
                expect(shared == (made_at == own_at), "one of the two copies")
        for x, t in zip(self.ours, self.theirs, strict=True):
            close = np.allclose(read(x), t.detach().numpy(), rtol=1e-9, atol=1e-9, equal_nan=True)
            expect(close, f"values: {read(x)} and {t.detach().numpy()}")

    def fits_as_strided(self, s: Statement) -> bool:
        """Only where the two lay out memory alike, and not of views: there PyTorch's as_strided differs."""
        x, t = self.ours[s.on], self.theirs[s.on]
        return x.base is None and t.is_contiguous() and x.size > 2 and t._base is None

    def explain(self, s: Statement, ours: Exception | None, theirs: Exception | None) -> None:
        """End the program if the difference is a known one."""
        if ours is not None and "overlaps itself" in str(ours):
            target = self.theirs[s.on]
            if s.kind == "set_slice":
                target = target[s.args[0]]
            base = target if target._base is None else target._base
            expect(overlaps(target) or overlaps(base), "ours says that the target overlaps itself")
            raise End(Outcome.OVERLAP)
        if ours is None and "leaf Variable" in str(theirs):
            expect(self.ours[s.on].base is not None, "PyTorch takes the target for a leaf")
            raise End(Outcome.LEAF_VIEW)
        if ours is None and "multiple views" in str(theirs) and self.has_nograd_view():
            raise End(Outcome.NOGRAD_LEAF)
        raise Differ(f"refusals: ours {ours}, theirs {theirs}")

    def run(self, s: Statement, lib: Any) -> list[Any]:
        """Run a statement in one of the libraries; what it makes."""
        variables, b = (self.ours, self.leaves[1]) if lib is tt else (self.theirs, self.their_leaves[1])
        x, other = variables[s.on], variables[s.other] if s.other >= 0 else None
        if lib is torch and other is not None and s.kind not in FRESH:
            other = other.clone()  # PyTorch computes garbage where target and operand overlap
        match s.kind, s.args:
            case "index", (key,):
                return [x[key]]
            case "nograd_view", ():
                with lib.no_grad():
                    return [x.unsqueeze(0)]
            case "split", (axis,):
                return list(x.split([1, x.shape[axis] - 1], axis))
            case "unbind", (axis,):
                return list(x.unbind(axis))
            case "arithmetic_other", ():
                return [(x * other + b).contiguous()]  # PyTorch keeps the order of permuted axes
            case "backwards", ():
                return [x.flip(tuple(range(x.ndim))).contiguous().clone()]
            case "as_strided", ():
                return [x.as_strided((2,), (2,), 0)]
            case (("set" | "set_slice"), (key, value)):
                x[key] = value
            case "set_leaf", ():
                x[...] = b
            case "copy_backwards_other", () if lib is tt:
                x.flip().copy_(other)
            case "copy_backwards_other", ():
                x.copy_(other.expand(x.shape).flip(tuple(range(x.ndim))))
            case "copy_other", ():
                x.copy_(other)
            case (("exp_" | "tanh_"), ()):
                getattr(x, s.kind)()
            case kind, args if kind in VIEWS or kind == "detach":
                return [getattr(x, kind)(*args)]
            case kind, args:
                with lib.no_grad() if kind == "nograd_multiply" else nullcontext():
                    arithmetic(x, kind, self.operand(kind, args, b, other))
        return []

    @staticmethod
    def operand(kind: str, args: tuple[Any, ...], leaf: Any, other: Any) -> Any:
        return leaf if kind.endswith("_leaf") else other if kind.endswith("_other") else args[0]

    def finish(self) -> Outcome:
        """Backward from a weighted sum of all variables that can still be read."""
        ours, theirs = [], []
        for k, (x, t) in enumerate(zip(self.ours, self.theirs, strict=True)):
            w = self.rng.standard_normal(x.shape)
            self.weights.append(w)
            mine, refused = attempt(lambda x=x, w=w: [(x * tt.tensor(w, dtype="float64")).sum()])
            other, theirs_refused = attempt(lambda t=t, w=w: [(t * torch.tensor(w)).sum()])
            if refused is None and self.nograd_leaf(theirs_refused):
                return Outcome.NOGRAD_LEAF
            expect(
                (refused is None) == (theirs_refused is None),
                f"reading v{k}: ours {refused}, theirs {theirs_refused}",
            )
            # PyTorch makes a leaf of its own of a view made under no_grad: nothing flows from it to the base
            same = [y.requires_grad for y in mine] == [y.requires_grad for y in other]
            expect(same or self.has_nograd_view(), f"requires_grad of v{k}")
            ours += [y for y in mine if y.requires_grad]
            theirs += [y for y in other if y.requires_grad]
        if not ours:
            return Outcome.EQUAL
        _, refused = attempt(lambda: [sum_of(ours).backward()])
        _, theirs_refused = attempt(lambda: [sum_of(theirs).backward()])
        if refused is None and theirs_refused is None:
            self.compare_gradients()
            return Outcome.EQUAL
        if refused is not None and theirs_refused is not None:
            return Outcome.BOTH_REFUSE
        if refused is None and self.nograd_leaf(theirs_refused):
            return Outcome.NOGRAD_LEAF
        if theirs_refused is not None and "modified by an inplace operation" in str(theirs_refused):
            self.compare_with_differences()
            return Outcome.OWN_MEMORY
        operands = any("multiply_other" in line for line in self.log)
        expect(refused is not None and operands, f"backward: ours {refused}, theirs {theirs_refused}")
        return Outcome.CLONED

    def compare_with_differences(self) -> None:
        """Where PyTorch has no gradient to compare with, finite differences of the same statements have."""
        if any(s.kind in ("detach", "nograd_view", "nograd_multiply") for s in self.done):
            return  # the gradient is meant to differ from the slope
        if any(np.abs(read(x)).max(initial=0.0) > 1e3 for x in self.ours):
            return  # an exp of an exp, too steep for a difference

        def replayed(*leaves: tt.Tensor) -> list[tt.Tensor]:
            with tt.enable_grad():
                again = object.__new__(Pair)
                again.leaves = [x if x.requires_grad else x.detach().requires_grad_() for x in leaves]
                again.ours = [again.leaves[0] * 2.0 if self.recorded else self.leaves[0].detach().clone()]
                for s in self.done:
                    again.ours += again.run(s, tt)
                reading = zip(again.ours, self.weights, strict=True)
                return [
                    y for x, w in reading for y in attempt(lambda x=x, w=w: [(x * tt.tensor(w)).sum()])[0]
                ]

        try:
            tt.gradcheck(replayed, self.leaves)
        except tt.GradError as error:
            expect("cannot be checked" in str(error), str(error))

    def has_nograd_view(self) -> bool:
        return any("nograd_view" in line for line in self.log)

    def nograd_leaf(self, theirs: Exception | None) -> bool:
        """Whether PyTorch found a view unreadable that in ours has no history at all."""
        return self.has_nograd_view() and "view" in str(theirs) and "modified inplace" in str(theirs)

    def compare_gradients(self) -> None:
        for x, t in zip(self.leaves, self.their_leaves, strict=True):
            expect((x.grad is None) == (t.grad is None), "one has a gradient")
            if x.grad is not None:
                close = np.allclose(read(x.grad), t.grad.numpy(), rtol=1e-9, atol=1e-9, equal_nan=True)
                expect(close, f"gradients: {read(x.grad)} and {t.grad.numpy()}")


def arithmetic(target: Any, kind: str, operand: Any) -> None:
    """target op= operand."""
    if "add" in kind:
        target += operand
    elif "subtract" in kind:
        target -= operand
    else:
        target *= operand


def sum_of(parts: list[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def expect(condition: bool, difference: str) -> None:
    if not condition:
        raise Differ(difference)


def attempt(run: Callable[[], list[Any]]) -> tuple[list[Any], Exception | None]:
    """What a statement made, or why it was refused."""
    try:
        return run(), None
    except RuntimeError as error:  # GradError is one
        return [], error


def outcome(seed: int) -> Outcome:
    """Run one program to its end; Differ carries the program where the two differ."""
    pair = Pair(seed)
    try:
        for _ in range(pair.rnd.randint(3, 10)):
            pair.step()
        return pair.finish()
    except End as end:
        return end.outcome
    except Exception as error:
        error.add_note(f"seed {seed}:\n  " + "\n  ".join(pair.log))
        raise


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """exp of exp overflows in some programs."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("start", range(0, PROGRAMS, CHUNK))
def test_programs(start: int) -> None:
    found = Counter(outcome(seed) for seed in range(start, start + CHUNK))
    assert found[Outcome.EQUAL] > CHUNK / 2, found
