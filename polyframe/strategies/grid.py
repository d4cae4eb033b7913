"""Grid: buy the outcome that climbs through a level, and hedge it with the other one."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

from attrs import Attribute, define, field
from typing_extensions import override

from polyframe.checks import a_price, amount, count, not_negative, positive, some_seconds
from polyframe.errors import ConfigError
from polyframe.model.events import CycleEndReason, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.grid import Grid as PriceGrid
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, is_sane
from polyframe.model.order import OrderRequest, Side
from polyframe.strategies.blocks.levels import Levels
from polyframe.strategies.blocks.pairdesk import PairDesk, at_least_size, before_closing
from polyframe.strategies.blocks.pairplan import PairRules
from polyframe.strategies.blocks.pairs import pair_size, taker_cost
from polyframe.strategy import Strategy


def _check_levels(_: object, attribute: Attribute[Any], value: Any) -> None:
    prices = isinstance(value, tuple) and all(
        isinstance(price, Decimal) and is_sane(price) and 0 < price < 1 for price in value
    )
    if not prices or not value or any(low >= high for low, high in pairwise(value)):
        msg = f"{attribute.name}: expected a tuple of ascending Decimals between 0 and 1, got {value!r}"
        raise ConfigError(msg)


@define
class Grid(Strategy):
    """Buys the outcome whose ask climbs through one of `levels`, then bids for the other one.

    *Entry*: an ask that was below a level is at or above it now, and not more than `slippage` above. A
    jump over several levels climbs through each of them once; one entry is made, at the highest. The
    order is a GTC at level plus slippage, because such a buy gets the shares that it names and not
    more; what it does not find in `entry_timeout` is cancelled.

    *Hedge*: a bid for as many shares of the other outcome, at the price that makes both legs cost at
    most 1 − `target`, fees included. It rests without a fee, or takes if the ask is that cheap. If it is
    not filled in `hedge_timeout`, if the bid of the bought shares falls `stop` below what they cost, or
    if the window has `close_before_end` seconds left, it is cancelled and the excess is closed at the
    market, with up to `tries` orders. `PairPlan` has all states of this, and there is one plan at a time.

    *The bound*: no entry is made that could bring shares without a partner above `max_unhedged`, whatever
    is filled, refused or lost. So at no time, and not at the end either, more of them are held, except
    for trades that the venue takes back (FAILED). Closing brings it down to less than a smallest order
    (5 shares) if the venue trades; if it does not, what is left is at most that bound, and the log says so.

    What to expect: a bid for Down at 0.35 is an offer of Up at 0.65 (the books are one book, mirrored). So
    the hedge is a take-profit order, at the entry plus its fee plus `target`, and the strategy a bet that
    what has climbed climbs on. At 0.62 the fee is 1.6 cents: with a target of 2 cents the price has to
    rise 3.6 cents before it falls `stop`, in a market that is about fair at every price. It earns
    little and often and loses `stop`, the spread and a second fee in the rest; in a range, where levels
    are climbed again and again, it loses in most rounds. There is no edge in the settings.

    Attributes:
        levels: Asks in USD to climb through, ascending.
        size: Shares of each leg, at most; fewer if the cash is not there for both.
        target: USD that a pair has to leave after fees.
        slippage: How far above the level the entry may pay, and beyond the best price a closing order, in
            USD.
        entry_timeout: Market seconds after which the rest of an entry is cancelled.
        hedge_timeout: Market seconds that an unhedged leg is held at most.
        stop: Close when the bought shares are this much below their cost, in USD; ``None`` for never.
        tries: Refused hedges before it gives up, and closing orders.
        max_rounds: Entries in a cycle.
        max_unhedged: Shares without a partner, at most; at least `size`.
        close_before_end: Market seconds before the end at which what is unhedged is closed.
        cutoff: No entry when fewer market seconds than this are left.
    """

    levels: tuple[Decimal, ...] = field(
        default=(Decimal("0.62"), Decimal("0.65"), Decimal("0.71"), Decimal("0.77")),
        validator=_check_levels,
    )
    size: Decimal = field(default=Decimal(10), validator=positive)
    target: Decimal = field(default=Decimal("0.02"), validator=a_price)
    slippage: Decimal = field(default=Decimal("0.01"), validator=not_negative)
    entry_timeout: float = field(default=2.0, validator=some_seconds)
    hedge_timeout: float = field(default=120.0, validator=some_seconds)
    stop: Decimal | None = field(
        default=Decimal("0.08"), validator=amount("above 0", lambda usd: usd > 0, or_none=True)
    )
    tries: int = field(default=4, validator=count())
    max_rounds: int = field(default=6, validator=count())
    max_unhedged: Decimal = field(default=Decimal(15), validator=at_least_size)
    close_before_end: float = field(default=45.0, validator=some_seconds)
    cutoff: float = field(default=180.0, validator=before_closing)

    _desk: PairDesk = field(init=False, repr=False, eq=False)
    _watch: dict[Outcome, Levels] = field(init=False, repr=False)

    @_desk.default
    def _make_desk(self) -> PairDesk:
        rules = PairRules(
            target=self.target,
            open_timeout=self.entry_timeout,
            leg_timeout=self.hedge_timeout,
            tries=self.tries,
            slippage=self.slippage,
            stop=self.stop,
        )
        return PairDesk(self, rules, self.close_before_end)

    @_watch.default
    def _make_watch(self) -> dict[Outcome, Levels]:
        return {outcome: Levels(self.levels) for outcome in Outcome}

    # ------------------------------------------------------------------ hooks

    @override
    async def on_cycle_start(self) -> None:
        if self.is_resumed:
            self._desk.take_over()

    @override
    async def on_price(self, event: PriceChanged) -> None:
        watch = self._watch[event.outcome]
        if not event.known:
            watch.forget()
        climbed = watch.climbed(event.ask)
        if not self._desk.is_free:
            await self._desk.advance()
        elif climbed:
            await self._enter(event, climbed[-1])

    @override
    async def on_order(self, event: OrderChanged) -> None:
        await self._desk.advance()

    @override
    async def on_trade(self, event: TradeChanged) -> None:
        await self._desk.advance()

    @override
    async def run(self) -> None:
        await self._desk.run()

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self._desk.finish()

    # ------------------------------------------------------------------ entry

    async def _enter(self, event: PriceChanged, level: Decimal) -> None:
        entry = self._entry(event, level)
        if isinstance(entry, OrderRequest):
            entry = await self._desk.open([entry])
        if entry:
            self.log.info("no entry at %s: %s", level, entry)
        await self._desk.advance()

    def _entry(self, event: PriceChanged, level: Decimal) -> OrderRequest | str:
        """Return what to buy, or why nothing."""
        outcome, ask = event.outcome, event.ask
        if ask is None or ask > level + self.slippage:
            return f"the ask is {ask}"
        if self.seconds_left() < self.cutoff:
            return f"{self.seconds_left():.0f} seconds left"
        if self._desk.rounds >= self.max_rounds:
            return f"{self.max_rounds} rounds are over"
        grid = PriceGrid(self.session.tick_size(outcome))
        limit = grid.floor_price(level + self.slippage)
        hedge = ONE - self.target - taker_cost(limit, self.market.fees)
        if limit < ask or hedge < grid.tick:
            return f"no hedge is possible for {limit}"
        prices = {outcome: limit, outcome.other: grid.floor_price(hedge)}
        possible = pair_size(
            self.size, prices, self.market, cash=self.trading.cash, takes=[outcome]
        )
        if not possible.size:
            return f"{self.size} shares break the rule {possible.reason}"
        if self._desk.most_unpaired() + possible.size > self.max_unhedged:
            return "too much is unhedged already"
        return OrderRequest(outcome, Side.BUY, limit, possible.size)
