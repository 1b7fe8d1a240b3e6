"""The inventory of a model's file: what NumPy says of the same arrays, and GPT-2's published counts."""

import json

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
    assert main(["info", str(folder), "--all"]) == 0
    rows = lines_of(capsys.readouterr().out)
    for name, array in WEIGHTS.items():
        strides = tuple(step // 4 for step in array.strides)
        want = [str(array.shape), str(strides), "F32", f"{array.nbytes:,}"]
        assert rows[f"transformer.{name}"] == want


def test_blocks_that_are_alike_share_a_line(folder, capsys):
    assert main(["info", str(folder)]) == 0
    rows = lines_of(capsys.readouterr().out)
    assert rows["transformer.h.N.attn.c_attn.weight"] == ["2", "(32, 96)", "(96, 1)", "F32", "24,576"]
    assert not any(row.startswith("transformer.h.0.attn.c_attn.bias") for row in rows)


def test_parameters_by_group(folder, capsys):
    masks = {f"h.{n}.attn.bias": np.ones((1, 1, 24, 24), np.float32) for n in range(2)}
    save_file(WEIGHTS | masks, folder / "model.safetensors")
    main(["info", str(folder)])
    rows = lines_of(capsys.readouterr().out)
    C = 32
    assert rows["token embeddings"][0] == f"{96 * C:,}"
    assert rows["positions"][0] == f"{24 * C:,}"
    assert rows["attention"][0] == f"{2 * (4 * C * C + 4 * C):,}"
    assert rows["feed-forward"][0] == f"{2 * (8 * C * C + 5 * C):,}"
    assert rows["norms"][0] == f"{5 * 2 * C:,}"
    assert rows["not used"][0] == f"{2 * 24 * 24:,}"
    assert rows["model"][0] == f"{sum(a.size for a in WEIGHTS.values()):,}"


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
