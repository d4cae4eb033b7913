"""What one strategy holds and can still get in a cycle, and the bounds that it keeps."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal

from attrs import define, evolve, field, frozen
from typing_extensions import override

from polyframe.model.conversion import Conversion, ConversionKind, ConversionStatus
from polyframe.model.events import OrderChanged, TradeChanged
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import Fill, TradeStatus
from polyframe.trading.commands import Applied, Reply
from polyframe.trading.state import CycleState


@define(eq=False)
class Standing:
    """What one strategy has in one cycle and what its orders can still do, over all lives of a program.

    Attributes:
        market: The market of the cycle.
        strategy: Its name.
        orders: Its orders as they are now, by client id, oldest first.
        fills: Its fills as they are now, by (trade id, client id), failed ones included.
        conversions: Its splits and merges as they are now, by our id.
    """

    market: Market
    strategy: str
    orders: dict[str, Order] = field(factory=dict)
    fills: dict[tuple[str, str], Fill] = field(factory=dict)
    conversions: dict[str, Conversion] = field(factory=dict)

    @property
    def slug(self) -> str:
        """The name of the market."""
        return self.market.slug

    def kept(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Fill]:
        """Return its fills that did not fail."""
        return [fill for fill in self._fills(side, outcome) if fill.status != TradeStatus.FAILED]

    def failed(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Fill]:
        """Return its fills that the venue has taken back."""
        return [fill for fill in self._fills(side, outcome) if fill.status == TradeStatus.FAILED]

    def open(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Order]:
        """Return its orders that may still fill."""
        return [order for order in self.sent(side, outcome) if order.is_open]

    def sent(self, side: Side | None = None, outcome: Outcome | None = None) -> list[Order]:
        """Return all orders that it ever placed, but those that were denied before they left."""
        return [
            order
            for order in self.orders.values()
            if side in (None, order.side) and outcome in (None, order.outcome)
        ]

    def held(self, outcome: Outcome) -> Decimal:
        """Return its shares of `outcome`; those that won or lost in the end are still among them."""
        bought = sum((fill.size for fill in self.kept(Side.BUY, outcome)), ZERO)
        return bought - self._sold(outcome) + self._pairs()

    def most(self, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that it comes to hold if all its open buys fill.

        A FAK or FOK buy can get more than it names, at a better price than its limit (PROTOCOL §2.8).
        """
        bought = sum((got + coming for _, got, coming in self._buys(outcome)), ZERO)
        return bought - self._sold(outcome) + self._pairs()

    def spent(self) -> Decimal:
        """Return the USD that its buys have paid for shares and may still pay, without fees."""
        paid = sum((fill.size * fill.price for fill in self.kept(Side.BUY)), ZERO)
        return paid + sum((coming * order.price for order, _, coming in self._buys()), ZERO)

    def fees(self) -> Decimal:
        """Return the USD of fees that its fills cost."""
        return sum((fill.fee for fill in self.kept()), ZERO)

    def cash(self) -> Decimal:
        """Return the USD that its fills, splits and merges brought (below 0: cost), fees taken off."""
        total = -self._pairs() - self.fees()
        for fill in self.kept():
            value = fill.size * fill.price
            total += value if fill.side is Side.SELL else -value
        return total

    def worst(self) -> Decimal:
        """Return the USD that it earns at least, whoever wins, if nothing more fills."""
        return self.cash() + min(self.held(outcome) for outcome in Outcome)

    def _fills(self, side: Side | None, outcome: Outcome | None) -> Iterator[Fill]:
        for fill in self.fills.values():
            if side in (None, fill.side) and outcome in (None, fill.outcome):
                yield fill

    def _sold(self, outcome: Outcome) -> Decimal:
        return sum((fill.size for fill in self.kept(Side.SELL, outcome)), ZERO)

    def _buys(self, outcome: Outcome | None = None) -> Iterator[tuple[Order, Decimal, Decimal]]:
        """Yield each buy, the shares of its fills, and those that may still come.

        Those may come that an open order has not got, and matches of which no trade has told yet.
        """
        got, lost = _sizes(self.kept(Side.BUY)), _sizes(self.failed(Side.BUY))
        for order in self.sent(Side.BUY, outcome):
            known = got.get(order.client_id, ZERO)
            reach = order.size
            if not order.is_open:
                matched = min(order.matched, order.size) - lost.get(order.client_id, ZERO)
                reach = max(matched, order.filled)
            yield order, known, max(reach - known, ZERO)

    def _pairs(self) -> Decimal:
        """Return the pairs that it has split off, less those that it has merged."""
        total = ZERO
        for each in self.conversions.values():
            if each.status is ConversionStatus.CONFIRMED:
                total += each.shares if each.kind is ConversionKind.SPLIT else -each.shares
        return total

    @override
    def __str__(self) -> str:
        held = ", ".join(f"{self.held(outcome).normalize():f} {outcome}" for outcome in Outcome)
        rest = "; ".join(
            f"{o.side} {o.remaining.normalize():f} {o.outcome} at {o.price}" for o in self.open()
        )
        sent, fills, failed = len(self.orders), len(self.kept()), len(self.failed())
        return (
            f"{sent} orders, {fills} fills, {failed} failed; holds {held}; open: {rest or 'nothing'}; "
            f"buys come to {self.spent().normalize():f} USD"
        )


Bound = Callable[[Standing], None]
"""Raises an `AssertionError` if a strategy should not stand as it does."""


@frozen
class Checked:
    """What a bound was checked on.

    Attributes:
        standings: How often: after each change of an order, a fill, a split or a merge.
        orders: Orders that came about.
        fills: Fills that came about.
    """

    standings: int = 0
    orders: int = 0
    fills: int = 0


class Bounds:
    """Checks the bounds of strategies while the books of their cycles change.

    The books are those of the living process. What an earlier one did is in them, because it reads
    back whose orders were whose; that it does is an invariant of its own (``ownership``). While it
    starts they tell of an earlier moment: nothing is checked until they were compared with the venue,
    and no strategy runs before. An order of which an earlier process knew that it was over can do
    nothing, though the books may not know it again. Only where files were damaged nobody can know what
    was whose, neither the strategy nor its bound: it then holds for what the strategy can know.

    Args:
        bounds: What each strategy promises, by its name.

    Attributes:
        checked: What each bound was checked on.
    """

    def __init__(self, bounds: Mapping[str, Bound]) -> None:
        self._bounds = dict(bounds)
        self.checked = dict.fromkeys(bounds, Checked())
        self._is_open = False
        self._known: dict[str, tuple[CycleState, dict[str, Standing]]] = {}
        self._ended: dict[str, dict[str, OrderStatus]] = {}

    def starting(self) -> None:
        """Take note that a new process starts, with books that it reads back."""
        self._is_open = False

    def opened(self, states: Iterable[CycleState]) -> Iterator[tuple[str, str]]:
        """Yield what does not hold, and the market, in the books that a process begins with."""
        self._is_open = True
        for state in states:
            for name, standing in self._standings(state).items():
                if standing.orders and (text := self._failure(name, standing)):
                    yield text, state.market.slug

    def forget(self, slug: str) -> None:
        """Let go of a cycle."""
        self._known.pop(slug, None)
        self._ended.pop(slug, None)

    def findings(self, state: CycleState, reply: Reply) -> Iterator[str]:
        """Yield what does not hold after the books of a cycle were given a command."""
        if not self._bounds or not isinstance(reply, Applied):
            return
        standings = self._standings(state)
        for name in self._changed(standings, reply):
            if self._is_open and (text := self._failure(name, standings[name])):
                yield text

    def _standings(self, state: CycleState) -> dict[str, Standing]:
        state_known, standings = self._known.get(state.market.slug, (None, {}))
        if state_known is not state:
            standings = {name: self._standing(state, name) for name in self._bounds}
            self._known[state.market.slug] = state, standings
        return standings

    def _standing(self, state: CycleState, name: str) -> Standing:
        """Return how a strategy stands in the books of a cycle."""
        orders = [order for order in state.orders.values() if order.strategy == name]
        return Standing(
            state.market,
            name,
            {order.client_id: self._as_known(order) for order in orders},
            {key: fill for key, fill in state.fills.items() if fill.strategy == name},
            {key: each for key, each in state.conversions.items() if each.strategy == name},
        )

    def _as_known(self, order: Order) -> Order:
        """Return an order with all that was ever known of its end."""
        ended = self._ended.setdefault(order.slug, {})
        if order.is_open:
            return evolve(order, status=ended.get(order.venue_id, order.status))
        ended[order.venue_id] = order.status
        return order

    def _changed(self, standings: Mapping[str, Standing], reply: Applied) -> dict[str, None]:
        """Take in what changed; return the names of those with a bound that it concerns."""
        names: dict[str, None] = {}
        for change in reply.changes:
            name = change.order.strategy
            if name not in standings:
                continue
            names[name] = None
            self._count(name, change)
            standing = standings[name]
            standing.orders[change.order.client_id] = self._as_known(change.order)
            if isinstance(change, TradeChanged):
                fill = change.fill
                standing.fills[fill.trade_id, fill.client_id] = fill
        conversion = reply.conversion
        if conversion is not None and conversion.strategy in standings:
            names[conversion.strategy] = None
            standings[conversion.strategy].conversions[conversion.conversion_id] = conversion
        return names

    def _count(self, name: str, change: OrderChanged | TradeChanged) -> None:
        before, is_new = self.checked[name], change.previous is None
        self.checked[name] = Checked(
            before.standings,
            before.orders + (is_new and isinstance(change, OrderChanged)),
            before.fills + (is_new and isinstance(change, TradeChanged)),
        )

    def _failure(self, name: str, standing: Standing) -> str:
        """Return what a bound has to say against a standing, ``""`` if nothing."""
        before = self.checked[name]
        self.checked[name] = Checked(before.standings + 1, before.orders, before.fills)
        try:
            self._bounds[name](standing)
        except AssertionError as error:
            return f"{name}: {str(error) or _line(error)} ({standing})"
        except Exception as error:  # noqa: BLE001 - a bound that fails says nothing of the books it sees
            return f"{name}: its bound raised {error!r} at {_line(error)} ({standing})"
        return ""


def _sizes(fills: Iterable[Fill]) -> dict[str, Decimal]:
    """Return the shares of fills by the order that they are of."""
    sizes: dict[str, Decimal] = {}
    for fill in fills:
        sizes[fill.client_id] = sizes.get(fill.client_id, ZERO) + fill.size
    return sizes


def _line(error: Exception) -> str:
    """Return the line that raised."""
    return traceback.extract_tb(error.__traceback__)[-1].line or repr(error)
