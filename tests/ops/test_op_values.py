"""Every row of the op table × dtype × layout: values, shapes, dtypes, untouched inputs, repeatable bits.

By default a fixed sample runs: each dtype with packed inputs, each layout with two dtypes. Rows of ops that
have a kernel of the host run once more with NumPy alone, packed. TINYTENSOR_FULL=1 runs all of it.
"""

import subprocess
import sys
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.layouts import LAYOUTS, bits, layouts_of, noted, prepared, read, storage_bytes, tensors
from tests.helpers.source import ROOT
from tests.helpers.tolerance import assert_close, tolerance
from tinytensor.commands.exercises import LENGTHS
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import COMPLEX, FLOATS, as_tuple, silent
from tinytensor.tensor import arr

pytestmark = pytest.mark.usefixtures("nan_memory")


Variant = tuple[Row, str]  # a row, perhaps in other shapes, and a layout


def cases() -> list[Any]:
    """Variants of a row by dtype and host kernels."""
    found: dict[tuple[str, str, str], list[Variant]] = defaultdict(list)
    for at, row in enumerate(row for row in ROWS if row.has_reference):
        layouts = layouts_of(row)
        for i, dtype in enumerate(row.dtypes):
            auto, numpy = found[row.name, dtype, "auto"], found[row.name, dtype, "off"]
            for j, layout in enumerate(layouts):
                if FULL or layout == "packed" or i == 0 or (at + j) % len(row.dtypes) == i:
                    auto.append((row, layout))
                if row.has_host_kernel() and (FULL or layout == "packed"):
                    numpy.append((row, layout))
            reshaped = [(row.reshaped(shapes), "packed") for shapes in row.also]
            single = row.has_host_kernel() and dtype == "float32"  # what kernels of the host take
            auto += reshaped if FULL or single or i == 0 or at % len(row.dtypes) == i else []
            numpy += reshaped if single else []
        if row.large:
            found[row.name, row.main_dtype(), "auto"].append((row.enlarged(LENGTHS.__getitem__), "packed"))
    return [
        pytest.param(variants, dtype, mode, id=f"{name}-{dtype}{'' if mode == 'auto' else '-numpy'}")
        for (name, dtype, mode), variants in found.items()
        if variants
    ]


def expected_dtypes(row: Row, dtype: str, references: list[np.ndarray[Any, Any]]) -> list[str]:
    """What the row says, or else the reference's dtype, where float64 stands for the tested one."""
    said = row.result(dtype) if callable(row.result) else row.result
    if said is not None:
        return [said] * len(references) if isinstance(said, str) else list(said)
    floating = dtype if dtype in FLOATS + COMPLEX else "float32"
    real = {"complex128": "float64", "complex64": "float32"}.get(floating, floating)
    kinds = {"float64": real, "complex128": floating}
    return [kinds.get(r.dtype.name, r.dtype.name) for r in references]


@pytest.mark.parametrize(("variants", "dtype", "mode"), cases())
def test_value(variants: list[Variant], dtype: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", mode)
    for row, layout in variants:
        with noted((layout, [x.shape for x in row.inputs])):
            check_value(row, dtype, layout)


def check_value(row: Row, dtype: str, layout: str) -> None:
    values = prepared(row, dtype, layout)
    with silent():
        references = [np.asarray(r) for r in as_tuple(row.reference(*[v.copy() for v in values]))]
    inputs = tensors(row, values, dtype, layout)
    before = [(storage_bytes(x), x.version, x.layout) for x in inputs]
    outputs = as_tuple(row.call(*inputs))

    assert [type(y) for y in outputs] == [tt.Tensor] * len(references)
    assert [y.shape for y in outputs] == [r.shape for r in references]
    assert [y.dtype.name for y in outputs] == expected_dtypes(row, dtype, references)
    assert not any(y.requires_grad for y in outputs)
    if row.contiguous:
        assert all(y.is_contiguous() and arr(y).flags.c_contiguous for y in outputs)
    largest = max([v.size for v in values], default=1)
    for k, (y, reference) in enumerate(zip(outputs, references)):
        message = f"output {k}, inputs {[v.shape for v in values]}"
        assert_close(
            read(y), reference, y.dtype.name, largest, row.roundings, factor=row.tol, message=message
        )

    assert [(storage_bytes(x), x.version, x.layout) for x in inputs] == before, "an input was written to"
    first = [bits(y) for y in outputs]
    again = [bits(y) for y in as_tuple(row.call(*inputs))]
    assert again == first, "two runs differ"


def test_recording_changes_no_value() -> None:
    """Hidden outputs are computed only when a result is recorded; the visible ones stay what they are."""
    problems = []
    for row in ROWS:
        dtype = row.dtypes[0]
        if not row.grad or dtype not in FLOATS:
            continue
        values = row.sample(dtype)
        plain = as_tuple(row.call(*tensors(row, values, dtype, "packed")))
        leaves = tensors(row, values, dtype, "packed")
        for i in row.differentiable():
            leaves[i].requires_grad_()
        recorded = as_tuple(row.call(*leaves))
        rtol, atol = tolerance(dtype)  # recorded, an op may add up in another order
        for y, z in zip(plain, recorded, strict=True):
            if not np.allclose(read(y), read(z), rtol, atol, equal_nan=True):
                problems.append(row.name)
        if not any(y.requires_grad for y in recorded):
            problems.append(f"{row.name}: nothing was recorded")
    assert not problems, problems


def test_each_layout_lies_in_memory_as_it_says() -> None:
    values = np.arange(12.0).reshape(3, 4)
    strides = {name: v.make(v.prepare(values), "float64") for name, v in LAYOUTS.items() if v.fits(values)}
    assert strides["packed"].strides == (4, 1)
    assert strides["transposed"].strides == (1, 3)
    assert strides["offset"].offset == 7
    assert strides["step"].strides == (8, 2)
    assert strides["negative"].strides == (-4, -1)
    assert strides["expanded"].strides == (1, 0)
    assert LAYOUTS["unit_axes"].make(values[:, :1], "float64").strides == (1, 9)


def test_rows_have_different_names() -> None:
    names = [row.name for row in ROWS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("op", "said"),
    [
        ("log2", "4 tests collected"),  # none had to be left out: the table has no other row
        ("softmx", "ERROR: --op=softmx: no row of tinytensor/op_table has this name or op; near: softmax"),
    ],
)
def test_the_option_op_leaves_the_rows_of_one_op(op: str, said: str) -> None:
    command = [sys.executable, "-m", "pytest", "--co", "-q", f"--op={op}", "tests/ops/test_op_jvp.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
    assert done.stdout.count("::") == done.stdout.count(f"[{op}") == (4 if done.returncode == 0 else 0)
