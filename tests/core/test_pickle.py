"""Copies and pickles: `copy.copy` shares memory, a pickle has the values, and other processes get them."""

import copy
import multiprocessing
import operator
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import nn
from tinytensor.errors import DeviceError, DTypeError
from tinytensor.interop.copying import from_values
from tinytensor.optim import AdamW

DTYPES = ["bool", "int8", "uint16", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]


def again(thing: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(thing, protocol))


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_any_dtype_and_layout(dtype: str, protocol: int) -> None:
    x = tt.tensor(np.arange(12).reshape(3, 4) % 5, dtype=dtype)
    before = x.tolist()
    for made in (x, x.T, x[::-2, 1:], x[:1].expand(5, 4), x[0, 1], x[:0]):
        found = again(made, protocol)
        assert found.dtype is made.dtype
        assert found.shape == made.shape
        assert found.tolist() == made.tolist()
        assert found.is_contiguous
        assert not found.shares_memory(made)
        found[...] = 1  # it may be written to
    assert x.tolist() == before


def test_requires_grad_is_kept_and_history_is_not() -> None:
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    leaf, result = again((x, y))
    assert leaf.requires_grad
    assert result.requires_grad
    (result * leaf).sum().backward()
    assert result.grad.tolist() == [1.0, 2.0]
    assert leaf.grad.tolist() == [3.0, 6.0]
    assert x.grad is None


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.LayerNorm(3)
        self.same = self.first.weight
        self.register_buffer("seen", tt.zeros(2, dtype="bfloat16"))

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        return self.norm(self.drop(self.first(x)))


SPACES = ["api", "linalg", "fft", "func", "nn", "nn.functional", "nn.utils", "optim", "optim.lr_scheduler"]


@pytest.mark.parametrize("space", [*SPACES, "utils.data", "Tensor"])
def test_functions_are_the_same_again(space: str) -> None:
    owner = tt if space == "api" else operator.attrgetter(space)(tt)
    for name in getattr(owner, "__all__", None) or [name for name in dir(owner) if name[0] != "_"]:
        if isinstance(function := getattr(owner, name, None), FunctionType | type):
            assert again(function) is function, name


def test_a_layer_with_an_activation() -> None:
    layer = tt.nn.TransformerEncoderLayer(4, 2, dropout=0.0)
    x = tt.randn(1, 3, 4)
    assert pickle.loads(pickle.dumps(layer))(x).tolist() == layer(x).tolist()


def test_modules_and_their_optimizer_go_on() -> None:
    model = Net()
    optimizer = AdamW(model.parameters(), lr=0.1)

    def step(model: Net, optimizer: AdamW) -> None:
        tt.manual_seed(1)
        (model(tt.ones(4, 2)) * tt.arange(3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(model, optimizer)
    twin, its = again((model, optimizer))
    assert isinstance(twin.first.weight, nn.Parameter)
    assert twin.same is twin.first.weight
    assert its.param_groups[0]["params"][0] is twin.first.weight
    for _ in range(2):
        step(model, optimizer)
        step(twin, its)
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(arr(twin.state_dict()[name]), arr(p), err_msg=name)


def arr(x: tt.Tensor) -> np.ndarray:
    return x.astype(tt.float32).detach().numpy()


def test_other_processes_get_values() -> None:
    """Queues pickle in a thread: an error there is printed, and who waits for the thing waits for ever."""
    queue = multiprocessing.get_context("spawn").Queue()
    x = tt.tensor([[1.0, 2.0]], requires_grad=True)
    for thing in (x, x * 2, nn.Linear(2, 2), tt.bfloat16, tt.Generator(3)):
        queue.put(thing)
        found = queue.get(timeout=20)
        assert repr(found) == repr(thing) or found.tolist() == thing.tolist()
    queue.close()
    queue.join_thread()


def trained(model: Net, x: tt.Tensor) -> dict[str, tt.Tensor]:
    """Gradients, by ops that run in several threads."""
    tt.set_num_threads(2)
    (model.eval()(x) @ tt.ones(3, 2)).sum().backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "pool", [*[m for m in multiprocessing.get_all_start_methods() if m == "fork"], "spawn", "threads"]
)
def test_pools_compute_after_threads_have_run(pool: str) -> None:
    """A forked process has none of the threads of its parent, which must not be waited for."""
    before = tt.get_num_threads()
    x = tt.randn(20_000, 2)
    try:
        expected = trained(model := Net(), x)
        twin = again(model)
        if pool == "threads":
            executor: Any = ThreadPoolExecutor(2)
        else:
            executor = ProcessPoolExecutor(2, multiprocessing.get_context(pool))
        with executor:
            results = [executor.submit(trained, again(twin), x) for _ in range(3)]
            for result in results:
                for name, grad in result.result(timeout=60).items():
                    np.testing.assert_allclose(arr(grad), arr(expected[name]), rtol=1e-4, atol=1e-3)
    finally:
        tt.set_num_threads(before)


def test_a_generator_goes_on() -> None:
    generator = tt.Generator(5)
    tt.rand(3, generator=generator)
    for twin in (again(generator), copy.copy(generator), copy.deepcopy(generator)):
        assert twin.get_state() == generator.get_state()


def test_a_tensor_of_a_device_is_refused() -> None:
    with pytest.raises(DeviceError, match=r'fix: copy it first: x\.to\("cpu"\)'):
        pickle.dumps(tt.zeros(2, device="emulated"))


def test_what_no_tensor_wrote_is_refused() -> None:
    for array in (np.zeros(3, np.int8), [1.0, 2.0]):
        with pytest.raises(DTypeError, match="for a tensor of float64"):
            from_values(array, "float64", False, False)


def test_a_shallow_copy_shares_memory() -> None:
    x = tt.arange(6.0).reshape(2, 3)
    twin = copy.copy(x.T)
    assert twin.shares_memory(x)
    assert twin.strides == (1, 3)
    weight = nn.Parameter(tt.ones(2))
    twin = copy.copy(weight)
    assert twin.requires_grad
    assert isinstance(twin, nn.Parameter)
    assert twin is not weight
    assert twin.shares_memory(weight)
    copy.copy(weight * 2).sum().backward()  # a result keeps its history
    assert weight.grad.tolist() == [2.0, 2.0]


def test_matplotlib_takes_tensors() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    x = tt.arange(5.0)
    (line,) = figure.subplots().plot(x, x * x)
    np.testing.assert_array_equal(line.get_ydata(), np.arange(5.0) ** 2)
    (line,) = figure.subplots().plot(x)
    np.testing.assert_array_equal(line.get_ydata(), np.arange(5.0))
