"""Scaled dot-product attention: fused kernels, blocked NumPy code, and attention with a KV cache."""
