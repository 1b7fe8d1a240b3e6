"""The GPU by CuPy: memory, streams, compiled kernels, cuBLAS."""
