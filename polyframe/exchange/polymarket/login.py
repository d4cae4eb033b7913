"""API keys: made or read with a wallet's signature (PROTOCOL §2.6, §3.1)."""

from __future__ import annotations

import logging
from typing import Any

import httpx

from polyframe.checks import expect, expect_some_seconds
from polyframe.clock import Clock, WallClock
from polyframe.errors import ConfigError, ExchangeError
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts, StreamSettings, is_loopback
from polyframe.exchange.polymarket.eip712 import login
from polyframe.exchange.polymarket.http import HttpClient, refusal
from polyframe.exchange.polymarket.proxy import proxy_from_env
from polyframe.exchange.polymarket.wallet import WalletSigner, checked_signature
from polyframe.exchange.polymarket.wire import parse_json, text

_log = logging.getLogger(__name__)

_CREATE = ("POST", "/auth/api-key")
_DERIVE = ("GET", "/auth/derive-api-key")


async def login_headers(signer: WalletSigner, timestamp: int, nonce: int = 0) -> dict[str, str]:
    """Return the L1 headers of one call (PROTOCOL §3.1).

    Args:
        signer: Its wallet signs; the funds and the signature type do not matter here.
        timestamp: Epoch seconds.
        nonce: Number of the API key, from 0.
    """
    data = login(signer.address, timestamp, nonce, signer.chain_id)
    signature = checked_signature(await signer.wallet.sign(data))
    return {
        "POLY_ADDRESS": signer.address,
        "POLY_NONCE": str(nonce),
        "POLY_SIGNATURE": "0x" + signature.hex(),
        "POLY_TIMESTAMP": str(timestamp),
    }


async def create_or_derive_credentials(
    signer: WalletSigner,
    *,
    host: str = PolymarketHosts().clob,
    nonce: int = 0,
    timeout: float = 10.0,
    clock: Clock | None = None,
    proxy: str | None = None,
) -> Credentials:
    """Return the API key of the signer's wallet: a new one, or the one that it made before.

    The venue gives the same key again for the same wallet and `nonce`, so this can be called at
    every start. No order is placed and no money moves.

    Args:
        signer: Its wallet signs.
        host: Base URL of the trading REST.
        nonce: Number of the API key, from 0.
        timeout: Seconds for each of at most two requests.
        clock: Tells the time that is signed; the system's by default.
        proxy: HTTP proxy; by default the one that ``POLYMARKET_PROXY`` names, if `host` is not this
            machine.

    Raises:
        ConfigError: `host`, `nonce` or `proxy` cannot be.
        AuthenticationFailed: The venue did not accept the signature, or our clock is off.
        ExchangeError: No answer, or one without a key.
    """
    expect("signer", type(signer).__name__, "WalletSigner(…)", is_right=hasattr(signer, "wallet"))
    is_nonce = type(nonce) is int and nonce >= 0
    expect("nonce", nonce, "a whole number of at least 0", is_right=is_nonce)
    expect_some_seconds("timeout", timeout)
    expect("clock", clock, "WallClock()", is_right=clock is None or hasattr(clock, "sleep"))
    base, time = PolymarketHosts(clob=host).clob, clock or WallClock()
    way = StreamSettings(proxy=proxy).proxy or (None if is_loopback(base) else proxy_from_env())
    http = HttpClient(time, None, timeout, proxy=way)
    try:
        for method, path in (_CREATE, _DERIVE):
            headers = await login_headers(signer, int(time.time()), nonce)
            answer = await http.send(method, base, path, headers=headers)
            if answer.is_success:
                _log.info("API key of %s: %s", signer.address, path)
                return _credentials(answer, signer.address, f"{method} {path}")
            # The venue says 400 to a second key of one nonce; then the first one is read.
            if (method, path) == _DERIVE or answer.status_code != 400:
                raise refusal(answer, f"{method} {path}")
    finally:
        await http.close()
    raise AssertionError  # pragma: no cover - the second answer ends the loop


def _credentials(answer: httpx.Response, address: str, what: str) -> Credentials:
    try:
        value: Any = parse_json(answer.content)
    except ValueError:
        value = None
    found = value if isinstance(value, dict) else {}
    try:
        return Credentials(
            text(found.get("apiKey")),
            text(found.get("secret")),
            text(found.get("passphrase")),
            address,
        )
    except ConfigError as exc:
        # It names the field and never shows a value.
        msg = f"{what}: the answer has no usable API key ({exc})"
        raise ExchangeError(msg) from None
