"""Rows of tinytensor/ops/random/sampling.py, without a reference: see tests/ops/test_random_ops.py."""

from typing import Any

from tinytensor.op_table.row import Row, floats, positive

MORE: Any = {"random": True, "grad": False}
ROWS = [
    Row("bernoulli", (floats((3, 4), 0, 1),), lambda xp, p: xp.bernoulli(p, generator=xp.Generator(11)),
        torch="torch.bernoulli", timed="bernoulli", **MORE),
    Row("permutation", (floats((3, 4)),),
        lambda xp, x: xp.permutation(x.size, device=x.device, generator=xp.Generator(11)), **MORE,
        torch=lambda torch, x: torch.randperm(x.numel(), device=x.device), timed="permutation"),
    Row("multinomial", (positive((3, 4)),), lambda xp, p: xp.multinomial(p, 1, generator=xp.Generator(11)),
        torch=lambda torch, p: torch.multinomial(p, 1), timed="multinomial", **MORE),
    Row("multinomial:once", (positive((3, 9)),),
        lambda xp, p: xp.multinomial(p, 8, replacement=False, generator=xp.Generator(11)), large="r c",
        **MORE),
    Row("multinomial:again", (positive((3, 9)),),
        lambda xp, p: xp.multinomial(p, 9, replacement=True, generator=xp.Generator(11)), large="5 c",
        **MORE),
]  # fmt: skip
