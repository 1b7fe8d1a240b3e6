"""Records of files: JSON lines, a JSON array, CSV, Parquet."""

import csv
import io
import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinytensor.errors import ArgumentError, FormatError, MissingLibraryError
from tinytensor.files import PathLike, read_text

Record = dict[str, Any]


def read_rows(path: PathLike) -> Iterator[tuple[str, Record]]:
    r"""Records of a file, each with its place in it, for messages.

    Args:
        path: .csv and .tsv, with the names of the fields in the first line, between commas, tabs or
            semicolons; .parquet; any other file is JSON lines (an object in each, blank lines are skipped),
            or an array of objects.

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
        return _table(text, ",;\t" if kind == ".csv" else "\t,;", path)
    return _array(text, path) if text.lstrip().startswith("[") else _lines(text, path)


def read_records(path: PathLike, fields: Sequence[str]) -> list[dict[str, str]]:
    r"""Records of texts in a file of any of the kinds of `read_rows`."""
    form = json.dumps(dict.fromkeys(fields, "…"), ensure_ascii=False)
    found = []
    for place, record in read_rows(path):
        found.append({name: text_of(record, name, place, form) for name in fields})
        if empty := [name for name, text in found[-1].items() if not text]:
            raise unusable(place, f"{empty[0]!r} is empty", form)
    if not found:
        raise unusable(path, "it has no records", form)
    return found


def text_of(record: Mapping[str, Any], name: str, place: str, form: str) -> str:
    """Text of a field."""
    value = record.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        others = ", ".join([repr(field) for field in record if field != name]) or "none"
        raise unusable(place, f"{name!r} is missing or null; other fields are {others}", form)
    raise unusable(place, f"{name!r} is {reprlib.repr(value)}, which is not a text", form)


def unusable(place: PathLike, why: str, form: str) -> FormatError:
    """Error for a record that cannot be used; `form` is what records look like."""
    return FormatError(f"read_rows: {place}", why=why, fix=f"a record is {form}")


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
            fix="write one object in each line, or an array of them: [{…}, {…}]",
        ) from None


def _object(place: str, value: Any) -> tuple[str, Record]:
    if not isinstance(value, dict):
        raise unusable(place, "it is not an object", 'an object: {"name": "value"}')
    return place, value


def _table(text: str, delimiters: str, path: PathLike) -> Iterator[tuple[str, Record]]:
    """Rows of a table; the delimiter is the commonest of line 1: where commas are decimal, Excel writes ;."""
    delimiter = max(delimiters, key=text.partition("\n")[0].count)
    csv.field_size_limit(1 << 30)  # a value may be a whole book
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = list(rows.fieldnames or ())
        if len(set(names)) < len(names):
            raise FormatError(
                f"read_rows: {path}, line 1: the names are {', '.join(names)}",
                why="one is there twice, so a value would be lost",
                fix="give each field a name of its own",
            )
        for row in rows:
            if None in row or None in row.values():
                raise FormatError(
                    f"read_rows: {path}, line {rows.line_num}",
                    why=f"it has more or fewer values than the {len(names)} names in line 1",
                    fix=f'quote values that contain {delimiter!r} or line breaks: "…"',
                )
            yield f"{path}, line {rows.line_num}", row
    except csv.Error as error:
        raise FormatError(
            f"read_rows: {path}, after line {rows.line_num}", why=str(error), fix='quote values: "…"'
        ) from None


def _parquet(path: PathLike) -> Iterator[tuple[str, Record]]:
    try:
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
    except Exception as error:  # pyarrow raises more than its own for a damaged file: UnicodeDecodeError, …
        raise FormatError(
            f"read_rows: {path} is not a usable Parquet file",
            why=(str(error) or repr(error)).splitlines()[0],
            fix="the file is damaged: download or write it again",
        ) from None
