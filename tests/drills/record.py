"""Run all drills and write down what they have shown: ``python -m tests.drills.record``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.drills.kit import RECORDS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "drills-recorded.md"
HEAD = """# Drills, as recorded

One run of all [drills](drills.md), written by `python -m tests.drills.record`. Times of a busy machine
decide how many prices and messages there were, so another run has other figures, but never a difference
between our books, the ledger and the venue: then its drill would have failed.

| drill | struck | told to the strategy: prices (unknown), orders, trades, reports | answers to orders | streams lost | comparisons: made, repairs | venue = books = ledger: orders, fills, cash |
|---|---|---|---|---|---|---|
"""


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in counts.items()) or "–"


def _row(name: str, known: dict[str, Any]) -> str:
    assert Decimal(known["cash"]) == Decimal(known["cash at the venue"])
    told = (
        f"{known['prices']} ({known['unknown prices']}), {known['order events']}, "
        f"{known['trade events']}, {known['reports']}"
    )
    cells = [
        f"`{name}`",
        _words(known["struck"]),
        told,
        _words(known["answers"]),
        _words(known["streams lost"]),
        f"{known['comparisons']}, {_words(known['repairs'])}",
        f"{known['orders']}, {known['fills']}, {Decimal(known['cash']).normalize():f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def main() -> int:
    """Run them, and write the page if all of them have passed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", str(HERE)]
        code = subprocess.run(command, env={**os.environ, RECORDS: folder}, check=False).returncode
        if code == 0:
            rows = {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}
            table = "".join(_row(name, rows[name]) for name in sorted(rows))
            PAGE.write_text(HEAD + table, encoding="utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
