"""Every error that polyframe raises on purpose, as one tree.

::

    PolyframeError
    ├── ConfigError                 a setting is wrong: names the field and the fix
    ├── StrategyDefinitionError     a strategy class that would leak state between cycles
    ├── StrategyFailed              a hook raised, and the policy of that strategy is "raise"
    ├── StaleCycleError             the cycle of this call is over
    ├── OrderError
    │   ├── OrderDenied             refused here, nothing was sent: names the rule
    │   ├── OrderRejected           refused by the venue
    │   └── OrderOutcomeUnknown     sent, but no answer: it may be live
    └── ExchangeError
        ├── ExchangeUnavailable     no connection, time-out, an error of the venue: may work later
        │   ├── VenueRestarting     the matching engine is restarting
        │   ├── VenueOverloaded     the venue, or something before it, has too much to do
        │   ├── TradingDisabled     the venue does not trade at all
        │   ├── CancelOnly          it takes cancels and nothing else
        │   └── PostOnlyMode        it takes cancels and post-only orders
        ├── RateLimited             too many requests; knows when to come back
        ├── AuthenticationFailed    credentials or clock are wrong
        └── GeoBlocked              the venue does not serve this region
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyframe.model.order import Order


class PolyframeError(Exception):
    """Base of all errors that polyframe raises on purpose."""


class ConfigError(PolyframeError, ValueError):
    """A setting is wrong. The message names the field and what to put there."""


class StrategyDefinitionError(PolyframeError, TypeError):
    """A strategy class that would carry state from one cycle into the next."""


class StrategyFailed(PolyframeError):
    """A hook raised and the strategy's policy is ``"raise"``; the cause is chained.

    Attributes:
        strategy: Name of the strategy.
        hook: Name of the hook that raised.
    """

    def __init__(self, strategy: str, hook: str) -> None:
        super().__init__(f"strategy {strategy!r} failed in {hook}()")
        self.strategy = strategy
        self.hook = hook


class StaleCycleError(PolyframeError):
    """The call belongs to a cycle that is over.

    It changed nothing, unless it says that it was sent before the end.

    Attributes:
        what: The call or command that came too late.
        generation: Generation that the call carried (start of its cycle, epoch seconds).
        current: Generation that the engine is in now, ``None`` between two cycles.
        was_sent: Whether the venue was asked before the cycle ended.
    """

    def __init__(
        self, what: str, generation: int, current: int | None, *, was_sent: bool = False
    ) -> None:
        now = "no cycle is open" if current is None else f"the current cycle is {current}"
        end = (
            "it was sent, and the settlement side sees to what became of it"
            if was_sent
            else "nothing was changed"
        )
        super().__init__(f"{what}: cycle {generation} is over ({now}); {end}")
        self.what = what
        self.generation = generation
        self.current = current
        self.was_sent = was_sent


class OrderError(PolyframeError):
    """Base of what can go wrong with one order."""


class OrderDenied(OrderError):
    """Refused locally before anything was sent to the venue.

    Attributes:
        rule: Short stable name of the rule, for example ``"tick"`` or ``"cash"``.
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"order denied by rule {rule!r}: {text}")
        self.rule = rule


class OrderRejected(OrderError):
    """Refused by the venue.

    Attributes:
        code: Short stable code, for example ``"not_enough_balance"`` or ``"fok_not_filled"``.
        order: The order in its final state.
    """

    def __init__(self, code: str, text: str, order: Order) -> None:
        super().__init__(f"order rejected by the venue ({code}): {text}")
        self.code = code
        self.order = order


class OrderOutcomeUnknown(OrderError):
    """The order was sent but the answer was lost: it may rest or fill at the venue.

    It is never sent again. Its cash stays reserved until the venue says what became of it.

    Attributes:
        order: The order, in state ``UNKNOWN``.
    """

    def __init__(self, text: str, order: Order) -> None:
        super().__init__(f"outcome of order {order.client_id} unknown: {text}")
        self.order = order


class ExchangeError(PolyframeError):
    """Base of what can go wrong between us and the venue.

    Attributes:
        retry_after: Seconds to wait, ``None`` if nobody said.
        code: Short stable word, the same as in refusals of orders; ``""`` if there is none.
    """

    def __init__(self, text: str, retry_after: float | None = None, *, code: str = "") -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.code = code


class ExchangeUnavailable(ExchangeError):
    """No connection, a time-out, or an error of the venue; may work later."""


class VenueRestarting(ExchangeUnavailable):
    """The matching engine is restarting; for orders and cancels alike it takes about two minutes."""


class VenueOverloaded(ExchangeUnavailable):
    """The venue, or something before it, has too much to do and did not say what became of it."""


class TradingDisabled(ExchangeUnavailable):
    """The venue does not trade at all, for a time that it does not tell."""


class CancelOnly(ExchangeUnavailable):
    """The venue takes cancels and nothing else."""


class PostOnlyMode(ExchangeUnavailable):
    """The venue takes cancels and post-only orders, as for minutes after a restart."""


class RateLimited(ExchangeError):
    """Too many requests, by the venue's count or by our own."""


class AuthenticationFailed(ExchangeError):
    """The venue did not accept the credentials, or our clock is off."""


class GeoBlocked(ExchangeError):
    """The venue does not serve the region that this machine seems to be in."""
