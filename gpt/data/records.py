"""Records of files: JSON lines, a JSON array, CSV, Parquet."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinytensor.errors import ArgumentError, FormatError, MissingLibraryError
from tinytensor.files import PathLike, read_text

Record = dict[str, Any]


def read_rows(path: PathLike) -> Iterator[tuple[str, Record]]:
    r"""Records of a file, each with its place in it, for messages.

    Args:
        path: .csv and .tsv, with the names of the fields in the first line; .parquet; any other file is JSON
            lines (an object in each, blank lines are skipped), or an array of objects.

    Returns:
        Iterator of (place, record).

    Raises:
        ArgumentError: the file cannot be read.
        FormatError: a record is not an object, or has more values than the first line of the table has names;
            or the file is damaged.
        MissingLibraryError: .parquet without pyarrow installed.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = path.write_text('prompt,completion\n"2+2?",4\n')
        >>> [record for _, record in read_rows(path)]
        [{'prompt': '2+2?', 'completion': '4'}]
    """
    kind = Path(path).suffix.lower()
    if kind == ".parquet":
        return _parquet(path)
    text = read_text(path, "read_rows").removeprefix("\ufeff")  # a mark that Excel writes
    if kind in (".csv", ".tsv"):
        return _table(text, "," if kind == ".csv" else "\t", path)
    return _array(text, path) if text.lstrip().startswith("[") else _lines(text, path)


def read_records(path: PathLike, fields: Mapping[str, str | None]) -> list[dict[str, str]]:
    r"""Records of texts in a file of any of the kinds of `read_rows`.

    Args:
        path: the file.
        fields: name → default of a missing field; None: the field is required.

    Returns:
        The records, with only these fields.

    Raises:
        ArgumentError: the file cannot be read.
        FormatError: a record lacks a field, or has a value that is not a text; or the file has no records.
        MissingLibraryError: .parquet without pyarrow installed.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pairs.jsonl"
        >>> _ = path.write_text('{"text": "Oh!", "label": "good", "id": 3}\n')
        >>> read_records(path, {"text": None, "label": None})
        [{'text': 'Oh!', 'label': 'good'}]
    """
    found = [_texts(place, record, fields) for place, record in read_rows(path)]
    if not found:
        raise FormatError(f"read_records: {path} is empty", why="it has no records", fix=_form(fields))
    return found


def _texts(place: str, record: Record, fields: Mapping[str, str | None]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, instead in fields.items():
        text = record.get(name, instead)
        if not isinstance(text, str):
            why = f"{name!r} is missing" if name not in record else f"{name!r} is not a text"
            raise FormatError(f"read_records: {place}", why=why, fix=_form(fields))
        texts[name] = text
    return texts


def _form(fields: Mapping[str, str | None]) -> str:
    form = json.dumps(dict.fromkeys(fields, "…"), ensure_ascii=False)
    return f"each record is an object of texts: {form}"


def _lines(text: str, path: PathLike) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would split at U+2028 in a text
        if line.strip():
            yield _object(f"{path}, line {number}", _parsed(f"{path}, line {number}", line))


def _array(text: str, path: PathLike) -> Iterator[tuple[str, Record]]:
    for number, value in enumerate(_parsed(str(path), text), 1):
        yield _object(f"{path}, record {number}", value)


def _parsed(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"read_rows: {place}",
            why=f"it is not JSON: {error}",
            fix="write one object in each line, or an array of objects",
        ) from None


def _object(place: str, value: Any) -> tuple[str, Record]:
    if not isinstance(value, dict):
        raise FormatError(
            f"read_rows: {place}",
            why="it is not an object",
            fix='a record is an object: {"name": "value"}',
        )
    return place, value


def _table(text: str, delimiter: str, path: PathLike) -> Iterator[tuple[str, Record]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise FormatError(
                    f"read_rows: {path}, line {rows.line_num}",
                    why=f"it has more or fewer values than the {len(rows.fieldnames or ())} names in line 1",
                    fix='quote values that contain commas or line breaks: "…"',
                )
            yield f"{path}, line {rows.line_num}", row
    except csv.Error as error:
        raise FormatError(
            f"read_rows: {path}, after line {rows.line_num}", why=str(error), fix='quote values: "…"'
        ) from None


def _parquet(path: PathLike) -> Iterator[tuple[str, Record]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingLibraryError(
            f"read_rows: {path}",
            why="Parquet files are read by the library pyarrow, which is missing",
            fix='pip install ".[data]", or save the table as CSV or JSON lines',
        ) from None
    if not Path(path).is_file():
        raise ArgumentError(f"read_rows: there is no {path}", why="it does not exist", fix="check the path")
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            for record in batch.to_pylist():
                number += 1
                yield f"{path}, record {number}", record
    except (pyarrow.ArrowException, OSError) as error:
        raise FormatError(
            f"read_rows: {path} is not a usable Parquet file",
            why=str(error).splitlines()[0],
            fix="the file is damaged: download or write it again",
        ) from None
