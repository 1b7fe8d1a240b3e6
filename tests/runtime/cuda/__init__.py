"""Tests of the GPU's runtime, with a fake of CuPy where there is no GPU."""
