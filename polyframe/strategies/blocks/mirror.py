"""Both displays of one book: what a share really costs, and which display is behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from attrs import frozen

from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ONE


def mirrored(price: Decimal) -> Decimal:
    """Return the price of the other outcome that is the same trade.

    Who buys Up at 0.62 and who sells Down at 0.38 are in the same place of the same book
    (PROTOCOL §2.2).
    """
    return ONE - price


@frozen
class Mirror:
    """The tops of both displays, which show one book.

    An ask of 0.62 for Up *is* a bid of 0.38 for Down. Each price is therefore shown twice, and the
    two agree as soon as both messages have arrived. Where they do not, one display is behind, and
    nobody can tell which from the prices alone: `ask` and `bid` return the worse of the two, which is
    what one can count on, and `gap` how far they are apart.

    Attributes:
        quotes: The latest top of each outcome.
    """

    quotes: Mapping[Outcome, PriceChanged]

    @classmethod
    def of(cls, price: Callable[[Outcome], PriceChanged]) -> Mirror:
        """Return both displays of now.

        Args:
            price: Where to read a top, for example ``self.trading.price``.
        """
        return cls({outcome: price(outcome) for outcome in Outcome})

    def ask(self, outcome: Outcome) -> Decimal | None:
        """Return the USD for which a share can be bought by both displays, ``None`` if unknown."""
        own, across = self.quotes[outcome].ask, self.quotes[outcome.other].bid
        return None if own is None or across is None else max(own, mirrored(across))

    def bid(self, outcome: Outcome) -> Decimal | None:
        """Return the USD for which a share can be sold by both displays, ``None`` if unknown."""
        own, across = self.quotes[outcome].bid, self.quotes[outcome.other].ask
        return None if own is None or across is None else min(own, mirrored(across))

    @property
    def gap(self) -> Decimal | None:
        """The most by which the displays differ in USD, 0 if they agree, ``None`` if unknown."""
        up, down = (self.quotes[outcome] for outcome in Outcome)
        if up.bid is None or up.ask is None or down.bid is None or down.ask is None:
            return None
        return max(abs(up.ask - mirrored(down.bid)), abs(up.bid - mirrored(down.ask)))
