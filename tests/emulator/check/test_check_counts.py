"""What `tt.cuda.check` counts, against numbers worked out by hand: operations, bytes, sectors, turns."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinytensor as tt
from tests.helpers.emulated import Instance, Kernels, compile_together, of_texts
from tests.helpers.source import ROOT
from tinytensor.cuda import CheckReport
from tinytensor.emulator.check import flops as check_flops
from tinytensor.emulator.check import source_lines
from tinytensor.emulator.check.counts import KernelCount
from tinytensor.runtime.base import TemplateArgument

SOURCE = ROOT / "tests" / "device_code" / "operations.cu"
DEVICE = "checked"
NARROW_OR_WIDE = (tt.float32, tt.float64, tt.float16, tt.bfloat16, tt.int32)
PLAIN = ("axpy", "matrix_product", "branches", "calls", "total", "block_total", "vectors", "endless")
INSTANCES: tuple[Instance, ...] = (  # of SOURCE, compiled together
    *((name, ()) for name in PLAIN),
    *(
        ("square_plus_one", (dtype, dtype if dtype in (tt.float64, tt.int32) else tt.float32))
        for dtype in NARROW_OR_WIDE
    ),
    *(("tiles", (dtype,)) for dtype in (tt.float16, tt.bfloat16)),
    *(("columns", (pitch,)) for pitch in (32, 33)),
)
# Texts of the kernels of single tests, compiled together.
TEXTS = {
    "constant": """
    __constant__ float table[32] = {1, 2, 3};
    __global__ void look(float* y) { y[blockIdx.x * 32 + threadIdx.x] = table[threadIdx.x]; }""",
    "branch": """
    __global__ void branch(float* y, int rounds) {
        int lane = threadIdx.x;
        for (int r = 0; r < rounds; r++) {
            unsigned votes = __ballot_sync(0xffffffffu, (lane + r) % 2);
            if ((lane + r) % 2) y[32 * r + lane] = votes;
        }
    }""",
}

HAS_TOOLS = shutil.which("objdump") is not None and shutil.which("addr2line") is not None
needs_tools = pytest.mark.skipif(not HAS_TOOLS, reason="binutils are not installed")


def numbers(n: int, dtype: Any = tt.float32) -> tt.Tensor:
    return tt.arange(1, n + 1, dtype=dtype, device=DEVICE)


def watched(
    name: str, grid: int, block: int, *arguments: Any, template: tuple[TemplateArgument, ...] = (),
    source: str | Path = SOURCE, times: int = 1, blocks: int = 100,
) -> CheckReport:  # fmt: skip
    if source == SOURCE:
        compile_together(SOURCE, INSTANCES, DEVICE)
    return launched(
        tt.cuda.kernel(source, name, *template), grid, block, *arguments, times=times, blocks=blocks
    )


def launched(
    k: tt.cuda.Kernel, grid: int, block: int, *arguments: Any, times: int = 1, blocks: int = 100
) -> CheckReport:
    with tt.cuda.check(blocks=blocks) as report:
        for _ in range(times):
            k[grid, block](*arguments)
    assert not report.findings, str(report)
    return report


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    return of_texts(tmp_path_factory.mktemp("counts") / "counts.cu", TEXTS, DEVICE)


def only(report: CheckReport) -> KernelCount:
    (count,) = report.kernels
    return count


def line_of(text: str) -> str:
    """file:line of the one line that contains a text."""
    (found,) = [i for i, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line]
    return f"{SOURCE.name}:{found}"


def work(report: CheckReport) -> dict[str, tuple[int, int, int, int]]:
    """single, double, half, tf32 of each line."""
    assert report.work is not None
    return {w.place: (w.single, w.double, w.half, w.tf32) for w in report.work}


# ---- operations --------------------------------------------------------------------------------------------


@needs_tools
def test_axpy_has_two_operations_for_each_element() -> None:
    n = 250  # of 256 threads
    report = watched("axpy", 2, 128, tt.zeros(256, device=DEVICE), numbers(256), 2.0, n)
    assert work(report) == {line_of("a * x[i]"): (2 * n, 0, 0, 0)}
    assert only(report).flops == 2 * n
    assert only(report).flops_by_kind() == {"single": 2 * n, "double": 0, "half": 0, "tf32": 0}


@needs_tools
@pytest.mark.parametrize(("m", "n", "k"), [(7, 6, 5), (1, 1, 1), (8, 8, 0), (3, 40, 17)])
def test_a_matrix_product_has_2mnk(m: int, n: int, k: int) -> None:
    a, b, y = numbers(max(m * k, 1)), numbers(max(k * n, 1)), tt.empty(m, n, device=DEVICE)
    report = watched("matrix_product", -(-m * n // 32), 32, y, a, b, m, n, k)
    assert only(report).flops == 2 * m * n * k


@needs_tools
def test_loops_and_branches() -> None:
    report = watched("branches", 1, 64, tt.zeros(64, device=DEVICE))
    passes = sum(len(range(0, t, 3)) for t in range(64))
    assert work(report) == {
        line_of("y[t] += i;"): (passes, 0, 0, 0),
        line_of("sum * 3.0f"): (16, 0, 0, 0),
        line_of("sum / 3.0f + t"): (2 * 16, 0, 0, 0),
        line_of("sqrtf(sum)"): (16, 0, 0, 0),
    }


@needs_tools
def test_functions_count_at_their_own_lines() -> None:
    """64 + 8 cubes; a sum over two warps: 5 additions of all 64 lanes, then 5 more."""
    report = watched("calls", 1, 64, tt.empty(64, device=DEVICE), numbers(64))
    found = work(report)
    assert found.pop(line_of("square = x * x")) == (72, 0, 0, 0)
    assert found.pop(line_of("square * x;")) == (72, 0, 0, 0)
    assert sum(w[0] for w in found.values()) == 2 * 5 * 64
    assert all("reduce.cuh" in place and line_of("block_sum(v)") in place for place in found)


@needs_tools
@pytest.mark.parametrize("dtype", NARROW_OR_WIDE)
def test_precisions(dtype: tt.DType) -> None:
    """Kernels compute on 16-bit floats in float; integers have no floating-point operations."""
    computed = dtype if dtype in (tt.float64, tt.int32) else tt.float32
    template = (dtype, computed)
    report = watched("square_plus_one", 2, 64, numbers(128, dtype) * 0, numbers(128, dtype) * 0,
                     template=template)  # fmt: skip
    expected = {"single": 0, "double": 0, "half": 0, "tf32": 0}
    if dtype is not tt.int32:
        expected["double" if dtype is tt.float64 else "single"] = 2 * 128
    assert only(report).flops_by_kind() == expected


FUNCTIONS = {
    1: [
        *["v + w", "v - w", "v * w", "v / w", "1.0f / v", "sqrtf(v)", "rsqrtf(v)", "cbrtf(v)", "rcbrtf(v)"],
        *["expf(v)", "exp2f(v)", "exp10f(v)", "expm1f(v)", "logf(v)", "log2f(v)", "log10f(v)", "log1pf(v)"],
        *["sinf(v)", "cosf(v)", "tanf(v)", "asinf(v)", "acosf(v)", "atanf(v)", "atan2f(v, w)"],
        *["sinhf(v)", "coshf(v)", "tanhf(v)", "asinhf(v)", "acoshf(w)", "atanhf(v)", "erff(v)", "erfcf(v)"],
        *["lgammaf(v)", "tgammaf(v)", "powf(v, w)", "hypotf(v, w)", "fmodf(v, w)", "remainderf(v, w)"],
        *["fdimf(w, v)", "__expf(v)", "__exp10f(v)", "__logf(v)", "__log2f(v)", "__log10f(v)", "__sinf(v)"],
        *["__cosf(v)", "__tanf(v)", "__powf(v, w)", "__fdividef(v, w)", "fdividef(v, w)", "__frsqrt_rn(v)"],
        *["__fadd_rn(v, w)", "__fsub_rn(v, w)", "__fmul_rn(v, w)", "__fdiv_rn(v, w)", "__frcp_rn(v)"],
        *["__fsqrt_rn(v)", "exp(v)", "sqrt(v)", "tt_mma::exp2_approx(v)", "pow(v, w)"],
    ],
    2: ["fmaf(v, w, w)", "fma(v, w, w)", "__fmaf_rn(v, w, w)", "v * w + w", "v - w * w", "w - v - w"],
    0: [
        *["fmaxf(v, w)", "fminf(v, w)", "max(v, w)", "fabsf(v)", "-v", "floorf(v)", "ceilf(v)", "rintf(v)"],
        *["copysignf(v, w)", "(float)(int)v", "v < w ? v : w", "__saturatef(v)", "__int_as_float(n)"],
        *["(float)isnan(v)", "(float)__float2int_rn(v)"],
    ],
}
DOUBLES = {
    1: ["v + w", "v / w", "sqrt(v)", "rsqrt(v)", "exp(v)", "pow(v, w)", "tanh(v)", "__dmul_rn(v, w)"],
    2: ["fma(v, w, w)", "__fma_rn(v, w, w)", "v * w + w"],
    0: ["fmax(v, w)", "fabs(v)", "floor(v)"],
}


@needs_tools
@pytest.mark.parametrize(("kind", "table"), [("float", FUNCTIONS), ("double", DOUBLES)])
def test_every_function(kind: str, table: dict[int, list[str]]) -> None:
    expected = [(text, flops) for flops, texts in table.items() for text in texts]
    lines = "\n".join(f"    y[{i}] = {text};" for i, (text, _) in enumerate(expected))
    source = f"""#include "mma.cuh"
#define v ((const volatile {kind}*)x)[0]
#define w ((const volatile {kind}*)x)[1]
__global__ void each({kind}* y, const {kind}* x, int n) {{
{lines}
}}"""
    dtype = tt.float32 if kind == "float" else tt.float64
    x = tt.tensor([0.5, 1.5], dtype=dtype).to(DEVICE)
    report = watched("each", 1, 1, tt.empty(len(expected), dtype=dtype, device=DEVICE), x, 3, source=source)
    found = {int(place.rpartition(":")[2]) - 5: done for place, done in work(report).items()}
    is_double = kind == "double"
    wrong = {
        text: (found.get(i), flops)
        for i, (text, flops) in enumerate(expected)
        if found.get(i, (0, 0, 0, 0)) != (0 if is_double else flops, flops if is_double else 0, 0, 0)
    }
    assert not wrong, "what was counted, what it should be"


@needs_tools
@pytest.mark.parametrize("dtype", [tt.float16, tt.bfloat16])
def test_tensor_cores(dtype: tt.DType) -> None:
    """2 · 16 · 8 · 16 operations for each product of a warp, half of it in tf32."""
    report = watched("tiles", 2, 64, tt.empty(128, device=DEVICE), template=(dtype,), blocks=1)
    warps = 2
    assert work(report) == {
        line_of("m16n8k16<T>"): (0, 0, warps * 3 * 2 * 16 * 8 * 16, 0),
        line_of("m16n8k8_tf32"): (0, 0, 0, warps * 2 * 16 * 8 * 8),
    }
    assert only(report).flops == warps * 2 * 16 * 8 * (3 * 16 + 8)


@needs_tools
def test_an_atomic_sum_is_an_operation_for_each_lane() -> None:
    report = watched("total", 1, 64, tt.zeros(2, device=DEVICE), numbers(64))
    assert work(report) == {line_of("atomicAdd(y,"): (64, 0, 0, 0)}


@needs_tools
def test_a_sum_in_a_loop_with_barriers_has_an_operation_for_each_pair() -> None:
    """A compiler may put the sum before the jump that leads to it. 64 + 32 + … + 1 in each of 3 blocks."""
    x = numbers(3 * 128)
    y = tt.zeros(3, device=DEVICE)
    report = watched("block_total", 3, 128, y, x)
    assert y.tolist() == [sum(range(1 + 128 * b, 129 + 128 * b)) for b in range(3)]
    assert work(report) == {line_of("s[t] += s[t + step]"): (3 * 127, 0, 0, 0)}


DISASSEMBLED = """
0000000000001000 <kernel>:
    1000:\tcall   900 <__sanitizer_cov_trace_pc@plt>
    1005:\tvmulss %xmm0,%xmm1,%xmm1
    1009:\tjp     1020 <kernel+0x20>
    100b:\tvfmadd231sd (%rax),%xmm1,%xmm0
    100f:\tjmp    1030 <kernel+0x30>
    1014:\tvdivss %xmm0,%xmm1,%xmm1
    1020:\tvaddps %ymm0,%ymm1,%ymm1
    1024:\tcall   900 <__sanitizer_cov_trace_pc@plt>
    1029:\tvsqrtss %xmm0,%xmm1,%xmm1
    102d:\tret
    1030:\tcall   910 <expf@plt>
    1034:\tjmp    1024 <kernel+0x24>
    1040:\tvaddss %xmm0,%xmm1,%xmm1
    1044:\tjmp    1060 <kernel+0x60>
    1048:\tcall   900 <__sanitizer_cov_trace_pc@plt>
    104d:\tvmulsd %xmm0,%xmm1,%xmm1
    1050:\tjb     1040 <kernel+0x40>
    1054:\tret
    1060:\tvsubsd %xmm0,%xmm1,%xmm1
0000000000002000 <other>:
    2000:\tvsubss %xmm0,%xmm1,%xmm1
"""


def test_code_belongs_to_the_piece_that_leads_to_it() -> None:
    """By falling through or by a jump, forward or back; what nothing leads to does not count."""
    found = check_flops._blocks(DISASSEMBLED.splitlines())
    assert {block: [(o.offset, o.kind, o.count) for o in run] for block, run in found.items()} == {
        0x1005: [
            (0x1005, "single", 1),
            (0x100B, "double", 2),
            (0x1020, "single", 8),
            (0x1030, "single", 1),
        ],
        0x1029: [(0x1029, "single", 1)],
        0x104D: [(0x1040, "single", 1), (0x104D, "double", 1), (0x1060, "double", 1)],
    }


# ---- bytes -------------------------------------------------------------------------------------------------


def test_bytes_of_axpy() -> None:
    """Each byte once; sectors of 32 bytes for each request of a warp. The last request has 26 lanes."""
    n = 250
    report = watched("axpy", 2, 128, tt.zeros(256, device=DEVICE), numbers(256), 2.0, n)
    count = only(report)
    assert (count.read_bytes, count.written_bytes, count.bytes) == (2 * 4 * n, 4 * n, 3 * 4 * n)
    load, store = report.lines
    assert (load.way, load.requests, load.lanes, load.bytes) == ("load", 2 * 8, 2 * n, 2 * 4 * n)
    assert (store.way, store.requests, store.lanes, store.bytes) == ("store", 8, n, 4 * n)
    assert (load.sectors, store.sectors) == (2 * 8 * 4, 8 * 4)
    assert count.moved_bytes == report.global_bytes == 3 * 8 * 4 * 32
    assert (load.active_lanes, load.efficiency) == (2 * n / 16, 2 * 4 * n / (16 * 4 * 32))


def test_bytes_that_several_blocks_read_count_once_by_all_and_for_each_request() -> None:
    """Each of 8 warps reads k numbers of a row of `a` for all its lanes, and whole lines of `b`."""
    m, n, k = 8, 32, 5
    a, b, y = numbers(m * k), numbers(k * n), tt.empty(m, n, device=DEVICE)
    report = watched("matrix_product", m, n, y, a, b, m, n, k)
    count = only(report)
    assert (count.read_bytes, count.written_bytes) == (4 * (m * k + k * n), 4 * m * n)
    load = next(line for line in report.lines if line.way == "load")
    assert load.requests == 2 * m * k
    assert load.bytes == m * k * (4 + 32 * 4)
    assert load.sectors == m * k * (1 + 4)


@pytest.mark.parametrize("blocks", [4, 12])
def test_bytes_of_constant_memory_are_not_global_ones(kernels: Kernels, blocks: int) -> None:
    """Neither in the four blocks that are counted nor in later ones."""
    y = tt.empty(blocks * 32, device=DEVICE)
    count = only(launched(kernels["constant"], blocks, 32, y, blocks=4))
    assert (count.read_bytes, count.written_bytes) == (0, 4 * 32 * blocks)


def test_vectors_are_seen() -> None:
    """Whatever the compiler makes of them: clang may call functions, or load a vector in halves."""
    count = only(watched("vectors", 2, 32, tt.empty(512, device=DEVICE), numbers(512), 2))
    assert (count.read_bytes, count.written_bytes) == (2048, 2048)


@pytest.mark.parametrize(("pitch", "turns"), [(32, 32), (33, 1)])
def test_turns_of_shared_memory(pitch: int, turns: int) -> None:
    x = numbers(1024)
    report = watched("columns", 1, 1024, tt.empty(1024, device=DEVICE), x, template=(pitch,))
    store, load = [line for line in report.lines if line.space == "shared"]
    assert (store.requests, store.wavefronts, store.ideal) == (32, 32, 32)
    assert (load.requests, load.wavefronts, load.bank_conflict_ways) == (32, 32 * turns, turns)
    assert only(report).wavefronts == 32 + 32 * turns


# ---- launches and blocks -----------------------------------------------------------------------------------


def test_an_operation_of_the_warp_ends_the_requests_before_it(kernels: Kernels) -> None:
    """Odd and even lanes take turns: four rounds of 16 lanes that write into 4 sectors."""
    y = tt.empty(128, dtype=tt.float32, device=DEVICE)
    (line,) = launched(kernels["branch"], 1, 32, y, 4).lines
    assert (line.requests, line.lanes, line.sectors) == (4, 4 * 16, 4 * 4)


@needs_tools
def test_only_some_blocks_are_counted_and_launches_add_up() -> None:
    y, x = tt.zeros(320, device=DEVICE), numbers(320)
    report = watched("axpy", 10, 32, y, x, 2.0, 320, times=3, blocks=2)
    count = only(report)
    assert (report.launches, count.times, count.blocks, count.counted) == (3, 3, 30, 6)
    assert count.flops == 2 * 32 * 6
    assert count.moved_bytes == 3 * 128 * 6
    assert count.bytes == 3 * 3 * 4 * 320, "by all blocks"
    said = str(report)
    assert "3 launches, 6 of 30 blocks counted" in said
    assert "7,680 bytes read and 3,840 written by all blocks, each byte once" in said
    assert "counted blocks: 2,304 bytes moved; 384 FLOPs, 0.17 per byte moved" in said
    (row,) = [line for line in said.splitlines() if "arithmetic" in line]
    assert row.split() == [line_of("a * x[i]"), "arithmetic", "384"]


@needs_tools
def test_a_block_that_asks_for_too_much_does_not_count() -> None:
    """Neither it nor those behind it: the numbers are those of whole blocks."""
    y = tt.ones(96, device=DEVICE)
    report = watched("endless", 3, 32, y, 300_000)
    count = only(report)
    assert (count.cut, count.counted, count.blocks) == (True, 1, 3)
    assert count.flops == 2 * 32
    assert sum(line.requests for line in report.lines) == 3
    assert "(the others ask for too much without a barrier)" in str(report)


# ---- other compilers, and no tools -------------------------------------------------------------------------


def other_compilers() -> list[str]:
    """clang of this machine, and that of the package ziglang."""
    names = ["clang++", *[f"clang++-{version}" for version in range(30, 13, -1)]]
    found = [name for name in names if shutil.which(name)][:1]
    if importlib.util.find_spec("ziglang"):
        found.append(f"'{sys.executable}' -m ziglang cc")
    return found


@pytest.mark.skipif("CXX" in os.environ, reason="this is such a run")
@pytest.mark.skipif(not other_compilers(), reason="there is no clang")
def test_other_compilers_count_alike() -> None:
    for compiler in other_compilers():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            capture_output=True,
            text=True,
            env={**os.environ, "CXX": compiler},
            check=False,
        )
        assert done.returncode == 0, f"{compiler}: {done.stdout[-4000:]}"


@pytest.fixture
def fresh_tools() -> Iterator[None]:
    """What tools said is asked again, before and after."""
    known, source_lines._known = source_lines._known, {}
    check_flops.operations_of.cache_clear()
    yield
    check_flops.operations_of.cache_clear()
    source_lines._known = known


@pytest.mark.skipif(shutil.which("llvm-addr2line") is None, reason="LLVM is not installed")
@needs_tools
@pytest.mark.usefixtures("fresh_tools")
def test_lines_come_from_the_tool_of_llvm_too(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "addr2line" else which(name))
    test_loops_and_branches()
    test_functions_count_at_their_own_lines()


@pytest.mark.usefixtures("fresh_tools")
def test_a_tool_that_does_not_name_what_is_called_counts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As that of LLVM 14: not 0 operations, but no number."""
    tool = tmp_path / "objdump"
    tool.write_text(
        "#!/bin/sh\necho 'k.so: file format elf64-x86-64'\necho '    1000:\tcall 900 <k+0x900>'\n"
    )
    tool.chmod(0o755)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: str(tool) if name == "objdump" else which(name))
    report = watched("axpy", 1, 32, tt.zeros(32, device=DEVICE), numbers(32), 2.0, 32)
    assert only(report).flops is None


@pytest.mark.parametrize("missing", ["objdump", "addr2line"])
@pytest.mark.usefixtures("fresh_tools")
def test_where_a_tool_is_missing_the_report_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name.endswith(missing) else which(name))
    report = watched("axpy", 1, 32, tt.zeros(32, device=DEVICE), numbers(32), 2.0, 32)
    assert report.work is None
    assert (only(report).flops, only(report).flops_by_kind()) == (None, None)
    said = str(report)
    assert "FLOPs not counted: that takes objdump and addr2line, and an x86-64 processor" in said
    assert "arithmetic" not in said
    assert only(report).bytes == 3 * 4 * 32
