"""Tests of functions of functions."""
