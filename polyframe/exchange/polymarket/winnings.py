"""Winning shares that an earlier run, or another program, has left at the venue."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.checks import value
from polyframe.model.conversion import Receipt, ReceiptState

if TYPE_CHECKING:
    from polyframe.exchange.polymarket.dataapi import DataClient

log = logging.getLogger(__name__)

ASK_FIRST, ASK_CAP = 1.0, 5.0
"""Seconds between two questions for a transaction: at first, and at most."""


class Redeems(Protocol):
    """Who redeems by the id of a market's condition, as `SdkContracts` does."""

    async def redeem_condition(self, condition_id: str) -> Receipt:
        """Turn all shares of a resolved market into what they pay; return when it is submitted."""
        ...

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Return how far a transaction is."""
        ...


async def redeem_earlier(
    records: DataClient, contracts: Redeems, *, timeout: float = 300.0
) -> dict[str, Receipt]:
    """Redeem every resolved market in which the account still has shares that pay, whoever bought them.

    Before an environment opens: it counts the cash then, and a redemption that it did not begin is in no
    books. Of its own cycles `Environment.redeem` takes care. Asking again is harmless: shares are
    redeemed once.

    Args:
        records: The account's, ``exchange.data_api``. They lag by seconds to minutes.
        contracts: Who redeems.
        timeout: Seconds to wait for each transaction; then its receipt says ``submitted``.

    Returns:
        How it ended, by condition id; empty if there is nothing to redeem. Where nobody answered when told
        to redeem, the receipt is ``UNKNOWN`` and has the words of the error: it may have been sent.

    Raises:
        ExchangeError: The venue did not say which positions there are; nothing was redeemed.
    """
    paying = (item for item in await records.positions() if item.is_redeemable and value(item) > 0)
    wanted = dict.fromkeys(item.condition_id for item in paying)  # each once: all shares go at once
    return {one: await _redeemed(one, contracts, timeout) for one in wanted}


async def _redeemed(condition_id: str, contracts: Redeems, timeout: float) -> Receipt:
    try:
        receipt = await contracts.redeem_condition(condition_id)
    except ExchangeError as error:  # the other markets' receipts are not lost with it
        log.warning("%s: redeeming it failed, it may have been sent: %s", condition_id, error)
        return Receipt(ReceiptState.UNKNOWN, text=str(error))
    give_up, delay = asyncio.get_running_loop().time() + timeout, ASK_FIRST
    while receipt.state is ReceiptState.SUBMITTED and asyncio.get_running_loop().time() < give_up:
        await asyncio.sleep(delay)
        delay = min(delay * 1.5, ASK_CAP)
        try:
            receipt = await contracts.fetch_receipt(receipt.transaction_id)
        except ExchangeError as error:  # it is on its way, and the other markets wait
            log.warning("%s: asking how its redemption ended failed: %s", condition_id, error)
    return receipt
