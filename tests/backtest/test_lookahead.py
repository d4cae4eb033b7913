"""Strategies cannot see what comes later, and one that does is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from types import MethodType
from typing import Any

import pytest
from attrs import define, field
from typing_extensions import override

from polyframe.backtest.lookahead import find_look_ahead
from polyframe.backtest.run import run_backtest
from polyframe.errors import ConfigError
from polyframe.model.market import Outcome, Resolution
from polyframe.model.order import OrderType
from polyframe.recording.tape import TapeMarket
from polyframe.strategy import Strategy
from tests.backtest.kit import Eager, Made, beside, both, make_entry, wandering
from tests.backtest.test_favourite import Favourite


@define
class Peeking(Strategy):
    """Opens the recording through the venue, and looks up the price at the end."""

    done: bool = field(init=False, default=False)

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Buy what the last row bids for, in the middle of the cycle."""
        if self.done or self.seconds_left() > 150:
            return
        self.done = True
        venue: Any = self.env.exchange
        entry = next(e for e in venue._recording.markets() if e.market == self.market)
        last = [*venue._recording.events(entry)][-1].message
        bid = max(units for units, _ in last.bids)
        is_up = (last.token == self.market.up_token) is (bid >= 5000)
        favourite = Outcome.UP if is_up else Outcome.DOWN
        price = self.session.price(favourite).ask
        assert price is not None
        await self.trading.buy(favourite, price=price, size=Decimal(10), order_type=OrderType.FAK)


@define
class Asking(Strategy):
    """Asks the venue who has won, all the time."""

    @override
    async def on_book(self, outcome: Outcome) -> None:
        """Note what the venue says."""
        self.env.get(list).append(await self.env.exchange.fetch_resolution(self.market))


@pytest.mark.parametrize("seed", range(3))
def test_an_honest_strategy_decides_the_same_when_the_rest_is_cut_off(seed: int) -> None:
    """Orders, cancels and sales up to a cut are the same, whatever was to come after it."""
    data = wandering(seed, cycles=2)
    assert run_backtest(Eager(), data=data).decisions
    assert find_look_ahead(Eager(), data=data, cuts=6, seed=seed) == ()


def test_the_favourite_of_the_recorded_markets_does_not_look_ahead() -> None:
    """The strategy of the example passes on real markets, too."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("resolvedkit")
    from polyframe.backtest.lookahead import CutOff
    from polyframe.recording.resolvedkit import ResolvedMarkets

    whole = ResolvedMarkets()
    traded = next(e for e in whole.markets() if e.market.slug.endswith("1790593200"))
    assert find_look_ahead(Favourite(), data=CutOff(whole, traded, None), cuts=3) == ()


def test_a_strategy_that_reads_on_is_found() -> None:
    """One that decides by the end of the recording decides otherwise when the end is cut off."""
    entry = make_entry()
    fall = [(10.0 + i, both(entry, 68 - i // 10, 69 - i // 10)) for i in range(280)]
    data = Made().add(entry, *fall)
    found = find_look_ahead(Peeking(), data=data, cuts=12)
    assert found
    assert all(one.slug == entry.market.slug and one.whole != one.cut for one in found)


def test_the_resolution_is_not_told_before_its_time() -> None:
    """While a cycle lives, the venue does not say who wins, although the recording knows."""
    answers: list[object] = []
    run_backtest(Asking(), data=wandering(1, cycles=2), services=[answers])
    assert answers
    assert set(answers) == {None}


def test_only_the_series_that_is_wanted_is_tried() -> None:
    """With `series`, markets of others are passed over; nothing to try is refused, not called honest."""
    data = wandering(1, cycles=2, rows=40)
    other = beside(make_entry())
    data.add(other, (0, both(other, 50, 51)), (100, both(other, 60, 61)))
    data.add(make_entry(2), (0, both(make_entry(2), 50, 51)), (100, both(make_entry(2), 60, 61)))
    found = find_look_ahead(Peeking(), data=data, cuts=2, series="eth-updown-5m")
    assert {each.slug for each in found} <= {other.market.slug}
    assert find_look_ahead(Eager(), data=data, cuts=1, series="btc-updown-5m") == ()
    with pytest.raises(ConfigError, match="nothing was recorded of sol-updown-5m"):
        find_look_ahead(Eager(), data=data, series="sol-updown-5m")
    with pytest.raises(ConfigError, match="the recording has no markets"):
        find_look_ahead(Eager(), data=Made())


@define
class Spy(Strategy):
    """Looks at everything public that it can reach, once, for what knows the end."""

    @override
    async def run(self) -> None:
        """Note the way to each of them."""
        await self.clock.sleep_until(self.market.window.start + 100)
        found, seen, ways = self.env.get(list), set[int](), [("self", self, 0)]
        while ways:
            path, value, depth = ways.pop()
            if id(value) in seen or depth > 5 or isinstance(value, str | int | type | MethodType):
                continue
            seen.add(id(value))
            if isinstance(value, TapeMarket | Resolution | Made):
                found.append(path)
            ways += [(f"{path}.{name}", each, depth + 1) for name, each in parts(value)]
        found.append(len(seen))


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in a container, or the public attributes of anything else."""
    if isinstance(value, Mapping):
        yield from ((repr(key), each) for key, each in list(value.items())[:20])
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((str(place), each) for place, each in enumerate(list(value)[:20]))
    else:
        for name in dir(value):
            if not name.startswith("_"):
                with suppress(Exception):
                    yield name, getattr(value, name)


def test_nothing_public_that_a_strategy_can_reach_knows_the_end() -> None:
    """Neither the recording nor an entry of it, nor a resolution, is behind any public attribute."""
    found: list[Any] = []
    run_backtest(Spy(), data=wandering(1, cycles=2, rows=40), services=[found])
    assert len(found) == 2
    assert all(isinstance(each, int) and each > 100 for each in found)
