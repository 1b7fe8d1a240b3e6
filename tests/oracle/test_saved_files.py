"""Files beside others: PyTorch reads those of `tt.save`; `tt.load` reads safetensors, and refuses pickles;
Parquet files are read as pyarrow writes them.
"""

from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from gpt.data.records import read_rows
from tinytensor import nn

torch = pytest.importorskip("torch")
files = pytest.importorskip("safetensors.torch")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_go_both_ways(tmp_path: Path, dtype: str) -> None:
    x = tt.tensor(np.arange(6).reshape(2, 3) % 2, dtype=dtype)
    tt.save({"x": x.T}, tmp_path / "ours")
    theirs = files.load_file(tmp_path / "ours")["x"]
    assert theirs.dtype is getattr(torch, dtype)
    assert theirs.tolist() == x.T.tolist()
    files.save_file({"x": theirs.contiguous()}, tmp_path / "theirs")
    back = tt.load(tmp_path / "theirs")["x"]
    assert back.dtype is x.dtype
    assert back.tolist() == x.T.tolist()


def test_a_linear_layer_of_pytorch_after_a_transposition(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    files.save_file(layer.state_dict(), tmp_path / "layer")
    state = tt.load(tmp_path / "layer")
    ours = nn.Linear(3, 2)
    ours.load_state_dict({**state, "weight": state["weight"].T})
    x = np.ones((4, 3), np.float32)
    expected = layer(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(tt.asarray(x)).detach().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("old", [False, True])
def test_pickles_are_refused_with_the_way_out(tmp_path: Path, old: bool) -> None:
    state = torch.nn.Linear(3, 2).state_dict()
    path = tmp_path / "model.pt"
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(tt.FormatError, match=r"safetensors\.torch\.save_file"):
        tt.load(path)
    files.save_file(torch.load(path, weights_only=True), tmp_path / "new")
    assert tt.load(tmp_path / "new").keys() == state.keys()


def test_records_of_a_table(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    rows = [{"messages": said, "id": number} for number in range(5)]
    path = tmp_path / "talks.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    assert [record for _, record in read_rows(path)] == rows
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole.replace(b"content", b"cont\xffnt"), b""):
        path.write_bytes(damaged)
        with pytest.raises(tt.FormatError, match="not a usable Parquet file"):
            list(read_rows(path))
    with pytest.raises(tt.ArgumentError, match="does not exist"):
        list(read_rows(tmp_path / "none.parquet"))
