"""The encoder-decoder against PyTorch's transformer: logits and gradients; and Pegasus: greedy text."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.lessons.seq2seq import EncoderDecoder
from tinytensor import nn

pytestmark = pytest.mark.oracle

V, C, H, F, L = 37, 24, 4, 40, 2
LENGTHS = np.array([9, 5, 7])  # of sources, padded to 9
OURS = {"vocab_size": V, "block_size": 16, "n_layer": L, "n_head": H, "n_embd": C, "n_inner": F}


def scattered(model: torch.nn.Module) -> Any:
    """With weights far from their start, so that no part hides behind small numbers; in evaluation mode."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape) * 0.2 + ("norm" in name.lower() and name.endswith("weight")))
    return model.eval()


def ids(B: int, T: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(1, V, (B, T))


def arrays(values: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: x.detach().numpy() for name, x in values.items()}


def gradients(module: torch.nn.Module) -> dict[str, Any]:
    return arrays({n: p.grad for n, p in module.named_parameters() if p.grad is not None})


def assert_close(found: Any, wanted: Any, share: float, name: str = "") -> None:
    assert np.abs(found - wanted).max() < share * np.abs(wanted).max(), name


def gradients_close(ours: nn.Module, wanted: dict[str, Any], share: float) -> None:
    for name, p in ours.named_parameters():
        assert p.grad is not None, name
        assert_close(p.grad.numpy(), wanted[name], share, name)


def load(module: nn.Module, state: dict[str, Any]) -> None:
    module.load_state_dict({name: tt.tensor(np.ascontiguousarray(a)) for name, a in state.items()})


# ---- torch.nn.Transformer ---------------------------------------------------------------------------------


def torch_transformer(pre: bool) -> torch.nn.Transformer:
    """With a norm behind each stack if norms stand before the parts; PyTorch alone always puts it there."""
    how: dict[str, Any] = {"dim_feedforward": F, "dropout": 0.0, "batch_first": True, "norm_first": pre}
    ends = [torch.nn.LayerNorm(C) if pre else None for _ in range(2)]
    layers = torch.nn.TransformerEncoderLayer(C, H, **how), torch.nn.TransformerDecoderLayer(C, H, **how)
    encoder = torch.nn.TransformerEncoder(layers[0], L, ends[0], enable_nested_tensor=False)
    decoder = torch.nn.TransformerDecoder(layers[1], L, ends[1])
    return torch.nn.Transformer(C, H, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)


def cross_of(w: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A MultiheadAttention's weights (or gradients) by the names of CrossAttention."""
    kernel, bias = w[f"{prefix}in_proj_weight"], w[f"{prefix}in_proj_bias"]
    return {
        "c_q.weight": kernel[:C].T, "c_q.bias": bias[:C], "c_kv.weight": kernel[C:].T, "c_kv.bias": bias[C:],
        "c_proj.weight": w[f"{prefix}out_proj.weight"].T, "c_proj.bias": w[f"{prefix}out_proj.bias"],
    }  # fmt: skip


def transformer_of(w: dict[str, Any], pre: bool) -> dict[str, Any]:
    """A torch.nn.Transformer's weights (or gradients) by our names."""
    found: dict[str, Any] = {}

    def self_attention(ours: str, theirs: str) -> None:
        for end in ("weight", "bias"):
            found[f"{ours}.c_attn.{end}"] = w[f"{theirs}.in_proj_{end}"].T
            found[f"{ours}.c_proj.{end}"] = w[f"{theirs}.out_proj.{end}"].T

    def others(ours: str, theirs: str, names: dict[str, str]) -> None:
        for a, b in names.items():
            for end in ("weight", "bias"):
                found[f"{ours}.{a}.{end}"] = w[f"{theirs}.{b}.{end}"].T

    feed_forward = {"mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}
    for i in range(L):
        encoder, decoder = f"encoder.layers.{i}", f"decoder.layers.{i}"
        self_attention(f"encoder.{i}.attn", f"{encoder}.self_attn")
        self_attention(f"h.{i}.attn", f"{decoder}.self_attn")
        others(f"encoder.{i}", encoder, {"ln_1": "norm1", "ln_2": "norm2", **feed_forward})
        others(f"h.{i}", decoder, {"ln_1": "norm1", "ln_cross": "norm2", "ln_2": "norm3", **feed_forward})
        cross = cross_of(w, f"{decoder}.multihead_attn.")
        found |= {f"h.{i}.cross.{name}": a for name, a in cross.items()}
    if pre:
        others("ln_encoder", "encoder", {"": "norm"})
        others("ln_f", "decoder", {"": "norm"})
    return {name.replace("..", "."): a for name, a in found.items()}


@pytest.mark.parametrize("pre", [True, False])
def test_encoder_decoder_against_torch(pre: bool) -> None:
    theirs = scattered(torch_transformer(pre))
    config = GPTConfig(
        **OURS, activation="relu", position="sinusoidal", norm_position="pre" if pre else "post"
    )
    ours = EncoderDecoder(config, tt.Generator(1)).eval()
    table = torch.randn(V, C)
    with tt.no_grad():
        state = {**transformer_of(arrays(dict(theirs.named_parameters())), pre), "wte.weight": table.numpy()}
    load(ours, state)
    table = table.requires_grad_()
    waves = torch.from_numpy(ours.positions.numpy())
    source, target, wanted = ids(3, 9, 0), ids(3, 7, 1), ids(3, 7, 2)
    padding = torch.from_numpy(np.arange(9) >= LENGTHS[:, None])
    states = theirs(
        table[torch.from_numpy(source)] * C**0.5 + waves[:9],
        table[torch.from_numpy(target)] * C**0.5 + waves[:7],
        tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(7),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
        tgt_is_causal=True,
    )
    expected = states @ table.T
    ours.read(tt.tensor(source), tt.tensor(LENGTHS))
    found = ours(tt.tensor(target))
    assert_close(found.detach().numpy(), expected.detach().numpy(), 1e-5)
    tt.cross_entropy(found.mT, tt.tensor(wanted)).backward()
    torch.nn.functional.cross_entropy(expected.flatten(0, 1), torch.from_numpy(wanted).flatten()).backward()
    gradient = {**transformer_of(gradients(theirs), pre), "wte.weight": table.grad.numpy()}
    gradients_close(ours, gradient, 3e-4)


# ---- transformers -----------------------------------------------------------------------------------------


def hf_of(w: dict[str, Any], ours: str, theirs: str, names: dict[str, str]) -> dict[str, Any]:
    return {
        f"{ours}{a}.{end}": w[f"{theirs}{b}.{end}"].T for a, b in names.items() for end in ("weight", "bias")
    }


def joined(w: dict[str, Any], prefix: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Matrices and biases side by side, as c_attn and c_kv have them."""
    return {end: np.concatenate([w[f"{prefix}{x}.{end}"].T for x in names], -1) for end in ("weight", "bias")}


def pegasus() -> tuple[EncoderDecoder, Any]:
    """A random Pegasus (pre-norm), and ours with its weights; its waves are our learned positions. A
    tied head would say the same token again and again.
    """
    config = transformers.PegasusConfig(
        vocab_size=V, d_model=C, encoder_layers=L, decoder_layers=L, encoder_attention_heads=H,
        decoder_attention_heads=H, encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=16,
        activation_function="gelu", scale_embedding=False, dropout=0.0, attn_implementation="eager",
        pad_token_id=0, eos_token_id=None, forced_eos_token_id=None, decoder_start_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    theirs = transformers.PegasusForConditionalGeneration(config)
    waves = theirs.model.decoder.embed_positions.weight.detach().numpy().copy()
    scattered(theirs)
    with torch.no_grad():
        theirs.model.shared.weight *= 8  # tokens matter more than places: each source says another text
        for layer in theirs.model.decoder.layers:
            layer.encoder_attn.q_proj.weight *= 10
        for half in (theirs.model.encoder, theirs.model.decoder):
            half.embed_positions.weight.copy_(torch.from_numpy(waves))
            half.embed_tokens = theirs.model.shared  # as ours: both halves share the table
    ours = EncoderDecoder(GPTConfig(**OURS, activation="gelu_erf", tied_head=False)).eval()
    load(ours, {**pegasus_names(arrays(dict(theirs.named_parameters()))), "wpe.weight": waves})
    return ours, theirs


def pegasus_names(w: dict[str, Any]) -> dict[str, Any]:
    found = {"wte.weight": w["model.shared.weight"], "lm_head.weight": w["lm_head.weight"]}
    feed_forward = {"mlp.c_fc": "fc1", "mlp.c_proj": "fc2", "ln_2": "final_layer_norm"}
    for ours, theirs in (("encoder", "model.encoder.layers"), ("h", "model.decoder.layers")):
        for i in range(L):
            a, b = f"{ours}.{i}.", f"{theirs}.{i}."
            qkv = joined(w, f"{b}self_attn.", ("q_proj", "k_proj", "v_proj"))
            found |= {f"{a}attn.c_attn.{end}": x for end, x in qkv.items()}
            found |= hf_of(
                w, a, b,
                {"attn.c_proj": "self_attn.out_proj", "ln_1": "self_attn_layer_norm", **feed_forward},
            )  # fmt: skip
            if ours == "h":
                kv = joined(w, f"{b}encoder_attn.", ("k_proj", "v_proj"))
                found |= {f"{a}cross.c_kv.{end}": x for end, x in kv.items()}
                names = {"cross.c_q": "q_proj", "cross.c_proj": "out_proj"}
                found |= hf_of(w, a, f"{b}encoder_attn.", names)
                found |= hf_of(w, a, b, {"ln_cross": "encoder_attn_layer_norm"})
    for ours, theirs in (("ln_encoder", "model.encoder"), ("ln_f", "model.decoder")):
        found |= hf_of(w, ours, f"{theirs}.", {"": "layer_norm"})
    return found


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_text_against_pegasus(use_cache: bool) -> None:
    ours, theirs = pegasus()
    source = ids(3, 9, 0)
    expected = theirs.generate(
        input_ids=torch.from_numpy(source), max_new_tokens=14, do_sample=False, num_beams=1, min_length=0
    )
    with tt.no_grad():
        ours.read(tt.tensor(source))
    greedy = Sampler(SamplingConfig(temperature=0), V)
    found: list[list[int]] = [[0], [0], [0]]
    for row, token in generate_rows(ours, [[0]] * 3, 14, greedy, use_cache=use_cache):
        found[row].append(token)
    assert found == expected.tolist()
    assert len({tuple(text) for text in found}) > 1
