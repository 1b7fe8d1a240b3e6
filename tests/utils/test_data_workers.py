"""Workers of a DataLoader: the same batches as without, errors with a traceback, and no end that hangs."""

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.source import ROOT
from tinytensor.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    WorkerError,
    get_worker_info,
)

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Draws(Dataset[Any]):
    """Samples with random numbers of the three generators."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> Any:
        drawn = [random.random(), np.random.rand(), tt.rand(1).item()]  # noqa: NPY002
        return {"i": tt.full((2, 3), index, dtype="bfloat16"), "drawn": np.array(drawn), "name": str(index)}


class Odd(Dataset[Any]):
    """Does something odd at one sample."""

    def __init__(self, what: str, at: int = 5) -> None:
        self.what = what
        self.at = at

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        if index == self.at:
            if self.what == "raise":
                raise ValueError(f"sample {index} is broken")
            if self.what == "raise ours":
                return tt.ones(2) + tt.ones(3)
            if self.what == "raise odd":
                raise Picky(1, 2)
            if self.what == "exit":
                sys.exit(3)
            if self.what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "hang":
                time.sleep(600)
            if self.what == "device":
                return tt.ones(1, device="emulated")
            return lambda: None  # cannot be pickled
        return index


class Picky(Exception):
    """Cannot be unpickled: its arguments are not those of its constructor."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Shards(IterableDataset[int]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


def first(batch: list[Any]) -> Any:
    return batch[0]


def content(batch: Any) -> Any:
    return batch["i"].tolist(), batch["drawn"].tolist(), batch["name"]


def epochs(workers: int, **options: Any) -> list[list[Any]]:
    loader: DataLoader[Any] = DataLoader(
        Draws(), 3, shuffle=True, num_workers=workers, generator=tt.Generator(4), **options
    )
    return [[content(batch) for batch in loader] for _ in range(2)]


def ended() -> bool:
    """Whether no worker of this process is left."""
    gc.collect()
    return not [p for p in multiprocessing.active_children() if p.name.startswith("DataLoader")]


def test_batches_do_not_depend_on_the_number_of_workers() -> None:
    plain = epochs(0)
    one = epochs(1)
    assert [[(i, name) for i, _, name in e] for e in plain] == [[(i, name) for i, _, name in e] for e in one]
    for workers in (2, 3):
        assert epochs(workers, prefetch_factor=workers) == one
    assert epochs(2, persistent_workers=True) == one
    draws = np.concatenate([np.ravel(drawn) for e in one for _, drawn, _ in e])
    assert len(set(draws.tolist())) == draws.size  # no batch repeats the numbers of another
    assert ended()


def test_other_ways_to_start_processes() -> None:
    expected = epochs(1)
    for method in {*multiprocessing.get_all_start_methods()} - {multiprocessing.get_start_method()}:
        assert epochs(1, multiprocessing_context=method, persistent_workers=True) == expected
    assert ended()


def test_tensors_arrive_as_their_own() -> None:
    data = TensorDataset(tt.ones(4, 3), tt.zeros(4, 2, dtype="complex64"))
    batches = list(DataLoader(data, 2, num_workers=1))
    for x, z in batches:
        x += 1.0  # they may be written to
        assert (x.dtype, z.dtype) == (tt.float32, tt.complex64)
        assert not x.requires_grad
    assert data.tensors[0].sum().item() == 12


def test_a_stream_is_divided_by_its_dataset() -> None:
    def found(n: int, workers: int, **options: Any) -> list[list[int]]:
        return [batch.tolist() for batch in DataLoader(Shards(n), 2, num_workers=workers, **options)]

    assert found(7, 0) == [[0, 1], [2, 3], [4, 5], [6]]
    assert found(7, 2) == [[0, 2], [1, 3], [4, 6], [5]]
    assert found(7, 2, drop_last=True) == [[0, 2], [1, 3], [4, 6]]
    assert found(1, 3) == [[0]]
    assert found(0, 2) == []
    loader: DataLoader[Any] = DataLoader(Shards(4), None, num_workers=2, persistent_workers=True)
    assert [list(loader) for _ in range(2)] == [[0, 1, 2, 3]] * 2


def seeded(number: int) -> None:
    np.random.seed(number)  # noqa: NPY002
    os.environ["WORKER"] = f"{number} of {get_worker_info().num_workers}"  # type: ignore[union-attr]


class Told(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return os.environ["WORKER"], np.random.rand()  # noqa: NPY002


def test_worker_init_fn_decides_the_seeds() -> None:
    loader: DataLoader[Any] = DataLoader(Told(), 1, num_workers=2, worker_init_fn=seeded)
    streams = [np.random.RandomState(number) for number in range(2)]
    for n, (name, drawn) in enumerate(loader):
        assert name == (f"{n % 2} of 2",)
        assert drawn.item() == streams[n % 2].rand()


def test_persistent_workers_stay_and_go_with_the_loader() -> None:
    def processes() -> set[int | None]:
        return {p.pid for p in multiprocessing.active_children()}

    loader: DataLoader[Any] = DataLoader(range(9), 2, num_workers=2, persistent_workers=True)
    expected = [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert [b.tolist() for b in loader] == expected
    before = processes()
    for _ in loader:
        break  # what the workers made in advance belongs to no later epoch
    assert [b.tolist() for b in loader] == expected
    assert processes() == before != set()
    old, new = iter(loader), iter(loader)
    assert (next(old).tolist(), next(new).tolist()) == ([0, 1], [0, 1])
    with pytest.raises(WorkerError, match="ended by a later one"):
        next(old)
    del loader, old, new
    assert ended()


# ---- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("raise", ValueError, "sample 5 is broken"),
        ("raise ours", tt.ShapeError, "add: shapes"),
        ("raise odd", WorkerError, "Picky in worker .: 1 and 2"),
        ("exit", WorkerError, "SystemExit in worker"),
        ("device", tt.DeviceError, "the tensor is on emulated"),
        ("lambda", Exception, "pickle"),
    ],
)
def test_an_error_of_a_worker_is_raised_with_its_traceback(
    what: str, error: type[Exception], text: str
) -> None:
    collate = first if what in ("device", "lambda") else None
    batches = iter(DataLoader(Odd(what), 1, num_workers=2, collate_fn=collate))
    assert len([next(batches) for _ in range(5)]) == 5
    with pytest.raises(error, match=text) as caught:
        next(batches)
    (note,) = caught.value.__notes__
    assert note.startswith("Raised in worker 1 of a DataLoader:\nTraceback")
    if what.startswith("raise"):
        assert "in __getitem__" in note
    assert ended()


def broken(number: int) -> None:
    raise RuntimeError(f"worker {number} cannot begin")


def test_an_error_of_worker_init_fn() -> None:
    with pytest.raises(RuntimeError, match="worker 0 cannot begin"):
        list(DataLoader(range(4), num_workers=2, worker_init_fn=broken))
    assert ended()


def test_what_cannot_be_pickled_for_a_new_process() -> None:
    with pytest.raises(Exception, match=r"(?i)pickle") as caught:
        list(DataLoader(range(4), num_workers=1, collate_fn=lambda x: x, multiprocessing_context="spawn"))
    assert "top level of a module" in caught.value.__notes__[0]
    assert ended()


# ---- the end -----------------------------------------------------------------------------------------------


@unix
def test_a_killed_worker() -> None:
    loader: DataLoader[Any] = DataLoader(Odd("die"), 2, num_workers=2)
    with pytest.raises(WorkerError, match="worker 0 was killed by SIGKILL"):
        list(loader)
    assert ended()


def test_a_worker_that_takes_too_long() -> None:
    loader: DataLoader[Any] = DataLoader(Odd("hang", at=1), 1, num_workers=2, timeout=0.5)
    with pytest.raises(WorkerError, match=r"no batch from worker 1 within 0\.5 s"):
        list(loader)
    assert ended()


def test_leaving_a_loop_ends_the_workers() -> None:
    for _ in DataLoader(Odd("raise", at=7), 1, num_workers=2):
        break
    assert ended()


PROGRAM = """
    import os, sys, time
    import tinytensor as tt
    from tinytensor.utils.data import DataLoader, get_worker_info
    class Slow:
        def __len__(self):
            return 1000
        def __getitem__(self, i):
            time.sleep(0.01)
            return os.getpid()
    if __name__ == "__main__":
        loader = DataLoader(Slow(), 2, num_workers=2, multiprocessing_context=sys.argv[1])
        for n, batch in enumerate(loader):
            print(batch[0].item(), flush=True)
            if n == 1:
                print("ready", flush=True)
                ENDING
"""


@unix
@pytest.mark.parametrize(
    ("method", "how"),
    [("fork", "interrupt"), ("fork", "kill"), ("fork", "return"), ("fork", "exit"), ("spawn", "interrupt")],
)
def test_no_worker_outlives_its_program(method: str, how: str, tmp_path: Any) -> None:
    ending = {"return": "it = iter(loader); next(it); break", "exit": "os._exit(1)"}.get(how, "pass")
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM.replace("ENDING", ending)))
    program = subprocess.Popen(
        [sys.executable, script, method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C goes to all processes of the terminal
    )
    assert program.stdout is not None
    assert program.stdout.readline() != program.stdout.readline()  # two workers
    assert program.stdout.readline() == "ready\n"
    if how == "interrupt":
        os.killpg(program.pid, signal.SIGINT)
    elif how == "kill":
        program.kill()
    _, errors = program.communicate(timeout=30)  # ends when all that write to the pipes have ended
    if how == "interrupt":
        assert errors.count("Traceback") == 1, errors  # of the program, and of no worker
        assert errors.rstrip().endswith("KeyboardInterrupt")
    elif how in ("return", "exit"):
        assert errors == ""
