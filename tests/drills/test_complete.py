"""Every fault has its drill, and its row in the document."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from polyframe.venue import VenueFault

HERE = Path(__file__).parent
KINDS = {kind.value for kind in VenueFault}


def test_every_fault_has_a_drill() -> None:
    """A test of that name which injects it and asserts how often it struck."""
    drills: dict[str, str] = {}
    for path in HERE.glob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                drills[node.name] = ast.get_source_segment(source, node) or ""
    for kind in KINDS:
        text = drills[f"test_{kind}"]
        assert f'"{kind}"' in text
        assert f'done.struck("{kind}")' in text


def test_the_document_has_every_fault() -> None:
    """One row each: what the strategy sees, and what the framework does."""
    page = (HERE.parents[1] / "docs" / "drills.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted(KINDS)
