"""Weights in four bits: blocks of 32 numbers share a scale, as in llama.cpp's files."""

import tinytensor as tt

tt.manual_seed(0)
weight, x = tt.randn(256, 512) / 16, tt.randn(8, 512)

for kind in ("q8_0", "q4_0"):
    packed = tt.quantize(weight, kind)
    y = tt.quantized_linear(x, packed, kind=kind)
    error = tt.norm(y - x @ weight.T).item() / tt.norm(y).item()
    ratio = packed.nbytes / weight.nbytes
    print(f"{kind}: {packed.nbytes} of {weight.nbytes} bytes, relative error of the product {error:.1%}")
    assert ratio < 0.3
    assert error < 0.15
