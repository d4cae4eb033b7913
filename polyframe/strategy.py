"""What users write: a `Strategy` with the hooks they need.

The object given to ``Trader.add`` is a template. Every cycle gets a fresh instance with copies of its
settings, so nothing that a strategy keeps in its fields can reach the next cycle.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs
from attrs import define, field

from polyframe.errors import PolyframeError, StrategyDefinitionError
from polyframe.logmode import marked
from polyframe.model.events import (
    CycleEndReason,
    MarketTraded,
    OrderChanged,
    PriceChanged,
    TradeChanged,
)
from polyframe.model.market import Market, Outcome

if TYPE_CHECKING:
    from polyframe.clock import Clock
    from polyframe.environment import Environment
    from polyframe.session import ExchangeSession
    from polyframe.trading.handle import StrategyTrading
    from polyframe.trading.reconcile import ReconcileReport

R = TypeVar("R")
S = TypeVar("S", bound="Strategy")

_PLAIN = frozenset({type(None), bool, int, float, str, Decimal})
"""Types of settings of which a copy is the value itself; most are, and there is one for each cycle."""

PERSIST: Final[Mapping[str, object]] = MappingProxyType({"polyframe.persist": True})
"""Marks a state field whose value comes back when the program restarts within the cycle::

    bought: int = field(init=False, default=0, metadata=PERSIST)

See `docs/snapshots.md` for what such a field may hold.
"""


class Spawner(Protocol):
    """Starts tasks that belong to a cycle."""

    def spawn(self, coro: Coroutine[Any, Any, R], name: str = "") -> asyncio.Task[R | None]:
        """Start a task that ends with the cycle."""
        ...


@define(frozen=True)
class StrategyContext:
    """What a running strategy instance is given for its one cycle."""

    env: Environment
    session: ExchangeSession
    trading: StrategyTrading
    tasks: Spawner
    name: str
    is_resumed: bool = False


@define
class Strategy:
    """Base class of strategies. Decorate every subclass with ``attrs.define``.

    Settings are ``init`` fields with defaults and validators; state is ``field(init=False, …)`` and
    dies with the cycle. All hooks are optional and run one at a time. Prices and books are merged
    while a hook runs (only the latest is delivered), orders and trades never are.

    A hook that raises ends this strategy's cycle, by the policy given to ``Trader.add``.
    """

    _context: StrategyContext | None = field(init=False, default=None, repr=False, eq=False)

    # ------------------------------------------------------------------ hooks

    async def on_cycle_start(self) -> None:
        """A new market begins. Runs before every other hook of the cycle."""

    async def on_price(self, event: PriceChanged) -> None:
        """The best bid or ask of one outcome changed; Up comes before Down."""

    async def on_book(self, outcome: Outcome) -> None:
        """Some level of one outcome's book changed: read ``self.session.book(outcome)``."""

    async def on_market_trade(self, event: MarketTraded) -> None:
        """Somebody traded in this market."""

    async def on_order(self, event: OrderChanged) -> None:
        """One of this strategy's orders changed, or an order that nobody here placed."""

    async def on_trade(self, event: TradeChanged) -> None:
        """A fill of one of this strategy's orders (or of a foreign one) is new, settled or failed."""

    async def on_reconcile(self, report: ReconcileReport) -> None:
        """A comparison with the venue found something that differed, and repaired what it could.

        What it repaired came as orders and trades before.
        """

    async def run(self) -> None:
        """Run beside the hooks for as long as the cycle lives; cancelled at its end."""

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """The cycle is over. Cancels still pass, new orders do not; there is a deadline."""

    # ------------------------------------------------------------------ what a strategy uses

    @property
    def trading(self) -> StrategyTrading:
        """Place and cancel orders, read orders, positions and cash of this strategy and cycle."""
        return self._running().trading

    @property
    def session(self) -> ExchangeSession:
        """Prices and books of this cycle's market."""
        return self._running().session

    @property
    def market(self) -> Market:
        """This cycle's market."""
        return self._running().session.market

    @property
    def env(self) -> Environment:
        """What lives longer than a cycle: the clock, shared services."""
        return self._running().env

    @property
    def clock(self) -> Clock:
        """Market time."""
        return self._running().env.clock

    @property
    def name(self) -> str:
        """The name under which this strategy trades."""
        return self._running().name

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that names strategy and market in every line.

        Its records have ``market_time``: epoch seconds by the strategy's clock.
        """
        context = self._running()
        return _CycleLog(
            marked(logging.getLogger("polyframe.strategy." + context.name)),
            {"market": context.session.slug, "clock": context.env.clock},
        )

    @property
    def is_resumed(self) -> bool:
        """Whether this cycle began in an earlier run of the program, and goes on.

        Orders, positions and fields marked with `PERSIST` are those of then, compared with the venue.
        """
        return self._running().is_resumed

    def seconds_left(self) -> float:
        """Return the market seconds until the window ends (negative afterwards)."""
        return self.market.window.end - self.clock.time()

    def spawn(self, coro: Coroutine[Any, Any, R], name: str = "") -> asyncio.Task[R | None]:
        """Start a task that belongs to this cycle; it is cancelled when the cycle ends.

        An exception in it counts like one in a hook; the task's result is ``None`` then.

        Raises:
            StaleCycleError: The cycle is over; nothing was started.
            TypeError: It is no coroutine, such as a method that was not called.
        """
        return self._running().tasks.spawn(coro, name)

    def _running(self) -> StrategyContext:
        if self._context is None:
            msg = (
                f"{type(self).__name__}: not running yet; market, trading and session exist from "
                "on_cycle_start() on"
            )
            raise PolyframeError(msg)
        return self._context


class _CycleLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        told: Any = self.extra
        kwargs["extra"] = {**(kwargs.get("extra") or {}), "market_time": told["clock"].time()}
        return f"[{told['market']}] {msg}", kwargs


def overrides(strategy: Strategy, hook: str) -> bool:
    """Return whether the class of `strategy` has its own version of `hook`."""
    return getattr(type(strategy), hook) is not getattr(Strategy, hook)


def fresh(template: S) -> S:
    """Return a new instance of a template: copied settings, state at its defaults.

    Raises:
        StrategyDefinitionError: A setting cannot be copied.
    """
    settings = {}
    for attribute in attrs.fields(type(template)):
        if attribute.init:
            value = getattr(template, attribute.name)
            try:
                settings[attribute.alias] = value if type(value) in _PLAIN else copy.deepcopy(value)
            except Exception as error:
                msg = (
                    f"{type(template).__name__}.{attribute.name}: a setting must be copyable for "
                    f"each cycle ({error}); give long-lived objects to env.provide() instead"
                )
                raise StrategyDefinitionError(msg) from error
    return type(template)(**settings)


def described(template: Strategy) -> str:
    """Return the class of a template and its settings, as reports name them.

    A setting whose field has ``repr=False`` is left out: it may be a secret.
    """
    settings = (
        f"{attribute.alias}={getattr(template, attribute.name)}"
        for attribute in attrs.fields(type(template))
        if attribute.init and attribute.repr
    )
    return f"{type(template).__name__}({', '.join(settings)})"
