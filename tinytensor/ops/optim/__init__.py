"""Fused multi-tensor optimizer steps: AdamW, gradient norm, scaling and zeroing."""
