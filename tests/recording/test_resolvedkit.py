"""The sample of resolvedkit as a recording."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from polyframe.errors import ConfigError
from polyframe.model.book import Book
from polyframe.model.events import BookSnapshot
from polyframe.model.market import Outcome
from polyframe.recording.reader import Recording
from polyframe.recording.resolvedkit import ResolvedMarkets
from polyframe.recording.tape import TapeMarket, Timed

pa = pytest.importorskip("pyarrow")
pytest.importorskip("resolvedkit")


@pytest.fixture(scope="module")
def recording() -> ResolvedMarkets:
    """Return the sample, read once."""
    return ResolvedMarkets()


def test_markets_are_in_order_and_say_how_they_ended(recording: ResolvedMarkets) -> None:
    """18 markets come in order of their windows; winner, source and licence are told."""
    found = recording.markets()
    assert isinstance(recording, Recording)
    assert len(found) == 18
    starts = [market.market.window.start for market in found]
    assert starts == sorted(set(starts))
    assert {market.winner for market in found} == {Outcome.UP, Outcome.DOWN}
    assert {market.source for market in found} == {"resolvedkit"}
    assert "CC BY 4.0" in found[0].licence
    assert found[0].market.fees.taker_fee(Decimal(100), Decimal("0.5")) == Decimal("1.75")
    assert found[0].price_to_beat is None
    assert not found[0].price_source


def test_markets_are_those_of_the_local_venue(recording: ResolvedMarkets) -> None:
    """Names, tokens and rules are the same as where the local venue replays the sample."""
    venue = pytest.importorskip("polyframe.venue.recorded")
    source = venue.ResolvedMarketsSource()
    assert [found.market for found in source.markets] == [
        found.market for found in recording.markets()
    ]


def test_events_are_books_of_both_tokens_in_order(recording: ResolvedMarkets) -> None:
    """Each event is a whole, uncrossed book of a token; times never go back; a second and side."""
    market = recording.markets()[0]
    last, tokens = 0, {market.market.up_token: 0, market.market.down_token: 0}
    for event in recording.events(market):
        assert isinstance(event, Timed)
        assert isinstance(event.message, BookSnapshot)
        assert event.received_ms == event.message.timestamp_ms >= last
        last = event.received_ms
        tokens[event.message.token] += 1
        book = Book()
        assert book.apply_snapshot(event.message.bids, event.message.asks)
        assert not book.is_crossed
    assert all(count > 900 for count in tokens.values()), tokens
    assert recording.doubtful == {}


def test_a_finer_tick_is_named_once_it_shows(recording: ResolvedMarkets) -> None:
    """Snapshots name no tick before the first price between two cents, and 0.001 from then on."""
    seen = []
    for event in recording.events(recording.markets()[0]):
        assert isinstance(event, Timed)
        assert isinstance(event.message, BookSnapshot)
        fine = any(price % 100 for price, _ in (*event.message.bids, *event.message.asks))
        seen.append((event.message.tick_units, fine))
    first = next(number for number, (_, fine) in enumerate(seen) if fine)
    assert {tick for tick, _ in seen[:first]} == {0}
    assert {tick for tick, _ in seen[first:]} == {10}


def test_an_unknown_market_is_refused(recording: ResolvedMarkets) -> None:
    """Events of a market that was not recorded are an error at the call, not an empty tape."""
    known = recording.markets()[0]
    other = TapeMarket(evolve(known.market, condition_id="0x1"))
    with pytest.raises(KeyError):
        recording.events(other)


BAD_ROWS: list[tuple[str, dict[str, Any]]] = [
    ("off_grid", {"bid_px": [0.500_01]}),
    ("off_grid", {"bid_sz": [12.500_000_1]}),
    ("outside", {"ask_sz": [0.0]}),
    ("outside", {"bid_px": [0.0]}),
    ("outside", {"ask_px": [1.0]}),
    ("crossed", {"bid_px": [0.51], "ask_px": [0.51]}),
    ("empty", {"bid_px": [], "bid_sz": [], "ask_px": [], "ask_sz": []}),
    ("one_sided", {"ask_px": [], "ask_sz": []}),
    ("out_of_order", {"ts": 1_790_585_999_999}),
]


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Return rows of books that take the place of the package's."""
    rows: list[dict[str, Any]] = []
    parquet = pytest.importorskip("pyarrow.parquet")
    read = parquet.read_table

    def read_table(path: Any) -> Any:
        return pa.Table.from_pylist(rows) if "books" in str(path) else read(path)

    monkeypatch.setattr(parquet, "read_table", read_table)
    return iter([rows])


@pytest.mark.parametrize(("reason", "values"), BAD_ROWS)
def test_a_bad_row_is_skipped_and_counted(
    reason: str,
    values: dict[str, Any],
    sample: Iterator[list[dict[str, Any]]],
    recording: ResolvedMarkets,
) -> None:
    """A row that makes no sense is left out under its reason, the rows around it are passed on."""
    rows, market = next(sample), recording.markets()[0]
    good = {
        "market_id": market.market.condition_id,
        "ts": 1_790_586_000_000,
        "side": "UP",
        "bid_px": [0.5],
        "bid_sz": [12.5],
        "ask_px": [0.51],
        "ask_sz": [1.0],
    }
    rows.extend([good, good | values, good | {"side": "DOWN"}])
    found = ResolvedMarkets()
    assert found.skipped == {}
    events = list(found.events(market))
    assert found.skipped == {reason: 1}
    messages = [event.message for event in events if isinstance(event, Timed)]
    assert messages == [
        BookSnapshot(
            market.market.condition_id,
            token,
            ((5000, Decimal("12.5")),),
            ((5100, Decimal(1)),),
            1_790_586_000_000,
        )
        for token in (market.market.up_token, market.market.down_token)
    ]


def test_rows_of_no_market_are_counted(sample: Iterator[list[dict[str, Any]]]) -> None:
    """A row whose market is not in the list of markets is counted and belongs to nobody."""
    next(sample).append(
        {
            "market_id": "0x1",
            "ts": 1,
            "side": "UP",
            "bid_px": [],
            "bid_sz": [],
            "ask_px": [],
            "ask_sz": [],
        }
    )
    assert ResolvedMarkets().skipped == {"unknown_market": 1}


@pytest.mark.parametrize("package", ["pyarrow.parquet", "resolvedkit"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional packages the error names the one that is missing and the fix."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package}.*pip install '\.\[data\]'"):
        ResolvedMarkets()
