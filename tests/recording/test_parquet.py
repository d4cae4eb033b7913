"""Recorded markets as Parquet files in our own schema."""

from __future__ import annotations

import datetime as dt
import errno
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.backtest.run import run_backtest
from polyframe.errors import ConfigError
from polyframe.model.events import BookDelta, BookSnapshot, MarketMessage, TradePrint
from polyframe.model.series import Series
from polyframe.model.stretch import Stretch
from polyframe.recording import parquet as module
from polyframe.recording.parquet import ParquetRecording, market_name, update_market, write_market
from polyframe.recording.reader import Columnar, Recording
from polyframe.recording.tape import TapeEvent, TapeMarket, Timed
from tests.backtest.kit import Eager
from tests.recording.kit import (
    CONDITION,
    EXAMPLES,
    MARKET,
    START_MS,
    TAPE,
    UP,
    make_tape,
    messages_of,
    tapes,
)

pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")


def read_back(folder: Path, market: TapeMarket = TAPE) -> list[TapeEvent]:
    """Return the events of `market` below `folder`."""
    return list(ParquetRecording(folder).events(market))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A market and an event of each kind come back equal, from the path that has its name."""
    written = write_market(tmp_path, TAPE, EXAMPLES)
    assert Path(written.location) == tmp_path / "btc-updown-15m" / f"{MARKET.slug}.parquet"
    assert written.events == len(EXAMPLES)
    assert written.skipped == {}
    recording = ParquetRecording(tmp_path)
    assert isinstance(recording, Recording)
    assert isinstance(recording, Columnar)
    assert list(recording.markets()) == [TAPE]
    assert list(recording.events(TAPE)) == list(EXAMPLES)
    assert recording.skipped == {}


@settings(max_examples=60, deadline=None)
@given(tapes(), st.integers(1, 9), st.integers(1, 9))
def test_any_tape_survives(events: list[TapeEvent], group: int, batch: int) -> None:
    """Whatever the market channel says comes back equal, as events and as stretches, in any pieces."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GROUP", group)
        patch.setattr(module, "_BATCH", batch)
        assert write_market(folder, TAPE, events).events == len(events)
        recording = ParquetRecording(folder)
        assert list(recording.events(TAPE)) == events
        found: list[TapeEvent] = []
        for piece in recording.stretches(TAPE):
            if isinstance(piece, Stretch):
                found += messages_of(piece)
            else:
                assert not isinstance(piece, Timed) or not isinstance(piece.message, BookDelta)
                found.append(piece)
        assert found == events
        assert recording.skipped == {}


def test_a_message_may_lie_on_the_edge_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message of several rows that are read (or written) in two pieces is one message."""
    monkeypatch.setattr(module, "_BATCH", 3)
    monkeypatch.setattr(module, "_GROUP", 3)
    write_market(tmp_path, TAPE, EXAMPLES)
    assert read_back(tmp_path) == list(EXAMPLES)
    with pq.ParquetFile(tmp_path / market_name(TAPE)) as file:
        assert file.metadata.num_row_groups > 2


def test_columns_are_typed_for_others(tmp_path: Path) -> None:
    """Any Parquet reader sees times as times, whole numbers and words; the codec is zstd."""
    path = Path(write_market(tmp_path, TAPE, EXAMPLES).location)
    table = pq.read_table(path)
    assert table.schema.field("received").type == pa.timestamp("ms", tz="UTC")
    first = table.slice(0, 1).to_pylist()[0]
    assert first["received"] == dt.datetime.fromtimestamp(START_MS / 1000, dt.UTC)
    assert (first["kind"], first["outcome"], first["bid_prices_e4"]) == ("book", "Up", [4000])
    assert first["bid_sizes_e6"] == [5_500_000]
    with pq.ParquetFile(path) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_markets_are_in_order_of_their_windows(tmp_path: Path) -> None:
    """Markets of several series are listed by window, whatever their files are called."""
    tapes_ = [make_tape(2), make_tape(0, "eth-updown-15m"), make_tape(1), make_tape(0)]
    for tape in tapes_:
        write_market(tmp_path, tape, ())
    slugs = [found.market.slug for found in ParquetRecording(tmp_path).markets()]
    assert slugs == [tapes_[index].market.slug for index in (3, 1, 2, 0)]


def test_the_hour_that_comes_twice_has_two_files(tmp_path: Path) -> None:
    """In autumn two hourly markets have the same name: neither takes the other's place."""
    series = Series.parse("btc-updown-1h")
    before = int(dt.datetime(2026, 11, 1, 5, tzinfo=dt.UTC).timestamp())
    first, second = series.windows(before, 2)
    assert series.slug(first) == series.slug(second)
    both = [
        evolve(TAPE, market=evolve(MARKET, series=series, window=window, slug=series.slug(window)))
        for window in (first, second)
    ]
    for number, tape in enumerate(both):
        write_market(tmp_path, tape, EXAMPLES[: number + 1])
    recording = ParquetRecording(tmp_path)
    assert list(recording.markets()) == both
    assert [list(recording.events(tape)) for tape in both] == [
        list(EXAMPLES[:1]),
        list(EXAMPLES[:2]),
    ]
    assert recording.skipped == {}


def test_an_unknown_market_is_refused(tmp_path: Path) -> None:
    """Events of a market that was not recorded are an error at the call."""
    write_market(tmp_path, TAPE, EXAMPLES)
    with pytest.raises(KeyError):
        ParquetRecording(tmp_path).events(make_tape(1))
    with pytest.raises(KeyError):
        ParquetRecording(tmp_path).stretches(make_tape(1))


def test_what_cannot_be_written_is_counted(tmp_path: Path) -> None:
    """Events of other markets or tokens, and sizes that no column holds, are left out and counted."""
    bad: list[MarketMessage] = [
        TradePrint("0x1", UP, 4100, None, None),
        TradePrint(CONDITION, "5", 4100, None, None),
        TradePrint(CONDITION, UP, 4100, Decimal("0.0000001"), None),
        TradePrint(CONDITION, UP, 4100, Decimal(10) ** 13, None),
    ]
    events = [*EXAMPLES, *(Timed(START_MS + 11, 2, message) for message in bad)]
    written = write_market(tmp_path, TAPE, events)
    assert written.skipped == {"foreign": 2, "out_of_range": 2}
    assert written.events == len(EXAMPLES)
    assert read_back(tmp_path) == list(EXAMPLES)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A file appears when it is complete: what fails half-way changes nothing and leaves nothing."""
    write_market(tmp_path, TAPE, EXAMPLES)

    def broken() -> Iterator[TapeEvent]:
        yield EXAMPLES[0]
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_market(tmp_path, TAPE, broken())
    assert read_back(tmp_path) == list(EXAMPLES)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        f"{MARKET.slug}.parquet"
    ]


def rewrite(path: Path, change: Any) -> None:
    """Write a file anew after `change` was applied to its rows and metadata."""
    table = pq.read_table(path)
    rows, metadata = table.to_pylist(), dict(table.schema.metadata)
    change(rows, metadata)
    fields = [field.with_nullable(True) for field in table.schema]
    schema = pa.schema(fields, metadata=metadata)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


BAD_ROWS: dict[str, tuple[int, dict[str, Any], str]] = {
    "price": (2, {"price_e4": 10_000}, "bad_row"),
    "no price": (2, {"price_e4": None}, "bad_row"),
    "size": (2, {"size_e6": -1}, "bad_row"),
    "side": (2, {"side": "HOLD"}, "bad_row"),
    "outcome": (2, {"outcome": "Sideways"}, "bad_row"),
    "epoch": (2, {"epoch": None}, "bad_row"),
    "lengths": (0, {"bid_sizes_e6": []}, "bad_row"),
    "top": (6, {"best_bid_e4": 10_001}, "bad_row"),
    "no top": (6, {"best_bid_e4": None}, "bad_row"),
    "kind": (6, {"kind": "later"}, "unknown_kind"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_makes_no_sense_is_skipped(name: str, tmp_path: Path) -> None:
    """A bad row is left out and counted, whatever is wrong with it; all others are read."""
    path = Path(write_market(tmp_path, TAPE, EXAMPLES).location)
    row, values, reason = BAD_ROWS[name]

    def change(rows: list[dict[str, Any]], _: Any) -> None:
        rows[row].update(values)

    rewrite(path, change)
    recording = ParquetRecording(tmp_path)
    found = list(recording.events(TAPE))
    assert recording.skipped == {reason: 1}
    expected = len(EXAMPLES) - (row != 2)  # row 2 is one change of two
    assert len(found) == expected


def test_a_clock_that_was_set_back_is_told(tmp_path: Path) -> None:
    """The order of arrival counts: an earlier time becomes that of the event before, and is counted."""
    events = [
        Timed(START_MS + time, 1, TradePrint(CONDITION, UP, price, None, None))
        for time, price in ((5, 1), (2, 2), (9, 3))
    ]
    write_market(tmp_path, TAPE, events)
    recording = ParquetRecording(tmp_path)
    found = list(recording.events(TAPE))
    assert [event.received_ms - START_MS for event in found] == [5, 5, 9]
    assert [event.message.price for event in found] == [1, 2, 3]  # type: ignore[union-attr]
    assert recording.doubtful == {"time_went_back": 1}
    assert recording.skipped == {}


def test_a_crossed_book_is_told(tmp_path: Path) -> None:
    """A whole book whose sides cross is passed on as it was, and counted."""
    one = Decimal(1)
    books = [((4000, one),), ((3900, one), (4100, one))]
    events = [
        Timed(START_MS, 1, BookSnapshot(CONDITION, UP, bids, ((4100, one),))) for bids in books
    ]
    write_market(tmp_path, TAPE, events)
    recording = ParquetRecording(tmp_path)
    assert list(recording.events(TAPE)) == events
    assert recording.doubtful == {"crossed": 1}


def test_files_of_another_kind_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other schema versions, files of others, torn files and doubles are skipped by reason and named."""
    for number in range(5):
        write_market(tmp_path, make_tape(number), EXAMPLES[:0])
    paths = [tmp_path / market_name(make_tape(number)) for number in range(5)]
    rewrite(paths[1], lambda _, metadata: metadata.update({b"polyframe.schema": b"2"}))
    rewrite(paths[2], lambda _, metadata: metadata.pop(b"polyframe.market"))
    paths[3].write_bytes(paths[3].read_bytes()[:-20])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / paths[4].name).write_bytes(paths[4].read_bytes())
    table = pq.read_table(paths[0])
    pq.write_table(table.drop_columns(["reason"]), tmp_path / "other" / "less.parquet")
    (paths[0].parent / ".x.parquet").write_bytes(b"")
    recording = ParquetRecording(tmp_path)
    assert [found.market.slug for found in recording.markets()] == [
        make_tape(number).market.slug for number in (0, 4)
    ]
    assert recording.skipped == {"schema_version": 1, "unreadable": 3, "duplicate": 1}
    for path in (paths[1], paths[2], paths[3]):
        assert path.name in caplog.text


def test_metadata_may_be_rewritten(tmp_path: Path) -> None:
    """A winner that becomes known later goes into the file in place of the one without."""
    open_ = evolve(TAPE, winner=None, price_to_beat=None, price_source="")
    write_market(tmp_path, open_, EXAMPLES)
    write_market(tmp_path, TAPE, ParquetRecording(tmp_path).events(open_))
    assert list(ParquetRecording(tmp_path).markets()) == [TAPE]
    update_market(tmp_path, open_)
    assert list(ParquetRecording(tmp_path).markets()) == [open_]
    assert read_back(tmp_path) == list(EXAMPLES)


def test_what_rises_is_kept_as_differences(tmp_path: Path) -> None:
    """Numbers and times that nearly each row raises take hardly any room; words and sizes are as before."""
    events = [
        Timed(
            START_MS + place, 1, TradePrint(CONDITION, UP, 4100, Decimal(1), None, START_MS + place)
        )
        for place in range(5_000)
    ]
    write_market(tmp_path, TAPE, events)
    update_market(tmp_path, TAPE)
    with pq.ParquetFile(tmp_path / market_name(TAPE)) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
    packed = {one.path_in_schema: one.total_compressed_size for one in columns}
    assert max(packed[name] for name in ("message", "received", "time")) < 1_000
    words = [one.path_in_schema for one in columns if "RLE_DICTIONARY" in one.encodings]
    assert {"kind", "side", "price_e4", "size_e6", "bid_prices_e4.list.element"} <= set(words)
    assert read_back(tmp_path) == events


def test_metadata_of_a_file_with_other_types_may_be_rewritten(tmp_path: Path) -> None:
    """What somebody else wrote, with numbers of messages as texts, is taken over as it is."""
    write_market(tmp_path, TAPE, EXAMPLES)
    path = tmp_path / market_name(TAPE)
    table = pq.read_table(path)
    place = table.schema.get_field_index("message")
    pq.write_table(table.set_column(place, "message", table["message"].cast(pa.string())), path)
    before = read_back(tmp_path)
    update_market(tmp_path, evolve(TAPE, winner=None))
    assert ParquetRecording(tmp_path).markets()[0].winner is None
    assert read_back(tmp_path) == before == list(EXAMPLES)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A file whose rows are damaged is listed; who reads it is told which one, and where to look."""
    path = Path(write_market(tmp_path, TAPE, EXAMPLES).location)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(200) + whole[204:])
    recording = ParquetRecording(tmp_path)
    assert recording.markets() == (TAPE,)
    with pytest.raises(OSError, match=f"{MARKET.slug}.parquet cannot be read to its end: "):
        list(recording.events(TAPE))
    with pytest.raises(OSError, match=f"{MARKET.slug}.parquet cannot be read to its end: "):
        run_backtest(Eager(), data=recording)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A wrong path is an error at once, not an empty recording."""
    with pytest.raises(ConfigError, match=r"folder: .*missing is no folder"):
        ParquetRecording(tmp_path / "missing")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow, reading and writing say how to get it."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[data\]'"):
        ParquetRecording(tmp_path)
    with pytest.raises(ConfigError, match=r"pip install '\.\[data\]'"):
        write_market(tmp_path, TAPE, ())
