"""Tests of interpretation."""
