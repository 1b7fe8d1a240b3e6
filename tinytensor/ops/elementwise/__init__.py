"""Elementwise ops: arithmetic, comparison, bitwise ops and mathematical functions."""
