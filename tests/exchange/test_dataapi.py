"""The venue's records of an account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.dataapi import DataClient
from polyframe.exchange.polymarket.datarecords import (
    RecordedActivity,
    RecordedPosition,
    RecordedResolution,
    read_activity,
    read_position,
    read_recorded_resolution,
    read_rows,
    read_trade,
    recorded_profit,
)
from polyframe.exchange.polymarket.wire import Skips
from polyframe.model.order import Side
from tests.exchange.client import ask, queries
from tests.exchange.kit import ADDRESS, CONDITION, UP
from tests.exchange.test_rest import HOSTS, Venue
from tests.exchange.test_wire_market import JSON

T = TypeVar("T")

POSITION: dict[str, Any] = {
    "token_id": UP,
    "condition_id": CONDITION,
    "current_size": 12.345678,
    "avg_price": 0.53,
    "current_price": 1,
    "realized_pnl": -0.25,
    "outcome": "Up",
    "redeemable": True,
    "mergeable": False,
}
TRADE: dict[str, Any] = {
    "token_id": UP,
    "condition_id": CONDITION,
    "side": "BUY",
    "size": 10,
    "price": 0.62,
    "timestamp": 1788887014,
    "transaction_hash": "0x8b2f",
}
ACTIVITY: dict[str, Any] = TRADE | {"type": "TRADE", "usdc_size": 6.2}


def call(venue: Venue, question: Callable[[DataClient], Awaitable[T]]) -> T:
    """Ask one question about the account."""
    return ask(venue, lambda http, skips: DataClient(http, HOSTS, ADDRESS, skips), question)


def page(*rows: Any, cursor: str | None = None, more: bool | None = None) -> dict[str, Any]:
    """Return an answer of the present version."""
    has_more = cursor is not None if more is None else more
    return {"data": list(rows), "pagination": {"has_more": has_more, "next_cursor": cursor}}


def test_positions_are_exact() -> None:
    """Numbers of the row come out as they were written (PROTOCOL §7.2)."""
    venue = Venue(page(POSITION))
    assert call(venue, lambda data: data.positions([CONDITION])) == [
        RecordedPosition(
            token=UP,
            condition_id=CONDITION,
            outcome="Up",
            size=Decimal("12.345678"),
            average_price=Decimal("0.53"),
            current_price=Decimal(1),
            realised=Decimal("-0.25"),
            is_redeemable=True,
            is_mergeable=False,
        )
    ]
    assert venue.requests[0].url.path == "/data-api/v2/positions"
    assert queries(venue) == [{"user": ADDRESS, "condition_id": CONDITION, "limit": "500"}]
    assert "POLY_API_KEY" not in venue.requests[0].headers


def test_all_pages_are_read() -> None:
    """The cursor of a page leads to the next, until there is none."""
    venue = Venue(
        page(TRADE, cursor="b"), page(TRADE, cursor="c"), page(TRADE, cursor="d", more=False)
    )
    assert len(call(venue, lambda data: data.trades())) == 3
    assert [query.get("cursor") for query in queries(venue)] == [None, "b", "c"]
    assert {query["taker_only"] for query in queries(venue)} == {"false"}


def test_a_circle_of_pages_is_an_error() -> None:
    """A cursor that came before would never end."""
    venue = Venue(page(TRADE, cursor="b"), page(TRADE, cursor="b"))
    with pytest.raises(ExchangeError, match="came twice"):
        call(venue, lambda data: data.trades())


def test_nothing_partial_is_returned() -> None:
    """A page that fails makes the whole question fail."""
    with pytest.raises(ExchangeError, match="HTTP 500"):
        call(Venue(page(TRADE, cursor="b"), 500), lambda data: data.trades())


@pytest.mark.parametrize("answer", [{}, {"data": None}, "x", {"data": {}}])
def test_an_answer_without_rows_is_an_error(answer: Any) -> None:
    """Something else than rows is not taken for "none"."""
    with pytest.raises(ExchangeError, match="expected rows"):
        call(Venue(answer), lambda data: data.positions())


def test_the_older_version_is_asked_where_the_present_one_is_missing() -> None:
    """It counts rows, in other words, and hides small positions unless told not to (§7.1)."""
    old = {
        "asset": UP,
        "conditionId": CONDITION,
        "size": 0.5,
        "avgPrice": 0.4,
        "curPrice": 0.6,
        "realizedPnl": 0,
        "outcome": "Up",
    }
    venue = Venue(404, [old] * 500, [old])
    found = call(venue, lambda data: data.positions([CONDITION]))
    assert len(found) == 501
    assert found[0].size == Decimal("0.5")
    assert [request.url.path for request in venue.requests] == [
        "/data-api/v2/positions",
        "/data-api/positions",
        "/data-api/positions",
    ]
    query = {"user": ADDRESS, "sizeThreshold": "0", "market": CONDITION, "limit": "500"}
    assert queries(venue)[1:] == [query | {"offset": "0"}, query | {"offset": "500"}]


def test_more_rows_than_the_older_version_gives_is_an_error() -> None:
    """It answers no offset above its limit: what lies beyond must not be missed in silence."""
    venue = Venue(404, *[[ACTIVITY] * 500] * 11)
    with pytest.raises(ExchangeError, match="more rows than it gives out"):
        call(venue, lambda data: data.activity())


def test_many_markets_are_asked_in_groups() -> None:
    """One request names twenty markets at most."""
    venue = Venue(page(TRADE), page(TRADE))
    ids = [f"0x{number}" for number in range(21)]
    assert len(call(venue, lambda data: data.trades(ids))) == 2
    assert [len(query["condition_id"].split(",")) for query in queries(venue)] == [20, 1]


def test_activity_begins_at_a_time() -> None:
    """What was done is told with its kind and its money."""
    venue = Venue(page(ACTIVITY, ACTIVITY | {"type": "REDEEM", "side": None, "token_id": ""}))
    trade, redeem = call(venue, lambda data: data.activity(start=1788880000))
    assert trade == RecordedActivity(
        kind="TRADE",
        token=UP,
        condition_id=CONDITION,
        side=Side.BUY,
        size=Decimal(10),
        usd=Decimal("6.2"),
        time=1788887014,
        transaction="0x8b2f",
    )
    assert (redeem.kind, redeem.side, redeem.token) == ("REDEEM", None, "")
    assert queries(venue)[0]["start"] == "1788880000"


def test_resolutions_tell_a_price_that_is_set() -> None:
    """A payout of 69 stands for "not set" (§7.2)."""
    row = {
        "condition_id": CONDITION,
        "status": "resolved",
        "was_disputed": False,
        "price": "0",
        "last_update_timestamp": "1785355919",
    }
    venue = Venue({"data": [row, row | {"price": "69", "status": "proposed"}]})
    done, open_ = call(venue, lambda data: data.resolutions([CONDITION]))
    assert done == RecordedResolution(
        condition_id=CONDITION,
        status="resolved",
        was_disputed=False,
        price=Decimal(0),
        time=1785355919,
    )
    assert open_.price is None
    assert call(Venue(), lambda data: data.resolutions([])) == []


def test_rows_that_cannot_be_read_are_counted() -> None:
    """One bad row costs only itself."""
    venue = Venue(page(TRADE, TRADE | {"size": "many"}, 7, TRADE | {"side": ""}))
    assert len(call(venue, lambda data: data.trades())) == 1
    assert venue.counters.reasons(Count.WIRE_SKIPPED) == {"bad_field:trade": 2, "not_object": 1}


@pytest.mark.parametrize("field", ["token_id", "condition_id", "size", "price", "side"])
def test_a_trade_needs_its_fields(field: str) -> None:
    """Without one of them it says nothing."""
    with pytest.raises(ValueError, match=r"missing|side"):
        read_trade({key: value for key, value in TRADE.items() if key != field})


def test_profit_is_what_the_records_add_up_to() -> None:
    """Buys and splits cost, sells, merges and redemptions bring; other markets do not count."""

    def did(
        kind: str, usd: str, side: Side | None = None, market: str = CONDITION
    ) -> RecordedActivity:
        return RecordedActivity(
            kind=kind,
            token=UP,
            condition_id=market,
            side=side,
            size=Decimal(1),
            usd=Decimal(usd),
            time=1,
            transaction="",
        )

    activity = [
        did("TRADE", "5.3", Side.BUY),
        did("TRADE", "2", Side.SELL),
        did("SPLIT", "10"),
        did("MERGE", "4"),
        did("REDEEM", "10"),
        did("REWARD", "100"),
        did("TRADE", "50", Side.SELL, "0xother"),
    ]
    assert recorded_profit(activity, CONDITION) == Decimal("0.7")


@given(JSON, st.sampled_from([*POSITION, *ACTIVITY, "price", "type", "status"]))
def test_whatever_stands_in_a_row_is_read_or_counted(junk: Any, name: str) -> None:
    """No row makes the readers raise, and no amount comes out negative."""
    counters = Counters()
    skips = Skips(counters)
    rows = [junk, POSITION | {name: junk}]
    for position in read_rows(rows, read_position, "position", skips):
        assert position.size >= 0
    rows = [junk, ACTIVITY | {name: junk}]
    for trade in read_rows(rows, read_trade, "trade", skips):
        assert trade.size >= 0
    for activity in read_rows(rows, read_activity, "activity", skips):
        assert activity.size >= 0
    status = {"status": "x", "condition_id": "0x1"} | {name: junk}
    for done in read_rows([junk, status], read_recorded_resolution, "row", skips):
        assert done.price is None or 0 <= done.price <= 1
