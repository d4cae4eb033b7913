"""What a process that is killed leaves to the next one: whose orders are whose."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from polyframe.testing import audit
from polyframe.testing.audit import Finding, Owner
from polyframe.testing.invariants import Invariant
from polyframe.testing.simledger import Journals
from polyframe.testing.simvenue import SimVenue
from polyframe.trading.commands import PlaceOrder
from polyframe.trading.state import CycleState


class Heirs:
    """Knows all orders of all processes, and the cycles that the next process has to know.

    Args:
        venue: The venue.
        journals: What the ledgers of all processes say.
        doubtful: Slugs of cycles of which snapshots may not tell everything.
    """

    def __init__(self, venue: SimVenue, journals: Journals, doubtful: Collection[str]) -> None:
        self._venue = venue
        self._journals = journals
        self._doubtful = doubtful
        self._owners: dict[str, dict[str, Owner]] = {}
        self._left: dict[str, None] = {}

    def placed(self, command: PlaceOrder) -> None:
        """Take note of whose an order is."""
        slug = command.client_id.rpartition("-")[0]
        owner = (command.client_id, command.strategy)
        self._owners.setdefault(slug, {})[command.venue_id] = owner

    def owners(self, slug: str) -> Mapping[str, Owner] | None:
        """Return whose the orders of a cycle are, ``None`` if snapshots may not tell."""
        return None if slug in self._doubtful else self._owners.get(slug, {})

    def put(self, state: CycleState) -> None:
        """Leave a cycle to the next process."""
        self._left[state.market.slug] = None

    def pop(self, slug: str) -> None:
        """Take note that nothing can happen to a cycle any more."""
        self._left.pop(slug, None)

    def forget(self, slug: str) -> None:
        """Let go of a cycle."""
        self.pop(slug)
        self._owners.pop(slug, None)
        self._journals.fills.pop(slug, None)

    def check(self, states: Mapping[str, CycleState]) -> list[tuple[Invariant, str, str]]:
        """Check that a process knows all that the last one left."""
        findings: list[tuple[Invariant, str, str]] = []
        for slug in self._left:
            market, owners = self._venue.markets.get(slug), self.owners(slug)
            if market is None or not owners or not owners.keys() & market.orders.keys():
                continue
            if slug not in states:
                text = f"nobody knows its {len(market.orders)} orders any more"
                findings.append((Invariant.OWNERSHIP, text, slug))
                continue
            found = audit.owned(states[slug], market, owners)
            findings += [(invariant, text, slug) for invariant, text in found]
        self._left.clear()
        return findings

    def journal(self, state: CycleState) -> list[Finding]:
        """Compare what all ledgers say of the fills of a settled cycle with its books."""
        entered = self._journals.fills.get(state.market.slug, {})
        findings: list[Finding] = []
        is_sure = state.market.slug not in self._doubtful
        keys = set()
        for fill in state.fills.values():
            key = (fill.trade_id, state.orders[fill.client_id].venue_id)
            keys.add(key)
            rows = entered.get(key, {})
            if rows.get(fill.client_id) != fill or (is_sure and len(rows) > 1):
                findings.append((Invariant.RECORDS, f"{fill} was entered as {rows}"))
        findings += [
            (Invariant.RECORDS, f"{key} was entered, the books do not know it")
            for key in entered.keys() - keys
        ]
        return findings
