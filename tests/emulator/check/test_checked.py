"""The device `checked` finds what is wrong in a kernel, says where and in which thread, and nothing else."""

import re
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import tinytensor as tt
from tests.helpers.emulated import compile_together
from tests.helpers.source import ROOT

SOURCES = [ROOT / "tests" / "device_code" / name for name in ("bugs.cu", "bugs_of_warps.cu")]
KERNEL = re.compile(r"(?P<twins>template <bool Bug> )?__global__ void (?P<name>\w+)\(")
EXPECTED = re.compile(r"// expect: (?P<kind>[a-z ]+), block (?P<block>\d+), thread (?P<thread>\d+)$")


class Kernel(NamedTuple):
    """A kernel of a file: whether it has a twin; of what must be found kind and place, block and thread."""

    source: Path
    twins: bool
    expected: dict[tuple[str, str], tuple[str, str]]


class Launch(NamedTuple):
    """How a kernel is launched: 64 threads, unless it says otherwise, and 256 bytes of shared memory."""

    grid: int = 1
    block: int = 64
    shared: int = 256
    zeros: bool = False  # y begins with zeros, not as memory that nobody wrote
    n: int = 256
    dtype: tt.DType = tt.float32


LAUNCHES = {
    "after_the_end": Launch(4),
    "before_the_start": Launch(4),
    "negative_index": Launch(4),
    "over_the_end": Launch(4, block=16, n=254),
    "through_a_struct": Launch(5),
    "dynamic_too_small": Launch(shared=252),
    "unwritten_shared": Launch(4),
    "shared_of_another_block": Launch(2),
    "missing_syncwarp": Launch(block=32),
    "syncwarp_of_half_a_warp": Launch(block=32),
    "shuffle_is_no_fence": Launch(block=32),
    "global_between_blocks": Launch(3),
    "all_blocks_write": Launch(4),
    "increment_without_atomics": Launch(4, zeros=True),
    "atomic_and_plain": Launch(4, zeros=True),
    "shift_in_place": Launch(zeros=True),
    "last_block_without_fence": Launch(4, zeros=True),
    "wrong_mask": Launch(block=32),
    "lanes_part": Launch(block=32),
    "unwritten_matrix_row": Launch(block=32),
    "misaligned_matrix_row": Launch(block=32),
    "halves_of_a_warp": Launch(block=32),
    "histogram": Launch(4, zeros=True),
    "bytes_in_place": Launch(zeros=True, dtype=tt.uint8),
}


@cache
def kernels():
    """All kernels, by name."""
    found = {}
    name = ""
    for source in SOURCES:
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
            if match := KERNEL.match(line):
                name = match["name"]
                found[name] = Kernel(source, match["twins"] is not None, {})
            if match := EXPECTED.search(line):
                found[name].expected[match["kind"], f"{source.name}:{number}"] = (
                    f"block ({match['block']}, 0, 0)",
                    f"thread ({match['thread']}, 0, 0)",
                )
    return found


# Accesses of blocks that are counted, and of those that are not, go different ways through the checker.
COUNTED = pytest.mark.parametrize("counted", [4, 0])


def launch(name, *template, counted):
    """Launch a kernel under a check that counts so many blocks, on fresh tensors."""
    source = kernels()[name].source
    of_file = [(k, how.twins) for k, how in kernels().items() if how.source == source]
    instances = [(k, bug) for k, twins in of_file for bug in (((False,), (True,)) if twins else ((),))]
    compile_together(source, tuple(instances), "checked", "emulated")
    how = LAUNCHES.get(name, Launch())
    x = tt.arange(how.n, dtype=tt.float32, device="emulated")
    k = tt.cuda.kernel(source, name, *template)[how.grid, how.block, how.shared]
    with tt.cuda.check(blocks=counted) as report:
        y = (tt.zeros if how.zeros else tt.empty)(how.n, dtype=how.dtype, device="emulated")
        if name in ("through_a_struct", "freed"):
            job = struct.pack("PPi4x", y.storage.buffer.ptr, x.storage.buffer.ptr, how.n)
            if name == "freed" and template[0]:
                del x
            k(y, job)
        else:
            k(y, x, how.n)
    return report


@COUNTED
@pytest.mark.parametrize("name", [name for name, kernel in kernels().items() if kernel.expected])
def test_a_bug_is_found(name, counted):
    expected = kernels()[name].expected
    report = launch(name, True, counted=counted)
    assert {(f.kind, f.place) for f in report.findings} == expected.keys(), str(report)
    for key, (block, thread) in expected.items():
        first = next(f for f in report.findings if (f.kind, f.place) == key)
        assert block in first.text, str(report)
        assert thread in first.text, str(report)


@COUNTED
@pytest.mark.parametrize("name", kernels())
def test_a_right_kernel_is_silent(name, counted):
    report = launch(name, *([False] if kernels()[name].twins else []), counted=counted)
    assert not report.findings, str(report)
