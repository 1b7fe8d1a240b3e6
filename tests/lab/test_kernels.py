"""`lab.kernel`: source, launch, counts and threads of known kernels, against their text and sizes."""

import re
from pathlib import Path

import pytest

import tinytensor as tt
from tests.helpers.cupy_fixtures import needs_nvrtc
from tests.helpers.pages import parse
from tests.lab.conftest import Show
from tinytensor.__main__ import main
from tinytensor.errors import ArgumentError, DeviceError
from tinytensor.lab.kernels.kernel_view import kernel
from tinytensor.lab.kernels.launch import KernelLaunch
from tinytensor.lab.kernels.source import caller_of, pieces_of
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import occupancy
from tinytensor.runtime.kernel_files import KERNELS, kernel_files

TRANSPOSE = """
template <class T>
__global__ void transpose(T* y, const T* x, int rows, int columns) {
    const int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 8 + threadIdx.y;
    const T value = x[r * columns + c];
    y[c * rows + r] = value;  // } a brace in a comment
}
struct Unrelated { int a; };
"""
LOAD, STORE = 5, 6  # lines


def transposed() -> KernelLaunch:
    k = tt.cuda.kernel(TRANSPOSE, "transpose", tt.float32)
    x, y = tt.ones(16, 32), tt.empty(32, 16, device="emulated")
    x = x.to("emulated")
    (launch,) = kernel(lambda y, x: k[(1, 2), (32, 8)](y, x, 16, 32), y, x)
    return launch


def place(launch: KernelLaunch, line: int) -> str:
    return f"{launch.file.name}:{line}"


def test_source_and_launch_of_an_own_kernel() -> None:
    launch = transposed()
    count = launch.count
    assert (count.grid, count.block, count.shared, count.times) == ((1, 2, 1), (32, 8, 1), 0, 1)
    assert launch.template == {"T": "float"}
    (piece,) = launch.source
    assert (piece.first, piece.last) == (2, 7)
    assert piece.lines[0] == "template <class T>"
    assert piece.lines[-1] == "}"


def test_sectors_stand_beside_the_source() -> None:
    launch = transposed()
    sectors = {(line.place, line.way): line.sectors_per_request for line in launch.lines}
    assert sectors == {(place(launch, LOAD), "load"): 4.0, (place(launch, STORE), "store"): 32.0}
    text = str(launch).splitlines()
    assert any("x[r * columns + c]" in row and "4.00 sectors/request, 100% used" in row for row in text)
    assert any("y[c * rows + r]" in row and "32.00 sectors/request, 12% used" in row for row in text)


def test_gradients_have_kernels_too() -> None:
    both = kernel("softmax", tt.ones(4, 8), axis=-1, backward=True)
    names = [launch.signature.name for launch in both]
    assert "softmax_forward" in names
    assert "softmax_backward" in names


def test_the_source_of_a_functor_and_of_headers() -> None:
    (launch,) = kernel("exp", tt.ones(8, 8))
    whats = {piece.what: piece for piece in launch.source}
    assert "elementwise_contiguous" in " ".join(whats["kernel"].lines)
    assert whats["kernel"].file == KERNELS / "elementwise.cuh"
    assert whats["functor"].lines[0].startswith("struct Exp")
    assert "common.cuh" in {piece.file.name for piece in launch.source}
    accessed = {caller_of(line.place) for line in launch.lines}
    assert all(name in ("elementwise.cuh", "exponential.cu") for name, _ in accessed)


def test_every_kernel_of_the_engine_is_found_with_its_braces() -> None:
    for file in sorted(kernel_files(".cu").values()):
        for name in nvrtc.signatures(file):
            piece = pieces_of(file, name, [], [])[0]
            text = "\n".join(piece.lines)
            assert "__global__" in text, (file, name)
            assert text.count("{") == text.count("}"), (file, name)
            assert f"{name}(" in text, (file, name)


@needs_nvrtc
def test_registers_and_occupancy_are_those_of_the_compiler() -> None:
    launch = transposed()
    used = nvrtc.build(launch.file, [launch.instance], "sm_80").resources[launch.instance]
    assert launch.resources(80) == used
    assert launch.occupancy(80) == occupancy(80, 256, used.registers, used.shared)
    assert f"{used.registers} registers" in "\n".join(launch.facts(80))
    ptx = launch.ptx(80)
    assert ".target sm_80" in ptx
    assert ptx.count(".entry") == 1
    assert ptx.endswith("}")
    assert ptx.count("{") == ptx.count("}")
    assert "st.global.f32" in ptx
    with pytest.raises(ArgumentError, match="architecture 12"):
        launch.occupancy(12)


@needs_nvrtc
def test_kernels_of_one_file_are_compiled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, build = [], nvrtc.build

    def counted(path: Path, instances: list[str], target: str) -> nvrtc.Compiled:
        asked.append((path.stem, target, len(instances)))
        return build(path, instances, target)

    monkeypatch.setattr(nvrtc, "build", counted)
    found = kernel(lambda x: (tt.exp(x), tt.log(x), tt.tanh(x)), tt.ones(8))
    texts = {launch.ptx(80) for launch in found}
    assert len(texts) == 3
    assert set(asked) == {("exponential", "compute_80", 3)}


def test_without_nvrtc_the_rest_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise DeviceError("NVRTC was not found", why="it is not installed", fix="install it")

    monkeypatch.setattr(nvrtc, "build", missing)
    launch = transposed()
    assert "NVRTC was not found" in str(launch)
    with pytest.raises(DeviceError):
        launch.ptx()
    page = parse(kernel("exp", tt.ones(3)).html())
    assert "There is no PTX here: NVRTC was not found." in page.text
    assert not page.all("details")


def test_banks_of_shared_memory() -> None:
    column = """
    __global__ void column(float* y) {
        __shared__ float s[32][32];
        s[threadIdx.x][0] = threadIdx.x;
        y[threadIdx.x] = s[threadIdx.x][0];
    }
    """
    k = tt.cuda.kernel(column)
    (launch,) = kernel(k[1, 32], tt.empty(32, device="emulated"))
    store = next(line for line in launch.lines if line.space == "shared" and line.way == "store")
    assert store.bank_conflict_ways == 32


def test_what_has_no_kernel_or_no_element() -> None:
    race = tt.cuda.kernel("__global__ void race(float* y) { y[0] = 1; }")
    for op, args, options, message in (
        ("permute", (tt.ones(2, 3), 1, 0), {}, "launches no kernel"),
        ("exp", (tt.ones(0, 3),), {}, "launches no kernel"),
        ("sofmax", (tt.ones(3),), {}, "there is no op 'sofmax'"),
        (race, (tt.ones(3),), {}, r"race without grid and block[^Z]*lab\.kernel\(k\[grid, block\]"),
        (None, (tt.ones(3),), {}, "there is no op None"),
        ("argmax", (tt.ones(3),), {"backward": True}, "argmax has no gradient"),
        ("exp", (tt.ones(3),), {"blocks": -1}, "blocks=-1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            kernel(op, *args, **options)
    (launch,) = kernel("exp", tt.ones(()))
    assert launch.lines


def test_tensors_in_lists_are_moved_with_their_strides() -> None:
    x, y = tt.ones(3, 4), tt.zeros(2, 4).T.contiguous().T
    seen: list[tuple[int, ...]] = []

    def concat(tensors: list[tt.Tensor]) -> tt.Tensor:
        seen.extend(t.strides for t in tensors)
        return tt.concat(tensors)

    kernel(concat, [x, y], backward=True)
    assert seen == [(4, 1), (1, 2)]


def test_findings_are_shown() -> None:
    k = tt.cuda.kernel("__global__ void race(float* y) { y[0] = threadIdx.x; }")
    found = kernel(k[1, 64], tt.empty(4, device="emulated"))
    assert {f.kind for f in found.findings} == {"global race"}
    assert "global race" in str(found)
    assert "1 of 1 block counted" in str(found)
    assert re.search(r" race_[0-9a-f]{6}\.cu:1\b", str(found))  # the name of the kernel, not of a hash alone
    assert "global race" in parse(found.html()).text


def test_the_page_shows_everything() -> None:
    page = parse(kernel("softmax", tt.ones(4, 64)).html())
    assert "softmax_forward<float, false>" in page.text
    (row,) = [
        r
        for r in page.all("tr")
        if "= *reinterpret_cast<" not in r.text and "<const Vec<T, W>*>(p);" in r.text
    ]
    assert "16.00" in row.text  # a warp reads 128 bytes of each of 4 rows
    assert "100%" in row.text


STRIDED_LOAD = """
__global__ void spread(float* y, const float* x) {
    y[threadIdx.x] = x[8 * threadIdx.x];
}
"""


def test_each_access_of_a_line_has_its_own_color() -> None:
    """A store of 32 neighbors uses all of 4 sectors; a load of every 8th an eighth of 32: heat 7/8."""
    k = tt.cuda.kernel(STRIDED_LOAD)
    device = "emulated"
    page = parse(kernel(k[1, 32], tt.empty(32, device=device), tt.zeros(256, device=device)).html())
    (row,) = [r for r in page.all("tr") if "y[threadIdx.x] = x[8" in r.text]
    assert [small.text for small in row.all("small")] == [
        "global load 4 B: 1 requests, 32.00 sectors/request, 12% used, 32.0 lanes",
        "global store 4 B: 1 requests, 4.00 sectors/request, 100% used, 32.0 lanes",
    ]
    assert [(s.text, s.attributes["style"]) for s in row.all("span")] == [("32.00", "--v:0.875")]


def test_the_source_is_seen_in_a_narrow_window(show: Show) -> None:
    browser = show(kernel("softmax", tt.ones(4, 64)).html())
    wide = "[...document.querySelectorAll('.code')].map(t => t.offsetWidth - t.parentElement.clientWidth)"
    assert max(browser.run(wide)) <= 0


# ---- the command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["packed", "transposed", "sliced", "step", "reversed", "repeated"])
def test_the_command_shows_the_kernels_of_each_layout(layout, capsys) -> None:
    assert main(["kernel", "add", "--shape", "33,40", "--layout", layout]) == 0
    text = capsys.readouterr().out
    assert "Add, float, float, float, 2" in text
    assert "sectors/request" in text


@needs_nvrtc
@pytest.mark.parametrize("architecture", [80, 90])
def test_the_command_shows_registers_of_the_architecture(architecture: int, capsys) -> None:
    assert main(["kernel", "exp", "--shape", "8", "--arch", str(architecture)]) == 0
    (launch,) = kernel("exp", tt.ones(8))
    shown = capsys.readouterr().out.splitlines()
    assert next(line for line in launch.facts(architecture) if line.strip().startswith("sm_")) in shown
    assert not any(line.strip().startswith(f"sm_{170 - architecture} ") for line in shown)


def test_the_command_writes_a_page(tmp_path: Path, capsys) -> None:
    file = tmp_path / "kernel.html"
    words = ["--shape", "8,16", "--shape", "16,4", "--backward", "--arch", "80", "--html", str(file)]
    assert main(["kernel", "matmul", *words]) == 0
    assert str(file) in capsys.readouterr().out
    assert "compute_80" in parse(file.read_text()).text
