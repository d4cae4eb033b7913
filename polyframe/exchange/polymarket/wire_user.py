"""Orders and trades of the account, from the user channel and from REST (PROTOCOL §2.5, §5).

Both speak of the same things in slightly different words, so one decoder reads both: prefixes of
statuses are stripped, times are told apart by magnitude, ``""`` and null mean absent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from polyframe.exchange.polymarket.wire import (
    Skips,
    epoch_ms,
    optional_decimal,
    optional_side,
    parse_json,
    text,
)
from polyframe.model.events import OrderEventKind, OrderReport, TradeReport, UserMessage
from polyframe.model.money import ONE, ZERO, decimal
from polyframe.model.order import Side
from polyframe.model.trade import TradeLeg, TradeStatus, mean_price

_TRADE_STATUSES = {status.value: status for status in TradeStatus} | {
    # Matched, and not yet sent to the chain (PROTOCOL §2.5).
    "MATCHED_NOT_BROADCASTED": TradeStatus.MATCHED
}
_ROUNDED = Decimal("0.005")
"""USD by which the venue may round a mean price."""


class UserDecoder:
    """Decodes what concerns the account.

    Args:
        skips: Account of what was not understood.
        api_key: The account's API key, called ``owner`` on the wire.
        addresses: The account's addresses in whatever case (signer and holder of the funds).
    """

    def __init__(self, skips: Skips, api_key: str, addresses: Collection[str]) -> None:
        self._skips = skips
        self._api_key = api_key
        self._addresses = frozenset(address.lower() for address in addresses)

    def decode(self, frame: bytes) -> Sequence[UserMessage]:
        """Return the messages of one frame in order; never raises for what is in it."""
        try:
            value = parse_json(frame)
        except ValueError as exc:
            self._skips.add("json", str(exc))
            return ()
        messages: list[UserMessage] = []
        for item in value if isinstance(value, list) else [value]:
            message = self._event(item)
            if message is not None:
                messages.append(message)
        return messages

    def _event(self, item: object) -> UserMessage | None:
        if not isinstance(item, dict):
            self._skips.add("not_object", type(item).__name__)
            return None
        kind = text(item.get("event_type"))
        if not kind:
            # Only a trade has a taker; only an order has an original size.
            if "taker_order_id" in item:
                kind = "trade"
            elif "original_size" in item or "size_matched" in item:
                kind = "order"
        if kind == "order":
            return self.order(item)
        if kind == "trade":
            return self.trade(item)
        self._skips.add(f"unknown_event:{kind or 'none'}", f"keys {sorted(item)[:12]}")
        return None

    # -- orders -------------------------------------------------------------------------------

    def order(self, item: object) -> OrderReport | None:
        """Return the report of one order object (§5.2, or §2.5 without ``type``).

        A number that cannot be read counts as absent: the rest still says that the order exists,
        or that it is gone.
        """
        if not isinstance(item, dict):
            self._skips.add("not_object", type(item).__name__)
            return None
        order_id = text(item.get("id"))
        if not order_id:
            self._skips.add("no_order_id", f"keys {sorted(item)[:12]}")
            return None
        status = text(item.get("status")).removeprefix("ORDER_STATUS_")
        matched = self._number(item, "size_matched") or ZERO
        return OrderReport(
            order_id=order_id,
            market=text(item.get("market")),
            token=text(item.get("asset_id")),
            kind=self._order_kind(text(item.get("type")).upper(), status, matched),
            status=status,
            side=optional_side(item.get("side")),
            price=self._number(item, "price"),
            original_size=self._number(item, "original_size"),
            size_matched=matched,
            timestamp_ms=self._time(item, "timestamp", "created_at"),
        )

    def _order_kind(self, kind: str, status: str, matched: Decimal) -> OrderEventKind:
        if kind in OrderEventKind.__members__:
            return OrderEventKind[kind]
        # REST objects carry no such word, and "type" may be anything in a message yet unknown.
        if kind:
            self._skips.add(f"unknown_order_type:{kind}")
        if status.upper().startswith(("CANCEL", "INVALID")):
            return OrderEventKind.CANCELLATION
        if matched or status.upper() == "MATCHED":
            return OrderEventKind.UPDATE
        return OrderEventKind.PLACEMENT

    # -- trades -------------------------------------------------------------------------------

    def trade(self, item: object) -> TradeReport | None:
        """Return the report of one trade object, with the account's own legs only (§5.4, §5.5)."""
        if not isinstance(item, dict):
            self._skips.add("not_object", type(item).__name__)
            return None
        trade_id = text(item.get("id"))
        if not trade_id:
            self._skips.add("no_trade_id", f"keys {sorted(item)[:12]}")
            return None
        word = text(item.get("status")).upper().removeprefix("TRADE_STATUS_")
        status = _TRADE_STATUSES.get(word)
        if status is None:
            self._skips.add(f"unknown_trade_status:{word or 'none'}")
            return None
        taker, own_makers = self._taker_leg(item), self._maker_legs(item)
        legs = own_makers if taker is None else [taker, *own_makers]
        if not legs:
            self._skips.add("no_own_leg", "a trade in which no order is known as ours")
            return None
        return TradeReport(
            trade_id=trade_id,
            market=text(item.get("market")),
            token=text(item.get("asset_id")) if taker else legs[0].token,
            status=status,
            legs=tuple(legs),
            match_time_ms=self._time(item, "match_time", "matchtime"),
            timestamp_ms=self._time(item, "timestamp", "last_update"),
        )

    def _taker_leg(self, item: dict[str, Any]) -> TradeLeg | None:
        role = text(item.get("trader_side")).upper()
        if role not in {"TAKER", "MAKER"}:
            # The address above all is the taker's, unlike `owner` (PROTOCOL §5.4).
            self._skips.add("no_trader_side")
            role = "TAKER" if self._is_our_address(item) else "MAKER"
        if role == "MAKER":
            return None
        leg = self._leg(
            order_id=item.get("taker_order_id"),
            token=item.get("asset_id"),
            side=optional_side(item.get("side")),
            price=item.get("price"),
            size=item.get("size"),
            is_taker=True,
        )
        return None if leg is None else self._at_levels(leg, item)

    def _at_levels(self, leg: TradeLeg, item: dict[str, Any]) -> TradeLeg:
        """Return the taker's leg with the prices that it met.

        Its stated price is their rounded average (§5.5): that is not what was paid, and the fee is
        charged at each price. If the makers do not add up, the stated price has to do.
        """
        try:
            makers = item.get("maker_orders")
            levels = _levels(leg, makers if isinstance(makers, list) else [])
        except ValueError as exc:
            self._skips.add("trade_levels", str(exc))
            return leg
        mean = mean_price(levels)
        if abs(mean - leg.price) > _ROUNDED:
            # What makers asked for is what changes hands: it is believed all the same.
            self._skips.add("trade_price", f"{leg.price} is said, the makers make it {mean:f}")
        if mean != leg.price:
            leg = msgspec.structs.replace(leg, price=mean)
        return msgspec.structs.replace(leg, levels=levels) if len(levels) > 1 else leg

    def _maker_legs(self, item: dict[str, Any]) -> list[TradeLeg]:
        makers = item.get("maker_orders")
        if makers is None:
            return []
        if not isinstance(makers, list):
            self._skips.add("bad_field:maker_orders", type(makers).__name__)
            return []
        legs: dict[str, TradeLeg] = {}
        for maker in makers:
            if not isinstance(maker, dict):
                self._skips.add("bad_field:maker_orders", type(maker).__name__)
                continue
            if text(maker.get("owner")) != self._api_key and not self._is_our_address(maker):
                continue
            leg = self._leg(
                order_id=maker.get("order_id"),
                token=maker.get("asset_id"),
                side=optional_side(maker.get("side")) or _derived_side(item, maker),
                price=maker.get("price"),
                size=maker.get("matched_amount"),
                is_taker=False,
            )
            if leg is not None:
                known = legs.get(leg.order_id)
                legs[leg.order_id] = leg if known is None else _together(known, leg)
        return list(legs.values())

    def _leg(
        self,
        *,
        order_id: object,
        token: object,
        side: Side | None,
        price: object,
        size: object,
        is_taker: bool,
    ) -> TradeLeg | None:
        order, asset = text(order_id), text(token)
        try:
            usd, shares = decimal(text(price), "price"), decimal(text(size), "size")
            if not order or not asset or side is None:
                msg = "order id, asset id and side must be there"
                raise ValueError(msg)
            if not ZERO <= usd <= ONE or shares <= ZERO:
                msg = f"expected a price from 0 to 1 and a size above 0, got {usd} and {shares}"
                raise ValueError(msg)
        except ValueError as exc:
            self._skips.add("bad_field:trade_leg", str(exc))
            return None
        return TradeLeg(order, asset, side, usd, shares, is_taker)

    def _is_our_address(self, item: dict[str, Any]) -> bool:
        return text(item.get("maker_address")).lower() in self._addresses

    # -- single fields ------------------------------------------------------------------------

    def _number(self, item: dict[str, Any], name: str) -> Decimal | None:
        try:
            return optional_decimal(item.get(name), name)
        except ValueError as exc:
            self._skips.add(f"bad_field:{name}", str(exc))
            return None

    def _time(self, item: dict[str, Any], name: str, other: str) -> int:
        try:
            return epoch_ms(item.get(name)) or epoch_ms(item.get(other))
        except ValueError as exc:
            self._skips.add(f"bad_field:{name}", str(exc))
            return 0


def _together(one: TradeLeg, other: TradeLeg) -> TradeLeg:
    """Return two parts of one maker in one trade as one: a fill is known by its trade and its order."""
    price = mean_price([(one.price, one.size), (other.price, other.size)])
    return msgspec.structs.replace(one, price=price, size=one.size + other.size)


def _levels(leg: TradeLeg, makers: list[Any]) -> tuple[tuple[Decimal, Decimal], ...]:
    """Return what a taker met as (USD per share, shares), each price once.

    A maker of the same token trades at its price. One of the other token stands for the rest of the
    dollar: both buy and the shares are minted, or both sell and they are merged (PROTOCOL §5.5).

    Raises:
        ValueError: An entry makes no sense, or they are not the taker's size together.
    """
    levels: dict[Decimal, Decimal] = {}
    for maker in makers:
        if not isinstance(maker, dict) or not (token := text(maker.get("asset_id"))):
            msg = "a maker without a token"
            raise ValueError(msg)
        is_same = token == leg.token
        side = optional_side(maker.get("side"))
        if side is not None and (side is leg.side) is is_same:
            whose = "its" if is_same else "the other"
            msg = f"a taker's {leg.side} cannot meet a {side} of {whose} token"
            raise ValueError(msg)
        price = decimal(text(maker.get("price")), "price")
        size = decimal(text(maker.get("matched_amount")), "matched_amount")
        if not ZERO <= price <= ONE or size <= ZERO:
            msg = f"expected a price from 0 to 1 and a size above 0, got {price} and {size}"
            raise ValueError(msg)
        price = price if is_same else ONE - price
        levels[price] = levels.get(price, ZERO) + size
    total = sum(levels.values(), ZERO)
    if total != leg.size:
        msg = f"the makers' sizes are {total} together, the taker's is {leg.size}"
        raise ValueError(msg)
    return tuple(levels.items())


def _derived_side(trade: dict[str, Any], maker: dict[str, Any]) -> Side | None:
    """A maker of the taker's own token did the opposite; one of the other token did the same (§5.5)."""
    taker = optional_side(trade.get("side"))
    if taker is None or text(maker.get("asset_id")) != text(trade.get("asset_id")):
        return taker
    return Side.SELL if taker is Side.BUY else Side.BUY
