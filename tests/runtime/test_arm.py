"""C++ on ARM: built by a cross compiler; run on an emulated processor with SDOT, and on one without."""

import shutil
import subprocess

import numpy as np
import pytest
from gguf.quants import dequantize

import tinytensor as tt
from tests.helpers.source import ROOT
from tests.ops.test_quantized import KINDS, packed_bytes, theirs
from tinytensor.emulator.run.kernels import EMULATOR, FAST, WATCHED
from tinytensor.runtime.compiler import KERNEL_FLAGS
from tinytensor.runtime.cpu.library import FLAGS, GCC_FLAGS, NATIVE
from tinytensor.runtime.kernel_files import KERNELS

CROSS = shutil.which("aarch64-linux-gnu-g++")
QEMU = shutil.which("qemu-aarch64")
PROCESSORS = {"max": "armv8.2-a+dotprod", "cortex-a53": "armv8-a"}
NONE = "apt install g++-aarch64-linux-gnu qemu-user"
DRIVER = ROOT / "tests" / "device_code" / "quantized_on_arm.cpp"


def compiled(source, *options):
    folders = [f"-I{folder}" for folder in (source.parent, KERNELS, KERNELS / "quantized", NATIVE)]
    flags = [flag for flag in (*KERNEL_FLAGS, *FLAGS) if flag != "-w"]
    command = [str(CROSS), "-std=c++17", "-fPIC", *flags, *GCC_FLAGS, *folders, *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@pytest.mark.skipif(not CROSS, reason=NONE)
def test_kernels_compile_without_warnings():
    for source in (*KERNELS.rglob("*.cpp"), *NATIVE.glob("*.cpp")):
        compiled(source, "-fsyntax-only", "-Wall", "-Wextra", "-Werror")


@pytest.mark.skipif(not CROSS, reason=NONE)
def test_cores_of_the_emulator_link(tmp_path):
    for build, options in ((FAST, ()), (WATCHED, ("-DTT_CHECKED",))):
        library = ("-shared", "-Wl,-z,defs", "-o", str(tmp_path / build.part))
        compiled(EMULATOR / build.core, f"-I{EMULATOR}", "-O0", *options, *library)


def here(kind, x, packed):
    weight = tt.from_numpy(packed)
    found = tt.quantized_linear(tt.from_numpy(x), weight, kind, rounded=True)
    return found.numpy(), tt.dequantize(weight, kind).numpy()


@pytest.fixture(scope="module", params=["here", *PROCESSORS])
def run(request, tmp_path_factory):
    """Products with packed weights and their values, on this processor or an emulated one."""
    if request.param == "here":
        return here
    if not CROSS or not QEMU:
        pytest.skip(NONE)
    program = tmp_path_factory.mktemp("arm") / "quantized"
    option = f"-march={PROCESSORS[request.param]}"
    compiled(DRIVER, option, "-O2", "-static", "-o", str(program))

    def emulated(kind, x, packed):
        rows, n, width = len(x), len(packed), x.shape[1]
        numbers = [str(number) for number in (KINDS.index(kind), rows, n, width)]
        done = subprocess.run(
            [str(QEMU), "-cpu", request.param, str(program), *numbers],
            input=x.tobytes() + packed.tobytes(),
            capture_output=True,
            check=True,
        )
        found = np.frombuffer(done.stdout, np.float32)
        return found[: rows * n].reshape(rows, n), found[rows * n :].reshape(n, width)

    return emulated


def whole_numbers(kind, rows, width):
    """Packed weights that are small integers."""
    rng, of = np.random.default_rng(0), tt.QUANTIZED[kind]
    blocks = packed_bytes(kind, rows, width).reshape(-1, of.nbytes)
    one = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    if kind == "q6_k":
        blocks[:, 192:208] = rng.integers(-2, 3, (len(blocks), 16)).astype(np.uint8)
        blocks[:, 208:] = one
        return blocks.reshape(rows, -1)
    blocks[:, :2] = one
    if kind in ("q4_1", "q5_1"):
        blocks[:, 2:4] = rng.integers(-3, 4, len(blocks)).astype(np.float16).view(np.uint8).reshape(-1, 2)
    if kind in ("q4_k", "q5_k"):
        blocks[:, 2:4] = one
        blocks[:, 4:12] &= 0x03  # 8 scales and 8 minimums up to 3
        blocks[:, 12:16] &= 0x33
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_whole_numbers_are_exact(run, kind):
    """Rounding to 16 bits leaves x as it is: 32512 is the largest of 32; no sum needs more than 24 bits."""
    rng, width = np.random.default_rng(1), 512 if tt.QUANTIZED[kind].values == 256 else 544
    x, packed = np.zeros((6, width), np.float32), whole_numbers(kind, 5, width)
    for row in x:
        for block in rng.choice(width // 32, 2, replace=False):
            row[32 * block : 32 * block + 32] = rng.integers(-1000, 1001, 32)
            row[32 * block + rng.integers(32)] = rng.choice([-32512, 32512])
    weight = dequantize(packed, theirs(kind)).astype(np.int64)
    found, values = run(kind, x, packed)
    assert found.tolist() == (x.astype(np.int64) @ weight.T).tolist()
    assert values.tolist() == weight.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_any_bytes(run, kind):
    packed = np.random.default_rng(2).integers(0, 256, (7, 4 * tt.QUANTIZED[kind].nbytes), np.uint8)
    with np.errstate(all="ignore"):
        wanted = dequantize(packed, theirs(kind))
    values = run(kind, np.ones((1, wanted.shape[1]), np.float32), packed)[1]
    real = ~np.isnan(wanted)
    assert np.array_equal(np.isnan(values), ~real)
    assert np.array_equal(values[real].view(np.uint32), wanted[real].view(np.uint32))
