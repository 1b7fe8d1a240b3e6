"""Tests of tensors: dtypes, layouts, errors, display, interchange."""
