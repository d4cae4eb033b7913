"""What users write: a `Strategy` with the hooks they need.

The object given to ``Trader.add`` is a template. Every cycle gets a fresh instance with copies of its
settings, so nothing that a strategy keeps in its fields can reach the next cycle.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import re
from collections.abc import Coroutine, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs
import msgspec
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

S = TypeVar("S", bound="Strategy")

PERSIST: Final[Mapping[str, object]] = MappingProxyType({"polyframe.persist": True})
"""Marks a state field whose value comes back when the program restarts within the cycle::

    bought: int = field(init=False, default=0, metadata=PERSIST)

See `docs/snapshots.md` for what such a field may hold.
"""


class Spawner(Protocol):
    """Starts tasks that belong to a cycle."""

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
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
        """A logger that names strategy and market in every line."""
        context = self._running()
        return _CycleLog(
            marked(logging.getLogger("polyframe.strategy." + context.name)),
            {"market": context.session.slug},
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

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Start a task that belongs to this cycle; it is cancelled when the cycle ends.

        An exception in it counts like one in a hook.

        Raises:
            StaleCycleError: The cycle is over; nothing was started.
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
        market = (self.extra or {})["market"]
        return f"[{market}] {msg}", kwargs


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
            try:
                settings[attribute.alias] = copy.deepcopy(getattr(template, attribute.name))
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


_CONSTANTS: tuple[type, ...] = (
    *(str, bytes, int, float, complex, Decimal, Fraction, Enum, timedelta, date, time),
    *(re.Pattern, logging.Logger, type, FunctionType),
)
"""Types whose values cannot carry anything from one cycle into the next."""


def check_definition(template: Strategy) -> None:
    """Refuse a strategy class that would carry state from one cycle into the next.

    Raises:
        StrategyDefinitionError: A class without its own ``@define``, mutable class attributes, a
            shared mutable default, or a setting that cannot be copied.
    """
    if isinstance(template, type):
        msg = f"expected a strategy object, got the class {template.__name__}: call it"
        raise StrategyDefinitionError(msg)
    if not isinstance(template, Strategy):
        msg = f"expected a Strategy, got {type(template).__name__}"
        raise StrategyDefinitionError(msg)
    for klass in type(template).__mro__:
        if klass is Strategy:
            break
        _check_class(klass)
    for attribute in attrs.fields(type(template)):
        default: Any = attribute.default
        if attribute.init or isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            continue  # settings are copied for each cycle, factories make a new one
        if not _is_constant(default):
            msg = (
                f"{type(template).__name__}.{attribute.name}: its default is one "
                f"{type(default).__name__} shared by all cycles; use "
                f"field(factory={type(default).__name__})"
            )
            raise StrategyDefinitionError(msg)
    _check_copy(template)
    _check_persistent(template)


def _check_copy(template: Strategy) -> None:
    """Check that a fresh instance has the settings of the template."""
    kind = type(template)
    try:
        copied = fresh(template)
    except StrategyDefinitionError:
        raise
    except Exception as error:
        msg = f"{kind.__name__}: a copy of it cannot be made from its own settings: {error}"
        raise StrategyDefinitionError(msg) from error
    try:
        copied._context = None  # noqa: SLF001
    except attrs.exceptions.FrozenInstanceError:
        msg = f"{kind.__name__}: a frozen class cannot run; use @define without frozen=True"
        raise StrategyDefinitionError(msg) from None
    for attribute in attrs.fields(kind):
        if not attribute.init:
            continue
        was, now = getattr(template, attribute.name), getattr(copied, attribute.name)
        has_equality = vars(object)["__eq__"] is not getattr(type(was), "__eq__", None)
        if has_equality and was != now:
            msg = (
                f"{kind.__name__}.{attribute.name}: {was!r} becomes {now!r} in a fresh copy; a "
                "converter or __attrs_post_init__ must leave a converted value as it is"
            )
            raise StrategyDefinitionError(msg)


def persistent_fields(strategy: Strategy) -> list[attrs.Attribute[Any]]:
    """Return the fields that are marked with `PERSIST`."""
    return [a for a in attrs.fields(type(strategy)) if a.metadata.get("polyframe.persist")]


def encode_fields(strategy: Strategy) -> msgspec.Raw:
    """Return the marked fields as a JSON object.

    Raises:
        TypeError: A value that JSON cannot hold.
    """
    values = {a.name: getattr(strategy, a.name) for a in persistent_fields(strategy)}
    return msgspec.Raw(msgspec.json.encode(values))


def decode_fields(strategy: Strategy, data: msgspec.Raw) -> None:
    """Set the marked fields to what `encode_fields` wrote, all of them or none.

    A field that is new since then keeps its default; what is no longer a field is left out.

    Raises:
        ValueError: A value that does not fit the type of its field.
    """
    values = read_fields(strategy, data)
    before = {name: getattr(strategy, name) for name in values}
    try:
        for name, value in values.items():
            setattr(strategy, name, value)
    except Exception:
        for name, value in before.items():
            object.__setattr__(strategy, name, value)  # past validators, which may look at others
        raise


def read_fields(strategy: Strategy, data: msgspec.Raw) -> dict[str, Any]:
    """Return the values that `encode_fields` wrote, by field.

    Raises:
        ValueError: A value that does not fit the type of its field.
    """
    stored = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    return {
        a.name: msgspec.json.decode(stored[a.name], type=_type_of(strategy, a))
        for a in persistent_fields(strategy)
        if a.name in stored
    }


def _type_of(strategy: Strategy, attribute: attrs.Attribute[Any]) -> Any:
    attrs.resolve_types(type(strategy))
    return getattr(attrs.fields(type(strategy)), attribute.name).type or Any


def _check_persistent(template: Strategy) -> None:
    """Check that what is marked with `PERSIST` is state, and can be written and read back."""
    kind, marked = type(template).__name__, persistent_fields(template)
    if not marked:
        return
    for attribute in marked:
        if attribute.init:
            msg = (
                f"{kind}.{attribute.name}: PERSIST is for state; a setting comes from the program "
                "each time: add init=False, or leave the mark out"
            )
            raise StrategyDefinitionError(msg)
    try:
        decode_fields(fresh(template), encode_fields(template))
    except NameError as error:
        msg = f"{kind}: the types of its PERSIST fields must be known to its module: {error}"
        raise StrategyDefinitionError(msg) from error
    except Exception as error:
        msg = (
            f"{kind}: its PERSIST fields cannot be written down and read back: {error}; use "
            "numbers, Decimal, text, enums, attrs classes, and lists, sets or dicts of them"
        )
        raise StrategyDefinitionError(msg) from error


def _check_class(klass: type) -> None:
    if issubclass(klass, Strategy) and "__attrs_attrs__" not in vars(klass):
        msg = f"{klass.__name__}: decorate it with @define (from attrs), or its fields are shared"
        raise StrategyDefinitionError(msg)
    for name, value in vars(klass).items():
        if not name.startswith("__") and not _is_code(value) and not _is_constant(value):
            msg = (
                f"{klass.__name__}.{name}: a mutable class attribute is shared by all cycles; make "
                f"it a field: {name}: {type(value).__name__} = "
                f"field(init=False, factory={type(value).__name__})"
            )
            raise StrategyDefinitionError(msg)
    for hook in _HOOKS:
        own = vars(klass).get(hook)
        if own is None:
            continue
        names = list(inspect.signature(getattr(Strategy, hook)).parameters)
        if not inspect.iscoroutinefunction(own) or not _takes(own, len(names)):
            msg = f"{klass.__name__}.{hook}: write it as 'async def {hook}({', '.join(names)})'"
            raise StrategyDefinitionError(msg)
    for name, value in vars(klass).items():
        if not name.startswith("on_") or name in _HOOKS or not inspect.isfunction(value):
            continue
        # Nobody would call it, and a strategy that never does anything looks like a quiet market.
        if meant := get_close_matches(name, _HOOKS, 1, _ALIKE):
            msg = (
                f"{klass.__name__}.{name}: no hook has this name; is {meant[0]} meant? "
                "A method of your own needs a name that is less like it"
            )
            raise StrategyDefinitionError(msg)


def _takes(function: Any, arguments: int) -> bool:
    """Return whether `function` can be called with that many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _is_code(value: Any) -> bool:
    """Return whether a class attribute is behaviour rather than data."""
    return (
        isinstance(value, type | property | staticmethod | classmethod)
        or inspect.isroutine(value)
        or inspect.isdatadescriptor(value)
    )


def _is_constant(value: Any) -> bool:
    """Return whether a value cannot change, so that cycles may share it."""
    if value is None or value is attrs.NOTHING or isinstance(value, _CONSTANTS):
        return True
    if isinstance(value, tuple | frozenset):
        return all(_is_constant(item) for item in value)
    return attrs.has(type(value)) and _is_frozen(value)


def _is_frozen(value: Any) -> bool:
    """Return whether an attrs object refuses changes, and holds constants only."""
    fields = attrs.fields(type(value))
    if not all(_is_constant(getattr(value, a.name)) for a in fields):
        return False
    try:
        for attribute in fields[:1]:
            setattr(value, attribute.name, getattr(value, attribute.name))
    except attrs.exceptions.FrozenInstanceError:
        return True
    return not fields


_ALIKE = 0.85
"""From this likeness on a name is a hook's with a mistake in it: ``on_prices``, ``on_cycle_started``."""

_HOOKS = (
    "on_cycle_start",
    "on_price",
    "on_book",
    "on_market_trade",
    "on_order",
    "on_trade",
    "on_reconcile",
    "run",
    "on_cycle_end",
)
