"""The rules of the risk guard, one by one, on facts made up for them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from polyframe.errors import ConfigError
from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.breaker import BreakerState
from polyframe.trading.commands import PlaceOrder
from polyframe.trading.limits import RiskLimits
from polyframe.trading.risk import (
    RESULTS_KEPT,
    VENUE_ERRORS,
    RiskGuard,
    RiskState,
    is_venue_error,
)
from polyframe.trading.riskfacts import RiskFacts, is_reducing, risk_facts
from polyframe.trading.state import CycleState
from tests.trading.builders import SELL, UPDATE, Desk

D = Decimal
UP, DOWN = Outcome.UP, Outcome.DOWN
LIVE, REJECTED, UNKNOWN = PlaceResult.LIVE, PlaceResult.REJECTED, PlaceResult.UNKNOWN

QUIET = RiskFacts(
    slug="btc-updown-15m-900",
    series="btc-updown-15m",
    start=900,
    end=1800,
    time=1000.0,
    network_time=50.0,
    open_orders=0,
    committed=Decimal(0),
    position=Decimal(0),
    unpaired=Decimal(0),
    sellable=Decimal(0),
    loss=Decimal(0),
    is_known=True,
    book_age=0.5,
    spread=Decimal("0.02"),
    has_intent=False,
)
"""A cycle in which nothing happened yet."""


def buy(price: str = "0.50", size: int = 10, intent: str = "") -> OrderRequest:
    """Return a request for Up shares: 5 USD by default."""
    return OrderRequest(UP, Side.BUY, Decimal(price), Decimal(size), intent=intent)


def sell(size: int = 10) -> OrderRequest:
    """Return a request to sell Up shares."""
    return OrderRequest(UP, Side.SELL, Decimal("0.50"), Decimal(size))


def facts(**changes: Any) -> RiskFacts:
    """Return `QUIET` but for some facts."""
    return attrs.evolve(QUIET, **changes)


def only(**limits: Any) -> RiskGuard:
    """Return a guard that has no other limits."""
    return RiskGuard(attrs.evolve(RiskLimits.unlimited(), **limits))


def ask(guard: RiskGuard, request: OrderRequest | None = None, **changes: Any) -> str | None:
    """Return the rule that forbids a request, ``None`` if it may go."""
    denied = guard.check("me", request or buy(), facts(**changes))
    return None if denied is None else denied.rule


def send(
    guard: RiskGuard, client_id: str, request: OrderRequest | None = None, **changes: Any
) -> None:
    """Let an order leave."""
    guard.admit(client_id, "me", request or buy(), facts(**changes))


def answer(guard: RiskGuard, *results: tuple[PlaceResult, str], network_time: float = 50.0) -> None:
    """Send one order for each answer and answer it."""
    for number, (result, code) in enumerate(results):
        send(guard, f"a{number}", network_time=network_time)
        guard.answered({f"a{number}": (result, code)}, network_time)


def bought_and_sold(desk: Desk, price: str, sold_at: str) -> None:
    """Buy and sell ten Up shares."""
    desk.live("c1", price=price)
    desk.trade("t1", desk.leg("v1", price=price))
    desk.live("c2", SELL, sold_at)
    desk.trade("t2", desk.leg("v2", "10", sold_at, SELL))


def seen(state: CycleState, request: OrderRequest, strategy: str = "alpha") -> RiskFacts:
    """Return the facts about a request in a cycle whose book is empty."""
    quote = PriceChanged(
        slug="",
        generation=0,
        outcome=request.outcome,
        bid=None,
        ask=D("0.6"),
        bid_size=None,
        ask_size=None,
        known=True,
        timestamp_ms=0,
        received=990.0,
    )
    return risk_facts(state, strategy, request, quote, time=1000.0, network_time=50.0)


# ------------------------------------------------------------------ facts


def test_facts_of_a_fresh_cycle() -> None:
    """Nothing is spent, held or open; an empty side of the book counts as the end of the scale."""
    state = Desk().state
    expected = attrs.evolve(
        QUIET,
        slug=state.market.slug,
        series="btc-updown-15m",
        book_age=10.0,
        spread=D("0.6"),
        best_ask=D("0.6"),
    )
    assert seen(state, buy()) == expected


def test_facts_count_what_open_orders_may_still_do() -> None:
    """Open buys spend and hold as if they were filled, at their limit; fills at what they cost."""
    desk = Desk()
    desk.live("c1", size="20")
    desk.trade("t1", desk.leg("v1", size="5", price="0.4"))
    desk.live("c2", SELL, "0.9", "3")
    facts_ = seen(desk.state, buy())
    assert facts_.committed == 5 * D("0.4") + 15 * D("0.5")
    assert facts_.position == 20
    assert facts_.sellable == 2
    assert facts_.open_orders == 2
    assert seen(desk.state, OrderRequest(DOWN, Side.BUY, D("0.5"), D(10))).position == 0
    assert seen(desk.state, buy(), "beta").sellable == 0


def test_facts_count_what_was_bought_and_what_failed() -> None:
    """A sale gives nothing back, a purchase that failed on chain does."""
    desk = Desk()
    bought_and_sold(desk, "0.5", "0.6")
    assert seen(desk.state, buy()).committed == 5
    desk.trade("t1", desk.leg("v1"), status=TradeStatus.FAILED)
    assert seen(desk.state, buy()).committed == 0


def test_facts_count_matches_that_are_still_to_be_reported() -> None:
    """A buy that is over but whose fills have not come yet still spends and holds."""
    desk = Desk()
    desk.live("c1", size="20")
    desk.report("v1", UPDATE, "LIVE", "15", size="20")
    desk.cancel_answer("c1", cancelled=True)
    facts_ = seen(desk.state, buy())
    assert facts_.open_orders == 0
    assert facts_.position == 15
    assert facts_.committed == D("7.5")


def test_facts_know_what_lacks_its_pair() -> None:
    """Shares of the other outcome that no sell offers, less what is held and bid for of this one."""
    desk = Desk()
    desk.live("c1", outcome=DOWN, size="20")
    desk.trade("t1", desk.leg("v1", size="20", outcome=DOWN))
    assert seen(desk.state, buy()).unpaired == 20
    desk.live("c2", SELL, "0.9", "5", outcome=DOWN)
    assert seen(desk.state, buy()).unpaired == 15
    desk.live("c3", size="6")
    assert seen(desk.state, buy()).unpaired == 9
    assert seen(desk.state, buy(), "beta").unpaired == 9


def test_facts_know_losses_but_no_gains() -> None:
    """Sales below cost and fees are a loss; sales above cost are none."""
    desk = Desk()
    bought_and_sold(desk, "0.5", "0.3")
    assert seen(desk.state, buy()).loss == 2
    desk = Desk()
    bought_and_sold(desk, "0.5", "0.7")
    assert seen(desk.state, buy()).loss == 0


def test_facts_know_open_intents_of_the_same_strategy() -> None:
    """An open order with that intent is found, another strategy's or a finished one is not."""
    desk = Desk()
    state = desk.state
    command = PlaceOrder(900, "c1", "v1", "alpha", "U900", buy(intent="open"), 0)
    desk.submit(command)
    assert state.orders["c1"].intent == "open"
    assert seen(state, buy(intent="open")).has_intent
    assert not seen(state, buy(intent="other")).has_intent
    assert not seen(state, buy()).has_intent
    assert not seen(state, buy(intent="open"), "beta").has_intent
    desk.answer("c1", "rejected")
    assert not seen(state, buy(intent="open")).has_intent


# ------------------------------------------------------------------ the limits one by one

LIMITS: list[tuple[str, Any, str, dict[str, Any], dict[str, Any]]] = [
    # limit, its value, rule, facts that are still allowed (for 10 shares at 0.50), facts beyond
    (
        "max_cycle_notional",
        D(20),
        "risk_cycle_notional",
        {"committed": D(15)},
        {"committed": D(16)},
    ),
    ("max_position", D(30), "risk_position", {"position": D(20)}, {"position": D(21)}),
    ("max_open_orders", 3, "risk_open_orders", {"open_orders": 2}, {"open_orders": 3}),
    ("max_cycle_loss", D(7), "risk_cycle_loss", {"loss": D("6.99")}, {"loss": D(7)}),
    ("max_run_loss", D(7), "risk_run_loss", {"loss": D("6.99")}, {"loss": D(7)}),
    ("max_run_notional", D(20), "risk_run_notional", {"committed": D(15)}, {"committed": D(16)}),
    ("entry_after", 30.0, "risk_entry_window", {"time": 930.0}, {"time": 929.9}),
    ("entry_before_end", 30.0, "risk_entry_window", {"time": 1770.0}, {"time": 1770.1}),
    ("max_book_age", 5.0, "risk_book_age", {"book_age": 5.0}, {"book_age": 5.1}),
    ("max_book_age", 5.0, "risk_book_unknown", {"is_known": True}, {"is_known": False}),
    ("max_spread", D("0.1"), "risk_spread", {"spread": D("0.1")}, {"spread": D("0.11")}),
]


@pytest.mark.parametrize(
    ("limit", "value", "rule", "allowed", "beyond"), LIMITS, ids=[row[2] for row in LIMITS]
)
def test_a_limit_holds_to_the_last_step(
    limit: str, value: Any, rule: str, allowed: dict[str, Any], beyond: dict[str, Any]
) -> None:
    """Up to the limit an entry passes, beyond it is refused with the rule's name and the setting's.

    Without that limit the same entry passes, and an order that reduces a risk passes all the same.
    """
    guard = only(**{limit: value})
    assert ask(guard, **allowed) is None
    denied = guard.check("me", buy(), facts(**beyond))
    assert denied is not None
    assert denied.rule == rule
    assert limit in denied.text or rule == "risk_book_unknown"
    assert ask(RiskGuard(RiskLimits.unlimited()), **beyond) is None
    assert ask(guard, sell(), **beyond, sellable=D(10)) is None
    assert ask(guard, buy(), **beyond, unpaired=D(10)) is None


def test_the_size_of_an_order_is_limited() -> None:
    """USD and shares of one order each have their limit."""
    assert ask(only(max_order_notional=D(5)), buy("0.50", 10)) is None
    assert ask(only(max_order_notional=D(5)), buy("0.51", 10)) == "risk_order_notional"
    assert ask(only(max_order_shares=D(10)), buy("0.01", 10)) is None
    assert ask(only(max_order_shares=D(10)), buy("0.01", 11)) == "risk_order_shares"


def test_a_sell_beyond_what_is_held_is_an_entry() -> None:
    """It is held to the limits of entries, though it neither spends nor adds shares."""
    guard = only(max_order_shares=D(10), max_cycle_notional=D(1), max_position=D(1))
    assert ask(guard, sell(11), sellable=D(10)) == "risk_order_shares"
    assert ask(guard, sell(10), sellable=D(9)) is None


@pytest.mark.parametrize(
    ("request_", "changes", "expected"),
    [
        (sell(10), {"sellable": D(10)}, True),
        (sell(10), {"sellable": D("9.99")}, False),
        (buy("0.50", 10), {"unpaired": D(10)}, True),
        (buy("0.50", 10), {"unpaired": D("9.99")}, False),
        (buy("0.50", 10), {"sellable": D(10)}, False),
        (sell(10), {"unpaired": D(10)}, False),
    ],
)
def test_what_reduces_a_risk(
    request_: OrderRequest, changes: dict[str, Any], expected: bool
) -> None:
    """A sell of what is held and free, a buy that completes pairs; one share more is an entry."""
    assert is_reducing(request_, facts(**changes)) is expected


def test_a_buy_that_does_not_rest_counts_for_all_the_shares_that_it_may_bring() -> None:
    """It spends its USD, so below its limit it buys more: what the best price on offer allows."""
    fak = attrs.evolve(buy("0.50", 10), order_type=OrderType.FAK)  # 5 USD
    for request in (fak, OrderRequest.market_buy(UP, D(5), D("0.50"))):
        for guard, rule in (
            (only(max_order_shares=D(20)), "risk_order_shares"),
            (only(max_position=D(20)), "risk_position"),
        ):
            assert ask(guard, request, best_ask=D("0.25")) is None
            assert ask(guard, request, best_ask=D("0.24")) == rule
            assert ask(guard, buy("0.50", 10), best_ask=D("0.01")) is None
            assert ask(guard, request, best_ask=None) is None
        assert is_reducing(request, facts(unpaired=D(20), best_ask=D("0.25")))
        assert not is_reducing(request, facts(unpaired=D("19.99"), best_ask=D("0.25")))
        assert is_reducing(request, facts(unpaired=D(10), best_ask=D("0.60")))


def test_the_pace_is_limited_in_network_time() -> None:
    """A burst, then so many a second, however market time runs; reducing orders pass."""
    guard = only(max_orders_per_second=2.0, order_burst=2)
    send(guard, "c1")
    assert ask(guard) is None
    send(guard, "c2")
    assert ask(guard, time=1500.0) == "risk_rate"
    assert ask(guard, sell(), sellable=D(10)) is None
    assert ask(guard, network_time=50.4) == "risk_rate"
    assert ask(guard, network_time=50.5) is None


def test_a_check_alone_uses_nothing_up() -> None:
    """Only what leaves counts: asking often costs nothing."""
    guard = only(max_orders_per_second=1.0, order_burst=1, max_run_notional=D(5))
    for _ in range(5):
        assert ask(guard) is None


def test_spending_of_a_run_adds_up_over_series() -> None:
    """What one series has spent or bid leaves less for the others, and a cancel gives it back."""
    guard, desk = only(max_run_notional=D(20)), Desk()
    guard.begin_cycle(desk.state)
    desk.live("c1", size="20")
    assert ask(guard, buy("0.50", 20), series="eth-updown-15m") is None
    assert ask(guard, buy("0.50", 21), series="eth-updown-15m") == "risk_run_notional"
    assert ask(guard, buy("0.50", 40)) is None, "its own facts say what its own cycle spent"
    desk.trade("t1", desk.leg("v1", size="5"))
    desk.cancel_answer("c1", cancelled=True)
    assert ask(guard, buy("0.50", 35), series="eth-updown-15m") is None
    assert ask(guard, buy("0.50", 36), series="eth-updown-15m") == "risk_run_notional"
    guard.end_cycle(desk.state)
    for series in ("btc-updown-15m", "eth-updown-15m"):
        assert ask(guard, buy("0.50", 35), series=series) is None
        assert ask(guard, buy("0.50", 36), series=series) == "risk_run_notional"


# ------------------------------------------------------------------ results


def test_losses_of_a_run_add_up() -> None:
    """Resolved cycles and the running one count together; a corrected result replaces the old."""
    guard = only(max_run_loss=D(10))
    guard.note_result("a", D(-9), traded=True)
    assert ask(guard, loss=D("0.99")) is None
    assert ask(guard, loss=D(1)) == "risk_run_loss"
    guard.note_result("b", D(2), traded=True)
    assert ask(guard, loss=D(1)) is None
    guard.note_result("b", D(-1), traded=True)
    assert guard.profit == D(-10)
    assert ask(guard) == "risk_run_loss"


def test_losing_cycles_in_a_row() -> None:
    """They count until one does not lose; cycles without trades count neither way."""
    guard = only(max_losing_cycles=2)
    for slug, profit, traded in (("a", -1, True), ("b", 0, False), ("c", 1, True), ("d", -1, True)):
        guard.note_result(slug, D(profit), traded=traded)
    assert (guard.losing_cycles, ask(guard)) == (1, None)
    guard.note_result("e", D(0), traded=False)
    guard.note_result("f", D(-1), traded=True)
    assert (guard.losing_cycles, ask(guard)) == (2, "risk_losing_cycles")
    assert ask(guard, sell(), sellable=D(10)) is None
    guard.note_result("f", D(1), traded=True)
    assert (guard.losing_cycles, ask(guard)) == (0, None)


def test_a_running_loss_of_another_series_counts() -> None:
    """What sales and fees cost a running cycle is lost for the run before it is resolved."""
    guard, desk = only(max_run_loss=D(5)), Desk()
    guard.begin_cycle(desk.state)
    bought_and_sold(desk, "0.5", "0.1")
    assert ask(guard, series="eth-updown-15m", loss=D("0.99")) is None
    assert ask(guard, series="eth-updown-15m", loss=D(1)) == "risk_run_loss"
    guard.end_cycle(desk.state)
    assert guard.profit == D(-4)
    assert guard.losing_cycles == 0, "it may still win"
    guard.note_result(desk.state.market.slug, D(3), traded=True)
    assert guard.profit == D(3)


def test_a_break_even_ends_a_row_of_losses() -> None:
    """A cycle with trades that earned exactly nothing did not lose."""
    guard = RiskGuard()
    guard.note_result("a", D(-1), traded=True)
    guard.note_result("b", D(0), traded=True)
    assert guard.losing_cycles == 0


def test_resuming_forgives_the_row_but_not_the_sum() -> None:
    """After `resume` losing cycles count from zero, while the run's loss stays what it is."""
    guard = only(max_losing_cycles=2, max_run_loss=D(5))
    guard.note_result("a", D(-1), traded=True)
    guard.note_result("b", D(-1), traded=True)
    assert ask(guard) == "risk_losing_cycles"
    guard.resume()
    assert ask(guard) is None
    guard.note_result("c", D(-3), traded=True)
    assert guard.losing_cycles == 1
    guard.resume()
    assert ask(guard) == "risk_run_loss"


def test_old_results_stay_in_the_sum() -> None:
    """Only so many cycles are remembered one by one."""
    guard = RiskGuard()
    for number in range(RESULTS_KEPT + 50):
        guard.note_result(f"c{number}", D(-1), traded=True)
    assert guard.profit == -(RESULTS_KEPT + 50)
    assert guard.losing_cycles == RESULTS_KEPT


# ------------------------------------------------------------------ states


def test_a_halt_lets_nothing_pass() -> None:
    """Entries and reducing orders are refused with the reason, until it is resumed."""
    guard = RiskGuard()
    guard.halt("operator said so")
    assert (guard.state, guard.reason) == (RiskState.HALTED, "operator said so")
    denied = guard.check("me", sell(), facts(sellable=D(10)))
    assert denied is not None
    assert denied.rule == "risk_halted"
    assert "operator said so" in denied.text
    assert ask(guard) == "risk_halted"
    guard.resume()
    assert (guard.state, guard.reason, ask(guard)) == (RiskState.ACTIVE, "", None)


def test_a_pause_lets_reducing_orders_pass() -> None:
    """Entries are refused, sells of held shares and completing buys are not."""
    guard = RiskGuard()
    guard.pause("news")
    assert guard.state is RiskState.REDUCING
    denied = guard.check("me", buy(), facts())
    assert denied is not None
    assert denied.rule == "risk_reducing"
    assert "news" in denied.text
    assert ask(guard, sell(), sellable=D(10)) is None
    assert ask(guard, buy(), unpaired=D(10)) is None


def test_a_pause_does_not_loosen_a_halt() -> None:
    """Whoever halts is only overruled by `resume`; a pause can become a halt."""
    guard = RiskGuard()
    guard.pause("first")
    guard.halt("second")
    guard.pause("third")
    assert (guard.state, guard.reason) == (RiskState.HALTED, "second")


# ------------------------------------------------------------------ the breaker


@pytest.mark.parametrize("code", sorted(VENUE_ERRORS))
def test_refusals_that_are_no_verdict_open_the_breaker(code: str) -> None:
    """Each kind of trouble at the venue counts, and with the last entries stop."""
    guard = only(breaker_errors=2, breaker_cooldown=30.0)
    answer(guard, (REJECTED, code))
    assert ask(guard) is None
    answer(guard, (REJECTED, code))
    assert ask(guard) == "risk_breaker"
    assert guard.breaker(50.0) is BreakerState.OPEN
    assert ask(guard, sell(), sellable=D(10)) is None
    assert ask(guard, network_time=80.0) is None


def test_lost_answers_open_the_breaker() -> None:
    """An unknown outcome is trouble, too."""
    guard = only(breaker_errors=2)
    answer(guard, (UNKNOWN, "no_answer"), (UNKNOWN, "server_error"))
    assert ask(guard) == "risk_breaker"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (REJECTED, "not_enough_balance"),
        (REJECTED, "tick_size"),
        (REJECTED, "min_size"),
        (REJECTED, "post_only_would_cross"),
        (REJECTED, "market_not_ready"),
        (REJECTED, "fok_not_filled"),
        (REJECTED, "fak_not_filled"),
        (UNKNOWN, "duplicate"),
        (LIVE, ""),
        (PlaceResult.MATCHED, ""),
        (PlaceResult.DELAYED, ""),
    ],
)
def test_a_verdict_is_no_trouble(result: PlaceResult, code: str) -> None:
    """Refusals by rule or balance, duplicates and killed orders show that the venue works."""
    assert not is_venue_error(result, code)
    guard = only(breaker_errors=2)
    for _ in range(5):
        answer(guard, (UNKNOWN, "no_answer"), (result, code))
    assert guard.breaker(50.0) is BreakerState.CLOSED


def test_only_one_entry_tries_after_the_cool_down() -> None:
    """The second is refused until the first is answered well."""
    guard = only(breaker_errors=1, breaker_cooldown=30.0)
    answer(guard, (UNKNOWN, "no_answer"))
    send(guard, "try", network_time=80.0)
    assert ask(guard, network_time=81.0) == "risk_breaker"
    guard.answered({"try": (LIVE, "")}, 82.0)
    assert ask(guard, network_time=82.0) is None


def test_resuming_closes_the_breaker() -> None:
    """An operator who knows better does not have to wait."""
    guard = only(breaker_errors=1)
    answer(guard, (UNKNOWN, "no_answer"))
    guard.resume()
    assert ask(guard) is None


# ------------------------------------------------------------------ intents


def test_an_intent_is_placed_once() -> None:
    """While the first is open or young the second is refused; it can be sent when neither holds."""
    guard = only(intent_ttl=2.0)
    assert ask(guard, buy(intent="open")) is None
    send(guard, "c1", buy(intent="open"))
    guard.answered({"c1": (LIVE, "")}, 50.0)
    denied = guard.check("me", buy(intent="open"), facts(time=1001.9))
    assert denied is not None
    assert denied.rule == "duplicate_intent"
    assert "c1" in denied.text
    assert ask(guard, buy(intent="open"), time=1001.9) == "duplicate_intent"
    assert ask(guard, buy(intent="open"), time=1500.0, has_intent=True) == "duplicate_intent"
    assert ask(guard, buy(intent="open"), time=1002.0) is None


def test_intents_of_others_are_others() -> None:
    """Another intent, strategy or series is free, and orders without a name always are."""
    guard = only(intent_ttl=2.0)
    send(guard, "c1", buy(intent="open"))
    send(guard, "c2", buy())
    assert ask(guard, buy(intent="close")) is None
    assert ask(guard, buy()) is None
    assert ask(guard, buy(intent="open"), series="eth-updown-15m") is None
    assert guard.check("you", buy(intent="open"), facts()) is None


def test_a_refused_order_gives_its_intent_back() -> None:
    """When nothing came of it, the same may be tried again at once."""
    guard = only(intent_ttl=2.0)
    send(guard, "c1", buy(intent="open"))
    guard.answered({"c1": (REJECTED, "not_enough_balance")}, 50.0)
    assert ask(guard, buy(intent="open")) is None


def test_a_lost_order_keeps_its_intent() -> None:
    """It may be live, so a second one may not follow."""
    guard = only(intent_ttl=2.0)
    send(guard, "c1", buy(intent="open"))
    guard.answered({"c1": (UNKNOWN, "no_answer")}, 50.0)
    assert ask(guard, buy(intent="open")) == "duplicate_intent"


def test_a_late_refusal_does_not_free_a_newer_order() -> None:
    """The intent belongs to the order that was sent last."""
    guard = only(intent_ttl=2.0)
    send(guard, "c1", buy(intent="open"))
    send(guard, "c2", buy(intent="open"), time=1003.0)
    guard.answered({"c1": (REJECTED, "rejected")}, 60.0)
    assert ask(guard, buy(intent="open"), time=1004.0) == "duplicate_intent"


def test_a_reducing_order_is_placed_once_too() -> None:
    """De-duplication is what the strategy asked for: it holds for every order."""
    guard = only(intent_ttl=2.0)
    request = OrderRequest(UP, Side.SELL, D("0.50"), D(10), intent="leave")
    send(guard, "c1", request, sellable=D(20))
    assert ask(guard, request, sellable=D(10)) == "duplicate_intent"


# ------------------------------------------------------------------ settings


def test_the_defaults_are_generous_and_on() -> None:
    """An ordinary order passes them; a loop that runs away meets one."""
    guard = RiskGuard()
    assert ask(guard, buy("0.50", 1000)) is None
    for number in range(1000):
        if ask(guard) is not None:
            break
        send(guard, f"c{number}")
    assert number == RiskLimits().order_burst


def test_no_limits_at_all() -> None:
    """`unlimited` sets every limit to ``None``."""
    limits = RiskLimits.unlimited()
    kept = {"order_burst", "breaker_cooldown", "intent_ttl"}
    for name, value in attrs.asdict(limits).items():
        assert (value is None) is (name not in kept), name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_order_notional", Decimal(0)),
        ("max_order_shares", 10),
        ("max_cycle_notional", Decimal("NaN")),
        ("max_run_notional", Decimal("1e999999")),
        ("max_position", 10.0),
        ("max_open_orders", 0),
        ("max_open_orders", True),
        ("max_losing_cycles", 2.0),
        ("max_orders_per_second", 0),
        ("max_orders_per_second", float("inf")),
        ("order_burst", None),
        ("order_burst", 0),
        ("entry_after", -1),
        ("entry_before_end", "5"),
        ("max_book_age", float("nan")),
        ("max_spread", Decimal("-0.1")),
        ("breaker_errors", 0),
        ("breaker_cooldown", None),
        ("intent_ttl", -0.1),
        ("intent_ttl", None),
    ],
)
def test_a_wrong_limit_names_its_field(field: str, value: Any) -> None:
    """The error says which field, what belongs there, and what was given."""
    with pytest.raises(ConfigError, match=rf"^{field}: expected .*, got ") as caught:
        RiskLimits(**{field: value})
    assert repr(value) in str(caught.value)
