"""Tests of autograd: gradients, versions, memory, hooks."""
