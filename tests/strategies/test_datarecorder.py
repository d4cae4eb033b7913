"""What the data recorder writes down, seen through a trader on simulated time."""

from __future__ import annotations

import asyncio
import csv
import errno
import logging
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyframe.clock import VirtualClock
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.exchange.base import DataStream
from polyframe.model.events import StreamState
from polyframe.model.market import Market, Outcome
from polyframe.model.reference import PriceRecord, PriceSource, ReferencePrice
from polyframe.model.series import Series, Window
from polyframe.recording.frames import RawFrame
from polyframe.reference import ReferencePrices
from polyframe.strategies import DataRecorder
from polyframe.strategies.datarecorder import LineLog
from polyframe.trader import Trader
from tests.support.fake import START, FakeExchange, make_market, snapshot
from tests.support.stage import settle

UP, DOWN = Outcome.UP, Outcome.DOWN
MARKET = make_market()
SECOND = make_market(start=START + 900)


class Prices:
    """A source of reference prices that says nothing by itself."""

    def reference_streams(self, *_: object) -> list[DataStream]:
        """Return no streams: the test tells the prices."""
        return []

    async def fetch_price_record(self, series: Series, window: Window) -> PriceRecord:
        """Have nothing on record."""
        del series, window
        return PriceRecord()


class Scene:
    """A trader with a data recorder in simulated time."""

    def __init__(self, exchange: FakeExchange, clock: VirtualClock, prices: ReferencePrices | None):
        self.exchange = exchange
        self.clock = clock
        self.prices = prices

    async def quote(self, outcome: Outcome, bid: int, ask: int, market: Market = MARKET) -> None:
        """Show a new top of one book, in cents (0 and 100 for an empty side)."""
        self.exchange.streams[market.slug].push(snapshot(market, outcome, bid * 100, ask * 100))
        await settle()

    async def reference(self, value: str, after_ms: int) -> None:
        """Tell a reference price of a moment after the start."""
        assert self.prices is not None
        instant = START * 1000 + after_ms
        self.prices.on_reference(ReferencePrice(PriceSource.TWAP, "btc", Decimal(value), instant))
        await settle()


def record(
    act: Callable[[Scene], Awaitable[None]],
    recorder: DataRecorder,
    *,
    cycles: int = 1,
    with_prices: bool = True,
    start: float = START,
) -> list[list[dict[str, str]]]:
    """Run `act` beside a trader; return the rows of each market's file."""
    clock, exchange = VirtualClock(start), FakeExchange()

    async def main() -> None:
        env = Environment(exchange=exchange, clock=clock)
        prices = ReferencePrices(Prices(), "btc-updown-15m") if with_prices else None
        if prices is not None:
            env.provide(prices)
        async with env:
            trader = Trader(env)
            trader.add(recorder, on="btc-updown-15m")
            running = asyncio.create_task(trader.run(cycles))
            await act(Scene(exchange, clock, prices))
            await running

    clock.run(main())
    for thread in threading.enumerate():
        if thread.name == "frame writer":
            thread.join(10)
    return [read(path) for path in sorted(recorder.folder.rglob("*.csv"))]


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shown(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    """Return bid and ask of Up, and the doubts, of each row."""
    return [(row["up_bid"], row["up_ask"], row["doubt"]) for row in rows]


def test_a_row_whenever_something_changed(tmp_path: Path) -> None:
    """Prices, sizes, the reference price and the price to beat are there; repeats give no row."""

    async def act(scene: Scene) -> None:
        await scene.clock.sleep_until(START + 10)
        await scene.reference("64000.5", 0)
        await scene.reference("64001", 9_000)
        for _ in range(2):
            await scene.quote(UP, 41, 43)

    (rows,) = record(act, DataRecorder(folder=tmp_path))
    assert len(rows) == 4
    assert shown(rows[:1]) == [("0.49", "0.51", "no_reference no_price_to_beat")]
    assert rows[0]["reference"] == rows[0]["price_to_beat"] == ""
    assert rows[-1] == {
        "time": "2026-09-28 09:00:10.000",
        "seconds_left": "890.000",
        "up_bid": "0.41",
        "up_bid_size": "100",
        "up_ask": "0.43",
        "up_ask_size": "100",
        "down_bid": "0.49",
        "down_bid_size": "100",
        "down_ask": "0.51",
        "down_ask_size": "100",
        "reference": "64001",
        "reference_time": "2026-09-28 09:00:09.000",
        "price_to_beat": "64000.5",
        "price_to_beat_is_final": "yes",
        "doubt": "",
    }
    assert [row["reference"] for row in rows] == ["", "64000.5", "64001", "64001"]


def test_a_row_as_often_as_asked(tmp_path: Path) -> None:
    """Sampled, there is a row at each multiple of the time, changed or not, and no other."""

    async def act(scene: Scene) -> None:
        await scene.clock.sleep_until(START + 450)
        await scene.quote(UP, 41, 43)
        await scene.quote(UP, 42, 43)

    (rows,) = record(act, DataRecorder(folder=tmp_path, every=300))
    assert [row["seconds_left"] for row in rows] == ["900.000", "600.000", "300.000"]
    assert [row["up_bid"] for row in rows] == ["0.49", "0.49", "0.42"]


def test_begun_late_it_keeps_to_the_grid(tmp_path: Path) -> None:
    """Samples lie on multiples of the time since the start, wherever the program began."""

    async def act(scene: Scene) -> None:
        del scene

    (rows,) = record(act, DataRecorder(folder=tmp_path, every=300), start=START + 450)
    assert [row["seconds_left"] for row in rows][-1] == "300.000"
    assert len(rows) == 2  # one at once for the present step


def test_doubtful_rows_say_why(tmp_path: Path) -> None:
    """Nothing is left out: empty sides, crossed and unknown books are written with the reason."""

    async def act(scene: Scene) -> None:
        await scene.clock.sleep_until(START + 1)
        await scene.quote(UP, 0, 99)
        await scene.quote(UP, 55, 55)
        await scene.quote(DOWN, 1, 100)
        stream = scene.exchange.streams[MARKET.slug]
        stream.state(StreamState.LOST, "closed")
        await settle()

    (rows,) = record(act, DataRecorder(folder=tmp_path), with_prices=False)
    both = "no_reference no_price_to_beat"
    found = shown(rows)[1:]
    assert found[:3] == [
        ("", "0.99", f"one_sided_up {both}"),
        ("0.55", "0.55", f"crossed_up {both}"),
        ("0.55", "0.55", f"crossed_up one_sided_down {both}"),
    ]
    assert found[-1] == ("", "", f"unknown_up unknown_down {both}")


def test_each_market_has_its_file(tmp_path: Path) -> None:
    """A new cycle is a new file, with nothing of the old one."""

    async def act(scene: Scene) -> None:
        await scene.clock.sleep_until(START + 900 + 10)
        await scene.quote(UP, 20, 22, SECOND)

    first, second = record(act, DataRecorder(folder=tmp_path), cycles=2)
    assert sorted(path.name for path in tmp_path.rglob("*.csv")) == [
        f"{MARKET.slug}.csv",
        f"{SECOND.slug}.csv",
    ]
    assert [row["up_bid"] for row in first] == ["0.49"]
    assert [row["up_bid"] for row in second] == ["0.49", "0.2"]


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """One header, all rows; half a line that a kill has left spoils no other."""

    async def act(scene: Scene) -> None:
        del scene

    recorder = DataRecorder(folder=tmp_path)
    record(act, recorder)
    path = tmp_path / "btc-updown-15m" / f"{MARKET.slug}.csv"
    with path.open("ab") as file:
        file.write(b"2026-09-2")
    (rows,) = record(act, recorder, start=START + 300)
    assert [row["up_bid"] for row in rows] == ["0.49", None, "0.49"]
    assert path.read_text().count("seconds_left") == 1


def test_a_full_disk_stops_the_rows_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One alarm a market; the strategy and its trader live through all cycles."""

    def full(_: LineLog, records: Any) -> None:
        del records
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(LineLog, "write", full)

    async def act(scene: Scene) -> None:
        await scene.clock.sleep_until(START + 910)
        await scene.quote(UP, 20, 22, SECOND)

    assert record(act, DataRecorder(folder=tmp_path), cycles=2) == []
    alarms = [found for found in caplog.records if found.levelno == logging.CRITICAL]
    assert len(alarms) == 2
    assert all("RECORDING STOPPED (disk)" in found.getMessage() for found in alarms)


def test_half_a_line_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """What the disk took of a line only in part is told."""
    rows = LineLog(tmp_path / "rows.csv", "a,b")
    rows.write([RawFrame(0.0, 0, b"1,2")])

    class Half:
        def write(self, data: bytes) -> int:
            return len(data) - 1

        def close(self) -> None:
            pass

    rows.close()
    rows.close()
    rows._file = Half()  # type: ignore[assignment]
    with pytest.raises(OSError, match="3 of 4 bytes"):
        rows.write([RawFrame(0.0, 0, b"3,4")])
    assert (tmp_path / "rows.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("every", [0, -1, float("inf"), "5"])
def test_a_time_that_cannot_be_is_named(every: Any) -> None:
    """The error names the field and what it expects."""
    with pytest.raises(ConfigError, match="every: expected seconds above 0"):
        DataRecorder(every=every)
