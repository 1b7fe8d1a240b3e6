"""Ops that join, repeat, split and pad tensors."""
