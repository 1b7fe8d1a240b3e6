"""CUDA runtime, on CuPy: memory, streams, compiled kernels, cuBLAS."""
