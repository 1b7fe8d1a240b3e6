"""Atomic checkpoints: weights, optimizer state, training state. Works on arrays and JSON, not on models.

A run directory has `step_N/` (model.safetensors, optimizer.safetensors, state.json) and two small files,
`latest` and `best`, each with the name of a folder. A save writes everything to `.checkpoint-step_N.tmp/`,
flushes it to disk, renames it, and only then replaces `best` and `latest`: a crash at any moment, or a full
disk, leaves the previous checkpoint intact. Names that start with `.checkpoint-` are remainders of
interrupted saves; the next save or resume removes them, and no other files.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytensor.errors import ArgumentError, FormatError, SaveError, TinyTensorError
from tinytensor.files import PathLike, atomic_write, read_json, sync_folder
from tinytensor.interop.safetensors_file import Array, read_safetensors, write_safetensors

_VERSION = 1
_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_FOLDER = re.compile(r"step_(?P<step>0|[1-9][0-9]{0,17})")
# Being written, or replaced.
_HIDDEN = re.compile(rf"\.checkpoint-(?P<name>{_FOLDER.pattern})\.(?P<kind>tmp|old)")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded checkpoint."""

    step: int  # the optimizer step after which it was saved
    weights: Mapping[str, Array]  # name → read-only array on the mapped file
    optimizer: Mapping[str, Array]  # the same for the optimizer state
    state: Mapping[str, Any]  # training state: configs, data position, generator, best loss
    folder: Path  # its folder


def save_checkpoint(
    run_dir: PathLike,
    step: int,
    weights: Mapping[str, Array],
    optimizer: Mapping[str, Array],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
    best: bool = False,
) -> Path:
    """Save a checkpoint as the latest, and remove old ones; one of the same step is replaced.

    Args:
        run_dir: run directory; created if it does not exist.
        state: JSON values.
        keep: number of checkpoints to keep up to this step; the best is kept in addition.
        best: whether this is the best one so far.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> run = tempfile.mkdtemp()
        >>> save_checkpoint(run, 10, {"w": np.ones(3)}, {}, {"best_loss": 1.5}).name
        'step_10'
        >>> load_checkpoint(run).state["best_loss"]
        1.5
    """
    run_dir = Path(run_dir)
    folder = run_dir / f"step_{step}"
    temporary = _hidden(folder, "tmp")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        _clean(run_dir)
        _fill(temporary, step, weights, optimizer, json.dumps(dict(state), allow_nan=False))
        _install(temporary, folder)
        for pointer in ("best", "latest") if best else ("latest",):  # the latest state includes the best loss
            with atomic_write(run_dir / pointer) as file:
                file.write(f"{folder.name}\n".encode())
            sync_folder(run_dir)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise SaveError(
            f"save_checkpoint: step {step} could not be saved in {run_dir}",
            why=_reason(error),
            fix=f"free some space or check the folder, and resume; {_existing_steps(run_dir)}",
        ) from None
    _prune(run_dir, step, keep)
    return folder


def load_checkpoint(run_dir: PathLike, which: str | int = "latest") -> Checkpoint:
    """Load a checkpoint, and verify its checksums."""
    run_dir = Path(run_dir)
    with _usable(run_dir, which):
        step = _step_of(run_dir, which)
        return _read(_folder_of(run_dir, step), step)


def newest_checkpoint(run_dir: PathLike, warn: Callable[[str], object]) -> Checkpoint:
    """Load the latest checkpoint, or the newest one before it that is not damaged."""
    run_dir = Path(run_dir)
    try:
        return load_checkpoint(run_dir)
    except FormatError as error:
        steps = list_checkpoints(run_dir)
        with contextlib.suppress(OSError, ValueError):
            latest = _pointed(run_dir, "latest")  # later steps are of a run that was resumed further back
            steps = [step for step in steps if step < latest]
        for step in reversed(steps):
            with contextlib.suppress(FormatError):
                found = load_checkpoint(run_dir, step)
                warn(f"{error.what}: {error.why}; resuming from {found.folder}")
                return found
        raise


def checkpoint_folder(run_dir: PathLike, which: str | int = "latest") -> Path:
    """Folder of a checkpoint, without reading it."""
    run_dir = Path(run_dir)
    with _usable(run_dir, which):
        return _folder_of(run_dir, _step_of(run_dir, which))


def list_checkpoints(run_dir: PathLike) -> list[int]:
    """Steps of all checkpoints, in ascending order; empty if there is no such folder."""
    try:
        names = os.listdir(run_dir)
    except OSError:
        return []
    found: dict[str, str] = {}
    for name in names:
        hidden = _HIDDEN.fullmatch(name)
        if match := _FOLDER.fullmatch(name) or (hidden if hidden and hidden["kind"] == "old" else None):
            found[match["step"]] = name
    return sorted(int(step) for step, name in found.items() if Path(run_dir, name, _STATE).is_file())


def prune_checkpoints(run_dir: PathLike, step: int, *, keep: int = 2) -> None:
    """Remove what a killed save left: temporary folders, and old checkpoints that it had to remove."""
    with contextlib.suppress(OSError):  # the next save cleans again, and reports what it cannot do
        _clean(Path(run_dir))
    _prune(Path(run_dir), step, keep)


def read_state(folder: Path) -> dict[str, Any]:
    """Training state of a checkpoint, without reading the weights; empty if it is not an object."""
    state = read_json(folder / _STATE, "read_state").get("state")
    return state if isinstance(state, dict) else {}


def require_kind(state: Mapping[str, Any], kind: str, folder: Path) -> None:
    """Raise for a model of another kind, whose weights may have the same names."""
    found = state.get("kind", "GPT")  # absent in imported and fine-tuned runs
    if found != kind:
        commands = {"GPT": "train or sample", "Encoder": "masked", "EncoderDecoder": "translate"}
        raise FormatError(
            f"{folder} holds a model of kind {found}, not {kind}",
            why="the kinds differ in their attention masks, so the same weights compute something else",
            fix=f"use python -m gpt {commands.get(str(found), 'train')}",
        )


@contextlib.contextmanager
def reading_state(folder: Path) -> Iterator[None]:
    """Context that converts errors about missing or invalid entries of a state to FormatError; `folder` is
    that of the checkpoint, or of its run, for the message.
    """
    try:
        yield
    except TinyTensorError:  # some are also KeyErrors or TypeErrors
        raise
    except (LookupError, AttributeError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"{folder} holds a state that no run has written",
            why=f"{type(error).__name__}: {error}",
            fix=f"restore the file {_STATE}, or resume from an earlier checkpoint",
        ) from error


def _fill(
    folder: Path, step: int, weights: Mapping[str, Array], optimizer: Mapping[str, Array], state_text: str
) -> None:
    """Write the three files of a checkpoint, and flush them to disk."""
    folder.mkdir()
    checksums: dict[str, int] = {}
    for name, tensors in ((_MODEL, weights), (_OPTIMIZER, optimizer)):
        write_safetensors(folder / name, tensors)
        checksums[name] = _checksum(folder / name)
    head = json.dumps({"version": _VERSION, "step": step, "crc32": checksums})
    with open(folder / _STATE, "w", encoding="utf-8", newline="") as file:
        file.write(f'{head[:-1]}, "state": {state_text}}}\n')
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def _hidden(folder: Path, kind: str) -> Path:
    """Temporary name of a checkpoint that is being written ("tmp") or replaced ("old")."""
    return folder.with_name(f".checkpoint-{folder.name}.{kind}")


def _install(temporary: Path, folder: Path) -> None:
    """Rename a complete checkpoint to its final name. An old one of the same step is moved aside until the
    new one is in place; anything else is moved aside for good.
    """
    aside = _hidden(folder, "old")
    if os.path.lexists(folder):
        if not (folder / _STATE).is_file():
            aside = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
        os.rename(folder, aside)
    os.rename(temporary, folder)
    sync_folder(folder.parent)
    shutil.rmtree(_hidden(folder, "old"), ignore_errors=True)


def _clean(run_dir: Path) -> None:
    """Remove the files of an interrupted save; restore the checkpoint that it had moved aside."""
    for remainder in list(run_dir.iterdir()):
        match = _HIDDEN.fullmatch(remainder.name)
        if match is None:
            continue
        name = run_dir / match["name"]
        if match["kind"] == "old" and not name.exists():
            os.rename(remainder, name)
        elif remainder.is_dir():
            shutil.rmtree(remainder)
        else:
            remainder.unlink()


def _prune(run_dir: Path, step: int, keep: int) -> None:
    """Remove old checkpoints. Failures, as of a mapped file on Windows, are retried in the next save.

    Later steps are of a run that was resumed further back; they stay until they are replaced.
    """
    try:
        best = _pointed(run_dir, "best") if (run_dir / "best").exists() else None
    except (OSError, ValueError):
        return  # remove none if the best is unknown
    old = [s for s in list_checkpoints(run_dir) if s <= step][:-keep]
    for s in old:
        if s != best:
            folder = run_dir / f"step_{s}"
            with contextlib.suppress(OSError):
                # Rename first: a partially removed folder must not look like a checkpoint.
                os.rename(folder, _hidden(folder, "tmp"))
                shutil.rmtree(_hidden(folder, "tmp"))


@contextlib.contextmanager
def _usable(run_dir: Path, which: str | int) -> Iterator[None]:
    """Context that converts read errors to FormatError with a list of the existing checkpoints."""
    try:
        yield
    except ArgumentError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # FormatError and JSON errors are ValueErrors
        raise FormatError(
            f"load_checkpoint: no usable checkpoint {which!r} in {run_dir}",
            why=_reason(error),
            fix=f"load another one; {_existing_steps(run_dir)}",
        ) from None


def _step_of(run_dir: Path, which: str | int) -> int:
    """Step of "latest", "best" or an int."""
    if type(which) is int and which >= 0:
        return which
    if which not in ("latest", "best"):
        raise ArgumentError(
            f"load_checkpoint: which={which!r}",
            why="it is 'latest', 'best', or a step as an int",
            fix="use which='latest'",
        )
    if not (run_dir / which).exists():
        steps = list_checkpoints(run_dir)
        if which == "best" or not steps:
            raise ValueError(f"there is no file {which!r}")
        return steps[-1]  # the first save was interrupted before it wrote `latest`
    return _pointed(run_dir, which)


def _pointed(run_dir: Path, pointer: str) -> int:
    """Step in a pointer file."""
    name = (run_dir / pointer).read_bytes()[:64].decode("utf-8", errors="replace").strip()
    match = _FOLDER.fullmatch(name)
    if match is None:
        raise ValueError(f"the file {pointer!r} holds {name!r} instead of step_N")
    return int(match["step"])


def _folder_of(run_dir: Path, step: int) -> Path:
    """Folder of a step; under its temporary name if a save of the same step was interrupted."""
    folder = run_dir / f"step_{step}"
    for place in (folder, _hidden(folder, "old")):
        if place.is_dir():
            return place
    raise ValueError(f"there is no folder step_{step}")


def _read(folder: Path, step: int) -> Checkpoint:
    """Load and verify one folder; ValueError or OSError if it is unusable."""
    record = json.loads((folder / _STATE).read_bytes().decode("utf-8"))
    if not isinstance(record, dict) or record.keys() != {"version", "step", "crc32", "state"}:
        raise ValueError(f"{_STATE} lacks version, step, crc32 or state")
    if record["version"] != _VERSION or record["step"] != step or not isinstance(record["state"], dict):
        raise ValueError(f"{_STATE} is of version {record['version']!r} and step {record['step']!r}")
    if record["crc32"] != {name: _checksum(folder / name) for name in (_MODEL, _OPTIMIZER)}:
        raise ValueError("the bytes of its files have changed since they were written")
    model, optimizer = (read_safetensors(folder / name).arrays() for name in (_MODEL, _OPTIMIZER))
    return Checkpoint(step, model, optimizer, record["state"], folder)


def _checksum(path: Path) -> int:
    """CRC-32 of a file; misses a change with probability 2^-32."""
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _reason(error: Exception) -> str:
    """One-line reason of an inner error."""
    return f"{error.what}: {error.why}" if isinstance(error, TinyTensorError) else str(error)


def _existing_steps(run_dir: Path) -> str:
    """List of the existing checkpoints, for messages."""
    steps = list_checkpoints(run_dir)
    return f"complete checkpoints there: {', '.join(map(str, steps)) or 'none'}"
