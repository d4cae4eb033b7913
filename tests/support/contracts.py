"""An exchange in memory that splits, merges and redeems, under the control of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal

from attrs import evolve

from polyframe.errors import ExchangeError
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.market import Market, Outcome
from tests.support.fake import FakeExchange


class ConvertingExchange(FakeExchange):
    """A `FakeExchange` with contracts: what is submitted stays so until the test says how it ended.

    Attributes:
        sent: What was asked for: what, which market, how much.
        receipts: What is known of each transaction, by id.
        answers_to_convert: What comes back instead of a submitted transaction.
        on_chain: Shares by slug.
        questions: How often anything was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, Decimal]] = []
        self.receipts: dict[str, Receipt] = {}
        self.answers_to_convert: list[Receipt | Exception] = []
        self.on_chain: dict[str, dict[Outcome, Decimal]] = {}
        self.chain_error: ExchangeError | None = None
        self.hold_convert: asyncio.Future[None] | None = None
        self.questions = 0

    async def split(self, market: Market, usd: Decimal) -> Receipt:
        return await self._submit("split", market, usd)

    async def merge(self, market: Market, shares: Decimal) -> Receipt:
        return await self._submit("merge", market, shares)

    async def redeem(self, market: Market) -> Receipt:
        return await self._submit("redeem", market, Decimal(0))

    async def _submit(self, what: str, market: Market, amount: Decimal) -> Receipt:
        self.sent.append((what, market.slug, amount))
        if self.hold_convert is not None:
            await self.hold_convert
        await asyncio.sleep(0)
        if self.answers_to_convert:
            answer = self.answers_to_convert.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        receipt = Receipt(ReceiptState.SUBMITTED, f"0xtx{len(self.sent)}")
        self.receipts[receipt.transaction_id] = receipt
        return receipt

    def finish(self, transaction_id: str, state: ReceiptState) -> None:
        """Let a transaction end, without telling anybody."""
        self.receipts[transaction_id] = evolve(self.receipts[transaction_id], state=state)

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        self.questions += 1
        if self.chain_error is not None:
            raise self.chain_error
        return self.receipts.get(transaction_id, Receipt(ReceiptState.UNKNOWN, transaction_id))

    async def fetch_shares(self, market: Market) -> Mapping[Outcome, Decimal]:
        self.questions += 1
        if self.chain_error is not None:
            raise self.chain_error
        return dict.fromkeys(Outcome, Decimal(0)) | self.on_chain.get(market.slug, {})
