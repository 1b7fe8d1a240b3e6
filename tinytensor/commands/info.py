"""`python -m tinytensor info`: reports versions, devices, compilers, caches and environment switches."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np

import tinytensor as tt
from tinytensor.commands.json_output import answer
from tinytensor.commands.options import parser
from tinytensor.device import as_device
from tinytensor.errors import TinyTensorError
from tinytensor.runtime import runtime_of
from tinytensor.runtime.compiler import find_compiler
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_cache import cache_folder
from tinytensor.runtime.kernel_files import kernel_files

LIBRARIES = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "ziglang", "safetensors", "tqdm", "matplotlib", "torch")
CACHES = ("emulated", "nvrtc", "host", "sources")


def main(words: Sequence[str]) -> int:
    """Print the report."""
    options = parser("info", "Versions, devices, compilers, caches and switches.", "--json").parse_args(words)
    rows = list(_rows())
    text = "\n".join([f"{name:<12} {text}" for name, text in rows])
    answer(options, "info", text, rows=[{"name": name, "text": text} for name, text in rows])
    return 0


def _rows() -> Iterator[tuple[str, str]]:
    yield "tinytensor", f"{_version('tinytensor') or 'not installed: run from its folder'}"
    yield "Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    libraries = {name: _version(name) for name in LIBRARIES}
    yield "libraries", ", ".join(f"{name} {found}" for name, found in libraries.items() if found)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    yield "cpu", f"{os.cpu_count()} CPUs; matrix products by {blas['name']} {blas.get('version', '')}"
    yield "compiler", _or_error(lambda: " ".join(find_compiler().command))
    yield "host", _or_error(_host)
    yield "emulated", _or_error(lambda: _device("emulated"))
    yield "checked", "as emulated, watched"
    yield "cuda", _or_error(lambda: _device("cuda"))
    yield "NVRTC", _or_error(lambda: ".".join(map(str, nvrtc.version())))
    for part in CACHES:
        yield "cache", _or_error(partial(_cache, part))
    yield "config", ", ".join(f"{name}={getattr(tt.config, name)!r}" for name in tt.config.__slots__)
    own = {name: value for name, value in sorted(os.environ.items()) if name.startswith("TINYTENSOR_")}
    yield "environment", ", ".join(f"{name}={value}" for name, value in own.items()) or "nothing is set"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _host() -> str:
    if tt.config.host_kernels == "off":
        return "kernels of the CPU are off: NumPy computes"
    find_compiler()
    count = len(kernel_files(".cpp"))
    return (
        f"{count} files of kernels for the CPU, compiled when they are used; threads: {tt.get_num_threads()}"
    )


def _cache(part: str) -> str:
    folder = cache_folder(part)
    sizes = [file.stat().st_size for file in folder.iterdir() if file.is_file()]
    return f"{folder}: {len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB"


def _device(name: str) -> str:
    runtime = runtime_of(as_device(name))
    return f"{runtime.multiprocessors} multiprocessors of sm_{runtime.architecture}"


def _or_error(look: Callable[[], str]) -> str:
    """Result of a probe, or the first two lines of its error."""
    try:
        return look()
    except TinyTensorError as error:
        what, *rest = str(error).splitlines()
        return f"none ({what}{';' + rest[0].partition(':')[2] if rest else ''})"
