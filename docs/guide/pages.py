"""Build the pages of the guide and of docs/*.md: `python docs/guide/pages.py [LESSON…]` writes docs/build/.

Each lesson is converted to a notebook, executed, and written twice: as a page with its outputs, and as a
notebook without them. Needs the extra `docs`, which `make docs` installs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from lesson import Exercises
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from puzzle_notebooks import SETS, write_notebooks, write_wheel
from pygments.formatters import HtmlFormatter
from run import lessons

from tinytensor.lab.html import Html, page, tag, write

__all__ = ["build", "main"]

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "build"
TITLE = re.compile(r"<h1[^>]*>.*?</h1>", re.DOTALL)
HEADING = re.compile(r'(?<=<h[2-6] id=")[^"]+')
MARK = re.compile(r'<a class="anchor-link".*?</a>')
STYLE = (
    HtmlFormatter(style="default").get_style_defs(".highlight")
    + "@media (prefers-color-scheme:dark){"
    + HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    + "}"
    + """
main{max-width:58rem;margin:0 auto}nav{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:1rem 0 1.5rem}
pre{overflow-x:auto;font-size:.8rem;line-height:1.45;margin:.25rem 0 1rem}
.highlight{background:none}.highlight pre,.solution pre{padding:.6rem .8rem;border-radius:.3rem;
  background:color-mix(in srgb,var(--line) 30%,transparent)}
.output_text pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:0 .8rem;
  border-left:3px solid var(--line);color:var(--soft)}
figure{margin:0 0 1.5rem}figure svg{max-width:100%;height:auto}figcaption{color:var(--soft);font-size:.9rem}
table{margin:.5rem 0 1rem}td,th{white-space:normal;font-family:inherit}li{margin:.2rem 0}ol{columns:auto}
"""
)


def title_of(path: Path) -> str:
    """The heading of a lesson or a document."""
    return next(
        line.lstrip("# ")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"(# )?# (?!%%)", line)
    )


def _links(markup: str) -> str:
    """Convert links between the sources to links between the pages; lower-case the ids of headings."""
    markup = re.sub(r'href="README\.md', 'href="index.html', MARK.sub("", markup))
    markup = re.sub(r'href="(?:\.\./)?([\w-]+)\.(?:md|py)(#[^"]*)?"', r'href="\1.html\2"', markup)
    return HEADING.sub(lambda found: found[0].lower(), markup)


def _write(name: str, title: str, markup: str, *around: Html) -> None:
    body = Html(_links(TITLE.sub("", markup, count=1)))
    write(OUT / f"{name}.html", page(title, *around[:1], body, *around[::-1], style=STYLE, images=True))


def _navigation(path: Path) -> Html:
    """Links from a lesson to contents, glossary and its neighbors."""
    every = lessons()
    at = every.index(path)
    links = [tag("a", "Contents", href="index.html"), tag("a", "Glossary", href="glossary.html")]
    for word, i in (("Before", at - 1), ("Next", at + 1)):
        if 0 <= i < len(every):
            links.append(tag("a", f"{word}: {title_of(every[i])}", href=f"{every[i].stem}.html"))
    return tag("nav", *links)


def _puzzle_links() -> Html:
    """Links to the notebooks of the puzzles."""
    links = [tag("a", f"Notebook: {about}", href=f"notebooks/{name}.ipynb") for name, about in SETS.items()]
    return tag("nav", "Puzzles", *links)


def _solutions(path: Path) -> Html:
    """Solutions of a lesson, in a collapsed element."""
    parts = [
        tag("div", tag("p", f"Exercise {n}. {e.why}"), tag("pre", e.shown()), class_="solution")
        for n, e in enumerate(Exercises(path.stem).all, 1)
    ]
    return tag("details", tag("summary", "Solutions"), *parts)


def build(path: Path) -> str:
    """Run a lesson as a notebook, and write it as a page and as a notebook.

    Args:
        path: the lesson.

    Returns:
        Its name.

    Raises:
        CellExecutionError: a cell of it failed.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, OUT / "notebooks" / f"{path.stem}.ipynb")  # without outputs
    options = {"timeout": 1800, "coalesce_streams": True, "extra_arguments": ["--log-level=ERROR"]}
    NotebookClient(notebook, resources={"metadata": {"path": str(HERE)}}, **options).execute()
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    markup, _ = exporter.from_notebook_node(notebook)
    _write(path.stem, title_of(path), markup, _navigation(path), _solutions(path))
    return path.stem


def main(argv: Sequence[str]) -> int:
    """Build all pages, or those of some lessons.

    Args:
        argv: prefixes of lesson names, such as 03; empty: all.

    Returns:
        0, or 1 if there is no such lesson.
    """
    chosen = lessons(argv)
    if not chosen:
        print(f"no lesson begins with {' or '.join(argv)}")
        return 1
    (OUT / "notebooks").mkdir(parents=True, exist_ok=True)
    for name in ("lesson.py", "glossary.md"):  # imported and linked by the notebooks
        shutil.copy(HERE / name, OUT / "notebooks")
    shutil.copytree(HERE / "solutions", OUT / "notebooks" / "solutions", dirs_exist_ok=True)
    write_notebooks(OUT / "notebooks")
    write_wheel(OUT / "notebooks")
    for source in (HERE / "README.md", HERE / "glossary.md", *sorted(HERE.parent.glob("*.md"))):
        name = "index" if source.stem == "README" else source.stem
        around = [] if name == "index" else [tag("nav", tag("a", "Contents", href="index.html"))]
        if name in ("index", "puzzles"):
            around.append(_puzzle_links())
        _write(name, title_of(source), markdown2html(source.read_text(encoding="utf-8")), *around)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in pool.map(build, chosen):
            print(OUT / f"{name}.html", flush=True)
    print(OUT / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
