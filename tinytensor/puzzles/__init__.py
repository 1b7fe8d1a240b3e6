"""Puzzles about CUDA kernels, strides and gradients, and their judge, also of a kernel against an op."""

from tinytensor.puzzles.notebook import Judgment, judge_answer

__all__ = ["Judgment", "judge_answer"]
