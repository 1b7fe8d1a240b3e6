"""Rows of optimizers."""
