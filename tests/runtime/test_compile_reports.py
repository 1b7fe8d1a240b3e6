"""Counts of the kernels that are compiled: what a function hears, and when standard error hears nothing."""

import pytest

import tinytensor as tt
from tinytensor.runtime import compile_reports, compiler
from tinytensor.runtime.compiler import Recipe, load_library, make_libraries


def recipe(number):
    return Recipe(
        "counted", f'extern "C" __attribute__((visibility("default"))) int answer() {{ return {number}; }}'
    )


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYTENSOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def heard():
    return []


@pytest.fixture
def report(heard):
    return lambda done, total: heard.append((done, total))


def test_a_function_hears_of_each_library(heard, report, capsys, monkeypatch):
    monkeypatch.setattr(compiler, "_told", set())
    with tt.on_compile(report):
        make_libraries([recipe(1), recipe(2)], "part")
        assert heard == [(0, 2), (1, 2), (2, 2)]
        load_library(recipe(3), "part")
        assert heard[3:] == [(2, 3), (3, 3)]
        assert load_library(recipe(1), "part").answer() == 1
        make_libraries([recipe(1), recipe(2)], "part")
    assert len(heard) == 5
    assert capsys.readouterr().err == ""
    load_library(recipe(4), "part")
    assert len(heard) == 5
    assert "compiling counted (" in capsys.readouterr().err


def test_what_does_not_compile_is_counted(heard, report):
    with tt.on_compile(report):
        make_libraries([recipe(1), Recipe("wrong", "undeclared x;")], "part")
        with pytest.raises(tt.KernelError, match="does not compile"):
            load_library(Recipe("wrong", "undeclared x;"), "part")
    assert heard == [(0, 2), (1, 2), (2, 2), (2, 3), (3, 3)]


def test_the_innermost_function_hears(heard, report):
    inner = []
    with tt.on_compile(report):
        with tt.on_compile(lambda *numbers: inner.append(numbers)), compile_reports.compiling(1):
            pass
        with compile_reports.compiling(1):
            pass
    assert inner == heard == [(0, 1), (1, 1)]
    assert not compile_reports.is_reported()
