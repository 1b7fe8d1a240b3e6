"""Wrong calls, each with the error it must give: the class, a word of the message, and always why and fix."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers import op_functions as ops
from tinytensor import nn

no_gpu = cupy_fixtures.no_gpu  # fixture
f = tt.ones
INF = float("inf")


def leaf(*shape):
    return tt.ones(*shape, requires_grad=True)


def read_only():
    array = np.zeros(3)
    array.flags.writeable = False
    t = tt.from_numpy(array)
    t += 1


S, D, A, G, V = tt.ShapeError, tt.DTypeError, tt.ArgumentError, tt.GradError, tt.DeviceError
Range = tt.IndexRangeError

PUT = tt.cuda.kernel("__global__ void put(int* y, int v) { y[threadIdx.x] = v; }")

CALLS = [
    # making tensors
    (lambda: tt.tensor([[1, 2], [3]]), A, "equal lengths"),
    (lambda: tt.tensor("abc"), D, "type"),
    (lambda: tt.tensor([None, 1]), D, "type"),
    (lambda: tt.zeros(2, dtype="float33"), D, "float3"),
    (lambda: tt.zeros(2, dtype=object), D, "dtype"),
    (lambda: tt.zeros(2, -1), S, "negative"),
    (lambda: tt.zeros(2.5), D, "integer"),
    (lambda: tt.zeros((True, 2)), D, "integer"),
    (lambda: tt.empty(2**40, 2**40), S, ""),
    (lambda: tt.zeros(2, device="gpu"), V, "cuda"),
    (lambda: tt.ones(2, device="gpu"), V, "ones: there is no device 'gpu'"),
    (lambda: tt.ones(2, device="gpu"), V, 'did you mean "cuda"'),
    (lambda: f(2, 3).T.view(6), S, "view: shape (3, 2)"),
    (lambda: f(2, 3).view(4), S, "view: 6 elements"),
    (lambda: PUT(f(2)), A, "k[grid, block]"),
    (lambda: PUT[1, 1](), A, "no argument is a tensor"),
    (lambda: tt.zeros(2, device="cuda"), V, "CPU"),
    (lambda: tt.Device("cpu:1"), V, ""),
    (lambda: tt.Tensor([1.0]), D, "tt.tensor"),
    (lambda: tt.arange(0, 5, 0), A, "step"),
    (lambda: tt.arange(float("nan")), A, "finite"),
    (lambda: tt.linspace(0, 1, -1), S, "negative"),
    (lambda: tt.full((2,), 300, dtype=tt.int8), OverflowError, "int8"),
    (lambda: tt.tensor([2**63]), OverflowError, "int64"),
    (lambda: tt.tensor([1], requires_grad=True), G, "floating"),
    (lambda: tt.from_numpy([1.0]), D, "list"),
    (lambda: tt.from_numpy(np.array(["a"])), D, "dtype"),
    (lambda: tt.from_numpy(np.array([None])), D, "dtype"),
    (lambda: tt.from_numpy(np.zeros(2, ">f4")), D, "native"),
    (lambda: tt.from_numpy(np.zeros(4, [("a", "i1"), ("b", "<f4")])["b"]), A, "ascontiguousarray"),
    (lambda: tt.asarray([1.0], copy=False), A, "copy=False"),
    (lambda: tt.asarray(f(2), dtype=tt.int64, copy=False), A, "cast"),
    (lambda: tt.from_dlpack([1.0]), D, "DLPack"),
    (lambda: setattr(tt.config, "speed", True), A, "strict_layout"),
    (lambda: setattr(tt.config, "debug", 1), A, "bool"),
    (lambda: tt.tensor([1j], dtype=tt.float32), D, "imaginary"),
    (lambda: tt.full_like(f(2), 1j), D, "imaginary"),
    (lambda: tt.arange(300, dtype=tt.uint8), A, "uint8"),
    (lambda: tt.arange(2**63 - 2, 2**63 + 2), A, "int64"),
    (lambda: tt.tensor([leaf(1)[0], 1.0]), G, "tt.stack"),
    (lambda: tt.tensor(np.ma.masked_array([1.0], mask=[1])), D, "mask"),
    (lambda: tt.empty(2**46), tt.AllocationError, "bytes"),
    (lambda: tt.zeros(2**62), tt.AllocationError, "bytes"),
    (lambda: tt.zeros((1,) * 65), S, "64"),
    # elementwise
    (lambda: f(2, 3) + f(4, 3), S, "axis -2"),
    (lambda: f(2) * [1, 2], D, "tt.asarray"),
    (lambda: np.ones(2) + f(2), D, "tt.asarray"),
    (lambda: f(2) * np.ones(2), D, "tt.asarray"),
    (lambda: tt.ones(1, dtype=tt.uint64) + tt.ones(1, dtype=tt.int64), D, "uint64"),
    (lambda: tt.ones(1, dtype=tt.uint8) + (-1), OverflowError, "uint8"),
    (lambda: tt.floor(tt.tensor([1j])), D, "complex"),
    (lambda: tt.add(1, 2), D, "tensor"),
    # in place
    (lambda: f(3).__iadd__(f(2, 3)), S, "grow"),
    (lambda: tt.tensor([1]).__iadd__(0.5), D, "int64"),
    (read_only, A, "read-only"),
    (lambda: f(2).copy_([1, 2]), D, "list"),
    (lambda: f(2).copy_(f(3)), S, ""),
    (lambda: f(2).copy_(f(2, 2)), S, "grow"),
    (lambda: f(2).copy_(tt.tensor([1j, 2j])), D, "imaginary"),
    (lambda: tt.arange(3).__setitem__(0, 1.5), D, "1.5"),
    (lambda: tt.arange(3).copy_(f(3)), D, "fractions"),
    (lambda: tt.arange(3).__setitem__([True, False, True], f(2)), D, "fractions"),
    # views
    (lambda: tt.arange(6).reshape(2, 3).T.view(6), S, "axes 0 and 1"),
    (lambda: tt.arange(6).reshape(4, 2), S, ""),
    (lambda: tt.arange(6).reshape(-1, -1), S, "-1"),
    (lambda: tt.arange(6).reshape(4, -1), S, ""),
    (lambda: f(2, 3).permute(0), S, "once"),
    (lambda: f(2, 3).permute(0, 0), S, "twice"),
    (lambda: f(2, 3).permute(0, 2), S, "axis 2"),
    (lambda: f(2, 3).transpose(0, 5), S, "axis 5"),
    (lambda: f(2, 3).transpose(0, 1.0), D, "integer"),
    (lambda: f(3).mT, AttributeError, "rows and columns"),
    (lambda: f(2).expand(3), S, ""),
    (lambda: f(2, 2).expand(2), S, ""),
    (lambda: f(2, 3).squeeze(0), S, "2"),
    (lambda: f(2).unsqueeze(3), S, "axis 3"),
    (lambda: f(2, 2).flip((0, -2)), S, "twice"),
    (lambda: f(2, 2).diagonal(0, 1, 1), S, ""),
    (lambda: f(3).unfold(0, 4), S, ""),
    (lambda: f(3).unfold(0, 2, 0), A, "step 0"),
    (lambda: f(4).as_strided((3,), (2,)), S, "storage"),
    (lambda: f(4).as_strided((2,), (-1,)), S, "storage"),
    (lambda: f(4).as_strided((2, 2), (1,)), S, ""),
    (lambda: f(5).split(0), S, "at least one element"),
    (lambda: f(5).split([2, 2]), S, "add up"),
    (lambda: f(5).chunk(0), S, "positive"),
    (lambda: f(2, 3).moveaxis((0, 1), 0), S, "destination"),
    (lambda: f(2).astype("decimal"), D, "decimal"),
    # indexing
    (lambda: f(3)[f(1)], D, "float32"),
    (lambda: f(3)[f(2) > 0], Range, "mask"),
    (lambda: f(3, 3)[tt.tensor([0, 1]), tt.tensor([0, 1, 2])], S, ""),
    (lambda: tt.gather(f(2, 3), 1, tt.tensor([0])), S, "axes"),
    (lambda: tt.scatter_add(f(3), 0, tt.tensor([0, 1]), f(1)), S, "one value"),
    (lambda: tt.nonzero(tt.tensor(1.0)), S, "axes"),
    # reductions, sorting, joining
    (lambda: tt.zeros(0).max(), S, ""),
    (lambda: tt.zeros(0).argmax(), S, ""),
    # products
    (lambda: f(2, 3) @ f(2, 3), S, "inner sizes 3 and 2"),
    (lambda: f(2, 2, 3) @ f(3, 3, 2), S, "(2, 2, 3) @ (3, 3, 2): leading axes"),
    (lambda: f(3) @ f(4), S, "(3,) @ (4,)"),
    (lambda: f(3) @ f(2, 4, 3), S, "(3,) @ (2, 4, 3)"),
    (lambda: tt.tensor(2.0) @ f(2), S, "axes"),
    (lambda: f(2) @ [1.0, 2.0], D, "list"),
    (lambda: np.ones(2) @ f(2), D, "asarray"),
    (lambda: 2 @ f(2), D, "int"),
    (lambda: (f(2) > 0) @ (f(2) > 0), D, "bool"),
    (lambda: tt.linear(f(2, 3), f(4, 5), transposed=False), S, "(4, 5)"),
    (lambda: tt.linear(f(2, 3), tt.ones(5, 3, dtype=tt.float64)), D, "float64"),
    (lambda: tt.linear(f(2) > 0, f(2, 2) > 0, transposed=False), D, "bool"),
    (lambda: tt.linear(f(2, 3), np.ones((3, 2)), transposed=False), D, "ndarray"),
    (lambda: tt.outer(f(2, 2), f(2)), S, "vectors"),
    # autograd
    (lambda: leaf(2).numpy(), G, "detach"),
    # no tensor where one is needed
    (lambda: tt.mean(np.ones(3)), D, "ndarray"),
    (lambda: tt.sum([1.0, 2.0]), D, "list"),
    (lambda: tt.reshape([1.0, 2.0], (2, 1)), D, "list"),
    (lambda: tt.sort(np.ones(3)), D, "ndarray"),
    (lambda: tt.linear(np.ones((2, 2)), f(2, 2), transposed=False), D, "ndarray"),
    (lambda: tt.linear(f(2, 2), np.ones((2, 2))), D, "ndarray"),
    (lambda: tt.flip(None), D, "NoneType"),
    (lambda: tt.take([1, 2], tt.tensor([0])), D, "list"),
    # arguments that are not what the signature says, found after the call failed
    (lambda: f(2).max(keepdims=[]), D, "max: keepdims is []"),
    (lambda: tt.count_nonzero(f(2), keepdims=2**64), D, "True or False"),
    (lambda: tt.prod(f(2), keepdims=2**64), D, "prod: keepdims"),
    (lambda: tt.all(f(2), keepdims=(1, 0)), D, "all: keepdims"),
    (lambda: tt.vector_norm(f(2), ord=()), D, "vector_norm: ord is ()"),
    (lambda: tt.zeros_like([]), D, "zeros_like: an operand of type list"),
    (lambda: tt.empty_like(()), D, "empty_like: an operand of type tuple"),
    (lambda: tt.ones_like(1), D, "ones_like: an operand of type int"),
    (lambda: tt.full_like(None, 1), D, "full_like: an operand of type NoneType"),
    (lambda: tt.empty_like(f(2), device=np.ma.array([1, 2])), V, "empty"),
    (lambda: tt.full_like(f(3), f(3)), S, "full: the value has shape (3,)"),
    (lambda: tt.full(f(1).expand(2**62), 1.0), D, "a shape of type Tensor"),
    (lambda: tt.isclose(f(2), f(2), rtol=()), D, "isclose: rtol is ()"),
    (lambda: f(2).allclose(f(2), atol=[1, 2]), D, "allclose: atol is [1, 2]"),
    (lambda: tt.adamw_hyper(lr=1, step=1, betas=0.9), D, "betas is 0.9"),
    (lambda: tt.adamw_hyper(lr=1, step=1, betas=(0.9,)), D, "two numbers"),
    (lambda: tt.adamw_hyper(lr=1, step=[1]), D, "step is [1]"),
    (lambda: tt.adamw_hyper(lr=[1], step=1), D, "lr is [1]"),
    (lambda: tt.adamw_step(f(()), f(()), f(()), f(()), f(10)), D, "no axes"),
    (lambda: tt.adamw_step([1], [1], [1], [1], f(10)), D, "operand of type int"),
    (lambda: tt.grad(1.5, leaf(2)), D, "grad: an operand of type float"),
    (lambda: tt.grad(leaf(2).sum(), 2**40), D, "grad: an operand of type int"),
    (lambda: tt.grad(leaf(2).sum(), leaf(2), -1), D, "grad: an operand of type int"),
    (lambda: f(2).to_device("cpu", stream=1), A, "to_device: stream"),
    (lambda: ops.cross_entropy(f(2, 2), tt.zeros(2, dtype=tt.int64), label_smoothing=()), D,
     "label_smoothing is ()"),
    (lambda: tt.tile(f(2), 1.5), D, "tile: a number of repetitions of type float"),
    (lambda: f(2).tile(f(1).expand(2**62)), tt.AllocationError, ""),
    (lambda: f(2).as_strided(2, 1), D, "as_strided: strides is 1"),
    (lambda: tt.causal_self_attention(f(1, 2, 12), {"a": 1}), D, "n_head is {'a': 1}"),
    (lambda: tt.cached_self_attention(f(2), f(3), f(3), tt.arange(1), window=1), S, "fit"),
    (lambda: tt.cached_self_attention(f(()), f(2, 2), f(3), tt.arange(1), slopes=f(1)), S, "fit"),
    (lambda: ops.rms_norm(f(3), eps=()), D, "rms_norm: eps is ()"),
    (lambda: tt.scale_all_([f(3)], ()), D, "scale_all_: an operand of type tuple"),
    (lambda: tt.zero_all_(f(())), D, "no axes"),
    (lambda: tt.broadcast_to(f(2), 1.5), D, "a shape of type float"),
    (lambda: tt.broadcast_to(f(2), None), D, "a shape of type NoneType"),
    (lambda: f(2).roll(np.array(1.5)), D, "roll: a shift of type ndarray"),
    (lambda: tt.permute_dims(f(2, 3), np.array(1)), D, "a sequence of integers"),
    (lambda: tt.permute_dims(f(2, 3), 2**62), D, "a sequence of integers"),
    (lambda: tt.linspace(0, [1, 2], 3), D, "linspace: stop is [1, 2]"),
    (lambda: f(2).shares_memory((1,)), D, "shares_memory: an operand of type tuple"),
    (lambda: nn.Dropout(()), A, "Dropout: p is ()"),
    (lambda: nn.Conv1d(2, 2, 2, groups=tt.zeros(1, dtype=tt.bfloat16).expand(2**62)), A, "groups is tensor("),
    (lambda: f(2).masked_fill(f(2) > 0, (1, 2)), D, "masked_fill: an operand of"),
    (lambda: tt.adamw_hyper(lr=1, step=1, scale=f(2, 3)), S, "scale has shape (2, 3)"),
    (lambda: tt.adamw_hyper(lr=10**400, step=1), tt.NumberRangeError, "too large"),
    (lambda: f(2).split(1.5), D, "split: the size of a part of type float"),
    (lambda: f(2).roll(1.5), D, "roll: a shift of type float"),
    (lambda: nn.MultiheadAttention(7, 2**40), A, "num_heads=7"),
    (lambda: nn.MultiheadAttention(10**30, np.int64(2**62)), A, "num_heads="),
    # more memory than there is
    (lambda: tt.linspace(0, 1, 2**63 - 1), tt.AllocationError, "linspace"),
    (lambda: tt.ones(1, dtype=tt.bool).expand(2**60) + 1.0, tt.AllocationError, "add"),
    (lambda: tt.ones(1, dtype=tt.int64).expand(2**50).acosh(), tt.AllocationError, "acosh"),
    (lambda: tt.ones(1, dtype=tt.bfloat16).expand(2**50).exp(), tt.AllocationError, "exp"),
    (lambda: tt.tensor([1j]).expand(2, 2**61)[:0].__setitem__(slice(2), 0), S, "too large"),
    (lambda: f(1).expand(2**62).unbind(), tt.AllocationError, "unbind"),
    (lambda: f(0).expand(2**40, 0).chunk(2**60), tt.AllocationError, "chunk"),
    (lambda: iter(f(1).expand(2**62)), tt.AllocationError, "unbind"),
    (lambda: f(1).expand(0, 2**40).tril(1), tt.AllocationError, "tri"),
    # calls of before, which would give another number
    (lambda: tt.gather(f(2, 3), tt.tensor([[2], [0]]), 1), D, ""),
    (lambda: tt.scatter_add(f(2, 3), tt.tensor([[2], [0]]), f(2, 1), 1), D, ""),
    (lambda: tt.normal((2, 3), 0.0, 1.0), D, ""),
    (lambda: tt.multinomial(tt.tensor([0.0, 1.0]), 3), A, "once"),
    (lambda: tt.where(tt.bernoulli(f(2) / 4), f(2), 0.0), D, "where: the condition"),
    # to Python
    (lambda: f(2).item(), S, "tolist"),
    (lambda: bool(f(2)), S, "any"),
    (lambda: [1, 2][f(1)], D, "index"),
    (lambda: len(tt.tensor(1.0)), TypeError, "axes"),
    (lambda: iter(tt.tensor(1.0)), TypeError, "axes"),
    (lambda: np.array(f(2), dtype=np.int64, copy=False), ValueError, "copy"),
    # random
    (lambda: tt.uniform((2,), 1.0, 0.0), A, "low"),
    (lambda: tt.normal(0.0, -1.0, (2,)), A, "negative"),
    (lambda: tt.bernoulli(f(2) * 2), A, "[0, 1]"),
    (lambda: tt.uniform((2,), dtype=tt.int64), D, "randint"),
    (lambda: tt.rand(2, generator=7), D, "Generator"),
    # nn
    (lambda: nn.Linear(2, 2).wieght, AttributeError, "wieght"),
]  # fmt: skip


def check_wrong_call(call, error, words, exact=False):
    """The call raises the error, whose text has the words, a reason and what to write instead."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error or not exact
    text = str(caught.value)
    for word in words:
        assert word in text
    if isinstance(caught.value, tt.TinyTensorError):
        assert "\n  why: " in text
        assert "\n  fix: " in text
        what = text.split("\n")[0]
        assert ":" in what or what.startswith("this view"), "begin with the function that the user called"


@pytest.mark.parametrize(("call", "error", "word"), CALLS, ids=range(len(CALLS)))
def test_wrong_calls_say_what_why_and_fix(call, error, word, no_gpu):
    check_wrong_call(call, error, [word])
