"""For every count of recordings: something that makes it happen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.recording import recorder as module
from polyframe.recording.frames import FrameLog
from polyframe.recording.recorder import Recorder, RecorderSettings
from tests.recording.fake import TappedExchange, until
from tests.support.fake import START, make_market

SERIES = "btc-updown-5m"
SLUG = make_market(SERIES).slug


def _record(
    change: Callable[[TappedExchange], object] = lambda _: None, patience: float = 30_000
) -> Counters:
    """Return the counts of one market that was recorded from shortly before its end.

    Its resolution is waited for `patience` seconds of a clock that is 600 times as fast.
    """
    counters, clock, exchange = Counters(), ScaledClock(600, start=START + 250), TappedExchange()
    exchange.resolve_after = 40
    change(exchange)

    async def main(folder: str) -> None:
        await exchange.open(clock, counters)
        settings = RecorderSettings(tail=10, resolution_wait=patience)
        recorder = Recorder(exchange, [SERIES], folder, cycles=1, settings=settings)
        await recorder.open(clock, counters)
        await recorder.wait()
        await recorder.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
    return counters


def _failed() -> Counters:
    with mock.patch.object(module, "finalise", side_effect=OSError("no space left on device")):
        return _record()


def _stopped() -> Counters:
    counters, clock, exchange = Counters(), ScaledClock(1, start=START), TappedExchange()

    async def main(folder: str) -> None:
        await exchange.open(clock, counters)
        recorder = Recorder(exchange, [SERIES], folder)
        await recorder.open(clock, counters)
        await until(lambda: bool(recorder.failure))
        exchange.send(make_market(SERIES), 4500)
        await recorder.wait()
        await recorder.close()

    full = mock.patch.object(FrameLog, "write", side_effect=OSError("no space left"))
    with tempfile.TemporaryDirectory() as folder, full:
        asyncio.run(main(str(Path(folder))))
    return counters


RECORDINGS: dict[tuple[Count, str], Callable[[], Counters]] = {
    (Count.RECORDINGS, "written"): _record,
    (Count.RECORDINGS, "settled"): _record,
    (Count.RECORDINGS, "unsettled"): lambda: _record(
        lambda found: found.unresolved.add(SLUG), patience=60
    ),
    (Count.RECORDINGS, "missed"): lambda: _record(lambda found: found.missing.add(SLUG)),
    (Count.RECORDINGS, "failed"): _failed,
    (Count.RECORDINGS, "stopped"): _stopped,
}
