"""SHA-256 hashes of data and tokenizer, to check that a resumed run uses the same ones."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gpt.tokenizers.base import Tokenizer
from tinytensor.errors import FormatError
from tinytensor.files import PathLike, unreadable


def hash_of_file(path: PathLike, who: str) -> str:
    """Hexadecimal SHA-256 of a file, read in chunks: about a second per GB."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, who, error) from None


def hash_of_tokenizer(tokenizer: Tokenizer) -> str:
    """Hexadecimal SHA-256 of a tokenizer's saved file: equal for all tokenizers loaded from copies of it."""
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(path)
        return hash_of_file(path, "hash_of_tokenizer")


def require_same(saved: Mapping[str, str], found: Mapping[str, str], command: str, folder: Path) -> None:
    """Raise if data or tokenizer differ from those of a saved run."""
    if differing := [name for name in saved if found.get(name) != saved[name]]:
        raise FormatError(
            f"{command}: the {differing[0]} is not the one that the run in {folder} was started with",
            why="its SHA-256 differs from the one in the checkpoint, so the next steps would differ",
            fix=f"restore it, or start a new run from the weights: --init_from={folder} --out_dir=NEW",
        )
