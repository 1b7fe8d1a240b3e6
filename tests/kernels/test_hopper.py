"""Products by the kernel for compute capability 9.0, in emulation: bits of its twin in matmul_mma.cu, no
findings of the checker, and findings where a barrier or a wait is wrong. Its machine code.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import close, launches, mutated, normal
from tests.kernels import test_sass
from tinytensor.device import as_device
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.dtypes import bfloat16, float16, float32
from tinytensor.ops.matmul import gemm
from tinytensor.ops.matmul.gemm import PLAIN, Product
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import kernel_path
from tinytensor.runtime.signature import instance

FILE = kernel_path("matmul_sm90", ".cu")
TWIN = gemm.tensor_tiles(90)[-1]


def matrix(device, dtype, *shape, transposed=False, pad=0):
    """Random numbers; lines begin at multiples of 16 bytes, with NaN in between."""
    *batch, rows, columns = (*shape[:-2], shape[-1], shape[-2]) if transposed else shape
    values = np.full((*batch, rows, -(-columns // 8) * 8 + pad), np.nan)
    values[..., :columns] = normal(*batch, rows, columns, seed=rows + columns)
    x = tt.tensor(values).astype(getattr(tt, dtype)).to(device)[..., :columns]
    return x.mT if transposed else x


def numbers(x):
    return np.array(x.cpu().astype(tt.float64).numpy())


def run(make, x, w, bias=None, gate=PLAIN, column_sums=None):
    runtime = runtime_of(x.device)
    p = gemm.product_of(x.layout, w.layout, False, False)
    assert gemm.fits_boxes(p, x.dtype)
    y = tt.full((*x.shape[:-2], x.shape[-2], w.shape[-1]), float("nan"), dtype=x.dtype, device=x.device)
    operands = view_of(x), view_of(w), None if bias is None else view_of(bias)
    plan, sums = (
        gemm.plan_of(p, x.dtype, make(p, x.dtype)),
        None if column_sums is None else view_of(column_sums),
    )
    gemm.start(Launch(runtime, "matmul"), plan, view_of(y), operands, gate, column_sums=sums)
    return y


def by_warpgroups(p, dtype):
    return gemm.by_warpgroups(p, dtype, 1)


def by_narrow_tiles(p, dtype):
    return gemm.by_warpgroups(p, dtype, 1, gemm.HOPPER[1])


def by_twin(p, dtype):
    return gemm.by_tensor_cores(p, dtype, TWIN, 1)


@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("ta", [False, True])
def test_bits_of_the_twin(ta, tb):
    """One tile and several for each block; slabs that are not full; fewer slabs than stages, and more."""
    for dtype, (m, n, k) in (
        ("bfloat16", (128, 256, 64)),
        ("float16", (300, 270, 331)),
        ("bfloat16", (7, 9, 5)),
    ):
        x, w = (matrix("emulated", dtype, *s, transposed=t) for s, t in (((m, k), ta), ((k, n), tb)))
        y = run(by_warpgroups, x, w)
        close(y, numbers(x) @ numbers(w), dtype, 4)
        for other in (by_narrow_tiles, by_twin):
            np.testing.assert_array_equal(numbers(y), numbers(run(other, x, w)))


def test_parts_bias_gate_and_batches():
    x, w = matrix("emulated", "bfloat16", 40, 600), matrix("emulated", "bfloat16", 600, 72, pad=8)
    bias = tt.tensor(normal(72)).astype(tt.bfloat16).to("emulated")
    parts = run(lambda p, dtype: gemm.by_warpgroups(p, dtype, 3), x, w, bias)
    close(parts, numbers(x) @ numbers(w) + numbers(bias), "bfloat16", 4)
    gated = run(by_warpgroups, x, w, bias, "GeluTanh")
    np.testing.assert_array_equal(numbers(gated), numbers(run(by_twin, x, w, bias, "GeluTanh")))
    batch = matrix("emulated", "bfloat16", 3, 130, 24)
    for other in (matrix("emulated", "bfloat16", 3, 24, 16), matrix("emulated", "bfloat16", 24, 16)[None]):
        wide = other.expand(3, 24, 16)
        close(run(by_warpgroups, batch, wide), numbers(batch) @ numbers(wide), "bfloat16", 4)


def with_sums(x, w, parts=1, tile=0, source="matmul_sm90"):
    sums = tt.full((w.shape[1],), float("nan"), dtype=w.dtype, device=w.device)

    def make(p, dtype):
        return gemm.by_warpgroups(p, dtype, parts, gemm.HOPPER[tile])._replace(file=source)

    return run(make, x, w, column_sums=sums), sums


@pytest.mark.parametrize("tile", [0, 1])
@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_sums_of_columns(device, tile):
    """Of several tiles across and down, of parts, and of slabs that are not full."""
    for dtype, (m, n, k), parts in (
        ("bfloat16", (300, 270, 331), 1),
        ("float16", (20, 600, 700), 3),
        ("bfloat16", (7, 9, 5), 1),
    ):
        x, w = matrix(device, dtype, m, k, transposed=True), matrix(device, dtype, k, n)
        with tt.cuda.check() as report:
            y, sums = with_sums(x, w, parts, tile)
        assert list(report.findings) == []
        close(sums, numbers(w).sum(0), dtype, 4)
        close(y, numbers(x) @ numbers(w), dtype, 4)


@pytest.mark.parametrize("wide", [True, False])
def test_the_gradient_of_a_bias_takes_no_launch(wide, monkeypatch):
    monkeypatch.setattr(runtime_of(as_device("emulated")), "architecture", 90, raising=False)
    x, w = matrix("emulated", "bfloat16", 513, 104), matrix("emulated", "bfloat16", 104, 264)
    leaves = [t.float() if wide else t.detach() for t in (w, tt.zeros(264, dtype=w.dtype, device=w.device))]
    given = [t.requires_grad_() for t in (x, *leaves)]
    slope = matrix("emulated", "bfloat16", 513, 264)
    counts = []
    for bias in (given[2], None):
        with tt.autocast(tt.bfloat16, enabled=wide):
            y = tt.linear(given[0], given[1], bias, transposed=False)
        grads = []
        wanted = given if bias is not None else given[:2]
        counts.append(launches(lambda y=y, w=wanted, g=grads: g.extend(tt.grad(y, w, slope))))
        if bias is not None:
            assert grads[2].dtype is bias.dtype
            close(grads[2], numbers(slope).sum(0), "bfloat16", 4)
    assert counts[0] == counts[1]


def test_the_choice_of_the_kernel():
    """On compute capability 9.0 alone, and where lines begin at multiples of 16 bytes."""

    def chosen(architecture, dtype=bfloat16, pitch=768, boxes=True):
        p = Product(16384, 3072, 768, 1, (), pitch, 1, 3072, 1, (), ())
        gpu = type("GPU", (), {"multiprocessors": 132, "architecture": architecture})
        return gemm.choose(p, dtype, gpu, boxes).kernel

    assert chosen(90) == chosen(90, float16) == "matmul_hopper"
    others = [chosen(80), chosen(100), chosen(90, pitch=769), chosen(90, boxes=False)]
    assert others == ["matmul_tensor_cores"] * 4
    assert chosen(90, float32) == "matmul_tiles"


def test_the_tile_fits_the_columns():
    """768 columns are 3 tiles of 256, 384 are 2 of 192."""
    gpu = type("GPU", (), {"multiprocessors": 132, "architecture": 90})
    tiles = []
    for columns in (768, 384):
        p = Product(16384, columns, 1536, 1, (), 1536, 1, columns, 1, (), ())
        tiles.append(gemm.choose(p, bfloat16, gpu, True).template[1])
    assert tiles == [256, 192]


def findings(source, maps, k=450):
    """What the checker finds, and whether the result is that of the twin."""
    x, w = matrix("checked", "bfloat16", 20, k), matrix("checked", "bfloat16", k, 40, transposed=True)
    runtime = runtime_of(as_device("checked"))
    with pytest.MonkeyPatch.context() as patch, tt.cuda.check() as report:
        encode = type(runtime).tensor_map
        patch.setattr(runtime, "tensor_map", lambda *given: encode(runtime, *given, **maps), raising=False)
        y = run(lambda p, dtype: by_warpgroups(p, dtype)._replace(file=source), x, w)
    return list(report.findings), np.array_equal(numbers(y), numbers(run(by_twin, x, w)))


def test_it_has_no_findings():
    for k in (64, 450):
        assert findings("matmul_sm90", {}, k) == ([], True)


WAIT = "barrier_wait(&memory.full[ring.stage], ring.parity);\n                products_begin"
EXPECT = "expect(full, sizeof(Slabs))"
MUTANTS = {  # what is replaced, by what, and the first finding
    "the phase of a wait is off by one": (WAIT, WAIT.replace("parity)", "parity ^ 1)"), "uninitialized"),
    "no wait for an empty stage": (
        "barrier_wait(&memory.empty[ring.stage], ring.parity ^ 1);",
        "",
        "launch failed",  # one arrival too many in a phase of `full`
    ),
    "no wait for the products of a stage that is given back": ("products_wait<1>();", "", "shared race"),
    "a stage is given back one step too early": ("products_wait<1>();", "products_wait<2>();", "shared race"),
    "bytes are missing": (EXPECT, "expect(full, sizeof(stage.a))", "unfinished copy"),
    "bytes are too many": (EXPECT, "expect(full, sizeof(Slabs) + 16)", "deadlock"),
    "no fence": ("products_begin();", "", "product without fence"),
    "no last wait": ("products_wait<0>();", "", "unfinished product"),
    "an arrival is missing": ("nullptr ? CONSUMERS :", "nullptr ? CONSUMERS + 1 :", "deadlock"),
    "groups of lines are elsewhere": (
        "matrix_at(at + step * 32, 1024, 0)",
        "matrix_at(at + step * 32, 2048, 0)",
        "unfinished copy",
    ),
    "no barrier behind the initialization": ("    }\n    __syncthreads();", "    }", "shared race"),
    "no fence behind the initialization": ("barrier_init_fence();", "", "barrier without fence"),
    "no barrier between gathering and storing": ("__syncwarp();\n#pragma", "\n#pragma", "uninitialized"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_is_wrong_is_found(mutant, tmp_path):
    before, after, kind = MUTANTS[mutant]
    found, _ = findings(mutated(FILE, before, after, tmp_path), {})
    assert found[0].kind.startswith(kind)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ring.parity);\n            if (at.row == 0)", "ring.parity ^ 1);\n            if (at.row == 0)"),
        ("__syncwarp();\n            }\n            if (lane == 0)", "}\n            if (lane == 0)"),
        ("CONSUMERS : CONSUMERS + SUMMERS", "CONSUMERS : CONSUMERS + 1"),
    ],
    ids=["phase of the wait", "lanes that still read", "arrivals that are not counted"],
)
def test_what_is_wrong_in_sums_of_columns_is_found(before, after, tmp_path):
    x, w = matrix("checked", "bfloat16", 20, 450), matrix("checked", "bfloat16", 450, 40)
    with tt.cuda.check() as report:
        with_sums(x, w, source=mutated(FILE, before, after, tmp_path))
    assert report.findings


def test_another_swizzle_gives_other_values():
    assert findings("matmul_sm90", {"swizzle": 0}) == ([], False)


@pytest.mark.skipif(
    test_sass.disassembler() is None or not nvrtc.available(), reason="NVRTC or nvdisasm is not installed"
)
@pytest.mark.parametrize("columns", [256, 192])
@pytest.mark.parametrize("along", [True, False])
def test_machine_code(along, columns, tmp_path):
    name = instance("matmul_hopper", (bfloat16, bfloat16, columns, along, along, PLAIN))
    text = test_sass.code(FILE, [name], "sm_90", tmp_path)[name]
    compiled = nvrtc.build(FILE, [name], "sm_90")
    used = compiled.resources[name]
    assert used.stack == used.spill_stores == 0
    assert used.registers == 168  # of 384 threads; then 72 of the first warpgroup, 216 of the others
    assert "serialized" not in compiled.log  # products that wait for one another
    for opcode in ("UTMALDG.3D", f"HGMMA.64x{columns}x16.F32.BF16", "SYNCS.ARRIVE", "USETMAXREG"):
        assert opcode in text
    loop = max(test_sass.loops(text), key=lambda found: found["HGMMA"] / found.total())
    assert loop["HGMMA"] % 4 == 0
    assert loop["LDS"] == loop["STS"] == loop["LDSM"] == loop["R2UR"] == 0
