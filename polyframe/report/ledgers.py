"""Makes reports of what a ledger's file holds: live runs, runs on paper, back-tests that wrote one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from attrs import evolve

from polyframe.checks import expect_path, expect_recording
from polyframe.errors import ConfigError
from polyframe.model.conversion import Conversion
from polyframe.model.exact import exactly
from polyframe.model.order import Order, OrderRequest
from polyframe.model.series import Series
from polyframe.model.trade import Fill, TradeStatus
from polyframe.paper.book import PaperBook
from polyframe.recording.reader import Recording, skipped_since
from polyframe.recording.tape import TapeMarket, Timed
from polyframe.report.conversions import NOTE, confirmed
from polyframe.report.failures import NOTE as FAILED
from polyframe.report.failures import failure
from polyframe.report.orders import Level, ReportedOrder
from polyframe.report.prices import PathWriter, view_of
from polyframe.report.reckoning import Life, reckon
from polyframe.report.values import Report
from polyframe.trading.ledger import Ledger
from polyframe.trading.ledger_reader import CycleEntry, LedgerReader

_NEVER_STALE = 10**12


@exactly()
def ledger_report(
    path: str | Path,
    *,
    run: int | None = None,
    mode: str | None = None,
    series: str | Series | None = None,
    data: Recording | None = None,
) -> Report:
    """Return what the runs in a ledger's file came to; it may still be written to.

    A ledger knows orders, fills, fees, refusals and results. It does not know what the book looked
    like; a recording of the same markets does. What nobody recorded is ``None`` in the report.

    Args:
        path: The file.
        run: Only this run; all by default.
        mode: Only runs of this mode, ``"live"`` or ``"paper"``.
        series: Only this series.
        data: A recording of the same markets, for price paths and what books showed at decisions.

    Raises:
        ConfigError: There is no such file, run or series, it is no ledger, or it has runs with real
            money and on paper and `mode` does not say which ones.
    """
    expect_path("path", path, "the name of a ledger's file")
    if data is not None:
        expect_recording("data", data)
    with Ledger.open(path) as ledger:
        source = _source(ledger, Path(path), run, mode)
        cycles = _wanted(ledger.cycles(run=run, mode=mode), Path(path), series)
        # A recording counts what it skips as long as it lives; ours is what is new.
        before = (Counter[str](), Counter[str]()) if data is None else _oddities(data)
        markets = () if data is None else data.markets()
        # A slug may be that of two windows: the hour that New York repeats in autumn.
        tapes = {(tape.market.slug, tape.market.window.start): tape for tape in markets}
        shared = Counter(entry.record.slug for entry in ledger.cycles())
        converted = _conversions(ledger)
        failures = _failures(ledger, run, mode, {entry.record.slug for entry in cycles})
        lives: list[Life] = []
        for entry in cycles:
            # Two runs that both have a record of a cycle had it one after the other, each with its
            # own orders; otherwise one story is told, whoever placed what.
            only = entry.run if shared[entry.record.slug] > 1 else None
            life = _life(ledger, entry, only, converted.get(entry.record.slug, ()))
            tape = tapes.get((entry.record.slug, entry.record.generation))
            lives.append(life if data is None or tape is None else _seen(life, data, tape))
    after = before if data is None else _oddities(data)
    return reckon(
        lives,
        source=source,
        cash=None,
        models=None,
        failures=failures,
        skipped={} if data is None else skipped_since(data, before[0]),
        doubtful=after[1] - before[1],
    )


def _oddities(data: Recording) -> tuple[Counter[str], Counter[str]]:
    return Counter(data.skipped), Counter(data.doubtful)


def _source(ledger: LedgerReader, path: Path, run: int | None, mode: str | None) -> str:
    """Return the mode of the runs that are wanted.

    Raises:
        ConfigError: There is none, or they differ.
    """
    runs = ledger.runs()
    found = [r for r in runs if run in (None, r.run) and mode in (None, r.mode)]
    if not found:
        have = ", ".join(f"{r.run} ({r.mode})" for r in runs) or "none"
        wanted = f"run: {path} has no run {run}" if run is not None else f"mode: {path} has no run"
        wanted += f" of the mode {mode!r}" if mode is not None else ""
        msg = f"{wanted}; runs there: {have}"
        raise ConfigError(msg)
    modes = sorted({r.mode for r in found})
    if len(modes) > 1:
        msg = (
            f"mode: {path} has runs of the modes {' and '.join(modes)}; name one of them, or a run"
        )
        raise ConfigError(msg)
    return modes[0]


def _wanted(
    cycles: Sequence[CycleEntry], path: Path, series: str | Series | None
) -> Sequence[CycleEntry]:
    """Return the cycles of one series.

    Raises:
        ConfigError: There is none, although there are others.
    """
    if series is None:
        return cycles
    found = [entry for entry in cycles if entry.record.series == str(series)]
    if cycles and not found:
        have = ", ".join(sorted({entry.record.series for entry in cycles}))
        msg = f"series: {path} has nothing of {series}; there is: {have}"
        raise ConfigError(msg)
    return found


def _life(
    ledger: LedgerReader,
    entry: CycleEntry,
    run: int | None,
    converted: Iterable[tuple[int, Conversion]],
) -> Life:
    record = entry.record
    # Two runs that share a cycle may both have written down the end of one: the first knew it earlier.
    told: dict[str, Conversion] = {}
    for by, each in converted:
        if run in (None, by):
            told.setdefault(each.conversion_id, each)
    fills: dict[str, list[Fill]] = {}
    for fill in ledger.fills(record.slug, run=run):
        fills.setdefault(fill.client_id, []).append(fill)
    orders = [
        _order(order, fills.get(order.client_id, ()))
        for order in ledger.orders(record.slug, run=run)
        if not order.is_external
    ]
    refused: dict[str, Counter[str]] = {}
    for refusal in ledger.refusals(record.slug, run=run):
        refused.setdefault(refusal.strategy, Counter())[refusal.rule] += refusal.times
    series = Series.parse(record.series)
    return Life(
        series=record.series,
        slug=record.slug,
        start=record.generation,
        end=series.window_at(record.generation).end,
        winner=record.winner,
        booked=record.profit,
        orders=sorted(orders, key=lambda order: order.sent_ms),
        refusals=record.refusals,
        path=None,
        profit=record.profit,
        conversions=tuple(told.values()),
        refused=refused,
    )


def _conversions(ledger: LedgerReader) -> dict[str, list[tuple[int, Conversion]]]:
    """Return the confirmed splits and merges by slug, each with the run that wrote it down."""
    found: dict[str, list[tuple[int, Conversion]]] = {}
    for note in ledger.notes(NOTE):
        conversion = confirmed(note.data, note.time_ms)
        if conversion is not None and note.slug is not None:
            found.setdefault(note.slug, []).append((note.run, conversion))
    return found


def _failures(
    ledger: LedgerReader, run: int | None, mode: str | None, slugs: AbstractSet[str]
) -> Counter[str]:
    """Return in how many of these cycles strategies failed, by what a note says of it."""
    runs = {each.run for each in ledger.runs() if mode in (None, each.mode)}
    notes = (note for note in ledger.notes(FAILED, run=run) if note.run in runs)
    return Counter(failure(note.data) for note in notes if note.slug in slugs)


def _order(order: Order, fills: Iterable[Fill]) -> ReportedOrder:
    levels = [
        Level(fill.time_ms, fill.price, fill.size, fill.fee, fill.is_taker)
        for fill in fills
        if fill.status is not TradeStatus.FAILED
    ]
    return ReportedOrder(
        slug=order.slug,
        strategy=order.strategy,
        request=OrderRequest(
            order.outcome,
            order.side,
            order.price,
            order.size,
            order.order_type,
            post_only=order.post_only,
            intent=order.intent,
        ),
        sent_ms=order.created_ms,
        arrived_ms=None,
        view=None,
        answer=order.status.value,
        levels=tuple(levels),
    )


def _seen(life: Life, data: Recording, tape: TapeMarket) -> Life:
    """Return `life` with what the recording shows: the way of its prices, and books at decisions."""
    market = tape.market
    book = PaperBook(market, _NEVER_STALE, lambda _: None)
    prices = PathWriter(book, market.window)
    waiting = list(reversed(life.orders))
    orders = []
    end_ms, epoch = market.window.end * 1000, None

    def decide(until_ms: int) -> None:
        while waiting and waiting[-1].sent_ms < until_ms:
            order = waiting.pop()
            orders.append(evolve(order, view=view_of(book, order.request)))

    for event in data.events(tape):
        now_ms = event.received_ms
        if now_ms > end_ms:
            break
        decide(now_ms)  # what came at the same instant was seen before
        is_new = isinstance(event, Timed) and epoch not in (None, event.epoch)
        if not isinstance(event, Timed) or is_new:
            book.forget()
            prices.interrupt(now_ms)
        if isinstance(event, Timed):
            epoch = event.epoch
            book.apply(event.message, now_ms)
            if now_ms >= prices.next_ms:
                prices.look(now_ms)
    decide(end_ms + 1)
    orders += reversed(waiting)
    return evolve(life, orders=orders, path=prices.path)
