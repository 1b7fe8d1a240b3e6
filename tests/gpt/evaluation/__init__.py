"""Tests of evaluation by tasks."""
