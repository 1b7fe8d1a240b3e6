"""Ranks with a GPU each, over a CuPy and an NCCL that pretend: what arrives, in which order, what is said."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.distributed.test_distributed import assert_same, data_of, train
from tests.helpers.cupy_fixtures import install, needs_nvrtc
from tests.helpers.fake_cupy import FakeCupy
from tests.helpers.fake_nccl import FakeNccl
from tests.helpers.fake_streams import FAULT
from tinytensor import distributed
from tinytensor.device import as_device
from tinytensor.dispatch import launch
from tinytensor.dispatch.launch import view_of
from tinytensor.distributed import (
    CommunicationError,
    Communicator,
    DataParallel,
    LocalCommunicator,
    NcclCommunicator,
    run_local,
)
from tinytensor.runtime import _runtimes as runtimes
from tinytensor.runtime.cuda.runtime import CupyRuntime

GPUS = 3


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> FakeNccl:
    fake = install(FakeCupy(gpus=("90",) * GPUS), monkeypatch)
    fake.cuda.nccl = FakeNccl(fake)
    monkeypatch.setitem(sys.modules, "cupy.cuda", fake.cuda)
    for index in range(GPUS):
        device = as_device(f"cuda:{index}")
        monkeypatch.setitem(runtimes, device, CupyRuntime(device))
    monkeypatch.setattr(launch, "_launches", {})  # those of another test know its runtime
    distributed._with_gpus.cache_clear()
    found: FakeNccl = fake.cuda.nccl
    return found


def on_gpus(size: int, work: Callable[[NcclCommunicator], Any]) -> list[Any]:
    return run_local(size, lambda host: work(NcclCommunicator(host)))


# ---- operations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    ("reduction", "of"), [("sum", np.sum), ("mean", np.mean), ("max", np.max), ("min", np.min)]
)
def test_reductions_are_those_of_numpy(nccl: FakeNccl, size: int, reduction: Any, of: Any) -> None:
    def work(ranks: NcclCommunicator) -> Any:
        whole = tt.tensor(data_of(ranks.rank), device=ranks.device)
        version = whole.version
        ranks.all_reduce(whole, reduction).wait()
        assert whole.version > version
        return whole.cpu().numpy()

    results = on_gpus(size, work)
    expected = of([data_of(rank, dtype=np.float64) for rank in range(size)], axis=0)
    for whole in results:
        np.testing.assert_allclose(whole, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["bfloat16", "float16", "float32", "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64"],
)
def test_dtypes_that_nccl_computes_with(nccl: FakeNccl, name: str) -> None:
    def work(ranks: NcclCommunicator) -> list[float]:
        x = tt.tensor([1, 2 + ranks.rank], dtype=name).to(ranks.device)
        ranks.all_reduce(x).wait()
        return x.cpu().astype(tt.float64).tolist()

    assert on_gpus(2, work) == [[2.0, 5.0]] * 2


@pytest.mark.parametrize("name", ["bool", "int16", "uint16"])
def test_dtypes_that_are_only_carried(nccl: FakeNccl, name: str) -> None:
    def work(ranks: NcclCommunicator) -> Any:
        mine = tt.tensor([ranks.rank, 1]).astype(name).to(ranks.device)
        ranks.broadcast(mine, 1).wait()
        with pytest.raises(tt.DTypeError, match=name):
            ranks.all_reduce(mine)
        return mine.cpu().astype(tt.int64).tolist()

    assert on_gpus(2, work) == [[1, 1]] * 2


def test_what_is_on_the_cpu_goes_by_the_other_way(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> Any:
        x = tt.tensor([float(ranks.rank)])
        ranks.all_reduce(x).wait()
        ranks.barrier()
        return x.item(), ranks.share(f"rank {ranks.rank}: é", 1), ranks.share_of_cores()

    assert on_gpus(3, work) == [(3.0, "rank 1: é", 1.0)] * 3
    assert nccl.calls == []


def test_an_empty_tensor_is_not_sent(nccl: FakeNccl) -> None:
    on_gpus(2, lambda ranks: ranks.all_reduce(tt.zeros(0, device=ranks.device)).wait())
    assert nccl.calls == []


def test_one_process_is_a_rank_too(nccl: FakeNccl) -> None:
    ranks = distributed.init("nccl")
    assert ranks is distributed.init("nccl")
    assert (ranks.rank, ranks.size, str(ranks.device)) == (0, 1, "cuda")
    x = tt.ones(2, device="cuda")
    ranks.all_reduce(x, "mean").wait()
    assert x.tolist() == [1.0, 1.0]


@pytest.mark.gpu
def test_one_rank_on_a_gpu() -> None:
    try:
        ranks = NcclCommunicator(LocalCommunicator())
    except CommunicationError as error:
        pytest.skip(str(error))
    x = tt.arange(6, dtype=tt.bfloat16, device=ranks.device) + 1.0
    for handle in (ranks.broadcast(x), ranks.all_reduce(x, "mean")):
        handle.wait()
    assert x.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


# ---- order -----------------------------------------------------------------------------------------------


@needs_nvrtc
def test_an_operation_waits_for_what_it_sends_and_for_nothing_else(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> Any:
        main: Any = runtimes[ranks.device].stream  # type: ignore[attr-defined]
        x = tt.tensor([1.0, float(ranks.rank)], device=ranks.device)
        y = x * 3.0
        handle = ranks.all_reduce(y)
        queued = len(main.queue)
        z = x + 1.0
        assert not handle.done()
        ranks._stream.synchronize()
        assert handle.done()
        # The GPU did what lies before the operation; what was queued behind it has not begun.
        assert main.done <= queued < len(main.queue)
        return y.tolist(), z.tolist()

    assert on_gpus(2, work) == [([6.0, 3.0], [2.0, 1.0]), ([6.0, 3.0], [2.0, 2.0])]


@needs_nvrtc
def test_the_host_does_not_wait(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> Any:
        main: Any = runtimes[ranks.device].stream  # type: ignore[attr-defined]
        x = tt.tensor([1.0, float(ranks.rank)], device=ranks.device)
        handle = ranks.all_reduce(x)
        before = main.done
        handle.wait()
        y = x * 2.0  # after the operation
        assert main.done == before
        assert not handle.done()
        return y.tolist()

    assert on_gpus(2, work) == [[4.0, 2.0]] * 2


def test_tensors_live_until_they_have_travelled(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> None:
        x = tt.ones(1000, device=ranks.device)
        ptr = view_of(x).ptr
        ranks.all_reduce(x)
        del x
        other = tt.empty(1000, device=ranks.device)
        assert view_of(other).ptr != ptr
        ranks.all_reduce(other).wait()
        tt.cuda.synchronize(ranks.device)
        ranks.let_go()
        assert view_of(tt.empty(1000, device=ranks.device)).ptr == ptr

    on_gpus(2, work)


@needs_nvrtc
def test_a_bucket_has_arrived_before_backward_ends(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> Any:
        device = ranks.device
        first, last = tt.nn.Linear(6, 8).to(device), tt.nn.Linear(8, 3).to(device)
        parallel = DataParallel([*first.parameters(), *last.parameters()], ranks, bucket_bytes=1)
        seen = []

        def look(grad: tt.Tensor) -> None:
            handle = parallel.buckets[0].handle
            assert handle is not None
            handle.wait()
            mean = last.bias.grad.cpu().tolist()
            seen.append((handle.done(), first.weight.grad is None, mean))

        hidden = first(tt.tensor(data_of(ranks.rank).reshape(2, 6), device=device))
        hidden.register_hook(look)
        (last(hidden) * (1.0 + ranks.rank)).sum().backward()
        parallel.synchronize()
        return seen

    (mine,), (other,) = on_gpus(2, work)
    assert mine == other == (True, True, [3.0] * 3)  # 2 rows, times the mean of 1 and 2
    for rank in range(2):
        started = [launched for who, name, _, launched in nccl.calls if (who, name) == (rank, "allReduce")]
        assert started[0] < started[-1] <= len(nccl.fake.launches)


# ---- training ----------------------------------------------------------------------------------------------


@needs_nvrtc
def test_ranks_train_as_one_process_does(nccl: FakeNccl) -> None:
    expected = train(steps=4)
    for found in on_gpus(2, lambda ranks: train(ranks, steps=4)):
        assert_same(found, expected)


# ---- failures ----------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_not_waited_for(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> None:
        x = tt.ones(3, device=ranks.device)
        handle = ranks.all_reduce(x)
        nccl.broken = 6
        with pytest.raises(CommunicationError, match=r"all_reduce\(3 x float32, sum\): NCCL.*REMOTE"):
            handle.wait()
        with pytest.raises(CommunicationError, match="INVALID_ARGUMENT"):
            ranks.all_reduce(x)

    on_gpus(2, work)


def test_a_status_without_a_name(nccl: FakeNccl) -> None:
    ranks = distributed.init("nccl")
    handle = ranks.all_reduce(tt.ones(3, device=ranks.device))
    nccl.broken = 7
    with pytest.raises(CommunicationError, match="NCCL has failed: status 7"):
        handle.wait()


def test_a_kernel_that_fails_is_not_waited_for(nccl: FakeNccl) -> None:
    ranks = distributed.init("nccl")
    handle = ranks.all_reduce(tt.ones(3, device=ranks.device))
    nccl.fake.fault = FAULT  # NCCL itself sees nothing of it
    with pytest.raises(tt.KernelError, match="IllegalAddress"):
        handle.wait()


def test_a_rank_that_raises_ends_all(nccl: FakeNccl) -> None:
    def work(ranks: NcclCommunicator) -> None:
        if ranks.rank:
            raise ValueError("out of luck")
        ranks.barrier()

    with pytest.raises(ValueError, match="out of luck"):
        on_gpus(2, work)


@pytest.mark.parametrize("size", [GPUS + 1, GPUS + 5])
def test_fewer_gpus_than_ranks(nccl: FakeNccl, size: int) -> None:
    with pytest.raises(
        tt.DeviceError, match=f"{size} ranks on this machine, and 3 GPUs[\\s\\S]*mpiexec -n 3"
    ):
        on_gpus(size, lambda ranks: None)


def test_a_rank_without_a_gpu_is_not_waited_for(nccl: FakeNccl) -> None:
    said: dict[int, str] = {}

    def work(host: Communicator) -> None:
        if host.rank == 1:
            host.local_size = 9
        try:
            NcclCommunicator(host)
        except tt.TinyTensorError as error:
            said[host.rank] = str(error)

    run_local(2, work)
    assert "9 ranks on this machine" in said[1]
    assert "another rank cannot use its GPU" in said[0]


@needs_nvrtc
def test_a_rank_has_a_context_on_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(FakeCupy(gpus=("90", "90")), monkeypatch)
    fake.cuda.nccl = FakeNccl(fake)
    monkeypatch.setitem(sys.modules, "cupy.cuda", fake.cuda)
    monkeypatch.delitem(runtimes, as_device("cuda:1"), raising=False)
    monkeypatch.setattr(launch, "_launches", {})
    host = LocalCommunicator()
    host.local_rank, host.local_size = 1, 2
    ranks = NcclCommunicator(host)

    def work() -> None:
        x = tt.ones(3, device=ranks.device) + 1.0
        ranks.all_reduce(x).wait()
        assert x.tolist() == [2.0] * 3

    work()
    thread = threading.Thread(target=work)  # CUDA starts each thread on GPU 0
    thread.start()
    thread.join()
    assert fake.contexts == {1}
    monkeypatch.delitem(runtimes, as_device("cuda:1"))


def test_two_ranks_with_one_gpu(nccl: FakeNccl) -> None:
    def work(host: Communicator) -> None:
        host.local_rank = 0
        with pytest.raises(CommunicationError, match=r"init: NCCL.*INVALID_USAGE[\s\S]*same GPU"):
            NcclCommunicator(host)

    run_local(2, work)


def test_a_missing_library_is_named(nccl: FakeNccl) -> None:
    nccl.available = False
    with pytest.raises(CommunicationError, match=r"libnccl[\s\S]*nccl13"):
        distributed.init("nccl")


def test_a_tensor_of_another_gpu_is_refused(nccl: FakeNccl) -> None:
    ranks = distributed.init("nccl")
    with pytest.raises(tt.DeviceError, match=r"a tensor on cuda:1[\s\S]*is cuda\b"):
        ranks.all_reduce(tt.ones(2, device="cuda:1"))
