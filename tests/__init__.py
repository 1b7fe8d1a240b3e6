"""Tests: `python -m pytest tests`. Modules here are imported as `tests.name`, so that no name is taken twice."""
