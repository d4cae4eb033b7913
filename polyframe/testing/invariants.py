"""What must hold at every instant, each with a name; and what to say when it does not."""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen


class Invariant(StrEnum):
    """Names of what must hold."""

    OWN_EVENTS = "own_events"
    """A strategy is told of nothing that belongs to another cycle, market or strategy."""
    OWN_STATE = "own_state"
    """A strategy reads no order, fill or position of another cycle or strategy."""
    FRESH_START = "fresh_start"
    """A cycle begins once, after all before it, with empty books."""
    DEAD_HANDLES = "dead_handles"
    """What a strategy kept of a dead cycle does nothing any more."""
    ORDER_OF_CHANGES = "order_of_changes"
    """Changes come once and in the order in which they were made; a final order stays final."""
    OWN_INPUTS = "own_inputs"
    """The books of a cycle are given only what the venue says of that cycle's market."""
    FUNCTION_OF_INPUTS = "function_of_inputs"
    """The books of a cycle are what fresh books make of the same inputs."""
    FILLS = "fills"
    """Every fill of the venue is in the books once: side, price, size, fee and settlement."""
    RECOVERED = "recovered"
    """After a comparison with the venue the books have all that was there when it began."""
    ORDERS = "orders"
    """Every order of the venue is known, none is open after the end, none was sent twice."""
    OWNERSHIP = "ownership"
    """After a restart every order is again its strategy's, under the same name."""
    LATE_ORDERS = "late_orders"
    """An order that turns out to be accepted after its cycle is cancelled."""
    COMPENSATED = "compensated"
    """After a gap in the account's stream every open cycle is compared with the venue at once."""
    CASH = "cash"
    """Cash is the start and the sum of what all cycles spent, received and were paid."""
    RESERVED = "reserved"
    """What is reserved is what the orders can still cost."""
    VENUE_CASH = "venue_cash"
    """When all is over our cash is the venue's."""
    RECORDS = "records"
    """The record of a cycle and the fills in the ledgers of all runs say what its books say."""
    COUNTED = "counted"
    """Every message of the account that arrived is counted exactly once."""
    NOTHING_LEFT = "nothing_left"
    """No task, session, stream, subscriber or route of a dead cycle lives past its deadline."""
    BOUND = "bound"
    """A strategy keeps the bound that was given for it, after every change of its orders and fills."""
    NO_DEFECT = "no_defect"
    """Nothing raises but what a fault raises."""


@frozen
class Violation:
    """Something that must hold did not.

    Attributes:
        invariant: What.
        text: How it was seen.
        slug: The market that it was seen in, ``""`` if in none.
        time: Market time.
        steps: What happened last, the newest at the end.
    """

    invariant: Invariant
    text: str
    slug: str
    time: float
    steps: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        where = f" in {self.slug}" if self.slug else ""
        return f"{self.invariant.value}: {self.text}{where}"
