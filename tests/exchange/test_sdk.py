"""The worker of the venue's package: settings, secrets, and what its silence means. No package needed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.base import PositionContracts
from polyframe.exchange.polymarket import sdk
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.sdk import SdkContracts
from polyframe.model.conversion import Receipt, ReceiptState
from polyframe.model.market import Outcome
from tests.support.fake import make_market

SECRET = "0x" + "7e" * 32
FUNDS = "0x" + "ab" * 20
LOCAL = PolymarketHosts.local("http://127.0.0.1:1")
MARKET = make_market()

WORKER = """
import json, sys
start = json.loads(sys.stdin.readline())
assert start["key"] and start["hosts"]["relayer"].endswith("/relayer")
print(json.dumps({"id": 0, "wallet": "0xfunds", "kind": "DEPOSIT_WALLET"}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    answer = {"state": "submitted", "transaction": "t1", "text": "", "mined": False}
    if asked["do"] == "shares":
        answer = {"shares": [1500000, 0]}
    elif asked["do"] == "split":
        answer = {"error": "TransportError: no answer"}
    elif asked["do"] == "redeem":
        sys.exit(3)
    elif asked.get("transaction") == "silent":
        continue
    elif asked.get("transaction") == "talkative":
        print("a line that the package prints", flush=True)
    elif asked.get("transaction") == "tells":
        answer["error"] = "bad key " + start["key"][2:] + " of " + start["relayer_key"]
    elif asked.get("transaction") == "refused":
        answer["text"] = "bad key " + start["relayer_key"]
    elif asked["do"] == "merge":
        assert asked["amount"] == 4250000
    print(json.dumps({"id": asked["id"], **answer}), flush=True)
"""


def contracts(**changes: Any) -> SdkContracts:
    """Return contracts at a venue on this machine."""
    settings: dict[str, Any] = {
        "private_key": SECRET,
        "relayer_key": "hidden",
        "relayer_address": FUNDS,
        "hosts": LOCAL,
    }
    return SdkContracts(**(settings | changes))


def with_worker(
    act: Callable[[SdkContracts], Awaitable[None]],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    **changes: Any,
) -> None:
    """Run `act` with a worker that answers by the table above."""
    script = path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(sdk, "_WORKER", script)

    async def main() -> None:
        found = contracts(python=sys.executable, **changes)
        try:
            async with asyncio.timeout(60):
                await act(found)
        finally:
            await found.close()
            await found.close()

    asyncio.run(main())


def test_real_money_needs_the_sentence_and_the_address() -> None:
    """Nothing leaves for the real venue unless it is said whose money that is."""
    with pytest.raises(ConfigError, match="wallet"):
        contracts(hosts=None)
    with pytest.raises(ConfigError, match="confirm_live"):
        contracts(hosts=None, wallet=FUNDS)
    with pytest.raises(ConfigError, match="confirm_live"):
        contracts(hosts=None, wallet=FUNDS, confirm_live="real money of 0x00")
    found = contracts(hosts=None, wallet=FUNDS, confirm_live=f"real money of {FUNDS}")
    assert found.wallet == FUNDS
    assert isinstance(found, PositionContracts)


def test_secrets_do_not_show() -> None:
    """Neither the key of the wallet nor that of the relayer is in the text of the object."""
    text = repr(contracts())
    assert SECRET not in text
    assert "hidden" not in text


def test_a_timeout_has_to_be_a_time() -> None:
    """The message names the field."""
    with pytest.raises(ConfigError, match="timeout"):
        contracts(timeout=0)


def test_requests_and_answers_go_through_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amounts in base units, answers as receipts, errors as errors, and a fresh worker after a death."""

    async def act(found: SdkContracts) -> None:
        assert await found.fetch_shares(MARKET) == {
            Outcome.UP: Decimal("1.5"),
            Outcome.DOWN: Decimal(0),
        }
        assert found.wallet == "0xfunds"
        merge = await found.merge(MARKET, Decimal("4.25"))
        assert merge == Receipt(ReceiptState.SUBMITTED, "t1")
        assert await found.fetch_receipt("t1") == merge
        with pytest.raises(ExchangeUnavailable, match="TransportError"):
            await found.split(MARKET, Decimal(1))
        with pytest.raises(ExchangeUnavailable, match="did not answer"):
            await found.redeem(MARKET)
        assert (await found.fetch_shares(MARKET))[Outcome.UP] == Decimal("1.5")

    with_worker(act, tmp_path, monkeypatch)


def test_silence_and_foreign_lines_are_errors_of_the_venue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again after an error of the venue asks again after these, too."""

    async def act(found: SdkContracts) -> None:
        for name in ("silent", "talkative"):
            with pytest.raises(ExchangeUnavailable, match="did not answer"):
                await found.fetch_receipt(name)

    with_worker(act, tmp_path, monkeypatch, timeout=1.0)


def test_an_error_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package says is logged and written down; keys in it are masked."""

    async def act(found: SdkContracts) -> None:
        with pytest.raises(ExchangeUnavailable, match=r"^bad key \*\*\* of \*\*\*$"):
            await found.fetch_receipt("tells")
        assert (await found.fetch_receipt("refused")).text == "bad key ***"

    with_worker(act, tmp_path, monkeypatch)


def test_a_worker_without_the_package_says_what_to_install() -> None:
    """This environment has no such package: the error names the extra."""
    pytest.importorskip("websockets")
    try:
        import polymarket  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        pytest.skip("the package is installed here")

    async def main() -> None:
        found = contracts(python=sys.executable)
        with pytest.raises(ExchangeUnavailable, match=r"pip install '\.\[sdk\]'"):
            await found.fetch_shares(MARKET)
        await found.close()

    asyncio.run(main())


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The setting is in the error."""

    async def main() -> None:
        found = contracts(python=tmp_path / "nothing")
        with pytest.raises(ExchangeUnavailable, match="nothing"):
            await found.fetch_shares(MARKET)

    asyncio.run(main())
