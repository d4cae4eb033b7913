"""Split, merge and redeem at Polymarket, with its own package in a process of its own.

The package (`polymarket-client`) knows wallets, contracts and the relayer. It does not belong on the
path of orders, and its dependencies are narrower than ours. So a worker uses it; here is the other
end of its pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from typing_extensions import override

from polyframe.checks import expect, expect_path, expect_some_seconds
from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.polymarket.config import PolymarketHosts, is_loopback
from polyframe.model.conversion import MICRO, Receipt, ReceiptState
from polyframe.model.market import Market, Outcome
from polyframe.shared import SharedService

_WORKER = Path(__file__).with_name("sdk_worker.py")
_NO_ANSWER = "the worker of the venue's package did not answer"


class SdkContracts(SharedService):
    """Splits, merges and redeems with the official package (PROTOCOL §7.4).

    Give it to ``Environment(contracts=...)``, which closes it. The worker starts with the first
    request, and again after it died. Smart wallets need a relayer key and pay no gas; a plain key sends
    its transactions itself and pays for them. Approvals have to be set up before, once, with the
    package or on the website.

    Args:
        private_key: Of the wallet that signs: 64 hexadecimal digits. It goes to the worker through a
            pipe, and nowhere else.
        relayer_key: Key of the relayer, from the venue's settings page.
        relayer_address: Whose key that is: the address that signs.
        wallet: Address that holds the funds; by default the deposit wallet of the key.
        hosts: Where the venue is; the real one by default.
        rpc: A node of the chain; one that the package knows by default.
        python: The interpreter that has the package; the running one by default.
        timeout: Network seconds for one request.
        confirm_live: Allows transactions with real money. It has to say whose:
            ``"real money of 0x…"`` with the address of the funds.

    Raises:
        ConfigError: A setting that cannot be, or real money without the sentence.
    """

    def __init__(
        self,
        *,
        private_key: str,
        relayer_key: str,
        relayer_address: str,
        wallet: str = "",
        hosts: PolymarketHosts | None = None,
        rpc: str = "",
        python: str | Path = sys.executable,
        timeout: float = 60.0,
        confirm_live: str = "",
    ) -> None:
        texts = {
            "private_key": private_key,
            "relayer_key": relayer_key,
            "relayer_address": relayer_address,
            "wallet": wallet,
            "rpc": rpc,
            "confirm_live": confirm_live,
        }
        for name, text in texts.items():
            if not isinstance(text, str):  # it may be a secret
                msg = f"{name}: expected a text, got {type(text).__name__}"
                raise ConfigError(msg)
        is_hosts = isinstance(hosts, PolymarketHosts | None)
        expect("hosts", hosts, "PolymarketHosts(…)", is_right=is_hosts)
        expect_path("python", python, "the name of an interpreter")
        expect_some_seconds("timeout", timeout)
        self._start: dict[str, Any] = {
            "key": private_key,
            "relayer_key": relayer_key,
            "relayer_address": relayer_address,
            "wallet": wallet,
        }
        if hosts is not None:
            relayer = hosts.clob.removesuffix("/clob") + "/relayer"
            self._start["hosts"] = {
                "clob": hosts.clob,
                "gamma": hosts.gamma,
                "data": hosts.data,
                "relayer": relayer,
                "rpc": rpc or relayer,
            }
        elif rpc:
            self._start["hosts"] = {"rpc": rpc}
        if hosts is None or not is_loopback(hosts.clob):
            if not wallet:
                msg = "wallet: name the address that holds the funds; real money is never guessed"
                raise ConfigError(msg)
            if confirm_live.lower() != f"real money of {wallet}".lower():
                msg = f'confirm_live: expected "real money of {wallet}" to move real money'
                raise ConfigError(msg)
            if hosts is not None:
                msg = (
                    "hosts: a venue that is neither the real one nor on this machine is not served"
                )
                raise ConfigError(msg)
        self._python = str(python)
        self._timeout = timeout
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._last_id = 0
        self.wallet = wallet

    @override
    def __repr__(self) -> str:
        return f"SdkContracts(wallet={self.wallet!r}, python={self._python!r})"

    # ------------------------------------------------------------------ life

    @override
    async def open(self, clock: Clock, counters: Counters) -> None:
        """Do nothing: the worker starts with the first request."""

    @override
    async def close(self) -> None:
        """End the worker. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(2.0):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    # ------------------------------------------------------------------ contracts

    async def split(self, market: Market, usd: Decimal) -> Receipt:
        """Turn `usd` into pairs."""
        return await self._convert("split", market, usd)

    async def merge(self, market: Market, shares: Decimal) -> Receipt:
        """Turn pairs into USD."""
        return await self._convert("merge", market, shares)

    async def redeem(self, market: Market) -> Receipt:
        """Turn all shares of a resolved market into what they pay."""
        return await self.redeem_condition(market.condition_id)

    async def redeem_condition(self, condition_id: str) -> Receipt:
        """Turn all shares of a resolved market into what they pay, whoever bought them."""
        return _receipt(await self._ask({"do": "redeem", "condition": condition_id}))

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Return how far a transaction is."""
        return _receipt(await self._ask({"do": "look", "transaction": transaction_id}))

    async def fetch_shares(self, market: Market) -> Mapping[Outcome, Decimal]:
        """Return the shares that are on chain."""
        tokens = [market.token(outcome) for outcome in Outcome]
        answer = await self._ask({"do": "shares", "tokens": tokens, "neg_risk": market.neg_risk})
        amounts = (Decimal(units) * MICRO for units in answer["shares"])
        return dict(zip(Outcome, amounts, strict=True))

    async def _convert(self, what: str, market: Market, amount: Decimal) -> Receipt:
        request = {"do": what, "condition": market.condition_id, "amount": int(amount / MICRO)}
        return _receipt(await self._ask(request))

    # ------------------------------------------------------------------ the pipe

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer; one at a time.

        Raises:
            ExchangeUnavailable: No answer, or an error that says nothing of what became of it.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout):
                    process = self._process or await self._started()
                    self._last_id += 1
                    answer = await _exchanged(process, {"id": self._last_id, **request})
            except BaseException as error:
                # Half an exchange is left in the pipe: the next one begins with a fresh worker.
                await self._abandon()
                if isinstance(error, TimeoutError | ValueError):  # silence, or a line of others
                    raise ExchangeUnavailable(_NO_ANSWER) from error
                raise
        return self._checked(answer)

    def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer without the secrets that the package's words may tell.

        Raises:
            ExchangeUnavailable: It is an error.
        """
        for name in ("error", "text"):
            text: str = answer.get(name, "")
            for secret in (self._start["key"].removeprefix("0x"), self._start["relayer_key"]):
                text = text.replace(secret, "***") if secret else text
            if name == "error" and name in answer:
                raise ExchangeUnavailable(text)
            if text:
                answer[name] = text
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        try:
            process = await asyncio.create_subprocess_exec(
                self._python,
                "-I",
                _WORKER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={k: v for k, v in os.environ.items() if not k.startswith("POLYMARKET_")},
            )
        except OSError as error:
            msg = f"python: {self._python} cannot be started: {error}"
            raise ExchangeUnavailable(msg) from error
        self._process = process
        answer = self._checked(await _exchanged(process, self._start))
        self.wallet = answer["wallet"]
        return process

    async def _abandon(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _exchanged(
    process: asyncio.subprocess.Process, message: dict[str, Any]
) -> dict[str, Any]:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readline()
    except ConnectionError as error:
        raise ExchangeUnavailable(_NO_ANSWER) from error
    if not line:
        msg = (
            f"{_NO_ANSWER}; is the package polymarket-client installed there? "
            "pip install '.[sdk]' in the checkout of polyframe"
        )
        raise ExchangeUnavailable(msg)
    answer: dict[str, Any] = json.loads(line)
    return answer


def _receipt(answer: dict[str, Any]) -> Receipt:
    return Receipt(
        ReceiptState(answer["state"]), answer["transaction"], answer["text"], answer["mined"]
    )
