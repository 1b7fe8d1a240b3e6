"""NumPy's functions of tensors: its values, as tensors where there is a function of the same name."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.interop import numpy_protocols

A = np.arange(1.0, 7.0).reshape(2, 3) - 2.5

# Calls with the same text for arrays and tensors, and the type of their result.
TENSORS = """
np.exp(x) | np.add(x, 2) | np.add(x, x) | np.float32(2) * x | np.float64(2) ** x | np.int64(3) - x
np.float32(1) < x | np.float64(1) == x | np.array(2.0) * x | np.negative(x) | np.unique(x) | np.abs(x)
np.maximum(x, 3) | np.matmul(x, x.T) | np.isnan(x) | np.logical_and(x > 1, x < 2) | np.floor_divide(x, 2)
np.power(x, 2) | np.sign(x) | np.concatenate([x, x]) | np.stack([x, x], -1)
np.vstack([x, x]) | np.hstack((x, x))
np.where(x > 2, x, 0.0) | np.mean(x, axis=0) | np.mean(x, 0, None, None) | np.sum(x) | np.sum(x, 0)
np.sum(x, axis=(0, 1)) | np.sum(x, dtype=np.float32) | np.prod(x, 1) | np.prod(x) | np.std(x, axis=0, ddof=1)
np.var(x, 0, correction=1) | np.max(x, axis=1, keepdims=True) | np.amax(x, 0)
np.amin(x, axis=1, keepdims=True) | np.min(x) | np.any(x > 3, axis=0) | np.all(x > 0)
np.argmax(x, axis=1) | np.count_nonzero(x > 2) | np.clip(x, 2, 4) | np.clip(x, a_min=2, a_max=4)
np.clip(x, min=0) | np.transpose(x) | np.transpose(x, (1, 0)) | np.permute_dims(x, (1, 0))
np.reshape(x, (3, 2)) | np.reshape(x, -1) | np.tile(x, 2) | np.tile(x, (2, 1)) | np.repeat(x, 2)
np.repeat(x, 2, axis=1) | np.roll(x, 1) | np.roll(x, 1, axis=1) | np.pad(x, 1) | np.pad(x, (1, 2))
np.pad(x, ((1, 0), (0, 2)), constant_values=3) | np.sort(x, axis=0) | np.argsort(x)
np.diff(x) | np.diff(x, 1, 0) | np.cumsum(x, axis=1) | np.cumulative_sum(x, axis=0) | np.cumprod(x, 1)
np.trace(x) | np.prod(x) | np.diagonal(x) | np.outer(x[0], x[1]) | np.tensordot(x, x, 2)
np.nonzero(x > 2) | np.take(x, [0, 2], axis=1) | np.argwhere(x > 2) | np.round(x) | np.nan_to_num(x)
np.nan_to_num(x, nan=2.0) | np.zeros_like(x) | np.full_like(x, 3) | np.meshgrid(x[0], x[1])
np.broadcast_to(x[0], (4, 3)) | np.expand_dims(x, 0) | np.squeeze(x[:1]) | np.moveaxis(x, 0, 1)
np.swapaxes(x, 0, 1) | np.flip(x) | np.flip(x, 0) | np.ravel(x) | np.tril(x) | np.triu(x, 1)
np.searchsorted(x[0], x[1]) | np.astype(x, np.int32) | np.unstack(x) | np.real(x)
np.linalg.inv(x[:, :2]) | np.linalg.svd(x)[1] | np.linalg.solve(x[:, :2], x[:, 2]) | np.linalg.pinv(x)
np.diag(x) | np.hypot(x, 2) | np.copysign(x, -1)
np.linalg.vector_norm(x) | np.fft.fft(x) | np.fft.rfft(x, axis=0) | np.fft.ifft(x, norm="ortho")
np.linalg.norm(x) | np.linalg.norm(x, axis=1) | np.linalg.norm(x, 2, keepdims=True)
np.fft.fftshift(x) | np.isclose(x, x + 1e-9) | np.einsum("ij,kj", x, x) | np.concat((x, x), 1)
np.take_along_axis(x, np.argsort(x), 1) | np.where(x > 2, x, -x)
np.cumsum(x) | np.cumprod(x) | np.cumsum(x[0]) | np.cumsum(x, 0, np.float32) | np.cumsum(x > 0)
"""
ARRAYS = """
np.where(x > 2) | np.reshape(x, (3, 2), order="F") | np.sort(x, kind="stable") | np.split(x, [1], axis=1)
np.dot(x, x.T) | np.round(x, 1) | np.percentile(x, 50) | np.median(x) | np.copy(x)
np.histogram(x) | np.average(x) | np.block([x, x]) | np.linspace(0, x[0], 3)
np.ptp(x) | np.diag(x[0], 1) | np.exp2(x) | np.fmax(x, -x) | np.nansum(x, axis=0)
np.interp(x, [0, 1], [2, 4]) | np.mean(x, where=x > 0) | np.mean(x, dtype=np.float64)
np.cov(x) | np.insert(x, 0, 1) | np.concatenate([x, a], axis=1) | np.where(a > 2, x, a)
np.take(x, np.array([0, 2]), 1) | np.einsum("ij,kj", x, a) | np.isclose(x, a) | np.stack([x, a], -1)
np.cbrt(x) | np.rint(x) | np.tanh(x, dtype=np.float32) | np.add.reduce(x) | np.multiply.outer(x, x)
np.exp(x, out=np.zeros((2, 3))) | np.divmod(x, 2)[0] | np.modf(x)[1] | np.cumsum(x, out=np.zeros(6))
np.concat((a, x), 1) | np.take_along_axis(x, np.array([[0], [1]]), 1) | np.broadcast_arrays(x, a[0], 2)
"""
NEITHER = """
np.shape(x) | np.ndim(x) | np.size(x) | np.allclose(x, a) | np.allclose(x, a, 1e-3)
np.array_equal(x, a) | np.result_type(x) | np.iscomplexobj(x) | np.shares_memory(x, a)
np.may_share_memory(x, a)
"""


def calls(table: str) -> list[str]:
    return [call.strip() for line in table.strip().splitlines() for call in line.split("|")]


def plain(result: Any) -> Any:
    if isinstance(result, tt.Tensor):
        return result.numpy()
    return [plain(item) for item in result] if isinstance(result, tuple | list) else result


@pytest.mark.parametrize("call", [*calls(TENSORS), *calls(ARRAYS), *calls(NEITHER)])
def test_the_values_are_those_of_numpy(call: str) -> None:
    expected = plain(eval(call, {"np": np, "a": A, "x": A}))
    result = eval(call, {"np": np, "a": A, "x": tt.asarray(A)})
    first = result[0] if isinstance(result, tuple | list) and len(result) else result
    if call in calls(TENSORS):
        assert isinstance(first, tt.Tensor)
    elif call in calls(ARRAYS):
        assert isinstance(first, np.ndarray | np.generic)
    found = plain(result)
    for ours, theirs in zip(found, expected) if isinstance(expected, list) else [(found, expected)]:
        assert np.shape(ours) == np.shape(theirs)
        if isinstance(theirs, np.ndarray | np.generic):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)
        else:
            assert ours == theirs


# Without a call above: they follow one that has it, or are arguments and results of the array API.
FOLLOWING = """
argmin broadcast_arrays cumulative_prod empty_like imag matrix_transpose ones_like unique_all unique_counts
unique_inverse unique_values cholesky cross det eigh eigvalsh matrix_norm matrix_power matrix_rank qr slogdet
svdvals vecdot fftn hfft ifftn ifftshift ihfft irfft irfftn rfftn
"""


def test_every_function_of_one_name_is_here() -> None:
    """A function of ours answers for NumPy's of its name, so it must mean the same."""
    text = "".join(calls(TENSORS) + calls(NEITHER))
    tested = {*re.findall(r"\w+(?=\()", text), *FOLLOWING.split(), "concatenate"}
    names = {f.__name__ for f in numpy_protocols._table() if not isinstance(f, np.ufunc)}
    assert not names - tested, "add a call of it to TENSORS, or its name to _OTHERWISE of numpy_protocols.py"


def test_gradients_are_recorded() -> None:
    x = tt.tensor(A, requires_grad=True)
    y = np.sum(np.exp(np.concatenate([x, 2 * x])) * np.float32(2))
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(A) + 4 * np.exp(2 * A))
    with pytest.raises(tt.GradError, match=r"x\.detach\(\)\.numpy\(\)"):
        np.percentile(x, 50)


def test_tensors_are_not_written_by_elementwise_functions() -> None:
    x = tt.asarray(A)
    for call in (lambda: np.exp(x, out=x), lambda: np.exp(A, out=x), lambda: np.cbrt(x, out=x)):
        with pytest.raises(tt.DTypeError, match=r"out is a tensor(?s:.*)x\.copy_\("):
            call()
    np.testing.assert_array_equal(x, A)


def test_arrays_are_not_written_by_operators() -> None:
    array = np.ones((2, 3))
    with pytest.raises(tt.DTypeError, match=r"as in `a \+= x`(?s:.*)a \+= x\.numpy\(\)"):
        array += tt.asarray(A)
    np.copyto(array, tt.asarray(A))
    np.testing.assert_array_equal(array, A)


def test_arrays_and_tensors_are_combined_by_functions_that_say_so() -> None:
    for call in (
        lambda a, x: a + x,
        lambda a, x: a @ x.T,
        lambda a, x: np.add(x, a),
        lambda a, x: a <= x,
        lambda a, x: np.nextafter(x, a),
        lambda a, x: a // x,
    ):
        with pytest.raises(tt.DTypeError, match=r"of shape \(2, 3\) is combined with a tensor(?s:.*)asarray"):
            call(A, tt.asarray(A))


def test_tensors_of_devices_stay_there() -> None:
    x = tt.ones(2, device="emulated")
    for call, fix in ((np.exp, r"tt\.exp\(x\)"), (np.sum, r"tt\.sum\(x\)"), (np.median, r"x\.to\(\"cpu\"\)")):
        with pytest.raises(tt.DeviceError, match=fix):
            call(x)


def test_functions_of_numpy_are_mapped_over_a_batch() -> None:
    x = tt.asarray(A)
    np.testing.assert_allclose(tt.func.vmap(np.exp)(x).numpy(), np.exp(A))
    np.testing.assert_allclose(tt.func.vmap(lambda row: np.sum(np.float64(2) * row))(x).numpy(), 2 * A.sum(1))
    for function in (np.median, np.cbrt):
        with pytest.raises(tt.TransformError, match="the elements of a batched tensor"):
            tt.func.vmap(function)(x)


class Foreign:
    """An array of another library, which answers for both."""

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> str:
        return f"{function.__name__} of Foreign"

    def __array_function__(self, function: Any, *_: Any) -> str:
        return f"{function.__name__} of Foreign"


def test_other_libraries_answer_for_what_they_know() -> None:
    x = tt.ones(2)
    assert np.add(x, Foreign()) == "add of Foreign"
    assert np.concatenate([x, Foreign()]) == "concatenate of Foreign"
    with pytest.raises(TypeError):
        np.add(x, np.ma.array([1.0, 2.0], mask=[True, False]))


def test_arrays_of_a_tensor_stay_views() -> None:
    x = tt.arange(4.0)
    np.asarray(x)[0] = 7.0
    assert x[0].item() == 7.0
    assert type(np.asarray(x)) is np.ndarray
    assert np.array(x, dtype=np.int64).tolist() == [7, 1, 2, 3]


@pytest.mark.parametrize("dtype", [tt.float32, tt.bfloat16, tt.int64, tt.bool, tt.complex64])
@pytest.mark.parametrize("shape", [(), (2,), (2, 0), (2, 3, 1)])
def test_the_members_of_a_tensor_can_be_listed(dtype, shape):
    x = tt.zeros(*shape, dtype=dtype)
    members = dict(inspect.getmembers(x))
    assert members["shape"] == shape
    assert ("imag" in members) == hasattr(x, "imag") == (dtype is tt.complex64)
    assert ("mT" in members) == hasattr(x, "mT") == (len(shape) >= 2)
