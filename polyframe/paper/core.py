"""The paper venue: one account, all its markets, and what is still to happen. Pure and synchronous.

Whoever drives it says what time it is: requests and messages of the feed come in with their time,
`advance` does what has become due, and what is to be told lies in `outbox`. Times are epoch
milliseconds of the receiver's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from itertools import groupby

from polyframe.exchange.base import CancelAnswer, PlaceAnswer, PreparedOrder
from polyframe.model.events import MarketMessage, OrderEventKind
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderType, PlaceResult, Side
from polyframe.paper.account import PaperAccount
from polyframe.paper.contracts import PaperContracts
from polyframe.paper.matching import Fill, PaperMarket
from polyframe.paper.models import Chance, PaperModels
from polyframe.paper.rules import GTD_EARLY_MS, malformed, refused, unmatchable
from polyframe.paper.schedule import Schedule
from polyframe.paper.trades import PaperTrades
from polyframe.paper.values import (
    CANCELED,
    EXPIRED,
    INVALID,
    MATCHED,
    RESOLVED,
    Cancelled,
    Match,
    PaperOrder,
    Placed,
    Told,
)

FORGET_AFTER_MS = 3_600_000
"""How long after its end a resolved market is still known."""

_PLACEMENT, _UPDATE, _CANCELLATION = (
    OrderEventKind.PLACEMENT,
    OrderEventKind.UPDATE,
    OrderEventKind.CANCELLATION,
)


class PaperVenue:
    """Takes orders against markets that do not know of them.

    Args:
        models: What stands between an order and its fills.
        cash: USD of the account at the start.
        chance: Makes a source of chance by name, always the same for the same name.
        ignore: Told why a message of the feed could not be used, in one word.

    Attributes:
        account: Cash and shares.
        orders: By id; those of forgotten markets are gone.
        trades: Likewise, with their settlement.
        contracts: Splits and merges.
        markets: By slug.
        outbox: What is to be told, in order; who drives the venue empties it.
        schedule: What is still to happen.
    """

    def __init__(
        self,
        models: PaperModels,
        cash: Decimal,
        chance: Callable[[str], Chance],
        ignore: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.models = models
        self.account = PaperAccount(cash)
        self.orders: dict[str, PaperOrder] = {}
        self.markets: dict[str, PaperMarket] = {}
        self.outbox: deque[Told] = deque()
        self.schedule = Schedule()
        self.trades = PaperTrades(
            models, self.account, chance, self.schedule, self.outbox, self._withdraw_uncovered
        )
        self.contracts = PaperContracts(
            models, self.account, chance, self.schedule, self._withdraw_uncovered
        )
        self._latency = chance("latency")
        self._ignore = ignore
        self._held: set[str] = set()

    # ------------------------------------------------------------------ time

    @property
    def next_due_ms(self) -> int | None:
        """When something is to happen next, ``None`` if nothing is."""
        return self.schedule.next_ms

    def advance(self, now_ms: int) -> None:
        """Do everything that has become due, in order."""
        self.schedule.advance(now_ms)

    # ------------------------------------------------------------------ markets

    def add_market(self, market: Market) -> None:
        """Begin to trade a market; one that is known already stays as it is."""
        if market.slug not in self.markets:
            models = self.models
            self.markets[market.slug] = PaperMarket(
                market, models.queue, models.stale_ms, self._ignore
            )
            self.schedule.at(market.window.end * 1000, partial(self._close, market))

    def on_message(self, slug: str, message: MarketMessage, now_ms: int) -> None:
        """Take a message of the feed of one market, after all that was due before it."""
        self.schedule.advance(now_ms)
        found = self.markets.get(slug)
        if found is not None and (fills := found.on_message(message, now_ms)):
            self._made(found, fills, now_ms)

    def on_gap(self, slug: str) -> None:
        """Know nothing of a market's book until the next snapshot."""
        if slug in self.markets:
            self.markets[slug].forget()

    def _close(self, market: Market, now_ms: int) -> None:
        for order in self.open_orders(market):
            self._end(order, RESOLVED, now_ms)

    def resolve(self, market: Market, winner: Outcome, now_ms: int) -> None:
        """Pay out what is held of a market, once, and forget markets that are long over."""
        self.advance(now_ms)
        if market.slug not in self.markets:
            return
        self._close(market, now_ms)
        self.account.pay_out(market, winner)
        for found in list(self.markets.values()):
            self._forget(found.market, now_ms)

    def _forget(self, market: Market, now_ms: int) -> None:
        is_over = market.window.end * 1000 + FORGET_AFTER_MS < now_ms
        is_paid = market.up_token in self.account.worth
        if not (is_over and is_paid and self.trades.are_final(market)):
            return
        del self.markets[market.slug]
        self.account.forget(market)
        self.trades.forget(market)
        for order in [order for order in self.orders.values() if order.market.slug == market.slug]:
            del self.orders[order.order_id]

    # ------------------------------------------------------------------ requests

    def send_order(self, prepared: PreparedOrder, now_ms: int) -> None:
        """Send an order; its `Placed` comes when it has reached the venue and been judged."""
        self.add_market(prepared.market)
        self.schedule.at(self._arrival(now_ms), partial(self._arrive, prepared))

    def send_cancel(self, ticket: int, order_ids: Iterable[str], now_ms: int) -> None:
        """Send a cancel; its `Cancelled` of that number comes when it has reached the venue."""
        self.schedule.at(self._arrival(now_ms), partial(self._cancel, ticket, tuple(order_ids)))

    def _arrival(self, now_ms: int) -> int:
        there, chance = self.models.order_latency, self._latency
        return now_ms + there.sample_ms(chance) + self.models.feed_latency.sample_ms(chance)

    def _arrive(self, prepared: PreparedOrder, now_ms: int) -> None:
        order = PaperOrder(
            prepared.venue_id,
            prepared.market,
            prepared.request,
            now_ms,
            in_shares=self.models.buys_in_shares,
        )
        if order.order_id in self.orders or order.order_id in self._held:
            text = f"order {order.order_id} is invalid. Duplicated."
            self._answer(order, PlaceAnswer(PlaceResult.UNKNOWN, "duplicate", text))
            return
        plan, is_whole, refusal = self._check(order, now_ms)
        if refusal is not None:
            self._answer(order, refusal)
        elif plan and self.models.taker_delay_ms:
            self._held.add(order.order_id)
            self.schedule.at(now_ms + self.models.taker_delay_ms, partial(self._release, order))
        else:
            self._execute(order, plan, is_whole, now_ms)

    def _release(self, order: PaperOrder, now_ms: int) -> None:
        """Let a marketable order go on after the delay, against the book of now (PROTOCOL §2.3)."""
        self._held.discard(order.order_id)
        plan, is_whole, refusal = self._check(order, now_ms)
        if refusal is not None:
            self._answer(order, refusal)
        else:
            self._execute(order, plan, is_whole, now_ms)

    def _check(
        self, order: PaperOrder, now_ms: int
    ) -> tuple[list[Match], bool, PlaceAnswer | None]:
        """Return what an order would take now, whether that is all of it, and why it must not."""
        market = self.markets[order.market.slug]
        refusal = malformed(order, market, now_ms)
        if refusal is not None:
            return [], False, refusal
        plan, is_whole = market.plan(order, now_ms)
        held = self.held_cash if order.request.side is Side.BUY else self.held_shares(order.token)
        return plan, is_whole, unmatchable(order, plan, self.account, held)

    def _execute(
        self, order: PaperOrder, plan: Sequence[Match], is_whole: bool, now_ms: int
    ) -> None:
        market, kind = self.markets[order.market.slug], order.request.order_type
        self.orders[order.order_id] = order
        if kind is OrderType.FOK and not is_whole:
            text = "order couldn't be fully filled. FOK orders are fully filled or killed."
            self._kill(order, "fok_not_filled", text, now_ms)
            return
        if kind is OrderType.FAK and not plan:
            text = "no orders found to match with FAK order."
            self._kill(order, "fak_not_filled", text, now_ms)
            return
        self._tell(order, _PLACEMENT, now_ms)
        for _, level in groupby(plan, key=lambda match: match.price):
            self._took(market, order, list(level), now_ms)
        if order.spends and is_whole:
            order.status = MATCHED  # in shares it may be more or less than was asked for
        elif not order.open_size:
            order.status = MATCHED
        elif kind.rests:
            market.rest(order, now_ms)
            self._expect_expiry(order)
        if plan:
            self._tell(order, _UPDATE, now_ms)
        if order.is_open and not kind.rests:
            self._end(order, CANCELED, now_ms)
        self._answer(order, PlaceAnswer(PlaceResult.MATCHED if plan else PlaceResult.LIVE))

    def restore(self, order: PaperOrder) -> None:
        """Take an order of an earlier run; its market is known already."""
        self.orders[order.order_id] = order
        if order.is_open:
            self.markets[order.market.slug].keep(order)
            self._expect_expiry(order)

    def _expect_expiry(self, order: PaperOrder) -> None:
        if order.request.expires is not None:
            ends_ms = order.request.expires * 1000 - GTD_EARLY_MS
            self.schedule.at(ends_ms, partial(self._expire, order))

    def _kill(self, order: PaperOrder, code: str, text: str, now_ms: int) -> None:
        self._end(order, f"{CANCELED}_{text}", now_ms)
        self._answer(order, refused(code, text))

    def _cancel(self, ticket: int, order_ids: tuple[str, ...], now_ms: int) -> None:
        cancelled: set[str] = set()
        reasons: dict[str, str] = {}
        for order_id in order_ids:
            order = self.orders.get(order_id)
            if order_id in self._held:
                reasons[order_id] = "order is delayed and cannot be canceled"
            elif order is None:
                reasons[order_id] = f"Order not found or already canceled: {order_id}"
            elif not order.is_open:
                reasons[order_id] = "already canceled or matched"
            else:
                self._end(order, CANCELED, now_ms)
                cancelled.add(order_id)
        self.outbox.append(Cancelled(ticket, CancelAnswer(frozenset(cancelled), reasons)))

    def _expire(self, order: PaperOrder, now_ms: int) -> None:
        if order.is_open:
            self._end(order, EXPIRED, now_ms)

    def _end(self, order: PaperOrder, status: str, now_ms: int) -> None:
        if order.market.slug in self.markets:
            self.markets[order.market.slug].remove(order)
        order.status = status
        self._tell(order, _CANCELLATION, now_ms)

    def _answer(self, order: PaperOrder, answer: PlaceAnswer) -> None:
        self.outbox.append(Placed(order.order_id, answer))

    def _tell(self, order: PaperOrder, kind: OrderEventKind, now_ms: int) -> None:
        self.outbox.append(order.report(kind, now_ms))

    # ------------------------------------------------------------------ trades

    def _took(
        self, market: PaperMarket, order: PaperOrder, level: list[Match], now_ms: int
    ) -> None:
        """Carry out and book what an order takes at one price: one trade."""
        size = sum(match.size for match in level)
        legs = [order.leg(level[0].price, size, is_taker=True)]
        makers = [match.maker for match in level if match.maker is not None]
        for match in level:
            market.take(order, match)
            if match.maker is not None:
                legs.append(match.maker.leg(match.price, match.size, is_taker=False))
        self.trades.book(order.market, order.token, legs, now_ms)
        self._tell_makers(makers, now_ms)

    def _made(self, market: PaperMarket, fills: Sequence[Fill], now_ms: int) -> None:
        """Book what others took of our resting orders: one trade for each price."""
        for _, level in groupby(fills, key=lambda fill: (fill[0].is_bid, fill[0].limit)):
            met = _merged(level)
            legs = [order.leg(order.limit, size, is_taker=False) for order, size in met]
            self.trades.book(market.market, market.market.up_token, legs, now_ms)
            self._tell_makers([order for order, _ in met], now_ms)

    def _tell_makers(self, makers: Iterable[PaperOrder], now_ms: int) -> None:
        for maker in makers:
            if not maker.open_size:
                maker.status = MATCHED
            self._tell(maker, _UPDATE, now_ms)

    def _withdraw_uncovered(self, now_ms: int) -> None:
        """End the latest orders until what is left is covered (PROTOCOL §5.3)."""
        for order in sorted(self.open_orders(), key=lambda order: -order.created_ms):
            if order.request.side is Side.BUY:
                is_covered = self.held_cash <= self.account.cash
            else:
                is_covered = self.held_shares(order.token) <= self.account.sellable(order.token)
            if not is_covered:
                self._end(order, INVALID, now_ms)

    # ------------------------------------------------------------------ questions

    def open_orders(self, market: Market | None = None) -> list[PaperOrder]:
        """Return the open orders (of one market)."""
        return [
            order
            for slug, found in self.markets.items()
            if market is None or slug == market.slug
            for order in found.resting.values()
        ]

    @property
    def held_cash(self) -> Decimal:
        """USD that open buys hold: the venue reserves price times size, and no fee."""
        return sum((order.reserved(Side.BUY) for order in self.open_orders()), ZERO)

    def held_shares(self, token: str) -> Decimal:
        """Shares of a token that open sells hold."""
        orders = (order for order in self.open_orders() if order.token == token)
        return sum((order.reserved(Side.SELL) for order in orders), ZERO)


def _merged(fills: Iterable[Fill]) -> list[Fill]:
    """Return fills with all parts of one order, which have one price, as one."""
    sizes: dict[str, Fill] = {}
    for order, size in fills:
        before = sizes[order.order_id][1] if order.order_id in sizes else 0
        sizes[order.order_id] = (order, before + size)
    return list(sizes.values())
