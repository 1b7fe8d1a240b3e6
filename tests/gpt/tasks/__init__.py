"""Tests of verifiable tasks."""
