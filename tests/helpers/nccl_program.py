"""`python -m gpt WORDS` on a rank of `mpiexec` that has two GPUs: over a CuPy and an NCCL that pretend.

`python -m tests.helpers.nccl_program WORDS | fail HOW WORDS`
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gpt.__main__ import main
from tests.helpers.cupy_fixtures import install
from tests.helpers.fake_cupy import FakeCupy
from tests.helpers.fake_nccl import FakeNccl
from tests.helpers.mpi_program import fail


def meet(key: object, rank: int, size: int, mine: Any) -> list[Any]:
    """What all ranks contribute, by way of MPI."""
    from mpi4py import MPI

    found: list[Any] = MPI.COMM_WORLD.allgather(mine)
    return found


if __name__ == "__main__":
    fake = install(FakeCupy(gpus=("90", "90")), pytest.MonkeyPatch())
    fake.cuda.nccl = FakeNccl(fake, meet)
    sys.modules["cupy.cuda"] = fake.cuda  # type: ignore[assignment]
    words = sys.argv[1:]
    code = fail(*words[1:]) if words[0] == "fail" else main(words)
    print(f"{len(fake.launches)} launches, {len(fake.cuda.nccl.calls)} calls of NCCL", flush=True)
    sys.exit(code)
