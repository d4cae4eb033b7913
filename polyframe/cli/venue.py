"""``polyframe venue``: the local venue alone, for any client."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from polyframe.cli.options import Source
from polyframe.cli.stopping import Stopper
from polyframe.clock import Clock, ScaledClock, WallClock
from polyframe.errors import ConfigError
from polyframe.model.series import Series

if TYPE_CHECKING:
    from polyframe.venue import LocalVenue, MarketSource

CREDIT = "Order books: Resolved Markets (resolvedkit), CC BY 4.0"

ANY_TIME = 1e12
"""Seconds: a time stamp of any clock is within them."""


@frozen(kw_only=True)
class VenueOptions:
    """What the command line asks for.

    Attributes:
        source: Recorded or synthetic order books.
        series: Each series of the synthetic books.
        seed: Of the synthetic books.
        speed: Market seconds per real second.
        host: Address to bind.
        port: Port to bind, 0 for any free one.
        allow_remote: Whether the address may be one that other machines reach.
        accounts: Accounts that are there from the start.
        cash: USD of each account, also of those that wallets open.
        as_json: Print one line of JSON in place of the list.
    """

    source: Source
    series: tuple[str, ...]
    seed: int
    speed: float
    host: str
    port: int
    allow_remote: bool
    accounts: int
    cash: str
    as_json: bool


def run_venue(options: VenueOptions) -> int:
    """Serve until a signal comes, and return the exit code.

    Raises:
        ConfigError: An option that cannot be, or the recording is not installed.
    """
    stopper = Stopper()
    stopper.install()
    asyncio.run(_serve(options, stopper))
    return stopper.exit_code


async def _serve(options: VenueOptions, stopper: Stopper) -> None:
    from polyframe.venue import LocalVenue, VenueAccount, VenueSettings

    source = _source(options)
    clock = _clock(options, source)
    account = VenueAccount.random(options.cash)
    settings = VenueSettings(welcome_cash=account.cash)
    if not isinstance(clock, WallClock):
        # Who signs by another clock than the venue's would never be let in.
        settings = evolve(settings, skew=ANY_TIME)
    venue = LocalVenue(
        source,
        clock=clock,
        settings=settings,
        account=account,
        host=options.host,
        port=options.port,
        allow_remote=options.allow_remote,
    )
    for _ in range(options.accounts - 1):
        venue.add_account(VenueAccount.random(options.cash))
    task = asyncio.current_task()
    if task is not None:
        stopper.bind(task)
    try:
        async with venue:
            _tell(options, venue)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if stopper.signal is None:
            raise
    except OSError as error:
        msg = f"port: cannot bind {options.host} port {options.port}: {error.strerror}"
        raise ConfigError(msg) from error


def _source(options: VenueOptions) -> MarketSource:
    from polyframe.venue import ResolvedMarketsSource, SeveralSources, SyntheticSource

    if options.source is Source.SYNTHETIC:
        return SeveralSources([SyntheticSource(name, options.seed) for name in options.series])
    recorded = ResolvedMarketsSource()
    have = {str(market.market.series) for market in recorded.markets}
    if not have.issuperset(options.series):
        msg = f"series: the recorded markets are of {', '.join(have)}; use --data synthetic for others"
        raise ConfigError(msg)
    return recorded


def _clock(options: VenueOptions, source: MarketSource) -> Clock:
    """Return the wall clock where that can be: then other people's clients agree with it."""
    if options.source is Source.SYNTHETIC:
        return WallClock() if options.speed == 1 else ScaledClock(options.speed)
    first = source.next_market(0)
    if first is None:
        msg = "source: it has no markets"
        raise ConfigError(msg)
    return ScaledClock(options.speed, first.start)


def _tell(options: VenueOptions, venue: LocalVenue) -> None:
    facts = _facts(venue)
    if options.as_json:
        _print(json.dumps(facts))
        return
    books = CREDIT
    if options.source is Source.SYNTHETIC:
        series = ", ".join(str(Series.parse(name)) for name in options.series)
        books = f"Order books: synthetic, {series}, seed {options.seed}"
    _print(f"{books}, {options.speed:g}× speed")
    for name in ("gamma", "clob", "data_api", "relayer", "market_ws", "user_ws", "rtds", "live"):
        _print(f"{name:<12} {facts[name]}")
    _print(f"{'admin':<12} {facts['admin']} (token {facts['admin_token']})")
    for number, account in enumerate(facts["accounts"], 1):
        _print(f"\naccount {number}    {account['address']}, {account['cash']} USD")
        for name in ("api_key", "secret", "passphrase"):
            _print(f"{name:<12} {account[name]}")
    _print("\nOrders of these accounts carry polyframe's stand-in for a signature; a wallet that")
    _print("asks for an API key gets an account of its own with as much. It is all paper money.")
    if venue.settings.skew >= ANY_TIME:
        _print("Time stamps of requests are not checked: this clock is not yours.")
    if options.allow_remote:
        _print("Other machines may reach it: they can do whatever these keys can.")
    _print("Ctrl-C ends it.")


def _facts(venue: LocalVenue) -> dict[str, Any]:
    return {
        "gamma": f"{venue.url}/gamma",
        "clob": f"{venue.url}/clob",
        "data_api": f"{venue.url}/data-api",
        "relayer": f"{venue.url}/relayer",
        "market_ws": f"{venue.ws_url}/ws/market",
        "user_ws": f"{venue.ws_url}/ws/user",
        "rtds": f"{venue.ws_url}/rtds",
        "live": f"{venue.ws_url}/live/ws",
        "url": venue.url,
        "admin": f"{venue.url}/admin",
        "admin_token": venue.admin_token,
        "accounts": [
            {
                "address": account.address,
                "cash": str(account.cash),
                "api_key": account.api_key,
                "secret": account.secret,
                "passphrase": account.passphrase,
            }
            for account in venue.accounts
        ],
    }


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
