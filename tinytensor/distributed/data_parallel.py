"""Data parallelism: every rank has the whole model and a part of each batch; gradients are averaged.

Gradients are stored in buckets: flat tensors, of which each `.grad` is a view. A bucket is all-reduced as
soon as backward has filled it, while backward continues with earlier layers. Buckets are reduced in the same
order on all ranks, since ranks match operations by their order.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np

import tinytensor as tt
from tinytensor.distributed.communicator import CommunicationError, Communicator, Handle
from tinytensor.tensor import arr

_ALIGN = 16  # elements: each gradient begins at a multiple of 64 bytes


class Bucket:
    """Gradients of some parameters, of one dtype, in one flat tensor, with zeros between them."""

    def __init__(self, params: Sequence[tt.Tensor]) -> None:
        self.params = list(params)
        starts, end = [], 0
        for p in params:
            starts.append(end)
            end += -(-p.size // _ALIGN) * _ALIGN
        with tt.no_grad():
            self.flat = tt.zeros(end, dtype=params[0].dtype, device=params[0].device)
            self.views = [
                self.flat[start : start + p.size].reshape(p.shape)
                for start, p in zip(starts, params, strict=True)
            ]
        self.missing: set[int] = set()  # parameters whose gradient is not complete in this step
        self.handle: Handle | None = None

    def take(self, index: int) -> None:
        """Copy the gradient of a parameter into the bucket, unless it is already a view of it."""
        p, view = self.params[index], self.views[index]
        if p.grad is view:
            return
        if p.grad is None:
            view.zero_()
        else:
            view.copy_(p.grad)
        p.grad = view


class DataParallel:
    """Averages the gradients of a model over all ranks, overlapped with backward.

    The constructor broadcasts the parameters of rank 0. In each step call backward on the mean loss of the
    rank's own examples, then `synchronize()`; after that `.grad` is the same on all ranks, and clipping,
    scaling and optimizers work as usual. With several backward passes in a step, run all but the last inside
    `accumulating()`.

    Args:
        model: a module, or parameters; those that do not require grad are only broadcast at the start.
        bucket_bytes: size of a bucket. Small ones are sent sooner, large ones need fewer messages.

    Attributes:
        bytes_sent: total bytes of gradients sent by each rank.
        seconds_waited: total time that the host waited in `synchronize`: communication not overlapped with
            backward. On GPUs the host does not wait.

    Source: Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704, sections 3.2 and 4.2.

    >>> from tinytensor.distributed import DataParallel, run_local
    >>> def train(ranks):
    ...     layer = tt.nn.Linear(1, 1, bias=False)
    ...     parallel = DataParallel(layer, ranks)
    ...     layer(tt.tensor([[float(ranks.rank)]])).sum().backward()
    ...     parallel.synchronize()
    ...     return layer.weight.grad.item()
    >>> run_local(2, train)
    [0.5, 0.5]
    """

    def __init__(
        self, model: tt.nn.Module | Sequence[tt.Tensor], ranks: Communicator, *, bucket_bytes: int = 4 << 20
    ) -> None:
        if bucket_bytes < 1:
            raise tt.ArgumentError(
                f"DataParallel: bucket_bytes={bucket_bytes}",
                why="it is a size in bytes, at least 1",
                fix="bucket_bytes=4 << 20",
            )
        self.ranks = ranks
        self.params = list(model.parameters() if isinstance(model, tt.nn.Module) else model)
        self.bytes_sent, self.seconds_waited = 0, 0.0
        self._accumulating = False
        self._next = 0  # index of the next bucket to send
        self._check_shapes()
        for handle in [ranks.broadcast(p.detach()) for p in self.params]:
            handle.wait()
        self.check_equal()
        # backward reaches the last parameters first
        self.buckets = _filled([p for p in reversed(self.params) if p.requires_grad], bucket_bytes)
        self._hooks = [
            p.register_post_accumulate_grad_hook(self._hook(bucket, index))
            for bucket in self.buckets
            for index, p in enumerate(bucket.params)
        ]
        self._begin()

    # ---- a step -----------------------------------------------------------------------------------------

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Context manager for gradient accumulation: backward adds to local gradients only."""
        before, self._accumulating = self._accumulating, True
        try:
            yield
        finally:
            self._accumulating = before

    def synchronize(self) -> None:
        """Send the remaining buckets, and wait until `.grad` of all parameters is the mean over all ranks.

        A parameter without a gradient on this rank counts as 0.
        """
        with tt.no_grad():
            for bucket in self.buckets:
                for index in sorted(bucket.missing):
                    bucket.take(index)
                bucket.missing.clear()
            self._send_ready()
            begun = perf_counter()
            for bucket in self.buckets:
                assert bucket.handle is not None, "all were sent"
                bucket.handle.wait()
                bucket.handle = None
        self.seconds_waited += perf_counter() - begun
        self._begin()

    def _begin(self) -> None:
        self._next = 0
        for bucket in self.buckets:
            bucket.missing = set(range(len(bucket.params)))

    def _hook(self, bucket: Bucket, index: int) -> Callable[[tt.Tensor], None]:
        def complete(_: tt.Tensor) -> None:
            if self._accumulating:
                return
            if index not in bucket.missing:
                raise tt.GradError(
                    "backward: a parameter got a second gradient after its bucket was filled",
                    why="several backward passes ran in one step",
                    fix="run all but the last inside accumulating(), and call synchronize() after it",
                )
            bucket.take(index)
            bucket.missing.discard(index)
            self._send_ready()

        return complete

    def _send_ready(self) -> None:
        """Start the all-reduce of the next buckets that are full."""
        while self._next < len(self.buckets) and not self.buckets[self._next].missing:
            bucket = self.buckets[self._next]
            bucket.handle = self.ranks.all_reduce(bucket.flat, "mean")
            self.bytes_sent += bucket.flat.nbytes
            self._next += 1

    # ---- equality ---------------------------------------------------------------------------------------

    def _check_shapes(self) -> None:
        words = [f"{p.shape} {p.dtype} {p.requires_grad}" for p in self.params]
        _compare(self.ranks, [zlib.crc32(";".join(words).encode())], "the models have different parameters")

    def check_equal(self) -> None:
        """Check that all parameters are bitwise equal on all ranks."""
        sums = [zlib.crc32(arr(p.detach().cpu()).reshape(-1).view(np.uint8).data) for p in self.params]
        _compare(self.ranks, sums, "the parameters are no longer the same", self.params[0].device)


def _compare(ranks: Communicator, numbers: list[int], what: str, device: tt.Device | str = "cpu") -> None:
    """Raise on all ranks unless they pass the same numbers."""
    highest = tt.tensor([*numbers, *[-n for n in numbers]], dtype=tt.int64, device=device)
    ranks.all_reduce(highest, "max").wait()
    found = highest.tolist()
    if differing := [i for i in range(len(numbers)) if found[i] != -found[i + len(numbers)]]:
        raise CommunicationError(
            f"DataParallel: {what}; rank {ranks.rank} of {ranks.size} differs at index {differing[0]}",
            why="every rank trains the same model, from the same weights, with the same gradients",
            fix="use the same config and seed on all ranks, and change parameters identically on all of them",
        )


def _filled(params: Sequence[tt.Tensor], nbytes: int) -> list[Bucket]:
    """Buckets of about `nbytes` bytes, in the order of the parameters."""
    groups: list[list[tt.Tensor]] = []
    size = 0
    for p in params:
        same = bool(groups) and groups[-1][-1].dtype is p.dtype and groups[-1][-1].device is p.device
        if not same or size + p.nbytes > nbytes:
            groups.append([])
            size = 0
        groups[-1].append(p)
        size += p.nbytes
    return [Bucket(group) for group in groups]
