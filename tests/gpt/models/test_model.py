"""The model against what transformers computed, and against what it must be: causal, as large as it says."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.models.positions import sinusoidal_positions
from gpt.models.residual import Residual
from tests.helpers.source import ROOT
from tinytensor.interop.safetensors_file import read_safetensors
from tinytensor.optim import AdamW, clip_grad_norm_

GOLDEN = ROOT / "tests" / "golden" / "gpt2_2layer.safetensors"
TINY = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)


@pytest.fixture(scope="module")
def golden():
    file = read_safetensors(GOLDEN)
    return file.arrays(), json.loads(file.metadata["config"]), float(file.metadata["loss"])


@pytest.fixture
def model(golden):
    arrays, about, _ = golden
    model = GPT(
        GPTConfig(**{k: about[k] for k in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")})
    )
    names = [n for n in arrays if n.startswith("weight.")]
    model.load_state_dict({n.removeprefix("weight."): tt.tensor(np.asarray(arrays[n])) for n in names})
    return model


def batch(arrays, step):
    return tt.tensor(np.asarray(arrays["inputs"][step])), tt.tensor(np.asarray(arrays["targets"][step]))


def test_loss_and_gradients_equal_those_of_pytorch(golden, model):
    arrays, _, expected = golden
    loss = model.loss(*batch(arrays, 0))
    assert abs(loss.item() - expected) < 1e-6
    loss.backward()
    for name, p in model.named_parameters():
        want, got = arrays[f"grad.{name}"], p.grad.numpy()
        # the bound of each tensor as a whole: the key part of the attention bias is zero by mathematics
        assert np.abs(got - want).max() < 3e-4 * np.abs(want).max(), name


def test_fifty_steps_of_adamw_follow_pytorch(golden, model):
    arrays, about, _ = golden
    optimizer = AdamW(
        model.parameter_groups(about["weight_decay"]), lr=about["lr"], betas=tuple(about["betas"])
    )
    losses = []
    for step in range(len(arrays["losses"])):
        optimizer.zero_grad()
        loss = model.loss(*batch(arrays, step))
        loss.backward()
        clip_grad_norm_(model.parameters(), about["clip"])
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, arrays["losses"], atol=1e-5, rtol=0)


def test_a_new_model_guesses_evenly():
    config = GPTConfig(vocab_size=65, block_size=16, n_layer=4, n_head=4, n_embd=64)
    model = GPT(config, tt.Generator(0))
    ids, targets = tt.tensor(np.random.default_rng(0).integers(0, 65, (2, 8, 16)))
    assert abs(model.loss(ids, targets).item() - np.log(65)) < 0.05 * np.log(65)
    assert all((p.detach().numpy() == 0).all() for n, p in model.named_parameters() if n.endswith(".bias"))
    stds = {n: p.detach().numpy().std() for n, p in model.named_parameters() if p.ndim == 2}
    for name, std in stds.items():
        assert std == pytest.approx(0.02 / np.sqrt(8) if "c_proj" in name else 0.02, rel=0.1), name


def test_a_block_takes_and_returns_a_tensor_or_a_sum():
    block, x = GPT(TINY, tt.Generator(1)).eval().h[0], tt.randn(1, 4, TINY.n_embd)
    y = tt.randn(*x.shape)
    with tt.no_grad():
        whole, parts = block(x + y), block(Residual(x, y))
    assert type(whole) is tt.Tensor
    assert parts.y is not None
    np.testing.assert_allclose(parts.total().numpy(), whole.numpy(), rtol=1e-6, atol=1e-6)


def test_dropout_acts_in_training_only_and_is_reproducible():
    config = GPTConfig(**{**TINY.__dict__, "dropout": 0.5})
    model = GPT(config, tt.Generator(0))
    ids = tt.tensor([[1, 2, 3, 4]])
    runs = []
    for _ in range(2):
        tt.manual_seed(5)
        runs.append(model(ids).detach().numpy())
    np.testing.assert_array_equal(*runs)
    assert (model(ids).detach().numpy() != runs[0]).any()
    model.eval()
    np.testing.assert_array_equal(model(ids).detach().numpy(), model(ids).detach().numpy())
    assert (model(ids).detach().numpy() != runs[0]).any()


def test_sinusoidal_positions_against_the_formula():
    table = sinusoidal_positions(7, 6).numpy()
    for t in range(7):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert table[t, 2 * i] == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[t, 2 * i + 1] == pytest.approx(np.cos(angle), abs=1e-6)


def test_waves_are_added_to_tokens_of_their_size():
    model = GPT(GPTConfig(**{**TINY.__dict__, "position": "sinusoidal"}), tt.Generator(0))
    table, C = model.wte.weight.detach().numpy(), TINY.n_embd
    wanted = np.sqrt(C) * table[[[3, 1, 3]]] + sinusoidal_positions(3, C).numpy()
    np.testing.assert_allclose(model.embed(tt.tensor([[3, 1, 3]])).detach().numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize(("ids", "error"), [
    ([1, 2], tt.ShapeError), ([[0] * 9], tt.ShapeError), ([[0.5]], tt.DTypeError),
    ([[11]], tt.IndexRangeError), ([[-1]], tt.IndexRangeError),
])  # fmt: skip
def test_wrong_ids_say_so(ids, error):
    with pytest.raises(error):
        GPT(TINY)(tt.tensor(ids))


def test_an_unsettled_vocabulary_is_refused():
    with pytest.raises(tt.ArgumentError, match="tokenizer"):
        GPT(GPTConfig(vocab_size=0, block_size=8, n_layer=1, n_head=1, n_embd=8))


def test_scaled_weights_begin_with_the_uniform_guess() -> None:
    """A new model predicts all tokens alike, so its loss is log V; products keep the size of their inputs."""
    config = replace(TINY, n_embd=64, n_head=4, tied_head=False, init="scaled")
    model = GPT(config, tt.Generator(0))
    ids = tt.tensor(np.random.default_rng(0).integers(0, config.vocab_size, (4, 8)))
    assert model.loss(ids, ids).item() == pytest.approx(np.log(config.vocab_size), abs=1e-6)
    for name, p in model.named_parameters():
        if name.startswith("h.") and p.ndim == 2:
            wanted = 0.0 if "c_proj" in name else 1 / np.sqrt(p.shape[0])
            assert p.detach().numpy().std() == pytest.approx(wanted, rel=0.03), name
