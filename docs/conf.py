"""The site: lessons, documents and the reference of all public names. `make docs` builds it with Sphinx."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

HERE = Path(__file__).resolve().parent
for folder in (HERE.parent, HERE, HERE / "guide"):
    sys.path.insert(0, str(folder))

from lesson import Exercises  # noqa: E402 - it is beside the lessons

project = author = "tinytensor"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["build", "guide/solutions", "guide/[a-z]*.py", "conf.py"]
html_theme = "furo"
html_title = project
html_show_sourcelink = False
default_role = "code"

nb_custom_formats = {".py": "conf.lesson_of"}
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_heading_anchors = 4

suppress_warnings = ["misc.highlighting_failure", "ref.python"]  # code with …; types of one name
napoleon_use_ivar = True
PACKAGES = [
    *["tinytensor", "linalg", "fft", "nn", "nn.functional", "nn.init", "optim", "func", "cuda", "lab"],
    *["distributed", "utils.data"],
]
LINK = re.compile(r"`[^`\n]+`|(!?)\[(`?)([^\]]+?)`?\]\(((?!https?:|#)[^)#\s]+)(#[^)]*)?\)")
CODE = {".md": r"(^ *```.*?^ *```$)", ".py": r"(^[^#\n][^\n]*$)"}
SECTIONS = napoleon_custom_sections = ["Memory", "Accuracy", "Differs from", "Source"]
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}): (.*)$")
ESCAPE = re.compile(r"(?<![`\\])([*|]|(?<=\w)_(?!\w))(?!`)")


def lesson_of(text: str) -> NotebookNode:
    """A lesson, a program with cells, as a notebook with its solutions at the end."""
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "python"}
    name = re.search(r'Exercises\("(\w+)"\)', text)
    exercises = Exercises(name[1]).all if name else []
    solutions = [
        f"Exercise {n}. {e.why}\n\n```python\n{e.shown()}\n```\n" for n, e in enumerate(exercises, 1)
    ]
    if solutions:
        markup = "\n".join(["<details><summary>Solutions</summary>\n", *solutions, "</details>"])
        notebook.cells.append(new_markdown_cell(markup))
    return notebook


def links(app: Any, name: str, source: list[str]) -> None:
    """The first page is the README. Links to files that are no pages download them; folders become text."""
    page = Path(app.env.doc2path(name))
    folder = page.parent
    if name == "index":
        folder = HERE.parent
        source[0] = (folder / "README.md").read_text(encoding="utf-8") + source[0]
    if name == "examples":
        source[0] += "".join(shown(path) for path in sorted((HERE.parent / "examples").glob("*.py")))

    def link(found: re.Match[str]) -> str:
        mark, code, text, target, anchor = found.groups(default="")
        if not target:
            return found[0]  # code
        path = (folder / target).resolve()
        relative = os.path.relpath(path, page.parent)
        if HERE in path.parents and path.suffix in {".md", ".py", ".svg", ".png"}:
            return f"{mark}[{code}{text}{code}]({relative}{anchor})"
        return f"{{download}}`{text} <{relative}>`" if path.is_file() else f"{code}{text}{code}"

    parts = re.split(CODE[page.suffix], source[0], flags=re.MULTILINE | re.DOTALL)  # text, code, text, …
    source[0] = "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))


def shown(path: Path) -> str:
    """A section with the code of an example and what it prints."""
    ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    return f"\n## {path.stem}\n\n```python\n{path.read_text()}```\n\n```text\n{ran.stdout}```\n"


def plain(words: str) -> str:
    """Text in which `*`, `|` and `_` mean themselves."""
    return ESCAPE.sub(r"\\\1", words)


def docstring(_app: Any, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: formulas are indented, and a section may begin on the line of its name."""
    whole = re.sub(r"`[^`]+`", lambda span: re.sub(r"\n *", " ", span[0]), "\n".join(lines))
    text: list[str] = []
    formula, section = False, ""
    for line in whole.split("\n"):
        if begins := SECTION.match(line):
            section = begins[1]
            text += ["", f"{section}:", f"    {plain(begins[2])}"]
            continue
        if named := re.fullmatch(r"([A-Z][\w ]+):", line):
            section = named[1]
        deeper = line.startswith("    " if section in SECTIONS else "        ") and section not in (
            "",
            "Example",
        )
        if deeper and text[-1].startswith("    "):
            text[-1] += f" {plain(line.strip())}"
            continue
        if not section and line.startswith("    ") and not formula and not text[-1]:
            text += ["::", ""]
        formula = not section and (line.startswith("    ") or (formula and not line))
        text.append(line if formula or ">>>" in line else plain(line))
    lines[:] = text


def reference(_: Any) -> None:
    """Write a page for each package with its public names, and their list, into docs/api."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    names = [p if p == "tinytensor" else f"tinytensor.{p}" for p in PACKAGES] + ["gpt"]
    for name in names:
        module = importlib.import_module(name)
        lines = [f"# {name}", "", (module.__doc__ or "").partition("\n")[0], "", "```{eval-rst}"]
        for each in sorted(getattr(module, "__all__", dir(module))):
            value = getattr(module, each)
            if inspect.isclass(value):
                lines += [f".. autoclass:: {name}.{each}", "   :members:", ""]
            elif inspect.isroutine(value):
                lines += [f".. autofunction:: {name}.{each}", ""]
        (folder / f"{name}.md").write_text("\n".join([*lines, "```", ""]), encoding="utf-8")
    toc = ["# Reference", "", "```{toctree}", ":maxdepth: 1", "", *names, "```", ""]
    (folder / "index.md").write_text("\n".join(toc), encoding="utf-8")


def setup(app: Any) -> None:
    """Connect the functions to Sphinx's events."""
    app.connect("builder-inited", reference)
    app.connect("source-read", links)
    app.connect("autodoc-process-docstring", docstring, priority=400)
