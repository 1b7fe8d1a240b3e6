"""The ledger of memory against numbers counted by hand, the pool, and what the collector knows."""

import gc
import random
import threading
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.observed import observed
from tests.helpers.pages import parse
from tinytensor import lab
from tinytensor.errors import ArgumentError
from tinytensor.runtime.cpu.memory import pool
from tinytensor.storage import Storage

K = 40_000  # bytes of 100 × 100 float32 numbers
NAMES = ["parameters", "gradients", "optimizer state", "saved for backward", "activations and temporaries"]


def big(**options):
    return tt.ones(100, 100, **options)


def by_category(usage):
    return [usage.by_category[name] for name in NAMES]


def saved(ledger):
    return ledger.now.by_category["saved for backward"]


def everywhere():
    """(pooled, adopted) bytes of all storages of the CPU that exist, by the pool and by the collector."""
    small = [s for s in gc.get_objects() if type(s) is Storage and s.buffer.base is None]
    return pool.settle().live, sum(s.nbytes for s in small)


def in_use(ledger):
    return ledger.now.pooled, ledger.now.adopted


# ---- counted by hand


def test_a_small_net() -> None:
    w = big(requires_grad=True)
    optimizer = tt.optim.AdamW([w])
    with lab.memory(optimizer=optimizer) as ledger:
        x = big()
        y = tt.tanh(x @ w)  # the product saves x, tanh saves y; what tanh got is gone
        assert by_category(ledger.now) == [K, 0, 0, 2 * K, 0]
        assert {n.name: n.nbytes for n in lab.graph(y, names={"w": w}).nodes} == {
            "w": 0,
            "matmul": K,
            "tanh": K,
        }
        loss = y.sum()
        assert by_category(ledger.now) == [K, 0, 0, 2 * K, 4]
        loss.backward()
        assert by_category(ledger.now)[:4] == [K, K, 0, 0]
        assert by_category(ledger.now)[4] >= 2 * K  # x and y are still held
        del x, y, loss
        optimizer.step()
        assert by_category(ledger.now)[:4] == [K, K, 2 * K, 0]
        optimizer.zero_grad()
    assert by_category(ledger.now)[:4] == [K, 0, 2 * K, 0]
    assert ledger.at_most["saved for backward"] == 2 * K


def test_leaves_are_parameters_where_nobody_named_any() -> None:
    gc.collect()  # models of other tests, in cycles, would count as well
    w, data = big(requires_grad=True), big()
    with lab.memory() as ledger:
        y = w * data
        assert by_category(ledger.now) == [K, 0, 0, K, K]  # data is saved, y is not
        y.backward(big())
        assert by_category(ledger.now)[1] == K


@pytest.mark.parametrize(("n", "nbytes"), [(10, 40), (20_000, 80_000)])  # memory of NumPy's, and of the pool
def test_the_peak_sees_what_goes_at_once(n, nbytes) -> None:
    x = tt.zeros(n)
    with lab.memory() as ledger:
        before = ledger.now.total
        x + 1
        assert ledger.now.total == before
        x + 1
        y = x + 1
    assert ledger.peak.total == before + nbytes == ledger.now.total
    assert [sum(p.nbytes) for p in ledger.timeline] == [before + nbytes] * 3
    assert y is not None


BEFORE = {
    "an op": tt.exp,
    "a checkpoint": lambda w: tt.checkpoint(lambda x: tt.tanh(x @ w), big() * 1),
}


@pytest.mark.parametrize("name", BEFORE)
def test_what_was_recorded_before_counts(name) -> None:
    y = BEFORE[name](big(requires_grad=True))
    with lab.memory() as ledger:
        assert saved(ledger) == K
        y.backward(big())
        assert saved(ledger) == 0


def test_a_retained_graph_stays() -> None:
    w = big(requires_grad=True)
    with lab.memory() as ledger:
        y = tt.exp(w)
        y.backward(big(), retain_graph=True)
        assert saved(ledger) == K
        y.backward(big())
        assert saved(ledger) == 0


def test_a_graph_of_gradients_is_the_one_that_lab_graph_reads() -> None:
    w = big(requires_grad=True)
    with lab.memory() as ledger:
        y = tt.tanh(w @ w).sum()
        (slope,) = tt.grad(y, w, create_graph=True)
        assert saved(ledger) == lab.graph(y, slope).nbytes > 0
        del y, slope
        assert saved(ledger) == 0


def test_a_checkpoint_keeps_its_arguments() -> None:
    w = big(requires_grad=True)

    def function(x):
        return tt.checkpoint(lambda x: tt.tanh(x @ w) @ w, x) @ w

    with lab.memory() as ledger:
        y = tt.checkpoint(function, big() * 1)
        assert saved(ledger) == lab.graph(y).nbytes == K
        y.sum().backward()
        assert saved(ledger) == 0
    assert ledger.at_most["saved for backward"] == 2 * K  # the argument of the inner one, and what tanh gives


def test_memory_of_others_is_not_counted() -> None:
    mine = np.zeros((100, 100), np.float32)
    with lab.memory() as ledger:
        before = ledger.now.total
        x = tt.from_numpy(mine)
        y = x[1:]
        assert ledger.now.total == before
        z = y + 1
        assert ledger.now.total == before + z.nbytes
    usage = ledger.now
    tt.zeros(100, 100)
    assert ledger.now == usage  # it does not listen any more


def test_devices_have_ledgers_of_their_own() -> None:
    w = big(requires_grad=True, device="emulated")
    with lab.memory(device="emulated") as ledger:
        y = tt.exp(w[:50])
        tt.zeros(1000)
        assert saved(ledger) == K // 2
        y.sum().backward()
        assert by_category(ledger.now)[:4] == [K, K, 0, 0]
        assert ledger.now.adopted == 0


# ---- against the pool and the collector


@pytest.mark.usefixtures("all_objects")
def test_any_program_adds_up_to_the_byte() -> None:
    """After each of 200 random operations, and at each node, it has what pool and collector have."""
    draw = random.Random(0)
    held = [tt.ones(n, n, requires_grad=bool(n % 2)) * 1 for n in (3, 50, 61, 90)]
    with lab.memory() as ledger:
        at_nodes = []

        def look(node, outs):
            at_nodes.append((ledger.now.pooled, pool.settle().live))

        with observed(node=look):
            for i in range(200):
                x = held.pop(draw.randrange(len(held)))
                held += _operation(draw, x)
                while len(held) > 8:
                    held.pop(draw.randrange(8))
                x = None
                assert ledger.now.pooled == pool.settle().live
                assert i % 10 or in_use(ledger) == everywhere()  # the collector is slow
        assert ledger.peak.total >= max(p for p, _ in at_nodes)
    assert len(at_nodes) > 100
    assert all(ours == pools for ours, pools in at_nodes)


def _operation(draw, x):
    n = x.shape[0]
    which = draw.randrange(10)
    if which == 0:
        return [x, x.T[:, ::2].reshape(-1)[: n * (n // 2)].reshape(n, n // 2) @ tt.ones(n // 2, n)]
    if which == 1:
        return [x @ x, x]
    if which == 2:
        with tt.no_grad():
            return [tt.exp(x * 0), x]
    if which == 3:
        y = x * 1
        y[0] *= 2
        return [y]
    if which == 4:
        (x * 1.0).sum().backward(retain_graph=True) if x.requires_grad else None
        return [x.detach().requires_grad_() * 1]
    if which == 5:
        return [x.astype(tt.float64).astype(tt.float32)]
    if which == 6:
        return [tt.checkpoint(lambda x: tt.tanh(x) * x, x)]
    if which == 7:
        return [tt.softmax(x, axis=-1), x]
    if which == 8:
        return [x.astype(tt.bfloat16).astype(tt.float32)]
    return [x[list(range(n))], x]


# ---- opening and closing


@pytest.mark.usefixtures("all_objects")
def test_threads_are_counted_together() -> None:
    def work():
        w = tt.ones(40, 40, requires_grad=True)
        for _ in range(20):
            y = tt.tanh(w @ w) * tt.ones(1)
            y.sum().backward()
            kept.append(y.detach() * 1)

    kept = []
    with lab.memory() as ledger:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
        assert in_use(ledger) == everywhere()
        assert len(kept) == 80


# ---- what it shows


def test_the_table_and_the_page_show_the_numbers() -> None:
    w = big(requires_grad=True)
    with lab.memory() as ledger:
        ledger.mark("<forward>")
        y = tt.exp(w)
        ledger.mark("backward")
        y.backward(big())
    line = next(line for line in str(ledger).splitlines() if line.startswith("gradients"))
    assert line.split()[1:] == [f"{K:,}", f"{ledger.peak.by_category['gradients']:,}", f"{K:,}"]
    page = parse(ledger.html())
    cells = [[cell.text for cell in row.children] for row in page.all("tr")]
    assert ["gradients", *line.split()[1:]] in cells
    root = ET.fromstring(ledger.svg())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<forward>", "backward", "saved for backward"} <= set(texts)
    assert any(text.startswith("peak") for text in texts)


def test_a_picture_of_many_storages_keeps_the_peak() -> None:
    with lab.memory() as ledger:
        small = [tt.zeros(1) for _ in range(5000)]
        tt.zeros(1 << 20)
        small += [tt.zeros(1) for _ in range(5000)]
    root = ET.fromstring(ledger.svg())
    areas = [
        p
        for p in root.iter("{http://www.w3.org/2000/svg}path")
        if "L" in p.attrib["d"]  # areas; rules are drawn by H and V
    ]
    heights = [[float(corner.split()[1]) for corner in a.attrib["d"][1:-1].split("L")] for a in areas]
    assert max(map(len, heights)) < 4000  # two corners above and two below for each pixel
    # the top of the picture: no peak was thinned out, of whatever lies above it (tensors of other tests)
    assert min(map(min, heights)) == pytest.approx(56, abs=1)
    assert len(small) == 10_000


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a str where a Module is expected"), lab.memory("cpu"):
        pass
    with (
        pytest.raises(ArgumentError, match="a Linear where a Optimizer"),
        lab.memory(None, tt.nn.Linear(1, 1)),
    ):
        pass
    with lab.memory():
        pass
