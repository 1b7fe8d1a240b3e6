"""einsum, tensordot, vecdot and trace: tensor contractions over labeled axes.

Composed of other ops: the axes of an operand carry labels, and every step is a view (diagonal, permute,
reshape), a sum over an axis that only one operand has, or one matrix product of two operands. Gradients
follow from theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod
from typing import Any, NamedTuple

from tinytensor.errors import ArgumentError, DTypeError, ShapeError
from tinytensor.ops.elementwise.sign_and_complex import conj
from tinytensor.ops.matmul.matmul import numeric, product
from tinytensor.ops.reductions.reduction import sum
from tinytensor.ops.views.manipulation import cast, moveaxis, permute, reshape, squeeze
from tinytensor.ops.views.slicing import diagonal
from tinytensor.shapes import Shape, as_int, broadcast_shapes, normalize_axes, normalize_axis
from tinytensor.tensor import Tensor

__all__ = ["einsum", "tensordot", "trace", "vecdot"]

Label = str | int  # a letter; or an axis of an ellipsis, counted from its end: -1, -2, …
Labels = tuple[Label, ...]


class Named(NamedTuple):
    """A tensor with a unique label on each axis."""

    x: Tensor
    labels: Labels

    def sizes(self, labels: Iterable[Label]) -> Shape:
        """Sizes of the axes with these labels."""
        return tuple([self.x.layout.shape[self.labels.index(a)] for a in labels])

    def arranged(self, labels: Sequence[Label]) -> Tensor:
        """View of the tensor with its axes in this order."""
        if tuple(labels) == self.labels:
            return self.x
        return permute(self.x, tuple([self.labels.index(a) for a in labels]))


# ---- the equation ------------------------------------------------------------------------------------------


class Equation(NamedTuple):
    """A parsed equation: terms of letters, with "." for an ellipsis; output None if it is implicit."""

    text: str
    terms: tuple[str, ...]
    output: str | None

    def error(self, what: str, why: str, fix: str) -> ArgumentError:
        """An ArgumentError that quotes the equation."""
        return ArgumentError(f"einsum: {what} in {self.text!r}", why=why, fix=fix)


def _parse(text: Any) -> Equation:
    """Parse an equation; ArgumentError if it is malformed."""
    if not isinstance(text, str):
        raise DTypeError(
            f"einsum: the equation is a {type(text).__name__}",
            why="the first argument names the axes of the operands",
            fix='for example tt.einsum("ij,jk->ik", a, b)',
        )
    compact = "".join(text.split()).replace("...", ".")  # one character per axis, and one for an ellipsis
    left, *right = compact.split("->")
    equation = Equation(text, tuple(left.split(",")), right[0] if right else None)
    if len(right) > 1:
        raise equation.error("more than one ->", "it separates the operands from the output", "keep one ->")
    for term in (*equation.terms, equation.output or ""):
        for c in term:
            if c != "." and not (c.isascii() and c.isalpha()):
                fix = 'write for example "ij,jk->ik" or "...ij->...ji"'
                raise equation.error(f"{c!r}", "axes are named by letters, or together by three dots", fix)
        if term.count(".") > 1:
            raise equation.error(
                f"two ellipses in one term {_shown(term)!r}",
                "the axes of each of them would be ambiguous",
                "name all axes but those of one ellipsis",
            )
    return equation


def _shown(term: str) -> str:
    return term.replace(".", "...")


def _check_output(equation: Equation, output: str, rank: int) -> None:
    """ArgumentError unless the output term is valid; `rank` is the number of axes of the ellipses."""
    known = set("".join(equation.terms))
    for c in dict.fromkeys(output):
        if c != "." and c not in known:
            raise equation.error(
                f"an output letter {c!r} that no operand has",
                "the size of that axis is unknown",
                f"leave {c!r} out, and add the axis with unsqueeze() and expand()",
            )
        if output.count(c) > 1:
            raise equation.error(
                f"the output letter {c!r}, twice,",
                "an output axis is named once",
                f"leave one {c!r} out; a diagonal matrix is multiplied out with tt.eye",
            )
    if rank and "." not in output:
        raise equation.error(
            "an output without an ellipsis",
            f"the operands have one that stands for {rank} axes, which would be summed silently",
            "write ... in the output, too, and sum over the axes then",
        )


def _implicit(terms: Sequence[str]) -> str:
    """The output of an equation without ->: the ellipsis, then the letters that occur once, sorted."""
    letters = "".join(terms)
    once = sorted([c for c in set(letters) if c != "." and letters.count(c) == 1])
    return "." * ("." in letters) + "".join(once)


# ---- one operand -------------------------------------------------------------------------------------------


def _labels(equation: Equation, at: int, shape: Shape) -> Labels:
    """A label for each axis of an operand."""
    term = equation.terms[at]
    named = len(term) - term.count(".")
    spare = len(shape) - named  # axes of the ellipsis
    if spare < 0 or (spare > 0 and "." not in term):
        raise ShapeError(
            f"einsum: operand {at} of shape {shape} for the term {_shown(term)!r} of {equation.text!r}",
            why=f"the term names {named} axes, the operand has {len(shape)}",
            fix="name every axis, or write ... for those without a letter",
        )
    before, dots, after = term.partition(".")
    return (*before, *range(-spare, 0), *after) if dots else tuple(term)


def _named(x: Tensor, labels: Labels, ellipsis: Shape) -> Named:
    """An operand with unique labels: diagonals taken, broadcast axes of the ellipsis dropped."""
    shape = x.layout.shape
    once = [i for i, a in enumerate(labels) if isinstance(a, int) and shape[i] == 1 and ellipsis[a] != 1]
    if once:
        x = squeeze(x, tuple(once))
        labels = tuple([a for i, a in enumerate(labels) if i not in once])
    while len(set(labels)) < len(labels):  # a repeated letter: take the diagonal
        a = next(a for a in labels if labels.count(a) > 1)
        i = labels.index(a)
        j = labels.index(a, i + 1)
        x = diagonal(x, 0, i, j)  # the two axes are replaced by their diagonal, as the last axis
        labels = (*labels[:i], *labels[i + 1 : j], *labels[j + 1 :], a)
    return Named(x, labels)


def _sum_except(t: Named, keep: set[Label]) -> Named:
    """t summed over the axes whose labels are not kept, in its own dtype."""
    axes = tuple([i for i, a in enumerate(t.labels) if a not in keep])
    if not axes:
        return t
    return Named(cast(sum(t.x, axes), t.x.storage.dtype), tuple([a for a in t.labels if a in keep]))


# ---- two operands ------------------------------------------------------------------------------------------


def _shaped(x: Tensor, shape: Shape) -> Tensor:
    """x in a shape; x itself, without an autograd node, if it has that shape."""
    return x if x.layout.shape == shape else reshape(x, shape)


def _contract(a: Named, b: Named, keep: set[Label]) -> Named:
    """Contract two operands over all labels that are not kept, with one matrix product."""
    a = _sum_except(a, keep | set(b.labels))
    b = _sum_except(b, keep | set(a.labels))
    common = [i for i in a.labels if i in b.labels]
    batch = [i for i in common if i in keep]
    inner = [i for i in common if i not in keep]
    rows = [i for i in a.labels if i not in common]
    columns = [i for i in b.labels if i not in common]
    labels = (*batch, *rows, *columns)
    if not inner:  # nothing is summed: an elementwise product with broadcasting
        x = reshape(a.arranged([*batch, *rows]), (*a.sizes([*batch, *rows]), *[1] * len(columns)))
        y = b.arranged([*batch, *columns])  # (batch, columns)
        y = reshape(y, (*b.sizes(batch), *[1] * len(rows), *b.sizes(columns)))
        return Named(x * y, labels)
    x, ta = _matrix(a, batch, rows, inner)  # (batch, rows, inner)
    y, tb = _matrix(b, batch, inner, columns)  # (batch, inner, columns)
    z = product(x, y, ta, tb)  # (batch, rows, columns)
    return Named(_shaped(z, (*a.sizes(batch), *a.sizes(rows), *b.sizes(columns))), labels)


def _matrix(t: Named, batch: list[Label], rows: list[Label], columns: list[Label]) -> tuple[Tensor, bool]:
    """t as (batch, rows, columns), in the layout of BLAS that needs no copy: whether it is transposed."""
    for transposed in (False, True):
        first, second = (columns, rows) if transposed else (rows, columns)
        x = t.arranged([*batch, *first, *second])
        shape = (*t.sizes(batch), prod(t.sizes(first)), prod(t.sizes(second)))
        if x.layout.reshape(shape) is not None:
            return _shaped(x, shape), transposed
    return reshape(t.arranged([*batch, *rows, *columns]), (*shape[:-2], shape[-1], shape[-2])), False


def _best_pair(operands: list[Named], output: set[Label]) -> tuple[int, int]:
    """The pair of operands with the smallest product; ties go to the cheapest, then to the leftmost."""
    if len(operands) == 2:
        return 0, 1

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        a, b = operands[pair[0]], operands[pair[1]]
        sizes = dict(zip((*a.labels, *b.labels), (*a.x.layout.shape, *b.x.layout.shape), strict=True))
        keep = output.union(*[t.labels for i, t in enumerate(operands) if i not in pair])
        return prod([n for i, n in sizes.items() if i in keep]), prod(sizes.values())

    return min(combinations(range(len(operands)), 2), key=cost)


# ---- functions ---------------------------------------------------------------------------------------------


def _check_sizes(equation: Equation, labels: Sequence[Labels], shapes: Sequence[Shape]) -> None:
    """ShapeError if a letter has two sizes."""
    known: dict[Label, tuple[int, int]] = {}
    for at, (names, shape) in enumerate(zip(labels, shapes, strict=True)):
        for a, n in zip(names, shape, strict=True):
            size, first = known.setdefault(a, (n, at))
            if n != size and isinstance(a, str):
                raise ShapeError(
                    f"einsum: the letter {a!r} of {equation.text!r} has sizes {size} and {n}",
                    why=f"it names axes of operand {first} of shape {shapes[first]} and of operand {at} of "
                    f"shape {shape}, which must be equal; only the axes of an ellipsis broadcast",
                    fix="check the letters against the shapes",
                )


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sum of products over named axes (Einstein summation).

    einsum("ij,jk->ik", a, b)[i, k] = sum over j of a[i, j] * b[j, k]. The terms before -> give a letter to
    every axis of each operand; the output lists those that stay, in their order; all others are summed over.
    A letter twice in one term takes the diagonal. Three dots mean any number of axes, which broadcast.
    Without -> the output is the ellipsis, then all letters that occur exactly once, sorted.

    Of more than two operands, the pair with the smallest product is multiplied first, and so on. Each pair
    takes one matrix product, batched over the letters that both operands and the result have.

    Returns:
        The axes of the output term, the promoted dtype. With one operand and nothing to sum, a view.

    Memory: an operand is copied if its axes cannot be merged into those of a matrix; autograd keeps what
        each product needs.
    Accuracy: 16-bit floats are summed in float32 and rounded once per pair.
    Differs from: numpy.einsum and torch.einsum, where a letter of size 1 broadcasts; here only the axes
        of an ellipsis are repeated. Axes cannot be given as lists of integers.

    >>> a, b = tt.ones(2, 3), tt.ones(3, 4)
    >>> tt.einsum("ij,jk->ki", a, b).shape
    (4, 2)
    >>> tt.einsum("ii", tt.eye(3)).item()
    3.0
    """
    parsed = _parse(equation)
    if len(parsed.terms) != len(operands) or not operands:
        raise parsed.error(
            f"{len(parsed.terms)} terms for {len(operands)} operands",
            "each operand has its own term, and commas separate them",
            'for example tt.einsum("ij,jk->ik", a, b)',
        )
    xs = numeric("einsum", *operands)
    shapes = [x.layout.shape for x in xs]
    labels = [_labels(parsed, at, shape) for at, shape in enumerate(shapes)]
    _check_sizes(parsed, labels, shapes)
    spread = [tuple([n for a, n in zip(ls, s) if isinstance(a, int)]) for ls, s in zip(labels, shapes)]
    ellipsis = broadcast_shapes(*spread, what="einsum")
    output = _implicit(parsed.terms) if parsed.output is None else parsed.output
    _check_output(parsed, output, len(ellipsis))
    before, dots, after = output.partition(".")
    order: Labels = (*before, *range(-len(ellipsis), 0), *after) if dots else tuple(output)

    todo = [_named(x, ls, ellipsis) for x, ls in zip(xs, labels, strict=True)]
    keep = set(order)
    while len(todo) > 1:
        i, j = _best_pair(todo, keep)
        b, a = todo.pop(j), todo.pop(i)
        todo.append(_contract(a, b, keep.union(*[t.labels for t in todo])))
    return _sum_except(todo[0], keep).arranged(order)


def tensordot(a: Tensor, b: Tensor, axes: int | Sequence[Any] = 2) -> Tensor:
    """Sum of products over some axes of a and as many of b.

    tensordot(a, b, 1) is the matrix product of two matrices, tensordot(a, b, 0) the outer product.

    Args:
        axes: n, for the last n axes of a and the first n of b; or a pair: an axis or axes of a, and those of
            b that they are summed with.

    Returns:
        The other axes of a, then those of b; the promoted dtype.

    Memory: an operand is copied if its axes cannot be merged into those of a matrix.

    >>> a, b = tt.ones(2, 3, 4), tt.ones(4, 3, 5)
    >>> tt.tensordot(a, b, ([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = numeric("tensordot", a, b)
    m, n = len(a.layout.shape), len(b.layout.shape)
    if isinstance(axes, int):
        count = as_int(axes, "tensordot", "the number of axes")
        if not 0 <= count <= min(m, n):
            raise ShapeError(
                f"tensordot: {count} axes of shapes {a.layout.shape} and {b.layout.shape}",
                why=f"the operands have {m} and {n} axes",
                fix=f"pass a number from 0 to {min(m, n)}, or pairs of axes",
            )
        left, right = tuple(range(m - count, m)), tuple(range(count))
    else:
        if len(axes) != 2:
            raise ArgumentError(
                f"tensordot: axes={axes}",
                why="it is a number, or a pair: axes of a, axes of b",
                fix="for example tt.tensordot(a, b, ([1, 2], [1, 0]))",
            )
        left, right = normalize_axes(axes[0], m, "tensordot"), normalize_axes(axes[1], n, "tensordot")
    sizes = [[x.layout.shape[i] for i in which] for x, which in ((a, left), (b, right))]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"tensordot: axes {left} of shape {a.layout.shape} and axes {right} of shape {b.layout.shape}",
            why=f"they are summed in pairs, but their sizes are {tuple(sizes[0])} and {tuple(sizes[1])}",
            fix="pass matching axes in matching order",
        )
    names = list(range(m, m + n))  # labels of b's axes; the summed ones take the labels of a's
    for i, j in zip(left, right, strict=True):
        names[j] = i
    keep: set[Label] = {i for i in range(m + n) if i not in left}
    return _contract(Named(a, tuple(range(m))), Named(b, tuple(names)), keep).x


def vecdot(a: Tensor, b: Tensor, axis: int = -1) -> Tensor:
    """Dot products of vectors along an axis: the sum of conj(a) * b over it.

    Args:
        a, b: shapes that broadcast together, with the same size on the axis.

    Returns:
        The broadcast shape without the axis, the promoted dtype.

    >>> tt.vecdot(tt.tensor([[1.0, 2.0], [3.0, 4.0]]), tt.tensor([10.0, 1.0])).tolist()
    [12.0, 34.0]
    """
    a, b = numeric("vecdot", a, b)
    if a.storage.dtype.kind == "complex":
        a = conj(a)
    ndim = max(len(a.layout.shape), len(b.layout.shape))
    at = normalize_axis(axis, ndim, "vecdot") - ndim  # from the end, the same axis in both
    sizes = [x.layout.shape[at] if len(x.layout.shape) >= -at else None for x in (a, b)]
    if sizes[0] is None or sizes[0] != sizes[1]:
        raise ShapeError(
            f"vecdot: shapes {a.layout.shape} and {b.layout.shape} along axis {axis}",
            why="both operands must have the axis, with the same size",
            fix="only the other axes broadcast; to repeat an operand along this axis, expand it first",
        )
    a, b = moveaxis(a, at, -1), moveaxis(b, at, -1)  # (…, K)
    shape = broadcast_shapes(a.layout.shape[:-1], b.layout.shape[:-1], what="vecdot")
    x = reshape(a, (*a.layout.shape[:-1], 1, a.layout.shape[-1]))  # rows
    y = reshape(b, (*b.layout.shape[:-1], 1, b.layout.shape[-1]))
    return reshape(product(x, y, False, True), shape)


def trace(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sum of the elements on a diagonal.

    Args:
        offset: axis2's index minus axis1's on the diagonal; positive is above the main one.

    Returns:
        x without the two axes; the dtype of `sum`.

    Differs from: the array API's linalg.trace, which takes the last two axes; same as
        numpy.trace.

    >>> tt.trace(tt.arange(9).reshape(3, 3)).item()
    12
    """
    return sum(diagonal(x, offset, axis1, axis2), -1)
