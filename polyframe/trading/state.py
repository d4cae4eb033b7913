"""The whole trading state of one cycle, changed by commands and by nothing else.

What proves what:

* An order is born in SUBMITTING, right before it is sent. An accepting answer, a report of the venue
  or a fill *proves* that it exists; from then on a refusal is not believed.
* Fills come from trades only, keyed by (trade id, order): whatever is said twice changes nothing.
  What the venue says is matched is a cross-check, and keeps the reservation of fills still to come.
* A final state stays. Fills that come after it are real all the same: `filled` grows and cash moves.
  A trade that fails takes everything back exactly, also after the market is resolved.

Reservations follow one rule: *an order holds what it can still cost*. That is its rest while it is
open; when it is over, what is matched but not reported yet; nothing once the market is resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

from attrs import evolve
from typing_extensions import override

from polyframe.model.events import (
    OrderChanged,
    OrderEventKind,
    OrderReport,
    TradeChanged,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderStatus, OrderType, Side
from polyframe.model.position import Position
from polyframe.model.trade import Fill, TradeLeg, TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    AdjustPosition,
    AnswerKind,
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyResolution,
    ApplyTradeReport,
    CancelOrder,
    Change,
    CycleCommand,
    Denied,
    Ignored,
    PlaceOrder,
    Query,
    Reply,
    Snapshot,
    Stale,
)
from polyframe.trading.lifecycle import DUST, OrderTrack, may_fill, next_status, unreported
from polyframe.trading.positions import Booking, Holdings, exact

_PROGRESS = {
    TradeStatus.MATCHED: 0,
    TradeStatus.RETRYING: 1,
    TradeStatus.MINED: 2,
    TradeStatus.CONFIRMED: 3,
    TradeStatus.FAILED: 3,
}
_ENDED = ("CANCELED", "CANCELLED", "INVALID")
_RESOLVED = "market resolved"


class CycleState:
    """Orders, fills, positions and cash flow of one cycle.

    It depends on the commands it was given and on nothing else, but for one question: whether the
    account has the cash that a new order or an adjustment asks for.

    Args:
        market: The market of the cycle; its token ids and fees are used.
        account: Cash and reservations, shared with other cycles.

    Attributes:
        orders: All orders by client id, in order of birth. A foreign order's client id is its id
            at the venue, and its strategy is ``""``.
        fills: All fills by (trade id, client id), in order of first sight, failed ones included.
        sequence: Number of the last change.
    """

    def __init__(self, market: Market, account: Account) -> None:
        self.market = market
        self.account = account
        self.sequence = 0
        self._holdings = Holdings(account)
        self._orders: dict[str, Order] = {}
        self._tracks: dict[str, OrderTrack] = {}
        self._by_venue_id: dict[str, str] = {}
        self._fills: dict[tuple[str, str], Fill] = {}
        self.orders: Mapping[str, Order] = MappingProxyType(self._orders)
        self.fills: Mapping[tuple[str, str], Fill] = MappingProxyType(self._fills)
        # Indexes of the above, so that no question walks over all orders of a long cycle.
        self._open: dict[str, None] = {}
        self._awaiting: dict[str, None] = {}
        self._unsettled: dict[tuple[str, str], None] = {}
        self._shares_held: dict[str, Decimal] = {}
        self._cash_held: dict[str, Decimal] = {}

    # ---------------------------------------------------------------------------- reading

    @property
    def generation(self) -> int:
        """The cycle: its start in epoch seconds."""
        return self.market.generation

    def order_by_venue_id(self, venue_id: str) -> Order | None:
        """Return the order that the venue calls `venue_id`, ``None`` if it is not known here."""
        client_id = self._by_venue_id.get(venue_id)
        return None if client_id is None else self._orders[client_id]

    def open_orders(self) -> tuple[Order, ...]:
        """Return the orders that may still fill, foreign ones included."""
        return tuple(self._orders[client_id] for client_id in self._open)

    def position(self, outcome: Outcome, strategy: str | None = None) -> Position:
        """Return what a strategy holds, by default all of them and nobody (``""``) together.

        After the resolution nothing is held, and the payout is part of what is realised.
        """
        if strategy is None:
            return self._holdings.total(outcome)
        return self._holdings.position(strategy, outcome)

    def sellable(self, outcome: Outcome, strategy: str) -> Decimal:
        """Return the shares of a strategy that no open sell holds.

        Shares count from the match on. The venue delivers them some seconds later and refuses a sell
        until then (PROTOCOL §9); `Position.settled` tells how many are safe.
        """
        held = sum(
            (
                shares
                for client_id, shares in self._shares_held.items()
                if self._orders[client_id].strategy == strategy
                and self._orders[client_id].outcome is outcome
            ),
            ZERO,
        )
        return max(self._holdings.position(strategy, outcome).size - held, ZERO)

    @property
    def shortfall(self) -> Decimal:
        """Shares sold beyond what was held, over all positions; above 0 is worth an alarm."""
        return sum((shares for _, _, shares in self._holdings.shortfalls()), ZERO)

    def reservation(self, client_id: str) -> Decimal:
        """Return the USD that an order holds of the account's cash, 0 if none."""
        return self._cash_held.get(client_id, ZERO)

    @property
    def reserved_cash(self) -> Decimal:
        """USD that orders of this cycle hold of the account's cash."""
        return sum(self._cash_held.values(), ZERO)

    @property
    def winner(self) -> Outcome | None:
        """The outcome that won, ``None`` until resolved."""
        return self._holdings.winner

    @property
    def payout(self) -> Decimal:
        """USD that the market pays for the winning shares held, 1 each.

        Shares that were sold beyond what was held (somebody else sold ours) are taken off.
        """
        return self._holdings.payout

    @property
    def cash_flow(self) -> Decimal:
        """Sum of all cash moves of this cycle in USD, payout not included."""
        return self._holdings.cash_flow

    @property
    def fees(self) -> Decimal:
        """USD paid in fees."""
        return sum((position.fees for _, position in self._holdings.positions()), ZERO)

    @property
    def realised(self) -> Decimal:
        """Profit of what was sold or paid out in USD, without fees."""
        return sum((position.realised for _, position in self._holdings.positions()), ZERO)

    @property
    def volume(self) -> Decimal:
        """USD traded, both sides; failed trades do not count."""
        return sum((_notional(fill) for fill in self._fills.values() if _counts(fill)), ZERO)

    def profit(self) -> Decimal | None:
        """Return what the cycle earned in USD after fees, ``None`` until it is resolved."""
        return None if self.winner is None else self.cash_flow + self.payout

    @property
    def is_settled(self) -> bool:
        """Whether no order is open, no match is unreported and every fill is final."""
        return not (self._open or self._awaiting or self._unsettled)

    def snapshot(self) -> Snapshot:
        """Return everything as one value."""
        return Snapshot(
            generation=self.generation,
            slug=self.market.slug,
            orders=tuple(self._orders.values()),
            open_orders=self.open_orders(),
            positions=self._holdings.positions(),
            shortfalls=self._holdings.shortfalls(),
            fills=tuple(self._fills.values()),
            reserved=self.reserved_cash,
            cash_flow=self.cash_flow,
            fees=self.fees,
            volume=self.volume,
            realised=self.realised,
            winner=self.winner,
            payout=self.payout,
            sequence=self.sequence,
        )

    # ---------------------------------------------------------------------------- commands

    def apply(self, command: CycleCommand) -> Reply:
        """Apply one command; one of another generation is `Stale` and changes nothing."""
        if command.generation != self.generation:
            return Stale(type(command).__name__, command.generation, self.generation)
        return self._HANDLERS[type(command)](self, command)

    def _place(self, command: PlaceOrder) -> Reply:
        request = command.request
        order = Order(
            client_id=command.client_id,
            venue_id=command.venue_id,
            generation=self.generation,
            slug=self.market.slug,
            token=command.token,
            strategy=command.strategy,
            outcome=request.outcome,
            side=request.side,
            price=request.price,
            size=request.size,
            order_type=request.order_type,
            post_only=request.post_only,
            status=OrderStatus.SUBMITTING,
            created_ms=command.now_ms,
            updated_ms=command.now_ms,
        )
        # A report may come before its order is registered, for example when an earlier run has sent
        # the very same one: what it did so far is taken over.
        parked = self.order_by_venue_id(order.venue_id)
        track = OrderTrack()
        if parked is not None and parked.is_external:
            track = evolve(self._tracks[parked.client_id], size_known=True)
            order = evolve(
                order,
                status=parked.status,
                matched=parked.matched,
                filled=parked.filled,
                reason=parked.reason,
            )
        denied = self._refusal(order, parked) or self._secure(order, track)
        if denied is not None:
            return denied
        keys = [] if parked is None else self._take_over(parked, order)
        self._add(order, track)
        self._refresh(order, command.now_ms)
        changes: list[Change] = [self._trade_changed(self._fills[key], None) for key in keys]
        change = self._order_changed(order.client_id, None)
        return Applied((*changes, change), change.order)

    def _refusal(self, order: Order, parked: Order | None) -> Denied | None:
        if order.client_id in self._orders or (
            parked is not None
            and (not parked.is_external or (parked.token, parked.side) != (order.token, order.side))
        ):
            return Denied(
                "duplicate", f"order {order.client_id} or its id {order.venue_id} exists already"
            )
        if self.winner is not None:
            return Denied("resolved", f"{self.market.slug} is resolved, {self.winner} won")
        if order.token != self.market.token(order.outcome):
            return Denied("token", f"{order.token} is not {order.outcome} of {self.market.slug}")
        if not 0 < order.price < ONE:
            return Denied("price", f"{order.price} USD is not between 0 and 1")
        if not order.size > 0:
            return Denied("size", f"{order.size} shares are not above 0")
        return None

    def _secure(self, order: Order, track: OrderTrack) -> Denied | None:
        """Reserve what a new order may cost."""
        shares = may_fill(order, track)
        if order.side is Side.SELL:
            # What a taken-over order has sold already comes off the same strategy's shares.
            need, free = shares + order.filled, self.sellable(order.outcome, order.strategy)
            if need <= free:
                return None
            return Denied(
                "shares",
                f"needs {need} shares of {order.outcome}, {free} of {order.strategy} are not held "
                "by other orders",
            )
        cost = self._worst_cost(order, shares)
        if self.account.reserve(self._key(order.client_id), cost):
            if cost:
                self._cash_held[order.client_id] = cost
            return None
        return Denied(
            "cash",
            f"needs {cost} USD ({shares} shares at {order.price} plus the worst fee), "
            f"{self.account.available} USD are available",
        )

    def _take_over(self, parked: Order, order: Order) -> list[tuple[str, str]]:
        """Remove a foreign order and hand its fills to the owner of `order`; return their keys."""
        old, new = parked.client_id, order.client_id
        trades = self._tracks.pop(old).trades
        del self._orders[old]
        self._open.pop(old, None)
        self._awaiting.pop(old, None)
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

    def _cancel(self, command: CancelOrder) -> Reply:
        order = self._orders.get(command.client_id)
        if order is None:
            return Denied("unknown_order", f"no order {command.client_id} in {self.market.slug}")
        if order.status.is_final:
            return Denied("final", f"order {order.client_id} is {order.status} already")
        if order.status is OrderStatus.CANCELLING:
            return Applied(order=order)
        return self._step(order, command.now_ms, OrderStatus.CANCELLING)

    def _place_answer(self, command: ApplyPlaceAnswer) -> Reply:
        order = self._orders.get(command.client_id)
        if order is None:
            return Ignored("unknown_order")
        if order.status.is_final:
            return Ignored("final")
        track, text = self._tracks[order.client_id], command.text or command.code
        if command.answer is AnswerKind.REJECTED:
            if track.proven:
                return Ignored("exists")
            return self._step(order, command.now_ms, OrderStatus.REJECTED, text)
        if command.answer is AnswerKind.UNKNOWN:
            if order.status is not OrderStatus.SUBMITTING:
                return Ignored("duplicate")
            return self._step(order, command.now_ms, OrderStatus.UNKNOWN, text)
        track.proven = True
        track.said_matched |= command.answer is AnswerKind.MATCHED
        return self._step(order, command.now_ms)

    def _cancel_answer(self, command: ApplyCancelAnswer) -> Reply:
        order = self._orders.get(command.client_id)
        if order is None:
            return Ignored("unknown_order")
        if order.status.is_final:
            return Ignored("final")
        if command.cancelled:
            return self._step(
                order, command.now_ms, OrderStatus.CANCELLED, command.text or "cancelled"
            )
        if order.status is not OrderStatus.CANCELLING:
            return Ignored("duplicate")
        return self._step(order, command.now_ms, OrderStatus.LIVE)

    def _order_report(self, command: ApplyOrderReport) -> Reply:
        report = command.report
        known = self.order_by_venue_id(report.order_id)
        order = known or self._foreign_order(report, command.now_ms)
        if isinstance(order, Ignored):
            return order
        if known is None:
            self._add(order, OrderTrack())
        track = self._tracks[order.client_id]
        if not track.size_known and report.original_size and report.price:
            track.size_known = True
            order = evolve(order, size=report.original_size, price=report.price)
        status = report.status.upper()
        track.proven = True
        track.said_matched |= status == "MATCHED"
        order = evolve(order, matched=max(order.matched, report.size_matched))
        rest = order.size - order.matched
        wanted, reason = None, ""
        if report.kind is OrderEventKind.CANCELLATION or status.startswith(_ENDED):
            wanted = OrderStatus.CANCELLED if rest > DUST else OrderStatus.FILLED
            reason = _venue_reason(report.status)
        elif status == "MATCHED" and order.order_type is not OrderType.GTC and order.matched:
            # Such an order never rests: it is over, and nothing more need be said of it.
            wanted = OrderStatus.CANCELLED if rest > DUST else None
            reason = f"rest of {order.order_type} killed"
        return self._step(order, command.now_ms, wanted, reason, born=known is None)

    def _trade_report(self, command: ApplyTradeReport) -> Reply:
        before, ignored = self.shortfall, "no_legs"
        changes: list[Change] = []
        for leg in command.report.legs:
            ignored = self._apply_leg(leg, command, changes) or ignored
        if not changes:
            return Ignored(ignored)
        return Applied(tuple(changes), shortfall=max(self.shortfall - before, ZERO))

    def _apply_leg(self, leg: TradeLeg, command: ApplyTradeReport, changes: list[Change]) -> str:
        """Apply one order's part of a trade; return why not, ``""`` if it was."""
        report = command.report
        outcome = self.market.outcome(leg.token)
        if outcome is None:
            return "foreign_token"
        if not leg.size > 0:
            return "incomplete"
        order = self.order_by_venue_id(leg.order_id)
        if order is not None and (order.token, order.side) != (leg.token, leg.side):
            return "leg_mismatch"
        born = order is None
        if order is None:
            order = self._foreign(
                leg.order_id, leg.token, leg.side, leg.price, leg.size, command.now_ms
            )
            self._add(order, OrderTrack(size_known=False))
        known = self._fills.get((report.trade_id, order.client_id))
        if known is None:
            fee = ZERO
            if leg.is_taker:
                fee = self.market.fees.taker_fee(leg.size, leg.price)
            fill = Fill(
                trade_id=report.trade_id,
                client_id=order.client_id,
                strategy=order.strategy,
                generation=self.generation,
                slug=self.market.slug,
                outcome=outcome,
                side=leg.side,
                price=leg.price,
                size=leg.size,
                fee=fee,
                is_taker=leg.is_taker,
                status=report.status,
                time_ms=report.match_time_ms or report.timestamp_ms,
            )
        elif _PROGRESS[report.status] > _PROGRESS[known.status]:
            fill = evolve(known, status=report.status)
        else:
            return "duplicate"
        self._book(fill, known)
        changed = self._refresh(order, command.now_ms)
        changes.append(self._trade_changed(fill, None if known is None else known.status))
        if changed or born:
            changes.append(self._order_changed(order.client_id, None if born else order.status))
        return ""

    def _adjust(self, command: AdjustPosition) -> Reply:
        strategy, outcome, shares = command.strategy, command.outcome, command.size_delta
        size = self.position(outcome, strategy).size
        if size + shares < 0:
            return Denied(
                "position", f"{strategy!r} holds {size} of {outcome}, cannot give {-shares}"
            )
        free = self.sellable(outcome, strategy)
        if shares < 0 and free + shares < 0:
            return Denied(
                "shares",
                f"{free} {outcome} of {strategy!r} are not held by open sells, "
                f"cannot give {-shares}",
            )
        available = self.account.available
        if command.cash_delta < 0 and available + command.cash_delta < 0:
            return Denied("cash", f"needs {-command.cash_delta} USD, {available} USD are available")
        self._holdings.book(
            strategy, outcome, Booking(shares, exact(command.cash_delta), settled=True)
        )
        return Applied()

    def _resolve(self, command: ApplyResolution) -> Reply:
        if self.winner is not None:
            return Ignored("duplicate" if self.winner is command.winner else "conflict")
        self._holdings.resolve(command.winner)
        changes: list[Change] = []
        for order in self.open_orders():
            self._refresh(order, command.now_ms)
            changes.append(self._order_changed(order.client_id, order.status))
        for client_id in list(self._cash_held) + list(self._shares_held):
            self._hold(self._orders[client_id], self._tracks[client_id])
        return Applied(tuple(changes))

    def _query(self, _: Query) -> Reply:
        return Applied(snapshot=self.snapshot())

    # ---------------------------------------------------------------------------- keeping

    def _foreign_order(self, report: OrderReport, now_ms: int) -> Order | Ignored:
        side, price, size = report.side, report.price, report.original_size
        if not report.token or side is None or price is None or size is None:
            return Ignored("incomplete")
        if self.market.outcome(report.token) is None:
            return Ignored("foreign_token")
        return self._foreign(report.order_id, report.token, side, price, size, now_ms)

    def _foreign(
        self, venue_id: str, token: str, side: Side, price: Decimal, size: Decimal, now_ms: int
    ) -> Order:
        outcome = Outcome.UP if token == self.market.up_token else Outcome.DOWN
        return Order(
            client_id=venue_id,
            venue_id=venue_id,
            generation=self.generation,
            slug=self.market.slug,
            token=token,
            strategy="",
            outcome=outcome,
            side=side,
            price=price,
            size=size,
            status=OrderStatus.LIVE,
            created_ms=now_ms,
            updated_ms=now_ms,
        )

    def _add(self, order: Order, track: OrderTrack) -> None:
        self._orders[order.client_id] = order
        self._tracks[order.client_id] = track
        self._by_venue_id[order.venue_id] = order.client_id

    def _book(self, fill: Fill, known: Fill | None) -> None:
        """Let a new fill or a new status of it act on cash and position."""
        key = (fill.trade_id, fill.client_id)
        track = self._tracks[fill.client_id]
        track.proven = True
        self._fills[key] = fill
        if fill.status.is_final:
            self._unsettled.pop(key, None)
        else:
            self._unsettled[key] = None
        if known is None:
            track.trades[fill.trade_id] = None
            if _counts(fill):
                notional = _notional(fill)
                buys = fill.side is Side.BUY
                booking = Booking(
                    shares=fill.size if buys else -fill.size,
                    cash=-notional if buys else notional,
                    fee=fill.fee,
                    settled=fill.status is TradeStatus.CONFIRMED,
                )
                track.trades[fill.trade_id] = self._holdings.book(
                    fill.strategy, fill.outcome, booking
                )
            return
        number = track.trades[fill.trade_id]
        if number is None:
            return
        if not _counts(fill):
            self._holdings.take_back(fill.strategy, fill.outcome, number)
            track.trades[fill.trade_id] = None
        elif fill.status is TradeStatus.CONFIRMED:
            self._holdings.settle(fill.strategy, fill.outcome, number)

    def _step(
        self,
        order: Order,
        now_ms: int,
        wanted: OrderStatus | None = None,
        reason: str = "",
        *,
        born: bool = False,
    ) -> Reply:
        """Refresh an order and reply with the change."""
        previous = self._orders[order.client_id].status
        if not self._refresh(order, now_ms, wanted, reason) and not born:
            return Ignored("final" if previous.is_final else "duplicate")
        change = self._order_changed(order.client_id, None if born else previous)
        return Applied((change,), change.order)

    def _refresh(
        self, order: Order, now_ms: int, wanted: OrderStatus | None = None, reason: str = ""
    ) -> bool:
        """Work out an order anew from its fills and what is known of it; say whether it changed."""
        before, track = self._orders[order.client_id], self._tracks[order.client_id]
        fills = [self._fills[trade_id, order.client_id] for trade_id in track.trades]
        counted = [fill for fill in fills if _counts(fill)]
        filled = sum((fill.size for fill in counted), ZERO)
        notional = sum((_notional(fill) for fill in counted), ZERO)
        track.seen = sum((fill.size for fill in fills), ZERO)
        order = evolve(
            order,
            size=order.size if track.size_known else track.seen,
            filled=filled,
            average_price=exact(notional / filled) if filled else None,
            fees=sum((fill.fee for fill in counted), ZERO),
        )
        market_open = self.winner is None
        status = next_status(order, track, wanted, market_open=market_open)
        if status is not before.status:
            explained = status in {OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.UNKNOWN}
            order = evolve(order, status=status, reason=(reason or _RESOLVED) if explained else "")
        changed = order != before
        if changed:
            order = evolve(order, updated_ms=now_ms)
        self._orders[order.client_id] = order
        self._hold(order, track)
        return changed

    def _hold(self, order: Order, track: OrderTrack) -> None:
        """Make the indexes and reservations fit the order."""
        client_id = order.client_id
        _mark(self._open, client_id, order.is_open)
        _mark(self._awaiting, client_id, bool(unreported(order, track)))
        if order.is_external:
            return
        shares = may_fill(order, track) if self.winner is None else ZERO
        if order.side is Side.SELL:
            _keep(self._shares_held, client_id, shares)
            return
        cost, held = self._worst_cost(order, shares), self.reservation(client_id)
        if cost > held:
            self.account.extend(self._key(client_id), cost - held)
        elif cost < held:
            self.account.release(self._key(client_id), held - cost)
        _keep(self._cash_held, client_id, cost)

    def _worst_cost(self, order: Order, shares: Decimal) -> Decimal:
        fee = ZERO if order.post_only else self.market.fees.taker_fee(shares, order.price)
        return exact(order.price * shares) + fee

    def _key(self, client_id: str) -> str:
        # With the market's name: two series may use the same client ids, and share the account.
        return f"{self.market.slug}/{client_id}"

    def _order_changed(self, client_id: str, previous: OrderStatus | None) -> OrderChanged:
        self.sequence += 1
        return OrderChanged(self._orders[client_id], previous, self.sequence)

    def _trade_changed(self, fill: Fill, previous: TradeStatus | None) -> TradeChanged:
        self.sequence += 1
        return TradeChanged(fill, self._orders[fill.client_id], previous, self.sequence)

    _HANDLERS: ClassVar[dict[type, Callable[[CycleState, Any], Reply]]] = {
        PlaceOrder: _place,
        CancelOrder: _cancel,
        ApplyPlaceAnswer: _place_answer,
        ApplyCancelAnswer: _cancel_answer,
        ApplyOrderReport: _order_report,
        ApplyTradeReport: _trade_report,
        AdjustPosition: _adjust,
        ApplyResolution: _resolve,
        Query: _query,
    }

    @override
    def __repr__(self) -> str:
        return (
            f"<CycleState {self.market.slug} {len(self._open)} open of {len(self._orders)} orders, "
            f"{len(self._fills)} fills>"
        )


def _counts(fill: Fill) -> bool:
    return fill.status is not TradeStatus.FAILED


def _notional(fill: Fill) -> Decimal:
    return exact(fill.price * fill.size)


def _venue_reason(status: str) -> str:
    head, _, words = status.partition("_")
    return words if words and head.upper() in _ENDED else status


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
