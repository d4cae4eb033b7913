"""Checks of an account by the venue's records: before a start, and of profits afterwards.

The records lag (PROTOCOL §7.1). Whatever they say, nothing here changes what polyframe knows.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import frozen

from polyframe.exchange.polymarket.datarecords import RecordedPosition, recorded_profit
from polyframe.model.money import ZERO

if TYPE_CHECKING:
    from polyframe.exchange.polymarket.dataapi import DataClient
    from polyframe.exchange.polymarket.exchange import PolymarketExchange
    from polyframe.exchange.polymarket.restcalls import Region

TOLERANCE = Decimal("0.01")
"""USD by which the records may differ: they are rounded."""


@frozen(kw_only=True)
class AccountReport:
    """What an account looks like from outside.

    Attributes:
        cash: USD that the engine sees.
        is_closed_only: Whether the account may only reduce what it has.
        region: Where the venue thinks that we are, ``None`` if it does not say.
        open_orders: Orders that rest, of all programs.
        positions: All shares on record.
    """

    cash: Decimal
    is_closed_only: bool
    region: Region | None
    open_orders: int
    positions: tuple[RecordedPosition, ...]

    @property
    def redeemable(self) -> Decimal:
        """USD that resolved markets pay and that nobody has redeemed."""
        return sum((value(item) for item in self.positions if item.is_redeemable), ZERO)

    def describe(self) -> str:
        """Return the report as one line of text."""
        alive = sum(1 for item in self.positions if not item.is_redeemable and item.size > ZERO)
        closed = ", may only reduce" if self.is_closed_only else ""
        if self.region is not None and self.region.is_blocked:
            closed += f", orders from {self.region.country} are refused"
        return (
            f"{self.cash:f} USD, {self.open_orders} open orders, {alive} positions in open markets, "
            f"{self.redeemable:f} USD to redeem{closed}"
        )


@frozen(kw_only=True)
class ProfitCheck:
    """A cycle's profit beside what the records show.

    Attributes:
        ours: USD by the ledger.
        recorded: USD that moved, by the records.
        unredeemed: USD that the market still pays for shares that are on record.
    """

    ours: Decimal
    recorded: Decimal
    unredeemed: Decimal

    @property
    def difference(self) -> Decimal:
        """USD that the records have beyond the ledger."""
        return self.recorded + self.unredeemed - self.ours

    @property
    def agrees(self) -> bool:
        """Whether they are the same, but for rounding."""
        return abs(self.difference) <= TOLERANCE


def value(position: RecordedPosition) -> Decimal:
    """Return what a position is worth in USD, 0 where no price is told."""
    return position.size * (position.current_price or ZERO)


async def look_at_account(exchange: PolymarketExchange) -> AccountReport:
    """Return what the account looks like, for a look before the start.

    Raises:
        ConfigError: The exchange has no credentials.
        ExchangeError: The venue did not answer.
    """
    positions = await exchange.data_api.positions()
    return AccountReport(
        cash=await exchange.fetch_balance(),
        is_closed_only=await exchange.is_closed_only(),
        region=await exchange.fetch_region(),
        open_orders=len(await exchange.fetch_open_orders()),
        positions=tuple(positions),
    )


async def check_profit(records: DataClient, condition_id: str, profit: Decimal) -> ProfitCheck:
    """Compare a cycle's profit with the records, a while after the market was resolved.

    Args:
        records: The account's, ``exchange.data_api``.
        condition_id: The market.
        profit: USD by the ledger.

    Raises:
        ExchangeError: The venue did not answer.
    """
    activity = await records.activity([condition_id])
    positions = await records.positions([condition_id])
    return ProfitCheck(
        ours=profit,
        recorded=recorded_profit(activity, condition_id),
        unredeemed=sum((value(item) for item in positions if item.is_redeemable), ZERO),
    )
