"""Lower bounds of the time of a kernel: the formulas worked out by hand, and the peaks of the cards."""

import shutil
from pathlib import Path

import pytest

import tinytensor as tt
from tinytensor.emulator.check.counts import KernelCount
from tinytensor.emulator.check.lower_bounds import CARDS, bounds_of

A100, H100, RTX4090 = range(3)


class Counted(KernelCount):
    """Counts whose operations are given."""

    given: dict[str, int] | None = None

    def flops_by_kind(self):
        return self.given


def counted(blocks, times=1, counted=None, **flops):
    count = Counted("k", (blocks, 1, 1), (128, 1, 1), 0, Path("k.so"))
    count.times, count.blocks = times, blocks * times
    count.counted = blocks * times if counted is None else counted
    count.given = {"single": 0, "double": 0, "half": 0, "tf32": 0, **flops}
    return count


def bound(count, card=A100):
    found = bounds_of(count)
    assert [b.card for b in found] == list(CARDS)
    return found[card]


def test_memory_moves_each_byte_once():
    """2.039e12 bytes per second; two launches of 2.039e9 bytes take a millisecond each."""
    count = counted(1000, times=2)
    count.read_bytes, count.written_bytes = 2 * 2_000_000_000, 2 * 39_000_000
    assert bound(count).parts["memory"] == pytest.approx(1e-3)
    assert (bound(count).limit, bound(count).seconds) == ("memory", pytest.approx(1e-3))


@pytest.mark.parametrize(("blocks", "busy"), [(1, 1), (54, 54), (108, 108), (10_000, 108)])
def test_few_blocks_keep_few_multiprocessors_busy(blocks, busy):
    """A multiprocessor of an A100 has 1.41e9 clocks per second, each of 128 bytes or one wavefront."""
    count = counted(blocks, half=312_000, single=195_000)
    count.accesses = {
        (("1", "", ""), "global", "load", 4): [1, 32, 128, 4 * 1000, 0, 0],
        (("2", "", ""), "shared", "load", 4): [1, 32, 128, 0, 777, 1],
    }
    parts = bound(count).parts
    assert parts["L1"] == pytest.approx(32 * 4 * 1000 / 128 / 1.41e9 / busy)
    assert parts["shared memory"] == pytest.approx(777 / 1.41e9 / busy)
    assert parts["half precision"] == pytest.approx(1e-9 * 108 / busy)
    assert parts["single precision"] == pytest.approx(1e-8 * 108 / busy)
    assert parts["double precision"] == parts["tf32 precision"] == 0


def test_blocks_that_were_not_counted_do_as_much():
    """4 of 10 blocks in each of 3 launches."""
    count = counted(10, times=3, counted=12, double=12 * 97)
    assert bound(count).parts["double precision"] == pytest.approx(10 * 97 / 9.7e12 * 108 / 10)


def test_nothing_counted_nothing_said():
    assert bounds_of(counted(3, counted=0)) == []


def test_without_operations_the_rest_is_a_bound():
    count = counted(3)
    count.given = None
    count.read_bytes = 100
    assert set(bound(count).parts) == {"memory", "L1", "shared memory"}


def test_peaks_agree_with_what_a_multiprocessor_does():
    """Fused multiply-adds per clock: 128 (A100: 64) in single precision; half, or a 64th, in double. On
    tensor cores 1024 in half precision (H100: 2048, RTX 4090 with sums in float: 256), half of it in tf32.
    """
    lanes = {A100: (64, 32, 1024), H100: (128, 64, 2048), RTX4090: (128, 2, 256)}
    for i, (single, double, half) in lanes.items():
        card = CARDS[i]
        per_lane = 2 * card.multiprocessors * card.clock
        # the H100's tensor cores are rated at a lower clock than 1.98 GHz
        for peak, each in ((card.single, single), (card.double, double), (card.half, half)):
            assert peak == pytest.approx(per_lane * each, rel=0.08)
        assert card.tf32 == pytest.approx(card.half / 2, rel=1e-3)


@pytest.mark.skipif(shutil.which("objdump") is None, reason="binutils are not installed")
def test_the_report_says_which_part_takes_longest():
    """256 blocks of copies: 2 MiB in all, and no more sectors than that."""
    k = tt.cuda.kernel(
        "__global__ void copy(float* y, const float* x) {"
        "    for (int i = 0; i < 1024; i += 256) {"
        "        const int at = blockIdx.x * 1024 + i + threadIdx.x;"
        "        y[at] = x[at];"
        "    }"
        "}"
    )
    x, y = tt.ones(1 << 18, device="checked"), tt.empty(1 << 18, device="checked")
    with tt.cuda.check(blocks=2) as report:
        k[256, 256](y, x)
    (count,) = report.kernels
    for found in bounds_of(count):
        card = found.card
        busy = min(256, card.multiprocessors)
        assert found.parts["memory"] == (1 << 21) / card.bandwidth
        assert found.parts["L1"] == pytest.approx((1 << 21) / 128 / card.clock / busy)
        assert found.limit == "memory"
    assert "A100 80GB SXM 1.03 µs (memory), H100 SXM 0.626 µs (memory), RTX 4090 2.08 µs (memory)" in str(
        report
    )
    with tt.cuda.check(blocks=2) as report:
        k[1, 256](y, x)  # 8 KiB: 4 ns of an A100's memory
    assert (
        "takes at least (a model, not a measurement): less than 1 µs; starting a kernel takes longer"
        in str(report)
    )
