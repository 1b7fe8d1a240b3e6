"""Exchange with others: NumPy, DLPack and CUDA arrays, the array API, PyTorch's names, copies and pickles."""
