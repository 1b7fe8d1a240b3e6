"""Evaluation by tasks: files of benchmarks, and problems whose answers a program verifies."""
