"""Token files: raw little-endian ids without a header, memory-mapped. Independent of batches and texts.

The format is nanoGPT's: 2 bytes per id (4 for vocabularies over 65,536). `meta.json` next to the files has
dtype, vocabulary size, length and hash; a file without one is read as nanoGPT writes it, as uint16.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpt.data.contents import hash_of_file
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.files import PathLike, read_json, unreadable

META_FORMAT = "tinytensor-tokens"
UnsignedDType = np.dtype[np.uint16] | np.dtype[np.uint32]
DTYPES: dict[str, UnsignedDType] = {
    "uint16": np.dtype(np.uint16).newbyteorder("<"),
    "uint32": np.dtype(np.uint32).newbyteorder("<"),
}


class _Meta(NamedTuple):
    """Entry of meta.json for one token file."""

    dtype: str
    vocab_size: int
    tokens: int
    sha256: str


class TokenFile:
    """Memory-mapped file of token ids: opening takes constant time.

    Raises:
        ArgumentError: the file cannot be read.
        FormatError: empty, not a whole number of ids, or another length than in `meta.json`.

    Memory: pages are read on access; the file must not change while it is open.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        meta = _read_meta(self.path)
        self.dtype = DTYPES[meta.dtype if meta else "uint16"]
        self.vocab_size = meta.vocab_size if meta else None
        self.sha256 = meta.sha256 if meta else None
        self.ids: npt.NDArray[np.unsignedinteger] = self._map(meta.tokens if meta else None)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        size = "unknown" if self.vocab_size is None else f"{self.vocab_size:,}"
        return f"TokenFile({str(self.path)!r}: {len(self):,} tokens, {self.dtype.name}, vocabulary {size})"

    def digest(self) -> str:
        """SHA-256 of the whole file: about a second per GB."""
        found = hash_of_file(self.path, "TokenFile")
        if self.sha256 not in (None, found):
            raise FormatError(
                f"TokenFile: {self._name()} was changed after it was written",
                why="its sha256 differs from the one in meta.json",
                fix="restore it, or prepare it again: python -m gpt data prepare",
            )
        return found

    def _name(self) -> str:
        return repr(str(self.path))

    def _map(self, tokens: int | None) -> npt.NDArray[np.unsignedinteger]:
        """Check the size of the file, and map it."""
        try:
            nbytes = self.path.stat().st_size
            whole = nbytes % self.dtype.itemsize == 0
            if nbytes and whole and tokens in (None, nbytes // self.dtype.itemsize):
                return np.asarray(np.memmap(self.path, dtype=self.dtype, mode="r"))
        except OSError as error:
            raise unreadable(self.path, "TokenFile", error) from None
        if not nbytes:
            why = "it is empty"
        elif not whole:
            why = f"{nbytes:,} bytes are not a whole number of {self.dtype.itemsize}-byte ids"
        else:
            why = f"meta.json lists {tokens:,} tokens, the file has {nbytes // self.dtype.itemsize:,}"
        raise FormatError(
            f"TokenFile: {self._name()} is not a usable token file",
            why=why,
            fix="it is truncated or of another format: prepare it again with python -m gpt data prepare",
        )


def open_split(folder: PathLike, split: str) -> TokenFile:
    """Open `train.bin` or `val.bin` of a folder that `python -m gpt data prepare` or nanoGPT made.

    Args:
        folder: the folder.
        split: "train" or "val".

    Example:
        >>> import tempfile
        >>> from gpt.data.prepare import prepare_text
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> folder = tempfile.mkdtemp()
        >>> _ = prepare_text("to be or not to be", CharTokenizer.train("to be or not to be"), folder)
        >>> len(open_split(folder, "train")), len(open_split(folder, "val"))
        (16, 2)
    """
    path = Path(folder) / f"{split}.bin"
    if not path.is_file():
        raise ArgumentError(
            f"open_split: there is no {str(path)!r}",
            why="a data folder has train.bin and val.bin",
            fix=f"make it: python -m gpt data prepare FILE --out {str(folder)!r}",
        )
    return TokenFile(path)


def check_range(ids: npt.NDArray[np.integer], vocab_size: int | None, name: str) -> None:
    """Raise for ids outside the vocabulary: they would index beyond the embedding."""
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or (vocab_size is not None and high >= vocab_size):
        bad = low if low < 0 else high
        raise FormatError(
            f"id {bad} in {name} is not in the vocabulary",
            why=f"ids are 0 … {'' if vocab_size is None else vocab_size - 1}",
            fix="use the tokenizer that produced the tokens, or the dtype that they were written with",
        )


def _read_meta(path: Path) -> _Meta | None:
    """Entry of a token file in the meta.json next to it; None if there is no meta.json of ours."""
    meta_path = path.parent / "meta.json"
    meta = read_json(meta_path, "TokenFile") if meta_path.is_file() else {}
    if meta.get("format") != META_FORMAT:
        return None  # written by another program: nanoGPT's files have no meta.json
    splits = meta.get("splits")
    if isinstance(splits, dict) and path.stem not in splits:
        raise FormatError(
            f"TokenFile: {str(path)!r} is not one of the files that `data prepare` wrote",
            why=f"{str(meta_path)!r} does not list it, so its dtype is unknown",
            fix="move it to a separate folder",
        )
    split = splits[path.stem] if isinstance(splits, dict) else None
    if isinstance(split, dict):
        match meta.get("dtype"), meta.get("vocab_size"), split.get("tokens"), split.get("sha256"):
            case str(dtype), int(vocab_size), int(tokens), str(sha256) if dtype in DTYPES and vocab_size > 0:
                return _Meta(dtype, vocab_size, tokens, sha256)
    raise FormatError(
        f"TokenFile: {str(meta_path)!r} is damaged",
        why="it lacks a usable dtype, vocab_size, tokens or sha256",
        fix="prepare the folder again: python -m gpt data prepare",
    )
