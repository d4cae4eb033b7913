"""Split, merge and redeem with the venue's own package against the local venue's relayer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from attrs import define, evolve, field

from polyframe.counters import Counters
from polyframe.environment import Environment
from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.sdk import SdkContracts
from polyframe.exchange.polymarket.winnings import redeem_earlier
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.series import Series
from polyframe.strategy import Strategy
from polyframe.trader import Trader
from polyframe.venue import LocalVenue, Snapshot, VenueMarket, VenueSettings
from polyframe.venue.values import SHARE
from tests.conformance.harness import ADDRESS, KEY, interpreter, open_scene
from tests.venue.support import ScriptedSource, make_market

UP, DOWN = Outcome.UP, Outcome.DOWN
PATIENCE = 60.0
"""Real seconds until a transaction has ended."""
NAP = 0.02

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


# ------------------------------------------------------------------ redeem


@define(eq=False)
class JumpClock:
    """Real time, but for jumps: whoever sleeps wakes up when what was slept for is past."""

    ahead: float = field(default=0.0)

    def time(self) -> float:
        """Return the time."""
        return time.time() + self.ahead

    def jump_to(self, when: float) -> None:
        """Let it be `when`."""
        self.ahead = when - time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep for some seconds, or until they are jumped over."""
        await self.sleep_until(self.time() + seconds)

    async def sleep_until(self, when: float) -> None:
        """Likewise."""
        while (left := when - self.time()) > 0:
            await self._nap(min(left, NAP))
        await self._nap(0)

    async def _nap(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@define(eq=False)
class Resolving:
    """A venue whose market the test can bring to its end, and the package's worker there."""

    venue: LocalVenue
    clock: JumpClock
    contracts: SdkContracts
    found: VenueMarket

    @property
    def market(self) -> Market:
        """The market as the client has it."""
        return self.found.market

    @property
    def hosts(self) -> PolymarketHosts:
        """Where the venue is."""
        return PolymarketHosts.local(self.venue.url)

    def resolve(self) -> None:
        """Let the market be over and resolved: Up has won."""
        self.clock.jump_to(self.found.end + 2)


def at_its_end(act: Callable[[Resolving], Awaitable[None]], *, neg_risk: bool = False) -> None:
    """Run `act` a second after a market of five minutes has begun.

    Args:
        act: The test.
        neg_risk: Whether the market is one of those that use the other adapter.
    """
    python = interpreter("polymarket-client")

    async def main() -> None:
        clock = JumpClock()
        window = Series("btc", "5m").window_at(time.time())
        clock.jump_to(window.start + 1)
        found = make_market(window.start, period="5m")
        found = evolve(found, market=evolve(found.market, neg_risk=neg_risk))
        book = Snapshot((window.start - 100) * 1000, {4800: 100 * SHARE}, {5200: 100 * SHARE})
        source = ScriptedSource([book], markets=[found])
        # The package stamps its login with the real time.
        settings = VenueSettings(
            mined_after=0.2, confirmed_after=0.4, resolve_after=1, redeem=False, skew=1e6
        )
        async with LocalVenue(source, clock=clock, settings=settings) as venue:
            contracts = SdkContracts(
                private_key=KEY,
                relayer_key="any",
                relayer_address=ADDRESS,
                hosts=PolymarketHosts.local(venue.url),
                python=python,
            )
            try:
                async with asyncio.timeout(PATIENCE):
                    await act(Resolving(venue, clock, contracts, found))
            finally:
                await contracts.close()

    asyncio.run(main())


def test_the_official_package_redeems() -> None:
    """Winning shares are cash, losing ones nothing, once; before the resolution a receipt says why."""

    async def act(scene: Resolving) -> None:
        contracts, market = scene.contracts, scene.market
        split = await ended(contracts, await contracts.split(market, Decimal(20)))
        assert split.state is ReceiptState.CONFIRMED
        account = scene.venue.accounts[1]
        account.move(market.up_token, Decimal("7.25"), ZERO)
        early = await contracts.redeem(market)
        assert early.state is ReceiptState.FAILED
        assert "once it is resolved" in early.text
        scene.resolve()
        assert await contracts.fetch_shares(market) == {UP: Decimal("27.25"), DOWN: Decimal(20)}
        redeemed = await ended(contracts, await contracts.redeem(market))
        assert redeemed.state is ReceiptState.CONFIRMED
        assert await contracts.fetch_shares(market) == {UP: ZERO, DOWN: ZERO}
        assert account.cash == Decimal("1007.25")
        again = await ended(contracts, await contracts.redeem(market))
        assert again.state is ReceiptState.CONFIRMED
        assert account.cash == Decimal("1007.25")

    at_its_end(act)


def test_winnings_of_an_earlier_run_are_redeemed_by_the_records() -> None:
    """What the account holds of a resolved market is found without any books of ours, and paid once."""

    async def act(scene: Resolving) -> None:
        contracts, market = scene.contracts, scene.market
        split = await ended(contracts, await contracts.split(market, Decimal(20)))
        assert split.state is ReceiptState.CONFIRMED
        account = scene.venue.accounts[1]
        credentials = Credentials(
            account.api_key, account.secret, account.passphrase, account.address
        )
        exchange = PolymarketExchange(scene.hosts, credentials)
        await exchange.open(scene.clock, Counters())
        try:
            assert await redeem_earlier(exchange.data_api, contracts) == {}
            scene.resolve()
            found = await redeem_earlier(exchange.data_api, contracts)
            assert {one: receipt.state for one, receipt in found.items()} == {
                market.condition_id: ReceiptState.CONFIRMED
            }
            assert account.cash == 1000
            assert await redeem_earlier(exchange.data_api, contracts) == {}
        finally:
            await exchange.close()

    at_its_end(act)


@define
class Splitter(Strategy):
    """Splits off twenty pairs."""

    async def on_cycle_start(self) -> None:
        await self.trading.split(Decimal(20))


def test_an_environment_redeems_with_the_official_package() -> None:
    """A strategy's pairs are held to the end: the claim becomes cash here and at the venue, once.

    Through the other adapter, which the markets of several outcomes have.
    """

    async def act(scene: Resolving) -> None:
        contracts, market, clock = scene.contracts, scene.market, scene.clock
        await contracts.fetch_shares(market)  # the worker logs in, which opens the account
        account = scene.venue.accounts[1]
        credentials = Credentials(
            account.api_key, account.secret, account.passphrase, account.address
        )
        exchange = PolymarketExchange(scene.hosts, credentials)
        async with Environment(exchange, clock=clock, contracts=contracts) as env:
            trader = Trader(env)
            trader.add(Splitter(), on="btc-updown-5m")
            running = asyncio.create_task(trader.run(cycles=1))
            while env.account.cash != 980:
                await clock.sleep(NAP)
            scene.resolve()
            await running
            await env.settlement.wait_settled()
            assert (env.account.cash, env.account.claimable) == (Decimal(980), Decimal(20))
            receipts = await env.redeem()
            assert receipts[market.slug].state is ReceiptState.CONFIRMED
            assert (env.account.cash, env.account.claimable) == (Decimal(1000), ZERO)
            assert account.cash == 1000
            assert await env.redeem() == {}
            record = env.ledger.get(market.slug)
            assert record is not None
            assert (record.payout, record.profit) == (Decimal(20), ZERO)

    at_its_end(act, neg_risk=True)
