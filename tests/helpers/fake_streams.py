"""Streams, events and graphs of the CuPy without a GPU (fake_cupy.py), and the errors of CUDA.

Streams are lazy: work stays in a queue until a call waits for it. After a kernel has failed, each call of
CUDA fails, as on a GPU, but for `eventQuery`, which returns the status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.dry_gpu.stand_in import CUDARuntimeError

Work = Callable[[], None]
HANDLE, MEMORY, VALUE, CAPTURE, FAULT, NOT_READY = 400, 2, 1, 900, 700, 600  # statuses
OUT_OF_RESOURCES, NOT_TOGETHER = 701, 720
LEGACY = 1  # the handle of the default stream, in protocols that refuse 0


class Stream:
    """A stream of one device. Its handle is free for a new stream when it is destroyed."""

    def __init__(self, fake: Any, ptr: int, device: int) -> None:
        self.fake, self.ptr, self.device_id = fake, ptr, device
        self.queue: list[Work] = []
        self.done = 0  # how many were run
        self.captured: list[Work] | None = None

    def __del__(self) -> None:
        if self.done < len(self.queue):  # destroyed with work in flight, which goes on
            self.fake.orphans += self.queue[self.done :]

    def add(self, work: Work) -> None:
        self.fake.look()
        if self.fake.here.device != self.device_id:
            raise CUDARuntimeError(HANDLE)
        (self.queue if self.captured is None else self.captured).append(work)

    def run(self, until: int) -> None:
        while self.done < until:
            self.fake.look()
            self.done += 1
            try:
                self.queue[self.done - 1]()
            except CUDARuntimeError as error:
                self.fake.fault = error.status
                raise

    def synchronize(self) -> None:
        self.fake.look()
        if self.captured is not None:
            raise CUDARuntimeError(CAPTURE)
        self.run(len(self.queue))

    def wait_event(self, event: Event) -> None:
        self.add(event.again())

    def record(self, event: Event | None = None) -> Event:
        made = Event(self.fake) if event is None else event
        made.record(self)
        return made

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Graph:
        captured, self.captured = self.captured, None
        if self.fake.broken_capture:
            raise CUDARuntimeError(CAPTURE)
        assert captured is not None
        return Graph(captured)

    def __enter__(self) -> Stream:
        here = self.fake.here
        if here.device != self.device_id:
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with the "
                f"current device ({here.device})"
            )
        here.entered.setdefault(self.device_id, []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.here.entered[self.device_id].pop()


class Graph:
    def __init__(self, work: list[Work]) -> None:
        self.work = work

    def launch(self, stream: Stream) -> None:
        for work in self.work:
            stream.add(work)


class Event:
    def __init__(self, fake: Any, disable_timing: bool = False) -> None:
        self.fake, self.timed = fake, not disable_timing
        self.mark: tuple[Stream | None, int] = None, 0
        self.ptr = id(self)
        fake.events[self.ptr] = self

    @property
    def done(self) -> bool:
        return bool(self.fake.runtime.eventQuery(self.ptr) == 0)  # an error, too, is "not done"

    def record(self, stream: Stream) -> None:
        self.fake.look()
        if stream.device_id != self.fake.here.device:
            raise CUDARuntimeError(HANDLE)
        self.mark = stream, len(stream.queue)

    def synchronize(self) -> None:
        self.fake.look()
        stream, until = self.mark
        if stream is not None:
            stream.run(until)

    def again(self) -> Work:
        """What waits for the mark as it stands now."""
        stream, until = self.mark
        return lambda: stream.run(until) if stream else None


def query(fake: Any, ptr: int) -> int:
    """`eventQuery`: never raises."""
    stream, until = fake.events[ptr].mark
    if fake.fault:
        return int(fake.fault)
    return 0 if stream is None or stream.done >= until else NOT_READY


def elapsed(first: Event, last: Event) -> float:
    """`get_elapsed_time`, in milliseconds."""
    if not (first.timed and last.timed):
        raise CUDARuntimeError(HANDLE)
    return 2.5
