"""Scaled dot-product attention: in one kernel, in blocks of NumPy, and with cached keys."""
