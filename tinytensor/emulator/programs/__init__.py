"""Whole CUDA programs on the emulator: host code, kernels and launches, compiled by the host compiler."""
