"""The encoder and the encoder-decoder: who sees whom, gradients, padding, caches, generation, devices."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.lessons.seq2seq import CrossAttention, Encoder, EncoderDecoder, TwoWayAttention, real_tokens
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from tests.gpt.models.test_variants import SMALL, against_differences, enlarged, some_ids

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "paper": {"position": "sinusoidal", "norm_position": "post", "activation": "relu"},
    "rope, grouped, qk norm": {"position": "rope", "n_kv_head": 2, "qk_norm": True, "bias": False},
    "rms, swiglu, own head": {"norm": "rms_norm", "activation": "swiglu", "n_inner": 20, "tied_head": False},
    "no positions, one key, cap": {"position": "none", "n_kv_head": 1, "logit_soft_cap": 2.0},
}


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> GPTConfig:
    return replace(SMALL, **VARIANTS[request.param])


def logits(model: GPT, ids: Any, *sources: Any) -> Any:
    with tt.no_grad():
        if sources:
            model.read(*[tt.tensor(x) for x in sources])
        return model(tt.tensor(ids)).numpy()


# ---- the encoder ------------------------------------------------------------------------------------------


def test_an_encoder_has_the_parameters_of_a_gpt_and_sees_both_sides(config: GPTConfig) -> None:
    model, ids = enlarged(Encoder(config, tt.Generator(1))), some_ids(2, 8)
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in GPT(config).named_parameters()
    }
    for place in (0, 5, 7):
        changed = ids.copy()
        changed[:, place] = (changed[:, place] + 1) % 11
        assert (logits(model, ids) != logits(model, changed)).any(-1).all()


def test_a_causal_mask_makes_an_encoder_a_gpt() -> None:
    """The one difference between both: with the mask of the past, the same weights give the same numbers."""
    encoder, decoder = enlarged(Encoder(SMALL, tt.Generator(1))), enlarged(GPT(SMALL, tt.Generator(1)))
    decoder.load_state_dict(encoder.state_dict())
    ids = tt.tensor(some_ids(2, 8))
    with tt.no_grad():
        x = encoder.embed(ids)
        for block in encoder.h:
            x = block(x, seen=tt.tensor(np.tri(8, dtype=bool)[None, None]))
        np.testing.assert_allclose(encoder.head(x).numpy(), decoder(ids).numpy(), rtol=1e-4, atol=1e-4)


def test_gradients_of_the_encoder(config: GPTConfig) -> None:
    model = enlarged(Encoder(replace(config, n_layer=1), tt.Generator(1)), tt.float64)
    ids, targets = tt.tensor(some_ids(2, 6)), some_ids(2, 6, seed=1)
    targets[:, ::2] = -100
    against_differences(model, lambda: model.loss(ids, tt.tensor(targets)))


def test_checkpointed_blocks_give_the_same_gradients() -> None:
    model, ids = enlarged(Encoder(SMALL, tt.Generator(1)), tt.float64), tt.tensor(some_ids(2, 8))
    model.loss(ids, ids).backward()
    whole = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    model.checkpoint_blocks = 1
    model.loss(ids, ids).backward()
    for p, wanted in zip(model.parameters(), whole, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("change", [{"position": "alibi"}, {"sliding_window": 4}])
def test_what_only_looks_back_is_refused(change: dict[str, Any]) -> None:
    for kind in (TwoWayAttention, EncoderDecoder):
        with pytest.raises(tt.ArgumentError, match="TwoWayAttention"):
            kind(replace(SMALL, **change))


def test_an_encoder_has_no_cache_and_an_encoder_decoder_no_experts() -> None:
    with pytest.raises(tt.ArgumentError, match="cache"), tt.no_grad():
        Encoder(SMALL)(tt.tensor([[1]]), KVCache(SMALL, 1))
    with pytest.raises(tt.ArgumentError, match="n_expert"):
        EncoderDecoder(replace(SMALL, n_expert=2))
    with pytest.raises(tt.ArgumentError, match="no source"):
        EncoderDecoder(SMALL)(tt.tensor([[1]]))


# ---- cross-attention --------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [4, 2, 1])
def test_cross_attention_against_the_formula(heads: int) -> None:
    cross = CrossAttention(replace(SMALL, n_kv_head=heads)).to(tt.float64).eval()
    rng = np.random.default_rng(0)
    x, source, lengths = rng.standard_normal((2, 3, 16)), rng.standard_normal((2, 5, 16)), [5, 2]
    seen = real_tokens(tt.tensor(lengths), 5)
    found = cross(tt.tensor(x), cross.remember(tt.tensor(source), seen)).detach().numpy()
    w = {name: p.detach().numpy() for name, p in cross.named_parameters()}
    for b, length in enumerate(lengths):
        q = (x[b] @ w["c_q.weight"] + w["c_q.bias"]).reshape(3, 4, 4)
        kv = (source[b, :length] @ w["c_kv.weight"] + w["c_kv.bias"]).reshape(length, 2, heads, 4)
        gathered = np.empty((3, 4, 4))
        for h in range(4):
            k, v = kv[:, 0, h * heads // 4], kv[:, 1, h * heads // 4]
            weights = np.exp(q[:, h] @ k.T / 2)
            gathered[:, h] = weights / weights.sum(-1, keepdims=True) @ v
        expected = gathered.reshape(3, 16) @ w["c_proj.weight"] + w["c_proj.bias"]
        np.testing.assert_allclose(found[b], expected, atol=1e-12)


# ---- the encoder-decoder ----------------------------------------------------------------------------------


def test_who_sees_whom(config: GPTConfig) -> None:
    """The target sees all of the source, padding left out, and of itself what came before."""
    model = enlarged(EncoderDecoder(config, tt.Generator(1)))
    source, ids, lengths = some_ids(2, 7), some_ids(2, 6, seed=1), np.array([7, 4])
    whole = logits(model, ids, source, lengths)
    changed = ids.copy()
    changed[:, 3] = (changed[:, 3] + 1) % 11
    other = logits(model, changed, source, lengths)
    np.testing.assert_array_equal(whole[:, :3], other[:, :3])
    assert (whole[:, 3:] != other[:, 3:]).any(-1).all()
    for place in (0, 3):
        changed = source.copy()
        changed[:, place] = (changed[:, place] + 1) % 11
        assert (logits(model, ids, changed, lengths) != whole).any(-1).all()
    padding = source.copy()
    padding[1, 4:] = (padding[1, 4:] + 1) % 11
    np.testing.assert_array_equal(logits(model, ids, padding, lengths), whole)
    np.testing.assert_allclose(logits(model, ids[1:], source[1:, :4])[0], whole[1], rtol=1e-4, atol=1e-4)


def test_gradients_of_the_encoder_decoder(config: GPTConfig) -> None:
    model = enlarged(EncoderDecoder(replace(config, n_layer=1), tt.Generator(1)), tt.float64)
    source, lengths = tt.tensor(some_ids(2, 5)), tt.tensor([5, 3])
    ids, targets = tt.tensor(some_ids(2, 6, seed=1)), tt.tensor(some_ids(2, 6, seed=2))

    def loss() -> tt.Tensor:
        model.read(source, lengths)
        return model.loss(ids, targets)

    against_differences(model, loss)


def test_cached_equals_uncached(config: GPTConfig) -> None:
    model, ids = enlarged(EncoderDecoder(config, tt.Generator(1))), some_ids(2, 8, seed=1)
    whole = logits(model, ids, some_ids(2, 6), np.array([6, 2]))
    for sizes in ([8], [1] * 8, [3, 1, 4]):
        cache, found = KVCache(config, 2), []
        with tt.no_grad():
            for piece in np.split(ids, np.cumsum(sizes)[:-1], axis=1):
                found.append(model(tt.tensor(piece), cache).numpy())
        np.testing.assert_allclose(np.concatenate(found, 1), whole, atol=2e-5 * np.abs(whole).max())


def test_generation_reads_the_source_and_several_targets_may_share_one(config: GPTConfig) -> None:
    model = enlarged(EncoderDecoder(config, tt.Generator(1)))
    sampler = Sampler(SamplingConfig(temperature=0.3), 11)
    with tt.no_grad():
        for block in model.h:  # what was read matters more than what was said
            block.cross.c_proj.weight *= 10
    sources = some_ids(3, 6)

    def texts(rows: int, use_cache: bool) -> Any:
        """Draws by the same numbers: texts differ where the sources do."""
        numbers = [tt.Generator(5) for _ in range(rows)]
        drawn = generate_rows(model, [[0]] * rows, 7, sampler, generators=numbers, use_cache=use_cache)
        found: list[list[int]] = [[] for _ in range(rows)]
        for row, token in drawn:
            found[row].append(token)
        return found

    with tt.no_grad():
        model.read(tt.tensor(sources))
        together = texts(3, True)
        assert together == texts(3, False)
        assert len({tuple(text) for text in together}) > 1
        for source, text in zip(sources, together, strict=True):
            model.read(tt.tensor(source[None]))
            assert texts(1, True) == [text]
            assert texts(2, True) == [text, text]
        model.read(tt.tensor(sources))
        with pytest.raises(tt.ShapeError, match="3 sources"):
            texts(2, True)


def test_it_runs_on_an_emulated_device() -> None:
    model, moved = [enlarged(EncoderDecoder(SMALL, tt.Generator(1))) for _ in range(2)]
    moved.load_state_dict(model.state_dict())
    moved = moved.to("emulated")
    batch = [some_ids(2, 5, seed=1), some_ids(2, 5, seed=2), some_ids(2, 6), np.array([6, 3])]
    losses = []
    for each, device in ((model, "cpu"), (moved, "emulated")):
        ids, targets, source, lengths = [tt.tensor(x).to(device) for x in batch]
        each.read(source, lengths)
        loss = each.loss(ids, targets)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for (name, p), q in zip(model.named_parameters(), moved.parameters(), strict=True):
        want = p.grad.numpy()
        np.testing.assert_allclose(q.grad.cpu().numpy(), want, atol=1e-4 * np.abs(want).max(), err_msg=name)
