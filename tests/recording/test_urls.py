"""URLs where only paths of this machine can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from polyframe.backtest.run import run_backtest
from polyframe.backtest.sweeps.sweeping import sweep
from polyframe.cli.outputs import check_file, check_folder
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.paths import local_path
from polyframe.recording.csvfiles import write_csv
from polyframe.recording.parquet import write_market
from polyframe.recording.recorder import Recorder
from polyframe.strategies import DataRecorder
from tests.backtest.kit import Eager, wandering

URL = "s3://bucket/recordings"


def write(how: str) -> None:
    """Write a report to the URL."""
    report = run_backtest(Eager(), data=wandering(1, cycles=1, rows=5))
    getattr(report, how)(URL)


CALLS: dict[str, Callable[[], object]] = {
    "recorder": lambda: Recorder(PolymarketExchange(), ["btc-updown-15m"], URL),
    "recorder, a path": lambda: Recorder(PolymarketExchange(), ["btc-updown-15m"], Path(URL)),
    "market": lambda: write_market(Path(URL), wandering(1, cycles=1).markets()[0], ()),
    "market as CSV": lambda: write_csv(Path(URL), wandering(1, cycles=1).markets()[0], ()),
    "rows": lambda: DataRecorder(folder=URL),
    "sweep": lambda: sweep(Eager, [{}], data=wandering(1, cycles=1, rows=5), folder=URL),
    "text": lambda: write("write"),
    "tables": lambda: write("write_parquet"),
    "page": lambda: write("save_html"),
    "folder of a command": lambda: check_folder("folder", Path(URL)),
    "file of a command": lambda: check_file("html", Path(f"{URL}/page.html")),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_url_is_refused_where_files_are_of_this_machine(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written to a folder that is named like the URL; the error says what is meant."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"(folder|path|html): s3:/.* is a URL, and cannot be"):
        CALLS[name]()
    assert list(tmp_path.iterdir()) == []


def test_paths_are_no_urls(tmp_path: Path) -> None:
    """Folders with colons, blanks and umlauts are folders, and so is a drive."""
    for path in (tmp_path, Path("a: b"), Path("C:/rec"), Path("märkte/x://y"), Path()):
        assert local_path("folder", path) == path
