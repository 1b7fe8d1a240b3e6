"""Rows of tinytensor/ops/random/random.py, without a reference: see tests/ops/test_random_ops.py."""

from typing import Any

from tinytensor.op_table.row import INTS, Row, floats, numbers


def like(xp: Any, x: Any) -> dict[str, Any]:
    """The beginning of a stream, for numbers drawn like x."""
    return {"dtype": x.dtype, "device": x.device, "generator": xp.Generator(11)}


MORE: Any = {"random": True, "grad": False, "large": "r c"}
ROWS = [
    Row("rand", (floats((3, 4)),), lambda xp, x: xp.rand(*x.shape, **like(xp, x)), ops=("uniform",), **MORE,
        torch="torch.rand_like", timed="rand"),
    Row("randn", (floats((3, 4)),), lambda xp, x: xp.randn(*x.shape, **like(xp, x)), ops=("normal",), **MORE,
        torch="torch.randn_like", timed="randn"),
    Row("uniform", (floats((3, 4)),), lambda xp, x: xp.uniform(x.shape, -1, 2, **like(xp, x)), timed=(),
        **MORE),
    Row("normal", (floats((3, 4)),), lambda xp, x: xp.normal(1, 2, x.shape, **like(xp, x)), timed=(), **MORE),
    Row("randint", (numbers((3, 4)),), lambda xp, x: xp.randint(0, 9, x.shape, **like(xp, x)), dtypes=INTS,
        torch=lambda torch, x: torch.randint_like(x, 0, 9), timed="randint", **MORE),
]  # fmt: skip
