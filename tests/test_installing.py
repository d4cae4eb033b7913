"""What we say about installing: the name on the public index belongs to another project."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

BY_NAME = re.compile(r"install\s+['\"]?polyframe\[[^\]]*\](?! @)")
"""``pip install polyframe[extra]``, which would fetch whatever has that name there."""


def test_no_text_says_to_install_by_name() -> None:
    """A message that did would put a stranger's package beside the key of a wallet."""
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.*")]
    texts += [path for kind in ("py", "txt") for path in (ROOT / "polyframe").rglob(f"*.{kind}")]
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in texts
        if path.suffix in {".md", ".py", ".txt"}
        for hit in BY_NAME.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found
