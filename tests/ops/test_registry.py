"""Registered ops, rows of the op table and documented public functions are the same things."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from inspect import getattr_static
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
import tinytensor.ops
from tests.helpers.layouts import layouts_of, prepared, tensors
from tests.helpers.observed import observed
from tinytensor.commands.exercises import KERNELS_OF_OTHERS
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.op import registry
from tinytensor.op_table import FAMILIES, ROWS, Row
from tinytensor.op_table.row import FLOATS, as_tuple, for_the_cpu
from tinytensor.runtime.kernel_files import kernel_path

# What no row can call or compare, and who tests it instead.
ELSEWHERE = {
    "alias": "a second name for a value, inside the derivatives of fused ops",
    "transfer": "moves between devices: tests/ops/test_on_device.py",
}
NO_ROW = {"allclose": "gives a Python bool: tests/ops/test_elementwise.py"}
NO_KERNEL = {"imag": "devices have no complex numbers", "transfer": ELSEWHERE["transfer"]}

EXTENSIONS = ("fft", "linalg")  # modules of tt with functions of ops


def own_ops() -> list[str]:
    """Ops of the engine; tests may register more."""
    return sorted(name for name, op in registry.items() if op.__module__.startswith("tinytensor."))


def stem(name: str) -> str:
    """The file of an op, without folder and ending."""
    return registry[name].__module__.rpartition(".")[2]


def folder(name: str) -> str:
    """The file of an op from the root of the repository, without ending."""
    return registry[name].__module__.replace(".", "/")


def families() -> list[Any]:
    """All modules of ops."""
    found = pkgutil.walk_packages(tinytensor.ops.__path__, "tinytensor.ops.")
    return [importlib.import_module(m.name) for m in found if not m.ispkg]


def functions() -> Iterator[tuple[str, FunctionType]]:
    """Public functions that modules of ops define, with the module's name."""
    for module in families():
        for name, thing in vars(module).items():
            here = isinstance(thing, FunctionType) and thing.__module__ == module.__name__
            if here and not name.startswith("_"):
                yield module.__name__, thing


def exported() -> set[Callable[..., Any]]:
    """What `tt` offers, and the methods of tensors."""
    functions = [inspect.unwrap(f) for _, f in offered()]
    functions += [f for name in tt.__all__ if isinstance(f := getattr(tt, name), FunctionType)]
    methods = [getattr(tt.Tensor, name, None) for name in dir(tt.Tensor)]
    methods += [m.fget for m in methods if isinstance(m, property)]
    return {f for f in functions + methods if isinstance(f, FunctionType)}


def public(name: str) -> Any:
    """What users call by a name such as "exp" or "linalg.inv"; None if there is none."""
    module, _, function = name.rpartition(".")
    space = getattr(tt, module) if module else tt
    return getattr(space, function) if function in space.__all__ else None


def offered() -> Iterator[tuple[str, FunctionType]]:
    """Public functions of modules of ops, by the names that users call."""
    for space, names in [("", tt.__all__), *[(f"{m}.", getattr(tt, m).__all__) for m in EXTENSIONS]]:
        for name in names:
            function = inspect.unwrap(public(space + name))
            if isinstance(function, FunctionType) and function.__module__.startswith("tinytensor.ops."):
                yield space + function.__name__, function


WRAPPED = {*tt.nn.functional.__all__, "bce_with_logits"}  # which `nn` gives PyTorch's arguments
LISTED = {op for row in ROWS for op in row.ops or ()}
NAMED = {row.function.rpartition(".")[2] for row in ROWS}  # det of linalg.det
Problems = Iterator[str]


def every_op_has_a_row() -> Problems:
    for name in own_ops():
        if name not in LISTED and name not in ELSEWHERE:
            yield f"{folder(name)}.py: no row lists op {name} in `ops`".replace("/ops/", "/op_table/")


def every_op_has_a_kernel() -> Problems:
    """A functor of an elementwise op, a method `cuda` and the file of its kernels of another."""
    for name in own_ops():
        op = registry[name]
        runs = issubclass(op, Elementwise) or hasattr(op, "cpu")
        if not runs or name in NO_KERNEL or for_the_cpu(op):
            continue
        path = kernel_path(stem(name), ".cu")
        file = f"{folder(name)}.cu".replace("/ops/", "/kernels/")
        if issubclass(op, Elementwise):
            if not path.exists() or f"struct {op.__name__} " not in path.read_text(encoding="utf-8"):
                yield f"{file}: no functor {op.__name__} for op {name}"
        elif not hasattr(op, "cuda"):
            yield f"{folder(name)}.py: class {op.__name__} has no `cuda`"
        elif not path.exists() and stem(name) not in KERNELS_OF_OTHERS:
            yield f"{file}: no such file, which op {name} needs"


def every_op_of_a_row_exists() -> Problems:
    yield from [f"row {row.name}: no op {op!r}" for row in ROWS for op in row.ops or () if op not in registry]


def exceptions_are_needed() -> Problems:
    yield from [f"ELSEWHERE: no op {name}" for name in ELSEWHERE if name not in registry]
    yield from [f"ELSEWHERE: a row lists {name}, take it out" for name in ELSEWHERE if name in LISTED]
    for name in NO_ROW:
        if name in NAMED or not hasattr(tt, name):
            yield f"NO_ROW: {name} has a row or does not exist"


def is_offered(name: str) -> bool:
    return name in WRAPPED or hasattr(tt.Tensor, name) or hasattr(tt.Tensor, f"__{name}__")


def every_row_calls_a_public_function() -> Problems:
    for row in ROWS:
        if public(row.function) is None and not is_offered(row.function):
            yield (
                f"row {row.name}: neither tt.{row.function} nor a method of Tensor; functions are exported "
                "by `__all__` of their module, and modules by tinytensor/api.py"
            )


def every_public_function_has_a_row() -> Problems:
    for name, f in offered():
        if name.rpartition(".")[2] not in NAMED and name not in NO_ROW:
            yield f"{f.__module__}.{f.__name__}: no row of tinytensor/op_table has the name {name}"


def documented_functions_are_exported() -> Problems:
    """A function of an ops module with an example is meant for users."""
    here = exported()
    for module, f in functions():
        is_documented = ">>>" in (f.__doc__ or "") and "Tensor" in str(f.__annotations__.get("return"))
        if is_documented and f not in here and not is_offered(f.__name__):
            yield f"{module}.{f.__name__} is documented like public functions: export it, or make it a method"


def every_family_of_rows_belongs_to_ops() -> Problems:
    yield from [f"tinytensor/op_table: {name} has no rows" for name, rows in FAMILIES.items() if not rows]


RULES = [
    *(every_op_has_a_row, every_op_has_a_kernel, every_op_of_a_row_exists, exceptions_are_needed),
    *(every_row_calls_a_public_function, every_public_function_has_a_row, documented_functions_are_exported),
    every_family_of_rows_belongs_to_ops,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_ops_rows_and_functions_are_the_same_things(rule: Callable[[], Problems]) -> None:
    problems = list(rule())
    assert not problems, "\n" + "\n".join(problems)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Collects the names of the ops that run, or whose layout or backward is called."""
    names: set[str] = set()

    def counted(name: str, part: str) -> Any:
        function = getattr(registry[name], part)

        def call(*args: Any, **kwargs: Any) -> Any:
            names.add(name)
            return function(*args, **kwargs)

        return staticmethod(call) if isinstance(getattr_static(registry[name], part), staticmethod) else call

    for name in own_ops():
        op = registry[name]
        for part in ("layout", "backward"):
            if getattr(op, part, None) is not None:
                monkeypatch.setattr(op, part, counted(name, part))

    def watch(op: str, *_: Any) -> Any:
        names.add(op)
        return _[-1]()

    with observed(op=watch):
        yield names


def run_to_second_order(row: Row) -> None:
    """Forward in every layout, and where the row is differentiable backward twice."""
    for layout in layouts_of(row):
        row.call(*tensors(row, prepared(row, row.dtypes[-1], layout), row.dtypes[-1], layout))
    dtype = row.dtypes[0]
    inputs = tensors(row, row.sample(dtype), dtype, "packed")
    if row.grad and dtype in FLOATS:
        for i in row.differentiable():
            inputs[i].requires_grad_()
    outputs = [y for y in as_tuple(row.call(*inputs)) if y.requires_grad]
    if not outputs:
        return
    leaves = [x for x in inputs if x.requires_grad]
    starts = [tt.tensor(np.ones(y.shape), dtype=y.dtype, requires_grad=True) for y in outputs]
    first = tt.grad(outputs, leaves, starts, create_graph=True, allow_unused=True)
    again = [g for g in first if g is not None and g.requires_grad]
    if again and row.second:
        ones = [tt.ones(*g.shape, dtype=g.dtype) for g in again]
        tt.grad(again, [*leaves, *starts], ones, allow_unused=True)


def test_rows_exercise_the_ops_that_they_list(ran: set[str]) -> None:
    problems = []
    for row in ROWS:
        ran.clear()
        run_to_second_order(row)
        problems += [f"row {row.name}: op {op} did not run" for op in row.ops or () if op not in ran]
    assert not problems, problems
