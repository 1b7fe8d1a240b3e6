"""Puzzles about CUDA kernels, and the judge of a kernel against a puzzle or an op; needs no GPU."""
