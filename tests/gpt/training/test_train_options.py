"""What a recipe can ask for beside the plain one: each option."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.data.batches import Batches
from gpt.models.gpt import GPT
from gpt.training.command import train
from gpt.training.plan import plan
from gpt.training.run import Run
from gpt.training.steps import CapturedStep
from gpt.training.train import Trainer
from tests.helpers.runs import arrays_of, assert_same, logged, tiny
from tinytensor.runtime.cpu.memory import pool


@pytest.mark.parametrize("words", [(), ("--n_expert=3", "--activation=swiglu"), ("--tied_head=false",)])
def test_muon_moves_the_matrices_of_blocks_alone(words, tmp_path):
    run = Run(*tiny(tmp_path / "run", "--optimizer=muon", *words))
    muon, adamw = [
        {id(p) for group in part.param_groups for p in group["params"]} for part in run.optimizer.parts
    ]
    for name, p in run.model.named_parameters():
        inside = name.startswith("h.") and ("c_" in name or "router" in name) and name.endswith("weight")
        assert (id(p) in muon, id(p) in adamw) == (inside, not inside), name
    counted = sum(p.size for group in run.optimizer.parts[0].param_groups for p in group["params"])
    planned = plan(run.model_config, run.train_config, flops_per_second=1e9)
    assert planned.optimizer_bytes == 4 * (2 * run.model.num_parameters() - counted)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_matrices_may_have_a_rate_of_their_own(optimizer, tmp_path):
    """Equal to the other rate it changes no bit; else the matrices alone follow it, on the same schedule."""
    words = ("--max_steps=3", "--learning_rate=1e-3", "--warmup_steps=2", f"--optimizer={optimizer}")
    before = arrays_of(Run(*tiny(tmp_path / "begin", *words)).model)
    for rate, rates in (("0", {1e-3}), ("4e-3", {1e-3, 4e-3})):
        begun = Run(*tiny(tmp_path / f"begin{rate}", *words, f"--matrix_learning_rate={rate}"))
        assert {group["lr"] for group in begun.optimizer.param_groups} == rates
    runs = {
        rate: train(*tiny(tmp_path / rate, *words, f"--matrix_learning_rate={rate}"), quiet=True)
        for rate in ("0", "1e-3", "4e-3")
    }
    assert_same(runs["0"], runs["1e-3"])
    moved = {
        rate: {k: np.abs(w - before[k]).max() for k, w in arrays_of(runs[rate]).items()} for rate in runs
    }
    for name, distance in moved["0"].items():
        factor = moved["4e-3"][name] / distance
        assert factor > 3 if "c_" in name and name.endswith("weight") else 0.5 < factor < 2, name


def test_a_run_is_resumed_with_its_optimizer(tmp_path):
    train(*tiny(tmp_path / "run", "--max_steps=2"), quiet=True)
    with pytest.raises(tt.ArgumentError, match="optimizer"):
        Run(*tiny(tmp_path / "run", "--init_from=resume", "--optimizer=muon"))


# ---- accumulation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_accumulated_steps_are_those_of_the_large_batch(optimizer, tmp_path):
    words = ("--max_steps=6", "--batch_order=consecutive", f"--optimizer={optimizer}", "--log_interval=1")
    runs = []
    for size in (12, 4, 1):
        shape = (f"--batch_size={size}", f"--gradient_accumulation_steps={12 // size}")
        runs.append(train(*tiny(tmp_path / str(size), *words, *shape), quiet=True))
    for run in runs[1:]:
        for name in ("loss", "grad_norm"):
            np.testing.assert_allclose(logged(run, name), logged(runs[0], name), rtol=1e-4)
        for name, array in arrays_of(runs[0]).items():
            np.testing.assert_allclose(arrays_of(run)[name], array, atol=3e-4, err_msg=name)


# ---- checkpoints of blocks ---------------------------------------------------------------------------------


def model_and_batch(n_layer=4, block_size=16, n_embd=16, batch=3, **fields):
    config = GPTConfig(23, block_size, n_layer, n_head=2, n_embd=n_embd, **fields)
    tokens = np.random.default_rng(0).integers(0, 23, 4 * batch * block_size)
    inputs, targets = Batches(tokens, batch, block_size, seed=1).batch(0)
    return GPT(config, tt.Generator(0)).train(), tt.tensor(inputs), tt.tensor(targets)


def gradients(blocks, dropout, narrow=False, **variant):
    model, inputs, targets = model_and_batch(dropout=dropout, **variant)
    model.checkpoint_blocks = blocks
    tt.manual_seed(7)
    with tt.autocast(tt.bfloat16, enabled=narrow):
        loss = model.loss(inputs, targets)
    loss.backward()
    drawn = tt.default_generator.get_state()
    return {"loss": loss.detach(), **{n: p.grad for n, p in model.named_parameters()}}, drawn


VARIANTS = [
    {"position": "rope", "norm": "rms_norm", "activation": "swiglu", "n_kv_head": 1, "sliding_window": 6},
    {"position": "alibi", "norm_position": "post", "logit_soft_cap": 5.0, "qk_norm": True},
    {"n_expert": 3, "activation": "relu2"},
]


@pytest.mark.parametrize("how", [{"narrow": False}, {"narrow": True}, *VARIANTS], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("blocks", [1, 2, 3, 9])
def test_checkpoints_change_no_bit_of_the_gradients(blocks, dropout, how):
    (plain, drawn), (less, drawn_then) = [gradients(b, dropout, **how) for b in (0, blocks)]
    assert_same(less, plain)
    assert drawn == drawn_then


def bytes_of(blocks, **sizes):
    """Bytes that forward leaves, and the most that there are until backward ends, above the model's."""
    model, inputs, targets = model_and_batch(**sizes)
    model.checkpoint_blocks = blocks
    before = pool.settle().live
    pool.reset_peak()
    loss = model.loss(inputs, targets)
    kept = pool.settle().live - before
    loss.backward()
    return kept, pool.settle().peak - before


def test_checkpoints_keep_the_inputs_of_regions_alone():
    sizes = {"n_layer": 8, "block_size": 64, "n_embd": 64, "batch": 8}
    stream = 4 * 8 * 64 * 64  # bytes of the residual stream, (B, T, C)
    (kept, peak), (kept_1, peak_1), (kept_4, peak_4) = [bytes_of(b, **sizes) for b in (0, 1, 4)]
    per_block = 14 * stream  # at least: GPT-2 saves 16
    assert kept > 8 * per_block
    assert kept_1 < (8 + 4) * stream  # inputs of the blocks, last norm, logits
    assert kept_4 < (2 + 4) * stream
    assert peak_1 < peak - 5 * per_block
    assert peak_1 < peak_4 < peak - 2 * per_block


@pytest.mark.parametrize("blocks", [0, 1, 2, 4])
def test_the_plan_counts_them(blocks):
    config = GPTConfig(23, block_size=64, n_layer=8, n_head=2, n_embd=64)
    recipe = TrainConfig(batch_size=8, checkpoint_blocks=blocks)
    planned = plan(config, recipe, flops_per_second=1e9)
    _, peak = bytes_of(blocks, n_layer=8, block_size=64, n_embd=64, batch=8)
    most = planned.activation_bytes + planned.gradient_bytes
    assert 0.75 * most < peak < most  # not all gradients are there at the worst moment
    assert (planned.again_flops_per_token > 0) == (blocks > 0)
    assert "forward again" in planned.table() or not blocks


def test_a_run_checkpoints_its_blocks(tmp_path):
    run = Run(*tiny(tmp_path / "run", "--checkpoint_blocks=2"))
    assert run.model.checkpoint_blocks == 2
    with pytest.raises(tt.ArgumentError, match="checkpoint_blocks"):
        tiny(tmp_path / "run", "--checkpoint_blocks=-1")


CAPTURED = (
    (),
    ("--dropout=0.2", "--checkpoint_blocks=1"),
    ("--dtype=bfloat16",),
    ("--gradient_accumulation_steps=2",),
    ("--optimizer=muon",),
)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("words", CAPTURED, ids=" ".join)
def test_captured_steps_have_the_bits_of_eager_ones(tmp_path, words, device):
    found = []
    for capture in (True, False):
        more = ("--max_steps=8", "--log_interval=2", f"--capture={capture}", f"--device={device}", *words)
        run = Run(*tiny(tmp_path / str(capture), *more))
        trainer = Trainer(run, quiet=True)
        trainer.train()
        assert getattr(trainer.captured, "graphs", 0) == capture
        found.append(run)
    for name in ("loss", "grad_norm"):
        assert logged(found[0], name) == logged(found[1], name)
    assert len(logged(found[0], "loss")) == 4
    assert_same(*[run.model.cpu() for run in found])


@pytest.mark.parametrize("capture", [True, False])
def test_on_a_device_a_step_reads_nothing_and_a_loss_that_diverged_is_named_later(tmp_path, capture):
    words = ("--max_steps=20", "--log_interval=10", "--device=emulated", f"--capture={capture}")
    run = Run(*tiny(tmp_path / "run", *words))
    trainer = Trainer(run, quiet=True)
    for _ in range(4):
        assert trainer.step().keys() == {"step", "lr"}
    loss = run.loss
    run.loss = lambda *batch: loss(*batch) * float("inf")
    trainer.captured = None
    with pytest.raises(tt.ArgumentError, match="the loss is inf at step 4"):
        trainer.train()
    assert not list(run.folder.glob("step_*"))


def test_graphs_are_kept_for_a_few_shapes_of_batches():
    step = CapturedStep(lambda x: (x * 2).sum())
    for size in (*range(1, 7), *range(1, 7), *range(1, 7)):
        assert step([np.ones(size, np.float32)]).item() == 2 * size
    assert step.graphs == 4


def test_a_loss_that_reads_numbers_is_not_captured(tmp_path, capsys):
    run = Run(*tiny(tmp_path / "run", "--max_steps=4"))
    loss = run.loss
    run.loss = lambda *batch: loss(*batch) * float(loss(*batch).item() > 0)
    trainer = Trainer(run)
    trainer.train()
    assert run.step == 4
    assert trainer.captured is None
    assert "steps are not captured: cpu: reading a result" in capsys.readouterr().out


# ---- products in 16 bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.03), ("float16", 0.01)])
def test_the_losses_follow_those_of_float32(dtype, bound, tmp_path):
    wide, narrow = [
        train(*tiny(tmp_path / kind, "--max_steps=30", "--log_interval=1", f"--dtype={kind}"), quiet=True)
        for kind in ("float32", dtype)
    ]
    assert all(p.dtype is tt.float32 for p in narrow.model.parameters())
    np.testing.assert_allclose(logged(narrow, "loss"), logged(wide, "loss"), atol=bound)
    assert logged(narrow, "loss") != logged(wide, "loss")


def test_a_step_that_overflows_is_skipped(tmp_path):
    run = Run(*tiny(tmp_path / "run", "--dtype=float16"))
    run.scaler.load_state_dict({"scale": 1e38, "good_steps": 0})
    before = {name: array.copy() for name, array in arrays_of(run).items()}
    numbers = Trainer(run, quiet=True).step()
    assert numbers["grad_norm"] is None
    assert np.isfinite(numbers["loss"])
    assert_same(run, before)
    assert run.scaler.get_scale() == 0.5e38
