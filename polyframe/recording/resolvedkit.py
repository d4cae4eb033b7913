"""The order books that the package ``resolvedkit`` carries, as a recording.

18 markets ``btc-updown-15m`` of 28 September 2026, one snapshot a second and side, the best 20
levels. Data (c) Resolved Markets, CC BY 4.0; it is read from the installed package, never copied.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from typing_extensions import override

from polyframe.model.events import BookSnapshot
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS
from polyframe.model.series import Series
from polyframe.recording.reader import load_optional
from polyframe.recording.tape import Memo, TapeEvent, TapeMarket, Timed, shares

SOURCE = "resolvedkit"
LICENCE = "Data (c) Resolved Markets, CC BY 4.0"

_CRYPTO_FEES = FeeSchedule(rate=Decimal("0.07"), exponent=1)
"""What takers pay on crypto markets (PROTOCOL §2.9)."""

_SHARE = 1_000_000
_EXACT = 1e-9
_EDGE = 500
_CENT = 100
_FINE_TICK = 10
_BATCH = 512
"""Rows of books that are in memory as Python values at a time."""

Levels = tuple[tuple[int, Decimal], ...]


class ResolvedMarkets:
    """The markets of ``resolvedkit``.

    *Numbers.* Doubles become exact prices and sizes; a number that is farther than 1e-9 from its
    exact value is not understood.

    *Skipped rows* are counted by reason: ``off_grid`` as above, ``outside`` (a price not between 0
    and 1, or a size not above 0), ``crossed`` (best bid not below best ask), ``empty``,
    ``one_sided`` (a side is missing although the other is not within 0.05 of the edge: the level
    that is missing must exist), and ``out_of_order`` (older than the row before).

    *Made up.* The recording has no token ids; they are derived from condition id and outcome, the
    same as at the local venue. It has no trades, no ticks and no price to beat; from the first price
    that is no whole cent on, snapshots name the tick 0.001. Times are those of the snapshots: when
    they were received is not known.

    Raises:
        ConfigError: The optional packages are not installed.
    """

    def __init__(self) -> None:
        parquet = load_optional("pyarrow.parquet", "ResolvedMarkets")
        load_optional("resolvedkit", "ResolvedMarkets")
        folder = importlib.resources.files("resolvedkit") / "sample_data"
        with importlib.resources.as_file(folder / "markets.parquet") as path:
            entries = parquet.read_table(path).to_pylist()
        with importlib.resources.as_file(folder / "books.parquet") as path:
            self._books: Any = parquet.read_table(path).combine_chunks()
        self._skipped: Counter[str] = Counter()
        self._markets = sorted(map(_market, entries), key=lambda found: found.market.window)
        self._rows: dict[str, list[int]] = {
            found.market.condition_id: [] for found in self._markets
        }
        for row, condition in enumerate(self._books["market_id"].to_pylist()):
            if condition in self._rows:
                self._rows[condition].append(row)
            else:
                self._skipped["unknown_market"] += 1

    def markets(self) -> Sequence[TapeMarket]:
        """Return all markets in order of their windows."""
        return tuple(self._markets)

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield the book of either token as often as it was taken.

        Raises:
            KeyError: `market` is none of this recording.
        """
        rows = self._rows[market.market.condition_id]
        return self._events(market.market, rows)

    def identity(self, market: TapeMarket) -> str:
        """Return what changes when the package does: its version."""
        return f"resolvedkit {importlib.metadata.version('resolvedkit')} {market.market.slug}"

    @override
    def __reduce__(self) -> tuple[type[ResolvedMarkets], tuple[()]]:
        # Another process has the package, too, and opens it anew.
        return type(self), ()

    @property
    def skipped(self) -> Mapping[str, int]:
        """Rows that could not be used so far, by reason."""
        return self._skipped

    @property
    def doubtful(self) -> Mapping[str, int]:
        """Nothing: what looks wrong is skipped here."""
        return {}

    def _events(self, market: Market, rows: Sequence[int]) -> Iterator[TapeEvent]:
        last = tick = 0
        for row in self._read(rows):
            time_ms = row["ts"]
            bids, why_bids = _levels(row["bid_px"], row["bid_sz"])
            asks, why_asks = _levels(row["ask_px"], row["ask_sz"])
            reason = why_bids or why_asks or _inconsistency(bids, asks)
            if time_ms < last:
                reason = "out_of_order"
            if reason:
                self._skipped[reason] += 1
                continue
            last = time_ms
            if not tick and any(units % _CENT for units, _ in (*bids, *asks)):
                tick = _FINE_TICK
            outcome = Outcome.UP if row["side"] == "UP" else Outcome.DOWN
            snapshot = BookSnapshot(
                market.condition_id, market.token(outcome), bids, asks, time_ms, tick
            )
            yield Timed(time_ms, 1, snapshot)

    def _read(self, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        for first in range(0, len(rows), _BATCH):
            yield from self._books.take(rows[first : first + _BATCH]).to_pylist()

    @override
    def __repr__(self) -> str:
        return f"ResolvedMarkets({len(self._markets)} markets)"


def _market(entry: Mapping[str, Any]) -> TapeMarket:
    series, window = Series.from_slug(entry["slug"])
    condition = entry["market_id"]
    market = Market(
        slug=entry["slug"],
        series=series,
        window=window,
        condition_id=condition,
        up_token=_token(condition, Outcome.UP),
        down_token=_token(condition, Outcome.DOWN),
        fees=_CRYPTO_FEES,
        question=entry["question"],
    )
    winner = Outcome.UP if entry["payout_up"] > entry["payout_down"] else Outcome.DOWN
    return TapeMarket(market, winner, source=SOURCE, licence=LICENCE)


def _token(condition_id: str, outcome: Outcome) -> str:
    digest = hashlib.sha256(f"{condition_id}:{outcome}".encode()).digest()
    return str(int.from_bytes(digest, "big") | 1 << 255)


class _BadLevelError(Exception):
    """A number of a book is not understood; the text is the reason."""


def _levels(prices: Sequence[float], sizes: Sequence[float]) -> tuple[Levels, str]:
    try:
        return tuple(zip(map(_units, prices), map(_shares, sizes), strict=True)), ""
    except _BadLevelError as error:
        return (), str(error)


def _exact_units(price: float) -> int:
    units = round(price * PRICE_UNITS)
    if abs(price - units / PRICE_UNITS) >= _EXACT:
        raise _BadLevelError("off_grid")
    if not 0 < units < PRICE_UNITS:
        raise _BadLevelError("outside")
    return units


def _exact_shares(size: float) -> Decimal:
    base = round(size * _SHARE)
    # Doubles of large sizes are coarser than 1e-9, hence relative to the size.
    if abs(size - base / _SHARE) >= _EXACT * max(1.0, size):
        raise _BadLevelError("off_grid")
    if base <= 0:
        raise _BadLevelError("outside")
    return shares(base)


_units: Callable[[float], int] = Memo(_exact_units).__getitem__
_shares: Callable[[float], Decimal] = Memo(_exact_shares).__getitem__


def _inconsistency(bids: Levels, asks: Levels) -> str:
    if not bids and not asks:
        return "empty"
    best_bid = max(bids)[0] if bids else 0
    best_ask = min(asks)[0] if asks else PRICE_UNITS
    if bids and asks:
        return "crossed" if best_bid >= best_ask else ""
    best = best_bid if bids else PRICE_UNITS - best_ask
    return "" if best >= PRICE_UNITS - _EDGE else "one_sided"
