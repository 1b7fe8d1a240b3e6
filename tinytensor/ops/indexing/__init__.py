"""Ops that read and write elements by position or by mask."""
