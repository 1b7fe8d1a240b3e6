"""`python -m benchmarks.first_day.on_dry MODULE WORDS…`: runs a module where "cuda" is the dry GPU."""

import runpy
import sys

from benchmarks.dry_gpu.gpu import install

if __name__ == "__main__":
    install()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
