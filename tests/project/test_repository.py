"""What the repository says about itself holds: exports, docstrings, code in documents, commands, links."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import op_coverage
from tests.helpers.source import ROOT, Module, modules, statements

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("gpt/**/*.md")])
DOCUMENTS += [path for name in ("paths", "guide", "developers") for path in ROOT.glob(f"docs/{name}/*.md")]
SECTIONS = ["Args", "Returns", "Raises", "Memory", "Accuracy", "Differs from", "Source", "Example"]
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")

# What must not stand anywhere in the repository, and what must not stand in the product.
FORBIDDEN = {
    "an absolute path": re.compile(r"(?<![\w.])/(home|root|work|Users)/\w"),
    "the host of a package registry": re.compile(r"pypi\.org|pythonhos[t]ed"),
    "a word about how it was made": re.compile(r"\bth[e] brief\b|\bsub-?age[n]t|\bthis sess[i]on\b"),
}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")


def report(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def packages() -> list[Module]:
    found = modules("tinytensor", "gpt")
    return [module for module in found if module.is_package or module.name == "tinytensor.nn.functional"]


def public_names(module: Module) -> set[str]:
    """Names without an underscore that the top level of a module binds; those of other libraries left out."""
    names: set[str] = set()
    typed = [
        node for node in module.tree.body if isinstance(node, ast.If)
    ]  # TYPE_CHECKING: imports on demand
    for node in [*module.tree.body, *[inner for block in typed for inner in block.body]]:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            if node.level or (node.module or "").partition(".")[0] in {"tinytensor", "gpt"}:
                names |= {alias.asname or alias.name for alias in node.names} - {"*"}
                if node.names[0].name == "*":
                    names |= set(importlib.import_module(node.module or "").__all__)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for name in targets if isinstance(name, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def exported(module: Module) -> list[str]:
    """What `__all__` of a module lists."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    found = importlib.import_module(module.name)  # tinytensor's is put together from those of its modules
    return [name for name in getattr(found, "__all__", []) if not name.startswith("__")]


def test_all_is_what_a_package_offers() -> None:
    problems = []
    for module in packages():
        names, listed = public_names(module), exported(module)
        problems += [f"{module.path}: {name} is not in __all__" for name in sorted(names - set(listed))]
        problems += [f"{module.path}: __all__ has {name} without it" for name in sorted(set(listed) - names)]
    report(problems)


def headings(docstring: str) -> list[str]:
    """The sections of a docstring in their order."""
    return re.findall(rf"^({'|'.join(SECTIONS)}):", inspect.cleandoc(docstring), re.MULTILINE)


def test_public_functions_are_documented_with_an_example() -> None:
    problems = []
    for module in packages():
        package = importlib.import_module(module.name)
        for name in exported(module):
            thing = getattr(package, name)
            if not (inspect.isfunction(thing) or inspect.isclass(thing)):
                continue
            text = inspect.cleandoc(thing.__doc__ or "")
            where = f"{module.name}.{name}"
            if not text.partition("\n\n")[0].rstrip().endswith((".", "…")):
                problems.append(f"{where}: begin the docstring with a sentence")
            if not inspect.isfunction(thing):
                continue
            if inspect.unwrap(thing).__module__ == "tinytensor.interop.pytorch":
                # the sentence is the expression
                problems += [] if "`" in text else [f"{where}: show the expression"]
                continue
            if ">>>" not in text and not name.endswith("_"):  # relu_ is relu
                problems.append(f"{where}: show an example that runs")
    report(problems)


def test_sections_of_docstrings_stand_in_order() -> None:
    problems = []
    for module in modules("tinytensor", "gpt"):
        for node in statements(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found = headings(ast.get_docstring(node) or "")
                if found != sorted(set(found), key=SECTIONS.index):
                    problems.append(f"{module.path}:{node.lineno}: {node.name} has {', '.join(found)}")
    report(problems)


def code_blocks(path: Path) -> list[tuple[int, str, str]]:
    """Line, language and code of each fenced block of a document."""
    text = path.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, block.start("code")) + 1, block["language"].strip(), block["code"])
        for block in FENCE.finditer(text)
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_in_documents_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks marked `python run` run in one namespace, one after the other; other Python must parse."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for line, language, code in code_blocks(path):
        if language == "python run" and ">>>" in code:
            names.update(tt=importlib.import_module("tinytensor"), np=np)
            example = doctest.DocTestParser().get_doctest(code, names, path.name, str(path), line - 1)
            said = io.StringIO()
            result = doctest.DocTestRunner(optionflags=options).run(
                example, out=said.write, clear_globs=False
            )
            names.update(example.globs)
            assert result.failed == 0, said.getvalue()
        elif language.partition(" ")[0] == "python":
            compiled = compile("\n" * (line - 1) + code, str(path), "exec")
            if language == "python run":
                exec(compiled, names)


def commands(path: Path) -> list[tuple[int, str]]:
    """Lines of the shell blocks of a document, or all lines of the Makefile."""
    if path.suffix != ".md":
        return list(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    return [
        (line + offset, text)
        for line, language, code in code_blocks(path)
        if language in {"bash", "sh", "console"}
        for offset, text in enumerate(code.splitlines())
    ]


@pytest.mark.parametrize("path", [ROOT / "Makefile", *DOCUMENTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_documents_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    problems = []
    for line, text in commands(path):
        for name in re.findall(r"(?:^|&& )\s*make ([a-z-]+)", text):
            if name not in targets:
                problems.append(f"{path.name}:{line}: the Makefile has no {name}")
        for name in re.findall(r"python -m ([\w.]+)", text):
            inside = ROOT.joinpath(*name.split("."))
            here = inside.with_suffix(".py").exists() or (inside / "__main__.py").exists()
            top = name.partition(".")[0]
            if not here and ((ROOT / top).is_dir() or importlib.util.find_spec(top) is None):
                problems.append(f"{path.name}:{line}: there is no module {name} to run")
    report(problems)


def anchors(path: Path) -> set[str]:
    """Anchors of the headings of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(path: Path) -> None:
    text = re.sub("`[^`]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    problems = []
    for link in LINK.finditer(text):
        target = path.parent / link["target"] if link["target"] else path
        if not target.exists():
            problems.append(f"{path.name}: {link['target']} does not exist")
        elif link["anchor"] and target.suffix == ".md" and link["anchor"] not in anchors(target):
            problems.append(f"{path.name}: {link['target']} has no heading #{link['anchor']}")
    report(problems)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_documents_name_are_links(path: Path) -> None:
    """`docs/kernels.md` cannot be clicked: [Kernels](docs/kernels.md) can."""
    if path.name == "CHANGELOG.md":  # of files as they were
        return
    text = re.sub(r"\[[^\]]*\]\([^)]*\)", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    folders = [ROOT, *(ROOT / name for name in ("tinytensor", "gpt", "tests")), path.parent]
    names = re.findall(r"`(?!\.venv|docs/build)([\w./-]+(?:/[\w.-]+|\.md))`", text)
    report(
        [
            f"{path.name}: `{name}` is no link"
            for name in dict.fromkeys(names)
            if any((folder / name).is_file() and (folder / name) != path for folder in folders)
        ]
    )


def own_files() -> list[Path]:
    """Text files of the repository, except the embedded texts."""
    folders = ["tinytensor", "gpt", "benchmarks", "tests", "docs", ".ci"]
    files = [*ROOT.glob("*"), *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    kinds = {"", ".py", ".md", ".toml", ".json", ".cu", ".cuh", ".cpp", ".h", ".txt", ".yml", ".yaml", ".cfg"}
    skip = ROOT / "gpt" / "text"
    return sorted(
        f
        for f in files
        if f.is_file() and f.suffix in kinds and skip not in f.parents
        if f.name != ".git"  # in a worktree a file
    )


def test_the_repository_speaks_of_itself_alone() -> None:
    problems = []
    for path in own_files():
        where = path.relative_to(ROOT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            problems += [f"{where}:{number}: {what}" for what, word in FORBIDDEN.items() if word.search(line)]
            if where.parts[0] in {"tinytensor", "gpt"} and UNFINISHED.search(line):
                problems.append(f"{where}:{number}: unfinished")
    report(problems)


def test_the_road_through_gpt_is_short() -> None:
    """The ten files that the page about GPTs names for a reader have at most 1,700 lines."""
    document = ROOT / "docs" / "paths" / "gpt.md"
    text = document.read_text(encoding="utf-8").partition("Ten files of")[2].partition("\n\n")[0]
    paths = [document.parent / name for name in re.findall(r"\(([\w/.]+\.py)\)", text)]
    assert len(set(paths)) == 10
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths) <= 1700


def test_the_table_of_ops_is_up_to_date() -> None:
    found = op_coverage.PATH.read_text(encoding="utf-8")
    assert found == op_coverage.table(), "run: python -m tests.helpers.op_coverage"
