"""Rows of indexing and masks."""
