"""Who may import whom, how long functions may be, and no name that means two things."""

import ast
import sys
from collections.abc import Callable
from functools import cache

import pytest

from tests.helpers.source import ROOT, Import, Module, function_lines, modules

FUNCTION_LINES, LINE_LENGTH = 60, 110

# From the bottom up: folders, and the modules directly in `tinytensor/` between them. Each imports only from
# those on lines above its own, and from itself; imports for the type checker count.
ENGINE = """
errors events
config device argument_errors
shapes dtypes files
layout
runtime
emulator
generator
random_streams
storage
tensor
op
autograd
dispatch
kernels
ops
creation
argument_checks
transforms cuda
interop display
methods
api
linalg fft utils
optim
nn
func
tinytensor
distributed lab
op_table
puzzles
commands
__main__
"""
GPT = """
fields
console
config
depth
presets
tokenizers
models data
tasks weights
generation
live
evaluation
training
finetuning interpret
experiments lessons demo chatbot minimal
gpt
__main__
"""
BENCHMARKS = """
contest training
dry_gpu
public_programs
op_cases
peers
kernels_lab public_kernels
suites
first_day
report
commands
benchmarks
__main__
"""
ORDERS = {"tinytensor": ENGINE, "gpt": GPT, "benchmarks": BENCHMARKS}
RANK = {
    (package, name): rank
    for package, order in ORDERS.items()
    for rank, line in enumerate(order.split("\n"))
    for name in line.split()
}
# Upward, for type checkers alone: the methods that `methods.py` gives to Tensor, and what the lab returns.
TYPES_ONLY = {
    ("tinytensor.tensor", "tinytensor.methods"),
    ("tinytensor.display", "tinytensor.lab.explain.explanation"),
}
# `runtime_of` starts the runtime of a device when it is asked for.
STARTS = {("tinytensor.runtime", f"tinytensor.emulator.{part}.runtime") for part in ("run", "check")}
MOST_FILES = 15  # in a folder, about

# Pure integers: to be read and tested without arrays.
NO_ARRAYS = {
    f"tinytensor.{name}" for name in ("errors", "config", "device", "argument_errors", "shapes", "layout")
}
# What gpt sees of the engine: its public names.
GPT_MAY_IMPORT = {
    *("tinytensor", "tinytensor.errors", "tinytensor.files", "tinytensor.interop.safetensors_file"),
    *("tinytensor.nn", "tinytensor.optim", "tinytensor.distributed", "tinytensor.lab"),
}
LIBRARIES = {
    "tinytensor": {"numpy", "ml_dtypes"},
    "tinytensor.runtime.cuda.runtime": {"numpy", "cupy"},
    "tinytensor.distributed.nccl": {"numpy", "cupy"},
    "tinytensor.distributed.mpi": {"numpy", "mpi4py"},
    "tinytensor.commands.mcp": {"mcp"},
    "gpt.weights.gguf_format.reader": {"numpy", "gguf"},
    "gpt.weights.gguf_format.writer": {"numpy", "gguf"},
    "gpt.tokenizers.jinja_template": {"jinja2"},
    "gpt.weights.hf": {"huggingface_hub"},
    "gpt.data.records": {"numpy", "pyarrow"},
    "gpt": {"numpy", "tqdm", "regex"},
}
EMULATOR = "tinytensor", "emulator"
# What the emulator knows of the engine: errors, the words of its interface, and the compiler.
EMULATOR_MAY_IMPORT = {
    *("tinytensor.errors", "tinytensor.device", "tinytensor.dtypes"),
    *(f"tinytensor.runtime.{name}" for name in ("base", "signature", "cuda_source", "kernel_files")),
    *(f"tinytensor.runtime.{name}" for name in ("compiler", "kernel_cache", "user_lines")),
    *("tinytensor.runtime.cpu.arrays", "tinytensor.runtime.cuda.tensor_map"),
}
# Layers and optimizers are written with the public names; handles of hooks, PyTorch's names, ops besides.
NN_MAY_IMPORT = {
    *("tinytensor.api", "tinytensor.autograd.hooks", "tinytensor.argument_checks", "tinytensor.events"),
    *("tinytensor.argument_errors", "tinytensor.cuda", "tinytensor.linalg", "tinytensor.optim"),
}
# Programs start faster, and devices are looked for only when asked for.
# what loads the lab when it is asked for
LOOK_UP = {"tinytensor.display", "tinytensor.runtime.checked.report"}
LATE_IMPORTS = {
    *("tinytensor.__main__", "tinytensor.runtime", "tinytensor.nn.init"),
    *("tinytensor.utils.data.collate", "tinytensor.utils.data.loader"),
    *("tinytensor.ops.matmul.gemm", "tinytensor.runtime.cpu.library", "tinytensor.runtime.kernel_files"),
}


@cache
def product() -> list[Module]:
    return modules("tinytensor", "gpt")


@cache
def known() -> set[str]:
    return {module.name for module in product()}


@cache
def imports(module: Module) -> list[Import]:
    return module.imports(known())


def place(name: str) -> tuple[str, str]:
    """The package and the entry of its order that a module belongs to."""
    parts = name.split(".")
    return parts[0], parts[1] if len(parts) > 1 else parts[0]


def ours(name: str) -> bool:
    return name.partition(".")[0] in {"tinytensor", "gpt"}


def report(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("package", ORDERS)
def test_every_folder_has_a_place_in_the_order(package: str) -> None:
    report([f"{m.path}: add {m.name} to the order" for m in modules(package) if place(m.name) not in RANK])


@pytest.mark.parametrize("package", ORDERS)
def test_a_folder_imports_only_folders_listed_before_it(package: str) -> None:
    names = {m.name for m in modules(package)}
    problems = []
    for module in modules(package):
        mine = place(module.name)
        for i in module.imports(names, with_types=True):
            other = place(i.target)
            if other[0] != package or other == mine or (module.name, i.target) in TYPES_ONLY | STARTS:
                continue
            if RANK[other] >= RANK[mine]:
                problems.append(
                    f"{module.path}:{i.line}: {mine[1]} is listed before {other[1]}, and imports it"
                )
    report(problems)


@pytest.mark.parametrize("package", ORDERS)
def test_imports_have_no_circles(package: str) -> None:
    names = {m.name for m in modules(package)}
    edges = {
        m.name: {
            i.target
            for i in m.imports(names, with_types=True)
            if not i.late and i.target in names - {m.name} and (m.name, i.target) not in TYPES_ONLY
        }
        for m in modules(package)
    }
    while True:  # leave out what imports nothing, and what nothing imports
        ends = {name for name, targets in edges.items() if not targets} | edges.keys() - set().union(
            *edges.values()
        )
        if not ends:
            break
        edges = {name: targets - ends for name, targets in edges.items() if name not in ends}
    report([f"{name} is on a circle: {sorted(targets)}" for name, targets in edges.items()])


@pytest.mark.parametrize("package", ORDERS)
def test_folders_are_small(package: str) -> None:
    count: dict[str, int] = {}
    for module in modules(package):
        if not module.is_package:
            folder = str(module.path.parent)
            count[folder] = count.get(folder, 0) + 1
    at_the_top = len(ORDERS[package].split())
    report([f"{f}: {n} files" for f, n in count.items() if n > (MOST_FILES if "/" in f else at_the_top)])


# What no module may import, and what is said of it.
FORBIDDEN: dict[str, tuple[Callable[[Module, Import], bool], str]] = {
    "only what exists": (
        lambda m, i: ours(i.target) and i.target not in known(),
        "there is no module {i.target}",
    ),
    "layers and optimizers use the public engine": (
        lambda m, i: (
            (home := place(m.name)) in {("tinytensor", name) for name in ("nn", "optim", "utils")}
            and ours(i.target)
            and i.target not in NN_MAY_IMPORT
            and place(i.target) not in (("tinytensor", "ops"), home)  # ops, which nn.functional wraps
        ),
        "{m.name} must not import {i.target} {i.name}",
    ),
    "the emulator is a house of its own": (
        lambda m, i: (
            place(m.name) == EMULATOR
            and (ours(i.target) or i.target == "importlib")
            and place(i.target) != EMULATOR
            and i.target not in EMULATOR_MAY_IMPORT
        ),
        "{m.name} must not import {i.target} {i.name}",
    ),
    "the lowest layers have no arrays": (
        lambda m, i: m.name in NO_ARRAYS and i.target.partition(".")[0] == "numpy",
        "{m.name} must not import NumPy",
    ),
    "gpt uses the public engine": (
        lambda m, i: (
            m.name.startswith("gpt")
            and i.target.startswith("tinytensor")
            and (not GPT_MAY_IMPORT & {i.target, ".".join(i.target.split(".")[:2])} or i.name.startswith("_"))
        ),
        "gpt must not import {i.target} {i.name}",
    ),
    "private names stay at home": (
        lambda m, i: (
            ours(i.target)
            and i.name.startswith("_")
            and not i.name.endswith("__")
            and i.target != m.name
            and i.name != "__version__"
        ),
        "{i.name} is private to {i.target}",
    ),
    "ops use each other through functions": (
        lambda m, i: (
            m.name.startswith("tinytensor.ops.")
            and i.target.startswith("tinytensor.ops.")
            and i.name[:1].isupper()
            and not i.name.isupper()  # a constant
        ),
        "call a function of {i.target} instead of its class {i.name}",
    ),
    "libraries are those that were agreed": (
        lambda m, i: (
            not ours(i.target)
            and (top := i.target.partition(".")[0]) not in sys.stdlib_module_names
            and top not in LIBRARIES.get(m.name, LIBRARIES[m.name.partition(".")[0]])
        ),
        "{m.name} must not import {i.target}",
    ),
    "the engine imports itself at the top of files": (
        lambda m, i: (
            m.name.startswith("tinytensor") and ours(i.target) and i.late and m.name not in LATE_IMPORTS
        ),
        "import {i.target} at the top, or move the code to the right layer",
    ),
}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_imports(rule: str) -> None:
    forbidden, said = FORBIDDEN[rule]
    found = [(m, i) for m in product() for i in imports(m) if forbidden(m, i)]
    report([f"{m.path}:{i.line}: {said.format(m=m, i=i)}" for m, i in found])


def test_modules_are_not_looked_up_by_their_names() -> None:
    """`sys.modules["tinytensor"]`, `import_module("tinytensor.lab")` and `registry["cast"]` would be imports
    that no other test sees.
    """
    report(
        [
            f"{module.path}:{node.lineno}: import {name}, or let the upper layer hand it down"
            for module in product()
            if module.name.startswith("tinytensor") and module.name not in LOOK_UP
            for node in ast.walk(module.tree)
            if (name := looked_up(node))
        ]
    )


def looked_up(node: ast.AST) -> str:
    """What of ours an expression finds by a string; "" if nothing."""
    if isinstance(node, ast.Subscript):
        table, name = ast.unparse(node.value), node.slice
        if table == "registry" and isinstance(name, ast.Constant):
            return f"the op {name.value}"
        found = table.endswith("sys.modules")
    else:
        found = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
        name = node.args[0] if found and isinstance(node, ast.Call) else ast.Constant("")
    return name.value if found and isinstance(name, ast.Constant) and ours(name.value) else ""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('registry["cast"]', "the op cast"),
        ("registry[name]", ""),
        ('sys.modules["tinytensor"]', "tinytensor"),
        ('importlib.import_module("tinytensor.lab.html").x', "tinytensor.lab.html"),
        ('import_module("cupyx")', ""),
    ],
)
def test_names_that_are_looked_up_are_seen(source: str, found: str) -> None:
    names = {looked_up(node) for node in ast.walk(ast.parse(source))}
    assert names - {""} == ({found} - {""})


def named_in(module: Module) -> set[str]:
    """Modules that a command line or tinytensor names in a string, to import them only when asked for."""
    texts = {node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant)}
    if module.name == "tinytensor":
        texts = {f"tinytensor.{text}" for text in texts}
    return known() & texts if module.name in ("gpt.__main__", "tinytensor", "tinytensor.__main__") else set()


def test_no_module_is_dead() -> None:
    used = {i.target for module in product() for i in imports(module) if i.target != module.name}
    used |= {name for module in product() for name in named_in(module)}
    used |= {module.name for module in product() if 'if __name__ == "__main__":' in module.text}
    report(
        [
            f"{module.path}: nothing in the product imports it"
            + ("; tinytensor/api.py imports modules of ops" if place(module.name)[1] == "ops" else "")
            for module in product()
            if not module.is_package and module.name not in used
            if place(module.name)[1] != "op_table"  # which imports what lies in its folders
        ]
    )


@pytest.mark.parametrize("package", ["tinytensor", "gpt", "benchmarks", "tests"])
def test_functions_are_short(package: str) -> None:
    problems = []
    for module in modules(package):
        for function in module.functions():
            if (lines := function_lines(function)) > FUNCTION_LINES:
                where = f"{module.path}:{function.lineno}: {function.name}"
                problems.append(f"{where} has {lines} lines, the limit is {FUNCTION_LINES}")
    report(problems)


def test_lines_of_device_code_are_short() -> None:
    problems = []
    for path in sorted(
        p for end in ("cu", "cuh", "cpp", "h", "js", "css") for p in ROOT.glob(f"tinytensor/**/*.{end}")
    ):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_LENGTH:
                problems.append(f"{path.relative_to(ROOT)}:{number}: {len(line)} characters")
    report(problems)


# Array API names that are built-ins, too, with the most positional arguments an op of that name is given.
# (The axis of max and min goes by keyword: max(n, 0) would read like the built-in.)
SHADOWED = {"abs": 1, "all": 3, "any": 3, "max": 1, "min": 1, "pow": 2, "round": 1, "sum": 3}


def means_the_builtin(call: ast.Call) -> bool:
    """Whether a call of one of SHADOWED can only mean Python's: other arguments than an op would get."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in SHADOWED or not call.args:
        return False
    first = call.args[0]
    comprehension = isinstance(first, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.Tuple | ast.List)
    integers = isinstance(first, ast.Attribute) and first.attr in {"shape", "strides", "ndim", "offset"}
    number = isinstance(first, ast.Constant)
    default = any(word.arg in {"key", "default", "start"} for word in call.keywords)
    return comprehension or integers or number or default or len(call.args) > SHADOWED[name]


def shadows(module: Module) -> set[str]:
    """Built-ins that the module itself defines as functions, or imports from a sibling, at its top level."""
    defined = {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef)}
    imported = {i.name for i in imports(module) if ours(i.target) and not i.late}
    return (defined | imported) & SHADOWED.keys()


def test_modules_that_define_max_do_not_call_the_builtin_max() -> None:
    report(
        [
            f"{module.path}:{node.lineno}: {node.func.id} is an op here; write builtins.{node.func.id}"
            for module in product()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in shadows(module)
            and means_the_builtin(node)
        ]
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("max(a, b)", True),
        ("sum(n for n in sizes)", True),
        ("sum(x.shape)", True),
        ("max(sizes, default=0)", True),
        ("sum(x)", False),
        ("sum(x, 0)", False),
        ("max(x, axis=0)", False),
        ("pow(x, 2)", False),
        ("builtins.max(a, b)", False),
    ],
)
def test_calls_that_mean_the_builtin_are_told_apart(source: str, found: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert means_the_builtin(call) is found


GELU, APPLY = "tinytensor.ops.elementwise.gelu", "tinytensor.dispatch.apply"


@pytest.mark.parametrize(
    ("name", "file", "source", "target"),
    [
        (GELU, "gelu.py", "from ...dispatch import apply", APPLY),
        ("tinytensor.ops.elementwise", "__init__.py", "from .gelu import gelu", GELU),
        ("tinytensor.tensor", "tensor.py", "from .ops.elementwise import gelu", GELU),
        ("tinytensor.tensor", "tensor.py", "import tinytensor.nn", "tinytensor.nn"),
        ("tinytensor.a", "a.py", "def f():\n    from . import nn", "tinytensor.nn"),
        ("tinytensor.a", "a.py", "if TYPE_CHECKING:\n    from .nn import Module", None),
    ],
)
def test_imports_are_resolved(name: str, file: str, source: str, target: str | None) -> None:
    module = Module(name, ROOT / "tinytensor" / file, source)
    found = module.imports({GELU, "tinytensor.nn", APPLY})
    assert [i.target for i in found] == ([] if target is None else [target])
