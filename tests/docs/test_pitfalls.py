"""The page of pitfalls is complete, and every test that it or another page names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.cli.command import ROOT

PAGE = ROOT / "docs" / "pitfalls.md"
ROWS = [f"D{number}" for number in range(1, 11)] + [str(number) for number in range(1, 26)]
NODE = re.compile(r"tests/[\w/]+\.py::[\w:]+")
MODULE = re.compile(r"^Where: (.+?)\.$", re.MULTILINE | re.DOTALL)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the tests of a file as pytest names them, without parameters."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef)
            }
    return frozenset(name for name in names if name.split("::")[-1].startswith("test_"))


def sections() -> dict[str, str]:
    """Return the text of each row of the page by its number."""
    parts = re.split(r"^### (\S+) .+$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_no_pitfall_is_missing() -> None:
    """Each row has its section, once and in order."""
    assert ROWS == re.findall(r"^### (\S+) ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("row", ROWS)
def test_each_pitfall_has_a_test_or_a_reason(row: str) -> None:
    """A row names tests and the modules that prevent it, or says why it is not of the core."""
    text = sections()[row]
    if "Not of the core: " in text:
        assert not NODE.search(text)
        return
    assert NODE.search(text)
    found = MODULE.search(text)
    assert found is not None
    for name in re.findall(r"`([^`]+)`", found[1]):
        assert (ROOT / "polyframe" / name).exists(), name


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_the_tests_that_a_page_names_are_there(path: Path) -> None:
    """Nobody is sent to a test that was renamed."""
    for node in NODE.findall(path.read_text(encoding="utf-8")):
        file, _, name = node.partition("::")
        assert (ROOT / file).is_file(), node
        assert name in names_in(ROOT / file), node
