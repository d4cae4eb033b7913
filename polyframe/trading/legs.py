"""Several orders that are meant as one: what is wanted, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

from attrs import field, frozen

from polyframe.errors import ConfigError, OrderError
from polyframe.exchange.base import MAX_BATCH
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderRequest, Side

OnMissing = Literal["cancel", "keep", "unwind"]

_POLICIES = ("cancel", "keep", "unwind")


@frozen
class Leg:
    """One leg as it was when `place_legs` returned.

    Attributes:
        request: What was asked for.
        order: Its order; one whose outcome is still unknown is in state ``UNKNOWN``.
        error: What the venue made of it at first, ``None`` if it was accepted: `OrderRejected`, or
            `OrderOutcomeUnknown`, even if it became known in the meantime what came of it.
        is_missing: Whether it was neither filled as a whole nor resting when it was judged.
    """

    request: OrderRequest
    order: Order
    error: OrderError | None
    is_missing: bool

    @property
    def filled(self) -> Decimal:
        """Shares that it was filled with."""
        return self.order.filled


@frozen(kw_only=True)
class LegsResult:
    """What became of several orders that are meant as one.

    Attributes:
        legs: Each of them, in the order of the requests.
        on_missing: The policy that was asked for; it acts only if a leg is missing.
        cancelled: Orders of legs that the policy has cancelled, as they are then.
        sold: Orders by which the policy sold back what legs had bought, as they are then.
        unsold: Shares by outcome that it should have sold back and did not.
        failures: What the policy could not do, for people to read.
    """

    legs: tuple[Leg, ...]
    on_missing: OnMissing
    cancelled: tuple[Order, ...] = ()
    sold: tuple[Order, ...] = ()
    unsold: Mapping[Outcome, Decimal] = field(factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[Leg, ...]:
        """The legs that are missing."""
        return tuple(leg for leg in self.legs if leg.is_missing)

    @property
    def is_complete(self) -> bool:
        """Whether every leg is filled as a whole, or rests."""
        return not self.missing

    @property
    def unhedged(self) -> dict[Outcome, Decimal]:
        """Shares by outcome that came of it and have no share of the other outcome against them.

        One outcome at most has any. Shares sold count against those bought, and what the policy
        sold back does, too.
        """
        up = sum(
            (
                (order.filled if order.side is Side.BUY else -order.filled)
                * (1 if order.outcome is Outcome.UP else -1)
                for order in (*(leg.order for leg in self.legs), *self.sold)
            ),
            ZERO,
        )
        return {Outcome.UP: max(up, ZERO), Outcome.DOWN: max(-up, ZERO)}


def _requests(values: Iterable[OrderRequest]) -> tuple[OrderRequest, ...]:
    return tuple(values)


def _floors(values: Iterable[Decimal | None] | None) -> tuple[Decimal | None, ...] | None:
    return None if values is None else tuple(values)


@frozen(kw_only=True)
class LegsPlan:
    """What is to be placed as one, and what to do if a leg is missing.

    Attributes:
        requests: 2 to 15 of them.
        on_missing: See `TradingService.place_legs`.
        unwind_floor: The least price in USD at which each leg is sold back; ``None`` (also for one
            leg) means the best bid of the moment.
        missing_timeout: Network seconds in which it has to become known what came of each leg.

    Raises:
        ConfigError: A value that cannot be.
    """

    requests: tuple[OrderRequest, ...] = field(converter=_requests)
    on_missing: OnMissing = "cancel"
    unwind_floor: tuple[Decimal | None, ...] | None = field(default=None, converter=_floors)
    missing_timeout: float = 10.0

    def __attrs_post_init__(self) -> None:
        count = len(self.requests)
        if not 2 <= count <= MAX_BATCH:
            msg = f"requests: expected 2 to {MAX_BATCH} legs, got {count}"
            raise ConfigError(msg)
        if self.on_missing not in _POLICIES:
            msg = f"on_missing: expected one of {', '.join(_POLICIES)}, got {self.on_missing!r}"
            raise ConfigError(msg)
        if self.unwind_floor is not None and self.on_missing != "unwind":
            msg = "unwind_floor: it needs on_missing='unwind'"
            raise ConfigError(msg)
        if self.unwind_floor is not None and len(self.unwind_floor) != count:
            msg = f"unwind_floor: expected {count} prices, one a leg, got {len(self.unwind_floor)}"
            raise ConfigError(msg)
        if not self.missing_timeout > 0:
            msg = f"missing_timeout: expected seconds above 0, got {self.missing_timeout!r}"
            raise ConfigError(msg)
