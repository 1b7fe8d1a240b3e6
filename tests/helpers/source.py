"""The source of the product, parsed: modules and their imports, functions, and lines without docstrings."""

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Import:
    """`from target import name`, or `import target` with an empty name."""

    target: str  # an absolute module name
    name: str
    line: int
    late: bool  # inside a function


@dataclass(frozen=True)
class Module:
    """One Python file: its dotted name, its path from the root of the repository, and its text."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        gc.disable()  # no node is garbage, and looking for some takes longer than parsing
        try:
            return ast.parse(self.text, filename=str(self.path))
        finally:
            gc.enable()

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (n for n in statements(self.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))

    def lines(self) -> int:
        """Lines of the file; docstrings are not counted."""
        holders = (n for n in statements(self.tree) if isinstance(n, Definition | ast.Module))
        return len(self.text.splitlines()) - sum(docstring_lines(node) for node in holders)

    def imports(self, known: set[str], *, with_types: bool = False) -> list[Import]:
        """What the module imports when it runs.

        Args:
            known: names of all modules, so that `from .ops import gelu` is seen as the module `ops.gelu`.
            with_types: what stands under TYPE_CHECKING, too.
        """
        found: list[Import] = []
        todo: list[tuple[ast.AST, bool]] = [(self.tree, False)]
        while todo:
            node, late = todo.pop()
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not with_types:
                todo += [(child, late) for child in node.orelse]
                continue
            if isinstance(node, ast.Import):
                found += [Import(alias.name, "", node.lineno, late) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    target, name = (inner, "") if inner in known else (base, alias.name)
                    found.append(Import(target, name, node.lineno, late))
            late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            todo += [(child, late) for child in inside(node)]
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = node.level - 1 if self.is_package else node.level
        parts = self.name.split(".")
        return ".".join(parts[: len(parts) - up] + ([node.module] if node.module else []))


def inside(node: ast.AST) -> list[ast.AST]:
    """The statements directly inside of a statement; expressions, which are most of a tree, have none."""
    blocks = (ast.stmt, ast.excepthandler, ast.match_case)
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, blocks)]


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements inside of it."""
    todo = [node]
    while todo:
        todo += inside(found := todo.pop())
        yield found


def docstring_lines(node: ast.AST) -> int:
    """How many lines the docstring of a module, class or function takes."""
    first = node.body[0] if getattr(node, "body", None) else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end; docstrings, those of inner functions too, are not counted."""
    inner = (n for n in statements(node) if isinstance(n, Definition))
    return (node.end_lineno or node.lineno) - node.lineno + 1 - sum(docstring_lines(n) for n in inner)


def modules(*packages: str) -> list[Module]:
    """All modules of these packages, in the order of their paths."""
    return [module for package in packages for module in _modules(package)]


@cache
def _modules(package: str) -> list[Module]:
    found = []
    for file in sorted((ROOT / package).rglob("*.py")):
        path = file.relative_to(ROOT)
        parts = path.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, file.read_text(encoding="utf-8")))
    return found
