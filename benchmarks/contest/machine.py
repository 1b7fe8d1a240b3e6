"""Description of the machine: processor, libraries, settings, commit and date."""

import ctypes
import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import ROOT
from benchmarks.contest.windows import cpus
from gpt.training.measures import cpu_model

LIBRARIES = (
    *("numpy", "torch", "transformers", "tokenizers", "tiktoken", "jax", "mpi4py"),
    *("cupy-cuda12x", "cupy-cuda13x"),
)
SETTINGS = ("OPENBLAS_", "OMP_", "GOMP_", "MKL_", "GOTO_", "KMP_", "MALLOC_", "LD_PRELOAD", "TINYTENSOR_")


def describe() -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cpus": len(cpus()),
        "memory_gib": memory_gib(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": versions(),
        "blas": blas(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **commit(),
    }


def find_tool(name: str) -> str | None:
    """Path of a program of the CUDA toolkit: on the PATH, or in its usual folders."""
    homes = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    folders = [Path(home, part) for home in homes if home for part in ("bin", "compute-sanitizer")]
    return shutil.which(name) or next((str(f / name) for f in folders if (f / name).is_file()), None)


def memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError):
        return None


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def blas() -> str:
    """Name of NumPy's BLAS, with its processor-specific kernels if it reports them."""
    import numpy as np

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
        library = ctypes.CDLL(next(line.split(maxsplit=5)[5] for line in maps if "openblas" in line))
    except (OSError, StopIteration):
        return f"{built['name']} {built['version']}"
    for name in ("scipy_openblas_get_config64_", "scipy_openblas_get_config", "openblas_get_config"):
        if hasattr(library, name):
            ask = getattr(library, name)
            ask.restype = ctypes.c_char_p
            return str(ask().decode())
    return f"{built['name']} {built['version']}"


def commit() -> dict[str, Any]:
    """Current commit, and whether files of the packages or benchmarks differ from it."""
    code = ["tinytensor", "gpt", "benchmarks", ":!benchmarks/results"]
    head, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", *code)
    return {"commit": head, "dirty": None if status is None else bool(status)}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
