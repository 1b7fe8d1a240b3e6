"""Ranks: what operations do, that N ranks train as one does, and what happens when one of them fails."""

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import distributed
from tinytensor.distributed import CommunicationError, DataParallel, run_local

SIZES = [1, 2, 3, 4]


def data_of(rank, count=12, dtype=np.float32):
    return np.random.default_rng(rank).standard_normal(count).astype(dtype)


# ---- operations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("reduction", "of"), [("sum", np.sum), ("mean", np.mean), ("max", np.max), ("min", np.min)]
)
def test_reductions_are_those_of_numpy(size, reduction, of):
    def work(ranks):
        whole = tt.tensor(data_of(ranks.rank))
        ranks.all_reduce(whole, reduction).wait()
        return whole.numpy()

    results = run_local(size, work)
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


def test_a_write_by_another_rank_counts_as_a_write():
    x = tt.ones(3)
    version = x.version
    distributed.init("local").all_reduce(x).wait()
    assert x.version > version


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


def test_a_rank_that_raises_ends_all():
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
        run_local(3, work)
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
        return tt.optim.Joint(tt.optim.Muon(matrices, lr=0.02), tt.optim.AdamW(rest, lr=0.02))
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
