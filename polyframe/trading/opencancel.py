"""Cancelling what is open at the venue, whoever placed it: earlier runs and other programs, too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import define, field, frozen

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeError, RateLimited
from polyframe.exchange.base import Exchange
from polyframe.model.events import OrderReport
from polyframe.model.market import Market
from polyframe.model.series import Series
from polyframe.trading.ownorders import OwnOrders

log = logging.getLogger(__name__)

BATCH = 100
"""Ids per call. The venue takes 1,000 (PROTOCOL §2.4), but its limiter admits or refuses a call as a
whole, and 120 cancels at once are what the lowest tier may send (PROTOCOL §2.11)."""

_TRIES = 5
_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
"""Network seconds before a call that was refused for its rate is repeated: if the venue does not say
how many, and at most."""


@frozen(kw_only=True)
class CancelReport:
    """What became of the open orders of the account.

    Attributes:
        total: Open orders that the venue listed.
        eligible: Those that were asked for: of the market and assets, and untracked if so wanted.
        cancelled: Those that are cancelled now; 0 in a dry run.
        skipped: How many were left alone, by reason: ``"market"``, ``"asset"``, ``"tracked"``,
            ``"limit"``, ``"dry_run"``.
        errors: The venue's words by id of the orders that could not be cancelled (most often they
            have ended in the meantime).
    """

    total: int
    eligible: int
    cancelled: int
    skipped: Mapping[str, int]
    errors: Mapping[str, str]


@define
class BulkOutcome:
    """Ids that were cancelled, and the venue's words on the others."""

    cancelled: set[str] = field(factory=set)
    errors: dict[str, str] = field(factory=dict)


async def cancel_in_bulk(
    exchange: Exchange, counters: Counters, venue_ids: Iterable[str]
) -> BulkOutcome:
    """Cancel any number of orders; what fails is told by id and keeps nothing else from its turn."""
    ids = list(dict.fromkeys(venue_ids))
    outcome = BulkOutcome()
    for first in range(0, len(ids), BATCH):
        await _cancel_batch(exchange, counters, ids[first : first + BATCH], outcome)
    return outcome


async def _cancel_batch(
    exchange: Exchange, counters: Counters, ids: Sequence[str], outcome: BulkOutcome
) -> None:
    for left in reversed(range(_TRIES)):
        try:
            answer = await exchange.cancel_orders(ids)
        except RateLimited as error:
            # A refused cancel was not carried out, and one that was can be repeated.
            if left:
                await asyncio.sleep(min(error.retry_after or _PAUSE, _LONGEST_PAUSE))
                continue
            failed: ExchangeError = error
        except ExchangeError as error:
            failed = error
        else:
            outcome.cancelled |= answer.cancelled
            outcome.errors.update(answer.refused)
            counters.add(Count.CANCELS_SENT, "cancelled", len(answer.cancelled))
            counters.add(Count.CANCELS_SENT, "refused", len(answer.refused))
            return
        log.error("cancelling %d orders failed: %s", len(ids), failed)
        counters.add(Count.CANCELS_SENT, "error", len(ids))
        outcome.errors.update(dict.fromkeys(ids, str(failed)))
        return


@frozen(kw_only=True)
class OpenOrderFilter:
    """Which of the venue's open orders are meant.

    Attributes:
        condition_id: Those of this market, ``""`` for all.
        assets: Those of these tokens, empty for all.
        tracked: Ids to leave alone, in lower case.
        limit: At most so many, ``None`` for all.
    """

    condition_id: str = ""
    assets: frozenset[str] = frozenset()
    tracked: frozenset[str] = frozenset()
    limit: int | None = None

    def split(self, reports: Iterable[OrderReport]) -> tuple[list[OrderReport], dict[str, int]]:
        """Return the orders that are meant, and how many are not, by reason."""
        chosen: list[OrderReport] = []
        skipped: dict[str, int] = {}
        for report in reports:
            if reason := self._reason(report):
                skipped[reason] = skipped.get(reason, 0) + 1
            else:
                chosen.append(report)
        return chosen, skipped

    def _reason(self, report: OrderReport) -> str:
        if self.condition_id and report.market != self.condition_id:
            return "market"
        if self.assets and report.token not in self.assets:
            return "asset"
        if report.order_id.lower() in self.tracked:
            return "tracked"
        return ""


async def condition_id_of(
    market: Market | str | None, *, own: OwnOrders, exchange: Exchange, clock: Clock
) -> str:
    """Return the venue's name of a market that is given as value, slug or condition id.

    Raises:
        ConfigError: A slug whose market is not known and cannot be fetched any more, or no slug.
        ExchangeError: The venue did not answer.
    """
    if market is None:
        return ""
    if isinstance(market, Market):
        return market.condition_id
    if (known := own.market(market)) is not None:
        return known.condition_id
    if market.startswith("0x"):
        return market
    try:
        series, window = Series.from_slug(market, clock.time())
    except ValueError as error:
        msg = f"market: expected a slug or a condition id (0x…), got {market!r}: {error}"
        raise ConfigError(msg) from error
    found = await exchange.fetch_market(series, window)
    if found is None:
        msg = f"market: the venue does not trade {market!r} (any more); give its condition id (0x…)"
        raise ConfigError(msg)
    return found.condition_id


async def cancel_open_orders(
    market: Market | str | None,
    assets: Collection[str],
    *,
    only_untracked: bool,
    max_to_cancel: int | None,
    dry_run: bool,
    own: OwnOrders,
    exchange: Exchange,
    clock: Clock,
    counters: Counters,
) -> tuple[CancelReport, frozenset[str]]:
    """List, choose, cancel; see `TradingService.cancel_exchange_open_orders`.

    Returns:
        The report, and the ids that are cancelled.
    """
    if max_to_cancel is not None and max_to_cancel < 0:
        msg = f"max_to_cancel: expected at least 0, or None for no limit, got {max_to_cancel}"
        raise ConfigError(msg)
    if isinstance(assets, str):
        msg = f"assets: expected a collection of token ids, got the text {assets!r}; write [{assets!r}]"
        raise ConfigError(msg)
    condition_id = await condition_id_of(market, own=own, exchange=exchange, clock=clock)
    listed = await exchange.fetch_open_orders()
    # Asked after the list came: whatever was placed meanwhile is registered by now.
    tracked = own.venue_ids() if only_untracked else frozenset()
    chosen, skipped = OpenOrderFilter(
        condition_id=condition_id, assets=frozenset(assets), tracked=tracked
    ).split(listed)
    ids = [report.order_id for report in chosen]
    if max_to_cancel is not None and len(ids) > max_to_cancel:
        skipped["limit"] = len(ids) - max_to_cancel
        ids = ids[:max_to_cancel]
    outcome = BulkOutcome()
    if dry_run:
        if ids:
            skipped["dry_run"] = len(ids)
    else:
        outcome = await cancel_in_bulk(exchange, counters, ids)
    report = CancelReport(
        total=len(listed),
        eligible=len(chosen),
        cancelled=len(outcome.cancelled),
        skipped=skipped,
        errors=outcome.errors,
    )
    log.info("open orders at the venue: %s", report)
    return report, frozenset(outcome.cancelled)
