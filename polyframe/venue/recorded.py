"""Recorded markets: the order books that the package ``resolvedkit`` carries.

18 markets ``btc-updown-15m`` of 28 September 2026, one snapshot a second and side, 20 levels. Data
(c) Resolved Markets, CC BY 4.0; it is read from the installed package and never copied.
"""

from __future__ import annotations

import importlib.resources
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from polyframe.errors import ConfigError
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.series import Series
from polyframe.venue.values import (
    CRYPTO_FEES,
    SHARE,
    Snapshot,
    SourceEvent,
    VenueMarket,
    derive_row_id,
    derive_token,
)

_EXACT = 1e-9
_EDGE = 500


@frozen
class _Recording:
    """One market and where its rows lie in the table."""

    market: VenueMarket
    winner: Outcome
    rows: Sequence[int] = field(repr=False)
    times: Sequence[int] = field(repr=False)


class ResolvedMarketsSource:
    """The markets of ``resolvedkit``, replayed as they were.

    *Book.* The recording has a row for each side, the two taken up to some milliseconds apart.
    Either row alone is the whole book, since one side is the mirror of the other. So every row
    becomes one snapshot in terms of Up at its own time; a Down row is mirrored. The second row of a
    pair seldom says anything new.

    *Numbers.* Doubles become exact price units and base units; a price or size that is farther than
    1e-9 from its exact value is not understood, and its row is skipped.

    *Skipped rows* are counted in `skipped` by reason: ``off_grid`` as above, ``outside`` (a price
    not between 0 and 1, or a size not above 0), ``crossed`` (best bid not below best ask),
    ``empty``, and ``one_sided`` (a side is missing although the other is not within 0.05 of the
    edge: the level that is missing must exist).

    *Made up.* The recording has no token ids; they are derived from condition id and outcome. It
    has no trade prints either.

    Raises:
        ConfigError: The optional packages are not installed.
    """

    def __init__(self) -> None:
        markets, self._books = _read()
        self._skipped: Counter[str] = Counter()
        rows_of: dict[str, list[int]] = {}
        for row, condition in enumerate(self._books["market_id"].to_pylist()):
            rows_of.setdefault(condition, []).append(row)
        times = self._books["ts"].to_pylist()
        self._sides = self._books["side"].to_pylist()
        self._recordings: dict[str, _Recording] = {}
        for entry in sorted(markets.to_pylist(), key=lambda entry: int(entry["start_ts"])):
            rows = sorted(rows_of.get(entry["market_id"], ()), key=times.__getitem__)
            recording = _Recording(
                _market(entry),
                Outcome.UP if entry["payout_up"] > entry["payout_down"] else Outcome.DOWN,
                rows,
                [times[row] for row in rows],
            )
            self._recordings[recording.market.slug] = recording

    @property
    def skipped(self) -> Mapping[str, int]:
        """Rows that could not be used, by reason, so far."""
        return self._skipped

    @property
    def markets(self) -> list[VenueMarket]:
        """All markets in order of their windows."""
        return [recording.market for recording in self._recordings.values()]

    def market(self, slug: str) -> VenueMarket | None:
        """Return the market named `slug`, ``None`` if it was not recorded."""
        recording = self._recordings.get(slug)
        return recording.market if recording else None

    def next_market(self, start: float) -> VenueMarket | None:
        """Return the first market whose window starts at epoch second `start` or later."""
        return next((market for market in self.markets if market.start >= start), None)

    def winner(self, market: VenueMarket) -> Outcome:
        """Return the outcome that paid."""
        return self._recordings[market.slug].winner

    def events(self, market: VenueMarket, since_ms: int) -> Iterator[SourceEvent]:
        """Yield the last usable snapshot at or before `since_ms`, then all that follow."""
        recording = self._recordings[market.slug]
        first = bisect_right(recording.times, since_ms)
        rows = recording.rows
        for index in range(first - 1, -1, -1):
            if snapshot := self._snapshot(rows[index]):
                yield snapshot
                break
        for index in range(first, len(rows)):
            if snapshot := self._snapshot(rows[index]):
                yield snapshot

    def _snapshot(self, row: int) -> Snapshot | None:
        books = self._books
        bids, why_bids = _levels(books["bid_px"][row].as_py(), books["bid_sz"][row].as_py())
        asks, why_asks = _levels(books["ask_px"][row].as_py(), books["ask_sz"][row].as_py())
        reason = why_bids or why_asks or _inconsistency(bids, asks)
        if reason:
            self._skipped[reason] += 1
            return None
        time_ms = books["ts"][row].as_py()
        if self._sides[row] == "UP":
            return Snapshot(time_ms, bids, asks)
        return Snapshot(time_ms, _mirror(asks), _mirror(bids))


def _read() -> tuple[Any, Any]:
    try:
        import pyarrow.parquet

        folder = importlib.resources.files("resolvedkit") / "sample_data"
    except ModuleNotFoundError as error:
        msg = (
            f"ResolvedMarketsSource: the package {error.name} is not installed; "
            "install the recorded markets with: pip install '.[data]' in the checkout of polyframe"
        )
        raise ConfigError(msg) from error
    tables = []
    for name in ("markets.parquet", "books.parquet"):
        with importlib.resources.as_file(folder / name) as path:
            tables.append(pyarrow.parquet.read_table(path).combine_chunks())
    return tables[0], tables[1]


def _market(entry: Mapping[str, Any]) -> VenueMarket:
    slug = entry["slug"]
    series, window = Series.from_slug(slug)
    condition = entry["market_id"]
    return VenueMarket(
        Market(
            slug=slug,
            series=series,
            window=window,
            condition_id=condition,
            up_token=derive_token(condition, Outcome.UP),
            down_token=derive_token(condition, Outcome.DOWN),
            fees=CRYPTO_FEES,
            question=entry["question"],
        ),
        derive_row_id(slug),
    )


def _levels(prices: Sequence[float], sizes: Sequence[float]) -> tuple[dict[int, int], str]:
    levels: dict[int, int] = {}
    for price, size in zip(prices, sizes, strict=True):
        units = round(price * PRICE_UNITS)
        base = round(size * SHARE)
        # Doubles of large sizes are coarser than 1e-9, hence relative to the size.
        if abs(price - units / PRICE_UNITS) >= _EXACT or abs(size - base / SHARE) >= _EXACT * max(
            1.0, size
        ):
            return levels, "off_grid"
        if not 0 < units < PRICE_UNITS or base <= 0:
            return levels, "outside"
        levels[units] = base
    return levels, ""


def _inconsistency(bids: Mapping[int, int], asks: Mapping[int, int]) -> str:
    if not bids and not asks:
        return "empty"
    if bids and asks:
        return "crossed" if max(bids) >= min(asks) else ""
    best = max(bids) if bids else PRICE_UNITS - min(asks)
    return "" if best >= PRICE_UNITS - _EDGE else "one_sided"


def _mirror(levels: Mapping[int, int]) -> dict[int, int]:
    return {PRICE_UNITS - price: size for price, size in levels.items()}
