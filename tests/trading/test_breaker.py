"""The breaker and the pace of orders, on their own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.trading.breaker import Breaker, BreakerState, TokenBucket

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def opened(errors: int = 3, cooldown: float = 30.0) -> Breaker:
    """Return a breaker that opened at second 0."""
    breaker = Breaker(errors, cooldown)
    for _ in range(errors):
        breaker.answered(breaker.sent(0), failed=True, now=0)
    return breaker


def test_it_opens_after_so_many_errors_in_a_row() -> None:
    """One error less than the limit leaves it closed, and so does any answer in between."""
    breaker = Breaker(3, 30)
    for failed in (True, True, False, True, True):
        breaker.answered(breaker.sent(0), failed=failed, now=0)
        assert breaker.state(0) is CLOSED
    assert breaker.errors == 2
    breaker.answered(breaker.sent(0), failed=True, now=5)
    assert breaker.state(5) is OPEN
    assert breaker.wait(5) == 30


def test_without_a_limit_it_never_opens() -> None:
    """``None`` errors stand for a breaker that only counts."""
    breaker = Breaker(None, 30)
    for _ in range(100):
        breaker.answered(breaker.sent(0), failed=True, now=0)
    assert breaker.state(0) is CLOSED
    assert breaker.wait(0) == 0


def test_one_order_passes_after_the_cool_down() -> None:
    """It is half-open until one order leaves; the next has to wait for its answer."""
    breaker = opened()
    assert breaker.state(29.9) is OPEN
    assert breaker.state(30) is HALF_OPEN
    assert breaker.wait(30) == 0
    ticket = breaker.sent(31)
    assert breaker.state(31) is OPEN
    breaker.answered(ticket, failed=False, now=32)
    assert breaker.state(32) is CLOSED
    assert breaker.errors == 0


def test_another_error_starts_the_cool_down_anew() -> None:
    """The one order that passed and failed keeps it open for the whole time again."""
    breaker = opened()
    breaker.answered(breaker.sent(30), failed=True, now=40)
    assert breaker.state(69.9) is OPEN
    assert breaker.state(70) is HALF_OPEN


def test_an_order_that_is_never_answered_does_not_block_it_for_good() -> None:
    """After another cool-down the next order may try."""
    breaker = opened()
    breaker.sent(30)
    assert breaker.state(59.9) is OPEN
    assert breaker.state(60) is HALF_OPEN


def test_orders_that_leave_in_the_meantime_do_not_prolong_it() -> None:
    """Orders that reduce a risk pass an open breaker; only their answers count."""
    breaker = opened()
    ticket = breaker.sent(20)
    assert breaker.state(30) is HALF_OPEN
    breaker.answered(ticket, failed=False, now=21)
    assert breaker.state(21) is CLOSED


def test_old_answers_say_nothing_of_the_present() -> None:
    """Answers to orders from before it opened neither close it nor keep it open."""
    breaker = Breaker(1, 30)
    before = [breaker.sent(0) for _ in range(3)]
    breaker.answered(before[0], failed=True, now=0)
    breaker.answered(before[1], failed=False, now=1)
    assert breaker.state(1) is OPEN
    breaker.answered(before[2], failed=True, now=20)
    assert breaker.state(30) is HALF_OPEN
    breaker.answered(breaker.sent(30), failed=False, now=31)
    breaker.answered(before[2], failed=True, now=32)
    assert breaker.state(32) is CLOSED


def test_closing_by_hand_forgets_the_errors() -> None:
    """After `close` it takes the full number of errors again."""
    breaker = opened()
    breaker.close()
    assert breaker.state(0) is CLOSED
    breaker.answered(breaker.sent(0), failed=True, now=0)
    assert breaker.state(0) is CLOSED


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 5.0, 10.0]), st.sampled_from(["ok", "bad", "lost"])),
        max_size=60,
    )
)
def test_entries_pass_as_the_rule_says(steps: list[tuple[float, str]]) -> None:
    """One order at a time, answered at once or never: a plain account of it says the same.

    It is open from the third error in a row on; from then on one order passes every ten seconds
    since the last try or error, until one succeeds.
    """
    breaker = Breaker(3, 10.0)
    now, errors, blocked_until = 0.0, 0, None
    for pause, answer in steps:
        now += pause
        passes = blocked_until is None or now >= blocked_until
        assert (breaker.state(now) is not OPEN) is passes
        if not passes:
            continue
        ticket = breaker.sent(now)
        if blocked_until is not None:
            blocked_until = now + 10
        if answer == "lost":
            continue
        breaker.answered(ticket, failed=answer == "bad", now=now)
        errors = errors + 1 if answer == "bad" else 0
        if answer == "ok":
            blocked_until = None
        elif errors >= 3:
            blocked_until = now + 10
    assert breaker.errors == errors


# ------------------------------------------------------------------ pace


def test_a_burst_passes_at_once_and_then_the_pace_holds() -> None:
    """Three at once, then one every half second; the wait says when."""
    bucket = TokenBucket(rate=2, burst=3)
    for _ in range(3):
        assert bucket.wait(100) == 0
        bucket.take(100)
    assert bucket.wait(100) == 0.5
    assert bucket.wait(100.25) == 0.25
    assert bucket.wait(100.5) == 0
    bucket.take(100.5)
    assert bucket.wait(100.5) == 0.5


def test_what_passes_without_a_token_leaves_no_debt() -> None:
    """Orders that reduce a risk pass at any pace, and entries do not pay for it later."""
    bucket = TokenBucket(rate=1, burst=1)
    for _ in range(10):
        bucket.take(0)
    assert bucket.wait(0) == 1


@settings(max_examples=100, deadline=None)
@given(
    rate=st.sampled_from([0.5, 2.0, 10.0]),
    burst=st.integers(1, 5),
    pauses=st.lists(st.sampled_from([0.0, 0.05, 0.5, 3.0]), max_size=80),
)
def test_no_stretch_of_time_sees_more_than_its_share(
    rate: float, burst: int, pauses: list[float]
) -> None:
    """Between any two orders that passed there are at most burst + rate × time."""
    bucket, now = TokenBucket(rate, burst), 0.0
    passed: list[float] = []
    for pause in pauses:
        now += pause
        if bucket.wait(now) == 0:
            bucket.take(now)
            passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - begin) + 1e-6
