"""What the venue's answers to orders and cancels mean (PROTOCOL §2.3, §2.4, §2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyframe.exchange.base import CancelAnswer, PlaceAnswer
from polyframe.exchange.polymarket.wire import flag, parse_json, text
from polyframe.model.order import PlaceResult

_REFUSALS = (
    ("not yet ready to process", "market_not_ready"),
    ("not enough balance", "not_enough_balance"),
    ("insufficient balance", "not_enough_balance"),
    ("invalid nonce", "invalid_nonce"),
    ("invalid expiration", "invalid_expiration"),
    ("order crosses book", "post_only_would_cross"),
    ("post-only mode", "post_only_mode"),
    ("fok orders are fully filled", "fok_not_filled"),
    ("couldn't be fully filled", "fok_not_filled"),
    ("found to match with fak", "fak_not_filled"),
    ("breaks minimum tick size", "tick_size"),
    ("lower than the minimum", "min_size"),
    ("for a marketable buy", "min_notional"),
    ("cancel-only", "cancel_only"),
    ("trading is currently disabled", "trading_disabled"),
    ("address banned", "account_banned"),
    ("closed only mode", "closed_only"),
    ("order_version_mismatch", "order_version"),
    ("invalid order payload", "invalid_payload"),
    ("market not found", "market_not_found"),
    ("no orderbook exists", "market_not_found"),
    ("too many requests", "rate_limited"),
    ("too many orders in payload", "too_many_orders"),
)
"""Texts by which a refusal is known, in lower case, and our stable codes for them."""

_UNSURE = (
    ("duplicated", "duplicate"),
    ("match delayed", "delayed"),
    ("order timed out", "timed_out"),
    ("no matching orders", "no_match"),
    ("rounding issues", "rounding"),
    ("discrepancy", "discrepancy"),
    ("could not insert", "not_inserted"),
    ("internal server error", "server_error"),
)
"""Texts that leave open whether the order exists: a duplicate does, from a first try; the others
are of the class "unknown outcome" in §2.7."""

_OF_ALL = frozenset(
    {
        "account_banned",
        "auth",
        "cancel_only",
        "closed_only",
        "forbidden",
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

_ACCEPTED = {
    "live": PlaceResult.LIVE,
    "matched": PlaceResult.MATCHED,
    "delayed": PlaceResult.DELAYED,
}


_STATUS_CODES = {401: "auth", 403: "forbidden", 425: "restarting", 429: "rate_limited"}


def read_error(body: bytes) -> str:
    """Return the text of an error body: ``{"error": …}``, another JSON value, or plain text."""
    try:
        value = parse_json(body)
    except ValueError:
        return body[:500].decode("utf-8", "replace").strip()
    if isinstance(value, dict):
        for name in ("error", "errorMsg", "error_msg", "message"):
            if found := text(value.get(name)):
                return found[:500]
    return value[:500] if isinstance(value, str) else body[:500].decode("utf-8", "replace")


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
    if code := _find(_UNSURE, said):
        return PlaceAnswer(PlaceResult.UNKNOWN, code, said)
    code = _find(_REFUSALS, said)
    if status == 503:
        # Of the venue's own 503 we know three; another may come from a proxy after the order passed.
        return _refused(code, said) if code else PlaceAnswer(PlaceResult.UNKNOWN, "", said)
    if status in _STATUS_CODES:
        return _refused(_STATUS_CODES[status], said)
    if 400 <= status < 500 and status != 408:
        return _refused(code or "rejected", said)
    return PlaceAnswer(PlaceResult.UNKNOWN, "", said)


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
        if code := _find(_UNSURE, said):
            return PlaceAnswer(PlaceResult.UNKNOWN, code, said)
        if (code := _find(_REFUSALS, said)) or not order_id:
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


def _find(table: tuple[tuple[str, str], ...], said: str) -> str:
    lowered = said.lower()
    return next((code for part, code in table if part in lowered), "")


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
