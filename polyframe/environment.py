"""What lives longer than a cycle: the venue, the clock, the account, the books of account.

An environment is opened and closed as a whole (``async with``), in order and back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from polyframe.checks import expect, is_number
from polyframe.clock import Clock, WallClock, in_simulated_time
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError
from polyframe.exchange.base import DataStream, Exchange, PositionContracts
from polyframe.logmode import close_mode, mark_loggers, open_mode
from polyframe.loopwatch import SHORTEST, LoopWatch
from polyframe.model.conversion import Receipt
from polyframe.model.exact import exactly
from polyframe.model.money import ZERO
from polyframe.model.series import Series
from polyframe.persisted import decode_fields, encode_fields, persistent_fields, read_fields
from polyframe.router import SessionEventRouter
from polyframe.shared import SharedService
from polyframe.strategy import Strategy
from polyframe.tasks import see_through
from polyframe.trading.account import Account
from polyframe.trading.conversions import Conversions
from polyframe.trading.ledger import CycleRecord, Ledger
from polyframe.trading.limits import RiskLimits
from polyframe.trading.reconcile import ReconcileSettings
from polyframe.trading.recount import Recount
from polyframe.trading.redemptions import Redemptions
from polyframe.trading.restart import Restart
from polyframe.trading.risk import RiskGuard
from polyframe.trading.settlement import Settlement
from polyframe.trading.snapshotfile import Owner
from polyframe.trading.snapshots import Snapshots
from polyframe.trading.snapshotstore import FolderStore, Store
from polyframe.trading.stocktaking import count_cash

log = logging.getLogger(__name__)

T = TypeVar("T")

USER_STREAM_TIMEOUT = 5.0
"""Network seconds that opening waits for the account's stream."""


class Environment:
    """The world around the cycles.

    ::

        async with Environment(exchange=PolymarketExchange(...)) as env:
            trader = Trader(env)
            ...

    Args:
        exchange: The venue and the account at it.
        clock: Market time; the wall by default.
        counters: Where everything is counted; a fresh set by default.
        ledger: Where it is written down what happens; one in memory by default. It begins and ends
            with the environment.
        risk: What its strategies may do; generous limits by default.
        reconcile: When the venue is compared with, and what is done with orders that nobody expects.
        snapshots: A folder (or a `Store`) in which the state of open cycles is kept, so that a
            program which is started again within a cycle goes on with it; nothing is kept by
            default. One environment uses it at a time.
        contracts: Who splits, merges and redeems; the exchange itself if it does. A `SharedService`
            among them is opened and closed with the environment.
        block_limit: Real seconds that something may hold up the event loop before it is told and
            counted (see `docs/run.md`); nobody looks with ``None``, nor in simulated time.

    Raises:
        ConfigError: An argument that is something else; names it, and what to give.

    Attributes:
        account: Cash and reservations, shared by all series; read from the venue when it opens.
        risk: Keeps the limits; ``halt``, ``pause`` and ``resume`` work at any time.
        settlement: Carries dead cycles to their end.
        router: Gives the account's events to the sessions.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        clock: Clock | None = None,
        counters: Counters | None = None,
        ledger: Ledger | None = None,
        risk: RiskLimits | None = None,
        reconcile: ReconcileSettings | None = None,
        snapshots: Store | str | Path | None = None,
        contracts: PositionContracts | None = None,
        block_limit: float | None = 1.0,
    ) -> None:
        _expect("exchange", exchange, hasattr(exchange, "fetch_market"), "PolymarketExchange()")
        _expect("clock", clock, hasattr(clock, "sleep"), "WallClock()")
        _expect("counters", counters, isinstance(counters, Counters), "Counters()")
        _expect("ledger", ledger, isinstance(ledger, Ledger), "Ledger('trades.sqlite')")
        _expect("risk", risk, isinstance(risk, RiskLimits), "RiskLimits(max_run_loss=Decimal(50))")
        is_settings = isinstance(reconcile, ReconcileSettings)
        _expect("reconcile", reconcile, is_settings, "ReconcileSettings()")
        is_store = hasattr(snapshots, "keys") and hasattr(snapshots, "write")
        is_store |= isinstance(snapshots, str | Path) and snapshots != ""
        _expect("snapshots", snapshots, is_store, "'snapshots', the name of a folder")
        does_convert = isinstance(contracts, PositionContracts)
        _expect("contracts", contracts, does_convert, "SdkContracts(…), or what does as it does")
        example = f"1.0 (seconds, at least {SHORTEST}) or None"
        _expect("block_limit", block_limit, _is_limit(block_limit), example)
        self.exchange = exchange
        self.clock: Clock = clock or WallClock()
        self.counters = counters or Counters()
        # Not "or": a ledger without records is false.
        self.ledger = Ledger() if ledger is None else ledger
        self.account = Account(ZERO)
        self.risk = RiskGuard(risk)
        self.ledger.subscribe(self._on_record)
        self.reconcile_settings = reconcile or ReconcileSettings()
        self.snapshots = None if snapshots is None else self._make_snapshots(snapshots)
        self._fields: dict[str, dict[str, msgspec.Raw]] = {}
        own = exchange if isinstance(exchange, PositionContracts) else None
        self._contracts = own if contracts is None else contracts
        self.settlement = Settlement(
            exchange=exchange,
            clock=self.clock,
            counters=self.counters,
            ledger=self.ledger,
            settings=self.reconcile_settings,
            snapshots=self.snapshots,
            may_redeem=self._contracts is not None,
        )
        self.recount = Recount(
            self.account,
            exchange=exchange,
            own=self.settlement.own,
            clock=self.clock,
            ledger=self.ledger,
        )
        self.conversions = Conversions(
            self._contracts,
            settlement=self.settlement,
            clock=self.clock,
            counters=self.counters,
            ledger=self.ledger,
            risk=self.risk,
            snapshots=self.snapshots,
            recount=self.recount,
        )
        self.redemptions = Redemptions(
            self._contracts,
            settlement=self.settlement,
            recount=self.recount,
            clock=self.clock,
            counters=self.counters,
            ledger=self.ledger,
        )
        self.router = SessionEventRouter(self.counters, self.settlement)
        self._services: dict[type, Any] = {}
        self._user_stream: DataStream | None = None
        self.loop_watch: LoopWatch | None = None
        self._block_limit = block_limit
        self._is_open = False
        self._was_opened = False
        self._mode = ""
        self._claimed: set[Series] = set()

    def _make_snapshots(self, store: Store | str | Path) -> Snapshots:
        return Snapshots(
            FolderStore(store) if isinstance(store, str | Path) else store,
            clock=self.clock,
            counters=self.counters,
            ledger=self.ledger,
            account=self.account,
        )

    def _on_record(self, record: CycleRecord) -> None:
        if record.profit is not None:
            self.risk.note_result(record.slug, record.profit, traded=record.fills > 0)

    # ------------------------------------------------------------------ who trades what

    def check_free(self, series: Series) -> None:
        """Check that no other trader of this environment trades `series`.

        Raises:
            ConfigError: One does; two would take each other's events.
        """
        if series in self._claimed:
            msg = f"on: {series} is traded by another trader of this environment"
            raise ConfigError(msg)

    def claim(self, series: Series) -> None:
        """Take `series` for one trader.

        Raises:
            ConfigError: Another trader has it.
        """
        self.check_free(series)
        self._claimed.add(series)

    def release(self, series: Series) -> None:
        """Give `series` back; another trader may take it."""
        self._claimed.discard(series)

    # ------------------------------------------------------------------ redeeming

    async def redeem(self, slug: str | None = None) -> dict[str, Receipt]:
        """Turn winning shares of resolved markets of this run into cash.

        There is nothing to do where the venue pays by itself (`Exchange.redeems`).

        Args:
            slug: One market; by default all that owe something here.

        Returns:
            How it ended, by slug. Where the venue did not answer, the receipt says so (``FAILED`` if
            nothing was sent, ``UNKNOWN`` if it may have been); asking again is harmless.

        Raises:
            ConfigError: Nobody redeems here, or the market owes nothing.
        """
        expect(
            "slug",
            slug,
            "the slug of one market, or None for all",
            is_right=isinstance(slug, str | None),
        )
        with exactly():
            if slug is not None:
                return {slug: await self.redemptions.redeem(slug)}
            receipts: dict[str, Receipt] = {}
            for one in self.settlement.claims():
                # Another call may have redeemed it meanwhile.
                if self.settlement.claim(one) is not None:
                    receipts[one] = await self.redemptions.redeem(one)
            return receipts

    # ------------------------------------------------------------------ shared services

    def provide(self, service: object, *, as_type: type | None = None) -> None:
        """Give strategies something that outlives cycles: a price feed, a model.

        A `SharedService` is opened and closed with the environment.

        Raises:
            ConfigError: Something of this type was provided already, or the environment is open and
                this is a `SharedService`.
        """
        key = type(service) if as_type is None else as_type
        _expect_type("as_type", key)
        if isinstance(service, SharedService) and self._was_opened:
            msg = f"provide: give a {key.__name__} before the environment opens; it opens with it"
            raise ConfigError(msg)
        if key in self._services:
            msg = f"provide: a {key.__name__} is there already; give another as_type="
            raise ConfigError(msg)
        self._services[key] = service

    def get(self, kind: type[T]) -> T:
        """Return the service that was provided as `kind`.

        Raises:
            ConfigError: Nothing was provided as `kind`.
        """
        _expect_type("kind", kind)
        try:
            found: T = self._services[kind]
        except KeyError:
            have = ", ".join(sorted(key.__name__ for key in self._services)) or "nothing"
            msg = (
                f"get: no {kind.__name__} was provided (there is: {have}); call env.provide() first, "
                "or name one among the services of a back-test"
            )
            raise ConfigError(msg) from None
        return found

    def _shared_services(self) -> list[SharedService]:
        items = [*self._services.values(), self._contracts]
        found = [item for item in items if isinstance(item, SharedService)]
        return list(dict.fromkeys(found))  # one may be provided as several types

    # ------------------------------------------------------------------ life

    @property
    def is_open(self) -> bool:
        """Whether the environment is between ``__aenter__`` and ``__aexit__``."""
        return self._is_open

    @property
    def has_account(self) -> bool:
        """Whether it is open with credentials: there are orders and trades to be told of."""
        return self._user_stream is not None

    async def __aenter__(self) -> Self:
        """Open the ledger and the exchange, read the cash, start the account's stream.

        Raises:
            ConfigError: It was opened before, or the ledger's file cannot be used.
            ExchangeError: The venue did not answer; what was opened is closed again.
        """
        if self._was_opened:
            msg = "environment: it opens once; make a new one"
            raise ConfigError(msg)
        self._was_opened = True
        with exactly():
            return await self._open()

    async def _open(self) -> Self:
        self._mode = open_mode(is_live=self.exchange.is_live)
        self.ledger.begin(
            clock=self.clock,
            counters=self.counters,
            exchange=self.exchange.name,
            is_live=self.exchange.is_live,
        )
        try:
            await self.exchange.open(self.clock, self.counters)
            mark_loggers()  # it may have loaded more of us
            if self._block_limit is not None and not in_simulated_time():
                self.loop_watch = LoopWatch(self._block_limit, self.counters)
                self.loop_watch.start()
            self._user_stream = self.exchange.user_stream(self.router)
            if self._user_stream is not None:
                await self._open_account(self._user_stream)
            else:
                log.info("no credentials: market data only, every order will be denied")
            self.settlement.start()
            for service in self._shared_services():
                await service.open(self.clock, self.counters)
        except BaseException as error:
            interrupted = isinstance(error, asyncio.CancelledError)
            await see_through(self._close(), "close environment", patient=not interrupted)
            raise
        self._is_open = True
        money = "LIVE, real money" if self.exchange.is_live else "no real money"
        log.info("environment open on %s (%s)", self.exchange.name, money)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything in the opposite order."""
        with exactly():
            await see_through(self._close(), "close environment")

    async def _open_account(self, stream: DataStream) -> None:
        """Bring back what an earlier run has left, start the account's stream, count the cash."""
        if self.snapshots is None:
            stream.start()
            self.account.take_stock(await count_cash(self.exchange, self.clock))
        else:
            exchange = self.exchange
            self.snapshots.open(Owner(exchange.name, exchange.account_name, exchange.is_live))
            restart = Restart(
                self.snapshots,
                self.settlement,
                self.account,
                exchange=exchange,
                clock=self.clock,
                counters=self.counters,
                ledger=self.ledger,
                settings=self.reconcile_settings,
                conversions=self.conversions,
            )
            restart.restore()
            stream.start()
            await restart.count_cash()
            self._fields = restart.fields
            self.snapshots.start()
        await self._wait_user_stream()

    def keep_fields(self, strategy: Strategy, name: str, slug: str, *, is_resumed: bool) -> None:
        """Keep the marked fields of a fresh strategy; if its cycle is resumed, give it those of then.

        Fields that cannot be read are refused as a whole: it starts with its defaults.
        """
        if self.snapshots is None or not persistent_fields(strategy):
            return
        stored = self._fields.get(slug, {}).pop(name, None)
        if stored is not None and is_resumed:
            try:
                decode_fields(strategy, stored)
            except Exception as error:  # noqa: BLE001 - validators may raise whatever they like
                self.counters.add(Count.SNAPSHOTS_REFUSED, "fields")
                log.error("%s: its fields of an earlier run are refused: %s", name, error)
        self.snapshots.add_fields(slug, name, _fields_source(strategy))

    async def _wait_user_stream(self) -> None:
        """Wait a little for the account's stream: fills of the first orders come on it."""
        try:
            async with asyncio.timeout(USER_STREAM_TIMEOUT):
                await self.router.wait_connected()
        except TimeoutError:
            log.warning("the account's stream is not up yet; it goes on trying")

    async def _close(self) -> None:
        self._is_open = False
        async with AsyncExitStack() as stack:
            # Left in the opposite order, each one although another fails. The ledger comes last,
            # because until then something may happen; each row has been written at once.
            stack.callback(close_mode, self._mode)
            if self.loop_watch is not None:
                stack.callback(self.loop_watch.stop)
            stack.callback(self.ledger.close)
            if self.snapshots is not None:
                stack.push_async_callback(self.snapshots.close)
            stack.push_async_callback(self.exchange.close)
            stream, self._user_stream = self._user_stream, None
            if stream is not None:
                stack.push_async_callback(stream.close)
            stack.push_async_callback(self.settlement.stop)
            for service in self._shared_services():
                stack.push_async_callback(service.close)
            stack.push_async_callback(self.recount.stop)
            stack.push_async_callback(self.conversions.stop)


def _fields_source(strategy: Strategy) -> Callable[[], msgspec.Raw]:
    """Return what gives the marked fields of a strategy, as far as they can be read back.

    It raises if they cannot: what would be refused after a restart must not replace what would not.
    """
    last = msgspec.Raw()

    def source() -> msgspec.Raw:
        nonlocal last
        now = encode_fields(strategy)
        if bytes(now) != bytes(last):
            read_fields(strategy, now)
            last = now
        return now

    return source


def _is_limit(value: Any) -> bool:
    return is_number(value) and bool(SHORTEST <= value < inf)


def _expect(name: str, value: object, is_right: bool, example: str) -> None:
    if value is not None or name == "exchange":
        expect(name, value, f"something such as {example}", is_right=is_right)


def _expect_type(name: str, value: object) -> None:
    if not isinstance(value, type):
        msg = f"{name}: expected a class, such as that of the service, got {value!r}"
        raise ConfigError(msg)
