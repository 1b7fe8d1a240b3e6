"""The CPU: host memory, threads, and the C++ kernels in `native/`."""
