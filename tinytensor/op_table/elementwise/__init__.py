"""Rows of elementwise ops."""
