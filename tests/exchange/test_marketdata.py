"""Public questions to the trading engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.errors import ExchangeError, ExchangeUnavailable
from polyframe.exchange.polymarket.marketdata import (
    LastTrade,
    MarketDataClient,
    MarketRules,
    PricePoint,
    read_rules,
)
from polyframe.exchange.polymarket.wire import parse_json
from polyframe.model.events import BookSnapshot
from polyframe.model.fees import FeeSchedule
from polyframe.model.order import Side
from tests.exchange.client import ask, queries
from tests.exchange.kit import CONDITION, DOWN, UP, encoded
from tests.exchange.servers import book
from tests.exchange.test_gamma import RULES
from tests.exchange.test_rest import HOSTS, Venue
from tests.exchange.test_wire_market import JSON

T = TypeVar("T")

EXPECTED = MarketRules(
    condition_id=CONDITION,
    tokens={"Up": UP, "Down": DOWN},
    tick_size=Decimal("0.01"),
    min_size=Decimal(5),
    fees=FeeSchedule(rate=Decimal("0.07")),
    neg_risk=False,
    is_accepting=True,
    has_taker_delay=True,
)


def call(venue: Venue, question: Callable[[MarketDataClient], Awaitable[T]]) -> T:
    """Ask one question."""
    return ask(venue, lambda http, skips: MarketDataClient(http, HOSTS, skips), question)


def test_the_rules_of_a_market() -> None:
    """One call has all that trading needs; what is false is left out there (PROTOCOL §2.1)."""
    venue = Venue(RULES)
    assert call(venue, lambda data: data.rules(CONDITION)) == EXPECTED
    assert venue.paths == [f"GET clob-markets/{CONDITION}"]


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"fd": None}, "fees", None),
        ({"nr": True}, "neg_risk", True),
        ({"ao": False}, "is_accepting", False),
        ({"ao": None}, "is_accepting", True),
        ({"itode": None}, "has_taker_delay", False),
        ({"mts": "0.0025", "mos": "15"}, "tick_size", Decimal("0.0025")),
    ],
)
def test_rules_that_differ(change: dict[str, Any], field: str, value: object) -> None:
    """Switches, ticks and fees are read as they are."""
    assert getattr(read_rules(parse_json(encoded(RULES | change))), field) == value


@pytest.mark.parametrize(
    "change",
    [
        {"c": ""},
        {"t": []},
        {"t": [{"t": UP, "o": "Up"}]},
        {"t": [{"t": "", "o": "Up"}, {"t": DOWN, "o": "Down"}]},
        {"mts": None},
        {"mts": 0.07},
        {"mos": None},
        {"mos": "many"},
        {"fd": 7},
        {"fd": {"r": 0.07}},
    ],
)
def test_rules_that_make_no_sense_are_an_error(change: dict[str, Any]) -> None:
    """To trade by wrong rules is worse than to know none."""
    with pytest.raises(ExchangeError, match="GET /clob-markets/"):
        call(Venue(RULES | change), lambda data: data.rules(CONDITION))


def test_a_market_that_the_engine_does_not_have() -> None:
    """Metadata is there before the engine: no rules yet (§1.4)."""
    assert call(Venue(404), lambda data: data.rules(CONDITION)) is None
    with pytest.raises(ValueError, match="condition_id: expected"):
        call(Venue(), lambda data: data.rules("0x1/../order"))


def test_the_book_of_a_token() -> None:
    """It is read like the one of the market channel: any order of levels, exact sizes (§2.2)."""
    row = {key: value for key, value in book(UP).items() if key != "event_type"}
    venue = Venue(row | {"tick_size": "0.01", "last_trade_price": None, "timestamp": None})
    found = call(venue, lambda data: data.book(UP))
    assert found == BookSnapshot(
        market=CONDITION,
        token=UP,
        bids=((4000, Decimal(10)),),
        asks=((6000, Decimal(10)),),
        tick_units=100,
    )
    assert queries(venue) == [{"token_id": UP}]


def test_no_book_is_none_and_another_book_an_error() -> None:
    """The venue's 404 says that there is none; an answer about another token is not ours."""
    assert call(Venue(404), lambda data: data.book(UP)) is None
    with pytest.raises(ExchangeError, match="not that book"):
        call(Venue(book(DOWN)), lambda data: data.book(UP))


def test_many_books_at_once() -> None:
    """At most 500 tokens a request; tokens without a book are missing."""
    tokens = [UP, *map(str, range(500)), DOWN]
    venue = Venue([book(UP)], [book(DOWN), 7])
    found = call(venue, lambda data: data.books(tokens))
    assert list(found) == [UP, DOWN]
    assert [len(parse_json(request.content)) for request in venue.requests] == [500, 2]
    assert venue.counters.reasons(Count.WIRE_SKIPPED) == {"not_object": 1}
    with pytest.raises(ExchangeError, match="expected a list"):
        call(Venue({}), lambda data: data.books([UP]))


@pytest.mark.parametrize(
    ("question", "answer", "value", "path"),
    [
        (lambda data: data.midpoint(UP), {"mid": "0.085"}, "0.085", "midpoint"),
        (lambda data: data.spread(UP), {"spread": "0.02"}, "0.02", "spread"),
        (lambda data: data.tick_size(UP), {"minimum_tick_size": 0.01}, "0.01", "tick-size"),
    ],
)
def test_single_numbers(
    question: Callable[[MarketDataClient], Awaitable[Decimal | None]],
    answer: Any,
    value: str,
    path: str,
) -> None:
    """Numbers come as texts or numbers; without a book there are none, and junk is an error."""
    venue = Venue(answer)
    assert call(venue, question) == Decimal(value)
    assert venue.paths == [f"GET {path}?token_id={UP}"]
    assert call(Venue(404), question) is None
    junk: Any
    for junk in ({}, [], {next(iter(answer)): "soon"}, {next(iter(answer)): -1}):
        with pytest.raises(ExchangeError):
            call(Venue(junk), question)


def test_the_last_trade() -> None:
    """Before the first one there is a price and no side."""
    traded = call(Venue({"price": "0.5", "side": "BUY"}), lambda data: data.last_trade(UP))
    assert traded == LastTrade(Decimal("0.5"), Side.BUY)
    none = call(Venue({"price": "0.5", "side": ""}), lambda data: data.last_trade(UP))
    assert none == LastTrade(Decimal("0.5"), None)
    assert call(Venue(404), lambda data: data.last_trade(UP)) is None


def test_past_prices_are_in_order() -> None:
    """Points come sorted by their time."""
    venue = Venue({"history": [{"t": 20, "p": 0.51}, {"t": 10, "p": 0.5}]})
    found = call(venue, lambda data: data.price_history(UP, start=5, end=25))
    assert found == [PricePoint(10, Decimal("0.5")), PricePoint(20, Decimal("0.51"))]
    assert queries(venue) == [{"market": UP, "startTs": "5", "endTs": "25", "fidelity": "1"}]
    junk: Any
    for junk in ({}, {"history": [{}]}, {"history": [7]}):
        with pytest.raises(ExchangeError):
            call(Venue(junk), lambda data: data.price_history(UP, start=5, end=25))


def test_the_engines_state() -> None:
    """Whether it is well, and which orders it takes."""
    assert call(Venue("OK"), lambda data: data.is_up())
    assert not call(Venue("no"), lambda data: data.is_up())
    assert call(Venue({"version": 2}), lambda data: data.version()) == 2
    with pytest.raises(ExchangeUnavailable):
        call(Venue(503), lambda data: data.is_up())


@given(JSON, st.sampled_from([*RULES]))
def test_no_rules_make_the_reader_do_more_than_refuse(junk: Any, name: str) -> None:
    """Whatever stands in a field: rules that make sense, or a refusal."""
    for row in (junk, RULES | {name: junk}):
        try:
            rules = read_rules(parse_json(encoded(row)))
        except ValueError:
            continue
        assert 0 < rules.tick_size < 1
        assert len(rules.tokens) == 2
