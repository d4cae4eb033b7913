"""Frames of the market channel into messages (PROTOCOL §4).

Two ways lead to the same messages. The fast one decodes a frame in one go into Structs whose fields
are the texts that the venue normally sends. Whatever does not fit takes the tolerant one: any JSON,
numbers or texts, missing keys, no ``event_type``; each object of a frame is judged on its own.

What is not understood is left out and counted (`Skips`), never raised. One bad level change is left
out of its message; one bad level makes a whole snapshot unusable, because a book with a hole in it
is wrong without anybody noticing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from polyframe.exchange.polymarket.wire import (
    Skips,
    epoch_ms,
    is_too_deep,
    optional_side,
    parse_json,
    text,
)
from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    MarketResolved,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.money import PRICE_UNITS, price_units, size_decimal
from polyframe.model.order import Side

_MS_DIGITS = 13
"""Digits of epoch milliseconds from 2001 to 2286."""

Levels = tuple[tuple[int, Decimal], ...]


class _Level(msgspec.Struct, gc=False):
    price: str
    size: str


class _Book(msgspec.Struct, tag_field="event_type", tag="book", gc=False):
    bids: list[_Level]
    asks: list[_Level]
    market: str = ""
    asset_id: str = ""
    timestamp: str = ""
    tick_size: str | None = None


class _Change(msgspec.Struct, gc=False):
    price: str
    size: str
    side: str
    asset_id: str = ""
    best_bid: str | None = None
    best_ask: str | None = None


class _PriceChange(msgspec.Struct, tag_field="event_type", tag="price_change", gc=False):
    price_changes: list[_Change]
    market: str = ""
    timestamp: str = ""


class _BestBidAsk(msgspec.Struct, tag_field="event_type", tag="best_bid_ask", gc=False):
    market: str = ""
    asset_id: str = ""
    best_bid: str = ""
    best_ask: str = ""
    timestamp: str = ""


class _LastTrade(msgspec.Struct, tag_field="event_type", tag="last_trade_price", gc=False):
    market: str = ""
    asset_id: str = ""
    price: str = ""
    size: str | None = None
    side: str | None = None
    timestamp: str = ""


class _TickSize(msgspec.Struct, tag_field="event_type", tag="tick_size_change", gc=False):
    market: str = ""
    asset_id: str = ""
    new_tick_size: str = ""
    timestamp: str = ""


class _Resolved(msgspec.Struct, tag_field="event_type", tag="market_resolved", gc=False):
    market: str = ""
    winning_asset_id: str = ""
    timestamp: str = ""


class _NewMarket(msgspec.Struct, tag_field="event_type", tag="new_market", gc=False):
    """Understood and of no use here: it speaks of other markets."""


_Flat = _BestBidAsk | _LastTrade | _TickSize | _Resolved | _NewMarket
_Wire = _Book | _PriceChange | _Flat

_decode_fast: Callable[[bytes], _Wire | list[_Wire]] = msgspec.json.Decoder(
    _Wire | list[_Wire]
).decode


class MarketDecoder:
    """Decodes frames; keeps no state but the account of what it skipped."""

    def __init__(self, skips: Skips) -> None:
        self._skips = skips

    def decode(self, frame: bytes) -> Sequence[MarketMessage]:
        """Return the messages of one frame in order; never raises for what is in it."""
        if is_too_deep(frame):
            self._skips.add("json", "nested too deeply")
            return ()
        try:
            wire = _decode_fast(frame)
        except (ValueError, RecursionError):
            return self._decode_tolerant(frame)
        if isinstance(wire, _PriceChange):  # the most frequent first
            message: MarketMessage | None = self._price_change(wire)
        elif isinstance(wire, list):
            return [found for item in wire if (found := self._message(item)) is not None]
        else:
            message = self._message(wire)
        return () if message is None else (message,)

    def _decode_tolerant(self, frame: bytes) -> list[MarketMessage]:
        try:
            value = parse_json(frame)
        except ValueError as exc:
            self._skips.add("json", str(exc))
            return []
        messages: list[MarketMessage] = []
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, dict):
                self._skips.add("not_object", type(item).__name__)
                continue
            wire = self._classify(item)
            message = None if wire is None else self._message(wire)
            if message is not None:
                messages.append(message)
        return messages

    # -- any object into the Structs of the fast way ------------------------------------------

    def _classify(self, item: dict[str, Any]) -> _Wire | None:
        kind = text(item.get("event_type"))
        if not kind:
            # Old captures lack it inside arrays (PROTOCOL §4.2).
            if "bids" in item and "asks" in item:
                kind = "book"
            elif "price_changes" in item:
                kind = "price_change"
        reader = _READERS.get(kind)
        if reader is None:
            self._skips.add(f"unknown_event:{kind or 'none'}", f"keys {sorted(item)[:12]}")
            return None
        wire = reader(item)
        if wire is None:
            obsolete = kind == "price_change" and "price" in item and "price_changes" not in item
            self._skips.add("obsolete_price_change" if obsolete else f"bad_field:{kind}")
        return wire

    # -- Structs into messages ----------------------------------------------------------------

    def _message(self, wire: _Wire) -> MarketMessage | None:
        if isinstance(wire, _PriceChange):
            return self._price_change(wire)
        if isinstance(wire, _NewMarket):
            return None
        token = wire.winning_asset_id if isinstance(wire, _Resolved) else wire.asset_id
        if not token:
            self._skips.add("no_asset", _kind(wire))
            return None
        try:
            return self._single(wire, token)
        except ValueError as exc:
            self._skips.add(f"bad_field:{_kind(wire)}", str(exc))
            return None

    def _single(
        self, wire: _Book | _BestBidAsk | _LastTrade | _TickSize | _Resolved, token: str
    ) -> MarketMessage:
        time = self._time(wire.timestamp)
        if isinstance(wire, _Book):
            bids, asks = _levels(wire.bids), _levels(wire.asks)
            return BookSnapshot(wire.market, token, bids, asks, time, self._tick(wire.tick_size))
        if isinstance(wire, _BestBidAsk):
            bid, ask = price_units(wire.best_bid), price_units(wire.best_ask)
            return BestQuote(wire.market, token, bid, ask, time)
        if isinstance(wire, _LastTrade):
            size = size_decimal(wire.size) if wire.size else None
            return TradePrint(
                wire.market, token, _level_price(wire.price), size, optional_side(wire.side), time
            )
        if isinstance(wire, _TickSize):
            return TickSizeChange(wire.market, token, _tick_units(wire.new_tick_size), time)
        return MarketResolved(wire.market, token, time)

    def _price_change(self, wire: _PriceChange) -> BookDelta | None:
        elements = wire.price_changes
        try:
            # All of it at once: one message in a million needs a look at each element.
            changes = [
                LevelChange(
                    change.asset_id,
                    _is_bid(change.side),
                    _level_price(change.price),
                    size_decimal(change.size),
                    _top_units(change.best_bid),
                    _top_units(change.best_ask),
                )
                for change in elements
                if change.asset_id
            ]
        except ValueError:
            changes = [known for change in elements if (known := self._change(change)) is not None]
        if len(changes) != len(elements):
            for change in elements:
                if not change.asset_id:
                    self._skips.add("no_asset", "price_change")
        if not changes:
            return None
        return BookDelta(wire.market, tuple(changes), self._time(wire.timestamp))

    def _change(self, change: _Change) -> LevelChange | None:
        """Return one element of a message of which some element is bad."""
        if not change.asset_id:
            return None
        try:
            return LevelChange(
                change.asset_id,
                _is_bid(change.side),
                _level_price(change.price),
                size_decimal(change.size),
                self._top(change.best_bid),
                self._top(change.best_ask),
            )
        except ValueError as exc:
            self._skips.add("bad_field:price_change", str(exc))
            return None

    # -- fields whose loss does not make the message useless ----------------------------------

    def _top(self, value: str | None) -> int:
        try:
            return _top_units(value)
        except ValueError as exc:
            self._skips.add("bad_field:top_of_book", str(exc))
            return -1

    def _tick(self, value: str | None) -> int:
        if not value:
            return 0
        try:
            return _tick_units(value)
        except ValueError as exc:
            self._skips.add("bad_field:tick_size", str(exc))
            return 0

    def _time(self, value: str) -> int:
        if len(value) == _MS_DIGITS and value.isdecimal():
            return int(value)
        try:
            return epoch_ms(value)
        except ValueError as exc:
            self._skips.add("bad_field:timestamp", str(exc))
            return 0


def _kind(wire: _Wire) -> str:
    return str(type(wire).__struct_config__.tag)


class _LevelPrices(dict[str, int]):
    def __missing__(self, value: str) -> int:
        units = price_units(value)
        if not 0 < units < PRICE_UNITS:
            msg = f"price: expected more than 0 and less than 1, got {value!r}"
            raise ValueError(msg)
        if len(self) < 2 * PRICE_UNITS:
            self[value] = units
        return units


class _Sides(dict[str, bool]):
    def __missing__(self, value: str) -> bool:
        side = optional_side(value)
        if side is None:
            msg = f"side: expected BUY or SELL, got {value!r}"
            raise ValueError(msg)
        return side is Side.BUY


class _Tops(dict[str | None, int]):
    def __missing__(self, value: str | None) -> int:
        units = price_units(value) if value else -1
        if len(self) < 2 * PRICE_UNITS:
            self[value] = units
        return units


_top_units: Callable[[str | None], int] = _Tops().__getitem__
_level_price: Callable[[str], int] = _LevelPrices().__getitem__
_is_bid: Callable[[str], bool] = _Sides(BUY=True, SELL=False).__getitem__


def _levels(levels: list[_Level]) -> Levels:
    return tuple([(_level_price(level.price), size_decimal(level.size)) for level in levels])


def _tick_units(value: str) -> int:
    units = _level_price(value)
    if PRICE_UNITS % units:
        msg = f"tick: expected a step that divides 1 USD, got {value!r}"
        raise ValueError(msg)
    return units


# -- readers of the tolerant way: ``None`` if the object is not even of that shape ---------------


def _read_levels(value: object) -> list[_Level] | None:
    if value is None:
        return []
    if not isinstance(value, list):
        return None
    levels: list[_Level] = []
    for item in value:
        if not isinstance(item, dict):
            return None
        levels.append(_Level(price=text(item.get("price")), size=text(item.get("size"))))
    return levels


def _read_book(item: dict[str, Any]) -> _Book | None:
    # A side that is null is empty; one that is missing is not known (older names: buys, sells).
    if "bids" not in item or "asks" not in item:
        return None
    bids, asks = _read_levels(item["bids"]), _read_levels(item["asks"])
    if bids is None or asks is None:
        return None
    return _Book(
        bids=bids,
        asks=asks,
        market=text(item.get("market")),
        asset_id=text(item.get("asset_id")),
        timestamp=text(item.get("timestamp")),
        tick_size=text(item.get("tick_size")),
    )


def _read_price_change(item: dict[str, Any]) -> _PriceChange | None:
    elements = item.get("price_changes")
    if not isinstance(elements, list):
        return None
    return _PriceChange(
        price_changes=[
            # What is no object has no asset id either and is counted as that.
            _Change(**_texts(element, _Change.__struct_fields__))
            for element in elements
        ],
        market=text(item.get("market")),
        timestamp=text(item.get("timestamp")),
    )


def _texts(item: object, names: tuple[str, ...]) -> dict[str, str]:
    found = item if isinstance(item, dict) else {}
    return {name: text(found.get(name)) for name in names}


def _reader(kind: type[_Flat]) -> Callable[[dict[str, Any]], _Wire | None]:
    names = kind.__struct_fields__
    return lambda item: kind(**_texts(item, names))


_READERS: dict[str, Callable[[dict[str, Any]], _Wire | None]] = {
    "book": _read_book,
    "price_change": _read_price_change,
    "best_bid_ask": _reader(_BestBidAsk),
    "last_trade_price": _reader(_LastTrade),
    "tick_size_change": _reader(_TickSize),
    "market_resolved": _reader(_Resolved),
    "new_market": _reader(_NewMarket),
}
