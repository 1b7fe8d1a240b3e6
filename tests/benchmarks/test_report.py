"""The page of the benchmarks shows the numbers of the files, stands alone, and says what is missing."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.contest.contest import RESULTS
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.report import report
from benchmarks.report.charts import Bars, Lines
from benchmarks.report.compare import load
from benchmarks.report.svg import COLORS, HEIGHT, LENGTH, color_of, draw
from benchmarks.suites.ops import NO_GPU
from tests.benchmarks.test_compare import MEASURED, OURS
from tests.benchmarks.test_ops import COPIES, CUDA, pretended
from tests.helpers.pages import TOKENS, parse

TRAIN = MEASURED / "train-20261125-131538.json"


def shown(reports: dict[str, Any]) -> Any:
    return parse(report.page_of(json.loads(json.dumps(reports))))


def drawn(chart: Bars | Lines) -> ET.Element:
    return ET.fromstring(draw(chart))


# ---- charts ------------------------------------------------------------------------------------------------


def test_bars_are_as_long_as_their_numbers() -> None:
    values = {"tinytensor": [2.0, 1.0], "PyTorch": [4.0, None]}
    chart = Bars("t", "s", ["a", "b"], values, {"tinytensor": ["2 s", "1 s"], "PyTorch": ["4 s", ""]}, 1.0)
    svg = drawn(chart)
    legend, rest = list(svg.iter("rect"))[:2], list(svg.iter("rect"))[2:]
    assert [float(r.attrib["width"]) / LENGTH for r in rest] == [0.5, 1.0, 0.25]
    assert [r[0].text for r in rest] == ["a, tinytensor: 2 s", "a, PyTorch: 4 s", "b, tinytensor: 1 s"]
    assert len({r.attrib["class"] for r in legend}) == 2
    (mark,) = [line for line in svg.iter("line") if line.attrib["class"] == "mark"]
    assert float(mark.attrib["x1"]) == pytest.approx(float(rest[0].attrib["x"]) + LENGTH / 4)


def test_points_stand_at_their_logarithms() -> None:
    svg = drawn(Lines("t", "x", "y", {"line": [(1.0, 1.0), (10.0, 100.0), (100.0, 10.0)]}))
    at = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in svg.iter("circle")]
    assert at[1][0] - at[0][0] == pytest.approx(at[2][0] - at[1][0])
    assert at[0][1] - at[1][1] == pytest.approx(HEIGHT)
    assert at[0][1] - at[2][1] == pytest.approx(HEIGHT / 2)


@pytest.mark.parametrize("token", TOKENS, ids=ascii)
def test_names_may_be_anything(token: str) -> None:
    values, labels = {token: [1.0]}, {token: [token]}
    for chart in (Bars(token, token, [token], values, labels), Lines(token, token, token, {token: [(1, 2)]})):
        root = drawn(chart)
        assert root[0].text == token.replace("\x1b", "\ufffd")


def test_strangers_get_colors_too() -> None:
    names = [f"library {i}" for i in range(len(COLORS))]
    chart = Bars("t", "s", ["a"], {n: [1.0] for n in names}, {n: [""] for n in names})
    assert len({r.attrib["class"] for r in drawn(chart).iter("rect")}) == len(COLORS)
    known = ["JAX", "torch.compile", "one more"]
    assert len({color_of(name, known) for name in known}) == 3
    assert drawn(Lines("nothing", "x", "y", {})) is not None


# ---- the page ----------------------------------------------------------------------------------------------


def test_the_page_has_the_numbers_of_a_file() -> None:
    saved = load(TRAIN)
    page = shown({TRAIN.name: saved})
    text = page.text
    for result in saved["results"]:
        assert result["case"] in text
    assert f"{saved['findings']['S, 2 threads, tinytensor']['tokens_per_second']:,}" in text  # 20,191
    assert saved["machine"]["cpu"] in text
    assert saved["machine"]["commit"][:10] in text
    first = saved["results"][0]
    ratio = first["seconds"]["PyTorch"]["median"] / first["seconds"]["tinytensor"]["median"]
    bars = [r.text for r in page.all("rect") if r.text.startswith(f"{first['case']}, tinytensor: ")]
    assert float(bars[0].split()[-1].rstrip("×")) == pytest.approx(
        ratio, rel=0.05
    )  # of medians, or their median


def test_without_a_peer_there_are_no_bars_and_no_empty_columns() -> None:
    saved = load(TRAIN)
    alone = [
        r | {"seconds": {OURS: r["seconds"][OURS]}, "ratio": {}, "noisy": False} for r in saved["results"]
    ]
    page = shown({TRAIN.name: saved | {"results": alone, "peer": ""}})
    assert not page.all("svg")
    assert "1.00×" not in page.text
    heads = [th.text for th in page.all("table")[0].all("th")]
    assert "speed" not in heads
    assert {"case", "contestant", "median [quartiles]", "clean rounds"} <= set(heads)
    assert "speed, PyTorch = 1" in shown({TRAIN.name: saved}).text


def test_ops_alone_have_no_bars() -> None:
    assert "ops" not in report.ops_part(pretended({OURS: 0.0}).to_dict()).charts
    assert "ops" in report.ops_part(pretended({OURS: 0.0, "PyTorch": 0.0}).to_dict()).charts


def test_peaks_that_others_disturbed_are_named() -> None:
    saved = load(TRAIN)
    peaks = {"peaks, 2 threads": {"matmul_gflops": 36.4}, "peaks, 1 thread": {"matmul_gflops": 75.1}}
    text = shown({TRAIN.name: saved | {"findings": saved["findings"] | peaks}}).text
    assert "36.4 with 2 threads (train)" in text
    assert "75.1 with 1 thread (train)" in text
    assert "More threads reached less than one" in text
    peaks["peaks, 2 threads"] = {"matmul_gflops": 140.0}
    text = shown({TRAIN.name: saved | {"findings": saved["findings"] | peaks}}).text
    assert "More threads reached less than one" not in text


def test_names_of_points_do_not_stand_on_each_other() -> None:
    points = {f"a long name of an op, number {i}": (1.0 + i, 10.0) for i in range(6)}
    root = drawn(Lines("t", "x", "y", {"line": [(0.1, 1.0), (100.0, 100.0)]}, points))
    places = [
        (float(t.attrib["x"]), float(t.attrib["y"]), 6.7 * len(t.text or ""))
        for t in root.iter("text")
        if (t.text or "").startswith("a long name")
    ]
    assert len(places) == 6
    for i, (x, y, width) in enumerate(places):
        for a, b, other in places[:i]:
            assert abs(y - b) >= 11 or x + width <= a or a + other <= x


def test_every_committed_result_can_be_shown() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        assert shown({path.name: load(path)}).all("h2")


def test_without_a_gpu_the_page_says_so() -> None:
    page = shown({"ops.json": pretended({OURS: 0.0, "PyTorch": 1e-3}).to_dict()})
    assert NO_GPU in page.text


def test_the_map_of_crossovers_shows_where_the_gpu_is_faster() -> None:
    saved = pretended({OURS: 0.0, "PyTorch": 0.0, CUDA: 1e-2, COPIES: 2.0})
    page = shown({"ops.json": saved.to_dict()})
    assert f"{saved.findings['elements from which the GPU is faster'][CUDA]['add']:,}" in page.text
    assert "never, up to the largest size" in page.text
    assert NO_GPU not in page.text


def test_the_roof_is_what_was_measured() -> None:
    saved = pretended({OURS: 0.0, "PyTorch": 0.0}).to_dict()
    charts = report.ops_part(saved).charts
    roof = charts["roofline"]
    assert isinstance(roof, Lines)
    assert (
        max(y for _, y in roof.series["roof, from memory"]) == 100.0
    )  # what pretended() says of the machine
    x, y = roof.series["roof, from memory"][0]
    assert y / x == pytest.approx(10.0)
    n = 1 << 20  # one operation and twelve bytes for each element, which takes a microsecond
    assert roof.points["add"] == (pytest.approx(1 / 12), pytest.approx(1e-3))
    assert charts["sweep_add"].series[OURS][-1] == (n, pytest.approx(n))  # type: ignore[union-attr]


def test_files_of_one_commit_are_shown_as_one(tmp_path: Path) -> None:
    whole = load(TRAIN)
    machine = whole["machine"]
    first, last = (whole | {"results": part} for part in (whole["results"][:3], whole["results"][2:]))
    first["machine"] = machine | {"date": "2026-01-01"}
    first["findings"] = {"peaks": 1.0, "S": 2.0}
    other = whole | {"machine": machine | {"date": "2025-01-01", "commit": "another"}}
    for name, saved in (("train-a", first), ("train-b", last), ("train-c", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(saved))
    ((name, found),) = report.collect([], tmp_path).items()
    assert name == "train-b.json, train-a.json"
    assert {r["case"] for r in found["results"]} == {r["case"] for r in whole["results"]}
    assert len(found["results"]) == len(whole["results"])
    assert found["findings"] == {**first["findings"], **whole["findings"]}
    assert found["machine"]["commit"] == machine["commit"]


def test_matrix_products_are_shown_by_their_sums() -> None:
    saved = load(MEASURED / "matmul-cpu-20261125-121724.json")
    (chart,) = report.sections({"m": saved})[0].charts.values()
    assert isinstance(chart, Bars)
    sums = saved["findings"]["S, float32, 1 thread"]
    at = list(chart.groups).index("S, float32, 1 thread")
    assert chart.values["tinytensor"][at] == pytest.approx(sums["NumPy ms"] / sums["tinytensor ms"])
    assert chart.values["NumPy"][at] == 1.0


def test_emulated_time_does_not_stand_on_a_page_with_real_time(tmp_path: Path) -> None:
    (tmp_path / "real-20260101-000000.json").write_text(json.dumps(load(TRAIN)))
    (tmp_path / "other-20260101-000000.json").write_text(json.dumps(load(TRAIN) | {"clock": "emulated"}))
    with pytest.raises(BenchmarkError, match="emulated and real time"):
        report.collect([], tmp_path)


def test_the_command_writes_page_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "run a benchmark first" in capsys.readouterr().err
    (tmp_path / TRAIN.name).write_bytes(TRAIN.read_bytes())
    assert main(["report", "--out", str(tmp_path)]) == 0
    written = {Path(line.split(": ", 1)[1]).name for line in capsys.readouterr().out.splitlines()}
    assert written >= {"report.html", "train.svg"}
    picture = ET.parse(tmp_path / "pictures" / "train.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert (tmp_path / "pictures" / "train.svg").stat().st_size < 200_000
    assert main(["report", str(tmp_path / "no such file.json"), "--out", str(tmp_path)]) == 2
