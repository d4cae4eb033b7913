"""The table of guards fits the code: nothing in it can rot unnoticed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ROOT
from tests.docs.test_pitfalls import names_in
from tools import remove_guards
from tools.remove_guards import Guard, load, table, try_without, write_table

GUARDS = load()


def test_names_are_unique() -> None:
    """A verdict belongs to one guard."""
    assert len(GUARDS) == len({guard.name for guard in GUARDS})


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_each_guard_is_where_the_table_says(guard: Guard) -> None:
    """Its text is there once, what is left without it is Python, and its tests exist."""
    source = (ROOT / "polyframe" / guard.file).read_text(encoding="utf-8")
    without = guard.remove(source)
    assert without != source
    ast.parse(without)
    assert guard.tests
    for test in guard.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert not name or name in names_in(ROOT / file), test


def test_the_page_has_every_guard() -> None:
    """The table in the docs is of the present guards, in their order, and each was caught."""
    page = (ROOT / "docs" / "guards.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert [guard.name for guard in GUARDS] == [row[0].removeprefix("| ") for row in rows]
    assert [guard.file for guard in GUARDS] == [row[1].strip("`") for row in rows]
    assert all(row[2].startswith("`tests/") for row in rows)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("assert is_held(1)", "caught"),
        ("assert is_held(0)", "SURVIVED"),
        ("assert not is_held(1)\n    while True: pass", "TIME LIMIT"),
        ("is_held(1)\n\nwrong = is_held(1).x", "BROKEN"),
    ],
)
def test_the_verdict_is_what_happened(body: str, result: str, tmp_path: Path) -> None:
    """Caught, missed, stuck and broken are told apart, and the file is as it was afterwards."""
    source = (
        "def is_held(number):\n    if number > 0:\n        return True\n    return number == 0\n"
    )
    module = tmp_path / "polyframe" / "thing.py"
    module.parent.mkdir()
    (module.parent / "__init__.py").touch()
    module.write_text(source, encoding="utf-8")
    check = f"from polyframe.thing import is_held\n\n\ndef test_it():\n    {body}\n"
    (tmp_path / "test_it.py").write_text(check, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    guard = Guard("held", "thing.py", "\n        return True", "\n        pass", ("test_it.py",))
    verdict = try_without(guard, tmp_path, limit=2 if result == "TIME LIMIT" else 20)
    assert result == verdict.result
    assert ("test_it.py::test_it" if result == "caught" else "") == verdict.test
    assert source == module.read_text(encoding="utf-8")


def test_a_guard_that_is_not_there_once_is_an_error() -> None:
    """The error names the guard, the file, and how often its text was found."""
    guard = Guard("two of them", "thing.py", "pass\n", "", ("test_it.py",))
    with pytest.raises(
        ValueError, match=r"two of them: .* 2 times in polyframe/thing\.py, not once"
    ):
        guard.remove("pass\npass\n")


def test_the_table_is_written_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands around the table stays, and a second writing replaces the first."""
    page = tmp_path / "guards.md"
    page.write_text(f"above\n\n{remove_guards.BEGIN}\nold\n{remove_guards.END}\n\nbelow\n")
    monkeypatch.setattr(remove_guards, "TABLE", page)
    guard = Guard("a guard", "thing.py", "a", "b", ("test_it.py",))
    for test in ("test_it.py::test_one", "test_it.py::test_two"):
        write_table(table([remove_guards.Verdict(guard, "caught", test, 1.0)]))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "| a guard | `thing.py` | `test_it.py::test_two` |" in text
    assert "old" not in text
    assert "test_one" not in text


@pytest.mark.parametrize(
    "wrong", [["--jobs", "0"], ["--limit", "0"], ["--only", "x", "--write"], ["--only", "no such"]]
)
def test_wrong_arguments_are_explained(wrong: list[str]) -> None:
    """The command ends with 2 and names the option."""
    done = subprocess.run(
        [sys.executable, "tools/remove_guards.py", *wrong],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "error: --" in done.stderr
