"""What Arbitrage wants to bid, phase by phase, and that it never risks more than its loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.strategies.arbitrageplan import ArbitragePlan, Phase, Quoted
from polyframe.strategies.blocks.bids import Wish
from polyframe.strategies.blocks.worstcase import Leg, worst_ends

UP, DOWN = Outcome.UP, Outcome.DOWN
CENT = Decimal("0.01")


def quotes(bid: int, ask: int) -> dict[Outcome, Quoted]:
    """Return both tops of one book, given that of Up in cents."""
    up = Quoted(Decimal(bid) / 100, Decimal(ask) / 100, CENT)
    return {UP: up, DOWN: Quoted(ONE - up.ask, ONE - up.bid, CENT)}


def bought(up: int, down: int) -> dict[Outcome, Decimal]:
    """Return shares bought."""
    return {UP: Decimal(up), DOWN: Decimal(down)}


def settled(up: int, down: int, up_price: str = "0.50", down_price: str = "0.46") -> list[Leg]:
    """Return confirmed buys."""
    return [
        Leg(outcome, Decimal(price), Decimal(shares), Decimal(shares))
        for outcome, shares, price in ((UP, up, up_price), (DOWN, down, down_price))
        if shares
    ]


def wish(price: str, size: int | str) -> Wish:
    """Return a bid."""
    return Wish(Decimal(price), Decimal(size))


@pytest.mark.parametrize(
    ("passed", "bid", "phase"),
    [
        (0.0, 50, Phase.BUILD),
        (0.34, 50, Phase.ADJUST),
        (0.67, 50, Phase.LOCK),
        (0.1, 85, Phase.LOCK),
        (0.1, 14, Phase.LOCK),
    ],
)
def test_phases_follow_the_time_and_lock_what_is_nearly_decided(
    passed: float, bid: int, phase: Phase
) -> None:
    """Thirds of the window; a bid of 0.85 for either outcome locks at once."""
    assert ArbitragePlan().phase(passed, quotes(bid, bid + 1)) is phase


def test_building_bids_for_both_and_leaves_the_target() -> None:
    """0.49/0.51 has a spread of two cents: both best bids are joined."""
    got = ArbitragePlan().wishes(Phase.BUILD, quotes(49, 51), [], bought(0, 0))
    assert got == {UP: wish("0.49", 20), DOWN: wish("0.49", 20)}


def test_a_narrow_book_is_bid_for_lower() -> None:
    """0.52/0.53 leaves one cent, two are wanted: the dearer bid is lowered."""
    got = ArbitragePlan().wishes(Phase.BUILD, quotes(52, 53), [], bought(0, 0))
    assert got == {UP: wish("0.51", 20), DOWN: wish("0.47", 20)}


def test_building_ends_at_the_base() -> None:
    """With 55 of 60 bought, five more are wished for; with 60 none."""
    plan = ArbitragePlan(max_loss=Decimal(1000))
    got = plan.wishes(Phase.BUILD, quotes(49, 51), settled(60, 55), bought(60, 55))
    assert UP not in got
    assert got[DOWN].size == 5
    got = plan.wishes(Phase.ADJUST, quotes(49, 51), settled(60, 60), bought(60, 60))
    assert [one.size for one in got.values()] == [20, 20]


def test_the_outcome_that_is_behind_bids_up_to_where_its_pairs_leave_the_target() -> None:
    """40 Up at 0.44 are ahead: Down may cost 0.54; the next Up makes room for that."""
    got = ArbitragePlan().wishes(
        Phase.ADJUST, quotes(46, 48), settled(40, 20, "0.44"), bought(40, 20)
    )
    assert got[DOWN].price == Decimal("0.53")  # the ask of 0.54 less a tick
    assert got[UP].price == Decimal("0.45")


def test_no_pair_is_completed_that_does_not_leave_the_target() -> None:
    """20 Up at 0.49 lie there when Down is bid at 0.69: 0.49 is bid for it, until it locks."""
    plan = ArbitragePlan()
    got = plan.wishes(Phase.ADJUST, quotes(30, 31), settled(20, 0, "0.49"), bought(20, 0))
    assert got[DOWN].price == Decimal("0.49")
    locked = plan.wishes(Phase.LOCK, quotes(30, 31), settled(20, 0, "0.49"), bought(20, 0))
    assert locked[DOWN].price == Decimal("0.69")


def test_without_a_partner_are_the_shares_that_were_bought_last() -> None:
    """The twenty at 0.60 have their Down already; what is missing belongs to the twenty at 0.40."""
    legs = [*settled(20, 20, "0.60", "0.38"), *settled(20, 0, "0.40")]
    got = ArbitragePlan().wishes(Phase.ADJUST, quotes(38, 42), legs, bought(40, 20))
    assert got[DOWN].price == Decimal("0.58")


def test_the_outcome_that_is_ahead_stays_within_the_bound() -> None:
    """40 ahead, no more of it; 30 ahead, ten more."""
    plan = ArbitragePlan()
    ahead = plan.wishes(Phase.ADJUST, quotes(49, 51), settled(40, 0), bought(40, 0))
    assert set(ahead) == {DOWN}
    less = plan.wishes(Phase.ADJUST, quotes(49, 51), settled(30, 0), bought(30, 0))
    assert less[UP].size == 10


def test_locking_bids_for_what_is_missing_and_nothing_else() -> None:
    """Twelve Up more than Down: twelve Down, one tick below the ask, whatever a pair costs then."""
    plan = ArbitragePlan()
    got = plan.wishes(Phase.LOCK, quotes(30, 31), settled(32, 20), bought(32, 20))
    assert got == {DOWN: wish("0.69", 12)}
    assert plan.wishes(Phase.LOCK, quotes(30, 31), settled(20, 20), bought(20, 20)) == {}


@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(1, 97), st.decimals("0.3", "0.6", places=2)
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_locked_raises_the_worst_case(
    up: int, down: int, bid: int, price: Decimal
) -> None:
    """Each share that fills in the lock phase makes the worse end better, at any price."""
    legs = settled(up, down, str(price), str(price))
    plan = ArbitragePlan(max_loss=Decimal(1000), max_shares=Decimal(1000))
    before = min(worst_ends(legs).values())
    for outcome, one in plan.wishes(
        Phase.LOCK, quotes(bid, bid + 2), legs, bought(up, down)
    ).items():
        filled = [*legs, Leg(outcome, one.price, one.size, one.size)]
        assert min(worst_ends(filled).values()) > before


def test_a_loss_that_is_used_up_leaves_only_the_other_side() -> None:
    """40 Up at 0.60 can lose 24 of 25 USD: one more USD of Up, and Down as before."""
    legs = settled(40, 0, "0.60")
    plan = ArbitragePlan(max_unpaired=Decimal(100))
    got = plan.wishes(Phase.ADJUST, quotes(49, 51), legs, bought(40, 0))
    assert got[UP].price * got[UP].size <= 1
    assert got[DOWN].size == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", Decimal(0)),
        ("size", Decimal(-1)),
        ("max_loss", 25),
        ("adjust_at", 1.5),
        ("decided", Decimal("0.5")),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, value: Any) -> None:
    """The message has the field, what is expected, and what it got."""
    with pytest.raises(ConfigError, match=name):
        ArbitragePlan(**{name: value})


# ------------------------------------------------------------------ whatever fills and fails


@define
class Life:
    """A cycle in which everything that can happen to bids happens, in any order.

    Attributes:
        legs: One for each bid: what is sure, and what it can still come to.
        shares: What each has really bought so far, failed trades taken off.
    """

    plan: ArbitragePlan
    legs: list[Leg] = field(factory=list)
    shares: list[Decimal] = field(factory=list)
    open: list[bool] = field(factory=list)

    def bid(self, phase: Phase, bid: int, spread: int) -> None:
        """Place what the plan wants, beside all that is open or in doubt."""
        held = {
            outcome: sum(
                (
                    got
                    for leg, got in zip(self.legs, self.shares, strict=True)
                    if leg.outcome is outcome
                ),
                ZERO,
            )
            for outcome in Outcome
        }
        book = quotes(bid, min(bid + spread, 99))
        wishes = self.plan.wishes(phase, book, self.legs, held)
        for outcome, one in wishes.items():
            self.legs.append(Leg(outcome, one.price, ZERO, one.size))
            self.shares.append(ZERO)
            self.open.append(True)

    def happen(self, what: str, which: int, part: Decimal) -> None:
        """Let something happen to one bid."""
        if not self.legs:
            return
        at = which % len(self.legs)
        leg = self.legs[at]
        if what == "fill" and self.open[at]:
            self.shares[at] += (leg.most - self.shares[at]) * part
        elif what == "confirm":
            # What is confirmed stays.
            self.legs[at] = evolve(leg, least=self.shares[at])
        elif what == "fail":
            self.shares[at] = max(leg.least, self.shares[at] * (1 - part))
        elif what == "end":
            # Its trades were read once more: nothing beyond them comes.
            self.open[at] = False
            self.legs[at] = evolve(leg, most=self.shares[at])

    def worst(self) -> Decimal:
        """Return what it really loses at most by who wins, as everything stands."""
        ends = []
        for winner in Outcome:
            pays = (ONE if leg.outcome is winner else ZERO for leg in self.legs)
            ends.append(
                sum(
                    (
                        got * (pay - leg.price)
                        for leg, got, pay in zip(self.legs, self.shares, pays, strict=True)
                    ),
                    ZERO,
                )
            )
        return min(ends)


@given(
    max_loss=st.decimals("1", "40", places=1),
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(Phase), st.integers(1, 96), st.integers(1, 6)),
            st.tuples(
                st.sampled_from(["fill", "confirm", "fail", "end"]),
                st.integers(0, 30),
                st.sampled_from([Decimal("0.3"), Decimal(1)]),
            ),
        ),
        max_size=40,
    ),
)
@settings(max_examples=150, deadline=None)
def test_never_worse_than_the_loss_whatever_fills_and_fails(
    max_loss: Decimal, steps: list[tuple[Any, Any, Any]]
) -> None:
    """In any order of bids, fills, confirmations, failures and ends, whoever wins."""
    life = Life(ArbitragePlan(max_loss=max_loss, max_unpaired=Decimal(1000)))
    for what, first, second in steps:
        if isinstance(what, Phase):
            life.bid(what, first, second)
        else:
            life.happen(what, first, second)
        assert life.worst() >= -max_loss
        assert min(worst_ends(life.legs).values()) >= -max_loss
