"""How the venue says no: one place that knows its statuses and texts (PROTOCOL §2.7).

A refusal has a short stable code. For an order it becomes the code of the answer, for any other
request the error class that stands here beside it.
"""

from __future__ import annotations

from polyframe.errors import (
    AuthenticationFailed,
    CancelOnly,
    ExchangeError,
    ExchangeUnavailable,
    GeoBlocked,
    PostOnlyMode,
    RateLimited,
    TradingDisabled,
    VenueOverloaded,
    VenueRestarting,
)
from polyframe.exchange.polymarket.wire import parse_json, text

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
    ("restricted in your region", "geo_blocked"),
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

_STATUS_CODES = {
    401: "auth",
    403: "forbidden",
    425: "restarting",
    429: "rate_limited",
    451: "geo_blocked",
}

_ERRORS: dict[str, type[ExchangeError]] = {
    "auth": AuthenticationFailed,
    "cancel_only": CancelOnly,
    "geo_blocked": GeoBlocked,
    "overloaded": VenueOverloaded,
    "post_only_mode": PostOnlyMode,
    "rate_limited": RateLimited,
    "restarting": VenueRestarting,
    "trading_disabled": TradingDisabled,
}


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


def read_retry_after(body: bytes) -> float | None:
    """Return the seconds that an error body asks to wait, ``None`` if it does not say."""
    try:
        value = parse_json(body)
    except ValueError:
        return None
    word = text(value.get("retry_after_seconds")) if isinstance(value, dict) else ""
    return seconds(word)


def seconds(word: str) -> float | None:
    """Return a plain number of seconds below a week, ``None`` for anything else."""
    return float(word) if word.isascii() and word.isdigit() and len(word) < 7 else None


def refusal_code(status: int, said: str) -> str:
    """Return the code of a refusal, ``""`` for one that is not known.

    Args:
        status: HTTP status; 200 for the text of an entry.
        said: The text of the answer.
    """
    code = _find(_REFUSALS, said)
    if status in _STATUS_CODES and code != "geo_blocked":
        return _STATUS_CODES[status]
    return code or ("overloaded" if status == 503 else "")


def unsure_code(said: str) -> str:
    """Return the code of a text that leaves open what happened, ``""`` for any other."""
    return _find(_UNSURE, said)


def error_of(status: int, body: bytes, what: str, retry_after: float | None) -> ExchangeError:
    """Return the error of a request that was refused or failed at the venue.

    Args:
        status: HTTP status.
        body: Body as received.
        what: The request, for the message.
        retry_after: Seconds by the header of that name; the body may say it as well.
    """
    said = read_error(body)
    code = refusal_code(status, said)
    kind = _ERRORS.get(code)
    if kind is None:
        kind = ExchangeUnavailable if status >= 500 else ExchangeError
    wait = read_retry_after(body) if retry_after is None else retry_after
    return kind(f"{what}: HTTP {status}: {said}", wait, code=code or unsure_code(said))


def _find(table: tuple[tuple[str, str], ...], said: str) -> str:
    lowered = said.lower()
    return next((code for part, code in table if part in lowered), "")
