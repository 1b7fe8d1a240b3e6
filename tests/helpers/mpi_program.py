"""What a rank of `mpiexec` does in the tests: `python -m tests.helpers.mpi_program COMMAND`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

import gpt.training.train
import tinytensor as tt
from gpt.__main__ import main
from tinytensor import distributed


def data_of(rank: int) -> np.ndarray:
    return np.random.default_rng(rank).standard_normal(3 * 40_000).astype(np.float32)


def operations() -> int:
    """Each operation against NumPy, small and large, and what cannot be sent."""
    ranks = distributed.init()
    assert ranks is distributed.init("mpi")
    n = ranks.size
    expected = np.sum([data_of(rank).astype(np.float64) for rank in range(n)], axis=0)
    whole, mean = tt.tensor(data_of(ranks.rank)), tt.tensor(data_of(ranks.rank))
    half = tt.tensor([ranks.rank + 0.5], dtype=tt.bfloat16)
    version = whole.version
    handles = [
        ranks.all_reduce(whole),
        ranks.all_reduce(mean, "mean"),
        ranks.broadcast(half, n - 1),
    ]
    for handle in handles:
        handle.wait()
        assert handle.done()
    assert whole.version > version
    np.testing.assert_allclose(whole.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(mean.numpy(), expected / n, atol=1e-5)
    assert half.item() == n - 0.5
    highest = tt.tensor([ranks.rank], dtype=tt.int64)
    ranks.all_reduce(highest, "max").wait()
    assert highest.item() == n - 1
    assert ranks.share(f"from {ranks.rank}", 1) == "from 1"
    for x in (half, tt.ones(2, device="emulated")):
        try:
            ranks.all_reduce(x)
        except (tt.DTypeError, tt.DeviceError):
            continue
        raise AssertionError(f"{x} was sent")
    ranks.barrier()
    line = f"rank {ranks.rank} of {n}: share {ranks.share_of_cores():.3f}, threads {tt.get_num_threads()}\n"
    os.write(1, line.encode())  # at once: lines of several ranks must not mix
    return 0


def overlap() -> int:
    """In the middle of backward, wait for the gradient of what comes last in the model."""
    ranks = distributed.init()
    first, last = tt.nn.Linear(6, 8), tt.nn.Linear(8, 3)
    parallel = distributed.DataParallel([*first.parameters(), *last.parameters()], ranks, bucket_bytes=1)
    seen = []

    def look(_: tt.Tensor) -> None:
        handle = parallel.buckets[0].handle
        assert handle is not None
        handle.wait()
        seen.append(first.weight.grad is None and last.bias.grad.tolist() == [4.5] * 3)

    hidden = first(tt.ones(3, 6))
    hidden.register_hook(look)
    (last(hidden) * (1.0 + ranks.rank)).sum().backward()  # 3 rows, times the mean of 1 and 2
    parallel.synchronize()
    os.write(1, f"arrived before backward ended: {seen[0]}\n".encode())
    return 0


def fail(how: str, *arguments: str) -> int:
    """Train, and let the second rank fail at the fifth step: the first has logged the third by then."""
    step = gpt.training.train.Trainer.step

    def failing(trainer: gpt.training.train.Trainer) -> dict[str, Any]:
        if trainer.run.step == 4 and trainer.run.ranks.rank == 1:
            if how == "raise":
                raise ValueError("bad luck")
            os.kill(os.getpid(), signal.SIGKILL)
        return step(trainer)

    gpt.training.train.Trainer.step = failing  # type: ignore[method-assign]
    return main(arguments)


if __name__ == "__main__":
    sys.exit({"operations": operations, "overlap": overlap, "fail": fail}[sys.argv[1]](*sys.argv[2:]))
