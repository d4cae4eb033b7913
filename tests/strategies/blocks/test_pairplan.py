"""One pair from its first order to its end: every state, and the bounds in any world."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, Side
from polyframe.strategies.blocks.pairplan import (
    Cancel,
    Check,
    OnFail,
    PairPlan,
    Place,
    PlanState,
)
from polyframe.strategies.blocks.pairs import Tally
from polyframe.strategies.blocks.worstcase import most_unpaired
from tests.strategies.blocks.pairworld import DOWN, RULES, UP, PairWorld, entry, open_sizes


def test_a_whole_entry_is_hedged_at_the_price_that_leaves_the_target() -> None:
    """Up for 0.50 and its fee of 1.75 cents leave 0.46 for Down, which rests without a fee."""
    world = PairWorld().begin(entry())
    world.fill(0, 10, Decimal("0.50") - Decimal("0.0000001"))  # as a taker
    world.run()
    assert world.state() is PlanState.COMPLETING
    (hedge,) = world.requests()
    assert hedge == OrderRequest(DOWN, Side.BUY, Decimal("0.46"), Decimal(10), post_only=True)
    world.fill(1, 10)
    world.run(1)
    assert world.state() is PlanState.DONE
    assert world.paid() <= Decimal("0.98") * 10


def test_a_cheap_ask_is_taken_at_a_limit_that_has_room_for_its_fee() -> None:
    """With Down at 0.40 the pair takes it, up to the price whose fee still fits."""
    world = PairWorld(bid=Decimal("0.60"), ask=Decimal("0.61")).begin(entry())
    world.fill(0, 10)
    world.run()
    (hedge,) = world.requests()
    assert (hedge.price, hedge.post_only) == (Decimal("0.46"), False)


def test_what_an_entry_did_not_find_in_time_is_cancelled_and_asked_about() -> None:
    """A cancel does not tell what was filled: the size of the hedge waits for the venue's word."""
    world = PairWorld().begin(entry())
    world.run(1.9)
    assert world.actions == []
    world.fill(0, 6, tell=False)  # nobody has told of it
    world.run(0.1)
    assert world.actions[:2] == [Cancel(("o0",)), Check()]
    assert [r.size for r in world.requests()] == [Decimal(6)]


def test_nothing_is_decided_while_the_venue_does_not_answer() -> None:
    """A comparison that fails is repeated after a pause, and nothing is placed before."""
    world = PairWorld().begin(entry())
    world.fill(0, 6, tell=False)
    world.run(2, check=False)
    world.run(1.9, check=False)
    assert world.actions.count(Check()) == 1
    world.run(0.1, check=False)
    assert world.actions.count(Check()) == 2
    assert world.requests() == []
    world.run(2)
    assert [r.size for r in world.requests()] == [Decimal(6)]


def test_an_entry_of_nothing_ends_the_plan() -> None:
    """A round in which nothing was filled is over after the venue has confirmed that."""
    world = PairWorld().begin(entry())
    world.run(2)
    assert world.state() is PlanState.DONE
    assert world.plan.why == ""


def test_a_cancel_is_repeated_until_the_order_has_ended() -> None:
    """Nothing else happens while an order can still fill; the cancel is asked for every two seconds."""
    world = PairWorld().begin(entry())
    for _ in range(4):
        world.now += 2
        assert isinstance(world.step(), Cancel)
        assert world.step() is None
    assert world.state() is PlanState.CLEARING


def test_less_than_an_order_is_left_as_dust() -> None:
    """Three shares can be neither hedged nor sold; the plan ends."""
    world = PairWorld().begin(entry())
    world.fill(0, 3)
    world.run(2)
    assert world.state() is PlanState.DONE
    assert world.requests() == []


def test_a_fill_that_is_told_after_the_end_opens_the_plan_again() -> None:
    """Shares that nobody knew of are hedged when they come up, after another look."""
    world = PairWorld().begin(entry())
    world.run(2)
    world.true[0] = evolve(world.true[0], filled=Decimal(8), average_price=Decimal("0.50"))
    world.tell()
    world.run(30)
    assert world.state() is PlanState.COMPLETING
    assert [r.size for r in world.requests()] == [Decimal(8)]


def test_a_missing_leg_has_its_time_then_the_excess_is_sold() -> None:
    """After `leg_timeout` the hedge is cancelled and the shares are sold below the bid."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    world.run()
    world.run(59)
    assert world.state() is PlanState.COMPLETING
    world.run(1)
    assert world.state() is PlanState.SELLING
    sale = world.requests()[-1]
    assert sale == OrderRequest(UP, Side.SELL, Decimal("0.48"), Decimal(10), OrderType.FAK)
    assert "not filled in 60 s" in world.plan.why
    world.fill(2, 10)
    world.run(1)
    assert world.state() is PlanState.DONE


def test_a_stop_gives_up_at_once() -> None:
    """When the shares could be sold for eight cents less than they cost, the hedge is given up."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    world.run()
    world.bid, world.ask = Decimal("0.43"), Decimal("0.44")
    world.run(1)
    assert world.state() is PlanState.COMPLETING
    world.bid, world.ask = Decimal("0.42"), Decimal("0.43")
    world.run(1)
    assert world.state() is PlanState.SELLING
    assert "fell to 0.42" in world.plan.why


def test_the_end_of_the_window_gives_up_at_once() -> None:
    """Close to the end every excess is closed, whatever time its leg still had."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    world.run()
    world.must_close = True
    world.run(1)
    assert world.state() is PlanState.SELLING
    assert world.plan.why == "the window ends"


def test_the_end_of_the_window_cancels_first_orders() -> None:
    """First orders that wait for a fill are not needed any more."""
    rules = evolve(RULES, open_timeout=500)
    world = PairWorld(rules=rules).begin(entry(post_only=True), entry(10, "0.47", DOWN))
    world.run(100)
    world.must_close = True
    world.run(1)
    assert world.state() is PlanState.DONE
    assert open_sizes(world.true) == []


def test_shares_that_are_not_delivered_are_closed_by_buying_the_other_outcome() -> None:
    """The venue does not take a sale yet, and Down for 0.51 is the same trade."""
    world = PairWorld(settles=False).begin(entry())
    world.fill(0, 10)
    world.run()
    world.run(60)
    assert world.requests()[-1] == OrderRequest(DOWN, Side.BUY, Decimal("0.52"), Decimal(10))


def test_a_closing_order_that_rests_is_cancelled_and_tried_anew() -> None:
    """What it has not found after the pause is closed by another one, at the price of then."""
    world = PairWorld(settles=False).begin(entry())
    world.fill(0, 10)
    world.run()
    world.run(60)
    world.fill(2, 4)
    world.bid, world.ask = Decimal("0.44"), Decimal("0.45")
    world.run(2)
    assert world.requests()[-1] == OrderRequest(DOWN, Side.BUY, Decimal("0.57"), Decimal(6))
    assert len(open_sizes(world.true)) == 1


def test_closing_orders_are_bounded() -> None:
    """After `tries` closing orders that found nobody the plan fails, and says so."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    world.run()
    world.run(60)
    for _ in range(20):
        for number in range(len(world.true)):
            world.end(number)
        world.run(1)
    assert world.state() is PlanState.FAILED
    assert len(world.requests()) == 1 + RULES.tries


def test_the_end_of_the_window_is_a_last_chance_for_what_failed() -> None:
    """A plan that failed tries to close once more, with as many tries."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    world.run()
    for _ in range(100):
        world.run(10, refuse=True)
    assert world.state() is PlanState.FAILED
    before = len(world.requests())
    world.must_close = True
    world.run(1)
    assert world.state() is PlanState.SELLING
    assert len(world.requests()) == before + 1


def test_refused_hedges_are_tried_again_after_growing_pauses_and_then_given_up() -> None:
    """Two, four, eight seconds; after `tries` refusals the excess is sold."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    times = []
    while world.plan.why == "":
        before = len(world.requests())
        world.run(0.25, refuse=True)
        times += [world.now] * (len(world.requests()) - before)
    gaps = [late - early for early, late in pairwise(times)]
    assert gaps[:2] == [2, 4]
    assert "3 tries" in world.plan.why
    assert [r.side for r in world.requests()] == [Side.BUY] * 3 + [Side.SELL]


def test_on_fail_pause_leaves_the_excess_and_places_nothing() -> None:
    """With ``"pause"`` the hedge is cancelled, and the shares are kept to the end."""
    world = PairWorld(rules=evolve(RULES, on_fail="pause")).begin(entry())
    world.fill(0, 10)
    world.run()
    world.run(60)
    assert world.state() is PlanState.FAILED
    world.must_close = True
    world.run(1)
    assert world.state() is PlanState.FAILED
    assert len(world.requests()) == 1


def test_of_two_legs_the_open_one_is_moved_up_to_what_the_pair_may_cost() -> None:
    """Up is filled for 0.45; Down's bid of 0.47 goes up to 0.53 as far as its ask allows."""
    world = PairWorld(bid=Decimal("0.48"), ask=Decimal("0.50"))
    world.begin(entry(price="0.45", post_only=True), entry(10, "0.47", DOWN, post_only=True))
    world.fill(0, 10)
    world.run(1)
    assert world.actions == []
    world.run(2)
    (moved,) = world.requests()
    assert moved == OrderRequest(DOWN, Side.BUY, Decimal("0.51"), Decimal(10), post_only=True)


def test_of_two_legs_the_open_one_stays_if_it_cannot_bid_more() -> None:
    """Within the budget the order keeps its place in the queue until the time of the leg is over."""
    world = PairWorld()
    world.begin(entry(price="0.50", post_only=True), entry(10, "0.48", DOWN, post_only=True))
    world.fill(0, 10)
    world.run(59)
    assert world.actions == []


def test_two_legs_of_which_nothing_is_filled_end_after_their_time() -> None:
    """Bids that nobody wants are taken back, so that they can be placed where the market is."""
    world = PairWorld(rules=evolve(RULES, open_timeout=20))
    world.begin(entry(post_only=True), entry(10, "0.48", DOWN, post_only=True))
    world.run(19)
    assert world.actions == []
    world.run(1)
    assert world.state() is PlanState.DONE
    assert open_sizes(world.true) == []


def test_a_leg_that_is_refused_is_bid_for_again() -> None:
    """One leg filled, the other never came to be: the plan completes the pair."""
    world = PairWorld()
    world.begin(entry(price="0.49"), entry(10, "0.48", DOWN, post_only=True))
    world.end(1, OrderStatus.REJECTED)
    world.fill(0, 10)
    world.run()
    assert [r.outcome for r in world.requests()] == [DOWN]


def test_a_pair_that_would_cost_too_much_is_given_up_at_once() -> None:
    """Shares for 0.99 leave nothing for the other leg."""
    world = PairWorld(rules=evolve(RULES, stop=None)).begin(entry(price="0.99"))
    world.fill(0, 10)
    world.run()
    assert world.plan.why == "a pair would cost more than it may"
    assert world.state() is PlanState.SELLING


def test_without_a_price_nothing_is_closed_until_there_is_one() -> None:
    """To close what is there a price is needed: it is waited for, and no try is lost."""
    world = PairWorld(bid=None, ask=None).begin(entry())
    world.fill(0, 10)
    world.must_close = True
    for _ in range(10):
        world.run(10)
    assert world.requests() == []
    world.bid, world.ask = Decimal("0.30"), Decimal("0.31")
    world.run(10)
    assert world.requests()[-1].side is Side.SELL


def test_orders_of_a_lost_plan_are_cancelled_and_their_excess_completed() -> None:
    """After a restart what is there is looked at as one plan: nothing is forgotten."""
    world = PairWorld().begin(entry(), entry(10, "0.30", DOWN))
    world.plan = PairPlan.take_over(RULES, world.true, 0)
    world.fill(0, 7, tell=False)
    world.run()
    assert isinstance(world.actions[0], Cancel)
    assert [(r.outcome, r.size) for r in world.requests()] == [(DOWN, Decimal(7))]


def test_a_lost_plan_whose_orders_have_ended_is_completed_if_something_is_missing() -> None:
    """What an earlier run left unpaired is asked about and bid for; a complete pair is left alone."""
    world = PairWorld().begin(entry())
    world.fill(0, 10)
    world.plan = PairPlan.take_over(RULES, world.true, 0)
    world.run()
    assert world.actions[0] == Check()
    assert [r.outcome for r in world.requests()] == [DOWN]
    world.fill(1, 10)
    world.plan = PairPlan.take_over(RULES, world.true, 0)
    world.actions.clear()
    world.run()
    assert world.actions == []


# ---------------------------------------------------------------------- any world

ON_FAIL: list[OnFail] = ["flatten", "pause"]
PRICES = st.integers(2, 97).map(lambda cents: Decimal(cents) / 100)
EVENTS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 2.5, 31.0])),
    st.tuples(st.just("price"), PRICES),
    st.tuples(st.just("fill"), st.integers(1, 1500), st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 3)),
    st.tuples(st.just("tell")),
    st.tuples(st.just("dark")),
    st.tuples(st.just("settle"), st.booleans()),
    st.tuples(st.just("close")),
)
HABITS = st.tuples(st.booleans(), st.booleans(), st.booleans())
"""Whether an action is refused, a comparison answered, and a cancel heard."""


@given(
    st.sampled_from([(10, "0.62", None), (20, "0.50", "0.48"), (7, "0.90", None)]),
    st.lists(st.tuples(EVENTS, HABITS), max_size=40),
    st.sampled_from(ON_FAIL),
)
def test_no_world_brings_more_unpaired_than_the_first_orders(
    first: tuple[int, str, str | None],
    life: list[tuple[tuple[object, ...], tuple[bool, bool, bool]]],
    on_fail: OnFail,
) -> None:
    """Whatever is filled, late, refused or silent: the excess stays within one leg.

    Pairs leave the target unless the plan has given up, and it acts only when nothing else of it can
    still fill.
    """
    size, price, other = first
    world = PairWorld(rules=evolve(RULES, on_fail=on_fail), bid=Decimal(price))
    if other is None:
        world.begin(entry(size, price))
    else:
        legs = ((price, UP), (other, DOWN))
        world.begin(*(entry(size, limit, leg, post_only=True) for limit, leg in legs))
    for event, (refuse, answers, hears) in life:
        happen(world, event)
        # What is open counts with what is true of it, however little of that is told.
        for _ in range(6):
            action = world.step()
            if action is None:
                break
            if isinstance(action, Place):
                assert open_sizes(world.told.values()) == []
                assert open_sizes(world.true) == []
            if not isinstance(action, Cancel) or hears:
                world.perform(action, refuse=refuse, check=answers)
            check_bounds(world, Decimal(size))
        else:
            raise AssertionError("the plan does not come to rest")
    check_bounds(world, Decimal(size))


def happen(world: PairWorld, event: tuple[object, ...]) -> None:
    """Let one thing happen to the market or to the plan's orders."""
    match event:
        case ("wait", float(seconds)):
            world.now += seconds
        case ("price", Decimal() as bid):
            world.bid, world.ask = bid, bid + Decimal("0.01")
        case ("dark",):
            world.bid = world.ask = None
        case ("fill", int(hundredths), bool(tell)):
            for number, order in enumerate(world.true):
                if order.is_open:
                    takes = not order.post_only and order.side is Side.BUY
                    better = order.price - Decimal("0.001") if takes else None
                    world.fill(number, Decimal(hundredths) / 100, better, tell=tell)
        case ("end", int(which)):
            if which < len(world.true):
                world.end(which)
        case ("tell",):
            world.tell()
        case ("settle", bool(settles)):
            world.settles = settles
        case ("close",):
            world.must_close = True


def check_bounds(world: PairWorld, size: Decimal) -> None:
    """Check what no market can break."""
    held = {outcome: world.held(outcome) for outcome in Outcome}
    over = {order.client_id for order in world.true if not order.is_open}
    assert most_unpaired(held, world.true, over) <= size
    plan = world.plan
    is_told = all(order == world.told[order.client_id] for order in world.true)
    if plan.state is PlanState.DONE and not plan.why and is_told:
        excess = abs(held[UP] - held[DOWN])
        assert excess < world.market.min_size
        if excess < Decimal("0.01"):
            rounding = Decimal("0.00001") * 60
            most = (1 - world.rules.target) * max(held.values())
            assert world.paid() <= most + rounding
    assert Tally.of(world.true).paid == world.paid()


@given(
    st.integers(0, 1000),
    PRICES,
    st.booleans(),
    st.lists(st.tuples(EVENTS, HABITS), max_size=20),
)
def test_a_venue_that_works_leaves_dust_at_most(
    filled: int,
    bid: Decimal,
    settles: bool,
    before: list[tuple[tuple[object, ...], tuple[bool, bool, bool]]],
) -> None:
    """If the venue works from some time before the end on, less than a smallest order is unpaired."""
    world = PairWorld(settles=settles).begin(entry())
    world.fill(0, Decimal(filled) / 100)
    for event, (refuse, answers, hears) in before:
        happen(world, event)
        if (action := world.step()) is not None and (hears or not isinstance(action, Cancel)):
            world.perform(action, refuse=refuse, check=answers)
    world.must_close, world.settles = True, True
    world.bid, world.ask = bid, bid + Decimal("0.01")
    world.tell()  # what was lost is found by the comparisons that happen by themselves
    for _ in range(20):
        world.now += 2.5
        while (action := world.step()) is not None:
            world.perform(action)
        for number in range(len(world.true)):
            world.fill(number, 100)
    assert world.state() in {PlanState.DONE, PlanState.FAILED}
    assert abs(world.held(UP) - world.held(DOWN)) < world.market.min_size


@pytest.mark.parametrize("state", list(PlanState))
def test_only_two_states_are_the_end(state: PlanState) -> None:
    """A new round may begin after DONE and FAILED, and after nothing else."""
    assert state.is_over is (state in {PlanState.DONE, PlanState.FAILED})
