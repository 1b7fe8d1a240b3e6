"""Convert texts to token files: encode, split off validation data, write atomically.

Independent of the kind of tokenizer.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpt.config import TrainConfig
from gpt.console import counted
from gpt.data.token_file import META_FORMAT, TokenFile
from gpt.tokenizers.base import Tokenizer, check_text
from tinytensor.errors import ArgumentError, SaveError
from tinytensor.files import PathLike, read_text, temporary_beside, text_chunks, unwritable

Document = Iterable[str]  # chunks that can be encoded independently
Splits = tuple[TokenFile, TokenFile | None]  # train and val


def prepare(
    paths: PathLike | Sequence[PathLike],
    tokenizer: Tokenizer,
    out_dir: PathLike,
    *,
    val_fraction: float = 0.1,
    pattern: str = "*.txt",
) -> Splits:
    """Convert text files to `train.bin` and `val.bin`, with `tokenizer.json` and `meta.json` next to them.

    Files are read in the order given, files of folders in the order of their names; line endings stay as they
    are. The tokenizer's separator (<|endoftext|>), if it has one, is inserted between files. The last part of
    the tokens is for validation. New files replace older ones when all are complete.

    Args:
        paths: one or several UTF-8 text files, and folders.
        tokenizer: any object with `vocab_size`, `separator`, `encode` and `save`.
        out_dir: output folder; created if it does not exist.
        val_fraction: share of the tokens in val.bin, 0 <= f < 1; 0: no val.bin.
        pattern: glob of the files in a folder, at any depth.

    Raises:
        ArgumentError: no text, too few tokens to split, an unknown character, or an unreadable file.
        FormatError: a file that is not UTF-8.
        SaveError: the results cannot be written.

    Memory: about 4 MB of text and its ids at a time.

    Example:
        >>> import pathlib, tempfile
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "poem.txt").write_text("to be or not to be")
        >>> train, val = prepare(folder, CharTokenizer(" benort"), folder / "tokens")
        >>> len(train), len(val)
        (16, 2)
    """
    files = text_files(paths, pattern)
    documents = (text_chunks(file, "prepare") for file in files)
    return _write(documents, tokenizer, Path(out_dir), val_fraction, [file.name for file in files])


def prepare_text(text: str, tokenizer: Tokenizer, out_dir: PathLike, *, val_fraction: float = 0.1) -> Splits:
    """Convert one text to token files.

    Args:
        text: the text itself, not a path.
        tokenizer, out_dir, val_fraction: as for `prepare`.

    Example:
        >>> import tempfile
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> train, _ = prepare_text("aabab", CharTokenizer("ab"), tempfile.mkdtemp(), val_fraction=0.2)
        >>> train.ids.tolist()
        [0, 0, 1, 0]
    """
    check_text(text, "prepare_text")
    return _write([[text]], tokenizer, Path(out_dir), val_fraction, [])


def read_texts(paths: PathLike | Sequence[PathLike], pattern: str = "*.txt") -> Iterator[str]:
    """Texts that `prepare` would read with the same arguments, in chunks, to train a tokenizer on."""
    for file in text_files(paths, pattern):
        yield from text_chunks(file, "prepare")


def describe_files(folder: PathLike, pattern: str = "*.txt") -> str:
    """One-sentence summary of the files of a folder that `prepare` reads and ignores."""
    every = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    read = text_files(folder, pattern)
    others = [path for path in every if path not in set(read)]
    names = [str(path.relative_to(folder)) for path in read]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    said = f"{shown} {'is' if len(names) == 1 else 'are'} read"
    if not others:
        return said
    kinds = sorted({path.suffix or path.name for path in others})
    few = ", ".join(kinds[:6]) + (", …" if len(kinds) > 6 else "")
    verb = "is" if len(others) == 1 else "are"
    return f"{said}, and {counted(len(others), 'other file')} ({few}) {verb} not; --pattern selects others"


def text_files(paths: PathLike | Sequence[PathLike], pattern: str = "*.txt") -> list[Path]:
    """List of files, with folders replaced by the files in them."""
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    files: list[Path] = []
    for path in map(Path, given):
        inside = sorted(file for file in path.rglob(pattern) if file.is_file()) if path.is_dir() else [path]
        if not inside:
            raise ArgumentError(
                f"prepare: no file in {str(path)!r} fits {pattern!r}",
                why="in a folder, the files that match the pattern are read, at any depth",
                fix='give another pattern: --pattern="*.md" on the command line, pattern="*.md" in Python',
            )
        files += inside
    if not files:
        raise ArgumentError("prepare: no files", why="the list of paths is empty", fix="give a text file")
    if all(file.is_file() and not file.stat().st_size for file in files):
        raise _empty(files[0], "prepare")
    return files


def text_of_file(path: PathLike, who: str) -> str:
    """Text of a file that is not empty; `who` is the command, for messages."""
    if not (text := read_text(path, who)):
        raise _empty(path, who)
    return text


def _empty(path: PathLike, who: str) -> ArgumentError:
    return ArgumentError(f"{who}: {str(path)!r} is empty", why="it has no text", fix="give another file")


def require_data(config: TrainConfig) -> None:
    """Check that the data and the tokenizer of a config exist."""
    if config.data != "shakespeare" and not Path(config.data).exists():
        folder = not Path(config.data).suffix
        raise ArgumentError(
            f"train: --data={config.data}: there is no such file or folder",
            why="it must be a text, a folder of texts, or token files",
            fix="--data=FILE --tokenizer=char trains on a text; make token files with python -m gpt data "
            f"prepare TEXTS --tokenizer=tokenizer.json --out {config.data}"
            if folder
            else "check the path; --data=shakespeare is the text that is bundled",
        )
    tokenized = (Path(config.data) / "tokenizer.json").is_file()
    texts = Path(config.data).is_dir() and not (Path(config.data) / "train.bin").is_file()
    if config.pattern != TrainConfig.pattern and not texts:
        raise ArgumentError(
            f"train: --pattern={config.pattern} with --data={config.data}",
            why="it selects files in a folder of texts",
            fix="leave it out, or give a folder: --data=FOLDER",
        )
    known = config.tokenizer == "char" or Path(config.tokenizer).exists()
    if not known and not tokenized and Path(config.tokenizer).suffix:  # without one, it may be a model's name
        raise ArgumentError(
            f"train: --tokenizer={config.tokenizer}: there is no such file",
            why="it is char, a saved tokenizer, or a model such as smollm2",
            fix="--tokenizer=char, or make one: python -m gpt tokenizer train FILE --vocab-size 1024 "
            "--out tokenizer.json",
        )


def _write(
    documents: Iterable[Document], tokenizer: Tokenizer, out: Path, val_fraction: float, sources: list[str]
) -> Splits:
    """Encode, split and describe in a temporary folder, then move the results into place."""
    if not 0 <= val_fraction < 1:
        raise ArgumentError(
            f"prepare: val_fraction={val_fraction}",
            why="it is a share of the text",
            fix="use 0.1 for a tenth",
        )
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    names = ["train", "val"] if val_fraction else ["train"]
    with _workplace(out) as work:
        count = _encode(documents, tokenizer, dtype, work / "train.bin")
        n_train = int(count * (1 - val_fraction))
        if not n_train or (val_fraction and n_train == count):
            raise ArgumentError(
                f"prepare: {count} tokens cannot be split",
                why=f"with val_fraction={val_fraction}, {n_train} would remain for training",
                fix="give a longer text",
            )
        if val_fraction:
            _split(work / "train.bin", n_train * dtype.itemsize, work / "val.bin")
        tokenizer.save(work / "tokenizer.json")
        meta = {
            "format": META_FORMAT,
            "dtype": dtype.name,
            "vocab_size": tokenizer.vocab_size,
            "tokenizer": "tokenizer.json",
            "sources": sources,
            "splits": {name: _describe(work / f"{name}.bin", dtype.itemsize) for name in names},
        }
        (work / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="ascii")
        for name in [*(f"{name}.bin" for name in names), "tokenizer.json", "meta.json"]:
            (work / name).replace(out / name)
        if not val_fraction:
            (out / "val.bin").unlink(missing_ok=True)  # of an earlier split
    return TokenFile(out / "train.bin"), TokenFile(out / "val.bin") if val_fraction else None


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """Temporary hidden folder inside `out`; an exception removes both, if they did not exist before.

    What a killed process left there, up to a copy of all tokens, is removed first.
    """
    made_here = not out.exists()
    work = temporary_beside(out / "prepare")
    complete = False
    try:
        work.mkdir(parents=True)
        yield work
        complete = True
    except SaveError:
        raise
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made_here and not complete and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _encode(documents: Iterable[Document], tokenizer: Tokenizer, dtype: npt.DTypeLike, path: Path) -> int:
    """Write the ids of all documents, and return their number."""
    count = 0
    with path.open("xb") as file:
        for number, document in enumerate(documents):
            if number and tokenizer.separator is not None:
                file.write(np.array([tokenizer.separator], dtype).data)
                count += 1
            for chunk in document:
                ids = tokenizer.encode(chunk)
                file.write(np.array(ids, dtype).data)
                count += len(ids)
    return count


def _split(path: Path, nbytes: int, rest: Path) -> None:
    """Truncate a file to `nbytes`, and move the remainder to another."""
    with path.open("r+b") as file, rest.open("xb") as other:
        file.seek(nbytes)
        shutil.copyfileobj(file, other, 1 << 20)
        file.truncate(nbytes)


def _describe(path: Path, itemsize: int) -> dict[str, int | str]:
    """Flush a file to disk, and return its length and sha256."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"tokens": path.stat().st_size // itemsize, "sha256": digest}
