"""The emulated device runs kernels as a GPU does: blocks, barriers, warps, atomics. Against NumPy."""

import re

import numpy as np
import pytest

from tests.helpers.emulated import compiled, emulated, run
from tests.helpers.source import ROOT
from tinytensor import dtypes
from tinytensor.errors import KernelError

SOURCE = ROOT / "tests" / "device_code" / "emulator.cu"
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)
SHUFFLED = (dtypes.int32, dtypes.int64, *FLOATS)
PLAIN = re.findall(r"(?m)^(?<!>\n)__global__ void (?:__launch_bounds__\(64\) )?(\w+)\(", SOURCE.read_text())
INSTANCES = [
    *((name, ()) for name in PLAIN),
    *(("keeps_own_static", (n,)) for n in (1, 2)),
    *(("bounded_by", (n,)) for n in (1, 5)),
    *(("shuffles", (dtype,)) for dtype in SHUFFLED),
    *(("sums", (dtype,)) for dtype in (*FLOATS, dtypes.int32)),
    *(("echo", (dtype,)) for dtype in FLOATS),
]


def kernel(name, *arguments):
    return emulated().kernel(SOURCE, name, *arguments, together=INSTANCES)


def zeros(*shape, dtype=np.int32):
    return np.zeros(shape, dtype)


@pytest.fixture(params=[0, 1, 12345], ids=["forwards", "backwards", "drawn"])
def order(request):
    """Each kernel must give the same in every order of its threads."""
    with emulated().schedule(order=request.param):
        yield


# ---- the block ---------------------------------------------------------------------------------------------


def test_indices(order):
    out = zeros(2 * 3 * 2, 5 * 2 * 3, 6)
    run(kernel("ids"), (2, 3, 2), (5, 2, 3), out)
    block, thread = np.meshgrid(np.arange(12), np.arange(30), indexing="ij")
    expected = [thread % 5, thread // 5 % 2, thread // 10, block % 2, block // 2 % 3, block // 6]
    assert np.array_equal(out, np.stack(expected, -1))


@pytest.mark.parametrize("threads", [1, 31, 32, 33, 200, 1024])
def test_barriers(order, threads):
    x = np.arange(4 * threads, dtype=np.int32).reshape(4, threads)
    out = zeros(4, threads)
    run(kernel("reverse"), 4, threads, out, x)
    assert np.array_equal(out, x[:, ::-1] + 2)


@pytest.mark.parametrize(
    ("name", "shared", "expected", "arguments"),
    [
        ("reverse_dynamic", 400, np.arange(100)[::-1], [np.arange(100, dtype=np.int32)]),
        ("early_exit", 0, [sum(range(40)) if i < 40 else 0 for i in range(100)], []),  # 60 have ended
        ("constants", 0, [2, 3, 5, 7] * 2, []),
        ("halves", 0, np.repeat([sum(range(16)), 31, sum(range(32, 48)), 63], 16), []),  # of warps
    ],
)
def test_one_block(order, name, shared, expected, arguments):
    out = zeros(len(expected))
    run(kernel(name), 1, len(expected), out, *arguments, shared=shared)
    assert out.tolist() == list(expected)


def test_static_shared_memory_is_counted_for_each_instance(tmp_path):
    """Also of instances of one unit whose names differ in a class at their end."""
    text = """
    struct Plain {}; struct Squared {};
    template <int N, class Op> __global__ void large(float* y) {
        __shared__ float s[N];
        s[threadIdx.x] = sizeof(Op);
        y[threadIdx.x] = s[threadIdx.x];
    }"""
    made = compiled(tmp_path / "large.cu", text, ("large", (8000, "Plain")), ("large", (8000, "Squared")))
    assert [k.name for k in made] == ["large<8000, Plain>", "large<8000, Squared>"]


@pytest.mark.parametrize("value", [0, 1, None])
def test_counting_barriers(order, value):
    x = np.arange(70, dtype=np.int32) % 2 if value is None else np.full(70, value, np.int32)
    out = zeros(70, 3)
    run(kernel("counts"), 1, 70, out, x)
    there = np.arange(70) % 7 != 6
    assert (out[there] == [x[there].sum(), x[there].all(), x[there].any()]).all()
    assert (out[~there] == 0).all()


def test_static_variables_belong_to_one_instance():
    for n in (1, 2):
        out = zeros(32)
        run(kernel("keeps_own_static", n), 1, 32, out)
        assert (out == n).all()


def test_a_missing_barrier_shows_in_another_order():
    results = []
    for seed in (0, 1):
        out = zeros(64)
        with emulated().schedule(order=seed):
            run(kernel("lacks_barrier"), 1, 64, out)
        results.append(out)
    assert not np.array_equal(*results)


def test_orders_visit_each_block_and_thread_once():
    turns = {}
    for seed in (0, 1, 2, 99, 2**63 + 5):
        out = zeros(5 * 40)
        with emulated().schedule(order=seed):
            run(kernel("turns"), 5, 40, out, zeros(1))
        assert sorted(out) == list(range(200))
        turns[seed] = out.tolist()
    assert turns[0] == sorted(turns[0])
    assert turns[1] == turns[0][::-1]
    assert turns[99] not in (turns[0], turns[1], turns[2])


# ---- the warp ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [32, 16, 4])
@pytest.mark.parametrize("dtype", SHUFFLED, ids=str)
def test_shuffles(order, dtype, width):
    x = (np.arange(64) * 3).astype(dtype.code)  # as bits for bfloat16
    out = np.zeros((4, 64), x.dtype)
    run(kernel("shuffles", dtype), 1, 64, out, x, width)
    t = np.arange(64)
    lane, start = t % width, t - t % width
    xor = t ^ 9
    sources = [
        start + 3 % width,
        np.where(lane >= 2, t - 2, t),
        np.where(lane + 5 < width, t + 5, t),
        np.where(xor % 32 <= (t % 32 | width - 1), xor, t),
    ]
    assert np.array_equal(out, x[np.array(sources)])


@pytest.mark.parametrize("mask", [0xFFFFFFFF, 0x0F0F00F1])
def test_votes(order, mask):
    x = np.array([0, 1, 1, 5] * 16, np.int32)
    x[40:] = 7
    out = zeros(64, 8).view(np.uint32)
    run(kernel("votes"), 1, 64, out, x, mask)
    lanes = [i for i in range(32) if mask >> i & 1]
    for warp in range(2):
        mine = {i: int(x[32 * warp + i]) for i in lanes}
        same = {i: sum(1 << j for j in lanes if mine[j] == mine[i]) for i in lanes}
        for i in lanes:
            row = [sum(1 << j for j in lanes if mine[j]), any(mine.values()), all(mine.values())]
            row += [same[i], same[i], mask if same[i] == mask else 0, same[i] == mask, 0]
            assert out[32 * warp + i].tolist() == row
    assert (out.reshape(2, 32, 8)[:, [i for i in range(32) if i not in lanes]] == 0).all()


def test_reductions_of_a_warp(order):
    x = np.random.default_rng(0).integers(-(2**31), 2**31, 32, np.int32)
    bits = x.view(np.uint32)
    out = zeros(32, 9)
    run(kernel("reductions"), 1, 32, out, x)
    total = np.add.reduce(x, dtype=np.int32)
    expected = [total, x.min(), x.max(), *(f(bits).view(np.int32) for f in (np.min, np.max))]
    expected += [f.reduce(bits).view(np.int32) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)]
    assert (out == [*expected, total]).all()


@pytest.mark.parametrize("there", [18, 17])
def test_lanes_that_ended_hold_up_nobody(order, there):
    out = zeros(2, 64, dtype=np.float32)
    run(kernel("ended_lanes"), 1, 64, out, there)
    lanes = np.arange(64) % 32 < there
    expected = np.repeat([17.0, 49.0], 32) if there > 17 else np.full(64, np.nan)
    assert np.array_equal(out[0][lanes], expected[lanes], equal_nan=True)
    assert np.array_equal(out[1], np.where(lanes, np.repeat([2.0**there - 1, 255.0], 32), 0))


# ---- atomics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("dtype", [dtypes.int32, *FLOATS], ids=str)
def test_atomic_sums(dtype, workers):
    limit = {dtypes.float16: 2048, dtypes.bfloat16: 256}.get(dtype, 1_000_000)  # from there on x + 1 == x
    out = np.zeros(1, dtype.code)
    with emulated().schedule(workers=workers):
        run(kernel("sums", dtype), 64, 64, out, limit + 50)
    value = (out.astype(np.uint32) << 16).view(np.float32) if dtype is dtypes.bfloat16 else out
    assert value[0] == (limit if dtype.narrow else limit + 50)


@pytest.mark.parametrize("workers", [1, 2])
def test_atomics_are_plain_only_where_one_worker_runs(workers):
    out = zeros(8)
    with emulated().schedule(workers=workers):
        for _ in range(2):
            run(kernel("plain_atomics"), 8, 1, out)
    assert (out == (workers == 1)).all()


@pytest.mark.parametrize("workers", [1, 4])
def test_integer_atomics(workers):
    n = 3000
    out = np.array([0, 0, 0, 0, -1, 0], np.int32)
    wrapped, wide, extremes = zeros(3, dtype=np.uint32), zeros(2, dtype=np.uint64), zeros(2, dtype=np.int64)
    with emulated().schedule(workers=workers):
        run(kernel("integer_atomics"), 48, 64, out, wrapped, wide, extremes, n)
    xor = np.bitwise_xor.reduce(np.arange(n))
    assert out.tolist() == [-2 * n, 1 - n, n - 1, 2**31 - 1, -(2**31), xor]
    assert wrapped.tolist() == [n % 7, -n % 7, 7]
    assert wide.tolist() == [(3**n - 1) // 2 % 2**64, 1]
    assert extremes.tolist() == [-(n - 1) << 33, (n - 1) << 33]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_last_block_sees_what_all_wrote(workers):
    x = np.arange(20_000, dtype=np.float32)
    total, arrived = zeros(1, dtype=np.float32), zeros(1, dtype=np.uint32)
    with emulated().schedule(workers=workers):
        run(kernel("sum_by_last_block"), 79, 256, total, zeros(79, dtype=np.float32), arrived, x, x.size)
    assert total[0] == np.float32(x.sum(dtype=np.float64))
    assert arrived[0] == 0


def test_workers_give_the_same_bits():
    results = []
    for workers in (1, 2, 7):
        out = zeros(40, 64, dtype=np.float32)
        with emulated().schedule(workers=workers):
            run(kernel("busy"), 40, 64, out, 1000)
        results.append(out)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


# ---- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_arguments_arrive_as_they_were_given(dtype):
    box = np.array([(-(2**40), [1, 2, 3])], np.dtype([("a", "i8"), ("b", "i4", 3)], align=True)).tobytes()
    assert len(box) == 24
    out = zeros(13, dtype=np.float64)
    numbers = (-1.5, True, -128, -(2**15), -(2**31), 2**32 - 1, -(2**40), 2**64 - 2**12, 0.1, 0.1)
    run(kernel("echo", dtype), 1, 1, out, *numbers, box, None)
    expected = [*numbers[:8], np.float32(0.1), 0.1, -(2**40), 321, 1]
    assert np.array_equal(out, np.array(expected, np.float64))


@pytest.mark.parametrize("size", [0, 20, 25])
def test_a_struct_of_another_size_is_refused(size):
    out = zeros(13, dtype=np.float64)
    with pytest.raises(
        KernelError, match=rf"structs of \({size},\) bytes were given, the kernel has \(24,\)"
    ):
        run(kernel("echo", dtypes.float32), 1, 1, out, 1, True, *[1] * 8, bytes(size), None)
