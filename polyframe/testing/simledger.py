"""The ledger of a simulated program over all of its runs."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field
from typing_extensions import override

from polyframe.model.events import TradeChanged
from polyframe.model.market import Market
from polyframe.model.trade import Fill
from polyframe.trading.commands import Change
from polyframe.trading.ledger import CycleRecord, Ledger

FillKey = tuple[str, str]
"""Id of the trade and the venue's id of the order."""


@define(eq=False)
class Journals:
    """What the ledgers of all runs say.

    Attributes:
        records: The last record of each cycle by slug, in the order of their beginnings.
        fills: By slug and key what was entered of each fill, by the order's name here.
    """

    records: dict[str, CycleRecord] = field(factory=dict)
    fills: dict[str, dict[FillKey, dict[str, Fill]]] = field(factory=dict)


class SimLedger(Ledger):
    """The ledger of one process; after its death nothing more is entered.

    Args:
        journals: Where everything is entered.
    """

    def __init__(self, journals: Journals) -> None:
        super().__init__()
        self.is_cut = False
        self._journals = journals

    @override
    def put(self, record: CycleRecord) -> None:
        if not self.is_cut:
            super().put(record)
            self._journals.records[record.slug] = record

    @override
    def changed(self, market: Market, changes: Iterable[Change], *, is_late: bool = False) -> None:
        if self.is_cut:
            return
        fills = self._journals.fills.setdefault(market.slug, {})
        for change in changes:
            if isinstance(change, TradeChanged):
                key = (change.fill.trade_id, change.order.venue_id)
                fills.setdefault(key, {})[change.fill.client_id] = change.fill
