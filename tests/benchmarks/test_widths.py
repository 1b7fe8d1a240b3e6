"""python -m benchmarks widths: the table, and where it goes."""

from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from benchmarks.suites import widths
from benchmarks.suites.widths import Row, table
from gpt import BPETokenizer, embedded_shakespeare
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.weights.import_model import write_run

pytest.importorskip("gguf")


def test_a_table() -> None:
    rows = [Row("float32", 8.0, 1.0, 10.0), Row("q4_0", 1.125, 1.01, 30.0, 1.02, 29.6)]
    assert table(rows).split("\n")[2:] == [
        "| float32 | 8.0 | 1.0000 | 2.72 (+0.0 %) | 10 |  |  |",
        "| q4_0 | 1.1 | 1.0100 | 2.75 (+1.0 %) | 30 | 1.0200 | 30 |",
    ]


def test_a_small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = BPETokenizer.train(embedded_shakespeare()[:3000], 300)
    model = GPT(GPTConfig(vocab_size=300, block_size=16, n_layer=1, n_head=1, n_embd=32)).eval()
    write_run(model, words, tmp_path / "run")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{widths.BEGIN}\nold\n{widths.END}\nafter\n")
    for name, value in {
        "KINDS": ("q8_0",),
        "CALIBRATED": ("q4_0",),
        "LENGTH": 20,
        "BLOCKS": 2,
        "NEW": 3,
    }.items():
        monkeypatch.setattr(widths, name, value)
    monkeypatch.setattr(widths, "PAGE", page)
    found = widths.run([str(tmp_path / "run")], page=True)
    rows = [line.split(" | ") for line in found.split("\n") if line.startswith("| ") and "MiB" not in line]
    assert [row[0] for row in rows[1:]] == ["| float32", "| q8_0", "| q4_0, calibrated"]
    ids = words.encode(embedded_shakespeare()[-60_000:])[:41]
    with tt.no_grad():
        pieces = [ids[:17], ids[16:33], ids[32:41]]
        losses = [model.loss(tt.tensor([p[:-1]]), tt.tensor([p[1:]])).item() for p in pieces]
    assert float(rows[1][2]) == pytest.approx(np.average(losses, weights=[16, 16, 8]), abs=1e-4)
    assert page.read_text() == f"before\n{widths.BEGIN}\n\n{found}\n\n{widths.END}\nafter\n"
