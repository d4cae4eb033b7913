"""The orders and fills of one cycle, kept consistent: values, indexes, bookings, reservations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

from attrs import evolve

from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import Fill, TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.lifecycle import OrderTrack, may_fill, next_status, unreported
from polyframe.trading.positions import Booking, Holdings, exact

_RESOLVED = "market resolved"
_EXPLAINED = frozenset(
    {OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.UNKNOWN}
)


class OrderTable:
    """All orders of one cycle with their fills.

    Reservations follow one rule: *an order holds what it can still cost*. That is its rest while it
    is open; when it is over, what is matched but not reported yet; nothing once the market is
    resolved. Foreign orders hold nothing here, whatever they hold at the venue.

    Args:
        market: The market; its fees are used.
        account: Whose cash buys reserve.
        holdings: Where fills are booked.

    Attributes:
        orders: By client id, in order of birth.
        tracks: What is known besides, by client id.
        fills: By (trade id, client id), in order of first sight, failed ones included.
        volume: USD traded, both sides, failed trades not counted.
        bought: The part of `volume` that was paid for shares.
        cost_to_come: USD that buys may still pay for shares, without fees.
    """

    def __init__(self, market: Market, account: Account, holdings: Holdings) -> None:
        self._market = market
        self._account = account
        self._holdings = holdings
        self._orders: dict[str, Order] = {}
        self._fills: dict[tuple[str, str], Fill] = {}
        self.orders: Mapping[str, Order] = MappingProxyType(self._orders)
        self.fills: Mapping[tuple[str, str], Fill] = MappingProxyType(self._fills)
        self.tracks: dict[str, OrderTrack] = {}
        self.volume = self.bought = ZERO
        # Indexes of the above, so that no question walks over all orders of a long cycle.
        self._by_venue_id: dict[str, str] = {}
        self._open: dict[str, None] = {}
        self._awaiting: dict[str, None] = {}
        self._unsettled: dict[tuple[str, str], None] = {}
        self._shares_held: dict[str, Decimal] = {}
        self._offered: dict[tuple[str, Outcome], Decimal] = {}
        self._cash_held: dict[str, Decimal] = {}
        # What indexes and reservations of each order were worked out from.
        self._held_for: dict[str, tuple[object, ...]] = {}
        # What is to come of each order in shares and USD, and added up as it changes: the risk guard
        # asks for the sums before every order.
        self._to_come: dict[str, tuple[Decimal, Decimal]] = {}
        self._shares_to_come: dict[tuple[Side, Outcome], Decimal] = {}
        self.cost_to_come = ZERO

    # ---------------------------------------------------------------------------- reading

    def by_venue_id(self, venue_id: str) -> Order | None:
        """Return the order that the venue calls `venue_id`, ``None`` if it is not known."""
        client_id = self._by_venue_id.get(venue_id)
        return None if client_id is None else self._orders[client_id]

    def open_orders(self) -> tuple[Order, ...]:
        """Return the orders that may still fill."""
        return tuple(self._orders[client_id] for client_id in self._open)

    def awaits_trades(self, client_id: str) -> bool:
        """Return whether an order is over and matched shares of it wait for their trade."""
        return client_id in self._awaiting and client_id not in self._open

    def shares_to_come(self, side: Side, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that may still be bought or sold, by all orders together."""
        return self._shares_to_come.get((side, outcome), ZERO)

    def to_come(self, client_id: str) -> tuple[Decimal, Decimal]:
        """Return the shares that one order may still trade, and the USD that buying them may cost."""
        return self._to_come.get(client_id, (ZERO, ZERO))

    @property
    def open_count(self) -> int:
        """How many orders may still fill."""
        return len(self._open)

    @property
    def is_settled(self) -> bool:
        """Whether no order is open, no match is unreported and every fill is final."""
        return not (self._open or self._awaiting or self._unsettled)

    @property
    def in_motion(self) -> bool:
        """Whether matched shares wait for their trade, or a trade for its settlement."""
        return bool(self._awaiting or self._unsettled)

    def cash_held(self, client_id: str) -> Decimal:
        """Return the USD that an order holds of the account's cash, 0 if none."""
        return self._cash_held.get(client_id, ZERO)

    @property
    def all_cash_held(self) -> Decimal:
        """USD that the orders hold of the account's cash."""
        return sum(self._cash_held.values(), ZERO)

    def shares_held(self, outcome: Outcome, strategy: str) -> Decimal:
        """Return the shares of a strategy that its sells hold."""
        return self._offered.get((strategy, outcome), ZERO)

    def worst_cost(self, order: Order, shares: Decimal) -> Decimal:
        """Return the most that buying `shares` through `order` can cost in USD, with the fee.

        A better price costs less in all, though its fee may be higher: the fee per share grows by
        less than the price falls.
        """
        fee = ZERO if order.post_only else self._market.fees.taker_fee(shares, order.price)
        return exact(order.price * shares) + fee

    # ---------------------------------------------------------------------------- changing

    def reserve(self, order: Order, track: OrderTrack) -> bool:
        """Reserve the cash for a new buy; say whether it is there."""
        cost = self.worst_cost(order, may_fill(order, track))
        if not self._account.reserve(self._key(order.client_id), cost):
            return False
        _keep(self._cash_held, order.client_id, cost)
        return True

    def add(self, order: Order, track: OrderTrack) -> None:
        """Register an order; `refresh` follows."""
        self._orders[order.client_id] = order
        self.tracks[order.client_id] = track
        self._by_venue_id[order.venue_id] = order.client_id

    def take_over(self, parked: Order, order: Order) -> list[tuple[str, str]]:
        """Remove a foreign order and hand its fills to the owner of `order`; return their keys."""
        old, new = parked.client_id, order.client_id
        trades = self.tracks.pop(old).trades
        del self._orders[old]
        self._open.pop(old, None)
        self._awaiting.pop(old, None)
        self._held_for.pop(old, None)
        self._count_to_come(parked, ZERO)
        for number in trades.values():
            if number is not None:
                self._holdings.hand_over(order.outcome, number, parked.strategy, order.strategy)
        fills = list(self._fills.values())
        self._fills.clear()
        for fill in fills:
            if fill.client_id == old:
                fill = evolve(fill, client_id=new, strategy=order.strategy)
            self._fills[fill.trade_id, fill.client_id] = fill
        self._unsettled = {
            key: None for key, fill in self._fills.items() if not fill.status.is_final
        }
        return [(trade_id, new) for trade_id in trades]

    def record(self, fill: Fill, known: Fill | None) -> None:
        """Let a new fill or a new status of it act on cash and position."""
        key = (fill.trade_id, fill.client_id)
        track = self.tracks[fill.client_id]
        track.proven = True
        self._fills[key] = fill
        if fill.status.is_final:
            self._unsettled.pop(key, None)
        else:
            self._unsettled[key] = None
        number = track.trades.get(fill.trade_id)
        if known is None:
            number = self._book(fill) if _counts(fill) else None
        elif number is not None and not _counts(fill):
            self._holdings.take_back(fill.strategy, fill.outcome, number)
            self._trade(fill, -_notional(fill))
            number = None
        elif number is not None and fill.status is TradeStatus.CONFIRMED:
            self._holdings.settle(fill.strategy, fill.outcome, number)
        track.trades[fill.trade_id] = number

    def restore(self, orders: Iterable[tuple[Order, OrderTrack]], fills: Iterable[Fill]) -> None:
        """Take over the orders and fills of an earlier run; only as long as nothing is here.

        Their bookings are those of `booked`. Reservations follow with `hold_restored`.
        """
        for order, track in orders:
            self.add(order, track)
        for fill in fills:
            key = (fill.trade_id, fill.client_id)
            self._fills[key] = fill
            if not fill.status.is_final:
                self._unsettled[key] = None
            if self.tracks[fill.client_id].trades[fill.trade_id] is not None:
                self._trade(fill, _notional(fill))

    def booking_numbers(self) -> set[int]:
        """Return the numbers under which fills are booked."""
        return {
            number
            for track in self.tracks.values()
            for number in track.trades.values()
            if number is not None
        }

    def booked(self) -> Iterator[tuple[int, str, Outcome, Booking]]:
        """Yield what is booked for fills, with numbers, strategies and outcomes."""
        for (trade_id, client_id), fill in self._fills.items():
            number = self.tracks[client_id].trades[trade_id]
            if number is not None:
                yield number, fill.strategy, fill.outcome, _booking(fill)

    def hold_restored(self) -> None:
        """Reserve what the orders can still cost, whatever is available: they are at the venue."""
        for client_id, order in self._orders.items():
            self._hold(order, self.tracks[client_id])

    def _book(self, fill: Fill) -> int:
        self._trade(fill, _notional(fill))
        return self._holdings.book(fill.strategy, fill.outcome, _booking(fill))

    def _trade(self, fill: Fill, notional: Decimal) -> None:
        self.volume += notional
        if fill.side is Side.BUY:
            self.bought += notional

    def refresh(
        self, order: Order, now_ms: int, wanted: OrderStatus | None = None, reason: str = ""
    ) -> bool:
        """Work out an order anew from its fills and what is known of it; say whether it changed."""
        before, track = self._orders[order.client_id], self.tracks[order.client_id]
        if track.trades:
            order = self._with_fills(order, track)
        market_open = self._holdings.winner is None
        status = next_status(order, track, wanted, market_open=market_open)
        is_step = status is not before.status
        if is_step:
            if not reason and not market_open:
                reason = _RESOLVED
            order = order.stepped(status, reason if status in _EXPLAINED else "", now_ms)
        elif order is not before and order != before:
            is_step, order = True, evolve(order, updated_ms=now_ms)
        self._orders[order.client_id] = order
        self._hold(order, track)
        return is_step

    def _with_fills(self, order: Order, track: OrderTrack) -> Order:
        """Return an order as its fills make it, and note how many shares the venue has matched."""
        fills = [self._fills[trade_id, order.client_id] for trade_id in track.trades]
        counted = [fill for fill in fills if _counts(fill)]
        filled = sum((fill.size for fill in counted), ZERO)
        notional = sum((_notional(fill) for fill in counted), ZERO)
        track.seen = sum((fill.size for fill in fills), ZERO)
        size = order.size if track.size_known else track.seen
        average = exact(notional / filled) if filled else None
        fees = sum((fill.fee for fill in counted), ZERO)
        found = (size, filled, average, fees)
        # Making a new value costs more than all else here: many reports tell of no new fill.
        if found == (order.size, order.filled, order.average_price, order.fees):
            return order
        return evolve(order, size=size, filled=filled, average_price=average, fees=fees)

    def let_go(self) -> None:
        """Release the cash that is still held, because the market is resolved."""
        for client_id in list(self._cash_held):
            self._hold(self._orders[client_id], self.tracks[client_id])

    def forsake(self) -> None:
        """Release the cash that is held, whatever the orders can still cost."""
        for client_id, held in self._cash_held.items():
            self._account.release(self._key(client_id), held)
        self._cash_held.clear()
        self._held_for.clear()

    def _hold(self, order: Order, track: OrderTrack) -> None:
        """Make the indexes and reservations fit the order."""
        client_id, is_over = order.client_id, self._holdings.winner is not None
        is_open = order.is_open
        held_for = (is_open, order.size, order.matched, track.seen, is_over)
        if self._held_for.get(client_id) == held_for:
            return  # most steps of an order change nothing but its state
        self._held_for[client_id] = held_for
        _mark(self._open, client_id, is_open)
        _mark(self._awaiting, client_id, bool(unreported(order, track)))
        shares = may_fill(order, track)
        self._count_to_come(order, shares)
        if order.is_external:
            return
        if is_over:
            shares = ZERO
        if order.side is Side.SELL:
            owner = (order.strategy, order.outcome)
            more = shares - self._shares_held.get(client_id, ZERO)
            self._offered[owner] = self._offered.get(owner, ZERO) + more
            _keep(self._shares_held, client_id, shares)
            return
        cost = self.worst_cost(order, shares) if shares else ZERO
        held = self.cash_held(client_id)
        if cost > held:
            self._account.extend(self._key(client_id), cost - held)
        elif cost < held:
            self._account.release(self._key(client_id), held - cost)
        _keep(self._cash_held, client_id, cost)

    def _count_to_come(self, order: Order, shares: Decimal) -> None:
        """Let the sums of what is to come contain `shares` of an order, instead of what they did."""
        key = (order.side, order.outcome)
        cost = exact(order.price * shares) if shares and order.side is Side.BUY else ZERO
        shares_before, cost_before = self._to_come.pop(order.client_id, (ZERO, ZERO))
        if shares:
            self._to_come[order.client_id] = (shares, cost)
        self._shares_to_come[key] = self.shares_to_come(*key) + shares - shares_before
        self.cost_to_come += cost - cost_before

    def _key(self, client_id: str) -> str:
        # With the market's name: two series may use the same client ids, and share the account.
        return f"{self._market.slug}/{client_id}"


def _counts(fill: Fill) -> bool:
    return fill.status is not TradeStatus.FAILED


def _booking(fill: Fill) -> Booking:
    notional, buys = _notional(fill), fill.side is Side.BUY
    return Booking(
        shares=fill.size if buys else -fill.size,
        cash=-notional if buys else notional,
        fee=fill.fee,
        settled=fill.status is TradeStatus.CONFIRMED,
    )


def _notional(fill: Fill) -> Decimal:
    return exact(fill.price * fill.size)


def _mark(index: dict[str, None], key: str, present: bool) -> None:
    if present:
        index[key] = None
    else:
        index.pop(key, None)


def _keep(amounts: dict[str, Decimal], key: str, amount: Decimal) -> None:
    if amount:
        amounts[key] = amount
    else:
        amounts.pop(key, None)
