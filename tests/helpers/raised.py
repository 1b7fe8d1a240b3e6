"""The error that a test expects: its message holds a word, on whichever of its lines, and says what to do."""

import pytest

import tinytensor as tt


def raises(word, error=tt.GradError):
    """As `pytest.raises`; an error of the engine has a reason and a fix."""
    ours = issubclass(error, tt.TinyTensorError)
    return pytest.raises(error, match=f"(?s){word}", check=lambda e: not ours or bool(e.why and e.fix))
