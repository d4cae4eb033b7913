"""Arbitrage: bids on both sides of one book, for pairs that cost less than they pay."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field
from attrs.validators import instance_of
from typing_extensions import override

from polyframe.checks import amount, seconds, some_seconds
from polyframe.errors import OrderError
from polyframe.model.events import CycleEndReason
from polyframe.model.grid import SIZE_STEP
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, OrderRequest, Side
from polyframe.strategies.arbitrageplan import ArbitragePlan, Phase, Quoted
from polyframe.strategies.blocks.bids import Bids, Wish
from polyframe.strategies.blocks.exposure import Exposure
from polyframe.strategies.blocks.requote import RequotePolicy
from polyframe.strategies.blocks.worstcase import Leg, legs_of
from polyframe.strategy import Strategy


@define
class Arbitrage(Strategy):
    """Collects pairs of Up and Down as a maker, for less than the 1 USD that each of them pays.

    *Why as a maker.* Both outcomes share one book: an offer of Down at 0.49 *is* a bid for Up at 0.51
    (PROTOCOL §2.2). With 0.51 bid and 0.52 asked for Up, the asks are 0.52 for Up and 0.49 for Down:
    1.01 together, in general 1 plus the spread. A taker also pays fees, 0.07 × 0.52 × 0.48 = 0.0175 and
    0.07 × 0.49 × 0.51 = 0.0175 a share (PROTOCOL §2.9), so the pair that pays 1.00 costs 1.045. Asks that
    add up to less than 1 are two books of different instants, and gone when the order arrives. The
    bids are 0.51 and 0.48, 0.99 together: who is filled on both pays no fee, and has earned the spread.

    In three phases, by the part of the window that has passed (`plan`):

    * *build*, until `adjust_at`: bids for both, which together leave `target`, until `base` shares
      of each are bought;
    * *adjust*: likewise up to `max_shares`; the outcome that is behind may bid up to the price at
      which its pairs still leave `target`, the one that is ahead only within `max_unpaired`;
    * *lock*, from `lock_at` or when a bid reaches `decided`: nothing but what is missing for pairs,
      one tick below the ask. Each such share raises the worst case, also where the pair costs more than 1.

    Pairs are merged into cash from `merge_from` settled ones on, where the environment offers that
    (`docs/conversions.md`); a pair is worth 1 USD either way, so this frees cash and changes no profit.

    *The bound*: whoever wins, a cycle never loses more than ``plan.max_loss``. That counts
    every order that rests, is on its way, or has ended without the trades having been read since, as
    filled or not, whichever is worse; and every trade that is not confirmed as settled or failed,
    whichever is worse.

    What to expect: the pairs that it completes are not what it loses with. The side that is going to
    lose is filled first, because those who sell it know; then the other side runs away. So what is
    left without a partner at the end decides, up to `max_loss` in a bad cycle, against a few cents a
    pair in good ones. A greater `target` fills less and is picked off less. How often it is filled at
    all depends on its place in the queue, which no back-test knows: believe only what holds under all
    three queue models (`run_bracket`).

    Attributes:
        plan: What it wants to bid, and its bounds; see `ArbitragePlan`.
        merge_from: Settled pairs from which on they are merged, ``None`` for never.
        cutoff: No bids when fewer market seconds than this are left.
        max_age: Market seconds after which a book that did not change is too old.
        every: Market seconds between two looks.
        requote: How far a bid may be from what is wanted.
    """

    plan: ArbitragePlan = field(factory=ArbitragePlan, validator=instance_of(ArbitragePlan))
    merge_from: Decimal | None = field(
        default=Decimal(20), validator=amount("at least 0", lambda n: n >= 0, or_none=True)
    )
    cutoff: float = field(default=20.0, validator=seconds)
    max_age: float = field(default=10.0, validator=some_seconds)
    every: float = field(default=0.5, validator=some_seconds)
    requote: RequotePolicy = field(factory=RequotePolicy, validator=instance_of(RequotePolicy))

    _bids: Bids = field(init=False, repr=False, eq=False)
    _traded: Exposure = field(init=False, repr=False, eq=False)
    _phase: Phase = field(init=False, default=Phase.BUILD)

    @_bids.default
    def _make_bids(self) -> Bids:
        return Bids(self, self.requote)

    @_traded.default
    def _make_traded(self) -> Exposure:
        return Exposure(self, frozenset(Side))  # a guard sells for it

    # ------------------------------------------------------------------ hooks

    @override
    async def run(self) -> None:
        while True:
            await self._look()
            await self.clock.sleep(self.every)

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self._bids.finish()

    # ------------------------------------------------------------------ one look

    async def _look(self) -> None:
        await self._merge()
        await self._traded.ascertain()
        wishes = self._wishes()
        if await self._bids.take_back(wishes):
            await self._traded.ascertain()
            wishes = self._wishes()  # time has passed
        await self._bids.place(self._admitted(wishes))

    def _wishes(self) -> dict[Outcome, Wish]:
        """Return the bids that there should be now."""
        quotes = self._quotes()
        if quotes is None or self.seconds_left() <= self.cutoff:
            return {}
        window = self.market.window
        passed = (self.clock.time() - window.start) / (window.end - window.start)
        self._phase = self.plan.phase(passed, quotes)
        resting = {order.client_id for order in self._bids.open()}
        orders = [order for order in self.trading.orders() if order.client_id not in resting]
        fills = [fill for fill in self.trading.fills() if fill.client_id not in resting]
        part = [self._filled_of(order) for order in self._bids.open() if order.filled]
        legs = [*legs_of(orders, fills, self._traded.certain), *part]
        return self.plan.wishes(self._phase, quotes, legs, self._bought())

    def _filled_of(self, order: Order) -> Leg:
        """Return what a resting bid has come to already: its rest is what is wished for anew."""
        return Leg(order.outcome, order.price, ZERO, max(order.filled, order.matched))

    def _quotes(self) -> dict[Outcome, Quoted] | None:
        """Return both tops of the book, ``None`` if one is not known, empty, crossed or too old."""
        quotes, now = {}, self.clock.time()
        for outcome in Outcome:
            top = self.trading.price(outcome)
            if top.bid is None or top.ask is None or top.bid >= top.ask:
                return None
            if now - top.received > self.max_age:
                return None
            quotes[outcome] = Quoted(top.bid, top.ask, self.session.tick_size(outcome))
        return quotes

    def _bought(self) -> dict[Outcome, Decimal]:
        bought = dict.fromkeys(Outcome, ZERO)
        for order in self.trading.orders():
            bought[order.outcome] += order.filled if order.side is Side.BUY else -order.filled
        return bought

    # ------------------------------------------------------------------ acting

    def _admitted(self, wishes: dict[Outcome, Wish]) -> list[OrderRequest]:
        """Return the bids to place now: none beside one that is open, none beyond a bound."""
        bids, cash = self._bids.open(), self.trading.cash
        legs = legs_of(self.trading.orders(), self.trading.fills(), self._traded.certain)
        requests = []
        for outcome, wish in wishes.items():
            others = [order.price for order in bids if order.outcome is not outcome]
            is_free = all(order.outcome is not outcome for order in bids)
            if not is_free or (others and self._phase is Phase.LOCK):
                continue
            if others and max(others) + wish.price > ONE - self.plan.target:
                continue
            size = min(self.plan.admitted(outcome, wish, legs), cash / wish.price)
            size = size // SIZE_STEP * SIZE_STEP
            if size >= self.market.min_size:
                cash -= size * wish.price
                requests.append(OrderRequest(outcome, Side.BUY, wish.price, size, post_only=True))
        return requests

    async def _merge(self) -> None:
        """Turn settled pairs into cash where that is offered."""
        if self.merge_from is None or not self.env.conversions.are_offered:
            return
        pairs = self.trading.mergeable()
        if pairs <= 0 or pairs < self.merge_from:
            return
        try:
            await self.trading.merge(pairs)
        except OrderError as error:
            self.log.info("not merged: %s", error)
