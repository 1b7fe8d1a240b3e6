"""The same models and ops in other libraries: PyTorch, CuPy."""
