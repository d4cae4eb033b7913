"""``polyframe run``: a strategy on the real venue's markets, on paper or with real money."""

from __future__ import annotations

import asyncio

import httpx
from attrs import define, frozen

from polyframe.cli.console import open_console
from polyframe.cli.loading import fit_local
from polyframe.cli.options import RunOptions
from polyframe.cli.plan import Plan, make_plan
from polyframe.cli.show import Show
from polyframe.cli.stopping import Stopper
from polyframe.clock import Clock, ScaledClock, WallClock
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.exchange.base import Exchange
from polyframe.exchange.polymarket import PolymarketExchange, PolymarketHosts, WalletSigner
from polyframe.exchange.polymarket.login import create_or_derive_credentials
from polyframe.exchange.polymarket.orders import live_confirmation
from polyframe.paper.exchange import PaperExchange
from polyframe.reference import ReferencePrices
from polyframe.scheduler import ScheduleSettings
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.ledger import Ledger

GRACE = 10.0
"""Real seconds from the first signal to the end of the process: cancels go around the world."""

RESOLUTION_WAIT = 900.0
"""Market seconds after the last of ``--cycles`` markets in which its result is waited for."""

_PARTS = ("store", "snapshots")
"""What parts of the folder of ``--data`` are called where they are opened."""

_PATIENCE = 5.0
"""Real seconds in which a venue on this machine says what its clock is."""


def run_run(options: RunOptions) -> int:
    """Trade until a signal comes or all cycles are done, and return the exit code.

    Raises:
        ConfigError: An option that cannot be, or an opt-in to real money that is missing.
        StrategyDefinitionError: The strategy would leak state between cycles.
        ExchangeError: The venue did not answer.
    """
    plan = make_plan(options)
    stopper = Stopper(GRACE)
    stopper.install()
    console, view = open_console(stopper, plain=options.plain, verbose=options.verbose, dated=True)
    show = Show(stopper, console, view, keeps_account=True)
    try:
        return asyncio.run(show.main(Run(plan, options.confirm, show).play()))
    except ConfigError as error:
        # Folders within that of --data: nobody named them.
        part, colon, why = str(error).partition(": ")
        if not colon or part not in _PARTS:
            raise
        msg = f"data: {why}"
        raise ConfigError(msg) from error


@frozen
class Account:
    """Where orders go, and whose money it is.

    Attributes:
        exchange: What is traded.
        prices: What tells reference prices.
        money: The account in a few words.
    """

    exchange: Exchange
    prices: PolymarketExchange
    money: str


async def open_account(plan: Plan, confirm: str, hosts: PolymarketHosts, clock: Clock) -> Account:
    """Return the account that a plan is for. Nothing is placed, and no question asked on paper.

    Args:
        plan: Says whether it is live.
        confirm: The sentence that names whose real money may move.
        hosts: Of the venue.
        clock: Tells the time that is signed.

    Raises:
        ConfigError: The wallet's key or the sentence that names its funds is missing.
        ExchangeError: The venue did not give an API key.
    """
    if not plan.is_live:
        market = PolymarketExchange(hosts)
        paper = PaperExchange(market, cash=plan.cash, store=plan.account)
        return Account(paper, market, "on paper, no real money")
    signer = WalletSigner.from_env()
    needed = live_confirmation(signer)
    if not hosts.is_loopback and confirm.lower() != needed.lower():
        msg = f'confirm: to trade with real money, say --confirm "{needed}"'
        raise ConfigError(msg)
    credentials = await create_or_derive_credentials(signer, host=hosts.clob, clock=clock)
    exchange = PolymarketExchange(hosts, credentials, signer, confirm_live=confirm)
    money = f"LIVE, {needed}" if exchange.is_live else f"wallet {signer.maker}, no real money"
    return Account(exchange, exchange, money)


@define(eq=False)
class Run:
    """One run of a strategy.

    Attributes:
        plan: What to run on what.
        confirm: The sentence that names whose real money may move.
        show: Where it is shown.
    """

    plan: Plan
    confirm: str
    show: Show

    async def play(self) -> None:
        """Open the account, trade, and wait for the results."""
        plan = self.plan
        hosts = local_hosts(plan.venue) if plan.venue else PolymarketHosts()
        clock = await clock_of(plan.venue) if plan.venue else WallClock()
        account = await open_account(plan, self.confirm, hosts, clock)
        self._say_hello(account.money)
        env = Environment(
            account.exchange,
            clock=clock,
            ledger=Ledger(plan.ledger),
            risk=plan.limits,
            snapshots=plan.snapshots,
        )
        env.provide(ReferencePrices(account.prices, *plan.series))
        async with env:
            self.show.env = env
            await self._trade(env, clock.speed if isinstance(clock, ScaledClock) else 1.0)

    def _say_hello(self, money: str) -> None:
        plan = self.plan
        names = ", ".join(map(str, plan.series))
        end = "until Ctrl-C"
        if plan.cycles is not None:
            end = f"{plan.cycles} cycle{'s' if plan.cycles > 1 else ''}"
        self.show.say(
            f"{plan.name} on {names}, {end}",
            f"Venue: {plan.venue or 'polymarket'}",
            f"Account: {money}",
        )
        if plan.is_live:
            limits = plan.limits
            self.show.say(
                f"Limits in USD: {limits.max_order_notional} an order, "
                f"{limits.max_cycle_notional} a cycle, a loss of {limits.max_run_loss} in all"
            )
        self.show.credits.append(f"Account: {money}.")
        if plan.ledger is not None:
            self.show.credits.append(f"More: polyframe report {plan.ledger}")

    async def _trade(self, env: Environment, speed: float) -> None:
        plan = self.plan
        # A second is needed to fetch a market and to connect, however fast market time runs.
        schedule = ScheduleSettings(prepare_ahead=max(60.0, speed))
        trader = Trader(env, TraderSettings(cancel_on_exit=True, schedule=schedule))
        strategy = fit_local(plan.strategy) if plan.venue else plan.strategy
        trader.add(strategy, on=plan.series)
        mode = "LIVE" if env.exchange.is_live else "paper"
        several = len(plan.series) > 1
        names = f"{len(plan.series)} series" if several else plan.series[0]
        title = f"{type(strategy).__name__} on {names}, {mode}"
        async with self.show.follow(env, trader, title, plan.cycles):
            await trader.run(plan.cycles)
            await self.show.wait_resolved(env, RESOLUTION_WAIT / speed + _PATIENCE)


def local_hosts(url: str) -> PolymarketHosts:
    """Return the hosts of a venue on this machine.

    Raises:
        ConfigError: No URL, or one of another machine.
    """
    try:
        hosts = PolymarketHosts.local(url)
    except ConfigError as error:
        msg = f"venue: {str(error).removeprefix('url: ')}"
        raise ConfigError(msg) from error
    if not hosts.is_loopback:
        msg = f"venue: expected the URL of a venue on this machine, got {url!r}"
        raise ConfigError(msg)
    return hosts


async def clock_of(url: str, option: str = "venue") -> Clock:
    """Return a clock that goes as that of the venue at `url` does, ours if it does not tell.

    Args:
        url: Where it serves.
        option: What the URL was given as, for the message.

    Raises:
        ConfigError: Nobody answers there.
    """
    try:
        # It is on this machine: no proxy is asked.
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client:
            answer = await client.get(f"{url.rstrip('/')}/clock")
    except httpx.HTTPError as error:
        msg = f"{option}: nobody answers at {url}; start one with polyframe venue"
        raise ConfigError(msg) from error
    try:
        told = answer.json()
        speed, time = float(told["speed"]), float(told["time"])
    except (ValueError, KeyError, TypeError):
        return WallClock()  # a venue of somebody else's
    is_ours = speed == 1 and abs(time - WallClock().time()) < _PATIENCE
    return WallClock() if is_ours else ScaledClock(speed, time)
