"""Cases of copies, indexing, sorting, random numbers and optimizer steps."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.op_cases.arithmetic import with_more
from benchmarks.op_cases.case import Draw, OpCase, distinct, drawn, side, squares

__all__ = ["copies", "optimizers", "random_numbers", "selected_writes", "selections", "sorts"]


def copies() -> list[OpCase]:
    """Cases of copies."""

    def of(name: str, ours: Any, numpy: Any, torch: Any, count: int = 1) -> OpCase:
        return OpCase(name, "copies", squares(count), ours, numpy, torch, layouts=name == "clone")

    strided = of(
        "slice of a copy",
        lambda x: x.clone().as_strided((side(x.size), side(x.size) // 2), (side(x.size), 2)),
        None,
        lambda t, x: x.clone().as_strided((len(x), len(x) // 2), (len(x), 2)),
    )
    columns = of("x[:, ::2]", lambda x: x[:, ::2], None, lambda t, x: x[:, ::2])
    return [
        of(
            "x.T.contiguous()",
            lambda x: x.T.contiguous(),
            lambda xp, x: getattr(xp, "ascontiguousarray", xp.array)(x.T),  # JAX has one layout
            lambda t, x: x.T.contiguous(),
        ),
        of("clone", lambda x: x.clone(), lambda xp, x: xp.array(x), lambda t, x: t.clone(x)),
        of(
            "cast to float64",
            lambda x: x.astype(tt.float64),
            lambda xp, x: x.astype("float64"),
            lambda t, x: x.to(t.float64),
        ),
        of(
            "concat of columns",
            lambda x, y: tt.concat([x, y], axis=1),
            lambda xp, x, y: xp.concatenate([x, y], axis=1),
            lambda t, x, y: t.cat([x, y], 1),
            count=2,
        ),
        of(
            "repeat of rows",
            lambda x: tt.repeat(x, 2, axis=0),
            lambda xp, x: xp.repeat(x, 2, axis=0),
            lambda t, x: x.repeat_interleave(2, 0),
        ),
        of(
            "roll of columns",
            lambda x: tt.roll(x, 3, axis=1),
            lambda xp, x: xp.roll(x, 3, axis=1),
            lambda t, x: t.roll(x, 3, 1),
        ),
        of(
            "pad",
            lambda x: tt.pad(x, ((1, 1), (1, 1))),
            lambda xp, x: xp.pad(x, ((1, 1), (1, 1))),
            lambda t, x: t.nn.functional.pad(x, (1, 1, 1, 1)),
        ),
        of("tril", lambda x: tt.tril(x), lambda xp, x: xp.tril(x), lambda t, x: t.tril(x)),
        of(
            "split into halves",
            lambda x: tt.split(x, 2, axis=1),
            lambda xp, x: xp.split(x, 2, axis=1),
            lambda t, x: x.chunk(2, 1),
        ),
        *(columns.gradients(), strided.gradients()),
    ]


# ---- selections --------------------------------------------------------------------------------------------


def _pairs(rng: np.random.Generator, n: int) -> list[Any]:
    """Inputs: a square, and row and column indices of half of its elements, without duplicates."""
    s = side(n)
    places = rng.permutation(s * s)[: max(1, s * s // 2)]
    return [drawn(rng, (s, s)), places // s, places % s]


def _tokens(rng: np.random.Generator, n: int) -> list[Any]:
    """Inputs: a table, and indices of half as many rows."""
    s = side(n)
    return [drawn(rng, (2 * s, s)), rng.permutation(2 * s)[:s]]


def _written(kind: str) -> Draw:
    """Inputs: a square, the values written into it, and their index."""

    def draw(rng: np.random.Generator, n: int) -> list[Any]:
        s = side(n)
        places = rng.permutation(s)[: s // 2] if kind == "order" else rng.integers(0, s, s // 2)
        return [drawn(rng, (s, s)), drawn(rng, (s,)), places]

    return draw


def _put(x: Any, key: Any, value: Any) -> Any:
    """Copy of x with x[key] = value."""
    y = x.clone()
    y[key] = value
    return y


def _put_here(x: Any, value: Any, key: Any) -> Any:
    """x with x[key] = value, in place."""
    x[key] = value
    return x


def _of(name: str, draw: Draw, ours: Any, numpy: Any, torch: Any) -> OpCase:
    return OpCase(name, "selections", draw, ours, numpy, torch, layouts=False)


def selections() -> list[OpCase]:
    """Cases of reads by index and by mask, and their gradients."""
    read = [
        _of("x[i]", with_more("order"), lambda x, i: x[i], lambda xp, x, i: x[i], lambda t, x, i: x[i]),
        _of(
            "x[i, j]",
            _pairs,
            lambda x, i, j: x[i, j],
            lambda xp, x, i, j: x[i, j],
            lambda t, x, i, j: x[i, j],
        ),
        _of("x[mask]", with_more("mask"), lambda x, m: x[m], lambda xp, x, m: x[m], lambda t, x, m: x[m]),
        _of(
            "gather",
            with_more("along"),
            lambda x, i: x.gather(i, 1),
            lambda xp, x, i: xp.take_along_axis(x, i, axis=1),
            lambda t, x, i: x.gather(1, i),
        ),
        _of(
            "embedding",
            _tokens,
            lambda x, i: tt.embedding(x, i),
            lambda xp, x, i: xp.take(x, i, axis=0),
            lambda t, x, i: t.nn.functional.embedding(i, x),
        ),
    ]
    return [case for f in read for case in (f, f.gradients())]


def selected_writes() -> list[OpCase]:
    """Cases of mask searches and indexed writes."""
    writing = {"writes": True, "layouts": False}
    slices = (slice(1, None), slice(None, None, 2))
    return [
        _of(
            "scatter_add",
            with_more("along"),
            lambda x, i: tt.scatter_add(x, i, x, 1),
            None,
            lambda t, x, i: x.scatter_add(1, i, x),
        ),
        _of(
            "masked fill",
            with_more("mask"),
            lambda x, m: x.masked_fill(m, 0.0),
            lambda xp, x, m: xp.where(m, 0.0, x),
            lambda t, x, m: x.masked_fill(m, 0.0),
        ),
        _of(
            "nonzero",
            lambda rng, n: with_more("mask")(rng, n)[1:],
            lambda m: tt.nonzero(m),
            lambda xp, m: xp.nonzero(m),
            lambda t, m: t.nonzero(m, as_tuple=True),
        ),
        _of(
            "one-hot",
            lambda rng, n: [rng.integers(0, side(n), side(n))],
            lambda i: tt.one_hot(i, i.shape[0]),
            None,
            lambda t, i: t.nn.functional.one_hot(i, len(i)),
        ),
        OpCase(
            "x[i] = row",
            "selections",
            _written("order"),
            _put_here,
            lambda xp, x, v, i: _put_here(x, v, i),
            lambda t, x, v, i: _put_here(x, v, i),
            **writing,
        ),
        _of("x[i] = row, i repeats", _written("any"), lambda x, v, i: _put(x, i, v), None, None).gradients(),
        _of(
            "x[1:, ::2] = 0.5 x",
            squares(),
            lambda x: _put(x, slices, 0.5 * x[1:, ::2]),
            None,
            lambda t, x: _put(x, slices, 0.5 * x[1:, ::2]),
        ).gradients(),
    ]


# ---- sorts, random numbers, optimizers ---------------------------------------------------------------------


def _sorted_and_asked(rng: np.random.Generator, n: int) -> list[Any]:
    return [np.sort(drawn(rng, (n,))), drawn(rng, (n,))]


def sorts() -> list[OpCase]:
    """Cases of sorting along rows."""

    def of(name: str, ours: Any, numpy: Any, torch: Any, draw: Draw = distinct) -> OpCase:
        return OpCase(name, "sorts", draw, ours, numpy, torch, layouts=name == "sort of rows", most=1 << 20)

    return [
        of(
            "sort of rows",
            lambda x: tt.sort(x, axis=1),
            lambda xp, x: xp.sort(x, axis=1),
            lambda t, x: t.sort(x, 1).values,
        ),
        of(
            "argsort of rows",
            lambda x: tt.argsort(x, axis=1),
            lambda xp, x: xp.argsort(x, axis=1),
            lambda t, x: t.argsort(x, 1),
        ),
        of("top 8 of rows", lambda x: tt.topk(x, 8), None, lambda t, x: t.topk(x, 8)),
        of(
            "searchsorted",
            lambda x, v: tt.searchsorted(x, v),
            lambda xp, x, v: xp.searchsorted(x, v),
            lambda t, x, v: t.searchsorted(x, v),
            _sorted_and_asked,
        ),
        of("unique", lambda x: tt.unique_values(x), lambda xp, x: xp.unique(x), lambda t, x: t.unique(x)),
    ]


def random_numbers() -> list[OpCase]:
    """Cases of random sampling: libraries return different samples, so means and sizes are compared."""

    def of(name: str, ours: Any, torch: Any) -> OpCase:
        return OpCase(name, "random", squares(), ours, None, torch, random=True, layouts=False)

    dropout = of("dropout", lambda x: tt.dropout(x, 0.1), lambda t, x: t.nn.functional.dropout(x, 0.1))
    return [
        of("rand", lambda x: tt.rand(*x.shape, device=x.device), lambda t, x: t.rand_like(x)),
        of("randn", lambda x: tt.randn(*x.shape, device=x.device), lambda t, x: t.randn_like(x)),
        of(
            "randint",
            lambda x: tt.randint(0, 9, x.shape, device=x.device),
            lambda t, x: t.randint(0, 9, x.shape, device=x.device),
        ),
        of(
            "permutation",
            lambda x: tt.permutation(x.size, device=x.device),
            lambda t, x: t.randperm(x.numel(), device=x.device),
        ),
        of("bernoulli", lambda x: tt.bernoulli(x), lambda t, x: t.bernoulli(x)),
        of("multinomial", lambda x: tt.multinomial(x, 1), lambda t, x: t.multinomial(x, 1)),
        *(dropout, dropout.gradients()),
    ]


def _adamw(x: Any, g: Any, m: Any, v: Any) -> Any:
    tt.adamw_step([x], [g], [m], [v], tt.adamw_hyper(lr=1e-3, step=1, device=x.device))
    return x


def _adamw_of_torch(t: Any, x: Any, g: Any, m: Any, v: Any) -> Any:
    options = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01, "eps": 1e-8}
    step = t.ones((), device=x.device)
    t._fused_adamw_([x], [g], [m], [v], [], [step], amsgrad=False, maximize=False, **options)
    return x


def optimizers() -> list[OpCase]:
    """Cases of optimizer steps and of the gradient norm."""
    return [
        OpCase(
            "adamw",
            "optimizers",
            squares(4),
            _adamw,
            None,
            _adamw_of_torch,
            writes=True,
            layouts=False,
            nbytes=lambda n: 7 * 4 * side(n) ** 2,  # four are read, three written
        ),
        OpCase(
            "norm of gradients",
            "optimizers",
            squares(),
            lambda x: tt.grad_norm([x]),
            lambda xp, x: xp.linalg.norm(x),
            lambda t, x: t.linalg.vector_norm(x),
            layouts=False,
        ),
    ]
