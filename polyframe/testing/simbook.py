"""The matching of one simulated market: a crowd's liquidity and the account's orders in one book.

Pure: no I/O, no clock, no chance. Everything is in terms of the Up share, prices in units of 1e-4
USD and sizes in hundredths of a share. At one price the crowd stands before the account's orders,
and these in the order of their arrival. Every match is made at the maker's price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, frozen


@define(eq=False)
class RestingOrder:
    """An order of the account in the book; `open` is what may still fill."""

    order_id: str
    is_bid: bool
    price: int
    open: int


@frozen
class Match:
    """One step of a taker's walk; `maker` is ``None`` for the crowd."""

    price: int
    size: int
    maker: str | None


class SimBook:
    """One market's book."""

    def __init__(self) -> None:
        self._crowd: dict[bool, dict[int, int]] = {True: {}, False: {}}
        self._own: dict[str, RestingOrder] = {}

    # ------------------------------------------------------------------ reading

    def display(self, *, is_bid: bool) -> dict[int, int]:
        """Return what one side shows, the account's orders included: sizes by price."""
        levels = dict(self._crowd[is_bid])
        for order in self._own.values():
            if order.is_bid is is_bid:
                levels[order.price] = levels.get(order.price, 0) + order.open
        return levels

    def resting(self, order_id: str) -> RestingOrder | None:
        """Return an order of the account, ``None`` if it does not rest."""
        return self._own.get(order_id)

    def plan(self, *, is_bid: bool, limit: int, size: int) -> list[Match]:
        """Return what an incoming order would match, best price first; changes nothing."""
        crowd = self._crowd[not is_bid]
        makers = [order for order in self._own.values() if order.is_bid is not is_bid]
        prices = {*crowd, *(order.price for order in makers)}
        matches: list[Match] = []
        for price in sorted(prices, reverse=not is_bid):
            if size == 0 or (price > limit if is_bid else price < limit):
                break
            offers: list[tuple[int, str | None]] = [(crowd.get(price, 0), None)]
            offers += [(order.open, order.order_id) for order in makers if order.price == price]
            for there, maker in offers:
                part = min(size, there)
                if part:
                    matches.append(Match(price, part, maker))
                    size -= part
        return matches

    # ------------------------------------------------------------------ changing

    def carry_out(self, matches: Iterable[Match], *, is_bid: bool) -> None:
        """Take what was just planned: the book must not have changed since."""
        for match in matches:
            if match.maker is None:
                self._eat(not is_bid, match.price, match.size)
            else:
                self.fill(match.maker, match.size)

    def rest(self, order_id: str, *, is_bid: bool, price: int, size: int) -> None:
        """Add an order of the account; what it crosses is taken before."""
        self._own[order_id] = RestingOrder(order_id, is_bid, price, size)

    def cancel(self, order_id: str) -> bool:
        """Remove an order of the account; say whether it rested."""
        return self._own.pop(order_id, None) is not None

    def fill(self, order_id: str, size: int) -> None:
        """Fill a resting order of the account by `size`.

        Raises:
            KeyError: It does not rest.
            ValueError: Less of it is open.
        """
        order = self._own[order_id]
        if size > order.open:
            msg = f"size: order {order_id} has {order.open} open, cannot fill {size}"
            raise ValueError(msg)
        order.open -= size
        if not order.open:
            del self._own[order_id]

    def move(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> list[Match]:
        """Replace the crowd; return the account's orders that it fills, each at its own price."""
        self._crowd = {True: dict(bids), False: dict(asks)}
        fills: list[Match] = []
        for order in list(self._own.values()):
            against = self._crowd[not order.is_bid]
            for price in sorted(against, reverse=not order.is_bid):
                if price > order.price if order.is_bid else price < order.price:
                    break
                part = min(order.open, against[price])
                self._eat(not order.is_bid, price, part)
                self.fill(order.order_id, part)
                fills.append(Match(order.price, part, order.order_id))
                if not order.open:
                    break
        return fills

    def _eat(self, is_bid: bool, price: int, size: int) -> None:
        crowd = self._crowd[is_bid]
        crowd[price] -= size
        if not crowd[price]:
            del crowd[price]
