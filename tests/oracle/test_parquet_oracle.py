"""Parquet files as pyarrow writes them."""

from pathlib import Path

import pytest

import tinytensor as tt
from gpt.data.records import read_rows

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.oracle


def test_records_of_a_table(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    rows = [{"messages": said, "id": number} for number in range(5)]
    path = tmp_path / "talks.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    assert [record for _, record in read_rows(path)] == rows
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole.replace(b"content", b"cont\xffnt"), b""):
        path.write_bytes(damaged)
        with pytest.raises(tt.FormatError, match="not a usable Parquet file"):
            list(read_rows(path))
    with pytest.raises(tt.ArgumentError, match="does not exist"):
        list(read_rows(tmp_path / "none.parquet"))
