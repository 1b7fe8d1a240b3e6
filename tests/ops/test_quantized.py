"""Packed weights against the package gguf, and products against floats."""

import ctypes
import platform
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tinytensor import nn
from tinytensor.ops.quantized.kinds import rounded_product
from tinytensor.runtime.cpu.library import load
from tinytensor.runtime.cpu.threads import pool_address
from tinytensor.runtime.kernel_files import kernel_path

KINDS = list(tt.QUANTIZED)
ROUNDS_AS_GGUF = ["q8_0", "q4_0", "q4_1", "q5_0", "q5_1"]
Array = np.ndarray[Any, Any]


def theirs(kind: str) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType[kind.upper()]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def packed_bytes(kind: str, rows: int, values: int, seed: int = 0) -> Array:
    """Random blocks whose floats are positive and finite."""
    rng, of = np.random.default_rng(seed), tt.QUANTIZED[kind]
    blocks = rng.integers(0, 256, (rows * values // of.values, of.nbytes), np.uint8)
    for at in {"q6_k": [208], "q8_0": [0], "q4_0": [0], "q5_0": [0]}.get(kind, [0, 2]):
        numbers = rng.uniform(0.001, 0.1, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = numbers.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_gguf(kind: str) -> None:
    assert gguf.GGML_QUANT_SIZES[theirs(kind)] == (tt.QUANTIZED[kind].values, tt.QUANTIZED[kind].nbytes)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_bits_of_values_are_those_of_gguf(kind: str, seed: int) -> None:
    """Of any bytes: scales of inf, NaN and 0, too."""
    rng = np.random.default_rng(seed)
    packed = rng.integers(0, 256, (3, 2 * tt.QUANTIZED[kind].nbytes), np.uint8)
    with np.errstate(all="ignore"):
        wanted = dequantize(packed, theirs(kind))
    found = tt.dequantize(tt.from_numpy(packed), kind).numpy()
    real = ~np.isnan(wanted)
    assert np.array_equal(np.isnan(found), ~real)
    assert np.array_equal(found[real].view(np.uint32), wanted[real].view(np.uint32))


@pytest.mark.parametrize("kind", ROUNDS_AS_GGUF)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-20, 10))
def test_packed_bytes_are_those_of_gguf(kind: str, seed: int, exponent: int) -> None:
    x = normal(seed, 3, 64) * np.float32(2.0**exponent)
    x[1, :32] = 0
    assert np.array_equal(tt.quantize(tt.from_numpy(x), kind).numpy(), quantize(x, theirs(kind)))


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ROUNDS_AS_GGUF])
def test_error_of_the_k_kinds(kind: str) -> None:
    """At most about half a step: the range of a group of normal numbers by the number of steps."""
    x = normal(0, 8, 512)
    again = tt.dequantize(tt.quantize(tt.from_numpy(x), kind), kind).numpy()
    steps = {"q4_k": 15, "q5_k": 31, "q6_k": 63}[kind]
    error = np.sqrt(((again - x) ** 2).mean())
    assert error < 4.3 / steps / np.sqrt(12) * 1.1
    zeros = tt.zeros(1, 256)
    assert tt.dequantize(tt.quantize(zeros, kind), kind).tolist() == zeros.tolist()


@pytest.mark.parametrize("device", ["cpu", "emulated", "checked"])
@pytest.mark.parametrize("kind", KINDS)
def test_products(kind: str, device: str) -> None:
    """Sums of products in float64, of all values and of activations rounded here."""
    packed, x = packed_bytes(kind, 37, 512), normal(1, 3, 512)
    x[1, 64:96] = 0
    weight = dequantize(packed, theirs(kind)).astype(np.float64)
    blocks = x.reshape(3, -1, 32)
    top, most = np.abs(blocks).max(-1, keepdims=True), np.float32(32512)
    q = np.rint(blocks * np.divide(most, top, where=top > 0, out=np.zeros_like(top)))
    near = (q * (top / most).astype(np.float64)).reshape(3, 512)
    for rounded, exact in ((False, x.astype(np.float64)), (True, near)):
        on_device = [tt.from_numpy(a).to(device) for a in (x, packed)]
        found = tt.quantized_linear(*on_device, kind, rounded=rounded).cpu().numpy()
        scale = np.abs(exact) @ np.abs(weight).T
        assert (np.abs(found - exact @ weight.T) <= 2e-6 * scale).all(), (kind, rounded)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_activations_that_are_not_finite_are_not_hidden(value: float, mode: str) -> None:
    x = np.ones((2, 64), np.float32)
    x[1, 40] = value
    packed = tt.quantize(tt.ones(3, 64), "q4_1")
    found = tt.quantized_linear(tt.from_numpy(x), packed, "q4_1", rounded=True)
    assert not np.isfinite(found[1].numpy()).any()
    assert np.isfinite(found[0].numpy()).all()


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_rounded_activations_become_zeros_below_their_limit(device: str) -> None:
    limit = np.float32(1e-30)
    x = np.full((2, 64), limit)
    x[1] = np.nextafter(limit, np.float32(0))
    packed = tt.quantize(tt.ones(3, 64), "q8_0").to(device)
    found = tt.quantized_linear(tt.from_numpy(x).to(device), packed, "q8_0", rounded=True).cpu().numpy()
    np.testing.assert_allclose(found[0], 64 * limit, rtol=1e-3)
    assert not found[1].any()


def test_gradient_is_that_of_the_unpacked_product() -> None:
    packed, x = tt.from_numpy(packed_bytes("q4_k", 5, 256)), tt.from_numpy(normal(2, 2, 256))
    weight = tt.dequantize(packed, "q4_k")
    for rounded in (False, True):
        leaf = x.clone().requires_grad_()
        y = tt.quantized_linear(leaf, packed, "q4_k", rounded=rounded)
        (y * tt.arange(5.0)).sum().backward()
        wanted = np.broadcast_to(np.arange(5.0) @ weight.numpy().astype(np.float64), (2, 256))
        assert np.allclose(leaf.grad.numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_layers_stay_packed_and_round_in_evaluation_alone() -> None:
    layer = nn.LinearGelu(64, 48)
    packed = nn.QuantizedLinear.of(layer, "q8_0").eval()
    x = tt.from_numpy(normal(3, 17, 64))
    plain = tt.gelu(x @ packed.weight() + layer.bias, "tanh")
    few = tt.quantized_linear(x[:16], packed.packed, "q8_0", rounded=True) + layer.bias
    assert np.array_equal(packed(x[:16]).detach(), tt.gelu(few, "tanh").detach())
    assert np.allclose(packed(x[:16]), plain[:16], atol=2e-4)
    assert np.allclose(packed(x), plain, atol=1e-5)  # too many rows to be rounded
    assert np.allclose(packed.train()(x[:16]), plain[:16], atol=1e-5)
    assert list(packed.state_dict()) == ["bias", "packed"]
    assert packed.packed.nbytes == 48 * 68


def test_layers_of_a_model_are_replaced() -> None:
    model = nn.Sequential(nn.Embedding(7, 64), nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 40)))
    assert nn.quantize_layers(model, "q8_0", embeddings=True) == ["0", "1.0", "1.1"]
    assert model(tt.tensor([[1, 6]])).shape == (1, 2, 40)
    assert [p.ndim for p in model.parameters()] == [1, 1]  # the biases
    with pytest.raises(tt.ShapeError, match="a block of q4_k"):
        nn.QuantizedLinear.of(nn.Linear(64, 3), "q4_k")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="flags of x86-64")
@pytest.mark.parametrize("flags", [("-mno-avx512f",), ("-mno-avx", "-mno-f16c")], ids=["AVX2", "loops"])
def test_kernels_of_other_processors(flags: tuple[str, ...]) -> None:
    """The code for AVX2, and that without vector instructions, on this machine."""
    path = kernel_path("quantized_linear", ".cpp")
    library = load(path, flags=flags)
    addresses = {"tt_none": id(None), "tt_array": id(np.ndarray), "tt_threads": pool_address()}
    for name, address in addresses.items():
        ctypes.c_void_p.in_dll(library, name).value = address
    array, x = ctypes.py_object, normal(5, 6, 768)
    library.quantized_linear.argtypes = [array, array, array, ctypes.c_int]
    library.dequantize.argtypes = [array, array, ctypes.c_int]
    for number, kind in enumerate(tt.QUANTIZED.values()):
        packed = packed_bytes(kind.name, 37, 768)
        found, values = np.empty((6, 37), np.float32), np.empty((37, 768), np.float32)
        assert library.quantized_linear(found, x, packed, number)
        assert library.dequantize(values, packed, number)
        exact = dequantize(packed, theirs(kind.name))
        assert np.array_equal(values.view(np.uint32), exact.view(np.uint32))
        scale = np.abs(x) @ np.abs(exact).T
        assert (np.abs(found - rounded_product(x, packed, kind)) <= 2e-6 * scale).all(), kind.name
