"""Ranks: what operations do, that N ranks train as one does, and what happens when one of them fails.

Ranks with a GPU each: over a CuPy and an NCCL that pretend.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
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

SIZES = [1, 2, 3, 4]
GPUS = 3


def data_of(rank, count=12, dtype=np.float32):
    return np.random.default_rng(rank).standard_normal(count).astype(dtype)


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> FakeNccl:
    fake = install(FakeCupy(gpus=("90",) * GPUS), monkeypatch)
    fake.cuda.nccl = FakeNccl(fake)
    monkeypatch.setitem(sys.modules, "cupy.cuda", fake.cuda)
    for index in range(GPUS):
        device = as_device(f"cuda:{index}")
        monkeypatch.setitem(runtimes, device, CupyRuntime(device))
    monkeypatch.setattr(launch, "_launches", {})  # those of another test know its runtime
    distributed._connected.cache_clear()
    found: FakeNccl = fake.cuda.nccl
    return found


def on_gpus(size: int, work: Callable[[NcclCommunicator], Any]) -> list[Any]:
    return run_local(size, lambda host: work(NcclCommunicator(host)))


@pytest.fixture(params=["threads", pytest.param("gpus", marks=needs_nvrtc)])
def ranked(request: pytest.FixtureRequest) -> Callable[..., list[Any]]:
    """Runs a function in so many ranks, and returns their results."""
    if request.param == "threads":
        return run_local
    request.getfixturevalue("nccl")
    return on_gpus


# ---- operations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES[:GPUS])
@pytest.mark.parametrize(
    ("reduction", "of"), [("sum", np.sum), ("mean", np.mean), ("max", np.max), ("min", np.min)]
)
def test_reductions_are_those_of_numpy(ranked, size, reduction, of):
    def work(ranks):
        whole = tt.tensor(data_of(ranks.rank), device=ranks.device)
        version = whole.version
        ranks.all_reduce(whole, reduction).wait()
        assert whole.version > version  # a write by another rank counts as a write
        return whole.cpu().numpy()

    results = ranked(size, work)
    expected = of([data_of(rank, dtype=np.float64) for rank in range(size)], axis=0)
    for whole in results:
        np.testing.assert_allclose(whole, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_broadcast_moves_bits(size):
    def work(ranks):
        half = tt.tensor([ranks.rank + 0.5], dtype=tt.bfloat16)
        handle = ranks.broadcast(half, size - 1)
        handle.wait()
        assert handle.done()
        ranks.barrier()
        return half.item(), ranks.share(f"rank {ranks.rank}: é", size - 1)

    assert run_local(size, work) == [(size - 0.5, f"rank {size - 1}: é")] * size


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda r, x: r.all_reduce(x.T), tt.ShapeError, "strides"),
        (lambda r, x: r.all_reduce(x, "product"), tt.ArgumentError, "product"),
        (lambda r, x: r.all_reduce(x.astype(tt.int64), "mean"), tt.DTypeError, "int64"),
        (lambda r, x: r.broadcast(x, 1), tt.ArgumentError, "root=1"),
    ],
)
def test_what_cannot_be_sent_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(distributed.init("local"), tt.ones(2, 3))


def test_backends_are_checked():
    with pytest.raises(tt.ArgumentError, match="backend='smoke'"):
        distributed.init("smoke")
    with pytest.raises(tt.ArgumentError, match="size=0"):
        run_local(0, lambda ranks: None)


# ---- failures ----------------------------------------------------------------------------------------------


def test_a_rank_that_raises_ends_all(ranked):
    seen = []

    def work(ranks):
        if ranks.rank == 1:
            raise ValueError("out of luck")
        try:
            ranks.barrier()
        except CommunicationError as error:
            seen.append(str(error))
            raise

    with pytest.raises(ValueError, match="out of luck"):
        ranked(3, work)
    assert len(seen) == 2
    assert all("rank 1 has failed: out of luck" in text for text in seen)


def test_a_rank_that_ends_early_ends_all():
    with pytest.raises(CommunicationError, match="rank 2 has ended"):
        run_local(3, lambda ranks: ranks.rank == 2 or ranks.barrier())


def test_ranks_that_do_different_things_are_told_so():
    def work(ranks):
        x = tt.ones(3)
        (ranks.all_reduce(x) if ranks.rank else ranks.broadcast(x)).wait()

    with pytest.raises(
        CommunicationError, match=r"rank 0: broadcast\(3 x float32, from rank 0\); rank 1: all_"
    ):
        run_local(2, work)


# ---- data parallel -----------------------------------------------------------------------------------------


class Network(tt.nn.Module):
    """Shared weights, a parameter that is used twice, and one that gets no gradient."""

    def __init__(self, seed=0):
        super().__init__()
        generator = tt.Generator(seed)
        self.first = tt.nn.Linear(6, 8)
        self.last = tt.nn.Linear(8, 3)
        self.scale = tt.nn.Parameter(tt.randn(8, generator=generator))
        self.unused = tt.nn.Parameter(tt.ones(5))
        with tt.no_grad():
            for p in (self.first.weight, self.last.weight, self.first.bias, self.last.bias):
                p.copy_(tt.randn(p.shape, generator=generator) * 0.3)

    def forward(self, x):
        hidden = self.first(x).tanh() * self.scale
        return self.last((hidden + self.first(x)) * self.scale)


def examples(step, part=slice(None)):
    rng = np.random.default_rng(100 + step)
    x, y = rng.standard_normal((24, 6)), rng.standard_normal((24, 3))
    return tt.tensor(x[part].astype(np.float32)), tt.tensor(y[part].astype(np.float32))


def optimizer_of(kind, model):
    if kind == "sgd":
        return tt.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    if kind == "joint":
        return tt.optim.CombinedOptimizer(tt.optim.Muon(matrices, lr=0.02), tt.optim.AdamW(rest, lr=0.02))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return tt.optim.AdamW(groups, lr=0.02)


def train(ranks=None, *, kind="adamw", parts=1, steps=20, bucket_bytes=200):
    """Losses of the whole batch, weights at the end."""
    rank, size = (0, 1) if ranks is None else (ranks.rank, ranks.size)
    device = "cpu" if ranks is None else ranks.device
    model = Network(rank).to(device)  # rank 0's weights count
    parallel = None if ranks is None else DataParallel(model, ranks, bucket_bytes=bucket_bytes)
    optimizer = optimizer_of(kind, model)
    losses, rows = [], 24 // (size * parts)
    for step in range(steps):
        optimizer.zero_grad()
        mean = tt.zeros(1, device=device)
        for part in range(parts):
            first = (part * size + rank) * rows
            x, y = [a.to(device) for a in examples(step, slice(first, first + rows))]
            loss = ((model(x) - y) ** 2).mean() / parts
            if parallel is not None and part < parts - 1:
                with parallel.accumulating():
                    loss.backward()
            else:
                loss.backward()
            mean += loss.detach()
        if parallel is not None:
            parallel.synchronize()
            ranks.all_reduce(mean, "mean").wait()
        tt.optim.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(mean.item())
    if parallel is not None:
        parallel.check_equal()
    weights = {name: p.detach().cpu().numpy().copy() for name, p in model.state_dict().items()}
    return {"losses": losses, "weights": weights}


def assert_same(found, expected, rtol=2e-5):
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=rtol)
    for name, weight in expected["weights"].items():
        np.testing.assert_allclose(found["weights"][name], weight, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("parts", [1, 2])
def test_ranks_train_as_one_does(size, parts):
    expected = train(parts=1)
    for found in run_local(size, lambda ranks: train(ranks, parts=parts)):
        assert_same(found, expected)


@needs_nvrtc
def test_ranks_with_gpus_train_as_one_does(nccl):
    expected = train(steps=4)
    for found in on_gpus(2, lambda ranks: train(ranks, steps=4)):
        assert_same(found, expected)


@pytest.mark.parametrize("bucket_bytes", [1, 10**9])
def test_the_size_of_buckets_changes_no_bit(bucket_bytes):
    some, other = [run_local(2, lambda r, b=b: train(r, bucket_bytes=b)) for b in (200, bucket_bytes)]
    assert some[0]["losses"] == other[0]["losses"] == other[1]["losses"]


def test_ranks_begin_with_the_weights_of_the_first():
    found = run_local(2, lambda ranks: train(ranks, steps=0))
    for name, weight in Network(0).state_dict().items():
        assert np.array_equal(found[1]["weights"][name], weight.detach().numpy())


def test_buckets_are_sent_while_backward_runs():
    def work(ranks):
        first, last = tt.nn.Linear(6, 8), tt.nn.Linear(8, 3)
        parallel = DataParallel([*first.parameters(), *last.parameters()], ranks, bucket_bytes=1)
        started, go = [], ranks.all_reduce

        def watched(x, reduction):
            started.append(x.size)
            return go(x, reduction)

        ranks.all_reduce = watched
        hidden, seen = first(examples(ranks.rank)[0]), []
        hidden.register_hook(lambda grad: seen.append(list(started)))
        last(hidden).sum().backward()
        parallel.synchronize()
        return seen, started, parallel.bytes_sent

    padded = [16, 32, 16, 48]  # bias and weight of the last layer, then of the first
    assert run_local(2, work) == [([padded[:2]], padded, 4 * sum(padded))] * 2


def test_gradients_are_views_of_buckets():
    def work(ranks):
        model = Network()
        parallel = DataParallel(model, ranks)
        for _ in range(2):
            x, y = examples(ranks.rank)
            ((model(x) - y) ** 2).mean().backward()
            parallel.synchronize()
        assert len(parallel.buckets) == 1
        for p in model.parameters():
            assert p.grad.shares_memory(parallel.buckets[0].flat)
        return model.unused.grad.tolist()

    assert run_local(2, work) == [[0.0] * 5] * 2


def test_a_second_backward_outside_of_accumulating_is_refused():
    model = tt.nn.Linear(2, 2)
    DataParallel(model, distributed.init("local"))
    model(tt.ones(1, 2)).sum().backward()
    with pytest.raises(tt.GradError, match="second gradient"):
        model(tt.ones(1, 2)).sum().backward()


def test_different_models_are_refused():
    with pytest.raises(CommunicationError, match="different parameters"):
        run_local(2, lambda ranks: DataParallel(tt.nn.Linear(2, 2 + ranks.rank), ranks))


def test_weights_that_drift_apart_are_noticed():
    def work(ranks):
        model = tt.nn.Linear(2, 2)
        parallel = DataParallel(model, ranks)
        with tt.no_grad():
            model.bias[ranks.rank] += 1.0
        parallel.check_equal()

    with pytest.raises(CommunicationError, match="no longer the same"):
        run_local(2, work)


def test_autocast_and_the_scaler_work_on_averaged_gradients():
    def work(ranks):
        model = Network()
        parallel = None if ranks.size == 1 else DataParallel(model, ranks)
        optimizer, scaler = optimizer_of("sgd", model), tt.optim.GradScaler(256.0)
        rows = 24 // ranks.size
        for step in range(3):
            optimizer.zero_grad()
            x, y = examples(step, slice(ranks.rank * rows, (ranks.rank + 1) * rows))
            with tt.autocast(tt.float16):
                loss = ((model(x) - y) ** 2).mean()
            scaler.scale(loss).backward()
            if parallel is not None:
                parallel.synchronize()
            assert scaler.step(optimizer)
            scaler.update()
        return model.first.weight.detach().numpy()

    (alone,), several = run_local(1, work), run_local(3, work)
    assert all(np.array_equal(several[0], other) for other in several)
    np.testing.assert_allclose(several[0], alone, atol=2e-3)


# ---- operations on GPUs -----------------------------------------------------------------------------------


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


# ---- failures of GPUs --------------------------------------------------------------------------------------


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
