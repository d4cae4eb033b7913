"""Recordings elsewhere than in a folder, by URLs of fsspec."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import evolve

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.recording.parquet import (
    ParquetRecording,
    is_written,
    market_name,
    update_market,
    write_market,
)
from polyframe.recording.recorder import Recorder, RecorderSettings
from polyframe.recording.tape import TapeEvent
from tests.recording.fake import TappedExchange
from tests.recording.kit import EXAMPLES, TAPE, make_tape
from tests.support.fake import START

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a URL where nothing is yet."""
    return f"memory://{uuid4().hex}/tapes" if request.param == "memory" else f"file://{tmp_path}/t"


def files(url: str) -> list[str]:
    """Return the names of all files below `url`, hidden ones too."""
    system, root = fsspec.core.url_to_fs(url)
    return sorted(path.rpartition("/")[2] for path in system.find(root))


def test_what_is_written_is_read(url: str) -> None:
    """Files at a URL are written, listed, updated and read like those of a folder."""
    assert list(ParquetRecording(url).markets()) == []
    assert not is_written(url, TAPE)
    open_ = evolve(TAPE, winner=None)
    written = write_market(url, open_, EXAMPLES)
    assert written.location == f"{url}/{market_name(TAPE)}"
    write_market(url + "/", make_tape(1), ())
    assert is_written(url, TAPE)
    update_market(url, TAPE)
    recording = ParquetRecording(url)
    assert list(recording.markets()) == [TAPE, make_tape(1)]
    assert list(recording.events(TAPE)) == list(EXAMPLES)
    assert recording.skipped == {}
    assert len(files(url)) == 2


def test_a_failed_write_leaves_the_file_as_it_was(url: str) -> None:
    """What fails half-way changes nothing and leaves nothing."""
    write_market(url, TAPE, EXAMPLES)

    def broken() -> Iterator[TapeEvent]:
        yield EXAMPLES[0]
        raise OSError(errno.EIO, "gone")

    with pytest.raises(OSError, match="gone"):
        write_market(url, TAPE, broken())
    assert list(ParquetRecording(url).events(TAPE)) == list(EXAMPLES)
    assert files(url) == [market_name(TAPE).rpartition("/")[2]]


def test_half_a_file_is_none(url: str) -> None:
    """What a killed program has left is not taken for a recording."""
    write_market(url, TAPE, EXAMPLES)
    system, root = fsspec.core.url_to_fs(url)
    with system.open(f"{root}/btc-updown-15m/.other.parquet", "wb") as file:
        file.write(b"half")
    recording = ParquetRecording(url)
    assert list(recording.markets()) == [TAPE]
    assert recording.skipped == {}


def test_a_list_is_never_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems that remember what was where are told to look again for each recording."""
    url, looks = f"memory://{uuid4().hex}", []
    kind = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(kind, "invalidate_cache", lambda *_: looks.append(1))
    ParquetRecording(url).markets()
    assert looks


def test_the_recorder_writes_there(url: str, tmp_path: Path) -> None:
    """Frames stay on this machine; the files of markets, with their winners, go to the URL."""
    counters, clock, exchange = Counters(), ScaledClock(600, start=START + 250), TappedExchange()

    async def main() -> None:
        await exchange.open(clock, counters)
        settings = RecorderSettings(tail=1)
        frames = tmp_path / "frames"
        recorder = Recorder(
            exchange, ["btc-updown-5m"], frames, files=url, cycles=1, settings=settings
        )
        await recorder.open(clock, counters)
        await recorder.wait()
        await recorder.close()
        assert not list(frames.rglob("*.parquet"))

    asyncio.run(main())
    assert counters.reasons(Count.RECORDINGS) == {"written": 1, "settled": 1}
    (tape,) = ParquetRecording(url).markets()
    assert tape.winner is Outcome.UP


def test_what_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of URL that fsspec does not have, and fsspec itself when it is missing, are named."""
    with pytest.raises(ConfigError, match="folder: nonsense://here cannot be used"):
        ParquetRecording("nonsense://here")
    recorder = Recorder(TappedExchange(), ["btc-updown-5m"], tmp_path / "new", files="nonsense://x")
    with pytest.raises(ConfigError, match="folder: nonsense://x cannot be used"):
        asyncio.run(recorder.open(ScaledClock(1), Counters()))
    assert not (tmp_path / "new").exists()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"needs the package fsspec .*'\.\[remote\]'"):
        write_market("memory://x", TAPE, ())
