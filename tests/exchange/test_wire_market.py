"""Frames of the market channel."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketResolved,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.order import Side
from tests.exchange.kit import CONDITION, DOWN, UP, Wire, encoded, sample, samples

BOOK: dict[str, Any] = {
    "event_type": "book",
    "market": CONDITION,
    "asset_id": UP,
    "timestamp": "1782753357257",
    "hash": "655a",
    "bids": [{"price": ".08", "size": "33343.4"}, {"price": "0.09", "size": "163939.58"}],
    "asks": [{"price": "0.99", "size": "218442.27"}, {"price": "0.98", "size": "13229.55"}],
    "tick_size": "0.01",
    "last_trade_price": "0.09",
}
CHANGE: dict[str, Any] = {
    "event_type": "price_change",
    "market": CONDITION,
    "price_changes": [
        {
            "asset_id": UP,
            "price": "0.5",
            "size": "200",
            "side": "BUY",
            "hash": "56",
            "best_bid": "0.5",
            "best_ask": "1",
        },
        {
            "asset_id": DOWN,
            "price": "0.5",
            "size": "0",
            "side": "SELL",
            "best_bid": "0",
            "best_ask": "0.51",
        },
    ],
    "timestamp": "1757908892351",
}
QUOTE: dict[str, Any] = {
    "event_type": "best_bid_ask",
    "market": CONDITION,
    "asset_id": UP,
    "best_bid": "0.73",
    "best_ask": "0.77",
    "spread": "0.04",
    "timestamp": "1766789469958",
}
TRADE: dict[str, Any] = {
    "event_type": "last_trade_price",
    "market": CONDITION,
    "asset_id": UP,
    "price": "0.456",
    "size": "219.217767",
    "side": "BUY",
    "fee_rate_bps": "0",
    "timestamp": "1750428146322",
}
TICK: dict[str, Any] = {
    "event_type": "tick_size_change",
    "market": CONDITION,
    "asset_id": UP,
    "old_tick_size": "0.01",
    "new_tick_size": "0.001",
    "timestamp": "1739068041853",
}
RESOLVED: dict[str, Any] = {
    "event_type": "market_resolved",
    "market": CONDITION,
    "assets_ids": [UP, DOWN],
    "winning_asset_id": UP,
    "winning_outcome": "Up",
    "timestamp": "1766790415550",
}
DEEP = b'{"event_type":"new_market","tags":' + b"[" * 100_000
EVENTS = [BOOK, CHANGE, QUOTE, TRADE, TICK, RESOLVED]


def test_each_event_becomes_its_message() -> None:
    """The six events of the channel become the six messages, in units and exact sizes."""
    wire = Wire()
    assert wire.market(EVENTS) == [
        BookSnapshot(
            CONDITION,
            UP,
            ((800, Decimal("33343.4")), (900, Decimal("163939.58"))),
            ((9900, Decimal("218442.27")), (9800, Decimal("13229.55"))),
            1782753357257,
            100,
        ),
        BookDelta(
            CONDITION,
            (
                LevelChange(UP, True, 5000, Decimal(200), 5000, 10000),
                LevelChange(DOWN, False, 5000, Decimal(0), 0, 5100),
            ),
            1757908892351,
        ),
        BestQuote(CONDITION, UP, 7300, 7700, 1766789469958),
        TradePrint(CONDITION, UP, 4560, Decimal("219.217767"), Side.BUY, 1750428146322),
        TickSizeChange(CONDITION, UP, 10, 1739068041853),
        MarketResolved(CONDITION, UP, 1766790415550),
    ]
    assert wire.skipped == {}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event["event_type"]))
def test_an_object_and_an_array_say_the_same(event: dict[str, Any]) -> None:
    """A frame may be one object or an array of them (PROTOCOL §4.2)."""
    assert Wire().market([event]) == Wire().market(event)


def _with_numbers(value: Any) -> Any:
    """Write every decimal text as a bare JSON number."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    try:
        return float(value) if "." in value else int(value)
    except ValueError:
        return value


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event["event_type"]))
def test_numbers_say_the_same_as_texts(event: dict[str, Any]) -> None:
    """Prices, sizes, times and even token ids may come as JSON numbers, and stay exact."""
    wire = Wire()
    assert wire.market(_with_numbers(event)) == Wire().market(event)
    assert wire.skipped == {}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event["event_type"]))
def test_unknown_keys_are_ignored(event: dict[str, Any]) -> None:
    """New keys with any value change nothing."""
    more = event | {"brand_new": {"a": [1, None]}, "other": None}
    assert Wire().market(more) == Wire().market(event)


@pytest.mark.parametrize("event", [BOOK, CHANGE], ids=["book", "price_change"])
def test_a_missing_event_type_is_told_by_the_keys(event: dict[str, Any]) -> None:
    """An object with both sides is a book, one with price_changes a change (PROTOCOL §4.2)."""
    bare = {key: value for key, value in event.items() if key != "event_type"}
    wire = Wire()
    assert wire.market([bare]) == Wire().market(event)
    assert wire.skipped == {}


def test_a_bad_level_change_is_left_out_and_the_rest_kept() -> None:
    """One element that cannot be read does not cost the others of its message."""
    good = CHANGE["price_changes"][0]
    bad = [
        good | {"price": "1.01"},
        good | {"price": "0.00005"},
        good | {"price": "1"},
        good | {"price": None},
        good | {"size": "-1"},
        good | {"size": "NaN"},
        good | {"size": "1e999999"},
        good | {"side": "HOLD"},
    ]
    wire = Wire()
    (message,) = wire.market(CHANGE | {"price_changes": [*bad, good, {"price": "0.5"}, "x"]})
    assert isinstance(message, BookDelta)
    assert message.changes == (LevelChange(UP, True, 5000, Decimal(200), 5000, 10000),)
    assert wire.skipped == {"bad_field:price_change": len(bad), "no_asset": 2}


@pytest.mark.parametrize("elements", [[], [{"asset_id": UP}]])
def test_a_change_without_a_readable_element_is_no_message(elements: list[Any]) -> None:
    """Nothing changed: nothing is delivered."""
    assert Wire().market(CHANGE | {"price_changes": elements}) == []


@pytest.mark.parametrize("price", ["0", "1", "1.5", "-0.1", "0.00001", "", None, "x", "1e99999999"])
def test_a_bad_level_makes_the_snapshot_unusable(price: Any) -> None:
    """A snapshot with a hole is not delivered at all."""
    wire = Wire()
    assert wire.market(BOOK | {"bids": [*BOOK["bids"], {"price": price, "size": "5"}]}) == []
    assert wire.skipped == {"bad_field:book": 1}


@pytest.mark.parametrize(
    ("event", "field", "value", "kind"),
    [
        (BOOK, "asks", "none", "bad_field:book"),
        (BOOK, "asks", [1], "bad_field:book"),
        (CHANGE, "price_changes", None, "bad_field:price_change"),
        (CHANGE, "price_changes", {}, "bad_field:price_change"),
        (QUOTE, "best_bid", "", "bad_field:best_bid_ask"),
        (QUOTE, "best_ask", "2", "bad_field:best_bid_ask"),
        (TRADE, "price", None, "bad_field:last_trade_price"),
        (TRADE, "size", "-3", "bad_field:last_trade_price"),
        (TICK, "new_tick_size", "0.03", "bad_field:tick_size_change"),
        (TICK, "new_tick_size", "0", "bad_field:tick_size_change"),
        (BOOK, "asset_id", "", "no_asset"),
        (QUOTE, "asset_id", None, "no_asset"),
        (RESOLVED, "winning_asset_id", None, "no_asset"),
    ],
)
def test_what_makes_a_message_useless_is_counted(
    event: dict[str, Any], field: str, value: Any, kind: str
) -> None:
    """A message without the field that it is about is skipped under its own kind."""
    wire = Wire()
    assert wire.market(event | {field: value}) == []
    assert wire.skipped == {kind: 1}


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_a_book_that_lacks_a_side_is_not_an_empty_one(side: str) -> None:
    """A missing side is unknown and skipped, a null one is empty (older names: buys, sells)."""
    wire = Wire()
    assert wire.market({key: value for key, value in BOOK.items() if key != side}) == []
    assert wire.skipped == {"bad_field:book": 1}
    (message,) = wire.market(BOOK | {side: None})
    assert isinstance(message, BookSnapshot)
    assert (message.bids if side == "bids" else message.asks) == ()


def test_what_is_lost_without_harm_keeps_the_message() -> None:
    """An unreadable time, tick or top of book costs only itself, and is counted."""
    wire = Wire()
    (book,) = wire.market(BOOK | {"timestamp": "soon", "tick_size": "0.07"})
    assert isinstance(book, BookSnapshot)
    assert (book.timestamp_ms, book.tick_units) == (0, 0)
    element = CHANGE["price_changes"][0]
    (delta,) = wire.market(
        CHANGE | {"price_changes": [element | {"best_bid": "7", "best_ask": ""}]}
    )
    assert isinstance(delta, BookDelta)
    assert (delta.changes[0].best_bid, delta.changes[0].best_ask) == (-1, -1)
    assert wire.skipped == {
        "bad_field:timestamp": 1,
        "bad_field:tick_size": 1,
        "bad_field:top_of_book": 1,
    }


def test_a_trade_may_lack_size_and_side() -> None:
    """A public trade without size or side is delivered with both unknown (PROTOCOL §4.5)."""
    (message,) = Wire().market(TRADE | {"size": "", "side": None})
    assert isinstance(message, TradePrint)
    assert (message.size, message.side) == (None, None)


def test_other_frames_are_counted_by_kind() -> None:
    """Broken JSON, things that are no objects, and unknown events are counted, never raised."""
    wire = Wire()
    huge = b'{"event_type": 1e' + b"5" * 30 + b"}"
    for frame in (
        b"",
        b"PONG?",
        b"\xff\xfe",
        b"[" * 100_000,
        b"NaN",
        b'{"event_type":',
        DEEP,
        huge,
    ):
        assert wire.market(frame) == []
    assert wire.market([1, "x", None, [BOOK]]) == []
    assert wire.market({"event_type": "foo"}) == []
    assert wire.market({"hello": 1}) == []
    assert wire.market(b"[]") == []
    assert wire.skipped == {
        "json": 8,
        "not_object": 4,
        "unknown_event:foo": 1,
        "unknown_event:none": 1,
    }


def test_one_unknown_event_does_not_cost_its_neighbours() -> None:
    """Every object of an array is judged on its own."""
    wire = Wire()
    assert wire.market([BOOK, {"event_type": "foo"}, TRADE]) == Wire().market([BOOK, TRADE])
    assert wire.skipped == {"unknown_event:foo": 1}


def test_news_of_other_markets_is_no_message_and_no_defect() -> None:
    """new_market is understood and of no use; it is not counted as skipped."""
    wire = Wire()
    assert wire.market({"event_type": "new_market", "id": 1, "tags": None}) == []
    assert wire.market([{"event_type": "new_market"}, QUOTE | {"best_bid": 0.73}]) != []
    assert wire.skipped == {}


def test_each_kind_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first skip of a kind warns, later ones are only counted."""
    wire = Wire()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            wire.market({"event_type": "foo"})
            wire.market(b"{")
    assert len(caplog.records) == 2
    assert wire.skipped == {"unknown_event:foo": 5, "json": 5}


def test_names_from_the_wire_cannot_fill_the_counters() -> None:
    """However many event names a feed invents, the kinds stay few, short and plain."""
    wire = Wire()
    for number in range(1000):
        wire.market({"event_type": f"x{number}\n" + "long" * 100})
    assert len(wire.skipped) <= 201
    assert sum(wire.skipped.values()) == 1000
    assert all(len(kind) < 60 and kind.isprintable() for kind in wire.skipped)


# -- recordings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ws_market_book", BookSnapshot),
        ("ws_market_best_bid_ask", BestQuote),
        ("ws_market_last_trade_price", TradePrint),
        ("ws_market_price_change_both_tokens", BookDelta),
        ("ws_market_price_change_mirror_doc", BookDelta),
        ("ws_market_price_change_same_token", BookDelta),
        ("ws_market_resolved", MarketResolved),
        ("ws_market_tick_size_change", TickSizeChange),
    ],
)
def test_recorded_messages_are_understood(name: str, kind: type) -> None:
    """Every recorded message of the channel decodes to its message with nothing skipped."""
    wire = Wire()
    (message,) = wire.market(sample(name))
    assert type(message) is kind
    assert wire.skipped == {}


def test_a_recorded_book_keeps_every_level() -> None:
    """A recorded snapshot arrives complete and exact."""
    raw = json.loads(sample("ws_market_book"))
    (message,) = Wire().market(encoded(raw))
    assert isinstance(message, BookSnapshot)
    for side, levels in (("bids", message.bids), ("asks", message.asks)):
        assert [(Decimal(units).scaleb(-4), size) for units, size in levels] == [
            (Decimal(level["price"]), Decimal(level["size"])) for level in raw[side]
        ]


def test_the_obsolete_change_is_skipped_under_its_name() -> None:
    """A flat price_change of before September 2025 is counted as what it is (PROTOCOL §4.4)."""
    wire = Wire()
    assert wire.market(sample("ws_market_price_change_OLD_schema")) == []
    assert wire.skipped == {"obsolete_price_change": 1}


# -- anything ------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["0.5", "-1", "1e400", "", "BUY", "nan", "1_0", "0.00001", UP]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, roots: list[Any]) -> Any:
    """Take a good message and put arbitrary JSON in one place of it, or drop the place."""
    root = json.loads(json.dumps(draw(st.sampled_from(roots))))
    node: Any = root
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        child = node[key]
        if not isinstance(child, dict | list) or not child or draw(st.booleans()):
            if draw(st.booleans()):
                node[key] = draw(JSON)
            else:
                del node[key]
            break
        node = child
    return [root] if draw(st.booleans()) else root


@given(st.binary(max_size=60) | JSON.map(encoded))
def test_any_bytes_are_delivered_or_counted(frame: bytes) -> None:
    """No frame raises; one that brings no message is counted, but for the empty array."""
    wire = Wire()
    messages = wire.market(frame)
    if frame.strip() != b"[]" and not messages:
        assert sum(wire.skipped.values()) > 0


@given(mutated(EVENTS))
def test_damaged_messages_are_delivered_or_counted(value: Any) -> None:
    """A good message with one damaged place is delivered or counted, and never raises."""
    wire = Wire()
    kept = wire.market(value)
    inner = value[0] if isinstance(value, list) else value
    nothing_in_it = inner.get("price_changes") == []
    assert kept or wire.skipped or nothing_in_it or inner.get("event_type") == "new_market"
    for message in kept:
        if isinstance(message, BookDelta):
            assert all(0 < change.price < 10000 and change.size >= 0 for change in message.changes)
            assert message.changes


@given(st.data())
def test_damaged_recordings_never_raise(data: st.DataObject) -> None:
    """The same with the recordings, where they are at hand."""
    roots = [json.loads(raw) for raw in samples("ws_market")] or EVENTS
    Wire().market(data.draw(mutated(roots)))


_DEEP_FRAMES = """
import sys
from polyframe.counters import Counters
from polyframe.exchange.polymarket.wire import Skips, parse_json
from polyframe.exchange.polymarket.wire_market import MarketDecoder

sys.setrecursionlimit(10**6)  # as libraries do when they are imported
decoder = MarketDecoder(Skips(Counters()))
n = 200_000
for deep in (b"[" * n, b'{"a":' * n, b"[{" * n, b"[" * n + b"]" * n, b"[]" * 1000 + b"[" * n):
    for frame in (deep, b'{"event_type":"book","bids":' + deep, b'{"x":' + deep):
        assert list(decoder.decode(frame)) == []
        try:
            parse_json(frame)
        except ValueError:
            pass
assert parse_json(b"[" + b"[]," * 5000 + b"[]]") == [[]] * 5001
print("alive")
"""


def test_no_frame_is_too_deep_for_the_stack() -> None:
    """Hostile nesting is refused by its depth, however high the recursion limit was set."""
    done = subprocess.run(
        [sys.executable, "-c", _DEEP_FRAMES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
