"""The venue's limits, kept on our side, on simulated time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, RateLimited
from polyframe.exchange.base import PlaceAnswer
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.pacing import (
    Bucket,
    Pacer,
    RateLimits,
    endpoint_buckets,
)
from polyframe.exchange.polymarket.rest import RestClient
from polyframe.exchange.polymarket.wire import Skips
from polyframe.model.order import PlaceResult
from tests.exchange.kit import CREDENTIALS
from tests.exchange.test_rest import HOSTS


def play(
    act: Callable[[Pacer, VirtualClock], Awaitable[Any]], **limits: Any
) -> tuple[Any, dict[str, int]]:
    """Run `act` in simulated time; return its result and what was counted."""
    clock, counters = VirtualClock(), Counters()

    async def main() -> Any:
        return await act(Pacer(RateLimits(**{"share": 1.0} | limits), counters), clock)

    return clock.run(main()), counters.reasons(Count.REQUESTS_PACED)


async def passes(pacer: Pacer, clock: VirtualClock, count: int, *request: Any) -> list[float]:
    """Return the times at which so many requests, made at once, were let pass."""
    times: list[float] = []

    async def one() -> None:
        await pacer.pass_through(*request)
        times.append(clock.time())

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
    return times


ORDER = ("clob", "POST", "/order")
CANCEL = ("clob", "DELETE", "/order")


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    """A standard signer has 60 orders at once and 40 a second from then on (PROTOCOL §2.11)."""

    async def act(pacer: Pacer, clock: VirtualClock) -> list[float]:
        return await passes(pacer, clock, 70, *ORDER)

    times, counted = play(act)
    assert times[:60] == [0.0] * 60
    assert times[60:] == pytest.approx([n / 40 for n in range(1, 11)])
    assert counted == {"waited:signer_orders": 10}


def test_an_order_that_would_wait_too_long_is_not_sent() -> None:
    """Its price was meant for now: it is refused with the time after which it would pass."""

    async def act(pacer: Pacer, clock: VirtualClock) -> float | None:
        await passes(pacer, clock, 60, *ORDER)
        await pacer.pass_through(*ORDER, 15)
        with pytest.raises(RateLimited, match="not sent") as caught:
            await pacer.pass_through(*ORDER, 16)
        assert caught.value.code == "rate_limited"
        assert clock.time() == pytest.approx(0.375)
        return caught.value.retry_after

    wait, counted = play(act, order_wait=0.38)
    assert wait == pytest.approx(0.4)
    assert counted["refused:signer_orders"] == 1


def test_a_refused_order_takes_nothing() -> None:
    """However often it is tried, it does not push back the time at which it passes."""

    async def act(pacer: Pacer, clock: VirtualClock) -> None:
        await passes(pacer, clock, 60, *ORDER)
        for _ in range(100):
            with pytest.raises(RateLimited):
                await pacer.pass_through(*ORDER)
        await asyncio.sleep(1 / 40)
        await pacer.pass_through(*ORDER)
        assert clock.time() == pytest.approx(1 / 40)

    play(act, order_wait=0.0)


def test_a_batch_costs_as_much_as_its_orders() -> None:
    """Four batches of 15 are the burst; the fifth waits for all of its orders."""

    async def act(pacer: Pacer, clock: VirtualClock) -> list[float]:
        return await passes(pacer, clock, 5, "clob", "POST", "/orders", 15)

    times, _ = play(act)
    assert times == pytest.approx([0, 0, 0, 0, 15 / 40])


def test_more_than_a_burst_passes_from_a_full_bucket() -> None:
    """A cancel of 1000 ids is one request: it passes, and what comes later waits."""

    async def act(pacer: Pacer, clock: VirtualClock) -> float:
        await pacer.pass_through("clob", "DELETE", "/orders", 1000)
        assert clock.time() == 0
        await pacer.pass_through(*CANCEL)
        return clock.time()

    waited, counted = play(act, cancel_wait=30.0)
    assert waited == pytest.approx((1000 - 120 + 1) / 80)
    assert counted == {"waited:signer_cancels": 1}


def test_cancels_do_not_wait_for_orders() -> None:
    """They have tokens of their own: a flood of orders holds no cancel up."""

    async def act(pacer: Pacer, clock: VirtualClock) -> None:
        orders = asyncio.create_task(passes(pacer, clock, 79, *ORDER))
        await asyncio.sleep(0)
        await pacer.pass_through(*CANCEL)
        assert clock.time() == 0
        await orders

    play(act)


def test_a_cancel_is_sent_in_the_end() -> None:
    """It is held for a moment and never refused here: an order that nobody cancels is worse."""

    async def act(pacer: Pacer, clock: VirtualClock) -> float:
        await pacer.pass_through("clob", "DELETE", "/orders", 1000)
        await pacer.pass_through(*CANCEL)
        return clock.time()

    waited, counted = play(act)
    assert waited == 1.0
    assert counted["cancel_not_held"] == 1


def test_only_cancels_use_the_last_tenth_of_the_services_total() -> None:
    """Questions cannot use up what cancels need."""

    async def act(pacer: Pacer, clock: VirtualClock) -> None:
        for _ in range(4050):
            await pacer.pass_through("clob", "GET", "/clob-markets/0x1")
        assert clock.time() == 0
        await pacer.pass_through("clob", "GET", "/clob-markets/0x1")
        assert clock.time() > 0
        begun = clock.time()
        await pacer.pass_through(*CANCEL)
        assert clock.time() == begun

    _, counted = play(act)
    assert counted == {"waited:clob": 1}


def test_a_path_below_an_endpoint_counts_there() -> None:
    """A market by its slug is one of the markets."""

    async def act(pacer: Pacer, clock: VirtualClock) -> list[float]:
        return await passes(pacer, clock, 151, "gamma", "GET", "/markets/slug/btc-updown-15m-1")

    times, counted = play(act)
    assert times[149] == 0
    assert times[150] == pytest.approx(1 / 15)
    assert counted == {"waited:GET /markets": 1}


def test_a_cancelled_wait_gives_back_what_it_took() -> None:
    """A request that is given up before it was sent costs nobody anything."""

    async def act(pacer: Pacer, clock: VirtualClock) -> float:
        await passes(pacer, clock, 60, *ORDER)
        waiting = asyncio.create_task(pacer.pass_through("clob", "POST", "/orders", 15))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await pacer.pass_through(*ORDER)
        return clock.time()

    waited, _ = play(act)
    assert waited == pytest.approx(1 / 40)


def test_the_venues_own_refusal_is_kept() -> None:
    """After a 429 its endpoint is left alone for as long as it said; other requests go on."""

    async def act(pacer: Pacer, clock: VirtualClock) -> None:
        pacer.note_refusal(*ORDER, 79.0)
        with pytest.raises(RateLimited) as caught:
            await pacer.pass_through(*ORDER)
        assert caught.value.retry_after == 79.0
        await pacer.pass_through(*CANCEL)
        await pacer.pass_through("clob", "GET", "/data/orders")
        assert clock.time() == 0
        await asyncio.sleep(79)
        await pacer.pass_through(*ORDER)

    _, counted = play(act)
    assert counted["refused_by_venue"] == 1


def test_who_waits_hears_of_the_venues_refusal() -> None:
    """An order that waits its turn does not leave after a 429, a question waits for longer."""

    async def act(pacer: Pacer, clock: VirtualClock) -> None:
        for _ in range(60):
            await pacer.pass_through(*ORDER)
        waiting = asyncio.create_task(pacer.pass_through(*ORDER))
        await asyncio.sleep(0)
        pacer.note_refusal(*ORDER, 30)
        await asyncio.wait({waiting})
        assert isinstance(waiting.exception(), RateLimited)
        assert clock.time() < 0.1
        await asyncio.sleep(30)
        await pacer.pass_through(*ORDER)
        assert clock.time() < 30.1

        question = ("clob", "GET", "/data/orders")
        for _ in range(250):
            await pacer.pass_through(*question)
        begun = clock.time()
        waiting = asyncio.create_task(pacer.pass_through(*question))
        await asyncio.sleep(0)
        pacer.note_refusal(*question, 2)
        await waiting
        assert clock.time() - begun == pytest.approx(2)

    play(act)


def test_without_a_number_a_second_is_waited() -> None:
    """A 429 that does not say for how long is given a second."""

    async def act(pacer: Pacer, clock: VirtualClock) -> float:
        pacer.note_refusal("clob", "GET", "/data/orders", None)
        await pacer.pass_through("clob", "GET", "/data/orders")
        return clock.time()

    assert play(act)[0] == 1.0


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"share": 0}, "share"),
        ({"share": 1.1}, "share"),
        ({"tier": "tin"}, "tier"),
        ({"order_wait": -1}, "order_wait"),
        ({"read_wait": float("nan")}, "read_wait"),
    ],
)
def test_limits_that_cannot_be_are_refused(settings: dict[str, Any], field: str) -> None:
    """The message names the field and what may stand there."""
    with pytest.raises(ConfigError, match=field):
        RateLimits(**settings)


def test_a_part_of_the_limits_can_be_left_alone() -> None:
    """A twentieth is kept free by default: what leaves here evenly does not arrive so."""

    async def act(pacer: Pacer, clock: VirtualClock) -> list[float]:
        return await passes(pacer, clock, 58, *ORDER)

    assert RateLimits().share == 0.95
    times, _ = play(act, share=0.95)
    assert times[56] == 0
    assert times[57] == pytest.approx(1 / 38)


def test_what_others_took_is_learned_from_the_answers() -> None:
    """The venue says how much is left of the signer's limits: another program may use them, too."""

    async def act(pacer: Pacer, clock: VirtualClock) -> list[float]:
        pacer.note_answer(*ORDER, {"Poly-RateLimit-Remaining": "1000"})
        pacer.note_answer(*ORDER, {"Poly-RateLimit-Remaining": "2"})
        pacer.note_answer(*CANCEL, {"Poly-RateLimit-Remaining": "-40"})
        for junk in ("", "many", "1e9", "--5", "999999999999"):
            pacer.note_answer(*ORDER, {"Poly-RateLimit-Remaining": junk})
        await pacer.pass_through(*CANCEL)
        assert clock.time() == pytest.approx(41 / 80)
        begun = clock.time()
        times = await passes(pacer, clock, 24, *ORDER)
        return [time - begun for time in times]

    times, _ = play(act)
    # 2 were left, and in 41/80 of a second 20.5 came in.
    assert times[:22] == [0.0] * 22
    assert times[22] == pytest.approx(0.5 / 40)


def test_another_tier_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has better limits should use them, and whoever has worse ones must."""

    async def act(pacer: Pacer, clock: VirtualClock) -> None:
        for tier in ("Standard", "Gold", "Gold", "Unheard"):
            pacer.note_answer(*ORDER, {"Poly-RateLimit-Tier": tier})

    caplog.set_level(logging.WARNING)
    play(act)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "RateLimits(tier='gold')" in line


def test_the_tier_decides_on_the_rate() -> None:
    """A gold signer has 600 orders at once."""

    async def act(pacer: Pacer, clock: VirtualClock) -> list[float]:
        return await passes(pacer, clock, 601, *ORDER)

    times, _ = play(act, tier="gold")
    assert times[599] == 0
    assert times[600] > 0


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), min_size=1, max_size=60),
    st.floats(1, 50),
    st.floats(1, 100),
)
def test_no_span_sees_more_than_the_burst_and_its_rate(
    requests: list[tuple[float, int]], rate: float, burst: float
) -> None:
    """Whatever is asked for and when: what passed between two moments is what a bucket allows."""
    bucket = Bucket("x", rate, burst)
    now, passed = 0.0, list[tuple[float, int]]()
    for pause, cost in requests:
        now += pause
        wait = bucket.wait(now, cost)
        bucket.take(cost)
        passed.append((max(now + wait, passed[-1][0] if passed else 0.0), cost))
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = passed[last][0] - passed[first][0]
            total = sum(cost for _, cost in passed[first : last + 1])
            largest = max(cost for _, cost in passed[first : last + 1])
            assert total <= max(burst, largest) + rate * span + largest + 1e-6


def test_every_endpoint_stays_within_its_published_limit() -> None:
    """The burst and ten seconds of the rate are within the limit of ten seconds."""
    for (_, method, path), bucket in endpoint_buckets().items():
        assert bucket.burst + 10 * bucket.rate <= 5000, (method, path)
        assert bucket.burst >= 15, (method, path)
    orders = endpoint_buckets()["clob", "POST", "/orders"]
    assert orders.burst + 600 * orders.rate <= 21_000


# ------------------------------------------------------------------ in the client


def client(
    handler: Callable[[httpx.Request], httpx.Response], counters: Counters, **limits: Any
) -> RestClient:
    """Return a client with a pacer that talks to `handler`."""
    http = HttpClient(
        VirtualClock(1_790_586_000),
        CREDENTIALS,
        timeout=5,
        transport=httpx.MockTransport(handler),
        pacer=Pacer(RateLimits(**{"share": 1.0} | limits), counters),
        services={HOSTS.clob: "clob", HOSTS.gamma: "gamma", HOSTS.data: "data"},
    )
    return RestClient(http, HOSTS, None, counters, Skips(counters))


def test_an_order_beyond_the_limits_is_rejected_and_not_sent() -> None:
    """Its answer says "rate_limited": nothing rests at the venue, and the next may be tried later."""
    counters = Counters()
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(429, headers={"Retry-After": "30"}, json={"error": "Too Many"})

    async def main() -> list[PlaceAnswer]:
        rest = client(handler, counters)
        answers = [await rest.place_order({}, "0x1"), await rest.place_order({}, "0x2")]
        answers += await rest.place_orders([({}, "0x3"), ({}, "0x4")])
        await rest.close()
        return answers

    answers = VirtualClock().run(main())
    assert {answer.code for answer in answers} == {"rate_limited"}
    assert answers[0].result is PlaceResult.UNKNOWN  # the venue's own limit: it was sent
    assert {answer.result for answer in answers[1:]} == {PlaceResult.REJECTED}
    assert all("not sent" in answer.text for answer in answers[1:])
    assert seen == ["/clob/order"]
    assert counters.get(Count.REQUESTS_PACED, "refused_by_venue") == 1


def test_batches_and_cancels_are_counted_by_their_orders() -> None:
    """What the signer's limits count is orders, not requests."""
    counters = Counters()

    async def main() -> None:
        clock_start = asyncio.get_running_loop().time()
        rest = client(lambda _: httpx.Response(200, json=[]), counters)
        for _ in range(4):
            await rest.place_orders([({}, str(number)) for number in range(15)])
        assert asyncio.get_running_loop().time() == clock_start
        await rest.cancel_orders([str(number) for number in range(120)])
        assert asyncio.get_running_loop().time() == clock_start
        await rest.cancel_orders(["0x1", "0x2"])
        assert asyncio.get_running_loop().time() - clock_start == pytest.approx(2 / 80)
        await rest.close()

    VirtualClock().run(main())
    assert counters.get(Count.REQUESTS_PACED, "refused:signer_orders") == 0


def test_a_warning_of_the_venue_is_counted() -> None:
    """While the signer's limits are not enforced the venue says in a header what it would do."""
    counters = Counters()
    headers = {"Poly-RateLimit-Warning": "true", "Poly-RateLimit-Remaining": "-3"}

    async def main() -> None:
        rest = client(lambda _: httpx.Response(200, headers=headers, json=1), counters)
        await rest.fetch_time()
        await rest.close()

    VirtualClock().run(main())
    assert counters.reasons(Count.REQUESTS_PACED) == {"warned_by_venue": 1}
