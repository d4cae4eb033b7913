"""Makes a report of what the replayed venue was asked and what the ledger says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from typing_extensions import override

from polyframe.backtest.blotter import Blotter, Entry
from polyframe.clock import Clock
from polyframe.counters import Counters
from polyframe.model.conversion import Conversion
from polyframe.model.events import OrderChanged
from polyframe.model.market import Market
from polyframe.paper.models import PaperModels
from polyframe.recording.tape import TapeMarket
from polyframe.report.conversions import NOTE, confirmed
from polyframe.report.failures import NOTE as FAILED
from polyframe.report.failures import failure
from polyframe.report.orders import ReportedOrder
from polyframe.report.prices import PricePath
from polyframe.report.reckoning import Life, reckon
from polyframe.report.values import Report
from polyframe.trading.commands import Change
from polyframe.trading.ledger import Ledger


class ReplayLedger(Ledger):
    """A ledger that also knows whose order is whose, and what was split and merged.

    Attributes:
        owners: Name of the strategy, by the venue's id of the order.
        conversions: Splits and merges that were confirmed, by slug.
        refusals: How often each strategy was refused for what reason, by slug.
        failures: In how many cycles a strategy failed, by whose error it was of which kind.
    """

    def __init__(self, path: str | Path | None, *, limit: int) -> None:
        super().__init__(path, limit=limit)
        self.owners: dict[str, str] = {}
        self.conversions: defaultdict[str, list[Conversion]] = defaultdict(list)
        self.refusals: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        self.failures: Counter[str] = Counter()
        self._time: Callable[[], float]

    @override
    def begin(self, *, clock: Clock, counters: Counters, exchange: str, is_live: bool) -> None:
        self._time = clock.time
        super().begin(clock=clock, counters=counters, exchange=exchange, is_live=is_live)

    @override
    def refused(self, market: Market | None, rule: str, text: str, strategy: str = "") -> None:
        if market is not None:
            self.refusals[market.slug][strategy][rule] += 1
        super().refused(market, rule, text, strategy)

    @override
    def note(self, kind: str, data: object, market: Market | None = None) -> None:
        if kind == NOTE and market is not None and isinstance(data, Mapping):
            found = confirmed(data, int(self._time() * 1000))
            if found is not None:
                self.conversions[market.slug].append(found)
        if kind == FAILED and isinstance(data, Mapping):
            self.failures[failure(data)] += 1
        super().note(kind, data, market)

    @override
    def changed(self, market: Market, changes: Iterable[Change], *, is_late: bool = False) -> None:
        changes = list(changes)
        for change in changes:
            if isinstance(change, OrderChanged):
                self.owners[change.order.venue_id] = change.order.strategy
        super().changed(market, changes, is_late=is_late)


def make_report(
    entries: Mapping[str, TapeMarket],
    ledger: ReplayLedger,
    blotter: Blotter,
    paths: Mapping[str, PricePath],
    *,
    cash: Decimal,
    models: PaperModels,
    skipped: Mapping[str, int],
    doubtful: Mapping[str, int],
) -> Report:
    """Put a report together.

    Args:
        entries: The recorded markets by slug.
        ledger: The cycles that were lived, and whose orders are whose.
        blotter: What the replayed venue was asked.
        paths: How prices moved, by slug.
        cash: USD of the account at the end.
        models: What stood between orders and their fills.
        skipped: What the recording left out.
        doubtful: What looks wrong in it.
    """
    orders: dict[str, list[ReportedOrder]] = {}
    for venue_id, entry in blotter.entries.items():
        found = _order(entry, ledger.owners[venue_id])
        orders.setdefault(entry.slug, []).append(found)
    return reckon(
        _lives(entries, ledger, orders, paths),
        source="back-test",
        cash=cash,
        models=models,
        decisions=blotter.decisions,
        failures=ledger.failures,
        skipped=skipped,
        doubtful=doubtful,
    )


def _lives(
    entries: Mapping[str, TapeMarket],
    ledger: ReplayLedger,
    orders: Mapping[str, list[ReportedOrder]],
    paths: Mapping[str, PricePath],
) -> Iterator[Life]:
    for record in ledger:
        market = entries[record.slug].market
        yield Life(
            series=str(market.series),
            slug=market.slug,
            start=market.window.start,
            end=market.window.end,
            winner=record.winner,
            booked=record.profit,
            orders=orders.get(market.slug, ()),
            refusals=record.refusals,
            path=paths.get(market.slug),
            conversions=tuple(ledger.conversions.get(market.slug, ())),
            refused=ledger.refusals.get(market.slug, {}),
        )


def _order(entry: Entry, strategy: str) -> ReportedOrder:
    return ReportedOrder(
        slug=entry.slug,
        strategy=strategy,
        request=entry.request,
        sent_ms=entry.sent_ms,
        arrived_ms=entry.arrived_ms,
        view=entry.view,
        answer=entry.answer,
        levels=tuple(entry.levels),
    )
