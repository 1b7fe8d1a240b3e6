"""The kernels lab: every rung agrees with NumPy on odd sizes, in two orders; counters of plain rungs are
worked out by hand.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from benchmarks.__main__ import main
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.kernels_lab import host, lab, overlap
from benchmarks.kernels_lab.ladders import LADDERS, TRANSPOSE, Rung
from benchmarks.kernels_lab.run import run
from tests.helpers import cupy_fixtures
from tinytensor.runtime import runtime_of

cupy, pretended, lazy = cupy_fixtures.cupy, cupy_fixtures.pretended, cupy_fixtures.lazy  # fixtures
device = cupy_fixtures.device

ODD = {
    "transpose": {"M": 37, "N": 70},
    "reduction": {"N": 1003},
    "scan": {"N": 70_001},
    "histogram": {"N": 5003},
    "stencil": {"H": 33, "W": 35},
    "softmax": {"rows": 3, "width": 300},
    "layer_norm": {"rows": 11, "width": 100},
    "attention": {"T": 33, "D": 64},
}


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", LADDERS)
def test_rungs_agree_with_numpy(name: str, order: int) -> None:
    runtime = runtime_of(tt.Device("emulated"))
    with runtime.schedule(order=order):  # type: ignore[attr-defined]
        errors = lab.check(LADDERS[name], "emulated", ODD.get(name))
    assert len(errors) == len(LADDERS[name].rungs)


def test_counters_of_the_transpose() -> None:
    m, n = TRANSPOSE.small["M"], TRANSPOSE.small["N"]
    counts = {c.rung: c for c in lab.count(TRANSPOSE)}
    floor = 2 * 4 * m * n
    naive = counts["naive"]
    assert naive.moved == 4 * m * n + 32 * m * n, "a sector for each element that is written"
    assert naive.sectors == (4 + 32) / 2
    for title in ("shared memory", "padded", "swizzled"):
        assert (counts[title].moved, counts[title].sectors) == (floor, 4.0)
    assert counts["shared memory"].ways == (1 + 32) / 2, "rows are written in one turn, columns read in 32"
    assert counts["padded"].ways == counts["swizzled"].ways == 1.0


def test_a_softmax_in_registers_reads_its_rows_once() -> None:
    ladder = LADDERS["softmax"]
    sizes = {"rows": 4, "width": 1024}
    counts = {c.rung: c for c in lab.count(ladder, sizes)}
    in_full = 4 * 1024 * 4
    first = 4 * 32 * 8  # each warp also looks at the first element of its row: one sector each, twice counted
    assert in_full * 2 <= counts["registers"].moved <= in_full * 2 + 2 * first
    assert in_full * 3 <= counts["online"].moved <= in_full * 3 + 2 * first
    assert in_full * 4 <= counts["three passes"].moved <= in_full * 4 + 2 * first


def test_layer_norm_in_one_pass_loses_digits() -> None:
    ladder = LADDERS["layer_norm"]
    sizes = {"rows": 8, "width": 256}
    tensors, _ = lab.inputs_of(ladder, sizes, "emulated")
    arrays = {name: t.cpu().numpy().copy() for name, t in tensors.items()}
    arrays["x"] += 3000.0
    tensors["x"] = tt.asarray(arrays["x"], device="emulated")
    reference = ladder.reference(arrays)
    worst = {
        rung.title: float(np.abs(rung.run(tensors, sizes).cpu().numpy() - reference).max())
        for rung in ladder.rungs
    }
    assert worst["registers"] < 1e-2
    assert not worst["one pass"] < 1e-1, "even a variance below zero, so NaN"


def test_a_wrong_rung_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, kernels = Rung("wrong", lambda x, sizes: x["x"] * 2.0, ""), host.kernels(host.FILE)
    kernels.__dict__["matmul_naive"] = lambda c, a, b: c.fill(1.0) is None
    monkeypatch.setattr(host, "kernels", lambda file: kernels)
    monkeypatch.setattr(overlap.Job, "parts", lambda job: [slice(0, job.size // 2)])
    for call, said in (
        (lambda: lab.error_of(wrong, tt.zeros(2, 3), np.zeros((3, 2))), "wrong: shape"),
        (lambda: lab.error_of(wrong, tt.ones(2), np.zeros(2)), "differs"),
        (lambda: lab.time_rungs(TRANSPOSE, device="emulated"), "emulated is not timed"),
        (lambda: overlap.time_rungs(device="emulated"), "emulated is not timed"),
        (host.check, "naive: off by"),
        (lambda: overlap.check("emulated", (100, 2)), "parts, 1 stream: differs"),
    ):
        with pytest.raises(BenchmarkError, match=said):
            call()


@pytest.mark.parametrize("size", [(5, 2), (1003, 4), (4096, 1)])
def test_rungs_of_streams_agree_with_numpy_and_with_each_other(device: str, size: tuple[int, int]) -> None:
    assert len(overlap.check(device, size)) == len(overlap.RUNGS)


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (37, 70, 400), (14, 32, 384), (6, 16, 385), (15, 33, 800), (3, 5, 0)]
)
def test_rungs_on_the_host_agree_with_numpy(sizes: tuple[int, int, int]) -> None:
    assert len(host.check(sizes)) == len(host.RUNGS)


def test_rungs_on_the_host_are_timed_beside_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LARGE", (20, 30, 40))
    found = host.time_rungs(rounds=1, seconds=0.0)
    assert [row["rung"] for row in found] == [rung.title for rung in host.RUNGS] + [host.BLAS]
    assert found[0]["GFLOP/s"] == pytest.approx(2 * 20 * 30 * 40 / found[0]["seconds"] / 1e9)


MINE = """
template <int N>
__global__ void mine(float* y, const float* x, int rows, int columns) {
    const int i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows && j < columns) y[j * rows + i] = N * x[i * columns + j];
}
"""
OWN_PRODUCT = """
#include "array.h"
HOST_KERNEL bool mine(Array c, Array a, Array b) {
    for (Index i = 0; i < c.shape(0); i++)
        for (Index j = 0; j < c.shape(1); j++) {
            float sum = 0;
            for (Index k = 0; k < a.shape(1); k++)
                sum += a.data<float>()[i * a.shape(1) + k] * b.data<float>()[k * c.shape(1) + j];
            c.data<float>()[i * c.shape(1) + j] = sum;
        }
    return true;
}
"""


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs `kernels_lab` with a file of one's own; returns exit code and output."""

    def call(ladder: str, name: str, text: str, launch: str) -> tuple[int, str]:
        (tmp_path / name).write_text(text)
        words = [ladder, f"--with={tmp_path / name}", f"--launch={launch}", f"--out={tmp_path}"]
        return main(["kernels_lab", *words]), "".join(capsys.readouterr())

    return call


def test_a_kernel_of_your_own_is_one_more_version(command: Callable[..., tuple[int, str]]) -> None:
    launch = "mine<1><<<dim3(blocks, M // 8 + 1), dim3(32, 8)>>>(out, x, M, N)"
    code, said = command("transpose", "mine.cu", MINE, launch.replace("blocks", "N // 32"))
    rows = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    assert code == 0
    assert rows["yours"][1:9] == rows["naive"][1:9], "the same accesses"
    for wrong, why in (
        (launch, "name 'blocks' is not defined\n  names in a launch: out, x, M, N, empty, zeros"),
        (launch.replace("blocks", "4").replace("<1>", "<2>"), "yours: differs by 1.0"),
        ("mine(out, x)", "is no launch"),
        ("mine<1><<<1, 32>>>(out)", "1 argument for 4 parameters"),
        ("", "or no launch"),
    ):
        code, said = command("transpose", "mine.cu", MINE, wrong)
        assert code == 2, wrong
        assert why in said, said


def test_a_c_plus_plus_kernel_of_your_own_is_timed(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LARGE", (20, 30, 40))
    code, said = command(host.LADDER, "mine.cpp", OWN_PRODUCT, "mine")
    assert code == 0
    assert "mine of mine.cpp" in said
    code, said = command(host.LADDER, "mine.cpp", OWN_PRODUCT, "yours")
    assert (code, "declares no kernel yours" in said) == (2, True)


def test_a_report_has_the_numbers_and_the_lessons() -> None:
    report = run(["transpose"], timed=False)
    naive = report.findings["transpose"]["rungs"][0]
    assert (naive["launches"], naive["lesson"]) == (1, "coalesced reads, scattered writes")
    text = report.table()
    assert naive["lesson"] in text
    assert "bank conflicts" in text.partition(" columns\n")[2]
