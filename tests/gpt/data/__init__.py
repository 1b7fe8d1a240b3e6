"""Tests of corpora and batches."""
