"""CUDA programs that others published, run unchanged on the emulator: how many succeed, and why not the rest.

programs.json names them: repository, files, arguments, and the text of the output that means success. Their
texts are not part of this repository: FOLDER has a clone of each repository, under its name. Programs whose
sizes are constants in their text are run from a copy with smaller ones (`smaller`).

    python -m benchmarks.public_programs FOLDER [--only TEXT] [--seconds 60] [--check]
"""
