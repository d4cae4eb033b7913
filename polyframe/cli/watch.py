"""What happens in a run, as short events for people."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal

from attrs import frozen

from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.model.events import MarketTraded, OrderChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.series import Series
from polyframe.model.trade import TradeStatus
from polyframe.trader import Trader
from polyframe.trading.ledger import CycleRecord, CycleStatus
from polyframe.trading.reconcile import ReconcileReport, describe

_TOLD_ORDERS = frozenset(
    {
        OrderStatus.LIVE,
        OrderStatus.UNKNOWN,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
    }
)


_NO_REASONS = frozenset({"CANCELED", "CANCELLED"})
"""The venue's status of an order that was only cancelled: the event says so itself."""

_STATUS_WORDS = {OrderStatus.LIVE: "accepted", OrderStatus.UNKNOWN: "sent, no answer"}


@frozen
class Event:
    """One line of the story.

    Attributes:
        time: Market time in epoch seconds.
        kind: ``"cycle"``, ``"order"``, ``"fill"``, ``"check"``, ``"result"`` or ``"pause"``.
        text: What happened.
    """

    time: float
    kind: str
    text: str

    def line(self, *, dated: bool = False) -> str:
        """Return it as plain text, with the day if `dated`."""
        day = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%d ") if dated else ""
        return f"{day}{clock_text(self.time)}  {self.kind:<6}  {self.text}"


class Watch:
    """Follows a trader from outside: the ledger tells of cycles, their sessions of orders.

    Args:
        env: The environment.
        trader: The trader with its strategies; running or about to.
        tell: Called with every event.
        wants_more: Says whether another market of a series is to follow, after one has ended.
        keep: Events kept in `events`.
    """

    def __init__(
        self,
        env: Environment,
        trader: Trader,
        tell: Callable[[Event], None],
        wants_more: Callable[[Series], bool],
        keep: int = 50,
    ) -> None:
        self.events: deque[Event] = deque(maxlen=keep)
        self._env = env
        self._trader = trader
        self._names_markets = len(trader.series) > 1
        self._tell = tell
        self._wants_more = wants_more
        self._known: dict[str, CycleStatus] = {}
        env.ledger.subscribe(self._on_record)

    def add(self, kind: str, text: str) -> None:
        """Add an event of now."""
        event = Event(self._env.clock.time(), kind, text)
        self.events.append(event)
        self._tell(event)

    # ------------------------------------------------------------------ cycles

    def _on_record(self, record: CycleRecord) -> None:
        before = self._known.get(record.slug)
        self._known[record.slug] = record.status
        if record.status is before:
            return
        # Records change in the middle of a switch: what needs its outcome looks a moment later.
        loop = asyncio.get_running_loop()
        if record.status is CycleStatus.OPEN:
            self.add("cycle", f"{record.slug} begins")
            loop.call_soon(self._attach, Series.parse(record.series))
        elif record.status is CycleStatus.RESOLVING:
            self.add("cycle", f"{record.slug} is over")
            loop.call_soon(self._check_pause, Series.parse(record.series))
        elif record.status is CycleStatus.RESOLVED:
            profit = "" if not record.orders else f", profit {signed(record.profit)} USD"
            self.add("result", f"{record.slug}: {record.winner} wins{profit}")
        else:
            self.add("result", f"{record.slug}: not resolved when the run ended")

    def _attach(self, series: Series) -> None:
        session = self._trader.session(series)
        if session is not None:
            session.subscribe(self)

    def _check_pause(self, series: Series) -> None:
        if self._trader.session(series) is None and self._wants_more(series):
            which = f"{series}: " if self._names_markets else ""
            self.add("pause", f"{which}no market now: trading is paused until the next one appears")

    def _add_of(self, slug: str, kind: str, text: str) -> None:
        """Add an event of one market, which is named if there may be several at a time."""
        self.add(kind, f"{slug}: {text}" if self._names_markets else text)

    # ------------------------------------------------------------------ subscriber

    @property
    def wants_books(self) -> bool:
        """Prices and books are no news; a screen reads them when it draws."""
        return False

    @property
    def is_sated(self) -> bool:
        """It is not told of books."""
        return True

    def price_changed(self, outcome: Outcome) -> None:
        """No news either."""

    def book_changed(self, outcome: Outcome) -> None:
        """Not asked for."""

    def market_traded(self, event: MarketTraded) -> None:
        """Nor the trades of others."""

    def order_changed(self, event: OrderChanged) -> None:
        """Tell of orders that rest, end unfilled, are refused, or are in doubt."""
        order = event.order
        if order.status in _TOLD_ORDERS and order.status is not event.previous:
            # The first sentence of the venue's words says it; some go on with an explanation.
            words = order.reason.partition(". ")[0]
            is_news = bool(words) and words not in _NO_REASONS
            reason = f" ({words})" if is_news and not order.filled else ""
            filled = f", {shares(order.filled)} filled" if order.filled else ""
            status = _STATUS_WORDS.get(order.status, order.status.value)
            text = f"{order_text(order)} {status}{filled}{reason}"
            self._add_of(order.slug, "order", text)

    def trade_changed(self, event: TradeChanged) -> None:
        """Tell of new fills and of those that failed."""
        fill = event.fill
        if fill.status is TradeStatus.FAILED:
            what = "did not settle and is reversed"
        elif event.previous is None:
            what = f"fee {fill.fee:.2f} USD" if fill.is_taker else "as maker, no fee"
        else:
            return
        verb = "bought" if fill.side is Side.BUY else "sold"
        text = f"{verb} {shares(fill.size)} {fill.outcome} at {price(fill.price)}, {what}"
        self._add_of(fill.slug, "fill", text)

    def reconciled(self, report: ReconcileReport) -> None:
        """Tell what a comparison with the venue found."""
        self._add_of(report.slug, "check", describe(report))


def never_found(env: Environment, series: Iterable[Series]) -> list[Series]:
    """Return those of which no cycle was begun, once the venue said of some market that there is none."""
    if not env.counters.get(Count.MARKET_WAITS, "not_found"):
        return []
    begun = {record.series for record in env.ledger}
    return [each for each in series if str(each) not in begun]


def clock_text(time: float) -> str:
    """Return market time as ``HH:MM:SS`` UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%H:%M:%S")


def order_text(order: Order) -> str:
    """Return an order in short: ``BUY 10 Up at 0.61 FAK``."""
    kind = "post-only" if order.post_only else order.order_type.value
    return f"{order.side} {shares(order.size)} {order.outcome} at {price(order.price)} {kind}"


def shares(size: Decimal) -> str:
    """Return shares without needless zeros."""
    return f"{size.quantize(Decimal('0.01')):f}".rstrip("0").rstrip(".")


def price(value: Decimal | None) -> str:
    """Return a price with two to six decimals, a dash for none."""
    if value is None:
        return "–"
    # The mean price of a taker may have twenty.
    text = f"{round(value, 6).normalize():f}"
    return text if len(text) >= 4 else f"{value:.2f}"


def signed(value: Decimal | None) -> str:
    """Return USD with its sign, a dash for none."""
    if value is None:
        return "–"
    return f"{value:+.2f}" if value else "0.00"
