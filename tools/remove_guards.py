"""Takes the guards of the core away one at a time, and says which test notices.

::

    python tools/remove_guards.py                   # all of them, some five minutes
    python tools/remove_guards.py --only cancel     # those whose name or file contains the text
    python tools/remove_guards.py --write           # and write the table into docs/guards.md

The guards are listed in ``tools/guards.toml``. Each is removed in a copy of the tree, never in the
tree itself, and the tests that it names are run there. First they all have to pass with every guard in
place. The exit code is 1 if a guard was missed by nobody, if its tests ran into the time limit, or if
the code could not even be imported without it: then the entry has to be mended.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "guards.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"

_COPIED = ("polyframe", "tests", "docs", "examples", "pyproject.toml", "README.md", "Makefile")
_PYTEST = ("-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "--hypothesis-seed=0")
_FAILED = re.compile(r"^FAILED (\S+?)(?:\[.*\])?(?: - .*)?$", re.MULTILINE)


def _without_end(text: str) -> str:
    return text.rstrip("\n")


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen
class Guard:
    """One guard.

    Attributes:
        name: What it does.
        file: Where it stands, below ``polyframe/``.
        old: Its text.
        new: What is there without it.
        tests: What must fail without it.
    """

    name: str
    file: str
    old: str = field(converter=_without_end)
    new: str = field(converter=_without_end)
    tests: tuple[str, ...] = field(converter=_texts)

    def remove(self, source: str) -> str:
        """Return the text of its file without it.

        Raises:
            ValueError: Its text is not there, or more than once.
        """
        if (found := source.count(self.old)) != 1:
            msg = (
                f"{self.name}: its text is found {found} times in polyframe/{self.file}, not once; "
                "mend its entry in tools/guards.toml"
            )
            raise ValueError(msg)
        return source.replace(self.old, self.new)


@frozen
class Verdict:
    """What happened without a guard.

    Attributes:
        guard: The guard.
        result: ``"caught"``, ``"SURVIVED"``, ``"TIME LIMIT"`` or ``"BROKEN"``.
        test: Which test noticed, ``""`` if none did.
        seconds: How long it took.
    """

    guard: Guard
    result: str
    test: str
    seconds: float


def load() -> list[Guard]:
    """Return all guards in the order of the file."""
    with (ROOT / "tools" / "guards.toml").open("rb") as file:
        return [Guard(**entry) for entry in tomllib.load(file)["guard"]]


def copy_tree(place: Path) -> Path:
    """Copy what the tests need to a folder, without what was compiled."""
    for name in _COPIED:
        source, target = ROOT / name, place / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return place


def run_tests(
    tree: Path, tests: Iterable[str], limit: float, *, keeps_compiled: bool = False
) -> tuple[int | None, str]:
    """Run tests in a copy; return pytest's exit code (``None`` after the limit) and its words."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    if not keeps_compiled:
        # What is compiled is told from its source by second and length: a removed guard may agree.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, *_PYTEST, *tests],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def try_without(guard: Guard, tree: Path, limit: float) -> Verdict:
    """Remove one guard in a copy, run its tests, and put it back."""
    began = time.monotonic()
    path = tree / "polyframe" / guard.file
    source = path.read_text(encoding="utf-8")
    path.write_text(guard.remove(source), encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    try:
        code, words = run_tests(tree, guard.tests, limit)
    finally:
        path.write_text(source, encoding="utf-8")
    result, test = "BROKEN", ""
    if code is None:
        result = "TIME LIMIT"
    elif code == 0:
        result = "SURVIVED"
    elif code == 1 and (found := _FAILED.search(words)):
        result, test = "caught", found[1]
    return Verdict(guard, result, test, time.monotonic() - began)


def try_all(guards: Sequence[Guard], jobs: int, limit: float) -> list[Verdict] | None:
    """Try all guards in `jobs` copies; ``None`` if the tests fail with every guard in place."""
    with tempfile.TemporaryDirectory(prefix="guards-") as place:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        copies = [copy_tree(Path(place) / str(number)) for number in range(jobs)]
        tests = dict.fromkeys(test for guard in guards for test in guard.tests)
        for copy in copies:
            code, words = run_tests(copy, tests, limit * 10, keeps_compiled=True)
            if code != 0:
                print(f"with every guard in place the tests do not pass:\n{words}", file=sys.stderr)
                return None
            trees.put(copy)

        def one(guard: Guard) -> Verdict:
            tree = trees.get()
            try:
                verdict = try_without(guard, tree, limit)
            finally:
                trees.put(tree)
            by = f"by {verdict.test}" if verdict.test else ""
            print(f"{verdict.seconds:6.1f} s  {verdict.result:10} {guard.name} {by}", flush=True)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, guards))


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the verdicts as a table in Markdown."""
    rows = ["| guard | where | without it |", "|---|---|---|"]
    for verdict in verdicts:
        by = f"`{verdict.test}`" if verdict.test else f"**{verdict.result}**"
        rows.append(f"| {verdict.guard.name} | `{verdict.guard.file}` | {by} |")
    return "\n".join(rows)


def write_table(text: str) -> None:
    """Put the table between its marks."""
    page = TABLE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    TABLE.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="guards that contain this text")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many at once (2)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each (60)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/guards.md")
    options = parser.parse_args()
    if options.jobs < 1 or not options.limit > 0:
        parser.error("--jobs and --limit: expected numbers above 0")
    if options.only and options.write:
        parser.error("--write: the table has all guards, so leave --only out")
    wanted = options.only.lower()
    guards = [guard for guard in load() if wanted in f"{guard.name} {guard.file}".lower()]
    if not guards:
        parser.error(f"--only: no guard contains {options.only!r}")
    began = time.monotonic()
    verdicts = try_all(guards, min(options.jobs, len(guards)), options.limit)
    if verdicts is None:
        return 2
    missed = [verdict for verdict in verdicts if verdict.result != "caught"]
    seconds = time.monotonic() - began
    print(f"{len(guards)} guards removed, {len(missed)} not caught, {seconds:.0f} s")
    for verdict in missed:
        print(f"  {verdict.result}: {verdict.guard.name} (polyframe/{verdict.guard.file})")
    if options.write:
        write_table(table(verdicts))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
