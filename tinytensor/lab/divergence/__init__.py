"""Compares two runs of a program op by op and reports the first op that is wrong."""
