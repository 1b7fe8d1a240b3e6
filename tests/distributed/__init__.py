"""Tests of several programs that train one model."""
