"""Splits and merges of a paper account: what the contracts of the venue would do. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from types import MappingProxyType

from polyframe.model.conversion import HALF, ConversionKind, Receipt, ReceiptState
from polyframe.model.market import Market, Outcome
from polyframe.paper.account import PaperAccount
from polyframe.paper.models import Chance, PaperModels
from polyframe.paper.schedule import Schedule

PAYS_BY_ITSELF = Receipt(ReceiptState.FAILED, "", "on paper, resolved markets pay by themselves")
"""The answer to whoever wants to redeem."""

REMEMBERED = 256
"""Transactions that are remembered: older ones ended long ago."""


class PaperContracts:
    """All transactions of a paper account.

    One reaches the chain as a trade does, after a latency and `PaperModels.mined`. There it is carried
    out as a whole or not at all: what counts is what the account has on chain then, also if it is on
    offer; orders that are not covered afterwards are withdrawn. It is told after
    `PaperModels.confirmed` more.

    Args:
        models: How long it takes.
        account: Whose cash and shares.
        chance: Makes a source of chance by name.
        schedule: Where it waits for its time.
        on_change: Called after shares and cash moved: open orders may lack cover.

    Attributes:
        receipts: How far each is, by id.
    """

    def __init__(
        self,
        models: PaperModels,
        account: PaperAccount,
        chance: Callable[[str], Chance],
        schedule: Schedule,
        on_change: Callable[[int], None],
    ) -> None:
        self._models = models
        self._account = account
        self._chance = chance("contracts")
        self._schedule = schedule
        self._on_change = on_change
        self._receipts: dict[str, Receipt] = {}
        self.receipts: Mapping[str, Receipt] = MappingProxyType(self._receipts)

    def send(
        self, name: str, market: Market, kind: ConversionKind, shares: Decimal, now_ms: int
    ) -> Receipt:
        """Submit a transaction under a new id."""
        models, chance = self._models, self._chance
        there = models.order_latency.sample_ms(chance) + models.mined.sample_ms(chance)
        self._schedule.at(now_ms + there, partial(self._mine, name, market, kind, shares))
        return self._note(name, ReceiptState.SUBMITTED)

    def receipt(self, name: str) -> Receipt:
        """Return how far a transaction is."""
        return self._receipts.get(name, Receipt(ReceiptState.UNKNOWN, name, "no such transaction"))

    def restore(self, receipts: Mapping[str, Receipt]) -> None:
        """Take over what an earlier run did; what was not carried out by then never is."""
        for name, receipt in receipts.items():
            if receipt.is_mined:
                self._confirm(name)
            elif receipt.state is ReceiptState.SUBMITTED:
                self._note(name, ReceiptState.FAILED, "the exchange closed before it was mined")
            else:
                self._receipts[name] = receipt

    def shares(self, market: Market) -> dict[Outcome, Decimal]:
        """Return the shares of a market that are on chain."""
        return {outcome: self._account.sellable(market.token(outcome)) for outcome in Outcome}

    def _mine(
        self, name: str, market: Market, kind: ConversionKind, shares: Decimal, now_ms: int
    ) -> None:
        account = self._account
        if kind is ConversionKind.SPLIT:
            missing = account.cash < shares
        else:
            # A token that is paid out has no shares any more.
            missing = min(self.shares(market).values()) < shares
        if missing or market.up_token in account.worth:
            self._note(name, ReceiptState.FAILED, f"the account cannot {kind} {shares} any more")
            return
        moved = shares if kind is ConversionKind.SPLIT else -shares
        for outcome in Outcome:
            account.move(market.token(outcome), moved, -moved * HALF)
        # Carried out, and kept as such over a restart: it is told a little later.
        self._note(name, ReceiptState.SUBMITTED, is_mined=True)
        later = self._models.confirmed.sample_ms(self._chance)
        self._schedule.at(now_ms + later, lambda _: self._confirm(name))
        self._on_change(now_ms)

    def _confirm(self, name: str) -> None:
        self._note(name, ReceiptState.CONFIRMED)

    def _note(
        self, name: str, state: ReceiptState, text: str = "", *, is_mined: bool = False
    ) -> Receipt:
        receipt = self._receipts[name] = Receipt(state, name, text, is_mined)
        while len(self._receipts) > REMEMBERED:
            del self._receipts[next(iter(self._receipts))]
        return receipt


class ConvertsOnPaper(ABC):
    """The splits and merges of an exchange whose account is on paper."""

    redeems = True

    async def split(self, market: Market, usd: Decimal) -> Receipt:
        """Turn cash into pairs, as the venue's contracts would."""
        return self._convert(market, ConversionKind.SPLIT, usd)

    async def merge(self, market: Market, shares: Decimal) -> Receipt:
        """Turn pairs into cash likewise."""
        return self._convert(market, ConversionKind.MERGE, shares)

    async def redeem(self, market: Market) -> Receipt:  # noqa: ARG002 - pays by itself
        """Do nothing: winning shares are paid when the market is resolved."""
        return PAYS_BY_ITSELF

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Return how far a split or merge is."""
        return self._contracts().receipt(transaction_id)

    async def fetch_shares(self, market: Market) -> Mapping[Outcome, Decimal]:
        """Return the shares that are on chain."""
        return self._contracts().shares(market)

    @abstractmethod
    def _convert(self, market: Market, kind: ConversionKind, shares: Decimal) -> Receipt:
        """Submit a transaction under an id of its own."""

    @abstractmethod
    def _contracts(self) -> PaperContracts:
        """Do what is due by now, and return what came of all transactions."""
