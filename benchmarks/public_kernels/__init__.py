"""Kernels that others published, compiled unchanged for `emulated` or a GPU: how many; why not the rest.

kernels.txt names them: repository, file, kernel, template arguments. Their texts are not part of this
repository: FOLDER has a clone of each repository, under its name.

    python -m benchmarks.public_kernels FOLDER [--target sm_80] [--only TEXT]
"""
