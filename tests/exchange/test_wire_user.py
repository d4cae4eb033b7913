"""Orders and trades of the account, from the user channel and from REST."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.exchange.polymarket.wire import epoch_ms
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import OrderEventKind, OrderReport, TradeReport
from polyframe.model.order import Side
from polyframe.model.trade import TradeLeg, TradeStatus
from tests.exchange.kit import (
    ADDRESS,
    API_KEY,
    CONDITION,
    DOWN,
    UP,
    Wire,
    encoded,
    sample,
    samples,
)
from tests.exchange.test_wire_market import JSON, mutated

OTHER = "92a2c1ae-0000-4000-8000-000000000000"
ORDER: dict[str, Any] = {
    "event_type": "order",
    "type": "PLACEMENT",
    "id": "0x0f76",
    "owner": API_KEY,
    "market": CONDITION,
    "asset_id": UP,
    "side": "BUY",
    "original_size": "5",
    "size_matched": "0",
    "price": "0.513",
    "associate_trades": None,
    "outcome": "Up",
    "created_at": "1725842520",
    "expiration": "0",
    "order_type": "GTC",
    "status": "LIVE",
    "maker_address": ADDRESS,
    "timestamp": "1725842520990",
}
MAKER: dict[str, Any] = {
    "order_id": "0xmaker",
    "owner": OTHER,
    "maker_address": "0x629B",
    "matched_amount": "5",
    "price": "0.52",
    "fee_rate_bps": "0",
    "asset_id": UP,
    "outcome": "Up",
    "side": "SELL",
}
TRADE: dict[str, Any] = {
    "event_type": "trade",
    "type": "TRADE",
    "id": "f50e8ab2",
    "taker_order_id": "0xtaker",
    "market": CONDITION,
    "asset_id": UP,
    "side": "BUY",
    "size": "5",
    "price": "0.52",
    "status": "MATCHED",
    "match_time": "1725958681",
    "last_update": "1725958682",
    "owner": API_KEY,
    "maker_address": ADDRESS,
    "transaction_hash": None,
    "trader_side": "TAKER",
    "maker_orders": [MAKER],
    "timestamp": "1725958682125",
}


def _one(wire: Wire, value: Any) -> OrderReport | TradeReport:
    (message,) = wire.user(value)
    return message


def _order(value: Any) -> OrderReport:
    message = _one(Wire(), value)
    assert isinstance(message, OrderReport)
    return message


def _trade(value: Any) -> TradeReport:
    message = _one(Wire(), value)
    assert isinstance(message, TradeReport)
    return message


# -- orders ----------------------------------------------------------------------------------------


def test_an_order_event_becomes_a_report() -> None:
    """All fields of the documented form are read (PROTOCOL §5.2)."""
    assert _order(ORDER) == OrderReport(
        order_id="0x0f76",
        market=CONDITION,
        token=UP,
        kind=OrderEventKind.PLACEMENT,
        status="LIVE",
        side=Side.BUY,
        price=Decimal("0.513"),
        original_size=Decimal(5),
        size_matched=Decimal(0),
        timestamp_ms=1725842520990,
    )


@pytest.mark.parametrize(
    ("name", "kind", "status", "matched"),
    [
        ("ws_user_order_placement", "PLACEMENT", "LIVE", "0"),
        ("ws_user_order_doc_2026", "PLACEMENT", "LIVE", "0"),
        ("ws_user_order_update", "UPDATE", "LIVE", "25.0"),
        ("ws_user_order_matched", "UPDATE", "MATCHED", "100.0"),
        ("ws_user_order_cancel", "CANCELLATION", "CANCELED", "5"),
        ("ws_user_order_venue_cancel", "CANCELLATION", "INVALID", "0"),
        (
            "ws_user_order_fok_killed",
            "CANCELLATION",
            "CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed.",
            "0",
        ),
    ],
)
def test_recorded_orders_are_understood(name: str, kind: str, status: str, matched: str) -> None:
    """Every recorded order event decodes with nothing skipped, also empty texts and odd statuses."""
    wire = Wire()
    message = _one(wire, sample(name))
    assert isinstance(message, OrderReport)
    assert (message.kind, message.status) == (OrderEventKind(kind), status)
    assert message.size_matched == Decimal(matched)
    assert message.timestamp_ms > 10**12
    assert wire.skipped == {}


@pytest.mark.parametrize(
    ("status", "matched", "kind"),
    [
        ("ORDER_STATUS_LIVE", "0", OrderEventKind.PLACEMENT),
        ("LIVE", "2", OrderEventKind.UPDATE),
        ("MATCHED", "", OrderEventKind.UPDATE),
        ("ORDER_STATUS_CANCELED", "0", OrderEventKind.CANCELLATION),
        ("CANCELED_MARKET_RESOLVED", "1", OrderEventKind.CANCELLATION),
        ("INVALID", "0", OrderEventKind.CANCELLATION),
    ],
)
def test_an_order_of_rest_gets_its_kind_from_the_status(
    status: str, matched: str, kind: OrderEventKind
) -> None:
    """A REST object has no event type; its status says what it is, prefix stripped (§2.5)."""
    row = {key: value for key, value in ORDER.items() if key not in {"event_type", "type"}}
    report = _order(row | {"status": status, "size_matched": matched})
    assert report.kind is kind
    assert report.status == status.removeprefix("ORDER_STATUS_")


def test_an_order_of_rest_has_its_creation_as_time() -> None:
    """Where no timestamp is sent the integer seconds of created_at count."""
    row = {key: value for key, value in ORDER.items() if key != "timestamp"}
    assert _order(row | {"created_at": 1703875200}).timestamp_ms == 1703875200000


def test_an_order_without_market_and_token_is_still_told() -> None:
    """The gate decides on those; the decoder hands on what came."""
    report = _order(ORDER | {"market": None, "asset_id": ""})
    assert (report.market, report.token) == ("", "")


@pytest.mark.parametrize("field", ["size_matched", "original_size", "price", "timestamp"])
@pytest.mark.parametrize("value", ["abc", "-1", {"a": 1}, [], True])
def test_an_unreadable_number_does_not_hide_a_cancellation(field: str, value: Any) -> None:
    """The order is gone whatever its numbers say; the number counts as absent and is counted."""
    wire = Wire()
    message = _one(wire, ORDER | {"type": "CANCELLATION", field: value})
    assert isinstance(message, OrderReport)
    assert message.kind is OrderEventKind.CANCELLATION
    assert wire.skipped == {f"bad_field:{field}": 1}


def test_an_unknown_order_type_is_counted_and_read_by_status() -> None:
    """A new word in type does not hide that the order is cancelled."""
    wire = Wire()
    message = _one(wire, ORDER | {"type": "EVAPORATION", "status": "CANCELED_x"})
    assert isinstance(message, OrderReport)
    assert message.kind is OrderEventKind.CANCELLATION
    assert wire.skipped == {"unknown_order_type:EVAPORATION": 1}


# -- trades ----------------------------------------------------------------------------------------


def test_a_taker_trade_has_the_taker_leg() -> None:
    """With trader_side TAKER the top level is ours; foreign makers are not (PROTOCOL §5.5)."""
    assert _trade(TRADE) == TradeReport(
        trade_id="f50e8ab2",
        market=CONDITION,
        token=UP,
        status=TradeStatus.MATCHED,
        legs=(TradeLeg("0xtaker", UP, Side.BUY, Decimal("0.52"), Decimal(5), True),),
        match_time_ms=1725958681000,
        timestamp_ms=1725958682125,
    )


@pytest.mark.parametrize(
    "ours",
    [{"owner": API_KEY}, {"maker_address": ADDRESS.upper().replace("0X", "0x")}],
    ids=["by_key", "by_address"],
)
def test_a_maker_leg_is_ours_by_key_or_address(ours: dict[str, str]) -> None:
    """Makers are recognised by API key, or by address in whatever case; the token is theirs."""
    makers = [MAKER, MAKER | {"order_id": "0xours", "asset_id": DOWN, "price": "0.48"} | ours]
    report = _trade(TRADE | {"trader_side": "MAKER", "maker_orders": makers, "owner": OTHER})
    assert report.legs == (TradeLeg("0xours", DOWN, Side.SELL, Decimal("0.48"), Decimal(5), False),)
    assert report.token == DOWN


@pytest.mark.parametrize(
    ("taker", "token", "side"),
    [
        ("BUY", UP, Side.SELL),
        ("SELL", UP, Side.BUY),
        ("BUY", DOWN, Side.BUY),
        ("SELL", DOWN, Side.SELL),
    ],
)
def test_a_missing_maker_side_is_derived(taker: str, token: str, side: Side) -> None:
    """The same token: the opposite of the taker; the other token: the same (mint and merge)."""
    maker = {**MAKER, "owner": API_KEY, "asset_id": token}
    del maker["side"]
    report = _trade(TRADE | {"trader_side": "MAKER", "side": taker, "maker_orders": [maker]})
    assert report.legs[0].side is side


def test_a_trade_with_ourselves_has_both_legs() -> None:
    """If taker and maker are ours, both orders get their fill."""
    report = _trade(TRADE | {"maker_orders": [MAKER | {"owner": API_KEY}]})
    assert [(leg.order_id, leg.is_taker) for leg in report.legs] == [
        ("0xtaker", True),
        ("0xmaker", False),
    ]
    assert report.token == UP


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("MATCHED", TradeStatus.MATCHED),
        ("MATCHED_NOT_BROADCASTED", TradeStatus.MATCHED),
        ("TRADE_STATUS_MINED", TradeStatus.MINED),
        ("TRADE_STATUS_CONFIRMED", TradeStatus.CONFIRMED),
        ("retrying", TradeStatus.RETRYING),
        ("FAILED", TradeStatus.FAILED),
    ],
)
def test_statuses_are_read_with_and_without_prefix(word: str, status: TradeStatus) -> None:
    """REST prefixes the status, the channel does not (PROTOCOL §2.5)."""
    assert _trade(TRADE | {"status": word}).status is status


def test_the_recorded_maker_trade_finds_ours_among_many() -> None:
    """Of six makers only ours is a leg; its side is derived as the recording has none."""
    wire = Wire()
    report = _one(wire, sample("ws_user_trade_maker_many"))
    assert isinstance(report, TradeReport)
    order = "0xab679e56242324e15e59cfd488cd0f12e4fd71b153b9bfb57518898b9983145e"
    token = "21742633143463906290569050155826241533067272736897614950488156847949938836455"
    assert report.legs == (TradeLeg(order, token, Side.SELL, Decimal("0.518"), Decimal(5), False),)
    assert report.status is TradeStatus.MINED
    assert wire.skipped == {}


def test_the_recorded_complementary_maker_bought_the_other_token() -> None:
    """Taker buys Yes; the maker of the No token bought No at its own price (PROTOCOL §5.5)."""
    decoder = UserDecoder(Wire().skips, "78132bc3-22af-6aa2-79ae-11929f821cae", set())
    (report,) = decoder.decode(sample("ws_user_trade_maker_many"))
    assert isinstance(report, TradeReport)
    (leg,) = report.legs
    assert (leg.side, leg.price, leg.size) == (Side.BUY, Decimal("0.482"), Decimal(10))
    assert report.token == leg.token != json.loads(sample("ws_user_trade_maker_many"))["asset_id"]


def test_the_recorded_trade_with_two_of_our_makers() -> None:
    """Two of three makers are ours, and a timestamp in seconds is read as such."""
    report = _trade(sample("ws_user_trade_maker_two_of_ours"))
    assert [leg.price for leg in report.legs] == [Decimal("0.4"), Decimal("0.3")]
    assert report.timestamp_ms == 1762776436000


@pytest.mark.parametrize(
    "name", ["ws_user_trade_taker", "ws_user_trade_doc_2026", "clob_trade_2024_capture"]
)
def test_recorded_taker_trades_are_understood(name: str) -> None:
    """Recorded trades, of the channel and of REST, decode with nothing skipped."""
    wire = Wire()
    report = _one(wire, sample(name))
    assert isinstance(report, TradeReport)
    assert [leg.is_taker for leg in report.legs] == [True]
    assert wire.skipped == {}


def test_iso_times_of_recorded_trades_are_read() -> None:
    """Some trades carry ISO times instead of seconds (PROTOCOL §10)."""
    report = _trade(sample("clob_trade_two_makers"))
    assert report.match_time_ms == 1704067200000
    assert report.timestamp_ms == 1704067260000


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"id": None}, "no_trade_id"),
        ({"status": "EXPLODED"}, "unknown_trade_status:EXPLODED"),
        ({"status": None}, "unknown_trade_status:none"),
        ({"size": "0"}, "bad_field:trade_leg"),
        ({"size": "abc"}, "bad_field:trade_leg"),
        ({"price": "1.2"}, "bad_field:trade_leg"),
        ({"price": None}, "bad_field:trade_leg"),
        ({"side": "x"}, "bad_field:trade_leg"),
        ({"asset_id": ""}, "bad_field:trade_leg"),
        ({"taker_order_id": ""}, "bad_field:trade_leg"),
        ({"trader_side": "MAKER"}, "no_own_leg"),
        ({"maker_orders": 5, "trader_side": "MAKER"}, "bad_field:maker_orders"),
    ],
)
def test_a_trade_that_cannot_be_booked_is_counted(change: dict[str, Any], kind: str) -> None:
    """A trade without id, status, or a readable leg of ours is skipped under its kind."""
    wire = Wire()
    assert wire.user(TRADE | change) == []
    assert wire.skipped[kind] == 1


def test_a_bad_leg_does_not_cost_the_good_one() -> None:
    """Of two own makers the unreadable one is left out and counted."""
    ours = MAKER | {"owner": API_KEY}
    makers = [ours | {"matched_amount": "x"}, "junk", ours | {"order_id": "0xgood"}]
    wire = Wire()
    report = _one(wire, TRADE | {"trader_side": "MAKER", "maker_orders": makers})
    assert isinstance(report, TradeReport)
    assert [leg.order_id for leg in report.legs] == ["0xgood"]
    assert wire.skipped == {"bad_field:trade_leg": 1, "bad_field:maker_orders": 1}


def test_a_maker_that_a_trade_names_twice_has_one_leg() -> None:
    """A fill is known by trade and order, so its parts are added up: none of the shares is lost."""
    ours = MAKER | {"owner": API_KEY, "order_id": "0xours"}
    makers = [
        ours | {"matched_amount": "3", "price": "0.40"},
        MAKER,
        ours | {"matched_amount": "1", "price": "0.44"},
    ]
    report = _one(Wire(), TRADE | {"trader_side": "MAKER", "maker_orders": makers})
    assert isinstance(report, TradeReport)
    (leg,) = report.legs
    assert (leg.size, leg.price) == (Decimal(4), Decimal("0.41"))


@pytest.mark.parametrize(("address", "legs"), [(ADDRESS.lower(), 1), ("0x1", 0)])
def test_without_trader_side_the_takers_address_decides(address: str, legs: int) -> None:
    """The top-level address is the taker's; the top-level owner is not to be trusted (§5.4)."""
    wire = Wire()
    reports = wire.user(TRADE | {"trader_side": None, "maker_address": address})
    assert len(reports) == legs
    assert wire.skipped["no_trader_side"] == 1


# -- frames ----------------------------------------------------------------------------------------


def test_frames_may_be_arrays_and_lack_the_event_type() -> None:
    """Objects are told apart by their keys where event_type is missing."""
    bare = [
        {key: value for key, value in event.items() if key != "event_type"}
        for event in (ORDER, TRADE)
    ]
    assert Wire().user(bare) == [_order(ORDER), _trade(TRADE)]


def test_other_frames_are_counted() -> None:
    """Broken JSON, non-objects, unknown events, and orders without id are counted."""
    wire = Wire()
    assert wire.user(b"{") == []
    assert wire.user([1, None]) == []
    assert wire.user({"event_type": "balance"}) == []
    assert wire.user({}) == []
    assert wire.user(ORDER | {"id": ""}) == []
    assert wire.skipped == {
        "json": 1,
        "not_object": 2,
        "unknown_event:balance": 1,
        "unknown_event:none": 1,
        "no_order_id": 1,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 0),
        ("", 0),
        ("1725842520", 1725842520000),
        (1725842520, 1725842520000),
        ("1725842520990", 1725842520990),
        ("2024-01-01T00:00:00Z", 1704067200000),
        ("2024-01-01T00:00:00.5+00:00", 1704067200500),
        ("2024-01-01 00:00:00", 1704067200000),
        ("2026-03-19 23:20:15+00", 1773962415000),
    ],
)
def test_times_are_read_by_magnitude_and_as_iso(value: object, expected: int) -> None:
    """Seconds, milliseconds and ISO dates become milliseconds (PROTOCOL §10)."""
    assert epoch_ms(value) == expected


def test_a_time_without_offset_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever this machine stands."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        assert epoch_ms("2024-01-01 00:00:00") == 1704067200000
    time.tzset()


@pytest.mark.parametrize("value", ["soon", "-5", True, [], "1" * 30, "12.5.6"])
def test_times_that_are_none_are_refused(value: object) -> None:
    """What is neither number nor date is an error, not the year 1970."""
    with pytest.raises(ValueError):
        epoch_ms(value)


@given(st.binary(max_size=60) | JSON.map(encoded))
def test_any_bytes_are_delivered_or_counted(frame: bytes) -> None:
    """No frame raises; one that brings no message is counted, but for the empty array."""
    wire = Wire()
    if frame.strip() != b"[]" and not wire.user(frame):
        assert sum(wire.skipped.values()) > 0


@given(mutated([ORDER, TRADE, TRADE | {"trader_side": "MAKER", "maker_orders": [MAKER] * 2}]))
def test_damaged_messages_are_delivered_or_counted(value: Any) -> None:
    """A good message with one damaged place is delivered or counted, and every leg is sound."""
    wire = Wire()
    messages = wire.user(value)
    assert messages or wire.skipped
    for message in messages:
        if isinstance(message, TradeReport):
            assert message.legs
            assert all(leg.order_id and leg.token and leg.size > 0 for leg in message.legs)


@given(st.data())
def test_damaged_recordings_never_raise(data: st.DataObject) -> None:
    """The same with the recordings, where they are at hand."""
    roots = [json.loads(raw) for raw in samples("ws_user")] or [ORDER, TRADE]
    Wire().user(data.draw(mutated(roots)))
