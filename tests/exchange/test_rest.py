"""REST calls, their pages, their failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from attrs import evolve

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import (
    AuthenticationFailed,
    ConfigError,
    ExchangeError,
    ExchangeUnavailable,
    RateLimited,
)
from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.exchange.polymarket import Credentials, PolymarketHosts
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.rest import RestClient
from polyframe.exchange.polymarket.restcalls import Region
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import OrderEventKind, TradeReport
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Outcome, Resolution
from polyframe.model.order import PlaceResult
from tests.exchange.kit import (
    ADDRESS,
    API_KEY,
    CONDITION,
    CREDENTIALS,
    DOWN,
    MARKET,
    PASSPHRASE,
    SECRET,
    SERIES,
    UP,
    WINDOW,
)
from tests.exchange.test_gamma import RESOLVED_ROW, ROW, RULES
from tests.exchange.test_wire_user import ORDER, TRADE

T = TypeVar("T")
Handler = Callable[[httpx.Request], httpx.Response]

HOSTS = PolymarketHosts.local("http://127.0.0.1:1")
NOW = 1790586000.9


class Venue:
    """Answers requests from a script and keeps them; each answer is a value, a status, or an error."""

    def __init__(self, *answers: Any) -> None:
        self.requests: list[httpx.Request] = []
        self.counters = Counters()
        self._answers: Iterator[Any] = iter(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Give the next answer."""
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        if isinstance(answer, int):
            return httpx.Response(answer, json={"error": f"status {answer}"})
        return httpx.Response(200, json=answer)

    def ask(
        self,
        call: Callable[[RestClient], Awaitable[T]],
        credentials: Credentials | None = CREDENTIALS,
    ) -> T:
        """Run one call of a client that talks to this venue."""

        async def main() -> T:
            skips = Skips(self.counters)
            http = HttpClient(
                VirtualClock(NOW), credentials, timeout=5, transport=httpx.MockTransport(self)
            )
            decoder = UserDecoder(skips, API_KEY, {ADDRESS}) if credentials else None
            rest = RestClient(http, HOSTS, decoder, self.counters, skips)
            try:
                return await call(rest)
            finally:
                await rest.close()
                await rest.close()

        return asyncio.run(main())

    @property
    def paths(self) -> list[str]:
        """Method and path below the CLOB or Gamma base, with query, of every request."""
        return [
            f"{request.method} {request.url.raw_path.decode().split('/', 2)[2]}"
            for request in self.requests
        ]


def _rows(*rows: Any, cursor: Any = "LTE=") -> dict[str, Any]:
    return {"limit": 100, "count": len(rows), "next_cursor": cursor, "data": list(rows)}


# -- private calls -----------------------------------------------------------------------------


def test_the_signature_covers_the_bytes_that_are_sent() -> None:
    """Body bytes, path below the base and without query, and the clock's second are signed."""
    venue = Venue({"canceled": ["0xabc"]}, _rows())
    venue.ask(lambda rest: rest.cancel_orders(["0xabc"]))
    request = venue.requests[0]
    assert request.content == b'{"orderID":"0xabc"}'
    expected = CREDENTIALS.headers(1790586000, "DELETE", "/order", request.content)
    assert {name: request.headers[name] for name in expected} == expected
    assert request.headers["Content-Type"] == "application/json"


def test_the_query_is_not_signed() -> None:
    """The signed path ends before the question mark (PROTOCOL §3.2)."""
    venue = Venue(_rows())
    venue.ask(lambda rest: rest.fetch_open_orders(MARKET))
    expected = CREDENTIALS.headers(1790586000, "GET", "/data/orders")
    assert venue.requests[0].headers["POLY_SIGNATURE"] == expected["POLY_SIGNATURE"]
    assert venue.paths == [f"GET data/orders?market={CONDITION}"]


def test_public_calls_carry_no_credentials() -> None:
    """Metadata is asked for without any account header."""
    venue = Venue(ROW, 404)
    venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW))
    assert not [name for name in venue.requests[0].headers if name.lower().startswith("poly")]


@pytest.mark.parametrize(
    "call",
    [
        lambda rest: rest.fetch_open_orders(),
        lambda rest: rest.fetch_trades(),
        lambda rest: rest.fetch_order("0x1"),
        lambda rest: rest.fetch_balance(0),
        lambda rest: rest.cancel_orders(["0x1"]),
        lambda rest: rest.place_order({}, "0x1"),
    ],
)
def test_private_calls_need_credentials(call: Callable[[RestClient], Awaitable[Any]]) -> None:
    """Without credentials the error names the setting, and nothing is sent."""
    venue = Venue()
    with pytest.raises(ConfigError, match=r"^credentials: "):
        venue.ask(call, credentials=None)
    assert venue.requests == []


def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at the lowest log level do secrets appear."""
    with caplog.at_level(logging.DEBUG):
        Venue(_rows()).ask(lambda rest: rest.fetch_open_orders())
    assert SECRET not in caplog.text
    assert PASSPHRASE not in caplog.text


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (401, AuthenticationFailed),
        (429, RateLimited),
        (400, ExchangeError),
        (404, ExchangeError),
        (302, ExchangeError),
        (425, ExchangeUnavailable),
        (500, ExchangeUnavailable),
        (503, ExchangeUnavailable),
        (httpx.ConnectError("x"), ExchangeUnavailable),
        (httpx.ReadTimeout("x"), ExchangeUnavailable),
        (httpx.RemoteProtocolError("x"), ExchangeUnavailable),
        (b"<html>", ExchangeUnavailable),
        (b"", ExchangeUnavailable),
        (httpx.Response(200, json=[]), ExchangeError),
        (httpx.Response(200, json={"balance": None}), ExchangeError),
    ],
)
def test_failures_have_types(answer: Any, error: type[ExchangeError]) -> None:
    """Each kind of failure is its own error of the library, with the call in its text."""
    with pytest.raises(ExchangeError, match="GET /balance-allowance") as caught:
        Venue(b"", answer).ask(lambda rest: rest.fetch_balance(0))
    assert type(caught.value) is error or issubclass(type(caught.value), error)
    if error is ExchangeError:
        assert type(caught.value) is ExchangeError


@pytest.mark.parametrize(
    ("header", "seconds"), [("79", 79.0), ("", None), ("soon", None), ("-1", None)]
)
def test_a_rate_limit_says_when_to_come_back(header: str, seconds: float | None) -> None:
    """Retry-After is handed on, if it is a number."""
    answer = httpx.Response(429, text="Too Many Requests", headers={"Retry-After": header})
    with pytest.raises(RateLimited, match="Too Many Requests") as caught:
        Venue(answer).ask(lambda rest: rest.fetch_balance(0))
    assert caught.value.retry_after == seconds


# -- markets -----------------------------------------------------------------------------------


def test_a_market_is_asked_for_by_its_slug() -> None:
    """The path form is used, which does not hide closed markets (PROTOCOL §1.1)."""
    venue = Venue(ROW, RULES)
    assert venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW)) == MARKET
    assert venue.paths == [f"GET markets/slug/{MARKET.slug}", f"GET clob-markets/{CONDITION}"]
    assert not venue.counters.get(Count.MARKET_RULES)


def test_the_engines_rules_count() -> None:
    """Metadata may be old: tick, smallest order, fees and contract are the engine's (§2.1)."""
    differing = RULES | {"mts": 0.001, "mos": 10, "fd": {"r": 0.08, "e": 2}, "nr": True}
    venue = Venue(ROW, differing)
    assert venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW)) == evolve(
        MARKET,
        tick_size=Decimal("0.001"),
        min_size=Decimal(10),
        fees=FeeSchedule(rate=Decimal("0.08"), exponent=2),
        neg_risk=True,
    )
    assert venue.counters.reasons(Count.MARKET_RULES) == {"differ": 1}
    silent = Venue(ROW, {key: value for key, value in RULES.items() if key != "fd"})
    assert silent.ask(lambda rest: rest.fetch_market(SERIES, WINDOW)) == MARKET


@pytest.mark.parametrize("answer", [500, [], RULES | {"mts": 2}, httpx.ConnectError("no")])
def test_without_the_engines_rules_the_metadata_must_do(answer: Any) -> None:
    """A market whose time has come is not missed because one question failed."""
    venue = Venue(ROW, answer)
    assert venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW)) == MARKET
    assert venue.counters.reasons(Count.MARKET_RULES) == {"unanswered": 1}


def test_rules_that_take_too_long_are_not_waited_for() -> None:
    """A window begins when it begins: after three seconds the metadata must do."""
    counters, clock = Counters(), VirtualClock(NOW)

    async def answer(request: httpx.Request) -> httpx.Response:
        if "clob-markets" in request.url.path:
            await asyncio.sleep(4)
        return httpx.Response(200, json=ROW)

    async def main() -> None:
        http = HttpClient(clock, None, timeout=10, transport=httpx.MockTransport(answer))
        rest = RestClient(http, HOSTS, None, counters, Skips(counters))
        assert await rest.fetch_market(SERIES, WINDOW) == MARKET
        assert clock.time() == pytest.approx(NOW + 3)
        await rest.close()

    clock.run(main())
    assert counters.reasons(Count.MARKET_RULES) == {"unanswered": 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "hydrating"),
        (RULES | {"ao": False}, "not_accepting"),
        (RULES | {"t": [{"t": UP, "o": "Down"}, {"t": DOWN, "o": "Up"}]}, "wrong_tokens"),
    ],
)
def test_a_market_that_the_engine_does_not_trade_is_awaited(answer: Any, reason: str) -> None:
    """Metadata comes before the engine (§1.4), and must not mix up what is bought."""
    venue = Venue(ROW, answer)
    assert venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW)) is None
    assert venue.counters.reasons(Count.MARKET_WAITS) == {reason: 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "not_found"),
        (ROW | {"clobTokenIds": "[]"}, "hydrating"),
        (ROW | {"closed": True}, "closed"),
        (ROW | {"endDate": "2026-09-28T09:05:00Z"}, "wrong_window"),
        ([], "bad_row"),
    ],
)
def test_a_market_that_is_not_there_is_counted_with_its_reason(answer: Any, reason: str) -> None:
    """No market yet is no error: the reason is counted."""
    venue = Venue(answer)
    assert venue.ask(lambda rest: rest.fetch_market(SERIES, WINDOW)) is None
    assert venue.counters.reasons(Count.MARKET_WAITS) == {reason: 1}


def test_the_reason_of_a_wait_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Asking again and again for the same missing market does not fill the log."""

    async def ask(rest: RestClient) -> None:
        for _ in range(3):
            assert await rest.fetch_market(SERIES, WINDOW) is None

    with caplog.at_level(logging.INFO, logger="polyframe"):
        Venue(404, 404, ROW | {"closed": True}).ask(ask)
    said = [record.getMessage() for record in caplog.records]
    assert [text.rsplit(": ", 1)[1] for text in said] == ["not_found", "closed"]


def test_no_answer_about_a_market_is_an_error() -> None:
    """A venue that does not answer is not a market that does not exist."""
    with pytest.raises(ExchangeUnavailable):
        Venue(500).ask(lambda rest: rest.fetch_market(SERIES, WINDOW))


CLOB_ROW = {"closed": True, "tokens": [{"token_id": MARKET.up_token, "winner": True}]}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([RESOLVED_ROW], Resolution(Outcome.DOWN, "gamma")),
        ([ROW, CLOB_ROW], Resolution(Outcome.UP, "clob")),
        ([404, CLOB_ROW], Resolution(Outcome.UP, "clob")),
        ([500, CLOB_ROW], Resolution(Outcome.UP, "clob")),
        ([ROW, 404], None),
        ([404, {"closed": False}], None),
    ],
)
def test_a_resolution_comes_from_gamma_or_the_clob(
    answers: list[Any], expected: Resolution | None
) -> None:
    """Gamma first; the winner flag of the CLOB where Gamma has nothing final (PROTOCOL §1.5)."""
    assert Venue(*answers).ask(lambda rest: rest.fetch_resolution(MARKET)) == expected


def test_a_failure_of_gamma_is_told_if_the_clob_knows_nothing() -> None:
    """Not to know is an error only where somebody did not answer."""
    with pytest.raises(ExchangeUnavailable, match="markets/slug"):
        Venue(500, 404).ask(lambda rest: rest.fetch_resolution(MARKET))


# -- placing -----------------------------------------------------------------------------------


def _place(answer: Any) -> PlaceAnswer:
    return Venue(answer).ask(lambda rest: rest.place_order({"a": 1}, "0x1"))


def test_an_accepted_order() -> None:
    """One POST with the body as compact JSON."""
    venue = Venue({"success": True, "orderID": "0x1", "status": "live"})
    answer = venue.ask(lambda rest: rest.place_order({"a": 1, "b": "x"}, "0x1"))
    assert answer == PlaceAnswer(PlaceResult.LIVE)
    assert venue.paths == ["POST order"]
    assert venue.requests[0].content == b'{"a":1,"b":"x"}'


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x")]
)
def test_without_a_connection_the_order_was_not_sent(error: Exception) -> None:
    """What never left us is a refusal: it cannot be live."""
    answer = _place(error)
    assert (answer.result, answer.code) == (PlaceResult.REJECTED, "not_sent")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("x"),
        httpx.WriteTimeout("x"),
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.DecodingError("x"),
    ],
)
def test_a_lost_answer_leaves_the_order_unknown(error: Exception) -> None:
    """Once bytes may have left, the order may be live."""
    answer = _place(error)
    assert (answer.result, answer.code) == (PlaceResult.UNKNOWN, "no_answer")


def test_the_venues_words_decide_on_errors() -> None:
    """Statuses and texts go through the table of answers, with the time to wait."""
    answer = _place(httpx.Response(503, text="post-only mode", headers={"Retry-After": "79"}))
    assert (answer.result, answer.code) == (PlaceResult.REJECTED, "post_only_mode")
    assert "retry after 79 s" in answer.text


# -- cancelling --------------------------------------------------------------------------------


def test_several_cancels_go_in_one_call() -> None:
    """Two ids and more use the list form; repeated ids are sent once."""
    venue = Venue({"canceled": ["0x1"], "not_canceled": {"0x2": "order already matched"}})
    answer = venue.ask(lambda rest: rest.cancel_orders(["0x1", "0x2", "0x1"]))
    assert answer == CancelAnswer(frozenset({"0x1"}), {"0x2": "order already matched"})
    assert venue.paths == ["DELETE orders"]
    assert venue.requests[0].content == b'["0x1","0x2"]'


def test_no_ids_send_nothing() -> None:
    """An empty cancel is done without the venue."""
    venue = Venue()
    assert venue.ask(lambda rest: rest.cancel_orders([])) == CancelAnswer()
    assert venue.requests == []


def test_many_cancels_are_cut_into_calls_of_a_thousand() -> None:
    """The venue takes 1000 ids a call (PROTOCOL §2.4)."""
    ids = [f"0x{number}" for number in range(2500)]
    venue = Venue(*({"canceled": ids[first : first + 1000]} for first in (0, 1000, 2000)))
    answer = venue.ask(lambda rest: rest.cancel_orders(ids))
    assert answer == CancelAnswer(frozenset(ids))
    assert [len(msgspec.json.decode(request.content)) for request in venue.requests] == [
        1000,
        1000,
        500,
    ]


def test_a_failed_cancel_raises_only_if_nothing_is_known() -> None:
    """The first call's failure raises; a later one's leaves its own ids refused."""
    ids = [f"0x{number}" for number in range(1500)]
    with pytest.raises(ExchangeUnavailable):
        Venue(500).ask(lambda rest: rest.cancel_orders(ids))
    answer = Venue({"canceled": ids[:1000]}, 500).ask(lambda rest: rest.cancel_orders(ids))
    assert answer.cancelled == frozenset(ids[:1000])
    assert set(answer.refused) == set(ids[1000:])


# -- reading -----------------------------------------------------------------------------------


def _order(order_id: str, **change: Any) -> dict[str, Any]:
    row = {key: value for key, value in ORDER.items() if key not in {"event_type", "type"}}
    return row | {"id": order_id} | change


def test_all_pages_of_open_orders_are_read() -> None:
    """The cursor is followed to its end."""
    venue = Venue(_rows(_order("0x1"), cursor="MTAw"), _rows(_order("0x2")))
    reports = venue.ask(lambda rest: rest.fetch_open_orders())
    assert [report.order_id for report in reports] == ["0x1", "0x2"]
    assert venue.paths == ["GET data/orders", "GET data/orders?next_cursor=MTAw"]


@pytest.mark.parametrize("cursor", ["LTE=", "", None])
def test_the_end_of_pages(cursor: Any) -> None:
    """The end cursor, an empty one, null and no rows end the reading."""
    assert Venue(_rows(cursor=cursor)).ask(lambda rest: rest.fetch_trades()) == []
    assert Venue({"data": None}).ask(lambda rest: rest.fetch_trades()) == []
    assert Venue([]).ask(lambda rest: rest.fetch_trades()) == []


def test_only_open_orders_of_the_market_are_returned() -> None:
    """Finished orders and rows of another market are left out, the latter counted."""
    venue = Venue(
        _rows(
            _order("0x1"),
            _order("0x2", status="CANCELED"),
            _order("0x3", status="MATCHED", size_matched="5"),
            _order("0x4", market="0xother"),
            _order("0x5", size_matched="2"),
        )
    )
    reports = venue.ask(lambda rest: rest.fetch_open_orders(MARKET))
    assert [report.order_id for report in reports] == ["0x1", "0x5"]
    assert venue.counters.reasons(Count.WIRE_SKIPPED) == {"foreign_market": 1}


@pytest.mark.parametrize("failure", [500, {"next_cursor": "MTAw"}, httpx.ReadTimeout("x"), {}])
def test_a_failed_page_fails_the_whole(failure: Any) -> None:
    """Nothing partial is returned: absence would be taken for evidence."""
    with pytest.raises(ExchangeError):
        Venue(_rows(TRADE, cursor="MTAw"), failure).ask(lambda rest: rest.fetch_trades())


def test_a_cursor_that_comes_again_is_an_error() -> None:
    """Pages that go in a circle end with an error, not never."""
    pages = [_rows(TRADE, cursor=cursor) for cursor in ("A", "B", "A")]
    with pytest.raises(ExchangeError, match="cursor 'A' came twice"):
        Venue(*pages).ask(lambda rest: rest.fetch_trades())


def test_trades_are_asked_for_by_market_and_time() -> None:
    """Market and second go into the query; rows become reports with our legs."""
    venue = Venue(_rows(TRADE | {"status": "TRADE_STATUS_CONFIRMED"}, {"id": "x"}))
    (report,) = venue.ask(lambda rest: rest.fetch_trades(MARKET, after=1790586000))
    assert isinstance(report, TradeReport)
    assert report.legs[0].order_id == "0xtaker"
    assert venue.paths == [f"GET data/trades?market={CONDITION}&after=1790586000"]
    assert venue.counters.get(Count.WIRE_SKIPPED) == 1


@pytest.mark.parametrize("nothing", [b"", b"null", {}, [], 404])
def test_an_order_unknown_to_both_calls_does_not_exist(nothing: Any) -> None:
    """An empty body, null, {}, [] and 404 all say "nothing"; the list is asked before that is believed."""
    venue = Venue(nothing, _rows())
    assert venue.ask(lambda rest: rest.fetch_order("0x1")) is None
    assert venue.paths == ["GET data/order/0x1", "GET data/orders?id=0x1"]


@pytest.mark.parametrize("direct", [_order("0x1"), [_order("0x1")]])
def test_an_order_is_found_directly(direct: Any) -> None:
    """An object, or a list with it, is the order; one call is enough."""
    venue = Venue(direct)
    report = venue.ask(lambda rest: rest.fetch_order("0x1"))
    assert report is not None
    assert report.kind is OrderEventKind.PLACEMENT
    assert len(venue.requests) == 1


def test_an_order_that_only_the_list_knows_is_found() -> None:
    """Some versions of the venue forget finished orders in the direct call (PROTOCOL §2.5)."""
    venue = Venue(b"null", _rows(_order("0x9"), _order("0x1", status="MATCHED", size_matched="5")))
    report = venue.ask(lambda rest: rest.fetch_order("0x1"))
    assert report is not None
    assert report.status == "MATCHED"


def test_an_answer_about_another_order_is_an_error() -> None:
    """It is not evidence that our order does not exist."""
    with pytest.raises(ExchangeError, match="not about that order"):
        Venue(_order("0x9"), _rows()).ask(lambda rest: rest.fetch_order("0x1"))


@pytest.mark.parametrize(
    ("balance", "usd"), [("1000000000", "1000"), (1234567, "1.234567"), ("0", "0")]
)
def test_the_balance_is_in_usd(balance: Any, usd: str) -> None:
    """Base units become exact USD; the kind of account goes into the query (PROTOCOL §2.6)."""
    venue = Venue(b"", {"balance": balance, "allowances": {}})
    assert venue.ask(lambda rest: rest.fetch_balance(2)) == Decimal(usd)
    query = "asset_type=COLLATERAL&signature_type=2"
    assert venue.paths == [
        f"GET balance-allowance/update?{query}",
        f"GET balance-allowance?{query}",
    ]


# -- the whole account ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "request_line", "body"),
    [
        (
            lambda rest: rest.cancel_market(CONDITION),
            "DELETE cancel-market-orders",
            f'{{"market":"{CONDITION}"}}'.encode(),
        ),
        (lambda rest: rest.cancel_all(), "DELETE cancel-all", b""),
    ],
)
def test_orders_are_cancelled_without_naming_them(
    call: Callable[[RestClient], Awaitable[CancelAnswer]], request_line: str, body: bytes
) -> None:
    """The answer says which they were; what is signed is what is sent (PROTOCOL §2.4)."""
    answer = {"canceled": ["0xa"], "not_canceled": {"0xb": "already canceled or matched"}}
    venue = Venue(answer)
    assert venue.ask(call) == CancelAnswer(
        cancelled=frozenset({"0xa"}), refused={"0xb": "already canceled or matched"}
    )
    assert venue.paths == [request_line]
    request = venue.requests[0]
    assert request.content == body
    signed = CREDENTIALS.headers(int(NOW), "DELETE", request.url.path[5:], body)
    assert request.headers["POLY_SIGNATURE"] == signed["POLY_SIGNATURE"]
    junk: Any
    for junk in ({}, [], {"canceled": None, "not_canceled": 7}, {"canceled": [None]}):
        assert Venue(junk).ask(call) == CancelAnswer()


def test_shares_are_asked_for_afresh() -> None:
    """The engine remembers balances: it is told to look before it is asked (§2.6)."""
    venue = Venue(b"", {"balance": "7250000"})
    assert venue.ask(lambda rest: rest.fetch_shares("123", 1)) == Decimal("7.25")
    query = "asset_type=CONDITIONAL&token_id=123&signature_type=1"
    assert venue.paths == [
        f"GET balance-allowance/update?{query}",
        f"GET balance-allowance?{query}",
    ]


@pytest.mark.parametrize(
    ("answer", "closed"),
    [({"closed_only": True}, True), ({"closed_only": False}, False), ([], False)],
)
def test_whether_the_account_may_only_close(answer: Any, closed: bool) -> None:
    """An account that was restricted is recognised before it places an order."""
    venue = Venue(answer)
    assert venue.ask(lambda rest: rest.is_closed_only()) is closed
    assert venue.paths == ["GET auth/ban-status/closed-only"]


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        (
            {"blocked": True, "ip": "192.0.2.1", "country": "US", "region": "NY"},
            Region(is_blocked=True, country="US", part="NY"),
        ),
        ({"blocked": False, "country": "DE"}, Region(is_blocked=False, country="DE", part="")),
        ({}, None),
        ([], None),
        (404, None),
    ],
)
def test_the_venue_says_whether_a_region_is_served(answer: Any, region: Region | None) -> None:
    """The website is asked, without credentials; an answer that says nothing is no answer (§0.3)."""
    venue = Venue(answer)
    assert venue.ask(lambda rest: rest.fetch_region()) == region
    assert venue.requests[0].url.path == "/site/api/geoblock"
    assert "POLY_API_KEY" not in venue.requests[0].headers
