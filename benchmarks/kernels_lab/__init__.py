"""Kernels lab: successive optimizations of a kernel, verified, then counted or timed."""
