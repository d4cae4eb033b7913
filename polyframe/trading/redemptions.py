"""Winning shares become cash where the venue does not pay by itself: out of band, and only when asked."""

from __future__ import annotations

from decimal import Decimal

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import PositionContracts
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.trading.conversions import ASK_CAP, ASK_FIRST, GONE_AFTER
from polyframe.trading.ledger import Journal
from polyframe.trading.recount import Recount
from polyframe.trading.settlement import Settlement
from polyframe.trading.state import CycleState

_DONE = ReceiptState.CONFIRMED


class Redemptions:
    """The redemptions of an environment.

    Args:
        contracts: Who carries them out, ``None`` if nobody does.
        settlement: Knows what resolved markets owe.
        recount: Makes the cash certain where nobody knows when something was paid.
        clock: Market time.
        counters: Where they are counted.
        ledger: Where they are written down.
    """

    def __init__(
        self,
        contracts: PositionContracts | None,
        *,
        settlement: Settlement,
        recount: Recount,
        clock: Clock,
        counters: Counters,
        ledger: Journal,
    ) -> None:
        self._contracts = contracts
        self._settlement = settlement
        self._recount = recount
        self._clock = clock
        self._counters = counters
        self._ledger = ledger

    async def redeem(self, slug: str) -> Receipt:
        """Turn the winning shares of a resolved market of this run into cash, and return how it ended.

        What of the claim is on chain becomes cash when the transaction is confirmed. While it is not,
        asking again is harmless: shares are redeemed once.

        Raises:
            ConfigError: Nobody redeems here, or there is nothing to redeem.
            ExchangeError: The venue did not answer; it may have been sent.
        """
        contracts, claim = self._contracts, self._settlement.claim(slug)
        if contracts is None:
            msg = "redeem: nobody redeems here; see Environment(contracts=...)"
            raise ConfigError(msg)
        if not claim:
            msg = f"redeem: {slug} owes nothing here; it is not resolved, or paid out already"
            raise ConfigError(msg)
        state = self._settlement.state(slug)
        assert state is not None  # noqa: S101 - it has a claim
        with self._recount.paused():
            receipt = await self._redeemed(contracts, state, claim)
        self._counters.add(Count.REDEMPTIONS, receipt.state.value)
        data = {"usd": f"{claim:f}", "state": receipt.state, "transaction": receipt.transaction_id}
        self._ledger.note("redemption", {**data, "text": receipt.text}, state.market)
        return receipt

    async def _redeemed(
        self, contracts: PositionContracts, state: CycleState, claim: Decimal
    ) -> Receipt:
        market, winner = state.market, state.winner
        assert winner is not None  # noqa: S101 - it has a claim
        there = (await contracts.fetch_shares(market))[winner]
        if not there and state.trades_under_way:
            return Receipt(ReceiptState.FAILED, text="its winning shares are not on chain yet")
        if not there:
            # By an earlier run, on the website, or by a request of ours whose answer was lost.
            self._recount.was_paid(market, self._settlement.redeemed(market.slug, claim))
            return Receipt(_DONE, text="it was redeemed before; the cash is counted again")
        receipt = await contracts.redeem(market)
        delay, give_up = ASK_FIRST, self._clock.time() + GONE_AFTER
        while receipt.state is ReceiptState.SUBMITTED and self._clock.time() < give_up:
            await self._clock.sleep(delay)
            delay = min(delay * 1.5, ASK_CAP)
            receipt = await contracts.fetch_receipt(receipt.transaction_id)
        if receipt.state is _DONE:
            # Shares that were not on chain yet were not paid for.
            self._settlement.redeemed(market.slug, min(claim, there))
        return receipt
