"""The matching of one market: the source's liquidity and the account's own orders in one book.

Pure: no I/O, no clock. Everything is in terms of the Up share, prices in units of 1e-4 USD and
sizes in base units of 1e-6 shares.

**Taking.** An incoming order walks the opposite side best price first, and each match is made at
the maker's price: improvement goes to the taker. Within a price, own orders stand in the queue
behind the shares that were displayed when they arrived. What is taken from the source stays taken
until the source itself shows another size at that price: one displayed share is never sold twice.

**Resting.** An own order stands behind the size displayed at its price (its *queue*). The queue
gets shorter when a taker or a trade print eats into it, and it never exceeds what is still
displayed there. It does not get shorter for cancels of others unless the display forces it. An own
order is filled

* when the source's opposite side comes to its price or through it: by at most the displayed size
  that crosses, which is then gone;
* when a trade print of the source goes through its price, or reaches its price with more size than
  the queue has: by at most the size of the print.

Both fill at the order's own limit price. One print or one displayed size is shared among own orders
by price, then by time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, frozen

from polyframe.model.money import PRICE_UNITS


@define(eq=False)
class Resting:
    """An own order in the book.

    Attributes:
        order_id: Its id.
        is_bid: Whether it bids for Up.
        price: Limit in price units.
        remaining: Base units still open.
        ahead: Base units of the source that stand before it at its price.
    """

    order_id: str
    is_bid: bool
    price: int
    remaining: int
    ahead: int = 0


@frozen
class Match:
    """One step of a taker's walk.

    Attributes:
        price: Price units, the maker's.
        size: Base units.
        maker: Id of the own order that was hit, ``None`` for the source's liquidity.
    """

    price: int
    size: int
    maker: str | None


@frozen
class MakerFill:
    """A fill of an own resting order by the source.

    Attributes:
        order_id: The order.
        price: Price units, its limit.
        size: Base units.
    """

    order_id: str
    price: int
    size: int


class _Side:
    """One side of the book. `sign` makes the best price the largest key on both sides."""

    def __init__(self, *, is_bid: bool) -> None:
        self.is_bid = is_bid
        self.sign = 1 if is_bid else -1
        self.source: Mapping[int, int] = {}
        self.eaten: dict[int, int] = {}
        self.own: list[Resting] = []
        """By price, best first; within a price by time."""

    def shown(self, price: int) -> int:
        """Size of the source that is still there at `price`."""
        return self.source.get(price, 0) - self.eaten.get(price, 0)

    def replace(self, levels: Mapping[int, int]) -> None:
        """Take a new picture; a level with another size than before is whole again."""
        old = self.source
        for price in [p for p in self.eaten if levels.get(p, 0) != old.get(p, 0)]:
            del self.eaten[price]
        self.source = levels
        for order in self.own:
            order.ahead = min(order.ahead, self.shown(order.price))

    def add(self, order: Resting) -> None:
        key = self.sign * order.price
        place = next(
            (i for i, other in enumerate(self.own) if self.sign * other.price < key), len(self.own)
        )
        self.own.insert(place, order)

    def display(self) -> dict[int, int]:
        """Sizes by price, own orders included."""
        eaten = self.eaten
        if eaten:
            levels = {p: s - eaten.get(p, 0) for p, s in self.source.items()}
            levels = {p: s for p, s in levels.items() if s > 0}
        else:
            levels = dict(self.source)
        for order in self.own:
            levels[order.price] = levels.get(order.price, 0) + order.remaining
        return levels

    def reaching(self, limit: int) -> list[int]:
        """Prices of the side that a taker with `limit` can have, best first."""
        bound = self.sign * limit
        prices = {p for p in self.source if self.sign * p >= bound and self.shown(p) > 0}
        prices.update(order.price for order in self.own if self.sign * order.price >= bound)
        return sorted(prices, reverse=self.is_bid)

    def eat(self, price: int, size: int) -> None:
        """Take `size` of the source's shares at `price`; queues there get shorter by it."""
        self.eaten[price] = self.eaten.get(price, 0) + size
        for order in self.own:
            if order.price == price:
                order.ahead = max(order.ahead - size, 0)

    def fill(self, order: Resting, size: int) -> None:
        order.remaining -= size
        if order.remaining == 0:
            self.own.remove(order)


class MatchingBook:
    """One market's book. See the module for the rules."""

    def __init__(self) -> None:
        self._bids = _Side(is_bid=True)
        self._asks = _Side(is_bid=False)
        self._orders: dict[str, Resting] = {}

    def bids(self) -> dict[int, int]:
        """Return the displayed bids, own orders included: base units by price units."""
        return self._bids.display()

    def asks(self) -> dict[int, int]:
        """Return the displayed asks likewise."""
        return self._asks.display()

    def best_bid(self) -> int:
        """Return the best displayed bid in price units, 0 if there is none."""
        return max(self._bids.display(), default=0)

    def best_ask(self) -> int:
        """Return the best displayed ask in price units, 10,000 if there is none."""
        return min(self._asks.display(), default=PRICE_UNITS)

    def resting(self, order_id: str) -> Resting | None:
        """Return the own order as it rests, ``None`` if it does not."""
        return self._orders.get(order_id)

    # ------------------------------------------------------------------ the source

    def apply(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> list[MakerFill]:
        """Replace the source's liquidity and return the fills of own orders that it crosses.

        Raises:
            ValueError: The new book is itself crossed or locked.
        """
        if bids and asks and max(bids) >= min(asks):
            msg = f"bids: best bid {max(bids)} must be below the best ask {min(asks)}"
            raise ValueError(msg)
        self._bids.replace(bids)
        self._asks.replace(asks)
        return [*self._cross(self._bids, self._asks), *self._cross(self._asks, self._bids)]

    def _cross(self, side: _Side, against: _Side) -> Iterator[MakerFill]:
        for order in list(side.own):
            filled = 0
            for price in against.reaching(order.price):
                size = min(order.remaining, against.shown(price))
                if size:
                    against.eat(price, size)
                    self._fill(side, order, size)
                    filled += size
                if not order.remaining:
                    break
            # All of it is at the order's own price, and no trade names an order twice.
            if filled:
                yield MakerFill(order.order_id, order.price, filled)

    def on_print(self, *, is_buy: bool, price: int, size: int) -> list[MakerFill]:
        """Return the fills of own orders that a trade between others reaches."""
        side = self._asks if is_buy else self._bids
        left = size
        fills = []
        for order in list(side.own):
            distance = side.sign * (order.price - price)
            if distance < 0 or left == 0:
                break
            reached = left if distance > 0 else max(left - order.ahead, 0)
            if distance == 0:
                order.ahead = max(order.ahead - left, 0)
            part = min(reached, order.remaining)
            if part:
                left -= part
                self._fill(side, order, part)
                fills.append(MakerFill(order.order_id, order.price, part))
        return fills

    # ------------------------------------------------------------------ own orders

    def plan(self, *, is_bid: bool, limit: int, size: int) -> list[Match]:
        """Return what an incoming order would match, best price first; changes nothing."""
        against = self._asks if is_bid else self._bids
        left = size
        matches = []
        for price in against.reaching(limit):
            for match in _level(against, price, left):
                matches.append(match)
                left -= match.size
            if left == 0:
                break
        return matches

    def execute(self, matches: list[Match], *, is_bid: bool) -> None:
        """Carry out a plan that was just made: the book must not have changed since."""
        against = self._asks if is_bid else self._bids
        for match in matches:
            if match.maker is None:
                against.eat(match.price, match.size)
            else:
                self._fill(against, self._orders[match.maker], match.size)

    def rest(self, order_id: str, *, is_bid: bool, price: int, size: int) -> None:
        """Add an own order behind the displayed size at its price.

        Raises:
            ValueError: It would cross; take first.
        """
        side, against = (self._bids, self._asks) if is_bid else (self._asks, self._bids)
        if against.reaching(price):
            msg = f"price: an order at {price} crosses the book, take before it rests"
            raise ValueError(msg)
        order = Resting(order_id, is_bid, price, size, side.shown(price))
        self._orders[order_id] = order
        side.add(order)

    def cancel(self, order_id: str) -> int | None:
        """Remove an own order; return the base units that were open, ``None`` if it rests not."""
        order = self._orders.pop(order_id, None)
        if order is None:
            return None
        (self._bids if order.is_bid else self._asks).own.remove(order)
        return order.remaining

    def force(self, order_id: str, size: int | None = None) -> MakerFill | None:
        """Fill an own order out of turn: `size` base units, or all; ``None`` if it rests not."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        part = order.remaining if size is None else min(size, order.remaining)
        self._fill(self._bids if order.is_bid else self._asks, order, part)
        return MakerFill(order_id, order.price, part)

    def _fill(self, side: _Side, order: Resting, size: int) -> None:
        side.fill(order, size)
        if order.remaining == 0:
            del self._orders[order.order_id]


def _level(side: _Side, price: int, size: int) -> Iterator[Match]:
    """Yield what `size` matches at one price: source and own orders in the order of the queue."""
    left = size
    source = side.shown(price)
    eaten = 0
    for order in side.own:
        if order.price != price:
            continue
        before = min(left, max(order.ahead - eaten, 0))
        if before:
            yield Match(price, before, None)
            eaten += before
            left -= before
        part = min(left, order.remaining)
        if part:
            yield Match(price, part, order.order_id)
            left -= part
    rest = min(left, source - eaten)
    if rest:
        yield Match(price, rest, None)
