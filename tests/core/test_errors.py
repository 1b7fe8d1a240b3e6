"""Wrong calls, each with the error it must give: the class, a word of the message, and always why and fix."""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers import op_functions as ops
from tinytensor import nn, optim

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

CALLS = {
    # making tensors
    "ragged": (lambda: tt.tensor([[1, 2], [3]]), A, "equal lengths"),
    "text": (lambda: tt.tensor("abc"), D, "type"),
    "objects": (lambda: tt.tensor([None, 1]), D, "type"),
    "dtype name": (lambda: tt.zeros(2, dtype="float33"), D, "float3"),
    "dtype object": (lambda: tt.zeros(2, dtype=object), D, "dtype"),
    "negative size": (lambda: tt.zeros(2, -1), S, "negative"),
    "float size": (lambda: tt.zeros(2.5), D, "integer"),
    "bool size": (lambda: tt.zeros((True, 2)), D, "integer"),
    "too large": (lambda: tt.empty(2**40, 2**40), S, ""),
    "no such device": (lambda: tt.zeros(2, device="gpu"), V, "cuda"),
    "no such device, the maker": (lambda: tt.ones(2, device="gpu"), V, "ones: there is no device 'gpu'"),
    "no such device, the name": (lambda: tt.ones(2, device="gpu"), V, 'did you mean "cuda"'),
    "view of a transposed": (lambda: f(2, 3).T.view(6), S, "view: shape (3, 2)"),
    "view of a wrong size": (lambda: f(2, 3).view(4), S, "view: 6 elements"),
    "kernel without sizes": (lambda: PUT(f(2)), A, "k[grid, block]"),
    "kernel without tensors": (lambda: PUT[1, 1](), A, "no argument is a tensor"),
    "device absent": (lambda: tt.zeros(2, device="cuda"), V, "CPU"),
    "device index": (lambda: tt.Device("cpu:1"), V, ""),
    "class called": (lambda: tt.Tensor([1.0]), D, "tt.tensor"),
    "arange step 0": (lambda: tt.arange(0, 5, 0), A, "step"),
    "arange nan": (lambda: tt.arange(float("nan")), A, "finite"),
    "linspace count": (lambda: tt.linspace(0, 1, -1), S, "negative"),
    "full too big": (lambda: tt.full((2,), 300, dtype=tt.int8), OverflowError, "int8"),
    "beyond int64": (lambda: tt.tensor([2**63]), OverflowError, "int64"),
    "integer leaf": (lambda: tt.tensor([1], requires_grad=True), G, "floating"),
    "from_numpy of list": (lambda: tt.from_numpy([1.0]), D, "list"),
    "from_numpy of text": (lambda: tt.from_numpy(np.array(["a"])), D, "dtype"),
    "from_numpy of objects": (lambda: tt.from_numpy(np.array([None])), D, "dtype"),
    "from_numpy big-endian": (lambda: tt.from_numpy(np.zeros(2, ">f4")), D, "native"),
    "from_numpy odd strides": (
        lambda: tt.from_numpy(np.zeros(4, [("a", "i1"), ("b", "<f4")])["b"]), A, "ascontiguousarray"),
    "asarray no copy": (lambda: tt.asarray([1.0], copy=False), A, "copy=False"),
    "asarray cast no copy": (lambda: tt.asarray(f(2), dtype=tt.int64, copy=False), A, "cast"),
    "from_dlpack of list": (lambda: tt.from_dlpack([1.0]), D, "DLPack"),
    "unknown switch": (lambda: setattr(tt.config, "speed", True), A, "strict_layout"),
    "switch not bool": (lambda: setattr(tt.config, "debug", 1), A, "bool"),
    "complex for real": (lambda: tt.tensor([1j], dtype=tt.float32), D, "imaginary"),
    "full_like complex": (lambda: tt.full_like(f(2), 1j), D, "imaginary"),
    "arange wraps": (lambda: tt.arange(300, dtype=tt.uint8), A, "uint8"),
    "arange beyond int64": (lambda: tt.arange(2**63 - 2, 2**63 + 2), A, "int64"),
    "history among data": (lambda: tt.tensor([leaf(1)[0], 1.0]), G, "tt.stack"),
    "masked array": (lambda: tt.tensor(np.ma.masked_array([1.0], mask=[1])), D, "mask"),
    "more than the memory": (lambda: tt.empty(2**46), tt.AllocationError, "bytes"),
    "more than all addresses": (lambda: tt.zeros(2**62), tt.AllocationError, "bytes"),
    "65 axes": (lambda: tt.zeros((1,) * 65), S, "64"),
    # elementwise
    "shapes": (lambda: f(2, 3) + f(4, 3), S, "axis -2"),
    "with list": (lambda: f(2) * [1, 2], D, "tt.asarray"),
    "array on the left": (lambda: np.ones(2) + f(2), D, "tt.asarray"),
    "array on the right": (lambda: f(2) * np.ones(2), D, "tt.asarray"),
    "uint64 and int64": (lambda: tt.ones(1, dtype=tt.uint64) + tt.ones(1, dtype=tt.int64), D, "uint64"),
    "negative number to unsigned": (lambda: tt.ones(1, dtype=tt.uint8) + (-1), OverflowError, "uint8"),
    "floor of complex": (lambda: tt.floor(tt.tensor([1j])), D, "complex"),
    "no tensor at all": (lambda: tt.add(1, 2), D, "tensor"),
    # in place
    "grows": (lambda: f(3).__iadd__(f(2, 3)), S, "grow"),
    "float into int": (lambda: tt.tensor([1]).__iadd__(0.5), D, "int64"),
    "read-only memory": (read_only, A, "read-only"),
    "copy_ of list": (lambda: f(2).copy_([1, 2]), D, "list"),
    "copy_ shape": (lambda: f(2).copy_(f(3)), S, ""),
    "copy_ too many axes": (lambda: f(2).copy_(f(2, 2)), S, "grow"),
    "copy_ complex": (lambda: f(2).copy_(tt.tensor([1j, 2j])), D, "imaginary"),
    "assign fraction to int": (lambda: tt.arange(3).__setitem__(0, 1.5), D, "1.5"),
    "write fractions into int": (lambda: tt.arange(3).copy_(f(3)), D, "fractions"),
    "assign fractions by mask": (lambda: tt.arange(3).__setitem__([True, False, True], f(2)), D, "fractions"),
    # views
    "view": (lambda: tt.arange(6).reshape(2, 3).T.view(6), S, "axes 0 and 1"),
    "reshape size": (lambda: tt.arange(6).reshape(4, 2), S, ""),
    "reshape two unknown": (lambda: tt.arange(6).reshape(-1, -1), S, "-1"),
    "reshape unknown does not divide": (lambda: tt.arange(6).reshape(4, -1), S, ""),
    "permute short": (lambda: f(2, 3).permute(0), S, "once"),
    "permute twice": (lambda: f(2, 3).permute(0, 0), S, "twice"),
    "permute range": (lambda: f(2, 3).permute(0, 2), S, "axis 2"),
    "transpose range": (lambda: f(2, 3).transpose(0, 5), S, "axis 5"),
    "transpose float": (lambda: f(2, 3).transpose(0, 1.0), D, "integer"),
    "mT of vector": (lambda: f(3).mT, AttributeError, "rows and columns"),
    "expand": (lambda: f(2).expand(3), S, ""),
    "expand fewer": (lambda: f(2, 2).expand(2), S, ""),
    "squeeze": (lambda: f(2, 3).squeeze(0), S, "2"),
    "unsqueeze range": (lambda: f(2).unsqueeze(3), S, "axis 3"),
    "flip twice": (lambda: f(2, 2).flip((0, -2)), S, "twice"),
    "diagonal same": (lambda: f(2, 2).diagonal(0, 1, 1), S, ""),
    "unfold long": (lambda: f(3).unfold(0, 4), S, ""),
    "unfold step": (lambda: f(3).unfold(0, 2, 0), A, "step 0"),
    "as_strided outside": (lambda: f(4).as_strided((3,), (2,)), S, "storage"),
    "as_strided before": (lambda: f(4).as_strided((2,), (-1,)), S, "storage"),
    "as_strided lengths": (lambda: f(4).as_strided((2, 2), (1,)), S, ""),
    "split size": (lambda: f(5).split(0), S, "at least one element"),
    "split sizes": (lambda: f(5).split([2, 2]), S, "add up"),
    "chunk 0": (lambda: f(5).chunk(0), S, "positive"),
    "moveaxis": (lambda: f(2, 3).moveaxis((0, 1), 0), S, "destination"),
    "astype": (lambda: f(2).astype("decimal"), D, "decimal"),
    # indexing
    "float tensor index": (lambda: f(3)[f(1)], D, "float32"),
    "mask shape": (lambda: f(3)[f(2) > 0], Range, "mask"),
    "index tensors do not fit": (lambda: f(3, 3)[tt.tensor([0, 1]), tt.tensor([0, 1, 2])], S, ""),
    "gather axes": (lambda: tt.gather(f(2, 3), 1, tt.tensor([0])), S, "axes"),
    "scatter_add values": (lambda: tt.scatter_add(f(3), 0, tt.tensor([0, 1]), f(1)), S, "one value"),
    "nonzero of number": (lambda: tt.nonzero(tt.tensor(1.0)), S, "axes"),
    # reductions, sorting, joining
    "max of nothing": (lambda: tt.zeros(0).max(), S, ""),
    "argmax of nothing": (lambda: tt.zeros(0).argmax(), S, ""),
    # products
    "matmul": (lambda: f(2, 3) @ f(2, 3), S, "inner sizes 3 and 2"),
    "matmul batches": (lambda: f(2, 2, 3) @ f(3, 3, 2), S, "(2, 2, 3) @ (3, 3, 2): leading axes"),
    "matmul vectors": (lambda: f(3) @ f(4), S, "(3,) @ (4,)"),
    "matmul vector by batch": (lambda: f(3) @ f(2, 4, 3), S, "(3,) @ (2, 4, 3)"),
    "matmul number": (lambda: tt.tensor(2.0) @ f(2), S, "axes"),
    "matmul list": (lambda: f(2) @ [1.0, 2.0], D, "list"),
    "array before @": (lambda: np.ones(2) @ f(2), D, "asarray"),
    "number before @": (lambda: 2 @ f(2), D, "int"),
    "matmul bool": (lambda: (f(2) > 0) @ (f(2) > 0), D, "bool"),
    "linear sizes": (lambda: tt.linear(f(2, 3), f(4, 5), transposed=False), S, "(4, 5)"),
    "linear dtypes": (lambda: tt.linear(f(2, 3), tt.ones(5, 3, dtype=tt.float64)), D, "float64"),
    "linear bool": (lambda: tt.linear(f(2) > 0, f(2, 2) > 0, transposed=False), D, "bool"),
    "linear array": (lambda: tt.linear(f(2, 3), np.ones((3, 2)), transposed=False), D, "ndarray"),
    "outer": (lambda: tt.outer(f(2, 2), f(2)), S, "vectors"),
    # autograd
    "numpy of recorded": (lambda: leaf(2).numpy(), G, "detach"),
    # no tensor where one is needed
    "mean of an array": (lambda: tt.mean(np.ones(3)), D, "ndarray"),
    "sum of a list": (lambda: tt.sum([1.0, 2.0]), D, "list"),
    "reshape of a list": (lambda: tt.reshape([1.0, 2.0], (2, 1)), D, "list"),
    "sort of an array": (lambda: tt.sort(np.ones(3)), D, "ndarray"),
    "linear of an array": (lambda: tt.linear(np.ones((2, 2)), f(2, 2), transposed=False), D, "ndarray"),
    "linear weight of an array": (lambda: tt.linear(f(2, 2), np.ones((2, 2))), D, "ndarray"),
    "flip of None": (lambda: tt.flip(None), D, "NoneType"),
    "take from a list": (lambda: tt.take([1, 2], tt.tensor([0])), D, "list"),
    # arguments that are not what the signature says, found after the call failed
    "keepdims of a list": (lambda: f(2).max(keepdims=[]), D, "max: keepdims is []"),
    "keepdims too large": (lambda: tt.count_nonzero(f(2), keepdims=2**64), D, "True or False"),
    "keepdims of a product": (lambda: tt.prod(f(2), keepdims=2**64), D, "prod: keepdims"),
    "keepdims of all": (lambda: tt.all(f(2), keepdims=(1, 0)), D, "all: keepdims"),
    "norm of order ()": (lambda: tt.vector_norm(f(2), ord=()), D, "vector_norm: ord is ()"),
    "shape of a list": (lambda: tt.zeros_like([]), D, "zeros_like: an operand of type list"),
    "empty_like": (lambda: tt.empty_like(()), D, "empty_like: an operand of type tuple"),
    "ones_like": (lambda: tt.ones_like(1), D, "ones_like: an operand of type int"),
    "full_like": (lambda: tt.full_like(None, 1), D, "full_like: an operand of type NoneType"),
    "like, on no device": (lambda: tt.empty_like(f(2), device=np.ma.array([1, 2])), V, "empty"),
    "full_like of several": (lambda: tt.full_like(f(3), f(3)), S, "full: the value has shape (3,)"),
    "full of a huge shape": (lambda: tt.full(f(1).expand(2**62), 1.0), D, "a shape of type Tensor"),
    "tolerance": (lambda: tt.isclose(f(2), f(2), rtol=()), D, "isclose: rtol is ()"),
    "tolerance of allclose": (lambda: f(2).allclose(f(2), atol=[1, 2]), D, "allclose: atol is [1, 2]"),
    "betas": (lambda: tt.adamw_hyper(lr=1, step=1, betas=0.9), D, "betas is 0.9"),
    "betas of one": (lambda: tt.adamw_hyper(lr=1, step=1, betas=(0.9,)), D, "two numbers"),
    "step of a list": (lambda: tt.adamw_hyper(lr=1, step=[1]), D, "step is [1]"),
    "rate of a list": (lambda: tt.adamw_hyper(lr=[1], step=1), D, "lr is [1]"),
    "adamw_step of a tensor": (lambda: tt.adamw_step(f(()), f(()), f(()), f(()), f(10)), D, "no axes"),
    "adamw_step of a list": (lambda: tt.adamw_step([1], [1], [1], [1], f(10)), D, "operand of type int"),
    "grad of a number": (lambda: tt.grad(1.5, leaf(2)), D, "grad: an operand of type float"),
    "grad by a number": (lambda: tt.grad(leaf(2).sum(), 2**40), D, "grad: an operand of type int"),
    "grad from a number": (lambda: tt.grad(leaf(2).sum(), leaf(2), -1), D, "grad: an operand of type int"),
    "stream": (lambda: f(2).to_device("cpu", stream=1), A, "to_device: stream"),
    "smoothing": (lambda: ops.cross_entropy(f(2, 2), tt.zeros(2, dtype=tt.int64), label_smoothing=()), D,
                  "label_smoothing is ()"),
    "tile by a number": (lambda: tt.tile(f(2), 1.5), D, "tile: a number of repetitions of type float"),
    "tile by a tensor": (lambda: f(2).tile(f(1).expand(2**62)), tt.AllocationError, ""),
    "strides": (lambda: f(2).as_strided(2, 1), D, "as_strided: strides is 1"),
    "heads": (lambda: tt.causal_self_attention(f(1, 2, 12), {"a": 1}), D, "n_head is {'a': 1}"),
    "cache without axes": (
        lambda: tt.cached_self_attention(f(2), f(3), f(3), tt.arange(1), window=1), S, "fit"),
    "cache without tokens": (
        lambda: tt.cached_self_attention(f(()), f(2, 2), f(3), tt.arange(1), slopes=f(1)), S, "fit"),
    "eps of a tuple": (lambda: ops.rms_norm(f(3), eps=()), D, "rms_norm: eps is ()"),
    "factor of a tuple": (lambda: tt.scale_all_([f(3)], ()), D, "scale_all_: an operand of type tuple"),
    "one tensor for several": (lambda: tt.zero_all_(f(())), D, "no axes"),
    "broadcast to a fraction": (lambda: tt.broadcast_to(f(2), 1.5), D, "a shape of type float"),
    "broadcast to None": (lambda: tt.broadcast_to(f(2), None), D, "a shape of type NoneType"),
    "roll by no axis": (lambda: f(2).roll(np.array(1.5)), D, "roll: a shift of type ndarray"),
    "order of one axis": (lambda: tt.permute_dims(f(2, 3), np.array(1)), D, "a sequence of integers"),
    "order of axes": (lambda: tt.permute_dims(f(2, 3), 2**62), D, "a sequence of integers"),
    "ends of a list": (lambda: tt.linspace(0, [1, 2], 3), D, "linspace: stop is [1, 2]"),
    "memory of a tuple": (lambda: f(2).shares_memory((1,)), D, "shares_memory: an operand of type tuple"),
    "share of a tuple": (lambda: nn.Dropout(()), A, "Dropout: p is ()"),
    "groups of a tensor": (lambda: nn.Conv1d(2, 2, 2, groups=tt.zeros(1, dtype=tt.bfloat16).expand(2**62)), A,
                           "groups is tensor("),
    "filled with a tuple": (lambda: f(2).masked_fill(f(2) > 0, (1, 2)), D, "masked_fill: an operand of"),
    "scale with axes": (lambda: tt.adamw_hyper(lr=1, step=1, scale=f(2, 3)), S, "scale has shape (2, 3)"),
    "rate beyond float64": (lambda: tt.adamw_hyper(lr=10**400, step=1), tt.NumberRangeError, "too large"),
    "parts of a fraction": (lambda: f(2).split(1.5), D, "split: the size of a part of type float"),
    "roll by a fraction": (lambda: f(2).roll(1.5), D, "roll: a shift of type float"),
    "heads that do not divide": (lambda: nn.MultiheadAttention(7, 2**40), A, "num_heads=7"),
    "heads of a NumPy integer": (lambda: nn.MultiheadAttention(10**30, np.int64(2**62)), A, "num_heads="),
    # more memory than there is
    "numbers beyond all addresses": (lambda: tt.linspace(0, 1, 2**63 - 1), tt.AllocationError, "linspace"),
    "cast of a giant": (lambda: tt.ones(1, dtype=tt.bool).expand(2**60) + 1.0, tt.AllocationError, "add"),
    "cast of a giant, small enough": (
        lambda: tt.ones(1, dtype=tt.int64).expand(2**50).acosh(), tt.AllocationError, "acosh"),
    "16-bit giant": (lambda: tt.ones(1, dtype=tt.bfloat16).expand(2**50).exp(), tt.AllocationError, "exp"),
    "write to no giant": (
        lambda: tt.tensor([1j]).expand(2, 2**61)[:0].__setitem__(slice(2), 0), S, "too large"),
    "views of a giant": (lambda: f(1).expand(2**62).unbind(), tt.AllocationError, "unbind"),
    "parts of a giant": (lambda: f(0).expand(2**40, 0).chunk(2**60), tt.AllocationError, "chunk"),
    "walk over a giant": (lambda: iter(f(1).expand(2**62)), tt.AllocationError, "unbind"),
    "triangle of a giant": (lambda: f(1).expand(0, 2**40).tril(1), tt.AllocationError, "tri"),
    # calls of before, which would give another number
    "index, then axis": (lambda: tt.gather(f(2, 3), tt.tensor([[2], [0]]), 1), D, ""),
    "index before axis": (lambda: tt.scatter_add(f(2, 3), tt.tensor([[2], [0]]), f(2, 1), 1), D, ""),
    "shape before mean": (lambda: tt.normal((2, 3), 0.0, 1.0), D, ""),
    "more than there are": (lambda: tt.multinomial(tt.tensor([0.0, 1.0]), 3), A, "once"),
    "numbers as a mask": (lambda: tt.where(tt.bernoulli(f(2) / 4), f(2), 0.0), D, "where: the condition"),
    # to Python
    "item": (lambda: f(2).item(), S, "tolist"),
    "bool": (lambda: bool(f(2)), S, "any"),
    "float as index": (lambda: [1, 2][f(1)], D, "index"),
    "len of number": (lambda: len(tt.tensor(1.0)), TypeError, "axes"),
    "iterate number": (lambda: iter(tt.tensor(1.0)), TypeError, "axes"),
    "array with copy=False": (lambda: np.array(f(2), dtype=np.int64, copy=False), ValueError, "copy"),
    # random
    "uniform ends": (lambda: tt.uniform((2,), 1.0, 0.0), A, "low"),
    "normal std": (lambda: tt.normal(0.0, -1.0, (2,)), A, "negative"),
    "uniform of integers": (lambda: tt.uniform((2,), dtype=tt.int64), D, "randint"),
    "randint empty": (lambda: tt.randint(3, 3, (2,)), A, "empty"),
    "bernoulli": (lambda: tt.bernoulli(f(2) * 2), A, "[0, 1]"),
    "multinomial zero": (lambda: tt.multinomial(tt.zeros(3), 1), A, "positive weights"),
    "generator": (lambda: tt.rand(2, generator=7), D, "Generator"),
    # nn and optim
    "no forward": (lambda: nn.Module()(1), A, "forward"),
    "tensor for parameter": (lambda: setattr(nn.Linear(2, 2), "weight", f(2, 2)), A, "Parameter"),
    "missing attribute": (lambda: nn.Linear(2, 2).wieght, AttributeError, "wieght"),
    "state names": (lambda: nn.Linear(2, 2).load_state_dict({}), A, "missing"),
    "state shapes": (
        lambda: nn.Linear(2, 2).load_state_dict({"weight": f(3, 2), "bias": f(2)}), S, "weight"),
    "no parameters": (lambda: optim.SGD([], lr=0.1), A, ""),
    "not a leaf": (lambda: optim.SGD([leaf(2) * 2], lr=0.1), tt.TinyTensorError, "leaves"),
    "negative rate": (lambda: optim.SGD([leaf(2)], lr=-1.0), A, "lr"),
    "parameter twice": (lambda: optim.SGD([p := leaf(2), p], lr=0.1), A, "twice"),
}  # fmt: skip


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


@pytest.mark.parametrize("name", CALLS)
def test_wrong_calls_say_what_why_and_fix(name, no_gpu):
    call, error, word = CALLS[name]
    check_wrong_call(call, error, [word])
