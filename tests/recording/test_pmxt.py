"""The pmxt archive, on hourly files of its schema that are written here."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyframe.errors import ConfigError
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.order import Side
from polyframe.recording.pmxt import PmxtArchive
from polyframe.recording.reader import Recording
from polyframe.recording.tape import Gap, TapeMarket, Timed
from tests.recording.kit import START_MS, make_tape

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TAPES = [make_tape(number) for number in range(6)]
TAPE = TAPES[1]  # 09:15 to 09:30 UTC
MARKET = TAPE.market
CONDITION, UP, DOWN = MARKET.condition_id, MARKET.up_token, MARKET.down_token
BEGIN = MARKET.window.start * 1000

SCHEMA = pa.schema(
    [
        pa.field("timestamp_received", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("market", pa.binary(66), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("asset_id", pa.string(), nullable=False),
        pa.field("bids", pa.string()),
        pa.field("asks", pa.string()),
        pa.field("price", pa.decimal128(9, 4)),
        pa.field("size", pa.decimal128(18, 6)),
        pa.field("side", pa.string()),
        pa.field("best_bid", pa.decimal128(9, 4)),
        pa.field("best_ask", pa.decimal128(9, 4)),
        pa.field("fee_rate_bps", pa.uint16()),
        pa.field("transaction_hash", pa.string()),
        pa.field("old_tick_size", pa.decimal128(9, 4)),
        pa.field("new_tick_size", pa.decimal128(9, 4)),
    ]
)
"""As the archive describes its files of version 2."""


def row(
    received: int, kind: str, token: str = UP, *, tape: TapeMarket = TAPE, **values: Any
) -> dict[str, Any]:
    """Return one row `received` milliseconds into the window; the venue's time is 7 ms before."""
    numbers = {
        name: value if value is None or name in {"bids", "asks", "side"} else Decimal(value)
        for name, value in values.items()
    }
    return {
        "timestamp_received": BEGIN + received,
        "timestamp": BEGIN + received - 7,
        "market": tape.market.condition_id.encode(),
        "event_type": kind,
        "asset_id": token,
    } | numbers


def change(received: int, token: str = UP, *, side: str = "BUY", **values: Any) -> dict[str, Any]:
    """Return a row of a level change."""
    return row(
        received, "price_change", token, side=side, **({"price": "0.4", "size": "5.5"} | values)
    )


def write_hour(folder: Path, rows: Sequence[dict[str, Any]], hour: int = 9, group: int = 4) -> Path:
    """Write a file of an hour, in the order that the archive has."""
    key = ("market", "asset_id", "timestamp_received")
    ordered = sorted(rows, key=lambda found: tuple(found[name] for name in key))
    path = folder / f"polymarket_orderbook_2026-09-28T{hour:02}.parquet"
    table = pa.Table.from_pylist(ordered, schema=SCHEMA)
    pq.write_table(table, path, row_group_size=group, compression="zstd")
    return path


def messages(archive: PmxtArchive, tape: TapeMarket = TAPE) -> list[MarketMessage]:
    """Return the messages of one market."""
    return [event.message for event in archive.events(tape) if isinstance(event, Timed)]


def test_every_kind_of_row_is_read(tmp_path: Path) -> None:
    """Books, changes, trades and ticks come with both times and exact numbers."""
    write_hour(
        tmp_path,
        [
            row(0, "book", bids='[["0.39","7"],["0.4","5.25"]]', asks='[["0.41","0.000001"]]'),
            row(1, "book", DOWN, bids="[]", asks="[]"),
            change(2, best_bid="0.4", best_ask="1"),
            row(3, "last_trade_price", price="0.41", size="2", side="SELL"),
            row(4, "last_trade_price", price="0.41"),
            row(5, "tick_size_change", DOWN, old_tick_size="0.01", new_tick_size="0.001"),
        ],
    )
    archive = PmxtArchive(tmp_path, [TAPE])
    assert isinstance(archive, Recording)
    assert archive.markets() == [TAPE]
    events = list(archive.events(TAPE))
    assert [event.received_ms - BEGIN for event in events] == list(range(6))
    assert [event.message for event in events if isinstance(event, Timed)] == [
        BookSnapshot(
            CONDITION,
            UP,
            ((3900, Decimal(7)), (4000, Decimal("5.25"))),
            ((4100, Decimal("0.000001")),),
            BEGIN - 7,
        ),
        BookSnapshot(CONDITION, DOWN, (), (), BEGIN - 6),
        BookDelta(
            CONDITION, (LevelChange(UP, True, 4000, Decimal("5.5"), 4000, 10_000),), BEGIN - 5
        ),
        TradePrint(CONDITION, UP, 4100, Decimal(2), Side.SELL, BEGIN - 4),
        TradePrint(CONDITION, UP, 4100, None, None, BEGIN - 3),
        TickSizeChange(CONDITION, DOWN, 10, BEGIN - 2),
    ]
    assert archive.skipped == {}
    assert archive.doubtful == {}


def test_changes_of_one_moment_are_one_message(tmp_path: Path) -> None:
    """What the archive took apart by token is one message again; other moments stay apart."""
    write_hour(
        tmp_path,
        [
            change(1),
            change(1, side="SELL", price="0.5", size="0"),
            change(1, DOWN, side="SELL", price="0.6"),
            change(2, DOWN),
        ],
    )
    found = messages(PmxtArchive(tmp_path, [TAPE]))
    assert [
        [(level.token, level.is_bid, level.price) for level in message.changes]
        for message in found
        if isinstance(message, BookDelta)
    ] == [[(UP, True, 4000), (UP, False, 5000), (DOWN, False, 6000)], [(DOWN, True, 4000)]]


def test_only_row_groups_of_the_market_are_read(tmp_path: Path) -> None:
    """Of a file with many markets only those row groups are read that may have the market's tokens."""
    rows = [
        change(received, token, tape=tape)
        for tape in TAPES
        for token in (tape.market.up_token, tape.market.down_token)
        for received in range(40)
    ]
    path = write_hour(tmp_path, rows, group=20)
    with pq.ParquetFile(path) as file:
        assert file.metadata.num_row_groups == 24
    archive = PmxtArchive(tmp_path, TAPES)
    assert len(messages(archive)) == 40
    assert archive.groups_read == 4  # two of each token

    write_hour(tmp_path, rows, group=1000)
    whole = PmxtArchive(tmp_path, TAPES)
    assert messages(whole) == messages(archive)
    assert whole.groups_read == 2  # the only one, once for each token


def test_without_statistics_everything_is_read(tmp_path: Path) -> None:
    """Files that say nothing of their row groups are read as a whole, with the same result."""
    rows = [change(received, tape=tape) for tape in TAPES for received in range(8)]
    path = write_hour(tmp_path, rows)
    expected = messages(PmxtArchive(tmp_path, TAPES))
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=4, write_statistics=False)
    archive = PmxtArchive(tmp_path, TAPES)
    assert messages(archive) == expected != []
    assert archive.groups_read == 2 * 12


def test_a_market_may_span_two_hours(tmp_path: Path) -> None:
    """The files of all hours that a market touches are read in order, its own span and no more."""
    tape = TAPES[3]  # 09:45 to 10:00 UTC
    start, end = (tape.market.window.start * 1000 - BEGIN, tape.market.window.end * 1000 - BEGIN)
    token = tape.market.up_token
    times = [start - 300_001, start - 300_000, start, end - 1, end, end + 59_999, end + 60_000]
    for hour, part in ((9, times[:4]), (10, times[4:])):
        write_hour(tmp_path, [change(time, token, tape=tape) for time in part], hour)
    found = [event.received_ms - BEGIN for event in PmxtArchive(tmp_path, [tape]).events(tape)]
    assert found == times[1:-1]


def test_a_missing_hour_is_a_gap(tmp_path: Path) -> None:
    """An hour without a file is told where it begins; a market without any hour is not listed."""
    tape = TAPES[3]
    write_hour(tmp_path, [change(0, tape.market.up_token, tape=tape)], 10)
    archive = PmxtArchive(tmp_path, [TAPE, tape])
    assert archive.markets() == [tape]
    events = list(archive.events(tape))
    assert events == [Gap((tape.market.window.start - 300) * 1000, "missing_hour")]
    assert archive.skipped == {"missing_hour": 1}
    with pytest.raises(KeyError):
        archive.events(TAPE)


BAD_ROWS: dict[str, dict[str, Any]] = {
    "no side": change(5, side="HOLD"),
    "price": change(5, price="1"),
    "no price": change(5, price=None),
    "no size": change(5, size=None),
    "negative": change(5, size="-1"),
    "top": change(5, best_bid="1.5"),
    "book": row(5, "book", bids="[", asks="[]"),
    "no book": row(5, "book", bids="[]"),
    "level": row(5, "book", bids='[["0.00001","1"]]', asks="[]"),
    "trade": row(5, "last_trade_price", price="0"),
    "tick": row(5, "tick_size_change", new_tick_size="0.03"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_makes_no_sense_is_skipped(name: str, tmp_path: Path) -> None:
    """A bad row is left out and counted, the rows around it are read."""
    write_hour(tmp_path, [change(4), BAD_ROWS[name], change(6)])
    archive = PmxtArchive(tmp_path, [TAPE])
    assert [event.received_ms - BEGIN for event in archive.events(TAPE)] == [4, 6]
    assert archive.skipped == {"bad_row": 1}


def test_other_types_and_orders_are_counted(tmp_path: Path) -> None:
    """Types that nobody knows and rows out of order are left out; crossed books are passed on."""
    path = write_hour(
        tmp_path,
        [
            row(1, "new_type"),
            row(2, "book", bids='[["0.5","1"]]', asks='[["0.5","1"]]'),
            change(3),
            change(4),
        ],
    )
    rows = pq.read_table(path).to_pylist()
    rows[2]["timestamp_received"] -= dt.timedelta(milliseconds=2)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    archive = PmxtArchive(tmp_path, [TAPE])
    assert [event.received_ms - BEGIN for event in archive.events(TAPE)] == [2, 4]
    assert archive.skipped == {"unknown_type": 1, "out_of_order": 1}
    assert archive.doubtful == {"crossed": 1}


def test_hours_may_be_at_a_url(tmp_path: Path) -> None:
    """An archive at a URL says the same as in a folder, and travels as that URL."""
    write_hour(tmp_path, [change(1), change(5, DOWN)])
    here, there = (PmxtArchive(each, [TAPE]) for each in (tmp_path, tmp_path.as_uri()))
    assert messages(there) == messages(here) != []
    again = pickle.loads(pickle.dumps(there))
    assert repr(again) == f"PmxtArchive('{tmp_path.as_uri()}', 1 hours)"
    assert there.identity(TAPE).startswith("polymarket_orderbook_2026-09-28T09.parquet ")


def test_the_markets_may_come_from_a_generator(tmp_path: Path) -> None:
    """What can be gone through but once is not used up before it is kept."""
    write_hour(tmp_path, [])
    markets: Any = (tape for tape in TAPES)
    assert PmxtArchive(tmp_path, markets).markets() == PmxtArchive(tmp_path, TAPES).markets() != []


def test_a_damaged_hour_is_named(tmp_path: Path) -> None:
    """Who reads an hour that is damaged is told which file it is."""
    path = write_hour(tmp_path, [change(1)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OSError, match=r"T09\.parquet cannot be read to its end: "):
        messages(PmxtArchive(tmp_path, [TAPE]))


def test_a_folder_without_hours_is_named(tmp_path: Path) -> None:
    """A wrong folder is an error that shows what the files are called."""
    with pytest.raises(ConfigError, match=r"folder: .*missing is no folder"):
        PmxtArchive(tmp_path / "missing", [TAPE])
    (tmp_path / "other.parquet").touch()
    with pytest.raises(ConfigError, match=r"has no file like polymarket_orderbook_"):
        PmxtArchive(tmp_path, [TAPE])


def test_the_first_window_of_the_kit_is_where_it_says() -> None:
    """Hours in file names are those of the windows (09:00 UTC is the kit's first)."""
    assert dt.datetime.fromtimestamp(START_MS / 1000, dt.UTC).isoformat() == (
        "2026-09-28T09:00:00+00:00"
    )
