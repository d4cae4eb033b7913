"""Splits and merges at the simulated venue: they travel, get lost, wait, and fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from polyframe.errors import ExchangeUnavailable
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.testing.faults import Fault, Faults
from polyframe.testing.simaccount import SimAccount
from polyframe.testing.simvalues import SimHabits

if TYPE_CHECKING:
    from polyframe.testing.simline import SimLine
    from polyframe.testing.simmarket import SimMarket


class SimContracts:
    """All transactions of the account.

    Args:
        markets: Markets of the venue, by slug.
        account: Whose cash and shares.
        faults: What goes wrong.
        habits: How long it takes: as long as a trade.
        seed: Of its chance.

    Attributes:
        sent: How many were carried out or not, in all.
    """

    def __init__(
        self,
        markets: Mapping[str, SimMarket],
        account: SimAccount,
        faults: Faults,
        habits: SimHabits,
        seed: int | str,
    ) -> None:
        self._markets = markets
        self._account = account
        self._faults = faults
        self._habits = habits
        self._rng = random.Random(f"{seed}/contracts")
        self._receipts: dict[str, Receipt] = {}
        self._under_way = 0
        self.sent = 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    async def convert(self, market: Market, pairs: Decimal) -> Receipt:
        """Submit a split, or with a negative number a merge.

        Raises:
            ExchangeUnavailable: A fault; it may happen all the same.
        """
        await self._travel()
        if self._faults.hit(Fault.CONVERT_VANISHED):
            await asyncio.sleep(self._habits.lost_after)
            msg = "simulated: no answer"
            raise ExchangeUnavailable(msg)
        self.sent += 1
        name = f"x-{market.slug}-{self.sent}"
        mined = self._rng.uniform(*self._habits.mined)
        if self._faults.hit(Fault.CONVERT_LATE):
            mined += self._faults.source(Fault.CONVERT_LATE).choice((30.0, 120.0, 500.0))
        self._under_way += 1
        self._receipts[name] = Receipt(ReceiptState.SUBMITTED, name)
        asyncio.get_running_loop().call_later(mined, self._mine, name, market, pairs)
        if self._faults.hit(Fault.CONVERT_LOST):
            await asyncio.sleep(self._habits.lost_after)
            msg = "simulated: the answer is lost"
            raise ExchangeUnavailable(msg)
        await self._travel()
        return self._receipts[name]

    async def receipt(self, name: str) -> Receipt:
        """Return how far a transaction is.

        Raises:
            ExchangeUnavailable: A fault.
        """
        await self._ask()
        return self._receipts.get(name, Receipt(ReceiptState.UNKNOWN, name))

    async def shares(self, market: Market) -> dict[Outcome, Decimal]:
        """Return the shares that are on chain.

        Raises:
            ExchangeUnavailable: A fault.
        """
        await self._ask()
        have = self._account.delivered
        return {outcome: have.get(market.token(outcome), ZERO) for outcome in Outcome}

    async def _travel(self) -> None:
        await asyncio.sleep(self._rng.uniform(*self._habits.latency))

    async def _ask(self) -> None:
        await self._travel()
        if self._faults.hit(Fault.QUERY_ERROR):
            msg = "simulated: no answer"
            raise ExchangeUnavailable(msg)
        await self._travel()

    def _mine(self, name: str, market: Market, pairs: Decimal) -> None:
        failed = self._faults.hit(Fault.CONVERT_FAILED)
        if failed or not self._account.convert(market, pairs):
            self._receipts[name] = Receipt(ReceiptState.FAILED, name, "simulated: reverted")
            self._under_way -= 1
            return
        self._markets[market.slug].pairs += pairs
        loop, later = asyncio.get_running_loop(), self._rng.uniform(*self._habits.confirmed)
        # Whoever is asked for a transaction need not know at once what is on chain.
        loop.call_later(self._rng.uniform(0.0, later), self._tell_mined, name)
        loop.call_later(later, self._confirm, name)

    def _tell_mined(self, name: str) -> None:
        self._receipts[name] = Receipt(ReceiptState.SUBMITTED, name, is_mined=True)

    def _confirm(self, name: str) -> None:
        self._receipts[name] = Receipt(ReceiptState.CONFIRMED, name)
        self._under_way -= 1


class LineContracts:
    """The contracts as one process sees them: through its line, which can be cut.

    Args:
        contracts: The venue's.
        line: The process's line.
    """

    def __init__(self, contracts: SimContracts, line: SimLine) -> None:
        self._contracts = contracts
        self._line = line

    async def split(self, market: Market, usd: Decimal) -> Receipt:
        """Turn cash into pairs."""
        return await self._line.ask(lambda: self._contracts.convert(market, usd))

    async def merge(self, market: Market, shares: Decimal) -> Receipt:
        """Turn pairs into cash."""
        return await self._line.ask(lambda: self._contracts.convert(market, -shares))

    async def redeem(self, market: Market) -> Receipt:
        """Do nothing: resolved markets pay by themselves."""
        return Receipt(ReceiptState.FAILED, text=f"{market.slug} pays by itself")

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Return how far a transaction is."""
        return await self._line.ask(lambda: self._contracts.receipt(transaction_id))

    async def fetch_shares(self, market: Market) -> Mapping[Outcome, Decimal]:
        """Return the shares that are on chain."""
        return await self._line.ask(lambda: self._contracts.shares(market))
