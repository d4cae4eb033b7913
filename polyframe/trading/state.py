"""The whole trading state of one cycle, changed by commands and by nothing else.

What proves what:

* An order is born in SUBMITTING, right before it is sent. An accepting answer, a report of the venue
  or a fill *proves* that it exists; from then on a refusal is not believed.
* Fills come from trades only, keyed by (trade id, order): whatever is said twice changes nothing.
  What the venue says is matched is a cross-check, and keeps the reservation of fills still to come.
* A final state stays. Fills that come after it are real all the same: `filled` grows and cash moves.
  A trade that fails takes everything back exactly, also after the market is resolved.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from attrs import evolve

from polyframe.model.conversion import MICRO, Conversion, ConversionKind
from polyframe.model.events import OrderChanged, OrderEventKind, OrderReport, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderStatus, PlaceResult, Side
from polyframe.model.trade import Fill, TradeLeg, TradeStatus
from polyframe.trading.commands import (
    AdjustPosition,
    AdoptOrder,
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyReceipt,
    ApplyResolution,
    ApplyTradeReport,
    BeginConversion,
    CancelOrder,
    Change,
    CycleCommand,
    Denied,
    ExpireOrder,
    Ignored,
    PlaceOrder,
    Query,
    Reply,
    Stale,
)
from polyframe.trading.lifecycle import DUST, OrderTrack, may_fill
from polyframe.trading.positions import Booking, exact
from polyframe.trading.view import CycleView

_PROGRESS = {
    TradeStatus.MATCHED: 0,
    TradeStatus.RETRYING: 1,
    TradeStatus.MINED: 2,
    TradeStatus.CONFIRMED: 3,
    TradeStatus.FAILED: 3,
}
_ENDED = ("CANCELED", "CANCELLED", "INVALID")
_EXPIRED = ("MARKET_RESOLVED", "EXPIRED")
"""Words of the venue for an order whose market or time is over (PROTOCOL §5.2)."""


class CycleState(CycleView):
    """The state of one cycle: `apply` changes it, everything else is read as in `CycleView`.

    It depends on the commands it was given and on nothing else, but for one question: whether the
    account has the cash that a new order or an adjustment asks for.
    """

    def apply(self, command: CycleCommand) -> Reply:
        """Apply one command; one of another generation is `Stale` and changes nothing."""
        if command.generation != self.generation:
            return Stale(type(command).__name__, command.generation, self.generation)
        reply = self._HANDLERS[type(command)](self, command)
        self._holdings.pay_out()
        return reply

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
            intent=request.intent,
        )
        # A report may come before its order is registered, for example when an earlier run has sent
        # the very same one: what it did so far is taken over.
        parked = self.order_by_venue_id(order.venue_id)
        track = OrderTrack()
        if parked is not None and parked.is_external:
            track = evolve(self._table.tracks[parked.client_id], size_known=True)
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
        keys = [] if parked is None else self._table.take_over(parked, order)
        self._table.add(order, track)
        self._table.refresh(order, command.now_ms)
        changes: list[Change] = [self._trade_changed(self.fills[key], None) for key in keys]
        change = self._order_changed(order.client_id, None)
        return Applied((*changes, change), change.order)

    def _refusal(self, order: Order, parked: Order | None) -> Denied | None:
        if order.client_id in self.orders or (parked and not self._is_same(order, parked)):
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

    def _is_same(self, order: Order, parked: Order) -> bool:
        """Return whether a foreign order is the one that is being placed."""
        return (
            parked.is_external
            and (parked.token, parked.side) == (order.token, order.side)
            and (
                abs(parked.size - order.size) <= DUST
                if self._table.tracks[parked.client_id].size_known
                else parked.size <= order.size + DUST
            )
        )

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
        if self._table.reserve(order, track):
            return None
        return Denied(
            "cash",
            f"needs {self._table.worst_cost(order, shares)} USD ({shares} shares at {order.price} "
            f"and the worst fee), {self.account.available} USD are available",
        )

    def _cancel(self, command: CancelOrder) -> Reply:
        order = self.orders.get(command.client_id)
        if order is None:
            return Denied("unknown_order", f"no order {command.client_id} in {self.market.slug}")
        if order.status.is_final:
            return Denied("final", f"order {order.client_id} is {order.status} already")
        if order.status is OrderStatus.CANCELLING:
            return Applied(order=order)
        return self._step(order, command.now_ms, OrderStatus.CANCELLING)

    def _place_answer(self, command: ApplyPlaceAnswer) -> Reply:
        order = self.orders.get(command.client_id)
        if order is None:
            return Ignored("unknown_order")
        if order.status.is_final:
            return Ignored("final")
        track, text = self._table.tracks[order.client_id], command.text or command.code
        if command.answer is PlaceResult.REJECTED:
            if track.proven:
                return Ignored("exists")
            return self._step(order, command.now_ms, OrderStatus.REJECTED, text)
        if command.answer is PlaceResult.UNKNOWN:
            if order.status is not OrderStatus.SUBMITTING:
                return Ignored("duplicate")
            return self._step(order, command.now_ms, OrderStatus.UNKNOWN, text)
        track.proven = True
        track.said_matched |= command.answer is PlaceResult.MATCHED
        return self._step(order, command.now_ms)

    def _cancel_answer(self, command: ApplyCancelAnswer) -> Reply:
        order = self.orders.get(command.client_id)
        if order is None:
            return Ignored("unknown_order")
        if order.status.is_final:
            return Ignored("final")
        if command.cancelled:
            return self._step(
                order, command.now_ms, OrderStatus.CANCELLED, command.text or "cancelled"
            )
        return self._step(order, command.now_ms, OrderStatus.LIVE)

    def _expire(self, command: ExpireOrder) -> Reply:
        order = self.orders.get(command.client_id)
        if order is None:
            return Ignored("unknown_order")
        return self._step(order, command.now_ms, OrderStatus.EXPIRED, command.text)

    def _adopt(self, command: AdoptOrder) -> Reply:
        order = self.orders.get(command.client_id)
        if order is None:
            return Denied("unknown_order", f"no order {command.client_id} in {self.market.slug}")
        if not order.is_external:
            return Ignored("duplicate")
        adopted, track = (
            evolve(order, strategy=command.strategy),
            self._table.tracks[order.client_id],
        )
        keys = self._table.take_over(order, adopted)
        self._table.add(adopted, track)
        self._table.refresh(adopted, command.now_ms)
        fills = (self.fills[key] for key in keys)
        changes: list[Change] = [self._trade_changed(fill, fill.status) for fill in fills]
        change = self._order_changed(order.client_id, order.status)
        return Applied((*changes, change), change.order)

    def _order_report(self, command: ApplyOrderReport) -> Reply:
        report = command.report
        known = self.order_by_venue_id(report.order_id)
        order = known or self._foreign_order(report, command.now_ms)
        if isinstance(order, Ignored):
            return order
        if known is None:
            self._table.add(order, OrderTrack())
        track = self._table.tracks[order.client_id]
        if not track.size_known and report.original_size and report.price:
            track.size_known = True
            order = evolve(order, size=report.original_size, price=report.price)
        status = report.status.upper()
        track.proven = True
        track.said_matched |= status == "MATCHED"
        if report.size_matched > order.matched:
            order = evolve(order, matched=report.size_matched)
        rest = order.size - order.matched
        wanted, reason = None, ""
        if report.kind is OrderEventKind.CANCELLATION or status.startswith(_ENDED):
            wanted = _ended_by(status) if rest > DUST else OrderStatus.FILLED
            reason = _venue_reason(report.status)
        elif (
            report.kind is OrderEventKind.UPDATE
            and status == "MATCHED"
            and not order.order_type.rests
            and order.matched
            and rest > DUST
        ):
            # Such an order never rests: it is over, and nothing more need be said of it.
            wanted, reason = OrderStatus.CANCELLED, f"rest of {order.order_type} killed"
        return self._step(order, command.now_ms, wanted, reason, born=known is None)

    def _trade_report(self, command: ApplyTradeReport) -> Reply:
        before, ignored = self.shortfall, "no_legs"
        changes: list[Change] = []
        for leg in command.report.legs:
            ignored = self._apply_leg(leg, command, changes)
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
            self._table.add(order, OrderTrack(size_known=False))
        known = self.fills.get((report.trade_id, order.client_id))
        if known is None:
            fee = ZERO
            if leg.is_taker:
                fees = self.market.fees
                fee = sum((fees.taker_fee(size, price) for price, size in leg.parts), ZERO)
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
        self._table.record(fill, known)
        if known is None and order.is_external and self.account.is_counted(fill):
            # It was matched before the cash was counted: it counts for the position and for the
            # cycle. Should it fail, also if it has failed by now, its money comes back.
            moved = exact(fill.price * fill.size)
            if fill.side is Side.BUY:
                self.account.receive(moved + fill.fee)
            else:
                self.account.spend(moved - fill.fee)
        changed = self._table.refresh(order, command.now_ms)
        changes.append(self._trade_changed(fill, None if known is None else known.status))
        if changed:
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

    def _begin_conversion(self, command: BeginConversion) -> Reply:
        strategy, shares = command.strategy, command.shares
        if self.winner is not None:
            return Denied("resolved", f"{self.market.slug} is resolved, {self.winner} won")
        if (busy := self._conversions.open) is not None:
            text = f"{busy.kind} {busy.conversion_id} of {busy.shares} is {busy.status}"
            return Denied("busy", f"{text}; one at a time, until its end is known")
        if command.conversion_id in self.conversions:
            return Denied("busy", f"{command.conversion_id} exists already")
        if not (shares > 0 and shares % MICRO == 0):
            return Denied("amount", f"{shares} is not a number above 0 with at most 6 decimals")
        pairs = self.mergeable(strategy)
        if command.kind is ConversionKind.MERGE and shares > pairs:
            text = f"{strategy!r} has {pairs} pairs that are settled and not offered"
            return Denied("pairs", f"{text}, cannot merge {shares}")
        conversion = Conversion(
            command.conversion_id,
            strategy,
            command.kind,
            shares,
            created_ms=command.now_ms,
            updated_ms=command.now_ms,
        )
        if not self._conversions.begin(conversion):
            available = self.account.available
            return Denied("cash", f"needs {shares} USD, {available} USD are available")
        return Applied(conversion=conversion)

    def _receipt(self, command: ApplyReceipt) -> Reply:
        known = self.conversions.get(command.conversion_id)
        if known is None:
            return Ignored("unknown_order")
        changed = self._conversions.apply(
            command.conversion_id,
            command.state,
            command.transaction_id,
            command.text,
            command.now_ms,
        )
        if changed is None:
            return Ignored("duplicate" if known.is_open else "final")
        return Applied(conversion=changed)

    def _resolve(self, command: ApplyResolution) -> Reply:
        if self.winner is not None:
            return Ignored("duplicate" if self.winner is command.winner else "conflict")
        self._holdings.resolve(command.winner)
        changes: list[Change] = []
        for order in self.open_orders():
            self._table.refresh(order, command.now_ms)
            changes.append(self._order_changed(order.client_id, order.status))
        self._table.let_go()
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
        previous = self.orders[order.client_id].status
        if not self._table.refresh(order, now_ms, wanted, reason) and not born:
            return Ignored("final" if previous.is_final else "duplicate")
        change = self._order_changed(order.client_id, None if born else previous)
        return Applied((change,), change.order)

    def _order_changed(self, client_id: str, previous: OrderStatus | None) -> OrderChanged:
        self.sequence += 1
        return OrderChanged(self.orders[client_id], previous, self.sequence)

    def _trade_changed(self, fill: Fill, previous: TradeStatus | None) -> TradeChanged:
        self.sequence += 1
        return TradeChanged(fill, self.orders[fill.client_id], previous, self.sequence)

    _HANDLERS: ClassVar[dict[type, Callable[[CycleState, Any], Reply]]] = {
        PlaceOrder: _place,
        CancelOrder: _cancel,
        ApplyPlaceAnswer: _place_answer,
        ApplyCancelAnswer: _cancel_answer,
        ExpireOrder: _expire,
        AdoptOrder: _adopt,
        ApplyOrderReport: _order_report,
        ApplyTradeReport: _trade_report,
        AdjustPosition: _adjust,
        BeginConversion: _begin_conversion,
        ApplyReceipt: _receipt,
        ApplyResolution: _resolve,
        Query: _query,
    }


def _ended_by(status: str) -> OrderStatus:
    is_over = any(word in status for word in _EXPIRED)
    return OrderStatus.EXPIRED if is_over else OrderStatus.CANCELLED


def _venue_reason(status: str) -> str:
    head, _, words = status.partition("_")
    return words if words and head.upper() in _ENDED else status
