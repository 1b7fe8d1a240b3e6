"""Rows of reductions, scans and sorts."""
