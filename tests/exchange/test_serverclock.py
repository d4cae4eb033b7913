"""What the venue's answers prove about its clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket import PolymarketExchange, PolymarketHosts
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.rest import RestClient
from polyframe.exchange.polymarket.serverclock import ServerClock
from polyframe.exchange.polymarket.wire import Skips
from tests.exchange.kit import CREDENTIALS
from tests.exchange.test_rest import HOSTS, Venue

NOW = 1_790_586_000.0


def noted(*answers: tuple[int, float, float]) -> tuple[ServerClock, dict[str, int]]:
    """Return a clock that was told these times, and what was counted."""
    counters = Counters()
    clock = ServerClock(VirtualClock(NOW), counters)
    for told, before, after in answers:
        clock.note(int(NOW) + told, NOW + before, NOW + after)
    return clock, counters.reasons(Count.SERVER_CLOCK)


def test_a_difference_that_is_not_proven_is_none() -> None:
    """The venue tells whole seconds: as long as they allow it, our clock is right."""
    clock, counted = noted((0, 0.2, 0.3), (1, 1.9, 2.1), (4, 3.95, 4.05))
    assert clock.offset == 0.0
    assert clock.time() == NOW
    assert counted == {}


def test_a_proven_difference_is_corrected() -> None:
    """An answer that cannot be explained otherwise moves the time of requests."""
    clock, counted = noted((5, 0.0, 0.2))
    assert 4.8 <= clock.offset <= 6.0
    assert clock.time() == NOW + clock.offset
    assert counted == {"ahead": 1}


def test_several_answers_narrow_it_down() -> None:
    """What all answers allow is less than what each of them allows."""
    clock, _ = noted((-3, 0.0, 0.05), (-3, 0.45, 0.5), (-2, 0.7, 0.75))
    assert -3.0 < clock.offset < -2.5


def test_the_alarm_is_given_once() -> None:
    """More than two seconds are counted when they begin, not with every answer."""
    _, counted = noted((-5, 0, 0.1), (-4, 1, 1.1), (-3, 2, 2.1))
    assert counted == {"behind": 1}
    _, counted = noted((2, 0.5, 0.6))
    assert counted == {}


def test_a_clock_that_was_set_starts_anew() -> None:
    """Two answers that contradict each other: the newest is believed."""
    clock, counted = noted((0, 0.2, 0.3), (60, 1.2, 1.3), (-60, 2.0, 2.1))
    assert counted == {"reset": 2, "ahead": 1, "behind": 1}
    assert -62.2 < clock.offset < -60.9


def test_a_question_that_ended_before_it_began_proves_nothing() -> None:
    """Our own clock was set back while the venue answered."""
    assert noted((100, 5.0, 1.0))[0].offset == 0.0


def test_old_answers_are_forgotten() -> None:
    """Clocks drift: what was proven half an hour ago is not held against the newest answer."""
    clock, counted = noted((0, 0.9, 0.95), (2005, 2000.9, 2000.95))
    assert 4.0 < clock.offset < 5.2
    assert counted == {"ahead": 1}


@given(
    st.floats(-100, 100),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 2), st.floats(0, 1)), max_size=20),
)
def test_the_true_difference_is_never_missed_by_more_than_the_answers_allow(
    offset: float, questions: list[tuple[float, float, float]]
) -> None:
    """With a steady difference the correction is off by no more than a second and the way."""
    counters = Counters()
    clock = ServerClock(VirtualClock(NOW), counters)
    now = NOW
    for pause, way, part in questions:
        now += pause
        told = int(now + way * part + offset)
        clock.note(told, now, now + way)
        now += way
        assert abs(clock.offset - offset) <= 1 + way + 1e-3
    assert counters.get(Count.SERVER_CLOCK, "reset") == 0


@pytest.mark.parametrize("header", ["", "soon", "Mon, 99 Nov 2026 10:00:00 GMT", "0"])
def test_a_header_that_is_no_date_proves_nothing(header: str) -> None:
    """What cannot be read is left out."""
    clock = ServerClock(VirtualClock(NOW), Counters())
    clock.note_header(header, NOW, NOW)
    assert clock.offset == 0.0


# ------------------------------------------------------------------ in the client


def asked(
    handler: Callable[[httpx.Request], httpx.Response], calls: int, *, private: bool = True
) -> tuple[list[httpx.Request], ServerClock]:
    """Make some calls with a client that knows a venue's clock; return the requests."""
    requests: list[httpx.Request] = []
    clock = VirtualClock(NOW)
    server = ServerClock(clock, Counters())

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return handler(request)

    async def main() -> None:
        transport = httpx.MockTransport(answer)
        http = HttpClient(clock, CREDENTIALS, 5, transport, server_clock=server)
        for _ in range(calls):
            await http.json("GET", HOSTS.clob, "/x", private=private)
        await http.close()

    clock.run(main())
    return requests, server


def dated(**headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler whose answers say that it is ten seconds later."""
    date = {"Date": "Mon, 28 Sep 2026 09:00:10 GMT"}
    return lambda _: httpx.Response(200, json=1, headers=date | headers)


def test_signatures_carry_the_venues_time() -> None:
    """The first answer tells the difference, the second request is stamped with it (§3.2)."""
    requests, server = asked(dated(), 2)
    stamps = [int(request.headers["POLY_TIMESTAMP"]) for request in requests]
    assert stamps == [int(NOW), int(NOW + server.offset)]
    assert 10 <= server.offset <= 11


def test_times_out_of_a_cache_are_not_believed() -> None:
    """A public answer, or one with an age, may tell the time at which it was stored."""
    assert asked(dated(), 2, private=False)[1].offset == 0.0
    assert asked(dated(Age="7"), 2)[1].offset == 0.0


@pytest.mark.parametrize("value", [b"1790586000", b'"1790586000"'])
def test_the_venues_time_is_whole_seconds(value: bytes) -> None:
    """The endpoint answers with a bare number (§2.1)."""
    venue = Venue(value)
    assert venue.ask(lambda rest: rest.fetch_time()) == 1790586000
    assert venue.paths == ["GET time"]


@pytest.mark.parametrize("value", [b"{}", b"-5", b"1790586000000", b"null", b'"now"'])
def test_a_time_that_is_none_is_an_error(value: bytes) -> None:
    """Milliseconds, objects and words are not taken for seconds."""
    with pytest.raises(ExchangeError, match="expected epoch seconds"):
        Venue(value).ask(lambda rest: rest.fetch_time())


def measured(hosts: PolymarketHosts, told: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open an exchange whose venue tells a time; return what it measured and its own time."""

    async def fetch_time(_self: RestClient) -> int:
        return told

    monkeypatch.setattr(RestClient, "fetch_time", fetch_time)

    async def main() -> tuple[float, float]:
        exchange = PolymarketExchange(hosts=hosts, credentials=CREDENTIALS)
        await exchange.open(VirtualClock(NOW), Counters())
        offset = await exchange.measure_clock()
        now = exchange._open_link.time()
        await exchange.close()
        return offset, now

    return asyncio.run(main())


def test_the_real_venue_is_asked_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are stamped with it."""
    offset, now = measured(PolymarketHosts(), int(NOW) + 60, monkeypatch)
    assert 60 <= offset <= 61
    assert now == NOW + offset


def test_a_venue_on_this_machine_goes_by_our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is told and not used: market time may be simulated there."""
    offset, now = measured(HOSTS, int(NOW) + 60, monkeypatch)
    assert 60 <= offset <= 61
    assert now == NOW


def signed_with(*answers: Any) -> tuple[Venue, ServerClock]:
    """Ask twice about the account with a client that wants to know the venue's time."""
    venue = Venue(*answers)
    clock = VirtualClock(NOW)
    server = ServerClock(clock, venue.counters)

    async def main() -> None:
        transport = httpx.MockTransport(venue)
        http = HttpClient(clock, CREDENTIALS, 5, transport, server_clock=server)
        skips = Skips(venue.counters)
        rest = RestClient(http, HOSTS, None, venue.counters, skips, server_clock=server)
        await rest.is_closed_only()
        await rest.place_order({}, "0x1")
        await rest.close()

    clock.run(main())
    return venue, server


def test_the_time_is_asked_for_before_the_first_signature() -> None:
    """Once: with a clock that is off, the very first private call would be refused (§3.2)."""
    venue, server = signed_with(str(int(NOW)).encode(), {}, {})
    assert venue.paths == ["GET time", "GET auth/ban-status/closed-only", "POST order"]
    assert server.offset == 0.0
    venue, server = signed_with(str(int(NOW) + 60).encode(), {}, {})
    stamp = int(venue.requests[1].headers["POLY_TIMESTAMP"])
    assert stamp == int(NOW + server.offset) >= NOW + 60


def stamped_together(time_takes: float, *, first: float | None = None) -> list[tuple[float, bool]]:
    """Make three private calls at once, at a venue 30 seconds ahead; return when, and if well stamped.

    Args:
        time_takes: Seconds that the venue takes to tell the time.
        first: Seconds after which the first of the calls is given up, if it is.
    """
    clock, counters = VirtualClock(NOW), Counters()
    stamps: list[tuple[float, bool]] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/time"):
            await asyncio.sleep(time_takes)
            return httpx.Response(200, json=int(clock.time()) + 30)
        ahead = int(request.headers["POLY_TIMESTAMP"]) - int(clock.time())
        stamps.append((clock.time() - NOW, 30 <= ahead <= 32))
        return httpx.Response(200, json={"canceled": []})

    async def main() -> None:
        server = ServerClock(clock, counters)
        http = HttpClient(clock, CREDENTIALS, 10, httpx.MockTransport(answer), server_clock=server)
        skips = Skips(counters)
        rest = RestClient(http, HOSTS, None, counters, skips, server_clock=server)
        calls = [asyncio.create_task(rest.cancel_all()) for _ in range(3)]
        if first is not None:
            await asyncio.sleep(first)
            calls[0].cancel()
        await asyncio.wait(calls)
        await rest.close()

    clock.run(main())
    return stamps


def test_all_first_calls_wait_for_the_time() -> None:
    """Not only the one that asks: the others would be refused with a clock that is off."""
    assert stamped_together(1.0) == [(1.0, True)] * 3


def test_who_gives_up_asking_leaves_it_to_the_next() -> None:
    """The time is asked for again if the first call is cancelled meanwhile."""
    assert stamped_together(1.0, first=0.5) == [(1.5, True)] * 2


def test_the_time_is_not_waited_for_long() -> None:
    """A venue that does not tell it holds no order for longer than three seconds."""
    assert stamped_together(60.0) == [(3.0, False)] * 3


def test_a_venue_that_does_not_tell_the_time_is_no_obstacle(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It goes on with our clock, and says so."""
    caplog.set_level(logging.WARNING)
    venue, server = signed_with(503, {}, {})
    assert len(venue.requests) == 3
    assert server.offset == 0.0
    assert "the venue's time is not known yet" in caplog.text


def test_opening_asks_nothing() -> None:
    """An exchange object can be opened without a network."""

    async def main() -> None:
        exchange = PolymarketExchange(credentials=CREDENTIALS)
        await exchange.open(VirtualClock(NOW), Counters())
        assert exchange._open_link.time() == NOW
        await exchange.close()

    asyncio.run(main())
