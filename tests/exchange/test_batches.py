"""Several orders in one request: what is sent, and what each answer means (PROTOCOL §2.3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.exchange.base import MAX_BATCH, PlaceAnswer
from polyframe.exchange.polymarket.answers import place_answers
from polyframe.exchange.polymarket.signing import LocalSigner
from polyframe.model.order import OrderType, PlaceResult
from tests.exchange.kit import encoded
from tests.exchange.test_rest import Venue
from tests.exchange.test_wire_market import JSON

IDS = ("0xA1", "0xb2", "0xc3")
LIVE, UNKNOWN, REJECTED = PlaceResult.LIVE, PlaceResult.UNKNOWN, PlaceResult.REJECTED
NO_MONEY = {
    "success": False,
    "errorMsg": "not enough balance / allowance",
    "orderID": "",
    "status": "",
}


def entry(venue_id: str, **changes: Any) -> dict[str, Any]:
    """Return the entry of an accepted order."""
    return {"success": True, "errorMsg": "", "orderID": venue_id, "status": "live"} | changes


def judged(status: int, body: Any, ids: tuple[str, ...] = IDS) -> list[PlaceResult]:
    """Return the results of `place_answers`."""
    raw = body if isinstance(body, bytes) else encoded(body)
    return [answer.result for answer in place_answers(status, raw, ids)]


def test_each_entry_is_judged_on_its_own() -> None:
    """One accepted, one refused without an id, one killed: three answers in order of the request."""
    killed = NO_MONEY | {"errorMsg": "no orders found to match with FAK order."}
    answers = place_answers(200, encoded([entry("0xa1"), NO_MONEY, killed]), IDS)
    assert [answer.result for answer in answers] == [LIVE, REJECTED, REJECTED]
    assert [answer.code for answer in answers] == ["", "not_enough_balance", "fak_not_filled"]


def test_post_only_mode_refuses_entry_by_entry() -> None:
    """In post-only mode entries say success and an error, and have no id: refused (PROTOCOL §2.7)."""
    text = "post-only mode: only post-only orders and cancels are allowed"
    body = [entry("", errorMsg=text, status="")] * 2 + [entry("0xc3")]
    assert judged(200, body) == [REJECTED, REJECTED, LIVE]


def test_a_shuffled_answer_is_read_by_ids() -> None:
    """Entries out of sequence belong to whom they name; what names nobody is believed of nobody."""
    assert judged(200, [entry("0xc3"), entry("0xA1"), entry("0xb2")]) == [LIVE] * 3
    assert judged(200, [entry("0xc3"), NO_MONEY, entry("0xa1")]) == [LIVE, UNKNOWN, LIVE]


def test_an_answer_of_another_length_is_read_by_ids() -> None:
    """With an entry too few or too many only those that name their order count."""
    assert judged(200, [entry("0xb2"), NO_MONEY]) == [UNKNOWN, LIVE, UNKNOWN]
    assert judged(200, [NO_MONEY, *(entry(i) for i in IDS)]) == [LIVE] * 3
    assert judged(200, [entry("0xb2")] * 2) == [UNKNOWN] * 3
    assert judged(200, []) == [UNKNOWN] * 3


def test_an_entry_with_a_foreign_id_leaves_its_own_order_open() -> None:
    """An id that is nobody's makes its own order unknown, and no other."""
    assert judged(200, [entry("0xa1"), entry("0xffff"), NO_MONEY]) == [LIVE, UNKNOWN, REJECTED]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", {"error": "?"}, [1, None, "x"], None],
)
def test_what_is_not_understood_leaves_all_open(body: Any) -> None:
    """After a request went out, an answer that says nothing of an order proves nothing."""
    assert judged(200, body) == [UNKNOWN] * 3


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (401, "Unauthorized/Invalid api key", "auth"),
        (425, "", "restarting"),
        (400, "Too many orders in payload: 16, max allowed: 15", "too_many_orders"),
        (400, "Invalid order payload", "invalid_payload"),
        (503, "Trading is currently cancel-only. New orders are not accepted", "cancel_only"),
    ],
)
def test_a_refused_request_refuses_all(status: int, text: str, code: str) -> None:
    """What the venue says of the whole request holds for every order of it."""
    answers = place_answers(status, encoded({"error": text}), IDS, "3")
    assert {(answer.result, answer.code) for answer in answers} == {(REJECTED, code)}
    assert all("retry after 3 s" in answer.text for answer in answers)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "not enough balance / allowance"),
        (400, "order 0xa1 is invalid. Size (1) lower than the minimum: 5"),
        (400, "something new"),
        (500, "Internal server error"),
        (502, "bad gateway"),
        (408, ""),
        (429, "Too Many Requests"),
    ],
)
def test_a_refusal_of_one_of_them_is_no_refusal_of_all(status: int, text: str) -> None:
    """The venue works on them in parallel: if it stumbles over one, the others may be live."""
    assert judged(status, {"error": text}) == [UNKNOWN] * 3


@given(
    status=st.sampled_from([200, 201, 400, 404, 429, 500, 503]),
    body=JSON | st.lists(st.sampled_from([entry(i) for i in IDS] + [NO_MONEY, 7]), max_size=5),
)
def test_there_is_an_answer_for_each_whatever_comes(status: int, body: Any) -> None:
    """As many answers as orders; no order is accepted unless just one entry names it."""
    raw = json.dumps(body).encode()
    answers = place_answers(status, raw, IDS)
    assert len(answers) == 3
    for venue_id, answer in zip(IDS, answers, strict=True):
        if answer.result is LIVE:
            assert [venue_id.lower()] == [
                e["orderID"].lower()
                for e in body
                if isinstance(e, dict) and e["orderID"].lower() == venue_id.lower()
            ]


def test_one_request_with_all_bodies() -> None:
    """One POST with an array in the order of the request."""
    venue = Venue([entry("0x1"), entry("0x2")])
    orders: list[tuple[dict[str, Any], str]] = [({"a": 1}, "0x1"), ({"b": 2}, "0x2")]
    answers = venue.ask(lambda rest: rest.place_orders(orders))
    assert answers == [PlaceAnswer(LIVE)] * 2
    assert venue.paths == ["POST orders"]
    assert venue.requests[0].content == b'[{"a":1},{"b":2}]'


@pytest.mark.parametrize(
    ("error", "result"),
    [(httpx.ConnectError("x"), REJECTED), (httpx.ReadTimeout("x"), UNKNOWN)],
)
def test_a_lost_answer_is_lost_for_all(error: Exception, result: PlaceResult) -> None:
    """No answer: unknown for each, or refused for each if nothing left us; sent once either way."""
    venue = Venue(error)
    answers = venue.ask(lambda rest: rest.place_orders([({}, "0x1"), ({}, "0x2")]))
    assert [answer.result for answer in answers] == [result] * 2
    assert len(venue.requests) == 1


# ------------------------------------------------------------------ against the local venue


def test_the_local_venue_takes_them_at_once() -> None:
    """Over real sockets: rests, a refusal for lack of money and a killed FOK in one request."""
    pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
    pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")
    from tests.exchange.test_against_venue import _scene

    async def main() -> None:
        async with _scene() as scene:
            requests = [
                scene.order(Decimal("0.02")),
                scene.order(Decimal("0.03"), size=100_000),
                scene.order(Decimal("0.02"), 100, order_type=OrderType.FOK),
                scene.order(Decimal("0.04")),
            ]
            prepared = [scene.exchange.prepare_order(scene.market, one) for one in requests]
            answers = await scene.exchange.place_orders(prepared)
            assert [answer.result for answer in answers] == [LIVE, REJECTED, REJECTED, LIVE]
            assert [answer.code for answer in answers][1:3] == [
                "not_enough_balance",
                "fok_not_filled",
            ]
            listed = {one.order_id for one in await scene.exchange.fetch_open_orders()}
            assert listed == {prepared[0].venue_id, prepared[3].venue_id}
            scene.venue.fail_next("/orders", 500, {"error": "Internal server error"}, accept=True)
            lost = [scene.exchange.prepare_order(scene.market, requests[0]) for _ in range(2)]
            answers = await scene.exchange.place_orders(lost)
            assert [answer.result for answer in answers] == [UNKNOWN] * 2
            for one in lost:
                assert await scene.exchange.fetch_order(one.venue_id) is not None
            for count in (0, MAX_BATCH + 1):
                with pytest.raises(ValueError, match="expected 1 to 15 orders"):
                    await scene.exchange.place_orders([prepared[0]] * count)

    asyncio.run(main())


def test_what_cannot_be_signed_does_not_keep_the_others() -> None:
    """One signature of three fails: that order was not sent, the others rest; with none, no request."""
    pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
    pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")
    from tests.exchange.test_against_venue import _scene

    class Moody(LocalSigner):
        """Signs no sum of 30 cents."""

        async def sign(self, order: Mapping[str, Any], *, neg_risk: bool) -> str:
            """Fail for one of them."""
            if order["makerAmount"] == "300000":
                msg = "unplugged"
                raise OSError(msg)
            return await super().sign(order, neg_risk=neg_risk)

    async def main() -> None:
        async with _scene() as scene:
            scene.exchange.signer = Moody(scene.venue.account.address)
            requests = [scene.order(Decimal(price)) for price in ("0.02", "0.03", "0.04")]
            prepared = [scene.exchange.prepare_order(scene.market, one) for one in requests]
            answers = await scene.exchange.place_orders(prepared)
            assert [answer.result for answer in answers] == [LIVE, REJECTED, LIVE]
            assert answers[1].code == "not_signed"
            listed = {one.order_id for one in await scene.exchange.fetch_open_orders()}
            assert listed == {prepared[0].venue_id, prepared[2].venue_id}
            scene.venue.fail_next("/clob/orders", 500)
            (answer,) = await scene.exchange.place_orders([prepared[1]])
            assert answer.code == "not_signed"

    asyncio.run(main())
