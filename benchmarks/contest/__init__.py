"""Interleaved timing of several implementations in windows, after their results were compared."""
