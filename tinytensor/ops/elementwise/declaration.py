"""`@elementwise`: an elementwise op from one declaration.

    @elementwise(np.multiply, "a * b", da=lambda g, b: g * b, db=lambda g, a: g * a, flops=1)
    def multiply(a: Operand, b: Operand) -> Tensor:
        '''Product; `a * b`. …'''

gives the op `Multiply`, the public function and its docstring, the functor of the CUDA kernel and, where the
formula has NumPy's bits, the C++ loop of captured steps. `in_place(multiply)` of `ops/inplace.py` is the
method that writes into its first operand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from tinytensor.dispatch.apply import apply, binary, unary
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.op import HostCall, Precision, register
from tinytensor.ops.inplace import copy_
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.runtime.kernel_files import KERNELS, generated
from tinytensor.tensor import Tensor, empty

F = TypeVar("F", bound=Callable[..., Any])
ALL = ("bool", "uint", "int", "float", "complex")
_WORDS = {"bool": "bool", "uint": "integer", "int": "integer", "float": "floating", "complex": "complex"}
_RESULTS = {
    **{"same": "the promoted dtype", "float": "a floating dtype", "bool": "dtype bool"},
    "real": "the same dtype; that of the parts of complex numbers",
}
_EXACT = {"fabs": "absolute", "sqrt": "root"}  # rounded as by NumPy, with their names in generated loops
_BLOCK = 16_384  # elements: a block and what is made of it fit in the L2 cache
_functors: dict[str, dict[str, str]] = {}  # by the module's name, then by that of the op


def elementwise(
    numpy: Callable[..., Any],
    c: str = "",
    *,
    flops: float,
    integer: str = "",
    result: str = "same",
    accepts: tuple[str, ...] = ALL,
    untyped: int = 0,
    flat: bool = False,
    refuses: bool = False,
    check: Callable[..., None] | None = None,
    kernels: HostKernels | None = None,
    autocast: Precision | None = None,
    **steps: Callable[..., Any],
) -> Callable[[F], F]:
    """Declare an elementwise op by a function without a body: its name, operands and docstring.

    Args:
        numpy: a ufunc, or a function of arrays that returns the result: the specification. Small tensors take
            one with `out=` and `order=` faster.
        c: the same as a C++ expression of the operands, in the type A that is computed in; "" if devices do
            not have the op. It may use `<module>.cuh`. Of operators, fabs and sqrt alone, it also becomes
            loops of captured steps on the CPU.
        flops: floating-point operations of an element: see `tinytensor/op.py`.
        integer: the expression for integers, where it is another.
        result, accepts, untyped, refuses, check: see `Elementwise`.
        kernels: those of a .cpp file, of which the one with the op's name is for large results.
        flat: the function is piecewise constant: its gradient is 0.
        autocast: see `Op`.
        steps: gradients, `dx` of the operand x, and what they share: functions of g (the gradient of the
            result), operands, y (the result) and other steps, by these names. An operand without one has
            gradient 0.
    """

    def declare(function: F) -> F:
        assert isinstance(function, FunctionType)
        code = function.__code__
        inputs = code.co_varnames[: code.co_argcount]
        name = function.__name__.lstrip("_")
        attributes: dict[str, Any] = {
            "__module__": function.__module__,
            "inputs": inputs,
            "ufunc": staticmethod(_as_ufunc(numpy)),
            "formula": _loop_formula(c, inputs) if "float" in accepts else "",
            "flops": flops,
            "result": result,
            "accepts": accepts,
            "untyped": untyped,
            "refuses": refuses,
            "autocast": autocast,
            "steps": steps,
        }
        if check is not None:
            attributes["check"] = staticmethod(check)
        if kernels is not None:
            attributes["host"] = staticmethod(_host(kernels, name))
        if steps or flat:
            attributes["saves"] = _saves(inputs, steps)
            attributes["backward"] = staticmethod(_backward(inputs, steps))
        kind = type("".join([word.capitalize() for word in name.split("_")]), (Elementwise,), attributes)
        op: Elementwise = register(kind)
        if c:
            stem = function.__module__.rpartition(".")[2]
            _functors.setdefault(stem, {})[kind.__name__] = _functor(op, c, integer)
            generated[stem] = partial(_source, function.__module__)
        return _public(function, op)  # type: ignore[return-value]  # with the signature of the function

    return declare


# ---- the function ------------------------------------------------------------------------------------------


def _public(function: FunctionType, op: Elementwise) -> FunctionType:
    """A function with the declared name, operands and docstring that runs the op."""
    call = _call(op, unary if len(op.inputs) == 1 else binary if isinstance(op.ufunc, np.ufunc) else apply)
    code = function.__code__
    run = call.__code__.replace(
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
        co_varnames=op.inputs if len(op.inputs) < 3 else call.__code__.co_varnames,
    )
    public = FunctionType(run, function.__globals__, function.__name__, None, call.__closure__)
    public.__annotations__, public.__qualname__ = function.__annotations__, function.__qualname__
    public.__doc__ = _documented(function.__doc__ or "", op)
    public.op = op  # type: ignore[attr-defined]
    return public


def _call(op: Elementwise, run: Callable[..., Tensor]) -> FunctionType:
    """`run` with the op, in the number of operands that it takes."""
    if len(op.inputs) == 1:
        return lambda x: run(op, x)  # type: ignore[return-value]
    if len(op.inputs) == 2:
        return lambda a, b: run(op, a, b)  # type: ignore[return-value]
    return lambda *xs: run(op, *xs)  # type: ignore[return-value]


def _documented(text: str, op: Elementwise) -> str:
    """The docstring with a sentence on the operands and dtypes, which the declaration implies."""
    one, refused = len(op.inputs) == 1, [word for kind, word in _WORDS.items() if kind not in op.accepts]
    args = f"{op.inputs[0]} has any shape" if one else f"{', '.join(op.inputs)} broadcast together"
    args += f", not {' or '.join(dict.fromkeys(refused))}" if refused else ""
    args += "; integers become float32" if op.result == "float" else ""
    sentence, _, rest = inspect.cleandoc(text).partition("\n\n")
    return f"{sentence}\n\n{args}. The result has {_RESULTS[op.result]}.\n\n{rest}"


def _as_ufunc(numpy: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays with `out=` and `order=`; a ufunc as it is."""
    with suppress(ValueError):  # that of np.where is unknown
        if isinstance(numpy, np.ufunc) or "out" in inspect.signature(numpy).parameters:
            return numpy

    def ufunc(x: Any, *others: Any, out: Any = None, order: Any = "K") -> Any:
        given = out if isinstance(out, np.ndarray) else None
        dense = np.size(x) > _BLOCK and all([a is None or a.flags.c_contiguous for a in (x, given)])
        if not dense or any([np.ndim(other) for other in others]):
            y = np.asarray(numpy(x, *others), order=order)
            if given is None:
                return y
            np.copyto(given, y)
            return given
        flat = x.reshape(-1)  # in blocks, whose intermediate results stay in the cache
        for i in range(0, x.size, _BLOCK):
            block = numpy(flat[i : i + _BLOCK], *others)
            if given is None:
                given = np.empty(x.shape, block.dtype)
            given.reshape(-1)[i : i + _BLOCK] = block
        return given

    return ufunc


# ---- the gradient ------------------------------------------------------------------------------------------


def flat(grad: Tensor) -> Tensor:
    """Zero gradient of a piecewise constant function."""
    return copy_(empty(grad.layout.shape, grad.storage.dtype, device=grad.storage.device), 0)


def _parameters(step: Callable[..., Any]) -> tuple[str, ...]:
    return step.__code__.co_varnames[: step.__code__.co_argcount]


def _users(inputs: Sequence[str], steps: Mapping[str, Callable[..., Any]]) -> dict[str, list[int]]:
    """For each name that steps read, the operands whose gradients need it."""
    users: dict[str, list[int]] = {}

    def visit(step: str, i: int) -> None:
        for name in _parameters(steps[step]):
            if name != "g" and i not in users.setdefault(name, []):
                users[name].append(i)
            if name in steps:
                visit(name, i)

    for i, x in enumerate(inputs):
        if f"d{x}" in steps:
            visit(f"d{x}", i)
    for i, x in enumerate(inputs):  # the gradient of an operand, which that of another reads, too
        if f"d{x}" in users and i not in users[f"d{x}"]:
            users[f"d{x}"].append(i)
    return users


def _saves(inputs: Sequence[str], steps: Mapping[str, Callable[..., Any]]) -> tuple[str, ...]:
    """Names that the steps read; with "?x" if only the gradient of x needs them."""
    read = {name: i for name, i in _users(inputs, steps).items() if name not in steps}
    some = len(inputs) > 1
    return tuple([f"{x}?{inputs[i[0]]}" if some and len(i) == 1 else x for x, i in read.items()])


def _backward(inputs: Sequence[str], steps: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The method `backward`: written out, so that it costs no more than one by hand."""

    def value(name: str, users: Sequence[int]) -> str:
        if name not in steps:
            call = "flat(g)"
        else:
            given = [p if p == "g" or p in steps else f"saved.{p}" for p in _parameters(steps[name])]
            call = f"step_{name}({', '.join(given)})"
        needed = " or ".join([f"needs[{i}]" for i in users])
        return call if len(users) == len(inputs) else f"{call} if {needed} else None"

    users = _users(inputs, steps)
    shared = [name for name in steps if name in users]
    lines = [f"    {name} = {value(name, users[name])}" for name in shared]
    grads = [f"d{x}" if f"d{x}" in shared else value(f"d{x}", [i]) for i, x in enumerate(inputs)]
    text = [
        "def backward(grads, saved, needs):",
        "    (g,) = grads",
        *lines,
        f"    return ({', '.join(grads)},)",
    ]
    scope: dict[str, Any] = {"flat": flat, **{f"step_{name}": step for name, step in steps.items()}}
    exec("\n".join(text), scope)
    backward: Callable[..., Any] = scope["backward"]
    return backward


# ---- C++ ---------------------------------------------------------------------------------------------------


def _host(kernels: HostKernels, name: str) -> Callable[..., HostCall]:
    return lambda y, *xs: partial(getattr(kernels, name), y, *xs)


def _loop_formula(c: str, inputs: Sequence[str]) -> str:
    """The expression with {0}, {1}, … for the operands; "" unless NumPy rounds it alike."""
    if not set(re.findall(r"(\w+)[(<]", c)) <= _EXACT.keys():
        return ""
    names = {**_EXACT, **{x: f"{{{i}}}" for i, x in enumerate(inputs)}}
    return re.sub(r"\b[a-z]\w*\b", lambda m: names.get(m[0], m[0]), c)


def _functor(op: Elementwise, c: str, integer: str) -> str:
    result = "bool" if op.result == "bool" else "A"
    operands = ", ".join([f"{'bool' if i < op.untyped else 'A'} {x}" for i, x in enumerate(op.inputs)])
    body = f"return {result}({c});"
    if integer:
        body = f"if constexpr (is_floating<A>) {body}\n        else return {result}({integer});"
    head = f"    template <class A> __device__ {result} operator()({operands}) const {{"
    return f"struct {type(op).__name__} {{\n{head}\n        {body}\n    }}\n}};\n"


def _source(module: str) -> str:
    """The .cu file of a module: the functors of its ops."""
    *_, folder, stem = module.split(".")
    header = f"{folder}/{stem}.cuh"
    include = header if (KERNELS / header).exists() else "elementwise.cuh"
    head = f"// Functors, made from the declarations of {module.replace('.', '/')}.py.\n"
    return "\n".join([f'{head}#include "{include}"\n', *_functors[stem].values()])
