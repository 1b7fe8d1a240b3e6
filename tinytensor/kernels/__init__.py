"""CUDA and C++ kernels of the ops, their shared headers, and the Python code that computes launch sizes.

`README.md` states the rules for these files; `tinytensor/runtime` compiles them.
"""
