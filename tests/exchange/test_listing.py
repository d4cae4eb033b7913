"""The lists of the metadata service."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.clock import VirtualClock
from polyframe.counters import Count
from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.listing import Listing
from polyframe.model.market import Market
from polyframe.model.series import Series
from tests.exchange.client import ask, queries
from tests.exchange.kit import DOWN, MARKET, SERIES, UP, WINDOW
from tests.exchange.test_gamma import ROW
from tests.exchange.test_rest import HOSTS, Venue
from tests.exchange.test_wire_market import JSON

FAMILY = [{"id": "10192", "slug": "btc-up-or-down-15m"}]
BARE = {key: value for key, value in ROW.items() if key not in {"events", "eventStartTime"}}


def listed(venue: Venue, series: Series = SERIES) -> list[Market]:
    """Return the markets that a venue lists."""

    def make(http: Any, skips: Any) -> Listing:
        return Listing(http, HOSTS, VirtualClock(WINDOW.start), skips)

    return ask(venue, make, lambda listing: listing.markets(series))


def page(*rows: Any, cursor: str | None = None) -> dict[str, Any]:
    """Return a page of events, one for each row."""
    events = [{"startTime": "2026-09-28T09:00:00Z", "markets": [row]} for row in rows]
    return {"events": events, "next_cursor": cursor}


def test_the_markets_of_a_series_are_listed() -> None:
    """The family is looked up by its name, its events page by page (PROTOCOL §1.1)."""
    following = SERIES.next(WINDOW)
    later = ROW | {
        "slug": SERIES.slug(following),
        "conditionId": "0x2",
        "eventStartTime": "2026-09-28T09:15:00Z",
        "endDate": "2026-09-28T09:30:00Z",
    }
    venue = Venue(FAMILY, page(later, cursor="x"), page(BARE))
    assert [market.window for market in listed(venue)] == [WINDOW, following]
    assert [request.url.path for request in venue.requests] == [
        "/gamma/series",
        "/gamma/events/keyset",
        "/gamma/events/keyset",
    ]
    query = {"series_id": "10192", "closed": "false", "limit": "100"}
    assert queries(venue) == [
        {"slug": "btc-up-or-down-15m"},
        query,
        query | {"after_cursor": "x"},
    ]


def test_rows_that_will_never_be_traded_are_left_out() -> None:
    """Lists have rows that are open by name only; each is counted with its reason (§1.4)."""
    zombies = [
        ROW | {"enableOrderBook": False},
        ROW | {"endDate": "2026-09-28T10:00:00Z"},
        ROW | {"clobTokenIds": ""},
        ROW | {"clobTokenIds": f'["{UP}", "{DOWN}"]', "outcomes": '["Yes", "No"]'},
        ROW | {"slug": "will-it-rain"},
        ROW | {"slug": 7},
    ]
    venue = Venue(FAMILY, page(*zombies, ROW, 7))
    assert listed(venue) == [MARKET]
    assert venue.counters.reasons(Count.WIRE_SKIPPED) == {
        "zombie_row:no_order_book": 1,
        "zombie_row:wrong_window": 1,
        "zombie_row:hydrating": 1,
        "zombie_row:bad_outcomes": 1,
        "zombie_row:foreign_name": 2,
    }


def test_hourly_and_daily_families_have_another_name() -> None:
    """It is asked for by the one that is observed, then by the one that would be regular (§1.4)."""
    venue = Venue([], [{"id": "3", "slug": "eth-up-or-down-1h"}], page())
    assert listed(venue, Series("eth", "1h")) == []
    names = [query["slug"] for query in queries(venue)[:2]]
    assert names == ["eth-up-or-down-hourly", "eth-up-or-down-1h"]


@pytest.mark.parametrize("answer", [[], {}, [{"id": "", "slug": "btc-up-or-down-15m"}], [7]])
def test_a_family_that_the_venue_does_not_know_is_an_error(answer: Any) -> None:
    """No markets, and no family to have any, are told apart."""
    with pytest.raises(ExchangeError, match="does not know btc-updown-15m"):
        listed(Venue(answer))


@pytest.mark.parametrize(
    ("pages", "text"),
    [
        ([{}], "expected a page"),
        ([[]], "expected a page"),
        ([page(cursor="x"), page(cursor="x")], "came twice"),
        ([page(cursor="x"), 500], "HTTP 500"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(pages: list[Any], text: str) -> None:
    """Nothing partial is returned."""
    with pytest.raises(ExchangeError, match=text):
        listed(Venue(FAMILY, *pages))


@given(JSON, st.sampled_from([*ROW]))
def test_no_row_makes_the_list_fail(junk: Any, name: str) -> None:
    """Whatever stands in a row or event, the good market is found."""
    venue = Venue(
        FAMILY, {"events": [junk, {"markets": junk}, *page(ROW | {name: junk})["events"]]}
    )
    assert len(listed(venue)) <= 1
