"""Frames of the reference price feeds into prices (PROTOCOL §6).

Two feeds tell the same prices in different words: RTDS, without credentials and without a memory,
and its successor (here "live"), which begins with the last two minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from polyframe.exchange.polymarket.wire import Skips, epoch_ms, parse_json, text
from polyframe.model.reference import PriceSource, ReferencePrice

RTDS_TOPICS = {
    "crypto_prices": PriceSource.BINANCE,
    "crypto_prices_twap_sixty": PriceSource.TWAP,
}
"""The topics that are read; `rtds_subscription` asks for them."""

LIVE_CHANNEL = "price.crypto.twap"
TWAP_SECONDS = 60

_TWAP_SCALE = -18
_LIMIT = Decimal(10) ** 12
_AGREEMENT = Decimal("0.001")


def rtds_symbol(source: PriceSource, asset: str) -> str:
    """Return the name of `asset` in the topic of `source` (§6.1)."""
    return f"{asset}usdt" if source is PriceSource.BINANCE else f"{asset}/usd"


def live_symbol(asset: str) -> str:
    """Return the name of `asset` on the live feed (§6.2)."""
    return f"{asset}usd"


def _amount(value: object) -> Decimal | None:
    word = text(value)
    # Not through the memo of money: no two of these texts are the same.
    try:
        number = Decimal(word) if word and "_" not in word else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def read_value(point: dict[str, Any]) -> Decimal:
    """Return the exact value of a point in USD (§6.1).

    ``full_accuracy_value`` is a whole number of 1e-18 USD in some topics and plain USD in others;
    the rounded ``value`` beside it says which. Alone, a whole number above any price is scaled.

    Raises:
        ValueError: There is no positive number, or the two contradict each other.
    """
    rounded, full = _amount(point.get("value")), _amount(point.get("full_accuracy_value"))
    value = rounded
    if full is not None:
        candidates = (full, full.scaleb(_TWAP_SCALE))
        if rounded is None:
            value = candidates[full >= _LIMIT]
        else:
            near = [c for c in candidates if abs(c - rounded) <= rounded * _AGREEMENT]
            value = near[0] if near else None
    if value is None or not 0 < value < _LIMIT:
        msg = f"value: expected a price, got {point.get('value')!r} and {full!r}"
        raise ValueError(msg)
    return value


class _Reader:
    """What both feeds share: points into prices, one bad point at a time."""

    def __init__(self, skips: Skips) -> None:
        self._skips = skips

    def _object(self, frame: bytes) -> dict[str, Any] | None:
        if not frame.strip():  # RTDS greets with an empty frame
            return None
        try:
            value = parse_json(frame)
        except ValueError as exc:
            self._skips.add("json", str(exc))
            return None
        if not isinstance(value, dict):
            self._skips.add("not_object", type(value).__name__)
            return None
        return value

    def _prices(
        self, source: PriceSource, payload: object, asset_of: Callable[[str], str]
    ) -> list[ReferencePrice]:
        """Return the prices of a payload: one point, or a snapshot with several under ``data``."""
        if not isinstance(payload, dict):
            self._skips.add("bad_field:payload", type(payload).__name__)
            return []
        if source is PriceSource.TWAP:
            seconds = text(payload.get("window_s") or payload.get("window_seconds"))
            if seconds not in {"", str(TWAP_SECONDS)}:
                self._skips.add("bad_field:window_seconds", seconds)
                return []
        asset = asset_of(text(payload.get("symbol")).lower())
        if not asset:
            self._skips.add("bad_field:symbol", text(payload.get("symbol")))
            return []
        points = payload.get("data") if "data" in payload else [payload]
        return list(self._points(source, asset, points if isinstance(points, list) else [None]))

    def _points(
        self, source: PriceSource, asset: str, points: list[object]
    ) -> Iterable[ReferencePrice]:
        for point in points:
            if not isinstance(point, dict):
                self._skips.add("bad_field:data", type(point).__name__)
                continue
            try:
                value, instant_ms = read_value(point), epoch_ms(point.get("timestamp"))
            except ValueError as exc:
                self._skips.add("bad_field:value", str(exc))
                continue
            if not instant_ms:
                self._skips.add("bad_field:timestamp", "missing")
                continue
            yield ReferencePrice(source, asset, value, instant_ms)


class RtdsDecoder(_Reader):
    """Frames of RTDS (§6.1)."""

    def decode(self, frame: bytes) -> list[ReferencePrice]:
        """Return the prices of one frame; never raises for what is in it."""
        message = self._object(frame)
        if message is None:
            return []
        topic = text(message.get("topic"))
        source = RTDS_TOPICS.get(topic)
        if source is None:
            self._skips.add(f"unknown_topic:{topic or 'none'}", f"keys {sorted(message)[:12]}")
            return []
        ending = rtds_symbol(source, "")
        return self._prices(source, message.get("payload"), lambda name: _without(name, ending))


class LiveDecoder(_Reader):
    """Frames of the feed with credentials (§6.2)."""

    def decode(self, frame: bytes) -> list[ReferencePrice] | tuple[str, str]:
        """Return the prices of one frame, or ``(op, code)`` of an answer; never raises."""
        message = self._object(frame)
        if message is None:
            return []
        if op := text(message.get("op")):
            return op, text(message.get("code"))
        channel = text(message.get("channel"))
        if channel != LIVE_CHANNEL:
            self._skips.add(f"unknown_topic:{channel or 'none'}", f"keys {sorted(message)[:12]}")
            return []
        if dropped := text(message.get("dropped")).strip("0"):
            self._skips.add("venue_dropped", f"{dropped} messages: we read too slowly")
        return self._prices(
            PriceSource.TWAP, message.get("payload"), lambda name: _without(name, live_symbol(""))
        )


def _without(name: str, ending: str) -> str:
    asset = name.removesuffix(ending)
    return asset if asset != name and asset.isalnum() else ""
