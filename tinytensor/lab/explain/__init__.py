"""Explains the memory layout of a tensor as text, SVG or HTML."""
