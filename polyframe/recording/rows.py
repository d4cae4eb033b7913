"""Events of a tape as rows of columns, and back (see docs/recording.md for the columns)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    MarketResolved,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.order import Side
from polyframe.recording.tape import Gap, TapeEvent, Timed, base_units, shares

COLUMNS = (
    "message",
    "received",
    "epoch",
    "kind",
    "outcome",
    "time",
    "side",
    "price_e4",
    "size_e6",
    "best_bid_e4",
    "best_ask_e4",
    "tick_e4",
    "bid_prices_e4",
    "bid_sizes_e6",
    "ask_prices_e4",
    "ask_sizes_e6",
    "reason",
)
"""In this order; ``_e4`` is in units of 1e-4 USD, ``_e6`` in millionths of a share."""

NOT_OF_CHANGES = frozenset(COLUMNS[COLUMNS.index("tick_e4") :])
"""Columns that nobody looks at in a row that is a change."""

Row = dict[str, Any]


def schema(pa: Any) -> Any:
    """Return the schema of a market's file; `pa` is pyarrow."""
    word = pa.dictionary(pa.int8(), pa.string())
    stamp = pa.timestamp("ms", tz="UTC")
    prices, sizes = pa.list_(pa.int32()), pa.list_(pa.int64())
    types = [pa.int64(), stamp, pa.int32(), word, word, stamp, word, pa.int32(), pa.int64()]
    types += [pa.int32()] * 3 + [prices, sizes, prices, sizes, pa.string()]
    needed = {"message", "received", "kind"}
    return pa.schema(
        [
            pa.field(name, kind, nullable=name not in needed)
            for name, kind in zip(COLUMNS, types, strict=True)
        ]
    )


class RowWriter:
    """Turns events of one market into rows.

    Attributes:
        skipped: Events that cannot be written, by reason: ``foreign`` (of another market or token),
            ``out_of_range`` (a size or time that no column holds).
    """

    def __init__(self, market: Market) -> None:
        self.skipped: Counter[str] = Counter()
        self._market = market
        self._outcomes = {market.up_token: Outcome.UP.value, market.down_token: Outcome.DOWN.value}
        self._count = 0

    def rows(self, event: TapeEvent) -> list[Row]:
        """Return the rows of one event; none, and a count, if it cannot be written."""
        if isinstance(event, Gap):
            found: list[Row] = [{"kind": "gap", "reason": event.reason}]
        else:
            try:
                found = self._message(event.message)
            except KeyError:
                self.skipped["foreign"] += 1
                return []
            except ValueError:
                self.skipped["out_of_range"] += 1
                return []
            for row in found:
                row["epoch"] = event.epoch
                row["time"] = event.message.timestamp_ms or None
        for row in found:
            row["message"] = self._count
            row["received"] = event.received_ms
        self._count += 1
        return found

    def _message(self, message: MarketMessage) -> list[Row]:
        if message.market != self._market.condition_id:
            raise KeyError(message.market)
        if isinstance(message, BookDelta):
            return [self._change(change) for change in message.changes]
        if isinstance(message, MarketResolved):
            return [{"kind": "resolved", "outcome": self._outcomes[message.winning_token]}]
        row: Row = {"outcome": self._outcomes[message.token]}
        if isinstance(message, BookSnapshot):
            row |= {
                "kind": "book",
                "tick_e4": message.tick_units or None,
                "bid_prices_e4": [price for price, _ in message.bids],
                "bid_sizes_e6": [base_units(size) for _, size in message.bids],
                "ask_prices_e4": [price for price, _ in message.asks],
                "ask_sizes_e6": [base_units(size) for _, size in message.asks],
            }
        elif isinstance(message, BestQuote):
            row |= {"kind": "quote", "best_bid_e4": message.best_bid}
            row["best_ask_e4"] = message.best_ask
        elif isinstance(message, TradePrint):
            row |= {"kind": "trade", "price_e4": message.price}
            row["size_e6"] = None if message.size is None else base_units(message.size)
            row["side"] = None if message.side is None else message.side.value
        else:
            row |= {"kind": "tick", "tick_e4": message.new_tick}
        return [row]

    def _change(self, change: LevelChange) -> Row:
        return {
            "kind": "change",
            "outcome": self._outcomes[change.token],
            "side": "BUY" if change.is_bid else "SELL",
            "price_e4": change.price,
            "size_e6": base_units(change.size),
            "best_bid_e4": None if change.best_bid < 0 else change.best_bid,
            "best_ask_e4": None if change.best_ask < 0 else change.best_ask,
        }


class RowReader:
    """Turns rows of one market back into events.

    Args:
        market: The market.
        skipped: Counts rows that make no sense (``bad_row``) or are of a later version
            (``unknown_kind``).
        on_bad: Called with what is wrong with a row that makes no sense.
    """

    def __init__(
        self,
        market: Market,
        skipped: Counter[str],
        on_bad: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._market = market
        self._skipped = skipped
        self._on_bad = on_bad
        # Tables, because every row asks.
        self._tokens = {outcome.value: market.token(outcome) for outcome in Outcome}
        self._readers: dict[str, Callable[[Row, str, int], MarketMessage]] = {
            "book": self._book,
            "quote": self._quote,
            "trade": self._trade,
            "tick": self._tick,
            "resolved": self._resolved,
        }

    def events(self, rows: Iterable[Row]) -> Iterator[TapeEvent]:
        """Yield the events of `rows`, which are in the order in which they were written."""
        changes: list[LevelChange] = []
        first: Row = {}
        for row in rows:
            if changes and (row["kind"] != "change" or row["message"] != first["message"]):
                yield self._delta(first, changes)
                changes = []
            if row["kind"] == "change":
                first = first if changes else row
                changes += self.change(row)
            else:
                yield from self.event(row)
        if changes:
            yield self._delta(first, changes)

    def change(self, row: Row) -> Sequence[LevelChange]:
        """Return the change of a row of that kind; nothing, and a count, if it makes no sense."""
        try:
            return (self._change(row),)
        except (TypeError, ValueError, KeyError) as error:
            self.bad(error)
            return ()

    def event(self, row: Row) -> Sequence[TapeEvent]:
        """Return the event of a row of another kind; nothing, and a count, if it makes no sense."""
        try:
            found = self._event(row)
        except (TypeError, ValueError, KeyError) as error:
            self.bad(error)
            return ()
        return () if found is None else (found,)

    def bad(self, error: Exception) -> None:
        """Count a row that makes no sense."""
        self._skipped["bad_row"] += 1
        self._on_bad(error)

    def _delta(self, first: Row, changes: list[LevelChange]) -> Timed:
        message = BookDelta(self._market.condition_id, tuple(changes), first["time"] or 0)
        return Timed(first["received"], first["epoch"], message)

    def _event(self, row: Row) -> TapeEvent | None:
        kind, received = row["kind"], int(row["received"])
        if kind == "gap":
            return Gap(received, row["reason"] or "")
        if kind not in self._readers:
            self._skipped["unknown_kind"] += 1
            return None
        message = self._readers[kind](row, self._tokens[row["outcome"]], row["time"] or 0)
        return Timed(received, int(row["epoch"]), message)

    def _change(self, row: Row) -> LevelChange:
        _check_time(row)
        return LevelChange(
            self._tokens[row["outcome"]],
            IS_BID[row["side"]],
            _price(row["price_e4"]),
            _size(row["size_e6"]),
            _top(row["best_bid_e4"], -1),
            _top(row["best_ask_e4"], -1),
        )

    def _book(self, row: Row, token: str, time_ms: int) -> BookSnapshot:
        bids = _levels(row["bid_prices_e4"], row["bid_sizes_e6"])
        asks = _levels(row["ask_prices_e4"], row["ask_sizes_e6"])
        tick = row["tick_e4"] or 0
        return BookSnapshot(self._market.condition_id, token, bids, asks, time_ms, tick)

    def _quote(self, row: Row, token: str, time_ms: int) -> BestQuote:
        bid, ask = _top(row["best_bid_e4"]), _top(row["best_ask_e4"])
        return BestQuote(self._market.condition_id, token, bid, ask, time_ms)

    def _trade(self, row: Row, token: str, time_ms: int) -> TradePrint:
        size = None if row["size_e6"] is None else _size(row["size_e6"])
        side = None if row["side"] is None else Side(row["side"])
        price = _price(row["price_e4"])
        return TradePrint(self._market.condition_id, token, price, size, side, time_ms)

    def _tick(self, row: Row, token: str, time_ms: int) -> TickSizeChange:
        return TickSizeChange(self._market.condition_id, token, _price(row["tick_e4"]), time_ms)

    def _resolved(self, _: Row, token: str, time_ms: int) -> MarketResolved:
        return MarketResolved(self._market.condition_id, token, time_ms)


IS_BID = {Side.BUY.value: True, Side.SELL.value: False}


def _levels(prices: list[int], sizes: list[int]) -> tuple[tuple[int, Decimal], ...]:
    return tuple([(_price(price), _size(size)) for price, size in zip(prices, sizes, strict=True)])


def _price(units: int) -> int:
    if not 0 < units < PRICE_UNITS:
        msg = f"price: expected 1 to 9999 units, got {units!r}"
        raise ValueError(msg)
    return units


def _size(base: int) -> Decimal:
    if base < 0:
        msg = f"size: expected at least 0, got {base!r}"
        raise ValueError(msg)
    return shares(base)


def _top(units: int | None, missing: int | None = None) -> int:
    if units is None and missing is not None:
        return missing
    if units is None or not 0 <= units <= PRICE_UNITS:
        msg = f"top of book: expected 0 to 10000 units, got {units!r}"
        raise ValueError(msg)
    return units


def _check_time(row: Row) -> None:
    int(row["epoch"])
    int(row["received"])
