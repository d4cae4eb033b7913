"""The order desk: checks orders of the account, matches and cancels them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

from attrs import frozen

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderType, Side
from polyframe.venue.blotter import Blotter, usd
from polyframe.venue.floor import Floor
from polyframe.venue.intents import NO_BOOK, Intent, Refusal, check_tick, parse_intent
from polyframe.venue.listing import Listing
from polyframe.venue.live import LiveMarket
from polyframe.venue.matching import Match
from polyframe.venue.records import (
    CANCELED,
    MATCHED,
    VenueOrder,
)
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.values import (
    SHARE,
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
        blotter: The account's orders and trades.
        listing: Which markets there are.
        floor: Their books.
        clock: The venue's time.
        settings: Behaviour.
        stats: Where orders are counted.
    """

    def __init__(
        self,
        blotter: Blotter,
        listing: Listing,
        floor: Floor,
        clock: Clock,
        settings: VenueSettings,
        stats: VenueStats,
    ) -> None:
        self._blotter = blotter
        self._account = blotter.account
        self._listing = listing
        self._floor = floor
        self._clock = clock
        self._settings = settings
        self._stats = stats
        self._held: set[str] = set()
        floor.in_use = blotter.in_use
        floor.on_fills = blotter.made
        floor.on_resolved = self._resolved

    # ------------------------------------------------------------------ placing

    async def place(self, body: Any) -> dict[str, Any]:
        """Take the order in a body of ``POST /order`` and return the answer (§2.3).

        A marketable order is held for the taker delay and checked again after it.

        Raises:
            Refusal: Not taken, or killed.
        """
        try:
            intent = parse_intent(body, self._account)
            if intent.order_id in self._blotter.orders or intent.order_id in self._held:
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
            raise Refusal(404, NO_BOOK)
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
        value = size_shares(intent.usd)
        if intent.side is Side.BUY and marketable and value < rules.min_notional:
            raise Refusal(
                400,
                f"invalid amount for a marketable BUY order (${value.normalize():f}), "
                f"min size: ${rules.min_notional}",
            )
        self._check_funds(ticket)
        return ticket

    def _check_funds(self, ticket: _Ticket) -> None:
        intent = ticket.intent
        if intent.side is Side.SELL:
            balance = self._account.held(intent.token)
            active = self._blotter.reserved_shares(intent.token)
            amount = size_shares(intent.size)
        else:
            balance, active, amount = (
                self._account.cash,
                self._blotter.reserved_cash(),
                self._cost(ticket),
            )
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
        worst = fees.taker_fee(size_shares(ticket.matchable), usd(intent.price))
        # Fees are rounded for each level, which can add up to a little more than the above.
        exact = notional(intent.price, intent.size - ticket.matchable)
        for up_price, size in _levels(ticket.plan):
            price = own_price(ticket.outcome, up_price)
            exact += notional(price, size) + fees.taker_fee(size_shares(size), usd(price))
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
        if intent.order_type is OrderType.FOK and ticket.matchable < intent.size:
            raise self._kill(order, live, FOK_KILLED)
        if intent.order_type is OrderType.FAK and not ticket.plan:
            raise self._kill(order, live, FAK_KILLED)
        self._stats.orders += 1
        self._blotter.open(order, live)
        live.book.execute(ticket.plan, is_bid=ticket.is_bid)
        value = ZERO
        for up_price, matches in groupby(ticket.plan, key=lambda match: match.price):
            trade = self._blotter.took(order, live, up_price, list(matches))
            value += notional(trade.price, trade.size)
        if order.is_open and intent.order_type is OrderType.GTC:
            live.book.rest(
                order.order_id, is_bid=ticket.is_bid, price=ticket.up_price, size=order.remaining
            )
        elif order.is_open:
            self._blotter.end(order, live, CANCELED)
        live.publish(books=bool(ticket.plan))
        amounts = f"{value.normalize():f}", size_text(order.matched)
        making, taking = amounts if order.side is Side.BUY else amounts[::-1]
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
        self._blotter.kill(order, live, text)
        return Refusal(400, text)

    # ------------------------------------------------------------------ cancelling

    def cancel(self, order_ids: Iterable[str]) -> dict[str, Any]:
        """Cancel orders and return the answer: which are cancelled, which are not (§2.4)."""
        canceled: list[str] = []
        refused: dict[str, str] = {}
        for order_id in dict.fromkeys(order_ids):
            order = self._blotter.orders.get(order_id)
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
                self._blotter.end(order, live, CANCELED)
                live.publish()
                canceled.append(order_id)
        return {"canceled": canceled, "not_canceled": refused}

    # ------------------------------------------------------------------ the end of a market

    def _resolved(self, live: LiveMarket, winner: Outcome) -> None:
        for order in self._blotter.open_orders(condition_id=live.market.condition_id):
            self._blotter.end(order, live, "CANCELED_MARKET_RESOLVED")
        live.publish()
        if not self._settings.redeem:
            return
        for outcome in Outcome:
            token = live.market.market.token(outcome)
            held = self._account.held(token)
            if held:
                self._account.move(token, -held, held if outcome is winner else ZERO)


def _levels(plan: list[Match]) -> list[tuple[int, int]]:
    return [
        (price, sum(match.size for match in matches))
        for price, matches in groupby(plan, key=lambda match: match.price)
    ]


def _base(amount: Decimal) -> int:
    return int(amount * SHARE)
