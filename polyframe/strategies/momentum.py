"""Momentum: buy what the reference price moved towards, while its ask is below fair value."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from enum import StrEnum

from attrs import Factory, define, field
from attrs.converters import optional
from typing_extensions import override

from polyframe.checks import (
    a_price,
    amount,
    not_negative,
    number,
    positive,
    seconds,
    some_seconds,
)
from polyframe.errors import ConfigError, OrderError
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.model.grid import Grid
from polyframe.model.market import Outcome
from polyframe.model.money import ONE
from polyframe.model.order import OrderRequest
from polyframe.model.sale import sale
from polyframe.reference import ReferencePrices
from polyframe.strategies.blocks.exposure import Exposure
from polyframe.strategies.blocks.fairvalue import FairValue, PriceModel, price_model
from polyframe.strategies.blocks.velocity import Velocity
from polyframe.strategy import Strategy

EXIT_PAUSE = 1.0
"""Market seconds between two tries to sell."""


class Skip(StrEnum):
    """Why a second passed without an entry."""

    NO_FRESH_PRICE = "no_fresh_price"
    """The last reference price is too old, or there is none."""
    WARMING_UP = "warming_up"
    """Prices do not reach back a whole window yet, or had a gap within it."""
    SMALL_MOVE = "small_move"
    """The move is below the threshold."""
    CUTOFF = "cutoff"
    """The window is nearly over."""
    COOL_DOWN = "cool_down"
    """The last entry was a moment ago."""
    ORDER_OPEN = "order_open"
    """An order is on its way, or nobody knows its fate: nothing is added to it."""
    UNCERTAIN = "uncertain"
    """An order is over, and the venue could not be asked whether it got more than is known."""
    HOLDS_THE_OTHER = "holds_the_other"
    """The opposite outcome is held: a pair would lock in what it cost."""
    NO_PRICE_TO_BEAT = "no_price_to_beat"
    """It is not known (yet) what the price has to beat."""
    NO_ASK = "no_ask"
    """The book is not known, or nobody offers."""
    TOO_DEAR = "too_dear"
    """The ask is not far enough below fair value, or it is outside of the prices that are bought."""
    BUDGET_SPENT = "budget_spent"
    """What is left of the budget is less than the market's smallest buy."""


@define
class Momentum(Strategy):
    """Buys the outcome that the reference price moved towards, if the model says it is cheap.

    *Entry*: within `window` seconds the price moved by `threshold` basis points or more, and the ask of
    the outcome it moved towards, with the taker fee, is at least `edge` below `FairValue`. It spends
    `usd` at that ask or better (FAK), then waits for `cool_down`. *Exit*: the bid is `take` above what
    the shares cost, `stop` below it, or, less the fee, `leave` above fair value. Otherwise shares are
    held to the end.

    It needs a `ReferencePrices` in the environment. Without one, without a price to beat, or with a
    price older than `max_age`, it does not enter; the log says why, once for each reason and cycle, and
    at the end how often.

    *The bound*: the buys of a cycle never cost more than `budget`, whatever the venue does, orders on
    their way included. That is what a cycle can lose, with the fees: on crypto markets less than 7 % of
    it for buying, and of what is sold again for selling. It is a sum of USD because such orders are
    for a sum of USD: a book that gets better on the way gives more shares (PROTOCOL §2.8).

    What to expect: nothing without a faster or better price than the crowd's. The venue's own reference
    is an average over a minute, told once a second; makers look at exchanges directly and have moved
    before it tells. An ask that looks cheap by it is mostly an ask that knows more (adverse selection).
    The fee takes 1.75 cents a share at 0.50 and 0.63 at 0.90, and a sale pays it again. The model is a
    normal walk: it is too sure far from the price to beat and does not know jumps. `leave` sells to
    those who believe in the move more than the model does; `stop` sells into a thin book.

    Attributes:
        window: Seconds over which the move is taken.
        threshold: Basis points from which on a move counts; 3 are one standard deviation of half a minute
            at 30 % a year.
        edge: USD by which a share has to be cheaper than it is worth, fee included.
        usd: USD of one entry, without the fee.
        budget: USD that all entries of a cycle may cost, without fees.
        min_price: USD; an ask below it is left alone: there the model is surest and knows least.
        max_price: USD; an ask above it is left alone.
        cool_down: Market seconds from one entry to the next.
        cutoff: No entry when fewer market seconds than this are left.
        max_age: Seconds after which a reference price is too old; a gap as long begins the window anew.
        take: Sell once the bid is this much above the average cost, in USD; never by default.
        stop: Sell once the bid is this much below the average cost, in USD; never by default.
        leave: Sell once the bid, less the fee, is this much above fair value, in USD; ``None`` for never.
        slippage: How far below the bid a sale may go, in USD.
        model: What the reference prices are; by default what the venue tells of such a series.
        volatility: The year's volatility that each cycle begins with, see `FairValue`.
    """

    window: float = field(default=30.0, validator=some_seconds)
    threshold: Decimal = field(default=Decimal(3), validator=positive)
    edge: Decimal = field(default=Decimal("0.03"), validator=not_negative)
    usd: Decimal = field(
        default=Decimal(10),
        validator=amount(
            "at least 1, in cents", lambda usd: usd >= 1 and not usd % Decimal("0.01")
        ),
    )
    budget: Decimal = field(default=Decimal(50), validator=positive)
    min_price: Decimal = field(default=Decimal("0.10"), validator=a_price)
    max_price: Decimal = field(default=Decimal("0.90"), validator=a_price)
    cool_down: float = field(default=30.0, validator=seconds)
    cutoff: float = field(default=15.0, validator=seconds)
    max_age: float = field(default=5.0, validator=some_seconds)
    take: Decimal | None = field(
        default=None, validator=amount("above 0", lambda usd: usd > 0, or_none=True)
    )
    stop: Decimal | None = field(
        default=None, validator=amount("above 0", lambda usd: usd > 0, or_none=True)
    )
    leave: Decimal | None = field(
        default=Decimal("0.02"), validator=amount("at least 0", lambda usd: usd >= 0, or_none=True)
    )
    slippage: Decimal = field(default=Decimal("0.01"), validator=not_negative)
    model: PriceModel | None = field(default=None, converter=optional(price_model))
    volatility: float = field(default=0.5, validator=number("above 0", lambda part: part > 0))

    _prices: ReferencePrices | None = field(init=False, default=None)
    _velocity: Velocity = field(init=False, factory=Velocity)
    _fair: FairValue = field(init=False, factory=FairValue)
    _next_entry: float = field(init=False, default=0.0)
    _next_exit: float = field(init=False, default=0.0)
    _bought: Exposure = field(init=False, default=Factory(Exposure, takes_self=True))
    _skipped: Counter[Skip] = field(init=False, factory=Counter)

    # ------------------------------------------------------------------ hooks

    @override
    async def on_cycle_start(self) -> None:
        model = self.model or PriceModel.of(self.market.series)
        self._velocity = Velocity(self.window, self.max_age)
        self._fair = FairValue(model, self.volatility, max_gap=self.max_age)
        try:
            self._prices = self.env.get(ReferencePrices)
            self._prices.latest(self.market.series)
        except ConfigError as error:
            self._prices = None
            self.log.warning("not trading: %s", error)

    @override
    async def run(self) -> None:
        if self._prices is None:
            return
        async for price in self._prices.updates(self.market):
            self._velocity.add(price.value, price.instant_ms)
            self._fair.add(price.value, price.instant_ms)
            await self._enter()
            for outcome in Outcome:
                await self._leave_if_due(outcome)

    @override
    async def on_price(self, event: PriceChanged) -> None:
        await self._leave_if_due(event.outcome)

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        if self._skipped:
            counts = (f"{skip} {count}" for skip, count in self._skipped.most_common())
            self.log.info("seconds without an entry: %s", ", ".join(counts))

    # ------------------------------------------------------------------ entry

    async def _enter(self) -> None:
        entry = self._entry()
        if entry is Skip.UNCERTAIN and await self._bought.ascertain():
            entry = self._entry()
        if isinstance(entry, Skip):
            self._skipped[entry] += 1
            if self._skipped[entry] == 1:
                self.log.info("no entry: %s", entry)
            return
        self._next_entry = self.clock.time() + self.cool_down
        await self._place(entry)

    def _entry(self) -> OrderRequest | Skip:
        """Return what to buy, or why not."""
        outcome = self._direction()
        if isinstance(outcome, Skip):
            return outcome
        if busy := self._busy(outcome):
            return busy
        fair, ask = self._value(outcome), self.trading.price(outcome).ask
        if fair is None:
            return Skip.NO_PRICE_TO_BEAT
        if ask is None:
            return Skip.NO_ASK
        cost = ask + self.market.fees.taker_fee(ONE, ask)
        if not self.min_price <= ask <= self.max_price or cost > fair - self.edge:
            return Skip.TOO_DEAR
        left = self.budget - self._bought.cost()
        usd = Grid(self.session.tick_size(outcome)).floor_usd(min(self.usd, left))
        if usd < self.market.min_notional:
            return Skip.BUDGET_SPENT
        return OrderRequest.market_buy(outcome, usd, ask)

    def _direction(self) -> Outcome | Skip:
        """Return where the price moved, or why that is not known or not enough."""
        move = self._velocity.move
        if not self._is_fresh():
            return Skip.NO_FRESH_PRICE
        if move is None:
            return Skip.WARMING_UP
        if abs(move) < self.threshold:
            return Skip.SMALL_MOVE
        return Outcome.UP if move > 0 else Outcome.DOWN

    def _is_fresh(self) -> bool:
        latest_ms = self._velocity.latest_ms
        return latest_ms is not None and self.clock.time() - latest_ms / 1000 <= self.max_age

    def _busy(self, outcome: Outcome) -> Skip | None:
        """Return why nothing may be bought now whatever it costs, ``None`` if it may."""
        if self.seconds_left() < self.cutoff:
            return Skip.CUTOFF
        if self.clock.time() < self._next_entry:
            return Skip.COOL_DOWN
        if self.trading.open_orders():
            return Skip.ORDER_OPEN
        if not self._bought.is_certain:
            return Skip.UNCERTAIN
        if self.trading.position(outcome.other).size >= self.market.min_size:
            return Skip.HOLDS_THE_OTHER
        return None

    def _value(self, outcome: Outcome) -> Decimal | None:
        """Return what a share is worth by the model in USD, ``None`` while that is not known."""
        if self._prices is None:
            return None
        beat = self._prices.price_to_beat(self.market).value
        up = None if beat is None else self._fair.up(beat, self.market.window.end)
        return up if up is None or outcome is Outcome.UP else ONE - up

    # ------------------------------------------------------------------ exit

    async def _leave_if_due(self, outcome: Outcome) -> None:
        trading, quote = self.trading, self.trading.price(outcome)
        # Shares can be sold once the venue has delivered them.
        shares = min(trading.position(outcome).settled, trading.sellable(outcome))
        request = sale(
            outcome,
            shares,
            quote,
            tick=self.session.tick_size(outcome),
            min_size=self.market.min_size,
            slippage=self.slippage,
        )
        now = self.clock.time()
        if request is None or quote.bid is None or now < self._next_exit:
            return
        if self._is_over(outcome, quote.bid):
            self._next_exit = now + EXIT_PAUSE
            await self._place(request)

    def _is_over(self, outcome: Outcome, bid: Decimal) -> bool:
        """Return whether what is held is to be sold at `bid`."""
        cost = self.trading.position(outcome).average_price
        if cost is None:
            return False
        if self.take is not None and bid >= cost + self.take:
            return True
        if self.stop is not None and bid <= cost - self.stop:
            return True
        if self.leave is None or not self._is_fresh():
            return False
        fair, proceeds = self._value(outcome), bid - self.market.fees.taker_fee(ONE, bid)
        return fair is not None and proceeds >= fair + self.leave

    async def _place(self, request: OrderRequest) -> None:
        try:
            await self.trading.place(request)
        except OrderError as error:
            self.log.info("%s %s: %s", request.side, request.outcome, error)
