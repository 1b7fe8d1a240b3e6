"""The benchmark of ops: it has every op, its libraries agree, and its conclusions follow from the times."""

import itertools
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from benchmarks.__main__ import main
from benchmarks.contest.contest import Plan, Result, agree
from benchmarks.contest.contestants import BenchmarkError, Local
from benchmarks.contest.windows import Window
from benchmarks.op_cases import LAYOUTS, NOT_TIMED, QUICK, catalogue, laid_out
from benchmarks.peers.op_libraries import Cupy, Engine, Library, case_of, digest
from benchmarks.suites import ops
from benchmarks.suites.ops import COPIES, CUDA, NO_GPU, OURS, OpsReport, crossover, key, suite
from tests.helpers.observed import observed
from tinytensor.op import registry
from tinytensor.op_table import ROWS
from tinytensor.op_table.row import as_tuple

ROUNDING = Plan(rtol=1e-4, atol=1e-5)
OWN = {name: op for name, op in registry.items() if op.__module__.startswith("tinytensor.")}
EMULATED = [*QUICK, "layer norm, backward", "gather", "x[i], backward", "attention", "concat of columns"]


# ---- what is measured --------------------------------------------------------------------------------------


def test_every_op_has_a_case_or_a_reason() -> None:
    ran: set[str] = set()

    def watch(op: str, *_: Any) -> Any:
        ran.add(op)
        return _[-1]()

    with observed(op=watch):
        for case in catalogue().values():
            case_of(Engine(), case, 256, "contiguous").call()
    missing = sorted(OWN.keys() - ran - NOT_TIMED.keys())
    assert not missing, f"tinytensor/op_table: no row with `timed` runs {missing}; or say why in NOT_TIMED"
    assert not sorted(NOT_TIMED.keys() & ran), "these are timed"
    assert NOT_TIMED.keys() <= OWN.keys()


def test_cases_have_different_names() -> None:
    names = [name for row in ROWS for name in as_tuple(row.timed or ())]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cases_agree_with_numpy(layout: str) -> None:
    for case in catalogue().values():
        if case.numpy(np) is not None and (case.layouts or layout == "contiguous"):
            ours, numpy = (case_of(lib, case, 256, layout) for lib in (Engine(), Library()))
            assert ours.check is not None
            assert numpy.check is not None
            agree(f"{case.name}, {layout}", {"tinytensor": ours.check(), "NumPy": numpy.check()}, ROUNDING)


@pytest.mark.parametrize("name", EMULATED)
def test_the_side_of_the_gpu_gives_what_the_cpu_gives(name: str) -> None:
    case = catalogue()[name]
    said = {
        who: Local({name: case_of(library, case, 256, "contiguous")}).check(name)
        for who, library in [
            ("CPU", Engine()),
            ("emulated", Engine("emulated")),
            *([] if case.backward else [("with copies", Engine("emulated", copies=True))]),
        ]
    }
    agree(name, said, ROUNDING)


def test_cupy_is_called_as_numpy_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "asnumpy", np.asarray, raising=False)
    library = object.__new__(Cupy)  # its constructor imports CuPy
    library.module, library.clock = np, None
    for name in ("add", "sum of rows", "gather"):
        case = case_of(library, catalogue()[name], 256, "contiguous")
        assert case.device == "cuda"
        assert case.check is not None
        numpy = case_of(Library(), catalogue()[name], 256, "contiguous")
        assert numpy.check is not None
        assert case.check() == numpy.check()


def test_layouts_hold_the_same_numbers_in_other_places() -> None:
    case = catalogue()["add"]
    found = {layout: laid_out(case, 64, layout, tt.tensor, tt)[0] for layout in LAYOUTS}
    assert {layout: x.strides for layout, x in found.items()} == {
        "contiguous": (8, 1),
        "transposed": (1, 8),
        "sliced": (16, 2),
        "broadcast": (0, 1),
    }
    values = found["contiguous"].numpy()
    assert np.array_equal(found["transposed"].numpy(), values)
    assert np.array_equal(found["sliced"].numpy(), values)
    assert np.array_equal(found["broadcast"].numpy(), np.broadcast_to(values[:1], (8, 8)))


@pytest.mark.parametrize("size", [100, 1 << 22])
def test_one_wrong_number_is_no_agreement(size: int) -> None:
    right = np.random.default_rng(0).uniform(0.5, 1.0, size).astype(np.float32)
    wrong = right.copy()
    wrong[size // 3] *= 1.03
    agree("right", {"a": digest([right]), "b": digest([right + np.float32(1e-7)])}, ROUNDING)
    with pytest.raises(BenchmarkError, match="disagree"):
        agree("wrong", {"a": digest([right]), "b": digest([wrong])}, ROUNDING)


# ---- what follows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "found"),
    [
        ({10: 9.0, 100: 9.0, 1000: 9.0}, 90),  # the CPU takes a tenth of a second for each element
        ({10: 0.5, 100: 0.5, 1000: 0.5}, 10),
        ({10: 200.0, 100: 200.0, 1000: 200.0}, None),
        ({10: 0.5, 100: 90.0, 1000: 90.0}, 900),  # ahead, behind, ahead for good
    ],
)
def test_the_crossover_lies_where_the_times_are_equal(gpu: dict[int, float], found: int | None) -> None:
    assert crossover({10: 1.0, 100: 10.0, 1000: 100.0}, gpu) == found


def pretended(who: dict[str, float]) -> OpsReport:
    """A report in which a call takes some seconds and a microsecond for each element, by contestant."""
    report = OpsReport("ops", "PyTorch")
    for n, layout in itertools.product([1 << 10, 1 << 20], LAYOUTS):
        slower = {"contiguous": 1.0, "transposed": 2.0, "sliced": 3.0, "broadcast": 0.5}[layout]
        times = {
            name: slower * (start + n * (1e-8 if "CUDA" in name else 1e-6)) for name, start in who.items()
        }
        window = {name: Window(t, 1, 1.0, 0.0) for name, t in times.items()}
        report.results.append(Result(key(catalogue()["add"], n, layout), [window]))
    report.conclude()
    return report


def test_conclusions_of_a_machine_with_a_gpu() -> None:
    report = pretended({OURS: 0.0, "PyTorch": 0.0, CUDA: 1e-2, COPIES: 2.0})
    (row,) = report.findings["ops"]
    assert (row["transposed"], row["sliced"], row["broadcast"]) == (2.0, 3.0, 0.5)
    assert "transposed, copied" not in row  # the copy was not measured
    assert row[": PyTorch"] == 1.0
    assert 1 << 10 < row["CUDA from"] < 1 << 15
    assert row["CUDA with copies from"] == "never"
    assert "GPU" not in report.findings
    assert f"{row['CUDA from']:,}" in report.table()


def test_strided_inputs_are_compared_with_copying_them_first() -> None:
    times = {
        "clone": {"contiguous": {256: 1.0}, "transposed": {256: 4.0}},
        "exp": {"contiguous": {256: 2.0}, "transposed": {256: 3.0}, "sliced": {256: 5.0}},
        "add": {"contiguous": {256: 2.0}, "transposed": {256: 20.0}},
    }
    found = ops.copied_first(times)
    assert found["exp"] == {"transposed": 3.0 / (2.0 + 4.0)}
    assert found["add"] == {"transposed": 20.0 / (2.0 + 2 * 4.0)}  # two operands, so two copies


def test_without_a_gpu_the_table_says_so() -> None:
    report = pretended({OURS: 0.0, "PyTorch": 1e-3})
    assert report.findings["GPU"] == NO_GPU
    assert "CUDA from" not in report.findings["ops"][0]
    assert NO_GPU in report.table()


def test_a_run_measures_sizes_and_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Local):
        def __enter__(self) -> "Here":
            return self

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(ops, "Process", lambda path, arguments, **how: Here(suite(**arguments)))
    plan = Plan(rounds=2, retries=0, calls=1, foreign_limit=1e9)
    report = ops.run(plan, only="sum of rows", sizes=[256, 1024], alone=True)
    assert [r.case for r in report.results] == [
        "sum of rows | 256 | contiguous",
        *(f"sum of rows | 1024 | {layout}" for layout in LAYOUTS),
    ]
    assert set(report.results[0].rounds[0]) >= {OURS, "NumPy alone", "NumPy"}
    assert main(["ops", "--sizes", "1000"]) == 2  # inputs are squares
    with pytest.raises(BenchmarkError, match="no case has"):
        ops.run(plan, only="no such op")
