"""Frames of the reference price feeds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_reference import LiveDecoder, RtdsDecoder, read_value
from polyframe.model.reference import PriceSource, ReferencePrice
from tests.exchange.kit import encoded, sample

MS = 1_785_178_800_000
TWAP: dict[str, Any] = {
    "topic": "crypto_prices_twap_sixty",
    "type": "update",
    "timestamp": MS + 123,
    "payload": {
        "symbol": "btc/usd",
        "value": 65000.5,
        "full_accuracy_value": "65000512345678901234567",
        "timestamp": MS,
        "window_s": 60,
    },
}
LIVE: dict[str, Any] = {
    "v": 1,
    "channel": "price.crypto.twap",
    "seq": 2,
    "ts": MS + 200,
    "payload": {
        "symbol": "btcusd",
        "source": "chainlink",
        "window_seconds": 60,
        "timestamp": MS,
        "value": 65000.5,
        "full_accuracy_value": "65000.512345678901234567",
    },
}
EXACT = Decimal("65000.512345678901234567")


def rtds(value: Any) -> tuple[list[ReferencePrice], dict[str, int]]:
    """Decode a frame of RTDS; also return what was skipped."""
    counters = Counters()
    frame = value if isinstance(value, bytes) else encoded(value)
    return RtdsDecoder(Skips(counters)).decode(frame), counters.reasons(Count.WIRE_SKIPPED)


def live(value: Any) -> tuple[Any, dict[str, int]]:
    """Decode a frame of the live feed; also return what was skipped."""
    counters = Counters()
    frame = value if isinstance(value, bytes) else encoded(value)
    return LiveDecoder(Skips(counters)).decode(frame), counters.reasons(Count.WIRE_SKIPPED)


def with_payload(message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a message with other fields in its payload."""
    return message | {"payload": message["payload"] | changes}


def test_the_average_of_rtds_is_exact() -> None:
    """The whole number of 1e-18 USD is the value, and the payload's instant is its time (§6.1)."""
    assert rtds(TWAP) == ([ReferencePrice(PriceSource.TWAP, "btc", EXACT, MS)], {})


def test_the_average_of_the_live_feed_is_exact() -> None:
    """There the same field is plain USD (§6.2)."""
    assert live(LIVE) == ([ReferencePrice(PriceSource.TWAP, "btc", EXACT, MS)], {})


def test_recorded_prices_decode_to_their_values() -> None:
    """The recorded snapshot and update give Binance's prices at their instants."""
    prices, skipped = rtds(sample("rtds_crypto_prices_snapshot"))
    assert [(p.value, p.instant_ms) for p in prices] == [
        (Decimal("61164.12"), 1780726209000),
        (Decimal("61161.07"), 1780726210000),
        (Decimal("61150.89"), 1780726211000),
    ]
    assert {(p.source, p.asset) for p in prices} == {(PriceSource.BINANCE, "btc")}
    update, more = rtds(sample("rtds_crypto_prices_update"))
    assert update == [
        ReferencePrice(PriceSource.BINANCE, "btc", Decimal("61035.86"), 1780730269000)
    ]
    assert skipped == more == {}


def test_the_average_over_another_span_is_not_taken() -> None:
    """The 30-second average settles nothing, by topic or by the span it names."""
    prices, skipped = rtds(sample("rtds_twap_thirty_update"))
    assert (prices, skipped) == ([], {"unknown_topic:crypto_prices_twap_thirty": 1})
    assert rtds(with_payload(TWAP, window_s=30)) == ([], {"bad_field:window_seconds": 1})


def test_a_snapshot_of_the_live_feed_gives_all_its_points() -> None:
    """The first message of a connection carries two minutes; one bad point costs only itself."""
    point = {"timestamp": MS - 1000, "value": 1.5, "full_accuracy_value": "1.5"}
    payload = {"symbol": "btcusd", "window_seconds": 60, "data": [point, 7, {"value": 0}, point]}
    prices, skipped = live(LIVE | {"snapshot": True, "payload": payload})
    assert [price.instant_ms for price in prices] == [MS - 1000] * 2
    assert skipped == {"bad_field:data": 1, "bad_field:value": 1}


def test_answers_are_told_apart_from_prices() -> None:
    """An operation's answer comes out as its word and code."""
    assert live({"op": "authed", "rid": "1"}) == (("authed", ""), {})
    assert live({"op": "error", "code": "auth_invalid"}) == (("error", "auth_invalid"), {})


def test_messages_that_the_venue_dropped_are_counted() -> None:
    """The venue says when we read too slowly; the price itself is taken."""
    prices, skipped = live(LIVE | {"dropped": 3})
    assert len(prices) == 1
    assert skipped == {"venue_dropped": 1}


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ({"value": 65000.5}, "65000.5"),
        ({"full_accuracy_value": "65000500000000000000000"}, "65000.5"),
        ({"full_accuracy_value": "65000.5"}, "65000.5"),
        ({"value": 0.0731, "full_accuracy_value": "73123456789012345"}, "0.073123456789012345"),
        ({"value": 61035.86, "full_accuracy_value": "61035.86000000"}, "61035.86"),
    ],
)
def test_the_scale_of_a_value_is_recognised(point: dict[str, Any], value: str) -> None:
    """The exact field is scaled or plain, by topic; the rounded one beside it tells which."""
    point = {
        key: item if isinstance(item, str) else Decimal(str(item)) for key, item in point.items()
    }
    assert read_value(point) == Decimal(value)


@pytest.mark.parametrize(
    "point",
    [
        {},
        {"value": Decimal(0)},
        {"value": Decimal(-1)},
        {"value": "NaN"},
        {"value": "1_000"},
        {"value": Decimal(10) ** 15},
        {"value": Decimal(65000), "full_accuracy_value": "64000"},
    ],
)
def test_a_value_that_is_no_price_is_refused(point: dict[str, Any]) -> None:
    """No number, none above zero, or two that contradict each other: an error, never a guess."""
    with pytest.raises(ValueError, match="value: expected a price"):
        read_value(point)


@pytest.mark.parametrize(
    ("frame", "skipped"),
    [
        (b"", {}),
        (b"no JSON", {"json": 1}),
        ([1], {"not_object": 1}),
        ({"topic": "weather"}, {"unknown_topic:weather": 1}),
        (TWAP | {"payload": 7}, {"bad_field:payload": 1}),
        (with_payload(TWAP, symbol="btcusd"), {"bad_field:symbol": 1}),
        (with_payload(TWAP, timestamp=None), {"bad_field:timestamp": 1}),
        (with_payload(TWAP, data="none"), {"bad_field:data": 1}),
    ],
)
def test_what_is_not_understood_is_counted(frame: Any, skipped: dict[str, int]) -> None:
    """A bad frame gives no price and one count; RTDS's empty greeting gives none."""
    assert rtds(frame) == ([], skipped)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["symbol", "value", "full_accuracy_value", "timestamp", "data", "window_s", "op"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(JSON, st.sampled_from([TWAP, LIVE]), st.sampled_from(["topic", "payload", "channel", "op"]))
def test_nothing_in_a_frame_makes_the_decoders_raise(
    junk: Any, message: dict[str, Any], field: str
) -> None:
    """Whatever stands in a field: prices come out above zero, or nothing does."""
    for frame in (encoded(junk), encoded(message | {field: junk})):
        prices, _ = rtds(frame)
        found, _ = live(frame)
        for price in prices + (found if isinstance(found, list) else []):
            assert price.value > 0
            assert price.instant_ms > 0


@given(st.binary(max_size=60))
def test_bytes_that_are_no_frame_do_no_harm(frame: bytes) -> None:
    """Random bytes give no price."""
    assert rtds(frame)[0] == []
    assert live(frame)[0] == []
