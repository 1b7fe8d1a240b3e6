"""Who may import whom, how long functions may be, and no name that means two things."""

import ast
import sys
from functools import cache

import pytest

from tests.helpers.source import ROOT, Import, Module, function_lines, modules

FUNCTION_LINES, LINE_LENGTH = 60, 110

# From the bottom up. A module imports from its own layer (without cycles) and from those below it.
# A package stands for all modules in it.
LAYERS = [
    [
        "tinytensor.errors",
        "tinytensor.scope",
        "tinytensor.autograd",
        "tinytensor.dispatch",
        "tinytensor.transforms",
    ],
    ["tinytensor.shapes", "tinytensor.config", "tinytensor.autograd.modes", "tinytensor.precision"],
    ["tinytensor.argument_errors"],
    [
        "tinytensor.layout",
        "tinytensor.dtypes",
        "tinytensor.device",
        "tinytensor.generator",
        "tinytensor.files",
    ],
    ["tinytensor.runtime"],
    [
        "tinytensor.storage",
        "tinytensor.autograd.backward",
        "tinytensor.autograd.graph",
        "tinytensor.autograd.hooks",
    ],
    ["tinytensor.reuse", "tinytensor.op", "tinytensor.dispatch.bounds", "tinytensor.dispatch.random_streams"],
    ["tinytensor.dispatch.copies"],
    ["tinytensor.dispatch.launch"],
    ["tinytensor.dispatch.transfer"],
    ["tinytensor.dispatch.cpu"],
    ["tinytensor.dispatch.apply"],
    ["tinytensor.kernels"],
    ["tinytensor.dispatch.elementwise", "tinytensor.dispatch.views", "tinytensor.ops.inplace"],
    ["tinytensor.ops", "tinytensor.explain"],
    [
        "tinytensor.transforms.gradients",
        "tinytensor.representation",
        "tinytensor.namespace",
        "tinytensor.interop",
    ],
    ["tinytensor.tensor", "tinytensor.streams"],
    [
        "tinytensor.creation",
        "tinytensor.transforms.gradcheck",
        "tinytensor.cuda",
        "tinytensor.transforms.capture",
    ],
    ["tinytensor.transforms.autocast", "tinytensor.sequences", "tinytensor.arguments"],
    [
        "tinytensor.transforms.function",
        "tinytensor.transforms.checkpoint",
        "tinytensor.transforms.anomaly",
        "tinytensor.boundary",
    ],
    ["tinytensor", "tinytensor.nn", "tinytensor.optim", "tinytensor.distributed", "tinytensor.lab"],
    ["tinytensor.commands"],
    ["tinytensor.__main__"],
    ["gpt"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# Pure integers and the tape: to be read and tested without arrays.
TAPE = {"tinytensor.autograd.backward", "tinytensor.autograd.graph", "tinytensor.autograd.hooks"}
NO_ARRAYS = {name for layer in LAYERS[:3] for name in layer} | TAPE
# The tape knows ops and storage by protocol only.
AUTOGRAD_MAY_IMPORT = {"tinytensor.errors", "tinytensor.autograd.modes", "tinytensor.argument_errors"} | TAPE
# What gpt sees of the engine: its public face.
GPT_MAY_IMPORT = {
    "tinytensor",
    "tinytensor.errors",
    "tinytensor.files",
    "tinytensor.nn",
    "tinytensor.optim",
    "tinytensor.distributed",
    "tinytensor.lab",
}
LIBRARIES = {
    "tinytensor": {"numpy", "ml_dtypes"},
    "tinytensor.runtime.cuda.runtime": {"numpy", "cupy"},
    "tinytensor.distributed.nccl": {"numpy", "cupy"},
    "tinytensor.distributed.mpi": {"numpy", "mpi4py"},
    "gpt.weights.gguf_file": {"numpy", "gguf"},
    "gpt.tokenizers.sentencepiece_file": {"numpy", "sentencepiece"},
    "gpt.weights.sources": {"numpy", "huggingface_hub"},
    "gpt": {"numpy", "tqdm", "regex", "safetensors", "matplotlib"},
}
# Layers and optimizers use the engine by its public names alone, so its face imports them last: no cycle, as
# long as nothing else of the engine imports them.
WRITTEN_WITH_THE_FACE = {"tinytensor.nn", "tinytensor.optim"}
# Handles of hooks are the same for tensors and modules; names of PyTorch stand in one table.
THEY_MAY_IMPORT = {"tinytensor", "tinytensor.autograd.hooks", "tinytensor.argument_errors"}
# Commands start faster, and devices are looked for only when asked for.
LATE_IMPORTS = {"tinytensor.__main__", "tinytensor.runtime"}


@cache
def product() -> list[Module]:
    return modules("tinytensor", "gpt")


@cache
def known() -> set[str]:
    return {module.name for module in product()}


@cache
def imports(module: Module) -> list[Import]:
    return module.imports(known())


def place(name: str) -> str:
    """The row of LAYERS that a module belongs to: its own, or that of the nearest package around it."""
    if name in RANK:
        return name
    parent = name.rpartition(".")[0]
    # A new module directly in tinytensor/ needs a row of its own.
    return "" if parent in {"", "tinytensor"} else place(parent)


def ours(name: str) -> bool:
    return name.partition(".")[0] in {"tinytensor", "gpt"}


def report(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_every_module_has_a_layer() -> None:
    report([f"{m.path}: add {m.name} to LAYERS" for m in product() if not place(m.name)])


def test_imports_point_down() -> None:
    report(
        [
            f"{module.path}:{i.line}: {module.name} stands below {i.target} and must not import it"
            for module in product()
            for i in imports(module)
            if ours(i.target) and RANK.get(place(i.target), -1) > RANK.get(place(module.name), len(LAYERS))
        ]
    )


def test_imports_have_no_cycles() -> None:
    edges = {
        m.name: {i.target for i in imports(m) if not i.late and i.target in known() - {m.name}}
        for m in product()
    }
    edges["tinytensor"] -= WRITTEN_WITH_THE_FACE
    while True:
        leaves = {name for name, targets in edges.items() if not targets}
        if not leaves:
            break
        edges = {name: targets - leaves for name, targets in edges.items() if name not in leaves}
    report([f"{name} is on a cycle or imports one: {sorted(targets)}" for name, targets in edges.items()])


def test_modules_import_only_what_exists() -> None:
    report(
        [
            f"{module.path}:{i.line}: there is no module {i.target}"
            for module in product()
            for i in imports(module)
            if ours(i.target) and i.target not in known()
        ]
    )


def test_layers_and_optimizers_use_the_public_engine() -> None:
    report(
        [
            f"{module.path}:{i.line}: {module.name} must not import {i.target} {i.name}"
            for module in product()
            for i in imports(module)
            if (home := place(module.name)) in WRITTEN_WITH_THE_FACE
            and ours(i.target)
            and i.target not in THEY_MAY_IMPORT
            and place(i.target) != home
        ]
    )


def test_the_face_imports_them_last() -> None:
    (face,) = [m for m in product() if m.name == "tinytensor"]
    last = max(i.line for i in imports(face) if i.target not in WRITTEN_WITH_THE_FACE)
    early = [i for i in imports(face) if i.target in WRITTEN_WITH_THE_FACE and i.line < last]
    report([f"{face.path}:{i.line}: {i.target} needs what is imported after it" for i in early])


def test_the_lowest_layers_import_no_arrays() -> None:
    report(
        [
            f"{module.path}:{i.line}: {module.name} must not import NumPy"
            for module in product()
            for i in imports(module)
            if module.name in NO_ARRAYS and i.target.partition(".")[0] == "numpy"
        ]
    )


def test_the_tape_knows_no_op() -> None:
    report(
        [
            f"{module.path}:{i.line}: autograd must not import {i.target}"
            for module in product()
            for i in imports(module)
            if module.name in TAPE and ours(i.target) and i.target not in AUTOGRAD_MAY_IMPORT
        ]
    )


def test_gpt_uses_the_public_engine() -> None:
    report(
        [
            f"{module.path}:{i.line}: gpt must not import {i.target} {i.name}"
            for module in product()
            for i in imports(module)
            if module.name.startswith("gpt")
            and i.target.startswith("tinytensor")
            and (place(i.target) not in GPT_MAY_IMPORT or i.name.startswith("_"))
        ]
    )


def test_private_names_stay_at_home() -> None:
    report(
        [
            f"{module.path}:{i.line}: {i.name} is private to {i.target}"
            for module in product()
            for i in imports(module)
            if ours(i.target)
            and i.name.startswith("_")
            and not i.name.endswith("__")
            and i.target != module.name
            and i.name != "__version__"
        ]
    )


def test_ops_use_each_other_through_functions() -> None:
    report(
        [
            f"{module.path}:{i.line}: call a function of {i.target} instead of its class {i.name}"
            for module in product()
            for i in imports(module)
            if module.name.startswith("tinytensor.ops.")
            and i.target.startswith("tinytensor.ops.")
            and i.name[:1].isupper()
            and not i.name.isupper()  # a constant
        ]
    )


def test_libraries_are_those_that_were_agreed() -> None:
    problems = []
    for module in product():
        allowed = LIBRARIES.get(module.name, LIBRARIES[module.name.partition(".")[0]])
        for i in imports(module):
            top = i.target.partition(".")[0]
            if not ours(top) and top not in sys.stdlib_module_names and top not in allowed:
                problems.append(f"{module.path}:{i.line}: {module.name} must not import {top}")
    report(problems)


def test_the_engine_imports_itself_at_the_top_of_files() -> None:
    report(
        [
            f"{module.path}:{i.line}: import {i.target} at the top, or move the code to the right layer"
            for module in product()
            for i in imports(module)
            if module.name.startswith("tinytensor")
            and ours(i.target)
            and i.late
            and module.name not in LATE_IMPORTS
        ]
    )


def named_in(module: Module) -> set[str]:
    """Modules that a command line names in a string, to import them only when asked for."""
    texts = {node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant)}
    return {name for name in known() if name in texts} if module.name.endswith("__main__") else set()


FOR_PROGRAMS_ALONE = {"tinytensor.nn.functional"}  # which learn from it where its functions are


def test_no_module_is_dead() -> None:
    used = FOR_PROGRAMS_ALONE | {
        i.target for module in product() for i in imports(module) if i.target != module.name
    }
    used |= {name for module in product() for name in named_in(module)}
    report(
        [
            f"{module.path}: nothing in the product imports it"
            for module in product()
            if not module.is_package and not module.name.endswith("__main__") and module.name not in used
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
    for path in sorted(p for end in ("cu", "cuh", "cpp", "h") for p in ROOT.glob(f"tinytensor/**/*.{end}")):
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


@pytest.mark.parametrize(
    ("name", "file", "source", "target"),
    [
        (
            "tinytensor.ops.elementwise.gelu",
            "gelu.py",
            "from ...dispatch import apply",
            "tinytensor.dispatch.apply",
        ),
        (
            "tinytensor.ops.elementwise",
            "__init__.py",
            "from .gelu import gelu",
            "tinytensor.ops.elementwise.gelu",
        ),
        (
            "tinytensor.tensor",
            "tensor.py",
            "from .ops.elementwise import gelu",
            "tinytensor.ops.elementwise.gelu",
        ),
        ("tinytensor.tensor", "tensor.py", "import tinytensor.nn", "tinytensor.nn"),
        ("tinytensor.a", "a.py", "def f():\n    from . import nn", "tinytensor.nn"),
        ("tinytensor.a", "a.py", "if TYPE_CHECKING:\n    from .nn import Module", None),
    ],
)
def test_imports_are_resolved(name: str, file: str, source: str, target: str | None) -> None:
    module = Module(name, ROOT / "tinytensor" / file, source)
    found = module.imports({"tinytensor.ops.elementwise.gelu", "tinytensor.nn", "tinytensor.dispatch.apply"})
    assert [i.target for i in found] == ([] if target is None else [target])
