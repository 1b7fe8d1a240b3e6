"""Device code only: one .cu file for each module of `ops` that has kernels, and the headers that they share.

`README.md` states the rules for these files; `tinytensor/runtime` compiles them.
"""
