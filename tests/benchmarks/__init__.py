"""Tests of the benchmarks: no time is asserted."""
