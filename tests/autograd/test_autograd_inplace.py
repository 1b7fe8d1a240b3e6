"""Programs of views and writes in place: first and second gradients against finite differences."""

import numpy as np
import pytest

import tinytensor as tt


def weights(n, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, n)


# Programs on x, which has history and 3 x 4 elements, and w, a leaf of 4; the last expression is the result.
PROGRAMS = {
    "a view, then a write": "v = x[0]; v += w; x",
    "a write, then views": "x *= w; x[1] * x[2]",
    "a view before a write to its base": "v = x[1]; x *= w; v * v",
    "a view of a view": "v = x[1:][0]; v *= w; x * x",
    "two views": "a, b = x[0], x[0:2]; a *= w; b += w; a * x[1]",
    "transposed": "x.T[1] *= x[:, 0]; x * x",
    "a negative step": "v = x[::-1, ::-2]; v *= w[:2]; x",
    "a diagonal": "d = x.diagonal(); d *= w[1:]; x * x.T[:3, :3].sum()",
    "reshaped": "x.view(4, 3)[2:] *= 3.0; x",
    "its own value": "x *= x; x[0] *= x[0]; x",
    "an operand is a view of the target": "x[0] *= x[1]; x[1] *= x[0]; x",
    "an overlapping shift": "flat = x.view(12); flat[1:] += flat[:-1]; x * x",
    "assigned": "x[0] = w; x[:, 1] = x[:, 2] * 2; x",
    "assigned, overlapping": "flat = x.view(12); flat[2:] = flat[:-2]; x",
    "assigned, broadcast": "x[1:] = w; x[:, 0] = w[0]; x * x",
    "assigned, a number": "y = x * 1; y[0, 1:3] = 7.0; x * y",
    "copied": "y = tt.zeros(3, 4, dtype=tt.float64); y.copy_(x); y[1] *= w; y * x",
    "into a constant": "y = tt.ones(3, 4, dtype=tt.float64); v = y[2]; v *= w; y[0:2] *= x[1:]; y + v",
    "power and division": "v = x[:, 1:]; v **= 2; v /= w[1:]; v -= x[:, :3]; x",
    "unfolded after a write": "x[0] *= w; u = x.unfold(1, 2); x += 1.0; u * u",
    "expanded": "e = w.expand(3, 4) * 1; e[0] *= x[1]; e * w",
    "as_strided of a base": (
        "v = x.as_strided((2, 3), (5, 2), 1); v *= 2.0; s = x.as_strided((3, 2), (1, 0), 2); x[0] *= w; s * s"
    ),
}


def loss(program, x, w):
    *statements, result = PROGRAMS[program].split("; ")
    names = {"tt": tt, "x": x * 1, "w": w}
    exec("\n".join(statements), names)
    out = eval(result, names)
    return (out * tt.tensor(weights(out.shape, 7))).sum()


def slopes(program, values, name):
    """Central differences of the loss in each element of values[name]."""
    found = np.zeros(values[name].shape)
    for at in np.ndindex(found.shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = {k: v.copy() for k, v in values.items()}
            moved[name][at] += step
            with tt.no_grad():
                ends.append(loss(program, *(tt.tensor(moved[k]) for k in "xw")).item())
        found[at] = (ends[0] - ends[1]) / 2e-5
    return found


@pytest.mark.parametrize("needs", ["xw", "x", "w"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients_agree_with_finite_differences(program, needs):
    values = {"x": weights((3, 4), 1), "w": weights(4, 2)}
    leaves = {k: tt.tensor(v, requires_grad=k in needs) for k, v in values.items()}
    y = loss(program, *leaves.values())
    expected = {k: slopes(program, values, k) for k in needs}
    if not y.requires_grad:
        assert all(not slope.any() for slope in expected.values())
        return
    found = tt.grad(y, [leaves[k] for k in needs], allow_unused=True)
    for k, g in zip(needs, found, strict=True):
        np.testing.assert_allclose(0 if g is None else g.numpy(), expected[k], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("program", PROGRAMS)
def test_second_derivatives_agree_with_finite_differences_of_the_first(program):
    values = [weights((3, 4), 1), weights(4, 2)]

    def first(arrays, create=False):
        leaves = [tt.tensor(a, requires_grad=True) for a in arrays]
        y = loss(program, *leaves) ** 2
        return leaves, tt.grad(y, leaves, allow_unused=True, create_graph=create)

    leaves, grads = first(values, create=True)
    directions = [weights(a.shape, 5 + i) for i, a in enumerate(values)]
    along = sum((g * tt.tensor(d)).sum() for g, d in zip(grads, directions, strict=True) if g is not None)
    found = tt.grad(along, leaves, allow_unused=True)
    ends = [
        first([a + step * d for a, d in zip(values, directions, strict=True)])[1] for step in (1e-5, -1e-5)
    ]
    for g, up, down in zip(found, *ends, strict=True):
        if up is not None:
            np.testing.assert_allclose(g.numpy(), (up.numpy() - down.numpy()) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda x, y: x.__ipow__(tt.tensor([2, -1, 2]).to(y.device)), tt.ArgumentError),
        (lambda x, y: x.__ipow__(-1), tt.ArgumentError),
        (lambda x, y: x[::2].__ipow__(tt.tensor([3, -2]).to(y.device)), tt.ArgumentError),
        (lambda x, y: x.__iadd__(2**70), tt.NumberRangeError),
        (lambda x, y: x.__itruediv__(2), tt.DTypeError),
        (lambda x, y: x.__setitem__([0, 9], 1), tt.IndexRangeError),
        (lambda x, y: x.copy_(y), tt.ShapeError),
        (lambda x, y: x.copy_("1"), tt.DTypeError),
        (lambda x, y: x.__iadd__(0.5), tt.DTypeError),
        (lambda x, y: x.__iadd__(y[:6].reshape(2, 3)), tt.ShapeError),
    ],
)
def test_a_write_that_raises_has_written_nothing(write, error, device):
    a = tt.tensor([1.0, 1.0, 1.0], device=device, requires_grad=True)
    i = tt.tensor([2, 3, 4], device=device)
    y = a * i
    with pytest.raises(error):
        write(i, tt.zeros(7, dtype=tt.int64, device=device))
    assert (i.tolist(), i.version) == ([2, 3, 4], 0)
    y.sum().backward()
    assert a.grad.tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("write", [lambda x: x.__ifloordiv__(ZERO), lambda x: x.__imod__(ZERO)])
def test_a_division_by_zero_has_written_nothing(write):
    i = tt.tensor([2, 3, 4])
    with pytest.raises(tt.ArgumentError, match="divided by 0"):
        write(i)
    assert (i.tolist(), i.version) == ([2, 3, 4], 0)


@pytest.mark.parametrize("write", [lambda x, y: x.__ifloordiv__(y), lambda x, y: x.__ipow__(y - 1)])
def test_a_large_write_that_raises_has_written_nothing(write):
    x = tt.full((600, 700), 5).T  # more than one block, in an order of its own
    y = tt.ones(700, 600, dtype=tt.int64)
    y[-1, -1] = 0
    with pytest.raises(tt.ArgumentError):
        write(x, y)
    assert (int(x.min()), int(x.max()), x.version) == (5, 5, 0)


ZERO = tt.tensor([1, 0, 2])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_an_integer_to_a_negative_power_is_an_error_on_every_device(device, dtype):
    x = tt.tensor([[2, 3, 1], [1, -1, 0]], dtype=dtype, device=device)
    b = tt.tensor([[2, -5, 0]], dtype=dtype, device=device)
    for power in (-5, b, b.expand(2, 3), b.reshape(3)[1:2]):
        with pytest.raises(tt.ArgumentError, match="pow: an integer is raised to a negative integer, -5"):
            x**power
    assert (x ** b[:, ::2].expand(2, 2)[:, :1]).tolist() == [[4, 9, 1], [1, 1, 0]]
    assert (x[:0] ** -5).shape == (0, 3)
    assert (x.astype("uint8") ** 2).tolist() == [[4, 9, 1], [1, 1, 0]]
