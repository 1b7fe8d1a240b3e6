"""Rows of packed weights."""
