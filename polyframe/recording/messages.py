"""What is no level change, by column: all messages of one kind in a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice, repeat
from typing import Any

from polyframe.model.events import (
    BestQuote,
    BookSnapshot,
    MarketResolved,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import Side
from polyframe.recording.batches import OUTCOMES, Columns, price_list, values
from polyframe.recording.tape import Gap, TapeEvent, Timed, shares

_SIDES = {side.value: side for side in Side}
_LEVELS = (("bid_prices_e4", "bid_sizes_e6"), ("ask_prices_e4", "ask_sizes_e6"))

Levels = tuple[tuple[int, Decimal], ...]


class MessageReader:
    """Makes the events of rows of one market that are no changes, as `RowReader` would.

    Args:
        market: The market.
    """

    def __init__(self, market: Market) -> None:
        self._condition = market.condition_id
        self._tokens = {outcome.value: market.token(outcome) for outcome in Outcome}
        self._makers: dict[str, Callable[[Columns, list[str], list[int]], Iterator[Any]]] = {
            "book": self._books,
            "quote": self._quotes,
            "trade": self._trades,
            "tick": self._ticks,
            "resolved": self._resolved,
        }

    def events(self, kind: str, columns: Columns) -> Iterator[TapeEvent]:
        """Return the events of rows of one kind that make sense."""
        received = columns.numbers("received")
        if kind == "gap":
            return map(Gap, received, columns.column("reason").fill_null("").to_pylist())
        tokens, times = columns.meanings("outcome", self._tokens), columns.numbers("time")
        messages = self._makers[kind](columns, tokens, times)
        return map(Timed, received, columns.numbers("epoch"), messages)

    def _books(self, columns: Columns, tokens: list[str], times: list[int]) -> Iterator[Any]:
        bids, asks = (_levels(columns, *names) for names in _LEVELS)
        ticks = columns.numbers("tick_e4")
        return map(BookSnapshot, repeat(self._condition), tokens, bids, asks, times, ticks)

    def _quotes(self, columns: Columns, tokens: list[str], times: list[int]) -> Iterator[Any]:
        bids, asks = columns.numbers("best_bid_e4"), columns.numbers("best_ask_e4")
        return map(BestQuote, repeat(self._condition), tokens, bids, asks, times)

    def _trades(self, columns: Columns, tokens: list[str], times: list[int]) -> Iterator[Any]:
        sizes = [None if base < 0 else shares(base) for base in columns.numbers("size_e6", -1)]
        prices, sides = columns.numbers("price_e4"), columns.meanings("side", _SIDES)
        return map(TradePrint, repeat(self._condition), tokens, prices, sizes, sides, times)

    def _ticks(self, columns: Columns, tokens: list[str], times: list[int]) -> Iterator[Any]:
        return map(
            TickSizeChange, repeat(self._condition), tokens, columns.numbers("tick_e4"), times
        )

    def _resolved(self, _: Columns, tokens: list[str], times: list[int]) -> Iterator[Any]:
        return map(MarketResolved, repeat(self._condition), tokens, times)


def makes_sense(kind: str | None, columns: Columns) -> bool:
    """Return whether all rows, which are of one kind, are as `RowReader` takes them.

    They have a time at which they came.
    """
    if kind == "gap":
        return True
    if kind not in _CHECKS or not columns.has_all(("epoch", "outcome")):
        return False
    return columns.has_words("outcome", OUTCOMES) and _CHECKS[kind](columns)


def _are_changes(columns: Columns) -> bool:
    return (
        columns.has_all(("side", "price_e4", "size_e6"))
        and columns.has_words("side", _SIDES)
        and columns.is_within("price_e4", 1, PRICE_UNITS - 1)
        and columns.is_within("size_e6", 0)
        and _have_tops(columns)
    )


def _are_quotes(columns: Columns) -> bool:
    return columns.has_all(("best_bid_e4", "best_ask_e4")) and _have_tops(columns)


def _have_tops(columns: Columns) -> bool:
    return columns.is_within("best_bid_e4", 0, PRICE_UNITS) and columns.is_within(
        "best_ask_e4", 0, PRICE_UNITS
    )


def _are_trades(columns: Columns) -> bool:
    return (
        columns.has_all(("price_e4",))
        and columns.has_words("side", _SIDES)
        and columns.is_within("price_e4", 1, PRICE_UNITS - 1)
        and columns.is_within("size_e6", 0)
    )


def _are_ticks(columns: Columns) -> bool:
    return columns.has_all(("tick_e4",)) and columns.is_within("tick_e4", 1, PRICE_UNITS - 1)


def _are_books(columns: Columns) -> bool:
    return all(_are_levels(columns, *names) for names in _LEVELS)


def _are_levels(columns: Columns, prices: str, sizes: str) -> bool:
    if not columns.has_all((prices, sizes)) or columns.lengths(prices) != columns.lengths(sizes):
        return False
    units, bases = columns.flat(prices), columns.flat(sizes)
    return (
        units.null_count == bases.null_count == 0
        and columns.are_within(units, 1, PRICE_UNITS - 1)
        and columns.are_within(bases, 0)
    )


_CHECKS: dict[str | None, Callable[[Columns], bool]] = {
    "change": _are_changes,
    "book": _are_books,
    "quote": _are_quotes,
    "trade": _are_trades,
    "tick": _are_ticks,
    "resolved": lambda _: True,
}


def _levels(columns: Columns, prices: str, sizes: str) -> list[Levels]:
    """Return one side of all books."""
    found = values(columns.flat(sizes), shares)
    pairs = zip(price_list(columns.flat(prices)), found, strict=True)
    return [tuple(islice(pairs, count)) for count in columns.lengths(prices)]
