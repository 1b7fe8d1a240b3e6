"""The same models and ops in other engines: PyTorch, JAX, tinygrad."""
