"""What a recipe can ask for beside the plain one: each option, and all of them when resuming."""

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.data.batches import Batches
from gpt.models.gpt import GPT
from gpt.presets import configs_from
from gpt.training.command import train
from gpt.training.plan import plan
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.steps import CapturedStep
from gpt.training.train import Trainer
from tests.helpers.stopped import train_until
from tinytensor.runtime.cpu.memory import pool

QUIET = ("--preset=tiny", "--eval_interval=0", "--sample_interval=0", "--keep_checkpoints=9")


def configs(folder, *words):
    return configs_from([*QUIET, f"--out_dir={folder}", *words], default="tiny")


def weights(model):
    return {name: p.detach().numpy() for name, p in model.state_dict().items()}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


# ---- all of them: resuming ---------------------------------------------------------------------------------

OPTIONS = {
    "none": (),
    "muon": ("--optimizer=muon", "--matrix_learning_rate=0.01", "--init=scaled"),
    "checkpoints": ("--checkpoint_blocks=1", "--dropout=0.2"),
    "all": (
        *(
            "--optimizer=muon",
            "--checkpoint_blocks=2",
            "--dropout=0.2",
            "--gradient_accumulation_steps=2",
            "--health_interval=3",
        ),
    ),
    "all in 16 bits": (
        *(
            "--optimizer=muon",
            "--checkpoint_blocks=1",
            "--dropout=0.2",
            "--dtype=float16",
            "--health_interval=3",
        ),
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_resuming_gives_the_bits_of_an_uninterrupted_run(name, tmp_path):
    words = (*OPTIONS[name], "--max_steps=14", "--checkpoint_interval=7")
    whole = train(*configs(tmp_path / "whole", *words), quiet=True)
    train_until(Trainer(Run(*configs(tmp_path / "parts", *words)), quiet=True), 7)
    resumed = train(*configs(tmp_path / "parts", *words, "--init_from=resume"), quiet=True)
    assert_equal(weights(resumed.model), weights(whole.model))
    kept = ("step", "loss", "grad_norm", "health")
    logs = [[{k: line.get(k) for k in kept} for line in RunLog(r.folder).read()] for r in (whole, resumed)]
    assert logs[0] == logs[1]
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


@pytest.mark.parametrize("words", [(), ("--n_expert=3", "--activation=swiglu"), ("--tied_head=false",)])
def test_muon_moves_the_matrices_of_blocks_alone(words, tmp_path):
    run = Run(*configs(tmp_path / "run", "--optimizer=muon", *words))
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
    before = weights(Run(*configs(tmp_path / "begin", *words)).model)
    for rate, rates in (("0", {1e-3}), ("4e-3", {1e-3, 4e-3})):
        begun = Run(*configs(tmp_path / f"begin{rate}", *words, f"--matrix_learning_rate={rate}"))
        assert {group["lr"] for group in begun.optimizer.param_groups} == rates
    runs = {
        rate: train(*configs(tmp_path / rate, *words, f"--matrix_learning_rate={rate}"), quiet=True)
        for rate in ("0", "1e-3", "4e-3")
    }
    assert_equal(weights(runs["0"].model), weights(runs["1e-3"].model))
    moved = {
        rate: {k: np.abs(w - before[k]).max() for k, w in weights(runs[rate].model).items()} for rate in runs
    }
    for name, distance in moved["0"].items():
        factor = moved["4e-3"][name] / distance
        assert factor > 3 if "c_" in name and name.endswith("weight") else 0.5 < factor < 2, name


def test_a_run_is_resumed_with_its_optimizer(tmp_path):
    train(*configs(tmp_path / "run", "--max_steps=2"), quiet=True)
    with pytest.raises(tt.ArgumentError, match="optimizer"):
        Run(*configs(tmp_path / "run", "--init_from=resume", "--optimizer=muon"))


# ---- accumulation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_accumulated_steps_are_those_of_the_large_batch(optimizer, tmp_path):
    words = ("--max_steps=6", "--batch_order=consecutive", f"--optimizer={optimizer}", "--log_interval=1")
    runs = [
        train(
            *configs(
                tmp_path / str(b), *words, f"--batch_size={b}", f"--gradient_accumulation_steps={12 // b}"
            ),
            quiet=True,
        )
        for b in (12, 4, 1)
    ]
    lines = [[line for line in RunLog(r.folder).read() if "loss" in line] for r in runs]
    first, *others = [[(line["loss"], line["grad_norm"]) for line in of_run] for of_run in lines]
    for numbers in others:
        np.testing.assert_allclose(numbers, first, rtol=1e-4)
    for run in runs[1:]:
        for name, array in weights(runs[0].model).items():
            np.testing.assert_allclose(weights(run.model)[name], array, atol=3e-4, err_msg=name)


# ---- checkpoints of blocks ---------------------------------------------------------------------------------


def model_and_batch(n_layer=4, block_size=16, n_embd=16, batch=3, dropout=0.0):
    config = GPTConfig(23, block_size, n_layer, n_head=2, n_embd=n_embd, dropout=dropout)
    tokens = np.random.default_rng(0).integers(0, 23, 4 * batch * block_size)
    inputs, targets = Batches(tokens, batch, block_size, seed=1).batch(0)
    return GPT(config, tt.Generator(0)).train(), tt.tensor(inputs), tt.tensor(targets)


def gradients(blocks, narrow, dropout):
    model, inputs, targets = model_and_batch(dropout=dropout)
    model.checkpoint_blocks = blocks
    tt.manual_seed(7)
    with tt.autocast(tt.bfloat16, enabled=narrow):
        loss = model.loss(inputs, targets)
    loss.backward()
    drawn = tt.default_generator.get_state()
    return {"loss": loss.detach().numpy(), **{n: p.grad.numpy() for n, p in model.named_parameters()}}, drawn


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("blocks", [1, 2, 3, 9])
def test_checkpoints_change_no_bit_of_the_gradients(blocks, dropout, narrow):
    (plain, drawn), (less, drawn_then) = [gradients(b, narrow, dropout) for b in (0, blocks)]
    assert_equal(less, plain)
    assert drawn == drawn_then


VARIANTS = [
    {"position": "rope", "norm": "rms_norm", "activation": "swiglu", "n_kv_head": 1, "sliding_window": 6},
    {"position": "alibi", "norm_position": "post", "logit_soft_cap": 5.0, "qk_norm": True},
    {"n_expert": 3, "activation": "relu2"},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_nor_of_the_variants(variant):
    config = GPTConfig(23, block_size=16, n_layer=3, n_head=2, n_embd=16, dropout=0.2, **variant)
    ids = tt.tensor(np.random.default_rng(0).integers(0, 23, (3, 16)))
    found = []
    for blocks in (0, 1, 2):
        model = GPT(config, tt.Generator(0)).train()
        model.checkpoint_blocks = blocks
        tt.manual_seed(7)
        model.loss(ids, ids).backward()
        found.append({n: p.grad.numpy() for n, p in model.named_parameters()})
    assert_equal(found[1], found[0])
    assert_equal(found[2], found[0])


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
    most = (
        planned.activation_bytes + planned.gradient_bytes
    )  # not all gradients are there at the worst moment
    assert 0.75 * most < peak < most
    assert (planned.again_flops_per_token > 0) == (blocks > 0)
    assert "forward again" in planned.table() or not blocks


def test_a_run_checkpoints_its_blocks(tmp_path):
    run = Run(*configs(tmp_path / "run", "--checkpoint_blocks=2"))
    assert run.model.checkpoint_blocks == 2
    with pytest.raises(tt.ArgumentError, match="checkpoint_blocks"):
        configs(tmp_path / "run", "--checkpoint_blocks=-1")


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
        run = Run(*configs(tmp_path / str(capture), *more))
        trainer = Trainer(run, quiet=True)
        trainer.train()
        assert (trainer.captured is not None) == capture
        if trainer.captured is not None:
            assert trainer.captured.graphs == 1
        lines = [(x["loss"], x["grad_norm"]) for x in RunLog(run.folder).read() if "loss" in x]
        assert len(lines) == 4
        found.append((lines, {name: p.cpu().numpy().tobytes() for name, p in run.model.state_dict().items()}))
    assert found[0] == found[1]


@pytest.mark.parametrize("capture", [True, False])
def test_on_a_device_a_step_reads_nothing_and_a_loss_that_diverged_is_named_later(tmp_path, capture):
    words = ("--max_steps=20", "--log_interval=10", "--device=emulated", f"--capture={capture}")
    run = Run(*configs(tmp_path / "run", *words))
    trainer = Trainer(run, quiet=True)
    for _ in range(4):
        assert trainer.step().keys() == {"step", "lr"}
    trainer.loss = lambda *batch: run.loss(*batch) * float("inf")
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
    run = Run(*configs(tmp_path / "run", "--max_steps=4"))
    loss = run.loss
    run.loss = lambda *batch: loss(*batch) * float(loss(*batch).item() > 0)
    trainer = Trainer(run)
    trainer.train()
    assert run.step == 4
    assert trainer.captured is None
    assert "steps are not captured: cpu: reading a result" in capsys.readouterr().out
