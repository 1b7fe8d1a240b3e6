"""Tests of whole CUDA programs."""
