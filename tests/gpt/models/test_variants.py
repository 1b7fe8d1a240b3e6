"""Every variant of the model: causal, differentiable, the same with a cache, as large as the plan says."""

from dataclasses import replace
from math import erf, pi
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.experts import MixtureOfExperts
from gpt.models.feed_forward import MLP, activate
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from gpt.models.parameter_shapes import parameter_shapes
from gpt.models.positions import Rotary, alibi_slopes

SMALL = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=4, n_embd=16)
# Every value of every field with named values, but of initial weights, which are not part of the function.
CHOICES = {
    name: get_args(hint) for name, hint in get_type_hints(GPTConfig).items()
    if get_origin(hint) is Literal and name != "init"
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    **{f"{name}={value}": {name: value} for name, values in CHOICES.items() for value in values[1:]},
    "post rms norm": {"norm_position": "post", "norm": "rms_norm"},
    "relu2, no bias": {"activation": "relu2", "bias": False},
    "grouped": {"n_kv_head": 2},
    "multi-query": {"n_kv_head": 1, "bias": False},
    "window": {"sliding_window": 3},
    "rope window": {"position": "rope", "sliding_window": 3, "n_kv_head": 2},
    "alibi window": {"position": "alibi", "sliding_window": 5, "n_kv_head": 1},
    "qk norm": {"qk_norm": True},
    "soft cap": {"logit_soft_cap": 0.5},
    "own head": {"tied_head": False},
    "experts": {"n_expert": 4},
    "swiglu experts": {"n_expert": 3, "n_expert_active": 1, "activation": "swiglu", "bias": False},
    "llama": {
        "position": "rope", "norm": "rms_norm", "activation": "swiglu", "n_kv_head": 2, "n_inner": 24,
        "bias": False, "tied_head": False,
    },
    "all at once": {
        "position": "rope", "norm": "rms_norm", "activation": "swiglu", "n_kv_head": 1, "qk_norm": True,
        "sliding_window": 4, "logit_soft_cap": 3.0, "n_expert": 3, "norm_position": "post",
    },
}  # fmt: skip


def enlarged(model: GPT, dtype: Any = tt.float32) -> Any:
    """With weights large enough that everything in it matters."""
    rng = np.random.default_rng(0)
    with tt.no_grad():
        for p in model.parameters():
            numbers = p.detach().numpy()
            p.copy_(tt.tensor(numbers * 8 if p.ndim > 1 else numbers + 0.2 * rng.standard_normal(p.shape)))
    return model.eval().to(dtype)


def model_of(config: GPTConfig, dtype: Any = tt.float32) -> GPT:
    model: GPT = enlarged(GPT(config, tt.Generator(1)), dtype)
    return model


def against_differences(model: GPT, loss: Any) -> None:
    """Gradients of a float64 model against central differences, each parameter along one direction."""
    loss().backward()
    rng, step = np.random.default_rng(2), 1e-5
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        direction, found = rng.standard_normal(p.shape), []
        if "router" in name:
            direction *= 1e-2  # a large step would change which experts are chosen
        with tt.no_grad():
            before = p.detach().numpy().copy()
            for sign in (1, -1):
                p.copy_(tt.tensor(before + sign * step * direction))
                found.append(loss().item())
            p.copy_(tt.tensor(before))
        numeric, exact = (found[0] - found[1]) / (2 * step), float((p.grad.numpy() * direction).sum())
        assert abs(numeric - exact) < 1e-6 * max(1, abs(exact)), name


def some_ids(B: int, T: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 11, (B, T))


def logits(model: GPT, ids: Any, cache: KVCache | None = None) -> Any:
    with tt.no_grad():
        return model(tt.tensor(ids), cache).numpy()


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> GPTConfig:
    return replace(SMALL, **VARIANTS[request.param])


def test_it_has_the_parameters_of_the_plan(config: GPTConfig) -> None:
    model = GPT(config)
    assert {name: p.shape for name, p in model.named_parameters()} == parameter_shapes(config)
    assert set(model.state_dict()) == set(parameter_shapes(config))


def test_it_is_causal_and_sees_the_window(config: GPTConfig) -> None:
    """A change of one token changes it and what sees it, layer by layer, and nothing else."""
    model, ids = model_of(config), some_ids(2, 8)
    changed = ids.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    a, b = logits(model, ids), logits(model, changed)
    np.testing.assert_array_equal(a[:, :5], b[:, :5])
    assert (a[:, 5:] != b[:, 5:]).any(-1).all()
    far = 1 + config.n_layer * (config.window - 1)  # so many tokens see the first one, itself among them
    long = some_ids(1, far + 3) if not config.positions_end else some_ids(1, 8)
    changed = long.copy()
    changed[:, 0] = (changed[:, 0] + 1) % 11
    a, b = logits(model, long), logits(model, changed)
    np.testing.assert_array_equal(a[:, far:], b[:, far:])
    assert (a[:, :far] != b[:, :far]).any(-1).all()


def test_gradients_against_finite_differences(config: GPTConfig) -> None:
    model = model_of(replace(config, n_layer=1), tt.float64)
    ids, targets = tt.tensor(some_ids(2, 6)), tt.tensor(some_ids(2, 6, seed=1))
    against_differences(model, lambda: model.loss(ids, targets))


def in_pieces(model: GPT, ids: Any, sizes: list[int]) -> Any:
    cache, at, found = KVCache(model.config, len(ids)), 0, []
    for size in sizes:
        found.append(logits(model, ids[:, at : at + size], cache))
        at += size
        assert cache.length == at
    return np.concatenate(found, 1)


@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 1, 2, 2]])
def test_cached_equals_uncached(config: GPTConfig, sizes: list[int]) -> None:
    model, ids = model_of(config), some_ids(2, 8)
    whole = logits(model, ids)
    np.testing.assert_allclose(in_pieces(model, ids, sizes), whole, atol=2e-5 * np.abs(whole).max())


def test_cached_equals_uncached_beyond_the_context(config: GPTConfig) -> None:
    model, ids = model_of(config), some_ids(1, 50)
    if config.positions_end:
        with pytest.raises(tt.ShapeError, match="position embeddings"):
            in_pieces(model, ids, [8, 1])
    else:
        whole = logits(model, ids)
        for sizes in ([6, 1, 2, *[1] * 41], [1, 30, 1, 18], [50]):
            found = in_pieces(model, ids, sizes)
            np.testing.assert_allclose(found, whole, atol=2e-5 * np.abs(whole).max())


grid = st.fixed_dictionaries(
    {
        **{name: st.sampled_from(values) for name, values in CHOICES.items()},
        "n_kv_head": st.sampled_from([0, 1, 2, 4]),
        "sliding_window": st.integers(0, 8),
        "qk_norm": st.booleans(),
        "logit_soft_cap": st.sampled_from([0.0, 2.0]),
        "n_expert": st.sampled_from([0, 2, 5]),
        "bias": st.booleans(),
        "tied_head": st.booleans(),
    }
)


@settings(deadline=None, max_examples=60)
@given(grid, st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_cached_equals_uncached_over_the_grid(variant: dict[str, Any], sizes: list[int]) -> None:
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=4, n_embd=16, **variant)
    if config.positions_end:
        sizes = [1 + size // 10 for size in sizes][:2]
    model, ids = model_of(config), some_ids(1, sum(sizes))
    whole = logits(model, ids)
    np.testing.assert_allclose(in_pieces(model, ids, sizes), whole, atol=5e-5 * np.abs(whole).max())


def test_a_cache_says_how_many_tokens_fit_at_once() -> None:
    cache = KVCache(replace(SMALL, position="rope"), 1)
    assert cache.pieces(24) == [24]
    cache.claim(20)
    assert cache.pieces(40) == [4, 17, 17, 2]
    with pytest.raises(tt.ShapeError, match="at most 17 tokens at a time"):
        cache.claim(18)


# ---- the parts -----------------------------------------------------------------------------------------


def test_slopes_of_the_paper() -> None:
    eight, four = [2.0**-i for i in range(1, 9)], [2 ** -(i + 0.5) for i in range(4)]
    np.testing.assert_allclose(alibi_slopes(8).numpy(), eight)
    np.testing.assert_allclose(alibi_slopes(12).numpy(), eight + four, rtol=1e-6)


def test_rope_keeps_lengths_and_makes_scores_of_distances() -> None:
    rotary = Rotary(GPTConfig(vocab_size=1, block_size=32, n_layer=1, n_head=1, n_embd=8))
    q, k = (
        tt.tensor(np.random.default_rng(i).standard_normal((1, 1, 1, 8)), dtype=tt.float32) for i in (0, 1)
    )

    def turned(x: tt.Tensor, position: int) -> Any:
        return rotary.turn(x, rotary.angles(tt.tensor([position]))).numpy().ravel()

    assert np.linalg.norm(turned(q, 17)) == pytest.approx(np.linalg.norm(q.numpy()), rel=1e-6)
    scores = [turned(q, 5 + at) @ turned(k, at) for at in (0, 3, 20, 100)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)
    real, imaginary = q.numpy().reshape(2, 4)
    wanted = (real + 1j * imaginary) * np.exp(3j * 10000.0 ** (-np.arange(4) / 4))
    np.testing.assert_allclose(turned(q, 3), np.concatenate([wanted.real, wanted.imag]), atol=1e-6)


def test_activations_against_their_formulas() -> None:
    x = np.linspace(-3, 3, 13)
    formulas = {
        "gelu": x / 2 * (1 + np.tanh(np.sqrt(2 / pi) * (x + 0.044715 * x**3))),
        "gelu_erf": x / 2 * (1 + np.vectorize(erf)(x / np.sqrt(2))),
        "relu": np.maximum(x, 0),
        "relu2": np.maximum(x, 0) ** 2,
        "swiglu": x / (1 + np.exp(-x)),
    }
    assert formulas.keys() == set(CHOICES["activation"])
    for name, expected in formulas.items():
        np.testing.assert_allclose(activate(tt.tensor(x), name).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("tokens", [2, 40])
def test_equal_experts_are_one_feed_forward_part(activation: str, tokens: int) -> None:
    config = replace(SMALL, n_expert=6, activation=activation)
    experts, dense = MixtureOfExperts(config), MLP(config)
    with tt.no_grad():
        for name, p in dense.named_parameters():
            dict(experts.named_parameters())[name].copy_(p)  # the same for each of them
    x = tt.tensor(np.random.default_rng(0).standard_normal((1, tokens, 16)), dtype=tt.float32)
    np.testing.assert_allclose(experts(x).detach().numpy(), dense(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("tokens", [1, 40])
def test_experts_against_the_definition(tokens: int) -> None:
    config = replace(SMALL, n_expert=5, activation="relu")
    part = MixtureOfExperts(config)
    x = np.random.default_rng(0).standard_normal((tokens, 16))
    found = part(tt.tensor(x[None], dtype=tt.float32)).detach().numpy()[0]
    w = {name: p.detach().numpy().astype(np.float64) for name, p in part.named_parameters()}
    scores = x @ w["router.weight"] + w["router.bias"] if "router.bias" in w else x @ w["router.weight"]
    counts = np.zeros(5)
    for t in range(tokens):
        best = np.argsort(-scores[t])[:2]
        gates = np.exp(scores[t][best]) / np.exp(scores[t][best]).sum()
        expected = 0
        for gate, e in zip(gates, best, strict=True):
            h = np.maximum(x[t] @ w["c_fc.weight"][e] + w["c_fc.bias"][e], 0)
            expected = expected + gate * (h @ w["c_proj.weight"][e] + w["c_proj.bias"][e])
            counts[e] += 1
        np.testing.assert_allclose(found[t], expected, atol=1e-5)
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert part.balance is not None
    assert part.balance.item() == pytest.approx(5 * (counts / counts.sum() * p.mean(0)).sum(), rel=1e-5)


def test_the_balance_of_experts_is_in_the_loss_of_training_alone() -> None:
    model = model_of(replace(SMALL, n_expert=4))
    ids, targets = tt.tensor(some_ids(2, 8)), tt.tensor(some_ids(2, 8, seed=1))
    plain = model.loss(ids, targets).item()
    balance = model.balance()
    assert balance is not None
    assert model.train().loss(ids, targets).item() == pytest.approx(plain + 0.01 * balance.item(), abs=1e-6)
    assert GPT(SMALL).balance() is None


def test_only_matrices_decay() -> None:
    model = GPT(replace(SMALL, n_expert=2, qk_norm=True, norm="rms_norm"))
    names = {id(p): name for name, p in model.named_parameters()}
    decay, rest = [{names[id(p)] for p in group["params"]} for group in model.parameter_groups(0.1)]
    assert decay | rest == set(names.values())
    assert rest == {
        n for n in names.values() if n.endswith(".bias") or ".ln_" in n or "_norm" in n or n[:4] == "ln_f"
    }


def test_a_soft_cap_bounds_the_logits() -> None:
    found = logits(model_of(replace(SMALL, logit_soft_cap=0.5)), some_ids(2, 8))
    free = logits(model_of(SMALL), some_ids(2, 8))
    np.testing.assert_allclose(found, 0.5 * np.tanh(free / 0.5), atol=1e-6)
