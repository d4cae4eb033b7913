"""Changes that wait until somebody looks at the book: nobody can tell the difference."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.events import BookDelta, BookSnapshot, LevelChange, TickSizeChange
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, Side
from polyframe.model.stretch import ASK_UP, Changes
from polyframe.paper.book import MICRO, PaperBook
from polyframe.paper.matching import PaperMarket
from polyframe.paper.models import ConstantLatency
from polyframe.paper.queues import CancelsBehind, Power2, ProRata, QueueModel, Touch
from polyframe.paper.values import PaperOrder
from tests.paper.kit import PROMPT, Desk, order
from tests.support.fake import make_market

Step = tuple[Any, ...]


def some_steps(chance: random.Random) -> list[Step]:
    """Return what may happen to a market whose price is about 0.50; prices in cents."""
    kinds = {"change": 60, "print": 8, "order": 10, "cancel": 2, "look": 4, "wait": 3, "book": 2}
    kinds |= {"foreign": 1, "gap": 1, "tick": 1}

    def step(kind: str) -> Step:
        is_bid, outcome = chance.random() < 0.5, chance.choice(list(Outcome))
        size = chance.choice([0, 0, 5, 20, 60])
        # What rests stands on its side of the book, but now and then something crosses it.
        cents = 50 + chance.choice([1, 1, 2, 3, 5, -1]) * (-1 if is_bid else 1)
        price = cents if outcome is Outcome.UP else 100 - cents
        if kind == "change":
            return kind, price, size, is_bid is (outcome is Outcome.UP), outcome
        if kind == "print":
            return kind, price, size, chance.choice([None, *Side]), outcome
        if kind == "order":
            side = Side.BUY if is_bid is (outcome is Outcome.UP) else Side.SELL
            way = chance.choice([OrderType.GTC, OrderType.GTC, OrderType.GTC, OrderType.FAK])
            return kind, price, side, way, outcome
        if kind == "book":
            return kind, *(dict.fromkeys(near, size) for near in ((48, 47), (51, 53)))
        numbers = {"cancel": chance.randint(1, 5), "wait": chance.choice([1, 400, 1_000, 40_000])}
        numbers |= {
            "look": cents,
            "tick": chance.choice([10, 100]),
            "foreign": chance.choice([0, 1]),
        }
        return kind, numbers.get(kind, 0)

    found = chance.choices(list(kinds), list(kinds.values()), k=150)
    return [step(kind) for kind in found]


def course(queue: QueueModel, latency: int, taken: list[Step]) -> list[object]:
    """Return all that a venue tells and shows while `taken` happens to it."""
    models = evolve(PROMPT, queue=queue, order_latency=ConstantLatency(latency))
    desk, story = Desk(models), list[object]()
    market = desk.market
    desk.venue.account.shares.update({market.up_token: Decimal(50), market.down_token: Decimal(50)})
    book = desk.venue.markets[market.slug].book
    desk.book({48: 60, 47: 20}, {51: 60, 52: 20})
    for kind, *rest in taken:
        desk.now += 1
        if kind == "change":
            cents, size, is_bid, outcome = rest
            desk.change(cents, size, is_bid=is_bid, outcome=outcome)
        elif kind == "foreign":
            token, price = ("?", 100) if rest[0] else (market.up_token, 0)
            change = LevelChange(token, True, price, Decimal(1))
            desk.hear(BookDelta(market.condition_id, (change,), desk.now))
        elif kind == "book":
            desk.book(*rest)
        elif kind == "print":
            desk.print(*rest)
        elif kind == "order":
            cents, side, way, outcome = rest
            desk.send(order(f"0.{cents}", 10, side, outcome=outcome, order_type=way))
        elif kind == "cancel":
            desk.venue.send_cancel(1, [f"o{rest[0]}"], desk.now)
            desk.wait(0)
        elif kind == "wait":
            desk.wait(rest[0])
        elif kind == "gap":
            desk.venue.on_gap(market.slug)
        elif kind == "tick":
            desk.hear(TickSizeChange(market.condition_id, market.up_token, rest[0]))
        else:
            story.append((book.top, book.tick, book.is_known, book.is_tradable(desk.now)))
            story.append([list(book.offers(*far)) for far in ((True, 1), (False, 9_999))])
            story.append([book.shown(is_bid, rest[0] * 100) for is_bid in (True, False)])
    story.append([list(book.offers(*far)) for far in ((True, 1), (False, 9_999))])
    story.append(desk.ignored)
    story.append([(o.order_id, o.status, o.matched) for o in desk.venue.orders.values()])
    # The place of an order that rests goes on with the next message, whatever that is about.
    desk.change(45, 1, is_bid=True)
    places = [one.place for one in desk.venue.orders.values() if one.is_open]
    story.append([None if place is None else place.ahead for place in places])
    return [*story, *map(repr, desk.told), desk.venue.account.cash, desk.venue.account.shares]


@given(
    st.sampled_from([Power2(), ProRata(), CancelsBehind(), Touch()]),
    st.sampled_from([0, 3]),
    st.integers(0, 100_000),
)
def test_a_book_that_is_brought_up_to_date_when_it_is_looked_at_is_the_same(
    queue: QueueModel, latency: int, seed: int
) -> None:
    """Orders, fills, queues, what is shown and what is ignored: as if each change had been taken at once."""
    taken = some_steps(random.Random(seed))
    told = course(queue, latency, taken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaperMarket, "can_wait", lambda *_: False)
        assert told == course(queue, latency, taken)


def test_after_a_gap_an_order_that_comes_to_rest_is_looked_at_with_the_next_change() -> None:
    """What a gap leaves of queues is settled by whatever comes first, not by what comes at its price."""
    way = (Side.BUY, OrderType.GTC, Outcome.UP)
    taken: list[Step] = [
        ("gap", 0),
        ("book", {48: 60, 47: 20}, {51: 60}),
        ("order", 48, *way),
        ("change", 45, 1, True, Outcome.UP),
        ("change", 48, 30, True, Outcome.UP),
        ("print", 48, 30, Side.SELL, Outcome.UP),
    ]
    told = course(Power2(), 0, taken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaperMarket, "can_wait", lambda *_: False)
        assert told == course(Power2(), 0, taken)


def test_an_order_without_a_place_gets_one_with_the_next_change_whoever_rests_beside_it() -> None:
    """One of an earlier run stands in no queue yet: nothing waits until it does."""
    desk = Desk()
    desk.book({48: 60, 47: 20}, {51: 60})
    market = desk.venue.markets[desk.market.slug]
    kept, rests = (
        PaperOrder(name, desk.market, order(f"0.{cents}", 10), desk.now)
        for name, cents in (("kept", 47), ("rests", 48))
    )
    market.keep(kept)
    market.rest(rests, desk.now)
    desk.change(45, 1, is_bid=True)
    assert kept.place is not None
    assert kept.place.ahead == 20 * MICRO


def test_beside_an_order_that_came_to_rest_changes_elsewhere_wait_at_once() -> None:
    """It knows its queue: the first change of another price moves nothing of it."""
    desk = Desk()
    desk.book({48: 60, 47: 20}, {51: 60})
    desk.send(order("0.48", 10))
    desk.change(45, 1, is_bid=True)
    assert len(desk.venue.markets[desk.market.slug].book._waiting) == 1
    desk.change(48, 30, is_bid=True)
    (rests,) = desk.venue.orders.values()
    assert rests.place is not None
    assert rests.place.ahead == 30 * MICRO


def test_what_waits_is_bounded() -> None:
    """A market that nobody looks at keeps one size for each level, however much is heard of it."""
    desk = Desk()
    desk.book({48: 60}, {51: 60})
    book = desk.venue.markets[desk.market.slug].book
    for number in range(100):
        desk.change(45, number, is_bid=True)
        desk.change(55, number, is_bid=True, outcome=Outcome.DOWN)
    assert len(book._waiting) == 2
    assert [book.shown(*level) for level in ((True, 4_500), (False, 4_500))] == [99_000_000] * 2


@pytest.mark.parametrize(
    ("look", "shown"),
    [
        (lambda book: book.top, (4_900, 5_100)),
        (lambda book: book.shown(True, 4_900), 7_000_000),
        (lambda book: book.side_of(4_900), True),
        (lambda book: book.meets(False, 4_900), True),
        (lambda book: next(book.offers(True, 1)), (4_900, 7_000_000)),
    ],
)
def test_whoever_looks_finds_what_waited(
    look: Callable[[PaperBook], object], shown: object
) -> None:
    """Each question is answered from a book that has every change."""
    desk = Desk()
    desk.book({48: 60}, {51: 60})
    desk.change(49, 7, is_bid=True)
    assert look(desk.venue.markets[desk.market.slug].book) == shown


def test_rows_that_wait_come_before_a_message_that_does_not() -> None:
    """Where something of ours is taken a message is applied at once, behind what waited until then."""
    market = make_market()
    book = PaperBook(market, 60_000, lambda _: None)
    asks = ((5200, Decimal(9)), (5300, Decimal(9)))
    name, up = market.condition_id, market.up_token
    assert book.apply(BookSnapshot(name, up, ((4800, Decimal(9)),), asks), 1)
    book.take(is_bid=False, price=5200, size=5 * MICRO)
    rows = Changes(None, [2], [2], [ASK_UP], [5300], [Decimal(20)], [-5300])
    book.begin_backlog(rows, 0).end = 1
    both = tuple(LevelChange(up, False, price, Decimal(2)) for price in (5200, 5300))
    book.apply_later(BookDelta(name, both, 3), 3)
    assert [book.shown(is_bid=False, price=price) for price in (5200, 5300)] == [2 * MICRO] * 2
