"""Public questions to the trading engine: books, prices, rules of a market (PROTOCOL §2.1, §2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from attrs import frozen

from polyframe.errors import ExchangeError
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.exchange.polymarket.gamma import checked_fees, checked_tick
from polyframe.exchange.polymarket.http import HttpClient
from polyframe.exchange.polymarket.wire import Skips, flag, optional_decimal, optional_side, text
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.model.events import BookSnapshot
from polyframe.model.fees import FeeSchedule
from polyframe.model.order import Side

_ABSENT: dict[str, Any] = {}
_MAX_BOOKS = 500
"""Tokens per ``POST /books``."""


@frozen(kw_only=True)
class MarketRules:
    """What the engine itself says about trading in a market: truer than its metadata.

    Attributes:
        condition_id: The market.
        tokens: Token id of each outcome, by the venue's label.
        tick_size: Smallest price step in USD.
        min_size: Smallest order in shares.
        fees: Taker fee, ``None`` if it is not told.
        neg_risk: Which exchange contract orders are signed for.
        is_accepting: Whether orders are taken; only a plain "no" counts as one.
        has_taker_delay: Whether an order that matches is held for a moment before.
    """

    condition_id: str
    tokens: Mapping[str, str]
    tick_size: Decimal
    min_size: Decimal
    fees: FeeSchedule | None
    neg_risk: bool
    is_accepting: bool
    has_taker_delay: bool


@frozen
class LastTrade:
    """The last public trade of a token.

    Attributes:
        price: USD a share.
        side: The taker's, ``None`` before the first trade (the price is then the middle).
    """

    price: Decimal
    side: Side | None


@frozen
class PricePoint:
    """A token's price at a moment.

    Attributes:
        time: Epoch seconds.
        price: USD a share.
    """

    time: int
    price: Decimal


def read_rules(row: object) -> MarketRules:
    """Return what ``/clob-markets`` says about a market.

    Raises:
        ValueError: A field without which nobody should trade is missing or makes no sense.
    """
    if not isinstance(row, dict):
        msg = f"market: expected an object, got {type(row).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - it is about data, as everywhere in the decoders
    tokens = row.get("t")
    named = {
        text(token.get("o")): text(token.get("t"))
        for token in (tokens if isinstance(tokens, list) else ())
        if isinstance(token, dict)
    }
    condition_id, size = text(row.get("c")), optional_decimal(row.get("mos"), "mos")
    if not condition_id or len(named) != 2 or not all(named) or not all(named.values()):
        msg = f"market: expected an id and two tokens, got {condition_id!r} and {len(named)}"
        raise ValueError(msg)
    tick = optional_decimal(row.get("mts"), "mts")
    if tick is None or size is None:
        msg = "market: expected a tick and a smallest size (mts, mos)"
        raise ValueError(msg)
    fees = row.get("fd")
    return MarketRules(
        condition_id=condition_id,
        tokens=named,
        tick_size=checked_tick(tick),
        min_size=size,
        fees=None if fees is None else _fees(fees),
        neg_risk=flag(row.get("nr"), default=False),  # left out when false
        is_accepting=flag(row.get("ao"), default=True),
        has_taker_delay=flag(row.get("itode"), default=False),
    )


def _fees(value: object) -> FeeSchedule:
    if not isinstance(value, dict):
        msg = f"fd: expected an object, got {type(value).__name__}"
        raise ValueError(msg)  # noqa: TRY004
    return checked_fees(
        optional_decimal(value.get("r"), "r"), optional_decimal(value.get("e"), "e")
    )


class MarketDataClient:
    """Asks without credentials.

    Args:
        http: Sends the requests.
        hosts: Where to.
        skips: Where what cannot be read is counted.
    """

    def __init__(self, http: HttpClient, hosts: PolymarketHosts, skips: Skips) -> None:
        self._http = http
        self._base = hosts.clob
        self._decoder = MarketDecoder(skips)

    async def is_up(self) -> bool:
        """Return whether the engine says that it is well.

        Raises:
            ExchangeError: It does not answer, or with an error.
        """
        return text(await self._get("/ok")).upper() == "OK"

    async def version(self) -> int:
        """Return the version of the order format that the engine takes.

        Raises:
            ExchangeError: It did not answer, or not with a number.
        """
        return int(_number(_field(await self._get("/version"), "version"), "version"))

    async def rules(self, condition_id: str) -> MarketRules | None:
        """Return the trading rules of a market, ``None`` if the engine does not have it (yet).

        Raises:
            ExchangeError: The engine did not answer, or with rules that make no sense.
        """
        path = f"/clob-markets/{_checked_id(condition_id)}"
        row = await self._get(path, absent=_ABSENT)
        if row is _ABSENT:
            return None
        try:
            return read_rules(row)
        except ValueError as exc:
            msg = f"GET {path}: {exc}"
            raise ExchangeError(msg) from exc

    async def book(self, token: str) -> BookSnapshot | None:
        """Return the book of a token, ``None`` if there is none.

        Raises:
            ExchangeError: The engine did not answer, or not with a book.
        """
        row = await self._get("/book", {"token_id": token}, absent=_ABSENT)
        if row is _ABSENT:
            return None
        found = self._books([row])
        if token not in found:
            msg = "GET /book: the answer is not that book"
            raise ExchangeError(msg)
        return found[token]

    async def books(self, tokens: Sequence[str]) -> dict[str, BookSnapshot]:
        """Return the books of tokens; those without one are missing.

        Raises:
            ExchangeError: The engine did not answer, or not with a list.
        """
        found: dict[str, BookSnapshot] = {}
        for first in range(0, len(tokens), _MAX_BOOKS):
            asked = [{"token_id": token} for token in tokens[first : first + _MAX_BOOKS]]
            rows = await self._http.json(
                "POST", self._base, "/books", body=msgspec.json.encode(asked)
            )
            if not isinstance(rows, list):
                msg = f"POST /books: expected a list, got {type(rows).__name__}"
                raise ExchangeError(msg)
            found |= self._books(rows)
        return {token: found[token] for token in tokens if token in found}

    def _books(self, rows: list[Any]) -> dict[str, BookSnapshot]:
        """Return books by token; they look like those of the market channel."""
        messages = self._decoder.decode(msgspec.json.encode(rows))
        return {book.token: book for book in messages if isinstance(book, BookSnapshot)}

    async def midpoint(self, token: str) -> Decimal | None:
        """Return the middle between bid and ask in USD, ``None`` without a book.

        Raises:
            ExchangeError: The engine did not answer, or not with a number.
        """
        return await self._one("/midpoint", token, "mid")

    async def spread(self, token: str) -> Decimal | None:
        """Return the distance from bid to ask in USD, ``None`` without a book.

        Raises:
            ExchangeError: The engine did not answer, or not with a number.
        """
        return await self._one("/spread", token, "spread")

    async def tick_size(self, token: str) -> Decimal | None:
        """Return the price step in USD that holds now, ``None`` without a book.

        Raises:
            ExchangeError: The engine did not answer, or not with a number.
        """
        return await self._one("/tick-size", token, "minimum_tick_size")

    async def last_trade(self, token: str) -> LastTrade | None:
        """Return the last public trade of a token, ``None`` without a book.

        Raises:
            ExchangeError: The engine did not answer, or not with a price.
        """
        row = await self._get("/last-trade-price", {"token_id": token}, absent=_ABSENT)
        if row is _ABSENT:
            return None
        return LastTrade(_number(_field(row, "price"), "price"), optional_side(_field(row, "side")))

    async def price_history(
        self, token: str, *, start: int, end: int, minutes: int = 1
    ) -> list[PricePoint]:
        """Return a token's past prices, oldest first.

        Args:
            token: Token id.
            start: Epoch seconds.
            end: Epoch seconds.
            minutes: Between two points.

        Raises:
            ExchangeError: The engine did not answer, or not with a history.
        """
        params = {"market": token, "startTs": str(start), "endTs": str(end)}
        value = await self._get("/prices-history", params | {"fidelity": str(minutes)})
        points = _field(value, "history")
        if not isinstance(points, list):
            msg = "GET /prices-history: expected a history"
            raise ExchangeError(msg)
        found = [
            PricePoint(int(_number(_field(point, "t"), "t")), _number(_field(point, "p"), "p"))
            for point in points
        ]
        return sorted(found, key=lambda point: point.time)

    # -- parts --------------------------------------------------------------------------------

    async def _get(
        self, path: str, params: dict[str, str] | None = None, absent: object = None
    ) -> Any:
        return await self._http.json("GET", self._base, path, params=params, absent=absent)

    async def _one(self, path: str, token: str, name: str) -> Decimal | None:
        row = await self._get(path, {"token_id": token}, absent=_ABSENT)
        return None if row is _ABSENT else _number(_field(row, name), name)


def _field(row: object, name: str) -> object:
    return row.get(name) if isinstance(row, dict) else None


def _number(value: object, name: str) -> Decimal:
    try:
        found = optional_decimal(value, name)
    except ValueError as exc:
        raise ExchangeError(str(exc)) from exc
    if found is None:
        msg = f"{name}: expected a number, got {value!r}"
        raise ExchangeError(msg)
    return found


def _checked_id(condition_id: str) -> str:
    if not condition_id.isalnum():
        msg = f"condition_id: expected 0x and hexadecimal digits, got {condition_id[:80]!r}"
        raise ValueError(msg)
    return condition_id
