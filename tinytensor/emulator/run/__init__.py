"""The device `emulated`: CUDA kernels compiled as C++ and run on the CPU, with separate memory."""
