"""Random programs of views and writes: what they say, apart from who runs them.

A program holds a list of variables. A statement reads or writes one of them, perhaps with another as operand,
and may add new ones. test_view_programs.py runs programs on NumPy, oracle/test_view_programs.py on PyTorch.
"""

from random import Random
from typing import Any, NamedTuple

Shape = tuple[int, ...]

VIEWS = (
    "index",
    "permute",
    "reshape",
    "expand",
    "diagonal",
    "unfold",
    "unsqueeze",
    "squeeze",
    "unbind",
    "split",
)
BACKWARD_VIEWS = ("index_back", "flip")
WRITES = (
    "add",
    "multiply",
    "add_other",
    "multiply_other",
    "subtract_other",
    "copy_other",
    "set",
    "set_slice",
)


class Statement(NamedTuple):
    """`kind` applied to variable `on`; `other` is a second variable, -1 if there is none."""

    kind: str
    on: int
    args: tuple[Any, ...] = ()
    other: int = -1

    def __str__(self) -> str:
        operand = f", v{self.other}" if self.other >= 0 else ""
        return f"{self.kind}(v{self.on}{operand}{''.join(f', {a}' for a in self.args)})"


def base_shape(rnd: Random) -> Shape:
    """One to three axes of up to four elements."""
    return tuple(rnd.choice([1, 2, 3, 4]) for _ in range(rnd.choice([1, 2, 2, 3])))


def broadcasts_to(shape: Shape, target: Shape) -> bool:
    """Whether a value of `shape` can be written into `target`."""
    if len(shape) > len(target):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(target)))


def draw(rnd: Random, kinds: tuple[str, ...], shapes: list[Shape]) -> Statement | None:
    """A statement of one of these kinds on variables of these shapes; None if what was drawn does not fit."""
    kind, on = rnd.choice(kinds), rnd.randrange(len(shapes))
    if kind.endswith("_other"):
        other = rnd.randrange(len(shapes))
        return Statement(kind, on, (), other) if broadcasts_to(shapes[other], shapes[on]) else None
    args = draw_args(rnd, kind, shapes[on])
    return None if args is None else Statement(kind, on, args)


def draw_args(rnd: Random, kind: str, shape: Shape) -> tuple[Any, ...] | None:
    """Arguments for one kind of statement on a variable of this shape."""
    ndim, size = len(shape), count(shape)
    if kind in ("index", "index_back"):
        return (draw_key(rnd, shape, back=kind == "index_back"),) if ndim else None
    if kind == "permute":
        return (tuple(rnd.sample(range(ndim), ndim)),) if ndim > 1 else None
    if kind == "reshape":
        return (draw_reshape(rnd, shape),)
    if kind == "expand":
        return ((2, *[3 if n == 1 else n for n in shape]),) if ndim < 4 and size <= 32 else None
    if kind == "diagonal":
        return (
            (rnd.choice([-1, 0, 0, 1]), *rnd.sample(range(ndim), 2)) if ndim > 1 and min(shape) > 1 else None
        )
    if kind == "unfold":
        axes = [i for i, n in enumerate(shape) if n > 1]
        return (rnd.choice(axes), 2, rnd.choice([1, 2])) if axes and ndim < 5 else None
    if kind == "unsqueeze":
        return (rnd.randint(0, ndim),) if ndim < 5 else None
    if kind in ("unbind", "split"):
        axes = [i for i, n in enumerate(shape) if (1 if kind == "unbind" else 2) <= n <= 4]
        return (rnd.choice(axes),) if axes else None
    if kind == "flip":
        return (tuple(rnd.sample(range(ndim), rnd.randint(1, ndim))),) if ndim else None
    if kind in ("add", "multiply", "nograd_multiply"):
        return (rnd.choice([-1.5, -0.5, 0.5, 1.25]),)
    if kind == "set":
        return (rnd.choice([0, -1]), rnd.choice([-2.0, 0.0, 3.0])) if ndim and shape[0] else None
    if kind == "set_slice":
        return (draw_key(rnd, shape, back=False), rnd.choice([-2.0, 0.0, 3.0])) if ndim else None
    return ()


def draw_key(rnd: Random, shape: Shape, *, back: bool) -> tuple[Any, ...]:
    """An index: for some axes a slice or an integer, now and then a new axis. `back`: steps are negative."""
    key: list[Any] = []
    for n in shape[: rnd.randint(1, len(shape))]:
        if rnd.random() < 0.1:
            key.append(None)
        pick = rnd.random()
        if pick < 0.2 and n and not back:
            key.append(rnd.randrange(-n, n))
        elif pick < 0.4:
            key.append(slice(None))
        elif back:
            key.append(slice(rnd.choice([None, n - 1, max(n - 2, 0)]), None, rnd.choice([-1, -1, -2])))
        else:
            key.append(slice(rnd.randrange(n) if n else None, rnd.choice([None, n]), rnd.choice([1, 1, 2])))
    return tuple(key)


def draw_reshape(rnd: Random, shape: Shape) -> Shape:
    """Another shape with as many elements: flat, with a new axis, two axes merged, or one split."""
    size = count(shape)
    options: list[Shape] = [(size,), (1, size), (size, 1)]
    if size % 2 == 0:
        options.append((2, size // 2))
    for i in range(len(shape) - 1):
        options.append((*shape[:i], shape[i] * shape[i + 1], *shape[i + 2 :]))
    for i, n in enumerate(shape):
        if n == 4:
            options.append((*shape[:i], 2, 2, *shape[i + 1 :]))
    return rnd.choice(options)


def count(shape: Shape) -> int:
    """Number of elements."""
    size = 1
    for n in shape:
        size *= n
    return size
