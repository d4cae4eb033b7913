"""Rows of the metadata service."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.exchange.polymarket.gamma import (
    CRYPTO_FEES,
    NotTradable,
    read_clob_resolution,
    read_market,
    read_price_record,
    read_resolution,
)
from polyframe.exchange.polymarket.wire import parse_json
from polyframe.model.fees import NO_FEES, FeeSchedule
from polyframe.model.market import Outcome, Resolution
from polyframe.model.reference import PriceRecord
from polyframe.model.series import Series, Window
from tests.exchange.kit import CONDITION, DOWN, MARKET, SERIES, UP, WINDOW, encoded, sample
from tests.exchange.test_wire_market import JSON, mutated

ROW: dict[str, Any] = {
    "id": "1557558",
    "question": "Bitcoin Up or Down",
    "conditionId": CONDITION,
    "slug": MARKET.slug,
    "startDate": "2026-09-27T09:29:01.328428Z",
    "eventStartTime": "2026-09-28T09:00:00Z",
    "endDate": "2026-09-28T09:15:00Z",
    "outcomes": '["Up", "Down"]',
    "outcomePrices": '["0.505", "0.495"]',
    "clobTokenIds": json.dumps([UP, DOWN]),
    "orderPriceMinTickSize": 0.01,
    "orderMinSize": 5,
    "enableOrderBook": True,
    "acceptingOrders": True,
    "active": True,
    "closed": False,
    "archived": False,
    "negRisk": False,
    "feesEnabled": True,
    "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
    "umaResolutionStatuses": "[]",
    "events": [{"startTime": "2026-09-28T09:00:00Z"}],
}
RULES: dict[str, Any] = {
    "c": CONDITION,
    "t": [{"t": UP, "o": "Up"}, {"t": DOWN, "o": "Down"}],
    "fd": {"r": 0.07, "e": 1, "to": True},
    "mts": 0.01,
    "mos": 5,
    "ao": True,
    "itode": True,
    "mbf": 1000,
    "tbf": 1000,
}
RESOLVED_ROW = ROW | {
    "closed": True,
    "closedTime": "2026-09-28 09:16:30+00",
    "umaResolutionStatus": "resolved",
    "outcomePrices": '["0", "1"]',
}


def _read(change: dict[str, Any]) -> Any:
    # Through JSON, as it comes: numbers are exact decimals there.
    return read_market(parse_json(encoded(ROW | change)), SERIES, WINDOW)


def test_a_tradable_row_becomes_a_market() -> None:
    """All trading parameters are read, exactly."""
    assert _read({}) == MARKET


def test_tokens_are_mapped_by_label() -> None:
    """The order of the outcomes does not matter, only their labels (PROTOCOL §1.3)."""
    market = _read({"outcomes": '["Down", "Up"]', "clobTokenIds": [DOWN, UP]})
    assert (market.up_token, market.down_token) == (UP, DOWN)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"archived": True}, "archived"),
        ({"closed": True}, "closed"),
        ({"closed": "true"}, "closed"),
        ({"active": False}, "inactive"),
        ({"enableOrderBook": False}, "no_order_book"),
        ({"acceptingOrders": False}, "not_accepting"),
        ({"slug": "btc-updown-15m-1790586900"}, "wrong_slug"),
        ({"endDate": "2026-09-28T09:05:00Z"}, "wrong_window"),
        ({"endDate": None}, "wrong_window"),
        ({"eventStartTime": "2026-09-28T08:00:00Z"}, "wrong_window"),
        ({"eventStartTime": "whenever"}, "wrong_window"),
        ({"eventStartTime": None, "events": []}, "wrong_window"),
        ({"eventStartTime": None, "events": [{"startTime": "2026-09-28T08:00Z"}]}, "wrong_window"),
        ({"conditionId": ""}, "hydrating"),
        ({"clobTokenIds": "[]"}, "hydrating"),
        ({"clobTokenIds": None}, "hydrating"),
        ({"clobTokenIds": "not json"}, "hydrating"),
        ({"clobTokenIds": json.dumps([UP, ""])}, "hydrating"),
        ({"clobTokenIds": json.dumps([UP])}, "bad_outcomes"),
        ({"clobTokenIds": json.dumps([UP, UP])}, "bad_outcomes"),
        ({"outcomes": '["Yes", "No"]'}, "bad_outcomes"),
        ({"outcomes": None}, "bad_outcomes"),
        ({"orderPriceMinTickSize": 0.03}, "bad_tick"),
        ({"orderPriceMinTickSize": 0}, "bad_tick"),
        ({"orderPriceMinTickSize": "x"}, "bad_tick"),
        ({"orderMinSize": "many"}, "bad_min_size"),
        ({"feeSchedule": "7%"}, "bad_fees"),
        ({"feeSchedule": {}}, "bad_fees"),
        ({"feeSchedule": {"rate": 0.07, "exponent": 1.5}}, "bad_fees"),
        ({"feeSchedule": {"rate": 0.07, "exponent": 11}}, "bad_fees"),
        ({"feeSchedule": {"rate": 7, "exponent": 1}}, "bad_fees"),
        ({"feeSchedule": {"rate": -0.07, "exponent": 1}}, "bad_fees"),
    ],
)
def test_a_row_that_is_not_the_market_is_refused_with_its_reason(
    change: dict[str, Any], reason: str
) -> None:
    """Each objection has a short stable reason; all of them are tested one by one."""
    with pytest.raises(NotTradable) as caught:
        _read(change)
    assert caught.value.reason == reason


@pytest.mark.parametrize("row", [None, [], "x", 5])
def test_what_is_no_row_is_refused(row: object) -> None:
    """Another JSON value than an object is refused."""
    with pytest.raises(NotTradable, match="bad_row"):
        read_market(row, SERIES, WINDOW)


@pytest.mark.parametrize("field", ["archived", "closed", "active", "enableOrderBook"])
def test_a_missing_flag_is_no_objection(field: str) -> None:
    """Fields disappear: a flag that is not there does not stop trading."""
    assert _read({field: None}) == MARKET


def test_the_window_start_may_stand_in_the_event() -> None:
    """Without eventStartTime the start of the first event counts."""
    assert _read({"eventStartTime": None}) == MARKET


@pytest.mark.parametrize(
    ("change", "fees"),
    [
        ({"feesEnabled": False}, NO_FEES),
        ({"feeSchedule": None}, CRYPTO_FEES),
        ({"feeSchedule": {"rate": "0.02", "exponent": "2"}}, FeeSchedule(Decimal("0.02"), 2)),
        ({"feesEnabled": None, "feeSchedule": {"rate": 0, "exponent": 1}}, NO_FEES),
    ],
)
def test_fees_are_read_from_the_schedule(change: dict[str, Any], fees: FeeSchedule) -> None:
    """The schedule counts; a row that only says "fees" has those of crypto markets (§2.9)."""
    assert _read(change).fees == fees


def test_tick_and_minimum_are_exact() -> None:
    """JSON numbers become exact decimals, texts too."""
    market = _read({"orderPriceMinTickSize": 0.0025, "orderMinSize": "7.5", "negRisk": True})
    assert (market.tick_size, market.min_size) == (Decimal("0.0025"), Decimal("7.5"))
    assert market.neg_risk


def test_the_recorded_row_is_understood() -> None:
    """The recorded row of a five-minute market becomes that market."""
    row = parse_json(sample("gamma_market_btc_updown_5m"))
    market = read_market(row, Series.parse("btc-updown-5m"), Window(1773307200, 1773307500))
    assert market.slug == "btc-updown-5m-1773307200"
    assert market.up_token.startswith("104239898")
    assert market.tick_size == Decimal("0.01")


# -- resolution ------------------------------------------------------------------------------------


def test_a_final_row_names_the_winner() -> None:
    """Closed, resolved and prices of exactly 0 and 1: the outcome of price 1 has won."""
    assert read_resolution(RESOLVED_ROW, MARKET) == Resolution(Outcome.DOWN, "gamma")
    swapped = RESOLVED_ROW | {"outcomes": ["Down", "Up"], "outcomePrices": ["0", "1.0"]}
    assert read_resolution(swapped, MARKET) == Resolution(Outcome.UP, "gamma")


@pytest.mark.parametrize(
    "change",
    [
        {"closed": False},
        {"closed": None},
        {"umaResolutionStatus": "proposed"},
        {"umaResolutionStatus": None},
        {"outcomePrices": '["0.005", "0.995"]'},
        {"outcomePrices": '["1", "1"]'},
        {"outcomePrices": '["0.5", "0.5"]'},
        {"outcomePrices": '["1"]'},
        {"outcomePrices": '["a", "b"]'},
        {"outcomePrices": None},
        {"outcomes": '["Yes", "No"]'},
        {"conditionId": "0xother"},
    ],
)
def test_anything_less_than_final_is_no_resolution(change: dict[str, Any]) -> None:
    """Every single condition of PROTOCOL §1.5 is needed, and the row must be of this market."""
    assert read_resolution(RESOLVED_ROW | change, MARKET) is None


def test_the_clob_flags_the_winner() -> None:
    """The CLOB's winner flag names the token, in whatever order."""
    tokens = [{"token_id": DOWN, "winner": False}, {"token_id": UP, "winner": True}]
    row = {"closed": True, "tokens": tokens}
    assert read_clob_resolution(row, MARKET) == Resolution(Outcome.UP, "clob")


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        {"closed": False, "tokens": [{"token_id": UP, "winner": True}]},
        {"closed": True, "tokens": None},
        {"closed": True, "tokens": [{"token_id": UP, "winner": False}]},
        {
            "closed": True,
            "tokens": [{"token_id": UP, "winner": 1}, {"token_id": DOWN, "winner": 1}],
        },
        {"closed": True, "tokens": [{"token_id": "77", "winner": True}]},
    ],
)
def test_the_clob_must_flag_exactly_one_of_our_tokens(row: object) -> None:
    """No winner, two, a foreign one, or an open market: no resolution."""
    assert read_clob_resolution(row, MARKET) is None


@given(mutated([ROW, RESOLVED_ROW]) | JSON)
def test_any_row_is_read_or_refused(row: Any) -> None:
    """Arbitrary and damaged rows give a market, a refusal or no resolution, and nothing else."""
    value = parse_json(encoded(row))
    try:
        market = read_market(value, SERIES, WINDOW)
    except NotTradable:
        pass
    else:
        assert market.up_token
        assert market.down_token
        assert market.window == WINDOW
    read_resolution(value, MARKET)
    read_clob_resolution(value, MARKET)


@given(st.lists(JSON, max_size=3))
def test_any_token_list_is_read_or_refused(tokens: list[Any]) -> None:
    """Arbitrary tokens of a CLOB market never raise."""
    read_clob_resolution(parse_json(encoded({"closed": True, "tokens": tokens})), MARKET)


@pytest.mark.parametrize(
    ("metadata", "record"),
    [
        (
            {"priceToBeat": 65012.34, "finalPrice": 65020.11},
            PriceRecord(Decimal("65012.34"), Decimal("65020.11")),
        ),
        ({"priceToBeat": "65012.34"}, PriceRecord(Decimal("65012.34"))),
        ({"priceToBeat": None, "finalPrice": 0}, PriceRecord()),
        ({"priceToBeat": "soon", "finalPrice": -1}, PriceRecord()),
        (None, PriceRecord()),
        ([], PriceRecord()),
    ],
)
def test_recorded_prices_are_exact_or_absent(metadata: object, record: PriceRecord) -> None:
    """What the event's metadata says comes as written; holes are holes (PROTOCOL §1.6)."""
    row = parse_json(encoded(ROW | {"events": [{"eventMetadata": metadata}]}))
    assert read_price_record(row, MARKET.slug) == record


@pytest.mark.parametrize("row", [None, [], {}, ROW, ROW | {"events": 7}, ROW | {"slug": "other"}])
def test_a_row_without_recorded_prices_has_none(row: object) -> None:
    """No event, no metadata, or another market's row: nothing is known."""
    assert read_price_record(row, MARKET.slug) == PriceRecord()
