"""Rows of attention."""
