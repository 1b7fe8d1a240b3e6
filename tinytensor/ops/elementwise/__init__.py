"""Ops on each element: arithmetic, comparison, bits, and functions of one number."""
