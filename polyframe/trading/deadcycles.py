"""The cycles that are over and not let go yet, and what their markets still owe."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice

from attrs import define, evolve, field, frozen

from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.series import Series
from polyframe.trading.account import Account
from polyframe.trading.state import CycleState

KEPT = 16
"""Settled cycles of each series that still take late events; older ones are let go."""


@frozen(eq=False)
class Claim:
    """What a resolved market still owes: all that redeeming it needs.

    Attributes:
        market: The market.
        winner: Who won; shares of it are what pays.
        account: Whose cash it becomes.
        amount: USD.
        is_coming: Whether its shares may not all be on chain yet: a trade is under way.
    """

    market: Market
    winner: Outcome
    account: Account
    amount: Decimal
    is_coming: bool


@define(eq=False)
class DeadCycle:
    """One cycle after its death.

    Attributes:
        state: Its orders and positions.
        is_resumable: Whether an earlier run has begun it and its window is still open.
        is_orphan: Whether no strategy saw its end.
        settling: The task that carries it to its end.
        is_done: Whether its books are closed: its market is resolved, or was given up.
        is_forgettable: Whether nothing more is expected of it, its trades included.
        redeemed: USD of its payout that are cash already.
        closed: Set with `is_done`.
    """

    state: CycleState
    is_resumable: bool = False
    is_orphan: bool = False
    settling: asyncio.Task[None] | None = None
    is_done: bool = False
    is_forgettable: bool = False
    redeemed: Decimal = ZERO
    closed: asyncio.Event = field(factory=asyncio.Event)

    @property
    def claim(self) -> Decimal:
        """USD that its resolved market still owes."""
        return self.state.payout - self.redeemed

    def as_claim(self) -> Claim | None:
        """Return what its resolved market still owes, ``None`` if that is nothing."""
        state, amount = self.state, self.claim
        if not amount or state.winner is None:
            return None
        return Claim(state.market, state.winner, state.account, amount, state.trades_under_way)

    def redeem(self, amount: Decimal) -> Decimal:
        """Book as cash what the market has paid, as far as it was owed; return how much that is."""
        # A trade may have failed meanwhile, which took its part of the claim.
        amount = min(amount, self.state.account.claimable, self.claim)
        self.state.account.redeem(amount)
        self.redeemed += amount
        return amount

    def take_payout(self, *, by_itself: bool) -> None:
        """Take note that the payout may be another one since.

        It grows after the resolution when a fill is reported late, or when the trade of a sell fails.

        Args:
            by_itself: Whether the venue pays it out by itself: what it grew by is cash then.
        """
        if by_itself and self.claim > 0:
            self.state.account.redeem(self.claim)
            self.redeemed = self.state.payout
        # What was taken back of the payout was taken from claims, or from cash.
        self.redeemed = min(self.redeemed, self.state.payout)


class DeadCycles:
    """All dead cycles, oldest first; they are found by slug and by token.

    Args:
        keeps_claims: Whether what those owe that are let go is kept until it is redeemed.
    """

    def __init__(self, *, keeps_claims: bool) -> None:
        self._keeps_claims = keeps_claims
        self._claims: dict[str, Claim] = {}
        self._by_slug: dict[str, DeadCycle] = {}
        self._by_token: dict[str, DeadCycle] = {}
        self._settled: Counter[Series] = Counter()

    def __iter__(self) -> Iterator[DeadCycle]:
        """Iterate over those that are there now, whatever becomes of them meanwhile."""
        return iter(tuple(self._by_slug.values()))

    def __getitem__(self, slug: str) -> DeadCycle:
        """Return the cycle of one market."""
        return self._by_slug[slug]

    def get(self, slug: str) -> DeadCycle | None:
        """Return the cycle of one market, ``None`` once it is let go."""
        return self._by_slug.get(slug)

    def of_token(self, token: str) -> DeadCycle | None:
        """Return the cycle of a token."""
        return self._by_token.get(token)

    @property
    def tokens(self) -> int:
        """How many tokens are known."""
        return len(self._by_token)

    def add(self, state: CycleState) -> DeadCycle:
        """Take in a cycle."""
        cycle = DeadCycle(state)
        self._by_slug[state.market.slug] = cycle
        for token in (state.market.up_token, state.market.down_token):
            self._by_token[token] = cycle
        return cycle

    def remove(self, cycle: DeadCycle) -> None:
        """Let go of a cycle."""
        market = cycle.state.market
        del self._by_slug[market.slug]
        for token in (market.up_token, market.down_token):
            if self._by_token.get(token) is cycle:
                del self._by_token[token]

    def settle(self, cycle: DeadCycle) -> DeadCycle | None:
        """Take note that nothing more is expected of a cycle; return the one that is let go for it.

        That is the oldest settled one of its series, without the last `KEPT`. Of one that owes something
        which somebody may redeem a `Claim` stays; if that may change yet (a trade never came to its end), the
        cycle itself stays.
        """
        series = cycle.state.market.series
        cycle.is_forgettable = True
        self._settled[series] += 1
        settled = (
            one
            for one in self._by_slug.values()
            if one.is_forgettable and one.state.market.series == series
        )
        for one in islice(settled, max(self._settled[series] - KEPT, 0)):
            claim = one.as_claim() if self._keeps_claims else None
            if claim is not None:
                if one.state.in_motion:
                    continue
                self._claims[one.state.market.slug] = claim
            self._settled[series] -= 1
            self.remove(one)
            return one
        return None

    def claim(self, slug: str) -> Claim | None:
        """Return what a resolved market still owes, ``None`` if that is nothing."""
        cycle = self._by_slug.get(slug)
        return self._claims.get(slug) if cycle is None else cycle.as_claim()

    def claims(self) -> list[str]:
        """Return the slugs of the resolved markets that still owe something, oldest first."""
        return [*self._claims, *(slug for slug, one in self._by_slug.items() if one.claim)]

    def redeem(self, slug: str, amount: Decimal) -> Decimal:
        """Book as cash what a market has paid, as far as it was owed; return how much that is."""
        cycle = self._by_slug.get(slug)
        if cycle is not None:
            return cycle.redeem(amount)
        claim = self._claims.get(slug)
        if claim is None:
            return ZERO
        amount = min(amount, claim.account.claimable, claim.amount)
        claim.account.redeem(amount)
        if amount < claim.amount:
            self._claims[slug] = evolve(claim, amount=claim.amount - amount)
        else:
            del self._claims[slug]
        return amount
