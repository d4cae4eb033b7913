"""What answers to orders and cancels mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.exchange.polymarket.answers import cancel_answer, place_answer
from polyframe.exchange.polymarket.refusals import read_error
from polyframe.model.order import PlaceResult
from tests.exchange.kit import encoded, sample
from tests.exchange.test_wire_market import JSON

ID = "0x62F0475b"
GOOD: dict[str, Any] = {
    "success": True,
    "errorMsg": "",
    "orderID": ID,
    "status": "live",
    "makingAmount": "",
    "takingAmount": "",
    "tradeIDs": [],
}
UNKNOWN, REJECTED = PlaceResult.UNKNOWN, PlaceResult.REJECTED


def _answer(status: int, body: Any) -> PlaceAnswer:
    return place_answer(status, body if isinstance(body, bytes) else encoded(body), ID)


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({}, PlaceResult.LIVE),
        ({"status": "matched", "makingAmount": "5.3"}, PlaceResult.MATCHED),
        ({"status": "delayed"}, PlaceResult.DELAYED),
        ({"status": "LIVE", "errorMsg": None}, PlaceResult.LIVE),
        ({"orderID": ID.lower()}, PlaceResult.LIVE),
    ],
)
def test_accepted_orders(change: dict[str, Any], result: PlaceResult) -> None:
    """Success, no error, our id and a known status: accepted (PROTOCOL §2.3)."""
    assert _answer(200, GOOD | change) == PlaceAnswer(result)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "unmatched"},
        {"status": ""},
        {"status": None},
        {"status": "brand new"},
        {"success": False},
        {"errorMsg": "something went wrong", "status": ""},
        {"orderID": "0xother"},
        {"success": False, "orderID": "", "errorMsg": "order timed out"},
    ],
)
def test_ambiguous_answers_leave_the_order_unknown(change: dict[str, Any]) -> None:
    """An id without a clear acceptance, or a text of the class "unknown": the order may be live."""
    assert _answer(200, GOOD | change).result is UNKNOWN


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b"{}", b"null", b"{", b'{"a": 1}'])
def test_good_status_without_sense_is_unknown(body: bytes) -> None:
    """A 200 that says nothing about the order is no refusal."""
    assert _answer(200, body).result is UNKNOWN


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"orderID": "", "status": ""}, "no_order_id"),
        ({"orderID": None}, "no_order_id"),
        ({"success": False, "orderID": "", "errorMsg": "bad luck"}, "rejected"),
        ({"orderID": "", "errorMsg": "post-only mode: only post-only orders"}, "post_only_mode"),
        ({"success": False, "errorMsg": "not enough balance / allowance"}, "not_enough_balance"),
    ],
)
def test_refusals_inside_a_good_status(change: dict[str, Any], code: str) -> None:
    """No id is a refusal even with success: true; texts are the same as in errors (§2.7)."""
    answer = _answer(200, GOOD | change)
    assert (answer.result, answer.code) == (REJECTED, code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("the market is not yet ready to process new orders", "market_not_ready"),
        ("not enough balance / allowance: balance is 5, order amount 10", "not_enough_balance"),
        ("invalid nonce", "invalid_nonce"),
        ("invalid expiration", "invalid_expiration"),
        ("invalid post-only order: order crosses book", "post_only_would_cross"),
        (
            "order couldn't be fully filled. FOK orders are fully filled or killed.",
            "fok_not_filled",
        ),
        (
            "no orders found to match with FAK order. FAK orders are partially filled or killed.",
            "fak_not_filled",
        ),
        ("order 0x1 is invalid. Price (0.505) breaks minimum tick size rule: 0.01", "tick_size"),
        ("order 0x1 is invalid. Size (1) lower than the minimum: 5", "min_size"),
        ("invalid amount for a marketable BUY order ($0.5), min size: $1", "min_notional"),
        ("'0x1' address banned", "account_banned"),
        ("'0x1' address in closed only mode", "closed_only"),
        ("order_version_mismatch", "order_version"),
        ("Invalid order payload", "invalid_payload"),
        ("the order owner has to be the owner of the API KEY", "rejected"),
        ("a text that nobody has seen yet", "rejected"),
    ],
)
def test_refusals_have_stable_codes(text: str, code: str) -> None:
    """A 400 is a refusal; the code follows the text, the text is kept (PROTOCOL §2.7)."""
    assert _answer(400, {"error": text}) == PlaceAnswer(REJECTED, code, text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("order 0x1 is invalid. Duplicated.", "duplicate"),
        ("order match delayed due to market conditions", "delayed"),
    ],
)
def test_some_bad_requests_say_that_the_order_exists(text: str, code: str) -> None:
    """A duplicate exists from a first try; a delayed match may still happen."""
    assert _answer(400, {"error": text}) == PlaceAnswer(UNKNOWN, code, text)


@pytest.mark.parametrize(
    ("status", "body", "result", "code"),
    [
        (401, {"error": "Unauthorized/Invalid api key"}, REJECTED, "auth"),
        (403, b"<html>no</html>", REJECTED, "forbidden"),
        (404, {"error": "market not found"}, REJECTED, "market_not_found"),
        (408, b"", UNKNOWN, ""),
        (425, b"", REJECTED, "restarting"),
        (429, b"Too Many Requests", UNKNOWN, "rate_limited"),
        (500, {"error": "Internal server error"}, UNKNOWN, "server_error"),
        (500, {"error": "order timed out"}, UNKNOWN, "timed_out"),
        (500, {"error": "could not insert order"}, UNKNOWN, "not_inserted"),
        (500, b"whatever", UNKNOWN, ""),
        (502, b"<html>", UNKNOWN, ""),
        (504, b"", UNKNOWN, ""),
        (503, {"error": "Trading is currently disabled. Check …"}, REJECTED, "trading_disabled"),
        (503, {"error": "Trading is currently cancel-only. New …"}, REJECTED, "cancel_only"),
        (
            503,
            {"error": "post-only mode: only post-only orders", "code": "post_only_mode"},
            REJECTED,
            "post_only_mode",
        ),
        (503, b"upstream connect error", UNKNOWN, "overloaded"),
        (503, b"<html>Too Many Requests</html>", UNKNOWN, "rate_limited"),
        (403, {"error": "Trading restricted in your region, see …"}, REJECTED, "geo_blocked"),
        (451, b"", REJECTED, "geo_blocked"),
        (502, {"error": "Trading is currently cancel-only."}, UNKNOWN, "cancel_only"),
        (302, b"", UNKNOWN, ""),
    ],
)
def test_statuses(status: int, body: Any, result: PlaceResult, code: str) -> None:
    """Statuses that mean "not taken" are refusals; those that mean nothing leave it unknown."""
    answer = _answer(status, body)
    assert (answer.result, answer.code) == (result, code)
    assert answer.text


def test_the_time_to_wait_is_told() -> None:
    """Retry-After becomes part of the text."""
    answer = place_answer(429, b"Too Many Requests", ID, retry_after="79")
    assert answer.text == "Too Many Requests (retry after 79 s)"


@pytest.mark.parametrize(
    ("name", "result", "code"),
    [
        ("clob_post_order_failed", REJECTED, "not_enough_balance"),
        ("clob_post_order_ok_nulls", UNKNOWN, "id_mismatch"),
    ],
)
def test_recorded_answers(name: str, result: PlaceResult, code: str) -> None:
    """Recorded replies with nulls are understood."""
    answer = place_answer(200, sample(name), ID)
    assert (answer.result, answer.code) == (result, code)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "a"}', "a"),
        (b'{"errorMsg": "b", "error": ""}', "b"),
        (b'"c"', "c"),
        (b"plain d", "plain d"),
        (b"\xff", "�"),
        (b'{"code": 5}', '{"code": 5}'),
    ],
)
def test_error_texts_are_found(body: bytes, text: str) -> None:
    """Errors come as objects, JSON texts or plain text."""
    assert read_error(body) == text


@given(st.integers(100, 599), st.binary(max_size=60) | JSON.map(encoded))
def test_no_answer_raises(status: int, body: bytes) -> None:
    """Whatever comes back is an answer, and only a proper one is an acceptance."""
    answer = place_answer(status, body, ID)
    assert answer.result in {UNKNOWN, REJECTED}


# -- cancels ---------------------------------------------------------------------------------------


def test_cancelled_and_refused_are_told_apart() -> None:
    """Ids come back as they were asked, refusals with the venue's words."""
    value = {"canceled": ["0xa"], "not_canceled": {"0xB": "already canceled or matched"}}
    assert cancel_answer(value, ["0xA", "0xb", "0xc"]) == CancelAnswer(
        cancelled=frozenset({"0xA"}),
        refused={"0xb": "already canceled or matched", "0xc": "not mentioned in the answer"},
    )


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {"canceled": None, "not_canceled": None}, {"canceled": "0xa"}]
)
def test_an_answer_without_sense_cancels_nothing(value: object) -> None:
    """An id that is not mentioned is not cancelled."""
    assert cancel_answer(value, ["0xa"]).cancelled == frozenset()


@given(JSON, JSON)
def test_any_cancel_answer_accounts_for_every_id(cancelled: Any, refused: Any) -> None:
    """Each asked id is either cancelled or refused, never both or neither."""
    answer = cancel_answer({"canceled": cancelled, "not_canceled": refused}, ["0xa", "0xb"])
    assert answer.cancelled | set(answer.refused) == {"0xa", "0xb"}
    assert not answer.cancelled & set(answer.refused)
