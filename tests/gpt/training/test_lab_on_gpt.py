"""The lab on one training step of a small GPT: its copies, its memory, what checkpoints save."""

import gc
import re

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tests.helpers.observed import observed
from tests.helpers.runs import assert_same
from tests.helpers.source import ROOT
from tinytensor import lab
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.memory import pool
from tinytensor.storage import Storage

DOCUMENT = ROOT / "docs/copies.md"
CONFIG = GPTConfig(vocab_size=65, block_size=32, n_layer=4, n_head=4, n_embd=64)
IDS, TARGETS = np.random.default_rng(0).integers(0, 65, (2, 4, 32))


class Training:
    """A model, its optimizer and a batch."""

    def __init__(self, device="cpu"):
        self.model = GPT(CONFIG, tt.Generator(0)).to(device)
        self.optimizer = tt.optim.AdamW(self.model.parameter_groups(0.1), lr=1e-3)
        self.ids, self.targets = tt.tensor(IDS).to(device), tt.tensor(TARGETS).to(device)

    def loss(self):
        return self.model.loss(self.ids, self.targets)

    def step(self):
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


# ---- copies


def documented(road):
    """The (op, kind) of the copies of a step on a road, by the table of the document."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## One step of training a GPT")[2]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    applies = {"all": True, "devices": road == "emulated"}
    return {(op, kind) for op, kind, where in rows if applies[where]}


@pytest.mark.parametrize("road", ["auto", "off", "emulated"])
def test_a_step_copies_what_the_document_says(road, monkeypatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", "off" if road == "off" else "auto")
    training = Training("emulated" if road == "emulated" else "cpu")
    training.step()
    with lab.trace_copies() as log:
        training.step()
    assert {(e.op, e.kind) for e in log.entries} == documented(road), log
    bound = 4 * CONFIG.n_embd * CONFIG.vocab_size  # the smallest matrix
    assert all(e.nbytes < bound for e in log.entries if e.op != "adamw"), log


@pytest.mark.parametrize("road", ["auto", "off", "emulated"])
def test_a_step_runs_under_strict_layout(road, monkeypatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", "off" if road == "off" else "auto")
    monkeypatch.setattr(tt.config, "strict_layout", True)
    Training("emulated" if road == "emulated" else "cpu").step()


# ---- memory


def adopted():
    """Bytes of storages whose memory is NumPy's, found without the ledger."""
    return sum(s.nbytes for s in gc.get_objects() if type(s) is Storage and s.buffer.base is None)


@pytest.mark.usefixtures("all_objects")
def test_the_ledger_is_the_pools_to_the_byte_at_every_node() -> None:
    x = tt.ones(10_000)
    graph = tt.capture(lambda: x * 2.0, device="cpu", warmup=0)  # its memory is counted apart
    training = Training()
    compared = []

    def compare(node, outs):
        compared.append((ledger.now.pooled, pool.settle().live))

    for _ in range(2):  # the optimizer makes its state in the first
        with lab.memory(training.model, training.optimizer) as ledger:
            pool.reset_peak()
            with observed(node=compare):
                loss = training.loss()
            for do in (loss.backward, training.optimizer.step, training.optimizer.zero_grad):
                do()
                assert ledger.now.pooled == pool.settle().live
                assert ledger.now.adopted == adopted()
            assert max(sum(p.nbytes) for p in ledger.timeline) == ledger.peak.total
            assert pool.settle().peak <= ledger.peak.total
            del loss
    assert len(compared) > 60
    assert all(ours == pools for ours, pools in compared)
    assert graph.outputs.shape == (10_000,)


def test_categories_are_those_of_a_step() -> None:
    training = Training()
    weights = sum(p.nbytes for p in training.model.parameters())
    training.step()
    with lab.memory(training.model, training.optimizer) as ledger:
        loss = training.loss()
        forward = ledger.now
        graph = lab.graph(loss)
        loss.backward()
        del loss
        backward = ledger.now
        training.optimizer.zero_grad()
    for usage in (forward, backward, ledger.now):
        assert usage.by_category["parameters"] == weights
        assert usage.by_category["optimizer state"] == 2 * weights
        assert usage.total == sum(usage.by_category.values())
    assert forward.by_category["saved for backward"] == graph.nbytes
    assert (forward.by_category["gradients"], backward.by_category["gradients"]) == (0, weights)
    assert backward.by_category["saved for backward"] == ledger.now.by_category["gradients"] == 0


def test_a_ledger_changes_no_bit() -> None:
    one, other = Training(), Training()
    for _ in range(2):
        one.step()
        with lab.memory(other.model, other.optimizer), lab.trace_copies():
            other.step()
    assert_same(other.model, one.model)


def test_memory_of_a_device() -> None:
    training = Training("emulated")
    statistics = runtime_of(tt.Device("emulated")).statistics
    training.step()
    with lab.memory(training.model, training.optimizer, device="emulated") as ledger:
        rest = settled() - ledger.now.total  # tables that belong to no tensor
        loss = training.loss()
        assert ledger.now.total + rest == settled()
        loss.backward()
        assert ledger.now.total + rest == settled()
    assert ledger.now.by_category["gradients"] == sum(p.nbytes for p in training.model.parameters())
    assert statistics.live >= ledger.now.total


def settled():
    """Bytes in use on the device, once what went was given back."""
    gc.collect()
    runtime = runtime_of(tt.Device("emulated"))
    runtime.returned.append(runtime.alloc(0))  # sorts what went
    return runtime.statistics.live


# ---- checkpoints


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_the_ledger_of_checkpoints_is_what_the_graph_saves(every) -> None:
    training = Training()
    with lab.memory(training.model) as plain:
        training.loss().backward()
    training.model.checkpoint_blocks = every
    with lab.memory(training.model) as ledger:
        loss = training.loss()
        saved = ledger.now.by_category["saved for backward"]
        assert lab.graph(loss).nbytes == saved
        loss.backward()
    assert saved < ledger.at_most["saved for backward"]  # a group runs again in backward
    assert saved < plain.at_most["saved for backward"]
