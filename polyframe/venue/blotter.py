"""The blotter: orders and trades of the account, what they moved, and who is told of it."""

from __future__ import annotations

import secrets
import uuid
from decimal import Decimal
from itertools import groupby
from typing import Any

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import Side
from polyframe.model.trade import TradeStatus
from polyframe.venue.account import VenueAccount
from polyframe.venue.hub import Hub
from polyframe.venue.live import LiveMarket
from polyframe.venue.matching import MakerFill, Match
from polyframe.venue.records import (
    CANCELED,
    MATCHED,
    MakerLeg,
    Party,
    VenueOrder,
    VenueTrade,
    strangers,
)
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.tasks import TaskSet
from polyframe.venue.values import (
    Print,
    VenueMarket,
    notional,
    own_price,
    size_shares,
    up_terms,
)


class Blotter:
    """All orders and trades of the account, and the only place that moves its cash and shares.

    Args:
        account: The account.
        hub: Where user events go.
        clock: The venue's time.
        tasks: Owner of the settlement of trades.
        settings: How long settlement takes.
        stats: Where trades and fills are counted.
    """

    def __init__(
        self,
        account: VenueAccount,
        hub: Hub,
        clock: Clock,
        tasks: TaskSet,
        settings: VenueSettings,
        stats: VenueStats,
    ) -> None:
        self.account = account
        self.orders: dict[str, VenueOrder] = {}
        self.trades: dict[str, VenueTrade] = {}
        self._hub = hub
        self._clock = clock
        self._tasks = tasks
        self._settings = settings
        self._stats = stats
        self._open: dict[str, VenueOrder] = {}

    # ------------------------------------------------------------------ orders

    def open(self, order: VenueOrder, live: LiveMarket) -> None:
        """Take an order in and report its placement."""
        self.orders[order.order_id] = self._open[order.order_id] = order
        self._tell(order, "PLACEMENT", live)

    def kill(self, order: VenueOrder, live: LiveMarket, text: str) -> None:
        """Take in an order that died at once and report why (§5.3)."""
        self.orders[order.order_id] = order
        order.status = CANCELED
        message = order.killed_event(
            text,
            api_key=self.account.api_key,
            address=self.account.address,
            time_ms=live.now_ms(),
        )
        self._hub.to_user(order.market.condition_id, message)

    def end(self, order: VenueOrder, live: LiveMarket, status: str) -> None:
        """Cancel what is open of an order and report it."""
        live.book.cancel(order.order_id)
        del self._open[order.order_id]
        order.status = status
        self._tell(order, "CANCELLATION", live)

    def open_orders(self, condition_id: str = "", token: str = "") -> list[VenueOrder]:
        """Return the open orders, of one market or token if given."""
        return [
            order
            for order in self._open.values()
            if condition_id in {"", order.market.condition_id} and token in {"", order.token}
        ]

    def in_use(self, market: VenueMarket) -> bool:
        """Return whether an order is open in `market`."""
        return any(
            order.market.condition_id == market.condition_id for order in self._open.values()
        )

    # ------------------------------------------------------------------ money

    def reserved_cash(self) -> Decimal:
        """Return the USD that open buys hold."""
        return sum((order.reserved_cash for order in self._open.values()), ZERO)

    def reserved_shares(self, token: str) -> Decimal:
        """Return the shares of `token` that open sells hold."""
        return sum((order.reserved_shares for order in self.open_orders(token=token)), ZERO)

    def _fill(self, order: VenueOrder, trade: VenueTrade, price: int, size: int) -> None:
        """Book one fill; who took pays the fee: a buyer on top, a seller out of the proceeds."""
        fee = ZERO
        if trade.taker.order_id == order.order_id:
            fee = order.market.market.fees.taker_fee(size_shares(size), usd(price))
        sign = 1 if order.side is Side.BUY else -1
        self.account.move(
            order.token, sign * size_shares(size), -sign * notional(price, size) - fee
        )
        order.matched += size
        order.trades.append(trade.trade_id)
        if order.remaining == 0:
            order.status = MATCHED
            del self._open[order.order_id]
        self._stats.fills += 1

    # ------------------------------------------------------------------ trades

    def took(
        self, order: VenueOrder, live: LiveMarket, up_price: int, matches: list[Match]
    ) -> VenueTrade:
        """Book and return one trade of an incoming order: all that it matched at one price."""
        size = sum(match.size for match in matches)
        is_bid, _ = up_terms(order.outcome, order.side, order.price)
        hit = Side.SELL if is_bid else Side.BUY
        own: list[tuple[VenueOrder, int]] = []
        makers: list[MakerLeg] = []
        for match in matches:
            if match.maker is None:
                makers.extend(strangers(Outcome.UP, hit, up_price, match.size))
            else:
                maker = self.orders[match.maker]
                own.append((maker, match.size))
                makers.append(self._own_leg(maker, up_price, match.size))
        price = own_price(order.outcome, up_price)
        trade = self._record(
            live,
            taker=self._party(order.order_id),
            is_taker=True,
            outcome=order.outcome,
            side=order.side,
            price=price,
            size=size,
            makers=makers,
        )
        self._fill(order, trade, price, size)
        for maker, part in own:
            self._fill(maker, trade, own_price(maker.outcome, up_price), part)
        self._announce(trade, [order, *(maker for maker, _ in own)], live)
        live.note_trade(order.outcome, order.side, price, size)
        return trade

    def made(self, live: LiveMarket, fills: list[MakerFill], cause: Print | None) -> None:
        """Book fills of resting orders by the source; `cause` is the print that made them."""
        filled = sum(fill.size for fill in fills)
        for (up_price, is_bid), group in groupby(fills, key=self._level_of):
            parts = [(self.orders[fill.order_id], fill.size) for fill in group]
            taker_side, maker_side = (Side.SELL, Side.BUY) if is_bid else (Side.BUY, Side.SELL)
            makers = [self._own_leg(order, up_price, size) for order, size in parts]
            if cause is not None and cause.price == up_price and cause.size > filled:
                others = cause.size - filled
                makers.extend(strangers(Outcome.UP, maker_side, up_price, others))
            size = sum(leg.size for leg in makers)
            trade = self._record(
                live,
                taker=Party.stranger(),
                is_taker=False,
                outcome=Outcome.UP,
                side=taker_side,
                price=up_price,
                size=size,
                makers=makers,
            )
            for order, part in parts:
                self._fill(order, trade, own_price(order.outcome, up_price), part)
            self._announce(trade, [order for order, _ in parts], live)
            if cause is None:
                live.note_trade(Outcome.UP, taker_side, up_price, size)

    def _level_of(self, fill: MakerFill) -> tuple[int, bool]:
        order = self.orders[fill.order_id]
        return fill.price, up_terms(order.outcome, order.side, order.price)[0]

    def _own_leg(self, order: VenueOrder, up_price: int, size: int) -> MakerLeg:
        price = own_price(order.outcome, up_price)
        return MakerLeg(self._party(order.order_id), order.outcome, order.side, price, size)

    def _party(self, order_id: str) -> Party:
        return Party(order_id, self.account.api_key, self.account.address)

    def _record(self, live: LiveMarket, **facts: Any) -> VenueTrade:
        now = live.now_ms()
        trade = VenueTrade(
            trade_id=str(uuid.uuid4()), market=live.market, match_ms=now, update_ms=now, **facts
        )
        self.trades[trade.trade_id] = trade
        self._stats.trades += 1
        return trade

    def _announce(self, trade: VenueTrade, orders: list[VenueOrder], live: LiveMarket) -> None:
        self._hub.to_user(trade.market.condition_id, trade.event(live.now_ms()))
        for order in orders:
            self._tell(order, "UPDATE", live)
        self._tasks.spawn(self._settle(trade, live), f"venue-settle-{trade.trade_id}")

    async def _settle(self, trade: VenueTrade, live: LiveMarket) -> None:
        matched = self._clock.time()
        for delay, status in (
            (self._settings.mined_after, TradeStatus.MINED),
            (self._settings.confirmed_after, TradeStatus.CONFIRMED),
        ):
            await self._clock.sleep_until(matched + delay)
            trade.status = status
            trade.update_ms = live.now_ms()
            trade.transaction = trade.transaction or "0x" + secrets.token_hex(32)
            self._hub.to_user(trade.market.condition_id, trade.event(trade.update_ms))

    def _tell(self, order: VenueOrder, kind: str, live: LiveMarket) -> None:
        message = order.event(
            kind,
            api_key=self.account.api_key,
            address=self.account.address,
            time_ms=live.now_ms(),
        )
        self._hub.to_user(order.market.condition_id, message)


def usd(price: int) -> Decimal:
    """Return price units in USD."""
    return Decimal(price) / PRICE_UNITS
