"""What `tt.cuda.check` counts, against formulas: operations, bytes, requests, lanes, sectors, banks."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

import pytest

import tinytensor as tt
from tests.helpers.emulated import compile_together
from tests.helpers.source import ROOT
from tinytensor.emulator.check import flops as check_flops
from tinytensor.emulator.check import source_lines

SOURCE = ROOT / "tests" / "device_code" / "counters.cu"
DEVICE = "checked"
NARROW_OR_WIDE = (tt.float32, tt.float64, tt.float16, tt.bfloat16, tt.int32)
HAS_TOOLS = shutil.which("objdump") is not None and shutil.which("addr2line") is not None
needs_tools = pytest.mark.skipif(not HAS_TOOLS, reason="binutils are not installed")


def zeros(n):
    return tt.zeros(n, device=DEVICE)


def numbers(n, dtype=tt.float32):
    return tt.arange(1, n + 1, dtype=dtype, device=DEVICE)


def watched(name, grid, block, *arguments, template=(), source=SOURCE, times=1, blocks=100):
    if source == SOURCE:
        compile_together(SOURCE, INSTANCES, DEVICE)
    k = tt.cuda.kernel(source, name, *template)
    with tt.cuda.check(blocks=blocks) as report:
        for _ in range(times):
            k[grid, block](*arguments)
    assert not report.findings, str(report)
    return report


def only(report):
    (count,) = report.kernels
    return count


def line_of(text):
    """file:line of the one line that contains a text."""
    (found,) = [i for i, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line]
    return f"{SOURCE.name}:{found}"


def work(report):
    """single, double, half, tf32 of each line."""
    assert report.work is not None
    return {w.place: (w.single, w.double, w.half, w.tf32) for w in report.work}


# ---- operations --------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """A kernel, its launch, and the operations in single precision of its lines, each named by a part."""

    kernel: str
    grid: int
    block: int
    arguments: Callable[[], tuple[Any, ...]]
    expected: dict[str, int]


def product(m, n, k):
    def arguments():
        return zeros(m * n), numbers(max(m * k, 1)), numbers(max(k * n, 1)), m, n, k

    expected = {"sum += a[i / n": 2 * m * n * k} if k else {}
    return Work("matrix_product", -(-m * n // 32), 32, arguments, expected)


WORK = {
    "axpy": Work("axpy", 2, 128, lambda: (zeros(256), numbers(256), 2.0, 250), {"a * x[i]": 2 * 250}),
    **{f"product of {sizes}": product(*sizes) for sizes in ((7, 6, 5), (1, 1, 1), (8, 8, 0), (3, 40, 17))},
    "branches": Work(
        *("branches", 1, 64, lambda: (zeros(64),)),
        {
            "y[t] += i;": sum(len(range(0, t, 3)) for t in range(64)),
            **{"sum * 3.0f": 16, "sum / 3.0f + t": 2 * 16, "sqrtf(sum)": 16},
        },
    ),
    "an atomic sum": Work("total", 1, 64, lambda: (zeros(2), numbers(64)), {"atomicAdd(y, x[": 64}),
    # A compiler may put the sum before the jump that leads to it. 64 + 32 + … + 1 in each of 3 blocks.
    "a loop with barriers": Work(
        "block_total", 3, 128, lambda: (zeros(3), numbers(3 * 128)), {"s[t] += s[t + step]": 3 * 127}
    ),
}


@needs_tools
@pytest.mark.parametrize("name", WORK)
def test_operations_of_lines(name):
    row = WORK[name]
    report = watched(row.kernel, row.grid, row.block, *row.arguments())
    assert work(report) == {line_of(part): (n, 0, 0, 0) for part, n in row.expected.items()}
    assert only(report).flops == sum(row.expected.values())


@needs_tools
def test_functions_count_at_their_own_lines():
    """64 + 8 cubes; a sum over two warps: 5 additions of all 64 lanes, then 5 more."""
    report = watched("calls", 1, 64, tt.empty(64, device=DEVICE), numbers(64))
    found = work(report)
    assert found.pop(line_of("square = x * x")) == (72, 0, 0, 0)
    assert found.pop(line_of("square * x;")) == (72, 0, 0, 0)
    assert sum(w[0] for w in found.values()) == 2 * 5 * 64
    assert all("reduce.cuh" in place and line_of("block_sum(v)") in place for place in found)


@needs_tools
@pytest.mark.parametrize("dtype", NARROW_OR_WIDE)
def test_precisions(dtype):
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
def test_every_function(kind, table):
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
def test_tensor_cores(dtype):
    """2 · 16 · 8 · 16 operations for each product of a warp, half of it in tf32."""
    report = watched("tiles", 2, 64, tt.empty(128, device=DEVICE), template=(dtype,), blocks=1)
    warps = 2
    assert work(report) == {
        line_of("m16n8k16<T>"): (0, 0, warps * 3 * 2 * 16 * 8 * 16, 0),
        line_of("m16n8k8_tf32"): (0, 0, 0, warps * 2 * 16 * 8 * 8),
    }
    assert only(report).flops == warps * 2 * 16 * 8 * (3 * 16 + 8)


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


def test_code_belongs_to_the_piece_that_leads_to_it():
    """By falling through or by a jump, forward or back; what nothing leads to does not count."""
    found = check_flops._blocks(DISASSEMBLED.splitlines())
    assert {block: [(o.offset, o.kind, o.count) for o in run] for block, run in found.items()} == {
        0x1005: [(0x1005, "single", 1), (0x100B, "double", 2), (0x1020, "single", 8), (0x1030, "single", 1)],
        0x1029: [(0x1029, "single", 1)],
        0x104D: [(0x1040, "single", 1), (0x104D, "double", 1), (0x1060, "double", 1)],
    }


# ---- bytes -------------------------------------------------------------------------------------------------


def test_bytes_of_axpy():
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


def test_bytes_that_several_blocks_read_count_once_by_all_and_for_each_request():
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
def test_bytes_of_constant_memory_are_not_global_ones(blocks):
    """Neither in the four blocks that are counted nor in later ones."""
    count = only(watched("constants", blocks, 32, zeros(blocks * 32), None, blocks=4))
    assert (count.read_bytes, count.written_bytes) == (0, 4 * 32 * blocks)


def test_vectors_are_seen():
    """Whatever the compiler makes of them: clang may call functions, or load a vector in halves."""
    count = only(watched("vectors", 2, 32, tt.empty(512, device=DEVICE), numbers(512), 2))
    assert (count.read_bytes, count.written_bytes) == (2048, 2048)


# ---- requests ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """What all accesses of one kind make together: of global memory sectors, of shared memory turns."""

    requests: int
    lanes: int
    units: int  # sectors, or turns


@dataclass(frozen=True)
class Case:
    """A kernel, what it must count, and how it is launched."""

    kernel: str
    template: tuple[Any, ...]
    expected: dict[str, Way]
    flops: int = 0
    grid: Any = 1
    block: Any = 64


def load(requests, lanes, sectors):
    """Reads of global memory."""
    return {"global load": Way(requests, lanes, sectors)}


def of_two_warps(sectors, lanes=32):
    """A read of each lane; sectors of one request."""
    return load(2, 2 * lanes, 2 * sectors)


def turns(ways, requests=2):
    """Reads of shared memory by whole warps."""
    return {"shared load": Way(requests, 32 * requests, ways * requests)}


N, TILE = 64, 16
# The tree over 256 numbers: 128, 64, … 1 threads read two each, in one warp or more; one reads the sum.
READERS = [128 >> i for i in range(8)]
OF_TREE = Way(2 * (2 * 12 + 1), 2 * (2 * sum(READERS) + 1), 2 * (2 * 12 + 1))  # of two blocks
ROUNDS = sum(range(1, 33))  # lane l takes l + 1
SECTORS = sum(-(-(32 - i) // 8) for i in range(32))  # lanes i to 31 read in round i

STORE = {"global store": Way(2, 64, 8)}  # of all lanes together, wherever they were apart
COUNTER = {"global atomic": Way(2, 64, 8)}  # one for each lane
ROWS = {"shared store": Way(32, 1024, 32)}
VECTORS = (("float2", 8), ("float4", 16), ("double", 8), ("unsigned char", 1), ("short", 2))
COLUMNS = ((32, 32), (33, 1), (34, 2))  # lengths of rows, and the ways of conflicts of a column

CASES = [
    *[Case("strided", (s,), of_two_warps(4 * min(s, 8))) for s in (1, 2, 3, 4, 8, 16, 32)],
    *[Case("shifted", (o,), of_two_warps(4 + (o % 8 > 0))) for o in (1, 7, 8)],
    Case("broadcast", (), of_two_warps(1)),
    Case("backwards", (), of_two_warps(4)),
    *[Case("part_of_a_warp", (n,), of_two_warps(-(-n // 8), n)) for n in (1, 16, 20)],
    *[Case("whole", (v,), of_two_warps(size)) for v, size in VECTORS],
    *[Case("banks", (s,), turns(gcd(s, 32))) for s in (1, 2, 3, 4, 8, 16, 32, 33)],
    Case("one_word", (), turns(1)),
    *[Case("column", (p,), turns(n, 32) | ROWS, block=1024) for p, n in COLUMNS],
    *[Case("shared_vectors", (v,), turns(size)) for v, size in (("float2", 2), ("float4", 4), ("double", 2))],
    Case("one_lane_at_a_time", (), load(64, 64, 64) | STORE, 64),
    *[Case("both_branches", (inlined,), load(4, 64, 16) | STORE, 64) for inlined in (False, True)],
    Case("long_branch", (), load(2 * 96, 4 * 96, 4 * 96) | STORE, 4 * 96),
    Case("early_exit", (), load(64, 2 * ROUNDS, 2 * SECTORS) | STORE, 2 * ROUNDS),
    Case("uneven_loop", (), load(8, 2 * 8 * (1 + 2 + 3 + 4), 2 * 4 * 4) | STORE, 2 * 8 * (1 + 2 + 3 + 4)),
    Case("parted_by_votes", (), load(16, 512, 64) | {"global store": Way(16, 256, 64)}),
    Case("in_turns", (), {"global store": Way(8, 8 * 16, 8 * 4)}),
    Case("tree", (), {"shared load": OF_TREE}, 2 * 255, 2, 256),
    Case(
        "tiled_product",
        (),
        load(2 * 4 * 16 * 8, 2 * N * N * N // TILE, 2 * N * N * N // TILE // 8),
        2 * N**3,
        (4, 4),
        (TILE, TILE),
    ),
    Case("local_array", (), {"local store": Way(16, 512, 64)}, 8 * 64),
    Case("constants", (), {"constant load": Way(2, 64, 2)}),
    Case("device_array", (), {"global store": Way(2, 64, 8)}),
    *[
        Case("shared_counters", (same,), COUNTER | {"shared atomic": Way(2, 64, 64 if same else 2)})
        for same in (False, True)
    ],
    Case("one_counter", (), {"global atomic": Way(2, 64, 2)}, 64),
    Case("many_counters", (), COUNTER, 64),
    Case("shuffles", (), of_two_warps(4), 5 * 64),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join([c.kernel, *map(str, c.template)]))
def test_requests_and_operations(case):
    y, x = zeros(4096), tt.ones(4096, device=DEVICE)
    report = watched(case.kernel, case.grid, case.block, y, x, template=case.template)
    found = {}
    for line in report.lines:
        kind = f"{line.space} {line.way}"
        have = found.get(kind, Way(0, 0, 0))
        units = line.wavefronts if line.space == "shared" else line.sectors
        found[kind] = Way(have.requests + line.requests, have.lanes + line.lanes, have.units + units)
    assert {kind: found.get(kind) for kind in case.expected} == case.expected
    assert only(report).wavefronts == sum(way.units for kind, way in found.items() if "shared" in kind)
    if HAS_TOOLS:
        assert only(report).flops == case.flops


INSTANCES = (  # of SOURCE, compiled together
    *((name, ()) for name in ("calls", "vectors", "endless", *{row.kernel for row in WORK.values()})),
    *(
        ("square_plus_one", (dtype, dtype if dtype in (tt.float64, tt.int32) else tt.float32))
        for dtype in NARROW_OR_WIDE
    ),
    *(("tiles", (dtype,)) for dtype in (tt.float16, tt.bfloat16)),
    *((case.kernel, case.template) for case in CASES),
)


# ---- launches and blocks -----------------------------------------------------------------------------------


@needs_tools
def test_only_some_blocks_are_counted_and_launches_add_up():
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
def test_a_block_that_asks_for_too_much_does_not_count():
    """Neither it nor those behind it: the numbers are those of whole blocks."""
    y = tt.ones(96, device=DEVICE)
    report = watched("endless", 3, 32, y, 300_000)
    count = only(report)
    assert (count.cut, count.counted, count.blocks) == (True, 1, 3)
    assert count.flops == 2 * 32
    assert sum(line.requests for line in report.lines) == 3
    assert "(the others ask for too much without a barrier)" in str(report)


# ---- other compilers, and no tools -------------------------------------------------------------------------


def other_compilers():
    """clang of this machine, and that of the package ziglang."""
    names = ["clang++", *[f"clang++-{version}" for version in range(30, 13, -1)]]
    found = [name for name in names if shutil.which(name)][:1]
    if importlib.util.find_spec("ziglang"):
        found.append(f"'{sys.executable}' -m ziglang cc")
    return found


ALIKE = "not both_branches and not local_array"  # where a compiler may load once, or store vectors


@pytest.mark.skipif("CXX" in os.environ, reason="this is such a run")
@pytest.mark.skipif(not other_compilers(), reason="there is no clang")
def test_other_compilers_count_alike():
    for compiler in other_compilers():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", ALIKE, __file__],
            capture_output=True,
            text=True,
            env={**os.environ, "CXX": compiler},
            check=False,
        )
        assert done.returncode == 0, f"{compiler}: {done.stdout[-4000:]}"


@pytest.fixture
def fresh_tools():
    """What tools said is asked again, before and after."""
    known, source_lines._known = source_lines._known, {}
    check_flops.operations_of.cache_clear()
    yield
    check_flops.operations_of.cache_clear()
    source_lines._known = known


@pytest.mark.skipif(shutil.which("llvm-addr2line") is None, reason="LLVM is not installed")
@needs_tools
@pytest.mark.usefixtures("fresh_tools")
def test_lines_come_from_the_tool_of_llvm_too(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "addr2line" else which(name))
    test_operations_of_lines("branches")
    test_functions_count_at_their_own_lines()


@pytest.mark.usefixtures("fresh_tools")
def test_a_tool_that_does_not_name_what_is_called_counts_nothing(monkeypatch, tmp_path):
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
def test_where_a_tool_is_missing_the_report_says_so(missing, monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name.endswith(missing) else which(name))
    report = watched("axpy", 1, 32, tt.zeros(32, device=DEVICE), numbers(32), 2.0, 32)
    assert report.work is None
    assert (only(report).flops, only(report).flops_by_kind()) == (None, None)
    said = str(report)
    assert "FLOPs not counted: that takes objdump and addr2line, and an x86-64 processor" in said
    assert "arithmetic" not in said
    assert only(report).bytes == 3 * 4 * 32
