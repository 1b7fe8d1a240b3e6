"""The machine code of kernels: wide loads and stores, tensor cores, short loops of copies, and nothing in
local memory.

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

from tinytensor.dtypes import bfloat16, float16, float32, float64
from tinytensor.ops.matmul.gemm import PLAIN, tensor_tiles
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import kernel_path
from tinytensor.runtime.signature import instance


@cache
def disassembler():
    """nvdisasm of NVIDIA's wheel, or on PATH."""
    wheels = [file for folder in nvrtc._wheels() for file in Path(folder).glob("cu*/bin/nvdisasm")]
    return str(wheels[-1]) if wheels else shutil.which("nvdisasm")


pytestmark = pytest.mark.skipif(
    disassembler() is None or not nvrtc.available(), reason="NVRTC or nvdisasm is not installed (extra [dev])"
)

OPCODE = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)


def code(file, names, target, folder):
    """The disassembled code of each instance."""
    compiled = nvrtc.build(file, names, target)
    cubin = folder / "kernels.cubin"
    cubin.write_bytes(compiled.image)
    command = [str(disassembler()), "--print-code", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    sections = dict(re.findall(r"^\.text\.(\w+):\n(.*?)(?=^\.text\.|\Z)", text, re.MULTILINE | re.DOTALL))
    return {name: sections[symbol] for name, symbol in compiled.symbols.items()}


def opcodes(file, names, architecture, folder):
    """How often each instruction occurs in each instance."""
    found = code(file, names, f"sm_{architecture}", folder)
    return {name: Counter(OPCODE.findall(text)) for name, text in found.items()}


def loops(text):
    """The instructions of each loop, from its label to the branch back; without modifiers."""
    found, labels, ops = [], dict[str, int](), list[str]()
    for line in text.split("\n"):
        if label := re.match(r"^\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(ops)
        elif op := OPCODE.match(line):
            ops.append(op[1].split(".")[0])
            back = re.search(r"\.L_x_\d+", line) if ops[-1] == "BRA" else None
            if back and back[0] in labels:
                found.append(Counter(ops[labels[back[0]] :]))
    return found


def count(found, *parts):
    """Instructions that begin with the first part and have the others as modifiers."""
    return sum(
        n for op, n in found.items() if op.split(".")[0] == parts[0] and {*parts[1:]} <= {*op.split(".")}
    )


@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
@pytest.mark.parametrize(
    ("stem", "functor", "operands"), [("arithmetic", "Add", 2), ("exponential", "Exp", 1)]
)
def test_elementwise_kernels_move_16_bytes(stem, functor, operands, dtype, tmp_path):
    types = (functor, dtype, dtype, dtype, operands)
    dense = instance("elementwise_contiguous", (*types, "int"))
    strided = instance("elementwise_strided", (*types, 2, "int"))
    found = opcodes(kernel_path(stem, ".cu"), [dense, strided], 90, tmp_path)
    for name in (dense, strided):
        assert count(found[name], "LDG", "128") >= operands
        assert count(found[name], "STG", "128") >= 1
        assert not count(found[name], "LDL")
        assert not count(found[name], "STL")


def test_local_memory_is_seen(tmp_path):
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
def test_products_of_tiles_run_on_tensor_cores(architecture, tmp_path):
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


TILES = """
#include "attention/attention_mma.cuh"
extern __shared__ unsigned char smem[];
template <class T, int HS, int N, int THREADS>
__global__ void __launch_bounds__(THREADS, 1) tiles(const T* k, const T* v, Problem p) {
    const Place place = place_of<N>(p.keys, p.heads, false);
    Tiles<N, HS, THREADS, false, T> keys({k, p.k, place, p.keys, p.size}, 0);
    Tiles<N, HS, THREADS, false, T> values({v, p.v, place, p.keys, p.size}, 0);
    for (int j = 0, stage = 0; j < p.keys; j += N, stage ^= 1) {
        T* const to = reinterpret_cast<T*>(smem) + stage * N * pitch<HS>;
        keys.next(to);
        values.next(to + 2 * N * pitch<HS>);
        tt_mma::cp_async_commit();
    }
}
"""


@pytest.mark.parametrize("architecture", [80, 90, 120])
def test_attention_copies_16_bytes_with_at_most_8_instructions(architecture, tmp_path):
    """Everything in the blocks of code that copy, the step to the next tiles included."""
    file = tmp_path / "tiles.cu"
    file.write_text(TILES)
    sizes = [(64, 64, 128), (64, 128, 256), (128, 32, 128)]  # of heads, rows and threads
    names = [f"tiles<__nv_bfloat16, {size}, {rows}, {threads}>" for size, rows, threads in sizes]
    found = code(file, names, f"sm_{architecture}", tmp_path)
    for name, (size, rows, threads) in zip(names, sizes, strict=True):
        blocks = [OPCODE.findall(block) for block in re.split(r"^\.L_\w+:", found[name], flags=re.MULTILINE)]
        copying = [Counter(block) for block in blocks if any(op.startswith("LDGSTS") for op in block)]
        copies = sum(count(block, "LDGSTS", "128") for block in copying)
        assert copies
        assert copies % (2 * rows * size // 8 // threads) == 0  # of keys and values; the loop may be unrolled
        assert sum(block.total() for block in copying) <= 8 * copies


@pytest.mark.parametrize("dtype", [bfloat16, float32], ids=str)
@pytest.mark.parametrize("architecture", [80, *[pytest.param(a, marks=pytest.mark.slow) for a in (86, 90)]])
def test_the_loop_of_matrix_products(architecture, dtype, tmp_path):
    """Tiles of 128 × 256 with warps of 64 × 64: 95 % of the instructions are products, reads of operands, and
    copies, however the operands lie in memory.

    A slab has 128 products of a warp, the 32 reads of their operands (in TF32 64 in the place of 16 for an
    operand that is not contiguous along `inner`), and 12 copies in a thread. Of the rest, 6 wait for copies
    and threads; some advance the addresses of the copies. TF32 rounds each register by two more.
    """
    tile, orders = tensor_tiles(architecture)[0], [(True, True), (True, False), (False, False)]
    names = [
        instance("matmul_tensor_cores", (dtype, dtype, tile.rows, tile.columns, *tile.shape, *order, PLAIN))
        for order in orders
    ]
    file, target = kernel_path("matmul_mma", ".cu"), f"sm_{architecture}"
    texts, built = code(file, names, target, tmp_path), nvrtc.build(file, names, target)
    slabs = 2 * tile.shape[-1]
    for name, order in zip(names, orders, strict=True):
        loop = max(loops(texts[name]), key=lambda found: found["HMMA"])
        words = 64 * slabs * (2 - sum(order)) if dtype is float32 else 0  # read without ldmatrix
        assert (loop["HMMA"], loop["LDGSTS"]) == (128 * slabs, 12 * slabs)
        assert loop["LDSM"] == 32 * slabs - words // 4
        rounding = 2 * 128 * slabs if dtype is float32 else 0
        work = loop["HMMA"] + loop["LDSM"] + loop["LDGSTS"] + words
        assert loop.total() - rounding - work <= 0.054 * (loop.total() - rounding)
        assert built.resources[name].spill_stores == built.resources[name].stack == 0
