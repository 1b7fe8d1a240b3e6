"""Products on the tile registers of AMX, run on a model of its instructions where the processor has none."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.source import ROOT
from tests.runtime.cpu.test_matmul import bits, check_bits, turned, wide
from tinytensor.runtime.compiler import Recipe, shared_library
from tinytensor.runtime.cpu import kernels as host_kernels
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.runtime.cpu.library import NATIVE
from tinytensor.runtime.kernel_files import KERNELS

MATMUL = KERNELS / "matmul"
CPUINFO = Path("/proc/cpuinfo")
NO_BF16 = "avx512_bf16" not in (CPUINFO.read_text() if CPUINFO.exists() else "")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    """Our kernels, compiled as for a processor with AMX, with the model in the place of the instructions."""
    folder = tmp_path_factory.mktemp("amx")
    for header in [*MATMUL.glob("*.h"), ROOT / "tests" / "device_code" / "amx_model.h"]:
        shutil.copy(header, folder)
    text = (MATMUL / "matmul_bf16.cpp").read_text(encoding="utf-8")
    (folder / "matmul_on_tiles.cpp").write_text('#include "amx_model.h"\n' + text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_kernels, "kernel_path", lambda stem, ending: folder / f"{stem}{ending}")
        found = HostKernels("matmul_on_tiles")
    assert found.usable()
    return found


@pytest.mark.skipif(NO_BF16, reason="packing for AMX needs AVX512-BF16")
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(32, 32, 32), (64, 96, 800), (70, 41, 55), (33, 17, 385), (5, 3, 1), (16, 48, 31), (31, 65, 2000)],
)
def test_tiles_of_any_size(kernels: HostKernels, m: int, n: int, k: int, ta: bool, tb: bool) -> None:
    rng = np.random.default_rng(m)
    a, b = (
        bits(rng.uniform(-1, 1, (k, m) if ta else (m, k))),
        bits(rng.uniform(-1, 1, (n, k) if tb else (k, n))),
    )
    wanted, before = turned(wide(a), ta) @ turned(wide(b), tb), tt.get_num_threads()
    for threads in (1, 2):
        tt.set_num_threads(threads)
        y = np.full((m, n), 0x7FC0, np.uint16)
        assert kernels.matmul_bf16(y, a, b, ta, tb)
        check_bits(y, wanted, k)
    tt.set_num_threads(before)
    gaps = np.zeros((2 * m, 3 * k), np.uint16)[::2, ::3]  # neither rows nor columns are dense
    gaps[...] = turned(a, ta)
    assert kernels.matmul_bf16(y, gaps, b, False, tb)
    check_bits(y, wanted, k)
    assert kernels.linear_bf16(y, np.ascontiguousarray(turned(a, ta)), b, bits(np.arange(n)), tb)
    check_bits(y, wanted + wide(bits(np.arange(n))), k)


def test_it_compiles_for_a_processor_with_tiles() -> None:
    """With the instructions themselves: nothing but a processor with AMX can run what this makes."""
    flags = ("-march=sapphirerapids", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-O1", "-w")
    flags = (*flags, f"-DTT_OBJECT_HEAD={object.__basicsize__}")
    text = '#include "matmul_bf16.cpp"\n#ifndef HAS_AMX\n#error no tiles\n#endif\n'
    shared_library(
        Recipe("with_tiles", text, (MATMUL, KERNELS, NATIVE), flags),
        "host",
    )
