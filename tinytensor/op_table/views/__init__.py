"""Rows of views and copies."""
