"""Experiments, each a command: ablations, masked language models, skip-gram, translation."""
