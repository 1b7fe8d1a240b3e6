"""Products by matmul_mma.cu on `checked`: no findings, no bank conflicts; and findings, or other values,
where a barrier, a wait, a stage or an address is wrong.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import mutated, normal
from tinytensor.device import as_device
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.ops.matmul import gemm
from tinytensor.runtime import runtime_of
from tinytensor.runtime.kernel_files import kernel_path

FILE, TILE = kernel_path("matmul_mma", ".cu"), gemm.tensor_tiles(80)[-1]
BOTH = [(False, True), (True, False)]  # contiguous along `inner`, and across


def checked(source, dtype, ta, tb, k=600):
    """What the checker reports, and whether the result is right."""
    rng = [np.round(normal(*shape, seed=i) * 4) for i, shape in enumerate([(64, k), (k, 64)])]  # exact in all
    x, w = [tt.tensor(values.T if t else values) for values, t in zip(rng, (ta, tb), strict=True)]
    a, b = [v.astype(getattr(tt, dtype)).to("checked") for v in (x, w)]
    a, b = a.mT if ta else a, b.mT if tb else b
    p = gemm.product_of(a.layout, b.layout, False, False)
    y = tt.full((64, 64), float("nan"), dtype=a.dtype, device="checked")
    choice = gemm.by_tensor_cores(p, a.dtype, TILE, 1)._replace(file=source)
    with tt.cuda.check() as report:
        launch = Launch(runtime_of(as_device("checked")), "matmul")
        gemm.start(launch, gemm.plan_of(p, a.dtype, choice), view_of(y), (view_of(a), view_of(b), None))
    found = y.cpu().astype(tt.float32).numpy()
    expected = tt.tensor(rng[0] @ rng[1]).astype(a.dtype).astype(tt.float32).numpy()
    return report, bool(np.array_equal(found, expected))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("ta", "tb"), BOTH)
def test_no_findings_and_no_bank_conflicts(dtype, ta, tb):
    report, right = checked("matmul_mma", dtype, ta, tb)
    assert not report.findings
    assert right
    assert conflicts(report) == 1


def conflicts(report):
    """The most ways of bank conflicts of a line of the kernel."""
    ways = [line.bank_conflict_ways for line in report.lines if line.space == "shared"]
    assert len(ways) >= 3  # copies, and reads of both operands
    return max(ways)


WAIT = "tt_mma::cp_async_wait<STAGES - 2>();\n                __syncthreads"  # of the unrolled loop
NEXT = "stages[(s + STAGES - 1) % STAGES]"
MUTANTS = {  # what is replaced, by what, and the kind of a finding; or nothing, if only values are wrong
    "no barrier": (
        "__syncthreads();  // this slab has arrived, and the previous one may be overwritten",
        "",
        "shared race",
    ),
    "no wait": (WAIT, "__syncthreads", "unfinished copy"),
    "one wait too late": (WAIT, WAIT.replace("- 2", "- 1"), "unfinished copy"),
    "a stage is reused while it is read": (NEXT, "stages[s % STAGES]", "shared race"),
    "a stage is reused while it is copied": (NEXT, "stages[(s + 1) % STAGES]", "shared race"),
    "a chunk goes elsewhere": ("targets[c / 4 % 2]", "targets[0]", "uninitialized shared read"),
    "addresses advance by too little": ("(slabs * DEPTH);", "(slabs * DEPTH - 8);", ""),
    "another swizzle of lines": ("i * 2 + half)", "i * 2 + (half & lane))", ""),
    "another swizzle of inner elements": (
        "line / 8 + i * 2 + eight)",
        "line / 8 + i * 2 + (eight & lane))",
        "",
    ),
    "another swizzle of words": ("i * 2 + lane / 16)", "i * 2 + (lane / 16 & lane))", ""),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_is_wrong_is_found(mutant, tmp_path):
    before, after, kind = MUTANTS[mutant]
    report, right = checked(mutated(FILE, before, after, tmp_path), *case(mutant), k=1000)
    assert not right
    assert kind in {"", *(finding.kind for finding in report.findings)}


def case(mutant):
    """dtype and order of operands."""
    across = mutant.endswith(("inner elements", "words"))
    return "float32" if mutant.endswith("words") else "bfloat16", across, not across


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_without_inner_elements_the_copies_of_zeros_have_ended(dtype):
    """The result is written through the memory that they fill."""
    a, b = (tt.zeros(*shape, dtype=dtype, device="emulated") for shape in ((256, 0), (0, 256)))
    with tt.cuda.check() as report:
        y = a @ b
    assert "matmul_tensor_cores" in report.kernels[0].kernel
    assert not report.findings, str(report)
    assert not np.any(y.tolist())


def test_without_swizzle_there_are_bank_conflicts(tmp_path):
    file = mutated(FILE, "c ^ (BY_WORD ? r % 4 * 2 : r % 8)", "c", tmp_path)
    report, right = checked(file, "bfloat16", False, True)
    assert right
    assert conflicts(report) == 8
