"""`save` and `load`: trees of tensors, numbers and texts in a file, which runs no code when it is read.

It is a safetensors file, so other libraries read its tensors. The tree is JSON in its metadata: what JSON has
(None, True, 3, 0.5, "text", a list) is written as it is, everything else as an object:

    {"tensor": "model.weight"}      a tensor of the file; more names say what is true of it: see _FLAGS
    {"dict": [["lr", 0.1], …]}      pairs, since JSON's keys are strings
    {"tuple": […]}    {"dtype": "float32"}    {"float": "nan"}    {"complex": ["1.0", "-0.0"]}
"""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tinytensor.argument_checks import publish as _publish
from tinytensor.device import Device, cpu
from tinytensor.dtypes import BY_NAME, DType, bfloat16, complex128
from tinytensor.errors import ArgumentError, DTypeError, FormatError, SaveError, TinyTensorError
from tinytensor.files import PathLike
from tinytensor.interop.safetensors_file import Entry, WeightFile, read_safetensors, write_safetensors
from tinytensor.layout import Layout
from tinytensor.ops.views.device_transfer import present, transfer
from tinytensor.ops.views.manipulation import detach
from tinytensor.runtime.cpu.arrays import Array, dtype_of
from tinytensor.storage import Storage
from tinytensor.tensor import Tensor, arr, from_array, is_tensor, same_memory

__all__ = ["load", "save"]

METADATA = "tinytensor"
_FLAGS = ("requires_grad", "parameter", "complex128")  # the last: stored as float64, with an axis of two
_KEYS = (str, int, float, complex, bool, type(None), tuple, DType)
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
E = TypeVar("E", bound=TinyTensorError)


def save(obj: Any, path: PathLike) -> None:
    """Write tensors, and dicts, lists and tuples of them, to a file that `load` reads.

    Args:
        obj: a tensor of any shape, dtype and device; None, a bool, number, string or dtype; or a dict, list
            or tuple of such things, such as the `state_dict()` of a module or an optimizer.
        path: the file, a safetensors file. It is replaced when all is written, so it is never half of one.

    Raises:
        DTypeError: something else, such as a module or a NumPy array; or `path` is no path.
        ArgumentError: lists that contain themselves, or an integer of thousands of digits.

    Memory: a copy of one tensor at a time, if it is not contiguous, and of all that are on a device. A view
        is written as its elements. Tensors that share all of their memory, such as tied weights, are written
        once and share it after `load`; those that share a part are written each.
    Differs from: torch.save, which writes a pickle, and the whole memory of a view. Autograd history,
        gradients and the device are not written; an OrderedDict is read as a dict.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "state"
    >>> model = tt.nn.Linear(2, 3)
    >>> tt.save({"model": model.state_dict(), "step": 7}, path)
    >>> state = tt.load(path)
    >>> state["step"], model.load_state_dict(state["model"])
    (7, ([], []))
    """
    _check_path(path, "save")
    tensors = _Tensors()
    try:
        tree = json.dumps(tensors.encoded(obj, ""))
    except RecursionError:
        raise ArgumentError(
            "save: the lists and dicts nest too deeply",
            why="one of them contains itself, or there are hundreds inside of each other",
            fix="save a flat dict of tensors, such as model.state_dict()",
        ) from None
    except ValueError as error:  # of an integer
        raise ArgumentError("save: a number is too large", why=str(error), fix="save it as str(n)") from None
    try:
        write_safetensors(path, tensors.entries, {METADATA: tree})
    except SaveError as error:
        raise _renamed(error, "write_safetensors", "save") from None


def load(
    path: PathLike, device: str | Device | None = None, *, mmap: bool = False, weights_only: bool = True
) -> Any:
    """Read a file of `save`, or any safetensors file. No code of the file runs.

    Args:
        device: where the tensors go; default "cpu", wherever they were. PyTorch's `map_location`.
        mmap: True maps the file into memory and reads what is used when it is used; the tensors can be
            written to, and the file keeps its values. The file must not become shorter meanwhile.
        weights_only: PyTorch's; changes nothing here, where no file has code.

    Returns:
        What was saved; the tensors of other safetensors files by name.

    Raises:
        MissingFileError: no such file; a FormatError, and a FileNotFoundError.
        FormatError: a damaged file, or one of another format, such as PyTorch's pickles.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "pair"
    >>> tt.save((tt.arange(3), {"lr": 0.1}), path)
    >>> tt.load(path)
    (tensor([0, 1, 2]), {'lr': 0.1})
    """
    _check_path(path, "load")
    place = cpu if device is None else present(device, "load")
    try:
        file = read_safetensors(path, writable=True, mapped=mmap)
    except FormatError as error:
        raise _foreign(path) or _renamed(error, "read_safetensors", "load") from None
    tree = _Tree(file, place, str(path))
    if METADATA not in file.metadata:
        return {name: tree.tensor(name) for name in file.entries}
    try:
        obj = tree.decoded(json.loads(file.metadata[METADATA]))
    except (ValueError, RecursionError) as error:
        if isinstance(error, TinyTensorError):
            raise
        raise tree.broken(f"it is not JSON that can be read: {error}") from None
    if unused := file.entries.keys() - {name for name, *_ in tree.made}:
        raise tree.broken(f"{min(unused)!r} is in the file, and not in the tree")
    return obj


def _check_path(path: object, who: str) -> None:
    if not isinstance(path, str | os.PathLike):
        raise DTypeError(
            f"{who}: a path is expected, not {type(path).__name__}",
            why="files are replaced as a whole, and mapped into memory, by their path",
            fix="give a path; pickle.dump and pickle.load take open files and buffers, and tensors",
        )


class _Tensors:
    """Collects the tensors of a tree, while it is written as JSON."""

    def __init__(self) -> None:
        self.entries: dict[str, Array | Entry] = {}
        self.names: dict[tuple[int, Layout], str] = {}
        self.alive: list[Storage] = []  # so that no two have one id

    def encoded(self, x: Any, where: str) -> Any:
        """x as JSON; `where` is its place in the tree, such as "model.weight"."""
        kind = type(x)
        if x is None or kind in (bool, int, str):
            return x
        if kind is float:
            return x if math.isfinite(x) else {"float": str(x)}
        if kind is complex:
            return {"complex": [repr(x.real), repr(x.imag)]}
        if kind is DType:
            return {"dtype": x.name}
        if kind in (list, tuple):
            items = [self.encoded(item, _inside(where, i)) for i, item in enumerate(x)]
            return items if kind is list else {"tuple": items}
        if kind in (dict, OrderedDict):
            return {"dict": [[self._key(k, where), self.encoded(v, _inside(where, k))] for k, v in x.items()]}
        if is_tensor(x):
            flags = {
                "requires_grad": x.requires_grad,
                "parameter": getattr(x, "_parameter", False),
                "complex128": x.dtype is complex128,
            }
            return {"tensor": self._name(x, where), **{name: True for name, on in flags.items() if on}}
        raise _not_saved(x, where)

    def _key(self, key: Any, where: str) -> Any:
        if not isinstance(key, _KEYS):
            raise _not_saved(key, f"a key of {where}" if where else "a key")
        return self.encoded(key, where)

    def _name(self, x: Tensor, where: str) -> str:
        """Name of a tensor in the file; that of an earlier one if they share all of their memory."""
        place = id(x.storage), x.layout
        if place not in self.names:
            self.alive.append(x.storage)
            text = (where or "tensor").encode("utf-8", "replace").decode()
            name, n = text, 1
            while name in self.entries or name == "__metadata__":
                n += 1
                name = f"{text}.{n}"
            self.names[place] = name
            self.entries[name] = _entry(transfer(detach(x), cpu))
        return self.names[place]


def _entry(x: Tensor) -> Array | Entry:
    """A tensor of the CPU as the file has it."""
    array = arr(x)
    if x.dtype is bfloat16:
        return Entry("BF16", array)
    return np.stack([array.real, array.imag], axis=-1) if x.dtype is complex128 else array


def _inside(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


class _Tree:
    """Makes the tensors of a file, while the tree is read from JSON."""

    def __init__(self, file: WeightFile, device: Device, path: str) -> None:
        self.entries = file.entries
        self.device = device
        self.path = path
        self.made: dict[tuple[Any, ...], Tensor] = {}  # by name and flags

    def decoded(self, node: Any) -> Any:
        """The value that JSON stands for."""
        match node:
            case None | bool() | int() | float() | str():
                return node
            case list():
                return [self.decoded(item) for item in node]
            case {"tensor": str(name), **flags} if flags.keys() <= {*_FLAGS} and all(
                [on is True for on in flags.values()]
            ):
                return self.tensor(name, *[flag in flags for flag in _FLAGS])
            case {"tuple": list(items), **more} if not more:
                return tuple([self.decoded(item) for item in items])
            case {"dict": list(pairs), **more} if not more:
                return self._dict(pairs)
            case {"dtype": str(name), **more} if not more and name in BY_NAME:
                return BY_NAME[name]
            case {"float": str(text), **more} if not more and text in _NOT_FINITE:
                return _NOT_FINITE[text]
            case {"complex": [str(real), str(imag)], **more} if not more:
                return complex(float(real), float(imag))
        raise self.broken(f"{json.dumps(node)[:80]} is not a part of a tree")

    def _dict(self, pairs: list[Any]) -> dict[Any, Any]:
        if not all([type(pair) is list and len(pair) == 2 for pair in pairs]):
            raise self.broken("a dict is not a list of pairs")
        keys = [self.decoded(key) for key, _ in pairs]
        try:
            made = dict(zip(keys, [self.decoded(value) for _, value in pairs], strict=True))
        except TypeError:  # a key that has no hash
            made = {}
        if len(made) != len(keys) or not all([isinstance(key, _KEYS) for key in made]):
            raise self.broken("a dict has a key twice, or one that is no key")
        return made

    def tensor(
        self, name: str, requires_grad: bool = False, parameter: bool = False, complex128: bool = False
    ) -> Tensor:
        """The tensor of a name; the same one each time, or one on its memory if the flags differ."""
        base = name, complex128
        if base not in self.made:
            self.made[base] = transfer(self._on_cpu(name, complex128), self.device)
        if not (requires_grad or parameter):
            return self.made[base]
        if not self.made[base].dtype.is_floating:
            raise self.broken(f"{name!r} is of dtype {self.made[base].dtype}, which has no gradients")
        flagged = name, requires_grad, parameter
        if flagged not in self.made:
            self.made[flagged] = same_memory(self.made[base])
            self.made[flagged]._requires = requires_grad
            if parameter:
                self.made[flagged]._parameter = True
        return self.made[flagged]

    def _on_cpu(self, name: str, complex128: bool) -> Tensor:
        if name not in self.entries:
            raise self.broken(f"{name!r} is in the tree, and not in the file")
        stored = self.entries[name]
        array = stored.array
        if complex128:
            if stored.dtype != "F64" or array.shape[-1:] != (2,):
                raise self.broken(f"{name!r} is complex128, and of {stored.dtype} and shape {stored.shape}")
            array = array.view(np.complex128).reshape(array.shape[:-1])
        return from_array(array, bfloat16 if stored.dtype == "BF16" else dtype_of(array))

    def broken(self, why: str) -> FormatError:
        """The error for a tree that `save` did not write."""
        return FormatError(
            f"load: {self.path} has metadata that tt.save did not write",
            why=why,
            fix="write the file again; safetensors.numpy.load_file reads its tensors alone",
        )


def _not_saved(x: object, where: str) -> DTypeError:
    kind = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
    if hasattr(x, "state_dict"):
        fix = (
            f"tt.save(x.state_dict(), path), and x.load_state_dict(tt.load(path)) of a new {type(x).__name__}"
        )
    elif isinstance(x, np.ndarray | np.generic):
        fix = "tt.asarray(x) makes it a tensor, x.item() a number, x.tolist() lists"
    else:
        fix = "save what it is made of; pickle writes other objects, and runs code when it reads"
    return DTypeError(
        f"save: {where or 'the object'} is of type {kind}",
        why="a file has tensors, numbers, bools, strings, None and dtypes, in dicts, lists and tuples",
        fix=fix,
    )


_FORMATS = {
    b"PK\x03\x04": (
        "a zip archive, as torch.save and numpy.savez write",
        "in PyTorch, safetensors.torch.save_file(torch.load(path, weights_only=True), new), then "
        "tt.load(new); if it is NumPy's, np.load(path)",
    ),
    b"\x80": (
        "a pickle, which can run any code when it is read",
        "if you trust it, read it with what wrote it, and save its arrays: safetensors.torch.save_file",
    ),
    b"\x93NUMPY": ("a file of numpy.save", "tt.asarray(np.load(path))"),
}


def _foreign(path: PathLike) -> FormatError | None:
    """The error for a file of a known other format, by its first bytes."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        begin = file.read(8)
    for mark, (what, fix) in _FORMATS.items():
        if begin.startswith(mark):
            return FormatError(
                f"load: {path} is {what}",
                why="tt.load reads safetensors files, which hold data alone",
                fix=fix,
            )
    return None


def _renamed(error: E, old: str, new: str) -> E:
    """The error, of a function that the user called instead of the one that raised it."""
    return type(error)(error.what.replace(old, new, 1), why=error.why, fix=error.fix)


if not TYPE_CHECKING:
    _publish(globals(), {})
