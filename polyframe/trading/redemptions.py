"""Winning shares become cash where the venue does not pay by itself: out of band, and only when asked."""

from __future__ import annotations

import logging

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError
from polyframe.exchange.base import PositionContracts
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.trading.conversions import ASK_CAP, ASK_FIRST, GONE_AFTER
from polyframe.trading.deadcycles import Claim
from polyframe.trading.ledger import Journal
from polyframe.trading.recount import Recount
from polyframe.trading.settlement import Settlement

log = logging.getLogger(__name__)

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
        asking again is harmless: shares are redeemed once. An answer that did not come is told by the
        receipt, so that who redeems many markets has those of all.

        Raises:
            ConfigError: Nobody redeems here, or there is nothing to redeem.
        """
        contracts, claim = self._contracts, self._settlement.claim(slug)
        if contracts is None:
            msg = "redeem: nobody redeems here; see Environment(contracts=...)"
            raise ConfigError(msg)
        if claim is None:
            msg = f"redeem: {slug} owes nothing here; it is not resolved, or paid out already"
            raise ConfigError(msg)
        with self._recount.paused():
            receipt = await self._redeemed(contracts, claim)
        self._counters.add(Count.REDEMPTIONS, receipt.state.value)
        data = {
            "usd": f"{claim.amount:f}",
            "state": receipt.state,
            "transaction": receipt.transaction_id,
        }
        self._ledger.note("redemption", {**data, "text": receipt.text}, claim.market)
        return receipt

    async def _redeemed(self, contracts: PositionContracts, claim: Claim) -> Receipt:
        market = claim.market
        try:
            there = (await contracts.fetch_shares(market))[claim.winner]
        except ExchangeError as error:
            return Receipt(ReceiptState.FAILED, text=f"nothing was sent: {error}")
        if not there and claim.is_coming:
            return Receipt(ReceiptState.FAILED, text="its winning shares are not on chain yet")
        if not there:
            # By an earlier run, on the website, or by a request of ours whose answer was lost.
            self._recount.was_paid(market, self._settlement.redeemed(market.slug, claim.amount))
            return Receipt(_DONE, text="it was redeemed before; the cash is counted again")
        try:
            receipt = await contracts.redeem(market)
        except ExchangeError as error:  # it may have been sent
            return Receipt(ReceiptState.UNKNOWN, text=str(error))
        delay, give_up = ASK_FIRST, self._clock.time() + GONE_AFTER
        while receipt.state is ReceiptState.SUBMITTED and self._clock.time() < give_up:
            await self._clock.sleep(delay)
            delay = min(delay * 1.5, ASK_CAP)
            try:
                receipt = await contracts.fetch_receipt(receipt.transaction_id)
            except ExchangeError as error:  # it is on its way
                log.warning("%s: asking how its redemption ended failed: %s", market.slug, error)
        if receipt.state is _DONE:
            # Shares that were not on chain yet were not paid for.
            self._settlement.redeemed(market.slug, min(claim.amount, there))
        return receipt
