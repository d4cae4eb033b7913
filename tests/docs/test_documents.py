"""The code in the documents runs, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

from polyframe.cli.loading import load_strategy
from tests.cli.command import ROOT, environment
from tests.docs.programs import LATE

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@frozen
class Block:
    """One block of Python: its text, its line in the document, and whether it is to run."""

    text: str
    line: int
    runs: bool


def blocks(path: Path) -> list[Block]:
    """Return the Python blocks of a document in order."""
    document = path.read_text(encoding="utf-8")
    return [
        Block(found[3], document.count("\n", 0, found.start()) + 2, "no-run" not in found[2])
        for found in FENCE.finditer(document)
        if found[1] == "python"
    ]


WITH_CODE = [path for path in DOCUMENTS if blocks(path)]


@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.name)
def test_the_code_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    """All blocks of a document, one after the other, are one program that ends well."""
    program = tmp_path / f"{path.stem}.py"
    # Line numbers of a traceback are those of the document.
    lines: list[str] = []
    for block in blocks(path):
        if block.runs:
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.text.splitlines()
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert (done.returncode, LATE.sub("", done.stderr)) == (0, "")


@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.name)
def test_code_that_is_not_run_compiles(path: Path) -> None:
    """A block that is marked ``no-run`` is Python all the same."""
    for block in blocks(path):
        ast.parse(block.text, filename=f"{path.name}:{block.line}")


def test_the_strategy_of_the_readme_is_one_for_the_demo(tmp_path: Path) -> None:
    """Saved as mine.py it is what ``--strategy mine.py:CheapSide`` names."""
    (block,) = blocks(ROOT / "README.md")
    path = tmp_path / "mine.py"
    path.write_text(block.text, encoding="utf-8")
    assert type(load_strategy(f"{path}:CheapSide")).__name__ == "CheapSide"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that is there."""
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_the_tutorial_says_what_its_strategies_do() -> None:
    """No step of the tutorial is an empty promise: every class in it is run."""
    text = "\n".join(block.text for block in blocks(ROOT / "docs" / "tutorial.md"))
    classes = re.findall(r"^class (\w+)\((?:Strategy|CheapSide)\)", text, re.MULTILINE)
    assert len(classes) >= 6
    for name in classes:
        assert re.search(rf"(?:play|add)\({name}\(", text), name
