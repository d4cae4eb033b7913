"""What comparisons with the venue are told to do, and what they report."""

from __future__ import annotations

from decimal import Decimal
from math import inf
from typing import Any, Literal

from attrs import asdict, field, frozen

from polyframe.checks import a_time, must, one_of, seconds
from polyframe.errors import ConfigError
from polyframe.model.order import OrderStatus

ForeignOrders = Literal["report", "adopt", "cancel", "leave"]
LateOrders = Literal["cancel", "leave"]

DOUBTFUL = frozenset({OrderStatus.SUBMITTING, OrderStatus.UNKNOWN})
"""States in which it is not known whether the venue ever got the order."""
NOT_FOUND = "not_found"
"""Code of the refusal of an order that never came to exist."""


def _are_seconds(values: Any) -> bool:
    """Return whether these are some numbers above 0."""
    are_numbers = isinstance(values, tuple) and all(isinstance(one, int | float) for one in values)
    return are_numbers and bool(values) and all(0 < value < inf for value in values)


@frozen(kw_only=True)
class ReconcileSettings:
    """When the venue is asked, and what is done with what nobody here has placed.

    Seconds are network time.

    Attributes:
        open_interval: Between two comparisons while orders are open or matches unsettled.
        idle_interval: Otherwise.
        soon: After an order whose answer was lost, or a cancel that was not done.
        grace: Since the answer was lost; before that an order that the venue does not know may
            still be on its way there.
        foreign_orders: What becomes of open orders in the current market that nobody here placed:
            ``"report"`` names them, ``"adopt"`` also gives them to the strategy `adopter`,
            ``"cancel"`` also cancels them, ``"leave"`` says nothing.
        adopter: Name under which the strategy is mounted that adopts foreign orders. On a series
            on which it is not mounted they are only reported.
        late_orders: What becomes of orders that turn out to be accepted after their cycle is over, or
            that an earlier run has left in a cycle whose end it did not see: ``"cancel"`` or
            ``"leave"``.
        resolution_interval: From the end of a window, and from there on, between the first questions
            for who won, in market seconds. It grows by half each time, to a minute; whoever is told
            by a stream asks at once.

    Raises:
        ConfigError: A value that cannot be.
    """

    open_interval: float = field(default=3.0, validator=a_time)
    idle_interval: float = field(default=30.0, validator=a_time)
    soon: tuple[float, ...] = field(
        default=(1.0, 2.0, 5.0), validator=must("a tuple of seconds above 0", _are_seconds)
    )
    grace: float = field(default=4.0, validator=seconds)
    foreign_orders: ForeignOrders = field(
        default="report", validator=one_of("report", "adopt", "cancel", "leave")
    )
    adopter: str = ""
    late_orders: LateOrders = field(default="cancel", validator=one_of("cancel", "leave"))
    resolution_interval: float = field(default=5.0, validator=a_time)

    def __attrs_post_init__(self) -> None:
        if (self.foreign_orders == "adopt") != bool(self.adopter):
            msg = (
                "adopter: the name of the strategy that adopts foreign orders goes with "
                'foreign_orders="adopt", and only with that'
            )
            raise ConfigError(msg)


@frozen(kw_only=True)
class ReconcileReport:
    """What one comparison with the venue found, and what was done.

    A difference need not be a loss: what the account's stream was just about to tell counts, too.

    Attributes:
        slug, generation: The cycle.
        trigger: Why it was made: ``"start"``, ``"timer"``, ``"connected"``, ``"overflow"``,
            ``"soon"``, ``"demand"``, or the caller's own word.
        time: Market time of its end in epoch seconds.
        error: Why there was no complete view of the venue; then nothing was changed. ``""`` if there
            was one.
        listed: Open orders that the venue lists.
        orders: Client ids of the orders that changed.
        trades: Ids of the trades that were new, or whose settlement had moved on.
        not_found: Client ids of the orders that never came to exist; they are rejected now.
        unresolved: What is known of the orders that are open here and not listed there, or over here
            and listed there, by client id; the former are left as they are, the latter cancelled.
        foreign: The venue's ids of the listed orders that nobody here placed (none with the policy
            ``"leave"``).
        adopted: Those of them that have a strategy now.
        cancelled: Ids of the listed orders that were cancelled.
        cash: USD that the venue has beyond our books, ``None`` where it could not be compared
            because something is under way. It is told and not corrected.
        differs: Whether any of this is new since the last report (a difference in cash only once
            two comparisons in a row have found the same).
    """

    slug: str
    generation: int
    trigger: str
    time: float
    error: str = ""
    listed: int = 0
    orders: tuple[str, ...] = ()
    trades: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()
    unresolved: dict[str, str] = field(factory=dict)
    foreign: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    cash: Decimal | None = None
    differs: bool = False

    def as_note(self) -> dict[str, Any]:
        """Return what it says as plain values, without what is empty; amounts as text."""
        note: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self, recurse=False).items()
            if value not in ("", (), {}, None, False) and name not in {"slug", "generation"}
        }
        if self.cash is not None:
            note["cash"] = f"{self.cash:f}"
        return note


def describe(report: ReconcileReport) -> str:
    """Return the findings of a report as one line of text."""
    parts = [
        f"{len(values)} {words}"
        for values, words in (
            (report.orders, "orders changed"),
            (report.trades, "trades learned of"),
            (report.not_found, "orders do not exist"),
            (report.unresolved, "orders unresolved"),
            (report.foreign, "foreign orders open"),
            (report.adopted, "of them adopted"),
            (report.cancelled, "of them cancelled"),
        )
        if values
    ]
    if report.cash:
        parts.append(f"the venue has {report.cash:+f} USD of cash beyond our books")
    return f"{', '.join(parts) or 'nothing'} ({report.trigger})"
