"""Ops that return another view of the same memory."""
