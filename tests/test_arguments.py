"""What people hand to polyframe and cannot be meant is refused at once, by the name of the argument."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
import pytest

import polyframe as pf
from polyframe.clock import VirtualClock
from polyframe.errors import ConfigError
from polyframe.paper.queues import Touch
from polyframe.recording.pmxt import PmxtArchive
from polyframe.recording.tape import TapeEvent, TapeMarket
from tests.backtest.kit import Eager, Made, both, make_entry
from tests.support.fake import FakeExchange

ENTRY = make_entry()
MADE = Made().add(ENTRY, (1, both(ENTRY, 50, 52)))
KEY = "0x" + "1" * 64
SDK: dict[str, Any] = {"private_key": KEY, "relayer_key": "key", "relayer_address": "0x" + "1" * 40}


class Weird:
    """What no argument may be."""


def environment(**given: Any) -> pf.Environment:
    """Return an environment with something wrong."""
    return pf.Environment(**{"exchange": FakeExchange(), **given})


def trader(**given: Any) -> None:
    """Make a trader with something wrong."""
    pf.Trader(**{"env": environment(), **given})


def add(**given: Any) -> None:
    """Mount a strategy with something wrong."""
    pf.Trader(environment()).add(**{"strategy": Eager(), "on": "btc-updown-15m", **given})


def run(**given: Any) -> None:
    """Run a trader with something wrong."""
    clock = VirtualClock(1_790_586_000)

    async def main() -> None:
        async with environment(clock=clock) as env:
            one = pf.Trader(env)
            one.add(Eager(), on="btc-updown-15m")
            await one.run(**given)

    clock.run(main())


def redeem(**given: Any) -> None:
    """Redeem something wrong."""
    asyncio.run(environment().redeem(**given))


def backtested(**given: Any) -> None:
    """Run a back-test with something wrong."""
    pf.run_backtest(Eager(), **{"data": MADE, **given})


def swept(**given: Any) -> None:
    """Run a sweep with something wrong."""
    pf.sweep(Eager, **{"variants": [{}], "data": MADE, **given})


def walked(**given: Any) -> None:
    """Walk forward with something wrong."""
    pf.walk_forward(Eager, **{"variants": [{}], "data": MADE, "train": 1, "test": 1, **given})


def looked(**given: Any) -> None:
    """Look for a look-ahead with something wrong."""
    pf.find_look_ahead(Eager(), **{"data": MADE, **given})


def sampled(**given: Any) -> None:
    """Make a sampler with something wrong."""
    pf.RandomSampler(**{"space": {"price": [1]}, "count": 1, **given})


def stepped(**given: Any) -> None:
    """Make a range with something wrong."""
    pf.Between(**{"low": Decimal(0), "high": Decimal(1), "step": Decimal(1), **given})


def exchange(**given: Any) -> pf.PolymarketExchange:
    """Make an exchange with something wrong."""
    return pf.PolymarketExchange(**given)


def recorder(**given: Any) -> None:
    """Make a recorder with something wrong."""
    pf.Recorder(**{"exchange": exchange(), "series": ["btc-updown-15m"], "folder": "f", **given})


def paper(**given: Any) -> None:
    """Make an exchange on paper with something wrong."""
    pf.PaperExchange(**{"inner": FakeExchange(), **given})


def references(**given: Any) -> None:
    """Make reference prices with something wrong."""
    pf.ReferencePrices(given.pop("venue", exchange()), "btc-updown-15m", **given)


def contracts(**given: Any) -> None:
    """Make contracts with something wrong."""
    pf.SdkContracts(**{**SDK, **given})


def login(**given: Any) -> None:
    """Ask for an API key with something wrong; nothing is sent."""
    signer = pf.WalletSigner(pf.PrivateKey(KEY))
    asyncio.run(pf.create_or_derive_credentials(**{"signer": signer, **given}))


def credentials(**given: Any) -> None:
    """Make credentials with something wrong."""
    good = {"api_key": "k", "secret": "c2VjcmV0", "passphrase": "p", "address": "0x1"}
    pf.Credentials(**{**good, **given})


ANY: list[Any] = [Weird(), 3.5, {"a": 1}, [Weird()]]
"""Nobody takes any of these."""
NO_NUMBER = [*ANY, True, Decimal("NaN")]
NO_TEXT = [*ANY, 3, ""]

CALLS: list[tuple[Callable[..., Any], dict[str, list[Any]]]] = [
    (environment, {"contracts": [*ANY, "sdk", pf.SdkContracts], "snapshots": [*ANY, ""]}),
    (environment, dict.fromkeys(["exchange", "clock", "counters", "ledger", "risk"], ANY)),
    (trader, dict.fromkeys(["env", "settings", "rng"], ANY)),
    (add, {"on_error": [*ANY, "ignore"], "guards": ANY, "name": [*ANY, " "]}),
    (run, {"cycles": [*ANY, 0, True, "3"]}),
    (redeem, {"slug": ANY}),
    (lambda **given: environment().provide(Weird(), **given), {"as_type": [*ANY, "prices"]}),
    (lambda **given: environment().get(**given), {"kind": [*ANY, "prices"]}),
    (backtested, {"services": [3, None, "one", {"a": 1}], "ledger": [3, Weird(), b"x", ""]}),
    (backtested, {"progress": [*ANY, 1], "series": [[], {}], "cash": [Weird(), "x", -1]}),
    (backtested, {"on_error": ANY, "models": ANY, "counters": ANY, "data": ANY}),
    (swept, {"services": [3, "one"], "cash": [Weird(), "x", -1], "on_error": [*ANY, "ignore"]}),
    (swept, {"variants": [3, None, "one", {"price": 1}], "folder": [*ANY, ""], "progress": ANY}),
    (swept, {"chunk": [*ANY, 0, True], "workers": [*ANY, 0], "retry_failed": [*ANY, 1]}),
    (walked, {"variants": [3, None], "folder": ANY, "retry_failed": ANY, "services": [3]}),
    (looked, {"data": ANY, "cuts": [*ANY, 0, -1], "services": [3]}),
    (sampled, {"space": [{}, {"a": []}, {"a": 3}, {"a": "x"}, Weird()], "count": [*ANY, 0, True]}),
    (stepped, dict.fromkeys(["low", "high", "step"], NO_NUMBER)),
    (paper, {"inner": ANY, "models": ANY, "store": [*ANY, 3]}),
    (recorder, {"exchange": ANY, "series": [3, "btc-updown-15m"], "folder": [*ANY, ""]}),
    (recorder, {"files": ANY, "settings": ANY, "cycles": [*ANY, 0]}),
    (references, {"venue": ANY, "settings": ANY}),
    (pf.ReplayExchange, {"recording": ANY}),
    (lambda **given: pf.ReplayExchange(MADE, **given), {"models": ANY}),
    (pf.Ledger, {"path": [3, Weird(), b"x"], "limit": [*ANY, 0]}),
    (pf.ledger_report, {"path": [3, Weird()]}),
    (lambda **given: pf.ledger_report("a", **given), {"data": ANY}),
    (pf.KeptRecording, {"recording": ANY}),
    (pf.ParquetRecording, {"folder": [*ANY, ""]}),
    (pf.CsvRecording, {"folder": [*ANY, ""]}),
    (lambda **given: PmxtArchive(**{"folder": "f", "markets": [], **given}), {"folder": ANY}),
    (lambda **given: PmxtArchive(folder="f", **given), {"markets": [*ANY, 3, "x"]}),
    (lambda **given: pf.write_market("f", events=[], **given), {"market": ANY}),
    (lambda **given: pf.write_market("f", ENTRY, **given), {"events": [3, "x", None]}),
    (lambda **given: pf.write_csv("f", ENTRY, **given), {"events": [3, "x", None]}),
    (pf.check_tape, {"events": [3, "x", None]}),
    (pf.RiskGuard, {"limits": ANY}),
    (pf.VirtualClock, {"start": ["x", None, Weird(), float("nan")]}),
    (lambda **given: pf.ScaledClock(2, **given), {"start": ["x", Weird(), float("nan")]}),
    (pf.EmpiricalLatency, {"samples_ms": [3, "12", [], [1.5], Weird()]}),
    (pf.Power2, {"relabel_ms": [*ANY, -1, True]}),
    (pf.PaperModels, {"failed": ["x", 1.5, Weird()], "buys_in_shares": ANY, "queue": [Touch]}),
    (lambda **given: pf.Series(period="15m", **given), {"asset": [*ANY, 3, "BTC"]}),
    (exchange, dict.fromkeys(["hosts", "credentials", "signer", "stream_settings"], ANY)),
    (exchange, {"redeems": ANY, "request_timeout": [Weird(), "3", 0], "confirm_live": ANY}),
    (exchange, {"proxy": ANY, "rate_limits": ANY, "heartbeat": ["x", Weird(), 0]}),
    (pf.RateLimits, {"tier": ANY, "share": ["x", 0, Weird()], "read_wait": ["x", -1, Weird()]}),
    (credentials, dict.fromkeys(["api_key", "secret", "passphrase", "address"], NO_TEXT)),
    (pf.LocalSigner, {"maker": ANY}),
    (pf.WalletSigner, {"wallet": ANY}),
    (lambda **given: pf.WalletSigner(pf.PrivateKey(KEY), **given), {"funder": ANY}),
    (lambda **given: pf.WalletSigner(pf.PrivateKey(KEY), **given), {"chain_id": [*ANY, 0]}),
    (contracts, {**dict.fromkeys(SDK, ANY), "wallet": ANY, "rpc": ANY, "hosts": ANY}),
    (contracts, {"timeout": [0, "3", Weird()], "python": [Weird(), ""]}),
    (login, {"signer": ANY, "nonce": [*ANY, -1], "timeout": [0, "3", Weird()], "clock": ANY}),
]
CASES = [
    pytest.param(call, name, value, id=f"{getattr(call, '__name__', '')}-{name}-{number}")
    for call, fields in CALLS
    for name, values in fields.items()
    for number, value in enumerate(values)
]


@pytest.mark.parametrize(("call", "name", "value"), CASES)
def test_what_cannot_be_meant_is_refused_by_name(
    call: Callable[..., object], name: str, value: object
) -> None:
    """A wrong type or a value that cannot be: an error of ours that begins with the argument."""
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        call(**{name: value})


def test_a_wrong_private_key_is_refused_without_its_value() -> None:
    """Whatever it is, it may be the secret."""
    for wrong in (3, None, ["s3cret"], "s3cret"):
        with pytest.raises(ConfigError, match="private_key: expected 64") as caught:
            pf.PrivateKey(wrong)  # type: ignore[arg-type]
        assert "s3cret" not in str(caught.value)
    for call, name in ((exchange, "credentials"), (contracts, "relayer_key")):
        with pytest.raises(ConfigError) as caught:
            call(**{name: ["s3cret"]})
        assert "s3cret" not in str(caught.value)


class Two(IntEnum):
    """A whole number with a name."""

    TWO = 2


class Listening:
    """What can be called to tell progress, being a class."""

    heard: ClassVar[list[object]] = []

    def __init__(self, progress: object) -> None:
        self.heard.append(progress)


class Listed:
    """A sequence as old as Python."""

    def __init__(self, *values: object) -> None:
        self._values = values

    def __getitem__(self, index: int) -> object:
        return self._values[index]


class Bare:
    """A recording that gives its markets one by one."""

    skipped: ClassVar[dict[str, int]] = {}
    doubtful: ClassVar[dict[str, int]] = {}

    def markets(self) -> Iterator[TapeMarket]:
        """Yield the only one."""
        yield ENTRY

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard."""
        return MADE.events(market)


@pytest.mark.parametrize("count", [Two.TWO, np.int64(2)], ids=["named", "numpy"])
def test_whole_numbers_of_others_are_whole_numbers(count: Any) -> None:
    """Members of enumerations and numbers of numpy count."""
    run(cycles=count)
    sampled(count=count)
    looked(cuts=count)
    pf.Ledger(limit=count)
    pf.PaperModels(seed=count)
    assert pf.VirtualClock(count).time() == 2


def test_what_was_right_before_it_was_looked_at_passes() -> None:
    """Odd, but it works: a class that is called, a bare sequence, a bare recording, numbers of money."""
    given: dict[str, Any] = {"services": Listed(Weird()), "progress": Listening}
    report = pf.run_backtest(Eager(), **{"data": Bare(), **given})
    assert len(report.cycles) == 1
    assert Listening.heard
    one: Any = Decimal("0.5")
    assert pf.PaperModels(failed=one).failed == one
    assert pf.VirtualClock(one).time() == 0.5
    unset: Any = None
    assert exchange(confirm_live=unset).confirm_live == ""


def test_what_is_no_mistake_passes() -> None:
    """Classes are services too, a generator is a list, and a mapping of series is what it goes through."""
    report = pf.run_backtest(
        Eager(),
        data=MADE,
        services=(one for one in (Weird(),)),
        series={"btc-updown-5m": 1},
        progress=lambda _: None,
    )
    assert len(report.cycles) == 1
    assert environment(contracts=None).is_open is False
    pf.SdkContracts(**SDK, hosts=pf.PolymarketHosts.local("http://127.0.0.1:1"), rpc="http://x")
