"""Benchmark suites: each module is one command."""
