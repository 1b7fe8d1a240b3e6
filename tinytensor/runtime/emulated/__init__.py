"""The kernels of the GPU on the CPU: compiled as C++, with its own memory."""
