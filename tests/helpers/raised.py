"""The error that a test expects: its message holds a word, on whichever of its lines."""

import pytest

import tinytensor as tt


def raises(word, error=tt.GradError):
    return pytest.raises(error, match=f"(?s){word}")
