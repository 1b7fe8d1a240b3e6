"""C++ on ARM, built by a cross compiler."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tinytensor.runtime.cpu.library import FLAGS, GCC_FLAGS, NATIVE
from tinytensor.runtime.emulated.kernels import EMULATOR
from tinytensor.runtime.kernel_files import KERNELS

CROSS = shutil.which("aarch64-linux-gnu-g++")
NONE = "apt install g++-aarch64-linux-gnu"


def compiled(source: Path, *options: str) -> None:
    folders = [f"-I{folder}" for folder in (source.parent, KERNELS, NATIVE)]
    flags = [flag for flag in FLAGS if flag != "-w"]
    command = [str(CROSS), "-std=c++17", "-fPIC", *flags, *GCC_FLAGS, *folders, *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@pytest.mark.skipif(not CROSS, reason=NONE)
def test_kernels_compile_without_warnings() -> None:
    for source in (*KERNELS.rglob("*.cpp"), *NATIVE.glob("*.cpp")):
        compiled(source, "-fsyntax-only", "-Wall", "-Wextra", "-Werror")


@pytest.mark.skipif(not CROSS, reason=NONE)
def test_cores_of_the_emulator_link(tmp_path: Path) -> None:
    for core, options in (("core", ()), ("checked", ("-DTT_CHECKED",))):
        library = ("-shared", "-Wl,-z,defs", "-o", str(tmp_path / core))
        compiled(EMULATOR / f"{core}.cpp", "-O0", *options, *library)
