"""Benchmarks of the engine against PyTorch and other libraries. See README.md."""
