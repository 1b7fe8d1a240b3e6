"""Tests of the CPU's runtime."""
