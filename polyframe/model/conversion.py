"""Sets of shares made of cash, and cash of sets of shares: split, merge, redeem (PROTOCOL §7.4)."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from attrs import frozen

MICRO = Decimal("0.000001")
"""The finest part of a share or USD on chain."""

HALF = Decimal("0.5")
"""USD that each share of a pair counts when the pair is split off or merged: a pair is 1 USD."""


class ConversionKind(StrEnum):
    """What a conversion does."""

    SPLIT = "split"
    """1 USD becomes one share of Up and one of Down."""
    MERGE = "merge"
    """One share of Up and one of Down become 1 USD."""


class ConversionStatus(StrEnum):
    """Life of a conversion; it only moves forward, and final states are final."""

    SENDING = "sending"
    """What it needs is held here; no answer yet."""
    SUBMITTED = "submitted"
    """The venue has a transaction of it, which is not on chain for good yet."""
    UNKNOWN = "unknown"
    """Sent, and the answer was lost: it may happen. It is never sent again."""
    CONFIRMED = "confirmed"
    """It is on chain, and booked."""
    FAILED = "failed"
    """It was refused, or its transaction failed: everything is as it was."""

    @property
    def is_final(self) -> bool:
        """Whether nothing can change the state any more."""
        return self in (ConversionStatus.CONFIRMED, ConversionStatus.FAILED)


class ReceiptState(StrEnum):
    """What the venue says of a transaction."""

    SUBMITTED = "submitted"
    """It has it; how it ends is open."""
    CONFIRMED = "confirmed"
    """It is on chain for good."""
    FAILED = "failed"
    """It was refused or failed: nothing happened, and nothing will."""
    UNKNOWN = "unknown"
    """The question was lost, or the venue knows nothing of it: nothing is certain."""


@frozen
class Receipt:
    """What the venue says of a transaction of ours.

    Attributes:
        state: How far it is.
        transaction_id: The venue's name of it, ``""`` while it has none.
        text: The venue's own words.
        is_mined: Whether it has moved shares and cash already, though it is not confirmed yet.
    """

    state: ReceiptState
    transaction_id: str = ""
    text: str = ""
    is_mined: bool = False


@frozen
class Conversion:
    """One split or merge at one instant. Never changes: every change makes a new value.

    Attributes:
        conversion_id: Our own id from birth; unique in the cycle.
        strategy: Whose shares and whose profit.
        kind: Split or merge.
        shares: Pairs, which is also USD.
        status: Where it is in its life.
        transaction_id: The venue's name of its transaction, ``""`` while none is known.
        text: Why it failed, or why nothing is known.
        created_ms, updated_ms: Epoch milliseconds on our clock.
    """

    conversion_id: str
    strategy: str
    kind: ConversionKind
    shares: Decimal
    status: ConversionStatus = ConversionStatus.SENDING
    transaction_id: str = ""
    text: str = ""
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it may still happen."""
        return not self.status.is_final
