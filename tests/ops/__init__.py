"""Tests of ops, family by family."""
