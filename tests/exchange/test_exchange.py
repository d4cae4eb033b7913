"""The exchange object itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal

import pytest
from attrs import evolve
from attrs.exceptions import FrozenAttributeError

from polyframe.clock import VirtualClock
from polyframe.counters import Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import DataStream, Exchange, MarketSink, PreparedOrder, UserSink
from polyframe.exchange.polymarket import (
    Credentials,
    LocalSigner,
    PolymarketExchange,
    PolymarketHosts,
    Signer,
)
from polyframe.exchange.polymarket.eip712 import TypedData
from polyframe.exchange.polymarket.market_stream import MarketStream
from polyframe.exchange.polymarket.orders import live_confirmation
from polyframe.exchange.polymarket.user_stream import UserStream
from polyframe.exchange.polymarket.wallet import PrivateKey, WalletSigner
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from tests.exchange.kit import (
    ADDRESS,
    API_KEY,
    CREDENTIALS,
    DEVELOPMENT_KEY,
    DOWN,
    MARKET,
    PASSPHRASE,
    SECRET,
    Sink,
)

LOCAL = PolymarketHosts.local("http://127.0.0.1:1")
NOW = 1790586000.25
REQUEST = OrderRequest(Outcome.DOWN, Side.BUY, Decimal("0.53"), Decimal("7.25"))


async def _opened(**settings: object) -> PolymarketExchange:
    exchange = PolymarketExchange(**settings)  # type: ignore[arg-type]
    await exchange.open(VirtualClock(NOW), Counters())
    return exchange


def test_the_classes_fit_their_protocols() -> None:
    """The types agree with the seam; mypy proves it here."""
    exchange: Exchange = PolymarketExchange(hosts=LOCAL)
    streams: tuple[type[DataStream], ...] = (MarketStream, UserStream)
    signer: Signer = LocalSigner(ADDRESS)
    sinks: tuple[MarketSink, UserSink] = (Sink(), Sink())
    assert exchange.name == "polymarket"
    assert exchange.redeems is False
    assert streams
    assert sinks
    assert signer.maker == signer.signer == signer.address == ADDRESS


def test_only_hosts_on_this_machine_are_not_live() -> None:
    """Whether orders move real money follows from the hosts alone."""
    assert PolymarketExchange().is_live
    assert not PolymarketExchange(hosts=LOCAL).is_live
    half = PolymarketHosts(clob="https://clob.polymarket.com", gamma=LOCAL.gamma, ws=LOCAL.ws)
    assert PolymarketExchange(hosts=half, credentials=CREDENTIALS).is_live


def test_where_the_venue_is_cannot_be_changed_afterwards() -> None:
    """Else orders for real money would pass as those of a venue on this machine, unconfirmed."""
    exchange = PolymarketExchange(hosts=LOCAL)
    with pytest.raises(FrozenAttributeError):
        exchange.hosts = PolymarketHosts()
    with pytest.raises(FrozenAttributeError):
        exchange.is_live = True
    assert (exchange.hosts, exchange.is_live) == (LOCAL, False)
    assert evolve(exchange, hosts=PolymarketHosts()).is_live


def test_a_local_venue_is_one_call_away() -> None:
    """URL and account of a local venue are enough; another machine is refused."""
    exchange = PolymarketExchange.local("http://127.0.0.1:1", CREDENTIALS)
    assert exchange.hosts == LOCAL
    assert exchange.credentials == CREDENTIALS
    assert not exchange.is_live
    with pytest.raises(ConfigError, match=r"^url: "):
        PolymarketExchange.local("https://example.com", CREDENTIALS)


def test_secrets_do_not_show() -> None:
    """The repr of the exchange masks what its credentials mask."""
    shown = repr(PolymarketExchange(hosts=LOCAL, credentials=CREDENTIALS))
    assert SECRET not in shown
    assert PASSPHRASE not in shown


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_the_request_timeout_must_be_positive(value: float) -> None:
    """A time-out that always strikes is refused."""
    with pytest.raises(ConfigError, match=r"^request_timeout: "):
        PolymarketExchange(request_timeout=value)


def test_an_order_is_prepared_completely() -> None:
    """The body is the one of PROTOCOL §2.3 but for the signature, with the venue's id of it."""

    async def main() -> None:
        exchange = await _opened(hosts=LOCAL, credentials=CREDENTIALS)
        request = OrderRequest(
            Outcome.DOWN, Side.BUY, Decimal("0.53"), Decimal("7.25"), OrderType.GTC, True
        )
        prepared = exchange.prepare_order(MARKET, request)
        order = dict(prepared.payload["order"])
        assert 0 <= order["salt"] < 2**53
        assert prepared.venue_id == LocalSigner(ADDRESS).order_id(order, neg_risk=False)
        assert (prepared.market, prepared.request) == (MARKET, request)
        zero = "0x" + "0" * 64
        assert json.loads(json.dumps(prepared.payload)) == {
            "deferExec": False,
            "order": {
                "builder": zero,
                "expiration": "0",
                "maker": ADDRESS,
                "makerAmount": "3842500",
                "metadata": zero,
                "salt": order["salt"],
                "side": "BUY",
                "signatureType": 0,
                "signer": ADDRESS,
                "takerAmount": "7250000",
                "timestamp": "1790586000250",
                "tokenId": DOWN,
            },
            "orderType": "GTC",
            "owner": API_KEY,
            "postOnly": True,
        }
        again = exchange.prepare_order(MARKET, request)
        assert again.venue_id != prepared.venue_id
        await exchange.close()

    asyncio.run(main())


def test_a_price_on_a_finer_tick_than_the_markets_can_be_prepared() -> None:
    """The tick may have become finer since the market was read; the caller knows it."""

    async def main() -> None:
        exchange = await _opened(hosts=LOCAL, credentials=CREDENTIALS)
        for price, good in (("0.975", True), ("0.9755", True), ("0.97555", False)):
            request = OrderRequest(Outcome.UP, Side.SELL, Decimal(price), Decimal(5))
            if good:
                exchange.prepare_order(MARKET, request)
            else:
                with pytest.raises(ValueError, match="price: "):
                    exchange.prepare_order(MARKET, request)
        await exchange.close()

    asyncio.run(main())


def _signer() -> WalletSigner:
    return WalletSigner(PrivateKey(DEVELOPMENT_KEY))


def _credentials(signer: Signer) -> Credentials:
    return Credentials(API_KEY, SECRET, PASSPHRASE, signer.address)


def test_the_stand_in_never_signs_for_the_real_venue() -> None:
    """Not even with a confirmation; and without any signer the error says which one to give."""

    async def main() -> None:
        stand_in = LocalSigner(ADDRESS)
        for signer in (stand_in, None):
            exchange = await _opened(
                credentials=CREDENTIALS, signer=signer, confirm_live=live_confirmation(stand_in)
            )
            with pytest.raises(ConfigError, match=r"^signer: .*WalletSigner"):
                exchange.prepare_order(MARKET, REQUEST)
            await exchange.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "confirmation",
    ["", "yes", "True", "real money of", f"real money of {ADDRESS}"],
)
def test_real_orders_need_a_second_opt_in(confirmation: str) -> None:
    """A live exchange object alone signs nothing: the setting has to name the funds."""

    async def main() -> None:
        signer = _signer()
        exchange = await _opened(
            credentials=_credentials(signer), signer=signer, confirm_live=confirmation
        )
        with pytest.raises(ConfigError, match=rf"^confirm_live: .*{signer.maker}"):
            exchange.prepare_order(MARKET, REQUEST)
        prepared = PreparedOrder("0x1", MARKET, REQUEST, {"order": {}})
        with pytest.raises(ConfigError, match=r"^confirm_live: "):
            await exchange.place_order(prepared)
        await exchange.close()

    asyncio.run(main())


@pytest.mark.parametrize("neg_risk", [False, True])
def test_real_orders_are_signed_with_both_opt_ins(neg_risk: bool) -> None:
    """With a key and the confirmation an order is prepared, for the exchange of its market."""

    async def main() -> None:
        signer = _signer()
        exchange = await _opened(
            credentials=_credentials(signer),
            signer=signer,
            confirm_live=f"real money of {signer.maker.lower()}",
        )
        assert exchange.is_live
        market = evolve(MARKET, neg_risk=neg_risk)
        prepared = exchange.prepare_order(market, REQUEST)
        order = prepared.payload["order"]
        assert (order["maker"], order["signer"]) == (signer.address, signer.address)
        assert prepared.venue_id == signer.order_id(order, neg_risk=neg_risk)
        assert prepared.venue_id != signer.order_id(order, neg_risk=not neg_risk)
        await exchange.close()

    asyncio.run(main())


def test_credentials_and_signer_are_of_one_key() -> None:
    """Credentials of another key are refused at once, with both addresses."""
    signer = _signer()
    with pytest.raises(ConfigError, match=rf"^credentials: .*{ADDRESS}.*{signer.address}"):
        PolymarketExchange(credentials=CREDENTIALS, signer=signer)


class _Device:
    """A wallet elsewhere: it takes its time, fails, or never answers."""

    def __init__(self, failure: Exception | None) -> None:
        self.address = PrivateKey(DEVELOPMENT_KEY).address
        self._failure = failure

    async def sign(self, data: TypedData) -> bytes:
        """Fail, or wait without end."""
        assert len(data.digest) == 32
        if self._failure is not None:
            raise self._failure
        await asyncio.Event().wait()
        return b""


@pytest.mark.parametrize("failure", [OSError("unplugged"), None])
def test_an_order_that_cannot_be_signed_was_not_sent(failure: Exception | None) -> None:
    """A device that fails or never answers leads to a refusal; the venue has seen nothing."""

    async def main() -> None:
        signer = WalletSigner(_Device(failure))
        exchange = await _opened(
            hosts=LOCAL, credentials=_credentials(signer), signer=signer, request_timeout=0.05
        )
        answer = await exchange.place_order(exchange.prepare_order(MARKET, REQUEST))
        assert (answer.result, answer.code) == (PlaceResult.REJECTED, "not_signed")
        assert "nothing was sent" in answer.text
        await exchange.close()

    asyncio.run(main())


def test_orders_need_credentials() -> None:
    """Without credentials there is no account stream and no order."""

    async def main() -> None:
        exchange = await _opened(hosts=LOCAL)
        assert exchange.user_stream(Sink()) is None
        with pytest.raises(ConfigError, match=r"^credentials: "):
            exchange.prepare_order(MARKET, REQUEST)
        await exchange.close()

    asyncio.run(main())


def test_open_comes_first_and_once_and_close_may_repeat() -> None:
    """Use before open and a second open are errors of the caller; close is always safe."""

    async def main() -> None:
        exchange = PolymarketExchange(hosts=LOCAL, credentials=CREDENTIALS)
        await exchange.close()
        with pytest.raises(RuntimeError, match="open"):
            await exchange.fetch_balance()
        with pytest.raises(RuntimeError, match="open"):
            exchange.market_stream(MARKET, Sink())
        with pytest.raises(RuntimeError, match="open"):
            exchange.user_stream(Sink())
        with pytest.raises(RuntimeError, match="open"):
            exchange.prepare_order(MARKET, REQUEST)
        await exchange.open(VirtualClock(NOW), Counters())
        with pytest.raises(RuntimeError, match="twice"):
            await exchange.open(VirtualClock(NOW), Counters())
        assert isinstance(exchange.market_stream(MARKET, Sink()), MarketStream)
        assert isinstance(exchange.user_stream(Sink()), UserStream)
        await exchange.close()
        await exchange.close()

    asyncio.run(main())


def test_names_can_be_imported_without_the_transports() -> None:
    """Importing the package loads neither httpx nor websockets; open() does."""
    code = (
        "import sys, polyframe.exchange.polymarket;"
        "print([name for name in ('httpx', 'websockets') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
