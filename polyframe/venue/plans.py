"""What an incoming order would do to the book: how much it takes, at which prices, for how much.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from math import gcd

from attrs import frozen

from polyframe.model.market import Outcome
from polyframe.model.money import PRICE_UNITS, ZERO
from polyframe.venue.intents import Intent
from polyframe.venue.live import LiveMarket
from polyframe.venue.matching import Match
from polyframe.venue.values import notional, own_price, size_shares, usd


@frozen
class Ticket:
    """An order that passed all checks, and what it would match right now.

    Attributes:
        intent: The order.
        live: Its market.
        outcome: What it trades.
        is_bid: Whether it bids for Up.
        up_price: Its limit in terms of Up.
        plan: What it would match.
        target: Base units at which it is complete.
    """

    intent: Intent
    live: LiveMarket
    outcome: Outcome
    is_bid: bool
    up_price: int
    plan: list[Match]
    target: int

    @property
    def matchable(self) -> int:
        """Base units that it would match."""
        return sum(match.size for match in self.plan)


def within(plan: list[Match], outcome: Outcome, intent: Intent) -> tuple[list[Match], int]:
    """Return as much of `plan` as the order's USD buy, and the size at which it is complete.

    It is complete when what is left buys nothing more. The last step is cut so that its cost is a
    whole number of base units: the exchange knows no smaller money.
    """
    left = intent.usd * PRICE_UNITS
    bought = []
    for match in plan:
        price = own_price(outcome, match.price)
        size = min(match.size, left // price)
        is_last = size < match.size
        if is_last:
            size -= size % _step(price)
        if size:
            left -= size * price
            bought.append(Match(match.price, size, match.maker))
        if is_last:
            left = 0
            break
    more = left // intent.price
    total = sum(match.size for match in bought)
    return bought, total + more - more % _step(intent.price)


def _step(price: int) -> int:
    """Return the smallest size whose cost at `price` is a whole number of base units."""
    return PRICE_UNITS // gcd(price, PRICE_UNITS)


def levels(plan: list[Match]) -> list[tuple[int, int]]:
    """Return the prices of a plan in terms of Up, and the size at each."""
    return [
        (price, sum(match.size for match in matches))
        for price, matches in groupby(plan, key=lambda match: match.price)
    ]


def buy_cost(ticket: Ticket, *, spends: bool) -> Decimal:
    """Return the most USD that a buy can cost, the taker's fee included (§2.9).

    Args:
        ticket: The buy.
        spends: Whether it is for a sum of USD, not for a number of shares.
    """
    intent = ticket.intent
    fees = ticket.live.market.market.fees
    cost, fee = ZERO, ZERO
    for up_price, size in levels(ticket.plan):
        price = own_price(ticket.outcome, up_price)
        cost += notional(price, size)
        fee += fees.taker_fee(size_shares(size), usd(price))
    if spends:
        return size_shares(intent.usd) + fee
    limit = notional(intent.price, intent.size)
    worst = fees.taker_fee(size_shares(ticket.matchable), usd(intent.price))
    # Fees are rounded for each level, which can add up to a little more than the above.
    exact = cost + fee + notional(intent.price, intent.size - ticket.matchable)
    return max(limit + worst, exact, size_shares(intent.usd))
