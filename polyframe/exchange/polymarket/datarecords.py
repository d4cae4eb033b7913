"""What the venue's records say of an account: positions, trades, activity (PROTOCOL §7.1, §7.2).

They lag the engine by seconds to minutes. They serve checks at the start and of profits afterwards;
nothing that trades goes by them, and nothing is taken away because they do not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from attrs import frozen

from polyframe.exchange.polymarket.wire import Skips, flag, optional_decimal, optional_side, text
from polyframe.model.money import ONE, ZERO, decimal
from polyframe.model.order import Side

T = TypeVar("T")


@frozen(kw_only=True)
class RecordedPosition:
    """Shares of one token that an account holds.

    Attributes:
        token, condition_id: Which.
        outcome: The venue's label, for example ``Up``.
        size: Shares.
        average_price: USD paid a share.
        current_price: USD, 1 or 0 once the market is resolved; ``None`` if it is not told.
        realised: USD.
        is_redeemable: Whether the market is resolved and the shares can be turned into cash.
        is_mergeable: Whether the account holds shares of the other outcome as well.
    """

    token: str
    condition_id: str
    outcome: str
    size: Decimal
    average_price: Decimal
    current_price: Decimal | None
    realised: Decimal
    is_redeemable: bool
    is_mergeable: bool


@frozen(kw_only=True)
class RecordedTrade:
    """One trade of an account.

    Attributes:
        token, condition_id: Which.
        side: Of the account.
        size: Shares.
        price: USD a share.
        time: Epoch seconds.
        transaction: Hash on the chain, ``""`` if it is not told.
    """

    token: str
    condition_id: str
    side: Side
    size: Decimal
    price: Decimal
    time: int
    transaction: str


@frozen(kw_only=True)
class RecordedActivity:
    """One thing that an account did.

    Attributes:
        kind: ``TRADE``, ``SPLIT``, ``MERGE``, ``REDEEM``, …
        token: ``""`` where it is about both outcomes.
        condition_id: The market.
        side: Of a trade, else ``None``.
        size: Shares.
        usd: Money that moved.
        time: Epoch seconds.
        transaction: Hash on the chain, ``""`` if it is not told.
    """

    kind: str
    token: str
    condition_id: str
    side: Side | None
    size: Decimal
    usd: Decimal
    time: int
    transaction: str


@frozen(kw_only=True)
class RecordedResolution:
    """How far the resolution of a market is.

    Attributes:
        condition_id: The market.
        status: The venue's word, for example ``resolved`` or ``proposed``.
        was_disputed: Whether somebody objected.
        price: Payout of the first outcome's share in USD, ``None`` while it is not set.
        time: Of the last change in epoch seconds.
    """

    condition_id: str
    status: str
    was_disputed: bool
    price: Decimal | None
    time: int


class _Row:
    """Fields of a row, in the spelling of either version of the interface."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    def find(self, *names: str) -> object:
        """Return the first of these fields that is there."""
        return next((self._row[name] for name in names if self._row.get(name) is not None), None)

    def word(self, *names: str) -> str:
        """Return a field as text."""
        return text(self.find(*names))

    def needed(self, *names: str) -> str:
        """Return a text that has to be there."""
        found = self.word(*names)
        if not found:
            msg = f"{names[0]}: missing"
            raise ValueError(msg)
        return found

    def amount(self, *names: str) -> Decimal:
        """Return a number that is not negative and has to be there."""
        found = optional_decimal(self.find(*names), names[0])
        if found is None:
            msg = f"{names[0]}: missing"
            raise ValueError(msg)
        return found

    def signed(self, *names: str) -> Decimal:
        """Return a number, 0 if it is not there."""
        found = self.word(*names)
        return decimal(found, names[0]) if found else ZERO

    def seconds(self, *names: str) -> int:
        """Return epoch seconds, 0 if they are not there."""
        found = self.word(*names) or "0"
        if not (found.isascii() and found.isdigit() and len(found) <= 11):
            msg = f"{names[0]}: expected epoch seconds, got {found[:40]!r}"
            raise ValueError(msg)
        return int(found)


def read_position(row: Mapping[str, Any]) -> RecordedPosition:
    """Return a position.

    Raises:
        ValueError: Without token, market or size, or a number that is none.
    """
    fields = _Row(row)
    return RecordedPosition(
        token=fields.needed("token_id", "asset"),
        condition_id=fields.needed("condition_id", "conditionId"),
        outcome=fields.word("outcome"),
        size=fields.amount("current_size", "size"),
        average_price=fields.signed("avg_price", "avgPrice"),
        current_price=optional_decimal(fields.find("current_price", "curPrice"), "current_price"),
        realised=fields.signed("realized_pnl", "realizedPnl"),
        is_redeemable=flag(fields.find("redeemable"), default=False),
        is_mergeable=flag(fields.find("mergeable"), default=False),
    )


def read_trade(row: Mapping[str, Any]) -> RecordedTrade:
    """Return a trade.

    Raises:
        ValueError: Without token, market, side, size or price, or a number that is none.
    """
    fields = _Row(row)
    side = optional_side(fields.find("side"))
    if side is None:
        msg = "side: missing"
        raise ValueError(msg)
    return RecordedTrade(
        token=fields.needed("token_id", "asset"),
        condition_id=fields.needed("condition_id", "conditionId"),
        side=side,
        size=fields.amount("size"),
        price=fields.amount("price"),
        time=fields.seconds("timestamp"),
        transaction=fields.word("transaction_hash", "transactionHash"),
    )


def read_activity(row: Mapping[str, Any]) -> RecordedActivity:
    """Return one thing that was done.

    Raises:
        ValueError: Without kind, market or size, or a number that is none.
    """
    fields = _Row(row)
    return RecordedActivity(
        kind=fields.needed("type").upper(),
        token=fields.word("token_id", "asset"),
        condition_id=fields.needed("condition_id", "conditionId"),
        side=optional_side(fields.find("side")),
        size=fields.amount("size"),
        usd=fields.signed("usdc_size", "usdcSize"),
        time=fields.seconds("timestamp"),
        transaction=fields.word("transaction_hash", "transactionHash"),
    )


def read_recorded_resolution(row: Mapping[str, Any]) -> RecordedResolution:
    """Return how far a resolution is.

    Raises:
        ValueError: Without market or status, or a number that is none.
    """
    fields = _Row(row)
    price = optional_decimal(fields.find("price"), "price")
    return RecordedResolution(
        condition_id=fields.needed("condition_id"),
        status=fields.needed("status"),
        was_disputed=flag(fields.find("was_disputed"), default=False),
        # "69" stands for "not set"; a half is the payout of a market without a winner.
        price=price if price is not None and price <= ONE else None,
        time=fields.seconds("last_update_timestamp"),
    )


def read_rows(
    rows: Iterable[object], reader: Callable[[Mapping[str, Any]], T], kind: str, skips: Skips
) -> list[T]:
    """Return what can be read; the rest is counted."""
    found: list[T] = []
    for row in rows:
        if not isinstance(row, dict):
            skips.add("not_object", type(row).__name__)
            continue
        try:
            found.append(reader(row))
        except ValueError as exc:
            skips.add(f"bad_field:{kind}", str(exc))
    return found


def recorded_profit(activity: Iterable[RecordedActivity], condition_id: str) -> Decimal:
    """Return the money that a market brought in USD, as far as the records show it.

    To be compared with the ledger's profit of a cycle, when all of its shares are sold or redeemed.
    """
    total = ZERO
    for item in activity:
        if item.condition_id != condition_id:
            continue
        if item.kind in {"MERGE", "REDEEM"} or item.side is Side.SELL:
            total += item.usd
        elif item.kind == "SPLIT" or item.side is Side.BUY:
            total -= item.usd
    return total
