"""Pairs of Up and Down: what they cost, how many are possible, and what is missing for them.

With an Up for every Down a market pays 1 USD a pair, whoever wins. Everything here is exact and knows
nothing of time; nothing here enlarges an order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from math import gcd

from attrs import frozen

from polyframe.model.events import PriceChanged
from polyframe.model.fees import FeeSchedule
from polyframe.model.grid import SIZE_STEP, Grid
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, Side

# ---------------------------------------------------------------------------------- costs


def pair_cost(
    prices: Mapping[Outcome, Decimal],
    size: Decimal,
    fees: FeeSchedule,
    takers: Collection[Outcome] = tuple(Outcome),
) -> Decimal:
    """Return what `size` pairs cost in USD, fees included. They pay `size` USD.

    Args:
        prices: USD per share of each outcome.
        size: Pairs.
        fees: The market's fees.
        takers: The outcomes that are bought as a taker; makers pay no fee (PROTOCOL §2.9).
    """
    cost = size * sum(prices.values(), ZERO)
    return cost + sum((fees.taker_fee(size, prices[outcome]) for outcome in takers), ZERO)


def taker_cost(price: Decimal, fees: FeeSchedule) -> Decimal:
    """Return what one share costs a taker in USD: the price and the fee, not rounded."""
    return price + fees.rate * (price * (ONE - price)) ** fees.exponent


def highest_taker_price(budget: Decimal, tick: Decimal, fees: FeeSchedule) -> Decimal | None:
    """Return the highest price of the grid that costs a taker at most `budget` a share.

    ``None`` if there is none. Whatever is found at this limit or better costs no more: a taker's cost
    rises with the price.
    """
    grid = Grid(tick)
    if taker_cost(grid.lowest, fees) > budget:
        return None
    low, high = 1, int(grid.highest / tick)
    while low < high:
        middle = (low + high + 1) // 2
        if taker_cost(middle * tick, fees) <= budget:
            low = middle
        else:
            high = middle - 1
    return low * tick


# ---------------------------------------------------------------------------------- sizes


@frozen
class PairSize:
    """How many pairs can be ordered.

    Attributes:
        size: Shares of each leg, at most what was wanted; 0 if none are possible.
        least: The smallest size that the rules of the market allow, whatever was wanted: for a
            caller who would rather take more than nothing.
        reason: What stood against the wanted size, ``""`` if nothing did: ``"min_size"``,
            ``"min_notional"``, ``"cents"``, ``"cash"`` or ``"size"`` (finer than 0.01 shares).
    """

    size: Decimal
    least: Decimal
    reason: str = ""


def pair_size(
    wanted: Decimal,
    prices: Mapping[Outcome, Decimal],
    market: Market,
    *,
    cash: Decimal | None = None,
    takes: Collection[Outcome] = (),
    whole_cents: Collection[Outcome] = (),
) -> PairSize:
    """Return the largest equal size of both legs, up to `wanted`, that the market takes (PROTOCOL §2.8).

    A pair whose legs differ in size is partly a bet. So there is one size for both, and it is never
    more than what was wanted.

    Args:
        wanted: Pairs.
        prices: Limit of each leg in USD.
        market: Its smallest size, smallest notional and fees.
        cash: USD to spend at most, worst fees included; ``None`` for no bound.
        takes: Legs that take: each has to cost the smallest notional, and pays fees.
        whole_cents: Legs that are FAK or FOK: such a buy spends whole cents.
    """
    step = SIZE_STEP
    for outcome in whole_cents:
        step = _common(step, cents_step(prices[outcome]))
    least = _up_to(market.min_size, step)
    for outcome in takes:
        least = max(least, _up_to(market.min_notional / prices[outcome], step))
    if wanted < market.min_size:
        return PairSize(ZERO, least, "min_size")
    if any(wanted * prices[outcome] < market.min_notional for outcome in takes):
        return PairSize(ZERO, least, "min_notional")
    size, reason = wanted // step * step, ""
    if size != wanted:
        reason = "size" if wanted % SIZE_STEP else "cents"
    if cash is not None:
        each = sum(
            (
                taker_cost(price, market.fees) if outcome in takes else price
                for outcome, price in prices.items()
            ),
            ZERO,
        )
        affordable = max(cash - _FEE_ROUNDING * len(takes), ZERO) / each // step * step
        if affordable < size:
            size, reason = affordable, "cash"
    return PairSize(size if size >= least else ZERO, least, reason)


_FEE_ROUNDING = Decimal("0.00001")
"""The venue rounds the fee of each fill to five decimals."""


def cents_step(price: Decimal) -> Decimal:
    """Return the step of sizes at which `price` times size is whole cents.

    At 0.35 that is 0.2 shares, at 0.33 it is 1, at 0.333 it is 10: a buy that does not rest spends a
    sum of USD, and sums have two decimals.
    """
    units = int(price * 10_000)
    # A size of n hundredths costs units × n millionths: whole cents are multiples of 10,000.
    return SIZE_STEP * (10_000 // gcd(units, 10_000))


def _common(one: Decimal, other: Decimal) -> Decimal:
    """Return the least common multiple of two steps of sizes."""
    a, b = int(one / SIZE_STEP), int(other / SIZE_STEP)
    return SIZE_STEP * (a * b // gcd(a, b))


def _up_to(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_CEILING) * step


# ---------------------------------------------------------------------------------- what is there


@frozen
class Unpaired:
    """Shares without a share of the other outcome against them.

    Attributes:
        outcome: Whose; Up if there are none.
        size: How many.
        is_dust: Whether they are fewer than the smallest order: they can neither be completed nor
            sold, unless somebody takes more than is missing.
    """

    outcome: Outcome
    size: Decimal
    is_dust: bool

    @property
    def missing(self) -> Outcome:
        """The outcome of which as many would complete the pairs."""
        return self.outcome.other


def unpaired(held: Mapping[Outcome, Decimal], market: Market) -> Unpaired:
    """Return what is held of one outcome beyond what is held of the other."""
    difference = held[Outcome.UP] - held[Outcome.DOWN]
    outcome = Outcome.UP if difference >= 0 else Outcome.DOWN
    size = abs(difference)
    return Unpaired(outcome, size, size < market.min_size)


@frozen
class Tally:
    """What orders have come to: shares and money.

    Attributes:
        held: Shares bought less shares sold, by outcome.
        paid: USD paid for them less USD received, fees included.
    """

    held: Mapping[Outcome, Decimal]
    paid: Decimal

    @classmethod
    def of(cls, orders: Iterable[Order]) -> Tally:
        """Add up the fills of orders."""
        held, paid = dict.fromkeys(Outcome, ZERO), ZERO
        for order in orders:
            sign = 1 if order.side is Side.BUY else -1
            held[order.outcome] += sign * order.filled
            paid += sign * order.filled * (order.average_price or ZERO) + order.fees
        return cls(held, paid)

    def budget(self, target: Decimal) -> Decimal:
        """Return what a missing share may cost, fee included, so that each pair leaves `target` USD.

        With all of them the plan has as many pairs as it holds shares of the fuller side, and they pay
        1 USD each.
        """
        pairs, missing = max(self.held.values()), abs(self._difference)
        return ((ONE - target) * pairs - self.paid) / missing

    def unit_cost(self) -> Decimal:
        """Return what a share of the excess cost in USD, if the pairs beside it are worth 1 each."""
        return (self.paid - min(self.held.values())) / abs(self._difference)

    @property
    def _difference(self) -> Decimal:
        return self.held[Outcome.UP] - self.held[Outcome.DOWN]


# ---------------------------------------------------------------------------------- completing


@frozen
class Bid:
    """A price to buy at.

    Attributes:
        price: USD per share.
        post_only: Whether the order may only rest. It costs no fee then, so it may bid higher.
    """

    price: Decimal
    post_only: bool


def completing_bid(
    budget: Decimal, size: Decimal, quote: PriceChanged, *, tick: Decimal, market: Market
) -> Bid | None:
    """Return how to buy the missing shares for at most `budget` USD each, fee included.

    If the ask is cheap enough to be taken with its fee, and dear enough for the smallest notional, the
    bid takes. Otherwise it rests, without a fee, as high as the budget and the ask allow. ``None`` if
    no price is low enough.

    Args:
        budget: USD per share.
        size: Missing shares.
        quote: Top of the missing outcome's book.
        tick: The price step of now.
        market: Its fees and smallest notional.
    """
    grid, ask = Grid(tick), quote.ask
    limit = highest_taker_price(budget, tick, market.fees)
    if ask is not None and limit is not None and market.min_notional / size <= ask <= limit:
        return Bid(limit, post_only=False)
    highest = budget if ask is None else min(budget, ask - tick)
    if highest < tick:
        return None
    return Bid(grid.floor_price(highest), post_only=True)


def pair_bids(
    best: Mapping[Outcome, Decimal | None], target: Decimal, tick: Decimal
) -> dict[Outcome, Decimal] | None:
    """Return a resting bid for each outcome that together leave `target` USD a pair.

    Both best bids are joined, which leaves the spread. If that is less than `target`, the dearer bid is
    lowered first, then both in turn, tick by tick.

    Args:
        best: Best bid of each outcome in USD, ``None`` where it is unknown.
        target: USD that a pair of resting bids has to leave.
        tick: The price step of now.

    Returns:
        A price for each, ``None`` if a best bid is unknown or no price is low enough.
    """
    up, down = (best[outcome] for outcome in Outcome)
    if up is None or down is None:
        return None
    bids = {Outcome.UP: up // tick * tick, Outcome.DOWN: down // tick * tick}
    while sum(bids.values()) > ONE - target:
        dearer = max(Outcome, key=bids.__getitem__)
        bids[dearer] -= tick
    return bids if min(bids.values()) >= tick else None
