"""Records of files: the kinds say the same, and damaged ones say where."""

import csv
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.data.records import read_records, read_rows
from tinytensor.errors import MissingLibraryError

# \u2028 and \x85 end lines for str.splitlines, not for JSON. A table cannot tell \r from a line break.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1, max_size=8)
tables = st.lists(st.fixed_dictionaries({"text": texts, "label": texts}), min_size=1, max_size=4)


@given(rows=tables)
def test_all_kinds_give_the_same(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "a.jsonl").write_bytes(lines.encode())
    (folder / "b.json").write_bytes(json.dumps(rows, indent=1).encode())
    for name, delimiter in (("c.csv", ","), ("d.tsv", "\t"), ("e.csv", ";"), ("f.csv", "\t")):
        with (folder / name).open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    for path in sorted(folder.iterdir()):
        assert read_records(path, ["text", "label"]) == rows, path


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.jsonl", "", "no records"),
        ("a.jsonl", '{"text": 3, "label": "a"}', "line 1\n.*'text' is 3, which is not a text"),
        ("a.jsonl", '{"text": "a"}', "line 1\n.*'label' is missing or null; other fields are 'text'"),
        ("a.jsonl", '{"text": "a", "label": null}', "'label' is missing or null"),
        ("a.jsonl", '\n{"text": "a", "label": ""}', "line 2\n.*'label' is empty"),
        ("a.csv", "text,label,text\na,b,c\n", "line 1: the names are text, label, text"),
        ("a.jsonl", "3", "not an object"),
        ("a.json", '[{"text": "a", "label": "b"}, 1]', "record 2"),
        ("a.json", '[{"text": "a",', "not JSON"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"tex', "line 2"),
        ("a.csv", "text,label\na,b,c\n", "line 2"),
        ("a.csv", "text,label\na\n", "line 2"),
        ("a.csv", 'text,label\n"a" b,c\n', "after line 1"),
        ("a.csv", "text\na\n", "'label' is missing"),
    ],
)
def test_damaged_records_say_where(tmp_path, name, text, why):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(tt.FormatError, match=why):
        read_records(path, ["text", "label"])


def test_a_long_value_of_a_table(tmp_path):
    book = "word " * 40_000  # the csv module refuses more than 131,072 characters
    (tmp_path / "a.csv").write_text(f"text,label\n{book},a\n")
    assert read_records(tmp_path / "a.csv", ["text", "label"]) == [{"text": book, "label": "a"}]


def test_parquet_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingLibraryError, match=r"pip install \"\.\[data\]\""):
        list(read_rows(tmp_path / "a.parquet"))
