"""Benchmarks on the emulated devices: what kernels access, and what it costs to check them."""
