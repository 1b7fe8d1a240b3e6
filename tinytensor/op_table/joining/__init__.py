"""Rows of joining and padding."""
