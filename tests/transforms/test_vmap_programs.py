"""Random programs of views and in-place writes under `vmap`: values and derivatives, against a loop."""

from random import Random

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.view_programs import BACKWARD_VIEWS, VIEWS, WRITES, Statement, base_shape, draw
from tests.ops.test_view_programs import step
from tinytensor.func import grad, jvp, vmap

PROGRAMS = 4_000 if FULL else 150
CHUNK = 50
KINDS = VIEWS * 2 + BACKWARD_VIEWS * 2 + WRITES


def program(seed: int) -> tuple[tuple[int, ...], list[Statement]]:
    """A shape, and statements that run on a tensor of this shape while gradients are recorded."""
    rnd = Random(seed)
    shape = base_shape(rnd)
    variables = [tt.ones(*shape, dtype=tt.float64, requires_grad=True) * 1.0]
    statements: list[Statement] = []
    for _ in range(rnd.randint(4, 12)):
        if (s := draw(rnd, KINDS, [t.shape for t in variables])) is None:
            continue
        try:
            step(variables, s)
        except tt.GradError:  # the target overlaps itself, or is one of several views
            continue
        statements.append(s)
    return shape, statements


def result(statements: list[Statement], x: tt.Tensor) -> tt.Tensor:
    """A number that depends on all variables at the end of a program."""
    variables = [x * 1.0]
    for s in statements:
        step(variables, s)
    return sum((v * v).sum() * (i + 1) for i, v in enumerate(variables))  # type: ignore[return-value]


@pytest.mark.parametrize("start", range(0, PROGRAMS, CHUNK))
def test_programs_of_views_and_writes(start: int) -> None:
    for seed in range(start, start + CHUNK):
        shape, statements = program(seed)
        f = lambda x, statements=statements: result(statements, x)  # noqa: E731
        try:
            f(tt.ones(*shape, dtype=tt.float64, requires_grad=True))
        except tt.GradError:  # it reads one of several views after a write to their base
            continue
        xs = tt.tensor(np.random.default_rng(seed).normal(size=(2, 3, *shape)))
        slope = lambda x, f=f: jvp(f, (x,), (x * x,))[1]  # noqa: E731
        for g in (f, grad(f), slope)[: 3 if seed % 5 == 0 else 2]:
            wanted = np.stack([np.stack([g(x).numpy() for x in row]) for row in xs])
            found = vmap(vmap(g, in_dims=-1), in_dims=1)(xs.moveaxis(1, -1).moveaxis(0, 1)).numpy()
            np.testing.assert_allclose(
                found,
                wanted,
                rtol=1e-9,
                atol=1e-9,
                err_msg=f"seed {seed}, {shape}: {', '.join(map(str, statements))}",
            )
