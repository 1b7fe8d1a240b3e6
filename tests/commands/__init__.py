"""Tests of `python -m tinytensor`."""
