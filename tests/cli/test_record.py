"""``polyframe record`` as a process of its own."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from polyframe.model.events import BookSnapshot
from polyframe.recording.finalise import load_market, raw_folders, tape_events
from polyframe.recording.frames import FrameReader
from polyframe.recording.tape import Gap, Timed
from tests.cli.command import Command, polyframe

pytest.importorskip("typer")
pytest.importorskip("pyarrow")

PROMPT = 15.0
"""Real seconds within which a command that was asked to end has ended."""


def local_venue(command: Command) -> str:
    """Return the address of a venue that has begun to serve."""
    gamma: str = json.loads(command.wait_line("^{"))["gamma"]
    return gamma.removesuffix("/gamma")


def wait_for_frames(folder: Path, count: int) -> None:
    """Return when that many frames are in their files."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if sum(1 for raw in raw_folders(folder) for _ in FrameReader(raw)) >= count:
            return
        time.sleep(0.1)
    pytest.fail("no frames")


def test_killed_and_started_again(tmp_path: Path) -> None:
    """What was heard before a kill is there, the next start goes on, and Ctrl-C ends it in order."""
    from polyframe.exchange.polymarket import PolymarketExchange

    pytest.importorskip("starlette")
    with Command("venue", "--json", "--series", "btc-updown-1d") as venue:
        options = ("--folder", str(tmp_path), "--url", local_venue(venue))
        with Command("record", "btc-updown-1d", *options) as first:
            first.wait_line("recording btc-updown-1d to .*; Ctrl-C ends it")
            wait_for_frames(tmp_path, 3)
            first.signal(signal.SIGKILL)
            first.wait(PROMPT)
        before = sum(1 for _ in FrameReader(raw_folders(tmp_path)[0]))
        with Command("record", "btc-updown-1d", *options) as second:
            second.wait_line("recording")
            again = polyframe("record", "btc-updown-1d", *options)
            assert again.returncode == 2
            assert "polyframe record: folder: another recorder writes to" in again.stderr
            wait_for_frames(tmp_path, before + 3)
            second.signal(signal.SIGINT)
            assert second.wait(PROMPT) == 130
            assert second.lines[-1] == "markets: none"
            assert "Traceback" not in second.errors
    (raw,) = raw_folders(tmp_path)
    assert load_market(raw).market.series.period == "1d"
    events = list(tape_events(FrameReader(raw), PolymarketExchange().frame_decoder()))
    assert [event.reason for event in events if isinstance(event, Gap)][:1] == ["restart"]
    for epoch in (1, 2):
        first_ = next(
            event for event in events if isinstance(event, Timed) and event.epoch == epoch
        )
        assert isinstance(first_.message, BookSnapshot)


def test_a_fast_venue_is_recorded_by_its_own_clock(tmp_path: Path) -> None:
    """Markets of a venue that is ahead of the wall are found, heard and over in its time."""
    pytest.importorskip("starlette")
    with Command("venue", "--json", "--series", "btc-updown-5m", "--speed", "100") as venue:
        url = local_venue(venue)
        options = ("--folder", str(tmp_path), "--url", url, "--cycles", "1")
        with Command("record", "btc-updown-5m", *options) as recorder:
            # By the wall's clock it would take five minutes.
            assert recorder.wait(120) == 0, recorder.errors
            assert recorder.lines[-1].startswith("markets: 1 ")
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nonsense",), 'series: expected "<asset>-updown-<period>"'),
        (
            ("btc-updown-15m", "--url", "https://example.com"),
            "url: expected a venue on this machine",
        ),
        (
            ("btc-updown-15m", "--url", "http://127.0.0.1:9"),
            "url: nobody answers at http://127.0.0.1:9; start one with polyframe venue",
        ),
    ],
)
def test_wrong_options_are_named(arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    """Exit code 2 and one sentence that names the option."""
    done = polyframe("record", *arguments, "--folder", str(tmp_path / "new"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("polyframe record: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_help_names_every_option() -> None:
    """And how to end it."""
    text = " ".join(polyframe("record", "--help").stdout.split())
    for word in ("--folder", "--files", "--cycles", "--url", "--verbose", "SERIES", "Ctrl-C"):
        assert word in text
