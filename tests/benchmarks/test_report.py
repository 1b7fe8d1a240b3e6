"""The page of the benchmarks shows the numbers of the files, and stands alone."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.contest.contest import RESULTS
from benchmarks.contest.contestants import BenchmarkError
from benchmarks.report import report
from benchmarks.report.bars import LENGTH, Bars, draw
from benchmarks.report.compare import load
from tests.benchmarks.test_compare import MEASURED, OURS
from tests.helpers.pages import TOKENS, parse

SVG = "{http://www.w3.org/2000/svg}"
TRAIN = MEASURED / "train-20261125-131538.json"


def shown(reports: dict[str, Any]) -> Any:
    return parse(report.page_of(json.loads(json.dumps(reports))))


def test_bars_are_as_long_as_their_numbers() -> None:
    values = {"tinytensor": [2.0, 1.0], "PyTorch": [4.0, None]}
    svg = ET.fromstring(
        draw(Bars("t", "s", ["a", "b"], values, {"tinytensor": ["2 s", "1 s"], "PyTorch": ["4 s", ""]}))
    )
    legend, rest = list(svg.iter(f"{SVG}rect"))[:2], list(svg.iter(f"{SVG}rect"))[2:]
    assert [float(r.attrib["width"]) / LENGTH for r in rest] == [0.5, 1.0, 0.25]
    assert [r[0].text for r in rest] == ["a, tinytensor: 2 s", "a, PyTorch: 4 s", "b, tinytensor: 1 s"]
    assert len({r.attrib["class"] for r in legend}) == 2
    (mark,) = [line for line in svg.iter(f"{SVG}line") if line.attrib["class"] == "edge"]
    assert float(mark.attrib["x1"]) == pytest.approx(float(rest[0].attrib["x"]) + LENGTH / 4)


@pytest.mark.parametrize("token", TOKENS, ids=ascii)
def test_names_may_be_anything(token: str) -> None:
    root = ET.fromstring(draw(Bars(token, token, [token], {token: [1.0]}, {token: [token]})))
    assert root[0].text == token.replace("\x1b", "\ufffd")


def test_the_page_has_the_numbers_of_a_file() -> None:
    saved = load(TRAIN)
    page = shown({TRAIN.name: saved})
    for result in saved["results"]:
        assert result["case"] in page.text
    assert f"{saved['findings']['S, 2 threads, tinytensor']['tokens_per_second']:,}" in page.text  # 20,191
    assert saved["findings"]["S, 2 threads, tinytensor : torch.compile"] in page.text
    assert saved["machine"]["cpu"] in page.text
    assert saved["machine"]["commit"][:10] in page.text
    first = saved["results"][0]
    ratio = first["seconds"]["PyTorch"]["median"] / first["seconds"]["tinytensor"]["median"]
    bars = [r.text for r in page.all("rect") if r.text.startswith(f"{first['case']}, tinytensor: ")]
    # of medians, or their median
    assert float(bars[0].split()[-1].rstrip("×")) == pytest.approx(ratio, rel=0.05)


def test_without_a_peer_there_are_no_bars_and_no_empty_columns() -> None:
    saved = load(TRAIN)
    alone = [
        r | {"seconds": {OURS: r["seconds"][OURS]}, "ratio": {}, "noisy": True} for r in saved["results"]
    ]
    page = shown({TRAIN.name: saved | {"results": alone, "peer": ""}})
    assert not page.all("svg")
    heads = [th.text for th in page.all("table")[0].all("th")]
    assert "speed" not in " ".join(heads)
    assert {"case", "contestant", "median [quartiles]", "clean rounds"} <= set(heads)
    assert page.text.count(" noisy") == len(alone)
    assert "speed, PyTorch = 1" in shown({TRAIN.name: saved}).text


def test_every_committed_result_can_be_shown() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        assert shown({path.name: load(path)}).all("table")


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
