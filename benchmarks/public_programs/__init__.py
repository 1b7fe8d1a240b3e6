"""CUDA programs that others published, run unchanged on the emulator: how many succeed, and why not the rest.

programs.json names them: repository, files, arguments, and the text of the output that means success. Their
texts are not part of this repository: FOLDER has a clone of each, under its name
(github.com/NVIDIA/cuda-samples, karpathy/llm.c, siboehm/SGEMM_CUDA; docs/cuda_programs.md has the commits).
Programs whose sizes are constants in their text are run from a copy with smaller ones (`smaller`). Findings
of --check that were looked at are in `explained`; the others are printed, and counted in the last lines.

    python -m benchmarks.public_programs FOLDER [--only TEXT] [--seconds 60] [--check]
"""
