"""What all decoders share: tolerant readers of single fields, and the account of what was skipped."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from polyframe.counters import Count, Counters
from polyframe.model.money import ZERO, decimal
from polyframe.model.order import Side

_log = logging.getLogger(__name__)

_MAX_KINDS = 200
"""Kinds come from the wire in part; a hostile feed must not fill the counters."""

_SECONDS_LIMIT = 10**11
_MILLIS_LIMIT = 10**14

_JSON = msgspec.json.Decoder(float_hook=Decimal)


_MAX_DEPTH = 1_000
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_too_deep(raw: bytes) -> bool:
    """Return whether a frame nests deeper than any message does, or may do so.

    A decoder that recurses relies on the interpreter's recursion limit, and libraries are known to
    raise that beyond what the stack can hold: then a hostile frame would end the process.
    """
    if len(raw) <= _MAX_DEPTH or raw.count(b"[") + raw.count(b"{") <= _MAX_DEPTH:
        return False
    depth = 0
    for bracket in raw.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


def parse_json(raw: bytes) -> Any:
    """Return any JSON value, with exact ``Decimal`` instead of binary floating point.

    Raises:
        ValueError: Not JSON, nested too deeply, or with a number that no ``Decimal`` can hold.
    """
    if is_too_deep(raw):
        msg = "JSON nested too deeply"
        raise ValueError(msg)
    try:
        return _JSON.decode(raw)
    except RecursionError as exc:
        msg = "JSON nested too deeply"
        raise ValueError(msg) from exc
    except InvalidOperation as exc:
        msg = "JSON with a number beyond all bounds"
        raise ValueError(msg) from exc


def text(value: object) -> str:
    """Return a field as text: numbers as they were written, null and everything else as ``""``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return ""
    return str(value)


def flag(value: object, default: bool) -> bool:
    """Return a field as truth value: also ``"true"``, ``1``; `default` where it says nothing."""
    if isinstance(value, bool):
        return value
    word = text(value).strip().lower()
    if word in {"true", "1"}:
        return True
    if word in {"false", "0"}:
        return False
    return default


def optional_decimal(value: object, name: str) -> Decimal | None:
    """Return a field as exact number; null and ``""`` mean absent (PROTOCOL §0.2).

    Raises:
        ValueError: Something that is not a non-negative number.
    """
    if value is None or value == "":
        return None
    word = text(value)
    number = decimal(word, name)
    if number < ZERO:
        msg = f"{name}: expected a number of at least 0, got {word!r}"
        raise ValueError(msg)
    return number


def optional_side(value: object) -> Side | None:
    """Return a side in whatever case, ``None`` if it is none."""
    word = text(value).upper()
    return Side(word) if word in {"BUY", "SELL"} else None


def epoch_ms(value: object) -> int:
    """Return a time as epoch milliseconds, 0 where there is none (PROTOCOL §10).

    Seconds and milliseconds are told apart by magnitude; ISO-8601 is read too (without an offset it
    is UTC).

    Raises:
        ValueError: Neither a number nor a date.
    """
    if value is None or value == "":
        return 0
    word = text(value).strip()
    if word.isascii() and word.isdigit():
        number = int(word)
        if number >= _MILLIS_LIMIT:
            msg = f"time: expected epoch seconds or milliseconds, got {word[:40]!r}"
            raise ValueError(msg)
        return number * 1000 if number < _SECONDS_LIMIT else number
    moment = datetime.fromisoformat(word)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")


class Skips:
    """Counts what the wire sent and nobody understood; warns once of each kind.

    Args:
        counters: Where `Count.WIRE_SKIPPED` is kept, by kind.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._seen: set[str] = set()

    def add(self, kind: str, detail: str = "") -> None:
        """Count one thing of this `kind`; `detail` is for the one log line."""
        head, _, name = kind.partition(":")
        if name:
            kind = f"{head}:{_UNSAFE.sub('_', name[:40])}"
        if kind not in self._seen:
            if len(self._seen) >= _MAX_KINDS:
                kind = f"{head}:other" if name else "other"
            if kind not in self._seen:
                self._seen.add(kind)
                _log.warning("wire: skipped %s %s (more of it is only counted)", kind, detail[:200])
        self._counters.add(Count.WIRE_SKIPPED, kind)
