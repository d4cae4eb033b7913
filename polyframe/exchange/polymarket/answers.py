"""What the venue's answers to orders and cancels mean (PROTOCOL §2.3, §2.4, §2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.exchange.polymarket.refusals import read_error, refusal_code, unsure_code
from polyframe.exchange.polymarket.wire import flag, parse_json, text
from polyframe.model.order import PlaceResult

_OF_ALL = frozenset(
    {
        "account_banned",
        "auth",
        "cancel_only",
        "closed_only",
        "forbidden",
        "geo_blocked",
        "invalid_payload",
        "order_version",
        "post_only_mode",
        "rate_limited",
        "restarting",
        "too_many_orders",
        "trading_disabled",
    }
)
"""Codes that mean a request as a whole. Any other refusal of a whole batch is about one of its
orders, and the venue works on them in parallel: the rest may be live."""

_OF_503 = frozenset({"cancel_only", "post_only_mode", "trading_disabled"})
"""Codes of the venue's own 503. Any other may come from a proxy after the order passed."""

_UNSURE_STATUSES = frozenset({408, 429})
"""Statuses below 500 after which an order may be live all the same (PROTOCOL §2.3)."""

_ACCEPTED = {
    "live": PlaceResult.LIVE,
    "matched": PlaceResult.MATCHED,
    "delayed": PlaceResult.DELAYED,
}


def place_answer(status: int, body: bytes, venue_id: str, retry_after: str = "") -> PlaceAnswer:
    """Return what the answer to ``POST /order`` says about the order `venue_id`.

    A refusal is only what the venue says in words or codes that mean it. Everything else after a
    request went out, also what is not understood, is `PlaceResult.UNKNOWN`: the order may be live.

    Args:
        status: HTTP status.
        body: Body as received.
        venue_id: The id that we expect.
        retry_after: Header of that name, seconds as text; becomes part of the answer's text.
    """
    if 200 <= status < 300:
        return _accepted_or_not(_parsed(body), venue_id, body)
    said = read_error(body) or f"HTTP {status}"
    if retry_after:
        said = f"{said} (retry after {retry_after} s)"
    if code := unsure_code(said):
        return PlaceAnswer(PlaceResult.UNKNOWN, code, said)
    code = refusal_code(status, said)
    is_its_own = status == 503 and code in _OF_503
    if is_its_own or (400 <= status < 500 and status not in _UNSURE_STATUSES):
        return _refused(code or "rejected", said)
    return PlaceAnswer(PlaceResult.UNKNOWN, code, said)


def place_answers(
    status: int, body: bytes, venue_ids: Sequence[str], retry_after: str = ""
) -> list[PlaceAnswer]:
    """Return what the answer to ``POST /orders`` says about each of the orders `venue_ids`.

    With HTTP 200 every order has an entry of its own, in the order of the request (PROTOCOL §2.3).
    If their number or sequence is another, only entries that name their order are believed.

    Args:
        status: HTTP status.
        body: Body as received.
        venue_ids: The ids that we expect, in the order of the request.
        retry_after: Header of that name, seconds as text; becomes part of the answers' text.
    """
    if not 200 <= status < 300:
        whole = place_answer(status, body, "", retry_after)
        if whole.result is PlaceResult.REJECTED and whole.code not in _OF_ALL and venue_ids[1:]:
            whole = PlaceAnswer(PlaceResult.UNKNOWN, whole.code, whole.text)
        return [whole] * len(venue_ids)
    value = _parsed(body)
    if not isinstance(value, list):
        return [_not_understood(body)] * len(venue_ids)
    named = [_id_in(entry) for entry in value]
    ours = {venue_id.lower() for venue_id in venue_ids}
    if len(value) == len(venue_ids) and not any(
        name in ours and name != venue_id.lower()
        for name, venue_id in zip(named, venue_ids, strict=True)
    ):
        return [
            _accepted_or_not(entry, venue_id, body)
            for entry, venue_id in zip(value, venue_ids, strict=True)
        ]
    answers = []
    for venue_id in venue_ids:
        entries = [e for e, name in zip(value, named, strict=True) if name == venue_id.lower()]
        answers.append(
            _accepted_or_not(entries[0], venue_id, body)
            if len(entries) == 1
            else PlaceAnswer(PlaceResult.UNKNOWN, "unordered", "no entry names this order")
        )
    return answers


def _id_in(entry: Any) -> str:
    return text(entry.get("orderID")).lower() if isinstance(entry, dict) else ""


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:
        return None


def _not_understood(body: bytes) -> PlaceAnswer:
    return PlaceAnswer(PlaceResult.UNKNOWN, "", f"not understood: {read_error(body)[:200]}")


def _accepted_or_not(value: Any, venue_id: str, body: bytes) -> PlaceAnswer:
    if not isinstance(value, dict) or not {"success", "orderID"} & value.keys():
        return _not_understood(body)
    said, order_id = text(value.get("errorMsg")), text(value.get("orderID"))
    success = flag(value.get("success"), default=bool(order_id))
    if said:
        if code := unsure_code(said):
            return PlaceAnswer(PlaceResult.UNKNOWN, code, said)
        if (code := refusal_code(200, said)) or not order_id:
            return _refused(code or "rejected", said)
        return PlaceAnswer(PlaceResult.UNKNOWN, "", said)
    if not order_id:
        # Also with success: true (PROTOCOL §2.3).
        return _refused("no_order_id", "the venue gave no order id")
    if order_id.lower() != venue_id.lower():
        other = f"the venue names another order, {order_id}"
        return PlaceAnswer(PlaceResult.UNKNOWN, "id_mismatch", other)
    word = text(value.get("status")).lower()
    if not success or word not in _ACCEPTED:
        return PlaceAnswer(PlaceResult.UNKNOWN, word, f"success {success}, status {word!r}")
    return PlaceAnswer(_ACCEPTED[word])


def _refused(code: str, said: str) -> PlaceAnswer:
    return PlaceAnswer(PlaceResult.REJECTED, code, said)


def named_ids(value: Any) -> list[str]:
    """Return the ids that the answer to a cancel of unnamed orders speaks of."""
    found = value if isinstance(value, dict) else {}
    cancelled, refused = found.get("canceled"), found.get("not_canceled")
    ids = [text(order_id) for order_id in (cancelled if isinstance(cancelled, list) else ())]
    ids += refused if isinstance(refused, dict) else ()
    return [order_id for order_id in dict.fromkeys(ids) if order_id]


def cancel_answer(value: Any, asked: Sequence[str]) -> CancelAnswer:
    """Return what the answer to a cancel of the ids `asked` says (PROTOCOL §2.4).

    An id that the answer does not mention is refused: nothing is known of it.
    """
    found = value if isinstance(value, dict) else {}
    cancelled_ids, refusals = found.get("canceled"), found.get("not_canceled")
    cancelled = {
        text(order_id).lower()
        for order_id in (cancelled_ids if isinstance(cancelled_ids, list) else ())
    }
    reasons = {
        order_id.lower(): text(reason)
        for order_id, reason in (refusals if isinstance(refusals, dict) else {}).items()
    }
    return CancelAnswer(
        cancelled=frozenset(order_id for order_id in asked if order_id.lower() in cancelled),
        refused={
            order_id: reasons.get(order_id.lower()) or "not mentioned in the answer"
            for order_id in asked
            if order_id.lower() not in cancelled
        },
    )
