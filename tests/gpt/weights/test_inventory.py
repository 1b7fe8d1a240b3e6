"""The inventory of a model's file: what NumPy says of the same arrays."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from gpt.__main__ import main
from tests.gpt.weights.test_weights import WEIGHTS, written


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "model")


def lines_of(text):
    """First word of a line → the other cells."""
    rows = [line.split("  ") for line in text.splitlines()]
    return {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}


def test_each_tensor_as_numpy_sees_it(folder, capsys):
    assert main(["info", str(folder)]) == 0
    rows = lines_of(capsys.readouterr().out)
    for name, array in WEIGHTS.items():
        strides = tuple(step // 4 for step in array.strides)
        count = ["2"] if name.startswith("h.") else []
        want = [*count, str(array.shape), str(strides), "F32", f"{array.nbytes * (2 if count else 1):,}"]
        assert rows[re.sub(r"h\.\d+", "h.N", f"transformer.{name}")] == want


def test_only_headers_are_read(folder, capsys):
    # A file of 512 GB that takes no room: reading it would never end.
    shape = {"dtype": "F32", "shape": [50257, 2560000], "data_offsets": [0, 50257 * 2560000 * 4]}
    header = json.dumps({"transformer.wte.weight": shape}).encode().ljust(160)  # a multiple of 8
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + shape["data_offsets"][1])
    assert main(["info", str(folder)]) == 0
    assert "(50257, 2560000)" in capsys.readouterr().out


def test_a_run_directory_and_a_file_of_no_model(folder, tmp_path, capsys):
    assert main(["convert", str(folder), str(tmp_path / "run")]) == 0
    assert main(["info", str(tmp_path / "run")]) == 0
    assert "h.N.attn.c_attn.weight" in capsys.readouterr().out
    lone = tmp_path / "lone" / "x.safetensors"
    lone.parent.mkdir()
    save_file({"w": np.ones((2, 3), np.float16)}, lone)
    assert main(["info", str(lone)]) == 0
    out = capsys.readouterr().out
    assert lines_of(out)["w"] == ["(2, 3)", "(3, 1)", "F16", "12"]
    assert "comes without a config" in out
    assert main(["info", str(tmp_path / "nothing.safetensors")]) == 2
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    assert main(["info", str(tmp_path / "cut.gguf")]) == 2
    assert "is not a usable GGUF file" in capsys.readouterr().err
