"""Tests of checkpoints and files of weights."""
