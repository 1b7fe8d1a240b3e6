"""The compiler and its cache: what a library depends on, and what happens when something goes wrong."""

import ctypes
import importlib.util
import io
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.emulated import compiled
from tests.runtime.test_runtime import SCALE, USE, finish, python
from tinytensor.emulator.run import kernels
from tinytensor.emulator.run.runtime import EmulatedRuntime
from tinytensor.errors import ArgumentError, KernelError
from tinytensor.runtime import compiler, kernel_cache
from tinytensor.runtime.compiler import (
    Recipe,
    find_compiler,
    fingerprint,
    load_library,
    make_libraries,
    shared_library,
)
from tinytensor.runtime.kernel_cache import cache_folder

ANSWER = 'extern "C" __attribute__((visibility("default"))) int answer() { return %d; }\n'


def recipe(answer=42, **changes):
    return Recipe(**{"name": "answer", "text": ANSWER % answer, **changes})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for each test, and nothing remembered."""
    monkeypatch.setenv("TINYTENSOR_CACHE", str(tmp_path / "cache"))
    find_compiler.cache_clear()
    kernel_cache._temporary_folder.cache_clear()
    yield tmp_path / "cache"
    find_compiler.cache_clear()
    kernel_cache._temporary_folder.cache_clear()


@pytest.fixture(scope="module")
def compiled_core(tmp_path_factory):
    """A cache with the emulator's core and a unit."""
    folder = tmp_path_factory.mktemp("core")
    (folder / "scale.cu").write_text(SCALE)
    folder = folder / "cache"
    finish(python(USE.format(path=str(folder.parent / "scale.cu")), TINYTENSOR_CACHE=str(folder)))
    return folder


def test_a_library_is_compiled_once(cache, monkeypatch):
    path = shared_library(recipe(), "part")
    assert path.parent == cache / "part"
    assert ctypes.CDLL(str(path)).answer() == 42
    assert ctypes.CDLL(str(shared_library(recipe(43), "part"))).answer() == 43
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a compiler was started"))
    assert shared_library(recipe(), "part") == path
    assert [p.suffix for p in path.parent.iterdir()] == [".so", ".so"]


def test_several_are_compiled_at_once(cache, tmp_path, monkeypatch, capsys):
    """Here each compiler waits until another one has begun, and one text does not compile."""
    both = tmp_path / "both"
    both.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || {{ touch "{tmp_path}/begun.$$"; n=0\n'
        f'until [ -e "$(ls "{tmp_path}"/begun.* | sed -n 2p)" ]; do n=$((n+1)); [ $n -lt 500 ] || exit 1; '
        'sleep 0.02; done; }\nexec g++ "$@"\n'
    )
    both.chmod(0o755)
    monkeypatch.setenv("CXX", str(both))
    monkeypatch.setattr(compiler, "logical_processors", lambda: 2)
    monkeypatch.setattr(compiler, "_told", set())
    assert len(make_libraries([recipe(1), recipe(2), recipe(text="undeclared x;")], "part")) == 3
    assert len(list((cache / "part").glob("*.so"))) == 2
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a compiler was started"))
    assert make_libraries([recipe(1), recipe(2)], "part") == []
    assert [load_library(recipe(n), "part").answer() for n in (1, 2)] == [1, 2]
    said = capsys.readouterr().err
    assert said == "tinytensor: compiling 3 files of kernels (about 2 s), kept for later runs ...\n"


def test_the_note_is_a_line_of_its_own_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(compiler, "_told", set())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: compiler._tell([Recipe("ab"[n % 2], "")]), range(8)))
    said = sys.stderr.getvalue().splitlines()
    assert sorted(said) == [
        "",
        "",
        *[f"tinytensor: compiling {n} (1 to 3 s), kept for later runs ..." for n in "ab"],
    ]


def test_a_header_is_parsed_once(cache, tmp_path, monkeypatch, caplog):
    """By g++ alone. One that is damaged is parsed again, and what g++ refuses does no harm."""
    log, logged, header = tmp_path / "log", tmp_path / "logged", tmp_path / "number.h"
    logged.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\nexec g++ "$@"\n')
    logged.chmod(0o755)
    monkeypatch.setenv("CXX", str(logged))
    header.write_text("static int number() { return 40; }\n")

    def made(more):
        text = '#include "number.h"\n' + ANSWER.replace("%d", f"number() + {more}")
        return load_library(Recipe("answer", text, (tmp_path,), header="number.h"), "part").answer()

    def times():
        words = log.read_text().split()
        return words.count("c++-header"), words.count("c++")

    assert [made(1), made(2)] == [41, 42]
    assert times() == (1, 2)
    (parsed,) = (cache / "part").glob("number-*.h.gch")
    parsed.write_bytes(parsed.read_bytes()[:-4096])
    assert made(3) == 43
    assert f"{parsed} is damaged" in caplog.text
    assert times() == (2, 3)
    kernel_cache.write_kept(parsed, b"parsed by another compiler")
    assert made(4) == 44
    assert times() == (2, 5)
    kernel_cache.write_kept(parsed, b"")
    assert made(5) == 45
    assert times() == (2, 6)
    header.write_text("static int number() { return 50; }\n")
    assert made(1) == 51
    assert times() == (3, 7)
    with pytest.raises(KernelError, match="undeclared"):
        load_library(
            Recipe("answer", '#include "number.h"\nundeclared x;', (tmp_path,), header="number.h"), "part"
        )


def test_what_a_library_depends_on(tmp_path, monkeypatch):
    header = tmp_path / "header.h"
    header.write_text('#include "deeper.h"\n')
    (tmp_path / "deeper.h").write_text("int x;")
    text = '#include "header.h"\n#include <nowhere.h>\n'
    base = recipe(text=text, folders=(tmp_path,))
    found = find_compiler()

    def key(made, by=found):
        return fingerprint(made, by)

    keys = [key(base)]
    assert key(recipe(text=text, folders=(tmp_path,))) == keys[0]
    keys.append(key(recipe(text=text + " ", folders=(tmp_path,))))
    keys.append(key(recipe(text=text, folders=(tmp_path,), flags=("-O1",))))
    keys.append(key(recipe(text=text, folders=(tmp_path,), libraries=("-lm",))))
    keys.append(key(base, compiler.Compiler(found.command, "another")))
    (tmp_path / "deeper.h").write_text("int x, y;")
    keys.append(key(base))
    monkeypatch.setattr(compiler, "_processor", lambda: "another")
    keys.append(key(base))
    monkeypatch.setattr(compiler, "native_flag", lambda: "-march=another")
    keys.append(key(base))
    assert len(set(keys)) == len(keys)


def test_the_folder_of_the_cache(tmp_path, monkeypatch):
    assert cache_folder("part") == tmp_path / "cache" / "part"
    monkeypatch.delenv("TINYTENSOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("part") == tmp_path / "xdg" / "tinytensor" / "part"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("part") == tmp_path / "home" / ".cache" / "tinytensor" / "part"


def test_unused_libraries_are_removed(cache, compiled_core, tmp_path):
    """The one that was used today stays, and so does the link to it."""
    shutil.copytree(compiled_core, cache, symlinks=True)
    compiled(tmp_path / "scale.cu", SCALE, ("scale", ()))
    kernels.core_library()
    folder = cache / "emulated"
    used = {path.name for path in folder.glob("*.so")}
    old = time.time() - 100 * kernel_cache.DAY
    (folder / "old.so").touch()
    (folder / "dangling.so").symlink_to("gone.so")
    for path in folder.iterdir():
        os.utime(path, (old, old), follow_symlinks=False)
    kernels.core_library()
    EmulatedRuntime().kernel(tmp_path / "scale.cu", "scale")
    kernel_cache._clean.cache_clear()
    shared_library(recipe(), "emulated")
    left = {path.name for path in folder.iterdir()}  # a header of units is parsed again for the next one
    assert used < left
    assert len(left) == len(used) + 1


# ---- no compiler -------------------------------------------------------------------------------------------


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KernelError, match=r"apt install g\+\+, or pip install '\.\[compiler\]'"):
        shared_library(recipe(), "part")


def test_the_package_with_a_compiler_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location("ziglang", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "ziglang" else None)
    assert find_compiler().command == (sys.executable, "-m", "ziglang", "cc")


def test_the_compiler_that_the_environment_names(tmp_path, monkeypatch):
    log = tmp_path / "log"
    wrapper = tmp_path / "my compiler"
    wrapper.write_text(f'#!/bin/sh\necho run >> "{log}"\nshift\nexec g++ "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{wrapper}' first-word")
    assert ctypes.CDLL(str(shared_library(recipe(7), "part"))).answer() == 7
    assert log.read_text().count("run") >= 1
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelError, match="'no-such-compiler' was not found"):
        shared_library(recipe(7), "part")


# ---- folders that cannot be written ------------------------------------------------------------------------


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch, caplog):
    """Libraries then go to a folder of this user among the temporary files, and a warning says so."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYTENSOR_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            path = shared_library(recipe(), "part")
    assert path.parent.parent == tmp_path / "temporary" / f"tinytensor-{os.getuid()}"
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700
    assert len(caplog.records) == 1
    assert "cannot be used, Not a directory" in caplog.text


def test_a_temporary_folder_of_others_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYTENSOR_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_to_all = tmp_path / f"tinytensor-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    folder = cache_folder("part").parent
    assert folder != open_to_all
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_full_disk(monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(KernelError, match="No space left on device") as caught:
            shared_library(recipe(), "part")
    assert "TINYTENSOR_CACHE" in str(caught.value)
    assert not list(cache_folder("part").iterdir())
    assert shared_library(recipe(), "part").exists()


def test_links_that_cannot_be_made(tmp_path, monkeypatch):
    """An instance without its own name in the cache works, and is compiled once more next time."""

    def refuse(*arguments):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    compiled(tmp_path / "scale.cu", SCALE, ("scale", ()))


# ---- mistakes and accidents --------------------------------------------------------------------------------


def test_mistakes_in_the_text():
    text = "\n".join(f"int f{i}() {{ return undeclared{i}; }}" for i in range(60))
    with pytest.raises(KernelError, match=r"answer does not compile\n(.*\n)*.*undeclared0") as caught:
        shared_library(recipe(text=text), "part")
    lines = str(caught.value).splitlines()
    assert "more lines" in lines[-2]
    assert len(lines) < 40
    assert not list(cache_folder("part").iterdir())


def test_a_process_that_is_killed_while_it_compiles(tmp_path, compiled_core):
    """Whoever comes later compiles by himself; what was left lying goes after a day."""
    cache, source = compiled_core, tmp_path / "late.cu"
    slow, started = tmp_path / "slow", tmp_path / "started"
    source.write_text(f"// another text\n{SCALE}")
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ echo $$ > "{started}"; exec sleep 100; }}\n')
    slow.chmod(0o755)
    text = USE.format(path=str(source))
    victim = python(text, TINYTENSOR_CACHE=str(cache), CXX=str(slow))
    while not (started.exists() and started.read_text().endswith("\n")):
        time.sleep(0.01)
    victim.kill()
    os.kill(int(started.read_text()), signal.SIGKILL)
    victim.communicate(timeout=10)
    left = [p.name for p in (cache / "emulated").iterdir()]
    assert any(name.startswith(".build-") for name in left)
    assert not any(name.startswith("late") for name in left)
    for folder in (cache / "emulated").glob(".build-*"):
        os.utime(folder, (1, 1))
    finish(python(text, TINYTENSOR_CACHE=str(cache)))
    assert not list((cache / "emulated").glob(".build-*"))


@pytest.mark.parametrize("size", [0, 1, 64, 4096, 8192, -1])
def test_a_library_that_is_cut_off_is_compiled_again(size, caplog):
    """One whose last pages are missing would kill the process when it is loaded or used."""
    path = shared_library(recipe(), "part")
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert load_library(recipe(), "part").answer() == 42
    assert path.read_bytes()[:4] == b"\x7fELF"
    assert f"{path} is damaged: it is compiled again" in caplog.text


def test_a_library_of_zeros_or_of_another_name_is_compiled_again():
    path, other = shared_library(recipe(), "part"), shared_library(recipe(43), "part")
    path.write_bytes(other.read_bytes())
    assert load_library(recipe(), "part").answer() == 42
    other.write_bytes(other.read_bytes()[:4096] + bytes(4096) + other.read_bytes()[8192:])
    assert load_library(recipe(43), "part").answer() == 43


def test_a_folder_in_the_place_of_a_library():
    path = shared_library(recipe(), "part")
    path.unlink()
    path.mkdir()
    with pytest.raises(KernelError, match=f"Is a directory\n  fix: remove {path}$"):
        shared_library(recipe(), "part")


def test_units_and_the_core_that_are_broken(compiled_core):
    cache, text = compiled_core, USE.format(path=str(compiled_core.parent / "scale.cu"))
    for broken in (False, True):
        said = finish(python(text, TINYTENSOR_CACHE=str(cache)))
        assert said.count("it is compiled again") == (2 if broken else 0)  # core, unit
        for path in (cache / "emulated").glob("*.so"):
            path.write_bytes(b"")


def test_a_library_that_cannot_be_loaded():
    """Whole, but for another machine: made again, and the second time an error."""
    text = ANSWER % 1 + "extern int nowhere(); int user = nowhere();"
    with pytest.raises(KernelError, match=r"answer-\w+\.so cannot be loaded\n  why: .*nowhere"):
        load_library(recipe(text=text), "part")


# ---- other users -------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="other rules of access")


@posix
def test_what_the_cache_makes_is_for_this_user_alone(cache):
    before = os.umask(0)
    try:
        library = shared_library(recipe(), "part")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o077 for path in (cache, library.parent, library)] == [0, 0, 0]


@posix
@pytest.mark.parametrize("part", ["", "part"])
def test_a_named_folder_that_others_can_write_to_is_refused(cache, part):
    shared_library(recipe(), "part")
    (cache / part).chmod(0o777)
    with pytest.raises(KernelError, match="can be written by other users") as caught:
        shared_library(recipe(), "part")
    assert str(caught.value).endswith(f"fix: chmod go-w {cache / part}")


@posix
def test_folders_and_files_of_other_users_are_refused(tmp_path, monkeypatch, caplog):
    """The same files, seen by another user."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = shared_library(recipe(), "part")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert kernel_cache.read_kept(path) is None
    assert f"belongs to another user (uid {user}): it is compiled again" in caplog.text
    with pytest.raises(KernelError, match=rf"belongs to another user \(uid {user}\)"):
        shared_library(recipe(), "part")


@posix
def test_a_default_folder_that_others_can_write_to_is_left_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("TINYTENSOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg" / "tinytensor").mkdir(parents=True)
    (tmp_path / "xdg" / "tinytensor").chmod(0o775)
    assert cache_folder("part") == tmp_path / f"tinytensor-{os.geteuid()}" / "part"
    assert len(caplog.records) == 1
    assert "tinytensor can be written by other users" in caplog.text


@posix
def test_a_library_that_others_can_write_to_is_compiled_again(caplog):
    path = shared_library(recipe(), "part")
    path.chmod(0o775)
    assert shared_library(recipe(), "part") == path
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"{path} can be written by other users: it is compiled again" in caplog.text


@posix
def test_a_lock_that_is_never_released(cache, monkeypatch, caplog):
    """What is waited for is told; then the library is compiled all the same."""
    import fcntl

    monkeypatch.setattr(kernel_cache, "TOLD", 0.0)
    monkeypatch.setattr(kernel_cache, "PATIENCE", 0.05)
    path = shared_library(recipe(), "part")
    path.unlink()
    with open(path.with_suffix(".lock"), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert load_library(recipe(), "part").answer() == 42
    first, second = caplog.messages
    assert first == f"waiting for another process that compiles {path.name} and holds {path.stem}.lock"
    assert second.endswith(f"for {path.name}: it is compiled here as well")


INSTRUCTIONS = """
import ctypes, math, numpy as np, tinytensor as tt
from tinytensor.runtime.compiler import Recipe, load_library
from tinytensor.op import registry
from tinytensor.runtime.cpu.library import NATIVE

filled = []  # whether each C++ kernel has filled its output

def noted(op, host):
    def call(*arrays):
        kernel = host(*arrays)
        return kernel and (lambda: filled.append(kernel()) or filled[-1])
    op.host = call

for name in ("matmul", "gelu"):
    noted(registry[name], registry[name].host)
tt.config.matmul = "own"
rng = np.random.default_rng(0)
a, b = [rng.standard_normal(shape).astype(np.float32) for shape in ((37, 53), (53, 41))]
product = tt.gelu(tt.tensor(a) @ tt.tensor(b), approximate="tanh").numpy()
x = a.astype(float) @ b
wanted = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
assert np.abs(product - wanted).max() < 1e-5, np.abs(product - wanted).max()
text = '#include "vector.h"\\nextern "C" __attribute__((visibility("default"))) int lanes() { return LANES; }'
print(load_library(Recipe("lanes", text, (NATIVE,)), "part").lanes(), filled)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64")
@pytest.mark.parametrize(("level", "lanes"), [("x86-64", 4), ("x86-64-v3", 8)])
def test_kernels_for_another_instruction_set(level, lanes, monkeypatch):
    monkeypatch.delenv("TINYTENSOR_CACHE")  # they are compiled once per machine
    try:
        flag = compiler.instruction_set(level)
    except ArgumentError as error:
        pytest.skip(str(error))
    assert flag == f"-march={level}"
    said = finish(python(INSTRUCTIONS, TINYTENSOR_MARCH=level))
    assert said.splitlines()[-1] == f"{lanes} [True, True]"


@pytest.mark.parametrize("level", ["avx2", "x86-64-v4"])
def test_an_instruction_set_that_cannot_run_is_refused(level, monkeypatch):
    monkeypatch.setattr(compiler, "_processor", lambda: "x86_64 flags: sse2 sse4_2 avx2 fma")
    with pytest.raises(ArgumentError, match=rf"TINYTENSOR_MARCH.*{level}"):
        compiler.instruction_set(level)
