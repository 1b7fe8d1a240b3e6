"""Kernels that an op launches: source, resources, memory accesses, and thread-to-element maps."""
