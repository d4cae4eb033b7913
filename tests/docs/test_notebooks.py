"""Every notebook runs from its first cell to its last, and draws what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.cli.command import ROOT
from tests.docs.programs import Done, run, side_by_side

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.py"))
RUNNER = str(ROOT / "tools" / "run_notebook.py")
FIGURES = {
    "analyse_ledger": 2,
    "backtest_and_plot": 2,
    "compare_fill_models": 1,
    "explore_market": 2,
}
"""How many figures each of them draws."""


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Done]]]:
    """Start the notebooks that this session asks for."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_it_runs.__name__
    ]
    jobs = [(name, [RUNNER, str(FOLDER / f"{name}.py")]) for name in wanted]
    with side_by_side(jobs, tmp_path_factory.mktemp("notebooks")) as found:
        yield found


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_it_runs(name: str, runs: dict[str, Future[Done]], tmp_path: Path) -> None:
    """All cells run in order, with what they assert, and each figure can be shown."""
    begun = runs.pop(name, None)  # a second try begins anew
    done = run([RUNNER, str(FOLDER / f"{name}.py")], tmp_path) if begun is None else begun.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert FIGURES[name] == len(re.findall(r"^figure: .+$", done.stdout, re.MULTILINE))


def test_every_notebook_is_run_and_told_of() -> None:
    """No notebook is without a test, and each is in the index."""
    assert set(NOTEBOOKS) == FIGURES.keys()
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(NOTEBOOKS) == set(re.findall(r"\]\((\w+)\.py\)", index))


def test_a_cell_that_fails_is_a_failure(tmp_path: Path) -> None:
    """The runner stops there, and says in which cell it was; ``await`` works at the top."""
    notebook = tmp_path / "broken.py"
    notebook.write_text(
        "# %% [markdown]\n# # Title\n\n# %%\nimport asyncio\nx = await asyncio.sleep(0, 41)\nx + 1\n"
        "\n# %%\nassert x == 42\n\n# %%\nprint('never')\n",
        encoding="utf-8",
    )
    done = run([RUNNER, str(notebook)], tmp_path)
    assert (done.returncode, done.stdout) == (1, "42\n")
    assert "broken.py[2]" in done.stderr
