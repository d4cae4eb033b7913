"""A market of single orders with first-in-first-out queues: what would really have been filled.

Only bids and those who sell into them: that is all that a resting bid meets. The public feed of it
(total sizes, and prints that come `lag_ms` after the change of the book) is all that a model may see.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator

from attrs import define, field, frozen

SHARE = 1_000_000
PROBE = 50 * SHARE


@frozen
class Setting:
    """How busy the market is.

    Attributes:
        joins, sells: New bids and sells into them, a second.
        life: Mean seconds until a bid is cancelled; each of them is as likely to be the next.
        sell_size: Mean shares of what sells into the bids.
        seconds: How long a probe rests.
    """

    joins: float
    life: float
    sells: float
    sell_size: float
    seconds: float


CALM = Setting(joins=1.0, life=30, sells=0.3, sell_size=30, seconds=26)
BUSY = Setting(joins=2.0, life=10, sells=0.8, sell_size=40, seconds=12)


@frozen
class Shown:
    """The total size at a price is another."""

    at_ms: int
    price: int
    size: int


@frozen
class Sold:
    """Somebody sold into the bids at a price."""

    at_ms: int
    price: int
    size: int


@define(eq=False)
class _Resting:
    price: int
    left: int
    number: int


@define(eq=False)
class Probe:
    """A virtual bid: it takes nothing from anybody, and is told what it would have got.

    Attributes:
        price: Its price, the best bid when it joined.
        at_ms, until_ms: When it joins and leaves.
        ahead: What stood before it.
        number: Orders with a smaller number stand before it.
        filled: What it really would have got.
    """

    price: int
    at_ms: int
    until_ms: int
    ahead: int
    number: int
    filled: int = 0


@define(eq=False)
class OrderLevelMarket:
    """The generator."""

    setting: Setting
    lag_ms: int
    rng: random.Random
    feed: list[Shown | Sold] = field(factory=list)
    probes: list[Probe] = field(factory=list)
    _orders: list[_Resting] = field(factory=list)
    _number: int = 0
    _now: float = 0.0

    def run(self, probes: int) -> None:
        """Let the market live until `probes` probes have come and gone, one after another."""
        for price in range(4700, 5000, 100):
            for _ in range(12):
                self._join(price)
        setting, rng = self.setting, self.rng
        due: Probe | None = None
        gap_until = 0.0
        while True:
            cancels = len(self._orders) / setting.life
            total = setting.joins + cancels + setting.sells
            self._now += rng.expovariate(total) * 1000
            if due is not None and self._now > due.until_ms:
                due, gap_until = None, self._now + 2000
                if len(self.probes) == probes:
                    break
            if due is None and self._now >= gap_until and self._best():
                due = self._probe()
            which = rng.random() * total
            if which < setting.joins:
                self._join(self._new_price())
            elif which < setting.joins + cancels:
                self._cancel()
            else:
                self._sell()
        # Later prints keep the order in which things happened.
        self.feed.sort(key=lambda event: event.at_ms)

    def _best(self) -> int:
        return max((order.price for order in self._orders), default=0)

    def _new_price(self) -> int:
        best = self._best() or 4900
        chance = self.rng.random()
        if chance < 0.02 and best < 5200:
            return best + 100
        return best if chance < 0.75 else max(best - 100, 100)

    def _join(self, price: int) -> None:
        self._number += 1
        size = self.rng.randint(5, 60) * SHARE
        self._orders.append(_Resting(price, size, self._number))
        self._show(price)

    def _cancel(self) -> None:
        if self._orders:
            gone = self._orders.pop(self.rng.randrange(len(self._orders)))
            self._show(gone.price)

    def _sell(self) -> None:
        left = max(round(self.rng.expovariate(1 / self.setting.sell_size)), 1) * SHARE
        virtual = [probe for probe in self.probes if probe.at_ms <= self._now <= probe.until_ms]
        before = {id(probe): left for probe in virtual}
        while left and (price := self._best()):
            level = sorted((o for o in self._orders if o.price == price), key=lambda o: o.number)
            met = 0
            for order in level:
                part = min(order.left, left - met)
                order.left -= part
                met += part
                for probe in virtual:
                    first = (-order.price, order.number) < (-probe.price, probe.number)
                    if first:
                        before[id(probe)] -= part
            self._orders = [order for order in self._orders if order.left]
            left -= met
            self._show(price)
            self.feed.append(Sold(round(self._now) + self.lag_ms, price, met))
        for probe in virtual:
            reached = before[id(probe)] - left  # nobody to sell to is no trade
            probe.filled += min(max(reached, 0), PROBE - probe.filled)

    def _show(self, price: int) -> None:
        size = sum(order.left for order in self._orders if order.price == price)
        self.feed.append(Shown(round(self._now), price, size))

    def _probe(self) -> Probe:
        price, now = self._best(), round(self._now)
        ahead = sum(order.left for order in self._orders if order.price == price)
        probe = Probe(price, now, now + round(self.setting.seconds * 1000), ahead, self._number + 1)
        self._number += 1
        self.probes.append(probe)
        return probe

    def seen_by(self, probe: Probe) -> Iterator[Shown | Sold]:
        """Yield what the feed says while `probe` rests."""
        start = bisect_left(self.feed, probe.at_ms, key=lambda event: event.at_ms)
        for number in range(start, len(self.feed)):
            if self.feed[number].at_ms > probe.until_ms:
                return
            yield self.feed[number]
