"""Benchmarks: how fast the engine is, beside PyTorch, on the machine at hand. See README.md."""
