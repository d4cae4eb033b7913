"""The limits that the risk guard keeps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Self

import attrs
from attrs import field, frozen

from polyframe.checks import amount, count, number, seconds

_amount = amount("above 0", lambda value: value > 0, or_none="for no limit")
_count = count(or_none="for no limit")
_pace = number("orders per second above 0", lambda value: value > 0, or_none="for no limit")
_seconds = number("seconds from 0 on", lambda value: value >= 0, or_none="for no limit")
_burst = count()


@frozen(kw_only=True)
class RiskLimits:
    """What an environment may do. ``None`` means no limit.

    The defaults are generous: a strategy that does what its author means stays far below, a loop
    that runs away does not. They hold for entries; cancels and orders that reduce a risk pass.
    Cycle limits hold for one series and cycle, all of its strategies together; run limits for all
    series from the opening of the environment on.

    USD amounts are price × size without fees. Times that have to do with the market (window, age of
    the book, intents) are market seconds, those that protect the venue (pace, breaker) network
    seconds: a fast market clock does not make the venue faster.

    Attributes:
        max_order_notional: USD of one order.
        max_order_shares: Shares of one order.
        max_cycle_notional: USD paid for shares in a cycle, together with what open buys may pay.
            Buys that were cancelled do not count, sells do not give anything back.
        max_position: Shares of one outcome, held and bid for.
        max_open_orders: Open orders in one market.
        max_cycle_loss: USD lost in a cycle by sales and fees; no entries from there on.
        max_run_notional: USD paid for shares in a run.
        max_run_loss: USD lost in a run: by all resolved cycles together, by sales and fees of the
            others; no entries from there on.
        max_losing_cycles: Cycles with trades lost one after the other; no entries from there on,
            until ``resume()``.
        max_orders_per_second: Orders that may leave per second in the long run.
        order_burst: Orders that may leave at once.
        entry_after: No entries in the first seconds of a cycle.
        entry_before_end: No entries in the last seconds of a cycle.
        max_book_age: Seconds since the last change of the outcome's book. With ``None`` even a book
            that is not known is good enough.
        max_spread: USD between best bid and best ask; an empty side counts as 0 or 1 USD.
        breaker_errors: Venue errors in a row at which entries stop.
        breaker_cooldown: Seconds until one entry may try again.
        intent_ttl: Seconds for which a second order of the same intent is refused, besides while the
            first is open.

    Raises:
        ConfigError: A value is of the wrong kind or out of range; names the field.
    """

    max_order_notional: Decimal | None = field(default=Decimal(1000), validator=_amount)
    max_order_shares: Decimal | None = field(default=Decimal(10000), validator=_amount)
    max_cycle_notional: Decimal | None = field(default=Decimal(5000), validator=_amount)
    max_position: Decimal | None = field(default=Decimal(20000), validator=_amount)
    max_open_orders: int | None = field(default=200, validator=_count)
    max_cycle_loss: Decimal | None = field(default=Decimal(1000), validator=_amount)
    max_run_notional: Decimal | None = field(default=Decimal(1_000_000), validator=_amount)
    max_run_loss: Decimal | None = field(default=Decimal(5000), validator=_amount)
    max_losing_cycles: int | None = field(default=100, validator=_count)
    max_orders_per_second: float | None = field(default=10.0, validator=_pace)
    order_burst: int = field(default=100, validator=_burst)
    entry_after: float | None = field(default=None, validator=_seconds)
    entry_before_end: float | None = field(default=None, validator=_seconds)
    max_book_age: float | None = field(default=60.0, validator=_seconds)
    max_spread: Decimal | None = field(default=Decimal("0.5"), validator=_amount)
    breaker_errors: int | None = field(default=5, validator=_count)
    breaker_cooldown: float = field(default=30.0, validator=seconds)
    intent_ttl: float = field(default=2.0, validator=seconds)

    @classmethod
    def unlimited(cls) -> Self:
        """Return no limits at all; only `halt`, `pause` and intents still refuse."""
        nothing: dict[str, Any] = {
            item.name: None for item in attrs.fields(cls) if item.name not in _NO_LIMITS
        }
        return cls(**nothing)


_NO_LIMITS = frozenset({"order_burst", "breaker_cooldown", "intent_ttl"})
