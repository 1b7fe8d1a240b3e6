"""Rows of matrix products and convolution."""
