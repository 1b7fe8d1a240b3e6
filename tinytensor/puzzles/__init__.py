"""Puzzles about CUDA kernels, and the judge of a kernel against a puzzle or an op; needs no GPU."""

from tinytensor.puzzles.notebook import Judgment, judge_answer

__all__ = ["Judgment", "judge_answer"]
