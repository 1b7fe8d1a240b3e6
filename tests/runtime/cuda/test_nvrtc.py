"""NVRTC through ctypes: cubins without a GPU, its words in our errors, the cache, and what ptxas says."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.fake_cupy import FakeCupy
from tests.helpers.kernel_table import markdown_table
from tinytensor.errors import DeviceError, KernelError
from tinytensor.runtime import compiler, kernel_cache
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import LIMITS, Resources, occupancy, resources_of

needs_nvrtc = pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed (extra [dev])")

SOURCE = """
#include <cuda_fp16.h>
#include "scale.cuh"
template <class T> __global__ void scale(T* y, const T* x, float by, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = T(scaled(float(x[i]), by));
}
__global__ void reverse(float* x) {
    __shared__ float all[64];
    all[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = all[63 - threadIdx.x];
}
__global__ void gather(float* x) {
    float own[64];
    for (int i = 0; i < 64; i++) own[i] = x[i];
    for (int i = 0; i < 64; i++) x[i] = own[int(x[64 + i]) & 63];
}
"""
HEADER = "__device__ inline float scaled(float x, float by) { return x * by; }\n"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file with kernels in a folder with a blank in its name, and an empty cache."""
    monkeypatch.setenv("TINYTENSOR_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "my kernels"
    folder.mkdir()
    (folder / "scale.cuh").write_text(HEADER)
    file = folder / "scale.cu"
    file.write_text(SOURCE)
    return file


@pytest.fixture
def compilations(monkeypatch):
    """What was compiled and not found in the cache."""
    seen = []
    compile_file = nvrtc._compile

    def watched(text, path, names, target, options):
        seen.append(target)
        return compile_file(text, path, names, target, options)

    monkeypatch.setattr(nvrtc, "_compile", watched)
    return seen


@needs_nvrtc
@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_a_cubin_is_an_elf_file_with_the_kernels_asked_for(source, architecture):
    names = ["scale<float>", "scale<__half>", "reverse"]
    compiled = nvrtc.build(source, names, f"sm_{architecture}")
    assert compiled.image.startswith(b"\x7fELF")
    assert sorted(compiled.symbols) == sorted(names)
    for symbol in compiled.symbols.values():
        assert symbol.encode() in compiled.image
    # c++filt undoes the mangling of the Itanium ABI, in which NVRTC names kernels.
    assert compiled.symbols["scale<float>"] == "_Z5scaleIfEvPT_PKS0_fi"


@needs_nvrtc
def test_ptx_is_text_for_a_driver_to_finish(source):
    compiled = nvrtc.build(source, ["reverse"], "compute_90")
    assert b".target sm_90" in compiled.image
    assert compiled.symbols["reverse"].encode() in compiled.image
    assert compiled.resources == {}


@needs_nvrtc
def test_numbers_stay_subnormal_and_quotients_exact(source):
    source.write_text("__global__ void f(float* x) { x[0] = x[1] / x[2] + sqrtf(x[3]); }")
    ptx = nvrtc.build(source, ["f"], "compute_80").image
    assert b"div.rn.f32" in ptx
    assert b"sqrt.rn.f32" in ptx
    assert b".ftz" not in ptx
    assert b".approx" not in ptx


@needs_nvrtc
def test_resources_come_from_the_log(source):
    found = nvrtc.build(source, ["scale<float>", "reverse", "gather"], "sm_80").resources
    assert found["scale<float>"].stack == 0
    assert 0 < found["scale<float>"].registers < 32
    assert found["reverse"].shared == 64 * 4
    assert found["reverse"].barriers == 1
    assert found["gather"].stack == 64 * 4


@needs_nvrtc
def test_the_sizes_of_parameters_are_those_of_the_abi(source):
    source.write_text(
        """
        #include <cuda_fp16.h>
        struct Pair { double a; char b; };
        struct alignas(16) Wide { float at[4]; int n; };
        template <class T, class I>
        __global__ void f(T* y, const T* __restrict__ x, I n, float a, bool b, Pair p, __half h, double d,
                          Wide w)
        {}
        __global__ void __launch_bounds__(128) nothing() {}
        """
    )
    compiled = nvrtc.build(source, ["f<float, int>", "f<float, long long>", "nothing"], "sm_90")
    assert compiled.parameters == {
        "f<float, int>": (8, 8, 4, 4, 1, 16, 2, 8, 32),
        "f<float, long long>": (8, 8, 8, 4, 1, 16, 2, 8, 32),
        "nothing": (),
    }


@needs_nvrtc
def test_nothing_is_compiled_twice(source, compilations):
    first = nvrtc.build(source, ["reverse"], "sm_80")
    again = nvrtc.build(source, ["reverse"], "sm_80")
    assert again == first
    assert compilations == ["sm_80"]


@needs_nvrtc
def test_who_needs_the_same_at_once_waits(source, compilations):
    """As the ranks of a training do, which are processes; locks hold between threads, too."""
    with ThreadPoolExecutor(3) as pool:
        built = [pool.submit(nvrtc.build, source, ["reverse"], "sm_80") for _ in range(3)]
        images = {one.result().image for one in built}
    assert (len(images), compilations) == (1, ["sm_80"])


@needs_nvrtc
@pytest.mark.parametrize("change", ["file", "header", "instances", "target", "broken"])
def test_a_change_compiles_anew(source, compilations, change, tmp_path):
    nvrtc.build(source, ["scale<float>"], "sm_80")
    if change == "file":
        source.write_text(SOURCE + "\n")
    elif change == "header":
        (source.parent / "scale.cuh").write_text(HEADER.replace("x * by", "x + by"))
    elif change == "broken":
        (file,) = (file for file in (tmp_path / "cache" / "nvrtc").rglob("*") if file.is_file())
        file.write_bytes(file.read_bytes()[:-1])
    names = ["scale<float>", "reverse"] if change == "instances" else ["scale<float>"]
    nvrtc.build(source, names, "sm_90" if change == "target" else "sm_80")
    assert len(compilations) == 2


@needs_nvrtc
@pytest.mark.parametrize(
    ("text", "instance", "where", "why"),
    [
        ("\n\n__global__ void f() { foo(); }", "f", "scale.cu:3: ", 'identifier "foo" is undefined'),
        ('#include "absent.cuh"', "f", "scale.cu:1: ", 'cannot open source file "absent.cuh"'),
        (
            "template <class T> __global__ void f() {}",
            "f<int, 3>",
            "scale.cu: f<int, 3>: ",
            "cannot determine",
        ),
        ("__global__ void f() {}", "g", "scale.cu: g: ", 'identifier "g" is undefined'),
        (
            '__global__ void f() { asm volatile("cp.async.wait_all;"); }',
            "f",
            "scale.cu: ",
            "Feature 'cp.async.wait_all' requires .target sm_80 or higher",
        ),
    ],
)
def test_an_error_has_file_line_and_words(source, text, instance, where, why):
    source.write_text(text)
    with pytest.raises(KernelError) as raised:
        nvrtc.build(source, [instance], "sm_75")
    assert raised.value.what.endswith(f"{where}does not compile for sm_75")
    assert raised.value.why.startswith(why)


@pytest.fixture
def looked_for_again():
    """NVRTC is looked for in the test, and after it."""
    nvrtc._toolkit.cache_clear()
    yield
    nvrtc._toolkit.cache_clear()


@pytest.mark.usefixtures("looked_for_again")
def test_without_nvrtc_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nvrtc, "_places", lambda: iter([(Path("nowhere"), Path("nowhere"))]))
    assert not nvrtc.available()
    with pytest.raises(DeviceError, match=r"NVRTC.*was not found[\s\S]*\[gpu13\]"):
        nvrtc.toolkit()


@pytest.mark.usefixtures("looked_for_again")
@pytest.mark.parametrize(
    "folders",
    [
        ["nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cu13/include/cuda_fp16.h"],
        [
            "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
            "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9",
            "nvidia/cuda_runtime/include/cuda_fp16.h",
        ],
        ["conda/targets/sbsa-linux/lib/libnvrtc.so.13", "conda/targets/sbsa-linux/include/cuda_fp16.h"],
        ["cuda/lib64/libnvrtc.so", "cuda/lib64/libnvrtc.so.13", "cuda/include/cuda_fp16.h"],
    ],
)
def test_nvrtc_is_found_where_nvidia_puts_it(folders, tmp_path, monkeypatch):
    for name in folders:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(nvrtc, "_wheels", lambda: [str(tmp_path / "nvidia")])
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "cuda"))
    monkeypatch.setattr(nvrtc.sys, "platform", "linux")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    if folders[0].startswith("conda"):
        monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    assert nvrtc.toolkit().library == tmp_path / folders[0]


@pytest.mark.usefixtures("looked_for_again")
@pytest.mark.parametrize(
    ("cuda", "chosen"), [(12090, "cuda_nvrtc"), (13000, "cu13"), (11080, "cu13"), (None, "cu13")]
)
def test_nvrtc_is_of_the_cuda_that_cupy_is_for(cuda, chosen, tmp_path, monkeypatch):
    for name in ("cu13/lib/libnvrtc.so.13", "cu13/include/cuda_fp16.h", "cuda_nvrtc/lib/libnvrtc.so.12"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cuda_runtime" / "include").mkdir(parents=True)
    (tmp_path / "cuda_runtime" / "include" / "cuda_fp16.h").touch()
    monkeypatch.setattr(nvrtc, "_wheels", lambda: [str(tmp_path)])
    monkeypatch.setattr(nvrtc.sys, "platform", "linux")
    fake = FakeCupy()
    fake.cuda_version = cuda or 0
    monkeypatch.setitem(nvrtc.sys.modules, "cupy", fake if cuda else None)
    assert nvrtc.toolkit().library.parent == tmp_path / chosen / "lib"


@needs_nvrtc
def test_a_cubin_is_the_same_on_each_processor(source, compilations, monkeypatch):
    nvrtc.build(source, ["reverse"], "sm_80")
    monkeypatch.setattr(compiler, "_processor", lambda: "another")
    nvrtc.build(source, ["reverse"], "sm_80")
    assert compilations == ["sm_80"]


@needs_nvrtc
def test_unused_cubins_are_deleted(source, tmp_path):
    nvrtc.build(source, ["reverse"], "sm_80")
    (old,) = (tmp_path / "cache" / "nvrtc").iterdir()
    then = time.time() - 100 * kernel_cache.DAY
    os.utime(old, (then, then))
    kernel_cache._clean.cache_clear()
    nvrtc.build(source, ["reverse"], "sm_90")
    (left,) = (tmp_path / "cache" / "nvrtc").iterdir()
    assert "sm_90" in left.name


@pytest.mark.parametrize(
    ("architecture", "target"),
    [(75, "sm_75"), (90, "sm_90"), (87, "sm_86"), (101, "sm_100"), (130, "compute_120")],
)
def test_targets(architecture, target, monkeypatch):
    monkeypatch.setattr(nvrtc, "supported", lambda: (75, 80, 86, 89, 90, 100, 120))
    assert nvrtc.target_for(architecture) == target


HOPPER = """// target: sm_90a
struct alignas(64) TensorMap { char bytes[128]; };
__global__ void fence(float* y, const __grid_constant__ TensorMap map, int n) {
    asm volatile("wgmma.fence.sync.aligned;");  // sm_90 alone refuses it
    y[0] = map.bytes[n];
}
"""


def test_a_file_for_one_architecture(tmp_path, monkeypatch):
    monkeypatch.setattr(nvrtc, "supported", lambda: (75, 80, 90, 100))
    file = tmp_path / "hopper.cu"
    file.write_text(HOPPER)
    assert nvrtc.target_for(90, file) == "sm_90a"
    for architecture in (80, 100):
        with pytest.raises(KernelError, match=r"hopper.cu: is not for sm_[\s\S]*target: sm_90a"):
            nvrtc.target_for(architecture, file)
    file.write_text(HOPPER.replace("//", "// no"))
    assert nvrtc.target_for(90, file) == "sm_90"


@needs_nvrtc
def test_it_is_compiled_with_what_others_do_not_have(source):
    source.write_text(HOPPER)
    found = nvrtc.build(source, ["fence"], "sm_90")
    assert found.target == "sm_90a"
    assert found.parameters == {"fence": (8, 128, 4)}
    assert b".target sm_90a" in nvrtc.build(source, ["fence"], "compute_90").image
    with pytest.raises(KernelError, match="is not for sm_100"):
        nvrtc.build(source, ["fence"], "sm_100")
    source.write_text(HOPPER.partition("\n")[2])
    with pytest.raises(KernelError, match="wgmma"):
        nvrtc.build(source, ["fence"], "sm_90")


def test_a_gpu_older_than_nvrtc_is_refused(monkeypatch):
    monkeypatch.setattr(nvrtc, "supported", lambda: (75, 80))
    monkeypatch.setattr(nvrtc, "version", lambda: (13, 5))
    with pytest.raises(DeviceError, match=r"does not compile for compute capability 7\.0"):
        nvrtc.target_for(70)


LOG = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1av' for 'sm_80'
ptxas info    : Function properties for _Z6helperv
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for _Z1av
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 146 registers, used 1 barriers, 24 bytes cumulative stack size, 8192 bytes smem
ptxas info    : Compiling entry function '_Z1bv' for 'sm_80'
ptxas info    : Function properties for _Z1bv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 360 bytes cmem[0]
"""


def test_a_log_is_read_kernel_by_kernel():
    found = resources_of(LOG, {"a": "_Z1av", "b": "_Z1bv", "c": "_Z1cv"})
    assert found == {"a": Resources(146, 8192, 24, 4, 12, 0, 1), "b": Resources(8, 0, 0, 0, 0, 360, 0)}


# What NVIDIA's header asks of a device, beyond LIMITS: shared memory of a block, by default and at most.
OCCUPANCY = r"""
#include <cuda_occupancy.h>
#include <cstdio>
int main() {
    int major, minor, warps, shared, reserved, most, threads, regs, used;
    const char* form = "%d %d %d %d %d %d %d %d %d";
    while (std::scanf(form, &major, &minor, &warps, &shared, &reserved, &most, &threads, &regs, &used) > 0) {
        cudaOccDeviceProp p;
        p.computeMajor = major, p.computeMinor = minor, p.maxThreadsPerBlock = 1024, p.warpSize = 32;
        p.maxThreadsPerMultiprocessor = 32 * warps, p.numSms = 1;
        p.regsPerBlock = p.regsPerMultiprocessor = 65536;
        p.sharedMemPerBlock = 49152, p.sharedMemPerMultiprocessor = shared, p.sharedMemPerBlockOptin = most;
        p.reservedSharedMemPerBlock = reserved;
        cudaOccFuncAttributes f;
        f.maxThreadsPerBlock = 1024, f.numRegs = regs, f.sharedSizeBytes = 0;
        f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN, f.maxDynamicSharedSizeBytes = most;
        cudaOccDeviceState s;
        s.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
        cudaOccResult r;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &f, &s, threads, used)) return 1;
        std::printf("%d\n", r.activeBlocksPerMultiprocessor);
    }
}
"""


@needs_nvrtc
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_occupancy_equals_that_of_nvidias_header(tmp_path):
    (tmp_path / "occupancy.cpp").write_text(OCCUPANCY)
    command = ["g++", "-w", f"-I{nvrtc.toolkit().include}", "occupancy.cpp", "-o", "occupancy"]
    if not (nvrtc.toolkit().include / "cuda_occupancy.h").exists():
        pytest.skip("cuda_occupancy.h is not installed")
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    cases = [
        (architecture, threads, registers, shared)
        for architecture in LIMITS
        for threads in (32, 96, 128, 256, 544, 1024)
        for registers in (16, 32, 33, 40, 64, 80, 127, 146, 255)
        for shared in (0, 1, 1000, 9000, 19_456, 33_000, 49_000, 65_536, 101_000, 232_448)
        if shared <= LIMITS[architecture].shared - LIMITS[architecture].reserved
    ]
    lines = []
    for architecture, threads, registers, shared in cases:
        limits = LIMITS[architecture]
        device = (limits.warps, limits.shared, limits.reserved, limits.shared - limits.reserved)
        lines.append(" ".join(map(str, (*divmod(architecture, 10), *device, threads, registers, shared))))
    asked = subprocess.run(
        [tmp_path / "occupancy"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    theirs = [int(line) for line in asked.stdout.split()]
    ours = [occupancy(*case).blocks for case in cases]
    assert len(theirs) == len(cases)
    assert ours == theirs


def test_occupancy_names_what_ran_out():
    assert occupancy(80, 256, 146, 8192).limiter == "registers"
    assert occupancy(80, 256, 146, 8192).blocks == 1
    assert occupancy(90, 128, 32, 100_000).limiter == "shared memory"
    full = occupancy(90, 256, 32)
    assert (full.share, full.limiter) == (1.0, "warps")


def test_a_table_sets_numbers_to_the_right():
    assert markdown_table(["kernel", "registers"], [["a", 8], ["long name", 128]]) == (
        "| kernel    | registers |\n"
        "| --------- | --------: |\n"
        "| a         |         8 |\n"
        "| long name |       128 |\n"
    )
