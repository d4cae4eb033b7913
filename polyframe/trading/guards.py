"""Guards of one strategy: when and how much it may enter a cycle, said once instead of coded anew.

`EntryGuards` are settings; `EntryBook` asks them before every order of a series. Both are pure: what
they need to know (also the time) comes in as values. Like the risk guard they refuse *entries* only.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from math import inf

import msgspec
from attrs import define, field, frozen

from polyframe.checks import amount, count, flag, number
from polyframe.errors import ConfigError
from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderRequest, Side
from polyframe.model.trade import Fill, TradeStatus
from polyframe.trading.commands import Denied
from polyframe.trading.view import CycleView

_NONE = "for no such guard"
_seconds = number("market seconds above 0", lambda value: value > 0, or_none=_NONE)
_amount = amount("above 0", lambda value: value > 0, or_none=_NONE)
_price = amount("between 0 and 1", lambda value: 0 < value < 1, or_none=_NONE)
_count = count(or_none=_NONE)
_slippage = amount("from 0 to below 1", lambda value: 0 <= value < 1)


@frozen(kw_only=True)
class EntryGuards:
    """When one strategy may enter, and how far, for ``Trader.add(…, guards=EntryGuards(…))``.

    ``None`` means that there is no such guard. They hold for each cycle by itself and for this
    strategy's own orders and shares, whatever the rest of the account does. All times are market
    seconds, amounts USD without fees.

    An *entry* is a buy that does more than complete pairs of the strategy's own shares. Cancels,
    sells and buys that complete pairs always pass. Orders of one ``place_legs`` are one entry;
    those of one ``place_many`` are one each, and `cool_down` does not stand between them.

    What was refused is `OrderDenied` with a rule that begins with ``guard_``, and is counted in the
    cycle's ``refusals``.

    Attributes:
        warm_up: No entry so soon after the strategy has started in the cycle.
        cool_down: No entry so soon after the last one left, whatever became of that.
        max_entries: Entries of a cycle that got something or still may.
        entry_after: No entry so soon after the window's start.
        entry_before_end: No entry so late before the window's end.
        max_spread: Between bid and ask of the outcome; an empty side counts as 0 or 1 USD.
        min_price: No entry that may pay less for a share: its limit, or the ask if that is lower.
        max_price: No entry whose limit is higher.
        max_unhedged: Shares that may come to be without a partner: held of one outcome and still
            to come, less what is held of the other and not on offer.
        max_unhedged_seconds: No entry once shares have been without a partner for so long; less than
            the market's smallest order does not count.
        flatten_unhedged: Also sell them then. Needs `max_unhedged_seconds`.
        max_budget: Paid for shares, bought or split off, and what open buys may still pay. Sales and
            merges give nothing back.
        flatten_before_end: From so many seconds before the window's end on nothing is entered, open
            orders are cancelled, and shares without a partner are sold. Pairs are kept: they pay
            1 USD whoever wins.
        flatten_slippage: How far below the bid such a sale may go.
        flatten_floor: Below this they are not sold but held; by default they go at any price.

    Raises:
        ConfigError: A value that cannot be; names the field.
    """

    warm_up: float | None = field(default=None, validator=_seconds)
    cool_down: float | None = field(default=None, validator=_seconds)
    max_entries: int | None = field(default=None, validator=_count)
    entry_after: float | None = field(default=None, validator=_seconds)
    entry_before_end: float | None = field(default=None, validator=_seconds)
    max_spread: Decimal | None = field(default=None, validator=_price)
    min_price: Decimal | None = field(default=None, validator=_price)
    max_price: Decimal | None = field(default=None, validator=_price)
    max_unhedged: Decimal | None = field(default=None, validator=_amount)
    max_unhedged_seconds: float | None = field(default=None, validator=_seconds)
    flatten_unhedged: bool = field(default=False, validator=flag)
    max_budget: Decimal | None = field(default=None, validator=_amount)
    flatten_before_end: float | None = field(default=None, validator=_seconds)
    flatten_slippage: Decimal = field(default=Decimal("0.02"), validator=_slippage)
    flatten_floor: Decimal | None = field(default=None, validator=_price)

    def __attrs_post_init__(self) -> None:
        low, high = self.min_price, self.max_price
        if low is not None and high is not None and low > high:
            msg = f"min_price: expected at most max_price, which is {high}, got {low}"
            raise ConfigError(msg)
        if self.flatten_unhedged and self.max_unhedged_seconds is None:
            msg = "flatten_unhedged: set max_unhedged_seconds, after which it is to happen"
            raise ConfigError(msg)
        if self.flatten_floor is not None and not self.flattens:
            msg = (
                "flatten_floor: set flatten_before_end or flatten_unhedged; nothing is sold without"
            )
            raise ConfigError(msg)

    @property
    def flattens(self) -> bool:
        """Whether shares are sold by these guards."""
        return self.flatten_before_end is not None or self.flatten_unhedged


class Call(msgspec.Struct, frozen=True, eq=False):
    """One call of a strategy that places orders.

    Attributes:
        is_one: Whether all of its orders are one entry.
    """

    is_one: bool = False


@frozen
class _Asking:
    """Who asks, and when."""

    strategy: str
    state: CycleView
    time: float
    call: Call


@frozen
class _Ask(_Asking):
    """What is asked, and all that is to be known of it."""

    request: OrderRequest
    quote: PriceChanged

    @property
    def shares(self) -> Decimal:
        """The most shares that it can bring."""
        return self.request.most_shares(self.quote.ask)


@define(eq=False)
class EntryBook:
    """Asks the guards of the strategies of one series before each order.

    Orders and shares are read from the cycle itself; only what is not written there is remembered. After
    a restart in the middle of a cycle every buy of before counts as an entry.
    """

    _guards: dict[str, EntryGuards] = field(init=False, factory=dict)
    _started: dict[str, float] = field(init=False, factory=dict)
    _calls: dict[str, Call] = field(init=False, factory=dict)
    _reach: dict[str, Decimal] = field(init=False, factory=dict)
    _exempt: set[str] = field(init=False, factory=set)
    """Buys that completed pairs, or never left."""

    def set(self, strategy: str, guards: EntryGuards) -> None:
        """Guard a strategy, in this cycle and all that follow."""
        self._guards[strategy] = guards

    def begin_cycle(self) -> None:
        """Forget the cycle before."""
        for remembered in (self._started, self._calls, self._reach):
            remembered.clear()
        self._exempt.clear()

    def started(self, strategy: str, time: float) -> None:
        """Take note that a strategy starts in the cycle, at a market time."""
        self._started[strategy] = time

    def check(
        self,
        strategy: str,
        request: OrderRequest,
        state: CycleView,
        quote: PriceChanged,
        time: float,
        call: Call,
    ) -> Denied | None:
        """Return why an order must not be sent, ``None`` if it may. Changes nothing.

        Args:
            strategy: Who asks.
            request: What is asked.
            state: The cycle.
            quote: The latest top of the book of the request's outcome.
            time: Market time in epoch seconds.
            call: The call that it is part of.
        """
        guards = self._guards.get(strategy)
        if guards is None or request.side is Side.SELL:
            return None
        ask = _Ask(strategy, state, time, call, request, quote)
        if self._completes(ask):
            return None
        return next(self._refusals(guards, ask), None)

    def check_split(
        self, strategy: str, usd: Decimal, state: CycleView, time: float
    ) -> Denied | None:
        """Return why `usd` must not be split into pairs at a market time, ``None`` if they may.

        Pairs take no risk, but one half of them can be sold at any time: so it counts as spent, and has
        the times of an entry.
        """
        guards = self._guards.get(strategy)
        if guards is None:
            return None
        asking = _Asking(strategy, state, time, Call())
        refusals = (self._ill_timed(guards, asking), self._too_dear(guards, asking, usd))
        return next(chain.from_iterable(refusals), None)

    def admit(
        self,
        client_id: str,
        strategy: str,
        request: OrderRequest,
        state: CycleView,
        quote: PriceChanged,
        time: float,
        call: Call,
    ) -> None:
        """Note that an order leaves, just before it is registered; arguments as for `check`."""
        if strategy not in self._guards or request.side is Side.SELL:
            return
        ask = _Ask(strategy, state, time, call, request, quote)
        self._calls[client_id] = call
        self._reach[client_id] = ask.shares
        if self._completes(ask):
            self._exempt.add(client_id)

    def withdrawn(self, client_id: str) -> None:
        """Take back `admit`: the order did not leave after all."""
        self._exempt.add(client_id)

    # ------------------------------------------------------------------ the rules

    def _refusals(self, guards: EntryGuards, ask: _Ask) -> Iterator[Denied]:
        yield from self._ill_timed(guards, ask)
        yield from self._ill_priced(guards, ask)
        yield from self._too_much(guards, ask)

    def _ill_timed(self, guards: EntryGuards, ask: _Asking) -> Iterator[Denied]:
        window = ask.state.market.window
        since, left = ask.time - window.start, window.end - ask.time
        if guards.entry_after is not None and since < guards.entry_after:
            text = f"{since:.1f} s after the start, entry_after is {guards.entry_after:g}"
            yield Denied("guard_entry_window", text)
        for name in ("entry_before_end", "flatten_before_end"):
            limit = getattr(guards, name)
            if limit is not None and left < limit:
                yield Denied(
                    "guard_entry_window", f"{left:.1f} s before the end, {name} is {limit:g}"
                )
        here = ask.time - self._started.get(ask.strategy, -inf)
        if guards.warm_up is not None and here < guards.warm_up:
            text = f"started {here:.1f} s ago, warm_up is {guards.warm_up:g}"
            yield Denied("guard_warm_up", text)
        if guards.cool_down is not None:
            last = max((o.created_ms for o in self._entries(ask, within=False)), default=-inf)
            passed = ask.time - last / 1000
            if passed < guards.cool_down:
                text = f"the last entry was {passed:.1f} s ago, cool_down is {guards.cool_down:g}"
                yield Denied("guard_cool_down", text)
        if guards.max_unhedged_seconds is not None:
            began = unhedged_since(ask.state, ask.strategy)
            if began is not None and ask.time - began >= guards.max_unhedged_seconds:
                text = (
                    f"shares are without a partner for {ask.time - began:.1f} s, "
                    f"max_unhedged_seconds is {guards.max_unhedged_seconds:g}"
                )
                yield Denied("guard_unhedged_time", text)

    def _ill_priced(self, guards: EntryGuards, ask: _Ask) -> Iterator[Denied]:
        quote, limit = ask.quote, ask.request.price
        bid = ZERO if quote.bid is None else quote.bid
        best = ONE if quote.ask is None else quote.ask
        if guards.max_spread is not None and best - bid > guards.max_spread:
            text = f"{best - bid} USD between bid and ask, max_spread is {guards.max_spread}"
            yield Denied("guard_spread", text)
        if guards.max_price is not None and limit > guards.max_price:
            yield Denied("guard_price", f"{limit} USD a share, max_price is {guards.max_price}")
        pays = min(limit, best)
        if guards.min_price is not None and pays < guards.min_price:
            yield Denied("guard_price", f"{pays} USD a share, min_price is {guards.min_price}")

    def _too_much(self, guards: EntryGuards, ask: _Ask) -> Iterator[Denied]:
        if guards.max_entries is not None and self._count(ask) > guards.max_entries:
            text = f"it would be entry {self._count(ask)}, max_entries is {guards.max_entries}"
            yield Denied("guard_entries", text)
        request = ask.request
        usd = request.price * request.size if request.usd is None else request.usd
        yield from self._too_dear(guards, ask, usd)
        if guards.max_unhedged is not None:
            alone = ask.shares - self._partners(ask)
            if alone > guards.max_unhedged:
                text = (
                    f"{alone} {ask.request.outcome} could be without a partner, "
                    f"max_unhedged is {guards.max_unhedged}"
                )
                yield Denied("guard_unhedged", text)

    def _too_dear(self, guards: EntryGuards, ask: _Asking, usd: Decimal) -> Iterator[Denied]:
        if guards.max_budget is not None and self._spent(ask) + usd > guards.max_budget:
            spent = self._spent(ask) + usd
            text = f"it would make {spent} USD spent, max_budget is {guards.max_budget}"
            yield Denied("guard_budget", text)

    # ------------------------------------------------------------------ what there is

    def _completes(self, ask: _Ask) -> bool:
        """Return whether a buy does no more than complete pairs."""
        return ask.shares <= self._partners(ask)

    def _partners(self, ask: _Ask) -> Decimal:
        """Return the shares of the other outcome that have no partner yet; below 0: ours have none.

        Shares on offer are no partners, shares of our outcome still to come are. Those that a merge holds
        are partners of each other.
        """
        state, outcome, name = ask.state, ask.request.outcome, ask.strategy
        held = state.position(outcome, name).size - state.merging(name)
        return state.sellable(outcome.other, name) - held - self._coming(ask)

    def _coming(self, ask: _Ask) -> Decimal:
        """Return the shares of the outcome that the strategy's open buys may still bring."""
        total = ZERO
        for order in self._buys(ask):
            shares, _ = ask.state.to_come(order.client_id)
            if order.is_open and not order.order_type.rests:
                # It spends USD: at a better price it brings more than it names.
                reach = self._reach.get(order.client_id, order.size)
                shares = max(shares, reach - order.filled)
            if order.outcome is ask.request.outcome:
                total += shares
        return total

    def _buys(self, ask: _Asking) -> Iterator[Order]:
        for order in ask.state.orders.values():
            if order.strategy == ask.strategy and order.side is Side.BUY:
                yield order

    def _entries(self, ask: _Asking, *, within: bool) -> Iterator[Order]:
        """Yield the strategy's entries; `within` says whether also those of the same call."""
        for order in self._buys(ask):
            is_same = self._calls.get(order.client_id) is ask.call
            if order.client_id not in self._exempt and (within or not is_same):
                yield order

    def _count(self, ask: _Ask) -> int:
        """Return how many entries there are with this one."""
        entries: set[object] = {ask.call}
        for order in self._entries(ask, within=True):
            if order.is_open or order.filled or any(ask.state.to_come(order.client_id)):
                call = self._calls.get(order.client_id)
                entries.add(order.client_id if call is None or not call.is_one else call)
        return len(entries)

    def _spent(self, ask: _Asking) -> Decimal:
        """Return the USD that the strategy has paid for shares and may still pay."""
        total = ask.state.split_off(ask.strategy)
        for order in self._buys(ask):
            if order.average_price is not None:
                total += order.average_price * order.filled
            total += ask.state.to_come(order.client_id)[1]
        return total


def unhedged_since(state: CycleView, strategy: str) -> float | None:
    """Return since when a strategy holds shares without a partner, ``None`` if it holds none.

    In epoch seconds of the matches that made it so. Less than the market's smallest order, which nobody
    can trade away, does not count.
    """
    fills = [
        (_time(fill, state), fill)
        for fill in state.fills.values()
        if fill.strategy == strategy and fill.status is not TradeStatus.FAILED
    ]
    balance, since = ZERO, None
    for time, fill in sorted(fills, key=lambda item: item[0]):
        is_plus = (fill.side is Side.BUY) == (fill.outcome is Outcome.UP)
        balance += fill.size if is_plus else -fill.size
        if abs(balance) < state.market.min_size:
            since = None
        elif since is None:
            since = time
    return since


def _time(fill: Fill, state: CycleView) -> float:
    # Where the time of a match is not told, that of the last word about its order.
    return (fill.time_ms or state.orders[fill.client_id].updated_ms) / 1000


def unhedged(state: CycleView, strategy: str) -> tuple[Outcome, Decimal]:
    """Return the outcome of which a strategy holds more, and by how many shares."""
    up, down = (state.position(outcome, strategy).size for outcome in Outcome)
    return (Outcome.UP, up - down) if up >= down else (Outcome.DOWN, down - up)
