"""What Arbitrage wants to bid: phases, prices and sizes. Pure: no clock, no orders, exact."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from enum import Enum

from attrs import field, frozen

from polyframe.checks import a_price, amount, must, positive
from polyframe.model.grid import SIZE_STEP
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.strategies.blocks.bids import Wish
from polyframe.strategies.blocks.pairs import pair_bids
from polyframe.strategies.blocks.worstcase import Leg, room_for


class Phase(Enum):
    """What is bid for."""

    BUILD = "build"
    """Both outcomes, until `base` shares of each are held or bid for."""
    ADJUST = "adjust"
    """Both outcomes further, but the one that is ahead only within `max_unpaired`."""
    LOCK = "lock"
    """Only what is missing for pairs: that raises the worst case, and nothing else does."""


@frozen
class Quoted:
    """The top of one outcome's book and its price step, in USD."""

    bid: Decimal
    ask: Decimal
    tick: Decimal


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


@frozen
class ArbitragePlan:
    """The settings that decide; see `Arbitrage`."""

    target: Decimal = field(default=Decimal("0.02"), validator=a_price)
    size: Decimal = field(default=Decimal(20), validator=positive)
    base: Decimal = field(default=Decimal(60), validator=positive)
    max_shares: Decimal = field(default=Decimal(300), validator=positive)
    max_unpaired: Decimal = field(default=Decimal(40), validator=positive)
    max_loss: Decimal = field(default=Decimal(25), validator=positive)
    adjust_at: float = field(default=1 / 3, validator=must("a part from 0 to 1", _is_share))
    lock_at: float = field(default=2 / 3, validator=must("a part from 0 to 1", _is_share))
    decided: Decimal = field(
        default=Decimal("0.85"), validator=amount("above 0.5, at most 1", lambda p: 0.5 < p <= 1)
    )

    def phase(self, passed: float, quotes: Mapping[Outcome, Quoted]) -> Phase:
        """Return what to do after a part of the window, 0 to 1.

        A market that is nearly decided is locked at once: what it gives then are the shares that lose.
        """
        if passed >= self.lock_at or max(quote.bid for quote in quotes.values()) >= self.decided:
            return Phase.LOCK
        return Phase.BUILD if passed < self.adjust_at else Phase.ADJUST

    def wishes(
        self,
        phase: Phase,
        quotes: Mapping[Outcome, Quoted],
        legs: Collection[Leg],
        bought: Mapping[Outcome, Decimal],
    ) -> dict[Outcome, Wish]:
        """Return the bids that there should be.

        Args:
            phase: See `phase`.
            quotes: Both tops of the book.
            legs: All buys but those that rest now, which the bids are to replace.
            bought: Shares bought so far, as far as is known; merged ones count.
        """
        wanted = (
            self._locking(quotes, bought)
            if phase is Phase.LOCK
            else self._building(phase, quotes, legs, bought)
        )
        wishes = {}
        for outcome, wish in wanted.items():
            size = self.admitted(outcome, wish, legs)
            if size > 0:
                wishes[outcome] = Wish(wish.price, size)
        return wishes

    def admitted(self, outcome: Outcome, wish: Wish, legs: Collection[Leg]) -> Decimal:
        """Return how many shares of a bid keep the bounds, whatever becomes of all other buys."""
        bought = sum((leg.most for leg in legs if leg.outcome is outcome), ZERO)
        room = room_for(outcome, wish.price, legs, self.max_loss)
        size = min(wish.size, self.max_shares - bought, room)
        return max(size // SIZE_STEP * SIZE_STEP, ZERO)

    def _building(
        self,
        phase: Phase,
        quotes: Mapping[Outcome, Quoted],
        legs: Collection[Leg],
        bought: Mapping[Outcome, Decimal],
    ) -> dict[Outcome, Wish]:
        tick = max(quote.tick for quote in quotes.values())
        prices = pair_bids({o: quotes[o].bid for o in Outcome}, self.target, tick)
        if prices is None:
            return {}
        behind = min(Outcome, key=bought.__getitem__)
        ahead = behind.other
        missing = bought[ahead] - bought[behind]
        if missing > 0:
            # What completes pairs bids as they leave the target, whatever the others bid; what would
            # begin the next pair makes room for it.
            prices[behind] = self._completing(ahead, missing, quotes[behind], legs)
            prices[ahead] = min(prices[ahead], (ONE - self.target - prices[behind]) // tick * tick)
        wanted = {}
        for outcome, price in prices.items():
            lead = bought[outcome] - bought[outcome.other]
            size = min(self.size, self.max_unpaired - lead)
            if phase is Phase.BUILD:
                size = min(size, self.base - bought[outcome])
            if size > 0 and price >= tick:
                wanted[outcome] = Wish(price, size)
        return wanted

    def _completing(
        self, ahead: Outcome, missing: Decimal, quote: Quoted, legs: Collection[Leg]
    ) -> Decimal:
        """Return the highest bid at which the pairs that it completes leave the target.

        Without a partner are the shares that were bought last.
        """
        left, cost = missing, ZERO
        for leg in reversed([leg for leg in legs if leg.outcome is ahead]):
            part = min(leg.most, left)
            left -= part
            cost += part * leg.price
        # Shares of which no leg tells count as if they cost all that they pay.
        dearest = ONE - self.target - (cost + left) / missing
        return max(min(dearest, quote.ask - quote.tick) // quote.tick * quote.tick, ZERO)

    def _locking(
        self, quotes: Mapping[Outcome, Quoted], bought: Mapping[Outcome, Decimal]
    ) -> dict[Outcome, Wish]:
        behind = min(Outcome, key=bought.__getitem__)
        missing = bought[behind.other] - bought[behind]
        quote = quotes[behind]
        price = (quote.ask - quote.tick) // quote.tick * quote.tick
        if missing <= 0 or price < quote.tick:
            return {}
        return {behind: Wish(price, min(missing, self.size))}
