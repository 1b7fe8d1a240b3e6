"""Tests of `tt.cuda`."""
