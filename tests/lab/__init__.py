"""Tests of `tinytensor.lab`."""
