"""MarketMaker: bids for both outcomes around a fair value, and earns when both fill."""

from __future__ import annotations

from decimal import Decimal

from attrs import Factory, define, field
from attrs.converters import optional
from attrs.validators import instance_of
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
from polyframe.errors import ConfigError
from polyframe.model.events import CycleEndReason
from polyframe.model.grid import Grid
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.reference import ReferencePrices
from polyframe.strategies.blocks.bids import Bids, Wish
from polyframe.strategies.blocks.exposure import Exposure
from polyframe.strategies.blocks.fairvalue import FairValue, PriceModel, price_model
from polyframe.strategies.blocks.requote import RequotePolicy
from polyframe.strategy import Strategy

UP, DOWN = Outcome.UP, Outcome.DOWN

CHECK_PAUSE = 3.0
"""Market seconds between two comparisons with the venue that make room for bids."""


@define
class MarketMaker(Strategy):
    """Bids for Up and for Down so that both together cost `edge` less than the 1 USD that they pay.

    A bid for Down at 0.47 is an offer of Up at 0.53, in the same book (PROTOCOL §2.2): the two bids are
    a quote around the fair value. That is the middle of the book, moved by `trust` towards the model if
    there are a `ReferencePrices` in the environment and a price to beat, and by `skew` for each share
    held in excess, so that the outcome held less is bid for higher. Bids are post-only, one for
    each outcome, and moved only as `requote` says.

    It bids while both books are known, not crossed, not wider than `max_spread`, and not older than
    `max_age`, the fair value is not within `lowest` of 0 or 1, and more than `cutoff` seconds are left.
    Otherwise it takes its bids back, as it does at the end of the cycle.

    *The bounds*, orders on their way included and whatever the venue does: it never buys more than
    `max_shares` of an outcome, nor for more than `budget`. When it bids, a fill of it leaves at most
    `max_unpaired` shares more than of the other outcome. No bid crosses its own bid on the other
    side: every new one and the other that is open cost at most 1 − `edge` together.

    What to expect: it is filled when it is wrong. Who takes a bid of a maker that looks four times a
    second knows more, so the side that loses is filled first, and the other not at all: with
    `max_unpaired` shares of it at the end, that is what a bad cycle costs. Makers pay no fee and get a
    share of the takers' (PROTOCOL §2.9, not reckoned with here); takers pay 1.75 cents a share at 0.50,
    so an `edge` of a few cents is what there is to earn. Where it stands in the queue decides what it
    gets, which no back-test knows: believe only what holds under all three queue models
    (`run_bracket`). Pairs lie until the market is resolved; `max_shares` bounds what they bind.

    Attributes:
        size: Shares of one bid.
        edge: USD by which a bid for each outcome together cost less than 1.
        skew: USD by which the fair value moves for a share held in excess.
        trust: How far the fair value is moved from the middle of the book towards the model: 0 to 1.
        max_unpaired: Shares of one outcome that may be held in excess of the other.
        max_shares: Shares of an outcome that a cycle may buy.
        budget: USD that a cycle may spend.
        max_spread: Widest spread in USD in which it bids.
        lowest: No bids while the fair value is nearer than this to 0 or 1, in USD.
        cutoff: No bids when fewer market seconds than this are left.
        max_age: Market seconds after which a book that did not change is too old.
        every: Market seconds between two looks.
        requote: How far a bid may be from what is wanted.
        model: What the reference prices are; by default what the venue tells of such a series.
        volatility: The year's volatility that each cycle begins with, see `FairValue`.
    """

    size: Decimal = field(default=Decimal(20), validator=positive)
    edge: Decimal = field(default=Decimal("0.03"), validator=a_price)
    skew: Decimal = field(default=Decimal("0.0005"), validator=not_negative)
    trust: Decimal = field(
        default=Decimal("0.5"), validator=amount("from 0 to 1", lambda part: 0 <= part <= 1)
    )
    max_unpaired: Decimal = field(default=Decimal(60), validator=positive)
    max_shares: Decimal = field(default=Decimal(200), validator=positive)
    budget: Decimal = field(default=Decimal(200), validator=positive)
    max_spread: Decimal = field(default=Decimal("0.05"), validator=a_price)
    lowest: Decimal = field(
        default=Decimal("0.10"), validator=amount("from 0 to 0.5", lambda usd: 0 <= usd < 0.5)
    )
    cutoff: float = field(default=60.0, validator=seconds)
    max_age: float = field(default=10.0, validator=some_seconds)
    every: float = field(default=0.25, validator=some_seconds)
    requote: RequotePolicy = field(factory=RequotePolicy, validator=instance_of(RequotePolicy))
    model: PriceModel | None = field(default=None, converter=optional(price_model))
    volatility: float = field(default=0.5, validator=number("above 0", lambda part: part > 0))

    _prices: ReferencePrices | None = field(init=False, default=None)
    _fair: FairValue = field(init=False, factory=FairValue)
    _bids: Bids = field(init=False, repr=False, eq=False)
    _bought: Exposure = field(init=False, default=Factory(Exposure, takes_self=True))
    _next_check: float = field(init=False, default=0.0)
    _told_ms: int = field(init=False, default=0)
    _pause: str = field(init=False, default="")

    @_bids.default
    def _make_bids(self) -> Bids:
        return Bids(self, self.requote)

    # ------------------------------------------------------------------ hooks

    @override
    async def on_cycle_start(self) -> None:
        self._fair = FairValue(
            self.model or PriceModel.of(self.market.series), self.volatility, max_gap=self.max_age
        )
        try:
            prices = self.env.get(ReferencePrices)
            prices.latest(self.market.series)
        except ConfigError as error:
            self.log.info("quoting around the middle of the book: %s", error)
        else:
            self._prices = prices

    @override
    async def run(self) -> None:
        if self._prices is not None:
            self.spawn(self._listen(self._prices), "reference")
        while True:
            await self._look()
            await self.clock.sleep(self.every)

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self._bids.finish()

    async def _listen(self, prices: ReferencePrices) -> None:
        async for price in prices.updates(self.market):
            self._fair.add(price.value, price.instant_ms)
            self._told_ms = price.instant_ms

    # ------------------------------------------------------------------ one look

    async def _look(self) -> None:
        wanted = self._wanted()
        if await self._bids.take_back(wanted) or await self._make_room(wanted):
            wanted = self._wanted()  # time has passed
        await self._bids.place(self._admitted(wanted))

    def _wanted(self) -> dict[Outcome, Wish]:
        """Return the bids that there should be now."""
        fair = self._fair_value()
        if isinstance(fair, str):
            if fair != self._pause:
                self.log.info("not quoting: %s", fair)
            self._pause = fair
            return {}
        self._pause = ""
        held = {outcome: self.trading.position(outcome).size for outcome in Outcome}
        centre = fair - self.skew * (held[UP] - held[DOWN])
        wanted = {}
        for outcome, value in ((UP, centre), (DOWN, ONE - centre)):
            tick, ask = self.session.tick_size(outcome), self.trading.price(outcome).ask
            price = value - self.edge / 2 if ask is None else min(value - self.edge / 2, ask - tick)
            resting = (order.remaining for order in self._bids.open(outcome))
            size = self._room(outcome, ignored=sum(resting, ZERO))
            if price >= tick and size >= self.market.min_size:
                wanted[outcome] = Wish(Grid(tick).floor_price(price), size)
        return wanted

    def _fair_value(self) -> Decimal | str:
        """Return what an Up share is worth in USD, or why there are to be no bids."""
        if self.seconds_left() <= self.cutoff:
            return "cutoff"
        now = self.clock.time()
        middles = []
        for outcome in Outcome:
            quote = self.trading.price(outcome)
            if quote.bid is None or quote.ask is None:
                return "book_unknown"
            if now - quote.received > self.max_age:
                return "book_stale"
            if not 0 < quote.ask - quote.bid <= self.max_spread:
                return "spread"
            middles.append((quote.bid + quote.ask) / 2)
        fair = (middles[0] + ONE - middles[1]) / 2
        model = self._by_model(now)
        if model is not None:
            fair += self.trust * (model - fair)
        return fair if self.lowest <= fair <= ONE - self.lowest else "nearly_decided"

    def _by_model(self, now: float) -> Decimal | None:
        if self._prices is None or now - self._told_ms / 1000 > self.max_age:
            return None
        beat = self._prices.price_to_beat(self.market).value
        return None if beat is None else self._fair.up(beat, self.market.window.end)

    def _room(self, outcome: Outcome, ignored: Decimal = ZERO) -> Decimal:
        """Return the shares of a bid that keeps the bounds.

        Args:
            outcome: What is bid for.
            ignored: Shares of open bids that it is to take the place of.
        """
        bought = self._bought.shares(outcome) - ignored
        excess = bought - self.trading.position(outcome.other).size
        room = min(self.size, self.max_shares - bought, self.max_unpaired - excess)
        return Grid(self.session.tick_size(outcome)).floor_size(room)

    # ------------------------------------------------------------------ acting

    async def _make_room(self, wanted: dict[Outcome, Wish]) -> bool:
        """Find out what cancelled bids got, if they stand in the way; return whether time passed.

        Until then each counts in full.
        """
        now = self.clock.time()
        if self._pause or now < self._next_check or self._bought.is_certain:
            return False
        is_full = len(wanted) == len(Outcome) and all(q.size == self.size for q in wanted.values())
        if is_full and self.budget - self._bought.cost() >= 2 * self.size:
            return False
        self._next_check = now + CHECK_PAUSE
        await self._bought.ascertain()
        return True

    def _admitted(self, wanted: dict[Outcome, Wish]) -> list[OrderRequest]:
        """Return the bids to place now: none beside one that is open, none beyond a bound.

        Where nothing is open the wanted size keeps the bounds already.
        """
        requests: list[OrderRequest] = []
        for outcome, quote in wanted.items():
            if self._bids.open(outcome):
                continue
            others = [order.price for order in self._bids.open(outcome.other)]
            if max(others, default=ZERO) + quote.price > ONE - self.edge:
                continue
            cost = quote.price * quote.size + sum((r.price * r.size for r in requests), ZERO)
            if self._bought.cost() + cost <= self.budget:
                requests.append(
                    OrderRequest(outcome, Side.BUY, quote.price, quote.size, post_only=True)
                )
        return requests
