"""Tests of tinytensor.utils."""
