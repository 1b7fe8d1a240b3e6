"""Tests; run `python -m pytest tests`. Modules are imported as `tests.name`, so no name is taken twice."""
