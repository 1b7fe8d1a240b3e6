"""Tests of the checked emulator."""
