"""A wheel built from the tree, installed somewhere else, is whole: every file, one op, one training step."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.source import ROOT

DATA = (".py", ".cu", ".cuh", ".h", ".cpp", ".txt", ".js", ".css")

# The interpreter of the tests may have an editable install of this tree: the copy must come first.
ONE_OP = """
import sys

before = set(sys.modules)
import tinytensor as tt

loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
assert tt.__file__.startswith(sys.argv[1]), tt.__file__
x = tt.tensor([1.0, 2.0, 3.0], requires_grad=True)
(x * x).sum().backward()
assert x.grad.numpy().tolist() == [2.0, 4.0, 6.0]
print(*sorted(loaded - {"tinytensor", "numpy", *sys.stdlib_module_names}))
"""


def run(*words: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run Python with these arguments; its output, or a failed test that shows what it said."""
    environment = {**os.environ, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network from a copy, so that the tree gets no build folder and no old one gets in."""
    source = tmp_path_factory.mktemp("source with a space")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tinytensor", "gpt", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    run("-m", "pip", "wheel", *offline, "--wheel-dir", out, ".", cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed into an empty folder."""
    target = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", target, wheel, cwd=target)
    return target


def test_the_wheel_has_every_file(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("tinytensor", "gpt")
        for path in (ROOT / package).rglob("*")
        if path.suffix in DATA or path.name == "py.typed"
    }
    assert sorted(wanted - inside) == []
    assert {"tinytensor/py.typed", "gpt/py.typed", "gpt/text/shakespeare.txt"} <= inside


def test_the_wheel_has_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tinytensor", "gpt"}


def test_one_op_runs_and_loads_only_numpy(installed: Path, tmp_path: Path) -> None:
    assert run("-c", ONE_OP, installed, cwd=tmp_path, path=installed).split() == []


def test_commands_of_the_shell_start_beside_files_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    for name in ("gpt.py", "tinytensor.py"):
        (tmp_path / name).write_text("raise SystemExit('not this one')")
    for command, first in (("tinytensor", "python -m tinytensor"), ("tinytensor-gpt", "python -m gpt")):
        script = installed / "bin" / command
        assert run(script, "--help", cwd=tmp_path, path=installed).startswith(first)


def test_one_training_step_runs(installed: Path, tmp_path: Path) -> None:
    words = ["--preset=tiny", "--max_steps=1", "--warmup_steps=0", "--out_dir=run"]
    run("-m", "gpt", "train", *words, cwd=tmp_path, path=installed)
    assert list((tmp_path / "run").rglob("*.safetensors"))


def test_a_program_beside_an_editable_clone_imports_it(tmp_path: Path) -> None:
    clone = tmp_path / "tinytensor"  # as git names it: Python could take the folder itself for the package
    for package in ("tinytensor", "gpt"):
        (clone / package).mkdir(parents=True)
        (clone / package / "__init__.py").write_text("here = True")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    build = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
    run("-c", build, tmp_path, cwd=clone)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        built.extractall(tmp_path / "site")
    look = "import site, sys; site.addsitedir(sys.argv[1]); import tinytensor; print(tinytensor.__file__)"
    found = run("-S", "-c", look, tmp_path / "site", cwd=tmp_path)
    assert Path(found.strip()) == clone / "tinytensor" / "__init__.py"
