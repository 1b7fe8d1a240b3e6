"""The runtime of a GPU, over a CuPy that pretends (fake_cupy.py) and, where there is one, on a GPU."""

from __future__ import annotations

import gc
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import cupy_fixtures
from tests.helpers.cupy_fixtures import get, install, put
from tests.helpers.fake_cupy import FakeCupy
from tests.helpers.fake_streams import MEMORY, CUDARuntimeError
from tinytensor.device import as_device
from tinytensor.dispatch import launch
from tinytensor.dtypes import float32, int32
from tinytensor.errors import AllocationError, ArgumentError, DeviceError, KernelError
from tinytensor.runtime import _runtimes as runtimes
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import LIMITS
from tinytensor.runtime.cuda.runtime import CupyRuntime, device_count

cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures
runtime, source = cupy_fixtures.runtime, cupy_fixtures.source


# ---- is there a GPU ----------------------------------------------------------------------------------------


def test_the_runtime_says_what_its_gpu_is(pretended):
    assert (pretended.architecture, pretended.multiprocessors) == (90, 132)
    assert repr(pretended) == "CupyRuntime(cuda, sm_90, 132 multiprocessors)"


def test_without_cupy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"CuPy cannot be imported[\s\S]*\[gpu13\][\s\S]*emulated"):
        CupyRuntime(as_device("cuda"))


def test_without_a_driver_or_gpu_the_error_points_to_the_emulator(monkeypatch):
    fake = install(FakeCupy(gpus=()), monkeypatch)
    with pytest.raises(DeviceError, match=r"no NVIDIA driver or GPU found[\s\S]*emulated") as raised:
        device_count()
    assert "cudaError" in raised.value.why
    fake.driver_version = 0
    with pytest.raises(DeviceError) as raised:
        CupyRuntime(as_device("cuda"))
    assert raised.value.why == "there is no NVIDIA driver on this machine"


@pytest.mark.parametrize(
    ("cuda", "driver", "why", "fix"),
    [
        (13000, 12040, "the driver is for CUDA 12.4, and this CuPy for CUDA 13", r"\[gpu12\]"),
        (12090, 11080, "the driver is for CUDA 11.8, and this CuPy for CUDA 12", "525 or newer"),
    ],
)
def test_a_driver_that_is_too_old_is_not_called_absent(cuda, driver, why, fix, cupy):
    cupy.cuda_version, cupy.driver_version = cuda, driver
    with pytest.raises(DeviceError, match=fix) as raised:
        device_count()
    assert raised.value.what == "device cuda: the NVIDIA driver is too old"
    assert raised.value.why == why
    assert "emulated" in raised.value.fix


def test_no_context_is_made_on_another_gpu(monkeypatch):
    fake = install(FakeCupy(gpus=("90", "90")), monkeypatch)
    fake.runtime.setDevice(1)
    runtime = CupyRuntime(as_device("cuda:1"))
    put(runtime, np.zeros(3))
    assert fake.contexts == {1}


@pytest.mark.parametrize(
    ("gpus", "name", "why"),
    [
        (("90",), "cuda:1", "this machine has 1 GPU, counted from 0"),
        (("90", "86"), "cuda:2", "this machine has 2 GPUs, counted from 0"),
        (("70",), "cuda", "the kernels need 7.5 (Turing, 2018) or newer"),
    ],
)
def test_a_gpu_that_is_absent_or_too_old(gpus, name, why, monkeypatch):
    install(FakeCupy(gpus=gpus), monkeypatch)
    with pytest.raises(DeviceError) as raised:
        CupyRuntime(as_device(name))
    assert raised.value.why == why


@pytest.mark.parametrize("wrong", ["13.6.0", "hip"])
def test_a_cupy_that_cannot_be_used(wrong, cupy, monkeypatch):
    if wrong == "hip":
        cupy.runtime.is_hip = True
    else:
        monkeypatch.setattr(cupy, "__version__", wrong)
    with pytest.raises(DeviceError, match="CuPy 14 or newer, built for CUDA"):
        device_count()


# ---- memory and copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 1000, (4 << 20) - 1, (4 << 20) + 1, (12 << 20) + 5])
def test_copies_go_there_and_back(runtime, n):
    data = np.random.default_rng(0).integers(0, 255, n, np.uint8)
    buffer = put(runtime, data)
    assert np.array_equal(get(runtime, buffer, data), data)
    assert runtime.statistics.copy_in_bytes == runtime.statistics.copy_out_bytes == n


def test_the_source_of_a_copy_may_be_overwritten_at_once(runtime):
    data = np.arange(3_000_000, dtype=np.float32)
    expected = data.copy()
    buffer = put(runtime, data)  # the stream is lazy: nothing has moved yet
    data.fill(0)
    other = put(runtime, data)
    assert np.array_equal(get(runtime, buffer, expected), expected)
    assert not get(runtime, other, data).any()


def test_small_copies_do_not_wait_for_the_step_before(runtime):
    data = [np.full(100, i, np.uint8) for i in range(20)]
    buffers = [put(runtime, values) for values in data[:8]]
    stream = runtime.stream
    if hasattr(stream, "queue"):  # pretended: nothing had to be done for them
        assert stream.done == 0
    buffers += [put(runtime, values) for values in data[8:]]
    for buffer, values in zip(buffers, data, strict=True):
        assert np.array_equal(get(runtime, buffer, values), values)


def test_copies_and_memset_follow_each_other(runtime):
    data = np.arange(64, dtype=np.uint8)
    a, b = put(runtime, data), runtime.alloc(64)
    runtime.copy(b.ptr, a.ptr, 64)
    runtime.memset(a.ptr, 7, 32)
    assert np.array_equal(get(runtime, b, data), data)
    assert get(runtime, a, data)[:34].tolist() == [7] * 32 + [32, 33]


def test_arrays_without_axes_are_copied(runtime):
    buffer = put(runtime, np.array(2.5))
    assert get(runtime, buffer, np.array(0.0)) == 2.5


def test_memory_in_a_reference_cycle_returns_to_the_pool(lazy):
    x = tt.zeros(100, device=lazy)
    address = x.storage.buffer.ptr
    cycle = [x]
    cycle.append(cycle)
    del x, cycle
    gc.collect()
    again = tt.ones(100, device=lazy)
    assert again.storage.buffer.ptr == address
    assert again.tolist() == [1.0] * 100


def test_blocks_are_used_again(runtime):
    first = runtime.alloc(5000)
    ptr = first.ptr
    runtime.returned.append(first)
    del first
    assert runtime.alloc(5100).ptr == ptr
    assert runtime.statistics.reused_calls == 1
    assert runtime.statistics.fresh_calls == 1


def test_free_blocks_are_given_back_before_memory_runs_out(monkeypatch):
    fake = install(FakeCupy(capacity=4 << 20), monkeypatch)
    pretended = CupyRuntime(as_device("cuda"))
    pretended.returned.append(pretended.alloc(3 << 20))
    kept = pretended.alloc(2 << 20)  # another size class: only fits once the first block is gone
    assert sum(fake.freed) == 3 << 20
    with pytest.raises(AllocationError) as raised:
        pretended.alloc(4 << 20)
    assert raised.value.what == "allocation on cuda: out of memory: 4,194,304 bytes are not available"
    assert raised.value.why.startswith(
        "2,097,152 bytes are in use (peak 3,145,728; 2 blocks allocated, 0 reused"
    )
    assert raised.value.why.endswith("2,097,152 of the 4,194,304 bytes of the GPU are free")
    assert kept.nbytes == 2 << 20


def test_memory_may_run_out_without_a_pool_of_cupy(pretended, cupy, monkeypatch):
    def none_left(nbytes):
        raise CUDARuntimeError(status)

    monkeypatch.setattr(cupy.cuda, "alloc", none_left)
    status = MEMORY
    with pytest.raises(AllocationError, match="512 bytes are not available"):
        pretended.alloc(1)
    status = 700
    with pytest.raises(KernelError, match="IllegalAddress"):
        pretended.alloc(1)


def test_release_gives_cupy_its_memory_back(pretended, cupy):
    pretended.returned.extend([pretended.alloc(512), pretended.alloc(1024)])
    assert pretended.settle().cached == 1536
    assert pretended.release() == 1536
    assert sorted(cupy.freed) == [512, 1024]


def test_release_frees_the_memory_of_its_own_gpu(monkeypatch):
    fake = install(FakeCupy(gpus=("90", "90"), capacity=4096), monkeypatch)
    first, second = CupyRuntime(as_device("cuda:0")), CupyRuntime(as_device("cuda:1"))
    for runtime in (first, second):
        runtime.returned.append(runtime.alloc(512))
    assert second.release() == 512
    assert fake.here.device == 0
    with fake.cuda.Device(1):
        assert fake.runtime.memGetInfo() == (4096, 4096)
    assert fake.runtime.memGetInfo() == (4096 - 512, 4096)


# ---- without a pool ----------------------------------------------------------------------------------------


@pytest.fixture
def exact(cupy, monkeypatch):
    monkeypatch.setenv("TINYTENSOR_POOL", "off")
    return CupyRuntime(as_device("cuda"))


def test_without_a_pool_each_buffer_has_its_own_memory(exact, cupy):
    buffer, empty = exact.alloc(100), exact.alloc(0)
    assert cupy.mallocs == [100, 1]  # cudaMalloc, by the byte
    with pytest.raises(KernelError, match="InvalidValue"):
        exact.memset(buffer.ptr, 0, 101)  # what compute-sanitizer sees in a kernel
    exact.memset(buffer.ptr, 0, 100)
    exact.returned.extend([buffer, empty])
    del buffer, empty
    assert exact.settle().cached == 0
    assert cupy.freed == [100, 1]
    assert cupy.early == 0  # the memset was waited for
    assert exact.alloc(100).nbytes == 100
    assert exact.statistics.reused_calls == 0


def test_without_a_pool_a_graph_keeps_its_memory(exact, cupy):
    before = exact.alloc(64)
    with exact.capture() as graph:
        scratch = exact.alloc(64)
        exact.memset(scratch.ptr, 3, 64)
        exact.returned.extend([scratch, before])
    del scratch, before
    exact.settle()
    assert cupy.freed == []
    graph.launch()
    del graph
    gc.collect()
    exact.settle()
    assert (cupy.freed, cupy.early) == ([64, 64], 0)


def test_without_a_pool_memory_runs_out_with_words(monkeypatch):
    monkeypatch.setenv("TINYTENSOR_POOL", "off")
    install(FakeCupy(capacity=1000), monkeypatch)
    with pytest.raises(AllocationError, match="1,001 bytes are not available"):
        CupyRuntime(as_device("cuda")).alloc(1001)


def test_a_wrong_value_is_refused(cupy, monkeypatch):
    monkeypatch.setenv("TINYTENSOR_POOL", "no")
    with pytest.raises(ArgumentError, match=r"TINYTENSOR_POOL=no: it is on or off[\s\S]*compute-sanitizer"):
        CupyRuntime(as_device("cuda"))


# ---- kernels -----------------------------------------------------------------------------------------------


def test_arguments_arrive_as_the_kernel_declares_them(runtime, source):
    x = np.arange(1000, dtype=np.float32)
    a, y = put(runtime, x), runtime.alloc(x.nbytes)
    scale = runtime.kernel(source, "scale", float32)
    pair = np.array([(0.5, 4)], np.dtype([("a", "f8"), ("b", "i4")], align=True)).tobytes()
    scale(3, 64, (y, a, 2, 1000, np.True_, pair))  # 2 for a float: Python's int is not C's
    assert np.array_equal(get(runtime, y, x), x * 2 + 2)
    assert scale.name == "scale<float>"
    assert runtime.statistics.launch_calls == 1


def test_a_tensor_map_lies_at_a_multiple_of_its_size(pretended, tmp_path):
    file = tmp_path / "map.cu"
    file.write_text(
        "struct alignas(64) TensorMap { unsigned char bytes[128]; };\n"
        "__global__ void sum(int* y, int n, const __grid_constant__ TensorMap map, short last) {\n"
        "    for (int i = 0; i < n; i++) y[0] += map.bytes[i] + last;\n"
        "}\n"
    )
    y = put(pretended, np.zeros(1, np.int32))
    pretended.kernel(file, "sum")(1, 1, (y, 128, bytes(range(128)), 1))  # the fake looks at the addresses
    assert get(pretended, y, np.zeros(1, np.int32)).item() == 127 * 64 + 128


def test_instances_compiled_together_are_there(pretended, source, cupy):
    pretended.kernel(source, "fill", together=[("scale", (float32,)), ("scale", (int32,))])
    compiled = dict(cupy.compiled)
    pretended.kernel(source, "scale", int32)
    assert cupy.compiled == compiled
    assert {instance for _, instance, *_ in compiled.values()} == {"fill", "scale<float>", "scale<int>"}


def test_sizes_of_a_launch(pretended, source, cupy):
    y = pretended.alloc(4 * 64)
    fill = pretended.kernel(source, "fill")
    fill((2, 1), 32, (y, 5), shared=32)
    with pytest.raises(KernelError, match=r"fill: cuda refuses grid -1"):
        fill(-1, 32, (y, 5))
    with pytest.raises(KernelError, match="refuses grid 4294967296"):
        fill(1 << 32, 32, (y, 5))
    fill(1, (8, 1, 1), (y, 6), shared=60_000)  # more than 48 KB must be asked for
    fill(1, 8, (y, 7), shared=50_000)  # and is asked for once
    assert cupy.launches == [
        ("fill", (2, 1, 1, 32, 1, 1), 32),
        ("fill", (1, 1, 1, 8, 1, 1), 60_000),
        ("fill", (1, 1, 1, 8, 1, 1), 50_000),
    ]
    assert cupy.granted == [60_000]
    assert get(pretended, y, np.zeros(64, np.int32)).tolist() == [7] * 8 + [5] * 56


def test_static_and_dynamic_memory_count_together(pretended, tmp_path):
    file = tmp_path / "both.cu"
    file.write_text(
        "__global__ void both(int* y) {\n"
        "    __shared__ int own[5000];\n"
        "    extern __shared__ int more[];\n"
        "    own[threadIdx.x] = 1, more[threadIdx.x] = 2;\n"
        "    __syncthreads();\n"
        "    y[threadIdx.x] = own[31 - threadIdx.x] + more[31 - threadIdx.x];\n"
        "}\n"
    )
    y = pretended.alloc(4 * 32)
    both = pretended.kernel(file, "both")
    assert both.resources.shared == 20_000
    both(1, 32, (y,), shared=40_000)  # each is less than 48 KB
    assert get(pretended, y, np.zeros(32, np.int32)).tolist() == [3] * 32


TOGETHER = """
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
__global__ void turn(int* y, int n) {
    cg::grid_group all = cg::this_grid();
    const int i = all.thread_rank(), value = i < n ? y[i] : 0;
    all.sync();
    if (i < n) y[n - 1 - i] = value;
}
__device__ __noinline__ void meet() { cg::this_grid().sync(); }
__global__ void called(int* y, int n) { meet(); }
__global__ void ranks(int* y, int n) { if (cg::this_grid().thread_rank() < n) y[blockIdx.x] = 1; }
"""


def test_kernels_with_a_barrier_of_the_grid_are_launched_cooperatively(runtime, tmp_path):
    file = tmp_path / "together.cu"
    file.write_text(TOGETHER)
    data = np.arange(1000, dtype=np.int32)
    y = put(runtime, data)
    turn, called, ranks = (runtime.kernel(file, name) for name in ("turn", "called", "ranks"))
    turn(4, 256, (y, 1000))  # launched otherwise it fails
    assert np.array_equal(get(runtime, y, data), data[::-1])
    called(2, 32, (y, 0))
    ranks(10_000, 32, (y, 0))  # more blocks than run at once: it has no barrier
    runtime.synchronize()
    if isinstance(runtime.cupy, FakeCupy):
        assert runtime.cupy.together == ["turn", "called"]
        assert runtime.cupy.launches[0] == ("turn", (4, 1, 1, 256, 1, 1), 0)
    fits = LIMITS[runtime.architecture].warps // 32 * runtime.multiprocessors  # blocks of 1,024 threads
    turn(fits, 1024, (y, 0))
    with pytest.raises(KernelError, match=rf"turn: \S+ refuses grid {fits + 1}, block 1024") as raised:
        turn(fits + 1, 1024, (y, 0))
    assert f"{fits} blocks" in raised.value.fix
    assert "this_grid()" in raised.value.why


@pytest.mark.parametrize(("grid", "block"), [((1, 70_000), 32), (1, 2048), (1, (1, 1, 65)), (0, 32), (1, 0)])
def test_sizes_that_no_gpu_has(pretended, source, grid, block):
    with pytest.raises(KernelError, match="fill: cuda refuses grid"):
        pretended.kernel(source, "fill")(grid, block, (pretended.alloc(64), 1))


def test_a_block_with_more_registers_than_there_are(pretended, tmp_path):
    file = tmp_path / "wide.cu"
    sums = " ".join(f"a{i} = a{i} * a{(i + 7) % 90} + x[i * {i}];" for i in range(90))
    file.write_text(
        "__global__ void wide(float* y, const float* x, int n) {\n"
        f"    float {', '.join(f'a{i} = x[{i}]' for i in range(90))};\n"
        f"    for (int i = 0; i < n; i++) {{ {sums} }}\n"
        f"    y[threadIdx.x] = {' + '.join(f'a{i}' for i in range(90))};\n"
        "}\n"
    )
    wide = pretended.kernel(file, "wide")
    assert wide.resources.registers > 64
    with pytest.raises(KernelError, match=r"OutOfResources; the kernel uses \d+ registers per thread"):
        wide(1, 1024, (pretended.alloc(4096), pretended.alloc(4096), 0))


def test_errors_of_a_launch_name_kernel_grid_and_block(pretended, source, cupy):
    fill = pretended.kernel(source, "fill")
    y = pretended.alloc(64)
    cupy.refuse_launch = 701
    with pytest.raises(KernelError) as raised:
        fill((4, 70_000), 2048, (y, 1))
    assert raised.value.what == ("fill: cuda refuses grid (4, 70000), block 2048, 0 bytes of shared memory")
    assert "registers per thread" in raised.value.why
    assert 'device="checked"' in raised.value.fix
    with pytest.raises(KernelError, match=r"fill: 300,000 bytes of dynamic shared memory are not available"):
        fill(1, 32, (y, 1), shared=300_000)
    with pytest.raises(KernelError, match=r"fill: 1 argument for 2 parameters"):
        fill(1, 32, (y,))


def test_a_kernel_that_fails_later_is_among_those_named(pretended, source, cupy):
    fill = pretended.kernel(source, "fill")
    fill(1, 32, (0, 1), shared=32)  # address 0
    with pytest.raises(KernelError) as raised:
        pretended.synchronize()
    assert raised.value.what == "cuda: cudaErrorIllegalAddress"
    assert raised.value.why.endswith("the last launches were fill (grid 1, block 32)")
    assert 'device="checked"' in raised.value.fix
    assert "CUDA_LAUNCH_BLOCKING=1" in raised.value.fix
    cupy.fault = 0
    cupy.refuse_launch = 700
    with pytest.raises(KernelError, match=r"started before has failed"):
        fill(1, 32, (0, 1), shared=32)


def test_a_driver_that_cannot_load_the_code(pretended, source, monkeypatch):
    monkeypatch.setattr(nvrtc, "target_for", lambda *_: "compute_90")  # the fake loads no PTX
    with pytest.raises(KernelError, match=r"does not load the code for compute_90[\s\S]*update the driver"):
        pretended.kernel(source, "fill")


def test_a_kernel_that_is_not_there(runtime, source):
    with pytest.raises(
        KernelError, match=r"kernel sacle: scale.cu has no kernel of this name[\s\S]*fill, scale"
    ):
        runtime.kernel(source, "sacle", float32)


def test_structs_of_another_size_are_refused(runtime, source):
    scale = runtime.kernel(source, "scale", float32)
    with pytest.raises(KernelError, match=r"structs of \(12,\) bytes were given, the kernel has \(16,\)"):
        scale(1, 32, (0, 0, 1.0, 0, False, bytes(12)))


def test_threads_launch_the_same_kernel(runtime, source):
    fill = runtime.kernel(source, "fill")
    buffers = [runtime.alloc(4 * 32) for _ in range(8)]

    def work(value):
        for _ in range(50):
            fill(1, 32, (buffers[value], value), shared=32)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value, buffer in enumerate(buffers):
        assert get(runtime, buffer, np.zeros(32, np.int32)).tolist() == [value] * 32


# ---- tensors -----------------------------------------------------------------------------------------------


def test_tensors_compute_on_it(pretended, cupy, monkeypatch):
    monkeypatch.setitem(runtimes, as_device("cuda"), pretended)
    monkeypatch.setattr(launch, "_launches", {})
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    t = tt.tensor(x.tolist(), device="cuda")
    y = (t[:, ::2].T * 2.0 + 1.0).exp()
    assert y.device == tt.Device("cuda")
    np.testing.assert_allclose(y.to("cpu").numpy(), np.exp(x[:, ::2].T * 2 + 1), rtol=1e-6)
    assert {name.partition("<")[0] for name, *_ in cupy.launches} == {
        "elementwise_contiguous",
        "elementwise_strided",
    }


# ---- the pretended CuPy ------------------------------------------------------------------------------------


def test_the_real_cupy_has_what_the_pretended_one_has():
    real = pytest.importorskip("cupy")

    def compare(ours, theirs, where):
        for name, value in vars(ours).items():
            found = getattr(theirs, name)  # AttributeError: CuPy does not have it
            if isinstance(value, SimpleNamespace):
                compare(value, found, f"{where}.{name}")
            elif isinstance(value, int) and name != "is_hip":
                assert found == value, f"{where}.{name}"

    compare(FakeCupy().cuda, real.cuda, "cupy.cuda")
