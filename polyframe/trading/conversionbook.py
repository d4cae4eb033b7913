"""The splits and merges of one cycle: what they hold while they are under way, and what they book."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from attrs import evolve

from polyframe.model.conversion import (
    HALF,
    Conversion,
    ConversionKind,
    ConversionStatus,
    ReceiptState,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.trading.account import Account
from polyframe.trading.positions import Booking, Holdings

_SAYS = {
    ReceiptState.SUBMITTED: ConversionStatus.SUBMITTED,
    ReceiptState.UNKNOWN: ConversionStatus.UNKNOWN,
    ReceiptState.CONFIRMED: ConversionStatus.CONFIRMED,
    ReceiptState.FAILED: ConversionStatus.FAILED,
}


class ConversionBook:
    """All conversions of one cycle.

    One rule: *a conversion holds what it gives until its end is known*. A merge holds shares of both
    outcomes, a split holds cash. Nothing else moves before the confirmation, which moves all of it
    at once: pairs × 1 USD, so that no rounding can come in. That also holds after the market is
    resolved: pairs can be merged for ever, and the payout is worked out anew.

    Args:
        market: The market of the cycle.
        account: Whose cash splits hold.
        holdings: Where they are booked.

    Attributes:
        conversions: By our id, in order of birth.
    """

    def __init__(self, market: Market, account: Account, holdings: Holdings) -> None:
        self._market = market
        self._account = account
        self._holdings = holdings
        self._conversions: dict[str, Conversion] = {}
        self.conversions: Mapping[str, Conversion] = MappingProxyType(self._conversions)
        self._open: str = ""

    @property
    def open(self) -> Conversion | None:
        """The one that is under way, ``None`` if there is none: there is one at a time."""
        return self._conversions.get(self._open)

    @property
    def cash_held(self) -> Decimal:
        """USD that a split under way holds of the account's cash."""
        found = self.open
        return found.shares if found is not None and found.kind is ConversionKind.SPLIT else ZERO

    def shares_held(self, strategy: str) -> Decimal:
        """Return the shares of either outcome that a merge under way holds of a strategy."""
        found = self.open
        if found is None or found.kind is not ConversionKind.MERGE or found.strategy != strategy:
            return ZERO
        return found.shares

    def begin(self, conversion: Conversion) -> bool:
        """Register a conversion and hold what it gives; false if the cash is not there."""
        if conversion.kind is ConversionKind.SPLIT and not self._account.reserve(
            self._key(conversion), conversion.shares
        ):
            return False
        self._keep(conversion)
        return True

    def apply(
        self, conversion_id: str, state: ReceiptState, transaction_id: str, text: str, now_ms: int
    ) -> Conversion | None:
        """Take what the venue says of a conversion; return it if that changed anything.

        What was heard of a transaction is never forgotten: a question that was lost makes a submitted
        one not unknown.
        """
        before = self._conversions[conversion_id]
        status = _SAYS[state]
        if not before.is_open or (
            status is ConversionStatus.UNKNOWN and before.status is not ConversionStatus.SENDING
        ):
            return None
        after = evolve(
            before,
            status=status,
            transaction_id=transaction_id or before.transaction_id,
            text=text,
        )
        if after == before:
            return None
        after = evolve(after, updated_ms=now_ms)
        self._keep(after)
        if not after.is_open:
            if after.kind is ConversionKind.SPLIT:
                self._account.release(self._key(after))
            if status is ConversionStatus.CONFIRMED:
                self._book(after)
        return after

    def restore(self, conversions: Iterable[Conversion]) -> None:
        """Take over those of an earlier run; what they hold follows with `hold_restored`.

        What confirmed ones moved is among the bookings already.
        """
        for conversion in conversions:
            self._keep(conversion)

    def hold_restored(self) -> None:
        """Hold what the one under way gives, whether or not it is there: it may be on its way."""
        found = self.open
        if found is not None and found.kind is ConversionKind.SPLIT:
            self._account.extend(self._key(found), found.shares)

    def forsake(self) -> None:
        """Give back the cash that is held."""
        found = self.open
        if found is not None and found.kind is ConversionKind.SPLIT:
            self._account.release(self._key(found))

    def _keep(self, conversion: Conversion) -> None:
        self._conversions[conversion.conversion_id] = conversion
        if conversion.is_open:
            self._open = conversion.conversion_id
        elif self._open == conversion.conversion_id:
            self._open = ""

    def _book(self, conversion: Conversion) -> None:
        splits = conversion.kind is ConversionKind.SPLIT
        shares = conversion.shares if splits else -conversion.shares
        for outcome in Outcome:
            self._holdings.book(
                conversion.strategy, outcome, Booking(shares, -shares * HALF, settled=True)
            )

    def _key(self, conversion: Conversion) -> str:
        return f"{self._market.slug}/{conversion.conversion_id}"
