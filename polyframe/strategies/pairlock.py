"""PairLock: buy Up and Down for less than the dollar that they pay together."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Literal

from attrs import define, field
from typing_extensions import override

from polyframe.checks import a_price, amount, count, must, not_negative, positive, some_seconds
from polyframe.model.events import CycleEndReason, OrderChanged, PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ONE
from polyframe.model.order import OrderRequest, Side
from polyframe.strategies.blocks.mirror import Mirror
from polyframe.strategies.blocks.pairdesk import PairDesk, at_least_size, before_closing
from polyframe.strategies.blocks.pairplan import OnFail, PairRules
from polyframe.strategies.blocks.pairs import pair_bids, pair_cost, pair_size
from polyframe.strategy import Strategy

Mode = Literal["maker", "taker"]


TAKER_TIMEOUT = 2.0
"""Market seconds in which asks that were there are found, or not."""

REFUSED_PAUSE = 2.0
"""Market seconds between two rounds, at least."""


@define
class PairLock(Strategy):
    """Buys equal sizes of Up and Down for at most 1 − `target` a pair, fees included.

    *Maker*: a post-only bid for each outcome, at the best bids or lower, both for at most 1 − `target`.
    They rest for `rest_timeout`, then they are placed anew where the market is. *Taker*: both asks, when
    they and both fees are that cheap. Both legs leave with `place_legs`.

    *Repair*: while one leg is missing its bid is moved up, as far as the pair still leaves `target`. If it
    is not filled within `leg_timeout`, if `tries` bids fail, if the filled leg falls `stop` below its cost,
    or at `close_before_end`, the plan gives up. `on_fail` says what that means: ``"flatten"`` closes the
    excess at the market, with up to `tries` orders, and goes on; ``"pause"`` keeps it to the end and
    begins no further round in this cycle. What could not be closed pauses as well.

    *The bound*: no round begins that could bring shares without a partner above `max_unhedged`, whatever
    is filled, refused or lost. One such share can lose what it cost and no more, so a cycle's worst
    loss from them is `max_unhedged` USD, except for trades that the venue takes back (FAILED).

    What to expect. Taker: nothing. Up and Down are one book, mirrored, so both asks come to 1 plus the
    spread at every consistent instant; on top come two fees, 3.5 cents a pair at 0.50. A sum below 1 is
    a display that is behind, and mostly the order that goes for it finds the price gone on one side, and
    is left with the other: the losing one. Maker: a bid for Up at 0.49 and one for Down at 0.49 are a bid
    and an offer of Up around 0.50. In a market that swings both are filled, and the pair earns `target`. In
    one that moves, the leg that is filled is the one that the market moves against (adverse selection),
    and the missing one runs away: that round loses `stop`, the spread and a fee of up to 1.75 cents
    a share, several times what a pair earns. Nothing in the settings tells the two markets apart.

    Attributes:
        mode: ``"maker"`` or ``"taker"``.
        size: Pairs of one round, at most; fewer if there is too little cash.
        target: USD that a pair has to leave after fees.
        max_price: No round while a share costs more than this, in USD: the other is almost lost then.
        rest_timeout: Market seconds after which bids that nothing was filled of are placed anew.
        leg_timeout: Market seconds that it is waited for a missing leg.
        stop: Give up when the filled leg is this much below its cost, in USD; ``None`` for never.
        tries: Bids for the missing leg that may fail, and closing orders.
        on_fail: ``"flatten"`` or ``"pause"``.
        max_rounds: Rounds of a cycle in which anything is filled.
        cool_down: Market seconds from the end of a round to the next.
        max_unhedged: Shares without a partner, at most; at least `size`.
        slippage: How far beyond the best price closing orders go, in USD.
        close_before_end: Market seconds before the end at which every plan gives up.
        cutoff: No round begins when fewer market seconds than this are left.
    """

    mode: Mode = field(
        default="maker", validator=must("maker or taker", lambda m: m in ("maker", "taker"))
    )
    size: Decimal = field(default=Decimal(10), validator=positive)
    target: Decimal = field(default=Decimal("0.02"), validator=a_price)
    max_price: Decimal = field(default=Decimal("0.75"), validator=a_price)
    rest_timeout: float = field(default=20.0, validator=some_seconds)
    leg_timeout: float = field(default=90.0, validator=some_seconds)
    stop: Decimal | None = field(
        default=Decimal("0.06"), validator=amount("above 0", lambda usd: usd > 0, or_none=True)
    )
    tries: int = field(default=4, validator=count())
    on_fail: OnFail = field(
        default="flatten", validator=must("flatten or pause", lambda f: f in ("flatten", "pause"))
    )
    max_rounds: int = field(default=10, validator=count())
    cool_down: float = field(default=10.0, validator=some_seconds)
    max_unhedged: Decimal = field(default=Decimal(15), validator=at_least_size)
    slippage: Decimal = field(default=Decimal("0.01"), validator=not_negative)
    close_before_end: float = field(default=45.0, validator=some_seconds)
    cutoff: float = field(default=180.0, validator=before_closing)

    _desk: PairDesk = field(init=False, repr=False, eq=False)
    _not_before: float = field(init=False, default=0.0)
    _skipped: Counter[str] = field(init=False, factory=Counter)

    @_desk.default
    def _make_desk(self) -> PairDesk:
        rules = PairRules(
            target=self.target,
            open_timeout=self.rest_timeout if self.mode == "maker" else TAKER_TIMEOUT,
            leg_timeout=self.leg_timeout,
            tries=self.tries,
            slippage=self.slippage,
            stop=self.stop,
            on_fail=self.on_fail,
        )
        return PairDesk(self, rules, self.close_before_end)

    # ------------------------------------------------------------------ hooks

    @override
    async def on_cycle_start(self) -> None:
        if self.is_resumed:
            self._desk.take_over()

    @override
    async def on_price(self, event: PriceChanged) -> None:
        if not self._desk.is_free:
            await self._desk.advance()
        elif self.clock.time() >= self._not_before:
            await self._begin()

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
        if self._skipped:
            self.log.info("looks without a round, by reason: %s", dict(self._skipped))

    # ------------------------------------------------------------------ a round

    async def _begin(self) -> None:
        legs = self._legs()
        if isinstance(legs, str):
            self._skipped[legs] += 1
            return
        # A round that is refused at once must not be tried again with every price.
        self._not_before = self.clock.time() + REFUSED_PAUSE
        if error := await self._desk.open(legs):
            self.log.info("no round: %s", error)
        await self._desk.advance()

    def _pause(self) -> str:
        """Return why no round may begin now whatever the prices are, ``""`` if one may."""
        if self.seconds_left() < self.cutoff:
            return "cutoff"
        if self._desk.has_failed:
            return "paused"
        if self._desk.rounds_filled >= self.max_rounds:
            return "max_rounds"
        is_cool = self.clock.time() >= self._desk.filled_until + self.cool_down
        return "" if is_cool else "cool_down"

    def _legs(self) -> list[OrderRequest] | str:
        """Return both legs of a round, or why there is none."""
        if pause := self._pause():
            return pause
        prices = self._bids() if self.mode == "maker" else self._asks()
        if isinstance(prices, str):
            return prices
        if max(prices.values()) > self.max_price:
            return "max_price"
        takes = () if self.mode == "maker" else tuple(Outcome)
        possible = pair_size(self.size, prices, self.market, cash=self.trading.cash, takes=takes)
        if not possible.size:
            return possible.reason
        if self._desk.most_unpaired() + possible.size > self.max_unhedged:
            return "max_unhedged"
        return [
            OrderRequest(outcome, Side.BUY, price, possible.size, post_only=self.mode == "maker")
            for outcome, price in prices.items()
        ]

    def _bids(self) -> dict[Outcome, Decimal] | str:
        mirror = Mirror.of(self.trading.price)
        tick = max(self.session.tick_size(outcome) for outcome in Outcome)
        bids = {outcome: mirror.bid(outcome) for outcome in Outcome}
        return pair_bids(bids, self.target, tick) or "no_bids"

    def _asks(self) -> dict[Outcome, Decimal] | str:
        asks = {outcome: self.trading.price(outcome).ask for outcome in Outcome}
        prices = {outcome: ask for outcome, ask in asks.items() if ask is not None}
        if len(prices) < len(asks):
            return "no_asks"
        cost = pair_cost(prices, self.size, self.market.fees)
        return prices if cost <= (ONE - self.target) * self.size else "too_dear"
