"""One market, one generation: the only door through which events reach a strategy.

A session owns its market connection and both books. Everything that comes in passes its gate; what
passes is given the cycle's names (slug, outcome) and goes on: prices to the books and from there,
merged, to the subscribers; orders and trades to the engine and from there, one by one, to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import StaleCycleError
from polyframe.marketbooks import MarketBooks, Pace
from polyframe.model.book import Book
from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    MarketMessage,
    MarketResolved,
    MarketTraded,
    OrderChanged,
    OrderReport,
    PriceChanged,
    StreamState,
    TickSizeChange,
    TradeChanged,
    TradePrint,
    TradeReport,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import units_price
from polyframe.model.stretch import Changes
from polyframe.trading.reconcile import ReconcileReport

if TYPE_CHECKING:
    from polyframe.exchange.base import DataStream, Exchange, Solo

log = logging.getLogger(__name__)


class Subscriber(Protocol):
    """Takes what passed the gate. Every call is synchronous; one that raises is counted.

    Attributes:
        wants_books: Whether `book_changed` is called; always the same.
    """

    @property
    def wants_books(self) -> bool:
        """Whether to be told of every change of a level."""
        ...

    @property
    def is_sated(self) -> bool:
        """Whether `book_changed` would tell nothing new: it was called for both, and nobody has looked since."""
        ...

    def price_changed(self, outcome: Outcome) -> None:
        """The best bid or ask of `outcome` changed: ask the session for the latest."""
        ...

    def book_changed(self, outcome: Outcome) -> None:
        """Some level of `outcome`'s book changed."""
        ...

    def market_traded(self, event: MarketTraded) -> None:
        """Somebody traded in this market."""
        ...

    def order_changed(self, event: OrderChanged) -> None:
        """An order of the account in this market changed."""
        ...

    def trade_changed(self, event: TradeChanged) -> None:
        """A fill of the account in this market is new, settled or failed."""
        ...

    def reconciled(self, report: ReconcileReport) -> None:
        """A comparison with the venue found something."""
        ...


class UserGate(Protocol):
    """What a session hands order and trade reports to once they passed its gate."""

    def apply_order_report(self, generation: int, report: OrderReport) -> None:
        """Apply what the venue says of an order."""
        ...

    def apply_trade_report(self, generation: int, report: TradeReport) -> None:
        """Apply what the venue says of a trade."""
        ...


class SessionState(Enum):
    """Life of a session; it only moves forward."""

    OPEN = "open"
    """The gate is open (also while the session is prepared ahead of its window)."""
    CLOSING = "closing"
    """The gate is shut; the last known values can still be read by strategies that clean up."""
    DEAD = "dead"
    """Every use raises `StaleCycleError`."""


class ExchangeSession:
    """One market for one cycle.

    Args:
        market: The market.
        clock: Market time, for ages.
        counters: Where drops and passes are counted.
        user_gate: Takes order and trade reports behind the gate (the series' `TradingService`).

    Attributes:
        is_open: Whether the gate is open: `state` at the price of an attribute. Read it, never write.
        may_solo: Whether it is worth it to ask for `solo`, likewise.
    """

    def __init__(
        self, market: Market, *, clock: Clock, counters: Counters, user_gate: UserGate
    ) -> None:
        self.market = market
        self.generation = market.generation
        self.slug = market.slug
        self._condition_id = market.condition_id
        self._counters = counters
        self._user_gate = user_gate
        self._state = SessionState.OPEN
        self.is_open = True
        self._stream: DataStream | None = None
        self._take_solo: Callable[[], Solo | None] | None = None
        self.may_solo = False
        self._solo: Solo | None = None
        # Never changed in place: one who is told may leave meanwhile.
        self._subscribers: tuple[Subscriber, ...] = ()
        self._book_subscribers: tuple[Subscriber, ...] = ()
        self._outcomes = {market.up_token: Outcome.UP, market.down_token: Outcome.DOWN}
        self._books = MarketBooks(market, clock=clock, counters=counters, listener=self)
        self._books_known = asyncio.Event()
        self.connected = False
        self.resolved: MarketResolved | None = None
        self._passed_books = counters.cell(Count.GATE_PASSED, "book")
        self._passed_trades = counters.cell(Count.GATE_PASSED, "market_trade")
        self._passed_other = counters.cell(Count.GATE_PASSED, "market_other")

    # ------------------------------------------------------------------ life

    def open(self, exchange: Exchange) -> None:
        """Begin to connect. Whatever is to see the first message subscribes before."""
        self._stream = exchange.market_stream(self.market, self)
        self._take_solo = getattr(self._stream, "solo", None)  # see `Solo`
        self._set_subscribers(self._subscribers)
        self._stream.start()

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._state

    def shut(self) -> None:
        """Shut the gate, at once and for good: subscribers first, then the stream's deliveries."""
        if self._state is SessionState.OPEN:
            self._state = SessionState.CLOSING
        self.is_open = False
        # A session is garbage that has to be looked for; the rows of its market are not to wait for that.
        self._solo = self._take_solo = None
        self._set_subscribers(())
        if self._stream is not None:
            self._stream.detach()

    async def close(self) -> None:
        """Shut the gate, close the socket; afterwards every use raises. Safe to repeat."""
        self.shut()
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()
        self._state = SessionState.DEAD

    # ------------------------------------------------------------------ reading

    def book(self, outcome: Outcome) -> Book:
        """Return the live book of `outcome`; read it, never write it.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._check_alive("session.book")
        return self._books.book(outcome)

    def price(self, outcome: Outcome) -> PriceChanged:
        """Return the latest top of `outcome`'s book, also when nothing is known yet.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._check_alive("session.price")
        return self._price(outcome)

    def tick_size(self, outcome: Outcome) -> Decimal:
        """Return the price step that holds now, in USD.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._check_alive("session.tick_size")
        return self._books.book(outcome).tick_size

    @property
    def books_known(self) -> bool:
        """Whether both books had a snapshot on the present connection."""
        return self._books.known

    async def wait_books(self) -> None:
        """Return once both books are known."""
        await self._books_known.wait()

    def _check_alive(self, what: str) -> None:
        if self._state is SessionState.DEAD:
            raise StaleCycleError(what, self.generation, None)

    def _price(self, outcome: Outcome) -> PriceChanged:
        book = self._books.book(outcome)
        known = self._books.known
        return PriceChanged(
            slug=self.slug,
            generation=self.generation,
            outcome=outcome,
            bid=book.bid if known else None,
            ask=book.ask if known else None,
            bid_size=book.bid_size if known else None,
            ask_size=book.ask_size if known else None,
            known=known,
            timestamp_ms=book.timestamp_ms,
            received=book.received,
        )

    # ------------------------------------------------------------------ subscribers

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber and hand it the latest known state, Up before Down.

        Raises:
            StaleCycleError: The cycle is over.
        """
        if self._state is not SessionState.OPEN:
            what = "session.subscribe"
            raise StaleCycleError(what, self.generation, None)
        if self._solo is not None:
            self._solo.is_over = True  # who took rows alone is not alone any more
        self._set_subscribers((*self._subscribers, subscriber))
        if self._books.known:
            for outcome in Outcome:
                self._tell_price(outcome, (subscriber,))
                if subscriber.wants_books:
                    self._books.tell_book(outcome, (subscriber.book_changed,))

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; unknown ones are ignored."""
        self._set_subscribers(tuple(s for s in self._subscribers if s is not subscriber))

    def _set_subscribers(self, subscribers: tuple[Subscriber, ...]) -> None:
        self._subscribers = subscribers
        self._book_subscribers = tuple(s for s in subscribers if s.wants_books)
        self._books.on_book = tuple(s.book_changed for s in self._book_subscribers)
        self.may_solo = len(subscribers) == 1 and self._take_solo is not None

    def publish(self, change: OrderChanged | TradeChanged | ReconcileReport) -> None:
        """Hand a change that the engine made, or a comparison, to the subscribers."""
        for subscriber in self._subscribers:
            try:
                if isinstance(change, OrderChanged):
                    subscriber.order_changed(change)
                elif isinstance(change, ReconcileReport):
                    subscriber.reconciled(change)
                else:
                    subscriber.trade_changed(change)
            except Exception as error:  # noqa: BLE001
                self.subscriber_failed(error)

    def _tell_price(self, outcome: Outcome, subscribers: tuple[Subscriber, ...]) -> None:
        for subscriber in subscribers:
            try:
                subscriber.price_changed(outcome)
            except Exception as error:  # noqa: BLE001
                self.subscriber_failed(error)

    def subscriber_failed(self, error: Exception) -> None:
        """Count what a subscriber raised; called by the books, too."""
        # One subscriber's defect is not another's: the rest still hear of it.
        self._counters.add(Count.STRATEGY_ERRORS, "subscriber")
        log.error("%s: a subscriber raised", self.slug, exc_info=error)

    # ------------------------------------------------------------------ market channel

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Take a change of the market connection: either way the books are void."""
        if self._state is not SessionState.OPEN:
            self._counters.add(Count.GATE_DROPPED, "closed")
            return
        self.connected = state is StreamState.CONNECTED
        if not self.connected:
            # After a change of the tick we ask for the books afresh: that is nothing wrong.
            level = logging.INFO if reason == "tick" else logging.WARNING
            log.log(level, "%s: market stream lost (%s)", self.slug, reason)
        self._books.void("reconnect" if self.connected else "lost")

    def on_market_message(self, message: MarketMessage) -> None:
        """Gate one message of the market channel and apply it."""
        if not self.is_open:
            self._counters.add(Count.GATE_DROPPED, "closed")
        elif message.market != self._condition_id:
            reason = "foreign_market" if message.market else "no_market"
            self._counters.add(Count.GATE_DROPPED, reason)
        elif isinstance(message, BookDelta):
            # Each of its changes has a token of its own.
            if self._books.on_delta(message):
                self._passed_books.value += 1
        else:
            self._on_other(message)

    def rows(self, changes: Changes, begin: int, end: int, pace: Pace) -> Iterator[Outcome | None]:
        """Gate rows of a recording of this market, and apply them.

        What `on_market_message` does with each of their messages, at once for many.

        Args:
            changes: The rows.
            begin: Where to begin.
            end: Where to stop at the latest; at least one message behind `begin`.
            pace: Is told how late it is before anybody hears of a row.

        Returns:
            See `MarketBooks.rows`.
        """
        if self.is_open and self._books.known:
            return self._books.rows(changes, begin, end, pace, self._passed_books)
        row = changes.behind(begin)
        pace.arrive(row - 1)
        self.on_market_message(changes.message(self.market, begin, row))
        return iter((None,))

    def solo(self, subscriber: Subscriber) -> Solo | None:
        """Return the rows of a recording that `subscriber` alone is about to hear.

        ``None`` where there are none: others subscribe or have something to do first, or what comes
        next is not in rows. Live there never are.
        """
        take = self._take_solo
        if take is None or self._subscribers != (subscriber,) or not self._books.known:
            return None
        self._solo = take()
        return self._solo

    def _on_other(
        self, message: BookSnapshot | BestQuote | TradePrint | TickSizeChange | MarketResolved
    ) -> None:
        token = message.winning_token if isinstance(message, MarketResolved) else message.token
        outcome = self._outcomes.get(token)
        if outcome is None:
            self.tell_foreign(token)
        elif isinstance(message, BookSnapshot):
            if self._books.on_snapshot(message):
                self._passed_books.value += 1
        elif isinstance(message, TradePrint):
            self._passed_trades.value += 1
            self._on_print(message, outcome)
        else:
            self._passed_other.value += 1
            if isinstance(message, BestQuote):
                self._books.on_quote(message)
            elif isinstance(message, TickSizeChange):
                self._books.on_tick_change(message.new_tick)
            else:
                self.resolved = message

    def _on_print(self, message: TradePrint, outcome: Outcome) -> None:
        event = MarketTraded(
            slug=self.slug,
            generation=self.generation,
            outcome=outcome,
            price=units_price(message.price),
            size=message.size,
            side=message.side,
            timestamp_ms=message.timestamp_ms,
        )
        for subscriber in self._subscribers:
            try:
                subscriber.market_traded(event)
            except Exception as error:  # noqa: BLE001
                self.subscriber_failed(error)

    # ------------------------------------------------------------------ the books' side

    def tell_price(self, outcome: Outcome) -> None:
        """Hand on that a price changed; called by the books."""
        if self._books.known:
            self._books_known.set()
        else:
            self._books_known.clear()
        self._tell_price(outcome, self._subscribers)

    @property
    def hears_books(self) -> bool:
        """Whether it makes a difference to anybody to be told of a book; asked by the books."""
        return any(not subscriber.is_sated for subscriber in self._book_subscribers)

    def tell_foreign(self, token: str) -> None:
        """Count a message or change whose token is not of this market."""
        if token:
            self._counters.add(Count.GATE_DROPPED, "foreign_token")
        elif self._counters.add(Count.GATE_DROPPED, "no_asset") == 1:
            log.warning("%s: dropped a market message without asset id", self.slug)

    def fetch_books(self, reason: str) -> None:
        """Ask the stream for fresh books; called by the books."""
        if self._stream is not None:
            self._stream.resync(reason)

    # ------------------------------------------------------------------ user channel

    def emit_order_update(self, report: OrderReport, *, asked: bool = False) -> None:
        """Gate one order report, fill in slug and outcome, and hand it on.

        Args:
            report: What the venue says.
            asked: Whether it is an answer to a question, and not from the account's stream.
        """
        outcome = self._gate_user(report.market, report.token)
        if outcome is not None:
            self._counters.add(Count.GATE_PASSED, "asked_order" if asked else "order")
            enriched = msgspec.structs.replace(report, slug=self.slug, outcome=outcome)
            self._user_gate.apply_order_report(self.generation, enriched)

    def emit_trade_update(self, report: TradeReport, *, asked: bool = False) -> None:
        """Gate one trade report and every leg of it, fill in the slug, and hand it on.

        Args:
            report: What the venue says.
            asked: As for `emit_order_update`.
        """
        if self._gate_user(report.market, report.token) is None:
            return
        legs = tuple(leg for leg in report.legs if leg.token in self._outcomes)
        if len(legs) != len(report.legs):
            self._counters.add(Count.GATE_DROPPED, "foreign_leg", len(report.legs) - len(legs))
        self._counters.add(Count.GATE_PASSED, "asked_trade" if asked else "trade")
        enriched = msgspec.structs.replace(report, slug=self.slug, legs=legs)
        self._user_gate.apply_trade_report(self.generation, enriched)

    def _gate_user(self, market: str, token: str) -> Outcome | None:
        reason = ""
        outcome = self._outcomes.get(token)
        if self._state is not SessionState.OPEN:
            reason = "closed"
        elif not token:
            reason = "no_asset"
        elif outcome is None:
            reason = "foreign_token"
        elif market and market != self.market.condition_id:
            reason = "foreign_market"
        if not reason:
            return outcome
        if self._counters.add(Count.GATE_DROPPED, reason) == 1 and reason == "no_asset":
            log.warning("%s: dropped an order or trade event without asset id", self.slug)
        return None

    def __repr__(self) -> str:
        return f"<ExchangeSession {self.slug} {self._state.value}>"
