"""The order desk: checks, places, matches, cancels and books the orders of the account."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

from attrs import frozen

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import OrderType, Side
from polyframe.model.trade import TradeStatus
from polyframe.venue.account import VenueAccount
from polyframe.venue.floor import Floor
from polyframe.venue.hub import Hub
from polyframe.venue.intents import Intent, Refusal, check_tick, parse_intent
from polyframe.venue.listing import Listing
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
    SHARE,
    Print,
    VenueMarket,
    notional,
    own_price,
    size_shares,
    size_text,
    up_terms,
)

FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED = (
    "no orders found to match with FAK order. "
    "FAK orders are partially filled or killed if no match is found."
)


@frozen
class _Ticket:
    """An order that passed all checks, and what it would match right now."""

    intent: Intent
    live: LiveMarket
    outcome: Outcome
    is_bid: bool
    up_price: int
    plan: list[Match]

    @property
    def matchable(self) -> int:
        """Base units that it would match."""
        return sum(match.size for match in self.plan)


class Desk:
    """Everything that orders of the account go through.

    Args:
        account: The account.
        listing: Which markets there are.
        floor: Their books.
        hub: Where user events go.
        clock: The venue's time.
        tasks: Owner of the settlement of trades.
        settings: Behaviour.
        stats: Where orders and fills are counted.
    """

    def __init__(
        self,
        account: VenueAccount,
        listing: Listing,
        floor: Floor,
        hub: Hub,
        clock: Clock,
        tasks: TaskSet,
        settings: VenueSettings,
        stats: VenueStats,
    ) -> None:
        self.account = account
        self.orders: dict[str, VenueOrder] = {}
        self.trades: dict[str, VenueTrade] = {}
        self._listing = listing
        self._floor = floor
        self._hub = hub
        self._clock = clock
        self._tasks = tasks
        self._settings = settings
        self._stats = stats
        self._open: dict[str, VenueOrder] = {}
        self._held: set[str] = set()
        floor.in_use = self._in_use
        floor.on_fills = self._maker_fills
        floor.on_resolved = self._resolved

    # ------------------------------------------------------------------ placing

    async def place(self, body: Any) -> dict[str, Any]:
        """Take the order in a body of ``POST /order`` and return the answer (§2.3).

        A marketable order is held for the taker delay and checked again after it.

        Raises:
            Refusal: Not taken, or killed.
        """
        try:
            intent = parse_intent(body, self.account)
            if intent.order_id in self.orders or intent.order_id in self._held:
                raise Refusal(400, f"order {intent.order_id} is invalid. Duplicated.")
            ticket = self._check(intent)
            if ticket.plan and self._settings.taker_delay:
                self._held.add(intent.order_id)
                try:
                    await self._clock.sleep(self._settings.taker_delay)
                finally:
                    self._held.discard(intent.order_id)
                ticket = self._check(intent)
            return self._execute(ticket)
        except Refusal:
            self._stats.refused += 1
            raise

    def _check(self, intent: Intent) -> _Ticket:
        found = self._listing.by_token(intent.token)
        if found is None and self._listing.pending(intent.token):
            raise Refusal(400, "the market is not yet ready to process new orders")
        if found is None or not self._listing.trading(found[0]):
            raise Refusal(404, "No orderbook exists for the requested token id")
        market, outcome = found
        live = self._floor.live(market)
        check_tick(intent, live.tick)
        rules = market.market
        if intent.order_type is OrderType.GTC and size_shares(intent.size) < rules.min_size:
            raise Refusal(
                400,
                f"order {intent.order_id} is invalid. Size ({size_text(intent.size)}) "
                f"lower than the minimum: {rules.min_size}",
            )
        is_bid, up_price = up_terms(outcome, intent.side, intent.price)
        plan = live.book.plan(is_bid=is_bid, limit=up_price, size=intent.size)
        ticket = _Ticket(intent, live, outcome, is_bid, up_price, plan)
        if plan and intent.post_only:
            raise Refusal(400, "invalid post-only order: order crosses book")
        marketable = bool(plan) or intent.order_type is not OrderType.GTC
        usd = size_shares(intent.usd)
        if intent.side is Side.BUY and marketable and usd < rules.min_notional:
            raise Refusal(
                400,
                f"invalid amount for a marketable BUY order (${usd.normalize():f}), "
                f"min size: ${rules.min_notional}",
            )
        self._check_funds(ticket)
        return ticket

    def _check_funds(self, ticket: _Ticket) -> None:
        intent = ticket.intent
        if intent.side is Side.SELL:
            balance = self.account.held(intent.token)
            active = self.reserved_shares(intent.token)
            amount = size_shares(intent.size)
        else:
            balance, active, amount = self.account.cash, self.reserved_cash(), self._cost(ticket)
        if amount > balance - active:
            raise Refusal(
                400,
                f"not enough balance / allowance: balance is {_base(balance)}, "
                f"sum of active orders {_base(active)}, sum of matched orders 0, "
                f"order amount {_base(amount)}",
            )

    def _cost(self, ticket: _Ticket) -> Decimal:
        """Return the most USD that a buy can cost, the taker's fee included (§2.9)."""
        intent = ticket.intent
        fees = ticket.live.market.market.fees
        limit = notional(intent.price, intent.size)
        worst = fees.taker_fee(size_shares(ticket.matchable), _usd(intent.price))
        # Fees are rounded for each level, which can add up to a little more than the above.
        exact = notional(intent.price, intent.size - ticket.matchable)
        for up_price, size in _levels(ticket.plan):
            price = own_price(ticket.outcome, up_price)
            exact += notional(price, size) + fees.taker_fee(size_shares(size), _usd(price))
        return max(limit + worst, exact, size_shares(intent.usd))

    def _execute(self, ticket: _Ticket) -> dict[str, Any]:
        intent, live = ticket.intent, ticket.live
        order = VenueOrder(
            order_id=intent.order_id,
            market=live.market,
            outcome=ticket.outcome,
            side=intent.side,
            price=intent.price,
            size=intent.size,
            order_type=intent.order_type,
            expiration=intent.expiration,
            created_ms=live.now_ms(),
        )
        self.orders[order.order_id] = order
        if intent.order_type is OrderType.FOK and ticket.matchable < intent.size:
            raise self._kill(order, live, FOK_KILLED)
        if intent.order_type is OrderType.FAK and not ticket.plan:
            raise self._kill(order, live, FAK_KILLED)
        self._stats.orders += 1
        self._open[order.order_id] = order
        self._tell(order, "PLACEMENT", live)
        live.book.execute(ticket.plan, is_bid=ticket.is_bid)
        cash = self.account.cash
        for up_price, matches in groupby(ticket.plan, key=lambda match: match.price):
            self._taker_trade(order, live, up_price, list(matches))
        if order.is_open and intent.order_type is OrderType.GTC:
            live.book.rest(
                order.order_id, is_bid=ticket.is_bid, price=ticket.up_price, size=order.remaining
            )
        elif order.is_open:
            self._end(order, live, CANCELED)
        live.publish(books=bool(ticket.plan))
        shares, usd = size_text(order.matched), f"{abs(self.account.cash - cash).normalize():f}"
        making, taking = (usd, shares) if order.side is Side.BUY else (shares, usd)
        return {
            "success": True,
            "errorMsg": "",
            "orderID": order.order_id,
            "status": "matched" if ticket.plan else "live",
            "makingAmount": making if ticket.plan else "",
            "takingAmount": taking if ticket.plan else "",
            "transactionsHashes": [],
            "tradeIDs": list(order.trades),
        }

    def _kill(self, order: VenueOrder, live: LiveMarket, text: str) -> Refusal:
        order.status = CANCELED
        message = order.killed_event(
            text,
            api_key=self.account.api_key,
            address=self.account.address,
            time_ms=live.now_ms(),
        )
        self._hub.to_user(order.market.condition_id, message)
        return Refusal(400, text)

    # ------------------------------------------------------------------ cancelling

    def cancel(self, order_ids: Iterable[str]) -> dict[str, Any]:
        """Cancel orders and return the answer: which are cancelled, which are not (§2.4)."""
        canceled: list[str] = []
        refused: dict[str, str] = {}
        for order_id in dict.fromkeys(order_ids):
            order = self.orders.get(order_id)
            if order is None:
                refused[order_id] = f"Order not found or already canceled: {order_id}"
            elif not order.is_open:
                refused[order_id] = (
                    "order already matched"
                    if order.status == MATCHED
                    else "already canceled or matched"
                )
            else:
                live = self._floor.live(order.market)
                # Waking the market may have filled it.
                if order.is_open:
                    self._end(order, live, CANCELED)
                    live.publish()
                    canceled.append(order_id)
                else:
                    refused[order_id] = "order already matched"
        return {"canceled": canceled, "not_canceled": refused}

    def open_orders(self, condition_id: str = "", token: str = "") -> list[VenueOrder]:
        """Return the open orders, of one market or token if given."""
        return [
            order
            for order in self._open.values()
            if condition_id in {"", order.market.condition_id} and token in {"", order.token}
        ]

    def _end(self, order: VenueOrder, live: LiveMarket, status: str) -> None:
        live.book.cancel(order.order_id)
        del self._open[order.order_id]
        order.status = status
        self._tell(order, "CANCELLATION", live)

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
            fee = order.market.market.fees.taker_fee(size_shares(size), _usd(price))
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

    def _taker_trade(
        self, order: VenueOrder, live: LiveMarket, up_price: int, matches: list[Match]
    ) -> None:
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

    def _maker_fills(self, live: LiveMarket, fills: list[MakerFill], cause: Print | None) -> None:
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

    # ------------------------------------------------------------------ the end of a market

    def _resolved(self, live: LiveMarket, winner: Outcome) -> None:
        for order in self.open_orders(condition_id=live.market.condition_id):
            self._end(order, live, "CANCELED_MARKET_RESOLVED")
        live.publish()
        if not self._settings.redeem:
            return
        for outcome in Outcome:
            token = live.market.market.token(outcome)
            held = self.account.held(token)
            if held:
                self.account.move(token, -held, held if outcome is winner else ZERO)

    def _in_use(self, market: VenueMarket) -> bool:
        return any(
            order.market.condition_id == market.condition_id for order in self._open.values()
        )


def _levels(plan: list[Match]) -> list[tuple[int, int]]:
    return [
        (price, sum(match.size for match in matches))
        for price, matches in groupby(plan, key=lambda match: match.price)
    ]


def _usd(price: int) -> Decimal:
    return Decimal(price) / PRICE_UNITS


def _base(amount: Decimal) -> int:
    return int(amount * SHARE)
