"""The order desk: checks orders of the accounts, matches and cancels them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.model.order import Side
from polyframe.venue.account import VenueAccount
from polyframe.venue.accounts import Accounts, Login
from polyframe.venue.blotter import Blotter
from polyframe.venue.expiry import Expiry
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.floor import Floor
from polyframe.venue.intents import NO_BOOK, Intent, Reader, Refusal, check_tick
from polyframe.venue.listing import Listing
from polyframe.venue.live import LiveMarket
from polyframe.venue.matching import Match
from polyframe.venue.plans import Ticket, buy_cost, levels, within
from polyframe.venue.records import (
    CANCELED,
    EXPIRED,
    INVALID,
    MATCHED,
    RESOLVED,
    VenueOrder,
)
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.turnstile import Turnstile
from polyframe.venue.values import (
    SHARE,
    Lifetime,
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


class Desk:
    """Everything that orders go through.

    Args:
        reader: Understands orders and who they come from.
        accounts: Who can have shares when a market ends.
        blotter: Orders and trades of the accounts.
        listing: Which markets there are.
        floor: Their books.
        expiry: Says when orders end by themselves.
        clock: The venue's time.
        settings: Behaviour.
        stats: Where orders are counted.
        faults: What is to go wrong.
    """

    def __init__(
        self,
        reader: Reader,
        accounts: Accounts,
        blotter: Blotter,
        listing: Listing,
        floor: Floor,
        expiry: Expiry,
        clock: Clock,
        settings: VenueSettings,
        stats: VenueStats,
        faults: VenueFaults,
    ) -> None:
        self._reader = reader
        self._accounts = accounts
        self._blotter = blotter
        self._listing = listing
        self._floor = floor
        self._clock = clock
        self._settings = settings
        self._stats = stats
        self._expiry = expiry
        self._faults = faults
        self.turnstile = Turnstile(faults)
        self._held: set[str] = set()
        expiry.on_expired = self._expired
        floor.in_use = blotter.in_use
        floor.on_fills = blotter.made
        floor.on_resolved = self._resolved
        blotter.on_loss = self.withdraw_uncovered

    # ------------------------------------------------------------------ placing

    async def place(self, body: Any, login: Login) -> dict[str, Any]:
        """Take the order in a body of ``POST /order`` and return the answer (§2.3).

        A marketable order is held for the taker delay and checked again after it.

        Raises:
            Refusal: Not taken, or killed.
        """
        try:
            self.turnstile.check_order(body)
            intent = self._reader.read(body, login, neg_risk=self._neg_risk(body))
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

    def _neg_risk(self, body: Any) -> bool:
        """Return which of the two exchanges the order in `body` is for, by its token."""
        order = body.get("order") if isinstance(body, dict) else None
        token = order.get("tokenId") if isinstance(order, dict) else None
        found = self._listing.by_token(token) if isinstance(token, str) else None
        return found is not None and found[0].market.neg_risk

    def _check(self, intent: Intent) -> Ticket:
        found = self._listing.by_token(intent.token)
        if found is None and self._listing.pending(intent.token):
            raise Refusal(400, "the market is not yet ready to process new orders")
        if found is None or not self._listing.trading(found[0]):
            raise Refusal(404, NO_BOOK)
        market, outcome = found
        live = self._floor.live(market)
        self._check_expiration(intent)
        check_tick(intent, live.tick)
        rules = market.market
        if intent.order_type.rests and size_shares(intent.size) < rules.min_size:
            raise Refusal(
                400,
                f"order {intent.order_id} is invalid. Size ({size_text(intent.size)}) "
                f"lower than the minimum: {rules.min_size}",
            )
        is_bid, up_price = up_terms(outcome, intent.side, intent.price)
        if self._blotter.open_count(intent.login.account) >= self._settings.max_open_orders:
            raise Refusal(400, "too many open orders")
        if self._spends(intent):
            most = intent.usd * PRICE_UNITS
            plan = live.book.plan(is_bid=is_bid, limit=up_price, size=most)
            plan, target = within(plan, outcome, intent)
        else:
            plan = live.book.plan(is_bid=is_bid, limit=up_price, size=intent.size)
            target = intent.size
        ticket = Ticket(intent, live, outcome, is_bid, up_price, plan, target)
        if plan and intent.post_only:
            raise Refusal(400, "invalid post-only order: order crosses book")
        marketable = bool(plan) or not intent.order_type.rests
        value = size_shares(intent.usd)
        if intent.side is Side.BUY and marketable and value < rules.min_notional:
            raise Refusal(
                400,
                f"invalid amount for a marketable BUY order (${value.normalize():f}), "
                f"min size: ${rules.min_notional}",
            )
        self._check_funds(ticket)
        return ticket

    def _spends(self, intent: Intent) -> bool:
        """Return whether an order is for a sum of USD, not for a number of shares (§2.8)."""
        return self._settings.spend_usd and intent.side is Side.BUY and not intent.order_type.rests

    def _check_expiration(self, intent: Intent) -> None:
        """Only a GTD order has an expiration, and it must be far enough ahead (§2.8)."""
        if intent.order_type is not Lifetime.GTD:
            wrong = intent.expiration != 0
        else:
            wrong = intent.expiration < self._clock.time() + self._settings.gtd_notice
        if wrong:
            raise Refusal(400, "invalid expiration")

    def _check_funds(self, ticket: Ticket) -> None:
        intent = ticket.intent
        account = intent.login.account
        if intent.side is Side.SELL:
            balance = account.held(intent.token) if account.approved else ZERO
            active = self._blotter.reserved_shares(account, intent.token)
            amount = size_shares(intent.size)
        else:
            balance, active, amount = (
                account.spendable,
                self._blotter.reserved_cash(account),
                buy_cost(ticket, spends=self._spends(intent)),
            )
        if amount > balance - active:
            raise Refusal(
                400,
                f"not enough balance / allowance: balance is {_base(balance)}, "
                f"sum of active orders {_base(active)}, sum of matched orders 0, "
                f"order amount {_base(amount)}",
            )

    def _execute(self, ticket: Ticket) -> dict[str, Any]:
        intent, live = ticket.intent, ticket.live
        order = VenueOrder(
            order_id=intent.order_id,
            account=intent.login.account,
            api_key=intent.login.api_key,
            market=live.market,
            outcome=ticket.outcome,
            side=intent.side,
            price=intent.price,
            size=intent.size,
            target=ticket.target,
            order_type=intent.order_type,
            expiration=str(intent.expiration),
            created_ms=live.now_ms(),
        )
        if intent.order_type is Lifetime.FOK and ticket.matchable < ticket.target:
            raise self._kill(order, live, FOK_KILLED)
        if intent.order_type is Lifetime.FAK and not ticket.plan:
            raise self._kill(order, live, FAK_KILLED)
        self._stats.orders += 1
        self._blotter.open(order, live)
        live.book.execute(ticket.plan, is_bid=ticket.is_bid)
        for matches in self._trades(ticket.plan):
            self._blotter.took(order, live, matches)
        value = ZERO
        for up_price, size in levels(ticket.plan):
            value += notional(own_price(ticket.outcome, up_price), size)
        if order.is_open and intent.order_type.rests:
            live.book.rest(
                order.order_id, is_bid=ticket.is_bid, price=ticket.up_price, size=order.remaining
            )
            if intent.expiration:
                self._expiry.at(intent.expiration - self._settings.gtd_margin, order)
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

    def _trades(self, plan: list[Match]) -> list[list[Match]]:
        """Return what becomes one trade each: all together, or by price."""
        if self._settings.whole_trades:
            return [plan] if plan else []
        return [list(group) for _, group in groupby(plan, key=lambda match: match.price)]

    def _kill(self, order: VenueOrder, live: LiveMarket, text: str) -> Refusal:
        self._blotter.kill(order, live, text)
        return Refusal(400, text)

    # ------------------------------------------------------------------ cancelling

    def cancel(self, account: VenueAccount, order_ids: Iterable[str]) -> dict[str, Any]:
        """Cancel orders of `account` and return the answer: which are cancelled, which are not (§2.4)."""
        canceled: list[str] = []
        refused: dict[str, str] = {}
        for order_id in dict.fromkeys(order_ids):
            order = self._blotter.order(account, order_id)
            if order is not None and order.is_open and self._faults.strike(VenueFault.CANCEL_RACE):
                self.fill(order_id)
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

    def fill(self, order_id: str, shares: int | None = None) -> int:
        """Let a stranger take an open order, whatever stands before it in the queue.

        Args:
            order_id: The order.
            shares: Base units, everything that is open by default.

        Returns:
            The base units that were filled, 0 if the order does not rest.
        """
        order = self._blotter.orders.get(order_id)
        if order is None or not order.is_open:
            return 0
        live = self._floor.live(order.market)
        fill = live.book.force(order_id, shares)
        if fill is None:
            return 0
        self._blotter.made(live, [fill], None)
        live.publish(books=True)
        return fill.size

    def withdraw(self, order_id: str) -> bool:
        """Let the venue itself end an order; return whether it was open (§5.3)."""
        order = self._blotter.orders.get(order_id)
        if order is None or not order.is_open:
            return False
        live = self._floor.live(order.market)
        self._blotter.end(order, live, INVALID)
        live.publish()
        return True

    def withdraw_uncovered(self, account: VenueAccount) -> None:
        """End the latest orders of `account` until it can pay for all that are open (§5.3)."""
        for order in reversed(self._blotter.open_orders(account)):
            if order.side is Side.BUY:
                held, reserved = account.spendable, self._blotter.reserved_cash(account)
            else:
                held = account.held(order.token)
                reserved = self._blotter.reserved_shares(account, order.token)
            if reserved > held:
                self.withdraw(order.order_id)

    def cancel_key(self, login: Login) -> None:
        """Cancel all orders that were sent with one key."""
        orders = self._blotter.open_orders(login.account, api_key=login.api_key)
        self.cancel(login.account, [order.order_id for order in orders])

    # ------------------------------------------------------------------ ends

    def _expired(self, order: VenueOrder) -> None:
        if order.is_open:
            live = self._floor.live(order.market)
            self._blotter.end(order, live, EXPIRED)
            live.publish()

    def _resolved(self, live: LiveMarket, winner: Outcome) -> None:
        for order in self._blotter.open_in(live.market):
            self._blotter.end(order, live, RESOLVED)
        live.publish()
        if not self._settings.redeem:
            return
        for outcome in Outcome:
            for account in self._accounts:
                self._blotter.redeem(account, live, outcome, outcome is winner)


def _base(amount: Decimal) -> int:
    return int(amount * SHARE)
