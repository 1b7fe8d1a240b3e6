"""Tests of the emulator and the checker."""
