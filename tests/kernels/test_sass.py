"""The machine code of kernels: wide loads and stores, tensor cores, and nothing in local memory.

Read with nvdisasm, NVIDIA's disassembler; skipped where it is not installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tinytensor.dtypes import DType, bfloat16, float16, float32, float64
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import kernel_path
from tinytensor.runtime.signature import instance


@cache
def disassembler() -> str | None:
    """nvdisasm of NVIDIA's wheel, or on PATH."""
    wheels = [file for folder in nvrtc._wheels() for file in Path(folder).glob("cu*/bin/nvdisasm")]
    return str(wheels[-1]) if wheels else shutil.which("nvdisasm")


pytestmark = pytest.mark.skipif(
    disassembler() is None or not nvrtc.available(), reason="NVRTC or nvdisasm is not installed (extra [dev])"
)

OPCODE = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)


def opcodes(file: Path, names: list[str], architecture: int, folder: Path) -> dict[str, Counter[str]]:
    """How often each instruction occurs in each instance."""
    compiled = nvrtc.build(file, names, f"sm_{architecture}")
    cubin = folder / "kernels.cubin"
    cubin.write_bytes(compiled.image)
    command = [str(disassembler()), "--print-code", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    sections = dict(re.findall(r"^\.text\.(\w+):\n(.*?)(?=^\.text\.|\Z)", text, re.MULTILINE | re.DOTALL))
    return {name: Counter(OPCODE.findall(sections[symbol])) for name, symbol in compiled.symbols.items()}


def count(found: Counter[str], *parts: str) -> int:
    """Instructions that begin with the first part and have the others as modifiers."""
    return sum(
        n for op, n in found.items() if op.split(".")[0] == parts[0] and {*parts[1:]} <= {*op.split(".")}
    )


@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
@pytest.mark.parametrize(
    ("stem", "functor", "operands"), [("arithmetic", "Add", 2), ("exponential", "Exp", 1)]
)
def test_elementwise_kernels_move_16_bytes(
    stem: str, functor: str, operands: int, dtype: DType, tmp_path: Path
) -> None:
    types = (functor, dtype, dtype, dtype, operands)
    dense = instance("elementwise_contiguous", (*types, "int"))
    strided = instance("elementwise_strided", (*types, 2, "int"))
    found = opcodes(kernel_path(stem, ".cu"), [dense, strided], 90, tmp_path)
    for name in (dense, strided):
        assert count(found[name], "LDG", "128") >= operands
        assert count(found[name], "STG", "128") >= 1
        assert not count(found[name], "LDL")
        assert not count(found[name], "STL")


def test_local_memory_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "local.cu"
    file.write_text(
        "__global__ void f(float* x) { float a[64]; for (int i = 0; i < 64; i++) a[i] = x[i];\n"
        "for (int i = 0; i < 64; i++) x[i] = a[int(x[64 + i]) & 63]; }"
    )
    found = opcodes(file, ["f"], 90, tmp_path)["f"]
    assert count(found, "LDL")
    assert count(found, "STL")


MMA = """
#include "mma.cuh"
template <class E> __global__ void product(float* y, const E* a, const E* b) {
    __shared__ alignas(16) E tile[256];
    tt_mma::cp_async16(tile + 8 * threadIdx.x, a + 8 * threadIdx.x);
    tt_mma::cp_async_commit();
    tt_mma::cp_async_wait<0>();
    __syncthreads();
    unsigned left[4], right[2];
    float sum[4] = {0, 0, 0, 0};
    tt_mma::ldmatrix<4>(left, tile + threadIdx.x % 16 * 16 + threadIdx.x / 16 * 8);
    right[0] = reinterpret_cast<const unsigned*>(b)[threadIdx.x];
    right[1] = reinterpret_cast<const unsigned*>(b)[threadIdx.x + 32];
    tt_mma::m16n8k16<E>(sum, left, right, sum);
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + i] = sum[i];
}
"""


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_products_of_tiles_run_on_tensor_cores(architecture: int, tmp_path: Path) -> None:
    file = tmp_path / "product.cu"
    file.write_text(MMA)
    names = ["product<__half>", "product<__nv_bfloat16>"]
    found = opcodes(file, names, architecture, tmp_path)
    half, bfloat = (found[name] for name in names)
    assert count(half, "LDSM") == 1
    if architecture >= 80:
        assert count(half, "HMMA", "16816", "F32") == 1
        assert count(bfloat, "HMMA", "16816", "F32", "BF16") == 1
        assert count(half, "LDGSTS", "128") == 1
    else:
        assert count(half, "HMMA", "1688", "F32") == 2
        assert not count(half, "LDGSTS")
