"""Benchmark suites: each module is one command; arguments of `run` are its options (see commands.HELP)."""
