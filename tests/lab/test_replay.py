"""The replay of a checked run: its steps against sources and counters, its page in a browser."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.pages import parse
from tests.helpers.source import ROOT
from tests.lab.conftest import Show
from tinytensor import lab
from tinytensor.__main__ import main
from tinytensor.cuda import CheckReport
from tinytensor.emulator.check.recording import MOST_EVENTS, Recording
from tinytensor.errors import ArgumentError
from tinytensor.lab.html import write
from tinytensor.lab.kernels.kernel_view import kernels_of
from tinytensor.lab.replay.steps import Step, merged, steps_of
from tinytensor.puzzles.chapters import PUZZLES
from tinytensor.puzzles.python_puzzle import PythonPuzzle

BLOCK_SUM = """
__global__ void block_sum(float* y, const float* x) {
    __shared__ float s[64];
    const int t = threadIdx.x;
    s[t] = x[blockIdx.x * 64 + t];
    for (int step = 32; step > 0; step /= 2) {
        BARRIER
        if (t < step) s[t] += s[t + step];
    }
    if (t == 0) y[blockIdx.x] = s[0];
}
"""
RIGHT, WRONG = BLOCK_SUM.replace("BARRIER", "__syncthreads();"), BLOCK_SUM.replace("BARRIER", "")
RECORDED = {"global", "shared"}
X = np.arange(1, 129, dtype=np.float32)


def run(source: str, grid: int = 2, block: int = 64, blocks: int = 4, n: int = 128) -> CheckReport:
    x, y = tt.tensor(X[:n]).to("emulated"), tt.empty(128, device="emulated")
    with tt.cuda.check(blocks=blocks, record=True) as report:
        tt.cuda.kernel(source)[grid, block](y, x)
    return report


def recording_of(report: CheckReport) -> Recording:
    (count,) = report.kernels
    assert count.recording is not None
    return count.recording


def data_of(report: CheckReport) -> list[dict[str, Any]]:
    document = parse(kernels_of("a test", report).html(None))
    (element,) = document.all("script", id="replay-data")
    found: list[dict[str, Any]] = json.loads(element.text)
    return found


def line(step: Step) -> int:
    return int(step.place.rpartition(":")[2])


# ---- steps -------------------------------------------------------------------------------------------------


def test_the_steps_of_a_sum_are_those_of_its_source() -> None:
    recording = recording_of(run(RIGHT))
    assert recording.blocks == [0, 1]
    steps = steps_of(recording.events, 0)
    # Two warps load and store; six rounds behind a barrier each: two loads and a store of warp 0.
    first = [("load", 5), ("store", 5)] * 2
    rounds = [("barrier", 7), ("load", 8), ("load", 8), ("store", 8)] * 6
    assert [(s.what, line(s)) for s in steps] == [*first, *rounds, ("load", 10), ("store", 10)]
    active = [len(s.events) for s in steps if s.what == "store" and line(s) == 8]
    assert active == [32, 16, 8, 4, 2, 1]
    assert [s.size for s in steps if s.what == "barrier"] == [64] * 6


def test_each_thread_touches_what_its_indices_say() -> None:
    recording = recording_of(run(RIGHT))
    for block in (0, 1):
        sums = X[64 * block : 64 * block + 64].copy()
        for step in steps_of(recording.events, block):
            for thread, number in step.events.items():
                event = recording.events[number]
                if event.memory is None:
                    continue
                value = np.frombuffer(event.value, np.float32)[0]
                index, name = event.offset // 4, event.memory.name
                if line(step) == 5:
                    assert index == (64 * block + thread if name == "x" else thread)
                    assert value == X[64 * block + thread]
                elif line(step) == 8 and step.what == "store":
                    sums[thread] = value
                    assert index == thread
                elif line(step) == 8:
                    assert index == thread or value == sums[index]
        assert sums[0] == X[64 * block : 64 * block + 64].sum()


def test_requests_are_those_that_the_counters_count() -> None:
    """Except where lanes part: the counters know where they meet again, the replay draws them together."""
    with tt.cuda.check(blocks=2, record=True) as report:
        x = tt.rand(4, 70, device="emulated")
        tt.softmax(x @ tt.rand(70, 45, device="emulated"), -1).sum(0)
    for count in report.kernels:
        assert count.recording is not None
        assert not count.recording.is_cut
        found: dict[tuple[str, str, int], list[int]] = {}
        for block in count.recording.blocks:
            for step in steps_of(count.recording.events, block):
                if step.memory:
                    numbers = found.setdefault((step.memory.space, step.what, step.size), [0, 0])
                    numbers[0] += 1
                    numbers[1] += len(step.events)
        expected: dict[tuple[str, str, int], list[int]] = {}
        for (_, space, way, size), numbers in count.accesses.items():
            if space not in RECORDED:
                continue
            have = expected.setdefault((space, way, size), [0, 0])
            have[0] += numbers[0]
            have[1] += numbers[1]
        assert {key: lanes for key, (_, lanes) in found.items()} == {k: v[1] for k, v in expected.items()}
        assert all(requests <= expected[key][0] for key, (requests, _) in found.items()), count.kernel


def test_lanes_of_branches_have_one_order() -> None:
    assert merged(["ab", "acb", "d"]) == ["a", "c", "b", "d"]
    assert merged([]) == []


def test_warp_operations_are_steps() -> None:
    source = """
    __global__ void sum(float* y, const float* x) {
        float v = x[threadIdx.x];
        for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffff, v, d);
        __syncwarp();
        if (threadIdx.x == 0) y[0] = v;
    }"""
    recording = recording_of(run(source, 1, 32))
    steps = steps_of(recording.events, 0)
    assert [s.what for s in steps] == ["load", *["a shuffle"] * 5, "__syncwarp", "store"]
    assert {s.size for s in steps[1:7]} == {0xFFFFFFFF}


def test_what_is_not_recorded_costs_no_memory() -> None:
    x = tt.ones(64, device="emulated")
    with tt.cuda.check() as report:
        x + 1.0
    assert report.kernels[0].recording is None
    with pytest.raises(ArgumentError, match=r"nothing was recorded[^Z]*check\(record=True\)"):
        write("never.html", lab.page(report))


def test_a_long_recording_ends_at_its_limit() -> None:
    source = """
    __global__ void many(float* y, const float* x) {
        for (int i = 0; i < 1500; i++) ((volatile float*)y)[threadIdx.x] = i;
    }"""
    report = run(source, 1, 64)
    recording = recording_of(report)
    assert len(recording.events) == MOST_EVENTS
    assert recording.is_cut
    (data,) = data_of(report)
    assert "Only 65,536 events of a launch are recorded" in data["cut"]


def test_the_first_launch_with_a_finding_is_kept() -> None:
    k = tt.cuda.kernel("__global__ void late(float* y, int bug) { y[bug ? 0 : threadIdx.x] = threadIdx.x; }")
    y = tt.zeros(64, device="emulated")
    with tt.cuda.check(record=True) as report:
        for bug in (0, 0, 1, 1):
            k[1, 64](y, bug)
    recording = recording_of(report)
    assert [f.kind for f in recording.findings] == ["global race"]
    assert {event.offset for event in recording.events} == {0}


# ---- data of the page --------------------------------------------------------------------------------------


def test_a_race_shows_its_two_accesses() -> None:
    report = run(WRONG)
    recording = recording_of(report)
    (data,) = data_of(report)
    races = {(f.place, f.other): found for f, found in zip(recording.findings, data["findings"], strict=True)}
    seen = 0
    for (place, other), found in races.items():
        if not other:
            continue
        first, second = [recording.events[number] for _, number in found["events"]]
        assert (first.place, second.place) == (other, place)
        assert first.thread != second.thread
        assert first.overlaps(second)
        assert "store" in (first.what, second.what)
        assert f"thread ({first.thread}, 0, 0)" in found["text"]
        assert f"thread ({second.thread}, 0, 0)" in found["text"]
        seen += 1
    assert seen >= 2


OUTSIDE = """__device__ float two[2][8];
__global__ void outside(float* y, const float* x, int which) {
    __shared__ float s[8];
    const int t = threadIdx.x, b = blockIdx.x;
    float* const p = s;
    if (which == 0 && t <= 4) y[t] = x[t];
    if (which == 1) y[t] = x[t - 1];
    if (which == 2) ((float*)x)[t] = 1.0f;
    if (which == 3) atomicAdd((float*)x + 3 + t, 1.0f);
    if (which == 4) p[2 * t] = 1.0f;
    if (which == 5) s[2 * t] = 1.0f;
    if (which == 6) y[t] = ((const float*)(size_t)b)[t];
    if (which == 7) y[t] = (float)((const double*)(x + 1))[t];
    if (which == 8) y[32 * b + t] = x[2 * b];
    if (which == 9) y[b == 2 ? 0 : 32 + 32 * b + t] = t;
    if (which == 11) y[t] = x[0] + s[t - 1] + x[0];
    if (which == 12) y[t] = two[1][2 * t];
    if (which == 10) y[t] = 1.0f;
    if (which == 10 && t < 8) __syncthreads();
    if (which == 10) __syncthreads();
}
"""


def run_outside(which: int, grid: int = 1) -> CheckReport:
    x, y = tt.tensor(X[:4]).to("emulated"), tt.empty(128, device="emulated")
    with tt.cuda.check(blocks=1, record=True) as report:
        tt.cuda.kernel(OUTSIDE)[grid, 32](y, x, which)
    return report


@pytest.mark.parametrize(
    ("which", "what", "thread", "name", "offset"),
    [
        (0, "load", 4, "x", 16),
        (1, "load", 0, "x", -4),
        (2, "store", 4, "x", 16),
        (3, "atomic", 1, "x", 16),
        (4, "store", 4, "s", 32),
        (5, "array index", 4, None, 8),
        (6, "load", 0, "", 0),
        (7, "load", 0, "x", 4),
    ],
)
def test_a_refused_access_is_the_last_event(
    which: int, what: str, thread: int, name: str | None, offset: int
) -> None:
    report = run_outside(which)
    events = recording_of(report).events
    last = events[-1]
    assert [event.refused for event in events] == [*[False] * (len(events) - 1), True]
    assert (last.what, last.thread, last.block, last.offset) == (what, thread, 0, offset)
    assert (last.memory.name if last.memory else None) == name
    number = next(i for i, row in enumerate(OUTSIDE.splitlines(), 1) if f"which == {which}" in row)
    assert last.place.endswith(f".cu:{number}")
    assert [f.stopped for f in report.findings] == [True]
    (data,) = data_of(report)
    assert data["findings"][0]["events"] == [[0, len(events) - 1]]
    assert data["stopped"] == {"finding": 0, "block": 0, "event": len(events) - 1}
    assert data["blocks"][0]["steps"][-1][0] == what.replace("array index", "store")


def test_a_refused_access_of_a_later_block_is_there() -> None:
    report = run_outside(8, 4)
    recording, (data,) = recording_of(report), data_of(report)
    assert recording.blocks == [0, 2]
    assert [(e.what, e.block, e.offset) for e in recording.events if e.block] == [("load", 2, 16)]
    assert data["findings"][0]["events"] == [[1, len(recording.events) - 1]]
    assert data["stopped"]["block"] == 1


@pytest.mark.parametrize(
    ("which", "grid", "kind", "stopped"),
    [
        (9, 3, "global race", None),  # in a block that is not recorded
        (10, 1, "divergent barrier", {"finding": 0, "block": 0, "event": -1}),
    ],
)
def test_a_finding_without_a_recorded_access_has_none(
    which: int, grid: int, kind: str, stopped: dict[str, int] | None
) -> None:
    report = run_outside(which, grid)
    assert [f.stopped for f in report.findings] == [stopped is not None]
    (data,) = data_of(report)
    assert [(f["kind"], f["events"]) for f in data["findings"]] == [(kind, [])]
    assert data["stopped"] == stopped


def test_a_race_of_two_blocks_shows_both() -> None:
    report = run("__global__ void all(float* y, const float* x) { y[0] = threadIdx.x; }", 2, 1)
    (data,) = data_of(report)
    (finding,) = data["findings"]
    assert [block for block, _ in finding["events"]] == [0, 1]


def test_a_schedule_with_another_result_is_replayed() -> None:
    source = """
    __global__ void shift(float* y, const float* x) {
        __shared__ float s[64];
        const int t = threadIdx.x;
        s[t] = x[t];
        y[t] = t > 0 ? s[t - 1] : 0.0f;
    }"""
    x, y = tt.tensor(X[:64]).to("emulated"), tt.zeros(64, device="emulated")
    with tt.cuda.check(record=True, schedules=20) as report:
        tt.cuda.kernel(source)[1, 64](y, x)
    (schedule,) = report.schedules
    assert schedule.recording is not None
    usual, other = data_of(report)
    assert (usual.get("order"), other["order"]) == (None, "run")
    assert schedule.result in other["note"]
    (finding,) = other["findings"]
    (switch,) = schedule.switches
    events = schedule.recording.events
    ((_, number),) = finding["events"]
    assert (events[number].thread, events[number].place) == (switch.thread[0], switch.place)
    # The thread that runs instead reads what its neighbor writes only later.
    element = switch.to[0] - 1
    own = [
        (e.what, e.thread) for e in events if e.memory and e.memory.name == "s" and e.offset == 4 * element
    ]
    assert own == [("load", switch.to[0]), ("store", element)]


def test_a_browser_goes_to_the_other_order(show: Show) -> None:
    x, y = tt.tensor(X).to("emulated"), tt.empty(2, device="emulated")
    with tt.cuda.check(record=True, schedules=20) as report:
        tt.cuda.kernel(WRONG.replace("    for (", "    __syncthreads();\n    for (", 1))[2, 64](y, x)
    (schedule,), browser = report.schedules, show(lab.page(report))
    button = "document.querySelector('[data-entry]')"
    assert f"{schedule.result}: {len(schedule.switches)} switch" in browser.run(f"{button}.textContent")
    browser.run(f"{button}.click()")
    assert "Finding: another thread runs before this access. ① step" in browser.run(NOW)
    assert browser.run(button) is None


def test_lines_know_what_they_stand_under() -> None:
    (data,) = data_of(run(RIGHT))
    under = {place["at"].rpartition(":")[2]: place["under"] for place in data["places"]}
    assert under["8"] == [
        "if (t < step) s[t] += s[t + step]; (line 8)",
        "for (int step = 32; step > 0; step /= 2) (line 6)",
    ]
    assert under["5"] == []


# Source, threads, and the shared memories that the page names: type, bytes of an element, shape.
MEMORIES: dict[str, tuple[str, int, list[tuple[str, str, int, list[int]]]]] = {
    "as in the source": (
        """
    __global__ void copy(float* y, const float* x) {
        __shared__ double tile[2][32];
        extern __shared__ int more[];
        tile[0][threadIdx.x] = x[threadIdx.x];
        more[threadIdx.x] = 7;
        y[threadIdx.x] = tile[0][threadIdx.x] + more[threadIdx.x];
    }""",
        32,
        [("more", "int", 4, []), ("tile", "double", 8, [2, 32])],
    ),
    "two of a name, each with its own shape": (
        """
    __device__ float first(float x) {
        __shared__ float s[64];
        s[threadIdx.x] = x;
        __syncthreads();
        return s[0];
    }
    __device__ double second(float x) {
        __shared__ double s[2][32];
        s[threadIdx.x / 32][threadIdx.x % 32] = x;
        __syncthreads();
        return s[1][31];
    }
    __global__ void both(float* y, const float* x) {
        y[threadIdx.x] = first(x[threadIdx.x]) + second(x[threadIdx.x]);
    }""",
        64,
        [("s", "double", 8, [2, 32]), ("s", "float", 4, [64])],
    ),
    "bytes that a kernel casts have one of its types": (
        """
    __global__ void copy(float* y, const float* x) {
        __shared__ __align__(16) unsigned char bytes[512];
        float4* part = (float4*)bytes;
        part[threadIdx.x] = ((const float4*)x)[threadIdx.x];
        ((float4*)y)[threadIdx.x] = part[threadIdx.x];
    }""",
        16,
        [("bytes", "float", 4, [512])],
    ),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_memory_is_named_as_in_the_source(name: str) -> None:
    source, threads, expected = MEMORIES[name]
    x, y = tt.tensor(X[:64]).reshape(4, 16).to("emulated"), tt.empty(64, device="emulated")
    with tt.cuda.check(record=True) as report:
        tt.cuda.kernel(source)[1, threads, 128](y, x)
    (data,) = data_of(report)
    keys = ("space", "name", "type", "item", "shape")
    assert sorted(tuple([m[key] for key in keys]) for m in data["memories"]) == [
        *(("global", "x", "float", 4, [4, 16]), ("global", "y", "float", 4, [64])),
        *[("shared", *row) for row in expected],
    ]
    stores = [s for s in data["blocks"][0]["steps"] if s[0] == "store"]
    assert {data["memories"][s[5]]["name"] for s in stores} == {n for n, *_ in expected} | {"y"}
    if "casts" in name:
        assert (stores[0][3], stores[0][8]) == (16, X[:64].tolist())


def test_operands_in_a_struct_are_numbered() -> None:
    with tt.cuda.check(record=True) as report:
        tt.ones(3, 4, device="emulated").T + 1.0
    names = [m["name"] for data in data_of(report) for m in data["memories"]]
    assert "buffer 1" in names
    assert "a buffer" not in names


def test_a_view_has_no_shape_of_its_own() -> None:
    k = tt.cuda.kernel("__global__ void f(float* y, const float* x) { y[threadIdx.x] = x[2 * threadIdx.x]; }")
    x = tt.tensor(X[:64]).reshape(32, 2).to("emulated")[:, 1]
    with tt.cuda.check(record=True) as report:
        k[1, 32](tt.empty(32, device="emulated"), tt.cuda.pointer(x))
    (data,) = data_of(report)
    (memory,) = [m for m in data["memories"] if m["name"] == "x"]
    assert memory["shape"] == []
    load = data["blocks"][0]["steps"][0]
    assert (load[7], load[8][:3]) == ([None, 0, 8], [2, 4, 6])  # from the pointer on


def test_two_runs_give_one_page() -> None:
    texts = {kernels_of("a test", run(RIGHT)).html(None) for _ in range(2)}
    assert len(texts) == 1


# ---- the page ----------------------------------------------------------------------------------------------

NOW = "document.getElementById('replay-now').textContent"
FLAGGED = "[...document.querySelectorAll('#replay-threads b.flagged')].map(b => b.dataset.thread)"


def test_a_browser_steps_through_it(show: Show) -> None:
    browser = show(lab.page(run(RIGHT)))
    count = "document.getElementById('replay-count').textContent"
    assert browser.run(count) == "step 1 of 30"
    assert "Warp 0 R loads 4 bytes per lane, global x[0] … x[31]" in browser.run(NOW)
    assert "4 sectors of 32 bytes, 100% of them used: coalesced" in browser.run(NOW)
    size = "document.getElementById('replay-cut').textContent"
    assert "block 64: 64 threads, 2 warps." in browser.run(size)
    for key, step in (
        ("ArrowRight", 2),
        ("End", 30),
        ("ArrowLeft", 29),
        ("Home", 1),
        ("Shift+ArrowRight", 5),
    ):
        browser.press(key)
        assert browser.run(count) == f"step {step} of 30"
    assert "Barrier of the block, line 7: 64 threads meet" in browser.run(NOW)
    shown = "document.querySelectorAll('#replay-threads b.meets').length"
    assert browser.run(shown) == 64
    browser.run("location.hash = '#step=14&cell=s[5]'")
    browser.wait("document.getElementById('replay-count').textContent.startsWith('step 15')")
    assert "8 of 32 lanes are active" in browser.run(NOW)
    assert "24 inactive: lanes 8–31 do next: barrier, line 7" in browser.run(NOW)
    assert "if (t < step)" in browser.run(NOW)
    # 6 + 38, then + 22 + 54.
    assert "s[5] = 120, last written by thread 5 at step 12 (line 8)." in browser.run(NOW)
    active = "[...document.querySelectorAll('#replay-threads b.load')].map(b => b.dataset.thread)"
    assert browser.run(active) == [str(t) for t in range(8)]
    cells = "[...document.querySelectorAll('#replay-memory b.load')].map(b => b.dataset.cell)"
    assert sorted(browser.run(cells), key=len) == [
        *[f"s[{i}]" for i in (8, 9)],
        *[f"s[{i}]" for i in range(10, 16)],
    ]
    rows = "[...document.querySelectorAll('#replay-details tr')].slice(1).map(r => r.textContent)"
    assert "thread 5" in browser.run(rows)[0]
    browser.run("change({cell: 'x[70]'})")
    details = "document.getElementById('replay-details').textContent"
    assert "This block does not touch it. Block 1 does." in browser.run(details)
    marked = "document.querySelector('.code tr.now').dataset.line"
    assert re.fullmatch(r"block_sum_\w+\.cu:8", browser.run(marked))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_jumps_to_a_race(show: Show, width: int) -> None:
    report = run(WRONG)
    number = next(i for i, f in enumerate(report.findings) if f.kind == "shared race")
    browser = show(lab.page(report), width=width)
    browser.run(f"document.querySelector('[data-finding=\"{number}\"]').click()")
    assert "Finding: shared race. ① step" in browser.run(NOW)
    assert len(browser.run(FLAGGED)) == 2
    assert browser.run("document.querySelectorAll('#replay-memory b.flagged').length") == 1
    assert browser.run("document.documentElement.scrollWidth") <= width
    marks = "[...document.querySelectorAll('td[data-mark]')].map(d => d.textContent + d.dataset.mark)"
    assert browser.run(marks) == ["5②", "8①"]


def test_a_browser_goes_to_a_refused_access(show: Show) -> None:
    click = "document.querySelector('[data-finding]').click()"
    stopped = ". The launch was stopped here: no thread went on, and nothing later was written."
    for which, said in (
        (0, "Thread 4 R loads 4 bytes, global x[4], at"),
        (1, "Thread 0 R loads 4 bytes, global x[-1], at"),
        (4, "Thread 4 W stores 4 bytes, shared s[8], at"),
        (5, "Thread 4 W stores 4 bytes, shared s[8], at"),
        (11, "Thread 0 R loads 4 bytes, shared s[-1], at"),
        (12, "Thread 4 takes an index beyond an array, at"),
        (6, "Thread 0 R loads 4 bytes, global address 0x0, at"),
    ):
        report = run_outside(which)
        browser = show(lab.page(report), f"{which}.html")
        above = "document.getElementById('replay-cut').textContent"
        assert "The launch was stopped before its end." in browser.run(above)
        first = browser.run(NOW)
        browser.run(click)
        now = browser.run(NOW)
        assert said in now
        assert f"Refused: {report.findings[0]}{stopped}" in now
        assert "Finding: out of bounds. ① step" in now
        assert "inactive" not in now
        assert browser.run(FLAGGED) == [re.findall(r"Thread (\d+)", said)[0]]
        cells = "[...document.querySelectorAll('#replay-memory b.flagged')].map(b => b.dataset.cell)"
        assert browser.run(cells) == re.findall(r"(?:global|shared) (.*), at", said)
        if which == 0:
            assert "lanes 5–31 do nothing more before the launch is stopped at step 3." in first
    browser = show(lab.page(run_outside(10)), "barrier.html")
    browser.run(click)
    assert "The launch was stopped there" in browser.run(NOW)


def test_what_no_fewer_sectors_would_do_is_not_colored() -> None:
    source = """
    __global__ void some(float* y, const float* x) {
        if (threadIdx.x == 0) y[0] = x[0];
        y[32 + threadIdx.x] = x[STEP * threadIdx.x + FIRST];
    }"""

    def colored(step: str, first: str) -> list[str]:
        report = run(source.replace("STEP", step).replace("FIRST", first), 1, 32)
        page = kernels_of("a test", report).html(None)
        return [span.text for span in parse(page).all("span", class_="heat")]

    assert colored("1", "0") == []
    assert colored("2", "0") == ["8.00"]
    assert colored("1", "1") == ["5.00"]


def test_the_command_writes_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "triangle.html"
    assert main(["replay", "triangle_forward", "--html", str(path)]) == 0
    assert f"wrote {path}" in capsys.readouterr().out
    parse(path.read_text(encoding="utf-8"))
    script = tmp_path / "race.py"
    script.write_text(
        "import tinytensor as tt\n"
        "k = tt.cuda.kernel('__global__ void race(float* y) { y[0] = threadIdx.x; }')\n"
        "k[1, 64](tt.empty(1, device='emulated'))\n"
    )
    assert main(["replay", "--html", str(path), str(script)]) == 1
    assert "global race" in parse(path.read_text(encoding="utf-8")).text
    assert main(["replay", "sofmax"]) == 2
    assert "did you mean softmax?" in capsys.readouterr().err


def test_a_file_whose_name_has_a_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, page = tmp_path / "my sum.cu", tmp_path / "page.html"
    source.write_text(WRONG + "__global__ void nothing(float* y) {}", encoding="utf-8")
    words = ["replay", str(source), "--html", str(page), "--launch"]
    assert main([*words, "block_sum[1, 64](empty(1), ones(64))"]) == 1
    said = capsys.readouterr().out
    assert "shared race at my sum.cu:8" in said
    assert "8 | if (t < step) s[t] += s[t + step];" in said
    (data,) = json.loads(parse(page.read_text(encoding="utf-8")).all("script", id="replay-data")[0].text)
    assert "my sum.cu:5" in [place["at"] for place in data["places"]]
    assert "4.00 sectors/request" in page.read_text(encoding="utf-8")
    assert main([*words, "nothing[1, 64](zeros(1))"]) == 0
    assert "There are no steps" in page.read_text(encoding="utf-8")


def test_the_viewer_is_packaged() -> None:
    assert '"**/*.js"' in (ROOT / "setup.py").read_text()


def test_the_judge_writes_the_replay_of_a_failing_run(tmp_path: Path) -> None:
    source, page = tmp_path / "map.cu", tmp_path / "judged.html"
    folder = ["--folder", str(tmp_path)]
    for body, is_finding in (("y[i] = x[i];", False), ("y[i] = 2 * y[i] + 1;", True)):
        source.write_text(
            "// launch: grid n / 64, block 64\n__global__ void map(float* y, const float* x) {\n"
            f"    const int i = blockIdx.x * blockDim.x + threadIdx.x;\n    {body}\n}}\n"
        )
        assert main(["judge", str(source), "--puzzle", "1", "--html", str(page), *folder]) == 1
        (element,) = parse(page.read_text(encoding="utf-8")).all("script", id="replay-data")
        (data,) = json.loads(element.text)
        assert data["file"] == "map.cu"
        assert bool(data["findings"]) == is_finding
    python = next(i for i, p in enumerate(PUZZLES, 1) if isinstance(p, PythonPuzzle))
    assert main(["judge", str(source), "--puzzle", str(python), "--html", str(page), *folder]) == 2


def test_a_notebook_shows_the_replay_in_a_frame(show: Show) -> None:
    browser = show(f"<!doctype html><body>{lab.page(run(RIGHT))._repr_html_()}</body>")
    inside = "document.querySelector('iframe').contentDocument"
    browser.wait(f"{inside}.getElementById('replay-count').textContent == 'step 1 of 30'")
    browser.run(f"{inside}.getElementById('replay-next').click()")
    assert browser.run(f"{inside}.getElementById('replay-count').textContent") == "step 2 of 30"


SUMS = """steps.filter(s => s.memory !== undefined).reduce((sums, s) => {
  const key = `${launch.memories[s.memory].space} ${s.what}`, own = sums[key] ??= [0, 0, 0];
  own[0]++;
  if (launch.memories[s.memory].space == "global") own[1] += sectorsOf(s).length;
  else own[1] += banksOf(s).passes, own[2] += banksOf(s).parts;
  return sums;
}, {})"""


def test_a_browser_names_what_a_request_costs(show: Show) -> None:
    source = """
    __global__ void costs(float* y, const float* x) {
        __shared__ float s[256];
        s[8 * threadIdx.x] = x[3 * threadIdx.x];
        y[threadIdx.x] = s[threadIdx.x];
    }"""
    browser = show(lab.page(run(source, 1, 32)))
    assert "12 sectors of 32 bytes, 33% of them used: not coalesced, 4 would do." in browser.run(NOW)
    browser.press("ArrowRight")
    assert "8 passes over the banks instead of 1 (conflict of 8 ways): banks 0, 8" in browser.run(NOW)
    browser.press("ArrowRight")
    assert "1 pass over the banks: no conflicts." in browser.run(NOW)


def test_the_costs_of_the_page_are_those_of_the_counters(show: Show) -> None:
    source = """
    __global__ void conflicts(float* y, const float* x) {
        __shared__ float s[32][32];
        __shared__ double d[64];
        __shared__ int bins[5];
        const int t = threadIdx.x;
        if (t < 5) bins[t] = 0;
        s[t % 32][t / 32] = x[2 * t];
        d[t] = x[t];
        __syncthreads();
        atomicAdd(&bins[t % 5], 1);
        __syncthreads();
        y[(t * 7) % 64] = s[t % 32][1] + d[(t * 5) % 64] + bins[t % 5];
    }"""
    report = run(source, 1, 64)
    (count,) = report.kernels
    expected: dict[str, list[int]] = {}
    for (_, space, way, _), numbers in count.accesses.items():
        if space not in RECORDED:
            continue
        have = expected.setdefault(f"{space} {way}", [0, 0, 0])
        have[0] += numbers[0]
        have[1] += numbers[3] + numbers[4]
        have[2] += numbers[5]
    assert show(lab.page(report)).run(SUMS) == expected
