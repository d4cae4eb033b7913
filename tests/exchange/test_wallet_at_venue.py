"""The whole way of an account with a key, at a venue that checks every signature by its own code."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from decimal import Decimal
from pathlib import Path

import pytest

from polyframe.clock import ScaledClock
from polyframe.counters import Counters
from polyframe.environment import Environment
from polyframe.errors import AuthenticationFailed, ConfigError
from polyframe.exchange.base import PlaceAnswer
from polyframe.exchange.polymarket import (
    Credentials,
    PolymarketExchange,
    PolymarketHosts,
    PrivateKey,
    WalletSigner,
)
from polyframe.exchange.polymarket.login import create_or_derive_credentials
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.trading.ledger import Ledger
from polyframe.venue import LocalVenue, SyntheticSource
from tests.exchange.kit import SERIES, WINDOW

KEY = "5e" * 32
FUNDS = "0x" + "5a" * 20
LOW = Decimal("0.02")


def _requests() -> list[OrderRequest]:
    late = WINDOW.start + 800
    return [
        OrderRequest(Outcome.UP, Side.BUY, LOW, Decimal("7.25")),
        OrderRequest(Outcome.DOWN, Side.BUY, LOW, Decimal(50), post_only=True),
        OrderRequest(Outcome.UP, Side.BUY, LOW, Decimal(10), OrderType.GTD, expires=late),
        OrderRequest(Outcome.UP, Side.BUY, Decimal("0.99"), Decimal(100), OrderType.FAK),
        OrderRequest.market_buy(Outcome.UP, Decimal(10), Decimal("0.99")),
        OrderRequest.market_buy(Outcome.DOWN, Decimal("3.33"), Decimal("0.97"), OrderType.FOK),
    ]


async def _opened(
    venue: LocalVenue, clock: ScaledClock, signer: WalletSigner
) -> PolymarketExchange:
    hosts = PolymarketHosts.local(venue.url)
    credentials = await create_or_derive_credentials(signer, host=hosts.clob, clock=clock)
    exchange = PolymarketExchange(hosts, credentials, signer)
    await exchange.open(clock, Counters())
    return exchange


async def _market(exchange: PolymarketExchange) -> Market:
    market = await exchange.fetch_market(SERIES, WINDOW)
    assert market is not None
    return market


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_every_signature_type_trades_in_every_way(kind: int) -> None:
    """Key, orders that rest and that do not, one request with several: taken under our ids."""

    async def main() -> None:
        clock = ScaledClock(4, start=WINDOW.start + 60)
        signer = WalletSigner(PrivateKey(KEY), FUNDS if kind else None, kind)
        async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
            exchange = await _opened(venue, clock, signer)
            try:
                market = await _market(exchange)
                prepared = [exchange.prepare_order(market, one) for one in _requests()]
                rests, takes = prepared[:3], prepared[3:]
                assert await exchange.place_orders(rests) == [PlaceAnswer(PlaceResult.LIVE)] * 3
                for one in takes:
                    assert await exchange.place_order(one) == PlaceAnswer(PlaceResult.MATCHED)
                listed = {report.order_id for report in await exchange.fetch_open_orders(market)}
                assert listed == {one.venue_id for one in rests}
                traded = {
                    leg.order_id
                    for trade in await exchange.fetch_trades(market)
                    for leg in trade.legs
                }
                assert traded == {one.venue_id for one in takes}
                assert await exchange.fetch_balance() < 1000
            finally:
                await exchange.close()

    asyncio.run(main())


def test_the_same_key_is_given_again() -> None:
    """A second start finds the key of the first one, and another nonce makes another key."""

    async def main() -> None:
        clock, signer = ScaledClock(4, start=WINDOW.start + 60), WalletSigner(PrivateKey(KEY))
        async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
            host = f"{venue.url}/clob"
            first = await create_or_derive_credentials(signer, host=host, clock=clock)
            assert await create_or_derive_credentials(signer, host=host, clock=clock) == first
            other = await create_or_derive_credentials(signer, host=host, clock=clock, nonce=1)
            assert other.api_key != first.api_key

    asyncio.run(main())


def test_no_secret_shows_anywhere(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Not in the log of any library at its finest, in a repr, an error, or the ledger's file."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    secrets = {KEY, base64.b64encode(bytes.fromhex(KEY)).decode(), str(int(KEY, 16))}

    async def main() -> None:
        clock, signer = ScaledClock(4, start=WINDOW.start + 60), WalletSigner(PrivateKey(KEY))
        async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
            exchange = await _opened(venue, clock, signer)
            credentials = exchange.credentials
            assert credentials is not None
            secrets.update({credentials.secret, credentials.passphrase})
            await exchange.close()
            ledger = Ledger(tmp_path / "ledger.sqlite")
            async with Environment(exchange, clock=clock, ledger=ledger) as env:
                market = await _market(exchange)
                prepared = exchange.prepare_order(market, _requests()[0])
                await exchange.place_order(prepared)
                shown.append(repr([exchange, env, signer, signer.wallet, credentials, prepared]))
            wrong = Credentials(
                credentials.api_key,
                credentials.secret,
                credentials.passphrase[::-1],
                signer.address,
            )
            secrets.add(wrong.passphrase)
            broken = PolymarketExchange(exchange.hosts, wrong, signer)
            await broken.open(clock, Counters())
            with pytest.raises(AuthenticationFailed) as refused:
                await broken.fetch_balance()
            with pytest.raises(ConfigError) as mistyped:
                PrivateKey(KEY + "0")
            shown.extend(
                "".join(traceback.format_exception(caught.value)) for caught in (refused, mistyped)
            )
            await broken.close()

    asyncio.run(main())
    shown.append(caplog.text)
    shown.append((tmp_path / "ledger.sqlite").read_bytes().decode("latin-1"))
    assert len(shown) == 5
    assert all(len(text) > 100 for text in shown)
    leaks = [(n, text) for n, text in enumerate(shown) for secret in secrets if secret in text]
    assert leaks == []
