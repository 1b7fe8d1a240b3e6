"""Tests of what the guide alone needs."""
