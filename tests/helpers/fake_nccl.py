"""An NCCL without GPUs: the part of `cupy.cuda.nccl` that is called, over the host memory of a `FakeCupy`.

An operation waits in its stream like all work there; when it is run, it meets those of the other ranks and
really reduces. What NCCL refuses is refused: a GPU that two ranks want, memory or a stream of another GPU, an
unknown dtype.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.dry_gpu.stand_in import CUDARuntimeError
from tests.helpers.fake_cupy import FakeCupy
from tests.helpers.fake_streams import HANDLE

Array = np.ndarray[Any, Any]
Meet = Callable[[object, int, int, Any], list[Any]]
CODES = {0: "i1", 1: "u1", 2: "i4", 3: "u4", 4: "i8", 5: "u8", 6: "f2", 7: "f4", 8: "f8", 9: "u2"}
HALF, BFLOAT16 = 6, 9
SUM, MAX, MIN, AVG = 0, 2, 3, 4


class NcclError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        names = {4: "INVALID_ARGUMENT", 5: "INVALID_USAGE", 6: "REMOTE_ERROR"}  # CuPy's have no 7, either
        super().__init__(f"NCCL_ERROR_{names[status]}")


class Table:
    """Where ranks that are threads put what they contribute; each goes on when all have come."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.said: dict[object, dict[int, Any]] = {}

    def __call__(self, key: object, rank: int, size: int, mine: Any) -> list[Any]:
        with self.changed:
            said = self.said.setdefault(key, {})
            said[rank] = mine
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: len(said) == size, timeout=30):
                raise TimeoutError(f"ranks {sorted(said)} of {size} came")
            return [said[rank] for rank in range(size)]


class FakeNccl:
    """Stands in for the module `cupy.cuda.nccl`.

    Attributes:
        calls: rank, name, number of elements or bytes, and how many kernels had been launched before.
        broken: status that the next look finds.
    """

    NCCL_SUM, NCCL_MAX, NCCL_MIN, NCCL_AVG = SUM, MAX, MIN, AVG
    NCCL_INT8, NCCL_UINT8, NCCL_INT32, NCCL_UINT32, NCCL_INT64, NCCL_UINT64 = range(6)
    NCCL_FLOAT16, NCCL_FLOAT32, NCCL_FLOAT64, NCCL_BFLOAT16 = range(6, 10)
    NcclError = NcclError

    def __init__(self, fake: FakeCupy, meet: Meet | None = None) -> None:
        self.fake, self.meet = fake, meet or Table()
        self.available = True
        self.broken = 0
        self.calls: list[tuple[int, str, int, int]] = []
        self.get_unique_id = lambda: np.random.default_rng().bytes(128)

    def NcclCommunicator(self, size: int, code: bytes, rank: int) -> Comm:
        assert isinstance(code, bytes)
        assert len(code) == 128
        return Comm(self, size, code, rank)


class Comm:
    """One rank's end of a communicator, for the GPU that was current when it was made."""

    def __init__(self, nccl: FakeNccl, size: int, code: bytes, rank: int) -> None:
        self.nccl, self.fake = nccl, nccl.fake
        self.size, self.code, self.rank = size, code, rank
        self.device = self.fake.here.device
        self.number = 0
        self.aborted = False
        if len(set(nccl.meet((code, 0), rank, size, self.device))) < size:
            raise NcclError(5)

    def allReduce(self, read: int, written: int, n: int, kind: int, reduction: int, stream: int) -> None:
        nbytes = n * size_of(kind)
        self._queue(
            ("allReduce", n, kind, reduction),
            (read, nbytes),
            (written, nbytes),
            stream,
            lambda parts: reduced(parts, kind, reduction),
        )

    def broadcast(self, read: int, written: int, n: int, kind: int, root: int, stream: int) -> None:
        nbytes = n * size_of(kind)
        words = "broadcast", n, kind, root
        self._queue(words, (read, nbytes), (written, nbytes), stream, lambda parts: parts[root])

    def check_async_error(self) -> None:
        if self.nccl.broken:
            raise NcclError(self.nccl.broken)

    def abort(self) -> None:
        self.aborted = True

    def _queue(
        self,
        words: tuple[Any, ...],
        source: tuple[int, int],
        target: tuple[int, int],
        stream: int,
        result: Callable[[list[bytes]], bytes],
    ) -> None:
        if self.aborted:
            raise NcclError(4)
        if self.fake.here.device != self.device:
            raise CUDARuntimeError(HANDLE)
        for ptr, nbytes in (source, target):
            self.fake.check(ptr, nbytes, self.device)
        self.number += 1
        number = self.number
        self.nccl.calls.append((self.rank, words[0], words[1], len(self.fake.launches)))

        def work() -> None:
            mine = words, ctypes.string_at(*source)
            said = self.nccl.meet((self.code, number), self.rank, self.size, mine)
            assert len({other for other, _ in said}) == 1, "NCCL would hang, or mix up bytes"
            ctypes.memmove(target[0], result([part for _, part in said]), target[1])

        self.fake.stream_at(stream).add(work)


def size_of(kind: int) -> int:
    if kind not in CODES:
        raise NcclError(4)
    return np.dtype(CODES[kind]).itemsize


def reduced(parts: list[bytes], kind: int, reduction: int) -> bytes:
    """In the order of the ranks; 16-bit numbers by way of 32 bits."""
    arrays: list[Array] = [np.frombuffer(part, CODES[kind]) for part in parts]
    if kind == BFLOAT16:
        arrays = [(a.astype("u4") << 16).view("f4") for a in arrays]
    elif kind == HALF:
        arrays = [a.astype("f4") for a in arrays]
    if reduction in (MAX, MIN):
        total = (np.max if reduction == MAX else np.min)(arrays, axis=0)
    else:
        total = arrays[0].copy()
        for other in arrays[1:]:
            total += other
        total = total / len(arrays) if reduction == AVG else total
    if kind == BFLOAT16:
        bits = total.astype("f4").view("u4")
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2").tobytes()
    return total.astype(CODES[kind]).tobytes()
