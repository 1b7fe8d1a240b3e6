"""einsum and its special cases against NumPy: random equations, their gradients, and every error."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt


@st.composite
def equations(draw):
    """An equation over up to four letters and one ellipsis, and arrays that fit it."""
    sizes = {c: draw(st.integers(1, 3)) for c in "abCd"}
    common = draw(st.lists(st.integers(0, 3), max_size=2))  # the axes that the ellipses broadcast to
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.lists(st.sampled_from("abCd"), max_size=3))
        shape = [sizes[c] for c in letters]
        if draw(st.booleans()):
            spare = draw(st.integers(0, len(common)))
            repeated = [draw(st.sampled_from([n, 1])) for n in common[len(common) - spare :]]
            at = draw(st.integers(0, len(letters)))
            letters.insert(at, "...")
            shape[at:at] = repeated
        terms.append("".join(letters))
        shapes.append(tuple(shape))
    equation = ",".join(terms)
    if draw(st.booleans()):
        known = sorted({c for c in equation if c.isalpha()})
        output = draw(st.permutations(draw(st.lists(st.sampled_from(known), unique=True)) if known else []))
        if "..." in equation:
            output.insert(draw(st.integers(0, len(output))), "...")
        equation += "->" + "".join(output)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return equation, [rng.standard_normal(s) for s in shapes]


@given(equations(), st.booleans())
def test_values_and_gradients_agree_with_numpy(case, reverse_axes):
    equation, arrays = case
    want = np.einsum(equation, *arrays)
    if reverse_axes:  # the same values, read through other strides
        inputs = [tt.tensor(a.T.copy(), requires_grad=True) for a in arrays]
        operands = [x.T for x in inputs]
    else:
        inputs = operands = [tt.tensor(a, requires_grad=True) for a in arrays]
    got = tt.einsum(equation, *operands)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12, atol=1e-12)
    # linear in each operand: the directional derivative is the value with that operand replaced
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(want.shape)
    found = tt.grad(got, inputs, tt.tensor(weights), allow_unused=want.size == 0)
    for at, a in enumerate(arrays):
        if found[at] is None:
            continue
        direction = rng.standard_normal(a.shape)
        moved = np.einsum(equation, *arrays[:at], direction, *arrays[at + 1 :])
        g = found[at].numpy().T if reverse_axes else found[at].numpy()
        np.testing.assert_allclose((g * direction).sum(), (weights * moved).sum(), rtol=1e-10, atol=1e-10)


def test_a_chain_takes_the_small_products_first():
    a, b, c = (np.random.default_rng(1).standard_normal(s) for s in ((50, 2), (2, 60), (60, 3)))
    x = [tt.tensor(m, requires_grad=True) for m in (a, b, c)]
    y = tt.einsum("ij,jk,kl->il", *x)
    np.testing.assert_allclose(y.detach().numpy(), a @ b @ c, rtol=1e-12)
    shapes, stack = [], [y.node]
    while stack:
        node = stack.pop()
        if node.name == "matmul":
            shapes.append(tuple(record[1].shape for record in node.saved))
        stack += [p for p in node.parents if isinstance(p, tt.Node)]
    assert Counter(shapes) == Counter([((2, 60), (60, 3)), ((50, 2), (2, 3))])


def test_a_transposed_operand_is_not_copied():
    a, b = tt.ones(4, 2, 3, requires_grad=True), tt.ones(4, 5, 3)
    y = tt.einsum("bik,bjk->bij", a, b)
    assert y.node.name == "matmul"
    assert y.node.parents[0] is a


def test_one_operand_without_a_sum_is_a_view():
    x = tt.arange(12).reshape(3, 4)
    assert tt.einsum("ij->ji", x).shares_memory(x)
    assert tt.einsum("ii->i", x[:, :3]).tolist() == [0, 5, 10]


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "complex64", "bfloat16"])
def test_dtypes(dtype):
    x = tt.arange(6).reshape(2, 3).astype(dtype)
    y = tt.einsum("ij,ij->i", x, x)
    assert y.dtype.name == dtype
    assert y.astype("float64").tolist() == [5.0, 50.0]
    assert tt.einsum("ij->", x).dtype.name == dtype
    assert tt.einsum("i,i", tt.ones(2), tt.ones(2, dtype=tt.float64)).dtype is tt.float64


def test_an_ellipsis_that_stands_for_nothing_may_be_left_out():
    assert tt.einsum("...i->i", tt.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert tt.einsum("i->...i", tt.ones(3)).tolist() == [1.0, 1.0, 1.0]


@given(st.integers(0, 3), st.data())
def test_tensordot_agrees_with_numpy(count, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    summed = [data.draw(st.integers(0, 3)) for _ in range(count)]
    left = data.draw(st.permutations(range(count + 1)))
    right = data.draw(st.permutations(range(count + 2)))
    sizes = [[2] * (count + 1), [3] * (count + 2)]
    for n, i, j in zip(summed, left, right):
        sizes[0][i] = sizes[1][j] = n
    a, b = (rng.standard_normal(s) for s in sizes)
    axes = (left[:count], right[:count])
    got = tt.tensordot(tt.tensor(a), tt.tensor(b), axes)
    np.testing.assert_allclose(got.numpy(), np.tensordot(a, b, axes), rtol=1e-12, atol=1e-12)
    square = rng.standard_normal((2,) * 3)
    by_number = tt.tensordot(tt.tensor(square), tt.tensor(square), count)
    np.testing.assert_allclose(by_number.numpy(), np.tensordot(square, square, count), rtol=1e-12, atol=1e-12)


def test_vecdot():
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 1, 4)), rng.standard_normal((3, 4))
    np.testing.assert_allclose(tt.vecdot(tt.tensor(a), tt.tensor(b)).numpy(), np.vecdot(a, b), rtol=1e-13)
    c = rng.standard_normal((4, 3))
    got = tt.vecdot(tt.tensor(a.transpose(0, 2, 1)), tt.tensor(c), axis=-2)
    np.testing.assert_allclose(got.numpy(), np.vecdot(a, c.T), rtol=1e-13)
    assert tt.vecdot(tt.zeros(2, 0), tt.zeros(0)).tolist() == [0.0, 0.0]
    z = rng.standard_normal((3, 4)) + 1j * b
    np.testing.assert_allclose(
        tt.vecdot(tt.tensor(z), tt.tensor(1j * b)).numpy(), np.vecdot(z, 1j * b), rtol=1e-13
    )
