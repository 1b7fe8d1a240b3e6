"""Tests; run `python -m pytest tests`. The folders are those of the code."""
