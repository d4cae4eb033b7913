"""Split, merge and redeem with the venue's own package against the local venue's relayer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.sdk import SdkContracts
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.market import Market, Outcome
from polyframe.venue import LocalVenue
from tests.conformance.harness import ADDRESS, KEY, interpreter, open_scene

UP, DOWN = Outcome.UP, Outcome.DOWN
PATIENCE = 60.0
"""Real seconds until a transaction has ended."""

Act = Callable[[SdkContracts, LocalVenue, Market], Awaitable[None]]


def with_sdk(act: Act, *, relayer_key: str = "any") -> None:
    """Run `act` with the official package in a process of its own, at an open venue."""
    python = interpreter("polymarket-client")

    async def main() -> None:
        async with open_scene() as scene:
            contracts = SdkContracts(
                private_key=KEY,
                relayer_key=relayer_key,
                relayer_address=ADDRESS,
                hosts=PolymarketHosts.local(scene.venue.url),
                python=python,
            )
            try:
                async with asyncio.timeout(PATIENCE):
                    await act(contracts, scene.venue, scene.market.market)
            finally:
                await contracts.close()

    asyncio.run(main())


async def ended(contracts: SdkContracts, receipt: Receipt) -> Receipt:
    """Return how a transaction ended."""
    while receipt.state is ReceiptState.SUBMITTED:
        await asyncio.sleep(0.05)
        receipt = await contracts.fetch_receipt(receipt.transaction_id)
    return receipt


def test_the_official_package_splits_and_merges() -> None:
    """Cash becomes pairs and pairs cash, exactly; what cannot be is a receipt that says why."""

    async def act(contracts: SdkContracts, venue: LocalVenue, market: Market) -> None:
        assert await contracts.fetch_shares(market) == {UP: Decimal(0), DOWN: Decimal(0)}
        account = venue.accounts[1]
        split = await contracts.split(market, Decimal(20))
        assert split.state is ReceiptState.SUBMITTED
        assert (await ended(contracts, split)).state is ReceiptState.CONFIRMED
        assert await contracts.fetch_shares(market) == {UP: Decimal(20), DOWN: Decimal(20)}
        assert account.cash == 980
        merge = await contracts.merge(market, Decimal("4.25"))
        assert (await ended(contracts, merge)).state is ReceiptState.CONFIRMED
        assert await contracts.fetch_shares(market) == dict.fromkeys(Outcome, Decimal("15.75"))
        assert account.cash == Decimal("984.25")
        assert account.funder == contracts.wallet
        # More pairs than there are, more cash than there is: refused by the package, or on chain.
        merge = await contracts.merge(market, Decimal(50))
        assert merge.state is ReceiptState.FAILED
        assert "exceeds the maximum" in merge.text
        split = await ended(contracts, await contracts.split(market, Decimal(2_000)))
        assert split.state is ReceiptState.FAILED
        assert "TRANSFER_FROM_FAILED" in split.text
        unknown = await contracts.fetch_receipt("nobody")
        assert unknown.state is ReceiptState.UNKNOWN
        assert account.cash == Decimal("984.25")

    with_sdk(act)


def test_a_worker_that_dies_is_an_unknown_end_and_the_next_request_has_a_new_one() -> None:
    """Whatever was under way may have left; the pipe begins afresh."""

    async def act(contracts: SdkContracts, _: LocalVenue, market: Market) -> None:
        await contracts.fetch_shares(market)
        assert contracts._process is not None
        contracts._process.kill()
        await contracts._process.wait()
        with pytest.raises(ExchangeUnavailable):
            await contracts.split(market, Decimal(5))
        assert await contracts.fetch_shares(market) == {UP: Decimal(0), DOWN: Decimal(0)}

    with_sdk(act)
