"""Command line of the count of public kernels."""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tinytensor.emulator.run.kernels import read
from tinytensor.errors import TinyTensorError
from tinytensor.runtime.compiler import shared_library
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.signature import Packer

LIST = Path(__file__).with_name("kernels.txt")


class PublicKernel(NamedTuple):
    """One line of the list."""

    repository: str
    file: str
    name: str
    template: str = ""


def listed(only: str = "") -> list[PublicKernel]:
    """The kernels whose line contains a text."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [PublicKernel(*line.split("\t")) for line in lines if line and only in line]


def for_emulated(path: Path, kernels: Sequence[PublicKernel]) -> None:
    source = read(path)
    packers = [
        Packer(source.signature(k.name), k.template.split(", ") if k.template else ()) for k in kernels
    ]
    shared_library(source.recipe(packers), "public")


def for_gpu(path: Path, kernels: Sequence[PublicKernel], target: str) -> None:
    declared = nvrtc.signatures(path)
    names = [Packer(declared[k.name], k.template.split(", ") if k.template else ()).name for k in kernels]
    nvrtc.build(path, names, target)


def reason(error: Exception) -> str:
    """The first error that a compiler names, in one line."""
    text = str(error)
    found = re.search(r"error: *([^\n]+)", text) or re.search(r"undefined symbol: *([^\n]+)", text)
    return (found[1] if found else text.split("\n")[0])[:110]


def attempt(
    compiled: Callable[[Path, Sequence[PublicKernel]], None], path: Path, kernels: Sequence[PublicKernel]
) -> dict[PublicKernel, str]:
    """Why kernels of a file do not compile: all together first, then each by itself."""
    try:
        compiled(path, kernels)
    except (TinyTensorError, KeyError, OSError) as error:
        if len(kernels) == 1:
            return {kernels[0]: reason(error)}
        return {k: why for one in kernels for k, why in attempt(compiled, path, [one]).items()}
    return {}


def main() -> None:
    """Count, and print why the others do not compile."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.public_kernels")
    asked.add_argument("folder", type=Path)
    asked.add_argument("--target", default="emulated", help="emulated, or an architecture such as sm_80")
    asked.add_argument("--only", default="")
    given = asked.parse_args()
    kernels = listed(given.only)
    by_file: dict[Path, list[PublicKernel]] = defaultdict(list)
    for k in kernels:
        by_file[given.folder / k.repository.split("/")[1] / k.file].append(k)
    compiled = for_emulated if given.target == "emulated" else partial(for_gpu, target=given.target)
    failed: dict[PublicKernel, str] = {}
    for path, group in by_file.items():
        failed |= attempt(compiled, path, group)
    for k, why in failed.items():
        print(f"{k.repository.split('/')[1]} {k.file} {k.name}: {why}")
    for repository in dict.fromkeys(k.repository for k in kernels):
        every = [k for k in kernels if k.repository == repository]
        print(f"{repository}: {sum(k not in failed for k in every)} of {len(every)}")
    print(f"{given.target}: {len(kernels) - len(failed)} of {len(kernels)}")


main()
