"""Runs a notebook in jupytext's percent format without Jupyter, cell by cell.

As in a notebook, cells share their names, may use ``await`` at the top, and show the value of their last
line: its ``repr``, and a figure of plotly as a file, if a folder for figures is named.

Use: python tools/run_notebook.py notebooks/explore_market.py [--figures FOLDER]
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext

AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def cells(path: Path) -> list[str]:
    """Return the source of the notebook's code cells."""
    notebook = jupytext.read(path, fmt="py:percent")
    return [str(cell.source) for cell in notebook.cells if cell.cell_type == "code"]


async def run_cell(source: str, name: str, names: dict[str, Any]) -> Any:
    """Run one cell and return the value of its last line, ``None`` if that is no expression."""
    tree = ast.parse(source, filename=name)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    result = eval(compile(tree, name, "exec", flags=AWAIT), names)  # noqa: S307 - that is its job
    if inspect.isawaitable(result):
        await result
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compile(ast.Expression(last.value), name, "eval", flags=AWAIT), names)  # noqa: S307
    return await value if inspect.iscoroutine(value) else value


def show(value: Any, place: Path) -> None:
    """Show what a cell came to: a figure as a page, anything else as text."""
    if hasattr(value, "to_plotly_json"):
        value.to_json()  # what a browser would be given
        if place.parent.is_dir():
            value.write_html(place, include_plotlyjs=True)
        print(f"figure: {value.layout.title.text or place.stem}")
    elif value is not None:
        print(repr(value))


async def run(path: Path, figures: Path | None) -> None:
    """Run all cells of a notebook in order."""
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    names = vars(module)
    for number, source in enumerate(cells(path), 1):
        value = await run_cell(source, f"{path.name}[{number}]", names)
        place = (figures or Path("nowhere")) / f"{path.stem}-{number}.html"
        show(value, place)


def main() -> None:
    """Read the command line and run the notebook."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--figures", type=Path, help="an existing folder for figures, as pages")
    options = parser.parse_args()
    if options.figures is not None and not options.figures.is_dir():
        parser.error(f"figures: there is no folder {options.figures}")
    asyncio.run(run(options.notebook, options.figures))


if __name__ == "__main__":
    main()
