"""API keys: made, or read again, with a wallet's signature."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polyframe.clock import VirtualClock
from polyframe.errors import AuthenticationFailed, ConfigError, ExchangeError, ExchangeUnavailable
from polyframe.exchange.polymarket.login import create_or_derive_credentials, login_headers
from polyframe.exchange.polymarket.wallet import PrivateKey, WalletSigner
from tests.exchange.ethereum import Account, encode_typed_data
from tests.exchange.kit import API_KEY, DEVELOPMENT_KEY, PASSPHRASE, SECRET

NOW = 1773307205
SIGNER = WalletSigner(PrivateKey(DEVELOPMENT_KEY), "0x" + "11" * 20, 3)
KEY = {"apiKey": API_KEY, "secret": SECRET, "passphrase": PASSPHRASE}
EXISTS = (400, {"error": "Could not create api key"})


class KeyVenue:
    """Answers to the calls of API keys in order, and keeps them with their headers."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[str, dict[str, str]]] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().rstrip().split("\r\n")
                fields = dict(line.split(": ", 1) for line in lines)
                self.calls.append((first, {name.upper(): value for name, value in fields.items()}))
                status, value = self._answers.pop(0)
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; gives the base URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await server.wait_closed()


async def _asked(venue: KeyVenue, nonce: int = 0) -> Any:
    async with venue.serving() as url:
        return await create_or_derive_credentials(
            SIGNER, host=url, nonce=nonce, clock=VirtualClock(NOW + 0.9), timeout=5
        )


def _check_headers(headers: dict[str, str], nonce: int) -> None:
    assert headers["POLY_ADDRESS"] == SIGNER.address
    assert headers["POLY_NONCE"] == str(nonce)
    assert headers["POLY_TIMESTAMP"] == str(NOW)
    message = encode_typed_data(
        {"name": "ClobAuthDomain", "version": "1", "chainId": 137},
        {
            "ClobAuth": [
                {"name": "address", "type": "address"},
                {"name": "timestamp", "type": "string"},
                {"name": "nonce", "type": "uint256"},
                {"name": "message", "type": "string"},
            ]
        },
        {
            "address": SIGNER.address,
            "timestamp": str(NOW),
            "nonce": nonce,
            "message": "This message attests that I control the given wallet",
        },
    )
    signed_by = Account.recover_message(message, signature=headers["POLY_SIGNATURE"])
    assert signed_by == SIGNER.address


def test_a_new_key_is_made() -> None:
    """The first call makes the key; its headers are signed by the wallet, not by the funds."""
    venue = KeyVenue((200, KEY))
    found = asyncio.run(_asked(venue))
    assert (found.api_key, found.secret, found.passphrase) == (API_KEY, SECRET, PASSPHRASE)
    assert found.address == SIGNER.address
    ((line, headers),) = venue.calls
    assert line == "POST /auth/api-key HTTP/1.1"
    _check_headers(headers, 0)


def test_a_key_that_exists_is_read() -> None:
    """When the venue has the key already, the second call reads it, for the same nonce."""
    venue = KeyVenue(EXISTS, (200, KEY))
    found = asyncio.run(_asked(venue, nonce=3))
    assert found.api_key == API_KEY
    assert [line.split(" HTTP")[0] for line, _ in venue.calls] == [
        "POST /auth/api-key",
        "GET /auth/derive-api-key",
    ]
    for _, headers in venue.calls:
        _check_headers(headers, 3)


@pytest.mark.parametrize(
    ("answers", "error", "calls"),
    [
        ([(401, {"error": "Invalid L1 Request headers"})], AuthenticationFailed, 1),
        ([(503, {"error": "down"})], ExchangeUnavailable, 1),
        ([EXISTS, (400, {"error": "no key"})], ExchangeError, 2),
        ([EXISTS, (401, {"error": "Invalid L1 Request headers"})], AuthenticationFailed, 2),
    ],
)
def test_refusals_are_raised(
    answers: list[tuple[int, Any]], error: type[ExchangeError], calls: int
) -> None:
    """Only "there is one already" leads to the second call; all else is the caller's to see."""
    venue = KeyVenue(*answers)
    with pytest.raises(error):
        asyncio.run(_asked(venue))
    assert len(venue.calls) == calls


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", {}, KEY | {"apiKey": None}, KEY | {"secret": "?"}, KEY | {"passphrase": ""}],
)
def test_an_answer_without_a_key_is_an_error_that_shows_nothing(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names what is missing; no value of the answer is in it or in the log."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ExchangeError, match="no usable API key") as caught:
        asyncio.run(_asked(KeyVenue((200, value))))
    shown = str(caught.value) + caplog.text
    assert not any(secret in shown for secret in (SECRET, PASSPHRASE, DEVELOPMENT_KEY[2:]))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"nonce": -1}, "nonce"), ({"host": "http://example.com"}, "clob"), ({"host": ""}, "clob")],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], field: str) -> None:
    """A wrong host or number is refused before anything is signed."""
    with pytest.raises(ConfigError, match=f"^{field}: "):
        asyncio.run(create_or_derive_credentials(SIGNER, **settings))


def test_the_published_login_is_in_the_headers() -> None:
    """The whole header set of the vector of PROTOCOL §3.7."""
    assert asyncio.run(login_headers(SIGNER, NOW)) == {
        "POLY_ADDRESS": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "POLY_NONCE": "0",
        "POLY_SIGNATURE": (
            "0xc504510cf161fce329c2e2eb2a48be1421409f9bac34bf4988b6837640b9884a"
            "6122d3a4109d3c70222b445a13a092838ef53f996ce072f0d1eb4ff23a3d4d701b"
        ),
        "POLY_TIMESTAMP": "1773307205",
    }
