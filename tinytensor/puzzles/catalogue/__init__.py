"""The puzzles, a module for each chapter."""
