"""Every row of the op table on the devices that run kernels: values against NumPy, gradients against the CPU.

The same kernels run everywhere, so `emulated` stands for a GPU on a machine that has none; with one, `pytest
-m gpu` runs the same cases on `cuda`. By default a fixed sample runs; TINYTENSOR_FULL=1 runs all of it.
"""

import importlib.util
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.drivers import gradients, outputs, placed
from tests.helpers.layouts import layouts_of, noted, prepared, read, tensors
from tests.helpers.tolerance import assert_close, tolerance
from tests.helpers.watched_calls import Call, prepare_all
from tinytensor.op_table import ROWS as ALL_ROWS
from tinytensor.op_table import Row
from tinytensor.op_table.row import COMPLEX, FLOATS, as_tuple, silent

pytestmark = pytest.mark.usefixtures("nan_memory")
Array = np.ndarray[Any, Any]
Case = tuple[Row, str, str]  # row, dtype, layout
ROWS = [row for row in ALL_ROWS if row.on_devices() or row.by_library()]


def devices() -> list[Any]:
    """The devices to test: `emulated` everywhere, `cuda` where there is one."""
    found = [pytest.param("emulated")]
    if importlib.util.find_spec("cupy") is not None:
        found.append(pytest.param("cuda", marks=pytest.mark.gpu))
    return found


def value_cases() -> list[Case]:
    found = []
    for at, row in enumerate(row for row in ROWS if row.has_reference):
        layouts = layouts_of(row)
        dtypes = [d for d in row.dtypes if d not in COMPLEX]
        for i, dtype in enumerate(dtypes):
            for layout in layouts:
                sampled = dtype == "float32" if "float32" in dtypes else i == 0
                sampled = sampled or (layout == "packed" and (at + i) % 3 == 0)
                if FULL or sampled or (layout == "mixed" and (at + i) % 7 == 0):
                    found.append((row, dtype, layout))
    return found


def grouped(cases: list[Case]) -> list[Any]:
    """The layouts of each row in each dtype."""
    found: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        found.setdefault((case[0].name, case[1]), []).append(case)
    return [pytest.param(of_row, id="-".join(name)) for name, of_row in found.items()]


def results(row: Row, dtype: str, layout: str, device: str) -> list[tt.Tensor]:
    """What the row returns on the device."""
    host = tensors(row, prepared(row, dtype, layout), dtype, layout)
    return outputs(row, [placed(x, device) for x in host])


def gradients_there(row: Row, dtype: str, layout: str, device: str) -> list[tt.Tensor]:
    """Its gradients and those of second order on the device."""
    host = tensors(row, prepared(row, dtype, layout), dtype, layout)
    inputs = [placed(x, device) for x in host]
    return [g for order in orders(row, dtype) for g in gradients(row, inputs, order)]


def orders(row: Row, dtype: str) -> tuple[int, ...]:
    """Of the derivatives that are compared."""
    return (1, 2) if row.second and dtype in ("float32", "float64") else (1,)


def calls(name: str) -> list[Call]:
    """What the cases of a row launch."""
    cases = [(results, case) for case in VALUES] + [(gradients_there, case) for case in GRADIENTS]
    return [Call("", partial(run, *values)) for run, values in cases if values[0].name == name]


@cache
def compile_for(name: str) -> None:
    """Compile for `emulated` what the cases of a row launch: together that is faster than one by one."""
    prepare_all(calls(name), "emulated")


VALUES = value_cases()


@pytest.mark.parametrize("device", devices())
@pytest.mark.parametrize("cases", grouped(VALUES))
def test_value(cases: list[Case], device: str) -> None:
    if device == "emulated":
        compile_for(cases[0][0].name)
    for row, dtype, layout in cases:
        with noted(layout):
            check_value(row, dtype, layout, device)


def check_value(row: Row, dtype: str, layout: str, device: str) -> None:
    values = prepared(row, dtype, layout)
    with silent():
        references = [np.asarray(r) for r in as_tuple(row.reference(*[v.copy() for v in values]))]
    host = tensors(row, values, dtype, layout)
    expected = outputs(row, host)
    inputs = [placed(x, device) for x in host]
    results = outputs(row, inputs)
    assert [y.shape for y in results] == [y.shape for y in expected]
    assert [y.dtype for y in results] == [y.dtype for y in expected]
    assert [str(y.device) for y in results] == [device] * len(results)
    largest = max([v.size for v in values], default=1)
    for k, (y, reference) in enumerate(zip(results, references, strict=True)):
        assert_close(
            read(y.cpu()),
            reference,
            y.dtype.name,
            largest,
            row.roundings,
            factor=row.tol,
            message=f"output {k}",
        )
    for x, before in zip(inputs, host, strict=True):
        np.testing.assert_array_equal(read(x.cpu()), read(before), err_msg="an input was written to")


def gradient_cases() -> list[Case]:
    found = []
    for at, row in enumerate(row for row in ROWS if row.grad):
        for j, layout in enumerate(layouts_of(row)):
            dtypes = [d for d in FLOATS if d in row.dtypes]
            for i, dtype in enumerate(dtypes):
                sampled = dtype == "float32" and (layout == "packed" or j == 1 + at % 6)
                if FULL or sampled or (layout == "packed" and at % len(dtypes) == i):
                    found.append((row, dtype, layout))
    return found


GRADIENTS = gradient_cases()


@pytest.mark.parametrize("device", devices())
@pytest.mark.parametrize("cases", grouped(GRADIENTS))
def test_gradient(cases: list[Case], device: str) -> None:
    if device == "emulated":
        compile_for(cases[0][0].name)
    for row, dtype, layout in cases:
        with noted(layout):
            check_gradient(row, dtype, layout, device)


def check_gradient(row: Row, dtype: str, layout: str, device: str) -> None:
    host = tensors(row, prepared(row, dtype, layout), dtype, layout)
    inputs = [placed(x, device) for x in host]
    terms = max([x.size for x in host], default=1)
    rtol, atol = tolerance(dtype, terms, roundings=4)
    for order in orders(row, dtype):
        expected, actual = gradients(row, host, order), gradients(row, inputs, order)
        assert len(actual) == len(expected)
        for k, (g, e) in enumerate(zip(actual, expected, strict=True)):
            assert (g.shape, g.dtype, g.device) == (e.shape, e.dtype, tt.Device(device))
            size = max(1.0, float(np.abs(read(e)).max(initial=0.0)))
            np.testing.assert_allclose(
                read(g.cpu()), read(e), rtol * row.tol * 4, atol * size * row.tol * 4,
                err_msg=f"order {order}, gradient {k}",
            )  # fmt: skip
