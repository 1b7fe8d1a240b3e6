"""Ops that put tensors together and take them apart."""
