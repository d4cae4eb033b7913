"""Recordings go to other processes as where they are, and say when a market's file is another one."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from polyframe import CsvRecording, ParquetRecording, ResolvedMarkets, write_csv, write_market
from polyframe.recording.pmxt import PmxtArchive
from tests.backtest.kit import wandering


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_travels_as_its_path(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was named from where the program stands; what was read stays behind."""
    made = wandering(1)
    write = write_market if kind == "parquet" else write_csv
    for tape in made.markets():
        write(tmp_path / "data", tape, made.events(tape))
    monkeypatch.chdir(tmp_path)
    data = ParquetRecording("data") if kind == "parquet" else CsvRecording("data")
    assert len(data.markets()) == 3
    blob = pickle.dumps(data)
    assert len(blob) < 500
    monkeypatch.chdir("/")
    copy = pickle.loads(blob)
    assert list(copy.markets()) == list(made.markets())
    first, second, _ = copy.markets()
    monkeypatch.chdir(tmp_path)
    assert data.identity(first) == copy.identity(first) != copy.identity(second)
    assert str(tmp_path) not in data.identity(first)  # a folder that was moved is the same
    known = [data.identity(each) for each in (first, second)]
    path = next((tmp_path / "data").rglob(f"{first.market.slug}.[cp]*"))
    os.utime(path, ns=(1, 1))
    assert [
        data.identity(each) == was for each, was in zip((first, second), known, strict=True)
    ] == [
        False,
        True,
    ]


def test_the_sample_travels_as_nothing_but_its_name() -> None:
    """It is opened anew; its identity is the version of the package."""
    data = ResolvedMarkets()
    blob = pickle.dumps(data)
    assert len(blob) < 200
    copy = pickle.loads(blob)
    tape = data.markets()[0]
    assert copy.markets()[0] == tape
    assert copy.identity(tape) == data.identity(tape) != data.identity(data.markets()[1])


def test_a_url_travels_as_it_is(tmp_path: Path) -> None:
    """And its files have stamps, too."""
    made = wandering(1, cycles=2)
    for tape in made.markets():
        write_market(tmp_path, tape, made.events(tape))
    data = ParquetRecording(f"file://{tmp_path}")
    first, second = data.markets()
    copy = pickle.loads(pickle.dumps(data))
    assert repr(copy) == repr(data)
    was = copy.identity(first)
    assert was != copy.identity(second)
    os.utime(next(tmp_path.rglob(f"{first.market.slug}.*")), ns=(1, 1))
    assert copy.identity(first) != was


def test_an_archive_travels_with_the_markets_that_were_named(tmp_path: Path) -> None:
    """Its files say when they are others."""
    made = wandering(1, cycles=1)
    (tape,) = made.markets()
    hour = tmp_path / "polymarket_orderbook_2026-09-28T09.parquet"
    hour.touch()
    data = PmxtArchive(tmp_path, [tape])
    copy = pickle.loads(pickle.dumps(data))
    assert list(copy.markets()) == [tape]
    was = copy.identity(tape)
    assert was == data.identity(tape)
    hour.write_text("more")
    assert copy.identity(tape) != was
