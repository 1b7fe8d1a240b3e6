"""CPU runtime: host memory, threads, C++ kernels, and graph capture."""
